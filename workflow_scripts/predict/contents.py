"""What stands in a database of decisions, of any origin, as far as it can be read."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from workflow_scripts.predict.database import COLUMNS, FAILED_COLUMNS, USER_COLUMNS
from workflow_scripts.predict.read_database import SQLITE_ERRORS, parse_json, read_only

JSON_COLUMNS = ("images", "ai_crop_coords", "final_crop_coords")
DAMAGES_NAMED = 3


@dataclass
class Row:
    """A row of ai_decisions or failed_groups.

    Attributes:
        values: by column, as SQLite holds them; a column that the table lacks is not there.
        parsed: the values of JSON columns that are valid JSON.
    """

    values: dict[str, Any]
    parsed: dict[str, Any]

    @cached_property
    def group_id(self) -> str:
        """As text, also where the column holds something else."""
        value = self.values.get("group_id")
        return value if isinstance(value, str) else repr(value)

    @cached_property
    def images(self) -> list[Any] | None:
        """The list of images, whatever they are; None where there is none."""
        found = self.parsed.get("images")
        return found if isinstance(found, list) and found else None

    @cached_property
    def paths(self) -> list[str]:
        """The images that are told by name, with their directory in front."""
        directory = self.values.get("directory")
        front = f"{directory}/" if directory else ""
        return [f"{front}{name}" for name in self.images or () if isinstance(name, str)]

    @cached_property
    def has_user_data(self) -> bool:
        """Whether a person left something in it."""
        return any(self.values.get(name) is not None for name in USER_COLUMNS)


@dataclass
class Contents:
    """What was found.

    Attributes:
        objects: names of tables and views in lower case, as SQLite compares them.
        columns: of ai_decisions, in its order, in lower case.
        rows: of ai_decisions.
        failed: rows of failed_groups.
        meta: values by key.
        damages: what could not be read, and what SQLite finds wrong: the part and the text.
    """

    objects: set[str] = field(default_factory=set)
    columns: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    failed: list[Row] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)
    damages: list[tuple[str, str]] = field(default_factory=list)


def read_contents(path: Path) -> Contents:
    """Read a database. A part that cannot be read is a damage, and the others are read all the same.

    Raises:
        UnreadableDatabaseError: it cannot be opened.
    """
    found = Contents()
    with read_only(path) as connection:
        for name, read in (("integrity", _check), ("schema", _read_schema), ("records", _read_rows), ("failed_groups", _read_failed)):
            try:
                read(connection, found)
            except SQLITE_ERRORS as error:
                found.damages.append((name, str(error)))
    return found


def _check(connection: sqlite3.Connection, found: Contents) -> None:
    texts = [text for (text,) in connection.execute("PRAGMA integrity_check")]
    lines = [line for text in texts for line in text.splitlines() if line not in ("ok", "*** in database main ***")]
    if lines:
        more = f" … and {len(lines) - DAMAGES_NAMED} more" if len(lines) > DAMAGES_NAMED else ""
        found.damages.append(("integrity", "; ".join(lines[:DAMAGES_NAMED]) + more))


def _read_schema(connection: sqlite3.Connection, found: Contents) -> None:
    objects = {
        name.lower(): kind for name, kind in connection.execute("SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')")
    }
    if objects.get("ai_decisions") == "view":
        # What a foreign view computes is not looked at: it may take for ever.
        found.damages.append(("schema", "ai_decisions is a view, not a table"))
        del objects["ai_decisions"]
    found.objects = set(objects)
    if objects.get("meta") == "table" and {"key", "value"} <= set(_columns(connection, "meta")):
        found.meta = dict(connection.execute("SELECT key, value FROM meta"))


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [str(row[1]).lower() for row in connection.execute(f"PRAGMA table_xinfo({table})")]


def _read_rows(connection: sqlite3.Connection, found: Contents) -> None:
    if "ai_decisions" in found.objects:
        found.columns = _columns(connection, "ai_decisions")
        found.rows.extend(_select(connection, "ai_decisions", [name for name in COLUMNS if name in found.columns]))


def _read_failed(connection: sqlite3.Connection, found: Contents) -> None:
    if "failed_groups" in found.objects:
        there = _columns(connection, "failed_groups")
        found.failed.extend(_select(connection, "failed_groups", [name for name in FAILED_COLUMNS if name in there]))


def _select(connection: sqlite3.Connection, table: str, columns: list[str]) -> Iterator[Row]:
    for values in connection.execute(f"SELECT {', '.join(columns)} FROM {table}") if columns else ():  # noqa: S608 - constants
        yield make_row(dict(zip(columns, values, strict=True)))


def make_row(values: dict[str, Any]) -> Row:
    """A row of these values, with its JSON read."""
    parsed = {}
    for name in JSON_COLUMNS:
        try:
            parsed[name] = parse_json(values.get(name))
        except ValueError:
            continue
    return Row(values, parsed)
