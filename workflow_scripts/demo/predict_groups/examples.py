"""Draws the groups that the small ranker and crop proposer learn from and are measured on, in parallel and independent of their order."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt

from workflow_scripts.core.images import decode
from workflow_scripts.core.preprocess import Pixels, Preprocess
from workflow_scripts.core.step import progress
from workflow_scripts.demo.drawing import rng_for
from workflow_scripts.demo.people_data import encode
from workflow_scripts.demo.predict_groups.pictures import DEFECTS, draw_series

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Examples:
    """The images of drawn groups, group after group.

    Attributes:
        pixels: as CLIP takes them [n, size, size, 3].
        groups: number of the group of each image [n].
        qualities: of each image, to be compared within its group [n]; 0 for one with a defect.
        sizes: width and height in pixels [n, 2].
        boxes: of the figure, x1, y1, x2, y2 as parts of width and height [n, 4].
    """

    pixels: Pixels
    groups: Integers
    qualities: Floats
    sizes: Integers
    boxes: Floats

    def pairs(self) -> Integers:
        """Every two images of a group, the better one first [p, 2]."""
        found: list[tuple[int, int]] = []
        for members in self.members():
            found += [(one, other) for one, other in permutations(members, 2) if self.qualities[one] > self.qualities[other]]
        return np.array(found)

    def members(self) -> list[list[int]]:
        """The images of each group, by number."""
        starts = np.flatnonzero(np.diff(self.groups)) + 1
        return [part.tolist() for part in np.split(np.arange(len(self.groups)), starts)]

    def with_mirrored(self) -> "Examples":
        """These, then the same groups with left and right changed over."""
        pixels = np.concatenate([self.pixels, self.pixels[:, :, ::-1]])
        mirrored = self.boxes[:, [2, 1, 0, 3]]
        mirrored[:, [0, 2]] = 1 - mirrored[:, [0, 2]]
        groups = np.concatenate([self.groups, self.groups + len(self.members())])
        qualities, sizes = np.tile(self.qualities, 2), np.tile(self.sizes, (2, 1))
        return Examples(pixels, groups, qualities, sizes, np.concatenate([self.boxes, mirrored]))


def draw_group(number: int, seed: int, split: str, share: float, preprocess: Preprocess) -> tuple[Pixels, list[tuple[float, ...]]]:
    """The images of one group as CLIP takes them, through the files and the decoding that the pipeline has, and a row for each:
    quality, width, height, box.
    """
    rng = rng_for(seed, "predict-train", split, str(number))
    defect = DEFECTS[int(rng.integers(len(DEFECTS)))] if rng.random() < share else ""
    series = draw_series(rng, defect)
    decoded = [decode(encode(image, "jpg"), min_side=preprocess.size) for image in series.images]
    rows: list[tuple[float, ...]] = [
        (quality, one.width, one.height, *series.box) for quality, one in zip(series.qualities, decoded, strict=True)
    ]
    return np.concatenate([preprocess(one.image) for one in decoded]), rows


def draw_examples(seed: int, split: str, groups: int, preprocess: Preprocess, *, share: float, workers: int) -> Examples:
    """Draw groups as those of the demo's projects.

    Args:
        seed: of all.
        split: name of the set; another one shares no picture.
        groups: how many.
        preprocess: of the CLIP model.
        share: of the groups whose last image has a defect.
        workers: processes; the result does not depend on it.
    """
    draw = partial(draw_group, seed=seed, split=split, share=share, preprocess=preprocess)
    # Forked: a fresh interpreter for each worker would run the calling script again.
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        parts = list(progress(pool.map(draw, range(groups), chunksize=16), total=groups, unit=f"{split} groups"))
    rows = np.array([row for _, found in parts for row in found])
    numbers = np.repeat(np.arange(groups), [len(found) for _, found in parts])
    pixels = np.concatenate([found for found, _ in parts])
    return Examples(pixels, numbers, rows[:, 0].astype(np.float32), rows[:, 1:3].astype(np.int64), rows[:, 3:].astype(np.float32))
