"""Named colours and the few operations on them that the painters share."""

from typing import TypeAlias

import numpy as np

RGB: TypeAlias = tuple[int, int, int]

COLOURS: dict[str, RGB] = {
    "red": (208, 52, 56),
    "orange": (238, 134, 44),
    "yellow": (246, 210, 70),
    "green": (78, 160, 88),
    "blue": (62, 114, 200),
    "purple": (136, 84, 176),
    "pink": (242, 148, 184),
    "brown": (134, 88, 56),
    "black": (48, 48, 56),
    "white": (244, 242, 236),
}
SKINS: tuple[RGB, ...] = (
    (250, 218, 194),
    (240, 196, 162),
    (224, 172, 132),
    (190, 134, 92),
    (146, 96, 64),
    (106, 68, 48),
)
HAIRS: dict[str, RGB] = {
    "black": (40, 34, 36),
    "brown": (98, 62, 40),
    "blond": (226, 188, 112),
    "red": (172, 82, 44),
    "gray": (172, 172, 176),
}


def mix(first: RGB, second: RGB, share: float) -> RGB:
    """Return the blend of two colours; ``share`` 0 is the first, 1 the second."""
    r, g, b = (round(x + (y - x) * share) for x, y in zip(first, second, strict=True))
    return r, g, b


def darker(colour: RGB, amount: float = 0.25) -> RGB:
    """Return the colour in shade; ``amount`` 0 leaves it, 1 is nearly black with a cool cast."""
    return mix(colour, (18, 14, 30), amount)


def lighter(colour: RGB, amount: float = 0.3) -> RGB:
    """Return the colour in light; ``amount`` 0 leaves it, 1 is a warm white."""
    return mix(colour, (255, 252, 240), amount)


def jitter(rng: np.random.Generator, colour: RGB, amount: int = 9) -> RGB:
    """Return a colour near the given one: each channel moves by at most ``amount`` of 255."""
    shift = rng.integers(-amount, amount + 1, size=3)
    r, g, b = (min(255, max(0, value + int(step))) for value, step in zip(colour, shift, strict=True))
    return r, g, b


def luminance(colour: RGB) -> float:
    """Return how light a colour is, 0 to 255."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
