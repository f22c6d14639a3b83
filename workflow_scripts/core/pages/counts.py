"""What thresholds decide, counted over all rows: outcomes, reasons, histograms, and what another threshold would change."""

from typing import Any

import numpy as np
import pyarrow as pa

from workflow_scripts.core.pages.model import ROLES, Page, Threshold
from workflow_scripts.core.pages.table import Flags, Floats, Scan, Table

BINS = 60
LISTED_REASONS = 200
_KEPT, _REJECTED = ROLES.index("kept"), ROLES.index("rejected")


def rejected_by(threshold: Threshold, numbers: Floats, value: float) -> Flags:
    """Whether a threshold at `value` rejects each number; no number is never rejected [n]."""
    return numbers >= value if threshold.rejects == "at_least" else numbers < value


def movable(scanned: Scan, page: Page) -> Flags:
    """Rows whose outcome the thresholds decide [n].

    Errors, other outcomes and what a person decided stay as they are; so does what was kept or rejected against the
    thresholds in force, since something else must have decided about it.
    """
    verdict = np.zeros(len(scanned), dtype=bool)
    for threshold in page.thresholds:
        verdict |= rejected_by(threshold, scanned.numbers[threshold.column], threshold.value)
    fits = np.where(verdict, scanned.role == _REJECTED, scanned.role == _KEPT)
    return fits & ~scanned.person & ~scanned.fixed


def changes(scanned: Scan, page: Page, moves: Flags) -> list[dict[str, list[int]]]:
    """For every threshold and every value of its grid: how many rows would change when it alone moved there."""
    found = []
    for threshold in page.thresholds:
        others = np.zeros(len(scanned), dtype=bool)
        for other in page.thresholds:
            if other is not threshold:
                others |= rejected_by(other, scanned.numbers[other.column], other.value)
        numbers, grid = scanned.numbers[threshold.column], np.array(threshold.grid())
        kept = _below(numbers[moves & ~others & (scanned.role == _KEPT)], grid)
        rejected = _below(numbers[moves & ~others & (scanned.role == _REJECTED)], grid)
        if threshold.rejects == "at_least":
            removed, returned = kept[0] - kept[1], rejected[1]
        else:
            removed, returned = kept[1], rejected[0] - rejected[1]
        found.append({"removed": removed.tolist(), "returned": returned.tolist()})
    return found


def _below(numbers: Floats, grid: Floats) -> tuple[int, Any]:
    """How many numbers there are, and how many are below each value of the grid."""
    known = np.sort(numbers[np.isfinite(numbers)])
    return len(known), np.searchsorted(known, grid, side="left")


def histograms(scanned: Scan, page: Page) -> list[dict[str, Any]]:
    """For every threshold the bins over its grid, kept and rejected apart, and how many rows lie outside or have no number."""
    found = []
    for threshold in page.thresholds:
        grid, numbers = threshold.grid(), scanned.numbers[threshold.column]
        edges = np.linspace(grid[0], grid[-1], BINS + 1)
        decided = (scanned.role == _KEPT) | (scanned.role == _REJECTED)
        bars = {name: np.histogram(numbers[scanned.role == role], edges)[0].tolist() for name, role in (("kept", 0), ("rejected", 1))}
        known = decided & np.isfinite(numbers)
        inside = sum(bars["kept"]) + sum(bars["rejected"])
        found.append({**bars, "outside": int(known.sum()) - inside, "unknown": int(decided.sum() - known.sum())})
    return found


def outcomes(scanned: Scan) -> list[int]:
    """How many rows have each of `scanned.outcomes`."""
    return np.bincount(scanned.outcome, minlength=len(scanned.outcomes)).tolist()


def reasons(table: Table) -> tuple[list[list[Any]], int]:
    """The commonest pairs of outcome and reason as [outcome, reason, rows], and how many rows have another."""
    pairs = pa.table({"outcome": table.texts("outcome"), "reason": table.texts("reason")})
    counted = pairs.group_by(["outcome", "reason"], use_threads=False).aggregate([([], "count_all")])
    ordered = counted.sort_by([("count_all", "descending"), ("outcome", "ascending"), ("reason", "ascending")])
    listed = ordered.slice(0, LISTED_REASONS)
    columns = (listed[name].to_pylist() for name in ("outcome", "reason", "count_all"))
    return [list(row) for row in zip(*columns, strict=True)], pairs.num_rows - sum(listed["count_all"].to_pylist())
