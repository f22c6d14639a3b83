"""autotag 09: a page with every image of a folder, its tags, and the neighbours that voted for them."""

import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.autotag.report_items import NO_TAGS, Folder, Row, write_items
from workflow_scripts.autotag.report_pictures import Neighbours, Pictures, find_neighbours
from workflow_scripts.autotag.report_texts import notes, panels, threshold, warnings
from workflow_scripts.autotag.tables import ERROR, KEPT, REJECTED, SEGMENTED
from workflow_scripts.autotag.tag_names import Spelling
from workflow_scripts.autotag.tag_reviews import read_tag_reviews
from workflow_scripts.core import tables
from workflow_scripts.core.json_files import read_json
from workflow_scripts.core.pages import Export, Number, Page, Role, build_page
from workflow_scripts.core.pages.model import KEEP_OR_REJECT
from workflow_scripts.core.step import report_counts, step
from workflow_scripts.core.storage import FolderStorage

ROLES: dict[str, Role] = {KEPT: "kept", REJECTED: "rejected", NO_TAGS: "other", ERROR: "error"}
LOOK_FOR = (
    "The tag under the pictures should name something that the first picture shows, most of all in its boxes, the parts that voted for it. "
    "The other pictures are images of the source that carry the tag, each with the part that looks like one of the boxes."
)
NUMBERS = (
    Number("votes", "votes", 0),
    Number("needed", "votes needed", 0),
    Number("parts", "parts of the image", 0),
    Number("similarity", "similarity of the neighbours", 3),
    Number("weight", "weight", 2),
)
PICTURES = 20_000  # of a page


@dataclass(frozen=True)
class Sources:
    """What the page is made from.

    Attributes:
        images: the table TARGET_IMAGES.
        crops: the table TARGET_CROPS.
        candidates: the table CANDIDATES.
        index: the index's metadata.
        recall: the index's recall.
        reviews: what a person decided so far; None for nothing.
    """

    images: Path
    crops: Path
    candidates: Path
    index: Path
    recall: Path
    reviews: Path | None


def describe(run: Mapping[str, Any], sources: Sources, candidates: list[Row], neighbours: Neighbours) -> Page:
    """The page of a folder; arguments as of `build`, with the rows of the candidates and what is known of their neighbours."""
    index, recall, about = read_json(sources.index), read_json(sources.recall), tables.about(sources.candidates)
    return Page(
        page_id=f"autotag/{run['folder']}/vote",
        title=f"Tags of {run['folder']}",
        look_for=LOOK_FOR,
        thresholds=(threshold(run["vote"], (row["votes"] for row in candidates)),),
        numbers=NUMBERS,
        choices=KEEP_OR_REJECT,
        outcomes=ROLES,
        export=Export(destination=run["reviews"], file=Path(run["reviews"]).name),
        warnings=tuple(warnings(neighbours, recall, index)),
        notes=tuple(notes(run, about, recall)),
        panels=tuple(panels(run["vote"], about, candidates, recall, index)),
    )


def build(
    run: Mapping[str, Any], sources: Sources, results: Path, dataset: Path, *, cache_root: str, output: Path, threads: int
) -> dict[str, int]:
    """Build the page; gives the counts of `build_page`, and how many thumbnails were made for it.

    Args:
        run: `folder` (its name), `path` (where it is), `reviews` (where decisions are read), `vote` (the settings), `max_pixels`.
        sources: what it is made from.
        results: folder with the results of the source.
        dataset: folder with its tars.
        cache_root: of the thumbnails.
        output: folder of the page.
        threads: how many shards are read, and sheets of thumbnails made, at a time.
    """
    threads = max(threads, FolderStorage.reads_at_once)
    images, candidates = tables.read(sources.images), tables.read(sources.candidates)
    crops: dict[str, list[Row]] = defaultdict(list)
    for crop in tables.read(sources.crops, "image", "crop_id", "bbox"):
        crops[crop["image"]].append(crop)
    shown = ((name, example["segment"]) for row in candidates for name, example in zip(row["neighbours"], row["examples"], strict=False))
    neighbours = find_neighbours(shown, results, dataset, threads)
    readable = {row["image"]: row["sha256"] for row in images if row["outcome"] == SEGMENTED}
    reviews = read_tag_reviews(sources.reviews, readable, Spelling(run["vote"]["aliases"]))
    root, silent = Path(os.path.abspath(run["path"])).as_uri(), tables.about(sources.candidates)["silent"]
    items = write_items(candidates, Folder(images, crops, root, run["vote"], neighbours.known, reviews, silent))
    pictures = Pictures(cache_root, Path(run["path"]), dataset, run["max_pixels"])
    page = describe(run, sources, candidates, neighbours)
    counts = build_page(page, items, output, pictures, max_thumbnails=PICTURES, threads=threads)
    pictures.flush()
    return counts | {"fetched": pictures.made}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        params, names = job.params, ("images", "crops", "candidates", "index", "recall")
        files = {name: Path(getattr(job.input, name)) for name in names}
        sources = Sources(**files, reviews=Path(job.input.reviews[0]) if job.input.reviews else None)
        places = {"cache_root": params.machine["cache_root"], "output": Path(job.output[0]), "threads": params.machine["threads"]}
        run = params.page | {"max_pixels": params.max_pixels}
        report_counts(**build(run, sources, Path(params.folder), Path(params.source["dataset"]), **places))
