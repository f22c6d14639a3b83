"""Reasons, percentiles, scores, near copies and the spread over a video's time."""

import random

import numpy as np
import pytest

from workflow_scripts.lora.ranking import add_scores, beyond_video, choose, counted_contours, failure, near_copies, percentiles, video_limit
from workflow_scripts.lora.tables import FACE_AND_HAIR, FULL_BODY, UPPER_BODY
from workflow_scripts.settings.lora import Score


def settings(**changes):
    return Score(**({"per_video": None, "duplicate_distance": 0, "duplicate_distance_video": 0} | changes)).model_dump()


def subject(name="a", **changes):
    """A row of METRICS that passes."""
    row = {"frame_id": name, "video": "v", "n": 1, "contour_areas": [0.2, 0.1], "solidities": [0.9, 0.8], "area_fraction": 0.3}
    return row | {"sharpness": 100.0, "brightness": 0.5, "pose": 0.5, "phash": 0} | changes


# ---- reasons ----


@pytest.mark.parametrize(
    ("changes", "score", "reason"),
    [
        ({}, {}, None),
        ({"area_fraction": 0.0, "contour_areas": [], "solidities": [], "sharpness": None}, {}, "empty mask"),
        ({"area_fraction": 0.3, "contour_areas": [0.004] * 60}, {}, "empty mask"),
        ({"area_fraction": 0.004, "contour_areas": [0.004]}, {}, "area (0.0040)"),
        ({"contour_areas": [0.1] * 4}, {}, "too many objects (4)"),
        ({"contour_areas": [0.1] * 3 + [0.0049] * 9}, {}, None),
        ({"contour_areas": [0.1] * 3 + [0.005]}, {}, "too many objects (4)"),
        ({"contour_areas": [0.1] * 2}, {"max_contours": 1}, "too many objects (2)"),
        ({"sharpness": None}, {}, "subject too small"),
        ({"sharpness": 49.96}, {}, "too blurry (50.0)"),
        ({"sharpness": 12.345}, {}, "too blurry (12.3)"),
        ({"sharpness": 50.0}, {}, None),
        ({"solidities": [0.5, 1.0]}, {}, None),
        ({"solidities": [0.5, 1.0]}, {"min_solidity": 0.6}, "solidity (0.500)"),
        ({"solidities": [0.6, 0.1]}, {"min_solidity": 0.6}, None),
        ({"area_fraction": 0.009}, {}, "area (0.0090)"),
        ({"area_fraction": 0.01}, {}, None),
        ({"contour_areas": [0.1] * 9, "sharpness": 1.0, "area_fraction": 0.001}, {}, "too many objects (9)"),
        ({"sharpness": 1.0, "area_fraction": 0.001}, {}, "too blurry (1.0)"),
    ],
)
def test_the_first_reason_that_applies_is_given(changes, score, reason):
    assert failure(subject(**changes), settings(**score)) == reason


def test_only_parts_from_the_least_area_on_count():
    assert counted_contours(subject(contour_areas=[0.5, 0.005, 0.0049]), settings()) == 2


# ---- scores ----


def test_percentiles_are_middle_ranks():
    assert percentiles([5.0]).tolist() == [0.5]
    assert percentiles([10, 30, 20, 20]).tolist() == [0.125, 0.875, 0.5, 0.5]
    assert percentiles([]).tolist() == []


def test_the_score_is_the_weighted_sum_and_equal_ones_stand_by_name():
    rows = [
        subject("c", pose=0.2, sharpness=60.0, brightness=1.0),
        subject("b", pose=0.8, sharpness=900.0, brightness=0.0),
        subject("d", pose=0.2, sharpness=60.0, brightness=1.0),
    ]
    found = add_scores(rows, {"pose": 0.6, "sharpness": 0.3, "brightness": 0.1})
    assert [row["frame_id"] for row in found] == ["b", "c", "d"]
    assert [row["sharpness_percentile"] for row in found] == [pytest.approx(5 / 6), *[pytest.approx(1 / 3)] * 2]
    assert [row["score"] for row in found] == [pytest.approx(0.48 + 0.25), *[pytest.approx(0.12 + 0.1 + 0.1)] * 2]


# ---- near copies ----


def bits(count, start=0):
    return sum(1 << number for number in range(start, start + count))


def test_a_near_copy_names_the_better_one_and_how_far_it_is():
    rows = [subject("best"), subject("near", phash=bits(2), video="w"), subject("far", phash=bits(3), video="w")]
    assert near_copies(rows, 3, 3) == {"near": "near copy of best (distance 2)"}


def test_within_a_video_more_counts_as_a_near_copy_than_across():
    rows = [subject("best"), subject("same video", phash=bits(9)), subject("other video", phash=bits(9, 20), video="w")]
    assert near_copies(rows, 3, 10) == {"same video": "near copy of best (distance 9)"}
    assert near_copies([subject("best"), subject("next", phash=bits(10))], 3, 10) == {}


def test_what_is_a_near_copy_itself_makes_no_other_one():
    chain = [subject("a", phash=0), subject("b", phash=bits(2)), subject("c", phash=bits(4))]
    assert near_copies(chain, 3, 3) == {"b": "near copy of a (distance 2)"}


def test_a_distance_of_nought_finds_none_and_hashes_use_all_64_bits():
    assert near_copies([subject("a"), subject("b")], 0, 0) == {}
    top = 1 << 63
    assert near_copies([subject("a", phash=top), subject("b", phash=top | 1), subject("c", phash=1)], 2, 2) == {
        "b": "near copy of a (distance 1)"
    }


def test_near_copies_are_those_of_the_plain_algorithm():
    chance = random.Random(5)
    hashes = [chance.getrandbits(64) for _ in range(30)]
    rows = []
    for number in range(300):
        flipped = sum(1 << chance.randrange(64) for _ in range(chance.randrange(8)))
        rows.append(subject(f"{number:03d}", phash=chance.choice(hashes) ^ (flipped & bits(64)), video=chance.choice("uvw")))
    kept, wanted = [], {}
    for row in rows:
        for other in kept:
            distance = (row["phash"] ^ other["phash"]).bit_count()
            if distance < 3 or (distance < 10 and row["video"] == other["video"]):
                wanted[row["frame_id"]] = f"near copy of {other['frame_id']} (distance {distance})"
                break
        else:
            kept.append(row)
    assert 50 < len(wanted) < 290
    assert near_copies(rows, 3, 10) == wanted


# ---- one video's share ----


def test_of_each_stretch_of_time_the_best_is_taken():
    rows = [subject(f"{n:02d}", n=n) for n in (1, 2, 3, 4, 5, 6, 9, 12)]  # best first
    assert set(beyond_video(rows, 3)) == {"02", "03", "04", "06", "12"}


def test_where_stretches_are_empty_the_best_of_the_rest_fill_up():
    rows = [subject(f"{n:03d}", n=n) for n in (100, 1, 2, 3, 4)]
    assert beyond_video(rows, 4) == {"004": "beyond per_video (4)"}


def test_each_video_has_its_share_and_few_subjects_all_stay():
    rows = [subject(f"{video}{n}", video=video, n=n) for video in "vw" for n in (1, 2)] + [subject("x1", video="x")]
    assert set(beyond_video(rows, 1)) == {"v2", "w2"}
    assert beyond_video(rows, 2) == {}


@pytest.mark.parametrize("limit", [1, 2, 5, 7])
def test_exactly_so_many_of_a_video_stay(limit):
    chance = random.Random(limit)
    rows = [subject(str(n), n=n) for n in chance.sample(range(1000), 40)]
    assert len(beyond_video(rows, limit)) == 40 - limit


@pytest.mark.parametrize(
    ("category", "per_video", "limit"),
    [(UPPER_BODY, 6, 6), (FULL_BODY, None, None), (FACE_AND_HAIR, 6, None), (FACE_AND_HAIR, "auto", None), (UPPER_BODY, "auto", 4)],
)
def test_the_limit_is_as_set_or_twice_the_share_of_a_video_and_none_for_faces(category, per_video, limit):
    rows = [subject(video=video) for video in "uvwuv"]
    assert video_limit(category, rows, settings(per_video=per_video, top_n=5)) == limit


def test_the_limit_of_no_rows_can_be_told():
    assert video_limit(UPPER_BODY, [], settings(per_video="auto", top_n=5)) == 10


# ---- all of it ----


def test_near_copies_go_before_the_share_of_a_video_and_that_before_the_best_so_many():
    rows = [
        subject("a", pose=0.9, n=1),
        subject("a copy", pose=0.8, n=50, phash=1),
        subject("b", pose=0.7, n=2, phash=bits(30)),
        subject("c", pose=0.6, n=60, phash=bits(30, 30)),
        subject("d", pose=0.5, n=1, video="w", phash=bits(30, 15)),
    ]
    ranked, passed_over = choose(UPPER_BODY, rows, settings(per_video=2, duplicate_distance=3, top_n=2))
    assert [row["frame_id"] for row in ranked] == ["a", "a copy", "b", "c", "d"]
    assert passed_over == {
        "a copy": "near copy of a (distance 1)",
        "b": "beyond per_video (2)",
        "d": "beyond top_n (2)",
    }


def test_the_order_that_rows_come_in_decides_nothing():
    chance = random.Random(1)
    rows = [subject(str(n), n=n % 50, video=f"v{n % 4}", pose=n % 3 / 3, phash=chance.getrandbits(64)) for n in range(200)]
    score = settings(per_video=6, duplicate_distance=20, duplicate_distance_video=25, top_n=15)
    wanted = choose(UPPER_BODY, rows, score)
    assert 0 < sum("near copy" in why for why in wanted[1].values()) < 190
    chance.shuffle(rows)
    assert choose(UPPER_BODY, rows, score) == wanted


def test_many_subjects_of_few_hashes_leave_one_of_each():
    generator = np.random.Generator(np.random.PCG64(0))
    hashes = generator.integers(0, 2**63, 2000, dtype=np.uint64)
    picks = generator.integers(0, len(hashes), 10_000).tolist()
    rows = [subject(f"{n:06d}", n=n, video=f"v{n % 50}", phash=int(hashes[pick])) for n, pick in enumerate(picks)]
    ranked, passed_over = choose(UPPER_BODY, rows, settings(per_video=6, duplicate_distance=3, duplicate_distance_video=10))
    assert len(ranked) - len(passed_over) == 100
    assert sum("near copy" in why for why in passed_over.values()) == len(rows) - len(set(picks))
