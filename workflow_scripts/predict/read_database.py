"""Opening databases of any origin for reading alone, and reading the JSON in their columns."""

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workflow_scripts.core.step import StepError

Box = tuple[float, float, float, float]
# The driver raises the second for names and messages that are no UTF-8, as in a damaged file.
SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
BUSY_SECONDS = 2.0  # how long to wait for a lock that another program holds
_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_WAL = 2  # the file format version of a database in WAL mode, at byte 18 of the header
_COPIES = 3


class UnreadableDatabaseError(StepError):
    """A file is no database that can be read now; the text names it and says why."""


@contextmanager
def read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database in a read transaction; it is not changed, and nothing is written beside it.

    A database in WAL mode cannot be read without files beside it. One whose log is empty is opened as one that does not change,
    else the database and its log are copied to a temporary folder. Not for a database that this process has open otherwise: the
    system drops a process's locks on a file when it closes any handle of it.

    Raises:
        UnreadableDatabaseError: there is no such file, it is no SQLite database, it is locked or damaged.
    """
    log = path.with_name(f"{path.name}-wal")
    header = _read_header(path)
    if log.is_file() and log.stat().st_size:
        with tempfile.TemporaryDirectory() as folder, closing(_open(path, _copy(path, log, Path(folder)), "mode=ro")) as connection:
            yield connection
    elif _WAL in header[18:20]:
        with closing(_open(path, path, "mode=ro&immutable=1")) as connection:
            yield connection
    else:
        with closing(_open(path, path, "mode=ro")) as connection:
            yield connection


def _read_header(path: Path) -> bytes:
    try:
        with open(path, "rb") as handle:
            header = handle.read(_HEADER_BYTES)
    except OSError as error:
        raise UnreadableDatabaseError(f"{path}: {error.strerror or error}") from error
    if not header:
        raise UnreadableDatabaseError(f"{path}: is an empty file")
    if not header.startswith(_MAGIC):
        raise UnreadableDatabaseError(f"{path}: is no SQLite database, or an encrypted one: it does not start as they do")
    return header


def _open(path: Path, source: Path, options: str) -> sqlite3.Connection:
    try:
        connection = connect(source, options)
    except SQLITE_ERRORS as error:
        raise UnreadableDatabaseError(f"{path}: {error}") from error
    try:
        connection.execute("BEGIN")
        connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()  # takes the lock, and reads the schema
    except SQLITE_ERRORS as error:
        connection.close()
        if is_busy(error):
            raise UnreadableDatabaseError(f"{path}: is locked by another program; close it and try again") from error
        journal = path.with_name(f"{path.name}-journal")
        hint = f"; {journal.name} beside it may be that of a killed program: open the database once to let it recover"
        raise UnreadableDatabaseError(f"{path}: {error}{hint if journal.exists() else ''}") from error
    return connection


def connect(path: Path, options: str) -> sqlite3.Connection:
    """Connect with the options of a SQLite URI, in autocommit mode; text that is no UTF-8 comes with its bytes written out."""
    address = f"file:{quote(os.fsencode(path.absolute()))}?{options}"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=BUSY_SECONDS)
    connection.text_factory = lambda raw: raw.decode("utf-8", "backslashreplace")
    return connection


def is_busy(error: Exception) -> bool:
    """Whether SQLite gave up because another program holds a lock."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _copy(path: Path, log: Path, folder: Path) -> Path:
    """Copy a database with its log, at a moment when no program changes either."""
    target = folder / "copy.db"
    try:
        for _ in range(_COPIES):
            before = _state(path), _state(log)
            shutil.copyfile(path, target)
            shutil.copyfile(log, folder / "copy.db-wal")
            if before == (_state(path), _state(log)):
                return target
    except OSError as error:
        raise UnreadableDatabaseError(f"{path}: {error.strerror or error}") from error
    raise UnreadableDatabaseError(f"{path}: another program is writing it; close it and try again")


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def parse_json(value: object) -> Any:
    """The value that a column's JSON text stands for.

    Raises:
        ValueError: it is no text, or no JSON; NaN and Infinity are none.
    """
    if not isinstance(value, str):
        raise ValueError("no text")  # noqa: TRY004 - what a column holds is data, not a type of this program
    try:
        return json.loads(value, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def as_box(value: object) -> Box | None:
    """The coordinates x1, y1, x2, y2 as fractions of width and height; None unless 0 ≤ x1 < x2 ≤ 1 and 0 ≤ y1 < y2 ≤ 1."""
    if not isinstance(value, list) or len(value) != 4 or any(isinstance(one, bool) or not isinstance(one, int | float) for one in value):
        return None
    x1, y1, x2, y2 = value
    return (x1, y1, x2, y2) if 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1 else None
