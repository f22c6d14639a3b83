"""Nearest concepts and best images: ranks, ties, blocks; compared with sorting everything."""

import numpy as np
import pytest

from workflow_scripts.retrieval import search as module
from workflow_scripts.retrieval.gallery import Gallery
from workflow_scripts.retrieval.left_out import LeftOut
from workflow_scripts.retrieval.search import Search, place_in_run


def coarse(rng, count, dimensions=3):
    """Unit vectors of few directions, so that many cosines are equal."""
    numbers = rng.integers(-1, 2, (count, dimensions)) + 0.0
    numbers[~numbers.any(axis=1), 0] = 1.0
    return (numbers / np.linalg.norm(numbers, axis=1, keepdims=True)).astype(np.float16)


def gallery(rng, sizes, vectors=None):
    bounds = np.cumsum([0, *sizes])
    count = int(bounds[-1])
    return Gallery(
        [("c", f"{number:04d}") for number in range(len(sizes))],
        bounds,
        [f"{number:06d}" for number in range(count)],
        [f"{number:06d}" for number in range(count)],
        [f"{number}" for number in range(count)],
        rng.integers(0, 1 << 64, count, dtype=np.uint64),
        coarse(rng, count) if vectors is None else vectors,
        {},
    )


def make(found, threads=2, **options):
    return Search(found, LeftOut(found, duplicate_similarity=None, **options), threads)


def ranked(found, searcher, query, pool):
    """The pool's concepts, nearest first, the query's own left out."""
    means = {concept: module.mean_direction(found.vectors[list(found.images_of(concept))]).astype(float) for concept in pool}
    others = [concept for concept in pool if concept != searcher.owners[query]]
    return sorted(others, key=lambda concept: (-float(means[concept] @ found.vectors[query].astype(float)), concept))


@pytest.mark.parametrize("side", [1, 2, 3, 7, 1024])
def test_nearest_concepts_are_those_of_a_full_sort(side, monkeypatch):
    monkeypatch.setattr(module, "SIDE", side)
    rng = np.random.default_rng(side)
    found = gallery(rng, rng.integers(1, 4, 40).tolist())
    searcher = make(found)
    queries = rng.permutation(len(found.paths))[:25]
    for pool in (np.arange(40), np.arange(0, 40, 3), np.array([5])):
        available = len(pool) - np.isin(searcher.owners[queries], pool)
        asked, available = queries[available > 0], available[available > 0]
        first = rng.integers(0, available)
        last = rng.integers(first, available) + 1
        last[0], first[0] = available[0], 0
        places, concepts = searcher.nearest(asked, pool, first, last)
        expected = [
            (place, concept)
            for place, query in enumerate(asked.tolist())
            for concept in ranked(found, searcher, query, pool.tolist())[first[place] : last[place]]
        ]
        assert list(zip(places.tolist(), concepts.tolist(), strict=True)) == expected


def test_nearest_concepts_of_many_without_ties():
    rng = np.random.default_rng(1)
    numbers = rng.normal(0, 1, (3000, 16))
    found = gallery(rng, [1] * 3000, (numbers / np.linalg.norm(numbers, axis=1, keepdims=True)).astype(np.float16))
    searcher, pool = make(found), np.arange(3000)
    queries = np.arange(0, 3000, 300)
    cosines = found.vectors[queries].astype(float) @ searcher._means.astype(float).T
    cosines[np.arange(10), queries] = -2
    _, concepts = searcher.nearest(queries, pool, np.zeros(10, np.int64), np.full(10, 5))
    assert concepts.reshape(10, 5).tolist() == np.argsort(-cosines, axis=1, kind="stable")[:, :5].tolist()


@pytest.mark.parametrize("side", [1, 3, 1024])
@pytest.mark.parametrize("farthest", [False, True])
def test_best_images_are_those_of_a_full_sort(side, farthest, monkeypatch):
    monkeypatch.setattr(module, "SIDE", side)
    rng = np.random.default_rng(side)
    found = gallery(rng, rng.integers(1, 9, 12).tolist())
    count = len(found.paths)
    pairs = {(int(a), int(b)) for a, b in rng.integers(0, count, (count * 5, 2))}
    searcher = make(found, images=[1, 2, 3], pairs=pairs)
    queries, concepts = rng.integers(0, count, 60), rng.integers(0, 12, 60)
    images, cosines, left_out = searcher.best(queries, concepts, farthest=farthest)
    sign = 1 if farthest else -1
    for query, concept, image, cosine, counts in zip(
        *(part.tolist() for part in (queries, concepts, images, cosines, left_out)), strict=True
    ):
        members = list(found.images_of(concept))
        free = [member for member in members if member not in (1, 2, 3) and (query, member) not in pairs and member != query]
        values = {member: float(found.vectors[query].astype(float) @ found.vectors[member].astype(float)) for member in free}
        best = min(free, key=lambda member: (sign * values[member], member), default=-1)
        assert (image, cosine) == (best, values.get(best, 0.0))
        assert counts == [0, 0, 0, len([member for member in members if member != query]) - len(free)]


def test_threads_and_memory_of_blocks_are_bounded(monkeypatch):
    rng = np.random.default_rng(0)
    found = gallery(rng, [1, 1])
    asked = []
    monkeypatch.setattr(module, "ahead", lambda function, items, **options: asked.append(options) or map(function, items))
    for threads in (0, 1, 3, 100):
        make(found, threads).best(np.array([0]), np.array([1]))
    assert [options["threads"] for options in asked] == [1, 1, 3, 4]


def test_nothing_to_compare_is_no_matter():
    found = gallery(np.random.default_rng(0), [1, 2])
    nothing = np.zeros(0, dtype=np.int64)
    images, cosines, left_out = make(found).best(nothing, nothing)
    assert (images.shape, cosines.shape, left_out.shape) == ((0,), (0,), (0, 4))


def test_places_in_runs():
    assert place_in_run(np.array([0, 0, 3, 4, 4, 4])).tolist() == [0, 1, 0, 0, 1, 2]
    assert place_in_run(np.zeros(0, dtype=np.int64)).tolist() == []


def test_a_bound_is_reached_by_as_many_columns_as_asked():
    rng = np.random.default_rng(5)
    values = rng.integers(0, 50, (40, 333)) / 7
    for rank in (1, 2, 8, 41, 42, 332, 333):
        bound = module._bound(values, rank)
        reached = (values >= bound).sum(axis=1)
        assert (reached >= rank).all()
        assert (bound <= np.sort(values, axis=1)[:, [-rank]]).all()
    assert np.isneginf(module._bound(values, 334)).all()
    spread = rng.random((200, 1000))
    assert (spread >= module._bound(spread, 8)).sum(axis=1).mean() < 12, "a bound that lets much through costs time"
