"""What a cut-out subject measures: its shape from the mask, its sharpness and brightness from the original frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt
from PIL import Image

from workflow_scripts.core.inspect import perceptual_hash
from workflow_scripts.lora.cutout import SOLID, Bytes, box_slices
from workflow_scripts.lora.tables import FACE_AND_HAIR, FULL_BODY, UPPER_BODY

MAX_CONTOURS = 64  # the largest so many parts of a mask are described; more are too many whatever the setting
SHARPNESS_SIDE = 512  # pixels of the subject's longer side when its sharpness is measured
SHARPNESS_MARGIN = 5  # pixels off the mask's edge, where the sharpness of the edge itself does not count
SHARPNESS_PIXELS = 1000  # fewer cannot tell
MID_GREY = 128
_FACE, _SHOULDERS, _HIPS = (0, 1, 2, 3, 4), (5, 6), (11, 12)
# What a category's frames show for certain: an upper body has face, shoulders and hips; elbows and wrists may be out of sight.
CATEGORY_KEYPOINTS = {FACE_AND_HAIR: _FACE, UPPER_BODY: (*_FACE, *_SHOULDERS, *_HIPS), FULL_BODY: tuple(range(17))}


@dataclass(frozen=True, slots=True)
class Shape:
    """Columns of METRICS that depend on the mask, the frame and the person's box alone; see there."""

    contour_areas: list[float]
    solidities: list[float]
    area_fraction: float
    edges: list[str]
    holes: int
    uncertainty: float
    sharpness: float | None
    sharpness_pixels: int
    brightness: float | None
    phash: int | None


def measure_subject(picture: Image.Image, frame: Image.Image, box: Sequence[float]) -> Shape:
    """Measure one subject.

    Args:
        picture: the cut-out subject, RGBA.
        frame: the original, RGB, of the same size.
        box: of the person, x1, y1, x2, y2 in pixels.

    Brightness and hash are None for an empty mask, sharpness also where the subject is too small.
    """
    alpha = np.asarray(picture)[..., 3]
    solid = alpha >= SOLID
    grey = np.asarray(frame.convert("L"))  # Pillow's L is BT.601
    areas, solidities = _contours(solid)
    sharpness, pixels = _sharpness(grey, alpha, box)
    return Shape(
        contour_areas=areas,
        solidities=solidities,
        area_fraction=float(solid.mean()),
        edges=_edges(solid),
        holes=_holes(solid),
        uncertainty=_uncertainty(alpha),
        sharpness=sharpness,
        sharpness_pixels=pixels,
        brightness=max(0.0, 1 - abs(float(grey[solid].mean()) - MID_GREY) / MID_GREY) if solid.any() else None,
        phash=_subject_hash(picture, solid) if solid.any() else None,
    )


def pose_confidence(category: str, keypoints: Sequence[float]) -> float:
    """Mean confidence of the keypoints that a category shows, of 17 COCO keypoints as x, y, confidence."""
    return float(np.mean(np.reshape(keypoints, (-1, 3))[list(CATEGORY_KEYPOINTS[category]), 2]))


def _contours(solid: npt.NDArray[np.bool_]) -> tuple[list[float], list[float]]:
    """Areas of the outer contours as parts of the frame, descending, and their solidities: area by that of the convex hull."""
    import cv2

    found, _ = cv2.findContours(solid.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    areas = [cv2.contourArea(contour) for contour in found]
    largest = sorted(zip(areas, found, strict=True), key=lambda pair: -pair[0])[:MAX_CONTOURS]
    hulls = [cv2.contourArea(cv2.convexHull(contour)) for _, contour in largest]
    # Points and lines have no area and leave nothing of their hull out.
    solidities = [area / hull if hull else 1.0 for (area, _), hull in zip(largest, hulls, strict=True)]
    return [area / solid.size for area, _ in largest], solidities


def _edges(solid: npt.NDArray[np.bool_]) -> list[str]:
    sides = {"left": solid[:, 0], "top": solid[0], "right": solid[:, -1], "bottom": solid[-1]}
    return [name for name, side in sides.items() if side.any()]


def _holes(solid: npt.NDArray[np.bool_]) -> int:
    """How many stretches of background the mask encloses; pixels that meet at a corner close it."""
    import cv2

    around = np.pad(~solid, 1, constant_values=True).astype(np.uint8)
    count, _ = cv2.connectedComponents(around, connectivity=4)
    return int(count) - 2  # the mask itself has label 0, all that is open to the outside is one


def _uncertainty(alpha: Bytes) -> float:
    counts = np.bincount(alpha.ravel(), minlength=256)[1:]
    share = np.arange(1, 256) / 255
    return float((counts * 4 * share * (1 - share)).sum() / max(1, counts.sum()))


def _sharpness(grey: Bytes, alpha: Bytes, box: Sequence[float]) -> tuple[float | None, int]:
    """Variance of the Laplacian within the subject, and of how many pixels.

    The box of the person sets the scale, since that of the mask follows whatever else the mask took in. Pixels round it are looked at
    too, so that a side of the box is an edge of the subject only where the mask ends there.
    """
    import cv2

    height, width = (part.stop - part.start for part in box_slices(box, *grey.shape))
    scale = min(1.0, SHARPNESS_SIDE / max(height, width))
    margin = ceil((SHARPNESS_MARGIN + 1) / scale)
    around = box_slices((box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin), *grey.shape)
    rows, columns = (
        slice(round((part.start - outer.start) * scale), round((part.stop - outer.start) * scale))
        for part, outer in zip(box_slices(box, *grey.shape), around, strict=True)
    )
    size = max(1, round((around[1].stop - around[1].start) * scale)), max(1, round((around[0].stop - around[0].start) * scale))
    subject, mask = (cv2.resize(part[around], size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False) for part in (grey, alpha))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * SHARPNESS_MARGIN + 1, 2 * SHARPNESS_MARGIN + 1))
    within = cv2.erode((mask >= SOLID).astype(np.uint8), disc)[rows, columns] > 0
    pixels = int(within.sum())
    if pixels < SHARPNESS_PIXELS:
        return None, pixels
    return float(cv2.Laplacian(subject, cv2.CV_64F, ksize=1)[rows, columns][within].var()), pixels


def _subject_hash(picture: Image.Image, solid: npt.NDArray[np.bool_]) -> int:
    """The perceptual hash of the subject on mid-grey, in the middle of a square."""
    rows, columns = (np.flatnonzero(solid.any(axis=axis)) for axis in (1, 0))
    subject = picture.crop((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))
    side = max(subject.size)
    square = Image.new("RGB", (side, side), (MID_GREY,) * 3)
    square.paste(subject, ((side - subject.width) // 2, (side - subject.height) // 2), subject)
    return perceptual_hash(square)
