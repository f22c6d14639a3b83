"""The files of a source shard: written row by row, and known again when they are there."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.autotag.blocks import EMBEDDINGS, FILES, IMAGES_TABLE, METADATA, METADATA_JSON, Shard, file_entry
from workflow_scripts.autotag.tables import IMAGES, SEGMENTS
from workflow_scripts.core import tables
from workflow_scripts.core.embeddings import Vectors
from workflow_scripts.core.step import atomic_output, check_not_orphaned

Row = dict[str, Any]
_CHUNK = 8192  # rows that are held until they are written
# A row of the JSON, in the order that other readers know, and what is more.
_NAMES = ("key", "bbox", "area", "label", "vlm_tags", "crop_id", "shard", "sha256", "width", "height", "class_id", "confidence", "box_area")
_OTHERS = (EMBEDDINGS, METADATA, METADATA_JSON)  # beside the table of images


def known_shard(folder: Path, shard: str, digest: str) -> Shard | None:
    """What was made of a shard from what `digest` stands for, if all of it is there."""
    try:
        about = tables.about(folder / FILES[IMAGES_TABLE].format(shard))
        if about["digest"] != digest:
            return None
        files = {kind: about["files"][kind] for kind in _OTHERS}
        if any((folder / entry["path"]).stat().st_size != entry["size"] for entry in files.values()):
            return None
        files[IMAGES_TABLE] = file_entry(folder, IMAGES_TABLE, shard)
        return Shard(shard, about["rows"], about["outcomes"], about["untagged"], files)
    except (OSError, pa.ArrowException, KeyError, TypeError):
        return None  # not there, or of another making


class ShardWriter:
    """Writes the files of a shard; they appear when the body ends well, the table of images last."""

    def __init__(self, folder: Path, shard: str, width: int) -> None:
        """Write below `folder`; vectors have `width` numbers."""
        self._folder, self._shard, self._width = folder, shard, width
        self._stack = ExitStack()
        self._rows: list[Row] = []
        self._count = 0

    def __enter__(self) -> Self:
        vectors, metadata, text = (self._stack.enter_context(atomic_output(self._path(kind))) for kind in _OTHERS)
        self._vectors: BinaryIO = self._stack.enter_context(vectors.open("wb"))
        self._write_header()
        self._schema = pa.schema(SEGMENTS, metadata={"darkroom": json.dumps({"shard": self._shard})})
        self._table = self._stack.enter_context(pq.ParquetWriter(metadata, self._schema, compression="zstd"))
        self._json = self._stack.enter_context(text.open("w", encoding="utf-8", newline="\n"))
        self._json.write("[")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, trace)

    def add(self, rows: Sequence[Row], vectors: Sequence[Vectors]) -> None:
        """Write the crops of an image: rows of SEGMENTS, and their vectors [d] float16."""
        for row, vector in zip(rows, vectors, strict=True):
            self._vectors.write(vector.tobytes())
            self._json.write(",\n" if self._count else "\n")
            self._json.write(json.dumps({name: row[name] for name in _NAMES}, ensure_ascii=False))
            self._count += 1
        self._rows += rows
        if len(self._rows) >= _CHUNK:
            self._write_rows()

    def close(self, images: list[Row], digest: str, outcomes: dict[str, int], untagged: int) -> Shard:
        """Let the files appear, with the table of images."""
        if self._rows:
            self._write_rows()
        self._json.write("\n]\n" if self._count else "]\n")
        self._vectors.seek(0)
        self._write_header()
        # From here on what stood there before is no longer whole.
        check_not_orphaned()
        self._path(IMAGES_TABLE).unlink(missing_ok=True)
        self._stack.close()
        files = {kind: file_entry(self._folder, kind, self._shard) for kind in _OTHERS}
        about = {"digest": digest, "files": files, "outcomes": outcomes, "rows": self._count, "untagged": untagged}
        tables.write(self._path(IMAGES_TABLE), IMAGES, images, about)
        made = known_shard(self._folder, self._shard, digest)  # as it will be known another time, down to the order of names
        assert made is not None
        return made

    def _path(self, kind: str) -> Path:
        return self._folder / FILES[kind].format(self._shard)

    def _write_header(self) -> None:
        """As numpy's `save` writes it, which leaves room for any number of rows."""
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float16)), "fortran_order": False, "shape": (self._count, self._width)}
        np.lib.format.write_array_header_1_0(self._vectors, header)

    def _write_rows(self) -> None:
        self._table.write_table(pa.Table.from_pylist(self._rows, self._schema))
        self._rows = []
