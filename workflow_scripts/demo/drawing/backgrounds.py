"""Painters of outdoor backgrounds."""

import numpy as np

from workflow_scripts.demo.drawing.backdrop import Backdrop, background, outdoor, ridge
from workflow_scripts.demo.drawing.palette import darker, jitter, lighter, mix
from workflow_scripts.demo.drawing.seeds import pick

FRONTS = ((214, 178, 150), (198, 202, 208), (226, 208, 176), (176, 128, 112), (168, 184, 186))
MEADOW_FLOWERS = ((252, 246, 214), (246, 214, 96), (240, 170, 180))


@background("beach", "on a beach", "a beach")
def beach(size: tuple[int, int], rng: np.random.Generator) -> tuple[Backdrop, float]:
    """Paint sea and sand."""
    horizon = rng.uniform(0.36, 0.48)
    pen, low = outdoor(size, rng, horizon)
    sea, shore = jitter(rng, (64, 150, 178), 14), horizon + rng.uniform(0.12, 0.2)
    for step in range(6):
        y = horizon + (shore - horizon) * step / 6
        pen.box(0, y, pen.aspect, 1, mix(mix(sea, low, 0.45), sea, step / 5))
    for _ in range(9):
        x, y = rng.uniform(0, pen.aspect), rng.uniform(horizon + 0.02, shore)
        pen.line([(x, y), (x + rng.uniform(0.04, 0.14), y)], 0.004, lighter(sea, 0.4))
    edge = ridge(rng, pen.aspect, shore, 0.014, 4)
    pen.band(edge - (0, 0.016), (246, 250, 248))
    sand = jitter(rng, (236, 214, 166), 8)
    pen.band(edge, darker(sand, 0.12))
    pen.band(np.add(edge, (0, 0.05)), sand)
    for _ in range(26):
        x, y = rng.uniform(0, pen.aspect), rng.uniform(shore + 0.08, 1)
        pen.ellipse(x, y, 0.012 * y, 0.004 * y, darker(sand, 0.1))
    return pen, shore + 0.08


@background("hills", "in the hills", "hills")
def hills(size: tuple[int, int], rng: np.random.Generator) -> tuple[Backdrop, float]:
    """Paint mountains and meadows."""
    horizon = rng.uniform(0.4, 0.52)
    pen, low = outdoor(size, rng, horizon)
    far = jitter(rng, (122, 146, 176), 12)
    if rng.random() < 0.6:
        for _ in range(4):
            x, w, h = rng.uniform(0, pen.aspect), rng.uniform(0.25, 0.5), rng.uniform(0.15, 0.3)
            peak = np.array([x, horizon - h])
            pen.polygon([peak, (x + w, horizon + 0.1), (x - w, horizon + 0.1)], mix(far, low, rng.uniform(0.1, 0.4)))
            cap = peak + np.array([(0, 0), (w * 0.2, h * 0.3), (0.02, h * 0.22), (-w * 0.18, h * 0.27)])
            pen.polygon(cap, (246, 248, 250))
    grass = jitter(rng, (122, 176, 92), 16)
    for level, share in ((0.0, 0.5), (0.07, 0.25), (0.17, 0.0)):
        pen.band(ridge(rng, pen.aspect, horizon + level, 0.035), mix(grass, mix(far, low, 0.5), share))
    for _ in range(int(rng.integers(10, 30))):
        x, y = rng.uniform(0, pen.aspect), rng.uniform(horizon + 0.28, 1)
        pen.ellipse(x, y, 0.006 * y, 0.006 * y, pick(rng, MEADOW_FLOWERS))
    return pen, horizon + 0.24


@background("forest", "in a forest", "a forest")
def forest(size: tuple[int, int], rng: np.random.Generator) -> tuple[Backdrop, float]:
    """Paint rows of tree trunks under leaves."""
    ground = rng.uniform(0.56, 0.66)
    leaf = jitter(rng, (104, 150, 96), 16)
    pen = Backdrop(size, [(0, lighter(leaf, 0.3)), (ground, lighter(leaf, 0.72)), (1, leaf)])
    pen.band(ridge(rng, pen.aspect, ground - 0.06, 0.02), mix(leaf, (214, 226, 200), 0.4))
    for row, share in enumerate((0.55, 0.3, 0.05)):
        trunk = mix(jitter(rng, (104, 80, 62), 10), lighter(leaf, 0.6), share)
        for _ in range(7 - row):
            x, w = rng.uniform(0, pen.aspect), 0.014 + 0.012 * row
            base = ground - 0.04 + 0.035 * row
            pen.polygon([(x - w * 0.7, 0), (x + w * 0.7, 0), (x + w * 1.3, base), (x - w * 1.3, base)], trunk)
        for x in np.arange(-0.05, pen.aspect + 0.1, 0.12):
            r = rng.uniform(0.09, 0.15)
            y = rng.uniform(0.0, 0.12) - 0.03 * row
            pen.ellipse(x, y, r, r * 0.8, mix(leaf, lighter(leaf, 0.6), share))
    moss = darker(jitter(rng, (128, 138, 80), 10), 0.12)
    pen.band(ridge(rng, pen.aspect, ground, 0.012, 3), moss)
    for _ in range(24):
        x, y = rng.uniform(0, pen.aspect), rng.uniform(ground + 0.03, 1)
        pen.limb((x, y), (x + rng.uniform(-0.02, 0.02), y - 0.03 * y), 0.008, 0.003, lighter(moss, rng.uniform(0, 0.25)))
    return pen, ground + 0.07


@background("street", "on a street", "a street")
def street(size: tuple[int, int], rng: np.random.Generator) -> tuple[Backdrop, float]:
    """Paint a row of buildings, pavement and road."""
    ground = rng.uniform(0.58, 0.66)
    pen, _ = outdoor(size, rng, ground)
    x = -rng.uniform(0, 0.2)
    while x < pen.aspect:
        width, top = rng.uniform(0.24, 0.44), rng.uniform(0.06, 0.34)
        wall = jitter(rng, pick(rng, FRONTS), 8)
        pen.box(x, top, x + width, ground, wall)
        pen.box(x, top, x + width, top + 0.025, darker(wall, 0.3))
        glass = pick(rng, [(116, 140, 162), (244, 222, 160), (150, 176, 196)])
        columns = int(width / 0.1)
        for wy in np.arange(top + 0.06, ground - 0.16, 0.115):
            for column in range(columns):
                wx = x + width * (column + 0.5) / columns
                pen.box(wx - 0.024, wy, wx + 0.024, wy + 0.066, glass)
        pen.box(x + width * 0.4, ground - 0.11, x + width * 0.4 + 0.06, ground, darker(wall, 0.5))
        x += width
    pavement = jitter(rng, (196, 192, 188), 6)
    pen.band([(0, ground), (pen.aspect, ground)], pavement)
    for tile in np.arange(0, pen.aspect, 0.16):
        pen.line([(tile, ground), (tile * 1.3 - pen.aspect * 0.15, ground + 0.17)], 0.004, darker(pavement, 0.15))
    pen.band([(0, ground + 0.16), (pen.aspect, ground + 0.16)], darker(pavement, 0.25))
    road = jitter(rng, (112, 112, 120), 6)
    pen.band([(0, ground + 0.18), (pen.aspect, ground + 0.18)], road)
    for dash in np.arange(rng.uniform(-0.1, 0), pen.aspect, 0.3):
        pen.box(dash, 0.915, dash + 0.16, 0.93, (232, 230, 220))
    return pen, ground + 0.05


@background("snow", "in the snow", "a snowy landscape")
def snow(size: tuple[int, int], rng: np.random.Generator) -> tuple[Backdrop, float]:
    """Paint a winter field with firs."""
    horizon = rng.uniform(0.44, 0.56)
    pen = Backdrop(size, [(0, jitter(rng, (166, 188, 212), 10)), (horizon, (232, 236, 242)), (1, (232, 236, 242))])
    white = jitter(rng, (240, 244, 250), 4)
    pen.band(ridge(rng, pen.aspect, horizon - 0.02, 0.04), darker(white, 0.16))
    for _ in range(int(rng.integers(4, 10))):
        x, h, y = rng.uniform(0, pen.aspect), rng.uniform(0.1, 0.24), horizon + rng.uniform(0.0, 0.05)
        fir = mix((70, 104, 96), (160, 184, 196), rng.uniform(0.1, 0.6))
        for level in (0.0, 0.3, 0.55):
            half = h * (0.3 - 0.24 * level)
            pen.polygon([(x - half, y - h * level), (x, y - h * (level + 0.45)), (x + half, y - h * level)], fir)
    pen.band(ridge(rng, pen.aspect, horizon + 0.05, 0.025), darker(white, 0.07))
    pen.band(ridge(rng, pen.aspect, horizon + 0.16, 0.03), white)
    for _ in range(50 if rng.random() < 0.6 else 0):
        r = rng.uniform(0.002, 0.006)
        pen.ellipse(rng.uniform(0, pen.aspect), rng.uniform(0, 1), r, r, (255, 255, 255))
    return pen, horizon + 0.2


@background("desert", "in the desert", "a desert")
def desert(size: tuple[int, int], rng: np.random.Generator) -> tuple[Backdrop, float]:
    """Paint dunes under a warm sky."""
    horizon = rng.uniform(0.42, 0.52)
    pen = Backdrop(size, [(0, jitter(rng, (140, 182, 206), 12)), (horizon, (250, 226, 184)), (1, (250, 226, 184))])
    pen.glow(rng.uniform(0.1, 0.9) * pen.aspect, rng.uniform(0.1, 0.3), 0.25, (255, 240, 200), 0.9)
    dune = jitter(rng, (224, 164, 98), 10)
    for level, share in ((-0.03, 0.5), (0.05, 0.3), (0.13, 0.12), (0.24, 0.0)):
        line = ridge(rng, pen.aspect, horizon + level, 0.045, 1.6)
        pen.band(line, darker(mix(dune, (250, 222, 178), share), 0.1))
        pen.band(np.add(line, (0, 0.022)), mix(dune, (250, 222, 178), share))
    return pen, horizon + 0.3
