"""Folders as stores: order, links, odd names, checked reads, whole copies, URIs, the fingerprint of a tree."""

import errno
import os
import shutil
from dataclasses import replace
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest

from workflow_scripts.core.storage import (
    FolderStorage,
    Item,
    StorageError,
    StoreError,
    folder,
    is_valid_key,
    open_storage,
    printable_key,
    tree_fingerprint,
)

SECOND = 1_000_000_000
BAD_NAME = os.fsdecode(b"caf\xe9.jpg")  # Latin-1, no UTF-8


def put(root, key, data="x", mtime_ns=None):
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data)
    if mtime_ns is not None:
        os.utime(path, ns=(mtime_ns, mtime_ns))
    return path


def keys(root):
    return [item.key for item in FolderStorage(root).list()]


def item_of(root, key):
    return next(item for item in FolderStorage(root).list() if item.key == key)


# ---- listing ----


@pytest.mark.parametrize(
    "wanted",
    [
        ["a", "a.b", "a-b", "a0", "A"],
        ["a/x", "a/y/z", "a.b", "a-b", "a b", "a0", "a!"],
        ["a/b/c/d", "a/b/c-d", "a/b.c/d", "a-/x", "a./x", "a/b/c.d"],
        ["é.jpg", "z.jpg", "ÿ/x", "e\u0301.jpg", "ÿ-x"],
        ["\uff61.jpg", "\U0001f600.jpg", "\ue000/x"],  # UTF-16 would order these the other way round
        ["line\nbreak.jpg", 'quo"te.jpg', "tab\t/x", "%41", "A", "#1", "?"],
    ],
)
def test_the_order_is_that_of_the_keys_utf8_bytes(tmp_path, wanted):
    for key in wanted:
        put(tmp_path, key)
    assert keys(tmp_path) == sorted(wanted, key=str.encode)


def test_an_item_says_size_time_and_a_tag(tmp_path):
    put(tmp_path, "a/b.jpg", "12345", mtime_ns=1_700_000_000 * SECOND + 999_999_999)
    (item,) = FolderStorage(tmp_path).list()
    assert (item.key, item.size, item.last_modified) == ("a/b.jpg", 5, "2023-11-14T22:13:20Z")
    assert item == FolderStorage(tmp_path).find("a/b.jpg")
    put(tmp_path, "a/b.jpg", "12345", mtime_ns=1_700_000_000 * SECOND + 999_999_998)
    assert FolderStorage(tmp_path).find("a/b.jpg").etag != item.etag


def test_links_to_files_and_folders_are_followed(tmp_path):
    put(tmp_path / "elsewhere", "deep/1.jpg", "one")
    put(tmp_path / "root", "2.jpg", "two")
    (tmp_path / "root" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "also").symlink_to("linked")
    (tmp_path / "root" / "0.jpg").symlink_to(tmp_path / "elsewhere" / "deep" / "1.jpg")
    store = FolderStorage(tmp_path / "root")
    found = {item.key: store.read(item) for item in store.list()}
    assert found == {"0.jpg": b"one", "2.jpg": b"two", "also/deep/1.jpg": b"one", "linked/deep/1.jpg": b"one"}


def test_a_link_to_a_folder_above_ends(tmp_path):
    put(tmp_path, "a/b/1.jpg")
    (tmp_path / "a" / "b" / "up").symlink_to("..")
    (tmp_path / "a" / "b" / "top").symlink_to(tmp_path)
    (tmp_path / "a" / "here").symlink_to(".")
    assert keys(tmp_path) == ["a/b/1.jpg"]


def test_folders_that_link_to_each_other_end(tmp_path):
    put(tmp_path, "a/1.jpg")
    put(tmp_path, "b/2.jpg")
    (tmp_path / "a" / "to-b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "to-a").symlink_to(tmp_path / "a")
    assert keys(tmp_path) == ["a/1.jpg", "a/to-b/2.jpg", "b/2.jpg", "b/to-a/1.jpg"]


def test_a_link_to_itself_is_named(tmp_path):
    put(tmp_path, "1.jpg")
    (tmp_path / "self").symlink_to("self")
    with pytest.raises(StoreError, match=r"self: too many levels of symbolic links; nothing below a source may be left out unseen"):
        keys(tmp_path)


def test_a_folder_that_cannot_be_read_is_named(open_folder, without_privileges):
    put(open_folder, "a/1.jpg")
    put(open_folder, "b/2.jpg")
    (open_folder / "b").chmod(0)
    with without_privileges(), pytest.raises(StoreError, match=rf"^{open_folder}/b: permission denied; nothing below"):
        keys(open_folder)


def test_a_source_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StoreError, match="nowhere: no such folder"):
        FolderStorage(tmp_path / "nowhere").list()
    put(tmp_path, "file")
    with pytest.raises(StoreError, match="file: no such folder"):
        FolderStorage(tmp_path / "file").list()


def test_pipes_are_no_files(tmp_path):
    put(tmp_path, "1.jpg")
    os.mkfifo(tmp_path / "2.jpg")
    assert keys(tmp_path) == ["1.jpg"]


def test_names_that_are_no_utf8_are_listed_and_told_apart(tmp_path):
    put(tmp_path, "café.jpg")
    put(tmp_path, BAD_NAME)
    found = keys(tmp_path)
    assert sorted(found, key=os.fsencode) == found
    assert set(found) == {"café.jpg", BAD_NAME}
    assert [is_valid_key(key) for key in ("café.jpg", BAD_NAME)] == [True, False]
    assert printable_key(BAD_NAME) == r"caf\udce9.jpg"
    assert printable_key("café.jpg") == "café.jpg"
    assert FolderStorage(tmp_path).read(item_of(tmp_path, BAD_NAME)) == b"x"


def test_one_place_written_in_several_ways_has_one_identity(tmp_path, monkeypatch):
    put(tmp_path, "data/1.jpg")
    (tmp_path / "link").symlink_to("data")
    monkeypatch.chdir(tmp_path)
    stores = [open_storage(str(way)) for way in ("data", "data/", "./data", "link", tmp_path / "data", "data/../data")]
    assert {store.identity for store in stores} == {str(tmp_path.resolve() / "data")}
    assert stores[0].location == "data"


# ---- reading ----


def test_a_read_gives_the_content(tmp_path):
    put(tmp_path, "a/1.jpg", "abc")
    assert FolderStorage(tmp_path).read(item_of(tmp_path, "a/1.jpg")) == b"abc"


@pytest.mark.parametrize(
    ("data", "later"),
    [("other", 0), ("same", 1), ("same", -SECOND), ("longer than before", 1)],
    ids=["size", "newer", "older", "both"],
)
def test_a_file_that_changed_since_it_was_listed_is_refused(tmp_path, data, later):
    put(tmp_path, "1.jpg", "same", mtime_ns=100 * SECOND)
    item = item_of(tmp_path, "1.jpg")
    put(tmp_path, "1.jpg", data, mtime_ns=100 * SECOND + later)
    with pytest.raises(StorageError, match=r"^changed since listing$"):
        FolderStorage(tmp_path).read(item)


def test_a_file_that_grew_while_it_was_read_is_refused(tmp_path):
    put(tmp_path, "1.jpg", "same")
    item = item_of(tmp_path, "1.jpg")
    with pytest.raises(StorageError, match=r"^changed since listing$"):
        FolderStorage(tmp_path).read(replace(item, size=item.size + 1))


def test_a_file_that_is_gone_has_an_error_without_its_path(tmp_path):
    put(tmp_path, "1.jpg")
    item = item_of(tmp_path, "1.jpg")
    (tmp_path / "1.jpg").unlink()
    with pytest.raises(StorageError, match=r"^no such file or directory$"):
        FolderStorage(tmp_path).read(item)


def test_a_file_that_may_not_be_read(open_folder, without_privileges):
    put(open_folder, "1.jpg").chmod(0)
    item = item_of(open_folder, "1.jpg")
    with without_privileges(), pytest.raises(StorageError, match=r"^permission denied$"):
        FolderStorage(open_folder).read(item)


def test_find_what_is_not_there(tmp_path):
    put(tmp_path, "file")
    store = FolderStorage(tmp_path)
    assert store.find("gone") is None
    assert store.find("gone/too") is None
    assert store.find("file/below") is None


# ---- writing ----


def copied(tmp_path, key="a/1.jpg", to="x/y.jpg", item=None):
    source, target = FolderStorage(tmp_path / "from"), FolderStorage(tmp_path / "to")
    return target.copy_from(source, item or source.find(key), to)


def test_a_copy_keeps_content_and_time(tmp_path):
    put(tmp_path / "from", "a/1.jpg", "abc", mtime_ns=123_456_789_012_345_678)
    there = copied(tmp_path)
    target = tmp_path / "to" / "x" / "y.jpg"
    assert target.read_text() == "abc"
    assert target.stat().st_mtime_ns == 123_456_789_012_345_678
    assert there == FolderStorage(tmp_path / "to").find("x/y.jpg")
    assert (there.key, there.size) == ("x/y.jpg", 3)
    assert os.listdir(target.parent) == ["y.jpg"]


def test_a_source_that_changed_is_not_copied_and_the_old_copy_stays(tmp_path):
    put(tmp_path / "from", "a/1.jpg", "abc")
    item = item_of(tmp_path / "from", "a/1.jpg")
    put(tmp_path / "from", "a/1.jpg", "abcd")
    put(tmp_path / "to", "x/y.jpg", "old")
    with pytest.raises(StorageError, match=r"^changed since listing$"):
        copied(tmp_path, item=item)
    assert (tmp_path / "to" / "x" / "y.jpg").read_text() == "old"
    assert os.listdir(tmp_path / "to" / "x") == ["y.jpg"]


def test_a_copy_that_fails_midway_leaves_nothing(tmp_path, monkeypatch):
    put(tmp_path / "from", "a/1.jpg", "abc")

    def fill_the_disk(reader, writer, length):
        writer.write(reader.read(1))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(folder.shutil, "copyfileobj", fill_the_disk)
    with pytest.raises(StorageError, match=r"^no space left on device$"):
        copied(tmp_path)
    assert os.listdir(tmp_path / "to" / "x") == []


def test_a_target_that_cannot_be_written_is_an_error_with_its_reason(tmp_path):
    put(tmp_path / "from", "a/1.jpg", "abc")
    (tmp_path / "to" / "x" / "y.jpg").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"^is a directory$"):
        copied(tmp_path)
    put(tmp_path / "to", "file")
    with pytest.raises(StorageError, match=r"^(file exists|not a directory)$"):
        copied(tmp_path, to="file/1.jpg")


def test_a_copy_replaces_a_link_and_not_what_it_points_to(tmp_path):
    put(tmp_path / "from", "a/1.jpg", "abc")
    put(tmp_path, "precious", "mine")
    (tmp_path / "to" / "x").mkdir(parents=True)
    (tmp_path / "to" / "x" / "y.jpg").symlink_to(tmp_path / "precious")
    copied(tmp_path)
    assert (tmp_path / "precious").read_text() == "mine"
    assert (tmp_path / "to" / "x" / "y.jpg").read_text() == "abc"


def test_write_replaces_as_a_whole(tmp_path):
    store = FolderStorage(tmp_path / "new")
    assert store.write("a/b.csv", b"first") == store.find("a/b.csv")
    store.write("a/b.csv", b"second")
    assert store.read(store.find("a/b.csv")) == b"second"
    assert os.listdir(tmp_path / "new" / "a") == ["b.csv"]


def test_prepare_makes_the_folder_or_says_why_not(tmp_path):
    FolderStorage(tmp_path / "a" / "b").prepare()
    assert keys(tmp_path / "a" / "b") == []
    put(tmp_path, "file")
    with pytest.raises(StoreError, match=r"file/b: not a directory"):
        FolderStorage(tmp_path / "file" / "b").prepare()


def test_delete_takes_emptied_folders_up_to_the_root(tmp_path):
    root = tmp_path / "root"
    put(root, "a/b/c/1.jpg")
    put(root, "a/2.jpg")
    store = FolderStorage(root)
    store.delete("a/b/c/1.jpg")
    assert (keys(root), os.listdir(root / "a")) == (["a/2.jpg"], ["2.jpg"])
    store.delete("a/2.jpg")
    assert os.listdir(root) == []
    assert root.is_dir()


@pytest.mark.parametrize("key", ["gone.jpg", "gone/too.jpg", "a/gone.jpg", "a/gone/too.jpg"])
def test_deleting_what_is_not_there_is_no_error(tmp_path, key):
    put(tmp_path, "a/1.jpg")
    FolderStorage(tmp_path).delete(key)
    assert keys(tmp_path) == ["a/1.jpg"]


# ---- URIs ----


@pytest.mark.parametrize(
    ("key", "encoded"),
    [
        ("a b.jpg", "a%20b.jpg"),
        ("a#1.jpg", "a%231.jpg"),
        ("100%.jpg", "100%25.jpg"),
        ("why?.jpg", "why%3F.jpg"),
        ("two\nlines.jpg", "two%0Alines.jpg"),
        ("é/😀.jpg", "%C3%A9/%F0%9F%98%80.jpg"),
        ('"{}".jpg', "%22%7B%7D%22.jpg"),
        ("plain-1_2~3.jpg", "plain-1_2~3.jpg"),
    ],
)
def test_a_uri_is_percent_encoded_and_leads_back(tmp_path, key, encoded):
    uri = FolderStorage(tmp_path).uri(key)
    assert uri == f"file://{tmp_path}/{encoded}"
    assert unquote(urlsplit(uri).path) == f"{tmp_path}/{key}"


def test_a_uri_of_a_relative_place_is_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert FolderStorage("data").uri("1.jpg") == f"file://{tmp_path}/data/1.jpg"


# ---- the fingerprint of a tree ----


def grow(root):
    put(root, "a/1.jpg", "one", mtime_ns=10 * SECOND)
    put(root, "b.jpg", "two", mtime_ns=20 * SECOND)
    put(root, BAD_NAME, "three", mtime_ns=30 * SECOND)


CHANGES = {
    "a file more": lambda root: put(root, "c.jpg"),
    "a file less": lambda root: (root / "b.jpg").unlink(),
    "another name": lambda root: (root / "b.jpg").rename(root / "b2.jpg"),
    "another folder": lambda root: (root / "a").rename(root / "a2"),
    "another size": lambda root: put(root, "b.jpg", "twoo", mtime_ns=20 * SECOND),
    "another time": lambda root: os.utime(root / "b.jpg", ns=(20 * SECOND, 20 * SECOND + 1)),
    "times swapped": lambda root: [os.utime(root / key, ns=(at, at)) for key, at in (("a/1.jpg", 20 * SECOND), ("b.jpg", 10 * SECOND))],
}
NO_CHANGES = {
    "nothing": lambda root: None,
    "the time of a folder": lambda root: os.utime(root / "a", (5, 5)),
    "the time of access": lambda root: os.utime(root / "b.jpg", ns=(99 * SECOND, 20 * SECOND)),
    "an empty folder": lambda root: (root / "empty").mkdir(),
    "permissions": lambda root: (root / "b.jpg").chmod(0o600),
    "another place": lambda root: (root.rename(root.with_name("moved")), root.symlink_to("moved")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_fingerprint_changes_with(tmp_path, change):
    grow(tmp_path / "root")
    before = tree_fingerprint(str(tmp_path / "root"))
    change(tmp_path / "root")
    assert tree_fingerprint(str(tmp_path / "root")) != before


@pytest.mark.parametrize("change", NO_CHANGES.values(), ids=NO_CHANGES)
def test_the_fingerprint_stays_with(tmp_path, change):
    grow(tmp_path / "root")
    before = tree_fingerprint(str(tmp_path / "root"))
    assert len(before) == 16
    change(tmp_path / "root")
    assert tree_fingerprint(str(tmp_path / "root")) == before


def test_copies_of_a_tree_have_one_fingerprint(tmp_path):
    grow(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert tree_fingerprint(str(tmp_path / "one")) == tree_fingerprint(str(tmp_path / "two"))


class Bucket:
    """Another kind of store, which holds one object."""

    location = "s3://bucket/x"

    def read(self, item):
        return f"the bytes of {item.key}".encode()


def test_from_another_kind_of_store_the_bytes_are_written(tmp_path):
    there = FolderStorage(tmp_path).copy_from(Bucket(), Item("x/k.jpg", 1, "e", ""), "a/k.jpg")
    assert (tmp_path / "a/k.jpg").read_bytes() == b"the bytes of x/k.jpg"
    assert there == item_of(tmp_path, "a/k.jpg")


@pytest.mark.parametrize("key", ["../out.jpg", "a/../../out.jpg", "/etc/out.jpg", "a//b.jpg", "a/./b.jpg", "a/", "", "nul\0.jpg"])
def test_a_bucket_s_key_never_leads_out_of_a_folder(tmp_path, key):
    """In a bucket any text is a key; two keys must not become one file, none a file elsewhere."""
    inside = FolderStorage(tmp_path / "inside")
    for act in (
        lambda: inside.copy_from(Bucket(), Item("k", 1, "e", ""), key),
        lambda: inside.write(key, b"x"),
        lambda: inside.delete(key),
    ):
        with pytest.raises(StorageError, match="cannot be the path of a file"):
            act()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_link_that_leads_nowhere_is_listed_and_cannot_be_read(tmp_path):
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    storage = FolderStorage(tmp_path)
    (item,) = storage.list()
    assert item.key == "gone.jpg"
    with pytest.raises(StorageError, match="no such file or directory"):
        storage.read(item)


def test_a_time_beyond_all_dates_is_written_as_the_last():
    status = SimpleNamespace(st_mtime_ns=300_000_000_000 * 10**9, st_size=1)
    assert folder._item("far.jpg", status).last_modified == "9999-12-31T23:59:59Z"
