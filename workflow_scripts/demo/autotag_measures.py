"""How well a segmenter finds the people and things of drawings."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from workflow_scripts.demo.autotag_examples import PERSON, Mask, Scene

MATCH = 0.5  # intersection over union with an object from which a segment has found it
CONFIDENCE = 0.25  # of a segment, at least, as the pipeline's default has it


def overlaps(found: Sequence[Mask], objects: Sequence[Mask]) -> npt.NDArray[np.float64]:
    """Intersection over union of each segment with each object [segments, objects]."""
    one, other = (np.array([mask.ravel() for mask in masks], np.float64) for masks in (found, objects))
    together = one @ other.T
    return np.asarray(together / np.maximum(one.sum(1)[:, None] + other.sum(1)[None] - together, 1))


def measure(segment: Callable[[Image.Image], Sequence[Mask]], scenes: Iterable[Scene]) -> dict[str, Any]:
    """How many objects are found, how well their masks fit, and how many segments are none.

    Args:
        segment: gives the masks [h, w] that are found in a picture.
        scenes: what it has not seen.
    """
    right: dict[str, list[bool]] = defaultdict(list)
    fits: list[float] = []
    segments = wrong = 0
    for scene in scenes:
        found = segment(scene.image)
        segments += len(found)
        if not scene.objects or not found:
            wrong += len(found)
            for name, _ in scene.objects:
                right["people" if name == PERSON else "things"].append(False)
            continue
        table = overlaps(found, [mask for _, mask in scene.objects])
        wrong += int((table.max(1) < MATCH).sum())
        for (name, _), best in zip(scene.objects, table.max(0).tolist(), strict=True):
            right["people" if name == PERSON else "things"].append(best >= MATCH)
            fits += [best] if best >= MATCH else []
    return {
        **{f"{name}_found": round(float(np.mean(right[name])), 4) for name in sorted(right)},
        "mask_iou_of_those_found": round(float(np.mean(fits)) if fits else 0.0, 4),
        "segments_that_are_no_object": round(wrong / max(1, segments), 4),
        "objects": {name: len(right[name]) for name in sorted(right)},
    }


def fastsam(weights: Path, side: int) -> Callable[[Image.Image], list[Mask]]:
    """A segmenter as Ultralytics loads and runs it.

    Args:
        weights: the checkpoint.
        side: of the square that it sees.
    """
    from ultralytics.models import FastSAM

    model = FastSAM(str(weights))

    def segment(image: Image.Image) -> list[Mask]:
        result: Any = model.predict(image, imgsz=side, conf=CONFIDENCE, device="cpu", retina_masks=True, verbose=False)[0]
        return [] if result.masks is None else list(result.masks.data.numpy() > 0)

    return segment
