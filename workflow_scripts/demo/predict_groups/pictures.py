"""One drawn scene as a group of images: the same figure at several stages of its making, each better than the one before."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageChops

from workflow_scripts.demo.drawing import Drawing, Placement, draw_scene, make_person, make_pose
from workflow_scripts.demo.drawing.layout import UPRIGHT
from workflow_scripts.demo.drawing.palette import RGB
from workflow_scripts.demo.drawing.seeds import pick, split

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 as parts of width and height

SIZES = ((320, 240), (384, 288), (240, 320), (288, 288))
# stage: lines of detail across the shorter side, contrast, standard deviation of the noise (of 255); the last stage is the drawing itself
LOOKS: dict[float, tuple[int, float, float]] = {1.0: (24, 0.62, 12.0), 1.5: (34, 0.75, 9.0), 2.0: (52, 0.88, 5.0)}
LAST_STAGE = 3.0
STAGE_SETS = ((1.0, 2.0), (1.0, 1.5, 2.0), (1.0, 2.0, 3.0), (1.0, 1.5, 2.0, 3.0))
GREY, HAZE = 128.0, 35.0  # where contrast is lost to, and how much brighter that is
DEFECTS = ("patch", "tear", "cast")
PATCHES: tuple[RGB, ...] = ((255, 0, 200), (20, 20, 20), (0, 230, 90), (235, 235, 235))
CASTS: tuple[RGB, ...] = ((255, 70, 200), (70, 255, 90), (80, 100, 255), (255, 140, 40))


@dataclass(frozen=True)
class Series:
    """A group.

    Attributes:
        images: by stage.
        stages: of the images, rising.
        defect: of the last image, one of `DEFECTS`; empty for none.
        box: of the figure, the same in all images, where a crop should be.
    """

    images: tuple[Image.Image, ...] = field(repr=False)
    stages: tuple[float, ...]
    defect: str
    box: Box

    @property
    def qualities(self) -> tuple[float, ...]:
        """How good the images are, to be compared within the group: the later the better, and a defect is worst."""
        return (*self.stages[:-1], 0.0 if self.defect else self.stages[-1])


def draw_series(rng: np.random.Generator, defect: str) -> Series:
    """A random scene at two to four stages.

    Args:
        rng: source of everything else.
        defect: of the last image; empty for none.
    """
    for_scene, for_noise, for_defect = split(rng, 3)
    drawing, stages = draw_figure(for_scene), pick(rng, STAGE_SETS)
    images = [at_stage(for_noise, drawing.image, stage) for stage in stages]
    if defect:
        images[-1] = DAMAGES[defect](for_defect, images[-1], drawing.people[0].box)
    return Series(tuple(images), stages, defect, as_parts(drawing.people[0].box, drawing.image.size))


def draw_figure(rng: np.random.Generator) -> Drawing:
    """A scene with one person who stands within the middle square, the part that CLIP sees."""
    width, height = size = pick(rng, SIZES)
    side = min(size)
    x, y = width / 2 + side * rng.uniform(-0.15, 0.15), height / 2 + side * rng.uniform(0.38, 0.47)
    place = Placement(x / width, y / height, side * rng.uniform(0.48, 0.75) / height)
    pose = make_pose(rng, pick(rng, UPRIGHT))
    return draw_scene(rng, size, [make_person(rng)], 0, framing="full", poses=[pose], places=[place], distractors=False)


def as_parts(box: tuple[int, int, int, int], size: tuple[int, int]) -> Box:
    """A box in pixels as parts of width and height."""
    x1, y1, x2, y2 = (round(value / size[number % 2], 4) for number, value in enumerate(box))
    return x1, y1, x2, y2


def at_stage(rng: np.random.Generator, image: Image.Image, stage: float) -> Image.Image:
    """The picture as it looks at a stage: the earlier, the blurrier, paler and noisier."""
    if stage == LAST_STAGE:
        return image
    lines, contrast, noise = LOOKS[stage]
    scale = lines / min(image.size)
    coarse = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BOX)
    pixels = np.asarray(coarse.resize(image.size, Image.Resampling.BICUBIC), dtype=float)
    pale = GREY + (pixels - GREY) * contrast + HAZE * (1 - contrast)
    grain = rng.normal(0, noise, (image.height, image.width, 1))
    return Image.fromarray((pale + grain).clip(0, 255).astype(np.uint8))


def _patch(rng: np.random.Generator, image: Image.Image, box: Sequence[int]) -> Image.Image:
    """A block of one colour over the figure."""
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    x, y = (x1 + x2) / 2, (y1 + y2) / 2 + height * rng.uniform(-0.12, 0.12)
    half_width, half_height = max(0.7 * width, 0.25 * height), 0.3 * height
    patched = image.copy()
    area = (round(x - half_width), round(y - half_height), round(x + half_width), round(y + half_height))
    patched.paste(pick(rng, PATCHES), area)
    return patched


def _tear(rng: np.random.Generator, image: Image.Image, box: Sequence[int]) -> Image.Image:
    """Strips across the figure that moved to the left and to the right by turns."""
    pixels = np.array(image)
    top, bottom = box[1], box[3]
    direction = 1
    while top < bottom:
        end = top + max(2, round((box[3] - box[1]) * rng.uniform(0.08, 0.14)))
        pixels[top:end] = np.roll(pixels[top:end], direction * round(image.width * rng.uniform(0.12, 0.25)), axis=1)
        top, direction = end, -direction
    return Image.fromarray(pixels)


def _cast(rng: np.random.Generator, image: Image.Image, box: Sequence[int]) -> Image.Image:
    """The whole picture in the light of a coloured lamp."""
    del box
    return ImageChops.multiply(image, Image.new("RGB", image.size, pick(rng, CASTS)))


DAMAGES = dict(zip(DEFECTS, (_patch, _tear, _cast), strict=True))
