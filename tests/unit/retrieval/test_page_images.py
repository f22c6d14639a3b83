"""retrieval 07: the images of a dataset, found by the path in records; lists of texts; rows of a page."""

import hashlib

import pyarrow as pa
import pytest

from tests.unit.retrieval.pages_data import HOSTILE, Results
from workflow_scripts.core.step import StepError
from workflow_scripts.retrieval import page_images
from workflow_scripts.retrieval.page_images import Images, batch_of, read_images, side_by_side


@pytest.fixture(params=[False, True], ids=["absolute", "relative"])
def results(request, tmp_path):
    results = Results(tmp_path, {"mug": ["red", "blue"]}, images=2, relative=request.param)
    for number, name in enumerate(HOSTILE):
        results.put("mug", "red", name, f"content {number}".encode())
    results.put("mug", "blue", "broken.jpg", b"broken", "error", "decode: not an image")
    results.put("mug", "blue", "cut.jpg", None, "error", "list: the name is no UTF-8; rename the file")
    results.put("", "", "stray.txt", None, "skipped", "skipped: in no category folder")
    return results


@pytest.mark.parametrize("batch", [3, 1000])
def test_images_are_found_by_the_path_in_records_whatever_their_names(results, monkeypatch, batch):
    monkeypatch.setattr(page_images, "BATCH", batch)
    images = Images(results.write()["images"], str(results.data))
    rows = [row for row in results.rows if row["sha256"] and row["category"]][::-1]
    assert len(rows) == 6 + 6 + 1
    found = images.find([row["catalog_path"] for row in rows] + [rows[2]["catalog_path"]], "records.json").to_pylist()
    assert found.pop() == found[2]
    for row, place in zip(rows, found, strict=True):
        assert {name: place[name] for name in row} == row
        assert place["picture"] == f"{row['sha256']} {row['path']}"
        assert place["link"] == (results.data / row["path"]).as_uri()
        assert hashlib.sha256((results.data / row["path"]).read_bytes()).hexdigest() == row["sha256"]
    assert images.find([], "records.json").num_rows == 0


def test_a_path_that_the_catalog_does_not_know_is_named_with_both_files(results):
    images = Images(results.write()["images"], str(results.data))
    known = results.name("mug/red/0.jpg")
    with pytest.raises(StepError, match=r"^some/records\.json: names mug/red/gone\.jpg, which .*images\.parquet does not; delete both"):
        images.find([known, "mug/red/gone.jpg"], "some/records.json")


def test_errors_are_the_images_that_cannot_be_read(results, monkeypatch):
    monkeypatch.setattr(page_images, "BATCH", 1)
    errors = [row for batch in Images(results.write()["images"], str(results.data)).errors() for row in batch.to_pylist()]
    assert [(row["path"], row["reason"], row["picture"] is None) for row in errors] == [
        ("mug/blue/broken.jpg", "decode: not an image", False),
        ("mug/blue/cut.jpg", "list: the name is no UTF-8; rename the file", True),
    ]


def test_a_link_leads_below_data_root_as_configured_without_its_slash(results, monkeypatch):
    monkeypatch.chdir(results.root)
    table = results.write()["images"]
    links = {
        root: [link for batch in read_images(table, root) for link in batch["link"].to_pylist()] for root in ("data", "data/", "./data")
    }
    assert links["data"] == links["data/"] == links["./data"] == [(results.data / row["path"]).as_uri() for row in results.rows]


def test_columns_stand_side_by_side_without_nulls():
    first, second = pa.array(["a", None, "c"]), pa.chunked_array([["x"], ["y", None]])
    assert side_by_side(first).to_pylist() == [["a"], [], ["c"]]
    assert side_by_side(first, second).to_pylist() == [["a", "x"], ["y"], ["c"]]
    assert side_by_side(second, first, first).to_pylist() == [["x", "a", "a"], ["y"], ["c", "c"]]
    assert side_by_side(first[:0], second[:0]).to_pylist() == []
    assert side_by_side(first[1:], second[1:]).to_pylist() == [["y"], ["c"]]


def test_a_batch_has_the_columns_of_its_schema_and_empty_ones_for_the_others():
    schema = pa.schema([("name", pa.string()), ("link", pa.string()), ("tags", pa.list_(pa.string())), ("number", pa.float64())])
    batch = batch_of(schema, {"name": ["a", "b"]}, 2)
    assert batch.schema == schema
    assert batch.to_pylist() == [{"name": name, "link": "", "tags": [], "number": None} for name in "ab"]
    full = {"number": [1.0], "tags": pa.chunked_array([[["x", "y"]]]), "link": pa.array(["l"]), "name": ["n"]}
    assert batch_of(schema, full, 1).to_pylist() == [{"name": "n", "link": "l", "tags": ["x", "y"], "number": 1.0}]
