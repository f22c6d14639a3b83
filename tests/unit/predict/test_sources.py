"""Where a project's images come from, and what tells that they changed."""

import os
import zipfile

import pytest

from workflow_scripts.core.storage import FolderStorage, StoreError, ZipStorage
from workflow_scripts.predict.sources import GONE, fingerprint, open_source, size

LIMITS = {"max_member": 1000, "max_ratio": 100.0}


def archive(path, **members):
    with zipfile.ZipFile(path, "w") as target:
        for name, data in members.items():
            target.writestr(name, data)
    return str(path)


def test_a_folder_and_a_zip_are_opened_for_what_they_are(tmp_path):
    (tmp_path / "folder").mkdir()
    assert isinstance(open_source(str(tmp_path / "folder"), **LIMITS), FolderStorage)
    source = open_source(archive(tmp_path / "a.zip", small=b"x" * 1000, large=b"x" * 1001), **LIMITS)
    assert isinstance(source, ZipStorage)
    assert [item.key for item in source.list()] == ["small"]
    assert source.refused == [("large", "declares 1001 bytes, more than 1000")]


@pytest.mark.parametrize("name", ["nothing.zip", "text.zip"])
def test_what_is_neither_is_refused(tmp_path, name):
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(StoreError, match=name):
        open_source(str(tmp_path / name), **LIMITS)


def test_a_fingerprint_changes_with_the_source_alone(tmp_path):
    path = archive(tmp_path / "a.zip", one=b"1")
    before = fingerprint(path)
    assert fingerprint(path) == before
    os.utime(path, (1, 1))
    assert fingerprint(path) != before
    folder = tmp_path / "folder"
    folder.mkdir()
    empty = fingerprint(str(folder))
    (folder / "a.jpg").write_bytes(b"1")
    assert fingerprint(str(folder)) not in (empty, GONE)
    assert fingerprint(str(tmp_path / "no such")) == GONE


def test_sizes_tell_small_projects_from_large_ones(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"12345")
    assert size(str(folder)) == 5
    assert size(archive(tmp_path / "a.zip", one=b"1" * 500)) > 500
    assert size(str(tmp_path / "no such")) == 0
