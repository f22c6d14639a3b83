"""Painters of tall things that could be taken for a person at a glance."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from workflow_scripts.demo.drawing.canvas import Pen, shaded
from workflow_scripts.demo.drawing.palette import COLOURS, darker, jitter, lighter
from workflow_scripts.demo.drawing.seeds import pick

Painter = Callable[[Pen, np.random.Generator], None]


def lamp_post(pen: Pen, rng: np.random.Generator) -> None:
    """Paint a street lamp."""
    iron = jitter(rng, (70, 78, 84), 10)
    pen.limb((0.3, 0.18), (0.3, 0.98), 0.03, 0.045, iron)
    pen.box(0.2, 0.95, 0.4, 1.0, darker(iron, 0.3), 0.02)
    pen.polygon([(0.22, 0.06), (0.38, 0.06), (0.35, 0.2), (0.25, 0.2)], (255, 240, 186))
    pen.polygon([(0.18, 0.07), (0.3, 0.0), (0.42, 0.07)], iron)


def snowman(pen: Pen, rng: np.random.Generator) -> None:
    """Paint a snowman with a scarf."""
    white, scarf = (238, 242, 248), jitter(rng, pick(rng, list(COLOURS.values())))
    for y, r in ((0.78, 0.22), (0.46, 0.16), (0.22, 0.115)):
        pen.ellipse(0.3, y, r * 1.05, r, white)
    pen.limb((0.17, 0.42), (0.03, 0.28), 0.016, 0.01, (96, 70, 52))
    pen.limb((0.43, 0.42), (0.57, 0.3), 0.016, 0.01, (96, 70, 52))
    for x in (0.26, 0.34):
        pen.ellipse(x, 0.19, 0.014, 0.016, (40, 36, 40))
    pen.limb((0.3, 0.225), (0.37, 0.24), 0.03, 0.01, (236, 134, 50))
    pen.limb((0.2, 0.325), (0.4, 0.325), 0.05, 0.05, scarf)
    pen.limb((0.37, 0.33), (0.4, 0.48), 0.05, 0.045, scarf)
    pen.box(0.2, 0.09, 0.4, 0.125, (52, 48, 56), 0.01)
    pen.box(0.235, 0.0, 0.365, 0.1, (52, 48, 56))


def coat_stand(pen: Pen, rng: np.random.Generator) -> None:
    """Paint a coat stand with a coat and a hat."""
    wood, coat = (112, 78, 54), jitter(rng, pick(rng, list(COLOURS.values())))
    pen.limb((0.3, 0.05), (0.3, 0.93), 0.03, 0.035, wood)
    for x in (0.14, 0.3, 0.46):
        pen.limb((0.3, 0.88), (x, 0.98), 0.03, 0.025, wood)
    pen.blob([(0.3, 0.16), (0.44, 0.24), (0.49, 0.62), (0.43, 0.72), (0.17, 0.72), (0.11, 0.62), (0.16, 0.24)], coat)
    pen.line([(0.3, 0.2), (0.3, 0.72)], 0.01, darker(coat, 0.35))
    pen.limb((0.3, 0.08), (0.44, 0.03), 0.025, 0.02, wood)
    pen.ellipse(0.2, 0.085, 0.13, 0.03, darker(coat, 0.45))
    pen.box(0.125, 0.02, 0.275, 0.085, darker(coat, 0.35), 0.03)


def cactus(pen: Pen, rng: np.random.Generator) -> None:
    """Paint a cactus with two arms."""
    green = jitter(rng, (88, 142, 92), 14)
    for side, level in ((-1, rng.uniform(0.46, 0.6)), (1, rng.uniform(0.4, 0.6))):
        pen.limb((0.3, level), (0.3 + side * 0.19, level - 0.02), 0.1, 0.1, darker(green, 0.14))
        pen.limb((0.3 + side * 0.19, level), (0.3 + side * 0.19, level - 0.2), 0.1, 0.09, darker(green, 0.14))
    pen.limb((0.3, 0.12), (0.3, 0.99), 0.19, 0.18, green)
    for x in (0.25, 0.3, 0.35):
        pen.line([(x, 0.1), (x, 0.98)], 0.008, lighter(green, 0.3))


def parasol(pen: Pen, rng: np.random.Generator) -> None:
    """Paint a closed parasol or folded banner on a pole."""
    cloth = jitter(rng, pick(rng, list(COLOURS.values())))
    pen.limb((0.3, 0.02), (0.3, 0.98), 0.025, 0.03, (224, 220, 212))
    pen.blob([(0.3, 0.04), (0.36, 0.2), (0.4, 0.58), (0.3, 0.64), (0.2, 0.58), (0.24, 0.2)], cloth)
    pen.line([(0.3, 0.08), (0.33, 0.6)], 0.012, darker(cloth, 0.25))
    pen.box(0.2, 0.95, 0.4, 1.0, (120, 120, 126), 0.02)


def stool(pen: Pen, rng: np.random.Generator) -> None:
    """Paint a plain stool."""
    wood = jitter(rng, pick(rng, [(150, 104, 70), (206, 176, 138), (96, 104, 120)]), 10)
    for x in (0.12, 0.48):
        pen.limb((x, 0.15), (x + (x - 0.3) * 0.2, 0.97), 0.09, 0.07, darker(wood, 0.2))
    pen.box(0.03, 0.02, 0.57, 0.2, wood, 0.06)


DISTRACTORS: dict[str, Painter] = {
    "lamp post": lamp_post,
    "snowman": snowman,
    "coat stand": coat_stand,
    "cactus": cactus,
    "parasol": parasol,
}
WHERE: dict[str, tuple[str, ...]] = {
    "beach": ("parasol",),
    "street": ("lamp post", "parasol"),
    "snow": ("snowman", "lamp post"),
    "desert": ("cactus",),
    "room": ("coat stand",),
    "night": ("lamp post", "snowman"),
    "hills": ("parasol", "snowman"),
    "kitchen": ("coat stand",),
}


def prop_sprite(paint: Painter, rng: np.random.Generator, height: float) -> Image.Image:
    """Return a distractor or a seat as a shaded RGBA sprite, ``height`` final pixels high."""
    pen = Pen((0, -0.03, 0.6, 1.03), height)
    paint(pen, rng)
    return shaded(pen.finish())
