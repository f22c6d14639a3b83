"""lora 02b: a page with a sample of the frames that the poses rejected, to see whether the set should have any of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.core.pages import Number, Page, Panel, Role
from workflow_scripts.core.pages.texts import counted, table_panel, tallied
from workflow_scripts.core.seeded import shuffled
from workflow_scripts.core.step import report_counts, step
from workflow_scripts.lora import tables
from workflow_scripts.lora.page_common import Place, Row, tags, write_page
from workflow_scripts.lora.page_pictures import plain
from workflow_scripts.lora.tables import CATEGORIES, REJECTED

SAMPLE = 100  # frames by chance, and as many of the sharpest
SHARPEST, RANDOM = "among the sharpest", "by chance"
ROLES: dict[str, Role] = dict.fromkeys(REJECTED, "rejected")
COLUMNS = (*CATEGORIES, *REJECTED, "error")
HINTS = (
    "no person detected: no box above pose.box_conf. review no face: shoulders, but no nose or no eye. uncategorized: too little of the "
    "body, or a mixture that fits no category. too many people: more than pose.max_people. The box is the person whom the thresholds "
    "choose, with the model's confidence. Sharpness is that of the whole image."
)


def choose(rejected: Sequence[Row]) -> list[tuple[Row, list[str]]]:
    """The sharpest of the rejected frames, then some by chance, each with what it is here for; the same for the same frames.

    Chance depends on the frames' names alone, so that another threshold exchanges few.
    """
    by_sharpness = sorted(rejected, key=lambda row: (-(row["sharpness"] or 0.0), row["frame_id"]))
    sharpest = [row["frame_id"] for row in by_sharpness[:SAMPLE]]
    drawn = shuffled((row["frame_id"] for row in rejected), "lora 02b")[:SAMPLE]
    known = {row["frame_id"]: row for row in rejected}
    reasons = {name: [SHARPEST] for name in sharpest}
    for name in drawn:
        reasons[name] = [*reasons.get(name, []), RANDOM]
    return [(known[name], said) for name, said in reasons.items()]


def describe(run: Mapping[str, Any], counts: Mapping[str, Counter[str]], shown: int) -> Page:
    """The page of a workspace.

    Args:
        run: `workspace`.
        counts: of categories, by video.
        shown: how many rejected frames are on it.
    """
    total = sum(counts.values(), Counter())
    rejected = sum(total[name] for name in REJECTED)
    part = f"{shown:,} of {counted(rejected, 'rejected frame')} {'is' if shown == 1 else 'are'} shown; the counts at the left are of these"
    return Page(
        page_id=f"lora/{run['workspace']}/02b_reject_qa_report",
        title=f"Rejected frames of {run['workspace']}",
        look_for=(
            "Is there a frame with a good view of the person? The sharpest rejected frames come first, then some by chance. Where many "
            "good ones are among them, lower pose.box_conf or pose.conf_threshold in the settings: the model need not run again."
        ),
        numbers=(
            Number("sharpness", "sharpness", 1),
            Number("confidence", "confidence of the box", 2),
            Number("person_count", "people", 0),
        ),
        choices=(),
        outcomes=ROLES,
        notes=(f"{part}. All frames: {tallied({_words(name): total[name] for name in COLUMNS})}.", HINTS),
        panels=(categories_panel(counts),),
    )


def categories_panel(counts: Mapping[str, Counter[str]]) -> Panel:
    """How many frames of each video are in each category."""
    rows = [(video, *(found[name] for name in COLUMNS)) for video, found in counts.items()]
    if len(rows) > 1:
        total = sum(counts.values(), Counter())
        rows.append(("all", *(total[name] for name in COLUMNS)))
    text = "The first three go on to be masked. No person, no face, uncategorized and too many people are the rejected ones."
    return table_panel("Categories by video", (text,), ("video", *map(_words, COLUMNS)), rows, "categories.csv")


def _words(category: str) -> str:
    return category.replace("_", " ")


def item(row: Row, why: list[str], place: Place) -> Row:
    """The item of a rejected row of SORTED."""
    person = row["person"]
    shown = {"name": row["frame_id"], "id": row["sha256"], "outcome": row["category"], "reason": row["reason"]}
    shown |= {"tags": tags(row, *why)[1:], "link": place.link(row["path"]), "images": [plain(row["sha256"], row["path"])]}
    shown |= {name: row[name] for name in ("sharpness", "person_count")}
    if person is None:
        return shown
    x0, y0, x1, y1 = person["box"]
    width, height = row["width"], row["height"]
    label = f"{person['confidence']:.2f}"
    box = {"image": 0, "x0": x0 / width, "y0": y0 / height, "x1": x1 / width, "y1": y1 / height, "label": label}
    return shown | {"confidence": person["confidence"], "boxes": [box]}


def build(run: Mapping[str, Any], candidates: Sequence[Path], root: Path, *, machine: Mapping[str, Any], output: Path) -> dict[str, int]:
    """Build the page; gives the counts of `write_page`.

    Args:
        run: as of `describe`.
        candidates: a table SORTED of each video.
        root: the workspace's results.
        machine: `cache_root`, `threads`.
        output: folder of the page.
    """
    place = Place(root, output)
    counts: dict[str, Counter[str]] = {}
    rejected = []
    for row in (row for table in candidates for row in tables.read(table)):
        counts.setdefault(row["video"], Counter())[row["category"] or "error"] += 1
        rejected += [row] if row["outcome"] == "rejected" else []
    rows = [item(row, why, place) for row, why in choose(rejected)]
    return write_page(describe(run, counts, len(rows)), rows, place, machine)


if job := globals().get("snakemake"):
    with step(job.log[0]):
        candidates = [Path(path) for path in job.input.candidates]
        places = {"root": Path(job.params.root), "output": Path(job.output[0])}
        report_counts(**build(job.params.page, candidates, **places, machine=job.params.machine))
