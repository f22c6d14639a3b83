"""Outputs that appear whole, leftovers, orphans, the log, progress."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from workflow_scripts.core import step as step_module
from workflow_scripts.core.step import (
    ENVIRONMENT,
    OrphanedError,
    StepError,
    atomic_output,
    atomic_text,
    is_leftover,
    progress,
    report_counts,
    step,
)

ROOT = Path(__file__).parents[3]
HOST = socket.gethostname()


def names(folder):
    return sorted(os.listdir(folder))


# ---- outputs ----


@pytest.mark.parametrize("sweep", [True, False])
def test_an_output_appears_whole(tmp_path, sweep):
    target = tmp_path / "new" / "folder" / "table.csv"
    with atomic_output(target, sweep=sweep) as partial:
        assert partial.parent == target.parent
        assert partial.name == f".table.csv.{HOST}.{os.getpid()}.tmp"
        partial.write_text("half")
        assert not target.exists()
        partial.write_text("whole")
    assert target.read_text() == "whole"
    assert names(target.parent) == ["table.csv"]


def fail_midway(target, sweep, error):
    with atomic_output(target, sweep=sweep) as partial:
        partial.write_text("half")
        raise error


@pytest.mark.parametrize("sweep", [True, False])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_old_output_and_nothing_else(tmp_path, sweep, error):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(error):
        fail_midway(target, sweep, error)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["table.csv"]


@pytest.mark.parametrize("sweep", [True, False])
def test_an_output_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch, sweep):
    target, flushed = tmp_path / "table.csv", []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append((os.fstat(descriptor).st_ino, target.exists())))
    with atomic_output(target, sweep=sweep) as partial:
        partial.write_text("new")
    assert flushed == [(target.stat().st_ino, False)]


def test_a_body_that_writes_nothing_is_a_failure(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_output(tmp_path / "table.csv"):
        pass
    assert names(tmp_path) == []


def test_text_is_utf8_with_the_line_ends_that_were_written(tmp_path):
    with atomic_text(tmp_path / "a.txt") as handle:
        handle.write("né\nb\r\n")
    assert (tmp_path / "a.txt").read_bytes() == b"n\xc3\xa9\nb\r\n"


def test_leftovers_of_dead_processes_of_this_host_are_swept(tmp_path, ended_pid):
    alive = os.getppid()
    dead = f".table.csv.{HOST}.{ended_pid}.tmp"
    stay = [
        f".table.csv.{HOST}.{alive}.tmp",
        f".table.csv.another-{HOST}.{ended_pid}.tmp",
        f".other.csv.{HOST}.{ended_pid}.tmp",
        f"table.csv.{HOST}.{ended_pid}.tmp",
        f".table.csv.{HOST}.{ended_pid}.tmp.bak",
    ]
    for name in [dead, *stay]:
        (tmp_path / name).write_text("x")
    with atomic_output(tmp_path / "table.csv") as partial:
        partial.write_text("new")
    assert names(tmp_path) == sorted(["table.csv", *stay])


def test_an_output_that_is_not_swept_leaves_the_sweep_to_its_caller(tmp_path, ended_pid):
    dead = f".table.csv.{HOST}.{ended_pid}.tmp"
    (tmp_path / dead).write_text("x")
    with atomic_output(tmp_path / "table.csv", sweep=False) as partial:
        partial.write_text("new")
    assert names(tmp_path) == sorted([dead, "table.csv"])


def test_what_counts_as_a_leftover(ended_pid):
    assert is_leftover(f".photo\n1.jpg.{HOST}.{ended_pid}.tmp")
    assert not is_leftover(f".photo.jpg.{HOST}.{os.getpid()}.tmp")
    assert not is_leftover(f".photo.jpg.elsewhere.{ended_pid}.tmp")
    assert not is_leftover("photo.jpg")
    assert not is_leftover(".hidden.tmp")


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127 + "x", "😀" * 63 + "abc"])
def test_names_of_255_bytes(tmp_path, name, ended_pid):
    assert len(name.encode()) == 255
    with atomic_output(tmp_path / name) as partial:
        leftover = partial.with_name(partial.name.replace(f".{os.getpid()}.", f".{ended_pid}."))
        leftover.write_text("of a killed process")
        partial.write_text("first")
    with atomic_output(tmp_path / name) as partial:
        partial.write_text("second")
    assert names(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "second"


def test_long_names_that_differ_at_their_end_do_not_share_a_temporary_file(tmp_path):
    stem = "y" * 240
    with atomic_output(tmp_path / f"{stem}-1.jpg") as one, atomic_output(tmp_path / f"{stem}-2.jpg") as two:
        one.write_text("one")
        two.write_text("two")
    assert (tmp_path / f"{stem}-1.jpg").read_text() == "one"
    assert (tmp_path / f"{stem}-2.jpg").read_text() == "two"


# ---- orphans ----

SUPERVISOR = "import subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]])"
CHILD = """
import sys, time
from pathlib import Path
from workflow_scripts.core.step import atomic_output, progress, step
output, log, ready, go, how = sys.argv[1:]
def wait():
    Path(ready).touch()
    while not Path(go).exists():
        time.sleep(0.01)
with step(log):
    if how == "output":
        with atomic_output(output) as partial:
            partial.write_text("stale")
            wait()
    elif how == "copy":
        with atomic_output(output, sweep=False) as partial:
            partial.write_text("stale")
            wait()
    else:
        for item in progress(range(3), total=3, every=0):
            wait() if item == 0 else Path(output).write_text("stale")
"""


@pytest.fixture
def tree(tmp_path):
    """Start a supervisor under the name of Snakemake with a step below it; gives it when the step is at work."""
    (tmp_path / "snakemake").write_text(SUPERVISOR)
    (tmp_path / "child.py").write_text(CHILD)
    (tmp_path / "out").mkdir()
    started = []

    def start(how):
        arguments = [tmp_path / "out" / "table.csv", tmp_path / "log.txt", tmp_path / "ready", tmp_path / "go", how]
        command = [sys.executable, tmp_path / "snakemake", tmp_path / "child.py", *arguments]
        process = subprocess.Popen(
            [str(word) for word in command], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        until = time.monotonic() + 20
        while not (tmp_path / "ready").exists():
            assert time.monotonic() < until
            time.sleep(0.01)
        return process

    yield start
    (tmp_path / "go").touch()
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("how", ["output", "copy", "progress"])
@pytest.mark.parametrize("waited_for", [True, False])
def test_an_orphan_ends_without_touching_the_output(tree, tmp_path, how, waited_for):
    supervisor = tree(how)
    supervisor.send_signal(signal.SIGKILL)
    if waited_for:
        supervisor.wait()
    while not waited_for and psutil.Process(supervisor.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    (tmp_path / "out" / "table.csv").write_text("newer")
    (tmp_path / "go").touch()
    stderr = supervisor.stderr.read()  # ends when the last process of the tree has ended
    assert "the Snakemake that started this step has ended: stopping without touching the output" in stderr
    assert "Traceback" not in stderr
    assert names(tmp_path / "out") == ["table.csv"]
    assert (tmp_path / "out" / "table.csv").read_text() == "newer"
    assert "has ended" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize("how", ["output", "progress"])
def test_a_step_whose_supervisor_lives_writes_its_output(tree, tmp_path, how):
    supervisor = tree(how)
    (tmp_path / "go").touch()
    _, stderr = supervisor.communicate(timeout=20)
    assert "has ended" not in stderr
    assert (tmp_path / "out" / "table.csv").read_text() == "stale"


def test_without_a_snakemake_above_there_is_nothing_to_check(monkeypatch):
    monkeypatch.setattr(step_module, "_supervisor", None)
    assert step_module.check_not_orphaned() is None


def test_a_reused_process_id_is_not_the_supervisor(monkeypatch):
    before_reuse = step_module.psutil.Process()
    before_reuse._create_time = 1.0
    before_reuse._ident = (before_reuse.pid, 1.0)
    monkeypatch.setattr(step_module, "_supervisor", before_reuse)
    with pytest.raises(OrphanedError):
        step_module.check_not_orphaned()


# ---- the step ----


def test_a_step_error_is_its_text_and_status_1(in_a_step, tmp_path, capfd):
    with pytest.raises(SystemExit) as end, step(tmp_path / "logs" / "deep" / "step.log"):
        raise StepError("shard 3 is missing; run again")
    assert end.value.code == 1
    lines = (tmp_path / "logs" / "deep" / "step.log").read_text().splitlines()
    assert len(lines) == 1
    assert lines[0].endswith(" shard 3 is missing; run again")
    assert capfd.readouterr().err.splitlines() == lines


def test_any_other_error_keeps_its_traceback_in_the_log(in_a_step, tmp_path, capfd):
    with pytest.raises(ZeroDivisionError), step(tmp_path / "step.log"):
        print(1 / 0)
    text = (tmp_path / "step.log").read_text()
    assert "the step failed" in text
    assert text.rstrip().endswith("ZeroDivisionError: division by zero")
    assert capfd.readouterr().err == text


def test_a_step_works_off_line(in_a_step):
    assert os.environ["HF_HUB_OFFLINE"] == "as it was"
    with step(None):
        assert {name: os.environ[name] for name in ENVIRONMENT} == ENVIRONMENT
    assert {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "YOLO_OFFLINE"} <= ENVIRONMENT.keys()


def test_a_log_starts_anew(in_a_step, tmp_path, capfd):
    (tmp_path / "step.log").write_text("of the last try\n")
    with step(tmp_path / "step.log"):
        report_counts(kept=3, removed=1)
    lines = (tmp_path / "step.log").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["done: kept=3 removed=1"]
    assert "kept=3" in capfd.readouterr().err


def test_other_libraries_are_heard_from_warnings_on(in_a_step, tmp_path, capfd):
    with step(tmp_path / "step.log"):
        logging.getLogger("library").info("chatter")
        logging.getLogger("library").warning("low disk")
    assert [line.split(" ", 2)[2] for line in (tmp_path / "step.log").read_text().splitlines()] == ["low disk"]
    assert "chatter" not in capfd.readouterr().err


# ---- progress ----


@pytest.mark.parametrize("items", [[], ["a"], list("abc")])
def test_progress_passes_everything_on_and_says_how_many(items, log_text):
    assert list(progress(iter(items), total=len(items), unit="shards")) == items
    assert f"{len(items)} shards in " in log_text()


def test_progress_logs_a_line_every_few_seconds(log_text):
    list(progress("abc", total=3, every=0))
    lines = log_text().splitlines()
    assert [line.split(",")[0] for line in lines[:2]] == ["2 of 3 images", "3 of 3 images"], "one alone has no rate"
    assert len(lines) == 3


def test_progress_is_silent_between(log_text):
    list(progress("abc", total=3, every=60))
    assert len(log_text().splitlines()) == 1
