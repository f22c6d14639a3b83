"""Painters of animals and of things to eat."""

from itertools import pairwise

import numpy as np

from workflow_scripts.demo.drawing.canvas import symmetric
from workflow_scripts.demo.drawing.kinds import ThingPen, kind
from workflow_scripts.demo.drawing.palette import darker, lighter
from workflow_scripts.demo.drawing.patterns import ROUND
from workflow_scripts.demo.drawing.specs import ThingSpec

DARK = (40, 34, 38)
LEAF = (92, 156, 82)


def eye(pen: ThingPen, x: float, y: float, radius: float) -> None:
    """Paint an eye with a glint that shows on dark fur as well."""
    pen.ellipse(x, y, radius * 1.35, radius * 1.35, (250, 248, 240))
    pen.ellipse(x, y, radius, radius, DARK)
    pen.ellipse(x - radius * 0.3, y - radius * 0.35, radius * 0.35, radius * 0.35, (255, 255, 255))


@kind("cat", 0.85, 0.4, "animal")
def cat(pen: ThingPen, spec: ThingSpec) -> None:
    """Paint a sitting cat."""
    b = spec.build * 0.03
    tail = [(0.62, 0.94), (0.8, 0.86), (0.78, 0.64), (0.7 + 0.1 * spec.variant, 0.5)]
    for start, end in pairwise(tail):
        pen.limb(start, end, 0.08, 0.08, darker(spec.rgb, 0.15))
    pen.body(symmetric([(0.46, 0.43), (0.58 - b, 0.52), (0.68 - b, 0.8), (0.64, 0.98)], 0.4))
    for x in (0.3, 0.5):
        pen.ellipse(x, 0.96, 0.085, 0.045, lighter(spec.rgb, 0.25))
    for side in (-1, 1):
        x = 0.4 + side * 0.17
        pen.polygon([(x - 0.1, 0.2), (x + side * 0.06, 0.0), (x + 0.1, 0.2)], spec.rgb)
        pen.polygon([(x - 0.05, 0.18), (x + side * 0.04, 0.06), (x + 0.05, 0.18)], (232, 160, 160))
    pen.ellipse(0.4, 0.3, 0.27, 0.21, spec.rgb)
    pen.ellipse(0.4, 0.38, 0.13, 0.09, lighter(spec.rgb, 0.4))
    for x in (0.29, 0.51):
        eye(pen, x, 0.28, 0.04)
    pen.polygon([(0.37, 0.345), (0.43, 0.345), (0.4, 0.375)], (226, 120, 130))
    whisker = (250, 248, 240) if sum(spec.rgb) < 380 else (90, 80, 80)
    for side in (-1, 1):
        for drop in (0.36, 0.41):
            pen.line([(0.4 + side * 0.12, 0.38), (0.4 + side * 0.36, drop)], 0.009, whisker)


@kind("dog", 1.25, 0.5, "animal")
def dog(pen: ThingPen, spec: ThingSpec) -> None:
    """Paint a standing dog seen from its side."""
    back = darker(spec.rgb, 0.2)
    for x in (0.42, 0.9):
        pen.limb((x, 0.66), (x, 0.96), 0.12, 0.09, back)
    pen.limb((0.28, 0.46), (0.08, 0.22 + 0.1 * spec.variant), 0.09, 0.05, spec.rgb)
    pen.body([(0.24, 0.46), (0.5, 0.38), (0.86, 0.36), (0.98, 0.5), (0.94, 0.72), (0.6, 0.76), (0.3, 0.74), (0.2, 0.6)])
    for x in (0.33, 0.83):
        pen.limb((x, 0.66), (x, 0.96), 0.14, 0.1, spec.rgb)
        pen.ellipse(x + 0.02, 0.965, 0.075, 0.035, lighter(spec.rgb, 0.25))
    pen.limb((0.88, 0.48), (0.96, 0.3), 0.24, 0.2, spec.rgb)
    pen.ellipse(0.97, 0.23, 0.17, 0.16, spec.rgb)
    pen.limb((1.02, 0.28), (1.14, 0.3), 0.17, 0.12, lighter(spec.rgb, 0.2))
    pen.ellipse(1.19, 0.265, 0.045, 0.04, DARK)
    eye(pen, 1.02, 0.18, 0.032)
    drop = 0.36 + spec.build * 0.05
    pen.blob([(0.86, 0.1), (0.94, 0.14), (0.92, drop), (0.82, drop + 0.03), (0.78, 0.24)], darker(spec.rgb, 0.35))
    pen.limb((0.83, 0.42), (1.02, 0.45), 0.05, 0.05, spec.accent)


@kind("fish", 1.6, 0.3, "animal")
def fish(pen: ThingPen, spec: ThingSpec) -> None:
    """Paint a fish."""
    fin = darker(spec.rgb, 0.22)
    b = spec.build * 0.06
    pen.blob([(0.4, 0.5), (0.1, 0.12), (0.02, 0.14), (0.16, 0.5), (0.02, 0.86), (0.1, 0.88)], fin)
    pen.blob([(0.7, 0.24), (0.86, 0.0), (1.1, 0.06), (1.14, 0.24)], fin)
    pen.blob([(0.8, 0.78), (0.86, 0.98), (1.02, 0.92), (1.02, 0.78)], fin)
    back, belly = [(0.6, 0.2 + b), (1.0, 0.12 + b), (1.4, 0.3)], [(1.4, 0.7), (1.0, 0.88 - b), (0.6, 0.78 - b)]
    pen.body([(0.3, 0.5), *back, (1.57, 0.5), *belly])
    pen.blob([(0.95, 0.52), (0.76, 0.46), (0.7, 0.58), (0.8, 0.64)], fin)
    pen.arc(1.06, 0.5, 0.14, 0.28, (-60, 60), 0.02, fin)
    eye(pen, 1.36, 0.42, 0.055)
    pen.arc(1.5, 0.56, 0.07, 0.05, (60, 180), 0.018, DARK)


@kind("apple", 0.95, 0.2, "food")
def apple(pen: ThingPen, spec: ThingSpec) -> None:
    """Paint an apple with stalk and leaf."""
    b = spec.build * 0.03
    side = [(0.475, 0.27), (0.64, 0.2), (0.84 - b, 0.27), (0.93 - b, 0.5), (0.84, 0.82), (0.66, 0.98), (0.475, 0.94)]
    pen.body(symmetric(side, 0.475))
    pen.ellipse(0.475, 0.25, 0.12, 0.04, darker(spec.rgb, 0.4))
    pen.limb((0.475, 0.27), (0.52, 0.05), 0.035, 0.045, (104, 70, 46))
    pen.blob([(0.52, 0.16), (0.6, 0.03), (0.8, 0.02), (0.72, 0.15)], LEAF)
    pen.ellipse(0.25, 0.42, 0.06, 0.1, lighter(spec.rgb, 0.6))


@kind("cake", 1.1, 0.3, "food")
def cake(pen: ThingPen, spec: ThingSpec) -> None:
    """Paint a cake with coloured icing and candles on a plate."""
    pen.ellipse(0.55, 0.92, 0.54, 0.08, (226, 228, 232))
    pen.ellipse(0.55, 0.905, 0.5, 0.065, (250, 250, 250))
    pen.body(symmetric([(0.96, 0.42), (0.96, 0.86), (0.8, 0.91), (0.6, 0.924)], 0.55), curved=False)
    pen.ellipse(0.55, 0.42, 0.41, 0.1, lighter(spec.rgb, 0.35))
    for x in np.linspace(0.18, 0.92, 7):
        pen.ellipse(x, 0.47 + 0.04 * np.sin(np.pi * (x - 0.14) / 0.82), 0.065, 0.075, lighter(spec.rgb, 0.35))
    for x in (0.32, 0.55, 0.78) if spec.variant else (0.42, 0.68):
        pen.limb((x, 0.2), (x, 0.4), 0.045, 0.045, spec.accent)
        pen.ellipse(x, 0.1, 0.03, 0.06, (252, 178, 60))
        pen.ellipse(x, 0.115, 0.015, 0.035, (255, 236, 150))


@kind("mushroom", 0.95, 0.3, "food")
def mushroom(pen: ThingPen, spec: ThingSpec) -> None:
    """Paint a mushroom."""
    pen.blob([(0.36, 0.45), (0.59, 0.45), (0.6, 0.8), (0.68, 0.97), (0.27, 0.97), (0.35, 0.8)], (240, 226, 200))
    pen.ellipse(0.475, 0.5, 0.4, 0.075, (216, 196, 164))
    cap = ROUND[(ROUND[:, 1] <= 0.01)] * (0.46, 0.48 + spec.build * 0.02) + (0.475, 0.5)
    pen.body(cap, curved=False)
    pen.ellipse(0.28, 0.22, 0.07, 0.05, lighter(spec.rgb, 0.4))
