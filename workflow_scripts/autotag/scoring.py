"""Neighbours that an index proposes, compared again with the stored vectors: cosines that depend on nothing but the vectors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workflow_scripts.autotag.blocks import EMBEDDINGS, FILES
from workflow_scripts.core import index as core
from workflow_scripts.core.cosine import Floats
from workflow_scripts.core.embeddings import Vectors
from workflow_scripts.core.prefetch import ahead
from workflow_scripts.core.step import StepError

Ints = npt.NDArray[np.int64]
Pairs = tuple[Ints, Ints]  # queries, ids
_AT_ONCE = 4096  # pairs


def propose(index: Any, vectors: Vectors, count: int) -> Pairs:
    """The rows that an index takes for the nearest so many of each query [q, d]: pairs by query, nearest first."""
    ids = core.search(index, vectors, max(1, min(count, index.ntotal)))
    queries, places = np.nonzero(ids >= 0)
    return queries, ids[queries, places]


class Stored:
    """The vectors of all rows of an index, in the files of their shards."""

    def __init__(self, folder: Path, shards: Sequence[dict[str, Any]], d: int, threads: int) -> None:
        """Look for them in the results of the source; `shards` as in `index_metadata.json`: shard, offset, rows."""
        self._folder, self._shards, self._d, self._threads = folder, shards, d, threads
        self._starts = np.array([shard["offset"] for shard in shards], dtype=np.int64)

    def cosines(self, vectors: Vectors, pairs: Pairs) -> Floats:
        """The exact cosine of each query [q, d] to the row it is paired with.

        Raises:
            StepError: vectors of a shard are gone, or not those that the index was made of.
        """
        queries, ids = pairs
        found = np.empty(len(ids))
        order = np.argsort(ids, kind="stable")
        # The last of those that start there: one without rows starts where the next does.
        shards = np.searchsorted(self._starts, ids[order], side="right") - 1
        groups = np.split(order, np.flatnonzero(np.diff(shards)) + 1) if len(order) else []
        wide = vectors.astype(np.float32)

        def score(group: Ints) -> Floats:
            number = int(np.searchsorted(self._starts, ids[group[0]], side="right")) - 1
            stored = self._open(self._shards[number])
            parts = [group[start : start + _AT_ONCE] for start in range(0, len(group), _AT_ONCE)]
            return np.concatenate([_cosines(wide[queries[part]], stored, ids[part] - self._starts[number]) for part in parts])

        for group, cosines in zip(groups, ahead(score, groups, threads=self._threads, depth=2 * self._threads), strict=True):
            found[group] = cosines
        return found

    def _open(self, shard: dict[str, Any]) -> Vectors:
        path = self._folder / FILES[EMBEDDINGS].format(shard["shard"])
        mend = "candidates are compared with the stored vectors; put it back, or make it again"
        if not path.is_file():
            raise StepError(f"{path}: the vectors of shard {shard['shard']} are gone, and {mend}")
        vectors: Vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        if vectors.shape != (shard["rows"], self._d):
            size = f"holds {vectors.shape}, the index was made of ({shard['rows']}, {self._d})"
            raise StepError(f"{path}: {size}; make the index of what there is now: autotag_04_merge_index")
        return vectors


def _cosines(left: npt.NDArray[np.float32], stored: Vectors, rows: Ints) -> Floats:
    # A float16 has 11 significant bits, so the product of two fits into a float32; sums of such products are exact in float64
    # (see `core.cosine`), and float16 becomes float32 much faster than float64.
    unique, places = np.unique(rows, return_inverse=True)
    right = stored[unique].astype(np.float32)
    summed: Floats = (left * right[places]).sum(axis=1, dtype=np.float64)
    return summed
