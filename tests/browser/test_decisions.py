"""Deciding by key and mouse, undoing, and carrying decisions out and in."""

import csv
import io
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import expect

from workflow_scripts.core.decisions import Reviews


@pytest.fixture
def listed(gallery, people):
    """The page in the order of the table, at its first item."""

    def open_page(*arguments, **options):
        seen = gallery(people[1], *arguments, **options)
        seen.tab.locator("#order").select_option(label="as listed")
        seen.settle()
        return seen

    return open_page


def open_rows(people):
    return [row for row in people[0] if row["outcome"] != "errors"]


def test_keys_decide_and_go_on(listed, people):
    seen = listed()
    rows = people[0]
    seen.press("k", "x", "x", "K")
    assert seen.current() == rows[4]["name"]
    assert seen.decided() == {rows[0]["name"]: "keep", rows[1]["name"]: "remove", rows[2]["name"]: "remove", rows[3]["name"]: "keep"}
    decidable = len(open_rows(people))
    expect(seen.tab.locator("#progress")).to_have_text(f"4 of {decidable} decided, {decidable - 4} to go")
    widths = seen.tab.locator(".meter span").evaluate_all("parts => parts.map(part => parseFloat(part.style.width))")
    assert widths == pytest.approx([200 / decidable, 200 / decidable], rel=1e-4)


def test_undo_goes_all_the_way_back(listed, people):
    seen = listed()
    names = [row["name"] for row in people[0]]
    against = "remove" if people[0][2]["outcome"] == "kept" else "keep"
    seen.press("k", "x", "ArrowLeft", "k", "Space", "ArrowRight", "x")
    zero, one, two, three = ({name: decision} for name, decision in zip(names, ("keep", "keep", against, "remove"), strict=False))
    expected = [zero | one | two | three, zero | one | two, zero | one, zero | {names[1]: "remove"}, zero, {}]
    for decided in expected:
        assert seen.decided() == decided
        seen.press("u")
    assert seen.current() == names[0]
    seen.press("u")
    assert seen.decided() == {}
    expect(seen.tab.locator("#spoken")).to_have_text("Nothing to undo.")


def test_undo_brings_back_what_was_decided_before(listed, people):
    seen = listed()
    name = people[0][0]["name"]
    seen.press("k", "Home", "x", "Home", "Backspace")
    assert seen.decided() == {}
    for expected in ({name: "remove"}, {name: "keep"}, {}):
        seen.press("u")
        assert seen.decided() == expected


def test_space_toggles_and_stays(listed, people):
    seen = listed()
    rows = people[0]
    kept, removed = (next(place for place, row in enumerate(rows) if row["outcome"] == outcome) for outcome in ("kept", "removed"))
    for place, expected in ((kept, ["remove", "keep", "remove"]), (removed, ["keep", "remove", "keep"])):
        seen.press("Home", *["ArrowRight"] * place)
        for decision in expected:
            seen.press("Space")
            assert seen.decided()[rows[place]["name"]] == decision
            assert seen.current() == rows[place]["name"]


def test_n_goes_to_the_next_undecided_item_and_round_the_end(listed, people):
    seen = listed()
    names = [row["name"] for row in open_rows(people)]
    seen.press("k", "k", "k", "Home", "n")
    assert seen.current() == names[3]
    seen.press("End", "n")
    assert seen.current() == names[3], "from the end to the first undecided one"
    seen.press("Home", *["ArrowRight"] * 18, "n")
    assert seen.current() == "album/000020.jpg", "an error has nothing to decide"


def test_n_says_when_all_is_decided(gallery, kit, tmp_path):
    seen = gallery(kit.build(kit.page("few"), kit.rows(3), tmp_path / "page"))
    seen.press("k", "k", "k")
    expect(seen.tab.locator("#spoken")).to_have_text("That was the last item of this view.")
    seen.press("n")
    expect(seen.tab.locator("#spoken")).to_have_text("Everything in this view is decided.")


def test_errors_cannot_be_decided(listed, people):
    seen = listed()
    seen.tab.locator(".chip.outcome.error").click()
    seen.press("x", "Space")
    assert seen.decided() == {}
    expect(seen.tab.locator("#spoken")).to_have_text("There is nothing to decide about this item.")


def test_arrows_move_in_the_grid(listed, people):
    seen = listed()
    names = [row["name"] for row in people[0]]
    columns = seen.tab.locator(".cell").evaluate_all("cells => new Set(cells.map(cell => cell.getBoundingClientRect().left)).size")
    assert columns > 2
    for key, place in (
        ("ArrowRight", 1),
        ("ArrowDown", 1 + columns),
        ("ArrowLeft", columns),
        ("ArrowUp", 0),
        ("ArrowUp", 0),
        ("End", 299),
        ("ArrowRight", 299),
        ("Home", 0),
    ):
        seen.press(key)
        assert seen.current() == names[place], key
    seen.press("PageDown")
    assert names.index(seen.current()) % columns == 0
    assert names.index(seen.current()) >= columns


def test_the_lightbox_by_keyboard(listed, people):
    seen = listed()
    rows = people[0]
    lightbox = seen.tab.locator("#lightbox")
    seen.press("ArrowRight", "Enter")
    expect(lightbox).to_be_visible()
    expect(lightbox.locator("h2")).to_have_text(rows[1]["name"])
    for text in (rows[1]["reason"], rows[1]["id"], "odd", f"{rows[1]['prob']:.3f}"):
        expect(lightbox).to_contain_text(text)
    seen.press("x")
    expect(lightbox.locator("h2")).to_have_text(rows[2]["name"])
    seen.press("Space", "ArrowDown", "ArrowRight", "ArrowUp")
    expect(lightbox.locator("h2")).to_have_text(rows[3]["name"])
    expect(lightbox.locator(".place")).to_have_text("4 of 300")
    seen.press("u", "Escape")
    expect(lightbox).to_be_hidden()
    assert seen.decided() == {rows[1]["name"]: "remove"}


def test_next_and_previous_in_the_lightbox_keep_filter_and_order(listed, people):
    seen = listed()
    seen.tab.locator(".chip.outcome.kept").click()
    seen.tab.locator("#order").select_option(label="size, highest first")
    expected = [row["name"] for row in reversed(people[0]) if row["outcome"] == "kept"]
    seen.tab.locator("#gallery").focus()
    seen.press("Enter")
    names = []
    for _ in range(12):
        names.append(seen.tab.locator("#lightbox h2").text_content())
        seen.tab.get_by_role("button", name="Next", exact=True).click()
    assert names == expected[:12]


def test_the_lightbox_by_mouse_leaves_the_keys_to_the_item(listed, people):
    seen = listed()
    names = [row["name"] for row in people[0]]
    seen.tab.locator("[aria-posinset='1']").dblclick()
    lightbox = seen.tab.locator("#lightbox")
    lightbox.get_by_role("button", name="Keep").click()
    lightbox.get_by_role("button", name="Remove").click()
    lightbox.get_by_role("button", name="Undo").click()
    expect(lightbox.locator("h2")).to_have_text(names[1])
    lightbox.get_by_role("button", name="Next", exact=True).click()
    seen.press("k", "Enter", "Escape")
    assert seen.decided() == {names[0]: "keep", names[2]: "keep"}
    assert seen.current() == names[3]


def test_help_and_search_by_key(listed, people):
    seen = listed()
    seen.press("?")
    sheet = seen.tab.locator("#sheet")
    for key in ("k", "x", "Space", "u", "n", "/", "Enter", "Esc"):
        expect(sheet.locator("kbd", has_text=re.compile(f"^{re.escape(key)}$")).first).to_be_visible()
    seen.press("x")
    seen.press("Escape")
    expect(sheet).to_be_hidden()
    seen.press("/")
    expect(seen.tab.locator("#search")).to_be_focused()
    seen.tab.keyboard.type("00012")
    seen.settle()
    assert seen.names() == [row["name"] for row in people[0] if "00012" in row["name"]]
    seen.press("k", "x", "u", "Escape")
    assert seen.decided() == {}, "letters are typed, and with help open they do nothing"
    expect(seen.tab.locator("#gallery")).to_be_focused()


def test_shift_click_selects_a_range_that_one_key_decides_and_one_undo_takes_back(listed, people):
    seen = listed(viewport={"width": 1100, "height": 1200})
    rows = people[0]
    cell = lambda place: seen.tab.locator(f'[aria-posinset="{place + 1}"]')  # noqa: E731
    cell(2).click()
    cell(9).click(modifiers=["Shift"])
    expect(seen.tab.locator(".cell.selected")).to_have_count(8)
    expect(seen.tab.locator("#progress")).to_contain_text("8 items selected")
    cell(4).click(modifiers=["Control"])
    expect(seen.tab.locator(".cell.selected")).to_have_count(7)
    seen.press("x")
    expect(seen.tab.locator(".cell.selected")).to_have_count(0)
    assert seen.decided() == {rows[place]["name"]: "remove" for place in (2, 3, 5, 6, 7, 8, 9)}
    seen.press("u")
    assert seen.decided() == {}
    cell(9).click()
    cell(5).click(modifiers=["Shift"])
    seen.press("Shift+ArrowRight")
    expect(seen.tab.locator(".cell.selected")).to_have_count(4)
    seen.press("Escape")
    expect(seen.tab.locator(".cell.selected")).to_have_count(0)


def test_buttons_do_what_keys_do_and_give_the_keys_back(listed, people):
    seen = listed()
    names = [row["name"] for row in people[0]]
    bar = seen.tab.locator("#bar")
    bar.get_by_role("button", name="Remove").click()
    bar.get_by_role("button", name="Keep").click()
    bar.get_by_role("button", name="Undo").click()
    assert seen.decided() == {names[0]: "remove"}
    bar.get_by_role("button", name="Next undecided").click()
    seen.press("Space")
    assert set(seen.decided()) == {names[0], names[2]}, "Space acts on the item, not on the button clicked last"
    gallery, order = seen.tab.locator("#gallery"), seen.tab.locator("#order")
    order.click()
    order.select_option(label="by name")
    expect(gallery).to_be_focused()
    order.focus()
    seen.press("ArrowUp")
    expect(order).to_be_focused()
    undo = bar.get_by_role("button", name="Undo")
    undo.focus()
    seen.press("Enter")
    expect(undo).to_be_focused()
    assert set(seen.decided()) == {names[0]}


def test_a_key_does_not_decide_what_is_out_of_sight(listed, people):
    seen = listed()
    seen.tab.mouse.move(800, 500)
    seen.tab.mouse.wheel(0, 4000)
    expect(seen.tab.locator(".cell.current")).to_have_count(0)
    seen.press("x")
    assert seen.decided() == {}
    expect(seen.tab.locator(".cell.current")).to_be_in_viewport()
    seen.press("x")
    assert seen.decided() == {people[0][0]["name"]: "remove"}


def test_the_export_says_what_was_decided_and_the_workflow_reads_it(listed, people, tmp_path):
    seen = listed()
    rows = people[0]
    seen.press(*"kxkxkxkx")
    exported = seen.export()
    expected = [(row["id"], row["name"], "kx"[place % 2], f"{row['outcome']}: {row['reason']}") for place, row in enumerate(rows[:8])]
    assert [(row["sha256"], row["path"], {"keep": "k", "remove": "x"}[row["decision"]], row["reason"]) for row in exported] == expected
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["decided_at"]) for row in exported)
    assert list(exported[0]) == ["sha256", "path", "decision", "reason", "decided_at"]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(exported[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(exported)
    (tmp_path / "decide.csv").write_text(buffer.getvalue())
    reviews = Reviews(tmp_path / "decide.csv", ("keep", "remove"))
    assert [reviews.find(row["name"], row["id"]) for row in rows[:9]] == ["keep", "remove"] * 4 + [None]
    assert reviews.unused() == []


def test_the_file_is_saved_and_the_page_says_where_it_belongs(listed, kit):
    seen = listed()
    seen.press(*"kxkxkxkxk")
    with seen.tab.expect_download() as download:
        seen.tab.get_by_role("button", name="Export…").click()
        expect(seen.tab.locator("#sheet pre")).to_have_text("reviews/people/r/decide.csv")
        seen.tab.get_by_role("button", name="Save decisions.csv").click()
    assert download.value.suggested_filename == "decisions.csv"
    saved = Path(download.value.path()).read_bytes().decode()
    assert kit.read_csv(saved) == seen.export()
    assert saved.count("\r") == 0


def import_file(seen, path):
    with seen.tab.expect_file_chooser() as chooser:
        seen.tab.get_by_role("button", name="Import…").click()
    chooser.value.set_files(path)
    seen.tab.wait_for_selector("#sheet[open]")


def write_rows(path, rows, columns=("sha256", "path", "decision", "reason", "decided_at"), end="\n"):
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator=end)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_exported_file_comes_in_again_unchanged(listed, tmp_path, end):
    seen = listed()
    seen.press(*"kxxkkxkx")
    exported = seen.export()
    path = write_rows(tmp_path / "decisions.csv", [list(row.values()) for row in exported], end=end)
    other = listed()
    import_file(other, path)
    expect(other.tab.locator("#sheet")).to_contain_text("8 decisions taken over")
    other.press("Escape")
    assert other.export() == exported
    other.press("u")
    assert other.decided() == {}, "one undo takes an import back"


def test_rows_that_match_nothing_are_reported_and_stay_in_the_export(listed, people, tmp_path):
    rows = people[0]
    given = [
        [rows[10]["id"], rows[10]["name"], "keep", "why", "2026-01-01T00:00:00Z"],
        ["f" * 64, rows[11]["name"], "remove", "its content changed", "2026-01-01T00:00:00Z"],
        [rows[12]["id"], "moved/elsewhere.jpg", "keep", "", ""],
        [rows[13]["id"].upper(), "", "remove", "every path with this content", ""],
        [rows[14]["id"], rows[14]["name"], "maybe", "", ""],
    ]
    seen = listed()
    import_file(seen, write_rows(tmp_path / "d.csv", given))
    sheet = seen.tab.locator("#sheet")
    expect(sheet).to_contain_text("2 decisions taken over")
    expect(sheet).to_contain_text("2 rows fit no item of this page; the export keeps them")
    expect(sheet).to_contain_text(rows[11]["name"])
    expect(sheet).to_contain_text("moved/elsewhere.jpg")
    expect(sheet).to_contain_text("1 row")
    expect(sheet).to_contain_text(f"{rows[14]['name']}: maybe")
    seen.press("Escape")
    by_name = {row["path"]: row for row in seen.export()}
    assert set(by_name) == {rows[10]["name"], rows[13]["name"], rows[11]["name"], "moved/elsewhere.jpg"}
    assert by_name[rows[11]["name"]] == dict(zip(by_name[rows[11]["name"]], given[1], strict=True))
    seen.tab.reload()
    seen.tab.wait_for_selector("html[data-ready]")
    assert len(seen.export()) == 4, "also after closing"
    seen.tab.get_by_role("button", name="Export…").click()
    seen.tab.get_by_role("button", name="Leave them out").click()
    seen.press("Escape")
    assert set(seen.decided()) == {rows[10]["name"], rows[13]["name"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sha256,path\na,b\n", "has no column decision; its columns are sha256, path"),
        ('sha256,path,decision\na,"b,keep\n', "line 2: a quote is never closed"),
        ('sha256,path,decision\na,"b"c,keep\n', "line 2: text behind a closing quote"),
        ("", "has no column sha256, path, decision; its columns are none"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_changes_nothing(listed, tmp_path, text, said):
    (tmp_path / "broken.csv").write_text(text)
    seen = listed()
    seen.press("k")
    before = seen.decided()
    import_file(seen, tmp_path / "broken.csv")
    expect(seen.tab.locator("#sheet .failure")).to_have_text(f"broken.csv: {said}. Nothing was imported.")
    seen.press("Escape")
    assert seen.decided() == before


def test_decisions_survive_closing_and_reloading_and_can_still_be_undone(listed, people, visit):
    context = visit.context()
    seen = listed(context=context)
    seen.press(*"kxk")
    before = seen.export()
    seen.tab.close()
    again = listed(context=context)
    assert again.export() == before
    again.press("u", "u", "u")
    assert again.decided() == {}
    again.tab.reload()
    again.tab.wait_for_selector("html[data-ready]")
    assert again.decided() == {}


def test_two_tabs_do_not_lose_each_others_decisions(listed, people, visit):
    context = visit.context()
    one, other = listed(context=context), listed(context=context)
    one.press("k", "k")
    other.tab.bring_to_front()
    other.press("End", "x")
    names = [row["name"] for row in open_rows(people)]
    assert set(other.decided()) == set(one.decided()) == {names[0], names[1]}, "the last item is an error"
    other.press("ArrowLeft", "x")
    one.tab.bring_to_front()
    assert one.decided() == {names[0]: "keep", names[1]: "keep", names[-1]: "remove"}


def test_pages_do_not_mix_their_decisions(listed, gallery, kit, visit, tmp_path):
    context = visit.context()
    seen = listed(context=context)
    seen.press(*"kkk")
    other = gallery(kit.build(kit.page("another"), kit.rows(20), tmp_path / "page"), context=context)
    assert other.decided() == {}


def test_earlier_decisions_of_the_table_are_shown_exported_and_can_be_changed(gallery, kit, tmp_path):
    rows = [row | {"decision": {3: "keep", 4: "remove"}.get(place)} for place, row in enumerate(kit.rows(12, odd=False))]
    seen = gallery(kit.build(kit.page("earlier", thresholds=()), rows, tmp_path / "page"))
    assert seen.decided() == {rows[3]["name"]: "keep", rows[4]["name"]: "remove"}
    seen.press(*["ArrowRight"] * 3, "x", "Backspace")
    assert seen.decided() == {rows[3]["name"]: "remove"}
    seen.tab.reload()
    seen.tab.wait_for_selector("html[data-ready]")
    assert seen.decided() == {rows[3]["name"]: "remove"}, "taken back stays taken back"
    seen.press("u", "u")
    assert seen.decided() == {rows[3]["name"]: "keep", rows[4]["name"]: "remove"}


@pytest.mark.parametrize(
    "failure",
    [
        "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError') }",
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('closed', 'SecurityError') } })",
    ],
)
def test_without_storage_the_page_says_so_and_goes_on(listed, people, visit, failure):
    context = visit.context()
    context.add_init_script(failure)
    seen = listed(context=context)
    expect(seen.tab.locator("#notices")).to_contain_text("This browser does not keep your decisions")
    seen.press(*"kxk", "u")
    names = [row["name"] for row in people[0]]
    assert seen.decided() == {names[0]: "keep", names[1]: "remove"}


def test_storage_that_fills_up_is_said_when_it_happens(listed, visit):
    seen = listed()
    seen.press("k")
    expect(seen.tab.locator("#notices")).not_to_contain_text("does not keep your decisions")
    seen.tab.evaluate("() => { Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError') } }")
    seen.press("x")
    expect(seen.tab.locator("#notices")).to_contain_text("This browser does not keep your decisions")
    assert len(seen.decided()) == 2


def test_a_foreign_value_in_the_storage_does_not_break_the_page(listed, visit, people):
    context = visit.context()
    seen = listed(context=context)
    seen.press("k")
    seen.tab.evaluate(
        "for (const key of Object.keys(localStorage)) if (key.includes('sha') || key.includes('[')) localStorage.setItem(key, 'no json')"
    )
    seen.tab.close()
    again = listed(context=context)
    assert again.decided() == {}


def test_mv_lines_are_quoted_for_a_shell(listed, people, tmp_path):
    seen = listed()
    seen.press(*"xxxxxxxxk")
    seen.tab.get_by_role("button", name="Move files…").click()
    text = seen.tab.locator("#sheet pre").text_content()
    expected = []
    for row in people[0][:8]:
        name = row["name"]
        target = "/".join(["/data/out", *name.split("/")[:-1]])
        expected += ["mkdir", "-p", "--", target, "&&", "mv", "-n", "--", f"/data/in/{name}", f"/data/out/{name}"]
    assert shlex.split(text) == expected


def test_mv_lines_run_in_a_real_shell(gallery, kit, tmp_path):
    rows = kit.rows(8)
    rows[3]["name"] = "../outside.jpg"
    folder, target = tmp_path / "in it's", tmp_path / "-out"
    folder.mkdir()
    for row in rows:
        row["name"] = row["name"].replace("/", "_") if "outside" not in row["name"] else row["name"]
        (folder / row["name"]).write_text(row["name"])
    target.mkdir()
    (target / rows[4]["name"]).write_text("was there before")
    seen = gallery(kit.build(kit.page("mv", move=(str(folder), str(target)), thresholds=()), rows, tmp_path / "page"))
    seen.press(*"xxxxxxxx")
    seen.tab.get_by_role("button", name="Move files…").click()
    expect(seen.tab.locator("#sheet .failure")).to_contain_text("1 name")
    subprocess.run(["sh", "-c", seen.tab.locator("#sheet pre").text_content()], cwd=tmp_path, check=False)
    names = {row["name"] for row in rows} - {"../outside.jpg"}
    assert {path.name for path in target.iterdir()} == names
    assert {path.name for path in folder.iterdir()} == {rows[4]["name"]}
    assert (target / rows[4]["name"]).read_text() == "was there before"
    assert (tmp_path / "outside.jpg").is_file()


def test_keys_that_come_faster_than_the_page_draws_are_not_lost(listed, people):
    seen = listed()
    keys = [*["ArrowRight"] * 60, "x", *["ArrowRight"] * 150, "k"]
    seen.tab.evaluate("keys => keys.forEach(key => document.dispatchEvent(new KeyboardEvent('keydown', { key, cancelable: true })))", keys)
    names = [row["name"] for row in people[0]]
    assert seen.decided() == {names[60]: "remove", names[61 + 150]: "keep"}
