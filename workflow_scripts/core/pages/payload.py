"""What a page's script gets: settings, counts and the items, column by column, as a file of data."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.core.pages import counts
from workflow_scripts.core.pages.model import ROLES, Page
from workflow_scripts.core.pages.sampling import random_ranks
from workflow_scripts.core.pages.sheets import CELL, COLUMNS, PER_SHEET, Size
from workflow_scripts.core.pages.table import Floats, Indices, Scan, Table

# In a script these could end it, begin markup or break a line; in JSON they only stand within strings.
_ESCAPES = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}
NOT_SHOWN = -1  # a picture that was not asked for
NO_PICTURE = -2  # an image that has none


def script(value: Any) -> bytes:
    """A script file that hands a value to the page."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f"window.darkroomData={text.translate(_ESCAPES)};\n".encode()


def settings(page: Page) -> dict[str, Any]:
    """What the script needs to know of the page itself; texts and panels stand in the document."""
    return {
        "id": page.page_id,
        "blind": page.blind,
        "choices": [asdict(choice) for choice in page.choices],
        "export": asdict(page.export),
        "captions": page.captions,
        "lowestFirst": "" if page.blind else page.lowest_first,
        "move": page.move,
        "numbers": [asdict(number) for number in page.shown_numbers()],
        "thresholds": [
            {
                "column": threshold.column,
                "label": threshold.label,
                "value": float(threshold.value),
                "grid": threshold.grid(),
                "atLeast": threshold.rejects == "at_least",
                "path": threshold.config_path,
            }
            for threshold in (() if page.blind else page.thresholds)
        ],
    }


def totals(scanned: Scan, page: Page, table: Table, shown: Indices) -> dict[str, Any]:
    """Counts over all rows; what thresholds would change only where the script cannot count it itself."""
    if page.blind:
        return {"rows": len(scanned), "outcomes": [], "reasons": [], "otherReasons": 0, "histograms": [], "changes": None}
    listed, others = counts.reasons(table)
    whole = len(shown) == len(scanned)
    return {
        "rows": len(scanned),
        "outcomes": counts.outcomes(scanned),
        "reasons": listed,
        "otherReasons": others,
        "histograms": counts.histograms(scanned, page),
        "changes": None if whole else counts.changes(scanned, page, counts.movable(scanned, page)),
    }


def items(scanned: Scan, page: Page, table: Table, shown: Indices, taken: pa.Table) -> dict[str, Any]:
    """The columns of the items shown, in the order of the table."""
    roles = scanned.role[shown]
    decidable = (roles != ROLES.index("error")) if page.blind else np.isin(roles, [ROLES.index("kept"), ROLES.index("rejected")])
    decidable &= np.asarray(taken["id"].is_valid())
    columns: dict[str, Any] = {
        "id": texts(taken["id"]),
        "name": texts(taken["name"]),
        # Thresholds and people decide about kept and rejected items; without a content hash a decision would fit nothing.
        "open": decidable.astype(int).tolist(),
        "random": random_ranks(scanned, shown),
        "links": _links(taken),
        "label": _dictionary(taken["label"]) if "label" in table else None,
        "tags": _dictionary_of_lists(taken["tags"]) if "tags" in table else None,
        "boxes": _boxes(taken["boxes"]) if "boxes" in table else None,
        "captions": _dictionary_of_lists(taken["captions"]) if "captions" in table else None,
        "members": _members(taken["members"]) if "members" in table else None,
        "decision": _dictionary(taken["decision"]) if "decision" in table else None,
    }
    if page.blind:
        return columns
    return columns | {
        "outcome": scanned.outcome[shown].tolist(),
        "reason": _dictionary(taken["reason"]),
        "movable": counts.movable(scanned, page)[shown].astype(int).tolist(),
        "person": scanned.person[shown].astype(int).tolist(),
        "numbers": {name: _numbers(values[shown]) for name, values in scanned.numbers.items()},
    }


def pictures(places: Sequence[Sequence[int]], sizes: Sequence[Size]) -> dict[str, Any]:
    """Where each item's thumbnails stand: numbers of thumbnails, and the sizes to cut out."""
    return {
        "items": places,
        "widths": [width for width, _ in sizes],
        "heights": [height for _, height in sizes],
        "cell": CELL,
        "columns": COLUMNS,
        "perSheet": PER_SHEET,
    }


def texts(column: pa.ChunkedArray) -> list[str]:
    """A column of texts, null as empty."""
    return pc.fill_null(column.cast(pa.string()), "").to_pylist()


def _numbers(values: Floats) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def _dictionary(column: pa.ChunkedArray) -> dict[str, Any]:
    """Texts as codes into the texts that occur."""
    rows = texts(column)
    values = sorted(set(rows))
    code = {text: place for place, text in enumerate(values)}
    return {"values": values, "codes": [code[text] for text in rows]}


def _dictionary_of_lists(column: pa.ChunkedArray) -> dict[str, Any]:
    """Lists of texts, likewise."""
    rows = [[text for text in row or () if text is not None] for row in column.to_pylist()]
    values = sorted({text for row in rows for text in row})
    code = {text: place for place, text in enumerate(values)}
    return {"values": values, "codes": [[code[text] for text in row] for row in rows]}


def _links(taken: pa.Table) -> dict[str, Any]:
    """Links of the first images without the part that all share; those of further ones stand in `more`."""
    first, more = texts(taken["link"]), None
    if "links" in taken.column_names:
        rows = [[link or "" for link in row or ()] for row in taken["links"].to_pylist()]
        first = [row[0] if row else link for row, link in zip(rows, first, strict=True)]
        more = [row[1:] for row in rows]
    known = [link for link in first if link]
    ends = (min(known), max(known)) if known else ("", "")
    shared = next((place for place, (one, other) in enumerate(zip(*ends, strict=False)) if one != other), min(map(len, ends)))
    return {"prefix": ends[0][:shared], "rest": [link[shared:] if link else None for link in first], "more": more}


def _boxes(column: pa.ChunkedArray) -> list[list[list[Any]]]:
    """Boxes as [image, x0, y0, x1, y1, label]."""
    sides = ("x0", "y0", "x1", "y1")
    return [
        [[box.get("image") or 0, *(round(min(1.0, max(0.0, box[side])), 4) for side in sides), box.get("label") or ""] for box in row or ()]
        for row in column.to_pylist()
    ]


def _members(column: pa.ChunkedArray) -> list[list[tuple[str, str]]]:
    """Names and ids of the images behind the first, which has the row's own; an empty id where nothing can be decided."""
    ends = np.cumsum(pc.fill_null(pc.list_value_length(column), 0))
    flat = pc.list_flatten(column)
    pairs = list(zip(*(texts(pc.struct_field(flat, name)) for name in ("name", "id")), strict=True))
    return [pairs[start + 1 : end] for start, end in pairwise([0, *ends.tolist()])]
