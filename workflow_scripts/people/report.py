"""people 07: a page to judge the decisions by, and to correct them on."""

import tempfile
from pathlib import Path
from typing import Any

from workflow_scripts.core.json_files import read_json
from workflow_scripts.core.pages import Choice, Export, Number, Page, Panel, Role, Threshold, build_page
from workflow_scripts.core.step import report_counts, step
from workflow_scripts.core.storage import open_storage
from workflow_scripts.core.thumbnails import Thumbnails
from workflow_scripts.people.calibration_figures import TITLES, figures
from workflow_scripts.people.page_items import BAND, TOO_CLOSE, write_items

ROLES: dict[str, Role] = {"kept": "kept", "removed": "rejected", "error": "error"}
CHOICES = (Choice("keep", "Keep", "k", "kept"), Choice("remove", "Remove", "x", "rejected"))


def describe(run: dict[str, Any], close: int, totals: dict[str, int], calibration: dict[str, Any] | None) -> Page:
    """The page of a run.

    Args:
        run: `run_id`, `threshold`, `source`, `reviews`, the path where decisions are read.
        close: how many images lie near the threshold.
        totals: counts of the merge.
        calibration: as `calibrate` wrote it, when there are labels.
    """
    left = {name.replace("_", " "): totals[name] for name in ("skipped", "not_sampled", "excluded") if totals[name]}
    near = "1 image lies" if close == 1 else f"{close:,} images lie"
    notes = [f"{near} within {BAND} of the threshold ({TOO_CLOSE}): another processor or precision may decide otherwise."]
    if left:
        notes.append("Not on this page: " + ", ".join(f"{count:,} {name}" for name, count in left.items()) + ".")
    return Page(
        page_id=f"people/{run['run_id']}/decide",
        title=f"People in {run['source']}",
        look_for=(
            "Removed images should show a person, kept ones should show none. Begin at the border, where the model is least sure: "
            "if one kind of mistake prevails there, move the threshold; correct what remains by hand."
        ),
        thresholds=(
            Threshold(
                "people_prob", "people_prob", run["threshold"], 0.0, 1.0, 0.001, "at_least", ("people", "runs", run["run_id"], "threshold")
            ),
        ),
        numbers=(Number("people_prob", "people_prob", 4), Number("margin", "margin", 4)),
        choices=CHOICES,
        outcomes=ROLES,
        export=Export(destination=run["reviews"], file=Path(run["reviews"]).name),
        notes=tuple(notes),
        panels=tuple(calibration_panels(calibration)) if calibration else (),
    )


def calibration_panels(found: dict[str, Any]) -> list[Panel]:
    """What the labels tell, as fold-out parts."""
    light, dark = figures(found, "light"), figures(found, "dark")
    told = Panel("What the labels tell", tuple(sentence["text"] for sentence in found["sentences"]))
    return [told, *(Panel(title, light_svg=light[name], dark_svg=dark[name], alt=title) for name, title in TITLES.items())]


def build(
    run: dict[str, Any], aggregate: Path, calibration: Path | None, thumbnails: Thumbnails, output: Path, threads: int
) -> dict[str, int]:
    """Build the page from the merged manifests; gives the counts of `build_page`, and how many thumbnails were fetched for it."""
    found = read_json(calibration) if calibration else None
    totals = read_json(aggregate / "merge_metadata.json")["totals"]
    with tempfile.TemporaryDirectory() as folder:
        items = Path(folder) / "items.parquet"
        close = write_items(aggregate, run["threshold"], items)
        counts = build_page(describe(run, close, totals, found), items, output, thumbnails, threads=threads)
    thumbnails.flush()
    return counts | {"fetched": thumbnails.made}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        params, machine = job.params.run, job.params.machine
        source = open_storage(params["source"], params["store"])
        pictures = Thumbnails(machine["cache_root"], source, params["max_pixels"])
        labels = Path(job.input.calibration[0]) if job.input.calibration else None
        threads = max(machine["threads"], source.reads_at_once)
        report_counts(**build(params, Path(job.input.merged[0]).parent, labels, pictures, Path(job.output[0]), threads))
