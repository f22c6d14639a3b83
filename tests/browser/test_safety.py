"""Hostile text is shown and never run; links lead only where a page may lead; the page needs nothing but its folder."""

import shutil

import pytest
from PIL import Image
from playwright.sync_api import expect

from workflow_scripts.core.pages import Choice, Export, Number, Panel, Threshold

HOSTILE = (
    "<img src=x onerror=window.hacked=1>.jpg",
    "</script><script>window.hacked=1</script>",
    "\"'><svg onload=window.hacked=1>\\\"' `${window.hacked=1}`",
    "line\nbreak\r\n\ttab \u2028 \u2029 end",
    "\u202egnp.evil \u200f שלום مرحبا",
    "{{7*7}} {% raw %} &lt;b&gt; &amp; %3Cscript%3E javascript:window.hacked=1",
)


def test_the_watch_sees_what_goes_wrong(browser, visit, people):
    """The check at the end of every test is worth something."""
    watch = type(visit)(browser)
    tab = watch(people[1])
    tab.evaluate("document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.hacked = 1' }))")
    tab.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=\"https://example.org/x.png\" onerror=\"window.hacked=2\">')")
    tab.evaluate("setTimeout(() => { throw new Error('a mistake') })")
    tab.wait_for_timeout(300)
    assert tab.evaluate("window.hacked") is None, "the policy holds"
    complaints = " ".join(watch.complaints)
    assert "a mistake" in complaints
    assert complaints.count("Content Security Policy") >= 3
    watch.end()


def forgive_missing_files(visit):
    """Chromium itself reports a file that is not there, whatever the page does about it."""
    visit.complaints[:] = [complaint for complaint in visit.complaints if "ERR_FILE_NOT_FOUND" not in complaint]


@pytest.mark.parametrize("place", range(len(HOSTILE)))
def test_hostile_text_is_shown_as_text(gallery, kit, visit, tmp_path, place):
    text = HOSTILE[place]
    rows = []
    for number, row in enumerate(kit.rows(6, odd=False)):
        reason = f"{text} {number}" if number else text
        rows.append(
            row | {"id": f"{text}{number}", "name": f"{number}/{text}", "outcome": text, "reason": reason, "tags": [text], "link": text}
        )
        rows[-1] |= {text: 0.5, "label": text, "boxes": [{"image": 0, "x0": 0.1, "y0": 0.1, "x1": 0.9, "y1": 0.9, "label": text}]}
    rows[4] |= {"outcome": "errors", "images": []}
    rows[5] |= {"outcome": "kept"}
    page = kit.page(
        text,
        title=text,
        look_for=text,
        warnings=(text,),
        notes=(text,),
        captions=(text,),
        thresholds=(Threshold(text, text, 0.5, 0, 1, 0.1, config_path=(text, "x")),),
        numbers=(Number("size", text),),
        choices=(Choice(text, text, "k", "kept"), Choice("x", "Remove", "x", "rejected")),
        outcomes={text: "rejected", "kept": "kept", "errors": "error"},
        panels=(Panel(text, (text,), "<svg xmlns='http://www.w3.org/2000/svg'/>", "", text, (text,), ((text,),)),),
        export=Export(f"reviews/{text}", "decisions.csv", text),
        move=(text, text),
    )
    seen = gallery(kit.build(page, rows, tmp_path / "page"), viewport={"width": 1100, "height": 1000})
    tab = seen.tab
    tab.locator("#order").select_option(label="as listed")
    seen.settle()
    assert tab.locator(".cell .name").first.text_content() == text
    tab.locator("summary").first.click()
    seen.press("k", "x", "ArrowLeft", "Enter")
    for selector in ("h2", ".badge", "dd", ".tag", "figcaption", ".box"):
        assert tab.locator(f"#lightbox {selector}").first.is_visible(), selector
    assert text in tab.locator("#lightbox h2").text_content()
    seen.press("Escape")
    tab.get_by_role("slider").focus()
    seen.press("PageUp")
    for button in ("Move files…", "Export…"):
        tab.get_by_role("button", name=button).click()
        seen.press("Escape")
    tab.locator(".views").get_by_role("button", name="Errors").click()
    tab.locator("#search").fill(text)
    assert seen.visible() == (1 if "\n" not in text else 0), "a search field holds one line"
    for selector in (
        "h1",
        ".look",
        ".notice.warning",
        ".notice:not(.warning)",
        ".panel summary",
        ".panel p",
        ".panel th",
        ".panel td",
        "#outcomes .chip",
        "#reasons .chip",
        ".histogram h2",
        "#order",
    ):
        assert text.replace("\r\n", "\n") in tab.locator(selector).first.text_content().replace("\r\n", "\n"), selector
    assert tab.evaluate("window.hacked") is None
    assert tab.locator("img:not(.figure), svg[onload], script:not([src])").count() == 0
    rows_out = {row["path"]: row for row in seen.export()}
    assert {name: row[text] for name, row in rows_out.items()} == {f"0/{text}": text, f"1/{text}": "x"}
    assert {row["sha256"] for row in rows_out.values()} == {f"{text}0", f"{text}1"}
    forgive_missing_files(visit)


@pytest.mark.parametrize(
    ("link", "opened"),
    [
        ("file:///photos/a%20b.jpg", "file:///photos/a%20b.jpg"),
        ("https://example.org/a.jpg", "https://example.org/a.jpg"),
        ("http://example.org/a.jpg", "http://example.org/a.jpg"),
        ("../beside/a%23b.jpg", "beside/a%23b.jpg"),
        ("javascript:window.hacked=1", None),
        (" java\nscript:window.hacked=1", None),
        ("data:text/html,<script>window.hacked=1</script>", None),
        ("vbscript:x", None),
        ("blob:https://example.org/x", None),
        ("//example.org/share/a.jpg", None),
        ("\\\\example.org\\share\\a.jpg", None),
        ("file://example.org/share/a.jpg", None),
        ("https://", None),
        ("", None),
    ],
)
def test_links_lead_only_to_files_and_web_addresses(gallery, kit, visit, tmp_path, link, opened):
    rows = [row | {"link": link} for row in kit.rows(2)]
    seen = gallery(kit.build(kit.page("links"), rows, tmp_path / "page"))
    seen.press("Enter")
    anchors = seen.tab.locator("#lightbox .links a")
    assert anchors.count() == (opened is not None)
    if opened:
        target = opened if ":" in opened else (tmp_path / "beside").as_uri() + "/a%23b.jpg"
        assert anchors.first.evaluate("anchor => [anchor.href, anchor.target, anchor.rel]") == [target, "_blank", "noopener noreferrer"]
    forgive_missing_files(visit)


@pytest.fixture
def with_originals(kit, tmp_path):
    """A page beside a folder of originals, with links that say where these are and links relative to the page."""
    (tmp_path / "photos").mkdir()
    rows = kit.rows(4, odd=False)
    for place, row in enumerate(rows):
        path = tmp_path / "photos" / f"odd #{place}%.jpg"
        Image.new("RGB", (640, 400), (200, 60, 60)).save(path)
        row["link"] = path.as_uri() if place % 2 == 0 else f"../photos/odd%20%23{place}%25.jpg"
    rows[3]["link"] = "https://example.org/far.jpg"
    return kit.build(kit.page("originals", thresholds=()), rows, tmp_path / "page")


def test_the_lightbox_shows_the_original_where_it_can_be_reached(gallery, with_originals):
    seen = gallery(with_originals)
    seen.press("Enter")
    figure = seen.tab.locator("#lightbox figure")
    for _ in range(2):
        expect(figure.locator(".said")).to_have_text("full image, 640 × 400")
        assert figure.locator("img").evaluate("image => image.naturalWidth") == 640
        assert figure.locator("img").bounding_box()["width"] > 400
        seen.press("ArrowRight")
    seen.press("ArrowRight")
    expect(figure.locator(".said")).to_have_text("thumbnail enlarged; the original is elsewhere")
    seen.press("Home")
    expect(figure.locator(".original")).to_be_visible()
    figure.locator(".original").click()
    assert figure.locator("img").bounding_box()["width"] >= 640
    figure.locator(".original").click()


def test_without_the_original_the_thumbnail_is_enlarged_and_said(gallery, with_originals, visit):
    shutil.rmtree(with_originals.parent / "photos")
    seen = gallery(with_originals)
    seen.press("Enter")
    figure = seen.tab.locator("#lightbox figure")
    expect(figure.locator(".said")).to_have_text("thumbnail enlarged; the original cannot be reached from here")
    assert figure.locator(".thumb").bounding_box()["width"] == pytest.approx(128, abs=2), "four times 32"
    forgive_missing_files(visit)


def test_a_page_works_in_another_folder(gallery, people, tmp_path, visit):
    context = visit.context()
    seen = gallery(people[1], context=context)
    seen.press("k", "x")
    before = seen.decided()
    moved = shutil.copytree(people[1], tmp_path / "moved #1 100% 'to' ünïcode")
    again = gallery(moved, context=context)
    assert again.counts() == seen.counts()
    assert again.decided() == before, "decisions belong to the page, wherever it stands"
    assert (
        again.tab.evaluate(
            """async () => {
          const place = getComputedStyle(document.querySelector(".cell .thumb")).backgroundImage.slice(5, -2);
          const image = Object.assign(new Image(), { src: place });
          await image.decode();
          return image.naturalWidth;
        }"""
        )
        == 1600
    )


def test_a_page_without_its_data_says_so(visit, people, tmp_path):
    folder = shutil.copytree(people[1], tmp_path / "page")
    (folder / "data.js").unlink()
    tab = visit.context().new_page()
    tab.goto((folder / "index.html").as_uri())
    expect(tab.locator("#notices")).to_contain_text("data.js is missing or damaged")
    forgive_missing_files(visit)
