"""lora: what its pages have in common: rows of items, links beside the page, earlier decisions."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from workflow_scripts.core.pages import Export, Page, build_page
from workflow_scripts.core.pages.model import ROLES
from workflow_scripts.core.storage import FolderStorage
from workflow_scripts.lora import tables
from workflow_scripts.lora.culls import Culls
from workflow_scripts.lora.page_pictures import Pictures

REJECTED = "rejected"  # what a person takes away on a page
PICTURES = 20_000  # of a page: 10,000 pairs
_BOX = pa.struct([("image", pa.int32()), *((side, pa.float64()) for side in ("x0", "y0", "x1", "y1")), ("label", pa.string())])
_TEXTS = ("id", "name", "label", "outcome", "reason", "decision", "link")
_LISTS = ("links", "images", "captions", "tags")

Row = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a page and its images are.

    Attributes:
        root: the workspace's results, which paths in tables are below.
        output: the page's folder.
    """

    root: Path
    output: Path

    def link(self, path: str | None) -> str:
        """From the page to a file, so that the folder with both can be moved; empty for none."""
        if not path:
            return ""
        front = os.path.relpath(self.root, self.output)
        return quote(f"{front}/{path}")

    def folder(self, name: str) -> str:
        """A folder of the workspace, as any shell finds it."""
        return os.path.abspath(self.root / name)


def export(reviews: str) -> Export:
    """The file of decisions that is read at `reviews`."""
    return Export(destination=reviews, file=Path(reviews).name)


def already(reviews: str) -> str:
    """What to do about a file of decisions that is there."""
    return f"Where {reviews} exists already, import it before you export: the new file then keeps all of its lines."


def judged(items: Iterable[Row], reviews: Iterable[Path]) -> list[Row]:
    """Items with what people decided about their frames so far.

    Raises:
        StepError: a line of a file says something that is no decision.
    """
    culls = Culls.read(reviews)
    return [item | {"decision": culls.decision(item["id"])} for item in items]


def frames(sorted_tables: Iterable[Path]) -> dict[str, str]:
    """Where each frame lies, by frame_id."""
    return {row["frame_id"]: row["path"] for table in sorted_tables for row in tables.read(table, "frame_id", "path") if row["path"]}


def tags(row: Mapping[str, Any], *more: str | None) -> list[str]:
    """Category and video of a row, and further tags, those that are not empty."""
    return [tag for tag in (row.get("category"), row["video"], *more) if tag]


def once(page: Page, rows: Sequence[Row]) -> list[Row]:
    """The same rows with a name each of its own, and each content open to decisions in one of them.

    Decisions are about contents: where a video stands still several frames share one, and two of them could be decided otherwise. The
    row that decides is the first among those with the best outcome; the others say so.
    """
    carriers: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: ROLES.index(page.outcomes.get(row["outcome"], "other"))):
        if row["id"]:
            carriers.setdefault(row["id"], row)
    names: dict[str, int] = {}
    found = []
    for row in rows:
        carrier = carriers.get(row["id"] or "", row)
        names[row["name"]] = names.get(row["name"], 0) + 1
        name = row["name"] if names[row["name"]] == 1 else f"{row['name']} ({names[row['name']]})"
        same = {} if carrier is row else {"id": None, "decision": "", "tags": [*row["tags"], f"same picture as {carrier['label']}"]}
        found.append(row | {"name": name} | same)
    return found


def schema(page: Page) -> pa.Schema:
    """The columns of a page's table."""
    columns = [(name, pa.string()) for name in _TEXTS] + [(name, pa.list_(pa.string())) for name in _LISTS]
    numbers = [(number.column, pa.float64()) for number in page.shown_numbers()]
    return pa.schema([*columns, ("boxes", pa.list_(_BOX)), ("fixed", pa.bool_()), *numbers])


def write_page(page: Page, rows: Sequence[Row], place: Place, machine: Mapping[str, Any]) -> dict[str, int]:
    """Build a page; gives the counts of `build_page`, and how many thumbnails were made for it.

    Args:
        page: what to say and to offer.
        rows: with `name`, `outcome`, and what else of `schema` there is; `id` is the sha256 of a frame.
        place: where it goes.
        machine: `cache_root`, `threads`.
    """
    pictures = Pictures(place.root, machine["cache_root"])
    columns = schema(page)
    empty: Row = {each.name: [] if pa.types.is_list(each.type) else None for each in columns}
    whole = once(page, [empty | row | {"label": row.get("label") or row["name"]} for row in rows])
    # Where no row has captions of its own, those of the page hold.
    unused = [name for name in ("captions", "links") if not any(row[name] for row in whole)]
    table = pa.Table.from_pylist(whole, columns).drop_columns(unused)
    threads = max(machine["threads"], FolderStorage.reads_at_once)
    counts = build_page(page, table, place.output, pictures, max_thumbnails=PICTURES, threads=threads)
    pictures.flush()
    return counts | {"fetched": pictures.made}
