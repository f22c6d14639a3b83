"""People of the lora demo stand where the frame cuts them off as it is said, and the truth about them follows the pipeline's rules."""

from dataclasses import replace

import pytest

from workflow_scripts.demo.drawing import PersonTruth, draw_scene, make_person, make_pose, rng_for
from workflow_scripts.demo.drawing.specs import PEOPLE_KINDS
from workflow_scripts.demo.lora_examples import SHARES
from workflow_scripts.demo.lora_staging import CUTS, FACE, FULL, UPPER, UPRIGHT, largest, stage, true_category

SIZE = (160, 160)
CATEGORIES = {FACE: "face_and_hair", UPPER: "upper_body", FULL: "full_body"}


def staged(kind: str, cut: str, share: float, view: str, pose: str = "stand") -> tuple[PersonTruth, ...]:
    who = make_person(rng_for(1, kind, cut), kind)
    place = stage(who, cut, share, top=0.1, x=0.5)
    poses = [make_pose(rng_for(1, pose), pose)]
    return draw_scene(rng_for(1, "scene"), SIZE, [who], 0, "studio", framing=FULL, view=view, poses=poses, places=[place]).people


@pytest.mark.parametrize("kind", PEOPLE_KINDS)
@pytest.mark.parametrize("cut", CUTS)
def test_the_frame_ends_between_the_parts_that_the_cut_names(kind: str, cut: str) -> None:
    for pose in UPRIGHT:
        for share in SHARES[cut]:
            (person,) = staged(kind, cut, share, "front", pose)
            assert true_category([person]) == CATEGORIES[cut], (pose, share)
            assert abs(person.box[1] - 0.1 * SIZE[1]) < 0.09 * SIZE[1], "the crown is where it should be, hats stand above it"
            assert (person.box[3] == SIZE[1]) == (cut != FULL)


@pytest.mark.parametrize("cut", CUTS)
def test_from_behind_there_is_no_face(cut: str) -> None:
    assert true_category(staged("woman", cut, 0.4, "back")) == "review_no_face"


def seen(person: PersonTruth, *numbers: int) -> PersonTruth:
    """The person with these keypoints in sight and all others hidden."""
    points = tuple((x, y, 2 if number in numbers else 1) for number, (x, y, _) in enumerate(person.keypoints))
    return replace(person, keypoints=points)


@pytest.mark.parametrize(
    ("numbers", "category"),
    [
        ((0, 2, 6), "face_and_hair"),
        ((0, 6), "review_no_face"),
        ((1, 2, 5), "review_no_face"),
        ((0, 1, 5, 11), "upper_body"),
        ((0, 1, 5, 12, 16), "full_body"),
        ((0, 1, 5, 16), "face_and_hair"),
        ((0, 1, 2, 3, 4), "uncategorized"),
        ((11, 12, 15, 16), "uncategorized"),
        ((), "uncategorized"),
    ],
)
def test_categories_go_by_the_keypoints_in_sight_alone(numbers: tuple[int, ...], category: str) -> None:
    (person,) = staged("man", FULL, 0.3, "front")
    assert true_category([seen(person, *numbers)]) == category


def test_the_largest_person_counts_and_nobody_is_a_category_too() -> None:
    (near,), (far,) = staged("man", UPPER, 0.3, "front"), staged("child", FULL, 0.9, "front")
    for people in ((near, far), (far, near)):
        assert largest(people) is near
        assert true_category(people) == "upper_body"
    assert largest(()) is None
    assert true_category(()) == "no_person_detected"
