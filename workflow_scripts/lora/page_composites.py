"""lora 05b: a page with every subject on its new background, to take away what looks wrong."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.core.pages import Page, Panel, Role
from workflow_scripts.core.pages.model import KEEP_OR_REJECT
from workflow_scripts.core.pages.texts import table_panel
from workflow_scripts.core.step import report_counts, step
from workflow_scripts.lora import page_common as common
from workflow_scripts.lora import tables
from workflow_scripts.lora.by_hand import FOLDER, REJECTED_BACKGROUNDS
from workflow_scripts.lora.page_common import Place, Row
from workflow_scripts.lora.page_pictures import plain, subject

MOVED = f"Either export the decisions, or move the files to {REJECTED_BACKGROUNDS}: both are remembered, none is made again."
ROLES: dict[str, Role] = {"composited": "kept", common.REJECTED: "rejected", "culled": "other", "error": "error"}


def file_name(row: Row) -> str:
    """The name of a composite within the folder of the set, for the lines that move it; the frame's where there is none."""
    return row["path"].removeprefix(f"{FOLDER}/") if row["path"] else row["frame_id"]


def describe(run: Mapping[str, Any], rows: Sequence[Row], place: Place) -> Page:
    """The page of a workspace.

    Args:
        run: `workspace`, `reviews` (where decisions are read).
        rows: of COMPOSITES.
        place: of the page.
    """
    return Page(
        page_id=f"lora/{run['workspace']}/05b_background_qa_report",
        title=f"Subjects on new backgrounds of {run['workspace']}",
        look_for=(
            "Does the person look as if standing there? Reject a picture with a fringe of the old background, with light that fits the new "
            "one badly, or with a person or text in the background."
        ),
        choices=KEEP_OR_REJECT,
        outcomes=ROLES,
        export=common.export(run["reviews"]),
        captions=("composite", "subject"),
        move=(place.folder(FOLDER), place.folder(REJECTED_BACKGROUNDS)),
        notes=(f"A rejected picture gets no caption. {MOVED}", common.already(run["reviews"])),
        panels=(backgrounds_panel(rows),),
    )


def backgrounds_panel(rows: Sequence[Row]) -> Panel:
    """How often each background was taken."""
    counts = Counter(row["background"] for row in rows if row["background"])
    listed = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    text = "Each is a tag: filter for one to see all pictures on it. Take a bad background out of the library, and its pictures get others."
    return table_panel("Backgrounds", (text,), ("background", "pictures"), listed, "backgrounds.csv")


def item(row: Row, place: Place) -> Row:
    """The item of a row of COMPOSITES."""
    links = [place.link(row["path"]), place.link(row["subject_path"])]
    shown = {"name": file_name(row), "label": row["frame_id"], "id": row["sha256"], "link": links[0], "links": links}
    images = [plain(row["file_sha256"], row["path"]), subject(row["subject_sha256"], row["subject_path"])]
    return {name: row[name] for name in ("outcome", "reason")} | shown | {"images": images, "tags": common.tags(row, row["background"])}


def build(
    run: Mapping[str, Any], composites: Path, reviews: Iterable[Path], root: Path, *, machine: Mapping[str, Any], output: Path
) -> dict[str, int]:
    """Build the page; gives the counts of `write_page`.

    Args:
        run: as of `describe`.
        composites: the table COMPOSITES.
        reviews: the file of earlier decisions on this page, if there is one.
        root: the workspace's results.
        machine: `cache_root`, `threads`.
        output: folder of the page.
    """
    place, found = Place(root, output), tables.read(composites)
    rows = common.judged((item(row, place) for row in found), reviews)
    return common.write_page(describe(run, found, place), rows, place, machine)


if job := globals().get("snakemake"):
    with step(job.log[0]):
        reviews = [Path(path) for path in job.input.reviews]
        places = {"root": Path(job.params.root), "output": Path(job.output[0])}
        report_counts(**build(job.params.page, Path(job.input.composites), reviews, **places, machine=job.params.machine))
