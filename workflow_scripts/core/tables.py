"""Tables that steps hand on: Parquet with a written schema, and facts about all rows beside them."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.core.embeddings import table_metadata
from workflow_scripts.core.step import atomic_output

Columns = tuple[tuple[str, pa.DataType], ...]


def read(path: str | Path, *columns: str) -> list[dict[str, Any]]:
    """The rows of a table, with some columns or all."""
    rows: list[dict[str, Any]] = pq.read_table(path, columns=list(columns) or None).to_pylist()
    return rows


def write(path: str | Path, columns: Columns, rows: list[dict[str, Any]], metadata: dict[str, Any] | None = None) -> None:
    """Write a table, whole; what a row lacks is null, and what it has beyond the columns is left out."""
    schema = pa.schema(columns, metadata={"darkroom": json.dumps(metadata or {}, sort_keys=True)})
    names = [name for name, _ in columns]
    table = pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows], schema)
    with atomic_output(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def about(path: str | Path) -> dict[str, Any]:
    """What stands in a table's file beside its rows."""
    return table_metadata(path)
