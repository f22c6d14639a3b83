"""From a PIL image to the model's input: sizes, crops, padding, tiles. Equality with open_clip is shown where torch is at hand."""

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.core.preprocess import Preprocess, _not_too_thin, tile
from workflow_scripts.core.step import StepError

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
SIZES = [(1, 1), (1, 2), (1, 5000), (5000, 1), (2, 5000), (3, 4), (64, 48), (31, 33), (32, 32), (32, 33), (33, 32), (640, 480), (999, 10)]


def preprocess(mode, *, size=32, interpolation="bicubic", fill=0, tiles=False):
    return Preprocess(size, mode, interpolation, fill, tiles)


def stripes(size, *colours, down=False):
    """An image of equal stripes, from left to right or from top to bottom."""
    width, height = size
    image = Image.new("RGB", size)
    for number, colour in enumerate(colours):
        ends = [(height if down else width) * at // len(colours) for at in (number, number + 1)]
        image.paste(colour, (0, ends[0], width, ends[1]) if down else (ends[0], 0, ends[1], height))
    return image


def only(pixels, colour):
    return bool((pixels == colour).all())


# ---- preprocessing ----


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_any_image_becomes_one_square(mode, interpolation, size):
    found = preprocess(mode, interpolation=interpolation)(Image.new("RGB", size, (7, 80, 200)))
    assert found.shape == (1, 32, 32, 3)
    assert found.dtype == np.uint8
    if mode != "longest":
        assert only(found, (7, 80, 200))


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("ratio", [3, 4, 9, 100])
def test_shortest_shows_the_middle(down, ratio):
    size = (48, 48 * ratio) if down else (48 * ratio, 48)
    (found,) = preprocess("shortest")(stripes(size, RED, GREEN, BLUE, down=down))
    inner = found[2:-2] if down else found[:, 2:-2]  # interpolation reaches over the edge of a stripe
    assert only(inner, GREEN)


@pytest.mark.parametrize("down", [False, True])
def test_shortest_cuts_equal_parts_off(down):
    (found,) = preprocess("shortest")(stripes((64, 128) if down else (128, 64), RED, BLUE, down=down))
    lines = found if down else found.swapaxes(0, 1)
    assert only(lines[:14], RED)
    assert only(lines[18:], BLUE)


def test_an_image_of_the_right_size_is_not_resampled():
    noise = np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8)
    (found,) = preprocess("shortest")(Image.fromarray(noise))
    np.testing.assert_array_equal(found, noise[:, 4:36])
    (found,) = preprocess("shortest")(Image.fromarray(noise[:, :32]))
    np.testing.assert_array_equal(found, noise[:, :32])


@pytest.mark.parametrize(("width", "left"), [(33, 0), (34, 1), (35, 2), (36, 2), (37, 2), (38, 3)])
def test_half_pixels_of_the_crop_are_rounded_to_even(width, left):
    noise = np.random.default_rng(0).integers(0, 256, (32, width, 3), dtype=np.uint8)
    (found,) = preprocess("shortest")(Image.fromarray(noise))
    np.testing.assert_array_equal(found, noise[:, left : left + 32])


def test_squash_shows_everything():
    (found,) = preprocess("squash")(stripes((480, 16), RED, GREEN, BLUE))
    assert [tuple(found[16, at]) for at in (4, 16, 27)] == [RED, GREEN, BLUE]


@pytest.mark.parametrize("fill", [0, 114])
@pytest.mark.parametrize("down", [False, True])
def test_longest_shows_everything_between_bars(fill, down):
    (found,) = preprocess("longest", fill=fill)(stripes((24, 96) if down else (96, 24), RED, GREEN, BLUE, down=down))
    lines = found.swapaxes(0, 1) if down else found
    assert only(lines[:12], (fill,) * 3)
    assert only(lines[20:], (fill,) * 3)
    assert [tuple(lines[16, at]) for at in (3, 16, 28)] == [RED, GREEN, BLUE]
    assert not (lines[12:20] == fill).all(axis=-1).any()


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (5000, 3)], ids=str)
def test_longest_keeps_a_line_of_the_thinnest_image(size):
    (found,) = preprocess("longest", fill=9)(Image.new("RGB", size, RED))
    line = found[:, 15] if size[0] == 1 else found[15]
    assert only(line, RED)
    assert int((found == RED).all(axis=-1).sum()) == 32


@pytest.mark.parametrize(
    ("config", "views", "wanted"),
    [
        ({}, "center", Preprocess(64, "squash", "bilinear", 5, False)),
        ({}, "pad", Preprocess(64, "longest", "bilinear", 5, False)),
        ({}, "tiles", Preprocess(64, "shortest", "bilinear", 5, True)),
        ({"size": [48, 48], "resize_mode": "shortest"}, "center", Preprocess(48, "shortest", "bilinear", 5, False)),
    ],
)
def test_the_model_says_how_and_views_change_it(config, views, wanted):
    base = {"size": 64, "resize_mode": "squash", "interpolation": "bilinear", "fill_color": 5}
    assert Preprocess.for_model(base | config, views) == wanted


def test_a_model_whose_input_is_no_square_is_refused():
    config = {"size": [48, 64], "resize_mode": "squash", "interpolation": "bilinear", "fill_color": 5}
    with pytest.raises(StepError, match="the model takes 64x48 images; only square input is supported"):
        Preprocess.for_model(config, "center")


# ---- tiles ----


def columns(long, short, wide):
    """An image each of whose columns (or rows) along the long side has a colour of its own."""
    values = np.arange(long)
    line = np.stack([values % 256, values // 256, np.zeros_like(values)], axis=-1).astype(np.uint8)
    pixels = np.repeat(line[None], short, axis=0) if wide else np.repeat(line[:, None], short, axis=1)
    return Image.fromarray(pixels)


def shown(square, wide):
    line = np.asarray(square)[0] if wide else np.asarray(square)[:, 0]
    return [int(low) + 256 * int(high) for low, high, _ in line]


@pytest.mark.parametrize(
    ("long", "short", "count"),
    [
        (10, 10, 1),
        (11, 10, 2),
        (15, 10, 2),
        (20, 10, 2),
        (21, 10, 3),
        (29, 10, 3),
        (30, 10, 3),
        (31, 10, 3),
        (5000, 10, 3),
        (2, 1, 2),
        (5000, 1, 3),
    ],
)
@pytest.mark.parametrize("wide", [True, False])
def test_tiles_are_squares_along_the_long_side(long, short, count, wide):
    squares = tile(columns(long, short, wide))
    assert [square.size for square in squares] == [(short, short)] * count
    parts = [shown(square, wide) for square in squares]
    assert parts[0][0] == 0
    assert parts[-1][-1] == long - 1
    assert all(part == list(range(part[0], part[0] + short)) for part in parts)
    assert [part[0] for part in parts] == sorted(part[0] for part in parts)
    if long <= 3 * short:
        assert {at for part in parts for at in part} == set(range(long))
    elif count == 3:
        assert parts[1][0] == round((long - short) / 2)


def test_each_tile_is_fitted_to_the_model():
    found = preprocess("shortest", tiles=True)(stripes((90, 30), RED, GREEN, BLUE))
    assert found.shape == (3, 32, 32, 3)
    assert [only(view, colour) for view, colour in zip(found, (RED, GREEN, BLUE), strict=True)] == [True] * 3
    assert preprocess("shortest", tiles=True)(Image.new("RGB", (1, 5000))).shape == (3, 32, 32, 3)
    assert preprocess("shortest", tiles=True)(Image.new("RGB", (30, 30))).shape == (1, 32, 32, 3)


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1), (2, 150_000)])
def test_of_a_line_of_pixels_the_middle_is_seen_and_the_rest_takes_no_memory(size):
    image = Image.new("RGB", size, "white")
    image.putpixel((size[0] // 2, size[1] // 2), (255, 0, 0))
    assert max(_not_too_thin(image).size) == 100 * min(size)
    views = Preprocess(224, "shortest", "bicubic", 0, tiles=False)(image)
    assert views.shape == (1, 224, 224, 3)
    assert (views[0] == [255, 255, 255]).all(axis=-1).mean() < 0.6
