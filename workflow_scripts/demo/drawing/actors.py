"""What stands in a scene: sprites with their place, pasted from far to near, and the truth about what can be seen."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from workflow_scripts.demo.drawing.canvas import soft_spot
from workflow_scripts.demo.drawing.distractors import prop_sprite, stool
from workflow_scripts.demo.drawing.figure import paint_figure
from workflow_scripts.demo.drawing.poses import Pose
from workflow_scripts.demo.drawing.specs import PersonSpec, PersonTruth, Placement, ThingSpec, ThingTruth

Box = tuple[int, int, int, int]


@dataclass
class Actor:
    """Something to be pasted into a scene: its sprite, corner in the frame, ground y in pixels and truth."""

    sprite: Image.Image = field(repr=False)
    corner: tuple[int, int]
    ground: float
    spec: PersonSpec | ThingSpec | str
    keypoints: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)), repr=False)
    view: str = ""
    framing: str = ""

    def box(self, frame: tuple[int, int]) -> Box | None:
        """Return the box of what the frame shows, or None when nothing does."""
        found = self.sprite.getchannel("A").point(lambda value: 255 if value > 96 else 0).getbbox()
        if found is None:
            return None
        x, y = self.corner
        x1, y1 = max(0, found[0] + x), max(0, found[1] + y)
        x2, y2 = min(frame[0], found[2] + x), min(frame[1], found[3] + y)
        return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None

    def covers(self, x: int, y: int) -> bool:
        """Return whether a pixel of the frame lies under the sprite."""
        px, py = x - self.corner[0], y - self.corner[1]
        if not (0 <= px < self.sprite.width and 0 <= py < self.sprite.height):
            return False
        pixel = self.sprite.getpixel((px, py))
        return isinstance(pixel, tuple) and pixel[3] > 127


def standing(sprite: Image.Image, place: Placement, size: tuple[int, int], spec: ThingSpec | str) -> Actor:
    """Return a thing whose sprite stands at a place."""
    margin = 0.03 * place.height * size[1]
    ground = place.y * size[1]
    corner = (round(place.x * size[0] - sprite.width / 2), round(ground - sprite.height + margin))
    return Actor(sprite, corner, ground, spec)


def person_actors(
    rng: np.random.Generator,
    spec: PersonSpec,
    place: Placement,
    pose: Pose,
    look: tuple[str, str],
    size: tuple[int, int],
) -> list[Actor]:
    """Return a person, and the stool below when the pose needs a seat; ``look`` is the view and the framing."""
    unit, foot = place.height * size[1], (place.x * size[0], place.y * size[1])
    figure = paint_figure(spec, pose, look[0], foot, unit, size)
    person = Actor(figure.sprite, figure.corner, foot[1], spec, figure.keypoints, *look)
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
    for x, y, seen in actor.keypoints.tolist():
        if not (0 <= x < frame[0] and 0 <= y < frame[1]):
            result.append((0.0, 0.0, 0))
        elif any(other.covers(int(x), int(y)) for other in later):
            result.append((round(x, 2), round(y, 2), 1))
        else:
            result.append((round(x, 2), round(y, 2), int(seen)))
    return tuple(result)


def compose(base: Image.Image, actors: list[Actor]) -> tuple[Image.Image, Image.Image, Image.Image]:
    """Return the picture with all actors, from far to near; the mask of the people one can see; and whose each pixel is, from 1."""
    image, mask, instances = base, Image.new("L", base.size), Image.new("L", base.size)
    for number, actor in enumerate(actors, 1):
        shadow(image, actor)
        alpha = actor.sprite.getchannel("A")
        image.paste(actor.sprite.convert("RGB"), actor.corner, alpha)
        mask.paste(255 if isinstance(actor.spec, PersonSpec) else 0, actor.corner, alpha)
        instances.paste(number, actor.corner, alpha.point(lambda value: 255 if value > 127 else 0))
    return image, mask, instances


def name_of(actor: Actor) -> str:
    """Return a word for what an actor is: "person", a kind of thing, or what else stands there."""
    if isinstance(actor.spec, PersonSpec):
        return "person"
    return actor.spec.kind if isinstance(actor.spec, ThingSpec) else actor.spec


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
