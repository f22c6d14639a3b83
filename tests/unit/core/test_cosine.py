"""Cosines are exact, whatever order, blocks and threads they are computed in."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from workflow_scripts.core import cosine
from workflow_scripts.core.cosine import blas_threads, first_not_unit, mean_direction, paired, widen, written


def units(count, dimensions, seed=0, spread=1.0):
    """Random unit vectors; with a large spread their numbers are of very different sizes, down to the smallest float16."""
    rng = np.random.default_rng([seed, count, dimensions])
    numbers = rng.normal(0, 1, (count, dimensions)) * np.exp(rng.normal(0, spread, (count, dimensions)))
    return (numbers / np.linalg.norm(numbers, axis=1, keepdims=True)).astype(np.float16)


def exact(left, right):
    return sum((Fraction(float(a)) * Fraction(float(b)) for a, b in zip(left, right, strict=True)), Fraction(0))


@pytest.mark.parametrize("spread", [0.0, 1.0, 5.0])
def test_a_float64_product_is_exact_in_any_order_and_in_any_blocks(spread):
    left, right = units(7, 768, 1, spread), units(5, 768, 2, spread)
    truth = [[exact(a, b) for b in right] for a in left]
    rng = np.random.default_rng(3)
    for block in (768, 512, 100, 7, 1):
        order = rng.permutation(768)
        a, b = widen(left[:, order]), widen(right[:, order])
        parts = [a[:, start : start + block] @ b[:, start : start + block].T for start in range(0, 768, block)]
        found = parts[0]
        for place in rng.permutation(np.arange(1, len(parts))):
            found = found + parts[place]
        assert [[Fraction(value) for value in row] for row in found.tolist()] == truth
    assert [Fraction(value) for value in np.add.accumulate(widen(left[0]) * widen(right[0]))[[-1]].tolist()] == [truth[0][0]]


def test_these_vectors_would_show_a_product_that_rounds():
    left, right = units(7, 768, 1), units(5, 768, 2)
    order = np.random.default_rng(3).permutation(768)
    narrow = left.astype(np.float32), right.astype(np.float32)
    assert (narrow[0] @ narrow[1].T != narrow[0][:, order] @ narrow[1][:, order].T).any()


def test_norms_at_the_tolerance_are_still_exact():
    one = np.full((1, 4096), 1.009 / 64, dtype=np.float16)
    one[0, :7] = np.float16(2**-24)  # the smallest there is
    assert first_not_unit(one) is None
    assert Fraction(float((widen(one) @ widen(one).T)[0, 0])) == exact(one[0], one[0])


def test_pairs_have_the_cosines_of_the_matrix(monkeypatch):
    monkeypatch.setattr(cosine, "_ROWS", 4)
    left, right = units(10, 32, 1), units(10, 32, 2)
    assert paired(left, right).tolist() == np.diagonal(widen(left) @ widen(right).T).tolist()
    assert paired(left[:0], right[:0]).tolist() == []


@pytest.mark.parametrize(
    ("number", "wrong"),
    [
        (1.0, False),
        (0.991, False),
        (1.009, False),
        (0.98, True),
        (1.02, True),
        (0.0, True),
        (np.nan, True),
        (np.inf, True),
        (-np.inf, True),
    ],
)
def test_what_is_no_unit_vector_is_found(number, wrong, monkeypatch):
    monkeypatch.setattr(cosine, "_ROWS", 4)
    vectors = units(11, 16)
    vectors[9] = 0
    vectors[9, 3] = number
    assert first_not_unit(vectors) == (9 if wrong else None)
    vectors[6] = vectors[9]
    assert first_not_unit(vectors) == (6 if wrong else None)
    assert first_not_unit(vectors[:0]) is None


def test_the_mean_does_not_depend_on_the_order_of_its_vectors():
    vectors = units(1000, 64, 5, 2.0)
    first = mean_direction(vectors)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(vectors))
        assert mean_direction(vectors[order]).tobytes() == first.tobytes()
    assert first.dtype == np.float16
    assert first_not_unit(first[None]) is None


def test_means_are_the_nearest_float16_of_the_true_ones():
    for seed in range(100):
        vectors = units(3, 48, seed, 1.0)
        total = [sum((Fraction(float(value)) for value in column), Fraction(0)) for column in vectors.T]
        with localcontext() as context:
            context.prec = 60
            exactly = [Decimal(value.numerator) / Decimal(value.denominator) for value in total]
            norm = sum(value * value for value in exactly).sqrt()
            true = [float(value / norm) for value in exactly]
        assert mean_direction(vectors).tolist() == np.array(true).astype(np.float16).tolist()


def test_vectors_that_cancel_out_have_no_direction():
    one = units(1, 16)
    assert mean_direction(np.concatenate([one, -one])).tolist() == [0.0] * 16
    assert not any(map(math.isnan, mean_direction(one).tolist()))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345678, "0.123457"), (1.0003, "1.0"), (-1.0003, "-1.0"), (-1e-9, "0.0"), (0.0, "0.0"), (0.9999996, "1.0"), (-0.5, "-0.5")],
)
def test_cosines_are_written_with_six_decimals_and_within_their_range(value, text):
    assert repr(written(value)) == text


def test_blas_uses_so_many_threads_and_afterwards_what_it_used_before():
    def threads():
        return {found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"}

    np.ones((8, 8)) @ np.ones((8, 8))
    before = threads()
    with blas_threads(1):
        assert threads() == {1}
    assert threads() == before
