"""Build a page: a folder with one document, one style sheet, one script, the data, and the thumbnails."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from workflow_scripts.core.pages import payload
from workflow_scripts.core.pages.document import write_document
from workflow_scripts.core.pages.folder import check_replaceable, new_folder
from workflow_scripts.core.pages.model import Page
from workflow_scripts.core.pages.sampling import sample
from workflow_scripts.core.pages.sheets import BROKEN, NONE, write_file, write_sheets
from workflow_scripts.core.pages.table import Indices, Scan, Table, scan
from workflow_scripts.core.step import log

Thumbnail = Callable[[str], bytes | None]


def build_page(
    page: Page,
    table: Path | pa.Table,
    output: Path,
    thumbnail: Thumbnail,
    *,
    max_items: int = 100_000,
    max_thumbnails: int = 10_000,
    threads: int = 2,
) -> dict[str, int]:
    """Write a page that a person opens from disk; same input, same bytes, for any number of threads.

    Args:
        page: what to say and to offer.
        table: Parquet file or Arrow table, a row an item: `id` (content sha256; null where nobody could read it), `name`
            (unique), `outcome`, `reason` (of errors: the text), `link` (of the original, may be empty), `images` (keys for
            `thumbnail`, six at most; null for an image without a picture), the number columns that the page names. Optional:
            `label` (stands under the pictures in place of the last part of the name), `links` and `captions` (of all images),
            `members` (name and id of all images, the row's own first: search finds them, a decision can name any with an id),
            `tags`, `boxes` (image, x0, y0, x1, y1 as parts of width and height, label), `decision` (that a person made before),
            `fixed` (thresholds do not decide about this row).
        output: folder, which appears whole or not at all.
        thumbnail: gives the picture of a key as JPEG, PNG or WebP, or None; called from threads, only for what is shown.
        max_items: more rows than that are sampled; counts, histograms and what a threshold would change stay complete.
        max_thumbnails: how many pictures the page holds at most; items without show name and numbers.
        threads: how many sheets of thumbnails are made at a time.

    Returns:
        how many rows there are, how many are shown, their thumbnails, and how many of those were missing or broken.

    Raises:
        StepError: a column is missing, a name stands there twice, or something other than a page stands at `output`.
    """
    check_replaceable(Path(output).resolve())
    source = Table(table, page)
    scanned = scan(source, page)
    shown = sample(scanned, page, max_items)
    taken = source.take(shown)
    keys, places = _assign(scanned, page, shown, [row or [] for row in taken["images"].to_pylist()], max_thumbnails)
    with new_folder(output) as folder:
        sizes = write_sheets(folder / "sheets", keys, thumbnail, threads)
        data = {
            "page": payload.settings(page),
            "outcomes": [[name, page.outcomes.get(name, "other")] for name in ([] if page.blind else scanned.outcomes)],
            "totals": payload.totals(scanned, page, source, shown),
            "items": payload.items(scanned, page, source, shown, taken),
            "pictures": payload.pictures(places, sizes),
        }
        write_file(folder / "data.js", payload.script(data))
        write_document(folder, page, limits(scanned, page, shown, places, len(sizes)))
    found = {"rows": len(scanned), "shown": len(shown), "thumbnails": len(sizes)}
    found |= {"missing": sizes.count(NONE), "broken": sizes.count(BROKEN)}
    if found["broken"]:
        log.warning("%s: %d thumbnails cannot be read; the page shows these items without", output, found["broken"])
    return found


def limits(scanned: Scan, page: Page, shown: Indices, places: list[list[int]], thumbnails: int) -> list[str]:
    """Sentences on what the page leaves out."""
    said = []
    if len(shown) < len(scanned):
        lowest = next((number.label for number in page.shown_numbers() if number.column == page.lowest_first), "")
        first = f"those with the lowest {lowest}" if lowest else "those nearest to each threshold"
        said.append(
            f"{len(shown):,} of {len(scanned):,} items are shown: {first}, some of every outcome, errors, and a random part. Counts, "
            "histograms and what a threshold would change cover all of them."
        )
        hidden = int(scanned.person.sum()) - int(scanned.person[shown].sum())
        if hidden:
            said.append(f"{hidden:,} items decided earlier are not shown. Import the earlier file before you export, to keep them in it.")
    without = sum(payload.NOT_SHOWN in row for row in places)
    if without:
        said.append(f"{thumbnails:,} thumbnails are included; {without:,} items show name and numbers without all of their pictures.")
    return said


def _assign(scanned: Scan, page: Page, shown: Indices, images: list[list[Any]], limit: int) -> tuple[list[str], list[list[int]]]:
    """Which thumbnails there are, in the order to pack them, and those of each item.

    What is looked at together is packed together: by the number along which views and the slider go.
    """
    # Items of a sample share fewer pictures than all items do: it shrinks until the pictures of its items fit in, all of each.
    wanted, before = shown, shown[:0]
    while (keys := len({key for place in np.searchsorted(shown, wanted) for key in images[place]} - {None})) > limit:
        before = wanted
        wanted = sample(scanned, page, min(len(wanted) - 1, limit * len(wanted) // keys), among=shown)
    number: dict[str, int] = {}
    for rows in (wanted, before):
        order = np.searchsorted(shown, rows)
        if along := page.looked_at_by():
            order = order[np.argsort(scanned.numbers[along][rows], kind="stable")]
        for item in order.tolist():
            for key in images[item]:
                if key is not None and len(number) < limit:
                    number.setdefault(key, len(number))
    places = [[payload.NO_PICTURE if key is None else number.get(key, payload.NOT_SHOWN) for key in row] for row in images]
    return list(number), places
