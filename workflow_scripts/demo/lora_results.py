"""How well lora did against the truth that the drawn videos came with."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from workflow_scripts.core.step import StepError
from workflow_scripts.demo.lora_clips import CLIPS, Clip, mask_of
from workflow_scripts.demo.lora_data import UNREADABLE
from workflow_scripts.demo.lora_measures import overlap
from workflow_scripts.lora.tables import CATEGORIES, NO_FACE, NO_PERSON, about, read

Row = dict[str, Any]
Rows = dict[str, Row]  # by frame_id


def read_truth(truth: Path) -> dict[tuple[str, int], dict[str, str]]:
    """The rows of `lora_data.draw`'s table by path of the video and number of the frame."""
    with truth.open(encoding="utf-8", newline="") as handle:
        return {(row["video"], int(row["index"])): row for row in csv.DictReader(handle)}


def source_index(clip: Clip, row: Row) -> int:
    """The number that a frame of the results has in its clip, from 0."""
    return row["n"] - 1 if row["time"] is None else round(row["time"] * clip.fps)


def match(frames: Iterable[Path], truth: Path) -> tuple[Rows, dict[str, Row]]:
    """The frames that were extracted, by frame_id, with `clip`, `index` and `truth`; what stands beside each video's table, by clip.

    Raises:
        StepError: the results are not of the videos as drawn last.
    """
    drawn, clips = read_truth(truth), {clip.path: clip for clip in CLIPS}
    found: Rows = {}
    videos: dict[str, Row] = {}
    for table in frames:
        said = about(table)
        clip = clips.get(said["path"])
        rows = [row for row in read(table) if row["outcome"] == "frame"]
        places = [(row, source_index(clip, row)) for row in rows] if clip else []
        if clip is None or any((clip.path, index) not in drawn for _, index in places):
            raise StepError(f"{said['path']}: the results are not of the videos as drawn last; run the demo again")
        videos[clip.path] = said
        found |= {row["frame_id"]: row | {"clip": clip, "index": index, "truth": drawn[clip.path, index]} for row, index in places}
    return found, videos


def frame_results(found: Rows, videos: dict[str, Row]) -> dict[str, Any]:
    """How many frames came, and whether those are missing alone that the broken file lacks."""
    broken = {clip.path for clip in CLIPS if clip.broken}
    complete = all(abs(said["expected"] - said["extracted"]) <= 1 for path, said in videos.items() if path not in broken)
    failed = {path for path, said in videos.items() if said["errors"]}
    before = all(videos[path]["extracted"] for path in broken & videos.keys())
    upright = [(row["width"], row["height"]) == row["clip"].size for row in found.values()]
    return {
        "videos": len(videos),
        "expected": sum(said["expected"] or 0 for said in videos.values()),
        "extracted": len(found),
        "errors": sum(said["errors"] for said in videos.values()),
        "errors_as_expected": complete and before and failed == broken & videos.keys(),
        "sideways": sum(row["clip"].sideways for row in found.values()),
        "sideways_as_expected": all(upright),
    }


def sort_results(found: Rows, rows: Rows) -> dict[str, Any]:
    """How many frames of each category were sorted right, and how many people were counted right."""
    right: dict[str, list[bool]] = defaultdict(list)
    for frame_id, frame in found.items():
        right[frame["truth"]["category"]].append(rows[frame_id]["category"] == frame["truth"]["category"])
    counted = [rows[frame_id]["person_count"] == int(frame["truth"]["people"]) for frame_id, frame in found.items()]
    return {
        "sorted_right": _mean([value for values in right.values() for value in values]),
        "by_category": {name: (sum(right[name]), len(right[name])) for name in (*CATEGORIES, NO_FACE, NO_PERSON) if right[name]},
        "people_right": _mean(counted),
    }


def mask_results(found: Rows, masks: Rows, root: Path, seed: int) -> dict[str, Any]:
    """How well the masks fit the figures; blurred frames, whose edges nobody can tell, are left out."""
    fits = []
    for frame_id, row in masks.items():
        frame = found[frame_id]
        if row["outcome"] == "masked" and frame["truth"]["blurred"] == "0":
            with Image.open(root / row["path"]) as picture:
                alpha = np.asarray(picture.getchannel("A"))
            fits.append(overlap(alpha, np.asarray(mask_of(frame["clip"].path, frame["index"], seed))))
    return {"masks": sum(row["outcome"] == "masked" for row in masks.values()), "iou": _mean(fits), "worst_iou": min(fits, default=0.0)}


def choice_results(found: Rows, chosen: Rows) -> dict[str, Any]:
    """How many blurred frames were caught, and how many sharp ones were taken for blurred."""
    caught: list[bool] = []
    wrongly: list[bool] = []
    for frame_id, row in chosen.items():
        is_caught = row["outcome"] == "failed" and row["reason"].startswith("too blurry")
        (caught if found[frame_id]["truth"]["blurred"] == "1" else wrongly).append(is_caught)
    numbers = {"blurred": len(caught), "caught": sum(caught), "sharp": len(wrongly), "wrongly": sum(wrongly)}
    return numbers | {"selected": sum(row["outcome"] == "selected" for row in chosen.values())}


def set_results(root: Path, composites: list[Row], captions: list[Row], exported: list[Row]) -> dict[str, Any]:
    """What was made of the selected frames, and whether every exported image has its text."""
    made = [row for row in composites if row["outcome"] == "composited"]
    pictures = sorted(path for path in (root / "07_export/kohya").rglob("*") if path.suffix in (".jpg", ".png"))
    return {
        "composited": len(made),
        "composited_as_expected": bool(made) and not any(row["background"].endswith(UNREADABLE) for row in made),
        "captioned": sum(row["outcome"] == "captioned" for row in captions),
        "lint": sum(row["outcome"] == "lint" for row in captions),
        "exported": sum(row["outcome"] == "exported" for row in exported),
        "pairs": sum(path.with_suffix(".txt").is_file() for path in pictures),
        "pairs_as_expected": all(path.with_suffix(".txt").is_file() for path in pictures),
    }


def lora_results(tables: Mapping[str, Any], truth: Path, seed: int) -> dict[str, Any]:
    """Counts and shares of a run of lora on the drawn videos, or on some of them.

    Args:
        tables: files of each step by name: lists for `frames`, `sorted` and `masks`, one each for `selection`, `composites`,
            `captions` and `exported`.
        truth: table of `lora_data.draw`.
        seed: that it was drawn with.

    Raises:
        StepError: the results are not of the videos as drawn last.
    """
    found, videos = match(map(Path, tables["frames"]), truth)
    root = Path(tables["selection"]).parents[1]

    def rows(*paths: str | Path) -> Rows:
        return {row["frame_id"]: row for path in paths for row in read(path) if row["frame_id"] in found}

    return {
        **frame_results(found, videos),
        **sort_results(found, rows(*tables["sorted"])),
        **mask_results(found, rows(*tables["masks"]), root, seed),
        **choice_results(found, rows(tables["selection"])),
        **set_results(root, *(read(tables[name]) for name in ("composites", "captions", "exported"))),
    }


def _mean(values: list[Any]) -> float:
    return sum(values) / max(1, len(values))
