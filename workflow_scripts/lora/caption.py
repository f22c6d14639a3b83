"""lora 06: a caption and a text file for every composite that a person did not cull."""

from contextlib import closing
from pathlib import Path
from typing import Any

from workflow_scripts.core.accounting import Ledger
from workflow_scripts.core.embeddings import digest
from workflow_scripts.core.own_files import OwnFiles
from workflow_scripts.core.step import StepError, log, progress, report_counts, step
from workflow_scripts.lora.by_hand import FOLDER, TEXTS
from workflow_scripts.lora.caption_authors import open_author
from workflow_scripts.lora.caption_service import Author, Described
from workflow_scripts.lora.caption_text import clean, lint, with_trigger, without_trigger
from workflow_scripts.lora.caption_view import Picture
from workflow_scripts.lora.culls import Culls
from workflow_scripts.lora.tables import CAPTIONS, read, write

PERSON = "a person"
SPENT = ("tokens_in", "tokens_out", "cost")
OUTCOMES = ("captioned", "lint", "blocked", "culled", "error")

Row = dict[str, Any]


def write_captions(
    composites: Path, reviews: list[Path], root: Path, settings: dict[str, Any], author: Author, output: Path
) -> dict[str, Any]:
    """Write the table of captions, and a text file beside each composite that has one; gives counts, and tokens with their cost.

    A text file that a person changed stays as it is, and counts; nobody is asked about its image.

    Args:
        composites: the manifest of 05.
        reviews: decisions of the page behind 05.
        root: of the workspace's results.
        settings: `caption_on`, `trigger_words`, `banned_words`, `max_words`.
        author: who writes.
        output: the table.

    Raises:
        StepError: no image got a caption, or the author cannot go on. What was paid for is kept.
    """
    rows = [_start(row) for row in read(composites)]
    ledger = Ledger((row["frame_id"] for row in rows), OUTCOMES)
    decisions = Culls.read(reviews)
    for row in rows:
        _cull(row, decisions)
    files = OwnFiles(root / FOLDER, TEXTS)
    pictures: dict[str, Picture] = {}
    for row in rows:
        if row["outcome"] is None and files.is_theirs(_name(row)):
            _take_theirs(row, root, settings)
        elif row["outcome"] is None:
            pictures[row["frame_id"]] = Picture.of(row, root, settings["caption_on"])
    described = _describe(pictures, author)
    for row in rows:
        if row["frame_id"] in pictures:
            _take(row, described[pictures[row["frame_id"]]], author.name, settings)
        ledger.add(row["outcome"], [row["frame_id"]])
    _check_some(rows)
    _write_texts(rows, files)
    write(output, CAPTIONS, rows, {name: value for name, value in author.about().items() if name != "cost"})
    for decision in decisions.unused():
        log.warning("review: %s fits no frame", decision)
    by_people = sum(row["source"] == PERSON for row in rows)
    spent = {name: value for name, value in author.about().items() if name in SPENT}
    return ledger.close() | {"by_people": by_people} | dict(author.counts) | spent


def _start(row: Row) -> Row:
    """A row of COMPOSITES as the beginning of one of CAPTIONS; what was composited has no outcome yet."""
    start = dict.fromkeys(("caption", "text", "text_path", "source"))
    return row | start | ({"outcome": None, "reason": None} if row["outcome"] == "composited" else {})


def _cull(row: Row, decisions: Culls) -> None:
    reason = decisions.reason(row["sha256"]) if row["sha256"] else None
    if row["outcome"] is None and reason:
        row |= {"outcome": "culled", "reason": reason}


def _name(row: Row) -> str:
    """Of the text file, below its folder: beside the composite, as trainers want it."""
    return f"{row['category']}/{row['frame_id']}.txt"


def _take_theirs(row: Row, root: Path, settings: dict[str, Any]) -> None:
    """The text that a person wrote."""
    row |= {"source": PERSON, "text_path": f"{FOLDER}/{_name(row)}"}
    try:
        text = (root / row["text_path"]).read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError:
        row |= {"outcome": "lint", "reason": "the text file is no UTF-8; save it again as UTF-8"}
        return
    _judge(row, without_trigger(settings["trigger_words"], text) or text, text, settings)


def _take(row: Row, described: Described, source: str, settings: dict[str, Any]) -> None:
    """What the author said."""
    row["source"] = source
    reply = described.reply
    if reply is None:
        row |= {"outcome": "error", "reason": described.error}
    elif reply.blocked:
        row |= {"outcome": "blocked", "reason": reply.blocked}
    else:
        row["text_path"] = f"{FOLDER}/{_name(row)}"
        caption = clean(reply.text)
        _judge(row, caption, with_trigger(settings["trigger_words"], caption), settings)


def _judge(row: Row, caption: str, text: str, settings: dict[str, Any]) -> None:
    problems = lint(text, **{name: settings[name] for name in ("trigger_words", "banned_words", "max_words")})
    row |= {"caption": caption, "text": text, "outcome": "lint" if problems else "captioned", "reason": "; ".join(problems) or None}


def _describe(pictures: dict[str, Picture], author: Author) -> dict[Picture, Described]:
    wanted = list(dict.fromkeys(pictures.values()))
    with closing(author.describe(wanted)) as described:
        return {one.picture: one for one in progress(described, total=len(wanted), unit="captions")}


def _check_some(rows: list[Row]) -> None:
    """Fail when the service said nothing to anybody: what is there from an earlier run is better than a table of errors."""
    failed = [row["reason"] for row in rows if row["outcome"] == "error" and row["reason"].startswith("caption: ")]
    if failed and not any(row["outcome"] in ("captioned", "lint", "blocked") for row in rows):
        raise StepError(f"none of {len(failed)} images got a caption: {failed[0]}")
    if failed:
        again = "--forcerun lora_06_caption asks for these alone, since the rest is kept"
        log.warning("%d images got no caption: %s; %s", len(failed), failed[0], again)


def _write_texts(rows: list[Row], files: OwnFiles) -> None:
    """Text files of good captions and of those that lint found fault with, for a person to mend there."""
    wanted = []
    for row in rows:
        if row["text_path"] is None or row["source"] == PERSON:
            continue
        wanted.append(_name(row))
        key = digest(row["text"])
        if not files.is_current(_name(row), key):
            with files.write(_name(row), key) as partial:
                partial.write_text(f"{row['text']}\n", encoding="utf-8", newline="\n")
    # What people changed is kept in mind: `by_hand.texts` is to say the same after this run as before.
    files.close([*wanted, *files.changed()])


if job := globals().get("snakemake"):
    with step(job.log[0]):
        wanted, machine = job.params.caption, job.params.requests | job.params.machine
        store, words, model = Path(job.params.store, "captions.jsonl"), Path(job.input.words), next(iter(job.input.model), None)
        with open_author(wanted, machine, store, words, model) as writer:
            reviews, root = [Path(path) for path in job.input.reviews], Path(job.params.root)
            report_counts(**write_captions(Path(job.input.composites), reviews, root, wanted, writer, Path(job.output[0])))
