"""retrieval 07: a page to judge the comparisons by: a query, its positive and a negative in each row."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.core.json_files import read_json
from workflow_scripts.core.pages import Choice, Export, Number, Page, Role, Threshold, build_page
from workflow_scripts.core.pages.texts import counted
from workflow_scripts.core.step import report_counts, step
from workflow_scripts.core.storage import FolderStorage
from workflow_scripts.core.thumbnails import Thumbnails
from workflow_scripts.retrieval.page_images import Images
from workflow_scripts.retrieval.report_items import Found, write_items
from workflow_scripts.retrieval.report_panels import notes, panels, warnings

# What the slider or a person takes away is `left out`; a query that gave no record needs no decision.
ROLES: dict[str, Role] = {"kept": "kept", "left out": "rejected", "skipped": "other", "error": "error"}
CHOICES = (
    Choice("keep", "Keep", "k", "kept"),
    Choice("drop_pair", "Drop pair", "x", "rejected"),
    Choice("drop_query", "Drop query", "q", "rejected"),
    Choice("drop_negative", "Drop negative", "v", "rejected"),
)
OFF = 1.0  # where the slider stands when duplicate_similarity is not set
NUMBERS = (Number("negative", "negative", 3), Number("positive", "positive", 3), Number("margin", "margin", 3))


def describe(run: dict[str, Any], metadata: Sequence[dict[str, Any]], splits: dict[str, Any], found: Found) -> Page:
    """The page of the records of one seed and K.

    Args:
        run: `dataset`, `duplicate_similarity`, `k`, `retrieval_source`, `reviews` (where decisions are read), `seed`.
        metadata: of the records of each category.
        splits: metadata of the split.
        found: what the records hold.
    """
    limit = OFF if run["duplicate_similarity"] is None else run["duplicate_similarity"]
    setting = ("retrieval", "datasets", run["dataset"], "duplicate_similarity")
    return Page(
        # The file of decisions is one for all seeds and K, and so are the decisions that a browser keeps.
        page_id=f"retrieval/{run['dataset']}/retrieve",
        title=f"Comparisons of {run['dataset']}: 1 positive, {counted(run['k'] - 1, 'negative')}, seed {run['seed']}",
        look_for=(
            "The positive should show the query's own concept, the negative another one. Begin with the most similar negatives: a copy of "
            "the query, or the same thing under another concept's name, teaches the opposite of what is meant."
        ),
        thresholds=(Threshold("negative", "cosine of the negative", limit, 0.0, 1.0, 0.001, "at_least", setting),),
        numbers=NUMBERS,
        choices=CHOICES,
        outcomes=ROLES,
        export=Export(destination=run["reviews"], file=Path(run["reviews"]).name),
        captions=("query", "positive", "negative"),
        warnings=tuple(warnings(run, metadata, splits)),
        notes=tuple(notes(run, metadata, found)),
        panels=tuple(panels(run, metadata, splits, found)),
    )


def build(
    run: dict[str, Any],
    records: Sequence[Path],
    metadata: Sequence[Path],
    *,
    images: Path,
    splits: Path,
    thumbnails: Thumbnails,
    output: Path,
    threads: int,
) -> dict[str, int]:
    """Build the page; gives the counts of `build_page`, and how many thumbnails were made for it.

    Args:
        run: as of `describe`, and `data_root`.
        records: of each category.
        metadata: of each category, in the same order.
        images: `01_catalog/images.parquet`.
        splits: metadata of the split.
        thumbnails: gives the pictures.
        output: folder of the page.
        threads: how many sheets of thumbnails are made at a time.
    """
    facts = [read_json(path) for path in metadata]
    with tempfile.TemporaryDirectory() as folder:
        items = Path(folder) / "items.parquet"
        found = write_items(records, facts, Images(images, run["data_root"]), items)
        counts = build_page(describe(run, facts, read_json(splits), found), items, output, thumbnails, threads=threads)
    thumbnails.flush()
    return counts | {"fetched": thumbnails.made}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        params, machine = job.params.report, job.params.machine
        source = FolderStorage(params["data_root"])
        pictures = Thumbnails(machine["cache_root"], source, params["max_pixels"])
        places = {"images": Path(job.input.images), "splits": Path(job.input.splits), "output": Path(job.output[0])}
        records, metadata = ([Path(path) for path in paths] for paths in (job.input.records, job.input.metadata))
        threads = max(machine["threads"], source.reads_at_once)
        report_counts(**build(params, records, metadata, **places, thumbnails=pictures, threads=threads))
