"""Counts over all rows: compared with counting row by row."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from workflow_scripts.core.pages import Threshold, counts
from workflow_scripts.core.pages.table import Table, scan

SHARP = Threshold("sharp", "sharpness", 40, 0, 100, 5, "below")


def two_thresholds(kit, page, count=400):
    """A table decided by both thresholds, with some rows that something else decided."""
    rows = kit.rows(count)
    sharp = np.random.default_rng(5).uniform(-10, 120, count).round(1).tolist()
    for place, (row, value) in enumerate(zip(rows, sharp, strict=True)):
        row |= {"sharp": None if place % 17 == 0 else value, "fixed": place % 13 == 0, "decision": None}
        if row["outcome"] == "errors":
            continue
        rejected = row["prob"] >= 0.5 or (row["sharp"] is not None and row["sharp"] < 40)
        row |= {"outcome": "removed" if rejected else "kept", "reason": "rule"}
        if place % 11 == 0:
            row |= {"outcome": "kept", "reason": "human"}
        if place % 19 == 0:
            row |= {"decision": "keep"}
        if place % 23 == 0:
            row |= {"outcome": "removed", "reason": "near copy"}
    page = replace(page, thresholds=(page.thresholds[0], SHARP))
    table = Table(kit.table(rows), page)
    return rows, page, table, scan(table, page)


def verdict(row, prob, sharp):
    return row["prob"] >= prob or (row["sharp"] is not None and row["sharp"] < sharp)


def is_movable(row):
    if row["outcome"] == "errors" or row["reason"] == "human" or row["decision"] or row["fixed"]:
        return False
    return verdict(row, 0.5, 40) == (row["outcome"] == "removed")


def test_movable_is_what_the_thresholds_in_force_decided(kit, page):
    rows, page, _, scanned = two_thresholds(kit, page)
    expected = [is_movable(row) for row in rows]
    assert counts.movable(scanned, page).tolist() == expected
    assert 50 < sum(expected) < len(rows) - 50


@pytest.mark.parametrize("which", [0, 1])
def test_changes_are_what_moving_one_threshold_changes_at_every_place(kit, page, which):
    rows, page, _, scanned = two_thresholds(kit, page)
    found = counts.changes(scanned, page, counts.movable(scanned, page))[which]
    for place, value in enumerate(page.thresholds[which].grid()):
        at = (value, 40) if which == 0 else (0.5, value)
        moved = [row for row in rows if is_movable(row) and verdict(row, *at) != (row["outcome"] == "removed")]
        outcomes = Counter(row["outcome"] for row in moved)
        assert (found["removed"][place], found["returned"][place]) == (outcomes["kept"], outcomes["removed"]), value


def test_nothing_changes_at_the_value_in_force(kit, page):
    _, page, _, scanned = two_thresholds(kit, page)
    for threshold, found in zip(page.thresholds, counts.changes(scanned, page, counts.movable(scanned, page)), strict=True):
        place = threshold.grid().index(threshold.value)
        assert found["removed"][place] == found["returned"][place] == 0


def test_histograms_hold_every_decided_row_once(kit, page):
    rows, page, _, scanned = two_thresholds(kit, page)
    for threshold, found in zip(page.thresholds, counts.histograms(scanned, page), strict=True):
        low, high = threshold.grid()[0], threshold.grid()[-1]
        decided = [row for row in rows if row["outcome"] in {"kept", "removed"}]
        known = [row for row in decided if row[threshold.column] is not None]
        inside = [row for row in known if low <= row[threshold.column] <= high]
        assert sum(found["kept"]) == sum(row["outcome"] == "kept" for row in inside)
        assert sum(found["rejected"]) == sum(row["outcome"] == "removed" for row in inside)
        assert found["outside"] == len(known) - len(inside)
        assert found["unknown"] == len(decided) - len(known)


def test_reasons_are_counted_with_their_outcome_and_the_rarest_together(kit, page, rows, monkeypatch):
    monkeypatch.setattr(counts, "LISTED_REASONS", 2)
    listed, others = counts.reasons(Table(kit.table(rows), page))
    expected = Counter((row["outcome"], row["reason"]) for row in rows).most_common()
    assert [tuple(row) for row in listed] == [(*pair, number) for pair, number in expected[:2]]
    assert others == sum(number for _, number in expected[2:])


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (Threshold("x", "x", 0.3, 0, 1, 0.1), [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]),
        (Threshold("x", "x", 0.25, 0, 0.5, 0.2), [0, 0.2, 0.25, 0.4, 0.5]),
        (Threshold("x", "x", 7, 0, 2, 1), [0, 1, 2, 7]),
        (Threshold("x", "x", -1, 0, 1e-6, 1e-6), [-1, 0, 1e-6]),
    ],
)
def test_the_grid_has_decimal_steps_and_always_the_value_in_force(threshold, expected):
    assert threshold.grid() == expected


@pytest.mark.parametrize("wrong", [{"step": 0}, {"low": 1}, {"step": 1e-9}, {"rejects": "above"}])
def test_a_threshold_that_makes_no_sense_is_refused(wrong):
    settings = {"column": "x", "label": "x", "value": 0.5, "low": 0, "high": 1, "step": 0.1}
    with pytest.raises(ValueError, match="x: "):
        Threshold(**(settings | wrong))
