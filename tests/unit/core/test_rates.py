"""Intervals: values known from the literature, what defines them, and the ends."""

import math

import numpy as np
import pytest

from workflow_scripts.core.rates import Rate, Rates, Z, missed_bound, trials_needed, wilson


def interval(hits, n):
    low, high = wilson(np.array([hits]), np.array([n]))
    return float(low[0]), float(high[0])


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (1, 1, 0.2065, 1.0),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I
        (15, 148, 0.0624, 0.1605),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_known_intervals(hits, n, low, high):
    assert interval(hits, n) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_the_quantile_is_that_of_95_percent():
    assert math.erf(Z / math.sqrt(2)) == pytest.approx(0.95, abs=1e-15)


@pytest.mark.parametrize("n", [1, 7, 200, 100_000])
def test_at_both_ends_the_share_lies_z_standard_errors_away(n):
    for hits in range(0, n + 1, max(1, n // 7)):
        for end in interval(hits, n):
            if end not in (0, 1):
                assert abs(hits / n - end) == pytest.approx(Z * math.sqrt(end * (1 - end) / n), rel=1e-9)


@pytest.mark.parametrize("n", [*range(1, 40), 381, 99_999, 10_000_000])
def test_none_and_all_end_exactly_at_0_and_1(n):
    assert interval(0, n)[0] == 0.0
    assert interval(n, n)[1] == 1.0
    assert interval(n, n)[0] == pytest.approx(n / (n + Z**2))
    assert interval(0, n)[1] == pytest.approx(1 - n / (n + Z**2))


def test_of_nothing_there_is_no_share():
    rates = Rates.of(np.array([0, 3, 0]), np.array([0, 4, 2]))
    assert np.isnan([rates.value[0], rates.low[0], rates.high[0]]).all()
    assert rates.at(0) == Rate(None, None, None, 0)
    assert rates.at(1) == Rate(0.75, *interval(3, 4), 4)
    assert rates.at(2) == Rate(0.0, *interval(0, 2), 2)
    assert all(type(value) is float for value in (rates.at(2).value, rates.at(2).low, rates.at(2).high))


@pytest.mark.parametrize(("n", "percent"), [(200, 1.5), (1, 95.0), (3, 63.2), (30, 9.5), (1000, 0.3)])
def test_what_may_be_missed_when_nothing_was(n, percent):
    bound = missed_bound(n)
    assert round(100 * bound, 1) == percent
    assert (1 - bound) ** n == pytest.approx(0.05)
    assert bound == pytest.approx(1 - 0.05 ** (1 / n))
    assert bound < 3 / n


@pytest.mark.parametrize(("share", "n"), [(0.0, 1), (0.2, 1), (0.5, 4), (0.9, 35), (0.95, 73), (0.99, 381), (0.999, 3838)])
def test_the_fewest_trials_for_a_share(share, n):
    assert trials_needed(share) == n
    assert interval(n, n)[0] >= share
    assert n == 1 or interval(n - 1, n - 1)[0] < share


def test_no_number_of_trials_assures_certainty():
    assert trials_needed(1.0) is None
