"""A group of drawn images gets better from stage to stage, and its defects can be seen."""

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.demo.drawing import rng_for
from workflow_scripts.demo.predict_groups.pictures import DEFECTS, LAST_STAGE, LOOKS, at_stage, draw_figure, draw_series

NUMBERS = range(12)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=float)


def inside(image: Image.Image, box: tuple[float, ...]) -> np.ndarray:
    """The pixels in a box that is given in parts of the image."""
    x1, y1, x2, y2 = (round(value * image.size[number % 2]) for number, value in enumerate(box))
    return pixels(image)[y1:y2, x1:x2]


@pytest.mark.parametrize("number", NUMBERS)
def test_every_stage_is_nearer_to_the_drawing_than_the_one_before(number: int) -> None:
    image = draw_figure(rng_for(5, "stages", str(number))).image
    shown = [at_stage(rng_for(5, "noise"), image, stage) for stage in (*LOOKS, LAST_STAGE)]
    away = [np.abs(pixels(one) - pixels(image)).mean() for one in shown]
    assert sorted(away, reverse=True) == away
    assert away[-1] == 0 < 3 < away[-2]
    assert all(one.size == image.size for one in shown)


def test_earlier_stages_show_less_detail_of_the_figure_beneath_their_noise() -> None:
    drawing = draw_figure(rng_for(5, "detail"))
    x1, y1, x2, y2 = drawing.people[0].box

    def detail(picture: np.ndarray, contrast: float) -> float:
        return float(np.abs(np.diff(picture[y1:y2, x1:x2], axis=1)).mean()) / contrast

    found = []
    for stage, (_, contrast, _) in LOOKS.items():
        shown = [pixels(at_stage(rng_for(5, "noise", str(number)), drawing.image, stage)) for number in range(40)]
        found.append(detail(np.mean(shown, axis=0), contrast))
    assert found[0] < found[1] < found[2] < 0.9 * detail(pixels(drawing.image), 1)


@pytest.mark.parametrize("number", NUMBERS)
def test_one_person_stands_within_the_middle_square_and_the_box_is_theirs(number: int) -> None:
    drawing = draw_figure(rng_for(5, "figure", str(number)))
    assert len(drawing.people) == 1
    assert not drawing.things
    assert not drawing.distractors
    series = draw_series(rng_for(5, "figure", str(number)), "")
    assert all(0 < low < high < 1 for low, high in zip(series.box[:2], series.box[2:], strict=True))
    (width, height), side = drawing.image.size, min(drawing.image.size)
    x1, y1, x2, y2 = drawing.people[0].box
    assert (width - side) / 2 <= x1 < x2 <= (width + side) / 2
    assert (height - side) / 2 <= y1 < y2 <= (height + side) / 2
    assert y2 - y1 > 0.4 * side, "large enough to be seen at 64 pixels"
    mask = np.asarray(drawing.mask) > 127
    assert mask[y1:y2, x1:x2].sum() == mask.sum() > 0


def test_boxes_are_parts_of_width_and_height() -> None:
    for number in NUMBERS:
        series = draw_series(rng_for(5, "box", str(number)), "")
        width, height = series.images[-1].size
        whole = [value * (width, height)[place % 2] for place, value in enumerate(series.box)]
        assert whole == pytest.approx([round(value) for value in whole], abs=0.05)


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_hides_or_changes_the_figure_on_the_last_image_alone(defect: str) -> None:
    for number in NUMBERS:
        sound, damaged = (draw_series(rng_for(5, "defect", str(number)), name) for name in ("", defect))
        assert (damaged.box, damaged.stages) == (sound.box, sound.stages)
        assert [one.tobytes() for one in damaged.images[:-1]] == [one.tobytes() for one in sound.images[:-1]]
        changed = np.abs(inside(damaged.images[-1], sound.box) - inside(sound.images[-1], sound.box)).max(axis=2) > 12
        assert changed.mean() > 0.25
        assert damaged.qualities == (*sound.stages[:-1], 0)
        assert sound.qualities == sound.stages
        assert (damaged.defect, sound.defect) == (defect, "")


def test_series_depend_on_their_names_alone() -> None:
    first = [draw_series(rng_for(5, str(number)), "tear").images[-1].tobytes() for number in range(4)]
    again = [draw_series(rng_for(5, str(number)), "tear").images[-1].tobytes() for number in reversed(range(4))]
    assert first == again[::-1]
    assert len(set(first)) == 4
