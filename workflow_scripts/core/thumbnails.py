"""Thumbnails of the images of a storage, for pages: from the cache, else from the source."""

import threading

from workflow_scripts.core.cache import ThumbnailCache
from workflow_scripts.core.images import THUMBNAIL_SIDE, DecodeError, content_hash, decode, largest_file, thumbnail
from workflow_scripts.core.storage import Storage, StorageError


class Thumbnails:
    """The small picture of an image: from the decode that an earlier step took, else from the source, and then kept."""

    def __init__(self, cache_root: str, source: Storage, max_pixels: int) -> None:
        """Open the cache; `flush` keeps what was made."""
        self._cache = ThumbnailCache(cache_root)
        self._source = source
        self._max_pixels = max_pixels
        self._lock = threading.Lock()
        self.made = 0

    def __call__(self, image: str) -> bytes | None:
        """The JPEG of an image named by sha256, a space and its key; None when it is gone or was replaced."""
        sha256, _, key = image.partition(" ")
        if found := self._cache.get(sha256):
            return found
        try:
            item = self._source.find(key)
            if item is None or item.size > largest_file(self._max_pixels):
                return None
            data = self._source.read(item)
            if content_hash(data) != sha256:
                return None
            made = thumbnail(decode(data, max_pixels=self._max_pixels, min_side=THUMBNAIL_SIDE).image)
        except (StorageError, DecodeError):
            return None
        with self._lock:
            self._cache.add(sha256, made)
            self.made += 1
        return made

    def flush(self) -> None:
        """Write what was made to the cache."""
        self._cache.flush()
