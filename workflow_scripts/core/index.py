"""Nearest vectors by FAISS: an index is trained, filled, written, read and searched.

Vectors are rows of unit length, similarity is their inner product. An index is kept apart from what belongs to its rows: it gives
their numbers, from 0 in the order in which they were added.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workflow_scripts.core.embeddings import Vectors
from workflow_scripts.core.index_factory import in_words, inverted_part
from workflow_scripts.core.step import StepError, atomic_output

Ints = npt.NDArray[np.int64]
Singles = npt.NDArray[np.float32]
CHUNK = 65_536  # rows that are in float32 at once


def set_threads(threads: int) -> None:
    """How many threads FAISS uses."""
    import faiss

    faiss.omp_set_num_threads(threads)


def train(index: Any, points: Singles) -> None:
    """Train an index on points [n, d].

    Raises:
        StepError: FAISS cannot.
    """
    try:
        index.train(points)
    except RuntimeError as error:
        raise StepError(f"FAISS cannot train this index on {len(points)} points: {in_words(error)}") from None


def add(index: Any, vectors: Iterable[Vectors]) -> None:
    """Add vectors, several [n, d], some of them at a time in float32."""
    for part in vectors:
        for start in range(0, len(part), CHUNK):
            index.add(part[start : start + CHUNK].astype(np.float32))


def write(index: Any, path: Path) -> None:
    """Write an index to a file that appears whole."""
    import faiss

    with atomic_output(path) as partial:
        faiss.write_index(index, str(partial))


def read(path: Path, *, mapped: bool = False) -> Any:
    """Read an index.

    Args:
        path: the file. Lists that were merged on disk lie beside it, wherever both were moved.
        mapped: leave lists in the file, and let searches read what they need.

    Raises:
        StepError: the file is no index, or the one with its lists is missing.
    """
    import faiss

    flags = faiss.IO_FLAG_ONDISK_SAME_DIR | faiss.IO_FLAG_READ_ONLY
    try:
        index = faiss.read_index(str(path), flags | faiss.IO_FLAG_MMAP if mapped else flags)
        lists = lists_on_disk(index)
        # FAISS leaves lists that lie in a file of their own alone when it is told to map those in the index.
        if lists is not None and lists.ptr is None:
            lists.do_mmap()
    except RuntimeError as error:
        raise StepError(f"{path}: FAISS cannot read it: {in_words(error)}") from None
    return index


def lists_on_disk(index: Any) -> Any:
    """The inverted lists of an index where they stay on disk, or None."""
    import faiss

    part = inverted_part(index)
    lists = part and faiss.downcast_InvertedLists(part.invlists)
    return lists if isinstance(lists, faiss.OnDiskInvertedLists) else None


def search(index: Any, queries: Vectors, k: int) -> Ints:
    """The rows that an index takes for the k nearest of each query [q, d], nearest first [q, k]; -1 where there are no more.

    Raises:
        StepError: it cannot; a GPU gives at most 2048.
    """
    try:
        found: Ints = index.search(queries.astype(np.float32), k)[1]
    except RuntimeError as error:
        raise StepError(f"FAISS cannot search this index for {k} neighbours: {in_words(error)}") from None
    return found


def look_through(index: Any, nprobe: int) -> None:
    """Set how many lists a search looks through."""
    inverted_part(index).nprobe = nprobe
