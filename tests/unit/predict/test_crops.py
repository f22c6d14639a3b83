"""predict 03: crop proposals are ordered, inside the image and not too small, and what was changed is recorded."""

import math
import random

import numpy as np
import pytest

from workflow_scripts.predict.crops import Crop, make_crop

LEAST = 0.05


def proposals(count, seed):
    """Seeded proposals of every sort: inside, outside, swapped, on the border, too small, of float32 and of float64."""
    chance = random.Random(seed)
    draws = [
        chance.random,
        lambda: chance.uniform(-2, 3),
        lambda: chance.choice([0.0, 1.0, 0.05, 0.95, 0.5, -0.0]),
        lambda: float(np.float32(chance.random())),
        lambda: chance.choice([1e-12, 1 - 1e-12, 1e300, -1e300, 5e-324]),
        lambda: 0.5 + chance.gauss(0, 0.02),
    ]
    for _ in range(count):
        draw = chance.choice([*draws, lambda: chance.choice(draws)()])
        yield [draw() for _ in range(4)]


def is_valid(coordinates, least):
    x1, y1, x2, y2 = coordinates
    return 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1 and x2 - x1 >= least and y2 - y1 >= least


@pytest.mark.parametrize("least", [0.05, 0.1, 1 / 3, 0.9, 1.0, 1e-9])
def test_every_proposal_becomes_a_valid_crop_and_stays_one(least):
    for raw in proposals(4000, 1):
        crop = make_crop(raw, least)
        assert crop.error is None
        assert is_valid(crop.coordinates, least), raw
        assert make_crop(crop.coordinates, least) == Crop(crop.coordinates), raw


def test_what_is_valid_comes_back_unchanged_and_without_a_repair():
    seen = 0
    for raw in proposals(4000, 2):
        if is_valid(raw, LEAST):
            seen += 1
            assert make_crop(raw, LEAST) == Crop(tuple(raw))
        else:
            assert make_crop(raw, LEAST).repairs, raw
    assert seen > 300


@pytest.mark.parametrize(
    ("raw", "coordinates", "repairs"),
    [
        ([0.1, 0.2, 0.6, 0.9], (0.1, 0.2, 0.6, 0.9), ()),
        ([0.0, 0.0, 1.0, 1.0], (0.0, 0.0, 1.0, 1.0), ()),
        ([0.6, 0.2, 0.1, 0.9], (0.1, 0.2, 0.6, 0.9), ("swapped x",)),
        ([0.1, 0.9, 0.6, 0.2], (0.1, 0.2, 0.6, 0.9), ("swapped y",)),
        ([-0.5, 0.2, 0.6, 0.9], (0.0, 0.2, 0.6, 0.9), ("clamped x",)),
        ([0.1, 0.2, 0.6, 1.5], (0.1, 0.2, 0.6, 1.0), ("clamped y",)),
        ([1.5, 0.2, -0.5, 0.9], (0.0, 0.2, 1.0, 0.9), ("swapped x", "clamped x")),
        ([0.0, 0.5, 1.0, 0.5], (0.0, 0.475, 1.0, 0.525), ("enlarged y",)),
        ([0.51, 0.1, 0.49, 0.9], (0.475, 0.1, 0.525, 0.9), ("swapped x", "enlarged x")),
        ([0.0, 0.1, 0.01, 0.9], (0.0, 0.1, 0.05, 0.9), ("enlarged x",)),
        ([0.99, 0.1, 1.0, 0.9], (0.95, 0.1, 1.0, 0.9), ("enlarged x",)),
        ([2.0, -3.0, 3.0, -2.0], (0.95, 0.0, 1.0, 0.05), ("clamped x", "enlarged x", "clamped y", "enlarged y")),
        ([0.9, 0.9, 0.1, 0.1], (0.1, 0.1, 0.9, 0.9), ("swapped x", "swapped y")),
    ],
    ids=str,
)
def test_the_repairs_are_those_that_were_needed(raw, coordinates, repairs):
    crop = make_crop(raw, LEAST)
    assert crop.coordinates == pytest.approx(coordinates, abs=1e-12)
    assert (crop.repairs, crop.error) == (repairs, None)


def test_a_short_side_grows_about_its_centre_to_the_least_length_where_there_is_room():
    for number in range(1, 200):
        centre = 0.03 + number / 200 * 0.93
        x1, _, x2, _ = make_crop([centre - 0.001, 0.2, centre + 0.001, 0.8], LEAST).coordinates
        assert x2 - x1 == pytest.approx(LEAST, abs=1e-15)
        assert (x1 + x2) / 2 == pytest.approx(centre, abs=1e-15)


def test_a_side_of_the_least_length_is_not_enlarged():
    assert make_crop([0.0, 0.0, 0.05, 1.0], LEAST) == Crop((0.0, 0.0, 0.05, 1.0))
    assert make_crop([0.0, 0.0, math.nextafter(0.05, 0), 1.0], LEAST) == Crop((0.0, 0.0, 0.05, 1.0), ("enlarged x",))


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        ([math.nan, 0.1, 0.5, 0.5], "crop: not 4 finite numbers: nan, 0.1, 0.5, 0.5"),
        ([0.1, 0.1, math.inf, 0.5], "crop: not 4 finite numbers: 0.1, 0.1, inf, 0.5"),
        ([0.1, -math.inf, 0.5, 0.5], "crop: not 4 finite numbers: 0.1, -inf, 0.5, 0.5"),
        ([0.1, 0.1, 0.5], "crop: 3 numbers instead of 4"),
        ([], "crop: 0 numbers instead of 4"),
        ([0.1, 0.1, 0.5, 0.5, 0.5], "crop: 5 numbers instead of 4"),
        ([0.1, "0.1", 0.5, 0.5], "crop: not 4 finite numbers: 0.1, 0.1, 0.5, 0.5"),
        ([0.1, None, 0.5, 0.5], "crop: not 4 finite numbers: 0.1, None, 0.5, 0.5"),
    ],
    ids=str,
)
def test_what_cannot_be_repaired_has_no_coordinates_and_an_error(raw, error):
    assert make_crop(raw, LEAST) == Crop(None, (), error)


def test_a_row_of_a_networks_output_gives_plain_numbers():
    row = np.array([0.25, 0.5, 0.75, 1.0], np.float32)
    crop = make_crop(row, LEAST)
    assert crop == Crop((0.25, 0.5, 0.75, 1.0))
    assert {type(value) for value in crop.coordinates} == {float}
    assert make_crop(np.array([0.25, 0.5, np.nan, 1.0], np.float32), LEAST).error == "crop: not 4 finite numbers: 0.25, 0.5, nan, 1.0"
