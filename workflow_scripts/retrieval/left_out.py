"""Which images are never shown with which query: copies of it, and what a person dropped."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from workflow_scripts.core.cosine import Floats
from workflow_scripts.retrieval.gallery import Gallery, Ints

REASONS = ("same bytes", "near copy", "duplicate_similarity", "review")
NEAR_COPY_BITS = 4  # perceptual hashes that differ in no more of their 64 bits are of one picture
Flags = npt.NDArray[np.uint8]
# The first reason of each combination of flags, a bit a reason.
_FIRST = np.array([0] + [(flags & -flags).bit_length() - 1 for flags in range(1, 1 << len(REASONS))])


class LeftOut:
    """Says of pairs of a query and an image whether the image is left out, and why."""

    def __init__(
        self, gallery: Gallery, *, duplicate_similarity: float | None, images: Iterable[int] = (), pairs: Iterable[tuple[int, int]] = ()
    ) -> None:
        """Take the images, and what applies to them.

        Args:
            gallery: all images.
            duplicate_similarity: cosine from which on an image is no negative; None for no such limit.
            images: those that a person dropped for every query.
            pairs: (query, image) that a person dropped.
        """
        numbers: dict[str, int] = {}
        self._contents = np.array([numbers.setdefault(sha256, len(numbers)) for sha256 in gallery.contents], dtype=np.int32)
        self._phashes = gallery.phashes
        self._limit = duplicate_similarity
        self.dropped = np.zeros(len(gallery.paths), dtype=bool)
        self.dropped[list(images)] = True
        self._pairs = np.array(sorted(query * len(gallery.paths) + image for query, image in pairs), dtype=np.int64)
        self._reviewed = np.zeros(len(gallery.paths), dtype=bool)
        self._reviewed[self._pairs // max(1, len(gallery.paths))] = True

    def flags(self, queries: Ints, images: Ints, cosines: Floats | None = None) -> Flags:
        """A bit for each reason to leave a pair out; 0 for a pair that may be shown.

        Args:
            queries: [q, 1], or [p] for p pairs.
            images: [1, i], or [p].
            cosines: of the pairs, where duplicate_similarity counts [q, i] or [p].
        """
        found = (self._contents[queries] == self._contents[images]).view(np.uint8)
        found |= (np.bitwise_count(self._phashes[queries] ^ self._phashes[images]) <= NEAR_COPY_BITS).view(np.uint8) << 1
        if cosines is not None and self._limit is not None:
            found |= (cosines >= self._limit).view(np.uint8) << 2
        if self.dropped[images].any():
            found |= self.dropped[images].view(np.uint8) << 3
        rows = np.flatnonzero(self._reviewed[queries])
        if rows.size:
            pairs = np.broadcast_to(queries, found.shape)[rows] * len(self.dropped) + np.broadcast_to(images, found.shape)[rows]
            found[rows] |= np.isin(pairs, self._pairs).view(np.uint8) << 3
        return found

    def count(self, flags: Flags) -> Ints:
        """How many pairs are left out for which reason [4], each under its first."""
        return np.bincount(_FIRST[flags[flags != 0]], minlength=len(REASONS))

    def tally(self, flags: Flags, queries: Ints, images: Ints) -> Ints:
        """How many pairs each query leaves out for which reason [q, 4]: a pair under its first reason, a query itself not at all.

        Args:
            flags: as given for queries [q, 1] and images [1, i].
            queries: [q].
            images: [i].
        """
        rows, columns = np.nonzero(flags)
        others = queries[rows] != images[columns]
        cells = rows[others] * len(REASONS) + _FIRST[flags[rows[others], columns[others]]]
        return np.bincount(cells, minlength=len(queries) * len(REASONS)).reshape(len(queries), len(REASONS))
