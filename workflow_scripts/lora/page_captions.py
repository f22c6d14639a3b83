"""lora 06b: a page with every picture and its text, to take away pairs that a trainer should not see."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.core.pages import Number, Page, Panel, Role
from workflow_scripts.core.pages.model import KEEP_OR_REJECT
from workflow_scripts.core.pages.texts import counted, table_panel
from workflow_scripts.core.step import report_counts, step
from workflow_scripts.lora import page_common as common
from workflow_scripts.lora import tables
from workflow_scripts.lora.by_hand import FOLDER, REJECTED_CAPTIONS
from workflow_scripts.lora.caption_text import words
from workflow_scripts.lora.page_common import Place, Row
from workflow_scripts.lora.page_composites import file_name
from workflow_scripts.lora.page_pictures import plain

LINT, BLOCKED = "lint", "blocked"
MEND = "Edit their text files, or write one where there is none; no decision is needed."
# A text with lint needs another text, not a decision.
ROLES: dict[str, Role] = {
    "captioned": "kept",
    common.REJECTED: "rejected",
    LINT: "other",
    BLOCKED: "other",
    "culled": "other",
    "error": "error",
}
_SMALL_WORDS = frozenset(
    ("a", "an", "and", "are", "as", "at", "by", "for", "from", "her", "his", "in", "is", "it", "of", "on", "the", "to", "with")
)
LINTS = ("banned words", "empty", "too long", "trigger words missing")  # what a reason lists, with a colon or alone


def kinds(reason: str | None) -> list[str]:
    """The kinds of lint that a reason lists, such as `too long`."""
    return [kind for kind in LINTS if re.search(rf"(?:^|; ){kind}(?:$|[:;])", reason or "")] or ["other lint"]


def describe(run: Mapping[str, Any], rows: Sequence[Row], place: Place) -> Page:
    """The page of a workspace.

    Args:
        run: `workspace`, `reviews` (where decisions are read).
        rows: of CAPTIONS.
        place: of the page.
    """
    counts = Counter(row["outcome"] for row in rows)
    kept_out = f"{counted(counts[LINT], 'text')} with lint and {counts[BLOCKED]:,} that the model refused are kept out of the export."
    return Page(
        page_id=f"lora/{run['workspace']}/06b_caption_qa_report",
        title=f"Pictures and texts of {run['workspace']}",
        look_for=(
            "Does each text say what the picture shows of the person, and nothing else? Reject pairs that are beyond mending; mend the "
            "others by editing the text file beside the picture: what you wrote is kept."
        ),
        numbers=(Number("words", "words", 0),),
        choices=KEEP_OR_REJECT,
        outcomes=ROLES,
        export=common.export(run["reviews"]),
        move=(place.folder(FOLDER), place.folder(REJECTED_CAPTIONS)),
        notes=(
            *([f"{kept_out} {MEND}"] if counts[LINT] or counts[BLOCKED] else []),
            f"A rejected pair is not exported. Export the decisions, or move the pictures to {REJECTED_CAPTIONS}: both are remembered.",
            common.already(run["reviews"]),
        ),
        panels=tuple(panels(rows)),
    )


def panels(rows: Sequence[Row]) -> list[Panel]:
    """The lint, and the most frequent words."""
    lint = Counter(kind for row in rows if row["outcome"] == LINT for kind in kinds(row["reason"]))
    listed = sorted(lint.items(), key=lambda pair: (-pair[1], pair[0]))
    captions = [set(words(row["caption"])) for row in rows if row["caption"]]
    counts = Counter(word for caption in captions for word in caption - _SMALL_WORDS)
    frequent = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    said = "In how many texts each word stands, without the trigger words. What nearly all share, a trainer learns as part of the subject."
    share = [(word, count, f"{count / len(captions):.0%}") for word, count in frequent]
    made = [table_panel("Lint", ("Each kind is a tag.",), ("lint", "texts"), listed, "lint.csv")] if listed else []
    return [*made, table_panel("Most frequent words", (said,), ("word", "texts", "part"), share, "words.csv")]


def item(row: Row, place: Place) -> Row:
    """The item of a row of CAPTIONS; its text stands under the picture, or why there is none."""
    shown = {"name": file_name(row), "label": row["frame_id"], "id": row["sha256"], "link": place.link(row["path"])}
    lint = kinds(row["reason"]) if row["outcome"] == LINT else []
    shown |= {"images": [plain(row["file_sha256"], row["path"])], "captions": [row["text"] or row["reason"] or ""]}
    shown |= {"tags": common.tags(row, *lint, row["source"]), "words": len(words(row["caption"])) if row["text"] else None}
    return {name: row[name] for name in ("outcome", "reason")} | shown


def build(
    run: Mapping[str, Any], captions: Path, reviews: Iterable[Path], root: Path, *, machine: Mapping[str, Any], output: Path
) -> dict[str, int]:
    """Build the page; gives the counts of `write_page`.

    Args:
        run: as of `describe`.
        captions: the table CAPTIONS.
        reviews: the file of earlier decisions on this page, if there is one.
        root: the workspace's results.
        machine: `cache_root`, `threads`.
        output: folder of the page.
    """
    place, found = Place(root, output), tables.read(captions)
    rows = common.judged((item(row, place) for row in found), reviews)
    return common.write_page(describe(run, found, place), rows, place, machine)


if job := globals().get("snakemake"):
    with step(job.log[0]):
        reviews = [Path(path) for path in job.input.reviews]
        places = {"root": Path(job.params.root), "output": Path(job.output[0])}
        report_counts(**build(job.params.page, Path(job.input.captions), reviews, **places, machine=job.params.machine))
