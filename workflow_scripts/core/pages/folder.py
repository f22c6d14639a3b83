"""A folder that appears whole, and replaces only what this component made."""

import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from workflow_scripts.core.step import StepError, check_not_orphaned

TIMESTAMP = ".snakemake_timestamp"  # Snakemake adds it to every folder that is an output
# What a page consists of.
PARTS = frozenset({"index.html", "page.css", "page.js", "data.js", "sheets", "files", TIMESTAMP})


@contextmanager
def new_folder(path: str | os.PathLike[str], parts: frozenset[str] = PARTS, kind: str = "page") -> Iterator[Path]:
    """Give a folder beside `path` to fill; it takes the place of `path` when the body ends well, else it goes.

    Args:
        path: the output.
        parts: names of what such a folder consists of.
        kind: what such a folder is called.

    Raises:
        StepError: what stands at `path` is none of its kind, so it may hold something that nobody can make again.
    """
    target = Path(os.path.realpath(path))
    check_replaceable(target, parts, kind)
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    own = f".{target.name[:100]}.{socket.gethostname()}.{os.getpid()}"
    partial, old = target.with_name(f"{own}.new-page"), target.with_name(f"{own}.old-page")
    partial.mkdir()
    try:
        yield partial
        check_not_orphaned()
        check_replaceable(target, parts, kind)
        if target.exists():
            target.rename(old)
        try:
            partial.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    finally:
        for rest in (partial, old):
            shutil.rmtree(rest, ignore_errors=True)


def check_replaceable(target: Path, parts: frozenset[str] = PARTS, kind: str = "page") -> None:
    """Refuse a place where something other than a folder of this kind stands."""
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise StepError(f"{target}: is no folder; a {kind} is one. Move it away, or choose another place")
    foreign = sorted(entry.name for entry in os.scandir(target) if entry.name not in parts)
    if foreign:
        raise StepError(f"{target}: holds {', '.join(foreign[:5])}, which is no part of a {kind}. Move it away, or choose another place")


def _sweep(target: Path) -> None:
    """Remove what dead processes of this host left beside the target."""
    pattern = re.compile(rf"\.{re.escape(target.name[:100])}\.{re.escape(socket.gethostname())}\.(\d+)\.(new|old)-page")
    for entry in os.scandir(target.parent):
        match = pattern.fullmatch(entry.name)
        if match and not psutil.pid_exists(int(match[1])):
            shutil.rmtree(entry.path, ignore_errors=True)
