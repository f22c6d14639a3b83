"""Views, orders, filters and what an item shows."""

import io
import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from workflow_scripts.core.pages import Choice, Export, Panel

MIDDLES = """thumbs => thumbs.map((thumb) => {
  const box = thumb.getBoundingClientRect();
  return [thumb.closest(".cell").title, box.x + box.width / 2, box.y + box.height / 2];
})"""


@pytest.fixture
def seen(gallery, people):
    return gallery(people[1])


def decided_rows(people):
    return [row for row in people[0] if row["prob"] is not None]


def view(seen, name):
    seen.tab.locator(".views").get_by_role("button", name=name).click()
    seen.settle()


def test_at_the_border_the_nearest_come_first_and_follow_the_handle(seen, people):
    view(seen, "At the border")
    numbers = {row["name"]: row["prob"] for row in decided_rows(people)}
    assert seen.visible() == len(numbers)
    for keys, value in (([], 0.5), (["PageUp", "PageUp", "ArrowRight"], 0.71)):
        seen.tab.get_by_role("slider").focus()
        seen.press(*keys)
        found = [abs(numbers[name] - value) for name in seen.names()]
        assert found == sorted(abs(number - value) for number in numbers.values())[: len(found)]
        assert len(found) > 8


def test_random_samples_do_not_overlap_and_are_the_same_for_everyone(gallery, people):
    samples = []
    for _ in range(2):
        seen = gallery(people[1], viewport={"width": 1100, "height": 3000})
        view(seen, "Random sample")
        seen.tab.get_by_label("Size of the sample").select_option("50")
        seen.tab.locator(".sizes").get_by_role("button", name="small").click()
        seen.settle()
        first = seen.names()
        assert (len(first), seen.visible()) == (50, 50)
        seen.tab.get_by_role("button", name="Another sample").click()
        seen.settle()
        samples.append((first, seen.names()))
    assert samples[0] == samples[1]
    assert not set(samples[0][0]) & set(samples[0][1])
    order = [row["name"] for row in people[0]]
    assert samples[0][0] != sorted(samples[0][0], key=order.index)


def test_errors_are_listed_with_their_text(seen, people):
    view(seen, "Errors")
    rows = [row for row in people[0] if row["outcome"] == "errors"]
    assert seen.visible() == len(rows) == 15
    texts = dict(
        seen.tab.locator(".cell").evaluate_all("cells => cells.map(cell => [cell.title, cell.querySelector('.facts').textContent])")
    )
    assert texts.items() <= {row["name"]: row["reason"] for row in rows}.items()
    assert len(texts) > 5


def test_outcome_and_reason_chips_filter(seen, people):
    rows = people[0]
    for name in ("kept", "removed", "errors"):
        chip = seen.tab.locator("#outcomes .chip", has_text=name)
        chip.click()
        assert seen.visible() == sum(row["outcome"] == name for row in rows)
        expect(chip).to_have_attribute("aria-pressed", "true")
        chip.click()
    chips = seen.tab.locator("#reasons .chip", has_text="human")
    expect(chips).to_have_count(2)
    for place in (0, 1):
        chips.nth(place).click()
    assert seen.visible() == sum(row["reason"] == "human" for row in rows)
    seen.tab.get_by_role("button", name="clear filters").click()
    assert seen.visible() == 300
    counted = {}
    seen.tab.get_by_role("button", name=re.compile("more reasons")).click()
    for text, number in seen.tab.locator("#reasons .chip").evaluate_all(
        "chips => chips.map(chip => [...chip.children].map(part => part.textContent))"
    ):
        counted[text] = counted.get(text, 0) + int(number)
    expected = {}
    for row in rows:
        expected[row["reason"]] = expected.get(row["reason"], 0) + 1
    assert counted == expected


@pytest.mark.parametrize(
    ("label", "key"),
    [
        ("as listed", None),
        ("by name", "name"),
        ("people, highest first", "-prob"),
        ("people, lowest first", "prob"),
        ("size, highest first", "-size"),
    ],
)
def test_orders(seen, people, label, key):
    rows = list(people[0])
    if key:
        column, sign = key.lstrip("-"), -1 if key[0] == "-" else 1
        known = [row for row in rows if row[column] is not None]
        order = known if column == "name" else [row[column] * sign for row in known]
        rows = sorted(known, key=lambda row: row["name"].encode("utf-16-be")) if column == "name" else known
        expected = sorted(order) if column != "name" else [row["name"] for row in rows]
    seen.tab.locator("#order").select_option(label=label)
    seen.settle()
    names = seen.names()
    if key is None or column == "name":
        assert names == [row["name"] for row in rows][: len(names)]
    else:
        numbers = {row["name"]: row[column] * sign for row in rows}
        assert [numbers[name] for name in names] == expected[: len(names)]


def test_items_without_a_number_come_last_in_either_direction(seen, people):
    for label in ("people, highest first", "people, lowest first"):
        seen.tab.locator("#order").select_option(label=label)
        seen.press("End")
        assert seen.names()[-5:] == [row["name"] for row in people[0] if row["prob"] is None][-5:]


def test_filters_by_range_tag_text_and_decision(seen, people):
    rows = people[0]
    seen.tab.get_by_text("Filters", exact=True).click()
    panel = seen.tab.locator("#filters")
    panel.get_by_label("people from").fill("0.25")
    panel.get_by_label("people to").fill("0.75")
    assert seen.visible() == sum(row["prob"] is not None and 0.25 <= row["prob"] <= 0.75 for row in rows)
    panel.get_by_label("Tag", exact=True).fill("TAG-3")
    assert seen.visible() == sum(row["prob"] is not None and 0.25 <= row["prob"] <= 0.75 and "tag-3" in row["tags"] for row in rows)
    expect(panel.locator("summary")).to_have_text("Filters (2)")
    panel.get_by_role("button", name="Clear filters").click()
    for text in ("broken 1", "odd", "HUMAN", rows[7]["id"][:9], "写真"):
        panel.get_by_label("Text in name").fill(text)
        needle = text.lower()
        fits = [
            row
            for row in rows
            if any(needle in each.lower() for each in [row["name"], row["reason"], *row["tags"]]) or (row["id"] or "").startswith(needle)
        ]
        assert seen.visible() == len(fits) > 0, text
    panel.get_by_label("Text in name").fill("")
    seen.press("Escape")
    expect(panel.locator(".filters-body")).to_be_hidden()
    seen.tab.locator("#gallery").focus()
    seen.press("k", "x", "x")
    panel.locator("summary").click()
    for label, number in (("decided", 3), ("undecided", 300 - 15 - 3), ("Keep", 1), ("Remove", 2)):
        panel.get_by_label("Show by decision").select_option(label=label)
        assert seen.visible() == number


def test_deciding_does_not_take_an_item_out_of_the_view(seen, people):
    seen.tab.get_by_text("Filters", exact=True).click()
    seen.tab.get_by_label("Show by decision").select_option(label="undecided")
    seen.press("Escape")
    seen.tab.locator("#gallery").focus()
    before = seen.visible()
    seen.press("k", "x")
    assert seen.visible() == before, "the list stays as it is until it is asked for anew"
    seen.tab.locator("#search").fill("album")
    assert seen.visible() == sum(row["name"].startswith("album") and row["id"] is not None for row in people[0]) - sum(
        name.startswith("album") for name in seen.decided()
    )


def test_search_is_by_name_in_any_case(seen, people):
    seen.tab.locator("#search").fill("ALBUM/0001")
    assert seen.visible() == sum("album/0001" in row["name"] for row in people[0]) == 100
    seen.tab.locator("#search").fill("no such name")
    expect(seen.tab.locator("#empty")).to_be_visible()
    expect(seen.tab.locator("#visible")).to_have_text(re.compile("^visible 0 of 300"))
    seen.press("Escape", "k", "n", "Enter", "ArrowDown")
    expect(seen.tab.locator("#lightbox")).to_be_hidden()


def test_three_sizes_are_remembered(gallery, people, visit):
    context = visit.context()
    seen = gallery(people[1], context=context)
    widths = []
    for name in ("small", "medium", "large"):
        seen.tab.locator(".sizes").get_by_role("button", name=name).click()
        seen.settle()
        widths.append(seen.tab.locator(".cell").first.bounding_box()["width"])
    assert widths == sorted(set(widths))
    again = gallery(people[1], context=context)
    assert again.tab.locator(".cell").first.bounding_box()["width"] == widths[-1]


def test_pairs_stand_side_by_side_with_captions_and_boxes(gallery, kit, tmp_path):
    rows = [row | {"images": [f"{place}", f"{place + 1}"]} for place, row in enumerate(kit.rows(12))]
    for row in rows:
        row["boxes"] = [{"image": 1, "x0": 0.25, "y0": 0.5, "x1": 0.75, "y1": 1.0, "label": "person 0.9"}]
    seen = gallery(kit.build(kit.page("pairs", captions=("original", "mask")), rows, tmp_path / "page"))
    cell = seen.tab.locator(".cell").first
    left, right = (cell.locator(".thumb").nth(place).bounding_box() for place in (0, 1))
    assert left["x"] + left["width"] <= right["x"]
    assert abs(left["y"] - right["y"]) < 1
    assert cell.locator(".caption").all_inner_texts() == ["original", "mask"]
    assert cell.locator(".thumb").nth(0).locator(".box").count() == 0
    box = cell.locator(".thumb").nth(1).locator(".box").bounding_box()
    found = [
        (box["x"] - right["x"]) / right["width"],
        (box["y"] - right["y"]) / right["height"],
        box["width"] / right["width"],
        box["height"] / right["height"],
    ]
    assert found == pytest.approx([0.25, 0.5, 0.5, 0.5], abs=0.02)
    name = cell.get_attribute("title")
    assert cell.locator(".thumb").nth(1).get_attribute("aria-label") == f"mask: {name}"
    seen.press("Enter")
    expect(seen.tab.locator("#lightbox figure")).to_have_count(2)
    expect(seen.tab.locator("#lightbox .box span")).to_have_text("person 0.9")


def test_what_stands_under_the_pictures(gallery, kit, tmp_path):
    """A label in place of the file's name where there is one; a reason in place of numbers where an item has none."""
    rows = kit.rows(6, odd=False)
    for row, label in zip(rows, ("red mug → blue mug", "", None, "x", "x", "x"), strict=True):
        row |= {"label": label, "prob": 0.9}
    rows[1] |= {"outcome": "skipped", "reason": "too few concepts", "prob": None, "size": None}
    rows[2] |= {"prob": None}
    seen = gallery(kit.build(kit.page("labels"), rows, tmp_path / "page"))
    seen.tab.locator("#order").select_option(label="as listed")
    seen.settle()
    cells = [seen.tab.locator(f".cell[title='album/{number:06d}.jpg'] .words") for number in range(3)]
    assert [[cell.locator(part).text_content() for part in (".name", ".facts")] for cell in cells] == [
        ["red mug → blue mug", "people 0.900"],
        ["000001.jpg", "too few concepts"],
        ["000002.jpg", "people –"],
    ]


def test_a_thumbnail_shows_its_own_picture(gallery, kit, tmp_path):
    """The colour in the middle of each cell, from a picture of the screen, is the colour of that item's tile."""
    rows = kit.rows(230, odd=False)
    for row in rows:
        row["images"] = row["images"] or ["0"]
    seen = gallery(kit.build(kit.page("tiles", thresholds=()), rows, tmp_path / "page"))
    seen.press("End")
    seen.tab.wait_for_timeout(400)
    shot = np.asarray(Image.open(io.BytesIO(seen.tab.screenshot())).convert("RGB"), dtype=int)
    checked = 0
    for name, x, y in seen.tab.locator(".cell .thumb").evaluate_all(MIDDLES):
        if not (100 < y < 550):
            continue
        number = next(place for place, row in enumerate(rows) if row["name"] == name) % 105
        expected = (number % 7 * 36, number % 5 * 50, number % 3 * 110)
        assert np.abs(shot[int(y), int(x)] - expected).max() <= 12, name
        checked += 1
    assert checked >= 4


def test_a_blind_page_hides_outcome_reason_and_numbers(gallery, kit, people, tmp_path):
    labels = (Choice("1", "Person", "p"), Choice("0", "No person", "o"), Choice("unsure", "Unsure", "s"))
    page = kit.page("blind", blind=True, choices=labels, export=Export("labels/r.csv", "labels.csv", "label"))
    rows = people[0][:40]
    seen = gallery(kit.build(page, rows, tmp_path / "page"))
    assert seen.names() == [row["name"] for row in rows][: len(seen.names())]
    seen.press("p", "o", "s", "ArrowLeft", "Enter")
    text = seen.tab.locator("body").inner_text() + seen.tab.locator("#lightbox").inner_text()
    for hidden in ("kept", "removed", "prob", "people 0", "0.5", "size"):
        assert hidden not in text.replace("People in the set", "").replace("Look for people at the edge.", ""), hidden
    assert rows[2]["id"] in text
    expect(seen.tab.locator("aside")).to_have_count(0)
    expect(seen.tab.get_by_role("slider")).to_have_count(0)
    assert seen.tab.locator(".views button").all_inner_texts() == ["All"]
    seen.press("Escape")
    found = seen.export()
    assert [(row["path"], row["label"], row["reason"]) for row in found] == [
        (row["name"], label, "") for row, label in zip(rows, ["1", "0", "unsure"], strict=False)
    ]


def test_a_page_without_choices_is_only_looked_at(gallery, kit, tmp_path):
    seen = gallery(kit.build(kit.page("look", choices=()), kit.rows(30), tmp_path / "page"))
    expect(seen.tab.locator("#bar")).to_have_count(0)
    seen.press("k", "x", "Space", "u", "n", "ArrowRight", "?")
    expect(seen.tab.locator("#sheet")).not_to_contain_text("undo")
    seen.press("Escape")
    assert seen.tab.locator(".badge.decision").count() == 0


def test_panels_show_figures_tables_and_downloads(gallery, kit, tmp_path):
    head = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 40 20' width='40' height='20'>"
    svg = head + "<style>rect{{fill:{0}}}</style><rect width='40' height='20'/></svg>"
    panel = Panel(
        "Calibration",
        ("A plain sentence.",),
        svg.format("#111"),
        svg.format("#eee"),
        "A curve",
        ("a", "b"),
        (("1", "2"),),
        {"curve.csv": b"a,b\n1,2\n"},
    )
    seen = gallery(kit.build(kit.page("panels", panels=(panel,)), kit.rows(5), tmp_path / "page"))
    details = seen.tab.locator("details.panel")
    expect(details.locator("img")).to_have_count(2)
    expect(details.locator("img.light")).to_be_hidden()
    details.locator("summary").click()
    expect(details).to_contain_text("A plain sentence.")
    assert details.locator("img.light").evaluate("image => image.naturalWidth") == 40
    expect(details.locator("img.dark")).to_be_hidden()
    assert details.locator("img.light").get_attribute("alt") == "A curve"
    assert details.locator("td").all_inner_texts() == ["1", "2"]
    with seen.tab.expect_download() as download:
        details.get_by_role("link", name="curve.csv").click()
    assert download.value.suggested_filename == "curve.csv"
    seen.tab.locator("#theme-switch").click()
    seen.tab.locator("#theme-switch").click()
    expect(details.locator("img.dark")).to_be_visible()
    expect(details.locator("img.light")).to_be_hidden()
