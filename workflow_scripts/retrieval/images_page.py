"""retrieval 07: a page with every file of a dataset: which images the catalog takes, and why not the others."""

import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts.core.pages import Choice, Export, Page, Panel, Role, build_page
from workflow_scripts.core.pages.texts import counted, table_panel
from workflow_scripts.core.step import report_counts, step
from workflow_scripts.core.storage import FolderStorage
from workflow_scripts.core.thumbnails import Thumbnails
from workflow_scripts.retrieval.page_images import batch_of, read_images, side_by_side

# A person has a say in what could be in the catalog: not in files that are no image, nor against a list of the settings.
ROLES: dict[str, Role] = {
    "train": "kept",
    "test": "kept",
    "negative": "kept",
    "removed": "rejected",
    "excluded": "other",
    "skipped": "other",
    "error": "error",
}
CHOICES = (Choice("keep", "Keep", "k", "kept"), Choice("drop", "Drop", "x", "rejected"))
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "name", "label", "outcome", "reason", "decision", "link")]
    + [(name, pa.list_(pa.string())) for name in ("images", "tags")]
)
Counts = dict[tuple[str, str], Counter[str]]


def write_items(images: Path, data_root: str, output: Path) -> Counts:
    """Write the table of the page from `01_catalog/images.parquet`; gives the counts of outcomes by category and concept."""
    counts: Counts = defaultdict(Counter)
    with pq.ParquetWriter(output, SCHEMA, compression="zstd") as writer:
        for batch in read_images(images, data_root):
            writer.write_batch(_items(batch))
            columns = (batch[name].to_pylist() for name in ("category", "concept", "outcome"))
            for category, concept, outcome in zip(*columns, strict=True):
                counts[category, concept][outcome] += 1
    return counts


def _items(batch: pa.RecordBatch) -> pa.RecordBatch:
    nothing = pa.scalar(None, pa.string())
    shown = pc.invert(pc.is_in(batch["outcome"], pa.array(["skipped", "error"])))
    file = pc.replace_substring_regex(batch["path"], "(?s)^.*/", "")
    tags = [pc.if_else(pc.equal(batch[name], ""), nothing, batch[name]) for name in ("category", "concept")]
    rows = {name: batch[name] for name in ("outcome", "reason", "link")} | {
        "id": batch["sha256"],
        "name": batch["path"],
        "label": pc.if_else(pc.equal(batch["concept"], ""), "", pc.binary_join_element_wise(batch["concept"], file, "/")),
        "decision": pc.if_else(pc.equal(batch["outcome"], "removed"), "drop", ""),
        "images": side_by_side(pc.if_else(shown, batch["picture"], nothing)),
        "tags": side_by_side(*tags),
    }
    return batch_of(SCHEMA, rows, len(batch))


def describe(run: dict[str, Any], counts: Counts) -> Page:
    """The page of a dataset.

    Args:
        run: `data_root`, `dataset`, `reviews` (where decisions are read).
        counts: of outcomes, by category and concept.
    """
    totals = sum(counts.values(), Counter())
    concepts = sum(any(found[name] for name in ("train", "test")) for found in counts.values())
    named = (("train", "training image"), ("test", "test image"), ("negative", "negative"))
    kinds = ", ".join(counted(totals[outcome], name) for outcome, name in named)
    return Page(
        page_id=f"retrieval/{run['dataset']}/catalog",
        title=f"Images of {run['dataset']}",
        look_for=(
            "Every image should show its concept, large enough to be told from others. Search or filter for a concept to see its images "
            "together, and drop what shows something else: a dropped image is in no list of the catalog from the next run on."
        ),
        choices=CHOICES,
        outcomes=ROLES,
        export=Export(destination=run["reviews"], file=Path(run["reviews"]).name),
        notes=(f"{counted(totals.total(), 'file')} in {run['data_root']}: {kinds} of {counted(concepts, 'concept')}.",),
        panels=tuple(_panels(counts)),
    )


def _panels(counts: Counts) -> list[Panel]:
    by_category: dict[str, Counter[str]] = defaultdict(Counter)
    for (category, _), found in counts.items():
        by_category[category] += found
    categories = [(category, *_row(found)) for category, found in by_category.items()]
    if len(categories) > 1:
        categories.append(("all", *_row(sum(by_category.values(), Counter()))))
    concepts = [(*names, *_row(found)) for names, found in counts.items()]
    return [
        table_panel("Categories", (), ("category", *ROLES), categories, "categories.csv"),
        table_panel("Concepts", (), ("category", "concept", *ROLES), concepts, "concepts.csv"),
    ]


def _row(found: Counter[str]) -> list[int]:
    return [found[outcome] for outcome in ROLES]


def build(run: dict[str, Any], images: Path, thumbnails: Thumbnails, output: Path, threads: int) -> dict[str, int]:
    """Build the page from `01_catalog/images.parquet`; gives the counts of `build_page`, and how many thumbnails were made for it."""
    with tempfile.TemporaryDirectory() as folder:
        items = Path(folder) / "items.parquet"
        counts = write_items(images, run["data_root"], items)
        found = build_page(describe(run, counts), items, output, thumbnails, threads=threads)
    thumbnails.flush()
    return found | {"fetched": thumbnails.made}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        params, machine = job.params.page, job.params.machine
        source = FolderStorage(params["data_root"])
        pictures = Thumbnails(machine["cache_root"], source, params["max_pixels"])
        threads = max(machine["threads"], source.reads_at_once)
        report_counts(**build(params, Path(job.input[0]), pictures, Path(job.output[0]), threads))
