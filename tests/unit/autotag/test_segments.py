"""Which things become segments: boxes inside the image, limits, order, the whole image, and counts that add up."""

import math
import random

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.autotag.segmenters.base import Found
from workflow_scripts.autotag.segments import Segment, choose, crop, crop_ids
from workflow_scripts.autotag.tables import COUNTED

SETTINGS = {"min_area": 0, "min_crop": 1, "max_segments": 64, "whole_image": False}
SIZE = (100, 60)
NAN, INF = math.nan, math.inf


def found(box=(10, 10, 30, 30), confidence=0.5, class_id=0, label=None, mask_area=None):
    return Found(box, confidence, class_id, label, mask_area)


def chosen(things, size=SIZE, always=False, **settings):
    return choose(things, size, SETTINGS | settings, always=always)


def counts(things, **settings):
    return {name: number for name, number in chosen(things, **settings)[1].items() if number}


def boxes(things, **settings):
    return [segment.bbox for segment in chosen(things, **settings)[0]]


def test_the_counts_are_those_of_the_tables():
    assert tuple(chosen([])[1]) == COUNTED


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        ((10, 20, 30, 40), (10, 20, 30, 40)),
        ((10.4, 20.6, 30.2, 40.9), (10, 20, 31, 41)),  # every pixel that it touches
        ((9.999, 19.999, 30.001, 40.001), (10, 20, 30, 40)),  # but not those that it touches by rounding errors
        ((10.98, 20.98, 30.02, 40.02), (10, 20, 31, 41)),
        ((-5, -0.5, 130, 60.5), (0, 0, 100, 60)),
        ((99.2, 59.2, 99.8, 59.8), (99, 59, 100, 60)),
    ],
)
def test_a_box_is_all_pixels_it_touches_inside_the_image(box, inside):
    (segment,), _ = chosen([found(box)])
    assert segment.bbox == inside
    assert all(type(value) is int for value in segment.bbox)
    assert segment.area == segment.box_area == (inside[2] - inside[0]) * (inside[3] - inside[1])


@pytest.mark.parametrize(
    "box",
    [
        (30, 10, 30, 30),
        (30, 10, 20, 30),
        (10, 30, 30, 10),
        (100, 10, 120, 30),
        (10, 60, 30, 90),
        (-20, 10, 0, 30),
        (10, -20, 30, 0),
        (NAN, 10, 30, 30),
        (10, 10, 30, NAN),
        (-INF, 10, 30, 30),
        (10, 10, INF, 30),
    ],
)
def test_what_is_no_box_in_the_image_is_too_thin(box):
    for area in (None, 0, 10**6):
        assert counts([found(box, mask_area=area)], min_area=150) == {"found": 1, "too_thin": 1}


def test_the_area_is_that_of_the_mask_where_there_is_one():
    (masked, plain), _ = chosen([found(mask_area=123, confidence=0.9), found()])
    assert (masked.area, masked.box_area) == (123, 400)
    assert (plain.area, plain.box_area) == (400, 400)


def test_a_segment_needs_min_area_pixels_of_its_mask():
    things = [found(mask_area=149), found(mask_area=150), found((0, 0, 15, 10)), found((0, 0, 149, 1)), found((0, 0, 14, 10))]
    segments, _ = chosen(things, min_area=150)
    assert sorted(segment.area for segment in segments) == [150, 150]
    assert counts(things, min_area=150) == {"found": 5, "too_small": 3, "crops": 2}
    assert counts([found(mask_area=0)], min_area=1) == {"found": 1, "too_small": 1}
    assert counts([found(mask_area=0)]) == {"found": 1, "crops": 1}, "no limit, no loss"


def test_the_shorter_side_of_the_box_needs_min_crop_pixels():
    things = [found((0, 0, 9, 50)), found((0, 0, 50, 9)), found((0, 0, 10, 50)), found((0, 0, 50, 10))]
    assert boxes(things, min_crop=10) == [(0, 0, 10, 50), (0, 0, 50, 10)]
    assert counts(things, min_crop=10) == {"found": 4, "too_thin": 2, "crops": 2}
    # What the image cuts off does not count.
    assert counts([found((92, 0, 130, 50))], min_crop=10) == {"found": 1, "too_thin": 1}


def test_what_is_both_too_small_and_too_thin_counts_once_as_too_small():
    assert counts([found((0, 0, 2, 2))], min_area=5, min_crop=3) == {"found": 1, "too_small": 1}


def test_the_surest_are_taken_and_come_first():
    things = [found(confidence=value) for value in (0.3, 0.9, 0.5, 0.7)]
    assert [segment.confidence for segment in chosen(things, max_segments=2)[0]] == [0.9, 0.7]
    assert counts(things, max_segments=2) == {"found": 4, "beyond_max": 2, "crops": 2}


def test_equally_sure_ones_come_by_box_class_area_and_label():
    things = [
        found((10, 10, 31, 30)),
        found(class_id=2, label="b"),
        found(class_id=1, label="a"),
        found((9, 10, 30, 30), class_id=9),
        found(class_id=2, label="b", mask_area=7),
        found(class_id=2, label="a"),
    ]
    ordered = [things[i] for i in (3, 2, 4, 5, 1, 0)]
    for seed in range(20):
        mixed = random.Random(seed).sample(things, len(things))
        segments, _ = chosen(mixed)
        assert [(segment.bbox, segment.class_id, segment.label) for segment in segments] == [
            (each.box, each.class_id, each.label) for each in ordered
        ]


@pytest.mark.parametrize("confidence", [NAN, INF, -INF])
def test_a_confidence_that_is_no_number_is_none_at_all_and_comes_last(confidence):
    segments, _ = chosen([found((0, 0, 5, 5), confidence), found(confidence=0.01), found((0, 0, 9, 9), 0.02)])
    assert [segment.confidence for segment in segments] == [0.02, 0.01, 0.0]


def test_class_label_and_confidence_stay_with_their_box():
    (segment,), _ = chosen([found(confidence=0.25, class_id=7, label="Käse, \"alt\" 'x'")])
    assert segment == Segment((10, 10, 30, 30), 400, 400, 7, "Käse, \"alt\" 'x'", 0.25)
    assert not segment.is_whole


WHOLE = Segment((0, 0, 100, 60), 6000, 6000, None, None, None)


def test_the_whole_image_comes_last_where_it_is_wanted():
    for always in (False, True):
        segments, counted = chosen([found()], whole_image=True, always=always)
        assert segments[1:] == [WHOLE]
        assert WHOLE.is_whole
        assert counted == {"found": 1, "too_small": 0, "too_thin": 0, "beyond_max": 0, "crops": 2}
    assert chosen([], whole_image=True)[0] == [WHOLE]


def test_it_stands_in_where_nothing_else_is_left_and_somebody_needs_it():
    assert chosen([found((0, 0, 1, 1))], min_area=5)[0] == []
    segments, counted = chosen([found((0, 0, 1, 1))], min_area=5, always=True)
    assert segments == [WHOLE]
    assert counted == {"found": 1, "too_small": 1, "too_thin": 0, "beyond_max": 0, "crops": 1}
    assert boxes([found()], always=True) == [(10, 10, 30, 30)], "not beside others"


def test_it_is_beyond_the_limits_of_segments():
    segments, _ = chosen([found(), found()], whole_image=True, max_segments=1, min_area=400, min_crop=20)
    assert [segment.is_whole for segment in segments] == [False, True]
    assert chosen([], size=(3, 2), whole_image=True, min_area=150, min_crop=9)[0][0].bbox == (0, 0, 3, 2)


def test_a_thing_as_large_as_the_image_is_no_whole_image():
    segments, _ = chosen([found((0, 0, 100, 60), label="wall")], whole_image=True)
    assert [segment.is_whole for segment in segments] == [False, True]


def some(rng, size):
    """A thing of any kind, sensible or not."""
    x1, y1 = (rng.uniform(-0.5, 1.2) * length for length in size)
    box = [x1, y1, x1 + rng.expovariate(3) * size[0] - 2, y1 + rng.expovariate(3) * size[1] - 2]
    if rng.random() < 0.1:
        box[rng.randrange(4)] = rng.choice([NAN, INF, -INF])
    confidence = rng.choice([NAN, 0.5, rng.random(), rng.random()])
    return Found(tuple(box), confidence, rng.randrange(3), rng.choice([None, "a"]), rng.choice([None, rng.randrange(400)]))


@pytest.mark.parametrize("seed", range(300))
def test_whatever_is_found_the_segments_keep_every_limit_and_all_are_counted(seed):
    rng = random.Random(seed)
    size = rng.randint(1, 80), rng.randint(1, 80)
    settings = {"min_area": rng.choice([0, 20, 150]), "min_crop": rng.choice([1, 5]), "max_segments": rng.choice([1, 3, 64])}
    settings["whole_image"], always = rng.random() < 0.5, rng.random() < 0.5
    things = [some(rng, size) for _ in range(rng.randrange(30))]
    segments, counted = choose(things, size, settings, always=always)
    whole = [segment for segment in segments if segment.is_whole]
    own = [segment for segment in segments if not segment.is_whole]

    assert counted["found"] == len(things)
    assert counted["crops"] == len(segments)
    assert counted["found"] == counted["too_small"] + counted["too_thin"] + counted["beyond_max"] + counted["crops"] - len(whole)
    assert len(own) <= settings["max_segments"]
    assert counted["beyond_max"] == 0 or len(own) == settings["max_segments"]
    assert len(whole) == (settings["whole_image"] or (always and not own))
    assert segments[len(own) :] == whole
    for segment in own:
        x1, y1, x2, y2 = segment.bbox
        assert 0 <= x1 < x2 <= size[0]
        assert 0 <= y1 < y2 <= size[1]
        assert segment.box_area == (x2 - x1) * (y2 - y1)
        assert segment.area >= settings["min_area"]
        assert min(x2 - x1, y2 - y1) >= settings["min_crop"]
    assert [segment.confidence for segment in own] == sorted((segment.confidence for segment in own), reverse=True)
    assert choose(rng.sample(things, len(things)), size, settings, always=always) == (segments, counted), "the order found in matters not"


def test_crops_are_numbered_in_their_order_and_the_whole_image_is_full():
    segments, _ = chosen([found(), found((1, 1, 5, 5))], whole_image=True)
    assert crop_ids("a b/é_1", segments) == ["a b/é_1_0", "a b/é_1_1", "a b/é_1_full"]
    assert crop_ids("k", []) == []
    assert crop_ids("k", [WHOLE]) == ["k_full"]


def test_a_crop_is_the_pixels_of_the_box_alone():
    pixels = np.random.default_rng(0).integers(0, 255, (60, 100, 3), np.uint8)
    image = Image.fromarray(pixels)
    (segment, whole), _ = chosen([found((10.5, 20, 30, 41))], whole_image=True)
    assert np.array_equal(np.asarray(crop(image, segment)), pixels[20:41, 10:30])
    assert np.array_equal(np.asarray(crop(image, whole)), pixels)
