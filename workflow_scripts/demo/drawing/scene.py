"""Composes scenes: a background, things and people, their shadows and light, and the truth about them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from workflow_scripts.demo.drawing import backgrounds_lit, things_indoor, things_living, things_outdoor  # noqa: F401
from workflow_scripts.demo.drawing.backgrounds import BACKGROUNDS
from workflow_scripts.demo.drawing.canvas import soft_spot
from workflow_scripts.demo.drawing.distractors import DISTRACTORS, WHERE, prop_sprite, stool
from workflow_scripts.demo.drawing.figure import paint_figure
from workflow_scripts.demo.drawing.kinds import KINDS, thing_sprite
from workflow_scripts.demo.drawing.layout import UPRIGHT, choose_framing, place_person, place_thing, random_specs_count, slots
from workflow_scripts.demo.drawing.poses import Pose, make_pose
from workflow_scripts.demo.drawing.seeds import pick, split, weighted
from workflow_scripts.demo.drawing.specs import (
    Drawing,
    PersonSpec,
    PersonTruth,
    Placement,
    ThingSpec,
    ThingTruth,
    make_person,
    make_thing,
)

Box = tuple[int, int, int, int]


@dataclass
class Actor:
    """Something to be pasted into a scene: its sprite, corner in the frame, ground y in pixels and truth."""

    sprite: Image.Image = field(repr=False)
    corner: tuple[int, int]
    ground: float
    spec: PersonSpec | ThingSpec | str
    keypoints: np.ndarray | None = None
    view: str = ""
    framing: str = ""

    def box(self, frame: tuple[int, int]) -> Box | None:
        """Return the box of what the frame shows, or None when nothing does."""
        found = self.sprite.getchannel("A").point(lambda value: 255 if value > 96 else 0).getbbox()
        if found is None:
            return None
        x, y = self.corner
        x1, y1, x2, y2 = max(0, found[0] + x), max(0, found[1] + y), min(frame[0], found[2] + x), min(frame[1], found[3] + y)
        return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def standing(sprite: Image.Image, place: Placement, size: tuple[int, int], spec: ThingSpec | str) -> Actor:
    """Return a thing whose sprite stands at a place."""
    margin = 0.03 * place.height * size[1]
    ground = place.y * size[1]
    corner = (round(place.x * size[0] - sprite.width / 2), round(ground - sprite.height + margin))
    return Actor(sprite, corner, ground, spec)


def person_actors(
    rng: np.random.Generator, spec: PersonSpec, place: Placement, pose: Pose, view: str, framing: str, size: tuple[int, int]
) -> list[Actor]:
    """Return a person, and the stool below when the pose needs a seat."""
    unit, foot = place.height * size[1], (place.x * size[0], place.y * size[1])
    figure = paint_figure(spec, pose, view, foot, unit, size)
    person = Actor(figure.sprite, figure.corner, foot[1], spec, figure.keypoints, view, framing)
    if min(pose.left_lift, pose.right_lift) < 0.7:
        return [person]
    hips = figure.keypoints[11:13, :2].mean(axis=0)
    height = max(4.0, foot[1] - hips[1])
    seat = prop_sprite(stool, rng, height)
    return [standing(seat, Placement(hips[0] / size[0], place.y - 0.004, height / size[1]), size, "stool"), person]


def shadow(image: Image.Image, actor: Actor) -> None:
    """Lay a soft shadow on the ground below an actor."""
    width = round(actor.sprite.width * 0.95)
    height = max(2, round(width * 0.17))
    if actor.ground >= image.height * 1.02:
        return
    spot = soft_spot().resize((width, height), Image.Resampling.BILINEAR).point(lambda value: value * 2 // 5)
    x = actor.corner[0] + (actor.sprite.width - width) // 2
    image.paste((24, 20, 34), (x, round(actor.ground - height * 0.55)), spot)


def covered(actor: Actor, later: Sequence[Actor], frame: tuple[int, int]) -> tuple[tuple[float, float, int], ...]:
    """Return a person's keypoints with the visibility that the frame and nearer actors leave."""
    result = []
    for x, y, seen in (actor.keypoints if actor.keypoints is not None else np.zeros((0, 3))).tolist():
        if not (0 <= x < frame[0] and 0 <= y < frame[1]):
            result.append((0.0, 0.0, 0))
            continue
        for other in later:
            px, py = int(x) - other.corner[0], int(y) - other.corner[1]
            inside = 0 <= px < other.sprite.width and 0 <= py < other.sprite.height
            if inside and other.sprite.getpixel((px, py))[3] > 127:  # type: ignore[index]
                seen = 1
        result.append((round(x, 2), round(y, 2), int(seen)))
    return tuple(result)


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


def compose(base: Image.Image, actors: list[Actor]) -> tuple[Image.Image, Image.Image]:
    """Return the picture with all actors, from far to near, and the mask of the people one can see."""
    image, mask = base, Image.new("L", base.size)
    for actor in actors:
        shadow(image, actor)
        alpha = actor.sprite.getchannel("A")
        image.paste(actor.sprite.convert("RGB"), actor.corner, alpha)
        mask.paste(255 if isinstance(actor.spec, PersonSpec) else 0, actor.corner, alpha)
    return image, mask


def truth(actors: list[Actor], size: tuple[int, int]) -> tuple[tuple[PersonTruth, ...], tuple[ThingTruth, ...]]:
    """Return what can be seen of the people and things."""
    people, things = [], []
    for index, actor in enumerate(actors):
        box = actor.box(size)
        if box is None:
            continue
        if isinstance(actor.spec, PersonSpec):
            keypoints = covered(actor, actors[index + 1 :], size)
            people.append(PersonTruth(box, keypoints, actor.view, actor.framing, actor.spec))
        elif isinstance(actor.spec, ThingSpec):
            things.append(ThingTruth(actor.spec.kind, actor.spec.colour, box, actor.spec))
    return tuple(people), tuple(things)


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
        people: how many (0 to 4), or who.
        things: how many, or which.
        background: a key of ``BACKGROUNDS``.
        framing: "far", "full", "hips" or "portrait".
        view: "front" or "back".
        poses: one pose for each person.
        places: one place for each person.
        distractors: whether something person-like stands there; by default in about one scene of four.
        grain: whether to add camera grain.
    """
    dice, for_background, for_people, for_things, for_light, for_places = split(rng, 6)
    count = random_specs_count(dice, people)
    near = framing or choose_framing(dice, count)
    where = background or pick(dice, list(BACKGROUNDS))
    who = [make_person(for_people) for _ in range(count)] if people is None or isinstance(people, int) else list(people)
    number = weighted(dice, {0: 4.0, 1: 3.0, 2: 1.0} if count else {0: 1.2, 1: 5.0, 2: 1.5, 3: 0.8})
    what = list(things) if things is not None and not isinstance(things, int) else [
        make_thing(for_things, pick(for_things, list(KINDS))) for _ in range(number if things is None else things)
    ]  # fmt: skip
    pen, ground = BACKGROUNDS[where].paint(size, for_background)
    base = pen.finish()
    if dice.random() < (0.6 if near == "portrait" and who else 0.2):
        base = base.filter(ImageFilter.GaussianBlur(size[1] * dice.uniform(0.006, 0.014)))
    across = slots(for_places, len(who) + len(what)) if who or what else []
    actors: list[Actor] = []
    for index, spec in enumerate(who):
        place = place_person(for_places, spec, near, across[index], ground, count)
        pose = make_pose(for_people, pick(for_people, UPRIGHT) if near in ("hips", "portrait") else None)
        side = view or ("back" if for_people.random() < 0.15 else "front")
        place, pose = places[index] if places else place, poses[index] if poses else pose
        actors += person_actors(for_people, spec, place, pose, side, near, size)
    for index, item in enumerate(what):
        place = place_thing(for_places, item, across[count + index], ground, size[0] / size[1], len(across) - 1, near == "far" and count > 0)
        sprite = thing_sprite(item, place.height * size[1])
        if for_places.random() < 0.5:
            sprite = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        actors.append(standing(sprite, place, size, item))
    extra = dice.random() < 0.28 if distractors is None else distractors
    if extra and where in WHERE:
        name, height = pick(dice, WHERE[where]), dice.uniform(0.36, 0.62)
        place = Placement(pick(dice, [0.1, 0.2, 0.8, 0.9]), ground + 0.02, min(height, ground - 0.02))
        actors.append(standing(prop_sprite(DISTRACTORS[name], dice, place.height * size[1]), place, size, name))
    actors.sort(key=lambda actor: actor.ground)
    image, mask = compose(base, actors)
    seen, named = truth(actors, size)
    props = tuple(sorted({actor.spec for actor in actors if isinstance(actor.spec, str)}))
    return Drawing(finish_light(for_light, image, where, grain), mask, seen, named, where, props)
