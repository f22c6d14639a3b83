"""Random negatives and positives of queries, drawn by hashes of seed and names."""

from collections.abc import Callable, Generator, Iterator, Sequence

import numpy as np

from workflow_scripts.core.cosine import paired
from workflow_scripts.core.seeded import rank
from workflow_scripts.core.step import progress
from workflow_scripts.retrieval.gallery import Gallery, Ints
from workflow_scripts.retrieval.left_out import LeftOut
from workflow_scripts.retrieval.neighbours import Chosen

# Gives image after image, is told of each whether it may be shown, and ends when there is none left.
Draws = Generator[int, bool, None]
_TOGETHER = 16_384  # queries whose draws are checked together


def permutation(count: int, *parts: object) -> Iterator[int]:
    """The numbers below `count` in a random order that the parts stand for; each takes one hash when it is asked for."""
    moved: dict[int, int] = {}
    for place in range(count):
        # The shuffle of Fisher and Yates, of which only the places that changed are kept.
        other = place + rank(*parts, place) % (count - place)
        yield moved.get(other, other)
        moved[other] = moved.pop(place, place)


class Lottery:
    """Draws from a gallery, without the pairs that are left out."""

    def __init__(self, gallery: Gallery, left_out: LeftOut, seed: int) -> None:
        """Draw with a seed; another gives other images."""
        self._gallery = gallery
        self._left_out = left_out
        self._seed = seed
        self._owners = gallery.owners()

    def positives(self, queries: Ints) -> Chosen:
        """Any other image of each query's concept [q, 1]."""
        chosen = Chosen.none(len(queries), 1)
        self._draw(chosen, queries, self._positive, negatives=False)
        return chosen

    def negatives(self, queries: Ints, pools: Sequence[Ints], wanted: int) -> Chosen:
        """Any image of each of any other concepts [q, wanted].

        Args:
            queries: images [q].
            pools: concepts to choose from; a later pool is drawn from when those before it are exhausted.
            wanted: how many images a query needs, each of another concept.
        """
        chosen = Chosen.none(len(queries), wanted)
        self._draw(chosen, queries, lambda query: self._negatives(query, pools, chosen), negatives=True)
        return chosen

    def _draw(self, chosen: Chosen, queries: Ints, start: Callable[[int], Draws], *, negatives: bool) -> None:
        starts = range(0, len(queries), _TOGETHER)
        for first in progress(starts, total=len(starts), unit="blocks of queries"):
            rows = range(first, min(first + _TOGETHER, len(queries)))
            draws = {row: start(int(queries[row])) for row in rows}
            drawn = {row: next(draws[row], -1) for row in rows}
            while drawn := {row: image for row, image in drawn.items() if image >= 0}:
                drawn = self._check(chosen, queries, drawn, draws, negatives=negatives)

    def _check(self, chosen: Chosen, queries: Ints, drawn: dict[int, int], draws: dict[int, Draws], *, negatives: bool) -> dict[int, int]:
        """Take what may be shown; gives the next draw of each query that needs one, -1 where there is none left."""
        rows, images = np.array(list(drawn)), np.array(list(drawn.values()))
        vectors = self._gallery.vectors
        cosines = paired(vectors[queries[rows]], vectors[images])
        flags = self._left_out.flags(queries[rows], images, cosines if negatives else None)
        chosen.left_out += self._left_out.count(flags)
        usable = flags == 0
        places = np.count_nonzero(chosen.images[rows] >= 0, axis=1)
        chosen.images[rows[usable], places[usable]] = images[usable]
        chosen.cosines[rows[usable], places[usable]] = cosines[usable]
        more = places + usable < chosen.images.shape[1]
        return {int(row): _next(draws[row], told) for row, told in zip(rows[more].tolist(), usable[more].tolist(), strict=True)}

    def _positive(self, query: int) -> Draws:
        members = self._gallery.images_of(int(self._owners[query]))
        for place in permutation(len(members), self._seed, self._gallery.names[query], "positive"):
            if members[place] != query:
                yield members[place]

    def _negatives(self, query: int, pools: Sequence[Ints], chosen: Chosen) -> Draws:
        parts = self._seed, self._gallery.names[query]
        for number, pool in enumerate(pools):
            for place in permutation(len(pool), *parts, "concept", number):
                concept = int(pool[place])
                if concept == self._owners[query]:
                    continue
                members = self._gallery.images_of(concept)
                for image in permutation(len(members), *parts, "image", *self._gallery.concepts[concept]):
                    if (yield members[image]):
                        break
                else:
                    chosen.replaced += 1


def _next(draws: Draws, usable: bool) -> int:
    """Tell of the last draw whether it may be shown, and draw again; -1 when there is nothing left."""
    try:
        return draws.send(usable)
    except StopIteration:
        return -1
