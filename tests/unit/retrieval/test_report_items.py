"""retrieval 07: a row for each negative, each query without a record and each unreadable image; what the records hold, counted."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.unit.retrieval.pages_data import HOSTILE, Results, drawn
from workflow_scripts.core.step import StepError
from workflow_scripts.retrieval import page_images, report_items
from workflow_scripts.retrieval.page_images import Images
from workflow_scripts.retrieval.records import Record
from workflow_scripts.retrieval.report_items import BINS, SCHEMA, binned, write_items

CONCEPTS = {"mug": ["red", "blue", "grey"], "dog": ["terrier", "poodle", "spaniel", "mastiff"], "oil": ["jar", "can"]}


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path, CONCEPTS, images=3, relative=True)


def rows_of(results):
    """The rows of the page in order, and what was found."""
    made = results.write()
    output = results.root / "items.parquet"
    found = write_items(made["records"], list(results.metadata.values()), Images(made["images"], str(results.data)), output)
    table = pq.read_table(output)
    assert table.schema.equals(SCHEMA)
    return table.to_pylist(), found


def row_of(results, path):
    return next(row for row in results.rows if row["catalog_path"] == path)


def test_a_row_is_a_query_with_its_positive_and_one_negative(results):
    rows, _ = rows_of(results)
    records = [record for found in results.records.values() for record in found]
    assert len(records) == 9 + 12
    pairs = [(record, place) for record in records for place in range(3) if place != record.label]
    kept = rows[: 9 * 2] + rows[9 * 2 : 21 * 2]
    assert [row["name"] for row in kept] == [f"{record.query_path} → {record.ret_paths[place]}" for record, place in pairs]
    for row, (record, place) in zip(kept, pairs, strict=True):
        shown = [row_of(results, path) for path in (record.query_path, record.ret_paths[record.label], record.ret_paths[place])]
        links = [(results.data / each["path"]).as_uri() for each in shown]
        assert row == {
            "id": shown[0]["sha256"],
            "name": f"{shown[0]['path']} → {shown[2]['path']}",
            "label": f"{shown[0]['concept']} → {shown[2]['concept']}",
            "outcome": "kept",
            "reason": f"{shown[0]['concept']} → {shown[2]['concept']}",
            "link": links[0],
            "links": links,
            "images": [f"{each['sha256']} {each['path']}" for each in shown],
            "tags": [record.category, f"answer at {record.label + 1} of 3"] + ["near copy?"] * (record.similarities[place] >= 0.95),
            "negative": record.similarities[place],
            "positive": record.similarities[record.label],
            "margin": round(record.similarities[record.label] - record.similarities[place], 6),
        }


def test_queries_without_a_record_follow_their_category_and_errors_come_last(results):
    results.put("mug", "red", "broken.jpg", b"no image", "error", "decode: not an image")
    results.put("dog", "poodle", "none.jpg", None, "error", "list: the name is no UTF-8; rename the file")
    results.put("dog", "poodle", "notes.txt", None, "skipped", "skipped: .txt")
    results.metadata["mug"]["skipped_queries"] = [{"path": "mug/red/0.jpg", "reason": "review"}]
    rows, found = rows_of(results)
    assert [row["outcome"] for row in rows] == ["kept"] * 18 + ["skipped"] + ["kept"] * 24 + ["skipped"] * 6 + ["error"] * 2
    assert rows[18] == {
        "id": row_of(results, "mug/red/0.jpg")["sha256"],
        "name": "mug/red/0.jpg",
        "label": "red",
        "outcome": "skipped",
        "reason": "review",
        "link": (results.data / "mug/red/0.jpg").as_uri(),
        "links": [],
        "images": [f"{row_of(results, 'mug/red/0.jpg')['sha256']} mug/red/0.jpg"],
        "tags": ["mug"],
        "negative": None,
        "positive": None,
        "margin": None,
    }
    assert [(row["name"], row["reason"]) for row in rows[43:49]] == [
        (f"oil/{concept}/{number}.jpg", "too few concepts") for concept in ("jar", "can") for number in range(3)
    ]
    assert [(row["id"], row["name"], row["label"], row["reason"], row["images"], row["tags"], row["negative"]) for row in rows[49:]] == [
        (row_of(results, "mug/red/broken.jpg")["sha256"], "mug/red/broken.jpg", "red", "decode: not an image", [], ["mug"], None),
        (None, "dog/poodle/none.jpg", "poodle", "list: the name is no UTF-8; rename the file", [], ["dog"], None),
    ]
    assert rows[49]["link"] == (results.data / "mug/red/broken.jpg").as_uri()
    assert found.errors == 2


def test_a_negative_of_another_category_says_so(results):
    query, positive = results.of("oil", "jar")[:2]
    others = [results.of("mug", "red")[0], results.of("oil", "can")[0]]
    results.records["oil"] = [results.record(query, positive, others, "oil", "jar", ["red", "can"])]
    results.metadata["oil"] |= {"records": 1}
    rows, _ = rows_of(results)
    assert {row["label"] for row in rows if row["name"].startswith(f"{query} → ")} == {"jar → mug/red", "jar → can"}


@pytest.mark.parametrize("cosine", [0.949999, 0.95, 1.0, -0.2])
def test_near_copies_are_tagged_and_counted(results, cosine):
    for record in results.records["mug"]:
        record.similarities[:] = [0.8, 0.8, 0.8]
    record = results.records["mug"][4]
    place = (record.label + 1) % 3
    record.similarities[place] = cosine
    del results.records["dog"], results.metadata["dog"], results.records["oil"], results.metadata["oil"]
    rows, found = rows_of(results)
    tagged = [row["name"] for row in rows if "near copy?" in row["tags"]]
    assert tagged == ([f"{record.query_path} → {record.ret_paths[place]}"] if cosine >= 0.95 else [])
    assert found.near == len(tagged)
    assert found.closer == int(cosine > 0.8)


def test_what_the_records_hold_is_counted(results):
    results.records["mug"][0].similarities[:] = [1.0, 1.0, -1.0]
    results.records["mug"][1].similarities[:] = [0.29, 0.57, 0.58]  # times 100 these fall below the whole number as floats
    rows, found = rows_of(results)
    records = [record for made in results.records.values() for record in made]
    assert dict(found.records) == {"mug": 9, "dog": 12}
    assert found.positions == {(3, label): sum(record.label == label for record in records) for label in range(3)}
    positives = [record.similarities[record.label] for record in records]
    negatives = [cosine for record in records for place, cosine in enumerate(record.similarities) if place != record.label]
    for counts, cosines in ((found.positives, positives), (found.negatives, negatives)):
        wanted = np.zeros(BINS, int)
        for cosine in cosines:
            wanted[min(BINS - 1, (round(cosine * 1_000_000) + 1_000_000) // 10_000)] += 1
        assert counts.tolist() == wanted.tolist()
        assert counts.sum() == len(cosines)
    assert found.closer == sum(row["margin"] < 0 for row in rows if row["margin"] is not None)


def test_a_cosine_belongs_to_the_bin_that_begins_with_it():
    assert np.flatnonzero(binned([0.29])).tolist() == np.flatnonzero(binned([0.299999])).tolist() == [129]
    assert np.flatnonzero(binned([-1.0, 0.0, 0.57, 0.58, 0.999999, 1.0])).tolist() == [0, 100, 157, 158, 199]
    assert binned([1.0, 1.0, 0.995])[199] == 3
    assert binned([]).tolist() == [0] * BINS


def test_names_survive_whatever_they_hold(results):
    for number, name in enumerate(HOSTILE):
        results.put("mug", "red", name, drawn("mug", "red", 100 + number))
    paths = [f"mug/red/{name}" for name in HOSTILE]
    others = [f"mug/blue/{number}.jpg" for number in range(2)]
    results.records["mug"] = [
        Record(
            query_path=path,
            ret_paths=[others[0], paths[place - 1], paths[place - 2]],
            label=1,
            category="mug",
            concept='<b>r,e"d\n',
            ret_concepts=["blue", '<b>r,e"d\n', "'; --"],
            similarities=[0.5, 0.6, 0.7],
        )
        for place, path in enumerate(paths)
    ]
    results.metadata["mug"] |= {"records": len(paths), "skipped_queries": [{"path": path, "reason": "review"} for path in paths]}
    rows, _ = rows_of(results)
    assert [row["name"] for row in rows[: 2 * len(paths)]] == [
        f"{path} → {other}" for place, path in enumerate(paths) for other in (others[0], paths[place - 2])
    ]
    assert [row["name"] for row in rows if row["reason"] == "review"] == paths
    assert rows[1]["label"] == "<b>r,e\"d\n → '; --"
    assert [row["images"][0] for row in rows[: 2 * len(paths) : 2]] == [f"{row_of(results, path)['sha256']} {path}" for path in paths]


def test_many_records_are_the_same_rows_however_they_are_read(results, monkeypatch):
    for number in range(3):
        results.put("mug", "red", f"broken {number}.jpg", f"no image {number}".encode(), "error", "decode: not an image")
    whole = rows_of(results)
    assert whole[1].errors == 3
    for size in (1, 4):
        monkeypatch.setattr(report_items, "BATCH", size)
        monkeypatch.setattr(page_images, "BATCH", size)
        rows, found = rows_of(results)
        assert rows == whole[0]
        assert (found.positions, found.near, found.closer) == (whole[1].positions, whole[1].near, whole[1].closer)
        assert found.negatives.tolist() == whole[1].negatives.tolist()


@pytest.mark.parametrize("said", [8, 10])
def test_records_and_metadata_have_to_belong_together(results, said):
    results.metadata["mug"]["records"] = said
    with pytest.raises(StepError, match=rf"0/retrieval_top3\.json: the metadata beside it speak of {said} records of mug; delete it"):
        rows_of(results)
    assert not (results.root / "items.parquet").exists()


@pytest.mark.parametrize("field", ["query_path", "positive", "negative", "skipped"])
def test_an_image_that_the_catalog_does_not_know_is_named(results, field):
    record = results.records["dog"][3]
    changes = {
        "query_path": {"query_path": "dog/gone.jpg"},
        "positive": {"ret_paths": ["dog/gone.jpg" if place == record.label else path for place, path in enumerate(record.ret_paths)]},
        "negative": {"ret_paths": [path if place == record.label else "dog/gone.jpg" for place, path in enumerate(record.ret_paths)]},
        "skipped": {},
    }
    results.records["dog"][3] = record.model_copy(update=changes[field])
    if field == "skipped":
        results.metadata["dog"]["skipped_queries"] = [{"path": "dog/gone.jpg", "reason": "review"}]
    with pytest.raises(StepError, match=r"1/retrieval_top3\.json: names dog/gone\.jpg"):
        rows_of(results)


def test_no_record_at_all_gives_the_queries_without(tmp_path):
    results = Results(tmp_path, {"oil": ["jar", "can"]}, images=2)
    rows, found = rows_of(results)
    assert [row["outcome"] for row in rows] == ["skipped"] * 4
    assert (found.records, found.positions, found.negatives.sum()) == ({}, {}, 0)
