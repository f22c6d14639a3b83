"""Choosing concepts: against every choice there is, against random draws, and what the seed decides."""

import random
import tracemalloc
from itertools import combinations

import numpy as np
import pytest

from workflow_scripts.retrieval import choose as choose_module
from workflow_scripts.retrieval.choose import Concept, _bound, _bound_by_residues, choose
from workflow_scripts.retrieval.nearest_sum import NearestSum

SEED = 23


def concepts(counts, categories=("a",)):
    return [Concept(categories[index % len(categories)], f"concept {index}", count) for index, count in enumerate(counts)]


def covers(subset, given, cover):
    return not cover or {given[index].category for index in subset} == {concept.category for concept in given}


def every_choice(given, k, target, *, cover):
    """The smallest gap there is, and all choices that have it."""
    gaps = {}
    for subset in combinations(range(len(given)), k):
        if covers(subset, given, cover):
            gaps[subset] = abs(sum(given[index].images for index in subset) - target)
    least = min(gaps.values())
    return least, {subset for subset, gap in gaps.items() if gap == least}


def small_sets(number, spread):
    """Up to nine concepts of up to four categories, k and a target that may lie beyond all sums; a third of them uneven on purpose."""
    rng = random.Random(number)
    for _ in range(number):
        # Many counts of one step and a few others leave holes among the sums.
        step = rng.choice([1, 1, 5, 10])
        counts = [rng.randrange(1, spread) * step + (rng.randrange(4) == 0) for _ in range(rng.randrange(1, 10))]
        given = concepts(counts, "abcd"[: rng.randrange(1, 5)])
        cover = rng.random() < 0.5
        least = len({concept.category for concept in given}) if cover else 1
        yield given, rng.randrange(least, len(given) + 1), rng.randrange(0, sum(counts) + 10), cover


def check(given, choice, k, target, cover):
    """What every choice has to be, near or not."""
    assert len(set(choice.indices)) == len(choice.indices) == k
    assert choice.indices == tuple(sorted(choice.indices))
    assert covers(choice.indices, given, cover)
    assert choice.total == sum(given[index].images for index in choice.indices)
    assert choice.gap == abs(choice.total - target)
    assert choice.optimal == (choice.gap == choice.bound)


# ---- exact ----


@pytest.mark.parametrize("spread", [4, 12, 1000])
def test_it_is_the_nearest_of_all_choices_and_says_so(spread):
    for given, k, target, cover in small_sets(250, spread):
        choice = choose(given, k, target, SEED, cover=cover)
        check(given, choice, k, target, cover)
        assert choice.gap == every_choice(given, k, target, cover=cover)[0]
        assert choice.optimal


@pytest.mark.parametrize("core", [2, 3, 4])
def test_cores_that_grow_come_to_the_same(monkeypatch, core):
    monkeypatch.setattr(choose_module, "CHEAP", 0)
    monkeypatch.setattr(choose_module, "CORE", core)
    for given, k, target, cover in small_sets(250, 30):
        choice = choose(given, k, target, SEED, cover=cover)
        check(given, choice, k, target, cover)
        assert choice.gap == every_choice(given, k, target, cover=cover)[0]
        assert choice.optimal


@pytest.mark.parametrize("limit", ["WORK", "STATE"])
def test_what_cannot_be_afforded_is_near_and_its_bound_holds(monkeypatch, limit):
    monkeypatch.setattr(choose_module, "CHEAP", 0)
    monkeypatch.setattr(choose_module, limit, 0)
    proven = 0
    for given, k, target, cover in small_sets(250, 30):
        choice = choose(given, k, target, SEED, cover=cover)
        check(given, choice, k, target, cover)
        best = every_choice(given, k, target, cover=cover)[0]
        assert choice.bound <= best <= choice.gap
        proven += choice.optimal
    assert 100 < proven < 250


def groups_of(given, cover):
    return np.unique([concept.category if cover else "" for concept in given], return_inverse=True)[1]


def test_a_search_of_any_core_from_any_choice_is_exact():
    rng = random.Random(2)
    for given, k, target, cover in small_sets(400, 8):
        counts = np.array([concept.images for concept in given])
        present = rng.choice([subset for subset in combinations(range(len(given)), k) if covers(subset, given, cover)])
        chosen = np.isin(np.arange(len(given)), present)
        core = chosen & (np.arange(len(given)) == present[0]) | np.array([rng.random() < 0.8 for _ in given])
        fixed = set(np.flatnonzero(chosen & ~core))
        found = NearestSum(counts, groups_of(given, cover), chosen, core, target).solve(SEED)
        gaps = [
            abs(int(counts[list(subset)].sum()) - target)
            for subset in combinations(range(len(given)), k)
            if covers(subset, given, cover) and {place for place in subset if not core[place]} == fixed
        ]
        assert set(np.flatnonzero(found & ~core)) == fixed
        assert covers(np.flatnonzero(found), given, cover)
        assert int(found.sum()) == k
        assert abs(int(counts[found].sum()) - target) == min(gaps)


def test_bounds_hold_for_every_choice_and_see_what_cores_need_not():
    seen = 0
    for given, k, target, cover in small_sets(300, 12):
        counts = np.array([concept.images for concept in given])
        best = every_choice(given, k, target, cover=cover)[0]
        simple, residues = _bound(counts, groups_of(given, cover), k, target), _bound_by_residues(counts, k, target)
        assert max(simple, residues) <= best
        seen += residues == best > simple
    assert seen > 10


def test_the_bound_knows_ends_and_steps():
    counts, one, two = np.array([20, 50, 80, 110]), np.zeros(4, dtype=int), np.array([0, 0, 1, 1])
    assert [_bound(counts, one, 2, target) for target in (0, 70, 71, 99, 100, 115, 116, 190, 191, 200)] == [
        70,
        0,
        1,
        1,
        0,
        15,
        14,
        0,
        1,
        10,
    ]
    assert [_bound(counts, two, 2, target) for target in (70, 101, 190)] == [30, 1, 30]
    assert _bound(np.array([5, 5, 5]), one[:3], 2, 12) == 2


def test_no_sum_lies_between_multiples_but_by_the_odd_ones():
    counts = np.array([10 * (index % 90 + 1) for index in range(4999)] + [7])
    assert [_bound_by_residues(counts, 500, 200_000 + rest) for rest in (0, 3, 4, 8)] == [0, 3, 3, 1]
    assert _bound(counts, np.zeros(5000, dtype=int), 500, 200_003) == 0
    counts[-3:] = 11
    assert [_bound_by_residues(counts, k, 103) for k in (1, 2, 3)] == [2, 1, 0]


def test_a_search_is_small_near_the_ends_and_where_counts_have_a_step():
    counts = np.array([concept.images for concept in large(1000)])
    groups, everything = np.zeros(1000, dtype=int), np.ones(1000, dtype=bool)
    ascending = np.argsort(counts, kind="stable")
    tops = []
    for first in (0, 480, 960):
        chosen = np.isin(np.arange(1000), ascending[first : first + 40])
        tops.append(NearestSum(counts, groups, chosen, everything, int(counts[chosen].sum()) + 3).top)
    assert max(tops[0], tops[2]) < tops[1] / 20
    chosen = ascending < 40
    one, many = (NearestSum(step * counts, groups, chosen, everything, step * int(counts[chosen].sum() + 9)) for step in (1, 100))
    assert (one.top, one.work) == (many.top, many.work)


@pytest.mark.parametrize(("target", "gap"), [(0, 6), (5, 1), (6, 0), (10, 0), (24, 0), (30, 6)])
def test_beyond_the_sums_there_are_it_takes_the_smallest_or_the_largest(target, gap):
    assert choose(concepts([1, 2, 3, 7, 8, 9]), 3, target, SEED).gap == gap


def test_a_cover_is_kept_where_it_costs_most():
    given = concepts([500, 1, 1, 1, 1, 1], ["big", "small", "small", "small", "small", "small"])
    assert choose(given, 3, 3, SEED, cover=True).total == 502
    assert choose(given, 3, 3, SEED, cover=False).total == 3


def test_all_of_them_and_one_alone():
    given = concepts([4, 9, 20])
    assert choose(given, 3, 5, SEED).indices == (0, 1, 2)
    assert [choose(given, 1, target, SEED).indices for target in (0, 7, 14, 15, 99)] == [(0,), (1,), (1,), (2,), (2,)]


# ---- large ----


def large(number=5000, categories=50, rng=None):
    rng = rng or random.Random(5)
    return [Concept(f"category {index % categories}", f"concept {index}", rng.randrange(1, 1001)) for index in range(number)]


@pytest.mark.parametrize("k", [10, 50, 500])
def test_it_is_never_worse_than_thousands_of_random_draws(k):
    given, rng = large(categories=10), random.Random(k)
    counts = [concept.images for concept in given]
    draws = [sum(rng.sample(counts, k)) for _ in range(2000)]
    for target, cover in ((k * 100, False), (k * 500, False), (k * 500, True), (k * 800 + 3, True)):
        choice = choose(given, k, target, SEED, cover=cover)
        check(given, choice, k, target, cover)
        assert choice.gap <= min(abs(total - target) for total in draws)
        assert (choice.gap, choice.optimal) == (0, True)


@pytest.mark.parametrize("cover", [False, True])
def test_where_most_counts_are_alike_it_is_exact_though_all_sums_are_too_many(cover):
    rng = random.Random(9)
    given = concepts([100 * rng.randrange(1, 11) for _ in range(4995)] + [7, 8, 9, 10, 11], [f"category {number}" for number in range(50)])
    choice = choose(given, 500, 454_954, SEED, cover=cover)
    # 7 + 8 + 9 + 10 + 11 = 45 is the nearest rest to 54.
    assert (choice.gap, choice.optimal) == (9, True)


def test_the_search_keeps_no_table():
    counts = np.array([concept.images for concept in large(400)])
    groups, everything = np.zeros(400, dtype=np.int64), np.ones(400, dtype=bool)
    chosen = np.arange(400) < 40
    target = int(counts[chosen].sum()) + 1
    search = NearestSum(counts, groups, chosen, everything, target)
    tracemalloc.start()
    found = search.solve(SEED)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (int(counts[found].sum()), int(found.sum())) == (target, 40)
    assert search.top > 500_000
    assert peak < 8 * search.top / 8, "a few integers of so many bits, and not one for each of some 300 counts"


# ---- what the seed decides ----


def test_the_order_of_the_concepts_does_not_matter():
    given = large(300, 7)
    other = given[::-1]
    for k, target in ((5, 2_001), (20, 9_000), (20, 19_990)):
        found = [{these[index] for index in choose(these, k, target, SEED, cover=k > 7).indices} for these in (given, other)]
        assert found[0] == found[1]


def test_every_best_choice_comes_about_by_some_seed():
    for given, k, target, cover in small_sets(12, 6):
        best = every_choice(given, k, target, cover=cover)[1]
        found = {choose(given, k, target, seed, cover=cover).indices for seed in range(40 * len(best) + 1)}
        assert found <= best
        assert len(found) > 0.8 * len(best)


def test_a_search_finds_every_best_choice_by_some_seed():
    """From one and the same present choice, which no seed changes."""
    counts = np.array([1, 4, 4, 11, 14, 21, 24, 24, 30])
    groups, everything = np.zeros(9, dtype=np.int64), np.ones(9, dtype=bool)
    for target, k in ((36, 3), (37, 3), (24, 2)):
        present = np.arange(9) >= 9 - k
        given = concepts(counts.tolist())
        best = every_choice(given, k, target, cover=False)[1]
        search = NearestSum(counts, groups, present, everything, target)
        found = {tuple(np.flatnonzero(search.solve(seed)).tolist()) for seed in range(400)}
        sums = [{tuple(counts[list(subset)].tolist()) for subset in subsets} for subsets in (found, best)]
        assert found <= best
        assert sums[0] == sums[1]
        assert len(sums[0]) > 1


def test_another_seed_takes_others_and_the_same_seed_the_same():
    given = large(2000)
    found = [choose(given, 50, 25_000, seed).indices for seed in (1, 1, 2)]
    assert found[0] == found[1]
    assert len({*found[0]} & {*found[2]}) < 10


def test_what_is_chosen_is_pinned():
    """Same input, same choice, on every machine, by a search of everything and by one of a core."""
    assert choose(large(200, 5), 5, 2_345, SEED).indices == (53, 71, 113, 115, 186)
    found = choose(large(categories=6), 12, 9_777, SEED, cover=True)
    assert found.indices == (245, 343, 388, 1579, 2000, 2641, 3360, 4028, 4196, 4700, 4893, 4911)
