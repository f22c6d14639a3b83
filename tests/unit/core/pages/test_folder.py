"""The folder appears whole, and replaces nothing but a page."""

import socket

import pytest

from workflow_scripts.core.pages import build_page, folder
from workflow_scripts.core.step import OrphanedError, StepError


def beside(path):
    return sorted(entry.name for entry in path.iterdir())


def test_a_page_replaces_an_older_one_whole(tmp_path, kit, rows, page):
    build_page(page, kit.table(kit.rows(250)), tmp_path / "page", kit.picture)
    (tmp_path / "page/.snakemake_timestamp").touch()
    assert len(list((tmp_path / "page/sheets").iterdir())) == 3
    build_page(page, kit.table(rows), tmp_path / "page", kit.picture)
    assert [path.name for path in (tmp_path / "page/sheets").iterdir()] == ["000.webp"]
    assert beside(tmp_path) == ["page"]


def test_an_empty_folder_is_taken(tmp_path, kit, rows, page):
    (tmp_path / "page").mkdir()
    build_page(page, kit.table(rows), tmp_path / "page", kit.picture)
    assert (tmp_path / "page/index.html").is_file()


@pytest.mark.parametrize("name", ["holiday.jpg", "index.html.bak", ".git"])
def test_a_folder_with_anything_else_is_refused_and_left_as_it_is(tmp_path, kit, rows, page, name):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / name).write_text("mine")
    asked = []
    with pytest.raises(StepError, match="is no part of a page"):
        build_page(page, kit.table(rows), tmp_path / "photos", asked.append)
    assert (tmp_path / "photos" / name).read_text() == "mine"
    assert not asked, "refused before any work"
    assert beside(tmp_path) == ["photos"]


def test_a_file_in_the_way_is_refused(tmp_path, kit, rows, page):
    (tmp_path / "page").write_text("mine")
    with pytest.raises(StepError, match="is no folder"):
        build_page(page, kit.table(rows), tmp_path / "page", kit.picture)
    assert (tmp_path / "page").read_text() == "mine"


def test_a_link_to_a_page_stays_a_link(tmp_path, kit, rows, page):
    build_page(page, kit.table(kit.rows(250)), tmp_path / "real", kit.picture)
    (tmp_path / "page").symlink_to("real")
    build_page(page, kit.table(rows), tmp_path / "page", kit.picture)
    assert (tmp_path / "page").is_symlink()
    assert len(list((tmp_path / "real/sheets").iterdir())) == 1


def test_a_failure_leaves_the_older_page_and_nothing_beside(tmp_path, kit, rows, page):
    build_page(page, kit.table(rows), tmp_path / "page", kit.picture)
    before = (tmp_path / "page/data.js").read_bytes()

    def fail(key):
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        build_page(page, kit.table(kit.rows(250)), tmp_path / "page", fail)
    assert (tmp_path / "page/data.js").read_bytes() == before
    assert beside(tmp_path) == ["page"]


def test_an_orphan_touches_nothing(tmp_path, monkeypatch):
    (tmp_path / "page").mkdir()
    (tmp_path / "page/index.html").write_text("old")

    def orphaned():
        raise OrphanedError("gone")

    monkeypatch.setattr(folder, "check_not_orphaned", orphaned)
    with pytest.raises(OrphanedError), folder.new_folder(tmp_path / "page") as partial:
        (partial / "index.html").write_text("new")
    assert (tmp_path / "page/index.html").read_text() == "old"
    assert beside(tmp_path) == ["page"]


def test_what_appears_meanwhile_is_not_overwritten(tmp_path):
    def build():
        with folder.new_folder(tmp_path / "page") as partial:
            (partial / "index.html").write_text("new")
            (tmp_path / "page").mkdir()
            (tmp_path / "page/mine.txt").write_text("mine")

    with pytest.raises(StepError, match=r"holds mine\.txt"):
        build()
    assert (tmp_path / "page/mine.txt").read_text() == "mine"


def test_leftovers_of_dead_processes_are_swept_and_those_of_others_left(tmp_path, ended_pid):
    host = socket.gethostname()
    dead = [f".page.{host}.{ended_pid}.new-page", f".page.{host}.{ended_pid}.old-page"]
    others = [f".page.{host}.1.new-page", f".page.elsewhere.{ended_pid}.new-page", f".other.{host}.{ended_pid}.new-page", ".page"]
    for name in dead + others:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    with folder.new_folder(tmp_path / "page") as partial:
        (partial / "index.html").touch()
    assert beside(tmp_path) == sorted([*others, "page"])
