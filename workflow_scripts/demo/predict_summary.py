"""Demo: how well predict did against the truth that the drawn projects came with, as figures and as text."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.core.json_files import read_json
from workflow_scripts.core.step import StepError, atomic_text, log, step
from workflow_scripts.demo import NOTE
from workflow_scripts.demo.predict_groups.metrics import overlap, share_near
from workflow_scripts.demo.rates import embedding_rate
from workflow_scripts.predict.tables import ERROR, SELECTED, SUCCESS, UNGROUPED, about, read

Key = tuple[str, str]  # project and path
Truth = dict[Key, dict[str, str]]
Rows = dict[Key, dict[str, Any]]
UNUSABLE = ("unreadable", "refused")


def read_truth(truth: Path) -> Truth:
    """The rows of `predict_data.draw`'s table."""
    with truth.open(encoding="utf-8", newline="") as handle:
        return {(row["project"], row["path"]): row for row in csv.DictReader(handle)}


def check_set(images: Rows, truth: Truth) -> None:
    """Raise `StepError` when the tables name other images than the truth."""
    drawn = {key for key, row in truth.items() if row["kind"] != "skipped"}
    if different := sorted(images.keys() ^ drawn):
        project, path = different[0]
        raise StepError(f"{project}: the results are not of the project as drawn last ({path} is in one of them alone); run the demo again")


def image_results(images: Rows, truth: Truth) -> dict[str, Any]:
    """What became of the images, and whether those were left out that should be."""
    of_kind: dict[str, set[Key]] = defaultdict(set)
    for key, row in truth.items():
        of_kind[row["kind"]].add(key)
    failed = {key for key, row in images.items() if row["outcome"] == ERROR}
    ungrouped = {key for key, row in images.items() if row["outcome"] == UNGROUPED}
    readable = [row["sha256"] for row in images.values() if row["outcome"] != ERROR]
    found: dict[str, Any] = {"images": len(images), "readable": len(readable), "contents": len(set(readable))}
    found["contents_as_expected"] = found["contents"] == len(images) - sum(len(of_kind[kind]) for kind in ("copy", *UNUSABLE))
    for kind, other in (UNUSABLE, UNUSABLE[::-1]):
        rejected = failed - of_kind[other]
        found |= {kind: len(rejected), f"{kind}_as_expected": rejected == of_kind[kind]}
    return found | {"ungrouped": len(ungrouped), "ungrouped_as_expected": ungrouped == of_kind["ungrouped"]}


def selection_results(images: Rows, truth: Truth) -> dict[str, Any]:
    """Whether images are grouped as they were drawn, and whether the best of each group is selected."""
    drawn, formed = defaultdict(set), defaultdict(set)
    for (project, path), row in truth.items():
        if row["group"]:
            drawn[project, row["group"]].add((project, path))
    for (project, path), image in images.items():
        if image["group_id"] is not None:
            formed[project, image["group_id"]].add((project, path))
    right, with_defect, chance = [], [], []
    for members in drawn.values():
        if best := [key for key in members if truth[key]["best"] == "1"]:
            right.append(images[best[0]]["outcome"] == SELECTED)
            with_defect += [right[-1]] if any(truth[key]["defect"] for key in members) else []
            chance.append(1 / max(1, sum(images[key]["outcome"] != ERROR for key in members)))
    return {
        "groups": len(formed),
        "groups_as_expected": set(map(frozenset, formed.values())) == set(map(frozenset, drawn.values())),
        "selected_right": _mean(right),
        "selected_by_chance": _mean(chance),
        "with_defect": len(with_defect),
        "with_defect_right": _mean(with_defect),
    }


def crop_results(groups: dict[str, list[dict[str, Any]]], truth: Truth) -> dict[str, Any]:
    """How well the crops fit the figures; one that is missing fits not at all. Groups without a readable image have none."""
    fits, coordinates, lost = [], [], []
    for project, rows in groups.items():
        for row in rows:
            members = [truth[project, f"{row['directory']}/{name}".removeprefix("/")] for name in row["images"]]
            if row["selected"] is None:
                lost.append(members)
            elif members[row["selected"]]["group"]:
                box = [float(members[row["selected"]][name]) for name in ("x1", "y1", "x2", "y2")]
                fits.append(overlap(row["crop"], box) if row["crop"] else 0.0)
                coordinates.append(share_near(row["crop"], box) if row["crop"] else 0.0)
    by_group: dict[Key, set[str]] = defaultdict(set)
    for (project, _), row in truth.items():
        by_group[project, row["group"]].add(row["kind"])
    expected = {key for key, kinds in by_group.items() if key[1] and kinds == {"unreadable"}}
    return {
        "lost": len(lost),
        "lost_as_expected": {(row["project"], row["group"]) for members in lost for row in members} == expected,
        "crop_iou": _mean(fits),
        "crop_near": _mean(coordinates),
    }


def predict_results(groups: Iterable[Path], images: Iterable[Path], summary: Path, truth: Path) -> dict[str, Any]:
    """Counts and shares of a run of predict on all drawn projects.

    Args:
        groups: `03_predict/{project}.parquet` of every project.
        images: `03_predict/images/{project}.parquet` likewise.
        summary: `batch_predictions_summary.json`.
        truth: table of `predict_data.draw`.

    Raises:
        StepError: the run is not of the projects as drawn last.
    """
    drawn, batch = read_truth(truth), read_json(summary)
    tables = {str(about(table)["project_id"]): table for table in images}
    done = {project: about(table) for project, table in tables.items() if about(table)["status"] == SUCCESS}
    known = {key: row for key, row in drawn.items() if key[0] in done}
    rows = {(project, row["path"]): row for project in done for row in read(tables[project])}
    check_set(rows, known)
    left_out = sum(sum(said["skipped"].values()) for said in done.values())
    return {
        **{name: batch["results"][name] for name in ("processed", "failed", "skipped")},
        "failed_as_expected": set(batch["failed_projects"]) == tables.keys() - {project for project, _ in drawn},
        "left_out": left_out,
        "left_out_as_expected": left_out == sum(row["kind"] == "skipped" for row in known.values()),
        **image_results(rows, known),
        **selection_results(rows, known),
        **crop_results({about(table)["project_id"]: read(table) for table in groups}, known),
    }


def predict_text(found: dict[str, Any], rate: float | None, source: str | Path, places: dict[str, str | Path]) -> str:
    """The predict part of the summary.

    Args:
        found: as `predict_results` gives it.
        rate: images a second of the embedding; None when all came from the cache.
        source: where the projects are.
        places: what to look at, by name, such as `page`, `database` and `summary`.
    """

    def meant(name: str) -> str:
        return "all as meant" if found[f"{name}_as_expected"] else "NOT the ones that were meant"

    rows: list[tuple[str, int | float, str]] = [
        ("projects", found["processed"], f"in {source}; {found['skipped']} more skipped"),
        ("failed", found["failed"], f"projects that cannot be read, {meant('failed')}"),
        ("images", found["images"], f"{found['readable']} of them readable"),
        ("contents", found["contents"], f"to be embedded, each once; the others are copies, {meant('contents')}"),
        ("unreadable", found["unreadable"], f"damaged files, {meant('unreadable')}"),
        ("refused", found["refused"], f"members of zips that are never read, {meant('refused')}"),
        ("left out", found["left_out"], f"files that are no images, {meant('left_out')}"),
        ("ungrouped", found["ungrouped"], f"images in no group, {meant('ungrouped')}"),
        ("groups", found["groups"], f"of images that show the same scene, {meant('groups')}"),
        ("lost", found["lost"], f"groups without a readable image, {meant('lost')}"),
        ("selected", found["selected_right"], f"of the groups have their best image selected; by chance {found['selected_by_chance']:.3f}"),
        ("defects", found["with_defect_right"], f"of the {found['with_defect']} whose last image has a defect"),
        ("crops", found["crop_iou"], f"intersection over union with the figure; {found['crop_near']:.3f} of the coordinates within 0.05"),
    ]
    lines = ["predict: the best of each group of drawn images, and a crop of it"]
    lines += [f"  {name:13s}{value:6{'d' if isinstance(value, int) else '.3f'}}   {text}" for name, value, text in rows]
    if rate:
        lines.append(f"  speed        {rate:6.0f}   images/s in the embedding step")
    return "\n".join([*lines, "  look at", *(f"    {name:13s}{path}" for name, path in places.items())]) + "\n"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))


if job := globals().get("snakemake"):
    with step(job.log[0]):
        tables = map(Path, job.input.groups), map(Path, job.input.images)
        results = predict_results(*tables, Path(job.input.summary), Path(job.input.truth))
        rate = embedding_rate(map(Path, job.params.logs))
        text = predict_text(results, rate, Path(job.input.truth).parent, job.params.places) + NOTE
        log.info("%s", text)
        with atomic_text(job.output[0]) as report:
            report.write(text)
