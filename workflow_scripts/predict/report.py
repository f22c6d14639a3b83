"""predict 06: a page to judge the selections of a project by: every group with its chosen image, its crop and the others."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workflow_scripts.core.cache import ThumbnailCache
from workflow_scripts.core.pages import Choice, Export, Number, Page, Role, build_page
from workflow_scripts.core.step import report_counts, step
from workflow_scripts.core.storage import FolderStorage, StoreError, ZipStorage
from workflow_scripts.core.thumbnails import Thumbnails
from workflow_scripts.predict.report_items import FAILED, Found, write_items
from workflow_scripts.predict.report_panels import notes, panels, warnings
from workflow_scripts.predict.sources import open_source
from workflow_scripts.predict.tables import ERROR, SELECTED, UNGROUPED, about
from workflow_scripts.predict.tables import FAILED as PROJECT_FAILED

# What a person takes away is `dropped`. Groups and images that cannot be used need no decision.
ROLES: dict[str, Role] = {SELECTED: "kept", "dropped": "rejected", FAILED: "error", UNGROUPED: "other", ERROR: "error"}
CHOICES = (Choice("keep", "Keep", "k", "kept"), Choice("drop", "Drop", "x", "rejected"), Choice("split", "Split", "s"))
LOOK_FOR = (
    "The chosen image should be the best of its group, and its crop should hold what matters. The closest choices come first: there the "
    "ranker is least sure. A group should show one subject; drop or split those that do not."
)
NUMBERS = (
    Number("margin", "margin", 3),
    Number("confidence", "confidence", 3),
    Number("group_size", "images in the group", 0),
    Number("crop_share", "crop, part of the image", 2),
    Number("crop_side", "crop, shorter side in pixels", 0),
)


def describe(run: dict[str, Any], facts: dict[str, Any], found: Found, gone: str = "") -> Page:
    """The page of a project.

    Args:
        run: `project_id`, `reviews` (where decisions are read).
        facts: the metadata of the project's tables.
        found: what the tables hold.
        gone: why the originals cannot be reached; empty when they can.
    """
    failed = facts["status"] == PROJECT_FAILED
    return Page(
        page_id=f"predict/{run['project_id']}/groups",
        title=f"Selections of {run['project_id']}",
        look_for="" if failed else LOOK_FOR,
        numbers=NUMBERS,
        choices=() if failed else CHOICES,
        outcomes=ROLES,
        export=Export(destination=run["reviews"], file=Path(run["reviews"]).name),
        lowest_first="margin",
        warnings=tuple(warnings(facts, gone)),
        notes=tuple(notes(run, facts)),
        panels=tuple(panels(found)),
    )


def find_source(run: dict[str, Any]) -> tuple[FolderStorage | ZipStorage | None, str]:
    """Where the originals are, or why they cannot be reached."""
    try:
        return open_source(run["path"], **run["archives"]), ""
    except StoreError as error:
        return None, str(error)


def find_pictures(cache_root: str, source: FolderStorage | ZipStorage | None, max_pixels: int) -> Callable[[str], bytes | None]:
    """What gives the pictures: cache and source, or the cache alone."""
    if source is not None:
        return Thumbnails(cache_root, source, max_pixels)
    cache = ThumbnailCache(cache_root)
    return lambda image: cache.get(image.partition(" ")[0])


def build(run: dict[str, Any], groups: Path, images: Path, *, cache_root: str, output: Path, threads: int) -> dict[str, int]:
    """Build the page; gives the counts of `build_page`.

    Args:
        run: as of `describe`, and `path` of the project, `archives` as of `open_source`, and `max_pixels`.
        groups: the table `GROUPS`.
        images: the table `IMAGES`.
        cache_root: of the thumbnails.
        output: folder of the page.
        threads: how many sheets of thumbnails are made at a time.
    """
    source, gone = find_source(run)
    pictures = find_pictures(cache_root, source, run["max_pixels"])
    # What stands in an archive has no address that a browser opens.
    root = Path(os.path.abspath(run["path"])).as_uri() if isinstance(source, FolderStorage) else ""
    with tempfile.TemporaryDirectory() as folder:
        items = Path(folder) / "items.parquet"
        found = write_items(groups, images, root, items)
        threads = max(threads, FolderStorage.reads_at_once)
        counts = build_page(describe(run, about(groups), found, gone), items, output, pictures, threads=threads)
    if isinstance(pictures, Thumbnails):
        pictures.flush()
    return counts


if job := globals().get("snakemake"):
    with step(job.log[0]):
        machine, tables = job.params.machine, (Path(job.input.groups), Path(job.input.images))
        places = {"cache_root": machine["cache_root"], "output": Path(job.output[0])}
        report_counts(**build(job.params.page, *tables, **places, threads=machine["threads"]))
