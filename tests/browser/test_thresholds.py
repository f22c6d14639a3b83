"""The handle and the counts: what the page says is what the table says."""

from dataclasses import replace

import pytest
import yaml
from playwright.sync_api import expect


def outcomes_at(rows, value, decided=None):
    """Outcomes counted by hand with the threshold at `value`; what a person decided stays."""
    found = {"kept": 0, "removed": 0, "errors": 0}
    for row in rows:
        outcome = row["outcome"]
        if row["name"] in (decided or {}):
            outcome = decided[row["name"]]
        elif outcome != "errors" and row["reason"] != "human":
            outcome = "removed" if row["prob"] >= value else "kept"
        found[outcome] += 1
    return found


def changes_at(rows, value):
    movable = [row for row in rows if row["outcome"] != "errors" and row["reason"] != "human"]
    removed = sum(row["outcome"] == "kept" and row["prob"] >= value for row in movable)
    returned = sum(row["outcome"] == "removed" and row["prob"] < value for row in movable)
    return removed, returned


def handle_value(tab, number=0):
    return float(tab.get_by_role("slider").nth(number).get_attribute("aria-valuenow"))


def drag(tab, part):
    """Drag the first handle to a part of its range, in steps as a hand does."""
    box = tab.locator(".plot").first.bounding_box()
    start = tab.get_by_role("slider").first.bounding_box()
    tab.mouse.move(start["x"] + start["width"] / 2, start["y"] + 30)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * part, box["y"] + 40, steps=7)


def test_the_page_opens_with_the_counts_of_the_table(gallery, people):
    rows, folder = people
    seen = gallery(folder)
    assert seen.counts() == outcomes_at(rows, 0.5)
    assert seen.visible() == 300
    expect(seen.tab.locator(".change")).to_be_hidden()


@pytest.mark.parametrize("part", [0.305, 0.742, 0.0, 1.0])
def test_dragging_the_handle_counts_as_the_table_does(gallery, people, part):
    rows, folder = people
    seen = gallery(folder)
    drag(seen.tab, part)
    value = handle_value(seen.tab)
    assert value == pytest.approx(part, abs=0.011)
    assert seen.counts() == outcomes_at(rows, value), "while the button is still down"
    removed, returned = changes_at(rows, value)
    expect(seen.tab.locator(".change")).to_contain_text(f"Would change: {removed} kept → removed, {returned} removed → kept")
    seen.tab.mouse.up()
    seen.tab.get_by_role("button", name="Would change").click()
    assert seen.visible() == removed + returned
    expected = {
        row["name"]
        for row in rows
        if row["reason"] != "human" and row["prob"] is not None and (row["prob"] >= value) != (row["prob"] >= 0.5)
    }
    assert set(seen.names()) <= expected
    assert seen.names()
    seen.tab.get_by_role("button", name="Reset").click()
    assert seen.counts() == outcomes_at(rows, 0.5)
    assert seen.visible() == 0


def test_the_gallery_follows_while_dragging(gallery, people):
    rows, folder = people
    seen = gallery(folder)
    seen.tab.locator(".chip.outcome.rejected").click()
    drag(seen.tab, 0.9)
    value = handle_value(seen.tab)
    seen.settle()
    # By hand: what the threshold removes, and what a person removed.
    expected = {
        row["name"]
        for row in rows
        if row["outcome"] != "errors" and (row["outcome"] == "removed" if row["reason"] == "human" else row["prob"] >= value)
    }
    assert seen.visible() == len(expected)
    assert set(seen.names()) <= expected


def test_the_handle_by_keyboard(gallery, people):
    rows, folder = people
    seen = gallery(folder)
    slider = seen.tab.get_by_role("slider", name="people")
    slider.focus()
    values = []
    for key in (
        "ArrowLeft",
        "ArrowRight",
        "ArrowRight",
        "ArrowUp",
        "ArrowDown",
        "PageDown",
        "PageUp",
        "Home",
        "ArrowLeft",
        "End",
        "ArrowRight",
    ):
        seen.press(key)
        values.append(handle_value(seen.tab))
        assert seen.counts() == outcomes_at(rows, values[-1])
    assert values == [0.49, 0.5, 0.51, 0.52, 0.51, 0.41, 0.51, 0, 0, 1, 1]
    assert (slider.get_attribute("aria-valuemin"), slider.get_attribute("aria-valuemax")) == ("0", "1")
    removed, returned = changes_at(rows, 1)
    assert slider.get_attribute("aria-valuetext") == f"1, would change: {removed} kept → removed, {returned} removed → kept"
    assert seen.current() == seen.names()[0], "arrow keys on the handle move nothing else"


def test_what_a_person_decided_does_not_move(gallery, people):
    rows, folder = people
    seen = gallery(folder)
    seen.tab.locator("#order").select_option(label="people, lowest first")
    seen.settle()
    first = seen.names()[:3]
    seen.press("k", "x", "k")
    decided = dict(zip(first, ("kept", "removed", "kept"), strict=True))
    assert seen.counts() == outcomes_at(rows, 0.5, decided)
    seen.tab.get_by_role("slider").focus()
    seen.press("Home")
    assert seen.counts() == outcomes_at(rows, 0, decided)
    human = [row for row in rows if row["reason"] == "human"]
    assert len(human) > 5
    removed, returned = changes_at([row for row in rows if row["name"] not in decided], 0)
    expect(seen.tab.locator(".change")).to_contain_text(f"{removed} kept → removed, {returned} removed → kept")


def test_two_thresholds_act_together_and_give_one_configuration(gallery, kit, tmp_path):
    rows = [row | {"sharp": (place * 37 % 101) / 1.0, "fixed": False} for place, row in enumerate(kit.rows(300))]
    for row in rows:
        if row["outcome"] != "errors":
            row |= {"outcome": "removed" if row["prob"] >= 0.5 or row["sharp"] < 40 else "kept", "reason": "rule"}
    seen = gallery(kit.build(kit.page("two", thresholds=(kit.prob, kit.sharp)), rows, tmp_path / "page"))
    for number, keys in ((0, ["PageUp", "ArrowRight"]), (1, ["PageDown", "PageDown", "ArrowLeft"])):
        seen.tab.get_by_role("slider").nth(number).focus()
        seen.press(*keys)
    assert (handle_value(seen.tab, 0), handle_value(seen.tab, 1)) == (0.61, 19)
    expected = {"kept": 0, "removed": 0, "errors": 0}
    for row in rows:
        expected["errors" if row["outcome"] == "errors" else "removed" if row["prob"] >= 0.61 or row["sharp"] < 19 else "kept"] += 1
    assert seen.counts() == expected
    config = yaml.safe_load(seen.tab.locator("#config pre").inner_text())
    assert config == {"people": {"runs": {"2024-01": {"threshold": 0.61}}, "min_sharpness": 19}}


def test_a_tiny_number_is_a_number_in_the_configuration(gallery, kit, tmp_path):
    threshold = replace(kit.prob, value=1e-7, high=1e-6, step=1e-7, config_path=("on", "a b", "x"))
    rows = [row | {"reason": "human"} for row in kit.rows(5)]
    seen = gallery(kit.build(kit.page("tiny", thresholds=(threshold,)), rows, tmp_path / "page"))
    assert yaml.safe_load(seen.tab.locator("#config pre").inner_text()) == {"on": {"a b": {"x": 1e-7}}}


def test_a_sampled_page_counts_the_whole_table(gallery, kit, tmp_path):
    rows = [row | {"sharp": float(place % 100)} for place, row in enumerate(kit.rows(3000))]
    for row in rows:
        if row["outcome"] != "errors" and row["reason"] != "human":
            row["outcome"] = "removed" if row["prob"] >= 0.5 or row["sharp"] < 0 else "kept"
    sharp = replace(kit.sharp, value=0)
    page = kit.page("sampled", thresholds=(kit.prob, sharp))
    seen = gallery(kit.build(page, rows, tmp_path / "page", max_items=400, max_thumbnails=50))
    expect(seen.tab.locator("#notices")).to_contain_text("400 of 3,000 items are shown")
    expect(seen.tab.locator("#visible")).to_have_text("visible 400 of 400 shown here, 3,000 in all")
    assert seen.counts() == outcomes_at(rows, 0.5)
    drag(seen.tab, 0.27)
    seen.tab.mouse.up()
    value = handle_value(seen.tab)
    removed, returned = changes_at(rows, value)
    assert seen.counts() == outcomes_at(rows, value)
    expect(seen.tab.locator(".change").first).to_contain_text(f"Would change: {removed:,} kept → removed, {returned} removed")
    seen.tab.get_by_role("slider").nth(1).focus()
    seen.press("PageUp")
    expect(seen.tab.locator(".change").first).to_contain_text("among the items shown; for all rows together move one handle at a time")


def test_a_sampled_page_keeps_its_counts_right_when_a_person_decides(gallery, kit, tmp_path):
    rows = kit.rows(3000, odd=False)
    seen = gallery(kit.build(kit.page("sampled"), rows, tmp_path / "page", max_items=400, max_thumbnails=50))
    seen.tab.get_by_role("button", name="At the border").click()
    seen.settle()
    decided = dict.fromkeys(seen.names()[:4], "kept")
    seen.press("k", "k", "k", "k")
    for chip in seen.tab.locator("#reasons .chip", has_text="human").all():
        chip.click()  # the handle does not move these, whatever their number
    seen.settle()
    decided |= dict.fromkeys(seen.names()[:6], "removed")
    seen.press(*"xxxxxx")
    for part in (0.5, 0.1, 0.93):
        drag(seen.tab, part)
        seen.tab.mouse.up()
        assert seen.counts() == outcomes_at(rows, handle_value(seen.tab), decided)
