"""Painter of people: a skeleton dressed and shaded, as one sprite."""

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from workflow_scripts.demo.drawing.canvas import Pen, shaded, smooth, symmetric
from workflow_scripts.demo.drawing.head import HeadPen, hair_behind, paint_head
from workflow_scripts.demo.drawing.palette import RGB, darker, lighter
from workflow_scripts.demo.drawing.patterns import stripes
from workflow_scripts.demo.drawing.poses import Pose
from workflow_scripts.demo.drawing.skeleton import KEYPOINTS, Measures, joints, measures_of, turned, visibility
from workflow_scripts.demo.drawing.specs import PersonSpec

Joints = dict[str, np.ndarray]
MARGIN = 0.13


@dataclass(frozen=True)
class Figure:
    """A painted person.

    Attributes:
        sprite: RGBA image.
        corner: where its upper left pixel lies in the frame.
        keypoints: x, y, visibility in frame pixels, shape (17, 3), before anything covers them.
    """

    sprite: Image.Image = field(repr=False)
    corner: tuple[int, int]
    keypoints: np.ndarray = field(repr=False)


def limb(
    pen: Pen,
    bends: tuple[np.ndarray, np.ndarray, np.ndarray],
    widths: tuple[float, float, float],
    fills: tuple[RGB, RGB],
) -> None:
    """Paint an arm or a leg from its root over the bend to its end, upper and lower part in their colours.

    A darker rim sets it off from the trunk; the root has none, so that shoulder and hip run into the trunk.
    """
    root, bend, end = bends
    rim = 0.014
    for start, stop, first, last, fill in ((bend, end, *widths[1:], fills[1]), (root, bend, *widths[:2], fills[0])):
        along = (stop - start) / (float(np.hypot(*(stop - start))) or 1e-6)
        inset = start + along * first * 0.5
        side = np.array([-along[1], along[0]])
        near, far = side * (first + rim) / 2, side * (last + rim) / 2
        pen.polygon([inset + near, stop + far, stop - far, inset - near], darker(fill, 0.24))
        pen.ellipse(stop[0], stop[1], (last + rim) / 2, (last + rim) / 2, darker(fill, 0.24))
    pen.limb(tuple(bend), tuple(end), widths[1], widths[2], fills[1])
    pen.limb(tuple(root), tuple(bend), widths[0], widths[1], fills[0])


def legs(pen: Pen, j: Joints, m: Measures, spec: PersonSpec) -> None:
    """Paint legs and shoes."""
    bare = spec.bottom_kind in ("skirt", "dress")
    for side in ("right", "left"):
        hip, knee, ankle = j[f"{side}_hip"], j[f"{side}_knee"], j[f"{side}_ankle"]
        long = spec.bottom_kind == "trousers"
        shoe = ankle + np.array([0.014 * np.sign(ankle[0] - hip[0] or 1.0), 0.016])
        pen.ellipse(shoe[0], shoe[1], m.limb * 0.72, m.limb * 0.44, spec.shoes)
        pen.ellipse(shoe[0], shoe[1] + m.limb * 0.26, m.limb * 0.72, m.limb * 0.16, darker(spec.shoes, 0.4))
        fills = (spec.skin if bare else spec.bottom, spec.bottom if long else spec.skin)
        limb(pen, (hip, knee, ankle), (m.limb * 1.35, m.limb, m.limb * 0.7), fills)
    if not bare:
        pen.blob(symmetric([(m.hip * 1.5, -0.05), (m.hip * 1.4, 0.03), (m.hip * 0.4, 0.055)]), spec.bottom)


def skirt(pen: Pen, j: Joints, m: Measures, spec: PersonSpec) -> None:
    """Paint a skirt, or a dress's lower part, down to the knees."""
    colour = spec.top if spec.bottom_kind == "dress" else spec.bottom
    left, right = sorted((j["left_knee"], j["right_knee"]), key=lambda knee: float(knee[0]))
    low = np.add([left, (left + right) / 2, right], [(-0.05, 0.0), (0.0, 0.02), (0.05, 0.0)])
    waist = [(m.hip * 1.15, -0.07), (m.hip * 1.6, 0.02)]
    pen.outlined([(-m.hip * 1.6, 0.02), (-m.hip * 1.15, -0.07), *waist, low[2], low[1], low[0]], colour, 0.008)
    for share in (0.3, 0.7):
        foot = low[0] * (1 - share) + low[2] * share
        pen.line([(m.hip * (share * 2 - 1) * 0.8, 0.0), tuple(foot * (0.95, 0.92))], 0.008, darker(colour, 0.2))


def trunk(pen: Pen, m: Measures, spec: PersonSpec, lean: float, view: str) -> None:
    """Paint neck and top."""

    def place(x: float, y: float) -> tuple[float, float]:
        point = turned((x, y), lean * min(1.0, -y / m.trunk))
        return float(point[0]), float(point[1])

    top = -m.trunk
    pen.limb(place(0, top - 0.04), place(0, top + 0.02), m.head * 0.85, m.head * 0.95, darker(spec.skin, 0.14))
    waist = 0.86 if spec.kind == "woman" else 1.0
    side = [(m.head * 0.55, top), (m.shoulder * 0.96, top + 0.015), (m.shoulder * 1.08, top + 0.06)]
    side += [(m.shoulder * 0.86, top * 0.55), (m.hip * 1.42 * waist, top * 0.28), (m.hip * 1.5, 0.0)]
    shape = [place(x, y) for x, y in symmetric(side)]
    pen.outlined(shape, spec.top, 0.008)
    if spec.top_pattern != "plain":
        marks = stripes(np.array([0, -m.trunk / 2]), 0.3, 0.055, 0.45, lean)
        band = [np.array([place(x, top * y) for x, y in ((-0.3, 0.66), (0.3, 0.66), (0.3, 0.46), (-0.3, 0.46))])]
        pen.stamp(smooth(shape), marks if spec.top_pattern == "stripes" else band, spec.accent)
    if view == "front":
        neckline = [place(-m.head * 0.62, top - 0.004), place(0, top + 0.05), place(m.head * 0.62, top - 0.004)]
        pen.polygon(neckline, darker(spec.skin, 0.06))
        pen.line(neckline, 0.009, lighter(spec.top, 0.35) if spec.bottom_kind != "dress" else darker(spec.top, 0.25))


def arms(pen: Pen, j: Joints, m: Measures, spec: PersonSpec) -> None:
    """Paint arms with short or long sleeves, and hands."""
    short = spec.bottom_kind in ("shorts", "dress", "skirt")
    for side in ("right", "left"):
        shoulder, elbow, wrist = j[f"{side}_shoulder"], j[f"{side}_elbow"], j[f"{side}_wrist"]
        hand = wrist + (wrist - elbow) * 0.16
        pen.ellipse(hand[0], hand[1], m.limb * 0.42, m.limb * 0.46, darker(spec.skin, 0.05))
        fills = (spec.top, spec.skin if short else spec.top)
        limb(pen, (shoulder, elbow, wrist), (m.limb * 0.98, m.limb * 0.76, m.limb * 0.55), fills)
        if short:
            pen.limb(tuple(shoulder * 0.2 + elbow * 0.8), tuple(elbow), m.limb * 0.8, m.limb * 0.76, spec.skin)


def paint_figure(spec: PersonSpec, pose: Pose, view: str, foot: tuple[float, float], unit: float, frame: tuple[int, int]) -> Figure:
    """Paint a person into the part of the frame that shows it.

    Args:
        spec, pose, view: who, how, and "front" or "back".
        foot: frame pixels of the point on the ground below the pelvis.
        unit: standing height of this person in pixels.
        frame: width and height of the frame in pixels.
    """
    m, j = measures_of(spec), joints(spec, pose, view)
    points = np.stack([j[name] for name in KEYPOINTS])
    head, reach = j["head"], MARGIN + m.head
    ground = max(float(points[:, 1].max()), 0.06) + m.limb * 0.6
    origin = np.array(foot) - (0, ground * unit)
    low = np.floor(np.maximum(np.minimum(points.min(0), head) - reach, -origin / unit) * unit) + origin
    high = np.minimum(np.maximum(points.max(0), head) + reach, (np.array(frame) - origin) / unit) * unit + origin
    corner = np.floor(low).astype(int)
    size = np.maximum(1, np.ceil(high).astype(int) - corner)
    extent = [*((corner - origin) / unit), *((corner + size - origin) / unit)]
    pen = Pen((extent[0], extent[1], extent[2], extent[3]), unit)
    face = HeadPen(pen, head, m.head, pose.lean + pose.tilt)
    if view == "front":
        hair_behind(face, spec, view)
    legs(pen, j, m, spec)
    if spec.bottom_kind in ("skirt", "dress"):
        skirt(pen, j, m, spec)
    # Seen from behind, folded arms are in front of the trunk, so out of sight.
    if view == "back":
        arms(pen, j, m, spec)
    trunk(pen, m, spec, pose.lean, view)
    if view == "front":
        arms(pen, j, m, spec)
    paint_head(face, spec, view, pose.turn)
    seen = visibility(spec, pose, view)
    keypoints = np.column_stack([points * unit + origin, [seen[name] for name in KEYPOINTS]])
    return Figure(shaded(pen.finish()), (int(corner[0]), int(corner[1])), keypoints)
