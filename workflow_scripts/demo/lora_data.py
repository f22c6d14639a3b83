"""Demo: draw the videos and backgrounds that the lora pipeline works on, with a broken file, and their truth."""

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.core.step import atomic_text, progress, report_counts, step
from workflow_scripts.demo.drawing import BACKGROUNDS, draw_scene, rng_for
from workflow_scripts.demo.lora_clips import CLIPS, Clip, Frame, draw_frame
from workflow_scripts.demo.lora_video import break_off, write_video
from workflow_scripts.demo.people_data import encode

VIDEOS, LIBRARY = "source_videos", "00_background_library"
UNREADABLE = "unreadable.jpg"  # of the library
LEFT = 0.7  # of the bytes of a file that breaks off
BACKGROUND_SIZES = ((640, 480), (480, 640), (512, 512), (720, 405))
COLUMNS = ("video", "index", "time", "category", "people", "blurred", "x1", "y1", "x2", "y2")


def truth_row(clip: Clip, index: int, frame: Frame) -> dict[str, Any]:
    """A frame's row of the truth table: number from 0, time in seconds, and the box of the largest person in pixels."""
    box = frame.box or ("", "", "", "")
    values = (clip.path, index, f"{index / clip.fps:g}", frame.category, frame.people, int(frame.blurred), *box)
    return dict(zip(COLUMNS, values, strict=True))


def write_clip(folder: Path, clip: Clip, shown: list[Frame]) -> None:
    """Write a clip as a video, or as a folder of frames where its path has no extension."""
    path = folder / clip.path
    if not path.suffix:
        path.mkdir(parents=True)
        for number, frame in enumerate(shown, 1):
            (path / f"frame_{number:04d}.jpg").write_bytes(encode(frame.image, "jpg"))
        return
    write_video(path, (frame.image for frame in shown), clip.fps, sideways=clip.sideways)
    if clip.broken:
        break_off(path, LEFT)


def write_backgrounds(folder: Path, count: int, seed: int) -> None:
    """Draw a library of backgrounds without people; the last file of it cannot be read."""
    folder.mkdir(parents=True)
    places = sorted(BACKGROUNDS)
    data = b""
    for number in range(count):
        name = places[number % len(places)]
        size = BACKGROUND_SIZES[number % len(BACKGROUND_SIZES)]
        image = draw_scene(rng_for(seed, "lora", "background", str(number)), size, 0, background=name, distractors=False).image
        data = encode(image, "jpg")
        (folder / f"{name}_{number + 1:02d}.jpg").write_bytes(data)
    (folder / UNREADABLE).write_bytes(data[: len(data) // 3])


def draw(truth: Path, backgrounds: int, seed: int, clips: Sequence[Clip] = CLIPS) -> dict[str, int]:
    """Write videos and backgrounds into new folders beside the truth table, then that.

    Args:
        truth: the table to write, a row for each frame that was drawn; of a file that breaks off the later ones are lost.
        backgrounds: readable pictures of the library.
        seed: another one draws other people and other scenes.
        clips: what to draw.

    Returns:
        How many videos, frames and backgrounds were drawn.
    """
    root = truth.parent
    for name in (VIDEOS, LIBRARY):
        shutil.rmtree(root / name, ignore_errors=True)
    rows: list[dict[str, Any]] = []
    for clip in progress(clips, total=len(clips), unit="clips"):
        shown = [draw_frame(clip, index, seed) for index in range(len(clip))]
        write_clip(root / VIDEOS, clip, shown)
        rows += [truth_row(clip, index, frame) for index, frame in enumerate(shown)]
    write_backgrounds(root / LIBRARY, backgrounds, seed)
    with atomic_text(truth, newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return {"videos": len(clips), "frames": len(rows), "backgrounds": backgrounds}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        report_counts(**draw(Path(job.output.truth), job.params.backgrounds, job.params.seed))
