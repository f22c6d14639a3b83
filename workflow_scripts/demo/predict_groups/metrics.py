"""How well selections and crops fit the truth."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from workflow_scripts.demo.predict_groups.examples import Examples, Floats
from workflow_scripts.demo.predict_groups.training import SCALE
from workflow_scripts.predict.checkpoint import read_checkpoint
from workflow_scripts.predict.crops import make_crop
from workflow_scripts.predict.networks import CROP_PROPOSER, RANKER, Network, crop_inputs
from workflow_scripts.predict.selection import select

NEAR = 0.05  # of a side: how far a coordinate may lie from the truth to count as right, as in `crop_match`
MIN_SIDE = 0.05  # of a crop


def overlap(found: Sequence[float], wanted: Sequence[float]) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2, each with x1 < x2 and y1 < y2."""
    width, height = (min(found[axis + 2], wanted[axis + 2]) - max(found[axis], wanted[axis]) for axis in (0, 1))
    shared = max(0.0, width) * max(0.0, height)
    return shared / (_area(found) + _area(wanted) - shared)


def share_near(found: Sequence[float], wanted: Sequence[float]) -> float:
    """Which part of the coordinates is right."""
    return sum(abs(one - other) <= NEAR for one, other in zip(found, wanted, strict=True)) / len(wanted)


def measure(ranker: Path, proposer: Path, examples: Examples, vectors: Floats) -> dict[str, float]:
    """How two checkpoints do as the pipeline uses them: at the best image of each group, and at the crop of what was selected.

    Args:
        ranker: its checkpoint.
        proposer: its checkpoint.
        examples: groups that neither has seen.
        vectors: embeddings of their images, of length 1 [n, d].
    """
    dimension = vectors.shape[1]
    scores = Network(read_checkpoint(ranker, RANKER, dimension))(vectors)[:, 0]
    proposals = Network(read_checkpoint(proposer, CROP_PROPOSER, dimension))(crop_inputs(vectors, examples.sizes, SCALE))
    rows = []
    for number, members in enumerate(examples.members()):
        selection, qualities = select(str(number), scores[members].tolist()), examples.qualities[members]
        assert selection is not None
        chosen = members[selection.index]
        crop, wanted = make_crop(proposals[chosen].tolist(), MIN_SIDE).coordinates, examples.boxes[chosen].tolist()
        assert crop is not None
        is_right = qualities[selection.index] == qualities.max()
        rows.append((is_right, qualities.min() == 0, 1 / len(members), overlap(crop, wanted), share_near(crop, wanted)))
    right, has_defect, chance, overlaps, near = np.array(rows, dtype=float).T
    figures = {
        "selection_accuracy": right.mean(),
        "selection_accuracy_with_defect": right[has_defect == 1].mean(),
        "selection_accuracy_without_defect": right[has_defect == 0].mean(),
        "selection_by_chance": chance.mean(),
        "crop_mean_iou": overlaps.mean(),
        "crop_coordinates_within_0.05": near.mean(),
    }
    return {name: round(float(value), 4) for name, value in figures.items()}


def _area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
