"""Immutable segments of rows, and what is found in them by content.

A folder of Arrow files. A segment is written beside and renamed, and never touched again, so any number of jobs on any
number of machines may read and write the same folder, NFS included.
"""

import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from workflow_scripts.core.step import atomic_output, sweep_leftovers

V = TypeVar("V")
FLUSH_ROWS = 20_000
FLUSH_SECONDS = (5.0, 120.0)


class SegmentWriter:
    """Collects rows and writes them as immutable segments.

    A killed job loses at most a tenth of its work and never more than two minutes of it; long jobs still write few files.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        """Write segments of this schema to a folder, which is made when the first is written."""
        self._folder = folder
        self._schema = schema
        sweep_leftovers(folder)
        self._rows: list[tuple[Any, ...]] = []
        # The clock starts with the first row: a model may take long to load.
        self._start = self._last = 0.0
        self._written = 0

    def add(self, *row: Any) -> Path | None:
        """Add a row, one value a column; gives the segment that was written when it was time for one."""
        self._rows.append(row)
        now = time.monotonic()
        if len(self._rows) == 1 and not self._written:
            self._start = self._last = now
        shortest, longest = FLUSH_SECONDS
        due = now - self._last >= min(longest, max(shortest, (now - self._start) / 10))
        return self.flush() if due or len(self._rows) >= FLUSH_ROWS else None

    def flush(self) -> Path | None:
        """Write what was collected, if anything; gives the segment."""
        self._last = time.monotonic()
        if not self._rows:
            return None
        columns = [pa.array(column, field.type) for column, field in zip(zip(*self._rows, strict=True), self._schema, strict=True)]
        # Unique over machines and time; the order of names means nothing.
        name = f"{time.time_ns():x}-{socket.gethostname()[:40]}-{os.getpid()}-{self._written}.arrow"
        with (
            atomic_output(self._folder / name) as partial,
            pa.OSFile(str(partial), "wb") as sink,
            pa.ipc.new_file(sink, self._schema) as writer,
        ):
            writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._written += 1
        self._rows = []
        return self._folder / name


def segments(folder: Path) -> list[Path]:
    """The segments of a folder; their order means nothing but is always the same."""
    return sorted(folder.glob("*.arrow")) if folder.is_dir() else []


@lru_cache(maxsize=16)
def open_segment(path: Path) -> pa.Table:
    """A segment, memory-mapped: only the rows that are taken are read from the disk."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


class ContentStore(ABC, Generic[V]):
    """Content sha256 → a value, over segments whose first column is `sha256`.

    The index takes 16 bytes for a content of earlier jobs and about 100 for one of this job; values stay on disk. One thread
    adds, any number may get.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        """Open the store and index what it holds now."""
        self._writer = SegmentWriter(folder, schema)
        self._paths = segments(folder)
        self._prefixes, self._places = _index(self._paths)
        self._added: dict[bytes, tuple[int, int]] = {}
        self._fresh: dict[bytes, V] = {}

    @abstractmethod
    def _to_row(self, value: V) -> tuple[Any, ...]:
        """The columns behind `sha256`."""

    @abstractmethod
    def _from_row(self, table: pa.Table, row: int) -> V:
        """`_to_row` backwards."""

    def get(self, sha256: str) -> V | None:
        """What is known of this content, or None."""
        key = bytes.fromhex(sha256)
        # One look: between two of them another thread may have flushed.
        if fresh := self._fresh.get(key):
            return fresh
        if key in self._added:
            return self._take(self._added[key], key)
        prefix = np.frombuffer(key[:8], np.uint64)[0]
        # Two contents may share 8 bytes: look at all rows that do, and compare in full.
        first, last = np.searchsorted(self._prefixes, prefix, "left"), np.searchsorted(self._prefixes, prefix, "right")
        for at in range(first, last):
            if found := self._take(tuple(self._places[at]), key):
                return found
        return None

    def add(self, sha256: str, value: V) -> None:
        """Keep what was computed for a content; on disk after the next flush."""
        key = bytes.fromhex(sha256)
        if key in self._fresh:
            return
        self._fresh[key] = value
        self._adopt(self._writer.add(key, *self._to_row(value)))

    def flush(self) -> None:
        """Write everything added so far to disk."""
        self._adopt(self._writer.flush())

    def _take(self, place: tuple[int, ...], key: bytes) -> V | None:
        segment, row = place
        table = open_segment(self._paths[segment])
        return self._from_row(table, row) if table["sha256"][row].as_py() == key else None

    def _adopt(self, segment: Path | None) -> None:
        if segment is None:
            return
        self._paths.append(segment)
        self._added |= {key: (len(self._paths) - 1, row) for row, key in enumerate(self._fresh)}
        # Last, so that a reader in another thread finds each key in one place or the other at any time.
        self._fresh = {}


def _index(paths: Sequence[Path]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32]]:
    """The first 8 bytes of all keys [n], sorted, and where each stands [n, 2]: segment, row."""
    prefixes, places = [np.empty(0, np.uint64)], [np.empty((0, 2), np.int32)]
    for number, path in enumerate(paths):
        keys = open_segment(path)["sha256"].combine_chunks()
        flat = np.frombuffer(keys.buffers()[1], dtype=np.uint8).reshape(-1, 32)[: len(keys), :8]
        prefixes.append(np.ascontiguousarray(flat).view(np.uint64).ravel())
        rows = np.arange(len(keys), dtype=np.int32)
        places.append(np.column_stack([np.full_like(rows, number), rows]))
    found = np.concatenate(prefixes)
    order = np.argsort(found, kind="stable")
    return found[order], np.concatenate(places)[order]
