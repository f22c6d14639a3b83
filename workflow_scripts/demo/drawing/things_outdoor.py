"""Painters of things that stand or move outdoors."""

import numpy as np

from workflow_scripts.demo.drawing.kinds import ThingPen, kind
from workflow_scripts.demo.drawing.palette import darker, lighter, mix
from workflow_scripts.demo.drawing.patterns import ROUND
from workflow_scripts.demo.drawing.specs import ThingSpec

GLASS = (178, 214, 232)
RUBBER = (44, 44, 50)
STEEL = (206, 208, 212)
WOOD = (124, 84, 54)


def wheel(pen: ThingPen, x: float, y: float, radius: float) -> None:
    """Paint a wheel with a hub cap."""
    pen.ellipse(x, y, radius, radius, RUBBER)
    pen.ellipse(x, y, radius * 0.58, radius * 0.58, STEEL)
    pen.ellipse(x, y, radius * 0.2, radius * 0.2, darker(STEEL, 0.4))


@kind("car", 2.1, 0.75, "vehicle")
def car(pen: ThingPen, spec: ThingSpec) -> None:
    """Paint a car seen from its side."""
    b = spec.build * 0.06
    top = [(0.45, 0.42), (0.66 - b, 0.06), (0.95, 0), (1.3 + b, 0.05), (1.6, 0.42)]
    pen.blob([*top, (1.1, 0.5)], darker(spec.rgb, 0.15))
    pen.blob([(0.55, 0.41), (0.71 - b, 0.12), (0.97, 0.08), (0.98, 0.41)], GLASS)
    pen.blob([(1.06, 0.41), (1.05, 0.08), (1.24 + b, 0.12), (1.46, 0.41)], GLASS)
    hull = [(0.03, 0.6), (0.1, 0.46), (0.5, 0.38), (1.1, 0.36), (1.6, 0.38), (2.0, 0.48), (2.08, 0.66), (2.0, 0.84)]
    pen.body([*hull, (1.1, 0.86), (0.1, 0.84)])
    pen.box(0.06, 0.78, 2.06, 0.84, darker(spec.rgb, 0.4), 0.03)
    pen.line([(1.02, 0.4), (1.02, 0.78)], 0.014, darker(spec.rgb, 0.35))
    pen.box(1.1, 0.5, 1.24, 0.53, lighter(spec.rgb, 0.5), 0.015)
    pen.ellipse(2.0, 0.58, 0.05, 0.06, (255, 240, 180))
    pen.ellipse(0.09, 0.6, 0.04, 0.05, (200, 60, 50))
    wheel(pen, 0.47, 0.8, 0.2)
    wheel(pen, 1.62, 0.8, 0.2)


@kind("house", 1.15, 2.2, "building")
def house(pen: ThingPen, spec: ThingSpec) -> None:
    """Paint a house with a gable roof."""
    eaves = 0.44 - spec.build * 0.05
    pen.box(0.82, 0.08, 0.93, 0.4, (150, 92, 78))
    pen.body([(0.1, eaves), (1.05, eaves), (1.05, 1), (0.1, 1)], curved=False)
    roof = spec.accent if spec.variant else (152, 84, 68)
    pen.polygon([(0.0, eaves + 0.03), (0.575, 0.01), (1.15, eaves + 0.03)], roof)
    pen.polygon([(0.575, 0.01), (1.15, eaves + 0.03), (1.02, eaves + 0.03)], darker(roof, 0.2))
    pen.box(0.48, 0.66, 0.68, 1, darker(WOOD, 0.1), 0.02)
    pen.ellipse(0.645, 0.84, 0.014, 0.014, (236, 206, 120))
    for x in (0.19, 0.77):
        pen.box(x - 0.015, 0.6, x + 0.205, 0.82, (246, 244, 238))
        pen.box(x, 0.615, x + 0.19, 0.805, (158, 198, 222))
        pen.line([(x + 0.095, 0.6), (x + 0.095, 0.82)], 0.016, (246, 244, 238))
        pen.line([(x, 0.71), (x + 0.19, 0.71)], 0.016, (246, 244, 238))
    pen.ellipse(0.575, 0.29, 0.06, 0.06, (158, 198, 222))


@kind("tree", 0.8, 1.9, "nature")
def tree(pen: ThingPen, spec: ThingSpec) -> None:
    """Paint a tree, broad-leaved or a fir."""
    pen.polygon([(0.34, 0.55), (0.46, 0.55), (0.5, 1), (0.3, 1)], WOOD)
    if spec.variant:
        for level, half in ((0.86, 0.36), (0.62, 0.29), (0.38, 0.21)):
            pen.polygon([(0.4 - half, level), (0.4, level - 0.38), (0.4 + half, level)], darker(spec.rgb, level * 0.22))
        return
    pen.limb((0.4, 0.72), (0.56, 0.52), 0.05, 0.03, WOOD)
    for x, y, r in ((0.2, 0.48, 0.19), (0.6, 0.46, 0.19), (0.4, 0.55, 0.2)):
        pen.ellipse(x, y, r, r, darker(spec.rgb, 0.2))
    pen.body(ROUND * (0.28 + spec.build * 0.03, 0.28) + (0.4, 0.3), curved=False)
    pen.ellipse(0.32, 0.2, 0.1, 0.08, lighter(spec.rgb, 0.18))


@kind("bicycle", 1.6, 0.62, "vehicle")
def bicycle(pen: ThingPen, spec: ThingSpec) -> None:
    """Paint a bicycle seen from its side."""
    for x in (0.36, 1.24):
        for angle in np.linspace(0, np.pi, 5)[:-1]:
            dx, dy = 0.3 * np.cos(angle), 0.3 * np.sin(angle)
            pen.line([(x - dx, 0.66 - dy), (x + dx, 0.66 + dy)], 0.008, STEEL)
        pen.arc(x, 0.66, 0.33, 0.33, (0, 360), 0.05, RUBBER)
        pen.ellipse(x, 0.66, 0.04, 0.04, STEEL)
    hub, seat, head = (0.76, 0.68), (0.6, 0.24), (1.1, 0.22)
    for start, end in ((hub, seat), (seat, head), (hub, head), (hub, (0.36, 0.66)), ((0.62, 0.3), (0.36, 0.66))):
        pen.limb(start, end, 0.065, 0.06, spec.rgb)
    pen.limb(head, (1.24, 0.66), 0.06, 0.05, spec.rgb)
    pen.limb((1.08, 0.08), head, 0.05, 0.05, STEEL)
    pen.limb((1.08, 0.08), (1.22, 0.06 + 0.05 * spec.variant), 0.05, 0.05, RUBBER)
    pen.limb((0.5, 0.16), (0.72, 0.16), 0.09, 0.05, spec.accent)
    pen.line([(0.6, 0.24), (0.6, 0.16)], 0.04, STEEL)
    pen.ellipse(0.76, 0.68, 0.07, 0.07, STEEL)


@kind("boat", 1.3, 1.1, "vehicle")
def boat(pen: ThingPen, spec: ThingSpec) -> None:
    """Paint a sailing boat."""
    pen.limb((0.62, 0.02), (0.62, 0.76), 0.025, 0.035, WOOD)
    pen.polygon([(0.66, 0.05), (1.14 + spec.build * 0.06, 0.66), (0.66, 0.66)], (250, 246, 236))
    pen.polygon([(0.58, 0.12), (0.2, 0.66), (0.58, 0.66)], spec.accent if spec.variant else (238, 232, 220))
    pen.body([(0.02, 0.74), (1.28, 0.74), (1.12, 0.96), (0.98, 1), (0.28, 1), (0.16, 0.94)], curved=False)
    pen.box(0.0, 0.71, 1.3, 0.765, lighter(spec.rgb, 0.45), 0.02)
    pen.polygon([(0.2, 0.95), (1.12, 0.95), (0.98, 1), (0.28, 1)], darker(spec.rgb, 0.3))


@kind("flower", 0.6, 0.42, "nature")
def flower(pen: ThingPen, spec: ThingSpec) -> None:
    """Paint a flower with stem and leaves."""
    stem = (86, 146, 78)
    pen.limb((0.3, 0.3), (0.31, 1), 0.035, 0.04, stem)
    pen.blob([(0.31, 0.86), (0.12, 0.74), (0.04, 0.6), (0.2, 0.66)], stem)
    pen.blob([(0.31, 0.78), (0.5, 0.66), (0.58, 0.52), (0.42, 0.58)], darker(stem, 0.15))
    count = 6 + 2 * spec.variant
    for turn in np.linspace(0, 2 * np.pi, count, endpoint=False):
        x, y = 0.3 + 0.17 * np.cos(turn), 0.28 + 0.17 * np.sin(turn)
        pen.ellipse(x, y, 0.11, 0.11, mix(spec.rgb, darker(spec.rgb, 0.2), (1 + np.sin(turn)) / 2))
    pen.body(ROUND * 0.17 + (0.3, 0.28), curved=False)
    pen.ellipse(0.3, 0.28, 0.085, 0.085, (250, 214, 90) if spec.colour != "yellow" else (140, 84, 44))


@kind("umbrella", 1.1, 0.9, "object")
def umbrella(pen: ThingPen, spec: ThingSpec) -> None:
    """Paint an open umbrella."""
    pen.limb((0.55, 0.06), (0.55, 0.93), 0.028, 0.028, WOOD)
    pen.arc(0.62, 0.92, 0.07, 0.07, (0, 180), 0.03, WOOD)
    arch = [(0.55 - 0.53 * np.cos(t), 0.5 - 0.46 * np.sin(t)) for t in np.linspace(0, np.pi, 19)]
    hem = [(1.08 - 0.265 * s, 0.5 - 0.06 * np.sin(np.pi * (s % 1))) for s in np.arange(0, 4, 0.25)]
    pen.body([*arch, *hem], curved=False)
    for x in (0.285, 0.55, 0.815):
        pen.line([(0.55, 0.04), ((0.55 + x) / 2 + (x - 0.55) * 0.3, 0.2), (x, 0.49)], 0.01, darker(spec.rgb, 0.3))
    pen.ellipse(0.55, 0.03, 0.02, 0.03, WOOD)
