"""What the lora demo's models learn from: every situation comes, and its labels are what the trainers take for true."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from workflow_scripts.demo.drawing.skeleton import KEYPOINTS
from workflow_scripts.demo.lora_examples import SIZES, Example, blurred, draw_example, draw_examples
from workflow_scripts.demo.lora_measures import keypoints_found, overlap
from workflow_scripts.demo.lora_staging import SEEN, true_category
from workflow_scripts.demo.train_pose import FLIPPED, describe_set, label, write_set
from workflow_scripts.demo.train_segmenter import SIDE, batches, squares


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return list(draw_examples(3, "test", 48, workers=2))


def test_every_category_comes_with_one_two_and_no_people(examples: list[Example]) -> None:
    found = Counter(true_category(example.people) for example in examples)
    assert min(found[name] for name in ("face_and_hair", "upper_body", "full_body", "review_no_face", "no_person_detected")) >= 3
    assert {0, 1, 2} <= {len(example.people) for example in examples}
    assert {example.image.size for example in examples} == set(SIZES)


def test_an_example_depends_on_seed_set_and_number_alone(examples: list[Example]) -> None:
    again = draw_example(3, "test", 40)
    assert again.image.tobytes() == examples[40].image.tobytes()
    assert again.people == examples[40].people
    for other in (draw_example(4, "test", 40), draw_example(3, "held-out", 40), draw_example(3, "test", 41)):
        assert other.image.tobytes() != again.image.tobytes()


def test_masks_are_of_all_people_and_nothing_else(examples: list[Example]) -> None:
    for example in examples:
        mask = np.asarray(example.mask)
        allowed = np.zeros_like(mask, dtype=bool)
        for person in example.people:
            x1, y1, x2, y2 = person.box
            allowed[y1:y2, x1:x2] = True
        assert not (mask[~allowed] > 96).any()
        assert mask.any() == bool(example.people)


def test_blur_moves_no_edge_to_one_side_and_keeps_the_light() -> None:
    image = Image.fromarray(np.repeat(np.where(np.arange(384) < 192, 40, 200).astype(np.uint8)[None, :, None], 64, 0).repeat(3, 2))
    for kind in ("motion", "defocus"):
        found = np.asarray(blurred(image, kind), float)[32, :, 0]
        assert np.asarray(blurred(image, kind)).shape == (64, 384, 3)
        assert abs(found - 120).argmin() in (191, 192)
        assert found[:150] == pytest.approx(40)
        assert found[-150:] == pytest.approx(200)
        assert np.diff(found).max() < 40
    assert blurred(image, "") is image
    column = np.asarray(blurred(image.transpose(Image.Transpose.ROTATE_90), "motion"))
    assert len(np.unique(column)) == 2, "sideways alone"


def test_a_label_names_what_is_in_sight_alone(examples: list[Example]) -> None:
    example = next(
        example for example in examples if len(example.people) == 1 and any(shown == 1 for *_, shown in example.people[0].keypoints)
    )
    (person,), (width, height) = example.people, example.image.size
    numbers = [float(text) for text in label(person, example.image.size).split()]
    assert len(numbers) == 5 + 17 * 3
    kind, x, y, w, h, *points = numbers
    assert kind == 0
    box = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
    assert box == pytest.approx(person.box, abs=0.05)
    for number, (px, py, shown) in enumerate(person.keypoints):
        said = points[3 * number : 3 * number + 3]
        wanted = [px / width, py / height, 2] if shown == SEEN else [0, 0, 0]
        assert said == pytest.approx(wanted, abs=1e-4)


def test_a_data_set_has_an_image_and_labels_for_each_example(tmp_path: Path, examples: list[Example]) -> None:
    write_set(tmp_path, "train", examples[:12])
    about = yaml.safe_load(describe_set(tmp_path).read_text())
    images, labels = (sorted((tmp_path / part / "train").iterdir()) for part in ("images", "labels"))
    assert [path.stem for path in images] == [path.stem for path in labels] == [f"{number:05d}" for number in range(12)]
    assert [len(path.read_text().splitlines()) for path in labels] == [len(example.people) for example in examples[:12]]
    assert (about["kpt_shape"], about["names"], Path(about["path"])) == ([17, 3], {0: "person"}, tmp_path)
    mirrored = [name.replace("left", "?").replace("right", "left").replace("?", "right") for name in KEYPOINTS]
    assert [KEYPOINTS[place] for place in FLIPPED] == mirrored


def test_keypoints_count_as_found_in_their_place_and_as_left_out_when_unsure(examples: list[Example]) -> None:
    person = next(example.people[0] for example in examples if true_category(example.people) == "face_and_hair")
    seen = sum(shown == SEEN for *_, shown in person.keypoints)
    exact = [value for x, y, shown in person.keypoints for value in (x, y, 0.9 if shown == SEEN else 0.1)]
    assert keypoints_found(person, exact) == (seen, seen, 17 - seen, 17 - seen)
    far = [
        value + (0.2 * (person.box[3] - person.box[1]) + 0.2 * (person.box[2] - person.box[0])) * (n % 3 == 0)
        for n, value in enumerate(exact)
    ]
    assert keypoints_found(person, far) == (seen, 0, 17 - seen, 17 - seen)
    sure = [0.9 if n % 3 == 2 else value for n, value in enumerate(exact)]
    assert keypoints_found(person, sure) == (seen, seen, 17 - seen, 0)
    unsure = [0.5 if n % 3 == 2 else value for n, value in enumerate(exact)]
    assert keypoints_found(person, unsure) == (seen, 0, 17 - seen, 17 - seen)


def test_overlap_counts_what_both_have_over_what_either_has() -> None:
    one, other = (np.zeros((10, 10), np.uint8) for _ in range(2))
    assert overlap(one, other) == 1
    one[:4], other[2:6] = 128, 255
    assert overlap(one, other) == pytest.approx(20 / 60)
    assert overlap(one, np.full_like(one, 127)) == 0


def test_squares_keep_picture_and_mask_together(examples: list[Example]) -> None:
    pictures, masks = squares(examples[:6])
    assert (pictures.shape, masks.shape) == ((6, SIDE, SIDE, 3), (6, SIDE, SIDE))
    for example, mask in zip(examples[:6], masks, strict=True):
        whole = Image.fromarray(mask).resize(example.mask.size, Image.Resampling.BILINEAR)
        assert overlap(np.asarray(whole), np.asarray(example.mask)) > 0.95 or not example.people


def test_every_epoch_shows_each_example_once_in_another_order() -> None:
    found = list(batches(32, 2, np.random.default_rng(1)))
    first, second = (np.concatenate(part).tolist() for part in (found[:4], found[4:]))
    assert sorted(first) == sorted(second) == list(range(32))
    assert first != second
    assert {len(rows) for rows in found} == {8}
