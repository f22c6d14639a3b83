"""The best image of a group by its scores, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workflow_scripts.core.step import StepError

_DIGITS = 9  # of a confidence: the last bits of exp differ between processors


@dataclass(frozen=True)
class Selection:
    """The choice for a group.

    Attributes:
        index: of the selected image in the group's full list, unreadable images included.
        confidence: the selected image's share in the softmax over the readable images' scores, above 0 and up to 1.
        margin: how far its score lies above the second; None for a single readable image.
    """

    index: int
    confidence: float
    margin: float | None


def select(group_id: str, scores: Sequence[float | None]) -> Selection | None:
    """Choose the image with the highest score, the first of several.

    Args:
        group_id: for the message.
        scores: of every image of the group, in its order; None for an unreadable image.

    Returns:
        The selection; None when no image is readable.

    Raises:
        StepError: a score is NaN or infinite.
    """
    readable = [index for index, score in enumerate(scores) if score is not None]
    if not readable:
        return None
    values = np.array([scores[index] for index in readable], dtype=np.float64)
    if not np.isfinite(values).all():
        place = readable[int(np.argmin(np.isfinite(values)))]
        raise StepError(f"{group_id}: the ranker scored image {place} as {scores[place]}; its checkpoint is no use, give another")
    best = int(values.argmax())
    # The differences from the highest are at most 0, so that no exponential overflows.
    confidence = 1 / float(np.exp(values - values[best]).sum())
    margin = float(values[best] - np.delete(values, best).max()) if len(values) > 1 else None
    return Selection(readable[best], round(confidence, _DIGITS), margin)
