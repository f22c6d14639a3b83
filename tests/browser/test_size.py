"""Large pages: what is in the document stays small, and every item can be reached."""

import pytest
from playwright.sync_api import expect

MOST_NODES = 2500


@pytest.fixture(scope="module")
def ten_thousand(kit, tmp_path_factory):
    rows = kit.rows(10_000, odd=False)
    return rows, kit.build(kit.page("large"), rows, tmp_path_factory.mktemp("large") / "page", max_thumbnails=1000)


def nodes(seen):
    return seen.tab.evaluate("document.querySelectorAll('*').length")


def test_ten_thousand_items_open_scroll_and_end(gallery, ten_thousand):
    rows, folder = ten_thousand
    seen = gallery(folder)
    seen.tab.locator("#order").select_option(label="as listed")
    seen.settle()
    first = seen.names()
    most = nodes(seen)
    for part in (0.1, 0.25, 0.5, 0.77, 1):
        seen.tab.evaluate("part => scrollTo(0, document.documentElement.scrollHeight * part)", part)
        seen.settle()
        most = max(most, nodes(seen))
        assert len(set(seen.names()) - set(first)) > 8
    assert most < MOST_NODES
    assert seen.names()[-1] == rows[-1]["name"]
    last = seen.tab.locator(".cell").filter(has=seen.tab.get_by_text(rows[-1]["name"].split("/")[1], exact=True))
    expect(last).to_be_in_viewport()
    assert last.bounding_box()["y"] + last.bounding_box()["height"] <= seen.tab.locator("#bar").bounding_box()["y"]
    seen.press("Home")
    assert seen.names()[0] == rows[0]["name"]


def test_ten_thousand_items_filter_and_drag(gallery, ten_thousand):
    rows, folder = ten_thousand
    seen = gallery(folder)
    seen.tab.locator("#search").fill("00999")
    assert seen.visible() == sum("00999" in row["name"] for row in rows) == 11
    seen.tab.locator("#search").fill("")
    box = seen.tab.locator(".plot").bounding_box()
    seen.tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + 30)
    seen.tab.mouse.down()
    seen.tab.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 30, steps=20)
    seen.tab.mouse.up()
    value = float(seen.tab.get_by_role("slider").get_attribute("aria-valuenow"))
    movable = [row for row in rows if row["prob"] is not None and row["reason"] != "human"]
    human = sum(row["reason"] == "human" and row["outcome"] == "kept" for row in rows)
    assert seen.counts()["kept"] == sum(row["prob"] < value for row in movable) + human


def test_a_hundred_thousand_items_open_and_the_last_is_reached(gallery, kit, tmp_path):
    rows = kit.rows(100_000, odd=False)
    folder = kit.build(kit.page("huge", thresholds=(kit.prob,)), rows, tmp_path / "page", max_thumbnails=100)
    seen = gallery(folder)
    expect(seen.tab.locator("#notices")).to_contain_text("100 thumbnails are included")
    assert seen.visible() == 100_000
    seen.tab.locator("#order").select_option(label="as listed")
    # Large cells on a narrow window are taller together than a browser lets a document be.
    seen.tab.set_viewport_size({"width": 420, "height": 700})
    seen.tab.locator(".sizes").get_by_role("button", name="large").click()
    for place in (1, 99_999):
        seen.press("Home" if place == 1 else "End")
        seen.settle()
        expected = rows[0 if place == 1 else -1]["name"]
        assert seen.current() == expected
        expect(seen.tab.locator(".cell.current")).to_be_in_viewport()
    assert seen.tab.evaluate("document.getElementById('gallery').offsetHeight") <= 12_000_000
    seen.press("ArrowUp", "ArrowUp", "ArrowUp")
    assert seen.current() == rows[-4]["name"]
    expect(seen.tab.locator(".cell.current")).to_be_in_viewport()
    assert nodes(seen) < MOST_NODES
