"""lora 02: what a frame counts as, by the keypoints of the largest person that is sure enough."""

import numpy as np
import pytest

from workflow_scripts.lora.categories import choose
from workflow_scripts.lora.tables import CATEGORIES, REJECTED

NAMES = ["nose", "eye", "eye2", "ear", "ear2", "shoulder", "shoulder2", "elbow", "elbow2", "wrist", "wrist2"]
NAMES += ["hip", "hip2", "knee", "knee2", "ankle", "ankle2"]
HOW = {"box_conf": 0.25, "conf_threshold": 0.5, "max_people": None}


def person(*visible, box=(0, 0, 9, 9), confidence=0.9, sure=0.9, unsure=0.1):
    keypoints = [value for name in NAMES for value in (1.0, 2.0, float(np.float32(sure if name in visible else unsure)))]
    return {"box": list(box), "confidence": float(np.float32(confidence)), "keypoints": keypoints}


@pytest.mark.parametrize("eye", ["eye", "eye2"])
@pytest.mark.parametrize("side", ["", "2"])
@pytest.mark.parametrize(
    ("more", "category"),
    [
        ((), "face_and_hair"),
        (("hip",), "upper_body"),
        (("hip", "ankle"), "full_body"),
        (("ankle",), "face_and_hair"),
        (("knee", "elbow", "wrist", "ear"), "face_and_hair"),
    ],
)
def test_a_face_with_shoulders_is_told_by_what_is_seen_below_either_side_will_do(eye, side, more, category):
    found = choose([person("nose", eye, f"shoulder{side}", *(f"{part}{side}" for part in more))], **HOW)
    assert (found.category, found.reason, found.person_count) == (category, None, 1)


@pytest.mark.parametrize(
    ("visible", "category", "reason"),
    [
        (("shoulder", "hip", "ankle"), "review_no_face", "shoulders, but no face"),
        (("nose", "ear", "shoulder"), "review_no_face", "shoulders, but no face"),
        (("eye", "eye2", "shoulder2"), "review_no_face", "shoulders, but no face"),
        (("nose", "eye"), "uncategorized", "no shoulders; a face can be seen"),
        (("nose", "eye", "hip2", "ankle2"), "uncategorized", "no shoulders; a face and hips and ankles can be seen"),
        (("knee",), "uncategorized", "no shoulders; nothing else can be seen"),
    ],
)
def test_other_frames_are_rejected_with_what_can_be_seen(visible, category, reason):
    found = choose([person(*visible)], **HOW)
    assert (found.category, found.reason, found.person_count) == (category, reason, 1)
    assert found.person == person(*visible)


def test_nobody_at_all_and_nobody_sure_enough_are_no_person():
    assert choose([], **HOW) == choose([], **HOW | {"max_people": 1})
    found = choose([], **HOW)
    assert (found.category, found.reason, found.person_count, found.person) == (
        "no_person_detected",
        "no person: nobody was found",
        0,
        None,
    )
    found = choose([person(confidence=0.06), person(confidence=0.24)], **HOW)
    assert (found.category, found.person_count, found.person) == ("no_person_detected", 0, None)
    assert found.reason == "no person: the surest box has a confidence of 0.24, below 0.25"


def test_the_largest_person_counts_among_those_whose_box_is_sure_enough():
    unsure = person("nose", "eye", "shoulder", confidence=0.2)
    second = person("shoulder", confidence=0.3)
    third = person("nose", "eye", "shoulder", "hip", confidence=0.99)
    found = choose([unsure, second, third], **HOW)
    assert (found.category, found.person, found.person_count) == ("review_no_face", second, 2)
    found = choose([unsure, second, third], **HOW | {"box_conf": 0.1})
    assert (found.category, found.person, found.person_count) == ("face_and_hair", unsure, 3)


def test_more_people_than_allowed_are_rejected_and_only_those_who_count_are_counted():
    people = [person("nose", "eye", "shoulder"), person(), person(confidence=0.1)]
    found = choose(people, **HOW | {"max_people": 1})
    assert (found.category, found.reason, found.person_count) == ("too_many_people", "2 people, more than 1", 2)
    assert found.person == people[0]
    assert choose(people, **HOW | {"max_people": 2}).category == "face_and_hair"


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_box_of_exactly_the_threshold_counts_and_a_keypoint_of_exactly_the_threshold_does_not(threshold):
    frontal = person("nose", "eye", "shoulder", confidence=threshold)
    assert choose([frontal], **HOW | {"box_conf": threshold}).person_count == 1
    below = float(np.nextafter(np.float32(threshold), np.float32(0)))
    assert choose([frontal | {"confidence": below}], **HOW | {"box_conf": threshold}).person_count == 0
    at = person("nose", "eye", "shoulder", sure=threshold, unsure=0)
    assert choose([at], **HOW | {"conf_threshold": threshold}).category == "uncategorized"
    above = float(np.nextafter(np.float32(threshold), np.float32(1)))
    over = person("nose", "eye", "shoulder", sure=above, unsure=0)
    assert choose([over], **HOW | {"conf_threshold": threshold}).category == "face_and_hair"


def test_every_set_of_visible_parts_has_one_category_and_a_reason_if_it_is_rejected():
    parts = ["nose", "eye", "shoulder", "hip", "ankle"]
    seen = set()
    for number in range(2 ** len(parts)):
        found = choose([person(*(part for place, part in enumerate(parts) if number >> place & 1))], **HOW)
        assert (found.category in CATEGORIES) == (found.reason is None)
        assert found.category in CATEGORIES + REJECTED
        seen.add(found.category)
    assert seen == {*CATEGORIES, "review_no_face", "uncategorized"}
