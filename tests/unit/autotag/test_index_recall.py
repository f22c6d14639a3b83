"""Exact neighbours, exact cosines of candidates, and what recall and nprobe come to."""

import math
import re
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.autotag.index_data import clustered, content
from workflow_scripts.autotag import exact, merge_index, recall, scoring
from workflow_scripts.autotag.add_block import write_exact
from workflow_scripts.autotag.blocks import Shard
from workflow_scripts.autotag.exact import Nearest, Queries, nearest_first, place_in_run
from workflow_scripts.autotag.recall import Chosen, Trial, choose, first_of_each, merge_exact, probes
from workflow_scripts.autotag.scoring import Stored
from workflow_scripts.core.cosine import widen
from workflow_scripts.core.step import StepError

D = 24


def pairs(*found):
    """Queries and ids, of pairs."""
    return tuple(np.array(list(column), dtype=np.int64) for column in zip(*found, strict=True)) if found else (np.empty(0, np.int64),) * 2


def brute(queries, images, vectors, owners, count):
    """For each query ids and cosines, by comparing all."""
    found = []
    for vector, image in zip(queries, images, strict=True):
        cosines = [math.fsum((widen(vector) * widen(other)).tolist()) for other in vectors]
        rows = [row for row in range(len(vectors)) if owners[row] != image]
        best = sorted(rows, key=lambda row: (-cosines[row], row))[:count]
        found.append([(row, cosines[row]) for row in best])
    return found


def by_query(nearest, count):
    return [
        list(zip(nearest.ids[nearest.queries == query].tolist(), nearest.cosines[nearest.queries == query].tolist(), strict=True))
        for query in range(count)
    ]


# ---- exact neighbours ----


@pytest.mark.parametrize("rows", [1, 7, 10, 11, 64, 1000])
@pytest.mark.parametrize("count", [1, 10])
def test_the_nearest_are_those_of_comparing_all(monkeypatch, rows, count):
    monkeypatch.setattr(exact, "ROWS", 64)
    vectors, queries = clustered(300, D, 1), clustered(8, D, 2)
    # Copies, so that cosines tie within and across parts.
    vectors[200:] = vectors[:100]
    images = [content(f"q{number // 2}") for number in range(8)]
    names = [content(f"q{row % 7}") if row % 5 == 0 else content(f"other {row}") for row in range(300)]
    searched = Queries(queries, images)
    nearest = Nearest(searched, count)
    for start in range(0, 300, rows):
        part = slice(start, start + rows)
        nearest.look(vectors[part], searched.owners(pa.chunked_array([names[part]])), start)
    assert by_query(nearest, 8) == brute(queries, images, vectors, names, count)


def test_few_rows_give_few_neighbours():
    searched = Queries(clustered(2, D), [content("a"), content("b")])
    nearest = Nearest(searched, 50)
    nearest.look(clustered(3, D, 5), searched.owners(pa.chunked_array([[content("a"), content("x"), content("b")]])), 10)
    assert [sorted(row for row, _ in found) for found in by_query(nearest, 2)] == [[11, 12], [10, 11]]
    assert len(Nearest(searched, 50).ids) == 0


def test_owners_are_the_images_of_queries():
    searched = Queries(clustered(3, D), [content("b"), content("a"), content("b")])
    owners = searched.owners(pa.chunked_array([[content("c"), content("b")], [content("a")], pa.array([], pa.string())]))
    assert owners.tolist() == [-1, searched.images[0], searched.images[1]]
    assert searched.images[0] == searched.images[2] != searched.images[1]


def test_pairs_are_sorted_by_cosine_and_then_by_id():
    queries, ids, cosines = np.array([1, 0, 0, 0, 1]), np.array([5, 9, 3, 4, 2]), np.array([0.1, 0.5, 0.5, 0.9, 0.1])
    assert nearest_first(queries, ids, cosines, 2).tolist() == [3, 2, 4, 0]
    assert place_in_run(np.array([0, 0, 3, 3, 3, 4])).tolist() == [0, 1, 0, 1, 2, 0]


# ---- exact cosines of candidates ----


@pytest.fixture
def stored(tmp_path):
    """Vectors of shards of 30, 0 and 50 rows, and the folder."""
    shards, offset = [], 0
    (tmp_path / "embeddings").mkdir()
    vectors = clustered(80, D, 3)
    for name, rows in (("00001", 30), ("00002", 0), ("00007", 50)):
        np.save(tmp_path / f"embeddings/embeddings_{name}.npy", vectors[offset : offset + rows])
        shards.append({"shard": name, "offset": offset, "rows": rows})
        offset += rows
    return vectors, shards, tmp_path


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("at_once", [4096, 7])
def test_cosines_of_candidates_are_exact(stored, monkeypatch, threads, at_once):
    monkeypatch.setattr(scoring, "_AT_ONCE", at_once)
    vectors, shards, folder = stored
    queries = clustered(9, D, 4)
    rng = np.random.default_rng(0)
    wanted = rng.integers(0, 9, 200), rng.integers(0, 80, 200)
    found = Stored(folder, shards, D, threads).cosines(queries, wanted)
    for query, row, cosine in zip(*wanted, found, strict=True):
        terms = zip(queries[query].tolist(), vectors[row].tolist(), strict=True)
        assert Fraction(float(cosine)) == sum(Fraction(left) * Fraction(right) for left, right in terms)


def test_cosines_are_exact_for_the_smallest_numbers(stored):
    _, shards, folder = stored
    tiny = np.full((1, D), 2.0**-24, np.float16)
    np.save(folder / "embeddings/embeddings_00001.npy", np.repeat(tiny, 30, axis=0))
    assert Stored(folder, shards, D, 1).cosines(tiny, pairs((0, 3))).tolist() == [D * 2.0**-48]


def test_no_candidates_have_no_cosines(stored):
    _, shards, folder = stored
    assert Stored(folder, shards, D, 1).cosines(clustered(2, D), pairs()).tolist() == []


def test_vectors_that_are_gone_are_named(stored):
    vectors, shards, folder = stored
    (folder / "embeddings/embeddings_00007.npy").unlink()
    keeper = Stored(folder, shards, D, 1)
    assert len(keeper.cosines(vectors[:1], pairs((0, 29)))) == 1
    with pytest.raises(StepError, match=r"embeddings_00007\.npy: the vectors of shard 00007 are gone"):
        keeper.cosines(vectors[:1], pairs((0, 30)))


def test_vectors_that_were_made_again_are_refused(stored):
    vectors, shards, folder = stored
    np.save(folder / "embeddings/embeddings_00007.npy", vectors[:49])
    with pytest.raises(StepError, match=r"embeddings_00007\.npy: holds \(49, 24\), the index was made of \(50, 24\)"):
        Stored(folder, shards, D, 1).cosines(vectors[:1], pairs((0, 79)))


# ---- recall ----


def test_recall_is_the_mean_part_of_the_exact_ones_that_was_found():
    wanted = pairs((0, 1), (0, 2), (1, 3), (1, 4))
    assert recall.recall(wanted, wanted) == 1
    assert recall.recall(pairs((0, 1), (0, 9), (1, 3), (1, 4)), wanted) == 0.75
    assert recall.recall(pairs((1, 1), (1, 2), (0, 3), (0, 4)), wanted) == 0
    assert recall.recall(pairs(), wanted) == 0


def test_a_query_with_fewer_exact_neighbours_is_judged_by_those():
    assert recall.recall(pairs((0, 1)), pairs((0, 1), (2, 5), (2, 6), (2, 7))) == 0.5
    assert recall.recall(pairs((0, 1), (2, 5)), pairs((0, 1), (2, 5), (2, 6), (2, 7))) == round(2 / 3, 6)
    assert recall.recall(pairs((0, 1)), pairs()) is None


def test_large_ids_do_not_mix_queries_up():
    last = 10**9
    assert recall.recall(pairs((1, 0)), pairs((0, last))) == 0
    assert recall.recall(pairs((0, last), (1, last)), pairs((0, last), (1, last - 1))) == 0.5


def test_the_exact_ones_of_all_blocks_come_from_those_of_each(tmp_path):
    vectors, queries = clustered(90, D, 8), clustered(4, D, 9)
    searched = Queries(queries, [content(str(number)) for number in range(4)])
    offsets, paths = [0, 25, 25], [tmp_path / f"{number}.parquet" for number in range(3)]
    for path, start, end in zip(paths, offsets, [25, 25, 90], strict=True):
        nearest = Nearest(searched, 50)
        nearest.look(vectors[start:end], np.full(end - start, -1), 0)
        write_exact(path, nearest)
    found = merge_exact(paths, offsets)
    whole = brute(queries, range(4), vectors, [-1] * 90, 10)
    assert found[1].reshape(4, 10).tolist() == [[row for row, _ in of_one] for of_one in whole]
    assert found[0].tolist() == [query for query in range(4) for _ in range(10)]
    assert pq.read_table(paths[1]).num_rows == 0


def test_the_first_of_each_query_are_kept_in_order():
    found = first_of_each(pairs((0, 7), (0, 3), (0, 9), (2, 1), (2, 4)), 2)
    assert list(zip(*(column.tolist() for column in found), strict=True)) == [(0, 7), (0, 3), (2, 1), (2, 4)]


class Whole:
    """An index that compares all, in the order of their ids where cosines tie; it has what the code asks of one."""

    def __init__(self, vectors):
        self._vectors = vectors.astype(np.float32)
        self.ntotal = len(vectors)
        self.asked = []

    def search(self, queries, k):
        self.asked.append(k)
        cosines = queries @ self._vectors.T
        return None, np.argsort(-cosines, axis=1, kind="stable")[:, :k]


def test_rows_of_a_querys_own_image_are_left_out_and_take_no_place(stored):
    vectors, shards, folder = stored
    queries = Queries(vectors[[0, 40]], [content("a"), content("b")])
    own = pairs((queries.images[0], 0), (queries.images[0], 1), (queries.images[0], 2), (queries.images[1], 40))
    index = Whole(vectors)
    (found, ids), (_, alone) = Trial(index, queries, own, Stored(folder, shards, D, 1), 12).find()
    assert index.asked == [12 + 3]
    names = [0] * 3 + [-1] * 37 + [1] + [-1] * 39
    wanted = brute(queries.vectors, [0, 1], vectors, names, 10)
    assert [ids[found == query].tolist() for query in (0, 1)] == [[row for row, _ in of_one] for of_one in wanted]
    assert set(alone.tolist()) == set(ids.tolist())


def test_candidates_are_compared_again(stored):
    vectors, shards, folder = stored

    class Backwards(Whole):
        def search(self, queries, k):
            return None, super().search(queries, k)[1][:, ::-1]

    queries = Queries(vectors[:1], [content("a")])
    (_, ids), (_, alone) = Trial(Backwards(vectors), queries, pairs((0, 0)), Stored(folder, shards, D, 1), 30).find()
    best = [row for row, _ in brute(queries.vectors, [0], vectors, [0] + [-1] * 79, 30)[0]]
    assert ids.tolist() == best[:10]
    assert alone.tolist() == best[:-11:-1]


# ---- how far to look ----


@pytest.mark.parametrize(
    ("lists", "asked", "tried"),
    [
        (0, "auto", [None]),
        (0, 8, [None]),
        (16, "auto", [1, 2, 4, 8, 16]),
        (1024, "auto", [2**bit for bit in range(11)]),
        (2048, "auto", [2**bit for bit in range(8)]),
        (131_072, "auto", [2**bit for bit in range(14)]),
        (1000, "auto", [2**bit for bit in range(10)]),
        (16, 5, [5]),
        (16, 50, [16]),
    ],
)
def test_what_is_tried(lists, asked, tried):
    assert list(probes(lists, asked)) == tried


@pytest.fixture
def looked(monkeypatch):
    """How far an index was told to look."""
    calls = []
    monkeypatch.setattr(recall.core, "look_through", lambda index, nprobe: calls.append(nprobe))
    return calls


def finder(looked, hits):
    """Finds so many of ten by how far it looks, and one by the index alone."""
    return lambda: (pairs(*((0, row) for row in range(hits[looked[-1]]))), pairs((0, 0)))


TEN = pairs(*((0, row) for row in range(10)))


def test_the_first_that_reaches_the_goal_is_taken(looked):
    found = choose(None, 16, "auto", finder(looked, {1: 3, 2: 8, 4: 9, 8: 10, 16: 10}), TEN)
    assert found == Chosen(4, 0.9, 0.1, {1: 0.3, 2: 0.8, 4: 0.9})
    assert found.reached
    assert looked == [1, 2, 4]


def test_without_reaching_it_the_best_is_taken(looked):
    found = choose(None, 16, "auto", finder(looked, {1: 3, 2: 8, 4: 8, 8: 7, 16: 7}), TEN)
    assert (found.nprobe, found.recall, found.reached) == (2, 0.8, False)
    assert found.by_nprobe == {1: 0.3, 2: 0.8, 4: 0.8, 8: 0.7, 16: 0.7}


def test_what_was_asked_for_is_taken_whatever_it_finds(looked):
    found = choose(None, 16, 2, finder(looked, {2: 1}), TEN)
    assert (found.nprobe, found.recall, found.reached, looked) == (2, 0.1, False, [2])


def test_with_nothing_to_find_a_search_looks_as_far_as_it_may(looked):
    found = choose(None, 16, "auto", lambda: (pairs(), pairs()), pairs())
    assert found == Chosen(16, None, None, {})
    assert not found.reached


# ---- what is said ----


def test_what_stands_in_recall_json():
    found = merge_index.recall_facts(Chosen(4, 0.95, 0.5, {2: 0.8, 4: 0.95}), pairs((0, 1), *((2, row) for row in range(10))), 4)
    measured = {"nprobe": 4, "recall": 0.95, "without_rerank": 0.5, "by_nprobe": {2: 0.8, 4: 0.95}}
    counts = {"queries": 4, "queries_with_fewer": 1, "queries_without": 2}
    assert found == {"at": 10, "goal": 0.9, "reached": True, "warnings": []} | counts | measured


def test_a_recall_that_is_not_reached_is_said():
    (text,) = merge_index.recall_warnings(Chosen(4, 0.85, 0.5, {}))
    assert text.startswith("Recall@10 is 0.850 with nprobe 4, below 0.9.")
    assert "autotag.faiss.nprobe" in text
    (text,) = merge_index.recall_warnings(Chosen(None, 0.85, 0.5, {}))
    assert text.startswith("Recall@10 is 0.850, below 0.9.")
    (text,) = merge_index.recall_warnings(Chosen(4, None, None, {}))
    assert "not measured" in text


@pytest.mark.parametrize(
    ("span", "rows", "said"),
    [
        ([50_000, 147_456], 50_000, None),
        ([50_000, 147_456], 147_455, None),
        ([50_000, 147_456], 147_456, r"holds 147,456 segments, and IVF1024,Flat, .*suits 50,000 to 147,456.* chooses IVF2048,Flat\."),
        ([50_000, 147_456], 49_999, r"auto chooses Flat\. Another autotag\.faiss\.train_label"),
        ([300_000_000, None], 10**9, None),
        ([300_000_000, None], 10**8, r"suits 300,000,000 and more.*OPQ64,IVF65536,PQ64x8np"),
        (None, 10**9, None),
    ],
)
def test_an_index_of_another_size_than_it_was_trained_for_is_said(span, rows, said):
    found = merge_index.range_warnings({"range": span, "factory": "IVF1024,Flat", "d": 512}, rows)
    assert (not found) if said is None else re.search(said, *found)


def test_where_the_rows_of_each_shard_begin():
    shards = [Shard(name, rows, {}, 0, {}) for name, rows in (("00001", 3), ("00002", 0), ("00005", 4))]
    assert merge_index.placed(shards) == [
        {"shard": "00001", "offset": 0, "rows": 3},
        {"shard": "00002", "offset": 3, "rows": 0},
        {"shard": "00005", "offset": 3, "rows": 4},
    ]
