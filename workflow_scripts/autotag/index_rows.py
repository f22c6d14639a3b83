"""What belongs to the rows of the index: shard, image, crop, label and tags."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.autotag.blocks import METADATA, Shard
from workflow_scripts.autotag.exact import Queries
from workflow_scripts.autotag.row_groups import take_rows, write_groups
from workflow_scripts.autotag.tables import ROWS
from workflow_scripts.core.step import StepError, atomic_text, progress

Ints = npt.NDArray[np.int64]
VIEW_BELOW = 1_000_000  # rows, for which the JSON view is written
_READ = ("shard", "key", "crop_id", "sha256", "label", "vlm_tags")  # of a shard's metadata, in the order of ROWS
_CONTENT = pa.binary(32)
LOOKED_UP = pa.schema(
    [
        ("shard", pa.string()),
        ("key", pa.string()),
        ("crop_id", pa.string()),
        ("sha256", _CONTENT),
        ("label", pa.string()),
        ("tags", pa.list_(pa.string())),
    ]
)


def write_rows(path: Path, shards: Sequence[Shard], folder: Path, queries: Queries) -> tuple[Ints, Ints]:
    """Write the table of all rows, with a JSON view beside it where there are few.

    Args:
        path: `id_to_tags.parquet`.
        shards: in the order of the index.
        folder: results of the source.
        queries: of which the own rows are wanted.

    Returns:
        rows that are of the image of a query: numbers of the image, ids.

    Raises:
        StepError: the table of a shard is gone, or has not a row a vector.
    """
    owned: list[tuple[Ints, Ints]] = [(np.empty(0, np.int64), np.empty(0, np.int64))]

    def tables() -> Iterator[pa.Table]:
        first = 0
        for shard in progress(shards, total=len(shards), unit="shards"):
            table = pq.read_table(shard.path(folder, METADATA), columns=list(_READ)).rename_columns(LOOKED_UP.names)
            if len(table) != shard.rows:
                raise StepError(
                    f"{shard.path(folder, METADATA)}: {len(table)} rows for {shard.rows} vectors; delete the manifest of its block"
                )
            owners = queries.owners(table["sha256"])
            rows = np.flatnonzero(owners >= 0)
            owned.append((owners[rows], rows + first))
            yield table.set_column(3, "sha256", _from_hex(table["sha256"])).cast(LOOKED_UP)
            first += len(table)

    rows = write_groups(path, pa.schema(ROWS), tables())
    view = path.with_suffix(".json")
    # A view of other rows than the table's would be worse than none.
    view.unlink(missing_ok=True)
    if rows < VIEW_BELOW:
        _write_view(path, view)
    images, ids = zip(*owned, strict=True)
    return np.concatenate(images), np.concatenate(ids)


def _from_hex(texts: pa.ChunkedArray) -> pa.Array:
    data = bytes.fromhex("".join(texts.to_pylist()))
    return pa.FixedSizeBinaryArray.from_buffers(_CONTENT, len(texts), [None, pa.py_buffer(data)])


def _write_view(table: Path, view: Path) -> None:
    with atomic_text(view) as handle, pq.ParquetFile(table) as file:
        handle.write("{")
        row = 0
        # By groups: Arrow cannot give batches of lists of words from two dictionaries.
        for group in range(file.num_row_groups):
            for tags in file.read_row_group(group, columns=["tags"])["tags"].to_pylist():
                handle.write(f'{"," if row else ""}\n"{row}": {json.dumps(tags, ensure_ascii=False)}')
                row += 1
        handle.write("\n}\n")


def look_up(path: Path, ids: Ints) -> pa.Table:
    """Rows of these ids, sorted and without repeats: the columns of `LOOKED_UP`, of which sha256 is in hex digits again."""
    found = take_rows(path, ids, LOOKED_UP)
    contents = pa.array([content.hex() for content in found["sha256"].to_pylist()], pa.string())
    return found.set_column(found.schema.get_field_index("sha256"), "sha256", contents)
