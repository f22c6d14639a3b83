"""Demo: draw the set that the people pipeline cleans, some of it damaged or oddly named on purpose, with its truth."""

import csv
import io
import shutil
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from workflow_scripts.core.images import content_hash
from workflow_scripts.core.step import atomic_text, progress, report_counts, step
from workflow_scripts.demo.drawing import draw_scene, rng_for

SIZES = ((480, 360), (360, 480), (512, 512), (640, 360))
ODD_NAMES = (
    "name with spaces.jpg",
    'it\'s "quoted", twice.jpg',
    "<script>alert(1)</script>.jpg".replace("/", "_"),
    "line\nbreak.jpg",
    "Ünïcödé 写真 🙂.jpg",
    "100%#{wildcard}&$HOME.jpg",
    "-rf.jpg",
    "UPPER.JPEG",
    "dots.in.the.name.jpg",
)
ODD_FILES = 15  # damaged and unusual ones
COLUMNS = ("key", "expected", "people")
LABEL_COLUMNS = ("sha256", "label")


@dataclass(frozen=True)
class Sample:
    """A file of the set.

    Attributes:
        key: its path in the set.
        data: its bytes.
        expected: `scanned`, `error` or `skipped`.
        people: how many people it shows, where it can be seen.
    """

    key: str
    data: bytes
    expected: str
    people: int


def scene(name: str, seed: int, *, people: bool) -> tuple[Image.Image, int]:
    """A drawn scene that depends on its name and the seed alone, and how many people one can see in it."""
    rng = rng_for(seed, "people", name)
    size = SIZES[int(rng.integers(len(SIZES)))]
    drawing = draw_scene(rng, size, people=int(rng.integers(1, 4)) if people else 0)
    return drawing.image, len(drawing.people)


def samples(count: int, seed: int) -> Iterator[Sample]:
    """The whole set: `count` ordinary scenes, about half of them with people, then the odd ones."""
    for number in range(count):
        people = bool(rng_for(seed, "people", "has-people", str(number)).random() < 0.5)
        suffix = ("png", "webp")[number // 10 % 2] if number % 10 == 9 else "jpg"
        image, shown = scene(str(number), seed, people=people)
        yield Sample(f"album-{number // 100:02d}/scene-{number:05d}.{suffix}", encode(image, suffix), "scanned", shown)
    for number, name in enumerate(ODD_NAMES):
        image, shown = scene(name, seed, people=number % 2 == 0)
        yield Sample(f"odd names/{name}", encode(image, "jpg"), "scanned", shown)
    yield from damaged(seed)
    yield from unusual(seed)


def damaged(seed: int) -> Iterator[Sample]:
    """Files that no decoder can read whole, and files that are no images."""
    data = encode(scene("damaged", seed, people=True)[0], "jpg")
    yield Sample("damaged/truncated.jpg", data[: len(data) // 2], "error", 0)
    yield Sample("damaged/empty.jpg", b"", "error", 0)
    yield Sample("damaged/text.jpg", b"This is no image.\n", "error", 0)
    yield Sample("damaged/bomb.png", bomb(), "error", 0)
    yield Sample("damaged/truncated.png", encode(scene("damaged", seed, people=False)[0], "png")[:5000], "error", 0)
    yield Sample("notes.txt", b"Not an image by its name.\n", "skipped", 0)
    yield Sample("Thumbs.db", b"\0" * 64, "skipped", 0)


def unusual(seed: int) -> Iterator[Sample]:
    """Files that need care to be read right: rotated, CMYK, 16 bits, wrong extension, the same twice."""
    for orientation, turn in ((6, Image.Transpose.ROTATE_90), (3, Image.Transpose.ROTATE_180), (8, Image.Transpose.ROTATE_270)):
        image, shown = scene(f"rotated-{orientation}", seed, people=True)
        exif = Image.Exif()
        exif[0x0112] = orientation
        # Stored turned the other way, so that the orientation turns it upright.
        yield Sample(f"unusual/rotated-{orientation}.jpg", encode(image.transpose(turn), "jpg", exif=exif.tobytes()), "scanned", shown)
    image, shown = scene("cmyk", seed, people=True)
    yield Sample("unusual/cmyk.jpg", encode(image.convert("CMYK"), "jpg"), "scanned", shown)
    image, shown = scene("deep", seed, people=False)
    deep = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    yield Sample("unusual/16-bit.png", encode(deep, "png"), "scanned", shown)
    image, shown = scene("wrong", seed, people=True)
    first, shown_first = scene("animated", seed, people=True)
    frames = io.BytesIO()
    first.save(frames, "WEBP", save_all=True, append_images=[scene("animated-2", seed, people=False)[0].resize(first.size)])
    yield Sample("unusual/animated.webp", frames.getvalue(), "scanned", shown_first)
    yield Sample("unusual/really-a-png.jpg", encode(image, "png"), "scanned", shown)
    yield Sample("unusual/same-bytes-again.jpg", encode(image, "png"), "scanned", shown)


def bomb() -> bytes:
    """A PNG of a few bytes whose header announces 3,600 million pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = (header, b"IDAT" + zlib.compress(b""), b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in chunks)


def encode(image: Image.Image, suffix: str, **options: bytes) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    kind = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[suffix]
    image.save(buffer, kind, **({} if suffix == "png" else {"quality": 90}), **options)
    return buffer.getvalue()


def draw(folder: Path, truth: Path, count: int, seed: int) -> int:
    """Write the set into a new folder, then `labels.csv` and the truth table beside it; gives the number of files.

    The labels are what a person would have given every readable image on the labelling page.
    """
    shutil.rmtree(folder, ignore_errors=True)
    rows: list[dict[str, str | int]] = []
    labels: list[dict[str, str | int]] = []
    for sample in progress(samples(count, seed), total=count + len(ODD_NAMES) + ODD_FILES, unit="drawings"):
        path = folder / sample.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample.data)
        rows.append({"key": sample.key, "expected": sample.expected, "people": sample.people})
        if sample.expected == "scanned":
            labels.append({"sha256": content_hash(sample.data), "label": int(sample.people > 0)})
    for table, columns, values in ((truth.with_name("labels.csv"), LABEL_COLUMNS, labels), (truth, COLUMNS, rows)):
        with atomic_text(table, newline="") as handle:
            writer = csv.DictWriter(handle, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(values)
    return len(rows)


if job := globals().get("snakemake"):
    with step(job.log[0]):
        target = Path(job.output.truth)
        report_counts(drawn=draw(target.parent / "images", target, job.params.images, job.params.seed))
