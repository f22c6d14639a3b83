"""Nearest concepts of an image, and the most or least similar image of a concept: exact, in bounded blocks, in threads.

Every tie goes to the lower index, so that blocks and threads only decide how fast it is.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from workflow_scripts.core.cosine import Floats, mean_direction, widen
from workflow_scripts.core.prefetch import ahead
from workflow_scripts.retrieval.gallery import Gallery, Ints
from workflow_scripts.retrieval.left_out import REASONS, LeftOut

S = TypeVar("S")
T = TypeVar("T")
SIDE = 1024  # rows or columns of a block of cosines: 8 MiB in float64, so that a thread works in some 50 MiB
THREADS = 4  # at most, which bounds the memory of all blocks together


class Search:
    """Searches a gallery, without the pairs that are left out."""

    def __init__(self, gallery: Gallery, left_out: LeftOut, threads: int) -> None:
        """Compute the mean vector of every concept."""
        self._gallery = gallery
        self._left_out = left_out
        self._threads = max(1, min(threads, THREADS))
        self.owners = gallery.owners()
        bounds, vectors = gallery.bounds, gallery.vectors
        self._means = np.zeros((len(gallery.concepts), vectors.shape[1]), dtype=np.float16)
        for concept in range(len(gallery.concepts)):
            self._means[concept] = mean_direction(vectors[bounds[concept] : bounds[concept + 1]])

    def nearest(self, queries: Ints, pool: Ints, first: Ints, last: Ints) -> tuple[Ints, Ints]:
        """The concepts of a pool that are nearest to each query, by the cosine of their mean vector; its own is none of them.

        Args:
            queries: images [q].
            pool: concepts, sorted.
            first: rank of the first concept to give, from 0 for the nearest [q].
            last: rank after the last one, larger than `first` [q].

        Returns:
            places in `queries`, and concepts, a pair for each rank, nearest first.
        """
        rows = max(1, min(SIDE, SIDE * SIDE // int(last.max())))

        def block(start: int) -> tuple[Ints, Ints]:
            part = slice(start, start + rows)
            places, concepts = self._nearest_block(queries[part], pool, first[part], last[part])
            return places + start, concepts

        found = list(self._map(block, range(0, len(queries), rows)))
        return np.concatenate([places for places, _ in found]), np.concatenate([concepts for _, concepts in found])

    def _nearest_block(self, queries: Ints, pool: Ints, first: Ints, last: Ints) -> tuple[Ints, Ints]:
        depth = int(last.max())
        left, owners = widen(self._gallery.vectors[queries]), self.owners[queries]
        least = np.full((len(queries), 1), -np.inf)
        found: list[tuple[Ints, Ints, Floats]] = []
        for start in range(0, len(pool), SIDE):
            concepts = pool[start : start + SIDE]
            cosines = left @ widen(self._means[concepts]).T
            # Its own concept comes last of all, which is a rank that nobody asks for.
            own = np.minimum(np.searchsorted(concepts, owners), len(concepts) - 1)
            mine = np.flatnonzero(concepts[own] == owners)
            cosines[mine, own[mine]] = -np.inf
            np.maximum(least, _bound(cosines, depth), out=least)
            rows, columns = np.divmod(np.flatnonzero(cosines >= least), len(concepts))
            found.append((rows, concepts[columns], cosines[rows, columns]))
        rows, names, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.lexsort((names, -values, rows))
        rank = place_in_run(rows[order])
        order = order[(first[rows[order]] <= rank) & (rank < last[rows[order]])]
        return rows[order], names[order]

    def best(self, queries: Ints, concepts: Ints, *, farthest: bool = False, negatives: bool = True) -> tuple[Ints, Floats, Ints]:
        """The most similar usable image of a concept to a query, for pairs of them.

        Args:
            queries: images [p].
            concepts: of each pair [p].
            farthest: give the least similar one instead.
            negatives: whether duplicate_similarity counts.

        Returns:
            images, -1 where none is usable [p]; their cosines [p]; pairs that were left out by reason [p, 4].
        """
        images = np.full(len(queries), -1, dtype=np.int64)
        cosines = np.zeros(len(queries))
        left_out = np.zeros((len(queries), len(REASONS)), dtype=np.int64)
        order = np.argsort(concepts, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(concepts[order])) + 1) if order.size else []
        found = self._map(lambda group: self._best_of(int(concepts[group[0]]), queries[group], farthest, negatives), groups)
        for group, (best, values, counts) in zip(groups, found, strict=True):
            images[group], cosines[group], left_out[group] = best, values, counts
        return images, cosines, left_out

    def _best_of(self, concept: int, queries: Ints, farthest: bool, negatives: bool) -> tuple[Ints, Floats, Ints]:
        vectors, members = self._gallery.vectors, self._gallery.images_of(concept)
        sign = -1.0 if farthest else 1.0
        best, values = np.full(len(queries), -1, dtype=np.int64), np.full(len(queries), -np.inf)
        left_out = np.zeros((len(queries), len(REASONS)), dtype=np.int64)
        for start in members[::SIDE]:
            images = np.arange(start, min(start + SIDE, members.stop))
            right = widen(vectors[images]).T
            for row in range(0, len(queries), SIDE):
                rows = slice(row, row + SIDE)
                cosines = widen(vectors[queries[rows]]) @ right
                flags = self._left_out.flags(queries[rows, None], images[None], cosines if negatives else None)
                cosines *= sign
                if flags.any():
                    left_out[rows] += self._left_out.tally(flags, queries[rows], images)
                    cosines[flags != 0] = -np.inf
                at = cosines.argmax(axis=1)
                found = cosines[np.arange(len(at)), at]
                # Only what is better: a tie stays with the image before.
                best[rows] = np.where(found > values[rows], images[at], best[rows])
                np.maximum(found, values[rows], out=values[rows])
        return best, np.where(best >= 0, sign * values, 0.0), left_out

    def _map(self, function: Callable[[S], T], items: Sequence[S]) -> Iterator[T]:
        return ahead(function, items, threads=self._threads, depth=2 * self._threads)


def _bound(values: Floats, rank: int) -> Floats:
    """A lower bound of the `rank`-th largest value of each row [q, 1]: close to it, and cheaper than finding it."""
    count = values.shape[1]
    if rank > count:
        return np.full((len(values), 1), -np.inf)
    # The `rank`-th largest of the maxima of groups of columns: at least `rank` columns reach it.
    width = max(1, count // (8 * rank))
    groups = count // width
    largest = values[:, : groups * width].reshape(len(values), width, groups).max(axis=1)
    return np.partition(largest, groups - rank, axis=1)[:, groups - rank, None]


def place_in_run(keys: Ints) -> Ints:
    """The place of each entry among the equal ones next to it, from 0 [n]; keys are sorted and not negative [n]."""
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    return np.arange(len(keys)) - np.repeat(starts, np.diff(starts, append=len(keys)))
