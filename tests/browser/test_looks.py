"""Themes, contrast, phones, and who does without mouse or eyes."""

import pytest
from playwright.sync_api import expect

TEXTS = (
    "h1",
    ".look",
    ".notice.warning",
    ".notice:not(.warning)",
    ".chip.outcome span",
    ".chip.outcome b",
    ".chip.reason b",
    ".chip.reason span",
    ".histogram h2",
    ".rule",
    ".value",
    ".axis",
    ".change",
    ".copyable",
    "#visible",
    ".views button",
    ".views button[aria-pressed=true]",
    "#order",
    "#progress",
    ".choice.kept",
    ".choice.rejected",
    "kbd",
    ".cell .name",
    ".cell .facts",
    ".cell .badge.kept",
    ".cell .badge.rejected",
    ".cell .badge.error",
    ".cell .badge.decision.kept",
    ".cell .badge.decision.rejected",
    ".cell.selected .name",
    ".thumb.blank",
    "button.link",
)
CONTRAST = """(selector) => {
  const parse = (text) => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
    const context = canvas.getContext("2d");
    context.fillStyle = text;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((part) => ((part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const element = document.querySelector(selector);
  if (!element) return null;
  const ground = [255, 255, 255];
  const layers = [];
  for (let node = element; node; node = node.parentElement) layers.unshift(parse(getComputedStyle(node).backgroundColor));
  for (const [r, g, b, a] of layers) [r, g, b].forEach((part, place) => (ground[place] = part * a + ground[place] * (1 - a)));
  const [r, g, b, a] = parse(getComputedStyle(element).color);
  const ink = [r, g, b].map((part, place) => part * a + ground[place] * (1 - a));
  const [high, low] = [light(ink), light(ground)].sort((one, other) => other - one);
  return (high + 0.05) / (low + 0.05);
}"""


TOO_WIDE = """[...document.querySelectorAll("body *")]
  .filter((element) => element.checkVisibility() && !element.closest(".skip, .unseen, .cell, svg, .copyable"))
  .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
  .map((element) => element.outerHTML.slice(0, 80))"""
NAMELESS = """[...document.querySelectorAll("button, select, input, [role=slider], summary, a")]
  .filter((control) => !(control.getAttribute("aria-label") || control.labels?.length || control.textContent.trim()))
  .map((control) => control.outerHTML)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_of_all_main_texts(gallery, kit, tmp_path, scheme):
    rows = kit.rows(60)
    rows[0]["images"] = rows[1]["images"] = []
    seen = gallery(
        kit.build(kit.page("contrast", warnings=("A warning.",), notes=("A note.",)), rows, tmp_path / "page"),
        color_scheme=scheme,
        viewport={"width": 1100, "height": 2400},
    )
    seen.tab.locator("#order").select_option(label="as listed")
    seen.settle()
    seen.press("k", "x", "ArrowRight", "Shift+ArrowRight")
    seen.tab.get_by_role("slider").focus()
    seen.press("PageUp")
    assert seen.tab.evaluate("document.documentElement.dataset.theme") == scheme
    found = {selector: seen.tab.evaluate(CONTRAST, selector) for selector in TEXTS}
    assert {selector: ratio for selector, ratio in found.items() if ratio is None} == {}
    assert {selector: round(ratio, 2) for selector, ratio in found.items() if ratio < 4.5} == {}
    assert (
        len({seen.tab.evaluate(f"getComputedStyle(document.documentElement).getPropertyValue('--{name}')") for name in ("page", "ink")})
        == 2
    )


def test_the_theme_follows_the_system_until_a_person_switches(gallery, people, visit):
    context = visit.context(color_scheme="dark")
    seen = gallery(people[1], context=context)

    def expect_theme(tab, theme):
        expect(tab.locator("html")).to_have_attribute("data-theme", theme)

    switch = seen.tab.locator("#theme-switch")
    expect(switch).to_have_text("Theme: System")
    expect_theme(seen.tab, "dark")
    seen.tab.emulate_media(color_scheme="light")
    expect_theme(seen.tab, "light")
    switch.click()
    switch.click()
    expect(switch).to_have_text("Theme: Dark")
    expect_theme(seen.tab, "dark")
    again = gallery(people[1], context=context)
    again.tab.emulate_media(color_scheme="light")
    expect(again.tab.locator("#theme-switch")).to_have_text("Theme: Dark")
    expect_theme(again.tab, "dark")


def test_a_phone_shows_everything_within_its_width(gallery, people):
    seen = gallery(people[1], viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True, device_scale_factor=2)
    tab = seen.tab
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    wide = tab.evaluate(TOO_WIDE)
    assert wide == []
    columns = tab.locator(".cell").evaluate_all("cells => new Set(cells.map(cell => cell.getBoundingClientRect().left)).size")
    assert columns == 2
    cell = tab.locator(".cell").nth(1)
    name = cell.get_attribute("title")
    cell.tap()
    lightbox = tab.locator("#lightbox")
    expect(lightbox.locator("h2")).to_have_text(name)
    for label in ("Keep", "Remove", "Previous", "Next", "Close"):
        box = lightbox.get_by_role("button", name=label).bounding_box()
        assert box["width"] >= 30
        assert box["height"] >= 30
        assert 0 <= box["x"] <= 390 - box["width"]
    lightbox.get_by_role("button", name="Remove").tap()
    lightbox.get_by_role("button", name="Close").tap()
    assert seen.decided() == {name: "remove"}


def test_the_handle_by_touch(gallery, people):
    seen = gallery(people[1], viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    seen.tab.locator(".plot").scroll_into_view_if_needed()
    box = seen.tab.locator(".plot").bounding_box()
    touch = seen.tab.context.new_cdp_session(seen.tab)

    def send(kind, part):
        points = [] if part is None else [{"x": box["x"] + box["width"] * part, "y": box["y"] + 30}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    send("touchStart", 0.5)
    for part in (0.45, 0.4, 0.3, 0.2):
        send("touchMove", part)
    send("touchEnd", None)
    value = float(seen.tab.get_by_role("slider").get_attribute("aria-valuenow"))
    assert value == pytest.approx(0.2, abs=0.02)
    movable = [row for row in people[0] if row["prob"] is not None and row["reason"] != "human"]
    assert seen.counts()["kept"] == sum(row["prob"] < value for row in movable) + sum(
        row["reason"] == "human" and row["outcome"] == "kept" for row in people[0]
    )


def test_every_control_has_a_name_and_shows_its_focus(gallery, people):
    seen = gallery(people[1])
    nameless = seen.tab.evaluate(NAMELESS)
    assert nameless == []
    outlines = set()
    for _ in range(14):
        seen.tab.keyboard.press("Tab")
        outlines.add(
            seen.tab.evaluate(
                "getComputedStyle(document.activeElement).outlineWidth + ' ' + getComputedStyle(document.activeElement).outlineStyle"
            )
        )
    assert outlines == {"3px solid"}


def test_the_gallery_says_what_is_current_to_screen_readers(gallery, people):
    seen = gallery(people[1])
    seen.press("ArrowRight", "x")
    box = seen.tab.locator("#gallery")
    current = seen.tab.locator(".cell.current")
    assert box.get_attribute("aria-activedescendant") == current.get_attribute("id")
    decided = seen.tab.locator(".cell.decided-rejected")
    name = decided.get_attribute("title")
    assert decided.get_attribute("aria-label") == f"{name}, removed, ✕Remove"
    assert (decided.get_attribute("aria-posinset"), decided.get_attribute("aria-setsize")) == ("2", "300")
    alternatives = seen.tab.locator(".cell .thumb:not(.blank)").evaluate_all(
        "thumbs => thumbs.map(thumb => [thumb.getAttribute('role'), thumb.getAttribute('aria-label')])"
    )
    assert alternatives
    assert all(role == "img" and label for role, label in alternatives)


@pytest.mark.parametrize(("motion", "moves"), [("reduce", False), ("no-preference", True)])
def test_nothing_moves_for_who_does_not_want_it(gallery, people, motion, moves):
    cell = gallery(people[1], reduced_motion=motion).tab.locator(".cell").first
    assert (cell.evaluate("cell => getComputedStyle(cell).transitionDuration") != "0s") is moves
