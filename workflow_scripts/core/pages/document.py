"""The page's document with its style sheet, script, figures and downloads."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from workflow_scripts.core.pages.model import Page, Panel
from workflow_scripts.core.pages.sheets import write_file

ASSETS = Path(__file__).parent / "assets"
# In the order in which they need each other.
SCRIPTS = (
    "dom",
    "storage",
    "theme",
    "data",
    "outcomes",
    "decisions",
    "csv",
    "transfer",
    "filters",
    "orders",
    "view",
    "cell",
    "grid",
    "histogram",
    "config",
    "summary",
    "toolbar",
    "move",
    "bar",
    "lightbox",
    "keys",
    "main",
)
STYLES = ("base", "summary", "gallery", "lightbox")
_SAFE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,79}")


def write_document(folder: Path, page: Page, limits: list[str]) -> None:
    """Write everything of a page that is not data.

    Args:
        folder: of the page.
        page: what to say.
        limits: sentences on what the page leaves out.
    """
    panels = [_panel(folder, number, panel) for number, panel in enumerate(page.panels, 1)]
    text = _template().render(page=page, notes=[*page.notes, *limits], panels=panels)
    write_file(folder / "index.html", f"{text}\n".encode())
    write_file(folder / "page.css", stylesheet())
    write_file(folder / "page.js", program())


@cache
def program() -> bytes:
    """The one script: its parts in one function, so that they see each other and nothing else sees them."""
    parts = [(ASSETS / "js" / f"{name}.js").read_text(encoding="utf-8").strip() for name in SCRIPTS]
    return ('(() => {\n"use strict";\n\n' + "\n\n".join(parts) + "\n})();\n").encode()


@cache
def stylesheet() -> bytes:
    """The one style sheet."""
    parts = [(ASSETS / "css" / f"{name}.css").read_text(encoding="utf-8").strip() for name in STYLES]
    return ("\n\n".join(parts) + "\n").encode()


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("index.html.jinja")


def _panel(folder: Path, number: int, panel: Panel) -> dict[str, Any]:
    """Write a panel's files; gives their places for the document."""
    files = folder / "files"
    files.mkdir(exist_ok=True)
    figures = {theme: text for theme, text in (("light", panel.light_svg), ("dark", panel.dark_svg)) if text}
    for theme, text in figures.items():
        write_file(files / f"figure-{number}-{theme}.svg", text.encode())
    for name, data in panel.downloads.items():
        if not _SAFE_NAME.fullmatch(name):
            raise ValueError(f"a download's name has letters, digits, dots, dashes and underscores, not {name!r}")
        (files / str(number)).mkdir(exist_ok=True)
        write_file(files / str(number) / name, data)
    return {
        "panel": panel,
        "figures": {theme: f"files/figure-{number}-{theme}.svg" for theme in figures},
        "downloads": {name: f"files/{number}/{name}" for name in panel.downloads},
    }
