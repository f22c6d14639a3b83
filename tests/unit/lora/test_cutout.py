"""Which parts of a mask belong to the chosen person, and what is cut out by it."""

import io

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.lora.cutout import MARGIN, SOLID, box_slices, keep_person, png, transparent

pytest.importorskip("cv2")


def blank(height=100, width=140):
    return np.zeros((height, width), np.uint8)


def test_components_that_overlap_the_box_stay_as_they_are_and_others_go_with_their_soft_edges():
    alpha = blank()
    alpha[19:61, 19:41], alpha[20:60, 20:40] = 90, 255
    wanted = alpha.copy()
    alpha[19:61, 79:101], alpha[20:60, 80:100] = 90, 255
    assert (keep_person(alpha, (15, 15, 45, 65)) == wanted).all()


def test_a_component_that_the_box_only_touches_is_kept_whole():
    alpha = blank()
    alpha[20:60, 20:40] = 200
    assert (keep_person(alpha, (39.5, 59.5, 90, 90)) == alpha).all()
    assert not keep_person(alpha, (40.0, 60.0, 90, 90)).any()


def test_pixels_that_meet_at_a_corner_are_one_component():
    alpha = blank()
    alpha[10:20, 10:20], alpha[20:30, 20:30] = 255, 255
    assert (keep_person(alpha, (10, 10, 15, 15)) == alpha).all()


def test_soft_pixels_between_two_components_go_with_the_nearer_one():
    alpha = blank()
    alpha[20:60, 20:40], alpha[20:60, 60:80], alpha[40, 40:60] = 255, 255, 100
    kept = keep_person(alpha, (20, 20, 40, 60))
    assert (kept[40, 40:49] == 100).all()
    assert not kept[40, 51:].any()


def test_soft_pixels_in_the_box_do_not_make_a_component_the_person():
    alpha = blank()
    alpha[20:60, 20:40], alpha[20:60, 40:60] = 255, SOLID - 1
    assert not keep_person(alpha, (42, 20, 60, 60)).any()


def test_a_mask_without_a_solid_pixel_is_empty():
    assert not keep_person(np.full((50, 50), SOLID - 1, np.uint8), (0, 0, 50, 50)).any()
    assert keep_person(np.full((50, 50), SOLID, np.uint8), (0, 0, 50, 50)).all()


@pytest.mark.parametrize(
    ("box", "wanted"),
    [
        ((10.2, 20.7, 30.1, 40.0), (slice(20, 40), slice(10, 31))),
        ((-5, -5, 500, 500), (slice(0, 100), slice(0, 140))),
        ((50, 50, 50, 50), (slice(50, 51), slice(50, 51))),
        ((200, 200, 300, 300), (slice(99, 100), slice(139, 140))),
    ],
)
def test_a_box_covers_every_pixel_that_it_touches_within_the_frame(box, wanted):
    assert box_slices(box, 100, 140) == wanted


def test_colours_stay_at_the_subject_and_round_it_and_nowhere_else():
    frame = Image.fromarray(np.random.Generator(np.random.PCG64(1)).integers(1, 255, (200, 200, 3), dtype=np.uint8))
    alpha = np.zeros((200, 200), np.uint8)
    alpha[90:110, 90:110] = 1
    picture = np.asarray(transparent(frame, alpha))
    assert (picture[..., 3] == alpha).all()
    near = np.zeros((200, 200), bool)
    near[90 - MARGIN : 110 + MARGIN, 90 - MARGIN : 110 + MARGIN] = True
    assert (picture[near][:, :3] == np.asarray(frame)[near]).all()
    assert not picture[~near].any()


def test_a_png_holds_the_pixels_and_is_the_same_each_time():
    image = Image.fromarray(np.random.Generator(np.random.PCG64(2)).integers(0, 255, (20, 30, 4), dtype=np.uint8))
    assert png(image) == png(image)
    with Image.open(io.BytesIO(png(image))) as found:
        assert found.tobytes() == image.tobytes()
