"""Scenes that the small segmenter of the autotag demo learns from, with a mask of every person and thing."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt
from PIL import Image

from workflow_scripts.core.step import progress
from workflow_scripts.demo.drawing import Drawing, draw_scene, rng_for
from workflow_scripts.demo.drawing.seeds import pick

SIZES = ((256, 192), (192, 256), (224, 224), (256, 144))
PERSON = "person"
LEAST = 40  # pixels: what shows less of itself is no object
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Scene:
    """A drawn picture and its objects: the name of each, and where it is seen [h, w]."""

    image: Image.Image = field(repr=False)
    objects: tuple[tuple[str, Mask], ...] = field(repr=False)


def objects(drawing: Drawing) -> tuple[tuple[str, Mask], ...]:
    """Everything in a drawing that can be seen well enough, from far to near."""
    numbers = np.asarray(drawing.instances)
    found = [(name, numbers == number) for number, name in enumerate(drawing.names, 1)]
    return tuple((name, mask) for name, mask in found if mask.sum() >= LEAST)


def draw_example(seed: int, name: str, number: int) -> Scene:
    """Draw the scene of this number."""
    rng = rng_for(seed, "autotag", "segmenter", name, str(number))
    drawing = draw_scene(rng, pick(rng, SIZES))
    return Scene(drawing.image, objects(drawing))


def draw_examples(seed: int, name: str, count: int, workers: int) -> Iterator[Scene]:
    """Draw so many scenes, in order; `name` tells sets apart, such as what is learnt from and what is held out."""
    # Forked: a fresh interpreter for each worker would run the calling script again.
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        yield from progress(pool.map(partial(draw_example, seed, name), range(count), chunksize=16), total=count, unit="drawings")
