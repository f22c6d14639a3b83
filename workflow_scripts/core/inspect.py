"""What files are, without a model: content hash, size in pixels, perceptual hash, or why they cannot be read.

    storage → fetch (threads that wait) → hash, decode (a thread a core) → one result an item, in order

What is known from earlier work is not read again.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from workflow_scripts.core.cache import LocatorCache, ThumbnailCache, locator
from workflow_scripts.core.embeddings import digest
from workflow_scripts.core.images import (
    DECODE_VERSION,
    THUMBNAIL_SIDE,
    DecodeError,
    content_hash,
    decode,
    is_lasting,
    largest_file,
    thumbnail,
)
from workflow_scripts.core.prefetch import ahead
from workflow_scripts.core.segments import ContentStore
from workflow_scripts.core.storage import Item, Storage, StorageError

PHASH_VERSION = 1  # bumped by hand when hashes change
_SCHEMA = pa.schema([("sha256", pa.binary(32)), ("width", pa.int32()), ("height", pa.int32()), ("phash", pa.uint64())])


@dataclass(frozen=True, slots=True)
class Look:
    """What an image is: its upright size in pixels, and a hash that similar pictures share most bits of."""

    width: int
    height: int
    phash: int


@dataclass(slots=True)
class Inspected:
    """One item's outcome: a look or an error, never both.

    Attributes:
        item: as listed.
        sha256: of the content; None when it could not be read.
        look: what the image is.
        error: `stage: text`.
        was_read: whether the file had to be read.
        was_decoded: whether it had to be decoded, and could be.
        data: on its way: the file's bytes.
        thumbnail: likewise: what the cache is to keep.
    """

    item: Item
    sha256: str | None = None
    look: Look | None = None
    error: str | None = None
    was_read: bool = False
    was_decoded: bool = False
    data: bytes | None = None
    thumbnail: bytes | None = None


class LookCache(ContentStore[Look]):
    """Content sha256 → look."""

    def __init__(self, root: str) -> None:
        """Open the cache below `root`."""
        super().__init__(Path(root) / "looks" / f"v{DECODE_VERSION}-{PHASH_VERSION}", _SCHEMA)

    def _to_row(self, value: Look) -> tuple[Any, ...]:
        return value.width, value.height, value.phash

    def _from_row(self, table: pa.Table, row: int) -> Look:
        return Look(*(table[name][row].as_py() for name in ("width", "height", "phash")))


class Inspector:
    """Looks at the items of a storage, through the cache.

    Attributes:
        counts: what was done so far: `known` items that needed no read, `read` files, `decoded` images, `errors`.
    """

    def __init__(self, *, cache_root: str, max_pixels: int, threads: int) -> None:
        """Open the cache."""
        self._cache_root = cache_root
        self._max_pixels = max_pixels
        self._threads = threads
        self._looks = LookCache(cache_root)
        self._thumbnails = ThumbnailCache(cache_root)
        self._thumbnail_share = 0.0
        self.counts: Counter[str] = Counter(dict.fromkeys(("known", "read", "decoded", "errors"), 0))

    def inspect(self, items: list[Item], storage: Storage, *, thumbnails: int = 0) -> Iterator[Inspected]:
        """One result for each item, in order.

        Args:
            items: to look at.
            storage: that lists them.
            thumbnails: of about how many of them, chosen by content, the cache keeps a thumbnail from this decode.
        """
        self._thumbnail_share = thumbnails / max(1, len(items))
        names = [locator(storage.identity, item.key, item.etag, item.size) for item in items]
        locators = LocatorCache(self._cache_root, digest([DECODE_VERSION, self._max_pixels]), names)
        reads = storage.reads_at_once
        fetched = ahead(
            lambda pair: self._fetch(pair[0], locators.get(pair[1]), storage),
            zip(items, names, strict=True),
            threads=reads,
            depth=2 * reads,
            weight=lambda pair: pair[0].size,
        )
        found = ahead(self._decode, fetched, threads=self._threads, depth=4 * self._threads, weight=lambda one: len(one.data or b""))
        try:
            for name, result in zip(names, found, strict=True):
                self._keep(locators, name, result)
                yield result
        finally:
            self._looks.flush()
            self._thumbnails.flush()
            # After the looks: a locator without its look costs one more read, nothing worse.
            locators.flush()

    def _fetch(self, item: Item, seen: dict[str, Any] | None, storage: Storage) -> Inspected:
        """Runs in a reading thread: what is known of the item, else its bytes, else why there are none."""
        result = Inspected(item)
        if seen is not None:
            result.sha256, result.error, result.look = seen["sha256"], seen["error"], self._known(seen["sha256"])
            if result.error or result.look:
                return result
        result.was_read = True
        if item.size > largest_file(self._max_pixels):
            result.error = str(DecodeError("too large"))
            return result
        try:
            result.data = storage.read(item)
        except StorageError as error:
            result.error = f"download: {error}"
        return result

    def _decode(self, result: Inspected) -> Inspected:
        """Runs in a decoding thread: what is known of the content, else what its pixels show, else why there are none."""
        data, result.data = result.data, None
        if data is None:
            return result
        result.sha256 = content_hash(data)
        result.look = self._known(result.sha256)
        if result.look is not None:
            return result
        try:
            decoded = decode(data, max_pixels=self._max_pixels, min_side=THUMBNAIL_SIDE)
        except DecodeError as error:
            result.error = str(error)
            return result
        result.was_decoded = True
        result.look = Look(decoded.width, decoded.height, perceptual_hash(decoded.image))
        if int(result.sha256[:8], 16) < self._thumbnail_share * 2**32:
            result.thumbnail = thumbnail(decoded.image)
        return result

    def _known(self, sha256: str) -> Look | None:
        look = self._looks.get(sha256)
        return look if look is not None and look.width * look.height <= self._max_pixels else None

    def _keep(self, locators: LocatorCache, name: bytes, result: Inspected) -> None:
        self.counts["read" if result.was_read else "known"] += 1
        self.counts["errors"] += result.error is not None
        self.counts["decoded"] += result.was_decoded
        if not result.was_read or result.sha256 is None:
            return
        if result.look is not None:
            self._looks.add(result.sha256, result.look)
        elif not is_lasting(result.error):
            return
        if result.thumbnail is not None:
            self._thumbnails.add(result.sha256, result.thumbnail)
            result.thumbnail = None
        size = (result.look.width, result.look.height) if result.look else (None, None)
        locators.add(name, sha256=result.sha256, width=size[0], height=size[1], error=result.error)


def perceptual_hash(image: Image.Image) -> int:
    """64 bits of the image's low frequencies (pHash: the signs of an 8x8 corner of the cosine transform about its median)."""
    import imagehash

    return int.from_bytes(np.packbits(imagehash.phash(image).hash.ravel()).tobytes(), "big")
