"""Scenes for the small segmenter: masks of what can be seen, labels that mean them, and figures that say what they claim."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.demo.autotag_examples import LEAST, Mask, Scene, draw_example, draw_examples, objects
from workflow_scripts.demo.autotag_measures import measure, overlaps
from workflow_scripts.demo.drawing import draw_scene, rng_for
from workflow_scripts.demo.train_autotag import label, write_set

cv2 = pytest.importorskip("cv2")
SEED = 3


def mask(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (40, 30)) -> Mask:
    """A mask of rectangles."""
    found = np.zeros(size[::-1], bool)
    for x1, y1, x2, y2 in boxes:
        found[y1:y2, x1:x2] = True
    return found


def filled(line: str, size: tuple[int, int]) -> Mask:
    """What a line of a label file means, as Ultralytics fills it."""
    kind, *values = line.split()
    assert kind == "0"
    points = np.array(values, float).reshape(-1, 2) * size
    image = np.zeros(size[::-1], np.uint8)
    cv2.fillPoly(image, [np.floor(points).astype(np.int32)], 1)
    return image > 0


def test_instances_are_what_was_pasted_and_can_be_seen() -> None:
    for number in range(20):
        drawing = draw_scene(rng_for(SEED, "instances", str(number)), (160, 120))
        found = np.asarray(drawing.instances)
        assert drawing.instances.size == drawing.image.size
        assert found.max(initial=0) <= len(drawing.names)
        people = [place for place, name in enumerate(drawing.names, 1) if name == "person"]
        assert drawing.names.count("person") >= len(drawing.people)
        assert sorted({name for name in drawing.names if name in drawing.distractors}) == list(drawing.distractors)
        assert np.mean(np.isin(found, people) == (np.asarray(drawing.mask) > 127)) > 0.99
        for thing in drawing.things:
            x1, y1, x2, y2 = thing.box
            assert thing.kind in drawing.names
            numbers = [place for place, name in enumerate(drawing.names, 1) if name == thing.kind]
            seen = np.isin(found, numbers)
            assert not seen.any() or seen[max(0, y1 - 1) : y2 + 1, max(0, x1 - 1) : x2 + 1].any()


def test_objects_are_the_instances_that_show_enough() -> None:
    drawing = draw_scene(rng_for(SEED, "crowd"), (160, 120), people=3, things=3)
    found = objects(drawing)
    numbers = np.asarray(drawing.instances)
    areas = {number: int((numbers == number).sum()) for number in range(1, len(drawing.names) + 1)}
    assert [name for name, _ in found] == [drawing.names[number - 1] for number, area in areas.items() if area >= LEAST]
    assert [int(seen.sum()) for _, seen in found] == [area for area in areas.values() if area >= LEAST]
    assert sum(seen.astype(int) for _, seen in found).max() == 1, "no pixel belongs to two"


def test_examples_depend_on_seed_name_and_number_alone() -> None:
    alone = draw_example(SEED, "train", 5)
    among = list(draw_examples(SEED, "train", 6, workers=2))[5]
    assert alone.image.tobytes() == among.image.tobytes()
    assert alone.image.tobytes() != draw_example(SEED, "held-out", 5).image.tobytes()
    assert alone.image.tobytes() != draw_example(SEED + 1, "train", 5).image.tobytes()


@pytest.mark.parametrize(
    "shape",
    [
        mask((5, 5, 20, 25)),
        mask((0, 0, 40, 30)),
        mask((2, 2, 12, 28), (25, 4, 38, 26)),
        mask((1, 1, 9, 9), (15, 1, 24, 9), (30, 15, 39, 29)),
    ],
)
def test_a_label_is_the_outline_of_all_parts(shape: Mask) -> None:
    large = np.kron(shape, np.ones((8, 8), bool))  # the line that joins the parts is a pixel wide when it is filled
    again = filled(label(large), large.shape[::-1])
    assert (again & large).sum() / (again | large).sum() > 0.97


def test_labels_of_drawn_objects_fit_them() -> None:
    fits = []
    for number in range(12):
        for _, seen in draw_example(SEED, "labels", number).objects:
            again = filled(label(seen), seen.shape[::-1])
            fits.append((again & seen).sum() / (again | seen).sum())
    assert np.mean(fits) > 0.9, "holes, as between an arm and a body, are filled"
    assert len(fits) > 15


def test_a_set_has_a_picture_and_a_line_an_object(tmp_path: Path) -> None:
    scenes = [draw_example(SEED, "set", number) for number in range(4)]
    write_set(tmp_path, "train", scenes)
    for number, scene in enumerate(scenes):
        with Image.open(tmp_path / f"images/train/{number:05d}.jpg") as image:
            assert image.size == scene.image.size
        lines = (tmp_path / f"labels/train/{number:05d}.txt").read_text().splitlines()
        assert len(lines) == len(scene.objects)


def test_overlaps_are_intersections_over_unions() -> None:
    found, other = [mask((0, 0, 10, 10)), mask((0, 0, 10, 5))], [mask((0, 0, 10, 10)), mask((20, 20, 30, 30)), mask((0, 5, 10, 15))]
    assert overlaps(found, other).tolist() == [[1, 0, pytest.approx(1 / 3)], [0.5, 0, 0]]


def scene(*named: tuple[str, Mask]) -> Scene:
    return Scene(Image.new("RGB", (40, 30)), named)


def test_figures_count_people_and_things_found_and_segments_that_are_nothing() -> None:
    left, right, low = mask((0, 0, 15, 30)), mask((20, 0, 40, 20)), mask((20, 20, 40, 30))
    scenes = [scene(("person", left), ("car", right), ("dog", low)), scene(), scene(("person", left))]
    answers = iter([[left, mask((20, 0, 40, 15)), mask((16, 0, 18, 4))], [right], []])

    def segment(image: Image.Image) -> Sequence[Mask]:
        del image
        return next(answers)

    assert measure(segment, scenes) == {
        "people_found": 0.5,
        "things_found": 0.5,
        "mask_iou_of_those_found": 0.875,
        "segments_that_are_no_object": 0.5,
        "objects": {"people": 2, "things": 2},
    }
