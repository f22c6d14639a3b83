"""What all backgrounds are painted with, and the register of them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from workflow_scripts.demo.drawing.canvas import Pen, Points, gradient
from workflow_scripts.demo.drawing.palette import RGB, jitter, lighter
from workflow_scripts.demo.drawing.seeds import pick

SKIES: tuple[tuple[RGB, RGB], ...] = (
    ((120, 182, 230), (222, 238, 246)),
    ((96, 160, 220), (246, 232, 208)),
    ((176, 196, 214), (232, 234, 232)),
    ((150, 148, 206), (252, 206, 172)),
    ((108, 190, 214), (240, 244, 226)),
)


class Backdrop(Pen):
    """A pen over the whole frame: x runs from 0 to ``aspect``, y from 0 to 1."""

    def __init__(self, size: tuple[int, int], stops: list[tuple[float, RGB]]) -> None:
        self.aspect = size[0] / size[1]
        base = gradient((size[0] * 2, size[1] * 2), stops)
        super().__init__((0, 0, self.aspect, 1), size[1], base, factor=2)

    def band(self, ridge: Points, fill: RGB) -> None:
        """Fill everything below a line that runs from the left edge to the right."""
        line = np.asarray(ridge, dtype=float)
        self.polygon(np.vstack([line, [(line[-1, 0], 1.01), (line[0, 0], 1.01)]]), fill)


Painter = Callable[[tuple[int, int], np.random.Generator], tuple[Backdrop, float]]


@dataclass(frozen=True)
class Background:
    """How one background is painted, where it is, and the words for it.

    Attributes:
        paint: returns the painted backdrop and the y (0..1) from which things can stand.
        phrase: as in "a cat on a beach".
        scene: what an empty picture of it is called.
        indoor: whether it is inside a building.
    """

    paint: Painter
    phrase: str
    scene: str
    indoor: bool


BACKGROUNDS: dict[str, Background] = {}


def background(name: str, phrase: str, scene: str, indoor: bool = False) -> Callable[[Painter], Painter]:
    """Register a painter under the background's name."""

    def register(paint: Painter) -> Painter:
        BACKGROUNDS[name] = Background(paint, phrase, scene, indoor)
        return paint

    return register


def ridge(rng: np.random.Generator, aspect: float, y: float, height: float, waves: float = 2.0) -> np.ndarray:
    """Return a rolling line across the frame round ``y``, as (n, 2)."""
    x = np.linspace(0, aspect, 40)
    phase = rng.uniform(0, 2 * np.pi, 3)
    roll = sum(np.sin(x * waves * (k + 1) + phase[k]) / (k + 1) for k in range(3))
    return np.column_stack([x, y + height * roll / 1.8])


def clouds(pen: Backdrop, rng: np.random.Generator, low: float, tint: RGB = (255, 255, 255)) -> None:
    """Paint a few clouds above ``low``."""
    for _ in range(int(rng.integers(0, 4))):
        x, y, s = rng.uniform(0, pen.aspect), rng.uniform(0.04, low * 0.55), rng.uniform(0.05, 0.1)
        for dx, dy, r in ((-1.1, 0.15, 0.6), (0, -0.1, 0.85), (0.9, 0.1, 0.65), (0.1, 0.3, 0.9)):
            pen.ellipse(x + dx * s, y + dy * s * 0.6, r * s, r * s * 0.5, lighter(tint, 0.2))


def outdoor(size: tuple[int, int], rng: np.random.Generator, horizon: float) -> tuple[Backdrop, RGB]:
    """Return a backdrop with sky, sun and clouds, and the sky's colour at the horizon."""
    top, low = (jitter(rng, colour, 8) for colour in pick(rng, SKIES))
    pen = Backdrop(size, [(0, top), (horizon, low), (1, low)])
    if rng.random() < 0.5:
        x, y = rng.uniform(0.1, 0.9) * pen.aspect, rng.uniform(0.06, 0.2)
        pen.glow(x, y, 0.2, (255, 246, 214), 0.7)
        pen.ellipse(x, y, 0.045, 0.045, (255, 246, 206))
    clouds(pen, rng, horizon)
    return pen, low
