"""lora 02: the people in each frame of a video, with their keypoints, and how sharp the frame is as a whole."""

from pathlib import Path
from typing import Any

from workflow_scripts.core.accounting import Ledger
from workflow_scripts.core.models import WeightsCard
from workflow_scripts.core.step import report_counts, step
from workflow_scripts.lora.poses import Finder
from workflow_scripts.lora.tables import POSES, about, read, write


def detect(frames: Path, root: Path, card: WeightsCard, machine: dict[str, Any], output: Path, *, max_pixels: int) -> dict[str, int]:
    """Look for people in the frames of a video and write the table of them; gives the counts.

    Args:
        frames: the table of step 01.
        root: the results of the workspace.
        card: of an Ultralytics model with the 17 keypoints of COCO, which is loaded when a frame is unknown.
        machine: `cache_root`, `device`, `threads` and, if wanted, `batch`.
        output: the table `POSES`.
        max_pixels: of a frame, above which it is an error.

    Raises:
        StepError: the model cannot be used.
    """
    rows = [row for row in read(frames) if row["outcome"] == "frame"]
    ledger = Ledger((row["frame_id"] for row in rows), ("pose", "error"))
    finder = Finder(root, card, machine, max_pixels=max_pixels)
    seen = finder.find(rows)
    found = []
    for row in rows:
        result = seen[row["sha256"]]
        if isinstance(result, str):
            found.append(row | {"outcome": "error", "reason": result})
        else:
            found.append(row | {"people": result.people, "sharpness": result.sharpness, "outcome": "pose"})
        ledger.add(found[-1]["outcome"], [row["frame_id"]])
    counts = ledger.close()
    write(output, POSES, found, about(frames) | {"poses": finder.fingerprint})
    return counts | dict(finder.counts)


if job := globals().get("snakemake"):
    with step(job.log[0]):
        params = job.params
        places = Path(job.input.frames), Path(params.root), WeightsCard.read(job.input.model), params.machine, Path(job.output[0])
        report_counts(**detect(*places, max_pixels=params.max_pixels))
