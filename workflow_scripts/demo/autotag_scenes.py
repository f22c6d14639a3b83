"""Scenes of the autotag demo, of few kinds, so that every tag is that of many; and the tags that a model might have given them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from workflow_scripts.demo.drawing import caption, draw_scene, make_thing, rng_for, tags
from workflow_scripts.demo.drawing.seeds import pick, weighted
from workflow_scripts.demo.people_data import encode

SIZES = ((256, 192), (256, 192), (192, 256), (224, 224))
BACKGROUNDS = ("beach", "night", "room", "street")
KINDS = ("bicycle", "boat", "cake", "car", "dog", "tree")
COLOURS = ("blue", "red", "yellow")
MISSED = 0.04  # of the true tags a list lacks
CAPITAL, BLANK = 0.1, 0.05  # of the tags begin with a capital, or have blanks round them


@dataclass(frozen=True)
class Picture:
    """A drawn image file.

    Attributes:
        data: its bytes.
        size: width and height in pixels.
        tags: that are true of it, sorted.
        caption: a sentence that is true of it.
    """

    data: bytes = field(repr=False)
    size: tuple[int, int]
    tags: tuple[str, ...]
    caption: str


def picture(seed: int, *names: str, suffix: str = "jpg", backgrounds: Sequence[str] = BACKGROUNDS) -> Picture:
    """The picture of this name; nothing else decides what it shows, beside the seed and the backgrounds to choose from."""
    rng = rng_for(seed, "autotag", *names)
    size, background = pick(rng, SIZES), pick(rng, backgrounds)
    people = weighted(rng, {0: 6.0, 1: 3.5, 2: 0.5})
    things = weighted(rng, {0: 5.0, 1: 5.0} if people else {1: 7.0, 2: 3.0})
    what = [make_thing(rng, pick(rng, KINDS), pick(rng, COLOURS)) for _ in range(things)]
    drawing = draw_scene(rng, size, people=people, things=what, background=background, distractors=False)
    return Picture(encode(drawing.image, suffix), size, tags(drawing), caption(drawing, rng))


def listed_tags(true: Sequence[str], rng: np.random.Generator) -> list[str]:
    """The tags as a vision model lists them: in no order, now and then without one, with a capital or with blanks."""
    found = []
    for tag in rng.permutation(np.array(true, dtype=object)).tolist():
        missed, capital, blank = rng.random(3)
        if missed >= MISSED:
            written = tag.capitalize() if capital < CAPITAL else tag
            found.append(f" {written} " if blank < BLANK else written)
    return found
