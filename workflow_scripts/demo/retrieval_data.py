"""Demo: draw the concept folders that the retrieval pipeline compares, with copies, damaged and oddly named files, and their truth."""

import csv
import io
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from workflow_scripts.core.step import atomic_text, progress, report_counts, step
from workflow_scripts.demo.drawing import ThingSpec, draw_scene, make_thing, rng_for

SIZES = ((320, 240), (320, 240), (240, 320), (288, 288))
FORMATS = {5: "png", 6: "webp"}  # by the number of a concept's image; the others are JPEG
QUALITY, LOW_QUALITY = 90, 70  # of JPEG and WebP; the second of near copies
# category folder: the kind of thing in it, and its concepts: colour, pattern, build. Concepts of a category that share a colour are
# look-alikes.
CATEGORIES: dict[str, tuple[str, tuple[str, ...]]] = {
    'Bücher & "Hefte"': ("book", ("green stripes", "green dots", "yellow plain", "purple band")),
    "car": ("car", ("red plain", "red stripes", "blue dots", "blue plain", "white band", "yellow check")),
    "dog": ("dog", ("brown plain", "brown patch", "black stripes", "black dots", "white plain", "orange plain")),
    "mug": ("mug", ("red stripes", "red dots", "blue plain, tall", "blue plain, wide", "green check", "white patch", "yellow band")),
    "vase": ("vase", ("purple dots", "purple stripes")),
}
BUILDS = {"tall": 1.0, "wide": -1.0}
SINGLE = "dog/orange plain"  # a concept of one image
FIRST = "IMG_0000.jpg"
# Odd names, and files that are there again, in concepts where the demo's seeds take them for training, so that they reach all steps.
ODD_NAMES = {
    'comma, "quote" and it\'s spaces.jpg': "dog/white plain",
    "Ünïcödé 写真 🙂.jpg": 'Bücher & "Hefte"/green stripes',
    "100% {wildcard} #1.jpg": "mug/red dots",
    "query → negative.jpg": "car/white band",
    "UPPER.JPG": 'Bücher & "Hefte"/purple band',
}
# Concepts whose first image is there again: as it is, as a JPEG of lower quality, and as it is in the folder of another concept.
COPIED = ("car/yellow check", "dog/black stripes", "mug/red stripes")
RESAVED = ("car/blue plain", "dog/black dots", "mug/green check")
MISPLACED = {"car/blue dots": "blue plain", "dog/brown patch": "brown plain", "mug/blue plain, wide": "blue plain, tall"}
COLUMNS = ("path", "category", "concept", "kind", "group", "look_alike")


@dataclass(frozen=True)
class Sample:
    """A file of the set.

    Attributes:
        path: `category/concept/name`.
        data: its bytes.
        kind: `image`, `copy` (the same bytes), `near copy`, `conflict` (the same bytes, in a folder of what it does not show),
            `unreadable` or `skipped`.
        group: the path of the drawing that it shows; files of one group show the same picture.
    """

    path: str
    data: bytes
    kind: str
    group: str


def concepts() -> list[str]:
    """All concepts as `category/concept`."""
    return [f"{category}/{name}" for category, (_, names) in CATEGORIES.items() for name in names]


def look_alike(category: str, concept: str) -> str:
    """What the look-alikes among a category's concepts share, such as `red mug`; empty for a concept that has none."""
    kind, names = CATEGORIES[category]
    colour = concept.split()[0]
    return f"{colour} {kind}" if sum(name.startswith(f"{colour} ") for name in names) > 1 else ""


def thing(place: str, seed: int) -> ThingSpec:
    """What the concept `category/concept` is about: the same thing in all its images."""
    category, concept = place.split("/")
    colour, pattern, *build = re.findall(r"\w+", concept)
    spec = make_thing(rng_for(seed, "retrieval", place), CATEGORIES[category][0], colour)
    return replace(spec, pattern=pattern, build=BUILDS[build[0]] if build else spec.build)


def picture(place: str, name: str, seed: int) -> Image.Image:
    """A concept's thing in a scene that depends on the names and the seed alone."""
    rng = rng_for(seed, "retrieval", place, name)
    size = SIZES[int(rng.integers(len(SIZES)))]
    return draw_scene(rng, size, people=0, things=[thing(place, seed)], distractors=False).image


def encode(image: Image.Image, suffix: str, quality: int = QUALITY) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    kind = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[suffix.lower()]
    image.save(buffer, kind, quality=quality)
    return buffer.getvalue()


def drawn(place: str, name: str, seed: int) -> Sample:
    """An image of its own."""
    path = f"{place}/{name}"
    return Sample(path, encode(picture(place, name, seed), name.rsplit(".", 1)[-1]), "image", path)


def names(place: str, images: int, seed: int) -> list[str]:
    """The names of a concept's ordinary images: about `images`."""
    count = 1 if place == SINGLE else images + int(rng_for(seed, "retrieval", place, "count").integers(-2, 3))
    return [f"IMG_{number:04d}.{FORMATS.get(number, 'jpg')}" for number in range(count)]


def samples(images: int, seed: int) -> Iterator[Sample]:
    """The whole set: ordinary images, then the odd ones."""
    for place in concepts():
        for name in names(place, images, seed):
            yield drawn(place, name, seed)
    for name, place in ODD_NAMES.items():
        yield drawn(place, name, seed)
    yield from again(seed)
    yield from unusable(seed)


def again(seed: int) -> Iterator[Sample]:
    """Pictures that are there already: the same bytes, another quality, or in a folder of what they do not show."""
    for place in COPIED:
        first = drawn(place, FIRST, seed)
        yield replace(first, path=f"{place}/{FIRST[:-4]} (1).jpg", kind="copy")
    for place in RESAVED:
        data = encode(picture(place, FIRST, seed), "jpg", LOW_QUALITY)
        yield Sample(f"{place}/{FIRST[:-4]} small.jpg", data, "near copy", f"{place}/{FIRST}")
    for place, other in MISPLACED.items():
        yield replace(drawn(place, FIRST, seed), path=f"{place.split('/')[0]}/{other}/misplaced.jpg", kind="conflict")


def unusable(seed: int) -> Iterator[Sample]:
    """Files that no decoder can read whole, and files that are no image of a concept."""
    data = encode(picture("mug/green check", "cut off", seed), "jpg")
    for path, part in (("mug/green check/cut off.jpg", data[: len(data) // 2]), ("car/white band/empty.JPEG", b"")):
        yield Sample(path, part, "unreadable", path)
    for path, content in (
        ("mug/green check/notes.txt", b"Not an image by its name.\n"),
        ("in no category.jpg", data),
        ("dog/in no concept.jpg", data),
    ):
        yield Sample(path, content, "skipped", path)


def row(sample: Sample) -> dict[str, str]:
    """A file's row of the truth table. Category and concept are those of its folders, empty where it lies above them."""
    category, concept = (*sample.path.split("/")[:-1], "", "")[:2]
    alike = look_alike(category, concept) if concept else ""
    return dict(zip(COLUMNS, (sample.path, category, concept, sample.kind, sample.group, alike), strict=True))


def draw(folder: Path, truth: Path, images: int, seed: int) -> int:
    """Write the set into a new folder, then the truth table; gives the number of files."""
    shutil.rmtree(folder, ignore_errors=True)
    rows: list[dict[str, str]] = []
    for sample in progress(samples(images, seed), total=images * len(concepts()), unit="drawings"):
        path = folder / sample.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample.data)
        rows.append(row(sample))
    with atomic_text(truth, newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


if job := globals().get("snakemake"):
    with step(job.log[0]):
        target = Path(job.output.truth)
        report_counts(drawn=draw(target.parent / "images", target, job.params.images, job.params.seed))
