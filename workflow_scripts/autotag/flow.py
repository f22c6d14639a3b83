"""Images of a shard to the vectors of their parts, without any file between.

    samples → hash, decode (threads) → segmenter, in batches → choose, crop, resize (threads) → CLIP, in batches across images (a
    thread of its own) → one result a sample, in order

Each arrow is an iterator over the one before and holds a bounded number of images.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import compress
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from workflow_scripts.autotag.finding import searched
from workflow_scripts.autotag.pictures import Picture, Words, decoded
from workflow_scripts.autotag.segmenters.base import Segmenter
from workflow_scripts.autotag.segments import choose, crop, crop_ids
from workflow_scripts.autotag.shards import Sample
from workflow_scripts.core.embeddings import Vectors
from workflow_scripts.core.prefetch import ahead
from workflow_scripts.core.preprocess import Pixels, Preprocess

_Batch = tuple[list[Picture], list[Pixels]]  # crops, and whose each is


class Encoder(Protocol):
    """What `core.clip.ImageEncoder` is.

    Attributes:
        batch: images a forward pass.
    """

    batch: int

    def encode(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """Vectors [n, d] of views [n, size, size, 3], L2-normalised."""


class Models:
    """The two models of a process, each loaded when the first image needs it.

    Attributes:
        preprocess: crop → the encoder's input.
        width: numbers of a vector.
    """

    def __init__(self, segmenter: Callable[[], Segmenter], encoder: Callable[[], Encoder], preprocess: Preprocess, width: int) -> None:
        """Take what loads each."""
        self._load_segmenter, self._load_encoder = segmenter, encoder
        self.preprocess, self.width = preprocess, width

    @cached_property
    def segmenter(self) -> Segmenter:
        """What takes images apart."""
        return self._load_segmenter()

    @cached_property
    def encoder(self) -> Encoder:
        """What embeds the parts."""
        return self._load_encoder()


class Flow:
    """Takes images apart and embeds the parts.

    Attributes:
        width: numbers of a vector.
        max_pixels: above which an image is an error.
    """

    def __init__(self, models: Models, segment: Mapping[str, Any], *, threads: int, max_pixels: int) -> None:
        """Take the models, the settings of `segments.choose`, and how many threads decode."""
        self._models, self._segment = models, segment
        self._threads = threads
        self.width, self.max_pixels = models.width, max_pixels

    def run(self, samples: Iterable[Sample], words: Words) -> Iterator[Picture]:
        """What became of each sample of a shard, in order.

        The last batch ends with the shard: what comes of it depends on no other.

        Raises:
            StepError: a model cannot be used, or memory does not suffice.
        """
        pictures = decoded(samples, words, threads=self._threads, max_pixels=self.max_pixels)
        cut = ahead(
            self._cut,
            searched(pictures, lambda: self._models.segmenter),
            threads=self._threads,
            depth=2 * self._threads,
            weight=lambda picture: picture.weight,
        )
        waiting: deque[Picture] = deque()
        # In a thread of its own: the segmenter prepares its next batch meanwhile.
        for owners, vectors in ahead(self._encode, self._batches(cut, waiting), threads=1, depth=2):
            for owner, vector in zip(owners, vectors, strict=True):
                owner.vectors.append(vector)
            while waiting and len(waiting[0].vectors) == len(waiting[0].segments):
                yield _finished(waiting.popleft())
        yield from waiting  # those at the end of which nothing is left

    def _cut(self, picture: Picture) -> Picture:
        """Runs in a thread: the segments and their crops."""
        image, picture.image = picture.image, None
        if image is not None:
            picture.segments, picture.counts = choose(picture.found, image.size, self._segment, always=False)
            picture.crop_ids = crop_ids(picture.sample.key, picture.segments)
            picture.crops = [self._models.preprocess(crop(image, segment)) for segment in picture.segments]
        picture.found = []
        return picture

    def _batches(self, pictures: Iterable[Picture], waiting: deque[Picture]) -> Iterator[_Batch]:
        """The crops of all pictures, as many as the encoder takes at a time; the pictures go to those that wait for vectors."""
        owners: list[Picture] = []
        rows: list[Pixels] = []
        for picture in pictures:
            waiting.append(picture)
            crops, picture.crops = picture.crops, []
            for pixels in crops:
                owners.append(picture)
                rows.append(pixels)
                if len(rows) >= self._models.encoder.batch:
                    yield owners, rows
                    owners, rows = [], []
        if rows:
            yield owners, rows

    def _encode(self, batch: _Batch) -> tuple[list[Picture], Vectors]:
        """Runs in a thread of its own."""
        owners, rows = batch
        return owners, self._models.encoder.encode(np.concatenate(rows)).astype(np.float16)


def _finished(picture: Picture) -> Picture:
    """A picture whose vectors are there. Crops whose vector is none are left out; an image that has no other is an error."""
    usable = [bool(np.isfinite(vector).all()) for vector in picture.vectors]
    if lost := usable.count(False):
        text = f"embed: the model gave no finite vector for {lost} of {len(usable)} crops"
        picture.segments, picture.crop_ids = list(compress(picture.segments, usable)), list(compress(picture.crop_ids, usable))
        picture.vectors = list(compress(picture.vectors, usable))
        picture.counts["crops"] -= lost
        picture.note, picture.error = (text, None) if picture.segments else (None, text)
    return picture
