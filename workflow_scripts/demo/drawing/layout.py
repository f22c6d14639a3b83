"""Where people and things stand in a scene that leaves it open."""

from collections.abc import Sequence

import numpy as np

from workflow_scripts.demo.drawing.kinds import KINDS
from workflow_scripts.demo.drawing.seeds import weighted
from workflow_scripts.demo.drawing.skeleton import HEIGHTS, MEASURES
from workflow_scripts.demo.drawing.specs import PersonSpec, Placement, ThingSpec

FRAMINGS = ("far", "full", "hips", "portrait")
# What stands free in a cut figure: poses whose legs are straight.
UPRIGHT = ("stand", "relaxed", "hips", "wave", "crossed", "point")


def slots(rng: np.random.Generator, count: int) -> list[float]:
    """Return ``count`` places across the frame, 0 to 1, in random order and with some disorder."""
    if count == 1:
        return [float(rng.uniform(0.4, 0.6))]
    # Square crops of wide frames, as CLIP takes them, should still show what stands at the sides.
    centres = np.linspace(0.24, 0.76, count) + rng.uniform(-0.05, 0.05, count)
    return [float(x) for x in rng.permutation(centres)]


def choose_framing(rng: np.random.Generator, people: int) -> str:
    """Return how near the people are."""
    if people <= 1:
        return weighted(rng, {"far": 0.8, "full": 2.4, "hips": 1.0, "portrait": 1.0})
    return weighted(rng, {"far": 1.0, "full": 2.6, "hips": 1.0})


def place_person(rng: np.random.Generator, spec: PersonSpec, framing: str, x: float, ground: float, crowd: int) -> Placement:
    """Return a place for one person.

    Args:
        rng: source of variation.
        spec: who it is; children are smaller, except in portraits.
        framing: one of ``FRAMINGS``.
        x: centre, as a fraction of the frame's width.
        ground: y from which things can stand, as a fraction of the frame's height.
        crowd: number of people in the scene, who need room beside each other.
    """
    m = MEASURES[spec.kind]
    if framing == "far":
        y = min(0.97, ground + rng.uniform(0.0, 0.1))
        return Placement(x, y, rng.uniform(0.36, 0.48) * max(0.8, HEIGHTS[spec.kind]))
    if framing == "full":
        y = rng.uniform(max(0.84, ground), 0.97)
        return Placement(x, y, min(rng.uniform(0.6, 0.88), y - 0.05) * HEIGHTS[spec.kind])
    # From the crown of the head to the cut, in units of standing height.
    shown = m.trunk + 2.3 * m.head + 0.06 if framing == "hips" else 2.3 * m.head + 0.5 * m.trunk
    top = rng.uniform(0.08, 0.16) + (0.08 if crowd > 1 else 0.0)
    height = (1.0 - top) / shown * rng.uniform(0.94, 1.02)
    standing = m.trunk + 2 * m.leg + 2.1 * m.head + 0.06
    return Placement(x, top + standing * height, height)


def place_thing(
    rng: np.random.Generator, spec: ThingSpec, x: float, ground: float, aspect: float, company: int, far: bool = False
) -> Placement:
    """Return a place for one thing.

    Args:
        rng: source of variation.
        spec: what it is.
        x, ground: as for ``place_person``.
        aspect: the frame's width over its height.
        company: how many people and things there are besides.
        far: whether it stands with people who are far away, and looks small as they do.
    """
    how = KINDS[spec.kind]
    if company == 0:
        height = rng.uniform(0.52, 0.82) * (0.74 + 0.26 * min(1.0, how.size))
        y = min(0.96, max(ground + 0.02, 0.55 + height / 2 + rng.uniform(-0.04, 0.06)))
    else:
        height = rng.uniform(0.55, 0.72) * float(np.clip(how.size**0.6, 0.42, 1.1)) * (0.9 if company > 2 else 1.0)
        height *= 0.6 if far else 1.0
        # Large things stand behind, where they hide nobody.
        nearest = min(0.94, ground + 0.06) if how.size > 0.55 else 0.96
        y = rng.uniform(min(nearest - 0.02, ground + 0.02), nearest)
    widest = 0.8 * aspect if company == 0 else 0.52 * aspect
    height = min(height, widest / how.aspect, y - 0.03)
    half = how.aspect * height / aspect / 2
    return Placement(float(np.clip(x, half + 0.01, 0.99 - half)) if half < 0.49 else 0.5, y, height)


def people_count(rng: np.random.Generator, people: int | Sequence[PersonSpec] | None) -> int:
    """Return the number of people that is asked for, or a random one."""
    if people is None:
        return weighted(rng, {0: 4.5, 1: 3.4, 2: 1.3, 3: 0.5, 4: 0.3})
    return people if isinstance(people, int) else len(people)


def things_count(rng: np.random.Generator, things: int | Sequence[ThingSpec] | None, beside_people: bool) -> int:
    """Return the number of things that is asked for, or a random one."""
    if things is None:
        return weighted(rng, {0: 4.0, 1: 3.0, 2: 1.0} if beside_people else {0: 1.2, 1: 5.0, 2: 1.5, 3: 0.8})
    return things if isinstance(things, int) else len(things)
