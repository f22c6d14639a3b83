"""Which rows of which shards are drawn: to train the index on, and to measure its recall with."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from workflow_scripts.autotag.blocks import METADATA, Block, Shard
from workflow_scripts.core.embeddings import Vectors
from workflow_scripts.core.seeded import rank
from workflow_scripts.core.step import StepError, progress

Ints = npt.NDArray[np.int64]
QUERIES = 1000  # at most
_Candidate = tuple[bool, int, str, int, str]  # whether its image has another, chance, shard, row, sha256


def chosen_shards(blocks: Iterable[Block], names: Iterable[str]) -> list[Shard]:
    """The shards of these names, in their order.

    Raises:
        StepError: a block does not have the shard that it should.
    """
    there = {shard.shard: shard for block in blocks for shard in block.shards}
    wanted = sorted(names)
    if gone := [name for name in wanted if name not in there]:
        listed = ", ".join(gone[:10])
        raise StepError(
            f"autotag.faiss.train_shards: nothing was made of these shards: {listed}; look at the logs of step 01, or name others"
        )
    return [there[name] for name in wanted]


def chances(rows: int, *parts: object) -> npt.NDArray[np.uint64]:
    """A random number for each row that depends on the parts' texts alone: the stream of a PCG64, which numpy keeps as it is."""
    return np.random.PCG64(rank(*parts)).random_raw(rows)


def draw(rows: int, count: int, *parts: object) -> Ints:
    """So many of the rows by chance, sorted."""
    return np.sort(np.argsort(chances(rows, *parts), kind="stable")[:count])


def shares(rows: Sequence[int], total: int) -> list[int]:
    """How many of a total each takes in proportion to its rows, never more than it has; the total is at most all of them."""
    ends = [0]
    for count in rows:
        ends.append(ends[-1] + count)
    cuts = [end * total // max(ends[-1], 1) for end in ends]
    return [after - before for before, after in pairwise(cuts)]


def training_points(shards: Sequence[Shard], folder: Path, count: int, d: int, label: str) -> npt.NDArray[np.float32]:
    """Vectors [count, d] drawn from all shards by chance; only what is drawn is read, in the order in which it lies there."""
    points = np.empty((count, d), np.float32)
    start = 0
    parts = zip(shards, shares([shard.rows for shard in shards], count), strict=True)
    for shard, share in progress(parts, total=len(shards), unit="shards"):
        points[start : start + share] = vectors_of(shard, folder, d)[draw(shard.rows, share, "autotag", "train", label, shard.shard)]
        start += share
    return points


def vectors_of(shard: Shard, folder: Path, d: int) -> Vectors:
    """The vectors of a shard, memory-mapped.

    Raises:
        StepError: they are gone, or have another number of dimensions.
    """
    vectors = shard.vectors(folder)
    if vectors.shape[1:] != (d,):
        raise StepError(f"{folder / shard.files['embeddings']['path']}: vectors of {vectors.shape[1:]} numbers, not {d}: of another model")
    return vectors


def query_rows(shards: Sequence[Shard], folder: Path, d: int, label: str) -> list[dict[str, Any]]:
    """Rows of QUERIES, drawn by chance; no two of one image as long as there are other images. By shard and row."""
    candidates: list[_Candidate] = []
    for shard in shards:
        chance = chances(shard.rows, "autotag", "queries", label, shard.shard)
        candidates += [
            (repeated, int(chance[row]), shard.shard, row, sha256) for repeated, row, sha256 in _first_of_images(shard, folder, chance)
        ]
    seen: set[str] = set()
    chosen: list[_Candidate] = []
    others: list[_Candidate] = []
    for candidate in sorted(candidates):
        (others if candidate[0] or candidate[-1] in seen else chosen).append(candidate)
        seen.add(candidate[-1])
    rows: dict[str, list[int]] = {shard.shard: [] for shard in shards}
    for _, _, name, row, _ in (chosen + others)[:QUERIES]:
        rows[name].append(row)
    return [query for shard in shards for query in _described(shard, folder, d, sorted(rows[shard.shard]))]


def _first_of_images(shard: Shard, folder: Path, chance: npt.NDArray[np.uint64]) -> Iterator[tuple[bool, int, str]]:
    """Up to `QUERIES` rows that are the first of their image by chance, and up to as many others; with the image's sha256."""
    contents = pq.read_table(shard.path(folder, METADATA), columns=["sha256"])["sha256"].combine_chunks().dictionary_encode()
    images, names = np.asarray(contents.indices), contents.dictionary
    order = np.argsort(chance, kind="stable")
    first = np.zeros(len(order), dtype=bool)
    first[np.unique(images[order], return_index=True)[1]] = True
    for repeated, rows in ((False, order[first]), (True, order[~first])):
        for row in rows[:QUERIES].tolist():
            yield repeated, row, names[images[row]].as_py()


def _described(shard: Shard, folder: Path, d: int, rows: list[int]) -> list[dict[str, Any]]:
    if not rows:
        return []
    table = pq.read_table(shard.path(folder, METADATA), columns=["crop_id", "sha256"]).take(rows)
    vectors = vectors_of(shard, folder, d)[rows]
    return [
        found | {"shard": shard.shard, "row": row, "embedding": vector}
        for found, row, vector in zip(table.to_pylist(), rows, vectors, strict=True)
    ]
