"""predict 01: which images a project has, by name alone; nothing is read or decoded yet."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.core.embeddings import write_table
from workflow_scripts.core.images import extension
from workflow_scripts.core.step import log, report_counts, step
from workflow_scripts.core.storage import FolderStorage, StoreError, ZipStorage, is_valid_key, printable_key
from workflow_scripts.core.storage.archive_members import litter
from workflow_scripts.predict.sources import open_source
from workflow_scripts.predict.tables import FAILED, INVENTORY, SUCCESS, schema

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp"})
NO_UTF8 = "list: the name is no UTF-8; rename the file"


@dataclass
class Listing:
    """What a source holds.

    Attributes:
        rows: of the inventory, by path.
        skipped: how many files were left out, by what they are.
    """

    rows: list[dict[str, Any]]
    skipped: Counter[str]


def list_source(source: FolderStorage | ZipStorage) -> Listing:
    """Every file with the ending of an image; all others are counted."""
    found = Listing([], Counter())
    for item in source.list():
        if kind := litter(item.key):
            found.skipped[kind] += 1
        elif extension(item.key) not in EXTENSIONS:
            found.skipped[extension(item.key) or "(no extension)"] += 1
        else:
            error = "" if is_valid_key(item.key) else NO_UTF8
            row = {"path": printable_key(item.key), "size": item.size, "etag": item.etag, "modified": item.last_modified}
            found.rows.append(row | {"groupable": not error, "error": error or None})
    if isinstance(source, ZipStorage):
        found.skipped += source.skipped
        _add_refused(found, source.refused)
    found.rows.sort(key=lambda row: (row["path"], row["error"] or ""))
    return found


def _add_refused(found: Listing, refused: list[tuple[str, str]]) -> None:
    """Members that are never read. One with a plain name of its own still stands in its group, as an image that cannot be read."""
    names = Counter([*(row["path"] for row in found.rows), *(printable_key(name) for name, _ in refused)])
    for name, reason in refused:
        path = printable_key(name)
        if extension(path) not in EXTENSIONS:
            found.skipped[f"refused {extension(path) or '(no extension)'}"] += 1
            continue
        row = {"path": path, "size": None, "etag": None, "modified": None, "error": f"list: {reason}"}
        found.rows.append(row | {"groupable": names[path] == 1 and _is_plain(path)})


def _is_plain(path: str) -> bool:
    """Whether the name leads to a place below the project, and is written in the one way that leads there."""
    return "\\" not in path and all(part not in ("", ".", "..") for part in path.split("/")) and path[1:2] != ":"


def take_inventory(project: dict[str, Any], archives: dict[str, Any], output: Path) -> dict[str, int]:
    """Write the inventory of a project. One that cannot be read gets an empty one that says why, so that the others go on.

    Args:
        project: `project_id`, `path` and `fingerprint` of its source.
        archives: limits, as of `open_source`.
        output: the table.

    Returns:
        Counts: `listed` images, `refused` among them, `skipped` files.
    """
    about: dict[str, Any] = project | {"status": SUCCESS, "error": "", "images": 0, "skipped": {}}
    found = Listing([], Counter())
    try:
        source = open_source(project["path"], **archives)
        found = list_source(source)
    except StoreError as error:
        log.error("the project fails, others go on: %s", error)
        about |= {"status": FAILED, "error": str(error)}
    about |= {"images": len(found.rows), "skipped": dict(sorted(found.skipped.items()))}
    write_table(output, schema(INVENTORY, about), found.rows)
    refused = sum(row["error"] is not None for row in found.rows)
    return {"listed": len(found.rows), "refused": refused, "skipped": found.skipped.total()}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        report_counts(**take_inventory(job.params.project, job.params.archives, Path(job.output[0])))
