"""From listed objects to vectors: read and decode ahead in threads, skip what is known, encode in full batches, in order.

    storage → fetch (many threads, that wait) → hash, decode (a thread a core) → batches → vectors, one result an item, in the
    order of the items

Holds a bounded number of images, knows no pipeline, and works from a notebook.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from workflow_scripts.core import clip
from workflow_scripts.core.cache import EmbeddingCache, Known, LocatorCache, ThumbnailCache, locator
from workflow_scripts.core.embeddings import Vectors, digest
from workflow_scripts.core.images import DECODE_VERSION, DecodeError, content_hash, decode, is_lasting, largest_file, thumbnail
from workflow_scripts.core.models import ModelCard
from workflow_scripts.core.prefetch import ahead
from workflow_scripts.core.preprocess import Pixels, Preprocess
from workflow_scripts.core.step import log
from workflow_scripts.core.storage import Item, Storage, StorageError


@dataclass(slots=True)
class Embedded:
    """One item's outcome: vectors or an error, never both.

    Attributes:
        item: as listed.
        sha256: of the content; None when it could not be read.
        width: upright, in pixels; None with an error.
        height: likewise.
        vectors: [views, d] float16, each L2-normalised unless the embedder was told otherwise.
        error: `stage: text`.
    """

    item: Item
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    vectors: Vectors | None = None
    error: str | None = None


@dataclass(slots=True)
class _Reading:
    """An item on its way; unless its result is known, `data` waits for decoding, then `pixels` [views, size, size, 3] for the encoder."""

    result: Embedded
    locator: bytes
    was_read: bool = False
    data: bytes | None = None
    pixels: Pixels | None = None
    thumbnail: bytes | None = None


def _data_size(reading: _Reading) -> int:
    return len(reading.data or b"")


class Embedder:
    """Embeds the items of a storage with one model, through the cache.

    Attributes:
        fingerprint: of the vectors, as `clip.fingerprint` gives it.
        normalise: whether vectors are L2-normalised.
        description: what made them, in words, for the metadata of a table.
        counts: what was done so far: `known` items that needed no read, `read` files, `decoded` images, `encoded` images,
            `forwards` of the model, `errors`.
    """

    def __init__(
        self,
        card: ModelCard,
        *,
        cache_root: str,
        views: str,
        decode_mode: str,
        max_pixels: int,
        device: str,
        batch: int | str,
        threads: int,
        thumbnail_share: float = 0.0,
        normalise: bool = True,
    ) -> None:
        """Open the cache for this model; the model itself is loaded when the first unknown image arrives.

        `thumbnail_share`: of which part of the images, chosen by their content, the cache keeps a thumbnail from this decode.
        `normalise`: bring vectors to length 1; those of other lengths have a cache of their own.
        """
        self._card = card
        self._device, self._precision = clip.resolve_device(device)
        self.fingerprint = clip.fingerprint(card, views=views, decode=decode_mode, precision=self._precision, normalise=normalise)
        self.description = {
            "decode": decode_mode,
            "device": self._device,
            "fingerprint": self.fingerprint,
            "model": {"name": card.name, "pretrained": card.pretrained, "sha256": card.sha256},
            "normalise": normalise,
            "precision": self._precision,
            "views": views,
        }
        self._preprocess = Preprocess.for_model(card.preprocess_cfg, views)
        self._min_side = self._preprocess.size if decode_mode == "scaled" else None
        self._max_pixels = max_pixels
        self.normalise = normalise
        self._cache_root = cache_root
        self._batch = batch
        self._threads = threads
        self._vectors = EmbeddingCache(cache_root, self.fingerprint)
        self._thumbnails = ThumbnailCache(cache_root)
        self._thumbnail_share = thumbnail_share
        self._encoder: clip.ImageEncoder | None = None
        self.counts: Counter[str] = Counter(dict.fromkeys(("known", "read", "decoded", "encoded", "forwards", "errors"), 0))

    def load(self) -> clip.ImageEncoder:
        """The model on its device; loaded by the first call."""
        if self._encoder is None:
            self._encoder = clip.ImageEncoder(
                self._card,
                device=self._device,
                precision=self._precision,
                batch=self._batch,
                threads=self._threads,
                normalise=self.normalise,
            )
        return self._encoder

    def embed(self, items: list[Item], storage: Storage) -> Iterator[Embedded]:
        """One result for each item, in order."""
        contract = digest([DECODE_VERSION, self._max_pixels])
        names = [locator(storage.identity, item.key, item.etag, item.size) for item in items]
        self._locators = LocatorCache(self._cache_root, contract, names)
        batch = clip.AUTO_BATCH[self._device] if self._batch == "auto" else int(self._batch)
        log.info("embedding %d items, fingerprint %s", len(items), self.fingerprint)
        # Reads wait for a disk or a network, decoding keeps a core busy: each has its own threads.
        reads = storage.reads_at_once
        fetched = ahead(
            lambda pair: self._fetch(*pair, storage),
            zip(items, names, strict=True),
            threads=reads,
            depth=2 * reads,
            weight=lambda pair: pair[0].size,
        )
        readings = ahead(self._decode, fetched, threads=self._threads, depth=2 * batch + self._threads, weight=_data_size)
        try:
            yield from self._encode(readings, batch)
        finally:
            self._vectors.flush()
            self._thumbnails.flush()
            # After the vectors: a locator without its vector costs one more read, nothing worse.
            self._locators.flush()

    def _fetch(self, item: Item, name: bytes, storage: Storage) -> _Reading:
        """Runs in a reading thread: what is known of the item, else its bytes, else why there are none."""
        reading = _Reading(Embedded(item), name)
        seen = self._locators.get(name)
        if seen is not None and self._recall(reading.result, seen["sha256"], seen["error"]):
            return reading
        reading.was_read = True
        if item.size > largest_file(self._max_pixels):
            reading.result.error = str(DecodeError("too large"))
            return reading
        try:
            reading.data = storage.read(item)
        except StorageError as error:
            reading.result.error = f"download: {error}"
        return reading

    def _decode(self, reading: _Reading) -> _Reading:
        """Runs in a decoding thread: what is known of the content, else its pixels, else why there are none."""
        data, reading.data = reading.data, None
        if data is None:
            return reading
        result, sha256 = reading.result, content_hash(data)
        if self._recall(result, sha256, None):
            return reading
        result.sha256 = sha256
        try:
            decoded = decode(data, max_pixels=self._max_pixels, min_side=self._min_side)
        except DecodeError as error:
            result.error = str(error)
            return reading
        result.width, result.height = decoded.width, decoded.height
        reading.pixels = self._preprocess(decoded.image)
        if int(sha256[:8], 16) < self._thumbnail_share * 2**32:
            reading.thumbnail = thumbnail(decoded.image)
        return reading

    def _recall(self, result: Embedded, sha256: str, error: str | None) -> bool:
        """Fill in what earlier work knows of this content; False when it knows nothing."""
        if error is not None:
            result.sha256, result.error = sha256, error
            return True
        known = self._vectors.get(sha256)
        if known is None or known.width * known.height > self._max_pixels:
            return False
        result.sha256, result.width, result.height, result.vectors = sha256, known.width, known.height, known.vectors
        return True

    def _encode(self, readings: Iterable[_Reading], batch: int) -> Iterator[Embedded]:
        waiting: deque[_Reading] = deque()
        pending: dict[str, _Reading] = {}
        views = 0
        # Tiles do not fill a batch exactly; over several batches the padding of the last hardly counts.
        limit = 8 * batch if self._preprocess.tiles else batch
        for reading in readings:
            waiting.append(reading)
            sha256 = reading.result.sha256
            waits = reading.pixels is not None and sha256 not in pending
            if waits and sha256 is not None and not self._recall(reading.result, sha256, None):
                pending[sha256] = reading
                views += 0 if reading.pixels is None else len(reading.pixels)
            if views >= limit or len(waiting) >= 16 * batch:
                self._run(list(pending.values()))
                pending, views = {}, 0
            # Nothing behind an image that waits for the encoder may pass it: results keep the order of the items.
            while waiting and not (waiting[0].result.sha256 in pending and waiting[0].result.error is None):
                yield self._finish(waiting.popleft())
        self._run(list(pending.values()))
        while waiting:
            yield self._finish(waiting.popleft())

    def _run(self, pending: list[_Reading]) -> None:
        """Encode what waits and put the vectors into the cache, where copies of the same content find them."""
        if not pending:
            return
        encoder = self.load()
        pixels = [reading.pixels for reading in pending if reading.pixels is not None]
        vectors = encoder.encode(np.concatenate(pixels)).astype(np.float16)
        for reading, part in zip(pending, np.split(vectors, np.cumsum([len(views) for views in pixels])[:-1]), strict=True):
            result = reading.result
            assert result.sha256 is not None
            assert result.width is not None
            assert result.height is not None
            if np.isfinite(part).all():
                self._vectors.add(result.sha256, Known(part, result.width, result.height))
        self.counts["encoded"] += len(pending)
        self.counts["forwards"] = encoder.forwards

    def _finish(self, reading: _Reading) -> Embedded:
        result = reading.result
        if reading.thumbnail is not None and result.sha256 is not None:
            self._thumbnails.add(result.sha256, reading.thumbnail)
        if reading.pixels is not None:
            self.counts["decoded"] += 1
            if result.vectors is None and result.sha256 is not None and not self._recall(result, result.sha256, None):
                result.error = "embed: the model gave no finite vector"
        self.counts["read" if reading.was_read else "known"] += 1
        self.counts["errors"] += result.error is not None
        lasting = result.vectors is not None or is_lasting(result.error)
        if reading.was_read and result.sha256 is not None and lasting:
            self._locators.add(reading.locator, sha256=result.sha256, width=result.width, height=result.height, error=result.error)
        return result
