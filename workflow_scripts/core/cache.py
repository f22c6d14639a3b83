"""The cache that keeps what was ever computed or seen, so that nothing is computed or fetched twice.

Vectors and thumbnails are found again by content, objects that were read by where they were listed.
"""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.core.embeddings import Vectors
from workflow_scripts.core.images import DECODE_VERSION, THUMBNAIL_SIDE
from workflow_scripts.core.segments import ContentStore, SegmentWriter, segments

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
THUMBNAILS_SCHEMA = pa.schema([("sha256", pa.binary(32)), ("jpeg", pa.binary())])


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a content: its vectors [views, d] float16, each L2-normalised, and its upright size in pixels."""

    vectors: Vectors
    width: int
    height: int


class EmbeddingCache(ContentStore[Known]):
    """Content sha256 → vectors, for one fingerprint (model, weights, preprocessing, precision)."""

    def __init__(self, root: str | os.PathLike[str], fingerprint: str) -> None:
        """Open the cache below `root` for one fingerprint."""
        super().__init__(Path(root) / "embeddings" / fingerprint, VECTORS_SCHEMA)

    def _to_row(self, value: Known) -> tuple[Any, ...]:
        return value.width, value.height, len(value.vectors), value.vectors.ravel()

    def _from_row(self, table: pa.Table, row: int) -> Known:
        vectors = np.asarray(table["embedding"][row].values, dtype=np.float16)
        return Known(vectors.reshape(table["views"][row].as_py(), -1), table["width"][row].as_py(), table["height"][row].as_py())


class ThumbnailCache(ContentStore[bytes]):
    """Content sha256 → a small JPEG, for pages."""

    def __init__(self, root: str | os.PathLike[str], look: str = "") -> None:
        """Open the cache below `root`; `look` names and numbers thumbnails that are not the plain ones of `images.thumbnail`."""
        super().__init__(Path(root) / "thumbnails" / f"{look}v{DECODE_VERSION}-{THUMBNAIL_SIDE}", THUMBNAILS_SCHEMA)

    def _to_row(self, value: bytes) -> tuple[Any, ...]:
        return (value,)

    def _from_row(self, table: pa.Table, row: int) -> bytes:
        found: bytes = table["jpeg"][row].as_py()
        return found


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
        for path in segments(folder):
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
