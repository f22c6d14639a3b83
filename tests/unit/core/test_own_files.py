"""Files of a step's own among those of people: what is touched, what never is, and what a kill leaves behind."""

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from workflow_scripts.core import own_files as module
from workflow_scripts.core import step as step_module
from workflow_scripts.core.own_files import OwnFiles
from workflow_scripts.core.step import OrphanedError

REPO = Path(__file__).parents[3]
ODD = ["a b.jpg", 'it\'s "x".jpg', "two\nlines.jpg", "-rf.jpg", "é\u2028 中.jpg", "x" * 200, "deep/er/a.jpg"]


def sha(text):
    return sha256(text.encode()).hexdigest()


def make(folder, name="a.jpg", text="one", key="k", index="step"):
    files = OwnFiles(folder, index)
    with files.write(name, key) as partial:
        partial.write_text(text)
    return files


def touch(path, seconds=100):
    os.utime(path, ns=(0, path.stat().st_mtime_ns + seconds * 10**9))


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and ".made" not in path.parts)


# ---- what was made ----


@pytest.mark.parametrize("name", ODD)
def test_a_file_is_known_again_by_the_next_process(tmp_path, name):
    make(tmp_path, name)
    later = OwnFiles(tmp_path, "step")
    assert (tmp_path / name).read_text() == "one"
    assert later.sha256(name) == sha("one")
    assert (later.is_current(name, "k"), later.is_current(name, "other"), later.is_theirs(name)) == (True, False, False)
    assert (later.missing(), later.changed()) == ({}, {})


def test_a_name_that_was_never_made_is_nobodys(tmp_path):
    files = make(tmp_path)
    assert (files.sha256("b.jpg"), files.is_current("b.jpg", "k"), files.is_theirs("b.jpg")) == (None, False, False)


def test_opening_writes_nothing(tmp_path):
    OwnFiles(tmp_path / "new", "step")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_made_again_has_its_new_key_and_content(tmp_path):
    make(tmp_path)
    for files in (make(tmp_path, text="two", key="l"), OwnFiles(tmp_path, "step")):
        assert (files.sha256("a.jpg"), files.is_current("a.jpg", "l"), files.is_current("a.jpg", "k")) == (sha("two"), True, False)


def test_a_body_that_fails_leaves_what_was_there(tmp_path):
    files = make(tmp_path)

    def fail():
        with files.write("a.jpg", "l") as partial:
            partial.write_text("half")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert names(tmp_path) == ["a.jpg"]
    assert files.is_current("a.jpg", "k")


def test_steps_know_only_their_own_files(tmp_path):
    make(tmp_path, "a.jpg", index="one")
    make(tmp_path, "a.txt", index="two")
    one = OwnFiles(tmp_path, "one")
    assert (one.is_theirs("a.jpg"), one.is_theirs("a.txt")) == (False, True)
    one.close([])
    assert names(tmp_path) == ["a.txt"]


def test_many_threads_write_at_once(tmp_path):
    files = OwnFiles(tmp_path, "step")

    def write(number):
        with files.write(f"{number % 3}/{number}", "k") as partial:
            partial.write_text(str(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(60)))
    later = OwnFiles(tmp_path, "step")
    assert all(later.sha256(f"{number % 3}/{number}") == sha(str(number)) for number in range(60))


# ---- what people do ----


def test_an_edited_file_is_theirs_and_stays(tmp_path):
    make(tmp_path)
    (tmp_path / "a.jpg").write_text("mine")
    touch(tmp_path / "a.jpg")
    files = OwnFiles(tmp_path, "step")
    assert (files.sha256("a.jpg"), files.is_current("a.jpg", "k"), files.is_theirs("a.jpg")) == (None, False, True)
    assert files.changed() == {"a.jpg": sha("mine")}
    files.close(["a.jpg"])
    assert OwnFiles(tmp_path, "step").changed() == {"a.jpg": sha("mine")}
    OwnFiles(tmp_path, "step").close([])
    assert (tmp_path / "a.jpg").read_text() == "mine"


def test_an_edit_that_is_undone_is_no_edit(tmp_path):
    make(tmp_path)
    for text in ("mine", "one"):
        (tmp_path / "a.jpg").write_text(text)
        touch(tmp_path / "a.jpg")
    files = OwnFiles(tmp_path, "step")
    assert (files.is_current("a.jpg", "k"), files.changed()) == (True, {})


def test_a_file_that_was_only_touched_or_copied_is_still_ours_and_is_read_once(tmp_path, monkeypatch):
    make(tmp_path)
    touch(tmp_path / "a.jpg")
    read = []
    monkeypatch.setattr(module, "hash_file", lambda path: read.append(path) or sha(Path(path).read_text()))
    files = OwnFiles(tmp_path, "step")
    assert [files.is_current("a.jpg", "k") for _ in range(3)] == [True] * 3
    assert len(read) == 1
    files.close(["a.jpg"])
    assert OwnFiles(tmp_path, "step").sha256("a.jpg") == sha("one")
    assert len(read) == 1


def test_a_file_that_nobody_touched_is_not_read(tmp_path, monkeypatch):
    make(tmp_path)
    monkeypatch.setattr(module, "hash_file", None)
    files = OwnFiles(tmp_path, "step")
    assert files.is_current("a.jpg", "k")
    files.close([])
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "folder", "link to nowhere"])
def test_what_somebody_put_there_is_theirs(tmp_path, kind):
    path = tmp_path / "a.jpg"
    {"file": path.touch, "folder": path.mkdir, "link to nowhere": lambda: path.symlink_to("nowhere")}[kind]()
    files = OwnFiles(tmp_path, "step")
    assert (files.is_theirs("a.jpg"), files.changed()) == (True, {})
    files.close([])
    assert os.path.lexists(path)


def test_a_file_in_place_of_one_that_was_made_is_theirs(tmp_path):
    make(tmp_path)
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "a.jpg").symlink_to("nowhere")
    files = OwnFiles(tmp_path, "step")
    assert (files.is_theirs("a.jpg"), files.missing(), files.changed()) == (True, {}, {})


def test_what_was_taken_away_is_missing_for_as_long_as_it_is_wanted(tmp_path):
    make(tmp_path, "x/a.jpg", key="from this")
    make(tmp_path, "x/b.jpg")
    (tmp_path / "x/a.jpg").unlink()
    for _ in range(2):
        files = OwnFiles(tmp_path, "step")
        assert files.missing() == {"x/a.jpg": "from this"}
        assert (files.sha256("x/a.jpg"), files.is_theirs("x/a.jpg")) == (None, False)
        files.close(["x/a.jpg", "x/b.jpg"])
    OwnFiles(tmp_path, "step").close(["x/b.jpg"])
    assert OwnFiles(tmp_path, "step").missing() == {}


def test_what_was_moved_back_is_not_missing(tmp_path):
    make(tmp_path)
    (tmp_path / "a.jpg").rename(tmp_path / "elsewhere")
    assert list(OwnFiles(tmp_path, "step").missing()) == ["a.jpg"]
    (tmp_path / "elsewhere").rename(tmp_path / "a.jpg")
    files = OwnFiles(tmp_path, "step")
    assert (files.missing(), files.is_current("a.jpg", "k")) == ({}, True)


def test_nothing_is_missing_of_a_folder_that_is_gone(tmp_path):
    for name in ("x/a.jpg", "y/a.jpg"):
        make(tmp_path, name)
    shutil.rmtree(tmp_path / "x")
    (tmp_path / "y/a.jpg").unlink()
    assert list(OwnFiles(tmp_path, "step").missing()) == ["y/a.jpg"]
    shutil.rmtree(tmp_path)
    assert OwnFiles(tmp_path, "step").missing() == {}


# ---- links ----


def test_a_link_takes_no_room(tmp_path):
    source = tmp_path / "source.jpg"
    source.write_text("one")
    files = OwnFiles(tmp_path / "own", "step")
    files.link("x/a.jpg", "k", source, sha("one"))
    assert (tmp_path / "own/x/a.jpg").samefile(source)
    assert OwnFiles(tmp_path / "own", "step").is_current("x/a.jpg", "k")
    files.close([])
    assert source.read_text() == "one"
    assert names(tmp_path / "own") == []


def test_a_disk_without_links_gets_a_copy(tmp_path, monkeypatch):
    def refuse(*paths):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    source = tmp_path / "source.jpg"
    source.write_text("one")
    OwnFiles(tmp_path / "own", "step").link("a.jpg", "k", source, sha("one"))
    assert not (tmp_path / "own/a.jpg").samefile(source)
    files = OwnFiles(tmp_path / "own", "step")
    assert (files.sha256("a.jpg"), (tmp_path / "own/a.jpg").read_text()) == (sha("one"), "one")


def test_a_link_to_what_is_gone_leaves_no_trace(tmp_path):
    files = OwnFiles(tmp_path, "step")
    with pytest.raises(FileNotFoundError):
        files.link("a.jpg", "k", tmp_path / "gone", sha("one"))
    assert (names(tmp_path), files.missing()) == ([], {})


def test_a_link_is_replaced_by_another_and_by_itself(tmp_path):
    for text in ("one", "two"):
        (tmp_path / text).write_text(text)
    files = OwnFiles(tmp_path / "own", "step")
    for text in ("one", "one", "two"):
        files.link("a", text, tmp_path / text, sha(text))
    assert (names(tmp_path / "own"), files.sha256("a"), files.is_current("a", "two")) == (["a"], sha("two"), True)


def test_a_link_that_an_editor_replaced_is_theirs_and_the_source_is_untouched(tmp_path):
    source = tmp_path / "source.jpg"
    source.write_text("one")
    OwnFiles(tmp_path / "own", "step").link("a", "k", source, sha("one"))
    (tmp_path / "new").write_text("mine")
    touch(tmp_path / "new")
    (tmp_path / "new").replace(tmp_path / "own/a")
    assert OwnFiles(tmp_path / "own", "step").is_theirs("a")
    assert source.read_text() == "one"


# ---- closing ----


def test_closing_removes_what_is_not_wanted_any_more(tmp_path):
    for name in ("x/a", "x/b", "y/c"):
        make(tmp_path, name)
    (tmp_path / "x/foreign").touch()
    files = OwnFiles(tmp_path, "step")
    files.close(["x/b", "never made"])
    assert names(tmp_path) == ["x/b", "x/foreign"]
    later = OwnFiles(tmp_path, "step")
    assert (later.sha256("x/b"), later.missing(), later.changed()) == (sha("one"), {}, {})


def test_what_a_person_changed_is_named_when_it_is_not_wanted_any_more(tmp_path, log_text):
    make(tmp_path)
    (tmp_path / "a.jpg").write_text("mine")
    touch(tmp_path / "a.jpg")
    OwnFiles(tmp_path, "step").close([])
    assert log_text() == f"{tmp_path / 'a.jpg'}: not needed any more, but it was changed by hand: left where it is"
    assert OwnFiles(tmp_path, "step").is_theirs("a.jpg")


def test_the_index_is_the_same_whatever_the_order_of_work(tmp_path):
    indexes = []
    for folder, order in ((tmp_path / "1", "abc"), (tmp_path / "2", "cbaa")):
        for name in order:
            make(folder, name)
        OwnFiles(folder, "step").close("abc")
        lines = map(json.loads, (folder / ".made/step.jsonl").read_text().splitlines())
        indexes.append([entry | {"mtime_ns": 0} for entry in lines])
    assert indexes[0] == indexes[1]
    assert [entry["name"] for entry in indexes[0]] == ["a", "b", "c"]


def test_an_orphan_removes_nothing(tmp_path, monkeypatch):
    def ended():
        raise OrphanedError("ended")

    files = make(tmp_path)
    monkeypatch.setattr(module, "check_not_orphaned", ended)
    with pytest.raises(OrphanedError):
        files.close([])
    assert (names(tmp_path), OwnFiles(tmp_path, "step").sha256("a.jpg")) == (["a.jpg"], sha("one"))


# ---- kill -9 ----

KILLED = """
import os, signal, sys
from pathlib import Path
from workflow_scripts.core import own_files, step
from workflow_scripts.core.own_files import OwnFiles

die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
folder, where = Path(sys.argv[1]), sys.argv[2]
os.fsync = lambda descriptor: None
files = OwnFiles(folder, "step")
if where == "writing":
    with files.write("x/a", "new") as partial:
        partial.write_text("half")
        die()
if where == "noted":
    step.check_not_orphaned = die  # the last thing before the rename
if where == "renamed":
    note, count = files._note, []
    files._note = lambda *entries: die() if count else (count.append(1), note(*entries))
if where == "closing":
    unlink = Path.unlink
    Path.unlink = lambda path, **how: (unlink(path, **how), path.name == "b" and die())
    files.close([])
with files.write("x/a", "new") as partial:
    partial.write_text("new")
"""


def killed(folder, where):
    process = subprocess.run([sys.executable, "-c", KILLED, folder, where], cwd=REPO, check=False, capture_output=True, text=True)
    assert process.returncode == -signal.SIGKILL, process.stderr


@pytest.mark.parametrize("before", [True, False], ids=["over an older one", "the first"])
@pytest.mark.parametrize(
    ("where", "key", "content"), [("writing", "old", "old"), ("noted", "old", "old"), ("renamed", "new", "new")], ids=lambda value: value
)
def test_after_a_kill_the_file_is_known_for_what_it_is(tmp_path, where, key, content, before):
    if before:
        make(tmp_path, "x/a", "old", "old")
    killed(tmp_path, where)
    for _ in range(2):
        files = OwnFiles(tmp_path, "step")
        there = before or where == "renamed"
        assert files.sha256("x/a") == (sha(content) if there else None)
        assert files.is_current("x/a", key) == there
        assert (files.is_theirs("x/a"), files.missing(), files.changed()) == (False, {}, {})
        files.close(["x/a"])
    make(tmp_path, "x/a", "new", "new")
    assert names(tmp_path) == ["x/a"]  # what the killed one left is swept
    assert OwnFiles(tmp_path, "step").is_current("x/a", "new")


def test_what_is_removed_when_the_kill_comes_was_not_taken_away_by_a_person(tmp_path):
    for name in "abc":
        make(tmp_path, f"x/{name}")
    killed(tmp_path, "closing")
    assert names(tmp_path) == ["x/c"]
    files = OwnFiles(tmp_path, "step")
    assert (files.missing(), files.sha256("x/c")) == ({}, sha("one"))
    files.close([])
    assert names(tmp_path) == []


def test_what_was_taken_away_after_a_kill_is_not_certain_to_have_been_there(tmp_path):
    killed(tmp_path, "renamed")
    (tmp_path / "x/a").unlink()
    assert OwnFiles(tmp_path, "step").missing() == {}


@pytest.mark.parametrize("rest", ['{"name": "a.jp', "\0\0\0", "[1]\n{}\n", '{"name": "b", "other": 1}\n'])
def test_a_line_that_was_cut_off_costs_no_other(tmp_path, rest):
    make(tmp_path)
    with (tmp_path / ".made/step.jsonl").open("a") as handle:
        handle.write(rest)
    make(tmp_path, "b.jpg")
    files = OwnFiles(tmp_path, "step")
    assert [files.sha256(name) for name in ("a.jpg", "b.jpg")] == [sha("one")] * 2


def test_what_is_noted_behind_a_line_that_was_cut_off_counts(tmp_path):
    make(tmp_path)
    with (tmp_path / ".made/step.jsonl").open("a") as handle:
        handle.write('{"name": "b.j')
    killed(tmp_path, "renamed")
    assert OwnFiles(tmp_path, "step").is_current("x/a", "new")


def test_an_index_that_is_no_text_makes_files_theirs_and_ends_no_step(tmp_path):
    make(tmp_path)
    (tmp_path / ".made/step.jsonl").write_bytes(b"\xff\xfe\n\x80")
    assert OwnFiles(tmp_path, "step").is_theirs("a.jpg")


def test_halves_of_living_processes_are_left_alone(tmp_path, ended_pid):
    alive, dead = (tmp_path / f".b.{socket.gethostname()}.{pid}.tmp" for pid in (os.getppid(), ended_pid))
    for path in (alive, dead):
        path.touch()
    make(tmp_path)
    assert names(tmp_path) == sorted([alive.name, "a.jpg"])
    assert step_module.is_leftover(dead.name)
