"""Patterns that tell two things of one kind and colour apart."""

import numpy as np

from workflow_scripts.demo.drawing.canvas import Points
from workflow_scripts.demo.drawing.specs import ThingSpec

TURN = np.linspace(0, 2 * np.pi, 44)
ROUND = np.stack([np.cos(TURN), np.sin(TURN)], axis=1)


def stripes(centre: np.ndarray, reach: float, step: float, share: float, slant: float) -> list[np.ndarray]:
    """Return parallel bars over a disc: ``step`` apart, each ``share`` of the step wide, at ``slant`` degrees."""
    angle = np.deg2rad(slant)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    bars = []
    for offset in np.arange(-reach, reach, step):
        near, far = centre + across * offset, centre + across * (offset + step * share)
        bars.append(np.array([near - along * reach, near + along * reach, far + along * reach, far - along * reach]))
    return bars


def dots(low: np.ndarray, high: np.ndarray, step: float) -> list[np.ndarray]:
    """Return a staggered grid of discs over a box."""
    rows = enumerate(np.arange(low[1] + step / 2, high[1], step))
    return [ROUND * step * 0.27 + (x, y) for row, y in rows for x in np.arange(low[0] + step * (0.25 if row % 2 else 0.75), high[0], step)]


def ornament(spec: ThingSpec, outline: Points) -> list[np.ndarray]:
    """Return the polygons of a thing's pattern over its main shape; less than about 40 % of the shape is covered."""
    points = np.asarray(outline, dtype=float)
    low, high = points.min(axis=0), points.max(axis=0)
    centre, span = (low + high) / 2, high - low
    reach, small = float(np.hypot(*span)) / 2, float(span.min())
    step = small * (0.5 - 0.27 * spec.density)
    if spec.pattern == "stripes":
        return stripes(centre, reach, step, 0.4, spec.slant)
    if spec.pattern == "check":
        fine = step * 1.25
        return stripes(centre, reach, fine, 0.22, spec.slant) + stripes(centre, reach, fine, 0.22, spec.slant + 90)
    if spec.pattern == "dots":
        return dots(low, high, step)
    if spec.pattern == "band":
        y = low[1] + span[1] * (0.3 + 0.35 * spec.density)
        half = span[1] * 0.11
        return [np.array([(low[0], y - half), (high[0], y - half), (high[0], y + half), (low[0], y + half)])]
    if spec.pattern == "patch":
        where = low + span * (0.3 + 0.4 * spec.density, 0.35 + spec.slant / 300)
        return [ROUND * small * 0.33 + where]
    return []
