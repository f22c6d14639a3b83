"""What the videos of the lora demo show, frame by frame: everything follows from a clip, the number of a frame and the seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from PIL import Image

from workflow_scripts.demo.drawing import Drawing, PersonSpec, Placement, Pose, draw_scene, interpolate, make_person, make_pose, rng_for
from workflow_scripts.demo.drawing.seeds import pick, split
from workflow_scripts.demo.lora_examples import blurred
from workflow_scripts.demo.lora_staging import FACE, FULL, UPPER, UPRIGHT, largest, stage, true_category

NOBODY = "nobody"
CROWN = {FACE: 0.1, UPPER: 0.08, FULL: 0.1}  # of the frame's height, above the head
SHARE = {FACE: 0.5, UPPER: 0.4, FULL: 0.25}  # where the frame ends, as `stage` takes it


@dataclass(frozen=True)
class Shot:
    """A stretch of a clip.

    Attributes:
        seconds: how long it lasts.
        cut: one of `lora_staging.CUTS`, or `NOBODY`.
        view: `front` or `back`.
        people: how many of the clip's people are there.
        blur: `motion`, `defocus` or none.
        away: how much farther away the people are when it begins; they come nearer.
    """

    seconds: float
    cut: str
    view: str = "front"
    people: int = 1
    blur: str = ""
    away: float = 0.0


@dataclass(frozen=True)
class Clip:
    """A video, or a folder of frames.

    Attributes:
        path: below the folder of videos.
        size: width and height as one sees it.
        background: a key of `drawing.BACKGROUNDS`.
        shots: one after the other.
        fps: frames a second.
        sideways: stored turned by a quarter, which its metadata say.
        broken: the file breaks off.
    """

    path: str
    size: tuple[int, int]
    background: str
    shots: tuple[Shot, ...]
    fps: int = 5
    sideways: bool = False
    broken: bool = False

    @property
    def name(self) -> str:
        """Its path without extension, as the pipeline calls the video."""
        return str(PurePosixPath(self.path).with_suffix(""))

    def __len__(self) -> int:
        """How many frames there are."""
        return sum(round(shot.seconds * self.fps) for shot in self.shots)

    def shot_of(self, index: int) -> tuple[int, Shot, float]:
        """The shot of a frame, with its number and how much of it has passed, 0 to 1."""
        for number, shot in enumerate(self.shots):
            frames = round(shot.seconds * self.fps)
            if index < frames:
                return number, shot, index / max(1, frames - 1)
            index -= frames
        raise IndexError(index)


CLIPS = (
    Clip("near_far.mp4", (480, 360), "hills", (Shot(2, FULL, away=0.25), Shot(1.6, UPPER), Shot(2, FACE))),
    Clip("behind.mp4", (400, 300), "beach", (Shot(1.6, FULL, "back"), Shot(1.6, FACE, "back"))),
    Clip("hips.mov", (480, 360), "room", (Shot(4, UPPER),)),
    Clip("blurred.mkv", (480, 360), "street",
         (Shot(1.6, FACE), Shot(1.6, FACE, blur="motion"), Shot(1.6, UPPER, blur="defocus"), Shot(1, UPPER))),
    Clip("empty.webm", (320, 240), "forest", (Shot(1.6, NOBODY), Shot(1.6, FACE), Shot(1, NOBODY))),
    Clip("two people.mp4", (480, 360), "snow", (Shot(3, FULL, people=2),)),
    Clip("phone.mp4", (270, 360), "kitchen", (Shot(1.6, FULL), Shot(1.6, FACE)), sideways=True),
    Clip("broken.mp4", (320, 240), "desert", (Shot(4, FULL),), broken=True),
    Clip("extracted", (480, 360), "studio", (Shot(1.5, UPPER), Shot(1.5, FACE)), fps=2),
)  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """A frame of a clip and the truth about it.

    Attributes:
        image: the picture, RGB, upright.
        mask: L image of the same size, 255 where the largest person can be seen.
        category: what the pipeline should sort it under.
        people: how many can be seen.
        blurred: whether it is.
        box: x1, y1, x2, y2 of the largest person in pixels; None for nobody.
    """

    image: Image.Image
    mask: Image.Image
    category: str
    people: int
    blurred: bool
    box: tuple[int, int, int, int] | None


@lru_cache(maxsize=64)
def cast(name: str, seed: int) -> tuple[PersonSpec, ...]:
    """The people of a clip, the nearer one first."""
    return tuple(make_person(rng_for(seed, "lora", name, "person", str(number)), kind) for number, kind in enumerate(("woman", "child")))


def moves(name: str, seed: int, shot: int, person: int) -> tuple[Pose, Pose]:
    """The poses that someone has at the beginning and the end of a shot."""
    rng = rng_for(seed, "lora", name, "pose", str(shot), str(person))
    first, last = split(rng, 2)
    return make_pose(first, pick(first, UPRIGHT)), make_pose(last, pick(last, UPRIGHT))


def places(people: Sequence[PersonSpec], shot: Shot, passed: float) -> list[Placement]:
    """Where the people of a shot stand: one in the middle, or a second one farther back beside the first."""
    across = [0.5] if len(people) == 1 else [0.27, 0.74]
    drift, away = 0.06 * (passed - 0.5), shot.away * (1 - passed)
    return [
        stage(who, shot.cut, SHARE[shot.cut], top=CROWN[shot.cut] + away + 0.3 * number, x=x + drift)
        for number, (who, x) in enumerate(zip(people, across, strict=True))
    ]


def draw_frame(clip: Clip, index: int, seed: int) -> Frame:
    """Draw a frame of a clip, the first one is number 0; backgrounds stay, people move."""
    number, shot, passed = clip.shot_of(index)
    people = [] if shot.cut == NOBODY else list(cast(clip.name, seed)[: shot.people])
    eased = passed * passed * (3 - 2 * passed)
    poses = [interpolate(*moves(clip.name, seed, number, person), eased) for person in range(len(people))]
    rng = rng_for(seed, "lora", clip.name)
    where = places(people, shot, passed) if people else None
    drawing: Drawing = draw_scene(
        rng, clip.size, people, 0, clip.background, framing=FULL, view=shot.view, poses=poses, places=where, distractors=False
    )
    person = largest(drawing.people)
    mask = Image.new("L", clip.size)
    if person:
        mask.paste(drawing.mask.crop(person.box), person.box)
    box = person.box if person else None
    return Frame(blurred(drawing.image, shot.blur), mask, true_category(drawing.people), len(drawing.people), bool(shot.blur), box)


def mask_of(video: str, index: int, seed: int) -> Image.Image:
    """Draw the mask of the largest person of a frame anew.

    Args:
        video: the clip's path, as in the truth table.
        index: number of the frame in it, from 0.
        seed: of the demo.
    """
    return draw_frame({clip.path: clip for clip in CLIPS}[video], index, seed).mask
