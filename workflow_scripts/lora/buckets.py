"""A preview of how kohya's trainer (sd-scripts) sorts pictures into aspect-ratio buckets.

The rule is that of its `make_bucket_resolutions` and `BucketManager.select_bucket` with `bucket_no_upscale` off and steps of 64. Sides
go from 256, its default, to twice the resolution: its default of 1024 at most (`max_bucket_reso`) is for trainings at 512.
"""

import math
from dataclasses import dataclass

STEP = 64  # pixels
SHORTEST = 256


@dataclass(frozen=True, slots=True)
class Fit:
    """What becomes of a picture.

    Attributes:
        bucket: width and height in pixels.
        cropped: the part of the picture that is cut off, 0 to 1.
        enlarged: whether it is smaller than the trainer makes it.
    """

    bucket: tuple[int, int]
    cropped: float
    enlarged: bool


def buckets(resolution: int) -> list[tuple[int, int]]:
    """Widths and heights of all buckets, sorted: no larger than a square of the resolution.

    Args:
        resolution: of the training, in pixels, a multiple of `STEP`.
    """
    found = {(resolution, resolution)}
    for side in range(SHORTEST, 2 * resolution + 1, STEP):
        other = min(2 * resolution, resolution**2 // side // STEP * STEP)
        if other >= SHORTEST:
            found |= {(side, other), (other, side)}
    return sorted(found)


def fit(width: int, height: int, choices: list[tuple[int, int]]) -> Fit:
    """The bucket of a picture: the one of the nearest ratio, and the first of two that are as near.

    Args:
        width: of the picture.
        height: of the picture.
        choices: as of `buckets`.
    """
    ratio = width / height
    chosen = min(choices, key=lambda size: abs(size[0] / size[1] - ratio))
    scale = max(chosen[0] / width, chosen[1] / height)
    resized = math.floor(width * scale + 0.5) * math.floor(height * scale + 0.5)
    return Fit(chosen, 1 - chosen[0] * chosen[1] / resized, scale > 1)
