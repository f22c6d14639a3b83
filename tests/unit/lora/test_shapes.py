"""What a subject measures, by figures that can be worked out by hand."""

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.core.inspect import perceptual_hash
from workflow_scripts.lora.shapes import CATEGORY_KEYPOINTS, MAX_CONTOURS, measure_subject, pose_confidence
from workflow_scripts.lora.tables import CATEGORIES, FACE_AND_HAIR, FULL_BODY, UPPER_BODY

pytest.importorskip("cv2")
pytest.importorskip("imagehash")

WHOLE = (0, 0, 10_000, 10_000)


def noise(height, width, seed=1):
    return np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (height, width), dtype=np.uint8)


def measured(alpha, grey=None, box=WHOLE, colours=None):
    grey = np.full(alpha.shape, 100, np.uint8) if grey is None else grey
    frame = np.dstack([grey] * 3)
    picture = np.dstack([frame if colours is None else colours, alpha])
    return measure_subject(Image.fromarray(picture), Image.fromarray(frame), box)


def mask(height, width, *parts, value=255):
    """A mask that is solid in rectangles: top, bottom, left, right."""
    alpha = np.zeros((height, width), np.uint8)
    for top, bottom, left, right in parts:
        alpha[top:bottom, left:right] = value
    return alpha


# ---- the mask ----


def test_contours_are_parts_of_the_frame_largest_first_with_their_solidities():
    shape = measured(mask(100, 200, (10, 21, 10, 21), (40, 61, 40, 81)))  # OpenCV measures between the centres of the pixels
    assert shape.contour_areas == [20 * 40 / 20_000, 10 * 10 / 20_000]
    assert shape.solidities == [1.0, 1.0]
    assert shape.area_fraction == (11 * 11 + 21 * 41) / 20_000


def test_solidity_is_the_area_by_that_of_the_convex_hull():
    shape = measured(mask(100, 100, (10, 51, 10, 31), (30, 51, 10, 51)))  # an L: three squares of side 20
    assert shape.contour_areas == [pytest.approx(3 * 400 / 10_000, rel=0.01)]
    assert shape.solidities == [pytest.approx(3 / 3.5, rel=0.01)]


def test_an_outer_contour_takes_in_its_holes_and_what_stands_in_them():
    alpha = mask(100, 100, (10, 91, 10, 91))
    alpha[20:40, 20:40] = alpha[50:80, 50:80] = 0
    alpha[60:70, 60:70] = 255
    shape = measured(alpha)
    assert shape.contour_areas == [80 * 80 / 10_000]
    assert shape.holes == 2
    assert shape.area_fraction == (81 * 81 - 400 - 900 + 100) / 10_000


def test_a_bay_is_no_hole_and_pixels_that_meet_at_a_corner_close_one():
    bay = mask(50, 50, (10, 40, 10, 40))
    bay[20:30, 30:40] = 0
    assert measured(bay).holes == 0
    ring = mask(50, 50, (10, 11, 11, 20), (11, 20, 10, 11), (20, 21, 11, 20), (11, 20, 20, 21))
    assert measured(ring).holes == 1


def test_a_pixel_counts_from_half_opaque_on():
    assert measured(mask(10, 10, (0, 10, 0, 5), value=128)).area_fraction == 0.5
    assert measured(mask(10, 10, (0, 10, 0, 5), value=127)).area_fraction == 0.0


def test_background_that_is_open_to_the_frames_edge_is_no_hole():
    assert measured(mask(50, 50, (0, 50, 10, 20), (0, 50, 30, 40))).holes == 0


def test_at_most_so_many_contours_are_described_the_largest():
    parts = [(10 * row, 10 * row + 4, 10 * column, 10 * column + 4) for row in range(9) for column in range(9)]
    shape = measured(mask(100, 100, *parts, (90, 100, 90, 100)))
    assert len(shape.contour_areas) == len(shape.solidities) == MAX_CONTOURS
    assert shape.contour_areas[:2] == [81 / 10_000, 9 / 10_000]


def test_points_and_lines_have_no_area_and_a_solidity_of_one():
    shape = measured(mask(20, 20, (5, 6, 5, 6), (10, 11, 2, 18)))
    assert (shape.contour_areas, shape.solidities) == ([0.0, 0.0], [1.0, 1.0])


@pytest.mark.parametrize(
    ("part", "edges"),
    [
        ((0, 5, 5, 15), ["top"]),
        ((5, 15, 0, 5), ["left"]),
        ((15, 20, 5, 15), ["bottom"]),
        ((5, 15, 25, 30), ["right"]),
        ((0, 20, 0, 30), ["left", "top", "right", "bottom"]),
        ((1, 19, 1, 29), []),
    ],
)
def test_edges_are_those_of_the_frame_that_the_mask_touches(part, edges):
    assert measured(mask(20, 30, part)).edges == edges


def test_uncertainty_is_nought_for_a_hard_mask_and_one_for_half_transparency():
    assert measured(mask(20, 20, (5, 15, 5, 15))).uncertainty == 0.0
    assert measured(mask(20, 20, (5, 15, 5, 15), value=128)).uncertainty == pytest.approx(1.0, abs=1e-4)
    mixed = mask(20, 20, (5, 15, 5, 15))
    mixed[5:10, 5:15] = 51  # a fifth: 4 * 0.2 * 0.8 = 0.64, over half of the pixels
    assert measured(mixed).uncertainty == pytest.approx(0.32)


def test_an_empty_mask_has_no_sharpness_brightness_or_hash():
    shape = measured(mask(50, 50), noise(50, 50))
    assert (shape.contour_areas, shape.solidities, shape.area_fraction, shape.edges, shape.holes) == ([], [], 0.0, [], 0)
    assert (shape.uncertainty, shape.sharpness, shape.sharpness_pixels, shape.brightness, shape.phash) == (0.0, None, 0, None, None)


# ---- the frame ----


def test_sharpness_is_the_variance_of_the_laplacian_within_the_subject_five_pixels_off_its_edge():
    grey = noise(100, 100)
    shape = measured(mask(100, 100, (20, 80, 20, 80)), grey)
    around = grey.astype(float)
    laplacian = around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:] - 4 * around[1:-1, 1:-1]
    inside = laplacian[24:74, 24:74]  # rows and columns 25 to 74 of the frame
    assert shape.sharpness_pixels == 2500
    assert shape.sharpness == pytest.approx(inside.var())


def test_what_lies_round_the_subject_and_its_own_edge_add_nothing_to_its_sharpness():
    grey = noise(100, 100)
    grey[20:80, 20:80] = 77
    assert measured(mask(100, 100, (20, 80, 20, 80)), grey).sharpness == 0.0


def test_sharpness_is_measured_at_one_scale_for_large_subjects_and_never_enlarged():
    small = noise(256, 256)
    large = np.kron(small, np.ones((4, 4), np.uint8))
    full = mask(256, 256, (0, 256, 0, 256))
    at_512 = np.kron(small, np.ones((2, 2), np.uint8))
    found = measured(np.kron(full, np.ones((4, 4), np.uint8)), large)
    assert found.sharpness_pixels == 512 * 512
    assert found.sharpness == pytest.approx(measured(np.kron(full, np.ones((2, 2), np.uint8)), at_512).sharpness)
    assert measured(full, small).sharpness_pixels == 256 * 256


def test_the_persons_box_sets_the_scale_and_the_mask_beyond_it_does_not_count():
    grey = noise(600, 1200)
    alpha = mask(600, 1200, (0, 600, 0, 1200))
    shape = measured(alpha, grey, box=(100, 100, 400, 500))
    assert shape.sharpness_pixels == 300 * 400
    assert measured(alpha, grey, box=(100.0, 0.0, 1124.0, 512.0)).sharpness_pixels == 512 * 256


def test_a_tight_box_makes_no_difference_to_the_subjects_own_edge():
    grey = noise(900, 900)
    grey[100:800, 200:600] = 77
    alpha = mask(900, 900, (100, 800, 200, 600))
    tight, wide = measured(alpha, grey, box=(200, 100, 600, 800)), measured(alpha, grey, box=(190, 100, 610, 800))
    assert tight.sharpness == wide.sharpness == 0.0
    assert tight.sharpness_pixels == wide.sharpness_pixels == pytest.approx((400 * 512 / 700 - 10) * (512 - 10), rel=0.01)


def test_a_subject_of_too_few_pixels_has_no_sharpness():
    exact = measured(mask(100, 100, (20, 60, 20, 55)), noise(100, 100))
    enough = measured(mask(100, 100, (20, 60, 20, 64)), noise(100, 100))
    assert (exact.sharpness, exact.sharpness_pixels) == (None, 30 * 25)
    assert enough.sharpness_pixels == 30 * 34
    assert enough.sharpness is not None


@pytest.mark.parametrize(("grey", "brightness"), [(128, 1.0), (64, 0.5), (192, 0.5), (0, 0.0), (255, 1 / 128)])
def test_brightness_is_how_near_the_subject_is_to_the_middle(grey, brightness):
    frame = np.full((60, 60), 255 - grey, np.uint8)
    frame[10:50, 10:50] = grey
    assert measured(mask(60, 60, (10, 50, 10, 50)), frame).brightness == pytest.approx(brightness)


def test_the_hash_is_of_the_subject_alone_wherever_it_stands():
    subject, colours = np.repeat(np.repeat(noise(6, 4, seed=3), 10, 0), 10, 1), noise(200, 200, seed=9)
    hashes = []
    for top, left in ((5, 7), (120, 90)):
        colours[top : top + 60, left : left + 40] = subject
        hashes.append(measured(mask(200, 200, (top, top + 60, left, left + 40)), colours.copy()).phash)
    assert hashes[0] == hashes[1]
    other = measured(mask(200, 200, (5, 65, 7, 47)), np.repeat(np.repeat(noise(20, 20, seed=4), 10, 0), 10, 1)).phash
    assert (hashes[0] ^ other).bit_count() > 15


def test_the_hash_is_that_of_the_subject_in_the_middle_of_a_grey_square():
    colours = np.repeat(np.repeat(noise(8, 4, seed=3), 10, 0), 10, 1)
    square = Image.new("L", (80, 80), 128)
    square.paste(Image.fromarray(colours), (20, 0))
    around = noise(200, 200, seed=9)
    around[60:140, 80:120] = colours
    assert measured(mask(200, 200, (60, 140, 80, 120)), around).phash == perceptual_hash(square)


def test_the_hash_sees_transparent_pixels_as_mid_grey():
    alpha = mask(100, 100, (10, 90, 10, 90))
    colours = np.dstack([np.repeat(np.repeat(noise(10, 10), 10, 0), 10, 1)] * 3)
    alpha[40:60, 40:60] = 0
    other = colours.copy()
    other[40:60, 40:60] = 255
    assert measured(alpha, colours=colours).phash == measured(alpha, colours=other).phash


# ---- the pose ----


def keypoints(visible):
    return [value for number in range(17) for value in (10.0, 20.0, 1.0 if number in visible else 0.0)]


@pytest.mark.parametrize(
    ("category", "visible", "confidence"),
    [
        (FACE_AND_HAIR, {0, 1, 2, 3, 4}, 1.0),
        (FACE_AND_HAIR, {0, 5, 6, 7}, 0.2),
        (UPPER_BODY, {0, 1, 2, 3, 4, 5, 6, 11, 12}, 1.0),
        (UPPER_BODY, {7, 8, 9, 10, 13, 15}, 0.0),
        (FULL_BODY, set(range(17)), 1.0),
        (FULL_BODY, {15, 16}, 2 / 17),
    ],
)
def test_pose_is_the_mean_confidence_of_what_the_category_shows(category, visible, confidence):
    assert pose_confidence(category, keypoints(visible)) == pytest.approx(confidence)


def test_every_category_has_its_keypoints():
    assert {name: len(points) for name, points in CATEGORY_KEYPOINTS.items()} == dict(zip(CATEGORIES, (5, 9, 17), strict=True))
