"""lora 01b: a page with every frame of every video: whether all are there, and what became of those that are not."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.core.pages import Number, Page, Panel, Role
from workflow_scripts.core.pages.texts import counted, named, table_panel
from workflow_scripts.core.step import report_counts, step
from workflow_scripts.lora import tables
from workflow_scripts.lora.page_common import Place, Row, tags, write_page
from workflow_scripts.lora.page_pictures import plain

ROLES: dict[str, Role] = {"frame": "kept", "error": "error"}
TOLERANCE = 1  # frames: a video's duration is rounded, and the last frame may lie on either side of it
HEADER = ("video", "file", "expected", "extracted", "missing", "errors", "damaged", "seconds", "frames a second", "turned by", "codec")
_EMPTY = ""  # a cell of what a folder of frames does not have

Facts = dict[str, Any]


def missing(facts: Facts) -> int:
    """How many frames a video lacks; none where nobody knows how many to expect, or only the last one is in doubt."""
    short = (facts["expected"] or 0) - facts["extracted"]
    return short if short > (TOLERANCE if facts["kind"] == "video" else 0) else 0


def describe(run: Mapping[str, Any], facts: Sequence[Facts]) -> Page:
    """The page of a workspace.

    Args:
        run: `workspace`.
        facts: what stands in each video's table of frames beside its rows.
    """
    extracted = sum(each["extracted"] for each in facts)
    return Page(
        page_id=f"lora/{run['workspace']}/01b_validation_report",
        title=f"Frames of {run['workspace']}",
        look_for=(
            "Are all videos there, upright, and from the first second to the last? Open the table of videos for expected and extracted "
            "frames. Nothing is decided on this page: mend or replace a broken video, and its frames are taken anew."
        ),
        numbers=(Number("time", "second", 1), Number("width", "width", 0), Number("height", "height", 0)),
        choices=(),
        outcomes=ROLES,
        warnings=tuple(warnings(facts)),
        notes=(f"{counted(extracted, 'frame')} of {counted(len(facts), 'video')}.",),
        panels=(videos_panel(facts),),
    )


def warnings(facts: Sequence[Facts]) -> list[str]:
    """What to heed before anything else."""
    said = []
    empty = [each["video"] for each in facts if not each["extracted"]]
    short = [f"{each['video']} ({missing(each):,} of {each['expected']:,})" for each in facts if missing(each) and each["extracted"]]
    if empty:
        said.append(f"{counted(len(empty), 'video')} without a single frame: {named(empty)}. The view Errors says why.")
    if short:
        said.append(f"{counted(len(short), 'video')} with missing frames: {named(short)}. The view Errors says why, where it is known.")
    damaged = [f"{each['video']} ({each['damaged']:,})" for each in facts if each["damaged"]]
    if damaged:
        said.append(f"{counted(len(damaged), 'video')} with damaged pictures, which were left out: {named(damaged)}.")
    return said


def videos_panel(facts: Sequence[Facts]) -> Panel:
    """What each video gave."""
    rows = [[_EMPTY if cell is None else cell for cell in _row(each)] for each in facts]
    text = (
        "Expected: what the video's own duration promises. Missing: what lacks of that beyond a frame at the end.",
        "Errors: rows that say where a video breaks off, or which frame cannot be read.",
    )
    return table_panel("Videos", text, HEADER, rows, "videos.csv")


def _row(facts: Facts) -> list[Any]:
    duration = None if facts["duration"] is None else round(facts["duration"], 2)
    counts = (facts["expected"], facts["extracted"], missing(facts), facts["errors"], facts["damaged"])
    return [facts["video"], facts["path"], *counts, duration, facts["fps"], facts["rotation"], facts["codec"]]


def item(row: Row, place: Place) -> Row:
    """The item of a row of FRAMES."""
    shown = {"name": row["frame_id"], "id": row["sha256"], "tags": tags(row), "link": place.link(row["path"])}
    images = [plain(row["sha256"], row["path"])] if row["path"] else []
    return {name: row[name] for name in ("outcome", "reason", "time", "width", "height")} | shown | {"images": images}


def build(run: Mapping[str, Any], frames: Sequence[Path], root: Path, *, machine: Mapping[str, Any], output: Path) -> dict[str, int]:
    """Build the page; gives the counts of `write_page`.

    Args:
        run: as of `describe`.
        frames: a table FRAMES of each video.
        root: the workspace's results.
        machine: `cache_root`, `threads`.
        output: folder of the page.
    """
    place = Place(root, output)
    rows = [item(row, place) for table in frames for row in tables.read(table)]
    return write_page(describe(run, [tables.about(table) for table in frames]), rows, place, machine)


if job := globals().get("snakemake"):
    with step(job.log[0]):
        frames = [Path(path) for path in job.input.frames]
        places = {"root": Path(job.params.root), "output": Path(job.output[0])}
        report_counts(**build(job.params.page, frames, **places, machine=job.params.machine))
