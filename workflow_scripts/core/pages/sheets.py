"""Thumbnails packed into sheets: one file for a hundred of them."""

import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from workflow_scripts.core.images import DecodeError, decode

CELL = 160  # pixels; whole blocks of WebP, so that none mixes two thumbnails
COLUMNS = 10
PER_SHEET = COLUMNS * COLUMNS
_BLOCK = 16  # pixels that WebP encodes together
_QUALITY = 75
_METHOD = 1  # of WebP: 0 is fastest

Size = tuple[int, int]
NONE: Size = (0, 0)
BROKEN: Size = (-1, -1)


def write_sheets(folder: Path, keys: Sequence[str], thumbnail: Callable[[str], bytes | None], threads: int) -> list[Size]:
    """Write `000.webp`, `001.webp`, ... into a new folder; the same files for any number of threads.

    Args:
        folder: to be made.
        keys: of the pictures, in the order to pack them.
        thumbnail: gives the encoded picture of a key, or None when there is none.
        threads: how many sheets are made at a time.

    Returns:
        the size of each thumbnail, `NONE` or `BROKEN` where it is missing.
    """
    folder.mkdir()
    starts = range(0, len(keys), PER_SHEET)

    def one(start: int) -> list[Size]:
        return _write_sheet(folder / f"{start // PER_SHEET:03d}.webp", keys[start : start + PER_SHEET], thumbnail)

    with ThreadPoolExecutor(max(1, threads)) as pool:
        return [size for sizes in pool.map(one, starts) for size in sizes]


def _write_sheet(path: Path, keys: Sequence[str], thumbnail: Callable[[str], bytes | None]) -> list[Size]:
    rows = -(-len(keys) // COLUMNS)
    sheet = Image.new("RGB", (CELL * min(len(keys), COLUMNS), CELL * rows), (128, 128, 128))
    sizes = []
    for place, key in enumerate(keys):
        data = thumbnail(key)
        picture = _small(data) if data is not None else None
        if picture is not None:
            _paste(sheet, picture, place % COLUMNS * CELL, place // COLUMNS * CELL)
        sizes.append(picture.size if picture else NONE if data is None else BROKEN)
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=_QUALITY, method=_METHOD)
    write_file(path, buffer.getvalue())
    return sizes


def _paste(sheet: Image.Image, picture: Image.Image, x: int, y: int) -> None:
    """Put a picture into a cell and draw its edges out over the block that they end in, or the ground would shine through there."""
    width, height = picture.size
    right, down = min(CELL, width + _BLOCK), min(CELL, height + _BLOCK)
    sheet.paste(picture, (x, y))
    if right > width:
        edge = picture.crop((width - 1, 0, width, height))
        sheet.paste(edge.resize((right - width, height), Image.Resampling.NEAREST), (x + width, y))
    if down > height:
        edge = sheet.crop((x, y + height - 1, x + right, y + height))
        sheet.paste(edge.resize((right, down - height), Image.Resampling.NEAREST), (x, y + height))


def _small(data: bytes) -> Image.Image | None:
    """The picture within a cell; None when it cannot be read."""
    try:
        image = decode(data, min_side=CELL).image
    except DecodeError:
        return None
    scale = CELL / max(image.size)
    if scale >= 1:
        return image
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BOX, reducing_gap=2.0)


def write_file(path: Path, data: bytes) -> None:
    """Write a file and have it on the disk."""
    with path.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
