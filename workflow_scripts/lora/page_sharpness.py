"""lora 04d: a page with the worst, middle and best subjects of each category by sharpness, to find the limit by eye."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.core.pages import Number, Page, Panel, Role
from workflow_scripts.core.pages.texts import counted
from workflow_scripts.core.step import report_counts, step
from workflow_scripts.lora import page_common as common
from workflow_scripts.lora import tables
from workflow_scripts.lora.page_common import Place, Row
from workflow_scripts.lora.page_filter import sharpness_threshold
from workflow_scripts.lora.page_pictures import plain, subject
from workflow_scripts.lora.spectrum import ALT, FEWEST, Valley, ends_and_middle, figure, find_valley
from workflow_scripts.lora.tables import CATEGORIES

SHARP, BLURRY = "sharp", "too blurry"
ROLES: dict[str, Role] = {SHARP: "kept", BLURRY: "rejected"}
METHOD = (
    "The valley is the lowest point between two groups in the density of the logarithms of sharpness (Gaussian kernel, bandwidth by "
    "Silverman 1986). It is a place to start looking, not an answer: a video shot softly can be a group of its own."
)


def describe(run: Mapping[str, Any], values: Sequence[float], unmeasured: int) -> Page:
    """The page of a workspace.

    Args:
        run: `workspace`, `score` (`min_sharpness` of the settings).
        values: the sharpness of all subjects that have one.
        unmeasured: how many have none.
    """
    current = run["score"]["min_sharpness"]
    valley = find_valley(values)
    without = f" {counted(unmeasured, 'subject')} too small, empty or not readable {'has' if unmeasured == 1 else 'have'} no sharpness."
    return Page(
        page_id=f"lora/{run['workspace']}/04d_sharpness_spectrum_report",
        title=f"Sharpness of the subjects of {run['workspace']}",
        look_for=(
            "Where do blurry subjects end and sharp ones begin? The worst, middle and best of each category come first, all others behind "
            "them. Drag the handle to the limit that you would draw, and look at both sides of it at the border."
        ),
        thresholds=(sharpness_threshold(run["workspace"], current, values),),
        numbers=(Number("place", "place on this page", 0),),
        choices=(),
        outcomes=ROLES,
        lowest_first="place",
        notes=(suggestion(values, valley, current), f"{counted(len(values), 'subject')}.{without if unmeasured else ''}"),
        panels=(histogram(values, current, valley),) if values else (),
    )


def suggestion(values: Sequence[float], valley: Valley | None, current: float) -> str:
    """What the values say about min_sharpness, in a sentence."""
    if valley:
        share = f"{valley.below:,} of {len(values):,} ({valley.below / len(values):.0%})"
        tried = f"min_sharpness {valley.at:g} is worth a try, {share} lie below"
        return f"There are two groups, with a valley between them: {tried}. Now it is {current:g}."
    if len(values) < FEWEST:
        return f"Too few subjects to suggest a min_sharpness ({FEWEST} are needed). Now it is {current:g}."
    return f"No two groups can be told apart by sharpness, so no min_sharpness suggests itself: judge by eye. Now it is {current:g}."


def histogram(values: Sequence[float], current: float, valley: Valley | None) -> Panel:
    """All values on a scale of logarithms."""
    light, dark = (figure(values, current, valley.at if valley else None, theme) for theme in ("light", "dark"))
    return Panel("How sharp the subjects are", (METHOD,), light_svg=light, dark_svg=dark, alt=ALT)


def chosen(rows: Sequence[Row]) -> dict[int, tuple[int, str]]:
    """Which rows come first: by row its place on the page, from 1, and its part; category by category, worst to best."""
    found: dict[int, tuple[int, str]] = {}
    for category in CATEGORIES:
        places = [place for place, row in enumerate(rows) if row["category"] == category]
        for within, part in ends_and_middle([rows[place]["sharpness"] for place in places]).items():
            found[places[within]] = (len(found) + 1, part)
    return found


def item(row: Row, frame: str | None, part: str, limit: float, place: Place) -> Row:
    """The item of a row of SELECTION that has a sharpness.

    Args:
        row: of the table.
        frame: path of its frame.
        part: worst, middle or best; empty for the others.
        limit: min_sharpness.
        place: of the page.
    """
    links = [place.link(frame), place.link(row["path"])]
    known = {"name": row["frame_id"], "id": row["sha256"], "link": links[0], "links": links, "sharpness": row["sharpness"]}
    known |= {"outcome": SHARP if row["sharpness"] >= limit else BLURRY, "reason": part}
    category, value = row["category"].replace("_", " "), f"sharpness {row['sharpness']:.1f}"
    known |= {"tags": common.tags(row, part), "captions": [f"{part} of {category}" if part else category, value]}
    return known | {"images": [plain(row["sha256"], frame), subject(row["file_sha256"], row["path"])]}


def build(
    run: Mapping[str, Any], selection: Path, candidates: Iterable[Path], root: Path, *, machine: Mapping[str, Any], output: Path
) -> dict[str, int]:
    """Build the page; gives the counts of `write_page`.

    Args:
        run: as of `describe`.
        selection: the table SELECTION.
        candidates: a table SORTED of each video.
        root: the workspace's results.
        machine: `cache_root`, `threads`.
        output: folder of the page.
    """
    place, paths = Place(root, output), common.frames(candidates)
    found = tables.read(selection)
    rows = [row for row in found if row["sharpness"] is not None]
    first, limit = chosen(rows), run["score"]["min_sharpness"]
    items = []
    for number, row in enumerate(rows):
        order, part = first.get(number, (None, ""))
        items.append(item(row, paths.get(row["frame_id"]), part, limit, place) | {"place": order})
    page = describe(run, [row["sharpness"] for row in rows], len(found) - len(rows))
    return common.write_page(page, items, place, machine)


if job := globals().get("snakemake"):
    with step(job.log[0]):
        candidates = [Path(path) for path in job.input.candidates]
        places = {"root": Path(job.params.root), "output": Path(job.output[0])}
        report_counts(**build(job.params.page, Path(job.input.selection), candidates, **places, machine=job.params.machine))
