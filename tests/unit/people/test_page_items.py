"""people 07: the rows of a page, from manifests as the steps before write them, and their pictures from a bucket."""

import io

import pyarrow.parquet as pq
import pytest
from PIL import Image

from workflow_scripts.core.images import content_hash
from workflow_scripts.core.storage import open_storage
from workflow_scripts.core.thumbnails import Thumbnails
from workflow_scripts.people import manifests
from workflow_scripts.people.page_items import BAND, SCHEMA, TOO_CLOSE, write_items

ODD = [
    "a, b.jpg",
    'a "quoted".jpg',
    "two\nlines.jpg",
    "carriage\rreturn.jpg",
    "'single' #%.jpg",
    "NA.jpg",
    "é 😀\u2028.jpg",
    " lead.jpg",
    "1.5.jpg",
]


def picture(colour=(200, 30, 30), size=(400, 300), kind="JPEG"):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


def rows_of(run, threshold=None):
    """The rows of the page by name, and how many are too close to call."""
    output = run.root / "items.parquet"
    close = write_items(run.aggregate, run.settings["threshold"] if threshold is None else threshold, output)
    table = pq.read_table(output)
    assert table.schema.equals(SCHEMA)
    rows = table.to_pylist()
    assert len({row["name"] for row in rows}) == len(rows)
    return {row["name"]: row for row in rows}, close


# ---- rows ----


def test_a_row_says_what_was_decided_and_why(run):
    run.put("a/1.jpg", 0.1)
    run.put("a/2.jpg", 0.9)
    run.put("b.jpg", error="decode: truncated")
    run.until_merge()
    rows, close = rows_of(run)
    assert list(rows) == ["a/1.jpg", "a/2.jpg", "b.jpg"]
    assert rows["a/1.jpg"] == {
        "id": run.sha256("a/1.jpg"),
        "name": "a/1.jpg",
        "outcome": "kept",
        "reason": "people_prob < 0.5",
        "decision": "",
        "link": (run.source / "a/1.jpg").as_uri(),
        "images": [f"{run.sha256('a/1.jpg')} a/1.jpg"],
        "tags": [],
        "people_prob": 0.1,
        "margin": -0.021972,
    }
    assert (rows["a/2.jpg"]["outcome"], rows["a/2.jpg"]["reason"]) == ("removed", "people_prob >= 0.5")
    assert (rows["a/2.jpg"]["people_prob"], rows["a/2.jpg"]["margin"]) == (0.9, 0.021972)
    assert rows["b.jpg"] == {
        "id": None,
        "name": "b.jpg",
        "outcome": "error",
        "reason": "decode: truncated",
        "decision": "",
        "link": "",
        "images": [],
        "tags": [],
        "people_prob": None,
        "margin": None,
    }
    assert close == 0


def test_what_a_person_decided_stands_as_a_decision(run):
    for key, prob in (("kept.jpg", 0.9), ("removed.jpg", 0.1), ("model.jpg", 0.9)):
        run.put(key, prob)
    run.reviews = run.root / "reviews.csv"
    rows = [f"{run.sha256(key)},{key},{decision}" for key, decision in (("kept.jpg", "keep"), ("removed.jpg", "remove"))]
    run.reviews.write_text("\n".join(["sha256,path,decision", *rows, ""]))
    run.until_merge()
    found, _ = rows_of(run)
    assert {name: (row["outcome"], row["reason"], row["decision"]) for name, row in found.items()} == {
        "kept.jpg": ("kept", "human", "keep"),
        "removed.jpg": ("removed", "human", "remove"),
        "model.jpg": ("removed", "people_prob >= 0.5", ""),
    }


def test_links_lead_to_a_bucket_by_https(in_bucket):
    in_bucket.put("a b/é#.jpg", 0.9)
    in_bucket.put("c.jpg", 0.1)
    in_bucket.until_merge()
    rows, _ = rows_of(in_bucket)
    assert {name: row["link"] for name, row in rows.items()} == {
        "in/a b/é#.jpg": "https://bucket.s3.eu-west-3.amazonaws.com/in/a%20b/%C3%A9%23.jpg",
        "in/c.jpg": "https://bucket.s3.eu-west-3.amazonaws.com/in/c.jpg",
    }
    assert rows["in/c.jpg"]["images"] == [f"{in_bucket.sha256('in/c.jpg')} in/c.jpg"]


@pytest.mark.parametrize("threshold", [0.5, 0.3, 0.995])
def test_what_lies_near_the_threshold_is_tagged(run, threshold):
    probs = {"below": threshold - 0.9 * BAND, "above": threshold + 0.4 * BAND, "at": threshold, "low": threshold - 1.1 * BAND, "far": 0.01}
    probs["high"] = min(1.0, threshold + 1.1 * BAND)
    for key, prob in probs.items():
        run.put(f"{key}.jpg", round(prob, 6))
    run.settings["threshold"] = threshold
    run.until_merge()
    rows, close = rows_of(run)
    tagged = {name for name, row in rows.items() if row["tags"]}
    near = {"below.jpg", "above.jpg", "at.jpg"} | ({"high.jpg"} if threshold > 0.99 else set())
    assert tagged == near
    assert {tag for row in rows.values() for tag in row["tags"]} == {TOO_CLOSE}
    assert close == len(near)


def test_what_a_person_decided_is_never_too_close_to_call(run):
    run.put("person.jpg", 0.5)
    run.put("model.jpg", 0.5)
    run.reviews = run.root / "reviews.csv"
    run.reviews.write_text(f"sha256,path,decision\n{run.sha256('person.jpg')},person.jpg,keep\n")
    run.until_merge()
    rows, close = rows_of(run)
    assert {name: row["tags"] for name, row in rows.items()} == {"person.jpg": [], "model.jpg": [TOO_CLOSE]}
    assert close == 1


@pytest.mark.parametrize("prob", [0.1, 0.9])
def test_names_arrive_as_they_are(run, prob):
    for key in ODD:
        run.put(key, prob)
        run.put(f"broken/{key}", error='decode: broken JPEG: "a, b"')
    run.until_merge()
    rows, _ = rows_of(run)
    assert rows.keys() == {*ODD, *(f"broken/{key}" for key in ODD)}
    for key in ODD:
        assert rows[key]["images"] == [f"{run.sha256(key)} {key}"]
        assert rows[key]["link"] == (run.source / key).as_uri()
        assert rows[f"broken/{key}"]["reason"] == 'decode: broken JPEG: "a, b"'


@pytest.mark.parametrize("only", ["kept", "removed", "errors"])
def test_tables_may_be_empty(run, only):
    run.put("a.jpg", 0.9 if only == "removed" else 0.1, error="decode: truncated" if only == "errors" else None)
    run.until_merge()
    rows, _ = rows_of(run)
    assert [row["outcome"] for row in rows.values()] == ["error" if only == "errors" else only]


def test_all_tables_may_be_empty(run):
    run.put("a.jpg")
    run.settings["exclude"] = [{"csv": str(run.root / "list.csv"), "by": "path", "strip_prefix": ""}]
    (run.root / "list.csv").write_text("path\na.jpg\n")
    run.until_merge()
    assert rows_of(run) == ({}, 0)


def test_a_table_of_many_blocks_is_read_whole(run):
    """Arrow reads CSV in blocks of a mebibyte: names with line ends must not be cut at their borders."""
    keys = [f"{number % 3}/" + "x\ny," * 300 + f"{number:05}.jpg" for number in range(2500)]
    rows = [(key, (0.2, 0.3, 0.5, 0.7)[number % 4]) for number, key in enumerate(keys)]
    fill(run, rows)
    found, close = rows_of(run)
    assert {name: row["people_prob"] for name, row in found.items()} == dict(rows)
    assert close == 625
    assert (run.aggregate / "kept_all.csv").stat().st_size > 1 << 20


def fill(run, rows):
    """Merged manifests of rows that were never files."""
    tables = {"kept": [], "removed": []}
    for key, prob in rows:
        row = dict.fromkeys(manifests.COLUMNS, "") | {
            "s3_key": key,
            "people_prob": f"{prob:.6f}",
            "margin": "0.0",
            "sha256": content_hash(key.encode()),
        }
        tables["removed" if prob >= 0.5 else "kept"].append(row | {"s3_uri": "file:///x", "reason": "people_prob"})
    for name, found in tables.items():
        manifests.write_csv(run.aggregate / f"{name}_all.csv", manifests.COLUMNS, found)
    manifests.write_csv(run.aggregate / "errors_all.csv", manifests.ERROR_COLUMNS, [])


# ---- thumbnails ----


def test_images_of_a_bucket_have_thumbnails(in_bucket):
    in_bucket.put("a b/é.png", data=picture(kind="PNG"))
    found = Thumbnails(in_bucket.root / "cache", open_storage("s3://bucket/in/", in_bucket.settings["store"]), 10_000_000)
    image = Image.open(io.BytesIO(found(f"{in_bucket.sha256('in/a b/é.png')} in/a b/é.png")))
    assert (image.format, image.size) == ("JPEG", (160, 120))
    assert found("ab" * 32 + " in/gone.jpg") is None
