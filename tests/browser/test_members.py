"""Rows that stand for several images: pictures side by side, and decisions about one of them."""

import hashlib
from itertools import pairwise

import pyarrow as pa
import pytest
from playwright.sync_api import expect

from workflow_scripts.core.decisions import Reviews
from workflow_scripts.core.pages import Choice, Number, build_page

CHOICES = (Choice("keep", "Keep", "k", "kept"), Choice("drop", "Drop", "x", "rejected"), Choice("split", "Split", "s"))
SIZES = (4, 2, 1, 6, 3)  # of the groups in the table
HOSTILE = "<b>\"it's, 2nd\n.jpg"


def sha256(name):
    return hashlib.sha256(name.encode()).hexdigest()


def member(group, place):
    """The name of an image; the last one of the first group is odd."""
    return f"set {group}/{HOSTILE}" if (group, place) == (0, 3) else f"set {group}/{place}.jpg"


def make_rows(sizes=SIZES):
    """A row a group; the second image of each names nothing that could be decided about."""
    rows = []
    for group, size in enumerate(sizes):
        names = [member(group, place) for place in range(size)]
        row = {"id": sha256(names[0]), "name": names[0], "label": f"group-{group}", "outcome": "kept", "reason": "", "link": ""}
        row["images"] = [str(group * 10 + place) if place != 1 else None for place in range(size)]
        row["captions"] = [f"rank {place + 1} · of all" for place in range(size)]
        row["members"] = [{"name": name, "id": None if place == 1 else sha256(name)} for place, name in enumerate(names)]
        row["boxes"] = [{"image": 0, "x0": 0.25, "y0": 0.5, "x1": 0.75, "y1": 1.0, "label": "crop"}]
        rows.append(row | {"margin": [0.5, 0.1, None, 0.9, 0.3][group % 5]})
    return rows


def page(kit, name, **changes):
    settings = {"thresholds": (), "numbers": (Number("margin", "margin"),), "choices": CHOICES, "lowest_first": "margin", "move": None}
    return kit.page(name, **(settings | changes))


@pytest.fixture(scope="module")
def folder(kit, tmp_path_factory):
    return kit.build(page(kit, "members"), make_rows(), tmp_path_factory.mktemp("members") / "page")


@pytest.fixture
def listed(gallery, folder):
    """The page in the order of the table, at its first row."""

    def open_page(*arguments, **options):
        seen = gallery(folder, *arguments, **options)
        seen.tab.locator("#order").select_option(label="as listed")
        seen.settle()
        return seen

    return open_page


def aimed(seen, place="#gallery .frame"):
    """The places of the marked pictures in their row, by the name of the row."""
    seen.settle()
    script = "all => all.map((one, at) => [[...one.parentElement.children].indexOf(one), one.classList.contains('aimed')])"
    return [at for at, marked in seen.tab.locator(place).evaluate_all(script) if marked]


def exported(seen):
    return [(row["path"], row["sha256"], row["decision"]) for row in seen.export()]


def test_the_page_opens_with_the_lowest_numbers(gallery, folder):
    seen = gallery(folder, viewport={"width": 1100, "height": 2000})
    assert seen.names() == [member(group, 0) for group in (1, 4, 0, 3, 2)]
    assert seen.tab.locator("#order").evaluate("select => select.selectedOptions[0].text") == "margin, lowest first"
    assert seen.tab.locator(".views button").all_inner_texts() == ["All", "Random sample"]


def test_a_decision_names_the_first_picture_until_another_is_picked_by_its_number(listed):
    seen = listed()
    assert aimed(seen) == [0]
    seen.press("x", "ArrowLeft", "3")
    assert aimed(seen) == [2]
    assert exported(seen) == [(member(0, 0), sha256(member(0, 0)), "drop")], "picking is no decision"
    seen.press("s")
    assert exported(seen) == [(member(0, 2), sha256(member(0, 2)), "split")], "one decision a row"
    assert aimed(seen) == [0], "of the next row"
    expect(seen.tab.locator(f".cell[title='{member(0, 0)}'] .badge.decision")).to_have_text("•Split: rank 3 · of all")
    seen.press("u", "u", "u")
    assert exported(seen) == []


def test_a_click_picks_a_picture_and_goes_to_its_row(listed):
    seen = listed(viewport={"width": 1100, "height": 1500})
    cell = seen.tab.locator(".cell", has_text="group-3")
    cell.locator(".frame").nth(4).click()
    assert (seen.current(), aimed(seen)) == (member(3, 0), [4])
    seen.press("s")
    assert exported(seen) == [(member(3, 4), sha256(member(3, 4)), "split")]
    cell.locator(".name").click()
    assert aimed(seen) == [4], "what was decided about"
    cell.locator(".frame").first.click()
    seen.press("k")
    assert exported(seen) == [(member(3, 0), sha256(member(3, 0)), "keep")]


@pytest.mark.parametrize("key", ["2", "5"])
def test_what_cannot_be_named_is_not_picked(listed, key):
    """The second picture has no id, and the row has no fifth."""
    seen = listed()
    seen.press(key, "s")
    assert exported(seen) == [(member(0, 0), sha256(member(0, 0)), "split")]


def test_numbers_do_nothing_where_rows_are_single_images(gallery, people):
    seen = gallery(people[1])
    seen.press("2", "x")
    assert seen.tab.locator(".aimed").count() == 0
    assert len(seen.decided()) == 1


def test_picked_pictures_survive_closing_and_a_taken_back_decision_is_forgotten(listed, visit):
    context = visit.context()
    seen = listed(context)
    seen.press("4", "s", "ArrowLeft", "3", "s", "ArrowRight", "ArrowRight", "3", "s", "ArrowLeft", "Backspace")
    wanted = [(member(0, 2), sha256(member(0, 2)), "split")]
    assert exported(seen) == wanted
    seen.tab.close()
    again = listed(context)
    assert exported(again) == wanted
    assert aimed(again) == [2]
    assert again.tab.evaluate("Object.keys(localStorage).filter(key => key.includes('4.jpg') || key.includes('<b>')).length") == 0


def test_decisions_about_two_rows_that_became_one_both_stay(gallery, kit, visit, tmp_path):
    """One of them is shown no longer, but stays in the file."""
    context = visit.context()
    (whole,) = make_rows((3,))
    parts = [whole | {"id": each["id"], "name": each["name"], "members": [each]} for each in whole["members"] if each["id"]]
    before = gallery(kit.build(page(kit, "parts"), parts, tmp_path / "before"), context)
    before.press("k", "s")
    after = gallery(kit.build(page(kit, "parts"), [whole], tmp_path / "after"), context)
    assert sorted(exported(after)) == sorted(exported(before))
    expect(after.tab.locator(".badge.decision")).to_have_count(1)


def test_another_tab_follows(listed, visit):
    context = visit.context()
    first, second = listed(context), listed(context)
    first.press("4", "s")
    expect(second.tab.locator(".badge.decision")).to_have_text("•Split: rank 4 · of all")
    assert exported(second) == [(member(0, 3), sha256(member(0, 3)), "split")]


def test_an_earlier_file_fits_by_any_image_and_loses_nothing(gallery, kit, folder, tmp_path):
    """Also where another image stands first in the row now. Of two rows about one group the second stays in the file."""
    rows = [(0, 3, "split"), (1, 0, "keep"), (3, 2, "split"), (3, 5, "split"), (4, 1, "drop"), (9, 9, "drop")]
    lines = [["sha256", "path", "decision"], *([sha256(member(group, place)), member(group, place), said] for group, place, said in rows)]
    file = tmp_path / "groups.csv"
    text = "\n".join(",".join(f'"{field.replace(chr(34), chr(34) * 2)}"' for field in line) for line in lines)
    file.write_text(f"{text}\n", encoding="utf-8")
    seen = gallery(folder)
    with seen.tab.expect_file_chooser() as chooser:
        seen.tab.get_by_role("button", name="Import…").click()
    chooser.value.set_files(file)
    expect(seen.tab.locator("#sheet")).to_contain_text("3 decisions taken over")
    expect(seen.tab.locator("#sheet .names li")).to_have_text([member(3, 5), member(4, 1), member(9, 9)])
    seen.press("Escape")
    assert exported(seen) == [(member(*row[:2]), sha256(member(*row[:2])), row[2]) for row in rows]
    file.write_text(as_csv(seen.export()), encoding="utf-8")
    reviews = Reviews(file, ("keep", "drop", "split"))
    assert reviews.find(member(0, 3), sha256(member(0, 3))) == "split"


def as_csv(rows):
    """What the browser saved, as a file."""
    quoted = [[f'"{value.replace(chr(34), chr(34) * 2)}"' for value in line] for line in [rows[0].keys(), *(row.values() for row in rows)]]
    return "".join(",".join(line) + "\n" for line in quoted)


@pytest.mark.parametrize(("text", "groups"), [("SET 3/5.", [3]), ("it's, 2ND", [0]), ("group-4", [4]), ("set 1/", [1]), ("7.jpg", [])])
def test_search_finds_every_image_and_the_label(listed, text, groups):
    seen = listed()
    seen.tab.locator("#search").fill(text)
    seen.settle()
    assert seen.names() == [member(group, 0) for group in groups]


@pytest.mark.parametrize("width", [390, 800, 1100, 1900])
@pytest.mark.parametrize("size", ["small", "medium", "large"])
def test_up_to_six_pictures_stand_side_by_side_within_their_cell(listed, width, size):
    seen = listed(viewport={"width": width, "height": 900})
    seen.tab.locator(".sizes").get_by_role("button", name=size).click()
    seen.settle()
    for number in SIZES:
        cell = seen.tab.locator(".cell.current")
        outer, boxes = cell.bounding_box(), [thumb.bounding_box() for thumb in cell.locator(".thumb").all()]
        assert len(boxes) == number
        assert all(one["x"] + one["width"] <= other["x"] + 0.5 for one, other in pairwise(boxes))
        assert all(min(box["width"], box["height"]) >= 32 for box in boxes)
        assert outer["x"] <= boxes[0]["x"]
        assert boxes[-1]["x"] + boxes[-1]["width"] <= outer["x"] + outer["width"]
        assert max(box["y"] + box["height"] for box in boxes) <= outer["y"] + outer["height"]
        if size != "small":
            assert cell.locator(".caption").all_text_contents() == [f"rank {place + 1} · of all" for place in range(number)]
            words = cell.locator(".words").bounding_box()
            captions = [caption.bounding_box() for caption in cell.locator(".caption").all()]
            assert max(box["y"] + box["height"] for box in captions) <= words["y"] + 0.5
            assert cell.locator(".caption").evaluate_all("all => all.every(one => one.scrollHeight <= one.clientHeight)"), (
                "nothing is cut off"
            )
        seen.press("ArrowRight")


def test_an_image_without_a_picture_keeps_its_place_and_its_caption(listed):
    cell = listed().tab.locator(".cell.current")
    assert cell.locator(".frame").evaluate_all("all => all.map(one => one.innerText.replaceAll('\\n', ' '))") == [
        "rank 1 · of all",
        "no picture rank 2 · of all",
        "rank 3 · of all",
        "rank 4 · of all",
    ]
    assert cell.locator(".thumb").nth(3).get_attribute("aria-label") == f"rank 4 · of all: {member(0, 3)}"


def test_the_lightbox_shows_all_in_two_lines_and_marks_what_is_picked(listed):
    seen = listed(viewport={"width": 1300, "height": 900})
    seen.press("ArrowRight", "ArrowRight", "ArrowRight", "Enter")
    figures = seen.tab.locator("#lightbox figure")
    expect(figures).to_have_count(6)
    tops = [round(figure.bounding_box()["y"]) for figure in figures.all()]
    assert tops[:3] == [tops[0]] * 3
    assert tops[3:] == [tops[3]] * 3
    assert tops[3] > tops[0]
    assert seen.tab.locator(".members li").all_text_contents() == [f"rank {place + 1} · of all {place}.jpg" for place in range(6)]
    assert aimed(seen, "#lightbox figure") == [0]
    figures.nth(5).locator("figcaption").click()
    assert aimed(seen, "#lightbox figure") == [5]
    seen.press("3")
    assert aimed(seen, "#lightbox figure") == [2]
    seen.press("s")
    assert exported(seen) == [(member(3, 2), sha256(member(3, 2)), "split")]
    seen.press("ArrowLeft", "ArrowLeft")
    assert seen.tab.locator(".members").count() == 0, "a row of one image"
    seen.press("ArrowLeft", "ArrowLeft")
    assert seen.tab.locator(".members li").nth(3).text_content() == f"rank 4 · of all {HOSTILE}"
    assert seen.tab.locator(".members b").count() == 0


def test_labels_of_boxes_are_left_out_on_pictures_that_are_too_small(gallery, kit, tmp_path):
    """The tiles are 32 × 24 and are enlarged twice in the gallery, four times in the lightbox."""
    seen = gallery(kit.build(page(kit, "small"), make_rows((1,)), tmp_path / "page"))
    expect(seen.tab.locator(".cell .box")).to_have_count(1)
    expect(seen.tab.locator(".cell .box span")).to_have_count(0)
    seen.press("Enter")
    expect(seen.tab.locator("#lightbox .box span")).to_have_text("crop")


def test_an_empty_page_says_so(gallery, kit, tmp_path):
    """Also where its table holds no row at all, so that no filter is at fault."""
    folder = tmp_path / "page"
    build_page(page(kit, "empty"), pa.Table.from_pylist(make_rows()).slice(0, 0), folder, lambda key: None)
    seen = gallery(folder)
    expect(seen.tab.locator("#empty")).to_have_text("There is nothing to show.")
    expect(seen.tab.locator("#summary")).to_be_hidden()
    seen.press("3", "s", "Enter")
    assert seen.export() == []
