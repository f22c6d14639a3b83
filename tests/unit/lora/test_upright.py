"""lora 01: how a decoded frame looks."""

from fractions import Fraction

import numpy as np
import pytest

from tests.unit.lora.video_data import write_video
from workflow_scripts.lora.frame_source import VideoReader
from workflow_scripts.lora.upright import upright, upright_size

av = pytest.importorskip("av")
BT709, BT601, UNTAGGED, LIMITED, FULL = 1, 5, 2, 1, 2
WEIGHTS = {BT709: (0.2126, 0.0722), BT601: (0.299, 0.114)}


@pytest.mark.parametrize("hflip", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_frames_are_turned_and_mirrored_as_players_show_them(tmp_path, rotation, hflip):
    path = write_video(tmp_path / "a.mp4", range(3), base=Fraction(1, 10), rotation=rotation, hflip=hflip)
    reader = VideoReader(path)
    (moment,) = reader.moments(1)
    image = upright(moment.frame)
    assert image.size == upright_size(moment.frame) == ((32, 48) if rotation in (90, 270) else (48, 32))
    pixels = np.asarray(image.convert("L")).astype(int)
    white, black = np.zeros((32, 48)), np.zeros((32, 48))
    white[:8, :8], black[:8, -8:] = 1, 1
    shown = [np.rot90(mask, rotation // 90) for mask in (white, black)]
    shown = [mask[:, ::-1] if hflip else mask for mask in shown]
    assert pixels[shown[0] == 1].mean() > 240
    assert pixels[shown[1] == 1].mean() < 12
    if not hflip:
        assert reader.rotation % 360 == rotation


def yuv(rgb, matrix, colour_range, bits):
    kr, kb = WEIGHTS[matrix]
    r, g, b = (value / 255 for value in rgb)
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v, scale = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr)), 1 << (bits - 8)
    if colour_range == FULL:
        most = 256 * scale - 1
        return round(y * most), round(u * most + 128 * scale), round(v * most + 128 * scale)
    return tuple(round(value * scale) for value in (16 + 219 * y, 128 + 224 * u, 128 + 224 * v))


def coloured(rgb, matrix, colour_range=LIMITED, bits=8, size=(66, 46), tag=None):
    frame = av.VideoFrame(*size, "yuv420p10le" if bits == 10 else "yuv420p")
    for plane, value in zip(frame.planes, yuv(rgb, matrix, colour_range, bits), strict=True):
        plane.update(np.full(plane.buffer_size * 8 // (16 if bits == 10 else 8), value, np.uint16 if bits == 10 else np.uint8).tobytes())
    frame.colorspace, frame.color_range = matrix if tag is None else tag, colour_range
    return frame


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("colour_range", [LIMITED, FULL])
@pytest.mark.parametrize("matrix", [BT709, BT601])
def test_colours_follow_the_matrix_the_range_and_the_depth_that_the_frame_is_tagged_with(matrix, colour_range, bits):
    for rgb in ((200, 60, 30), (20, 180, 90), (0, 0, 0), (255, 255, 255)):
        image = upright(coloured(rgb, matrix, colour_range, bits))
        assert np.abs(np.asarray(image).astype(int) - rgb).max() <= 2


@pytest.mark.parametrize(("height", "matrix"), [(576, BT601), (578, BT709)])
def test_untagged_colours_are_taken_as_players_take_them(height, matrix):
    image = upright(coloured((200, 60, 30), matrix, size=(32, height), tag=UNTAGGED))
    assert np.abs(np.asarray(image).astype(int) - (200, 60, 30)).max() <= 2


def test_odd_sizes_keep_their_last_row_and_column():
    image = upright(coloured((200, 60, 30), BT709, size=(67, 45)))
    assert image.size == (67, 45)
    assert np.abs(np.asarray(image).astype(int) - (200, 60, 30)).max() <= 2


def test_chroma_is_interpolated():
    frame = coloured((128, 128, 128), BT709, size=(64, 16))
    chroma = np.tile(np.repeat(np.array([90, 166], np.uint8), 16), 8)
    plane = frame.planes[1]
    rows = np.zeros((8, plane.line_size), np.uint8)
    rows[:, :32] = chroma.reshape(8, 32)
    plane.update(rows.tobytes())
    blue = np.asarray(upright(frame))[8, :, 2].astype(int)
    assert len(set(blue[28:36])) > 2
