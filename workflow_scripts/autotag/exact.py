"""The exact nearest rows of queries, by which recall is judged: cosines in float64, which `core.cosine` shows to be exact."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts.core.cosine import Floats, widen
from workflow_scripts.core.embeddings import Vectors

Ints = npt.NDArray[np.int64]
ROWS = 4096  # that are in float64 at once
_BELOW_ALL = -2.0  # any cosine


class Queries:
    """Vectors to look for, each with the image that it comes from."""

    def __init__(self, vectors: Vectors, images: Sequence[str]) -> None:
        """Take vectors [q, d] and the sha256 of their images [q]."""
        self.vectors = vectors
        self._contents = pa.array(sorted(set(images)), pa.string())
        numbers = {image: number for number, image in enumerate(self._contents.to_pylist())}
        self.images: Ints = np.array([numbers[image] for image in images], dtype=np.int64)

    @classmethod
    def read(cls, path: Path) -> "Queries":
        """Read the table of step 02."""
        table = pq.read_table(path, columns=["sha256", "embedding"])
        flat = np.asarray(table["embedding"].combine_chunks().flatten(), dtype=np.float16)
        return cls(flat.reshape(len(table), -1), table["sha256"].to_pylist())

    def __len__(self) -> int:
        """How many there are."""
        return len(self.images)

    def owners(self, sha256: pa.ChunkedArray) -> Ints:
        """For rows of these images [n] the number of the image, where a query comes from it, else -1."""
        found = pc.fill_null(pc.index_in(sha256, value_set=self._contents), -1)
        return np.asarray(found, dtype=np.int64)


class Nearest:
    """Collects the nearest rows of each query from rows that come in parts; a tie goes to the lower id."""

    def __init__(self, queries: Queries, count: int) -> None:
        """Look for so many of each query."""
        self._queries, self._count = queries, count
        self._wide = widen(queries.vectors)
        self._least = np.full((len(queries), 1), _BELOW_ALL)
        self.queries, self.ids, self.cosines = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)

    def look(self, vectors: Vectors, owners: Ints, first: int) -> None:
        """Look at rows [n, d] whose ids count from `first`; `owners` as `Queries.owners` gives them [n]."""
        for start in range(0, len(vectors), ROWS):
            self._look(vectors[start : start + ROWS], owners[start : start + ROWS], first + start)

    def _look(self, vectors: Vectors, owners: Ints, first: int) -> None:
        cosines = self._wide @ widen(vectors).T
        own = np.flatnonzero(owners >= 0)
        cosines[:, own] = np.where(self._queries.images[:, None] == owners[own], -np.inf, cosines[:, own])
        if len(vectors) > self._count:
            np.maximum(self._least, np.partition(cosines, -self._count, axis=1)[:, -self._count, None], out=self._least)
        rows, columns = np.divmod(np.flatnonzero(cosines >= self._least), len(vectors))
        self._keep(rows, columns + first, cosines[rows, columns])

    def _keep(self, queries: Ints, ids: Ints, cosines: Floats) -> None:
        queries, ids = np.concatenate([self.queries, queries]), np.concatenate([self.ids, ids])
        cosines = np.concatenate([self.cosines, cosines])
        order = nearest_first(queries, ids, cosines, self._count)
        self.queries, self.ids, self.cosines = queries[order], ids[order], cosines[order]
        # What is below the last of a full list has no place in it.
        last = np.flatnonzero(place_in_run(self.queries) == self._count - 1)
        self._least[self.queries[last], 0] = self.cosines[last]


def nearest_first(queries: Ints, ids: Ints, cosines: Floats, count: int) -> Ints:
    """The order of pairs by query, then the nearest first, then by id; of each query so many at most."""
    order = np.lexsort((ids, -cosines, queries))
    return order[place_in_run(queries[order]) < count]


def place_in_run(keys: Ints) -> Ints:
    """The place of each entry among the equal ones next to it, from 0 [n]; keys are sorted and not negative [n]."""
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    return np.arange(len(keys)) - np.repeat(starts, np.diff(starts, append=len(keys)))
