"""Which of the things found in an image become its segments, and the crops of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from workflow_scripts.autotag.segmenters.base import Found

Box = tuple[int, int, int, int]
_SLACK = 0.01  # pixels that a box may reach into another one by rounding errors alone


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of an image, or all of it; the columns `_SEGMENT` of the tables.

    Attributes:
        bbox: x1, y1, x2, y2 in pixels, inside the image, x2 and y2 exclusive.
        area: pixels of the mask where there is one, else of the box.
        box_area: pixels of the box.
        class_id: that the detection gave; None for the whole image.
        label: the word of that class; None where there are no words, and for the whole image.
        confidence: 0 to 1; None for the whole image.
    """

    bbox: Box
    area: int
    box_area: int
    class_id: int | None
    label: str | None
    confidence: float | None

    @property
    def is_whole(self) -> bool:
        """Whether this is the whole image, taken without having been found."""
        return self.confidence is None


def choose(
    found: Sequence[Found], size: tuple[int, int], segment: Mapping[str, Any], *, always: bool
) -> tuple[list[Segment], dict[str, int]]:
    """The segments of an image, surest first, the whole image last; and how many there were and became of them (`tables.COUNTED`).

    The counts add up: found = too_small + too_thin + beyond_max + crops, less one where the whole image is among the crops. A box that is
    empty, outside the image or no box at all is too thin. Equally sure ones come in the order of their boxes, classes and areas.

    Args:
        found: what a segmenter found, in any order.
        size: width and height of the image.
        segment: `min_area` (of `Segment.area`), `min_crop` (of the box's shorter side), `max_segments`, `whole_image`.
        always: take the whole image where nothing else is left, too.
    """
    counts = dict.fromkeys(("found", "too_small", "too_thin", "beyond_max", "crops"), 0) | {"found": len(found)}
    fitting: list[Segment] = []
    for each in found:
        box = _inside(each.box, size)
        if box is None:
            counts["too_thin"] += 1
            continue
        box_area = (box[2] - box[0]) * (box[3] - box[1])
        area = box_area if each.mask_area is None else each.mask_area
        if area < segment["min_area"]:
            counts["too_small"] += 1
        elif min(box[2] - box[0], box[3] - box[1]) < segment["min_crop"]:
            counts["too_thin"] += 1
        else:
            confidence = each.confidence if math.isfinite(each.confidence) else 0.0
            fitting.append(Segment(box, area, box_area, each.class_id, each.label, confidence))
    fitting.sort(key=_order)
    segments = fitting[: segment["max_segments"]]
    counts["beyond_max"] = len(fitting) - len(segments)
    if segment["whole_image"] or (always and not segments):
        width, height = size
        segments.append(Segment((0, 0, width, height), width * height, width * height, None, None, None))
    return segments, counts | {"crops": len(segments)}


def crop_ids(key: str, segments: Sequence[Segment]) -> list[str]:
    """The names of an image's crops: `{key}_{i}`, i from 0 in their order, and `{key}_full` for the whole image."""
    return [f"{key}_full" if segment.is_whole else f"{key}_{i}" for i, segment in enumerate(segments)]


def crop(image: Image.Image, segment: Segment) -> Image.Image:
    """The pixels of a segment's box, without anything round it."""
    return image.crop(segment.bbox)


def _inside(box: Sequence[float], size: tuple[int, int]) -> Box | None:
    """All pixels that a box touches within the image, or None where it is no box or touches none."""
    if not all(map(math.isfinite, box)):
        return None
    x1, y1 = (max(0, math.floor(value + _SLACK)) for value in box[:2])
    x2, y2 = (min(end, math.ceil(value - _SLACK)) for value, end in zip(box[2:], size, strict=True))
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def _order(segment: Segment) -> tuple[Any, ...]:
    return -(segment.confidence or 0.0), segment.bbox, segment.class_id, segment.area, segment.label or ""
