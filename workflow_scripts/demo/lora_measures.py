"""How good the small models of the lora demo are, through the pipeline's own classes, on drawings that they have not seen."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from workflow_scripts.core.models import WeightsCard, hash_file
from workflow_scripts.demo.drawing import PersonTruth
from workflow_scripts.demo.lora_examples import Example
from workflow_scripts.demo.lora_staging import SEEN, largest, true_category
from workflow_scripts.lora.categories import choose
from workflow_scripts.lora.mask_model import Masker
from workflow_scripts.lora.pose_model import PoseModel

BOX_CONFIDENCE, KEYPOINT_CONFIDENCE = 0.25, 0.5  # the pipeline's defaults
NEAR = 0.05  # of the box's longer side: a keypoint no farther off is found
HALF = 128  # alpha from which a pixel counts


def keypoints_found(person: PersonTruth, keypoints: Sequence[float]) -> tuple[int, int, int, int]:
    """How many of a person's keypoints are in sight, found in their place, out of sight, and left out as such.

    Args:
        person: the truth.
        keypoints: x, y and confidence of each.
    """
    truth, found = np.array(person.keypoints), np.array(keypoints).reshape(-1, 3)
    reach = NEAR * max(person.box[2] - person.box[0], person.box[3] - person.box[1])
    seen, sure = truth[:, 2] == SEEN, found[:, 2] > KEYPOINT_CONFIDENCE
    near = np.hypot(*(truth[:, :2] - found[:, :2]).T) <= reach
    return int(seen.sum()), int((seen & sure & near).sum()), int((~seen).sum()), int((~seen & ~sure).sum())


def measure_sorting(weights: Path, examples: Sequence[Example], threads: int) -> dict[str, Any]:
    """How many keypoints are found, and how many pictures of each category are sorted right by the pipeline's rules.

    Args:
        weights: the checkpoint.
        examples: drawings it has not seen.
        threads: of the CPU.
    """
    model = PoseModel(weights, device="cpu", threads=threads, batch=1)
    right: dict[str, list[bool]] = defaultdict(list)
    counts = np.zeros(4, dtype=int)
    for example in examples:
        people = model.find([model.prepare(np.asarray(example.image))])[0]
        choice = choose(people, box_conf=BOX_CONFIDENCE, conf_threshold=KEYPOINT_CONFIDENCE, max_people=None)
        truth, person = true_category(example.people), largest(example.people)
        right[truth].append(choice.category == truth)
        if person and choice.person:
            counts += keypoints_found(person, choice.person["keypoints"])
    seen, found, hidden, left_out = counts.tolist()
    return {
        "keypoints_in_sight_found": round(found / max(1, seen), 4),
        "keypoints_out_of_sight_left_out": round(left_out / max(1, hidden), 4),
        "category_accuracy": {name: round(float(np.mean(right[name])), 4) for name in sorted(right)},
        "drawings": {name: len(right[name]) for name in sorted(right)},
    }


def measure_precision(weights: Path, data: Path) -> dict[str, float]:
    """Mean average precision at 0.5 of poses and boxes, as Ultralytics counts it on the `val` part of a data set."""
    from ultralytics.models import YOLO

    where = {"project": str(data.parent), "name": "val", "exist_ok": True}
    scores: Any = YOLO(str(weights)).val(data=str(data), device="cpu", verbose=False, plots=False, workers=0, **where)
    return {"pose_map50": round(float(scores.pose.map50), 4), "box_map50": round(float(scores.box.map50), 4)}


def overlap(found: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8]) -> float:
    """Intersection over union of two masks; 1 where both are empty."""
    one, other = found >= HALF, truth >= HALF
    return float((one & other).sum() / (one | other).sum()) if (one | other).any() else 1.0


def measure_masks(weights: Path, examples: Sequence[Example], threads: int) -> dict[str, float]:
    """Intersection over union with the drawn masks, of the pictures with people.

    Args:
        weights: the ONNX file.
        examples: drawings it has not seen.
        threads: of the CPU.
    """
    card = WeightsCard("mask", str(weights), str(weights), weights.stat().st_size, hash_file(weights))
    masker = Masker(card, device="cpu", threads=threads, batch=1)

    def mask(image: Image.Image) -> npt.NDArray[np.uint8]:
        output = masker.infer([masker.prepare(image)])[0]
        return np.asarray(masker.alpha(output, image.size))

    values = [overlap(mask(example.image), np.asarray(example.mask)) for example in examples if example.people]
    low, middle = np.quantile(values, (0.05, 0.5)).tolist()
    return {"mean_iou": round(float(np.mean(values)), 4), "median_iou": round(middle, 4), "iou_of_the_worst_twentieth": round(low, 4)}
