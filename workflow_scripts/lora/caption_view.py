"""The picture that a model sees when it is asked for a caption."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from workflow_scripts.core.images import DecodeError, decode, thumbnail

SHOWN_VERSION = 1  # bumped by hand when pictures change; captions are paid for anew then
SIDE = 768  # pixels of the longest side, at most
QUALITY = 90  # of JPEG
GREY = (128, 128, 128)
MARGIN = 0.05  # of the longer side of the subject's box, round it
FAINT = 16  # of 255: an alpha below is no part of the subject's box


@dataclass(frozen=True, slots=True)
class Picture:
    """What is to be described.

    Attributes:
        sha256: of the frame that it was made of.
        category: of the frame.
        path: of the subject or the composite.
        content: of that file.
        composite: whether it is the composite.
    """

    sha256: str
    category: str
    path: Path
    content: str
    composite: bool

    @classmethod
    def of(cls, row: dict[str, Any], root: Path, caption_on: str) -> "Picture":
        """The picture of a row of COMPOSITES; `caption_on`: subject or composite."""
        names = ("path", "file_sha256") if caption_on == "composite" else ("subject_path", "subject_sha256")
        path, content = (row[name] for name in names)
        return cls(row["sha256"], row["category"], root / path, content, caption_on == "composite")

    def jpeg(self) -> bytes:
        """What the model sees.

        Raises:
            DecodeError: the file is broken.
            OSError: it cannot be read.
        """
        data = self.path.read_bytes()
        return show_composite(data) if self.composite else show_subject(data)


def show_subject(data: bytes) -> bytes:
    """A cut-out subject on mid-grey, cropped to it with a little margin, as a JPEG; the same bytes for the same subject.

    Raises:
        DecodeError: the file is no PNG with an alpha channel, is broken, or nothing in it is opaque.
    """
    subject = _read_rgba(data)
    box = subject.getchannel("A").point([255 * (value >= FAINT) for value in range(256)]).getbbox()
    if box is None:
        raise DecodeError("empty mask")
    margin = round(MARGIN * max(box[2] - box[0], box[3] - box[1]))
    left, top = max(0, box[0] - margin), max(0, box[1] - margin)
    right, bottom = min(subject.width, box[2] + margin), min(subject.height, box[3] + margin)
    cropped = subject.crop((left, top, right, bottom))
    shown = Image.new("RGB", cropped.size, GREY)
    shown.paste(cropped, mask=cropped.getchannel("A"))
    return thumbnail(shown, SIDE, quality=QUALITY)


def show_composite(data: bytes) -> bytes:
    """A composite, made smaller where it is larger than need be, as a JPEG.

    Raises:
        DecodeError: the file is no image or is broken.
    """
    return thumbnail(decode(data).image, SIDE, quality=QUALITY)


def _read_rgba(data: bytes) -> Image.Image:
    try:
        image = PngImageFile(io.BytesIO(data))
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise DecodeError(f"broken subject: {' '.join(str(error).split())}") from error
    if image.mode != "RGBA":
        raise DecodeError(f"a subject of mode {image.mode} instead of RGBA")
    return image.copy()
