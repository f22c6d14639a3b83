"""autotag 08: what stands in its files, what people decide, and that every image is accounted for."""

import json
import runpy
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from tests.unit.autotag.vote_data import SETTINGS, Votes, sha256
from workflow_scripts.autotag import vote as vote_module
from workflow_scripts.autotag.tables import CANDIDATES
from workflow_scripts.core import tables
from workflow_scripts.core.accounting import AccountingError
from workflow_scripts.core.step import StepError

HEADER = "sha256,path,decision,reason"


@pytest.fixture
def votes(tmp_path):
    """One image with a tag of three votes and one of a single vote, one without votes, one that nobody can read."""
    found = Votes(tmp_path / "t")
    found.image("b/ü 1.jpg", [["dog"], ["sky"], ["sky"]], [["dog"]], [["dog"]])
    found.image("a.jpg", [[]])
    found.error("broken.jpg")
    return found


def line(image, tag, decision, content=None):
    return f'{content or sha256(image)},"{image} → {tag}",{decision},'


def test_every_image_has_its_tags_or_is_told_of(votes):
    counts = votes.vote()
    assert {name: counts[name] for name in ("listed", "tagged", "untagged", "error", "tags", "rejected", "unused")} == {
        "listed": 3,
        "tagged": 1,
        "untagged": 1,
        "error": 1,
        "tags": 1,
        "rejected": 1,
        "unused": 0,
    }
    assert votes.outputs.tags.read_text(encoding="utf-8") == '{\n  "a.jpg": [],\n  "b/ü 1.jpg": [\n    "dog"\n  ]\n}\n'
    about = tables.about(votes.outputs.candidates)
    assert about["silent"] == {"a.jpg": "no neighbour of its parts counts"}
    assert about["images"] == {"listed": 3, "tagged": 1, "untagged": 1, "error": 1}
    assert sum(about["neighbours"].values()) == len(votes.neighbours)


def test_the_tables_hold_the_written_columns(votes):
    votes.vote()
    for path in (votes.outputs.candidates, votes.outputs.table):
        assert [(field.name, field.type) for field in pq.read_schema(path)] == list(CANDIDATES)
    (row,) = tables.read(votes.outputs.table)
    assert row == {
        "image": "b/ü 1.jpg",
        "sha256": sha256("b/ü 1.jpg"),
        "tag": "dog",
        "votes": 3,
        "needed": 3,
        "weight": 3.0,
        "crops": ["b/ü 1_0", "b/ü 1_1", "b/ü 1_2"],
        "neighbours": [f"00007/b/ü 1.jpg b/ü 1_{number} 1" for number in range(3)],
        "similarity": 0.99,
        "examples": [{"crop": f"b/ü 1_{n}", "segment": f"b/ü 1.jpg b/ü 1_{n} 1_0", "similarity": 0.99} for n in range(3)],
        "outcome": "kept",
        "reason": None,
    }
    assert votes.found("tag", "outcome", "reason") == [("dog", "kept", None), ("sky", "rejected", "votes 1 of 3")]


def test_why_nothing_votes_for_an_image_is_told(votes):
    votes.image("c.jpg")
    votes.image("d.jpg", [[tag] for tag in "abcd"])
    votes.vote(min_share=0.5)
    assert tables.about(votes.outputs.candidates)["silent"] == {
        "a.jpg": "no neighbour of its parts counts",
        "c.jpg": "no part of it could be embedded",
        "d.jpg": "its neighbours agree on no tag",
    }


def test_a_person_takes_out_brings_back_and_adds(votes):
    image = "b/ü 1.jpg"
    counts = votes.vote([HEADER, line(image, "dog", "reject"), line(image, "Sky", "keep"), line(image, "my cat", "add")])
    assert votes.found("tag", "votes", "outcome", "reason") == [
        ("dog", 3, "rejected", "rejected by a person"),
        ("sky", 1, "kept", "kept by a person: votes 1 of 3"),
        ("my cat", 0, "kept", "added by a person"),
    ]
    assert votes.tags()[image] == ["sky", "my cat"]
    assert counts["unused"] == 0
    added = votes.candidates()[-1]
    assert (added["needed"], added["weight"], added["crops"], added["neighbours"], added["examples"]) == (3, 0.0, [], [], [])
    assert added["sha256"] == sha256(image)


def test_a_person_may_agree_with_the_votes(votes):
    image = "b/ü 1.jpg"
    votes.vote([HEADER, line(image, "dog", "keep"), line(image, "sky", "reject")])
    assert votes.found("tag", "outcome", "reason") == [("dog", "kept", "kept by a person"), ("sky", "rejected", "rejected by a person")]


def test_an_image_without_votes_can_be_given_tags(votes):
    counts = votes.vote([HEADER, line("a.jpg", "zebra", "add"), line("a.jpg", "ant", "keep")])
    assert votes.tags()["a.jpg"] == ["ant", "zebra"], "what was exported from the page as kept stays a tag"
    assert (counts["tagged"], counts["untagged"]) == (2, 0)
    assert tables.about(votes.outputs.candidates)["silent"] == {}


def test_an_image_without_a_part_needs_a_vote_all_the_same(votes):
    votes.image("c.jpg")
    votes.vote([HEADER, line("c.jpg", "ant", "add")])
    assert votes.found("tag", "votes", "needed", image="c.jpg") == [("ant", 0, 1)]


def test_decisions_that_fit_nothing_are_told(votes, log_text):
    rows = [
        line("a.jpg", "dog", "reject"),
        line("b/ü 1.jpg", "dog", "reject", sha256("what it was")),
        line("broken.jpg", "dog", "add"),
        line("gone.jpg", "dog", "keep"),
    ]
    assert votes.vote([HEADER, *rows])["unused"] == 4
    assert votes.found("outcome") == ["kept", "rejected"]
    assert f"review: reject of dog of a.jpg with {sha256('a.jpg')[:12]}… (line 2) fits nothing now" in log_text()


def test_excluded_source_images_do_not_vote_by_path_or_by_content(votes, tmp_path, log_text):
    by_path, by_content = tmp_path / "paths.csv", tmp_path / "contents.csv"
    by_path.write_text('path\n"/src/00007/b/ü 1.jpg b/ü 1_0 1"\n/src/00001/another\n', encoding="utf-8")
    by_content.write_text(f"sha256\n{sha256('source b/ü 1.jpg b/ü 1_1 1').upper()}\n")
    lists = [
        {"csv": str(by_path), "by": "path", "strip_prefix": "/src/"},
        {"csv": str(by_content), "by": "sha256", "strip_prefix": ""},
    ]
    counts = votes.vote(exclude=lists)
    assert votes.found("tag", "votes") == [("sky", 1), ("dog", 1)]
    assert counts["neighbours_excluded"] == 2
    assert f"exclude: {by_path}: 1 source images" in log_text()


def test_a_list_that_names_none_of_these_neighbours_is_no_error(votes, tmp_path):
    (tmp_path / "others.csv").write_text("path\n00001/another\n")
    assert votes.vote(exclude=[{"csv": str(tmp_path / "others.csv"), "by": "path", "strip_prefix": ""}])["tags"] == 1


def test_the_same_input_gives_the_same_bytes(votes):
    votes.vote()
    first = [path.read_bytes() for path in (votes.outputs.candidates, votes.outputs.table, votes.outputs.tags)]
    votes.vote()
    assert [path.read_bytes() for path in (votes.outputs.candidates, votes.outputs.table, votes.outputs.tags)] == first


def test_counts_of_the_source_s_tags_are_needed_for_rarity_alone(votes):
    del votes.index["tag_images"]
    votes.vote(weighting="similarity")
    with pytest.raises(KeyError, match="tag_images"):
        votes.vote(weighting="idf")


def test_crops_of_an_image_that_is_not_listed_are_refused(votes):
    del votes.images[0]
    with pytest.raises(StepError, match=r"crops\.parquet: has crops of b/ü 1\.jpg, which .*images\.parquet does not list; delete both"):
        votes.vote()


def test_an_image_without_an_outcome_is_no_image_without_tags(votes):
    votes.images[1]["outcome"] = None
    votes.crops = [crop for crop in votes.crops if crop["image"] != "a.jpg"]
    votes.neighbours = [row for row in votes.neighbours if row["image"] != "a.jpg"]
    with pytest.raises(AccountingError, match=r"1 images listed but without an outcome: a\.jpg"):
        votes.vote()


@pytest.mark.parametrize("reviewed", [False, True])
def test_the_step_takes_what_its_rule_gives(votes, tmp_path, in_a_step, reviewed):
    sources = votes.write([HEADER, line("a.jpg", "cat", "add")])
    inputs = {name: str(getattr(sources, name)) for name in ("images", "crops", "neighbours", "index")}
    outputs = {name: str(getattr(votes.outputs, name)) for name in ("candidates", "table", "tags")}
    job = SimpleNamespace(
        log=[str(tmp_path / "08.log")],
        input=SimpleNamespace(**inputs, reviews=[str(sources.reviews)] if reviewed else [], exclude=[]),
        output=SimpleNamespace(**outputs),
        params=SimpleNamespace(vote=SETTINGS),
    )
    runpy.run_path(vote_module.__file__, {"snakemake": job})
    assert json.loads(votes.outputs.tags.read_text(encoding="utf-8")) == {"a.jpg": ["cat"] * reviewed, "b/ü 1.jpg": ["dog"]}
    assert "listed=3" in (tmp_path / "08.log").read_text()
