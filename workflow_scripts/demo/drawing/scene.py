"""Draws scenes: a background, things and people, light and grain, and the truth about them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageChops, ImageFilter

# The painters register themselves when they are imported.
from workflow_scripts.demo.drawing import (  # noqa: F401
    backgrounds,
    backgrounds_lit,
    things_indoor,
    things_living,
    things_outdoor,
)
from workflow_scripts.demo.drawing.actors import Actor, compose, name_of, person_actors, standing, truth
from workflow_scripts.demo.drawing.backdrop import BACKGROUNDS
from workflow_scripts.demo.drawing.distractors import DISTRACTORS, WHERE, prop_sprite
from workflow_scripts.demo.drawing.kinds import KINDS, thing_sprite
from workflow_scripts.demo.drawing.layout import (
    UPRIGHT,
    choose_framing,
    people_count,
    place_person,
    place_thing,
    slots,
    things_count,
)
from workflow_scripts.demo.drawing.poses import Pose, make_pose
from workflow_scripts.demo.drawing.seeds import pick, split
from workflow_scripts.demo.drawing.specs import Drawing, PersonSpec, Placement, ThingSpec, make_person, make_thing


def finish_light(rng: np.random.Generator, image: Image.Image, background: str, grain: bool) -> Image.Image:
    """Return the picture with uneven light and a little grain, as a camera would give it."""
    tint = np.array([208, 212, 246] if background == "night" else [255, 255, 255])
    light = tint * rng.uniform(0.92, 1.0, (3, 3, 1)) * rng.uniform(0.97, 1.0, (1, 1, 3))
    field_of_light = Image.fromarray(light.astype(np.uint8)).resize(image.size, Image.Resampling.BILINEAR)
    lit = ImageChops.multiply(image, field_of_light)
    if not grain:
        return lit
    noise = Image.fromarray(rng.integers(0, 6, (image.height, image.width), dtype=np.uint8))
    return ImageChops.add(lit, Image.merge("RGB", (noise, noise, noise)), 1.0, -2)


def paint_base(rng: np.random.Generator, background: str, size: tuple[int, int], blur: float) -> tuple[Image.Image, float]:
    """Return the background, out of focus with probability ``blur``, and the y (0..1) from which things can stand."""
    pen, ground = BACKGROUNDS[background].paint(size, rng)
    base = pen.finish()
    if rng.random() < blur:
        base = base.filter(ImageFilter.GaussianBlur(size[1] * rng.uniform(0.006, 0.014)))
    return base, ground


def cast_people(
    rng: np.random.Generator,
    who: Sequence[PersonSpec],
    places: Sequence[Placement],
    poses: Sequence[Pose] | None,
    look: tuple[str | None, str],
    size: tuple[int, int],
) -> list[Actor]:
    """Return the people of a scene; ``look`` is the wanted view (None: any) and the framing."""
    actors = []
    for index, (spec, place) in enumerate(zip(who, places, strict=True)):
        # Drawn even when a pose is given, so that a video's frames differ in the pose alone.
        pose = make_pose(rng, pick(rng, UPRIGHT) if look[1] in ("hips", "portrait") else None)
        side = "back" if rng.random() < 0.15 else "front"
        actors += person_actors(rng, spec, place, poses[index] if poses else pose, (look[0] or side, look[1]), size)
    return actors


def cast_things(rng: np.random.Generator, what: Sequence[ThingSpec], places: Sequence[Placement], size: tuple[int, int]) -> list[Actor]:
    """Return the things of a scene, each as it is or mirrored."""
    actors = []
    for spec, place in zip(what, places, strict=True):
        sprite = thing_sprite(spec, place.height * size[1])
        if rng.random() < 0.5:
            sprite = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        actors.append(standing(sprite, place, size, spec))
    return actors


def cast_distractor(rng: np.random.Generator, background: str, ground: float, wanted: bool | None, size: tuple[int, int]) -> list[Actor]:
    """Return something person-like that suits the background, or nothing."""
    chance = rng.random() < 0.28
    if background not in WHERE or not (chance if wanted is None else wanted):
        return []
    name, height = pick(rng, WHERE[background]), rng.uniform(0.36, 0.62)
    place = Placement(pick(rng, [0.1, 0.2, 0.8, 0.9]), ground + 0.02, min(height, ground - 0.02))
    return [standing(prop_sprite(DISTRACTORS[name], rng, place.height * size[1]), place, size, name)]


def draw_scene(
    rng: np.random.Generator,
    size: tuple[int, int] = (256, 256),
    people: int | Sequence[PersonSpec] | None = None,
    things: int | Sequence[ThingSpec] | None = None,
    background: str | None = None,
    *,
    framing: str | None = None,
    view: str | None = None,
    poses: Sequence[Pose] | None = None,
    places: Sequence[Placement] | None = None,
    distractors: bool | None = None,
    grain: bool = True,
) -> Drawing:
    """Draw a scene; whatever is None is chosen at random.

    The same generator state gives the same background, places and light whatever poses and specs are passed: frames
    of a video take ``rng_for`` with one name and a pose that changes.

    Args:
        rng: source of everything that is not given.
        size: width and height in pixels.
        people, things: how many, or which.
        background: a key of ``BACKGROUNDS``.
        framing: of the people: "far", "full", "hips" or "portrait".
        view: of the people: "front" or "back".
        poses, places: one for each person.
        distractors: whether something person-like stands there; by default in about one scene of four.
        grain: whether to add camera grain.
    """
    dice, for_back, for_people, for_poses, for_things, for_light, for_places, for_extra = split(rng, 8)
    count, where = people_count(dice, people), background or pick(dice, list(BACKGROUNDS))
    near, number = framing or choose_framing(dice, count), things_count(dice, things, count > 0)
    who = [make_person(for_people) for _ in range(count)] if people is None or isinstance(people, int) else people
    names = [pick(for_things, list(KINDS)) for _ in range(number)]
    what = [make_thing(for_things, name) for name in names] if things is None or isinstance(things, int) else things
    base, ground = paint_base(for_back, where, size, 0.6 if near == "portrait" and count else 0.2)
    across = slots(for_places, max(1, count + number))
    stands = [place_person(for_places, spec, near, x, ground, count) for spec, x in zip(who, across, strict=False)]
    company, far = count + number - 1, near == "far" and count > 0
    left = zip(what, across[count:], strict=False)
    spots = [place_thing(for_places, spec, x, ground, size[0] / size[1], company, far) for spec, x in left]
    actors = cast_people(for_poses, who, places or stands, poses, (view, near), size)
    actors += cast_things(for_places, what, spots, size)
    actors += cast_distractor(for_extra, where, ground, distractors, size)
    actors.sort(key=lambda actor: actor.ground)
    image, mask, instances = compose(base, actors)
    seen, named = truth(actors, size)
    props = tuple(sorted({actor.spec for actor in actors if isinstance(actor.spec, str)}))
    lit = finish_light(for_light, image, where, grain)
    return Drawing(lit, mask, seen, named, where, props, instances=instances, names=tuple(map(name_of, actors)))
