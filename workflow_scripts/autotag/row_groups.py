"""Tables of any size, written and read a group of rows at a time."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.core.step import atomic_output, progress

GROUP = 1 << 16  # rows


def write_groups(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    """Write tables as one that appears whole; gives the number of rows. How they were cut leaves no trace in the file."""
    count = 0
    with atomic_output(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        for group in _groups(tables):
            writer.write_table(group.cast(schema), row_group_size=GROUP)
            count += len(group)
    return count


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) < GROUP:
            continue
        joined = pa.concat_tables(waiting)
        full = len(joined) - len(joined) % GROUP
        for start in range(0, full, GROUP):
            yield joined.slice(start, GROUP).combine_chunks()
        waiting = [joined.slice(full)]
    if waiting and sum(map(len, waiting)):
        yield pa.concat_tables(waiting).combine_chunks()


def take_rows(path: Path, rows: npt.NDArray[np.int64], schema: pa.Schema) -> pa.Table:
    """Some rows of a table, by their numbers, sorted and without repeats; only groups that hold one of them are read.

    Args:
        path: the table.
        rows: numbers [n].
        schema: columns to read, and the types to give them.
    """
    with pq.ParquetFile(path, memory_map=True) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        cuts = np.searchsorted(rows, starts)
        needed = np.flatnonzero(np.diff(cuts))
        parts = [
            file.read_row_group(group, columns=schema.names).take(rows[cuts[group] : cuts[group + 1]] - starts[group]).cast(schema)
            for group in progress(needed.tolist(), total=len(needed), unit="row groups")
        ]
    return pa.concat_tables(parts) if parts else schema.empty_table()
