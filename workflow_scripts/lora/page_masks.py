"""lora 03b: a page with every cut-out subject beside its frame, to take away those that are cut out badly."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.core.pages import Page, Role
from workflow_scripts.core.pages.model import KEEP_OR_REJECT
from workflow_scripts.core.step import report_counts, step
from workflow_scripts.lora import page_common as common
from workflow_scripts.lora import tables
from workflow_scripts.lora.page_common import Place, Row
from workflow_scripts.lora.page_pictures import plain, subject

RETOUCH = (
    "A rejected subject is not chosen for the set. A mask can be mended instead: retouch its file in an image editor, and save it under "
    "the same name; it is then taken as it is."
)
ROLES: dict[str, Role] = {"masked": "kept", common.REJECTED: "rejected", "error": "error"}


def describe(run: Mapping[str, Any]) -> Page:
    """The page of a workspace.

    Args:
        run: `workspace`, `reviews` (where decisions are read).
    """
    return Page(
        page_id=f"lora/{run['workspace']}/03b_mask_qa_report",
        title=f"Cut-out subjects of {run['workspace']}",
        look_for=(
            "Is the whole person there, and nothing but the person? Look at hair, hands and the gaps between arms and body; reject what "
            "lost a part or kept a piece of the background. The grey squares are where the picture is transparent."
        ),
        choices=KEEP_OR_REJECT,
        outcomes=ROLES,
        export=common.export(run["reviews"]),
        captions=("original", "subject"),
        notes=(RETOUCH, common.already(run["reviews"])),
    )


def item(row: Row, frame: str | None, place: Place) -> Row:
    """The item of a row of MASKS.

    Args:
        row: of the table.
        frame: path of its frame.
        place: of the page.
    """
    links = [place.link(frame), place.link(row["path"])]
    shown = {"name": row["frame_id"], "id": row["sha256"], "tags": common.tags(row), "link": links[0], "links": links}
    images = [plain(row["sha256"], frame), subject(row["file_sha256"], row["path"])]
    return {name: row[name] for name in ("outcome", "reason")} | shown | {"images": images}


def build(
    run: Mapping[str, Any],
    masks: Sequence[Path],
    candidates: Iterable[Path],
    reviews: Iterable[Path],
    root: Path,
    *,
    machine: Mapping[str, Any],
    output: Path,
) -> dict[str, int]:
    """Build the page; gives the counts of `write_page`.

    Args:
        run: as of `describe`.
        masks: a table MASKS of each video.
        candidates: a table SORTED of each.
        reviews: the file of earlier decisions on this page, if there is one.
        root: the workspace's results.
        machine: `cache_root`, `threads`.
        output: folder of the page.
    """
    place, paths = Place(root, output), common.frames(candidates)
    items = (item(row, paths.get(row["frame_id"]), place) for table in masks for row in tables.read(table))
    return common.write_page(describe(run), common.judged(items, reviews), place, machine)


if job := globals().get("snakemake"):
    with step(job.log[0]):
        files = (job.input.masks, job.input.candidates, job.input.reviews)
        masks, candidates, reviews = ([Path(path) for path in paths] for paths in files)
        places = {"root": Path(job.params.root), "output": Path(job.output[0])}
        report_counts(**build(job.params.page, masks, candidates, reviews, **places, machine=job.params.machine))
