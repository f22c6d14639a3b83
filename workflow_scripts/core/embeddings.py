"""Embedding tables: the vectors of many images with what belongs to them, as Parquet."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.core.step import atomic_output

Vectors = npt.NDArray[np.float16]


def digest(value: Any) -> str:
    """16 hex digits over the canonical JSON of a value: the short name of a combination of settings."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


EMBEDDING_COLUMNS: tuple[tuple[str, pa.DataType], ...] = (
    ("sha256", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("views", pa.int16()),
    ("embedding", pa.list_(pa.float16())),
    ("error", pa.string()),
)


def embedding_schema(keys: Sequence[tuple[str, pa.DataType]], metadata: dict[str, Any]) -> pa.Schema:
    """The schema of an embedding table: the pipeline's own key columns, then those that every pipeline has.

    `embedding` holds the views of an image one after another, each L2-normalised: [views · d] float16. A row has either
    an embedding or an error. `metadata` stands in the file's schema under `darkroom`.
    """
    fields = [*keys, *EMBEDDING_COLUMNS]
    return pa.schema(fields, metadata={"darkroom": json.dumps(metadata, sort_keys=True)})


def write_table(path: str | os.PathLike[str], schema: pa.Schema, rows: Iterable[dict[str, Any]], chunk: int = 4096) -> int:
    """Write rows to a Parquet file that appears whole, holding one chunk at a time; gives the number of rows."""
    count = 0
    with atomic_output(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd", use_dictionary=False) as writer:
        buffer: list[dict[str, Any]] = []
        for row in rows:
            buffer.append(row)
            count += 1
            if len(buffer) == chunk:
                writer.write_table(pa.Table.from_pylist(buffer, schema=schema))
                buffer = []
        if buffer or not count:
            writer.write_table(pa.Table.from_pylist(buffer, schema=schema))
    return count


def table_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `embedding_schema` put into a table's file."""
    metadata: dict[str, Any] = json.loads(pq.read_schema(path).metadata[b"darkroom"])
    return metadata


def iter_vectors(
    path: str | os.PathLike[str], columns: Sequence[str], batch: int = 16_384
) -> Iterator[tuple[pa.RecordBatch, Vectors | None, npt.NDArray[np.int64]]]:
    """Read an embedding table in batches.

    Yields:
        the batch with `columns`; its vectors, one view a row [v, d] float16, or None when no row has any; the row of the
        batch that each vector belongs to [v].
    """
    file = pq.ParquetFile(path)
    for record in file.iter_batches(batch, columns=[*columns, "views", "embedding"]):
        views = np.asarray(record["views"].fill_null(0), dtype=np.int64)
        total = int(views.sum())
        flat = np.asarray(record["embedding"].flatten(), dtype=np.float16)
        yield record.select(list(columns)), flat.reshape(total, -1) if total else None, np.repeat(np.arange(len(views)), views)
