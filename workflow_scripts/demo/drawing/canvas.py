"""A supersampled layer with its own coordinates, on which backgrounds, things and figures are painted."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from workflow_scripts.demo.drawing.palette import RGB, darker

Point: TypeAlias = tuple[float, float]
Points: TypeAlias = Sequence[Point | np.ndarray] | np.ndarray


def smooth(points: Points, steps: int = 6) -> np.ndarray:
    """Return a closed Catmull-Rom curve through ``points``, ``steps`` samples between neighbours, as (n, 2)."""
    p = np.asarray(points, dtype=float)
    before, after, far = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    t = (np.arange(steps) / steps)[None, :, None]
    p, before, after, far = p[:, None], before[:, None], after[:, None], far[:, None]
    linear, square, cube = after - before, 2 * before - 5 * p + 4 * after - far, 3 * (p - after) + far - before
    curve: np.ndarray = 0.5 * (2 * p + linear * t + square * t**2 + cube * t**3)
    return curve.reshape(-1, 2)


def symmetric(half: Points, axis: float = 0.0) -> np.ndarray:
    """Return an outline made of its right half, from top to bottom, and the mirror image of that."""
    right = np.asarray(half, dtype=float)
    return np.vstack([right, right[::-1] * (-1, 1) + (2 * axis, 0)])


def gradient(size: tuple[int, int], stops: Sequence[tuple[float, RGB]]) -> Image.Image:
    """Return an RGB image whose colour runs from top to bottom through ``stops`` (place 0..1, colour)."""
    rows = np.linspace(0, 1, size[1])
    places = [place for place, _ in stops]
    column = np.stack([np.interp(rows, places, [colour[c] for _, colour in stops]) for c in range(3)], axis=1)
    return Image.fromarray(column.round().astype(np.uint8)[:, None]).resize(size, Image.Resampling.NEAREST)


@lru_cache(maxsize=1)
def soft_spot() -> Image.Image:
    """Return a round soft spot as an L image of 64 px, to be resized for shadows and glows."""
    axis = (np.arange(64) - 31.5) / 32
    distance = np.hypot(axis[:, None], axis[None, :])
    return Image.fromarray((255 * np.clip(1 - distance, 0, 1) ** 1.2).astype(np.uint8))


@lru_cache(maxsize=1)
def light_field() -> Image.Image:
    """Return the light from the upper left that shades every sprite, as an L image of 2 x 2 px."""
    return Image.fromarray(np.array([[255, 244], [242, 214]], dtype=np.uint8))


class Pen:
    """Paints in unit coordinates (x right, y down) on a layer that is later reduced to its final size.

    Args:
        extent: left, top, right, bottom of the layer in units.
        unit: final pixels per unit.
        base: image to paint on, in the layer's supersampled size; without it the layer starts transparent.
        factor: supersampling; without it 4 for small layers, down to 2 for large ones.
    """

    def __init__(
        self,
        extent: tuple[float, float, float, float],
        unit: float,
        base: Image.Image | None = None,
        factor: int | None = None,
    ) -> None:
        left, top, right, bottom = extent
        width, height = max(1, round((right - left) * unit)), max(1, round((bottom - top) * unit))
        self.factor = factor or (4 if max(width, height) < 96 else 3 if max(width, height) < 180 else 2)
        self.scale = unit * self.factor
        self.origin = np.array([left, top])
        self.layer = base or Image.new("RGBA", (width * self.factor, height * self.factor), (0, 0, 0, 0))
        self.draw = ImageDraw.Draw(self.layer)

    def place(self, points: Points) -> np.ndarray:
        """Return points in layer pixels, shape (n, 2)."""
        placed: np.ndarray = (np.asarray(points, dtype=float) - self.origin) * self.scale
        return placed

    def polygon(self, points: Points, fill: RGB) -> None:
        """Fill the polygon through ``points``."""
        self.draw.polygon(self.place(points).ravel().tolist(), fill=fill)

    def blob(self, points: Points, fill: RGB) -> None:
        """Fill a smooth closed shape through ``points``."""
        self.polygon(smooth(points), fill)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: RGB) -> None:
        """Fill an upright ellipse with centre and radii."""
        (x0, y0), (x1, y1) = self.place([(x - rx, y - ry), (x + rx, y + ry)])
        self.draw.ellipse((x0, y0, x1, y1), fill=fill)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: RGB, radius: float = 0.0) -> None:
        """Fill a rectangle, with corners rounded by ``radius`` units."""
        (a, b), (c, d) = self.place([(x0, y0), (x1, y1)])
        corner = min(radius * self.scale, (c - a) / 2, (d - b) / 2)
        self.draw.rounded_rectangle((a, b, max(a, c), max(b, d)), radius=max(0.0, corner), fill=fill)

    def limb(self, start: Point, end: Point, thick: float, thin: float, fill: RGB) -> None:
        """Fill a tapered capsule from ``start`` (width ``thick``) to ``end`` (width ``thin``)."""
        p, q = np.array(start), np.array(end)
        length = float(np.hypot(*(q - p))) or 1e-6
        side = np.array([-(q - p)[1], (q - p)[0]]) / length
        self.polygon([p + side * thick / 2, q + side * thin / 2, q - side * thin / 2, p - side * thick / 2], fill)
        self.ellipse(p[0], p[1], thick / 2, thick / 2, fill)
        self.ellipse(q[0], q[1], thin / 2, thin / 2, fill)

    def line(self, points: Points, width: float, fill: RGB) -> None:
        """Draw an open line of ``width`` units, at least one final pixel's third."""
        thickness = max(1, round(width * self.scale))
        self.draw.line(self.place(points).ravel().tolist(), fill=fill, width=thickness, joint="curve")

    def arc(self, x: float, y: float, rx: float, ry: float, span: tuple[float, float], width: float, fill: RGB) -> None:
        """Draw part of an ellipse's outline; ``span`` in degrees, clockwise from the right."""
        (x0, y0), (x1, y1) = self.place([(x - rx, y - ry), (x + rx, y + ry)])
        self.draw.arc((x0, y0, x1, y1), span[0], span[1], fill=fill, width=max(1, round(width * self.scale)))

    def outlined(self, points: Points, fill: RGB, width: float = 0.012) -> None:
        """Fill a smooth shape with a slightly darker rim, which sets it off from what lies behind."""
        curve = smooth(points)
        self.polygon(curve, fill)
        self.line(np.vstack([curve, curve[:2]]), width, darker(fill, 0.22))

    def stamp(self, shape: Points, marks: Sequence[np.ndarray], fill: RGB) -> None:
        """Fill the parts of the polygon ``shape`` that lie under the polygons ``marks``: stripes, dots, a patch."""
        outline = self.place(shape)
        low = np.floor(outline.min(axis=0)).astype(int)
        width, height = np.maximum(1, np.ceil(outline.max(axis=0)).astype(int) - low + 1)
        inside, marked = Image.new("L", (int(width), int(height))), Image.new("L", (int(width), int(height)))
        ImageDraw.Draw(inside).polygon((outline - low).ravel().tolist(), fill=255)
        painter = ImageDraw.Draw(marked)
        for mark in marks:
            painter.polygon((self.place(mark) - low).ravel().tolist(), fill=255)
        self.layer.paste(fill, (int(low[0]), int(low[1])), ImageChops.multiply(inside, marked))

    def glow(self, x: float, y: float, radius: float, fill: RGB, strength: float) -> None:
        """Lay a soft round light (or shade) of ``strength`` 0..1 over what is painted."""
        size = max(2, round(2 * radius * self.scale))
        spot = soft_spot().resize((size, size), Image.Resampling.BILINEAR).point(lambda value: int(value * strength))
        (cx, cy) = self.place([(x, y)])[0]
        self.layer.paste(fill, (round(cx - size / 2), round(cy - size / 2)), spot)

    def finish(self) -> Image.Image:
        """Return the layer in its final size."""
        return self.layer.reduce(self.factor)


def shaded(sprite: Image.Image) -> Image.Image:
    """Return an RGBA sprite with light from the upper left."""
    light = light_field().resize(sprite.size, Image.Resampling.BILINEAR)
    result = ImageChops.multiply(sprite.convert("RGB"), Image.merge("RGB", (light, light, light)))
    result.putalpha(sprite.getchannel("A"))
    return result
