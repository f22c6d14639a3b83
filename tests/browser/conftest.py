"""Pages as a person opens them: real Chromium, from disk. Every test also shows that nothing ran or loaded that should not."""

import csv
import functools
import hashlib
import io
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from workflow_scripts.core.pages import Choice, Export, Number, Page, Threshold, build_page

OUTCOMES = {"kept": "kept", "removed": "rejected", "errors": "error"}
PROB = Threshold("prob", "people", 0.5, 0, 1, 0.01, config_path=("people", "runs", "2024-01", "threshold"))
SHARP = Threshold("sharp", "sharpness", 40, 0, 100, 1, "below", ("people", "min_sharpness"))
CHOICES = (Choice("keep", "Keep", "k", "kept"), Choice("remove", "Remove", "x", "rejected"))
ODD_NAMES = ("=1+2.jpg", "+cmd|' /C calc'!A0.jpg", 'a,"b".jpg', "line\nbreak.jpg", " lead and trail ", "写真 🙂.jpg", "-rf.jpg", "it's.jpg")


@functools.cache
def tile(number):
    """A small picture; few different ones, so that large pages are quick to make."""
    buffer = io.BytesIO()
    Image.new("RGB", (32, 24), (number % 7 * 36, number % 5 * 50, number % 3 * 110)).save(buffer, "PNG")
    return buffer.getvalue()


def make_rows(count, *, seed=0, odd=True):
    """Rows decided by `PROB`, every twentieth an error, a few decided by a person, some with odd names."""
    numbers = np.random.default_rng(seed).random(count).round(3).tolist()
    rows = []
    for place, number in enumerate(numbers):
        removed = number >= 0.5
        name = f"album/{place:06d}.jpg" if place >= len(ODD_NAMES) or not odd else ODD_NAMES[place]
        row = {
            "id": hashlib.sha256(str(place).encode()).hexdigest(),
            "name": name,
            "link": "",
            "images": [str(place % 105)],
            "prob": number,
        }
        row |= {"outcome": "removed" if removed else "kept", "reason": f"prob {'>=' if removed else '<'} 0.5", "size": float(place)}
        row["tags"] = ["even" if place % 2 == 0 else "odd", f"tag-{place % 7}"]
        if place % 20 == 19:
            row |= {"outcome": "errors", "reason": f"decode: broken {place}", "prob": None, "images": [], "id": None}
        elif place % 33 == 32:
            row |= {"outcome": "removed" if not removed else "kept", "reason": "human"}
        rows.append(row)
    return rows


def page_of(name, **changes):
    """The page of most tests."""
    settings = {
        "title": "People in the set",
        "look_for": "Look for people at the edge.",
        "thresholds": (PROB,),
        "numbers": (Number("size", "size", 0),),
        "choices": CHOICES,
        "outcomes": OUTCOMES,
        "export": Export("reviews/people/r/decide.csv"),
        "move": ("/data/in", "/data/out"),
    }
    return Page(name, **(settings | changes))


def build(page, rows, folder, **options):
    """Build a page with small pictures."""
    build_page(page, pa.Table.from_pylist(rows), folder, lambda key: tile(int(re.sub(r"\D", "", key) or 0)), **options)
    return folder


@pytest.fixture(scope="session")
def people(tmp_path_factory):
    """300 items: their rows and their page."""
    rows = make_rows(300)
    return rows, build(page_of("people"), rows, tmp_path_factory.mktemp("pages") / "people")


@pytest.fixture(scope="session")
def kit():
    """What tests need of this file; with pytest's import mode it cannot be imported."""

    class Kit:
        rows = staticmethod(make_rows)
        page = staticmethod(page_of)
        build = staticmethod(build)
        read_csv = staticmethod(read_csv)
        prob, sharp = PROB, SHARP

    return Kit


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium without a window."""
    executable = shutil.which("chromium")
    if executable is None:
        reason = "chromium is not installed; Debian: apt-get install chromium"
        (pytest.fail if os.environ.get("DARKROOM_ALL_TESTS") == "1" else pytest.skip)(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Visit:
    """Opens pages, and remembers what they complained about and what they asked for."""

    def __init__(self, browser):
        self._browser = browser
        self._contexts = []
        self.complaints = []
        self.requests = []

    def context(self, **options):
        context = self._browser.new_context(**({"viewport": {"width": 1100, "height": 700}, "accept_downloads": True} | options))
        context.set_default_timeout(10_000)
        context.on("console", lambda message: message.type in {"error", "warning"} and self.complaints.append(message.text))
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("request", lambda request: self.requests.append(request.url))
        self._contexts.append(context)
        return context

    def __call__(self, folder, context=None, **options):
        """A page, opened in a browser that has never seen it before unless a context is given."""
        tab = (context or self.context(**options)).new_page()
        tab.goto((Path(folder) / "index.html").as_uri())
        tab.wait_for_selector("html[data-ready]")
        return tab

    def end(self):
        for context in self._contexts:
            context.close()


@pytest.fixture
def visit(browser):
    """Open a page: `visit(folder)`. At the end nothing may have gone wrong or reached for the network."""
    visits = Visit(browser)
    yield visits
    visits.end()
    assert not visits.complaints
    assert {url.split(":")[0] for url in visits.requests} <= {"file", "blob"}


# Saves the file as a person does, and takes its text where the browser gets it.
EXPORT = """async () => {
  const make = URL.createObjectURL;
  let saved;
  URL.createObjectURL = (blob) => ((saved = blob), "blob:null/none");
  [...document.querySelectorAll("#bar button")].find((button) => button.textContent.startsWith("Export")).click();
  const sheet = document.getElementById("sheet");
  const save = sheet.querySelector(".primary");
  const click = HTMLAnchorElement.prototype.click;
  HTMLAnchorElement.prototype.click = () => {};
  save.click();
  HTMLAnchorElement.prototype.click = click;
  URL.createObjectURL = make;
  sheet.close();
  return saved.text();
}"""


def read_csv(text):
    """Rows of a CSV file as dicts."""
    assert text.endswith("\n")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


class Gallery:
    """What a person sees and does in the gallery."""

    def __init__(self, tab):
        self.tab = tab

    def names(self):
        """Names of the items in sight, in order."""
        cells = self.tab.locator(".cell")
        found = cells.evaluate_all("cells => cells.map(cell => [Number(cell.getAttribute('aria-posinset')), cell.title])")
        return [name for _, name in sorted(found)]

    def counts(self):
        """Outcome chips as {outcome: number}."""
        self.settle()
        chips = self.tab.locator("#outcomes .chip").evaluate_all(
            "chips => chips.map(chip => [...chip.children].map(part => part.textContent))"
        )
        return {name: int(number.replace(",", "")) for number, name in chips}

    def visible(self):
        """The number of items in the view."""
        self.settle()
        return int(re.match(r"visible ([\d,]+) of", self.tab.locator("#visible").inner_text())[1].replace(",", ""))

    def settle(self):
        """Wait until what was asked for is drawn."""
        self.tab.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def current(self):
        """The name of the current item."""
        self.settle()
        return self.tab.locator(".cell.current").get_attribute("title")

    def press(self, *keys):
        for key in keys:
            self.tab.keyboard.press(key)
        self.settle()

    def decided(self):
        """What the file to export would say: {name: decision}."""
        return {row["path"]: row["decision"] for row in self.export()}

    def export(self):
        """The rows of the file that the page would save; one test saves it to the disk."""
        return read_csv(self.tab.evaluate(EXPORT))


@pytest.fixture
def gallery(visit):
    """Open a page and give its gallery."""
    return lambda folder, *arguments, **options: Gallery(visit(folder, *arguments, **options))
