"""How many of the exact nearest neighbours a search finds, and how far it has to look for that."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from workflow_scripts.autotag.exact import Queries, nearest_first, place_in_run
from workflow_scripts.autotag.scoring import Pairs, Stored, propose
from workflow_scripts.autotag.tables import RECALL_AT
from workflow_scripts.core import index as core
from workflow_scripts.core.step import log

Ints = npt.NDArray[np.int64]
GOAL = 0.9
RERANK = 200  # candidates, where auto chooses
FEW_LISTS = 1024  # up to which auto may look through all of them
_SHARE = 16  # of more lists at most one in so many


def recall(found: Pairs, exact: Pairs) -> float | None:
    """The mean over queries of the part of its exact neighbours that was found; None where no query has any.

    Both are pairs without repeats, at most `RECALL_AT` a query; a query with fewer exact ones is judged by those.
    """
    queries, ids = exact
    if not len(queries):
        return None
    width = 1 + int(max(ids.max(), found[1].max(initial=0)))
    hits = np.isin(queries * width + ids, found[0] * width + found[1])
    of_each = np.bincount(queries)
    parts = np.bincount(queries, weights=hits)[of_each > 0] / of_each[of_each > 0]
    return round(float(parts.mean()), 6)


def merge_exact(paths: Sequence[Path], offsets: Sequence[int]) -> Pairs:
    """The exact nearest `RECALL_AT` rows of each query, from the tables of the blocks, whose ids count from these offsets."""
    tables = [pq.read_table(path) for path in paths]
    queries = np.concatenate([np.asarray(table["query"], dtype=np.int64) for table in tables])
    ids = np.concatenate([np.asarray(table["id"], dtype=np.int64) + offset for table, offset in zip(tables, offsets, strict=True)])
    cosines = np.concatenate([np.asarray(table["similarity"], dtype=np.float64) for table in tables])
    order = nearest_first(queries, ids, cosines, RECALL_AT)
    return queries[order], ids[order]


def first_of_each(pairs: Pairs, count: int) -> Pairs:
    """The first so many pairs of each query; they are sorted by query."""
    kept = place_in_run(pairs[0]) < count
    return pairs[0][kept], pairs[1][kept]


class Trial:
    """Searches an index for the queries as step 07 does for targets, without the rows of a query's own image."""

    def __init__(self, index: Any, queries: Queries, own: Pairs, stored: Stored, candidates: int) -> None:
        """Take an index.

        Args:
            index: with all rows.
            queries: what to look for.
            own: rows of the queries' images: number of the image, id.
            stored: the vectors.
            candidates: that a search takes from the index.
        """
        self._index, self._queries, self._stored, self._candidates = index, queries, stored, candidates
        images, self._own_ids = own
        # An id belongs to one image.
        order = np.argsort(self._own_ids)
        self._own_ids, self._own_images = self._own_ids[order], images[order]
        self._spare = int(np.bincount(images).max(initial=0))

    def find(self) -> tuple[Pairs, Pairs]:
        """The nearest `RECALL_AT` of each query after comparing with the stored vectors, and by the index alone."""
        queries, ids = propose(self._index, self._queries.vectors, self._candidates + self._spare)
        others = self._image_of(ids) != self._queries.images[queries]
        pairs = first_of_each((queries[others], ids[others]), self._candidates)
        order = nearest_first(*pairs, self._stored.cosines(self._queries.vectors, pairs), RECALL_AT)
        return (pairs[0][order], pairs[1][order]), first_of_each(pairs, RECALL_AT)

    def _image_of(self, ids: Ints) -> Ints:
        """The image of each row where a query comes from it, else -1."""
        if not len(self._own_ids):
            return np.full(len(ids), -1)
        places = np.minimum(np.searchsorted(self._own_ids, ids), len(self._own_ids) - 1)
        return np.where(self._own_ids[places] == ids, self._own_images[places], -1)


def probes(lists: int, asked: int | str) -> Iterator[int | None]:
    """How many lists to try to look through, fewest first; None alone for an index without lists."""
    if not lists:
        yield None
    elif asked != "auto":
        yield min(int(asked), lists)
    else:
        most = lists if lists <= FEW_LISTS else lists // _SHARE
        yield from (1 << bit for bit in range(most.bit_length()))


@dataclass(frozen=True)
class Chosen:
    """How far a search looks, and what it finds.

    Attributes:
        nprobe: lists; None for an index without.
        recall: with the stored vectors; None where nothing can be measured.
        without_rerank: by the index alone.
        by_nprobe: of all that was tried.
    """

    nprobe: int | None
    recall: float | None
    without_rerank: float | None
    by_nprobe: dict[int, float]

    @property
    def reached(self) -> bool:
        """Whether the recall is good enough."""
        return self.recall is not None and self.recall >= GOAL


def choose(index: Any, lists: int, asked: int | str, find: Callable[[], tuple[Pairs, Pairs]], exact: Pairs) -> Chosen:
    """Look through more and more lists until the recall is good enough.

    Else the best of what was tried is taken, and of equals the first; with nothing to find, which tells nothing, the farthest.

    Args:
        index: to search.
        lists: that it has; 0 for none.
        asked: how many to look through, or `auto`.
        find: gives what it finds, after comparing with the stored vectors and by the index alone.
        exact: what there is to find.
    """
    best: Chosen | None = None
    tried: dict[int, float] = {}
    for nprobe in probes(lists, asked):
        if nprobe is not None:
            core.look_through(index, nprobe)
        with_vectors, alone = find()
        reached = recall(with_vectors, exact)
        log.info("nprobe %s: recall@%d %s", nprobe, RECALL_AT, reached)
        if nprobe is not None and reached is not None:
            tried[nprobe] = reached
        if best is None or best.recall is None or (reached is not None and reached > best.recall):
            best = Chosen(nprobe, reached, recall(alone, exact), tried)
        if reached is not None and reached >= GOAL:
            break
    assert best is not None
    return best
