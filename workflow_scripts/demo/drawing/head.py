"""Painter of heads: hair, face, beard, glasses and hats."""

import numpy as np

from workflow_scripts.demo.drawing.canvas import Pen, Points, symmetric
from workflow_scripts.demo.drawing.palette import RGB, darker, lighter, mix
from workflow_scripts.demo.drawing.patterns import ROUND
from workflow_scripts.demo.drawing.specs import PersonSpec

INK = (46, 36, 40)


class HeadPen:
    """A pen in a head's own frame: unit = head radius, turned with the head."""

    def __init__(self, pen: Pen, centre: np.ndarray, radius: float, degrees: float) -> None:
        self.pen, self.centre, self.radius = pen, centre, radius
        angle = np.deg2rad(degrees)
        self.turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        self.fine = radius * pen.scale / pen.factor >= 7

    def at(self, points: Points) -> np.ndarray:
        """Return points of the head's frame in the pen's units."""
        placed: np.ndarray = np.asarray(points, dtype=float) @ self.turn * self.radius + self.centre
        return placed

    def disc(self, x: float, y: float, rx: float, ry: float, fill: RGB) -> None:
        """Fill an ellipse that turns with the head."""
        self.pen.polygon(self.at(ROUND * (rx, ry) + (x, y)), fill)

    def blob(self, points: Points, fill: RGB) -> None:
        """Fill a smooth shape that turns with the head."""
        self.pen.blob(self.at(points), fill)

    def line(self, points: Points, width: float, fill: RGB) -> None:
        """Draw a line; ``width`` in head radii."""
        self.pen.line(self.at(points), width * self.radius, fill)


def hair_behind(head: HeadPen, spec: PersonSpec, view: str) -> None:
    """Paint the hair that lies behind neck and face, seen from the front."""
    shade = darker(spec.hair, 0.18)
    if spec.hair_style == "long":
        head.blob(symmetric([(0.4, -1.18), (0.95, -0.8), (1.15, 0.3), (1.1, 1.75), (0.4, 1.95)]), shade)
    elif spec.hair_style == "bob":
        head.blob(symmetric([(0.4, -1.18), (1.0, -0.75), (1.2, 0.2), (1.1, 0.95), (0.4, 1.05)]), shade)
    elif spec.hair_style == "bun" and view == "front":
        head.disc(0, -1.32, 0.46, 0.42, shade)
    elif spec.hair_style == "tail" and view == "front":
        head.blob([(0.7, -0.7), (1.35, -0.4), (1.5, 0.6), (1.2, 1.3), (1.1, 0.4)], shade)


def face(head: HeadPen, spec: PersonSpec, turn: float) -> None:
    """Paint eyes, brows, nose and mouth; small heads get only what shows at their size."""
    t = turn * 0.34
    brow = darker(spec.hair if spec.hair_style != "bald" else INK, 0.3)
    for x in (-0.36 + t, 0.36 + t):
        if head.fine:
            head.disc(x, -0.06, 0.19, 0.14, (252, 250, 246))
            head.disc(x + turn * 0.05, -0.06, 0.1, 0.12, mix(spec.hair, (60, 90, 110), 0.5))
            head.line([(x - 0.19, -0.3), (x, -0.36), (x + 0.19, -0.31)], 0.07, brow)
        head.disc(x + turn * 0.05, -0.06, *((0.06, 0.07) if head.fine else (0.11, 0.14)), INK)
    if head.fine:
        for x in (-0.55 + t, 0.55 + t):
            head.disc(x, 0.3, 0.17, 0.12, mix(spec.skin, (232, 110, 110), 0.26))
        head.line([(t * 1.2, -0.02), (t * 1.5 + 0.09, 0.24), (t * 1.3 - 0.03, 0.28)], 0.06, darker(spec.skin, 0.28))
    lips = (176, 66, 74) if spec.kind == "woman" else darker(mix(spec.skin, (170, 60, 60), 0.5), 0.2)
    smile = [(x * 0.3 + t * 1.1, 0.5 + 0.13 * (1 - x * x)) for x in np.linspace(-1, 1, 7)]
    head.line(smile, 0.09 if head.fine else 0.13, lips)


def beard_and_glasses(head: HeadPen, spec: PersonSpec, turn: float) -> None:
    """Paint what the face wears."""
    t = turn * 0.34
    if spec.beard:
        jaw = [(0.93 * np.cos(a), 1.08 * np.sin(a)) for a in np.linspace(-0.05, np.pi + 0.05, 13)]
        inner = [(-0.6 + t, 0.34), (-0.34 + t, 0.32), (0 + t, 0.4), (0.34 + t, 0.32), (0.6 + t, 0.34)]
        head.pen.polygon(head.at([*jaw, *inner]), mix(spec.hair, spec.skin, 0.15))
        head.disc(t * 1.1, 0.56, 0.24, 0.08, (176, 92, 88))
    if spec.glasses and head.fine:
        for x in (-0.37 + t, 0.37 + t):
            ring = head.at(ROUND * (0.27, 0.23) + (x, -0.05))
            head.pen.line(ring, 0.08 * head.radius, INK)
        head.line([(-0.12 + t, -0.07), (0.12 + t, -0.07)], 0.07, INK)


def hair_front(head: HeadPen, spec: PersonSpec, turn: float) -> None:
    """Paint the hair over the forehead."""
    t, hair = turn * 0.2, spec.hair
    crown = [(1.04 * np.cos(a), 1.14 * np.sin(a)) for a in np.linspace(np.pi * 1.03, np.pi * 1.97, 13)]
    if spec.hair_style == "bald":
        return
    if spec.hair_style == "spiky":
        across = enumerate(np.linspace(-1, 1, 11))
        tips = [(x, -1.42 + 0.25 * abs(x) if i % 2 else -0.98 + 0.5 * x * x) for i, x in across]
        head.pen.polygon(head.at([(-1.02, -0.05), *tips, (1.02, -0.05), (0.7, -0.46), (-0.7, -0.46)]), hair)
    elif spec.hair_style == "curly":
        for a in np.linspace(np.pi * 0.98, np.pi * 2.02, 9):
            head.disc(0.92 * np.cos(a), 0.92 * np.sin(a) - 0.12, 0.33, 0.33, hair)
        head.disc(0, -0.85, 0.7, 0.3, hair)
    elif spec.hair_style in ("side", "tail", "bob"):
        fringe = [(0.86, -0.2), (0.35 + t, -0.62), (-0.2 + t, -0.5), (-0.8, -0.25), (-0.98, 0.0)]
        head.pen.polygon(head.at([*crown, *fringe]), hair)
    else:
        parting = [(0.95, 0.0), (0.78, -0.42), (0.3 + t, -0.6), (-0.3 + t, -0.6), (-0.78, -0.42), (-0.95, 0.0)]
        head.pen.polygon(head.at([*crown, *parting]), hair)
    if spec.hair_style == "long":
        head.blob([(-0.94, -0.5), (-0.72, -0.1), (-0.86, 1.3), (-1.12, 1.3), (-1.14, 0.2)], hair)
        head.blob([(0.94, -0.5), (0.72, -0.1), (0.86, 1.3), (1.12, 1.3), (1.14, 0.2)], hair)


def hair_from_behind(head: HeadPen, spec: PersonSpec) -> None:
    """Paint the hair as it looks from behind."""
    hair = spec.hair
    if spec.hair_style == "bald":
        head.line([(-0.4, 0.78), (0, 0.86), (0.4, 0.78)], 0.08, darker(spec.skin, 0.25))
        return
    if spec.hair_style in ("long", "bob"):
        hair_behind(head, spec, "back")
        low = 1.6 if spec.hair_style == "long" else 0.85
        for x in (-0.5, -0.1, 0.35):
            head.line([(x * 0.6, -0.7), (x, low)], 0.06, darker(hair, 0.3))
        return
    if spec.hair_style == "curly":
        for a in np.linspace(0, 2 * np.pi, 13)[:-1]:
            head.disc(0.8 * np.cos(a), 0.8 * np.sin(a) - 0.15, 0.36, 0.36, hair)
    head.blob(symmetric([(0.35, -1.12), (0.8, -0.85), (1.04, -0.1), (0.85, 0.5), (0.4, 0.82)]), hair)
    if spec.hair_style == "bun":
        head.disc(0, -0.75, 0.46, 0.44, darker(hair, 0.25))
    if spec.hair_style == "tail":
        head.blob([(-0.2, -0.4), (0.2, -0.4), (0.3, 0.8), (0.05, 1.7), (-0.3, 0.8)], darker(hair, 0.25))


def hat(head: HeadPen, spec: PersonSpec, view: str, turn: float) -> None:
    """Paint a cap, a hat with a brim, or a beanie."""
    colour = spec.accent
    dome = [(1.08 * np.cos(a), -0.4 + 0.9 * np.sin(a)) for a in np.linspace(np.pi, 2 * np.pi, 13)]
    if spec.hat == "none":
        return
    head.pen.polygon(head.at(dome), colour)
    if spec.hat == "cap" and view == "front":
        head.disc(turn * 0.4, -0.4, 0.95, 0.2, darker(colour, 0.25))
    elif spec.hat == "brim":
        head.disc(0, -0.42, 1.75, 0.26, lighter(colour, 0.12))
        head.pen.polygon(head.at([(-1.05, -0.62), (1.05, -0.62), (1.07, -0.44), (-1.07, -0.44)]), darker(colour, 0.4))
    elif spec.hat == "beanie":
        head.pen.polygon(head.at([(-1.12, -0.62), (1.12, -0.62), (1.12, -0.32), (-1.12, -0.32)]), darker(colour, 0.18))
        head.disc(0, -1.36, 0.24, 0.24, lighter(colour, 0.5))


def paint_head(head: HeadPen, spec: PersonSpec, view: str, turn: float) -> None:
    """Paint a head over a finished body; ``turn`` as in ``Pose``."""
    for side in (-1, 1):
        if side * turn < 0.6:
            head.disc(side * 0.96 - turn * 0.1, 0.08, 0.2, 0.28, darker(spec.skin, 0.1))
    head.blob(symmetric([(0.35, -1.03), (0.72, -0.8), (0.98, 0), (0.82, 0.62), (0.4, 1.04)]), spec.skin)
    if view == "back":
        hair_from_behind(head, spec)
    else:
        face(head, spec, turn)
        beard_and_glasses(head, spec, turn)
        hair_front(head, spec, turn)
    hat(head, spec, view, turn)
