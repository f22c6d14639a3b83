"""lora 02: sort the frames of a video by what can be seen of the person."""

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

from workflow_scripts.core.accounting import Ledger
from workflow_scripts.core.own_files import OwnFiles
from workflow_scripts.core.step import log, report_counts, step
from workflow_scripts.lora.categories import choose
from workflow_scripts.lora.tables import CATEGORIES, SORTED, about, read, write

FOLDER = "02_sorted_candidates"
Row = dict[str, Any]


def sort(frames: Path, poses: Path, root: Path, settings: dict[str, Any], output: Path) -> dict[str, int]:
    """Give each frame of a video its category, show it in that category's folder and write the table; gives the counts.

    Args:
        frames: the table of step 01.
        poses: the table of step 02 pose.
        root: the results of the workspace.
        settings: `box_conf`, `conf_threshold` and `max_people` of the setting `pose`.
        output: the table `SORTED`, its stem the slug of the video. `path` is that of the frame of step 01; in the category's folder
            stands a link to it, which nothing reads.
    """
    rows, seen = read(frames), {row["frame_id"]: row for row in read(poses)}
    ledger = Ledger((row["frame_id"] for row in rows), ("candidate", "rejected", "error"))
    found = [_sorted(row, seen.get(row["frame_id"]), settings) for row in rows]
    for row in found:
        ledger.add(row["outcome"], [row["frame_id"]])
    counts = ledger.close()
    _show(found, root, output.stem)
    write(output, SORTED, found, about(poses) | {"thresholds": settings})
    return counts | dict(sorted(Counter(row["category"] for row in found if row["category"]).items()))


def _sorted(frame: Row, pose: Row | None, settings: dict[str, Any]) -> Row:
    """The row of a frame."""
    if frame["outcome"] == "error":
        return frame | {"category": ""}
    if pose is None:
        return frame | {"category": "", "outcome": "error", "reason": "pose: not in the table of poses"}
    if pose["outcome"] == "error":
        return frame | {"category": "", "outcome": "error", "reason": pose["reason"]}
    choice = choose(pose["people"], **settings)
    kept = choice.category in CATEGORIES
    decided = {"category": choice.category, "person_count": choice.person_count, "person": choice.person, "sharpness": pose["sharpness"]}
    return frame | decided | {"outcome": "candidate" if kept else "rejected", "reason": choice.reason}


def _show(rows: list[Row], root: Path, index: str) -> None:
    """Link the frames by category; a link of an earlier run that is not wanted goes, what a person put there stays."""
    own = OwnFiles(root / FOLDER, index)
    wanted = []
    for row in filter(lambda row: row["category"], rows):
        name = f"{row['category']}/{row['frame_id']}{PurePosixPath(row['path']).suffix}"
        wanted.append(name)
        if own.is_theirs(name):
            log.info("%s: was put there by hand, and stays", root / FOLDER / name)
        elif not own.is_current(name, row["sha256"]) and (root / row["path"]).is_file():
            own.link(name, row["sha256"], root / row["path"], row["sha256"])
    own.close(wanted)


if job := globals().get("snakemake"):
    with step(job.log[0]):
        places = (Path(job.input.frames), Path(job.input.poses), Path(job.params.root), job.params.sort)
        report_counts(**sort(*places, Path(job.output[0])))
