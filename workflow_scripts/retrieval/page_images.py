"""retrieval 07: the images of a dataset as pages show them: found by path, with the key of their thumbnail and a link to the file."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts.core.step import StepError

BATCH = 20_000  # rows that are Python objects at a time
COLUMNS = ("category", "concept", "path", "catalog_path", "sha256", "outcome", "reason")
SCHEMA = pa.schema([(name, pa.string()) for name in (*COLUMNS, "picture", "link")])


def read_images(table: Path, data_root: str) -> Iterator[pa.RecordBatch]:
    """Read `01_catalog/images.parquet` in batches with `SCHEMA`.

    `picture` is the key of the thumbnail (null where nobody could read the file), `link` the file's URI.
    """
    root = Path(os.path.abspath(data_root)).as_uri().rstrip("/")
    for batch in pq.ParquetFile(table).iter_batches(BATCH, columns=COLUMNS):
        columns = {name: pc.fill_null(batch[name], "") if name != "sha256" else batch[name] for name in COLUMNS}
        columns["picture"] = pc.binary_join_element_wise(batch["sha256"], batch["path"], " ")
        columns["link"] = pa.array([f"{root}/{quote(path)}" for path in batch["path"].to_pylist()], pa.string())
        yield pa.record_batch([columns[name] for name in SCHEMA.names], schema=SCHEMA)


class Images:
    """The images of a dataset, found by the path that stands in records."""

    def __init__(self, table: Path, data_root: str) -> None:
        """Read all of `01_catalog/images.parquet`."""
        self._table = pa.Table.from_batches(read_images(table, data_root), SCHEMA).combine_chunks()
        self._where = table

    def find(self, paths: Sequence[str], where: Path) -> pa.Table:
        """The rows of these paths, as they stand in the file `where`.

        Raises:
            StepError: the catalog does not know one of them.
        """
        wanted = pa.array(paths, pa.string())
        places = pc.index_in(wanted, self._table["catalog_path"])
        if places.null_count:
            unknown = wanted.filter(pc.is_null(places))[0].as_py()
            raise StepError(f"{where}: names {unknown}, which {self._where} does not; delete both files, and they are made again")
        return self._table.take(places)

    def errors(self) -> list[pa.RecordBatch]:
        """The rows of images that cannot be read."""
        return self._table.filter(pc.equal(self._table["outcome"], "error")).to_batches(BATCH)


def side_by_side(*columns: pa.Array | pa.ChunkedArray) -> pa.ListArray:
    """Columns of texts [n] as one of lists: a list a row, without nulls."""
    parts = [whole(column) for column in columns]
    count, width = len(parts[0]), len(parts)
    order = np.arange(count * width).reshape(width, count).T.ravel()
    values = pa.concat_arrays(parts).take(pa.array(order))
    known = np.asarray(values.is_valid()).reshape(count, width).sum(axis=1)
    ends = np.concatenate([[0], np.cumsum(known)])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values.drop_null())


def whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def batch_of(schema: pa.Schema, columns: dict[str, object], count: int) -> pa.RecordBatch:
    """Columns in the order of a page's schema; those that are missing are empty texts, empty lists, or no number."""
    arrays = []
    for each in schema:
        empty: object = [] if pa.types.is_list(each.type) else "" if each.type == pa.string() else None
        column = columns.get(each.name, [empty] * count)
        arrays.append(whole(column) if isinstance(column, pa.Array | pa.ChunkedArray) else pa.array(column, each.type))
    return pa.record_batch(arrays, schema=schema)
