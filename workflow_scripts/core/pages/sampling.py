"""Which rows a page shows when there are too many: what matters to a person first, then a random part."""

import numpy as np

from workflow_scripts.core.pages.model import ROLES, Page
from workflow_scripts.core.pages.table import Floats, Indices, Scan

# Parts of the limit; what is left, at least a fifth, is the random part.
SHARE_DECIDED = 0.25
SHARE_BORDER = 0.35
SHARE_ERRORS = 0.10
SHARE_OUTCOMES = 0.10


def sample(scanned: Scan, page: Page, limit: int, among: Indices | None = None) -> Indices:
    """Choose at most `limit` rows; the same for the same table.

    Args:
        scanned: all rows.
        page: gives the thresholds whose neighbourhood matters, and the number whose lowest values do. A blind page gets the random
            part alone.
        limit: how many rows at most.
        among: rows to choose from; all by default.

    Returns:
        rows, ascending.
    """
    rows = np.arange(len(scanned)) if among is None else among
    if len(rows) <= limit:
        return rows
    shuffled = rows[np.argsort(scanned.order[rows], kind="stable")]
    chosen = np.zeros(len(scanned), dtype=bool)
    for part, share in [] if page.blind else _parts(scanned, page, shuffled):
        chosen[part[: int(limit * share)]] = True
    rest = shuffled[~chosen[shuffled]]
    chosen[rest[: limit - int(chosen.sum())]] = True
    return np.flatnonzero(chosen)


def _parts(scanned: Scan, page: Page, shuffled: Indices) -> list[tuple[Indices, float]]:
    """Groups of rows, the most wanted of each first, with their share of the limit."""
    parts = [(shuffled[scanned.person[shuffled]], SHARE_DECIDED)]
    wanted = [np.abs(scanned.numbers[threshold.column][shuffled] - threshold.value) for threshold in page.thresholds]
    if page.lowest_first:
        wanted.append(scanned.numbers[page.lowest_first][shuffled])
    parts.extend((shuffled[_finite_ascending(values)], SHARE_BORDER / len(wanted)) for values in wanted)
    parts.append((shuffled[scanned.role[shuffled] == ROLES.index("error")], SHARE_ERRORS))
    present = np.unique(scanned.outcome[shuffled])
    parts.extend((shuffled[scanned.outcome[shuffled] == code], SHARE_OUTCOMES / len(present)) for code in present)
    return parts


def _finite_ascending(values: Floats) -> Indices:
    order = np.argsort(values, kind="stable")
    return order[: int(np.isfinite(values).sum())]


def random_ranks(scanned: Scan, shown: Indices) -> list[int | None]:
    """The place of each shown row in the random order; None for rows that are not of its unbroken beginning.

    A sample of a page that shows everything may take any row. Where rows are left out, only those before the first one left
    out are a fair sample of the whole table: the others are there because they are near a threshold, or rare.
    """
    order = np.argsort(scanned.order, kind="stable")
    visible = np.zeros(len(scanned), dtype=bool)
    visible[shown] = True
    missing = np.flatnonzero(~visible[order])
    fair = int(missing[0]) if len(missing) else len(order)
    place = np.empty(len(scanned), dtype=np.int64)
    place[order] = np.arange(len(order))
    return [rank if rank < fair else None for rank in place[shown].tolist()]
