"""The tables that the steps of `predict` hand on, and what stands in their files beside the rows."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.core.embeddings import table_metadata

SUCCESS, FAILED = "success", "failed"  # of a project, in the metadata of each of its tables

# 01: a row a file with the ending of an image, by its path; `error` of those that are refused. `groupable` ones take part in groups.
INVENTORY = (
    ("path", pa.string()),
    ("size", pa.int64()),
    ("etag", pa.string()),
    ("modified", pa.string()),
    ("groupable", pa.bool_()),
    ("error", pa.string()),
)
# 02: the same rows, followed by the columns of every embedding table.
EMBEDDED = (("path", pa.string()), ("modified", pa.string()), ("groupable", pa.bool_()))
# 03: a row a group. `images`, `sha256` and `scores` are in group order; `selected` is an index into them.
GROUPS = (
    ("group_id", pa.string()),
    ("directory", pa.string()),
    ("timestamp", pa.string()),
    ("images", pa.list_(pa.string())),
    ("sha256", pa.list_(pa.string())),
    ("scores", pa.list_(pa.float64())),
    ("selected", pa.int32()),
    ("confidence", pa.float64()),
    ("margin", pa.float64()),
    ("proposal", pa.list_(pa.float32())),
    ("crop", pa.list_(pa.float64())),
    ("repairs", pa.list_(pa.string())),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("error", pa.string()),
)
# 03: a row an image of the inventory, by its path, with what became of it.
IMAGES = (
    ("path", pa.string()),
    ("group_id", pa.string()),
    ("place", pa.int32()),
    ("sha256", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("score", pa.float64()),
    ("outcome", pa.string()),
    ("reason", pa.string()),
)
SELECTED, PASSED_OVER, UNGROUPED, ERROR = OUTCOMES = ("selected", "passed over", "ungrouped", "error")


def schema(columns: tuple[tuple[str, pa.DataType], ...], metadata: dict[str, Any]) -> pa.Schema:
    """The schema of a table, with the project's metadata in its file."""
    return pa.schema(columns, metadata={"darkroom": json.dumps(metadata, sort_keys=True)})


def about(path: Path) -> dict[str, Any]:
    """What a table of this pipeline says of its project: `project_id`, `path`, `status`, `error` and more."""
    return table_metadata(path)


def read(path: Path, *columns: str) -> list[dict[str, Any]]:
    """The rows of a table, with some columns or all."""
    rows: list[dict[str, Any]] = pq.read_table(path, columns=list(columns) or None).to_pylist()
    return rows
