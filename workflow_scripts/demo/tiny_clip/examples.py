"""Draws the examples that a tiny CLIP learns from and is measured on, in parallel and independent of their order."""

import logging
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
from PIL import Image, ImageOps

from workflow_scripts.demo.drawing import (
    Drawing,
    PersonSpec,
    ThingSpec,
    caption,
    draw_scene,
    make_person,
    make_thing,
    rng_for,
)
from workflow_scripts.demo.drawing.seeds import pick
from workflow_scripts.demo.drawing.words import scene_words
from workflow_scripts.demo.tiny_clip.prompts import BACKGROUND_NAMES, COLOUR_NAMES, KIND_NAMES, OTHER, WHO

BLOCK = 20
CAPTIONS = 4
SIZES = ((104, 104), (136, 104), (104, 136), (152, 100))
LABELS = ("person", "goal", "kind", "colour", "background", "who", "other", "concept")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Examples:
    """Drawn examples, in blocks of ``BLOCK`` that hold the same mix.

    Half show people, three tenths a single thing, and the rest several things or none.

    Attributes:
        pixels: square RGB images as uint8, shape (n, side, side, 3).
        captions: ``CAPTIONS`` true captions of each.
        labels: by name an array of length n; -1 where a label has no meaning. "goal" is the wanted people probability.
    """

    pixels: np.ndarray
    captions: list[list[str]]
    labels: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.captions)


def concept_of(seed: int, split: str, block: int, role: int) -> tuple[PersonSpec | None, ThingSpec | None, int]:
    """Return the person or thing that the example shares with its neighbour, and the concept's number.

    Roles 0 and 1 share a person, 10 to 15 three things in pairs; the first two have the same kind and colour, so that
    only details tell them apart.
    """
    if role < 2:
        return make_person(rng_for(seed, split, f"block-{block}", "person")), None, block * 5
    if not 10 <= role < 16:
        return None, None, -1
    pair = (role - 10) // 2
    shared = rng_for(seed, split, f"block-{block}", f"kind-{pair // 2}")
    kind, colour = pick(shared, KIND_NAMES), pick(shared, COLOUR_NAMES)
    thing = make_thing(rng_for(seed, split, f"block-{block}", f"thing-{pair}"), kind, colour)
    return None, thing, block * 5 + 1 + pair


def draw_example(seed: int, split: str, index: int, sizes: Iterable[tuple[int, int]]) -> tuple[Drawing, int]:
    """Return one drawing and its concept's number (-1 for none)."""
    block, role = divmod(index, BLOCK)
    rng = rng_for(seed, split, f"example-{index}")
    size = pick(rng, list(sizes))
    person, thing, concept = concept_of(seed, split, block, role)
    if person:
        return draw_scene(rng, size, [person]), concept
    if thing:
        return draw_scene(rng, size, 0, [thing]), concept
    if role < 10:
        return draw_scene(rng, size, int(rng.choice([1, 2, 3, 4], p=[0.58, 0.24, 0.11, 0.07]))), concept
    # Several things without anybody: else "several" would be learnt as a sign of people.
    return draw_scene(rng, size, 0, 0 if role == 19 else int(rng.integers(2, 4))), concept


def labels_of(drawing: Drawing, concept: int, rng: np.random.Generator) -> dict[str, float]:
    """Return the labels of a drawing, see ``Examples``."""
    people, things = drawing.people, drawing.things
    single = things[0] if len(things) == 1 and not people else None
    share = float(np.asarray(drawing.mask.resize((32, 32))).mean()) / 255
    # The goal rises with the share of the picture that people fill, so that scores spread and thresholds can be tried.
    goal = 0.78 + 0.19 * min(1.0, share / 0.15) if people else 0.08 if drawing.distractors else 0.03
    alone = len(people) == 1 and people[0].view == "front"
    scene = scene_words(drawing, rng) if not people else ""
    other = [number for number, text in enumerate(OTHER) if scene and text.endswith(scene)]
    return {
        "person": float(bool(people)),
        "goal": goal,
        "kind": KIND_NAMES.index(single.kind) if single else -1,
        "colour": COLOUR_NAMES.index(single.colour) if single else -1,
        "background": BACKGROUND_NAMES.index(drawing.background),
        "who": WHO.index(people[0].spec.kind) if alone else -1,
        "other": other[0] if other else -1,
        "concept": concept,
    }


def one(index: int, seed: int, split: str, side: int, sizes: tuple[tuple[int, int], ...]) -> tuple[np.ndarray, list[str], dict[str, float]]:
    """Return pixels, captions and labels of one example."""
    drawing, concept = draw_example(seed, split, index, sizes)
    rng = rng_for(seed, split, f"words-{index}")
    # The same resize and centre crop as the model's own preprocessing.
    square = ImageOps.fit(drawing.image, (side, side), Image.Resampling.BICUBIC)
    texts = [caption(drawing, rng) for _ in range(CAPTIONS)]
    return np.asarray(square), texts, labels_of(drawing, concept, rng)


def draw_examples(
    seed: int, split: str, blocks: int, side: int, *, sizes: tuple[tuple[int, int], ...] = SIZES, workers: int = 2
) -> Examples:
    """Draw ``blocks`` blocks of examples as squares of ``side`` px.

    Args:
        seed, split: name the set; another split shares no picture, thing or person.
        blocks: number of blocks of ``BLOCK`` examples.
        side: edge of the squares in pixels.
        sizes: sizes of the drawings before they are reduced.
        workers: processes; the result does not depend on it.
    """
    draw = partial(one, seed=seed, split=split, side=side, sizes=sizes)
    # Forked before torch is imported: a fresh interpreter for each worker would run the calling script again.
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        parts = list(pool.map(draw, range(blocks * BLOCK), chunksize=BLOCK))
    logger.info("drew %d %s examples of %d px", len(parts), split, side)
    labels = {name: np.array([part[2][name] for part in parts], dtype=np.float32) for name in LABELS}
    whole = {name: column if name == "goal" else column.astype(np.int64) for name, column in labels.items()}
    return Examples(np.stack([part[0] for part in parts]), [part[1] for part in parts], whole)
