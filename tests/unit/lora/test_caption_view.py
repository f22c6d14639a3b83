"""What the model sees: the subject alone, on grey, and no more of it than need be."""

import io

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.core.images import DecodeError
from workflow_scripts.lora.caption_view import GREY, SIDE, Picture, show_composite, show_subject


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def subject(width=400, height=300, box=(100, 50, 200, 250), alpha=255, colour=(200, 30, 30)):
    array = np.zeros((height, width, 4), np.uint8)
    array[..., :3] = (0, 255, 0)  # what was behind the subject: hidden, and to stay so
    left, top, right, bottom = box
    array[top:bottom, left:right] = (*colour, alpha)
    return array


def opened(data):
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    return np.asarray(image).astype(int)


def test_the_subject_fills_the_picture_but_for_a_margin_of_grey():
    shown = opened(show_subject(png(subject())))
    assert shown.shape == (220, 120, 3)  # a margin of 5 % of the longer side, 200
    assert np.abs(shown[110, 60] - (200, 30, 30)).max() < 6
    assert np.abs(shown[2, 2] - GREY).max() < 6
    assert shown[..., 1].max() < 150, "the hidden green of the old background shows"


def test_soft_edges_are_laid_over_grey():
    shown = opened(show_subject(png(subject(alpha=128))))
    assert np.abs(shown[110, 60] - (164, 79, 79)).max() < 6


def test_a_subject_at_the_edge_has_no_margin_there():
    assert opened(show_subject(png(subject(box=(0, 0, 400, 100))))).shape == (120, 400, 3)


def test_faint_pixels_far_off_do_not_count():
    array = subject()
    array[299, 399] = (1, 1, 1, 15)
    assert opened(show_subject(png(array))).shape == (220, 120, 3)
    array[299, 399, 3] = 16
    assert opened(show_subject(png(array))).shape != (220, 120, 3)


@pytest.mark.parametrize(("size", "wanted"), [((3000, 1500), (384, SIDE)), ((1500, 3000), (SIDE, 384)), ((200, 300), (300, 200))])
def test_the_longer_side_is_bounded_and_nothing_is_enlarged(size, wanted):
    width, height = size
    assert opened(show_subject(png(subject(width, height, (0, 0, width, height))))).shape[:2] == wanted
    assert opened(show_composite(png(subject(width, height)[..., :3]))).shape[:2] == wanted


def test_the_same_subject_gives_the_same_bytes():
    assert show_subject(png(subject())) == show_subject(png(subject()))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (png(subject(alpha=0)), "empty mask"),
        (png(subject()[..., :3]), "a subject of mode RGB instead of RGBA"),
        (png(subject())[:200], "broken subject"),
        (b"", "broken subject"),
        (b"\xff\xd8\xff", "broken subject"),
    ],
)
def test_what_is_no_subject_is_an_error_of_decoding(data, reason):
    with pytest.raises(DecodeError, match=f"^decode: {reason}"):
        show_subject(data)


def test_a_row_gives_the_subject_or_the_composite(tmp_path):
    row = {"sha256": "f", "category": "c", "path": "c.png", "file_sha256": "1", "subject_path": "s.png", "subject_sha256": "2"}
    (tmp_path / "s.png").write_bytes(png(subject()))
    (tmp_path / "c.png").write_bytes(png(subject()[..., :3]))
    shown = {kind: Picture.of(row, tmp_path, kind) for kind in ("subject", "composite")}
    assert {kind: picture.content for kind, picture in shown.items()} == {"subject": "2", "composite": "1"}
    assert opened(shown["subject"].jpeg()).shape == (220, 120, 3)
    assert opened(shown["composite"].jpeg()).shape == (300, 400, 3)
