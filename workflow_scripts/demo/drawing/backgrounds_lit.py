"""Painters of backgrounds with lamp light: rooms, a kitchen, a studio, the night."""

import numpy as np

from workflow_scripts.demo.drawing.backdrop import Backdrop, background, ridge
from workflow_scripts.demo.drawing.palette import RGB, darker, jitter, lighter
from workflow_scripts.demo.drawing.seeds import pick

WALLS: tuple[RGB, ...] = (
    (232, 220, 202),
    (206, 216, 206),
    (210, 204, 222),
    (222, 196, 184),
    (196, 212, 222),
    (240, 234, 222),
)
BACKCLOTHS: tuple[RGB, ...] = (
    (196, 198, 204),
    (214, 194, 186),
    (150, 172, 188),
    (196, 182, 206),
    (176, 192, 172),
    (96, 100, 116),
)


def planks(pen: Backdrop, floor: float, colour: RGB) -> None:
    """Paint a boarded floor in perspective."""
    pen.band([(0, floor), (pen.aspect, floor)], colour)
    middle = pen.aspect / 2
    for x in np.linspace(-pen.aspect, 2 * pen.aspect, 22):
        pen.line([(middle + (x - middle) * 0.6, floor), (x, 1.0)], 0.004, darker(colour, 0.18))


def window(pen: Backdrop, x: float, y: float, sky: RGB) -> None:
    """Paint a window with its frame, its upper left corner at x, y."""
    width, height = 0.24, 0.3
    pen.box(x - 0.015, y - 0.015, x + width + 0.015, y + height + 0.015, (250, 248, 242))
    pen.box(x, y, x + width, y + height, sky)
    pen.box(x, y + height * 0.7, x + width, y + height, (150, 182, 134))
    pen.line([(x + width / 2, y), (x + width / 2, y + height)], 0.014, (250, 248, 242))
    pen.line([(x, y + height * 0.45), (x + width, y + height * 0.45)], 0.014, (250, 248, 242))


@background("room", "in a room", "an empty room", indoor=True)
def room(size: tuple[int, int], rng: np.random.Generator) -> tuple[Backdrop, float]:
    """Paint a living room with a window, a picture and a rug."""
    floor = rng.uniform(0.6, 0.7)
    wall = jitter(rng, pick(rng, WALLS), 6)
    pen = Backdrop(size, [(0, darker(wall, 0.08)), (floor, lighter(wall, 0.2)), (1, wall)])
    if rng.random() < 0.4:
        for x in np.arange(0.03, pen.aspect, 0.11):
            pen.box(x, 0, x + 0.045, floor, darker(wall, 0.045))
    if rng.random() < 0.75:
        window(pen, rng.uniform(0.05, 0.28) * pen.aspect, rng.uniform(0.1, 0.16), jitter(rng, (176, 208, 232), 10))
    if rng.random() < 0.7:
        x, y = rng.uniform(0.58, 0.8) * pen.aspect, rng.uniform(0.12, 0.24)
        inside = jitter(rng, pick(rng, BACKCLOTHS), 20)
        pen.box(x, y, x + 0.17, y + 0.13, (126, 90, 62))
        pen.box(x + 0.014, y + 0.014, x + 0.156, y + 0.116, lighter(inside, 0.5))
        pen.blob([(x + 0.02, y + 0.11), (x + 0.06, y + 0.06), (x + 0.1, y + 0.085), (x + 0.15, y + 0.11)], inside)
    planks(pen, floor, jitter(rng, pick(rng, [(184, 142, 102), (206, 172, 132), (150, 112, 84)]), 8))
    pen.box(0, floor - 0.022, pen.aspect, floor, lighter(wall, 0.6))
    if rng.random() < 0.5:
        pen.ellipse(pen.aspect * rng.uniform(0.35, 0.65), 0.87, 0.42, 0.085, jitter(rng, pick(rng, BACKCLOTHS), 14))
    return pen, floor + 0.07


@background("kitchen", "in a kitchen", "a kitchen", indoor=True)
def kitchen(size: tuple[int, int], rng: np.random.Generator) -> tuple[Backdrop, float]:
    """Paint a kitchen with tiles and cupboards."""
    floor, tile = rng.uniform(0.62, 0.7), jitter(rng, pick(rng, WALLS), 6)
    pen = Backdrop(size, [(0, tile), (floor, lighter(tile, 0.35)), (1, tile)])
    for y in np.arange(0.04, floor, 0.075):
        pen.line([(0, y), (pen.aspect, y)], 0.004, darker(tile, 0.12))
    for x in np.arange(rng.uniform(0, 0.07), pen.aspect, 0.075):
        pen.line([(x, 0), (x, floor)], 0.004, darker(tile, 0.12))
    door = jitter(rng, pick(rng, [(150, 176, 168), (232, 228, 218), (118, 140, 166), (206, 162, 128)]), 8)
    start = rng.uniform(0, 0.2)
    for x in np.arange(start - 0.3, pen.aspect, 0.3):
        for y0, y1 in ((0.0, 0.19), (floor - 0.22, floor)):
            pen.box(x, y0, x + 0.29, y1, door)
            pen.box(x + 0.025, y0 + 0.02, x + 0.265, y1 - 0.02, lighter(door, 0.18))
            pen.ellipse(x + 0.245, (y0 + y1) / 2, 0.008, 0.008, (240, 220, 160))
    pen.box(0, floor - 0.25, pen.aspect, floor - 0.215, jitter(rng, (232, 226, 216), 8))
    light, dark = jitter(rng, (222, 212, 198), 6), jitter(rng, (190, 180, 170), 8)
    pen.band([(0, floor), (pen.aspect, floor)], light)
    rows = np.array([0.0, 0.16, 0.4, 0.7, 1.0]) * (1 - floor) + floor
    middle = pen.aspect / 2
    for row in range(4):
        near, far = 1 + 0.6 * (rows[row + 1] - floor), 1 + 0.6 * (rows[row] - floor)
        for x in np.arange(-1.0 + 0.14 * (row % 2), pen.aspect + 1, 0.28) - middle:
            corners = [(middle + x * far, rows[row]), (middle + (x + 0.14) * far, rows[row])]
            corners += [(middle + (x + 0.14) * near, rows[row + 1]), (middle + x * near, rows[row + 1])]
            pen.polygon(corners, dark)
    return pen, floor + 0.08


@background("studio", "in a studio", "an empty room", indoor=True)
def studio(size: tuple[int, int], rng: np.random.Generator) -> tuple[Backdrop, float]:
    """Paint a seamless backcloth with a soft light."""
    cloth, floor = jitter(rng, pick(rng, BACKCLOTHS), 12), rng.uniform(0.6, 0.7)
    wall = [(0.0, darker(cloth, 0.22)), (floor - 0.08, lighter(cloth, 0.2))]
    pen = Backdrop(size, [*wall, (floor + 0.05, lighter(cloth, 0.08)), (1.0, darker(cloth, 0.1))])
    pen.glow(pen.aspect * rng.uniform(0.3, 0.7), 0.38, 0.6, lighter(cloth, 0.6), rng.uniform(0.3, 0.65))
    return pen, floor + 0.06


@background("night", "at night", "a night sky")
def night(size: tuple[int, int], rng: np.random.Generator) -> tuple[Backdrop, float]:
    """Paint a starry night with a moon and lit windows far away."""
    horizon = rng.uniform(0.5, 0.6)
    zenith, low = jitter(rng, (24, 28, 62), 8), jitter(rng, (78, 74, 128), 12)
    pen = Backdrop(size, [(0, zenith), (horizon, low), (1, (60, 60, 100))])
    for _ in range(40):
        r = rng.uniform(0.0015, 0.0045)
        pen.ellipse(rng.uniform(0, pen.aspect), rng.uniform(0, horizon), r, r, (244, 240, 220))
    x, y = rng.uniform(0.1, 0.9) * pen.aspect, rng.uniform(0.08, 0.22)
    pen.glow(x, y, 0.22, (196, 200, 230), 0.5)
    pen.ellipse(x, y, 0.055, 0.055, (246, 242, 220))
    if rng.random() < 0.5:
        pen.ellipse(x + 0.025, y - 0.012, 0.05, 0.05, (92, 92, 140))
    town = (44, 44, 84)
    for x in np.arange(-0.05, pen.aspect, 0.13):
        top = horizon - rng.uniform(0.0, 0.16)
        pen.box(x, top, x + rng.uniform(0.09, 0.15), horizon + 0.1, town)
        for _ in range(int(rng.integers(0, 4))):
            wx, wy = x + rng.uniform(0.02, 0.08), rng.uniform(top + 0.02, horizon + 0.02)
            pen.box(wx, wy, wx + 0.014, wy + 0.018, (250, 214, 130))
    pen.band(ridge(rng, pen.aspect, horizon + 0.04, 0.015), (58, 64, 96))
    pen.band(ridge(rng, pen.aspect, horizon + 0.14, 0.015), (70, 76, 106))
    return pen, horizon + 0.16
