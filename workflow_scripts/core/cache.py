"""The cache that keeps every vector ever computed, found again by content.

A folder of immutable Arrow segments. A segment is written beside and renamed, and never touched again, so any number of jobs
on any number of machines may read and write the same cache, NFS included.
"""

import hashlib
import os
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.core.embeddings import Vectors
from workflow_scripts.core.step import atomic_output, sweep_leftovers

VECTORS_SCHEMA = pa.schema(
    [
        ("sha256", pa.binary(32)),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("views", pa.int16()),
        ("embedding", pa.list_(pa.float16())),
    ]
)
LOCATOR_SCHEMA = pa.schema(
    [
        ("locator", pa.binary(16)),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("error", pa.string()),
    ]
)
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


def _segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.arrow")) if folder.is_dir() else []


@lru_cache(maxsize=16)
def _open_segment(path: Path) -> pa.Table:
    # Memory-mapped: only the rows that are taken are read from the disk.
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a content: its vectors [views, d] float16, each L2-normalised, and its upright size in pixels."""

    vectors: Vectors
    width: int
    height: int


class EmbeddingCache:
    """Content sha256 → vectors, for one fingerprint (model, weights, preprocessing, precision).

    The index takes 16 bytes for an image of earlier jobs and about 100 for one of this job; vectors stay on disk. One thread
    adds, any number may get.
    """

    def __init__(self, root: str | os.PathLike[str], fingerprint: str) -> None:
        """Open the cache below `root` for one fingerprint and index what it holds now."""
        self._folder = Path(root) / "embeddings" / fingerprint
        self._writer = SegmentWriter(self._folder, VECTORS_SCHEMA)
        self._paths = _segments(self._folder)
        self._prefixes, self._places = _index(self._paths)
        self._added: dict[bytes, tuple[int, int]] = {}
        self._fresh: dict[bytes, Known] = {}

    def get(self, sha256: str) -> Known | None:
        """What is known of this content, or None."""
        key = bytes.fromhex(sha256)
        # One look: between two of them another thread may have flushed.
        if fresh := self._fresh.get(key):
            return fresh
        if key in self._added:
            return _take(self._paths, self._added[key], key)
        prefix = np.frombuffer(key[:8], np.uint64)[0]
        # Two contents may share 8 bytes: look at all rows that do, and compare in full.
        first, last = np.searchsorted(self._prefixes, prefix, "left"), np.searchsorted(self._prefixes, prefix, "right")
        for at in range(first, last):
            if found := _take(self._paths, tuple(self._places[at]), key):
                return found
        return None

    def add(self, sha256: str, known: Known) -> None:
        """Keep what was computed for a content; on disk after the next flush."""
        key = bytes.fromhex(sha256)
        if key in self._fresh:
            return
        self._fresh[key] = known
        self._adopt(self._writer.add(key, known.width, known.height, len(known.vectors), known.vectors.ravel()))

    def flush(self) -> None:
        """Write everything added so far to disk."""
        self._adopt(self._writer.flush())

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
        keys = _open_segment(path)["sha256"].combine_chunks()
        flat = np.frombuffer(keys.buffers()[1], dtype=np.uint8).reshape(-1, 32)[: len(keys), :8]
        prefixes.append(np.ascontiguousarray(flat).view(np.uint64).ravel())
        rows = np.arange(len(keys), dtype=np.int32)
        places.append(np.column_stack([np.full_like(rows, number), rows]))
    found = np.concatenate(prefixes)
    order = np.argsort(found, kind="stable")
    return found[order], np.concatenate(places)[order]


def _take(paths: Sequence[Path], place: tuple[int, ...], key: bytes) -> Known | None:
    segment, row = place
    table = _open_segment(paths[segment])
    if table["sha256"][row].as_py() != key:
        return None
    vectors = np.asarray(table["embedding"][row].values, dtype=np.float16)
    return Known(vectors.reshape(table["views"][row].as_py(), -1), table["width"][row].as_py(), table["height"][row].as_py())


def locator(*identity: object) -> bytes:
    """16 bytes that stand for one object as it was listed: where it lies, its name, its etag and size."""
    return hashlib.sha256("\0".join(map(str, identity)).encode("utf-8", "surrogateescape")).digest()[:16]


class LocatorCache:
    """Listed object → what reading it gave: content sha256 and upright size, or why it cannot be decoded.

    Kept apart for each decode contract, since an error belongs to the contract that found it.
    """

    def __init__(self, root: str | os.PathLike[str], contract: str, wanted: Iterable[bytes]) -> None:
        """Open the cache below `root` and look up the wanted locators; others are not held in memory."""
        folder = Path(root) / "locators" / contract
        self._writer = SegmentWriter(folder, LOCATOR_SCHEMA)
        self._known: dict[bytes, dict[str, Any]] = {}
        wanted_set = pa.array(sorted(set(wanted)), pa.binary(16))
        for path in _segments(folder):
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            hits = table.filter(pc.is_in(table["locator"], value_set=wanted_set))
            self._known |= {row.pop("locator"): row for row in hits.to_pylist()}

    def get(self, key: bytes) -> dict[str, Any] | None:
        """`sha256`, `width`, `height` and `error` of this object, or None when it was never read."""
        return self._known.get(key)

    def add(self, key: bytes, *, sha256: str, width: int | None = None, height: int | None = None, error: str | None = None) -> None:
        """Keep what reading an object gave."""
        self._writer.add(key, sha256, width, height, error)

    def flush(self) -> None:
        """Write everything added so far to disk."""
        self._writer.flush()
