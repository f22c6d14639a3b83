"""predict 04: the SQLite database of a project: what its columns are, and how predictions are written."""

import json
import math
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.core.step import StepError, atomic_output
from workflow_scripts.predict.read_database import Box, UnreadableDatabaseError, read_only

SCHEMA = Path(__file__).with_name("schema.sql")
SCHEMA_VERSION = "1"
APPLICATION_ID = 0x44726B70  # in the header of every database that is written here
PAGE_BYTES = 4096

TABLES = ("ai_decisions", "failed_groups", "meta")
VIEWS = ("ai_mistakes", "ai_performance", "incomplete_crops")
REQUIRED = ("group_id", "timestamp", "project_id", "images", "image_width", "image_height")
AI_COLUMNS = ("ai_selected_index", "ai_crop_coords", "ai_confidence")
USER_COLUMNS = ("user_selected_index", "user_action", "final_crop_coords", "crop_timestamp")
MATCH_COLUMNS = ("selection_match", "crop_match", "ai_crop_accepted")
# In the order of the table; `PREDICTED` are those that predictions fill.
COLUMNS = (
    *("group_id", "timestamp", "project_id", "directory", "batch_number", "images"),
    *(*AI_COLUMNS, *USER_COLUMNS, "image_width", "image_height", *MATCH_COLUMNS),
)
PREDICTED = tuple(name for name in COLUMNS if name not in USER_COLUMNS + MATCH_COLUMNS)
FAILED_COLUMNS = ("group_id", "directory", "images", "error")


@dataclass(frozen=True, slots=True)
class Decision:
    """What the models say of a group.

    Attributes:
        group_id: unique in the database.
        timestamp: ISO 8601 in UTC: the group's own, else the file date of its newest member.
        project_id: of the project.
        directory: of the images, below the project; empty for its root.
        batch_number: None where groups come in no batches.
        images: file names, in group order.
        ai_selected_index: of the best image in `images`.
        ai_crop_coords: of that image; None where the proposal could not be repaired.
        ai_confidence: of the selection, 0 to 1.
        image_width: of the selected image, in pixels after EXIF orientation.
        image_height: likewise.
    """

    group_id: str
    timestamp: str
    project_id: str
    directory: str
    batch_number: int | None
    images: tuple[str, ...]
    ai_selected_index: int
    ai_crop_coords: Box | None
    ai_confidence: float
    image_width: int
    image_height: int


@dataclass(frozen=True, slots=True)
class FailedGroup:
    """A group that has no readable image.

    Attributes:
        group_id: unique in the database.
        directory: as in `Decision`.
        images: file names, in group order.
        error: why, as `stage: text`.
    """

    group_id: str
    directory: str
    images: tuple[str, ...]
    error: str


def write_database(output: Path, decisions: Iterable[Decision], failed: Iterable[FailedGroup], meta: dict[str, str]) -> dict[str, int]:
    """Write the database of a project, whole or not at all; gives the counts `decisions`, `failed_groups` and `images`.

    The bytes depend on the content and the version of SQLite alone, not on the order of what comes in. User columns and matches are
    NULL. A database of this workflow that no person has worked on is replaced.

    Args:
        output: the database.
        decisions: of the groups with a readable image.
        failed: the other groups.
        meta: hashes of the models, preprocessing, version of the workflow, time of the run; `schema_version` comes with it.

    Raises:
        StepError: another database stands at `output`, or one with user data; or the disk is full.
        ValueError: a row breaks a rule of the schema, or a group comes twice.
    """
    check_replaceable(output)
    rows = sorted(map(_decision_row, decisions), key=lambda row: str(row[0]))
    failures = sorted((one.group_id, one.directory, _names(one.group_id, one.images), one.error) for one in failed)
    both = {row[0] for row in rows} & {row[0] for row in failures}
    if both:
        raise ValueError(f"{min(map(str, both))}: is both decided and failed")
    try:
        with atomic_output(output) as partial:
            _fill(partial, rows, failures, meta | {"schema_version": SCHEMA_VERSION})
            check_replaceable(output)  # again: a person may have come in the meantime
    except sqlite3.OperationalError as error:
        raise StepError(f"{output}: {error}; check that the disk has room and takes files") from error
    images = sum(len(json.loads(str(row[PREDICTED.index("images")]))) for row in rows)
    return {"decisions": len(rows), "failed_groups": len(failures), "images": images}


def _fill(path: Path, rows: list[tuple[object, ...]], failures: Sequence[tuple[str, ...]], meta: dict[str, str]) -> None:
    """Write a new database in one transaction.

    What is written beside and thrown away on failure needs no journal. Cleared pages hold no accidental bytes.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(
            f"PRAGMA page_size = {PAGE_BYTES}; PRAGMA auto_vacuum = NONE; PRAGMA encoding = 'UTF-8';"
            "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA secure_delete = ON;"
            f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
            f"{SCHEMA.read_text('utf-8')}"
        )
        _insert(connection, "ai_decisions", PREDICTED, rows)
        _insert(connection, "failed_groups", FAILED_COLUMNS, failures)
        _insert(connection, "meta", ("key", "value"), sorted(meta.items()))
        connection.execute("COMMIT")


def _decision_row(decision: Decision) -> tuple[object, ...]:
    """Values in the order of `PREDICTED`."""
    row = {name: getattr(decision, name) for name in PREDICTED}
    if not math.isfinite(decision.ai_confidence):  # SQLite would write NaN as NULL
        raise ValueError(f"{decision.group_id}: ai_confidence is {decision.ai_confidence}")
    row["images"] = _names(decision.group_id, decision.images)
    if decision.ai_crop_coords is not None:
        row["ai_crop_coords"] = json.dumps(decision.ai_crop_coords, allow_nan=False)
    return tuple(row.values())


def _names(group_id: str, images: tuple[str, ...]) -> str:
    if not all(name and "/" not in name for name in images):
        raise ValueError(f"{group_id}: images are file names, without a folder")
    return json.dumps(images, ensure_ascii=False)


def _insert(connection: sqlite3.Connection, table: str, columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 - constants
    for row in rows:
        try:
            connection.execute(statement, row)
        except (sqlite3.IntegrityError, sqlite3.InterfaceError, UnicodeEncodeError) as error:
            raise ValueError(f"{table}, {row[0]!r}: {error}") from error


def check_replaceable(path: Path) -> None:
    """Refuse to write where another database stands, one that a person works on, or what a program left of one.

    Raises:
        StepError: naming the file and the mend.
    """
    for ending in ("-journal", "-wal"):
        log = path.with_name(path.name + ending)
        if log.is_file() and log.stat().st_size:
            # SQLite would play it into whatever database stands beside it.
            raise StepError(f"{log}: belongs to a database in use, or to one that is gone; close the program, or move the file away")
    reason = _reason_to_keep(path) if path.exists() or path.is_symlink() else None
    if reason:
        raise StepError(f"{path}: {reason}, and is not overwritten; move it away, and merge the new predictions into it")


def _reason_to_keep(path: Path) -> str | None:
    try:
        with read_only(path) as connection:
            if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                return "was not written by this workflow"
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if tables != set(TABLES):
                return "has other tables than those of predictions"
            touched = " OR ".join(f"{name} IS NOT NULL" for name in USER_COLUMNS + MATCH_COLUMNS)
            found = connection.execute(f"SELECT COUNT(*) FROM ai_decisions WHERE {touched}").fetchone()[0]  # noqa: S608 - constants
            return f"holds user data in {found} rows" if found else None
    except (UnreadableDatabaseError, sqlite3.Error) as error:
        return f"cannot be read as predictions of this workflow ({error})"
