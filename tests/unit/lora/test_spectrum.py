"""lora 04d: the ends and the middle of a category, and the valley between blurry and sharp."""

import re

import numpy as np
import pytest

from workflow_scripts.lora.spectrum import BEST, FEWEST, MIDDLE, SHOWN, WORST, ends_and_middle, figure, find_valley


def two_groups(count, low=0.3, seed=0):
    """Blurry round 10 and sharp round 160, in two clearly parted groups."""
    draw = np.random.default_rng(seed)
    return (10 ** np.where(draw.random(count) < low, draw.normal(1.0, 0.2, count), draw.normal(2.2, 0.25, count))).tolist()


def test_ten_of_each_end_and_of_the_middle_are_taken():
    values = np.random.default_rng(1).permutation(100).tolist()
    found = {part: [values[place] for place, own in ends_and_middle(values).items() if own == part] for part in (WORST, MIDDLE, BEST)}
    assert found == {WORST: list(range(10)), MIDDLE: list(range(45, 55)), BEST: list(range(90, 100))}


@pytest.mark.parametrize("count", range(35))
def test_few_values_are_shared_out_and_none_is_taken_twice(count):
    values = [float(value) for value in range(count)]
    found = ends_and_middle(values)
    assert len(found) == min(count, 3 * SHOWN)
    assert list(found) == sorted(found), "ascending"
    assert [found[place] for place in found] == sorted((found[place] for place in found), key=[WORST, MIDDLE, BEST].index)


def test_equal_values_stay_in_their_order():
    assert list(ends_and_middle([5.0] * 40))[:SHOWN] == list(range(SHOWN))


@pytest.mark.parametrize("count", [200, 5000])
@pytest.mark.parametrize("low", [0.2, 0.5, 0.8])
def test_a_valley_between_two_groups_is_found(count, low):
    values = two_groups(count, low)
    valley = find_valley(values)
    assert 16 < valley.at < 80
    assert valley.below == sum(value < valley.at for value in values)
    assert abs(valley.below / count - low) < 0.1


@pytest.mark.parametrize(
    "values",
    [
        10 ** np.random.default_rng(2).normal(2, 0.4, 2000),
        np.random.default_rng(2).gamma(1.5, 100, 2000),
        10 ** np.random.default_rng(2).uniform(1, 3, 2000),
        np.full(2000, 70.0),
        np.zeros(2000),
        # A few stragglers are no group.
        np.concatenate([10 ** np.random.default_rng(2).normal(2, 0.2, 2000), [1.0, 1.1, 1.2]]),
    ],
    ids=["normal", "skewed", "even", "equal", "nothing sharp", "stragglers"],
)
def test_one_group_has_no_valley(values):
    assert find_valley(values.tolist()) is None


def test_too_few_values_tell_nothing():
    assert find_valley([]) is None
    low, high = np.linspace(1, 2, 20).tolist(), np.linspace(100, 200, FEWEST - 20).tolist()
    assert find_valley(low + high[1:]) is None
    assert find_valley(low + high) is not None


def test_order_and_zeros_do_not_matter():
    values = [0.0, *two_groups(500)]
    assert find_valley(values) == find_valley(values[::-1])


def test_the_figure_draws_both_limits_and_holds_all_values():
    text = figure([0.0, *two_groups(300)], 50.0, 33.0, "light")
    assert "min_sharpness 50" in text
    assert "valley 33" in text
    assert text.startswith("<svg role=")
    plain = figure(two_groups(300), 0.0, None, "dark")
    assert "valley" not in plain
    assert "min_sharpness" not in plain, "a scale of logarithms has no place for 0"
    assert not re.search("NaN|Infinity", text)
    assert figure([70.0] * 5, 50.0, None, "light").startswith("<svg")
