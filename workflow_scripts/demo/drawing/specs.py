"""What is drawn, as plain data: things and people that can be made once and drawn in many scenes."""

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from workflow_scripts.demo.drawing.palette import COLOURS, HAIRS, RGB, SKINS, jitter, luminance
from workflow_scripts.demo.drawing.seeds import pick, weighted

PATTERNS = ("plain", "stripes", "dots", "band", "patch", "check")
PEOPLE_KINDS = ("man", "woman", "child")
HAIR_STYLES = {
    "man": ("short", "curly", "bald", "spiky", "side"),
    "woman": ("long", "bun", "bob", "curly", "tail"),
    "child": ("short", "bob", "spiky", "tail", "curly"),
}


@dataclass(frozen=True)
class ThingSpec:
    """One thing: two specs of the same kind and colour still differ in pattern, accent and build.

    Attributes:
        kind: what it is, a key of ``KINDS``.
        colour: name of its main colour, a key of ``COLOURS``.
        rgb: the main colour itself, close to the named one.
        accent: colour of its pattern and small parts.
        pattern: one of ``PATTERNS``.
        density: how fine the pattern is, 0 (coarse) to 1.
        slant: angle of the pattern in degrees.
        build: proportions, -1 (low, wide) to 1 (tall, narrow).
        variant: which of two forms of small parts it has, 0 or 1.
    """

    kind: str
    colour: str
    rgb: RGB
    accent: RGB
    pattern: str = "plain"
    density: float = 0.5
    slant: float = 30.0
    build: float = 0.0
    variant: int = 0


@dataclass(frozen=True)
class PersonSpec:
    """One person's looks, which stay the same in every scene.

    Attributes:
        kind: "man", "woman" or "child".
        skin, hair: colours.
        hair_style: one of ``HAIR_STYLES[kind]``.
        top, bottom, shoes: colours of the clothes.
        top_colour: name of the top's colour.
        bottom_kind: "trousers", "shorts", "skirt" or "dress".
        top_pattern: "plain", "stripes" or "band".
        accent: colour of the pattern and the hat.
        hat: "none", "cap", "brim" or "beanie".
        glasses, beard: whether the face has them.
        build: -1 (slim) to 1 (broad).
    """

    kind: str
    skin: RGB
    hair: RGB
    hair_style: str
    top: RGB
    top_colour: str
    bottom: RGB
    shoes: RGB
    accent: RGB
    bottom_kind: str = "trousers"
    top_pattern: str = "plain"
    hat: str = "none"
    glasses: bool = False
    beard: bool = False
    build: float = 0.0


@dataclass(frozen=True)
class Placement:
    """Where something stands, in fractions of the frame.

    Attributes:
        x: its centre, of the frame's width.
        y: the ground below it, of the frame's height.
        height: its height, of the frame's; for a person the height it would have standing upright.
    """

    x: float
    y: float
    height: float


@dataclass(frozen=True)
class PersonTruth:
    """One drawn person as it can be seen.

    Attributes:
        box: x1, y1, x2, y2 in pixels, inside the frame.
        keypoints: 17 COCO keypoints (x, y, visibility): 2 seen, 1 hidden, 0 outside the frame (then x = y = 0).
        view: "front" or "back".
        framing: "far", "full", "hips" or "portrait".
        spec: who it is.
    """

    box: tuple[int, int, int, int]
    keypoints: tuple[tuple[float, float, int], ...]
    view: str
    framing: str
    spec: PersonSpec


@dataclass(frozen=True)
class ThingTruth:
    """One drawn thing: its kind, colour name, box in pixels inside the frame, and spec."""

    kind: str
    colour: str
    box: tuple[int, int, int, int]
    spec: ThingSpec


@dataclass(frozen=True)
class Drawing:
    """A drawn scene and what is in it.

    Attributes:
        image: the picture, RGB.
        mask: L image of the same size, 255 where a person can be seen.
        people, things: what was drawn, from far to near.
        background: name of the background.
        distractors: what else stands there and could be taken for a person.
        instances: L image of the same size: which of `names` is seen at a pixel, from 1; 0 is the background.
        names: everything that was pasted, from far to near: "person", a kind of thing, a distractor, or "stool".
    """

    image: Image.Image = field(repr=False)
    mask: Image.Image = field(repr=False)
    people: tuple[PersonTruth, ...]
    things: tuple[ThingTruth, ...]
    background: str
    distractors: tuple[str, ...] = ()
    instances: Image.Image = field(repr=False, kw_only=True)
    names: tuple[str, ...] = field(kw_only=True)


def make_thing(rng: np.random.Generator, kind: str, colour: str | None = None) -> ThingSpec:
    """Return a random thing of one kind, and of one colour where that is given."""
    name = colour or pick(rng, list(COLOURS))
    main = COLOURS[name]
    # An accent that is neither the main colour nor near it in lightness stays visible at thumbnail size.
    accents = [rgb for rgb in COLOURS.values() if abs(luminance(rgb) - luminance(main)) > 40]
    return ThingSpec(
        kind=kind,
        colour=name,
        rgb=jitter(rng, main),
        accent=jitter(rng, pick(rng, accents)),
        pattern=weighted(rng, {"plain": 2.0, "stripes": 1.0, "dots": 1.0, "band": 1.0, "patch": 1.0, "check": 0.7}),
        density=float(rng.random()),
        slant=float(rng.uniform(-60, 60)),
        build=float(rng.uniform(-1, 1)),
        variant=int(rng.integers(2)),
    )


def make_person(rng: np.random.Generator, kind: str | None = None) -> PersonSpec:
    """Return a random person, of one kind where that is given."""
    who = kind or pick(rng, PEOPLE_KINDS)
    top_colour = pick(rng, list(COLOURS))
    lower = {"trousers": 1.5, "shorts": 0.6} | ({} if who == "man" else {"skirt": 1.2, "dress": 1.0})
    bottoms = [name for name in COLOURS if name != top_colour]
    hair = weighted(rng, {"black": 2.0, "brown": 2.5, "blond": 1.5, "red": 0.8, "gray": 0.0 if who == "child" else 0.7})
    return PersonSpec(
        kind=who,
        skin=jitter(rng, pick(rng, SKINS), 5),
        hair=jitter(rng, HAIRS[hair], 6),
        hair_style=pick(rng, HAIR_STYLES[who]),
        top=jitter(rng, COLOURS[top_colour]),
        top_colour=top_colour,
        bottom=jitter(rng, COLOURS[pick(rng, bottoms)]),
        shoes=jitter(rng, pick(rng, [(60, 50, 50), (230, 228, 224), (150, 60, 52), (60, 70, 110)])),
        accent=jitter(rng, COLOURS[pick(rng, bottoms)]),
        bottom_kind=weighted(rng, lower),
        top_pattern=weighted(rng, {"plain": 2.0, "stripes": 1.0, "band": 0.8}),
        hat=weighted(rng, {"none": 3.2, "cap": 0.7, "brim": 0.6, "beanie": 0.5}),
        glasses=bool(rng.random() < 0.22),
        beard=bool(who == "man" and rng.random() < 0.35),
        build=float(rng.uniform(-1, 1)),
    )
