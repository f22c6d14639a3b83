"""Working ahead: order, bounds, early ends, failures."""

import itertools
import threading
import time

import pytest

from workflow_scripts.core import prefetch
from workflow_scripts.core.prefetch import ahead


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("depth", [1, 3, 100])
def test_ahead_keeps_the_order(threads, depth):
    def slow_for_some(number):
        time.sleep(0.002 if number % 3 == 0 else 0)
        return number * number

    assert list(ahead(slow_for_some, iter(range(40)), threads=threads, depth=depth)) == [number * number for number in range(40)]
    assert list(ahead(slow_for_some, [], threads=threads, depth=depth)) == []


@pytest.mark.parametrize("depth", [1, 2, 7])
def test_ahead_stays_within_its_depth(depth):
    started, most = itertools.count(1), 0
    begun = [0]

    def work(number):
        begun[0] = next(started)
        return number

    for taken, _ in enumerate(ahead(work, range(60), threads=3, depth=depth), 1):
        time.sleep(0.001)
        most = max(most, begun[0] - taken)
    assert 0 < most <= depth


def test_ahead_uses_its_threads():
    together = threading.Barrier(3, timeout=10)
    assert list(ahead(lambda number: together.wait() >= 0 and number, range(6), threads=3, depth=6)) == list(range(6))


def test_ahead_stops_early_without_hanging():
    done = []

    def work(number):
        time.sleep(0.005)
        done.append(number)
        return number

    before = threading.active_count()
    results = ahead(work, itertools.count(), threads=2, depth=50)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 1
    assert len(done) < 20  # those that waited were called off
    assert threading.active_count() == before


def test_ahead_passes_a_failure_on_in_its_place():
    def work(number):
        if number == 5:
            raise ValueError("number 5")
        return number

    before = threading.active_count()
    results = ahead(work, itertools.count(), threads=3, depth=8)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="number 5"):
        next(results)
    assert threading.active_count() == before


def test_ahead_passes_a_failure_of_its_source_on():
    def items():
        yield from range(3)
        raise OSError("the listing broke off")

    with pytest.raises(OSError, match="the listing broke off"):
        list(ahead(str, items(), threads=2, depth=2))


@pytest.mark.parametrize(("weight", "most"), [(1, 11), (25, 4), (99, 2), (100, 2), (5000, 2)])
def test_ahead_stays_within_its_weight(weight, most, monkeypatch):
    """What is consumed and what waits: no more once 100 is reached, but always one beside the consumed."""
    monkeypatch.setattr(prefetch, "MAX_WEIGHT", 100)
    begun = []
    results = ahead(lambda number: begun.append(number) or number, range(30), threads=1, depth=10, weight=lambda _: weight)
    held = []
    for taken in results:
        time.sleep(0.002)
        held.append(len(begun) - taken)
    assert max(held) == most
    assert len(begun) == 30
