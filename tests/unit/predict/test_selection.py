"""predict 03: which image of a group is best, and how sure that is."""

import math
import random

import numpy as np
import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.predict.selection import Selection, select


def test_the_highest_score_is_selected():
    found = select("g", [0.5, 2.0, 1.0])
    assert found.index == 1
    assert found.confidence == pytest.approx(math.exp(2) / (math.exp(0.5) + math.exp(2) + math.exp(1)), abs=1e-9)
    assert found.margin == 1.0


def test_the_index_counts_unreadable_images_too():
    assert select("g", [None, 1.0, None, 3.0, None]) == Selection(3, pytest.approx(1 / (1 + math.exp(-2)), abs=1e-9), 2.0)


def test_unreadable_images_take_no_part_in_the_confidence():
    scores = [0.1, 0.7, -0.4]
    with_gaps = [None, scores[0], None, scores[1], scores[2]]
    assert select("g", with_gaps).confidence == select("g", scores).confidence
    assert select("g", with_gaps).margin == select("g", scores).margin


def test_a_single_readable_image_is_certain_whatever_its_score():
    for score in (-1e4, -3.0, 0.0, 1e4):
        assert select("g", [None, score]) == Selection(1, 1.0, None)


def test_no_readable_image_gives_no_selection():
    assert select("g", [None, None]) is None
    assert select("g", []) is None


def test_the_first_of_equal_scores_is_selected():
    assert select("g", [1.0, 3.0, 3.0]) == Selection(1, pytest.approx(1 / (2 + math.exp(-2)), abs=1e-9), 0.0)
    assert select("g", [None, -2.0, -2.0, -2.0]) == Selection(1, pytest.approx(1 / 3, abs=1e-9), 0.0)


def test_far_scores_neither_overflow_nor_warn():
    with np.errstate(all="raise", under="ignore"):
        assert select("g", [1e4, -1e4]) == Selection(0, 1.0, 2e4)
        assert select("g", [-1e4, -1e4, 1e4]) == Selection(2, 1.0, 2e4)
        assert select("g", [1e4, 1e4]) == Selection(0, 0.5, 0.0)
        assert select("g", [-1e4, -1e4]) == Selection(0, 0.5, 0.0)
        assert select("g", [1e4, 1e4 - 1]).confidence == pytest.approx(1 / (1 + math.exp(-1)), abs=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf], ids=str)
def test_a_score_that_is_no_number_is_an_error_that_names_group_and_image(bad):
    with pytest.raises(StepError, match=f"^p_group_7: the ranker scored image 2 as {bad}"):
        select("p_group_7", [None, 1.0, bad])
    with pytest.raises(StepError, match="image 0 as"):
        select("p_group_7", [bad])


def test_what_comes_back_are_plain_numbers_also_of_numpys():
    found = select("g", list(np.array([0.25, -1.5], np.float32)))
    assert (type(found.index), type(found.confidence), type(found.margin)) == (int, float, float)
    assert found.margin == 1.75
    assert found.confidence == round(found.confidence, 9)


def test_as_the_definition_says_for_any_scores():
    chance = random.Random(5)
    for _ in range(500):
        scores = [None if chance.random() < 0.3 else chance.choice([chance.gauss(0, 3), float(chance.randint(-2, 2))]) for _ in range(7)]
        known = {index: score for index, score in enumerate(scores) if score is not None}
        found = select("g", scores)
        if not known:
            assert found is None
            continue
        first = min(index for index in known if known[index] == max(known.values()))
        others = sorted(score for index, score in known.items() if index != first)
        total = math.fsum(math.exp(score) for score in known.values())
        assert found == Selection(
            first, pytest.approx(math.exp(known[first]) / total, abs=1e-9), known[first] - others[-1] if others else None
        )
