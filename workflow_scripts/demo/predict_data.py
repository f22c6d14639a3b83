"""Demo: draw the projects that the predict pipeline works on, with damaged, refused and oddly named files, and their truth."""

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workflow_scripts.core.step import atomic_text, progress, report_counts, step
from workflow_scripts.demo.predict_groups.archives import damage_directory, write_zip
from workflow_scripts.demo.predict_groups.members import DIRECTORIES, FOLDER, Member, project_members
from workflow_scripts.predict.projects import COLUMNS as PROJECT_COLUMNS

BROKEN = "broken"  # a zip whose list of members is damaged: the project fails, and the truth has no rows of it
ABSENT = "winter"  # to be skipped; there is no such zip yet
BY_TIME = r"^(?P<group>\d{8}_\d{6})_"  # pattern of the folder's groups
COLUMNS = ("path", "project", "group", "stage", "defect", "best", "x1", "y1", "x2", "y2", "kind")


def truth_row(member: Member) -> dict[str, Any]:
    """A file's row of the truth table; the box in parts of the upright image's width and height."""
    box = member.box or ("", "", "", "")
    stage = "" if member.stage is None else f"{member.stage:g}"
    values = (member.path, member.project, member.group, stage, member.defect, int(member.is_best), *box, member.kind)
    return dict(zip(COLUMNS, values, strict=True))


def projects(folder: Path) -> list[dict[str, str]]:
    """The rows of the table of projects, in its order."""
    plain = {"pattern": "", "skip": ""}
    rows = [{"project_id": name, "path": str(folder / f"{name}.zip")} | plain for name in (*DIRECTORIES, BROKEN, ABSENT)]
    changes = {FOLDER: {"path": str(folder / FOLDER), "pattern": BY_TIME}, ABSENT: {"skip": "yes"}}
    return [row | changes.get(row["project_id"], {}) for row in rows]


def write_folder(folder: Path, members: Iterator[Member]) -> None:
    """Write a project that is a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    for member in members:
        path = folder / member.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(member.data)


def write_rows(path: Path, columns: tuple[str, ...], rows: list[dict[str, Any]], **dialect: Any) -> None:
    """Write a table with a header."""
    with atomic_text(path, newline="") as handle:
        writer = csv.DictWriter(handle, columns, lineterminator="\n", **dialect)
        writer.writeheader()
        writer.writerows(rows)


def draw(truth: Path, groups: int, seed: int) -> int:
    """Write the projects and `projects.tsv` beside the truth table, then that; gives the number of files in it.

    Args:
        truth: the table to write.
        groups: ordinary groups of a project; odd ones come on top.
        seed: another one draws other scenes.
    """
    folder = truth.parent
    rows: list[dict[str, Any]] = []

    def noted(project: str) -> Iterator[Member]:
        for member in progress(project_members(project, groups, seed), total=3 * groups, unit="drawings"):
            rows.append(truth_row(member))
            yield member

    for project in DIRECTORIES:
        if project == FOLDER:
            write_folder(folder / FOLDER, noted(project))
        else:
            write_zip(folder / f"{project}.zip", noted(project))
    spoilt = folder / f"{BROKEN}.zip"
    write_zip(spoilt, (member for member in project_members(FOLDER, 1, seed) if member.group))
    damage_directory(spoilt)
    write_rows(folder / "projects.tsv", (*PROJECT_COLUMNS, "pattern", "skip"), projects(folder), delimiter="\t", quoting=csv.QUOTE_NONE)
    write_rows(truth, COLUMNS, rows)
    return len(rows)


if job := globals().get("snakemake"):
    with step(job.log[0]):
        report_counts(drawn=draw(Path(job.output.truth), job.params.groups, job.params.seed))
