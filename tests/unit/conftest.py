"""What unit tests of several folders use."""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from workflow_scripts.core import step as step_module

NOBODY = 65534


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def log_text(caplog):
    """What the workflow logs, from INFO on: call it for the messages so far."""
    caplog.set_level(logging.INFO, logger="darkroom")
    return lambda: "\n".join(record.getMessage() for record in caplog.records)


@pytest.fixture
def in_a_step(monkeypatch):
    """Let a test run `step()`, and put back what that changes for the whole process: environment, handlers, supervisor."""
    for name in step_module.ENVIRONMENT:
        monkeypatch.setenv(name, "as it was")
    monkeypatch.setattr(step_module, "_supervisor", None)
    root, ours = logging.getLogger(), logging.getLogger("darkroom")
    before = root.handlers, root.level, ours.level
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


@pytest.fixture
def ended_pid():
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def open_folder():
    """A folder that every user can reach; pytest's own are for the user who runs it."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def without_privileges():
    """A context in which file permissions count, also where root runs the tests."""

    @contextmanager
    def as_nobody():
        root = os.geteuid() == 0
        if root:
            os.seteuid(NOBODY)
        try:
            yield
        finally:
            if root:
                os.seteuid(0)

    return as_nobody
