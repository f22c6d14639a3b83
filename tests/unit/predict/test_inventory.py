"""Which images a project has: every file is listed once, or counted."""

import os
import zipfile

from workflow_scripts.predict.inventory import list_source, take_inventory
from workflow_scripts.predict.sources import open_source
from workflow_scripts.predict.tables import about, read

LIMITS = {"max_member": 10_000, "max_ratio": 100.0}


def make_zip(path, members):
    with zipfile.ZipFile(path, "w") as target:
        for name, data in members:
            target.writestr(name, data)
    return str(path)


def rows_of(path):
    listing = list_source(open_source(path, **LIMITS))
    return {row["path"]: row for row in listing.rows}, dict(listing.skipped)


def test_files_with_the_ending_of_an_image_are_listed_and_all_others_counted(tmp_path):
    names = [
        "b/x.PNG",
        "a.jpg",
        "c.JpEg",
        "d.webp",
        "notes.txt",
        "movie.mp4",
        "gif.gif",
        "README",
        "__MACOSX/._a.jpg",
        ".DS_Store",
        "b/._x.png",
    ]
    found, skipped = rows_of(make_zip(tmp_path / "a.zip", [(name, b"1") for name in names]))
    assert list(found) == ["a.jpg", "b/x.PNG", "c.JpEg", "d.webp"]
    assert all(row["groupable"] and row["error"] is None and row["size"] == 1 for row in found.values())
    litter = {"__MACOSX": 1, ".DS_Store": 1, "._*": 1}
    assert skipped == {".txt": 1, ".mp4": 1, ".gif": 1, "(no extension)": 1} | litter


def test_a_folder_is_listed_as_a_zip_of_it(tmp_path):
    folder = tmp_path / "folder"
    names = ["b/x.PNG", "a.jpg", "notes.txt", "__MACOSX/._a.jpg", ".DS_Store", "b/._x.png"]
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1")
    zipped, in_zip = rows_of(make_zip(tmp_path / "a.zip", [(name, b"1") for name in names]))
    found, skipped = rows_of(str(folder))
    assert (list(found), skipped) == (list(zipped), in_zip)


def test_refused_members_are_error_rows_and_those_with_a_plain_name_stand_in_their_group(tmp_path):
    bomb = b"0" * 10_001
    members = [("../up.jpg", b"1"), ("/abs.jpg", b"1"), ("a\\..\\b.jpg", b"1"), ("set/stage1_generated.jpg", bomb), ("set/big.txt", bomb)]
    found, skipped = rows_of(make_zip(tmp_path / "a.zip", [*members, ("set/stage2_upscaled.jpg", b"1")]))
    assert {path: (row["error"], row["groupable"]) for path, row in found.items()} == {
        "../up.jpg": ("list: path traversal: .. in the name", False),
        "/abs.jpg": ("list: absolute name", False),
        "a\\..\\b.jpg": ("list: path traversal: .. in the name", False),
        "set/stage1_generated.jpg": ("list: declares 10001 bytes, more than 10000", True),
        "set/stage2_upscaled.jpg": (None, True),
    }
    assert skipped == {"refused .txt": 1}


def test_of_two_members_with_one_name_and_content_one_takes_part(tmp_path):
    listing = list_source(
        open_source(make_zip(tmp_path / "a.zip", [("a.jpg", b"1"), ("a.jpg", b"1"), ("b.jpg", b"1"), ("b.jpg", b"2")]), **LIMITS)
    )
    assert [(row["path"], row["groupable"], row["error"] is None) for row in listing.rows] == [
        ("a.jpg", True, True),
        ("a.jpg", False, False),
        ("b.jpg", False, False),
        ("b.jpg", False, False),
    ]


def test_a_name_that_is_no_utf8_is_an_error_row(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with open(os.fsencode(folder) + b"/\xff.jpg", "wb") as handle:
        handle.write(b"1")
    found, _ = rows_of(str(folder))
    assert {path: (row["groupable"], row["error"]) for path, row in found.items()} == {
        "\\udcff.jpg": (False, "list: the name is no UTF-8; rename the file")
    }


def test_the_table_says_what_it_lists(tmp_path):
    path = make_zip(tmp_path / "a.zip", [("b.jpg", b"1"), ("a.jpg", b"22"), ("x.txt", b"")])
    project = {"project_id": "p ü", "path": path, "fingerprint": "f"}
    assert take_inventory(project, LIMITS, tmp_path / "out/p.parquet") == {"listed": 2, "refused": 0, "skipped": 1}
    assert about(tmp_path / "out/p.parquet") == project | {"status": "success", "error": "", "images": 2, "skipped": {".txt": 1}}
    assert [(row["path"], row["size"]) for row in read(tmp_path / "out/p.parquet")] == [("a.jpg", 2), ("b.jpg", 1)]


def test_a_project_that_cannot_be_read_is_an_empty_inventory_that_says_why(tmp_path):
    (tmp_path / "bad.zip").write_bytes(b"PK no archive")
    project = {"project_id": "bad", "path": str(tmp_path / "bad.zip"), "fingerprint": "f"}
    assert take_inventory(project, LIMITS, tmp_path / "p.parquet") == {"listed": 0, "refused": 0, "skipped": 0}
    found = about(tmp_path / "p.parquet")
    assert found["status"] == "failed"
    assert "bad.zip" in found["error"]
    assert read(tmp_path / "p.parquet") == []
