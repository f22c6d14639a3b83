"""A crop proposal made valid: ordered, inside the image and not too small; every change is recorded."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any


@dataclass(frozen=True)
class Crop:
    """A proposal as it goes into the database, or why there is none.

    Attributes:
        coordinates: x1, y1, x2, y2 as parts of width and height, 0 ≤ x1 < x2 ≤ 1 and 0 ≤ y1 < y2 ≤ 1; None with an error.
        repairs: what was changed: `swapped`, `clamped` or `enlarged`, each with `x` or `y`; empty when nothing was.
        error: `crop: text`.
    """

    coordinates: tuple[float, float, float, float] | None
    repairs: tuple[str, ...] = ()
    error: str | None = None


def make_crop(raw: Sequence[Any], least: float) -> Crop:
    """Order, clamp and enlarge what the crop proposer gave.

    Args:
        raw: x1, y1, x2, y2.
        least: the shortest side, as a part of width and of height, above 0 and up to 1. A shorter side grows about its centre, and
            moves inside where it then ends outside.

    What is valid already comes back as it was.
    """
    values = list(raw)
    if len(values) != 4:
        return Crop(None, error=f"crop: {len(values)} numbers instead of 4")
    if not all(isinstance(value, Real) and math.isfinite(value) for value in values):
        return Crop(None, error=f"crop: not 4 finite numbers: {', '.join(map(str, values))}")
    x1, y1, x2, y2 = map(float, values)
    x1, x2, in_x = _repair(x1, x2, least)
    y1, y2, in_y = _repair(y1, y2, least)
    return Crop((x1, y1, x2, y2), tuple([f"{repair} x" for repair in in_x] + [f"{repair} y" for repair in in_y]))


def _repair(low: float, high: float, least: float) -> tuple[float, float, list[str]]:
    """One axis: both ends, and what was done to them."""
    repairs = []
    if low > high:
        low, high = high, low
        repairs.append("swapped")
    clamped = min(max(low, 0.0), 1.0), min(max(high, 0.0), 1.0)
    if clamped != (low, high):
        low, high = clamped
        repairs.append("clamped")
    if high - low < least:
        low, high = _enlarge((low + high) / 2, least)
        repairs.append("enlarged")
    return low, high, repairs


def _enlarge(centre: float, least: float) -> tuple[float, float]:
    """A side of the least length about a centre, as far as the image allows."""
    low = min(max(centre - least / 2, 0.0), 1.0 - least)
    high = min(low + least, 1.0)
    # Rounding can leave the side shorter by the last bit, and it would be enlarged again.
    while high - low < least:
        low, high = (low, math.nextafter(high, 1.0)) if high < 1.0 else (math.nextafter(low, 0.0), high)
    return low, high
