"""Painters of household things."""

import numpy as np

from workflow_scripts.demo.drawing.canvas import symmetric
from workflow_scripts.demo.drawing.kinds import ThingPen, kind
from workflow_scripts.demo.drawing.palette import darker, lighter
from workflow_scripts.demo.drawing.patterns import ROUND
from workflow_scripts.demo.drawing.specs import ThingSpec

WOOD = (140, 96, 62)
METAL = (150, 152, 158)


@kind("bottle", 0.36, 0.36, "object")
def bottle(pen: ThingPen, spec: ThingSpec) -> None:
    """Paint a bottle with a label."""
    neck = 0.36 + spec.build * 0.05
    side = [(0.23, 0.1), (0.23, neck - 0.08), (0.34, neck + 0.08), (0.35, 0.95), (0.31, 1)]
    pen.body(symmetric(side, 0.18), curved=False)
    pen.box(0.115, 0.01, 0.245, 0.11, spec.accent if spec.variant else (60, 56, 60), 0.02)
    pen.box(0.015, 0.58, 0.345, 0.82, (248, 242, 226))
    pen.box(0.08, 0.65, 0.28, 0.69, darker(spec.accent, 0.1))
    pen.box(0.08, 0.73, 0.22, 0.76, (150, 144, 138))
    pen.limb((0.075, neck + 0.1), (0.065, 0.54), 0.03, 0.03, lighter(spec.rgb, 0.55))


@kind("chair", 0.62, 0.6, "object")
def chair(pen: ThingPen, spec: ThingSpec) -> None:
    """Paint a chair at a slight angle."""
    back = darker(spec.rgb, 0.3)
    for x, top, foot in ((0.1, 0.58, 0.9), (0.5, 0.58, 0.9)):
        pen.limb((x, top), (x + 0.02, foot), 0.05, 0.04, back)
    pen.limb((0.08, 0.04), (0.09, 0.56), 0.06, 0.06, back)
    pen.limb((0.5, 0.04), (0.51, 0.56), 0.06, 0.06, back)
    low = 0.44 if spec.variant else 0.2 + spec.build * 0.04
    pen.body([(0.06, 0.03), (0.52, 0.03), (0.52, low), (0.06, low)], curved=False)
    if not spec.variant:
        for x in (0.19, 0.3, 0.4):
            pen.limb((x, 0.16), (x, 0.55), 0.035, 0.035, spec.rgb)
    pen.polygon([(0.08, 0.52), (0.52, 0.52), (0.6, 0.64), (0.02, 0.64)], spec.rgb)
    pen.polygon([(0.02, 0.64), (0.6, 0.64), (0.6, 0.69), (0.02, 0.69)], darker(spec.rgb, 0.2))
    for x in (0.05, 0.57):
        pen.limb((x, 0.68), (x, 0.98), 0.055, 0.045, spec.rgb)


@kind("lamp", 0.6, 0.7, "object")
def lamp(pen: ThingPen, spec: ThingSpec) -> None:
    """Paint a lamp with a shade."""
    pen.limb((0.3, 0.4), (0.3, 0.94), 0.035, 0.035, METAL)
    if spec.variant:
        pen.blob([(0.3, 0.5), (0.42, 0.62), (0.4, 0.84), (0.3, 0.94), (0.2, 0.84), (0.18, 0.62)], spec.accent)
    pen.box(0.14, 0.94, 0.46, 1, darker(METAL, 0.3), 0.03)
    width = 0.13 + 0.04 * spec.build
    pen.ellipse(0.3, 0.42, 0.27, 0.05, (255, 240, 190))
    pen.body([(0.3 - width, 0.02), (0.3 + width, 0.02), (0.58, 0.42), (0.02, 0.42)], curved=False)
    pen.box(0.3 - width, 0.01, 0.3 + width, 0.04, darker(spec.rgb, 0.25))


@kind("ball", 1.0, 0.26, "object")
def ball(pen: ThingPen, spec: ThingSpec) -> None:
    """Paint a ball with panels or a bright side."""
    pen.body(ROUND * 0.49 + (0.5, 0.5), curved=False)
    if spec.variant:
        for side in (-1, 1):
            seam = [(0.5 + side * (0.42 - 0.24 * np.cos(t * np.pi / 2)), 0.5 + 0.25 * t) for t in np.linspace(-1, 1, 9)]
            pen.line(seam, 0.022, darker(spec.rgb, 0.4))
    pen.glow(0.34, 0.28, 0.24, (255, 255, 250), 0.75)


@kind("book", 0.8, 0.3, "object")
def book(pen: ThingPen, spec: ThingSpec) -> None:
    """Paint a closed book that stands upright."""
    pen.polygon([(0.08, 0.06), (0.74, 0.0), (0.8, 0.05), (0.8, 0.93), (0.7, 1.0)], (250, 244, 228))
    for shift in (0.02, 0.045, 0.07):
        pen.line([(0.7 + shift, 0.06), (0.7 + shift, 0.99 - shift)], 0.006, (196, 186, 166))
    pen.body([(0.06, 0.06), (0.71, 0.06), (0.71, 1), (0.06, 1)], curved=False)
    pen.box(0.0, 0.06, 0.1, 1, darker(spec.rgb, 0.3), 0.02)
    top = 0.2 + 0.05 * spec.build
    pen.box(0.2, top, 0.62, top + 0.16, (250, 244, 228))
    pen.box(0.26, top + 0.045, 0.56, top + 0.07, (90, 84, 84))
    pen.box(0.3, top + 0.095, 0.52, top + 0.115, (140, 132, 130))
    if spec.variant:
        pen.ellipse(0.41, 0.68, 0.11, 0.11, spec.accent)


@kind("mug", 1.15, 0.2, "object")
def mug(pen: ThingPen, spec: ThingSpec) -> None:
    """Paint a mug with a handle."""
    pen.arc(0.82, 0.52, 0.29, 0.27, (0, 360), 0.09, darker(spec.rgb, 0.2))
    low = 0.1 + 0.05 * spec.build
    pen.body(symmetric([(0.83, 0.1), (0.85 - low, 0.94), (0.78 - low, 1)], 0.43), curved=False)
    pen.ellipse(0.43, 0.1, 0.4, 0.085, lighter(spec.rgb, 0.35))
    pen.ellipse(0.43, 0.11, 0.34, 0.06, (92, 58, 40) if spec.variant else (186, 132, 84))
    pen.limb((0.14, 0.3), (0.18, 0.78), 0.05, 0.05, lighter(spec.rgb, 0.5))


@kind("teapot", 1.5, 0.28, "object")
def teapot(pen: ThingPen, spec: ThingSpec) -> None:
    """Paint a teapot with spout, lid and handle."""
    pen.arc(0.3, 0.58, 0.27, 0.25, (70, 290), 0.075, darker(spec.rgb, 0.25))
    spout = [(1.05, 0.82), (1.1, 0.52), (1.28, 0.36), (1.46, 0.28), (1.5, 0.34), (1.36, 0.5), (1.26, 0.76)]
    pen.blob(spout, darker(spec.rgb, 0.12))
    b = spec.build * 0.05
    pen.body(symmetric([(0.84, 0.25 - b), (1.06, 0.36), (1.2, 0.62), (1.1, 0.88), (0.9, 0.98)], 0.74))
    pen.ellipse(0.74, 0.26, 0.27, 0.08, darker(spec.rgb, 0.25))
    pen.ellipse(0.74, 0.235, 0.25, 0.075, lighter(spec.rgb, 0.2))
    pen.ellipse(0.74, 0.12, 0.07, 0.07, spec.accent if spec.variant else darker(spec.rgb, 0.3))
    pen.box(0.56, 0.94, 0.92, 1.0, darker(spec.rgb, 0.3), 0.03)
    pen.ellipse(0.5, 0.52, 0.06, 0.13, lighter(spec.rgb, 0.5))


@kind("guitar", 0.44, 0.75, "object")
def guitar(pen: ThingPen, spec: ThingSpec) -> None:
    """Paint a guitar that stands upright."""
    waist = 0.13 + 0.02 * spec.build
    side = [(0.26, 0.5), (0.34, 0.53), (0.36, 0.62), (0.22 + waist, 0.7), (0.42, 0.82), (0.36, 0.96), (0.26, 1.0)]
    pen.body(symmetric(side, 0.22))
    pen.box(0.19, 0.14, 0.25, 0.66, darker(WOOD, 0.4))
    pen.polygon([(0.17, 0.02), (0.27, 0.02), (0.255, 0.15), (0.185, 0.15)], spec.accent if spec.variant else WOOD)
    for y in (0.05, 0.09, 0.13):
        pen.ellipse(0.15, y, 0.02, 0.012, METAL)
        pen.ellipse(0.29, y, 0.02, 0.012, METAL)
    pen.ellipse(0.22, 0.7, 0.065, 0.065, (44, 32, 28))
    pen.box(0.13, 0.86, 0.31, 0.885, darker(WOOD, 0.4))
    for x in (0.205, 0.22, 0.235):
        pen.line([(x, 0.1), (x, 0.87)], 0.005, (226, 220, 206))


@kind("clock", 1.0, 0.3, "object")
def clock(pen: ThingPen, spec: ThingSpec) -> None:
    """Paint an alarm clock."""
    for side in (-1, 1):
        pen.limb((0.5 + side * 0.2, 0.8), (0.5 + side * 0.3, 0.97), 0.08, 0.06, darker(spec.rgb, 0.3))
        if spec.variant:
            pen.ellipse(0.5 + side * 0.25, 0.12, 0.15, 0.11, darker(spec.rgb, 0.15))
    pen.body(ROUND * 0.43 + (0.5, 0.52), curved=False)
    pen.ellipse(0.5, 0.52, 0.31, 0.31, (252, 248, 238))
    for turn in np.linspace(0, 2 * np.pi, 12, endpoint=False):
        pen.ellipse(0.5 + 0.265 * np.sin(turn), 0.52 + 0.265 * np.cos(turn), 0.014, 0.014, (90, 86, 90))
    hour = 2 * np.pi * spec.density
    pen.limb((0.5, 0.52), (0.5 + 0.14 * np.sin(hour), 0.52 - 0.14 * np.cos(hour)), 0.035, 0.03, (50, 46, 50))
    minute = 12 * hour
    pen.limb((0.5, 0.52), (0.5 + 0.22 * np.sin(minute), 0.52 - 0.22 * np.cos(minute)), 0.025, 0.02, (50, 46, 50))
    pen.ellipse(0.5, 0.52, 0.03, 0.03, spec.accent)


@kind("vase", 0.6, 0.36, "object")
def vase(pen: ThingPen, spec: ThingSpec) -> None:
    """Paint a vase, empty or with twigs."""
    if spec.variant:
        for x in (0.12, 0.3, 0.5):
            pen.limb((0.3, 0.3), (x, 0.08), 0.016, 0.012, (104, 84, 60))
            pen.ellipse(x, 0.07, 0.055, 0.055, spec.accent)
    b = spec.build * 0.05
    side = [(0.4, 0.24), (0.38, 0.36), (0.52 + b, 0.56), (0.5 + b, 0.76), (0.4, 0.99)]
    pen.body(symmetric(side, 0.3))
    pen.ellipse(0.3, 0.24, 0.12, 0.03, darker(spec.rgb, 0.45))
    pen.limb((0.17 - b, 0.54), (0.17, 0.72), 0.035, 0.03, lighter(spec.rgb, 0.5))
