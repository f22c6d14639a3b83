"""retrieval 07: the page of all files of a dataset: each once, with what the catalog made of it."""

import csv
import io
import json
import re

import pytest

from tests.unit.retrieval.pages_data import HOSTILE, Results, drawn
from workflow_scripts.core.pages import Choice, Export
from workflow_scripts.core.storage import FolderStorage
from workflow_scripts.core.thumbnails import Thumbnails
from workflow_scripts.retrieval import page_images
from workflow_scripts.retrieval.images_page import ROLES, build, describe

CONCEPTS = {"mug": ["red", "blue"], "dog": ["terrier"]}
RUN = {"data_root": "/data", "dataset": "things", "reviews": "reviews/retrieval/things/catalog.csv"}


@pytest.fixture
def results(tmp_path):
    """Two training images and a test image of each concept, and one file of every other kind."""
    results = Results(tmp_path, CONCEPTS, images=2)
    results.put("mug", "red", "laion/0.jpg", drawn("mug", "other", 0), "negative")
    results.put("mug", "red", "dropped.jpg", drawn("mug", "red", 90), "removed", "human")
    results.put("dog", "terrier", "listed.jpg", drawn("dog", "terrier", 91), "excluded", "lists/removed_all.csv")
    results.put("dog", "terrier", "broken.jpg", b"no image", "error", "decode: not an image")
    results.put("dog", "", "notes.txt", None, "skipped", "skipped: in no concept folder")
    results.put("", "", "stray.txt", None, "skipped", "skipped: in no category folder")
    return results


def page_of(results, folder="page", threads=2):
    """The counts of a page, its folder and its items by name."""
    thumbnails = Thumbnails(str(results.root / "cache"), FolderStorage(results.data), 10**7)
    images, output = results.write()["images"], results.root / folder
    counts = build(RUN | {"data_root": str(results.data)}, images, thumbnails, output, threads)
    text = (output / "data.js").read_text(encoding="utf-8")
    data = json.loads(text[text.index("=") + 1 : text.rindex(";")])
    items = data["items"]
    places = {name: items[name]["values"] for name in ("label", "reason", "decision", "tags")}
    codes = {name: items[name]["codes"] for name in places}
    rows = {
        name: {
            "id": items["id"][number],
            "outcome": data["outcomes"][items["outcome"][number]][0],
            "tags": [places["tags"][code] for code in codes["tags"][number]],
            "pictures": len(data["pictures"]["items"][number]),
            "open": items["open"][number],
            **{column: places[column][codes[column][number]] for column in ("label", "reason", "decision")},
        }
        for number, name in enumerate(items["name"])
    }
    return counts, output, data, rows


def table_of(folder, name):
    """A panel's file as dicts."""
    (path,) = folder.glob(f"files/*/{name}")
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


def test_every_file_stands_there_once_with_its_outcome(results):
    counts, folder, data, rows = page_of(results)
    assert counts == {"rows": 15, "shown": 15, "thumbnails": 12, "missing": 0, "broken": 0, "fetched": 12}
    assert list(rows) == [row["path"] for row in results.rows]
    assert {name: (row["outcome"], row["reason"]) for name, row in rows.items()} == {
        row["path"]: (row["outcome"], row["reason"]) for row in results.rows
    }
    assert data["outcomes"] == [
        *([name, "kept"] for name in ("train", "test", "negative")),
        ["removed", "rejected"],
        ["excluded", "other"],
        ["skipped", "other"],
        ["error", "error"],
    ]
    assert rows["mug/red/0.jpg"] == {
        "id": next(row["sha256"] for row in results.rows if row["path"] == "mug/red/0.jpg"),
        "outcome": "train",
        "tags": ["mug", "red"],
        "pictures": 1,
        "open": 1,
        "label": "red/0.jpg",
        "reason": "",
        "decision": "",
    }
    first = data["items"]["links"]["prefix"] + data["items"]["links"]["rest"][0]
    assert first == (results.data / results.rows[0]["path"]).as_uri()
    assert "15 files in" in (folder / "index.html").read_text(encoding="utf-8")


def test_a_person_decides_about_what_could_be_in_the_catalog(results):
    _, _, _, rows = page_of(results)
    assert {name for name, row in rows.items() if not row["open"]} == {
        "dog/terrier/listed.jpg",
        "dog/terrier/broken.jpg",
        "dog/notes.txt",
        "stray.txt",
    }
    assert {name: row["decision"] for name, row in rows.items() if row["decision"]} == {"mug/red/dropped.jpg": "drop"}


def test_files_without_concept_or_category_have_no_such_tag_and_go_by_their_name(results):
    _, _, _, rows = page_of(results)
    found = {name: (row["tags"], row["label"], row["pictures"]) for name, row in rows.items()}
    assert found["stray.txt"] == ([], "", 0)
    assert found["dog/notes.txt"] == (["dog"], "", 0)
    assert found["mug/red/laion/0.jpg"] == (["mug", "red"], "red/0.jpg", 1)
    assert rows["dog/terrier/broken.jpg"]["pictures"] == 0


def test_tables_count_by_category_and_concept(results):
    _, folder, _, _ = page_of(results)
    none = dict.fromkeys(ROLES, "0")
    assert table_of(folder, "categories.csv") == [
        none | {"category": "mug", "train": "4", "test": "2", "negative": "1", "removed": "1"},
        none | {"category": "dog", "train": "2", "test": "1", "excluded": "1", "error": "1", "skipped": "1"},
        none | {"category": "", "skipped": "1"},
        none
        | {"category": "all", "train": "6", "test": "3", "negative": "1", "removed": "1", "excluded": "1", "error": "1", "skipped": "2"},
    ]
    assert table_of(folder, "concepts.csv")[:3] == [
        none | {"category": "mug", "concept": "red", "train": "2", "test": "1", "negative": "1", "removed": "1"},
        none | {"category": "mug", "concept": "blue", "train": "2", "test": "1"},
        none | {"category": "dog", "concept": "terrier", "train": "2", "test": "1", "excluded": "1", "error": "1"},
    ]
    note = re.search(r'<p class="notice">(.*)</p>', (folder / "index.html").read_text(encoding="utf-8"))[1]
    assert note.endswith(": 6 training images, 3 test images, 1 negative of 3 concepts.")


def test_a_table_of_one_category_needs_no_sum(tmp_path):
    results = Results(tmp_path, {"mug": ["red"]}, images=1)
    assert [row["category"] for row in table_of(page_of(results)[1], "categories.csv")] == ["mug"]


def test_the_page_names_the_file_of_its_decisions():
    page = describe(RUN, {})
    assert page.page_id == "retrieval/things/catalog"
    assert page.title == "Images of things"
    assert page.export == Export("reviews/retrieval/things/catalog.csv", "catalog.csv", "decision")
    assert page.choices == (Choice("keep", "Keep", "k", "kept"), Choice("drop", "Drop", "x", "rejected"))


def test_the_same_table_gives_the_same_bytes(results, monkeypatch):
    def tree(folder):
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    first = page_of(results)
    monkeypatch.setattr(page_images, "BATCH", 4)
    again = page_of(results, "again", threads=5)
    assert again[0]["fetched"] == 0
    assert tree(first[1]) == tree(again[1])


def test_names_survive_whatever_they_hold(tmp_path):
    results = Results(tmp_path, {})
    for concept in ("<b>r\ned", 'a "b", c'):
        for number, name in enumerate(HOSTILE):
            results.put("<mug>", concept, name, drawn("mug", concept, number))
    _, folder, _, rows = page_of(results)
    assert list(rows) == [row["path"] for row in results.rows]
    assert [row["label"] for row in rows.values()] == [f"{row['concept']}/{row['path'].rsplit('/', 1)[1]}" for row in results.rows]
    assert [row["concept"] for row in table_of(folder, "concepts.csv")] == ["<b>r\ned", 'a "b", c']
    assert "<b>" not in (folder / "index.html").read_text(encoding="utf-8")
