"""lora 04c: a page with every measured subject: which fail and why, which pass, and what other limits would do."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.core.pages import Number, Page, Panel, Role, Threshold
from workflow_scripts.core.pages.model import KEEP_OR_REJECT
from workflow_scripts.core.pages.texts import counted, table_panel
from workflow_scripts.core.step import report_counts, step
from workflow_scripts.lora import page_common as common
from workflow_scripts.lora import tables
from workflow_scripts.lora.page_common import Place, Row
from workflow_scripts.lora.page_pictures import plain, subject
from workflow_scripts.lora.selection import kind
from workflow_scripts.lora.tables import CATEGORIES

PASSES, FAILS = "passes", "fails"
# Limits decide between passing and failing alone; which of those that pass are selected, the next run says.
OUTCOMES = {"selected": PASSES, "passed over": PASSES, "failed": FAILS}
ROLES: dict[str, Role] = {PASSES: "kept", FAILS: "rejected", "culled": "other", "error": "error"}
COUNTED = ("selected", "passed over", "failed", "culled", "error")
BY_HAND = (
    "A rejected picture gets no background and no caption. What fails is brought back by its limit, not by hand; what was culled before, "
    "by its line in the file of the page of cut-out subjects (03_mask.csv)."
)
QUANTILE = 0.95  # of the measured values that a slider reaches at least
STEPS = 200  # of a slider, at least


def sharpness_threshold(workspace: str, value: float, measured: Sequence[float]) -> Threshold:
    """The slider for min_sharpness, which ends above most of what was measured and well above the value in force."""
    wanted = max(2 * value, sorted(measured)[int(QUANTILE * (len(measured) - 1))] if measured else 0.0, 1.0)
    step = 10.0 ** math.floor(math.log10(wanted / STEPS))
    return Threshold(
        "sharpness", "sharpness", value, 0.0, math.ceil(wanted / step) * step, step, "below", _path(workspace, "min_sharpness")
    )


def thresholds(run: Mapping[str, Any], measured: Sequence[float]) -> tuple[Threshold, ...]:
    """The limits of the settings as sliders; arguments as of `describe`."""
    workspace, score = run["workspace"], run["score"]
    most = max(20, 2 * score["max_contours"])
    return (
        sharpness_threshold(workspace, score["min_sharpness"], measured),
        Threshold(
            "area_fraction",
            "part of the frame",
            score["min_area_fraction"],
            0.0,
            1.0,
            0.001,
            "below",
            _path(workspace, "min_area_fraction"),
        ),
        # A mask with so many parts, one of which is the subject, has one too many.
        Threshold("beside", "parts beside the largest", score["max_contours"], 1, most, 1, "at_least", _path(workspace, "max_contours")),
        Threshold("solidity", "solidity", score["min_solidity"] or 0.0, 0.0, 1.0, 0.01, "below", _path(workspace, "min_solidity")),
    )


def _path(workspace: str, setting: str) -> tuple[str, ...]:
    return ("lora", "workspaces", workspace, "score", setting)


def describe(run: Mapping[str, Any], rows: Sequence[Row]) -> Page:
    """The page of a workspace.

    Args:
        run: `workspace`, `reviews` (where decisions are read), `score` (`min_sharpness`, `min_area_fraction`, `max_contours`,
            `min_solidity` of the settings).
        rows: of SELECTION.
    """
    counts = Counter(row["outcome"] for row in rows)
    selected = f"Of those that pass {counted(counts['selected'], 'subject')} {'is' if counts['selected'] == 1 else 'are'} selected,"
    others = f"{counts['passed over']:,} passed over in favour of others; tags and reasons say which."
    off = " min_solidity is off, which the slider shows as 0." if run["score"]["min_solidity"] is None else ""
    return Page(
        page_id=f"lora/{run['workspace']}/04c_filter_qa_report",
        title=f"Passed and failed subjects of {run['workspace']}",
        look_for=(
            "Are good pictures among those that fail, or bad ones among those that pass? Start at the border and move a limit where one "
            "kind of mistake prevails; reject single pictures by hand."
        ),
        thresholds=thresholds(run, [row["sharpness"] for row in rows if row["sharpness"] is not None]),
        numbers=(Number("score", "score", 3), Number("pose", "pose", 2), Number("brightness", "brightness", 2), Number("rank", "rank", 0)),
        choices=KEEP_OR_REJECT,
        outcomes=ROLES,
        export=common.export(run["reviews"]),
        notes=(f"{selected} {others}{off}", BY_HAND, common.already(run["reviews"])),
        panels=(categories_panel(rows),),
    )


def categories_panel(rows: Sequence[Row]) -> Panel:
    """What became of each category."""
    counts = Counter((row["category"], row["outcome"]) for row in rows)
    listed = [(name.replace("_", " "), *(counts[name, outcome] for outcome in COUNTED)) for name in CATEGORIES]
    return table_panel("Categories", (), ("category", *COUNTED), listed, "categories.csv")


def item(row: Row, frame: str | None, place: Place) -> Row:
    """The item of a row of SELECTION.

    Args:
        row: of the table.
        frame: path of its frame.
        place: of the page.
    """
    outcome = OUTCOMES.get(row["outcome"], row["outcome"])
    links = [place.link(frame), place.link(row["path"])]
    shown = {"name": row["frame_id"], "link": links[0], "links": links, "outcome": outcome, "reason": kind(row["reason"] or "")}
    shown |= {"captions": ["original", row["reason"] or "subject"]}
    shown |= {"tags": common.tags(row, row["outcome"] if outcome == PASSES else None)}
    shown |= {"images": [plain(row["sha256"], frame), subject(row["file_sha256"], row["path"])]}
    shown |= {name: row[name] for name in ("sharpness", "area_fraction", "solidity", "score", "pose", "brightness", "rank")}
    # No limit brings back what is empty or too small to be measured, and no decision what a limit rejects.
    unmeasured = outcome == FAILS and (not row["contours"] or row["sharpness"] is None)
    beside = None if row["contours"] is None else row["contours"] - 1
    return shown | {"id": None if outcome == FAILS else row["sha256"], "fixed": unmeasured, "beside": beside}


def build(
    run: Mapping[str, Any],
    selection: Path,
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
        selection: the table SELECTION.
        candidates: a table SORTED of each video.
        reviews: the file of earlier decisions on this page, if there is one.
        root: the workspace's results.
        machine: `cache_root`, `threads`.
        output: folder of the page.
    """
    place, paths, found = Place(root, output), common.frames(candidates), tables.read(selection)
    items = (item(row, paths.get(row["frame_id"]), place) for row in found)
    return common.write_page(describe(run, found), common.judged(items, reviews), place, machine)


if job := globals().get("snakemake"):
    with step(job.log[0]):
        candidates, reviews = ([Path(path) for path in files] for files in (job.input.candidates, job.input.reviews))
        places = {"root": Path(job.params.root), "output": Path(job.output[0])}
        report_counts(**build(job.params.page, Path(job.input.selection), candidates, reviews, **places, machine=job.params.machine))
