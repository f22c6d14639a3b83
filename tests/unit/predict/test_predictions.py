"""What becomes of the images of a project once they have vectors: groups, scores, selections and crops."""

import numpy as np
import pytest

from workflow_scripts.core.decisions import Reviews
from workflow_scripts.core.embeddings import embedding_schema, write_table
from workflow_scripts.predict.groups import Rule
from workflow_scripts.predict.predict import write_predictions
from workflow_scripts.predict.predictions import Embeddings, Networks, predict
from workflow_scripts.predict.tables import EMBEDDED, about, read

NO_REVIEWS = Reviews(None, ())
BY_STAGE = Rule()
FILE_DATE = "2024-05-06T07:08:09Z"


class Ranker:
    """The score is ten times the first number of the vector."""

    def __call__(self, inputs):
        return inputs[:, :1] * 10


class Proposer:
    """The crop begins at a fifth of the vector's second number, and ends at width and height by the scale."""

    def __call__(self, inputs):
        start = inputs[:, 1] / 5
        return np.stack([start, start, inputs[:, -2], inputs[:, -1]], axis=1)


def networks(**changes):
    settings = {"ranker_normalise": False, "proposer_normalise": False, "scale": 1000, "min_side": 0.05}
    return Networks(Ranker(), Proposer(), **(settings | changes))


def image(path, score=None, error=None, groupable=True, size=(800, 600), modified=FILE_DATE, second=0.5):
    """A row of the embedding table."""
    row = {"path": path, "modified": modified, "groupable": groupable, "error": error}
    if score is None:
        return row
    return row | {"sha256": f"{path}!", "width": size[0], "height": size[1], "views": 1, "embedding": np.array([score, second], np.float16)}


@pytest.fixture
def table(tmp_path):
    def make(*rows, **metadata):
        path = tmp_path / "02.parquet"
        write_table(path, embedding_schema(EMBEDDED, {"project_id": "p", "status": "success"} | metadata), list(rows))
        return path

    return make


def predicted(path, rule=BY_STAGE, reviews=NO_REVIEWS, **changes):
    groups, images = predict("p", Embeddings.read(path), rule, networks(**changes), reviews)
    return groups, {row["path"]: row for row in images}


def test_the_best_readable_image_of_a_group_is_selected_and_its_own_size_makes_the_crop(table):
    groups, images = predicted(
        table(
            image("a/20250102_030405_stage1_generated.png", 0.25, second=0.25),
            image("a/20250102_030405_stage2_upscaled.png", 0.75, size=(900, 500)),
            image("a/20250102_030405_stage3_enhanced.png", error="decode: truncated"),
        )
    )
    (group,) = groups
    assert group["images"] == [f"20250102_030405_{stage}.png" for stage in ("stage1_generated", "stage2_upscaled", "stage3_enhanced")]
    assert (group["directory"], group["timestamp"], group["error"]) == ("a", "2025-01-02T03:04:05Z", "")
    assert group["scores"] == [2.5, 7.5, None]
    assert (group["selected"], group["margin"], group["width"], group["height"]) == (1, 5.0, 900, 500)
    assert group["confidence"] == pytest.approx(1 / (1 + np.exp(-5)), abs=1e-9)
    assert group["proposal"] == pytest.approx([0.1, 0.1, 0.9, 0.5])
    assert group["crop"] == pytest.approx((0.1, 0.1, 0.9, 0.5))
    assert group["sha256"] == [*(f"a/20250102_030405_{stage}.png!" for stage in ("stage1_generated", "stage2_upscaled")), None]
    assert [(row["outcome"], row["reason"], row["place"], row["score"]) for row in images.values()] == [
        ("passed over", "", 0, 2.5),
        ("selected", "", 1, 7.5),
        ("error", "decode: truncated", 2, None),
    ]
    assert {row["group_id"] for row in images.values()} == {group["group_id"]}


def test_a_group_without_a_readable_image_selects_nothing(table):
    groups, images = predicted(
        table(image("stage1_generated.png", error="decode: truncated"), image("stage2_upscaled.png", error="list: encrypted"))
    )
    (group,) = groups
    assert (group.get("selected"), group.get("crop"), group["scores"]) == (None, None, [None, None])
    assert group["error"] == "read: none of 2 images can be used; stage1_generated.png: decode: truncated"
    assert [row["outcome"] for row in images.values()] == ["error", "error"]


def test_every_image_of_the_inventory_has_an_outcome(table):
    rows = [image("x.png", 0.5), image("../up.png", error="list: path traversal", groupable=False), image("bad.png", error="decode: empty")]
    groups, images = predicted(table(*rows))
    assert groups == []
    assert {path: (row["outcome"], row["reason"], row["group_id"]) for path, row in images.items()} == {
        "x.png": ("ungrouped", "no stage in the name", None),
        "../up.png": ("error", "list: path traversal", None),
        "bad.png": ("error", "decode: empty", None),
    }
    assert images["x.png"]["score"] == 5.0


def test_a_refused_member_with_the_name_of_another_takes_nothing_from_it(table):
    rows = [image("stage1_generated.png", 0.5), image("stage1_generated.png", error="list: twice", groupable=False)]
    path = table(*rows, image("stage2_upscaled.png", 0.25))
    groups, images = predict("p", Embeddings.read(path), Rule(), networks(), NO_REVIEWS)
    (group,) = groups
    assert group["images"] == ["stage1_generated.png", "stage2_upscaled.png"]
    assert (group["sha256"][0], group["width"], group["error"]) == ("stage1_generated.png!", 800, "")
    assert [(row["path"], row["outcome"], row["group_id"]) for row in images] == [
        ("stage1_generated.png", "selected", group["group_id"]),
        ("stage1_generated.png", "error", None),
        ("stage2_upscaled.png", "passed over", group["group_id"]),
    ]


def test_of_equal_scores_the_first_image_is_selected(table):
    groups, _ = predicted(table(image("stage1_generated.png", 0.5), image("stage2_upscaled.png", 0.5)))
    assert (groups[0]["selected"], groups[0]["confidence"], groups[0]["margin"]) == (0, 0.5, 0.0)


@pytest.mark.parametrize(
    ("names", "dates", "time"),
    [
        (("stage1_generated", "stage2_upscaled"), ("2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"), "2024-01-02T00:00:00Z"),
        (("20259999_999999_stage1_generated", "20259999_999999_stage2_upscaled"), (FILE_DATE, None), FILE_DATE),
        (("stage1_generated", "stage2_upscaled"), (None, None), "1970-01-01T00:00:00Z"),
    ],
)
def test_a_group_without_a_time_of_its_own_has_that_of_its_newest_file(table, names, dates, time):
    groups, _ = predicted(table(*(image(f"{name}.png", 0.5, modified=date) for name, date in zip(names, dates, strict=True))))
    assert groups[0]["timestamp"] == time


def test_a_crop_is_repaired_and_the_repair_recorded(table):
    groups, _ = predicted(table(image("stage1_generated.png", 0.5, size=(10, 10)), image("stage2_upscaled.png", 0.25)), min_side=0.2)
    (group,) = groups
    assert group["proposal"] == pytest.approx([0.1, 0.1, 0.01, 0.01])
    assert group["repairs"] == ["swapped x", "enlarged x", "swapped y", "enlarged y"]
    assert group["crop"] == pytest.approx((0.0, 0.0, 0.2, 0.2))


def test_each_network_gets_vectors_of_the_length_that_it_was_trained_with(table):
    path = table(image("stage1_generated.png", 3.0, second=4.0), image("stage2_upscaled.png", 1.0, second=0.0))
    raw, _ = predicted(path)
    ranked, _ = predicted(path, ranker_normalise=True)
    assert raw[0]["scores"] == [30.0, 10.0]
    assert ranked[0]["scores"] == pytest.approx([6.0, 10.0])
    assert raw[0]["proposal"][0] == pytest.approx(0.8)
    proposed, _ = predicted(path, proposer_normalise=True)
    assert (proposed[0]["selected"], proposed[0]["proposal"][0]) == (0, pytest.approx(0.16))


def test_reviews_are_found_by_content(table, tmp_path):
    rows = [image(f"2025010{day}_000000_{stage}.png", 0.5) for day in (1, 2) for stage in ("stage1_generated", "stage2_upscaled")]
    dropped = "20250101_000000_stage1_generated.png"
    (tmp_path / "groups.csv").write_text(f"sha256,path,decision\n{dropped}!,{dropped},drop\n")
    groups, images = predicted(table(*rows), reviews=Reviews(tmp_path / "groups.csv", ("keep", "split", "drop")))
    assert [group["images"][0] for group in groups] == ["20250102_000000_stage1_generated.png"]
    assert images["20250101_000000_stage2_upscaled.png"]["reason"] == "dropped by a person"


def test_both_tables_are_written_with_what_they_come_from(table, tmp_path):
    path = table(
        image("a_stage1_generated.png", 0.5, size=(10, 10)), image("a_stage2_upscaled.png", 0.25), image("loose.png", 0.5), path="p.zip"
    )
    how = {"rule": Rule(), "networks": networks, "reviews": NO_REVIEWS, "models": {"ranker": {"path": "r.pt"}}}
    counts = write_predictions(path, tmp_path / "g.parquet", tmp_path / "images/g.parquet", **how)
    assert counts == {
        "groups": 1,
        "failed_groups": 0,
        "repaired_crops": 1,
        "listed": 3,
        "selected": 1,
        "passed_over": 1,
        "ungrouped": 1,
        "error": 0,
    }
    for name in ("g.parquet", "images/g.parquet"):
        found = about(tmp_path / name)
        assert (found["path"], found["counts"], found["models"]) == ("p.zip", counts, {"ranker": {"path": "r.pt"}})
    assert found["repairs"] == {"swapped x": 1, "swapped y": 1}
    assert [row["selected"] for row in read(tmp_path / "g.parquet")] == [0]
    assert [row["outcome"] for row in read(tmp_path / "images/g.parquet")] == ["selected", "passed over", "ungrouped"]


def test_the_same_table_gives_the_same_bytes(table, tmp_path):
    path = table(image("a_stage1_generated.png", 0.5), image("a_stage2_upscaled.png", 0.25))
    how = {"rule": Rule(), "networks": networks, "reviews": NO_REVIEWS, "models": {}}
    for name in ("one", "two"):
        write_predictions(path, tmp_path / name / "g.parquet", tmp_path / name / "i.parquet", **how)
    for name in ("g.parquet", "i.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_project_without_a_readable_image_needs_no_network(table, tmp_path):
    how = {"rule": Rule(), "networks": None, "reviews": NO_REVIEWS, "models": {}}
    counts = write_predictions(table(status="failed", error="gone"), tmp_path / "g.parquet", tmp_path / "i.parquet", **how)
    assert (counts["groups"], counts["listed"]) == (0, 0)
    assert (about(tmp_path / "g.parquet")["status"], about(tmp_path / "g.parquet")["error"]) == ("failed", "gone")
