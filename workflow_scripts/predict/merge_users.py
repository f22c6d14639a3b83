"""predict: fill the predictions of a database into one that a person works in."""

import filecmp
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from workflow_scripts.core.step import StepError, atomic_output, check_not_orphaned
from workflow_scripts.predict.contents import Row, make_row, read_contents
from workflow_scripts.predict.database import AI_COLUMNS, MATCH_COLUMNS
from workflow_scripts.predict.joins import join
from workflow_scripts.predict.read_database import SQLITE_ERRORS, as_box, connect, is_busy
from workflow_scripts.predict.row_checks import ACTIONS, ERROR
from workflow_scripts.predict.validate import ERRORS, validate

CLOSE = 0.05  # how far the coordinates of matching crops may lie apart, as fractions of width and height
ROUNDING = 1e-9  # 0.55 - 0.5 is a little more than 0.05
FILLED = (
    dict.fromkeys(AI_COLUMNS[:1], "INTEGER") | {"ai_crop_coords": "TEXT", "ai_confidence": "REAL"} | dict.fromkeys(MATCH_COLUMNS, "BOOLEAN")
)
OUTCOMES = ("merged", "unchanged", "ambiguous", "unmatched")


def merge_users(predictions: Path, users: Path, backup: Path) -> dict[str, Any]:
    """Fill the NULLs among the AI columns and matches of a user's database, in one transaction, after a backup.

    A row keeps its group_id and all that stands in it. One that has another ai_selected_index than the prediction keeps its own
    AI columns as they are: crop and confidence of one image would say nothing of another. AI columns and matches that an older
    database lacks are added, without checks. Where nothing is to be filled, nothing is written, the backup neither.

    Args:
        predictions: a database of this workflow.
        users: the database to fill.
        backup: where the database as it was is kept; a file that stands there is not overwritten.

    Returns:
        Counts of the user's rows `merged`, `unchanged`, `ambiguous`, `unmatched`; `ambiguous_rows` and `unmatched_rows` with
        `group_id` and `reason`; group ids of `different_rows` (unchanged, or only matches filled, since another image is selected)
        and `unmatched_predictions`; `columns_added`; `backup`, None where none was needed.

    Raises:
        StepError: a file cannot be used, the user's database is in use, or the backup's place is taken; nothing was changed.
    """
    _check_files(predictions, users, backup)
    source = _read_predictions(predictions)
    with _transaction(users) as connection:
        identity, rows = _read_users(connection, users)
        matches = join(rows, source)
        pairs = [(row, source[match.prediction]) for row, match in zip(rows, matches, strict=True) if match.prediction is not None]
        changes = {row.values[identity]: found for row, prediction in pairs if (found := changes_of(row, prediction))}
        added = [name for name in FILLED if name not in rows[0].values] if changes else []
        if changes:
            _back_up(users, backup)
            _write(users, connection, identity, changes, added)
            _check_rest(users, rows, _read_users(connection, users)[1], identity, changes)
    return _report(rows, source, matches, changes, identity) | {"columns_added": added, "backup": str(backup) if changes else None}


def changes_of(row: Row, prediction: Row) -> dict[str, Any]:
    """The columns of a user's row that are filled, with their values."""
    values, found = row.values, {}
    if not _differs(row, prediction):
        found = {name: prediction.values[name] for name in AI_COLUMNS if values.get(name) is None and prediction.values[name] is not None}
    now = make_row(values | found)
    return found | {name: value for name, value in matches_of(now).items() if values.get(name) is None and value is not None}


def _differs(row: Row, prediction: Row) -> bool:
    return row.values.get("ai_selected_index") not in (None, prediction.values["ai_selected_index"])


def matches_of(row: Row) -> dict[str, int | None]:
    """How the person agrees with the models: 1 or 0, or None while one side is not there.

    selection_match: both selected the same image. crop_match: each coordinate of the crops lies within 0.05.
    ai_crop_accepted: both crops are there, and the person did not reject the group, selected the same image, and left the crop
    within 0.05.
    """
    indexes = [row.values.get(name) for name in ("ai_selected_index", "user_selected_index")]
    selection = int(indexes[0] == indexes[1]) if all(isinstance(index, int) for index in indexes) else None
    proposed, final = (as_box(row.parsed.get(name)) for name in ("ai_crop_coords", "final_crop_coords"))
    if proposed is None or final is None:
        return {"selection_match": selection, "crop_match": None, "ai_crop_accepted": None}
    crop = int(all(abs(one - other) <= CLOSE + ROUNDING for one, other in zip(proposed, final, strict=True)))
    action = row.values.get("user_action")
    accepted = int(action != "reject" and bool(selection) and bool(crop)) if action in ACTIONS and selection is not None else None
    return {"selection_match": selection, "crop_match": crop, "ai_crop_accepted": accepted}


def _check_files(predictions: Path, users: Path, backup: Path) -> None:
    for path in (predictions, users):
        if not path.is_file():
            raise StepError(f"{path}: no such file")
        if backup.exists() and backup.samefile(path):
            raise StepError(f"{backup}: is to be merged; give the backup another name")
    if predictions.samefile(users):
        raise StepError(f"{users}: is the database of predictions itself; give the one that a person works in")


def _read_predictions(path: Path) -> list[Row]:
    verdict = validate(path)
    if verdict["data_quality"] == ERRORS:
        issue = next(issue for issue in verdict["issues"] if issue["severity"] == ERROR)
        raise StepError(f"{path}: {issue['check']}: {issue['message']}; make the predictions again")
    found = read_contents(path)
    missing = [name for name in AI_COLUMNS if name not in found.columns]
    if missing:
        raise StepError(f"{path}: ai_decisions lacks {', '.join(missing)}; give a database of predictions")
    return found.rows


@contextmanager
def _transaction(users: Path) -> Iterator[sqlite3.Connection]:
    """Hold the database for writing; commit when the body ends well, else leave all as it was."""
    try:
        with closing(connect(users, "mode=rw")) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            check_not_orphaned()
            connection.execute("COMMIT")
    except SQLITE_ERRORS as error:
        if is_busy(error):
            raise StepError(f"{users}: is in use by another program; close it and merge again") from error
        raise StepError(f"{users}: {error}; it stays as it was") from error


def _read_users(connection: sqlite3.Connection, users: Path) -> tuple[str, list[Row]]:
    """The column that tells a row from the others, and the rows with all their columns."""
    if connection.execute("SELECT type FROM sqlite_master WHERE lower(name) = 'ai_decisions'").fetchone() != ("table",):
        raise StepError(f"{users}: has no table ai_decisions; give a database of decisions")
    try:
        found = connection.execute("SELECT _rowid_ AS _row_, * FROM ai_decisions ORDER BY 1")
        identity = "_rowid_"
    except sqlite3.OperationalError:  # a table WITHOUT ROWID
        found = connection.execute("SELECT group_id AS _row_, * FROM ai_decisions ORDER BY 1")
        identity = "group_id"
    names = [identity, *(column[0].lower() for column in found.description[1:])]
    missing = [name for name in ("group_id", "images") if name not in names]
    if missing:
        raise StepError(f"{users}: ai_decisions lacks {', '.join(missing)}; nothing to join by")
    return identity, [make_row(dict(zip(names, values, strict=True))) for values in found]


def _back_up(users: Path, backup: Path) -> None:
    """Copy the database through SQLite, so that the copy is of one moment, and whole."""
    try:
        with atomic_output(backup) as partial:
            partial.touch()  # what hinders it is an error of the system, and not one of SQLite
            with closing(connect(users, "mode=ro")) as source, closing(sqlite3.connect(partial)) as target:
                source.backup(target)
                target.execute("PRAGMA journal_mode = DELETE")  # one file, also from a database in WAL mode
            if backup.exists() and not filecmp.cmp(partial, backup, shallow=False):
                raise StepError(f"{backup}: stands there already, and is not overwritten; give the backup another name")
    except OSError as error:
        raise StepError(f"{backup}: {error.strerror}; without a backup nothing is merged") from error


def _write(users: Path, connection: sqlite3.Connection, identity: str, changes: dict[Any, dict[str, Any]], added: list[str]) -> None:
    for name in added:
        connection.execute(f"ALTER TABLE ai_decisions ADD COLUMN {name} {FILLED[name]}")
    for row, values in changes.items():
        names = ", ".join(f"{name} = ?" for name in values)
        done = connection.execute(f"UPDATE ai_decisions SET {names} WHERE {identity} = ?", (*values.values(), row))  # noqa: S608 - constants
        if done.rowcount != 1:
            raise StepError(f"{users}: row {row!r} cannot be told from others or is not found; mend its {identity} and merge again")


def _check_rest(users: Path, before: list[Row], after: list[Row], identity: str, changes: dict[Any, dict[str, Any]]) -> None:
    """A trigger of the user's database may do more than was asked for; then nothing is done."""

    def rest(rows: list[Row], columns: list[str]) -> list[list[Any]]:
        return [[row.values[name] for name in columns if name not in changes.get(row.values[identity], ())] for row in rows]

    columns = list(before[0].values)
    if rest(before, columns) != rest(after, columns):
        raise StepError(f"{users}: a trigger changes other columns when AI columns are filled; drop it and merge again")


def _report(rows: list[Row], source: list[Row], matches: list[Any], changes: dict[Any, dict[str, Any]], identity: str) -> dict[str, Any]:
    counts = Counter(dict.fromkeys(OUTCOMES, 0))
    listed: dict[str, list[Any]] = {"ambiguous": [], "unmatched": [], "different": []}
    for row, match in zip(rows, matches, strict=True):
        if match.prediction is None:
            outcome = "ambiguous" if match.ambiguous else "unmatched"
            listed[outcome].append({"group_id": row.group_id, "reason": match.reason})
        else:
            outcome = "merged" if row.values[identity] in changes else "unchanged"
            if _differs(row, source[match.prediction]):
                listed["different"].append(row.group_id)
        counts[outcome] += 1
    used = {match.prediction for match in matches}
    idle = sorted(row.group_id for number, row in enumerate(source) if number not in used)
    return dict(counts) | {f"{name}_rows": found for name, found in listed.items()} | {"unmatched_predictions": idle}
