"""retrieval 00: what the files of one category are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from workflow_scripts.core.accounting import Ledger
from workflow_scripts.core.embeddings import write_table
from workflow_scripts.core.images import IMAGE_EXTENSIONS, extension
from workflow_scripts.core.inspect import Inspector
from workflow_scripts.core.step import progress, report_counts, step
from workflow_scripts.core.storage import FolderStorage, Item, is_valid_key, printable_key
from workflow_scripts.retrieval.layout import Section, sections

NO_UTF8 = "list: the name is no UTF-8; rename the file"
THUMBNAILS = 10_000  # of a category at most are kept from the decode that happens anyway; what a page lacks it makes
SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("concept", pa.string()),
        ("part", pa.string()),
        ("size", pa.int64()),
        ("etag", pa.string()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("phash", pa.uint64()),
        ("readable", pa.bool_()),
        ("reason", pa.string()),
    ]
)


def list_files(data_root: str, places: list[Section]) -> list[tuple[Item, dict[str, Any]]]:
    """The files of a category, by path: each as an item of the dataset, and what its place says of it."""
    found = []
    for section in places:
        for item in FolderStorage(Path(data_root, section.path)).list():
            concept, part, reason = section.place(item.key)
            path = f"{section.path}/{item.key}"
            if not reason and extension(item.key) not in IMAGE_EXTENSIONS:
                reason = f"skipped: {extension(item.key) or '(no extension)'}"
            if not is_valid_key(path):
                reason = NO_UTF8
            row = {"path": printable_key(path), "concept": printable_key(concept), "part": part, "size": item.size, "etag": item.etag}
            found.append((Item(path, item.size, item.etag, item.last_modified), row | {"reason": reason}))
    return sorted(found, key=lambda pair: pair[1]["path"])


def take_inventory(data_root: str, places: list[Section], inspector: Inspector, output: Path) -> dict[str, int]:
    """Write the inventory of a category: a row a file, by path. Gives the counts.

    `part` is `train`, `test` or `negative` where folders say it. `reason` is empty for readable images, `skipped: …` for files
    that are no image of a concept, else the error.
    """
    files = list_files(data_root, places)
    images = [item for item, row in files if not row["reason"]]
    ledger = Ledger((row["path"] for _, row in files), ("readable", "unreadable", "skipped"))
    looks = progress(inspector.inspect(images, FolderStorage(data_root), thumbnails=THUMBNAILS), total=len(images))

    def rows() -> Iterator[dict[str, Any]]:
        for item, row in files:
            if not row["reason"]:
                found = next(looks)
                assert found.item == item
                row |= {"sha256": found.sha256, "reason": found.error or ""}
                if found.look is not None:
                    row |= {"width": found.look.width, "height": found.look.height, "phash": found.look.phash}
            outcome = "skipped" if row["reason"].startswith("skipped") else "unreadable" if row["reason"] else "readable"
            ledger.add(outcome, [row["path"]])
            yield {name: row.get(name) for name in SCHEMA.names} | {"readable": outcome == "readable"}
        next(looks, None)  # lets the inspector write what it learnt

    write_table(output, SCHEMA, rows())
    return ledger.close() | dict(inspector.counts)


if job := globals().get("snakemake"):
    with step(job.log[0]):
        where = job.params.layout
        inspector = Inspector(max_pixels=job.params.max_pixels, **job.params.machine)
        report_counts(**take_inventory(where["data_root"], sections(**where)[job.params.category], inspector, Path(job.output[0])))
