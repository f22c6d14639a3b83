"""Situations that the small models of the lora demo learn from: people near and far, cut, from behind, blurred, or nobody."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context

import numpy as np
from PIL import Image, ImageFilter

from workflow_scripts.core.step import progress
from workflow_scripts.demo.drawing import Drawing, PersonTruth, draw_scene, make_person, make_pose, rng_for
from workflow_scripts.demo.drawing.seeds import pick, weighted
from workflow_scripts.demo.lora_staging import CUTS, FACE, FULL, UPPER, UPRIGHT, stage

SIZES = ((384, 288), (288, 384), (384, 384), (384, 216))
SITUATIONS = {"one": 7.0, "behind": 2.0, "two": 1.0, "crowd": 0.5, "nobody": 1.8}
SHARES = {FACE: (0.3, 0.7), UPPER: (0.15, 0.75), FULL: (0.15, 0.9)}
BLURRED = 0.15
SMEAR = 13  # pixels of a frame 384 wide that moves while the shutter is open


@dataclass(frozen=True)
class Example:
    """A drawn situation: the picture, the mask of all people (L), and what can be seen of them."""

    image: Image.Image = field(repr=False)
    mask: Image.Image = field(repr=False)
    people: tuple[PersonTruth, ...]


def smeared(image: Image.Image, length: int) -> Image.Image:
    """The picture as a camera sees it that turns sideways by `length` pixels while the shutter is open."""
    pixels = np.pad(np.asarray(image, dtype=np.float32), ((0, 0), (length // 2, length - 1 - length // 2), (0, 0)), mode="edge")
    sums = np.cumsum(np.pad(pixels, ((0, 0), (1, 0), (0, 0))), axis=1, dtype=np.float64)
    return Image.fromarray(((sums[:, length:] - sums[:, :-length]) / length).round().astype(np.uint8))


def blurred(image: Image.Image, kind: str) -> Image.Image:
    """The picture with one of two kinds of blur: `motion` or `defocus`; any other word leaves it sharp."""
    if kind == "motion":
        return smeared(image, max(3, round(image.width * SMEAR / 384)))
    return image.filter(ImageFilter.GaussianBlur(image.width / 100)) if kind == "defocus" else image


def portrayed(rng: np.random.Generator, size: tuple[int, int], situation: str) -> Drawing:
    """Draw one or two people at a distance of their own, so that the frame cuts them off at a known part."""
    people = [make_person(rng) for _ in range(2 if situation == "two" else 1)]
    cut = FULL if situation == "two" else pick(rng, CUTS)
    across = [0.26, 0.74] if situation == "two" else [rng.uniform(0.35, 0.65)]
    far = rng.uniform(0.05, 0.5) if cut == FULL else rng.uniform(0.04, 0.2)
    places = [stage(who, cut, rng.uniform(*SHARES[cut]), top=far + rng.uniform(0, 0.1), x=x) for who, x in zip(people, across, strict=True)]
    free = cut == FULL and situation == "one" and rng.random() < 0.4
    poses = [make_pose(rng, None if free else pick(rng, UPRIGHT)) for _ in people]
    view = "back" if situation == "behind" else "front"
    things = int(rng.integers(0, 2))  # more of them hide too much
    return draw_scene(rng, size, people, things, framing="full", view=view, poses=poses, places=places)


def draw_example(seed: int, name: str, number: int) -> Example:
    """Draw the situation of this number."""
    rng = rng_for(seed, "lora", name, str(number))
    size, situation = pick(rng, SIZES), weighted(rng, SITUATIONS)
    if situation in ("crowd", "nobody"):
        drawing = draw_scene(rng, size, int(rng.integers(1, 4)) if situation == "crowd" else 0)
    else:
        drawing = portrayed(rng, size, situation)
    kind = pick(rng, ("motion", "defocus")) if rng.random() < BLURRED else ""
    return Example(blurred(drawing.image, kind), drawing.mask, drawing.people)


def draw_examples(seed: int, name: str, count: int, workers: int) -> Iterator[Example]:
    """Draw so many situations, in order; `name` tells sets apart, such as what is learnt from and what is held out."""
    # Forked: a fresh interpreter for each worker would run the calling script again.
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        yield from progress(pool.map(partial(draw_example, seed, name), range(count), chunksize=16), total=count, unit="drawings")
