"""Which category a frame belongs to, by the people that were found in it and two thresholds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from workflow_scripts.lora.tables import CROWD, FACE_AND_HAIR, FULL_BODY, NO_FACE, NO_PERSON, UNCATEGORIZED, UPPER_BODY

NOSE = 0
EYES, SHOULDERS, HIPS, ANKLES = (1, 2), (5, 6), (11, 12), (15, 16)


class Person(TypedDict):
    """A detection, as `tables.PERSON`.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the frame.
        confidence: of the box.
        keypoints: x, y in pixels of the frame and confidence, of each of the 17 keypoints of COCO.
    """

    box: list[float]
    confidence: float
    keypoints: list[float]


@dataclass(frozen=True, slots=True)
class Choice:
    """What becomes of a frame.

    Attributes:
        category: one of `tables.CATEGORIES` or `tables.REJECTED`.
        reason: why it is rejected; None where it is not.
        person_count: people whose box is sure enough.
        person: the largest of them, None where there is none.
    """

    category: str
    reason: str | None
    person_count: int
    person: Person | None


def choose(people: Sequence[Person], *, box_conf: float, conf_threshold: float, max_people: int | None) -> Choice:
    """Sort a frame.

    Args:
        people: largest first.
        box_conf: a person counts from this confidence of the box on.
        conf_threshold: a keypoint counts when its confidence is above this.
        max_people: more are a reason to reject; None for no limit.

    Confidences are stored as float32, and thresholds are compared as such: one of 0.7 is not below 0.7.
    """
    sure = [person for person in people if person["confidence"] >= np.float32(box_conf)]
    if not sure:
        best = max((person["confidence"] for person in people), default=None)
        seen = "nobody was found" if best is None else f"the surest box has a confidence of {best:.2f}, below {box_conf:g}"
        return Choice(NO_PERSON, f"no person: {seen}", 0, None)
    if max_people is not None and len(sure) > max_people:
        return Choice(CROWD, f"{len(sure)} people, more than {max_people}", len(sure), sure[0])
    category, reason = _category(sure[0], conf_threshold)
    return Choice(category, reason, len(sure), sure[0])


def _category(person: Person, threshold: float) -> tuple[str, str | None]:
    """The category by what can be seen, and why it is a rejected one."""
    visible = [confidence > np.float32(threshold) for confidence in person["keypoints"][2::3]]
    face = visible[NOSE] and any(visible[point] for point in EYES)
    shoulders, hips, ankles = (any(visible[point] for point in pair) for pair in (SHOULDERS, HIPS, ANKLES))
    if face and shoulders:
        if not hips:
            return FACE_AND_HAIR, None
        return (FULL_BODY if ankles else UPPER_BODY), None
    if shoulders:
        return NO_FACE, "shoulders, but no face"
    parts = {"a face": face, "hips": hips, "ankles": ankles}
    seen = [name for name, is_seen in parts.items() if is_seen]
    return UNCATEGORIZED, f"no shoulders; {' and '.join(seen) or 'nothing else'} can be seen"
