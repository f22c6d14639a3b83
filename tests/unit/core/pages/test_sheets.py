"""Thumbnails in sheets: each where the data says, whole, and nothing of its neighbours."""

import io

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.core.pages.sheets import BROKEN, CELL, COLUMNS, NONE, PER_SHEET, write_sheets


def encoded(size, colour, kind="JPEG"):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind, quality=95)
    return buffer.getvalue()


def cut(folder, place, size):
    """The part of a sheet that the page's script cuts out."""
    sheet = Image.open(folder / f"{place // PER_SHEET:03d}.webp")
    x, y = place % PER_SHEET % COLUMNS * CELL, place % PER_SHEET // COLUMNS * CELL
    return np.asarray(sheet.crop((x, y, x + size[0], y + size[1])), dtype=int)


def test_every_thumbnail_stands_in_its_cell(tmp_path):
    colours = [(place % 7 * 40, place % 5 * 60, place % 3 * 120) for place in range(213)]
    shapes = [(160, 120), (120, 160), (160, 160), (40, 30)]
    sizes = write_sheets(
        tmp_path / "sheets", [str(place) for place in range(213)], lambda key: encoded(shapes[int(key) % 4], colours[int(key)]), 2
    )
    assert sorted(path.name for path in (tmp_path / "sheets").iterdir()) == ["000.webp", "001.webp", "002.webp"]
    assert sizes == [shapes[place % 4] for place in range(213)]
    for place in (0, 1, 9, 10, 57, 99, 100, 199, 200, 212):
        part = cut(tmp_path / "sheets", place, sizes[place])
        wrong = np.abs(part - colours[place])
        assert wrong.mean() <= 6, f"thumbnail {place} is whole"
        assert wrong[1:-1, 1:-1].max() <= 30, f"thumbnail {place} has nothing of its neighbours"


def test_the_last_sheet_is_as_large_as_it_needs_to_be(tmp_path):
    for count, size in ((1, (160, 160)), (10, (1600, 160)), (11, (1600, 320)), (100, (1600, 1600))):
        write_sheets(tmp_path / str(count), [str(key) for key in range(count)], lambda key: encoded((20, 20), (9, 9, 9)), 1)
        assert Image.open(tmp_path / str(count) / "000.webp").size == size


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("given", "shown"), [((640, 480), (160, 120)), ((100, 1000), (16, 160)), ((1, 5000), (1, 160)), ((30, 20), (30, 20))]
)
def test_larger_pictures_are_shrunk_with_their_shape_and_small_ones_left(tmp_path, kind, given, shown):
    assert write_sheets(tmp_path / "sheets", ["a"], lambda key: encoded(given, (200, 30, 30), kind), 1) == [shown]
    assert np.abs(cut(tmp_path / "sheets", 0, shown) - (200, 30, 30)).max() <= 12


def test_what_is_missing_or_broken_leaves_its_cell_empty(tmp_path):
    data = {"a": None, "b": b"", "c": b"\xff\xd8\xff broken", "d": encoded((8, 8), (1, 2, 3))}
    assert write_sheets(tmp_path / "sheets", list(data), data.get, 1) == [NONE, BROKEN, BROKEN, (8, 8)]


def test_no_thumbnails_are_no_sheets(tmp_path):
    assert write_sheets(tmp_path / "sheets", [], lambda key: None, 2) == []
    assert list((tmp_path / "sheets").iterdir()) == []


def test_a_failing_thumbnail_ends_the_step(tmp_path):
    def fail(key):
        raise OSError(f"cannot read {key}")

    with pytest.raises(OSError, match="cannot read b"):
        write_sheets(tmp_path / "sheets", ["b"], fail, 2)
