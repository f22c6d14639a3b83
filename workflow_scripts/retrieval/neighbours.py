"""Hard negatives and hard or easy positives of queries."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workflow_scripts.core.cosine import Floats
from workflow_scripts.core.step import progress
from workflow_scripts.retrieval.gallery import Ints
from workflow_scripts.retrieval.left_out import REASONS
from workflow_scripts.retrieval.search import Search, place_in_run

PAIRS = 1 << 19  # of a query and a candidate concept that are looked at together


@dataclass(slots=True)
class Chosen:
    """What was chosen for some queries.

    Attributes:
        images: best first, -1 where there is none [q, n].
        cosines: of each to its query [q, n].
        left_out: pairs of a query and an image that were left out, by reason [4].
        replaced: how many concepts were candidates, but had no usable image.
    """

    images: Ints
    cosines: Floats
    left_out: Ints
    replaced: int = 0

    @classmethod
    def none(cls, queries: int, wanted: int) -> "Chosen":
        """Nothing yet."""
        return cls(np.full((queries, wanted), -1, np.int64), np.zeros((queries, wanted)), np.zeros(len(REASONS), np.int64))

    def counts(self) -> Ints:
        """How many images each query has [q]."""
        return np.count_nonzero(self.images >= 0, axis=1)

    def offer(self, queries: Ints, images: Ints, cosines: Floats) -> None:
        """Keep the best of what queries have and of these: one image a concept, ties go to the lower index.

        Args:
            queries: rows [p].
            images: of each [p].
            cosines: likewise [p].
        """
        touched = np.unique(queries)
        rows, columns = np.nonzero(self.images[touched] >= 0)
        owners = np.concatenate([touched[rows], queries])
        images = np.concatenate([self.images[touched][rows, columns], images])
        cosines = np.concatenate([self.cosines[touched][rows, columns], cosines])
        order = np.lexsort((images, -cosines, owners))
        place = place_in_run(owners[order])
        kept = place < self.images.shape[1]
        order, place = order[kept], place[kept]
        self.images[owners[order], place] = images[order]
        self.cosines[owners[order], place] = cosines[order]

    def fill(self, rows: Ints, other: "Chosen") -> None:
        """Append what another pool gave for some rows, as far as places are free."""
        images = np.concatenate([self.images[rows], other.images], axis=1)
        cosines = np.concatenate([self.cosines[rows], other.cosines], axis=1)
        order = np.argsort(images < 0, axis=1, kind="stable")[:, : self.images.shape[1]]
        self.images[rows] = np.take_along_axis(images, order, axis=1)
        self.cosines[rows] = np.take_along_axis(cosines, order, axis=1)
        self.left_out += other.left_out
        self.replaced += other.replaced


def positives(search: Search, queries: Ints, *, farthest: bool) -> Chosen:
    """Another image of each query's concept: the least (`farthest`) or the most similar one [q, 1]."""
    images, cosines, left_out = search.best(queries, search.owners[queries], farthest=farthest, negatives=False)
    return Chosen(images[:, None], cosines[:, None], left_out.sum(axis=0))


def negatives(search: Search, queries: Ints, pools: Sequence[Ints], candidates: int, wanted: int) -> Chosen:
    """The most similar images of each query's nearest other concepts [q, wanted].

    Args:
        search: over all images.
        queries: images [q].
        pools: concepts to choose from, each sorted; a later pool fills what those before it left free.
        candidates: how many nearest concepts of a pool with a usable image give their most similar one, of which the best stay.
        wanted: how many images a query needs.
    """
    chosen = Chosen.none(len(queries), wanted)
    for pool in pools:
        short = np.flatnonzero(chosen.counts() < wanted)
        chosen.fill(short, _from_pool(search, queries[short], pool, max(candidates, wanted), wanted))
    return chosen


def _from_pool(search: Search, queries: Ints, pool: Ints, candidates: int, wanted: int) -> Chosen:
    """Look at the nearest concepts of each query up to the `candidates`-th that has a usable image, or at all there are."""
    chosen = Chosen.none(len(queries), wanted)
    available = len(pool) - np.isin(search.owners[queries], pool)
    seen, usable = np.zeros_like(queries), np.zeros_like(queries)
    while (active := np.flatnonzero((usable < candidates) & (seen < available))).size:
        # As many as are missing, and at least as many as before, so that a set full of copies takes few rounds.
        last = np.minimum(available[active], seen[active] + np.maximum(candidates - usable[active], seen[active]))
        blocks = np.split(np.arange(len(active)), np.flatnonzero(np.diff(np.cumsum(last - seen[active]) // PAIRS)) + 1)
        for block in progress(blocks, total=len(blocks), unit="blocks of queries"):
            rows = active[block]
            places, concepts = search.nearest(queries[rows], pool, seen[rows], last[block])
            images, cosines, left_out = search.best(queries[rows][places], concepts)
            # What a round looked at beyond the last concept that was needed does not count.
            needed = usable[rows][places] + _before(places, images >= 0) < candidates
            found = needed & (images >= 0)
            chosen.offer(rows[places[found]], images[found], cosines[found])
            chosen.left_out += left_out[needed].sum(axis=0)
            chosen.replaced += int(np.count_nonzero(needed & (images < 0)))
            usable[rows] += np.bincount(places[found], minlength=len(rows))
            seen[rows] = last[block]
    return chosen


def _before(keys: Ints, flags: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Ints:
    """How many flags are set before each entry among the equal keys next to it [n]; keys are sorted [n]."""
    before: Ints = np.cumsum(flags) - flags
    return before - before[np.arange(len(keys)) - place_in_run(keys)]
