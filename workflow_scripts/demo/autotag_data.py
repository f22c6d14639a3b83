"""Demo: draw the tagged shards and the folders to tag that the autotag pipeline works on, with their truth."""

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.core.step import atomic_text, progress, report_counts, step
from workflow_scripts.demo.autotag_scenes import picture
from workflow_scripts.demo.autotag_shards import COPIED, ERROR, IMAGE, draw_sample, draw_shard, key_of, name_of, write_shard
from workflow_scripts.demo.people_data import ODD_NAMES, bomb

SOURCE, TAGS, TARGETS = "source", "tags", "targets"
FOLDERS = {"evening": ("night", "room"), "market": ("beach", "street")}  # and where their scenes play
COPY, FROM_SOURCE, SKIPPED = "copy", "copy from the source", "skipped"
ODD_FOLDER = "market"
LONG_NAME = f"{'a very long name ' * 15}"[:251] + ".jpg"  # 255 bytes, the most that file systems allow
SUFFIXES = {4: "png", 5: "webp"}  # by the number of an image, of ten; the others are JPEG
COLUMNS = ("side", "folder", "image", "kind", "copy_of", "tags")


@dataclass(frozen=True)
class File:
    """A file of a target.

    Attributes:
        path: below the target's folder.
        data: its bytes.
        kind: `image`, `copy` (the bytes of another one), `copy from the source`, `error` or `skipped` (no image by its name).
        tags: that are true of it.
        copy_of: of a copy: the path of the other one, or `{shard}/{key}` in the source.
    """

    path: str
    data: bytes
    kind: str
    tags: tuple[str, ...] = ()
    copy_of: str = ""


def target_files(folder: str, count: int, seed: int, images: int, shards: int) -> Iterator[File]:
    """The files of a target: `count` scenes that the source does not have, then the odd ones."""
    places = FOLDERS[folder]

    def drawn(name: str, suffix: str = "jpg") -> File:
        shown = picture(seed, "target", folder, name, suffix=suffix, backgrounds=places)
        return File(name, shown.data, IMAGE, shown.tags)

    for number in range(count):
        suffix = SUFFIXES.get(number % 10, "jpg")
        yield drawn(f"day {number // 10 + 1}/IMG_{number:04d}.{suffix}", suffix)
    if folder == ODD_FOLDER:
        yield from (drawn(f"odd names/{name}") for name in (*ODD_NAMES, LONG_NAME))
        first = drawn("day 1/IMG_0000.jpg")
        yield File("day 1/IMG_0000 (copy).jpg", first.data, COPY, first.tags, first.path)
        yield drawn("day 1/IMG_0000.png", "png")  # called alike but for the extension
        yield File("bomb.png", bomb(), ERROR)
    else:
        original = draw_sample(seed, 0, COPIED, images, shards)
        place = f"{name_of(0)}/{key_of(0, COPIED)}"
        yield File("from the source.jpg", original.picture.data, FROM_SOURCE, original.picture.tags, place)
        yield File("cut off.jpg", drawn("cut off.jpg").data[:3000], ERROR)
        yield File("notes.txt", b"Not an image by its name.\n", SKIPPED)


def write_target(folder: Path, files: Iterator[File]) -> Iterator[dict[str, Any]]:
    """Write a target; gives the rows of the truth table."""
    for file in files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)
        yield _row("target", folder.name, file.path, file.kind, file.tags, file.copy_of)


def draw(truth: Path, *, images: int, shards: int, targets: int, seed: int) -> dict[str, int]:
    """Write source, tags and targets into new folders beside the truth table, then that; gives how many of each there are.

    Args:
        truth: the table to write: what should become of every sample of the source and of every file of a target, and its true tags.
        images: samples of a shard, 40 or more.
        shards: how many.
        targets: ordinary images of a target.
        seed: another one draws other scenes.
    """
    root = truth.parent
    for name in (SOURCE, TAGS, TARGETS):
        shutil.rmtree(root / name, ignore_errors=True)
    rows: list[dict[str, Any]] = []
    for shard in range(shards):
        samples = list(progress(draw_shard(seed, shard, images, shards), total=images, unit="drawings"))
        write_shard(root / SOURCE, root / TAGS, shard, samples, is_last=shard == shards - 1)
        rows += [_row("source", name_of(shard), key, kind, sample.picture.tags) for sample in samples for key, kind in sample.fate]
    in_source = len(rows)
    for name in FOLDERS:
        files = target_files(name, targets, seed, images, shards)
        rows += write_target(root / TARGETS / name, progress(files, total=targets, unit="drawings"))
    with atomic_text(truth, newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return {"shards": shards, "samples": shards * images, "targets": len(FOLDERS), "files": len(rows) - in_source}


def _row(side: str, folder: str, image: str, kind: str, tags: tuple[str, ...], copy_of: str = "") -> dict[str, Any]:
    return dict(zip(COLUMNS, (side, folder, image, kind, copy_of, json.dumps(tags, ensure_ascii=False)), strict=True))


if job := globals().get("snakemake"):
    with step(job.log[0]):
        counts = {name: job.params[name] for name in ("images", "shards", "targets", "seed")}
        report_counts(**draw(Path(job.output.truth), **counts))
