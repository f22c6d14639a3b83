"""Images to a CLIP model's input: which part of them the model sees, and at what size."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from workflow_scripts.core.step import StepError

Pixels = npt.NDArray[np.uint8]
THINNEST = 100
RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True)
class Preprocess:
    """PIL image → model input, equal to open_clip's own transform up to the last step (normalisation, done on the device).

    Attributes:
        size: side of the model's square input in pixels.
        resize_mode: `shortest` (centre crop), `longest` (padded) or `squash`.
        interpolation: `bicubic` or `bilinear`.
        fill: grey level of the padding.
        tiles: two or three squares along the long side instead of one crop.
    """

    size: int
    resize_mode: str
    interpolation: str
    fill: int
    tiles: bool

    @classmethod
    def for_model(cls, preprocess_cfg: dict[str, Any], views: str) -> "Preprocess":
        """The model's own preprocessing, changed by the setting `views` (center, pad or tiles)."""
        size = preprocess_cfg["size"]
        height, width = (size, size) if isinstance(size, int) else size
        if height != width:
            raise StepError(f"the model takes {width}x{height} images; only square input is supported")
        mode = {"center": preprocess_cfg["resize_mode"], "pad": "longest", "tiles": "shortest"}[views]
        return cls(height, mode, preprocess_cfg["interpolation"], preprocess_cfg["fill_color"], views == "tiles")

    def __call__(self, image: Image.Image) -> Pixels:
        """The views of an RGB image, [views, size, size, 3] uint8."""
        squares = tile(image) if self.tiles else [image]
        return np.stack([np.asarray(self._fit(square)) for square in squares])

    def _fit(self, image: Image.Image) -> Image.Image:
        image = _not_too_thin(image)
        width, height = image.size
        if self.resize_mode == "squash":
            return image.resize((self.size, self.size), RESAMPLING[self.interpolation])
        if self.resize_mode == "longest":
            ratio = max(width, height) / self.size
            image = image.resize((max(1, round(width / ratio)), max(1, round(height / ratio))), RESAMPLING[self.interpolation])
            canvas = Image.new("RGB", (self.size, self.size), (self.fill,) * 3)
            canvas.paste(image, ((self.size - image.width) // 2, (self.size - image.height) // 2))
            return canvas
        long = int(self.size * max(width, height) / min(width, height))
        target = (self.size, long) if width <= height else (long, self.size)
        if image.size != target:
            image = image.resize(target, RESAMPLING[self.interpolation])
        left, top = (round((side - self.size) / 2.0) for side in target)
        return image.crop((left, top, left + self.size, top + self.size))


def tile(image: Image.Image) -> list[Image.Image]:
    """Squares along the long side that together show all of it, up to an aspect ratio of 3: one to three of them."""
    width, height = image.size
    side = min(width, height)
    count = min(3, math.ceil(max(width, height) / side))
    squares = []
    for number in range(count):
        offset = round((max(width, height) - side) * number / (count - 1)) if count > 1 else 0
        left, top = (offset, 0) if width >= height else (0, offset)
        squares.append(image.crop((left, top, left + side, top + side)))
    return squares


def _not_too_thin(image: Image.Image) -> Image.Image:
    """The middle of an image that is over a hundred times as long as wide: fitted whole, a line of pixels would take gigabytes."""
    width, height = image.size
    limit = THINNEST * min(width, height)
    if max(width, height) <= limit:
        return image
    left, top = max(0, (width - limit) // 2), max(0, (height - limit) // 2)
    return image.crop((left, top, left + min(width, limit), top + min(height, limit)))
