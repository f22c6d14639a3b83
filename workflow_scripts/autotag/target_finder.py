"""A folder's images to what is found in them, through the cache: decode ahead in threads, segment in batches, each content once."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from workflow_scripts.autotag.finding import segmented
from workflow_scripts.autotag.segmenters.base import Found, Segmenter
from workflow_scripts.core.images import DecodeError, content_hash, decode, largest_file
from workflow_scripts.core.prefetch import ahead
from workflow_scripts.core.segments import ContentStore
from workflow_scripts.core.storage import FolderStorage, Item, StorageError

_FOUND = pa.struct(
    [
        ("box", pa.list_(pa.float64(), 4)),
        ("confidence", pa.float64()),
        ("class_id", pa.int32()),
        ("label", pa.string()),
        ("mask_area", pa.int64()),
    ]
)
_SCHEMA = pa.schema([("sha256", pa.binary(32)), ("width", pa.int32()), ("height", pa.int32()), ("found", pa.list_(_FOUND))])
_AHEAD = 48  # images that may wait for the segmenter, decoded
_PIXELS_OF_A_BYTE = 16  # bytes that an image may take up for a byte of its file


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found in an image, in any order; and its upright size in pixels."""

    width: int
    height: int
    found: list[Found]


class SeenStore(ContentStore[Seen]):
    """Content of an image and the words that it was searched for (`address`) → what was found, for one fingerprint of a segmenter."""

    def __init__(self, root: str, fingerprint: str) -> None:
        """Open the cache below `root`."""
        super().__init__(Path(root) / "segments" / fingerprint, _SCHEMA)

    def _to_row(self, value: Seen) -> tuple[Any, ...]:
        rows = [{name: getattr(each, name) for name in Found.__slots__} for each in value.found]
        return value.width, value.height, rows

    def _from_row(self, table: pa.Table, row: int) -> Seen:
        found = [Found(**each | {"box": tuple(each["box"])}) for each in table["found"][row].as_py()]
        return Seen(table["width"][row].as_py(), table["height"][row].as_py(), found)


@dataclass(slots=True)
class Look:
    """An image on its way; in the end it has either `seen` or `error`.

    Attributes:
        item: as listed.
        words: that are looked for.
        sha256: of its content; None where it could not be read.
        image: upright, RGB; None with an error, and where nobody needs the pixels.
        seen: what was found.
        error: `stage: text`.
    """

    item: Item
    words: Sequence[str]
    sha256: str | None = None
    image: Image.Image | None = None
    seen: Seen | None = None
    error: str | None = None

    @property
    def address(self) -> str:
        """What is found depends on the content and the words, beside the segmenter."""
        return hashlib.sha256(f"{self.sha256} {json.dumps(list(self.words))}".encode()).hexdigest()


class Finder:
    """Looks for segments in images, through the cache; the segmenter is loaded when an image is unknown.

    Attributes:
        fingerprint: of the segmenter.
        counts: images for which segments were `computed`, and those for which they were `known`, copies of others among them.
    """

    def __init__(self, fingerprint: str, load: Callable[[], Segmenter], *, cache_root: str, threads: int, max_pixels: int) -> None:
        """Open the cache.

        Args:
            fingerprint: of the segmenter that `load` gives.
            load: called once at most.
            cache_root: the cache.
            threads: that decode.
            max_pixels: of an image, above which it is an error.
        """
        self.fingerprint = fingerprint
        self.counts = Counter(dict.fromkeys(("known", "computed"), 0))
        self._load, self._threads, self._max_pixels = load, threads, max_pixels
        self._store = SeenStore(cache_root, fingerprint)
        self._segmenter: Segmenter | None = None

    def find(self, looks: Iterable[Look], storage: FolderStorage, needs_pixels: Callable[[Look], bool]) -> Iterator[Look]:
        """Each look with what was found or why not, as soon as that is known: not in their order.

        Args:
            looks: with `item` and `words`.
            storage: the folder.
            needs_pixels: whether the image is wanted beside what is known of it; called in threads.
        """
        read = ahead(
            lambda look: self._read(look, storage, needs_pixels),
            looks,
            threads=self._threads,
            depth=_AHEAD + self._threads,
            weight=lambda look: _PIXELS_OF_A_BYTE * look.item.size,
        )
        waiting: dict[str, list[Look]] = {}  # contents that nothing is known of, and the images that have them
        try:
            for look in read:
                if look.error is not None or self._recall(look):
                    self.counts["known"] += look.error is None
                    yield look
                    continue
                same = waiting.setdefault(look.address, [])
                look.image = same[0].image if same else look.image
                same.append(look)
                if len(waiting) >= self._loaded().batch:
                    yield from self._segment(waiting)
            if waiting:
                yield from self._segment(waiting)
        finally:
            self._store.flush()

    def _read(self, look: Look, storage: FolderStorage, needs_pixels: Callable[[Look], bool]) -> Look:
        """Runs in a thread."""
        if look.item.size > largest_file(self._max_pixels):
            look.error = str(DecodeError("too large"))
            return look
        try:
            data = storage.read(look.item)
            look.sha256 = content_hash(data)
            if not self._recall(look) or needs_pixels(look):
                look.image = decode(data, max_pixels=self._max_pixels).image
        except StorageError as error:
            look.error = f"read: {error}"
        except DecodeError as error:
            look.error = str(error)
        return look

    def _recall(self, look: Look) -> bool:
        """Fill in what is known of an image; False where nothing is, or where it is larger than images may be now."""
        if look.seen is None and (seen := self._store.get(look.address)) and seen.width * seen.height <= self._max_pixels:
            look.seen = seen
        return look.seen is not None

    def _segment(self, waiting: dict[str, list[Look]]) -> Iterator[Look]:
        """Empties what waits."""
        firsts = [same[0] for same in waiting.values()]
        images = [look.image for look in firsts if look.image is not None]
        found = segmented(images, [look.words for look in firsts], self._loaded())
        for (address, same), image, segments in zip(waiting.items(), images, found, strict=True):
            if isinstance(segments, str):
                for look in same:
                    look.error, look.image = segments, None
                continue
            seen = Seen(*image.size, segments)
            self._store.add(address, seen)
            self.counts["computed"] += 1
            self.counts["known"] += len(same) - 1
            for look in same:
                look.seen = seen
        yield from (look for same in waiting.values() for look in same)
        waiting.clear()

    def _loaded(self) -> Segmenter:
        if self._segmenter is None:
            self._segmenter = self._load()
        return self._segmenter
