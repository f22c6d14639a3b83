"""lora 05: lay each selected subject over a background of the library."""

from pathlib import Path
from typing import Any

from workflow_scripts.core.accounting import Ledger
from workflow_scripts.core.own_files import OwnFiles
from workflow_scripts.core.step import log, report_counts, step
from workflow_scripts.lora import by_hand
from workflow_scripts.lora.backgrounds import Library
from workflow_scripts.lora.by_hand import MovedOut
from workflow_scripts.lora.compositor import Compositor
from workflow_scripts.lora.culls import Culls
from workflow_scripts.lora.tables import COMPOSITES, read, write

OUTCOMES = ("composited", "culled", "error")
Row = dict[str, Any]


def composite(
    selection: Path,
    reviews: list[Path],
    root: Path,
    library: Path,
    settings: dict[str, Any],
    max_pixels: int,
    machine: dict[str, Any],
    output: Path,
) -> dict[str, int]:
    """Write the pictures of the selected subjects and their table; gives the counts.

    A frame that a person culled on a page, or whose picture they moved out by hand, gets none. A picture that they edited stays.

    Args:
        selection: of step 04.
        reviews: decisions of the page behind it.
        root: the results of the workspace.
        library: folder with backgrounds.
        settings: `blur_radius`, `decontaminate` and `seed` of the setting `composite`.
        max_pixels: above which a background is not used.
        machine: `cache_root` and `threads`.
        output: the table `COMPOSITES`; beside its rows `backgrounds`, how many there are, and `unreadable` ones by path.

    Raises:
        StepError: there is no readable background.
    """
    listed, culls = read(selection), Culls.read(reviews)
    decided = {row["frame_id"]: culls.reason(row["sha256"]) for row in listed}
    selected = [row for row in listed if row["outcome"] == "selected"]
    ledger = Ledger((row["frame_id"] for row in selected), OUTCOMES)
    places = Library(library, cache_root=machine["cache_root"], max_pixels=max_pixels, threads=machine["threads"])
    compositor = Compositor(root, places, settings, machine["threads"])
    moved = MovedOut(root, compositor.own)
    culled = {
        row["frame_id"]: reason
        for row in selected
        if (reason := decided[row["frame_id"]] or moved.reason(row["sha256"], row["category"], row["frame_id"]))
    }
    wanted = [row for row in selected if row["frame_id"] not in culled]
    found = {frame_id: {"outcome": "culled", "reason": reason} for frame_id, reason in culled.items()}
    found |= zip((row["frame_id"] for row in wanted), compositor.compose(wanted), strict=True)
    rows = [_subject(row) | found[row["frame_id"]] for row in selected]
    for row in rows:
        ledger.add(row["outcome"], [row["frame_id"]])
    _tidy(compositor.own, rows)
    write(output, COMPOSITES, rows, {"backgrounds": len(places), "unreadable": places.unreadable})
    for decision in culls.unused():
        log.warning("review: %s fits no frame", decision)
    return ledger.close() | dict(compositor.counts)


def _subject(row: Row) -> Row:
    """A row of SELECTION without its outcome, its picture as the subject."""
    frame = {name: row[name] for name in ("frame_id", "video", "n", "sha256", "category")}
    return frame | {"subject_path": row["path"], "subject_sha256": row["file_sha256"]}


def _tidy(own: OwnFiles, rows: list[Row]) -> None:
    """Remove pictures of earlier runs; what people took away or changed is kept in mind, whatever becomes of its frame."""
    standing = [by_hand.composite_name(row["category"], row["frame_id"]) for row in rows if row["outcome"] == "composited"]
    own.close([*standing, *own.missing(), *own.changed()])


if job := globals().get("snakemake"):
    with step(job.log[0]):
        reviews = [Path(path) for path in job.input.reviews]
        places = Path(job.params.root), Path(job.params.library)
        how = job.params.composite, job.params.max_pixels, job.params.machine
        report_counts(**composite(Path(job.input.selection), reviews, *places, *how, Path(job.output[0])))
