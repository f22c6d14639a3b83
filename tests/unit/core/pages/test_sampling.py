"""Which rows are shown when there are too many."""

from dataclasses import replace

import numpy as np
import pytest

from workflow_scripts.core.pages import Number, build_page
from workflow_scripts.core.pages.sampling import random_ranks, sample
from workflow_scripts.core.pages.table import Table, scan


@pytest.fixture
def many(kit, page):
    """2,000 rows with rare outcomes and a few decisions."""
    rows = kit.rows(2000)
    for place in (3, 500, 1500):
        rows[place] |= {"outcome": "odd", "reason": "rare"}
    for row in rows[100:120]:
        row |= {"reason": "human", "outcome": "kept", "id": "a", "prob": 0.99}
    return rows, scan(Table(kit.table(rows), page), page)


def test_few_rows_are_all_shown(many, page):
    _, scanned = many
    assert sample(scanned, page, 2000).tolist() == list(range(2000))


def test_a_sample_holds_what_matters(many, page):
    rows, scanned = many
    shown = sample(scanned, page, 200)
    assert len(shown) == 200
    assert shown.tolist() == sorted(set(shown.tolist()))
    chosen = set(shown.tolist())
    decided = {place for place, row in enumerate(rows) if row["reason"] == "human"}
    assert decided <= chosen
    assert {3, 500, 1500} <= chosen, "every outcome, however rare"
    assert sum(rows[place]["outcome"] == "errors" for place in chosen) >= 20
    near = sorted((abs(row["prob"] - 0.5), place) for place, row in enumerate(rows) if row["prob"] is not None)
    distance = near[69][0]  # the nearest 35 %; rows at one distance are taken in random order
    assert {place for gap, place in near if gap < distance} <= chosen


@pytest.mark.parametrize("with_threshold", [False, True])
def test_a_sample_holds_the_lowest_numbers_where_they_are_looked_at_first(kit, page, with_threshold):
    rows = kit.rows(2000)
    for place, row in enumerate(rows):
        row["margin"] = None if row["prob"] is None else (place * 7919 % 2000) / 100
    page = replace(page, numbers=(Number("margin", "margin"),), lowest_first="margin")
    page = page if with_threshold else replace(page, thresholds=())
    shown = sample(scan(Table(kit.table(rows), page), page), page, 200)
    assert len(shown) == 200
    by_margin = sorted((row["margin"], place) for place, row in enumerate(rows) if row["margin"] is not None)
    wanted = 35 if with_threshold else 70
    assert {place for _, place in by_margin[:wanted]} <= set(shown.tolist())
    assert sum(place in shown for _, place in by_margin[: wanted * 3]) < wanted * 1.6, "these alone"
    assert not {place for _, place in by_margin[:200]} <= set(shown.tolist()), "the rest is not by margin"


def test_a_sample_does_not_depend_on_the_order_of_the_table(kit, many, page):
    rows, scanned = many
    names = {rows[place]["name"] for place in sample(scanned, page, 300)}
    turned = rows[::-1]
    again = scan(Table(kit.table(turned), page), page)
    assert {turned[place]["name"] for place in sample(again, page, 300)} == names


def test_the_random_part_is_a_fair_sample_of_everything(many, page):
    _, scanned = many
    shown = sample(scanned, page, 300)
    ranks = random_ranks(scanned, shown)
    fair = [place for place, rank in zip(shown.tolist(), ranks, strict=True) if rank is not None]
    assert len(fair) >= 60
    first = np.argsort(scanned.order, kind="stable")[: len(fair)].tolist()
    assert sorted(first) == fair, "the beginning of the random order of all rows, nothing left out"
    assert sorted(rank for rank in ranks if rank is not None) == list(range(len(fair)))


def test_all_rows_have_a_place_in_the_random_order_when_all_are_shown(many, page):
    _, scanned = many
    assert sorted(random_ranks(scanned, np.arange(2000))) == list(range(2000))


def test_a_blind_page_gets_a_random_sample_alone(many, page):
    _, scanned = many
    shown = sample(scanned, replace(page, blind=True), 250)
    assert None not in random_ranks(scanned, shown)


def test_more_decisions_than_fit_are_said(tmp_path, kit, page):
    rows = [row | {"decision": "keep" if row["id"] else None} for row in kit.rows(300)]
    build_page(page, kit.table(rows), tmp_path / "page", kit.picture, max_items=100)
    document = (tmp_path / "page/index.html").read_text(encoding="utf-8")
    assert "items decided earlier are not shown. Import the earlier file before you export" in document


def test_counts_and_changes_are_complete_whatever_is_shown(tmp_path, kit, page):
    rows = kit.rows(2000)
    build_page(page, kit.table(rows), tmp_path / "all", kit.picture, max_thumbnails=0)
    build_page(page, kit.table(rows), tmp_path / "few", kit.picture, max_items=100, max_thumbnails=0)
    whole, part = kit.data(tmp_path / "all")["totals"], kit.data(tmp_path / "few")["totals"]
    assert len(kit.data(tmp_path / "few")["items"]["name"]) == 100
    assert whole["changes"] is None
    assert {**whole, "changes": 0} == {**part, "changes": 0}
    grid = page.thresholds[0].grid()
    decided = [row for row in rows if row["prob"] is not None]
    removed = [sum(row["outcome"] == "kept" and row["prob"] >= value for row in decided) for value in grid]
    returned = [sum(row["outcome"] == "removed" and row["prob"] < value for row in decided) for value in grid]
    assert part["changes"] == [{"removed": removed, "returned": returned}]
