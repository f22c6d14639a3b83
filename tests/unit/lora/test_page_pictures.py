"""lora: the small pictures of its pages: which file gives which, what shows where a subject is transparent, and when there is none."""

import io

import pytest
from PIL import Image

from tests.unit.lora.pages_data import jpeg, png, sha256
from workflow_scripts.lora.page_pictures import GREYS, SQUARE, Pictures, on_ground, plain, subject


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def pictures_of(root):
    return Pictures(root, str(root.parent / "cache"))


def put(root, name, data):
    (root / name).write_bytes(data)
    return sha256(data)


def opened(data):
    return Image.open(io.BytesIO(data)).convert("RGB")


def half_cut_out(colour=(200, 0, 0), hidden=(0, 255, 0)):
    """The left half there, the right half cut away but still in the file."""
    image = Image.new("RGBA", (64, 48), (*colour, 255))
    image.paste((*hidden, 0), (32, 0, 64, 48))
    return image


def test_what_is_cut_away_shows_grey_squares_and_none_of_its_colours():
    found = on_ground(half_cut_out())
    assert found.size == (64, 48)
    assert found.getpixel((10, 10)) == (200, 0, 0)
    squares = {found.getpixel((x, y)) for x in range(32, 64) for y in range(48)}
    assert squares == {(grey,) * 3 for grey in GREYS}
    assert found.getpixel((40, 0)) != found.getpixel((40 + SQUARE, 0))
    assert found.getpixel((40, 0)) != found.getpixel((40, SQUARE))


def test_a_large_subject_is_shrunk_without_a_fringe_of_what_was_cut_away():
    found = on_ground(half_cut_out().resize((640, 480), Image.Resampling.NEAREST))
    assert found.size == (160, 120)
    green = [found.getpixel((x, 60))[1] for x in range(160)]
    assert max(green) <= max(GREYS)


def test_black_hair_and_white_cloth_both_stand_out():
    for colour in ((0, 0, 0), (255, 255, 255)):
        assert all(abs(colour[0] - grey) >= 90 for grey in GREYS)


def test_a_frame_is_shown_as_it_is_and_a_subject_on_its_ground(root):
    frame = put(root, "frame.jpg", jpeg(Image.new("RGB", (320, 240), (10, 200, 30))))
    mask = put(root, "mask.png", png(half_cut_out()))
    pictures = pictures_of(root)
    assert opened(pictures(plain(frame, "frame.jpg"))).size == (160, 120)
    shown = opened(pictures(subject(mask, "mask.png")))
    assert abs(shown.getpixel((60, 40))[1] - shown.getpixel((60, 40))[0]) < 12, "grey"
    assert pictures.made == 2


def test_the_same_content_may_be_shown_both_ways(root):
    mask = put(root, "mask.png", png(half_cut_out()))
    first = pictures_of(root)
    as_it_is = first(plain(mask, "mask.png"))
    first.flush()
    assert pictures_of(root)(subject(mask, "mask.png")) != as_it_is


def test_what_was_made_once_comes_from_the_cache_though_the_file_is_gone(root):
    frame, mask = put(root, "a.jpg", jpeg(Image.new("RGB", (30, 20)))), put(root, "a.png", png(half_cut_out()))
    keys = plain(frame, "a.jpg"), subject(mask, "a.png")
    first = pictures_of(root)
    made = [first(key) for key in keys]
    first.flush()
    for name in ("a.jpg", "a.png"):
        (root / name).unlink()
    again = pictures_of(root)
    assert [again(key) for key in keys] == made
    assert again.made == 0


@pytest.mark.parametrize("kind", [plain, subject])
def test_a_file_that_is_gone_replaced_or_broken_gives_no_picture(root, kind):
    whole = png(half_cut_out())
    content = put(root, "a.png", whole)
    (root / "a.png").write_bytes(png(half_cut_out(colour=(1, 2, 3))))
    broken = put(root, "broken.png", whole[: len(whole) // 2])
    text = put(root, "text.png", b"no picture")
    pictures = pictures_of(root)
    for sha, name in ((content, "a.png"), (content, "gone.png"), (broken, "broken.png"), (text, "text.png")):
        assert pictures(kind(sha, name)) is None, name
    assert pictures.made == 0


def test_names_with_spaces_and_newlines_are_found(root):
    name = " a b\n'c\".png"
    assert pictures_of(root)(subject(put(root, name, png(half_cut_out())), name)) is not None


@pytest.mark.parametrize("kind", [plain, subject])
def test_without_a_file_there_is_no_key(kind):
    assert kind(None, "a.png") is None
    assert kind("0" * 64, None) is None
