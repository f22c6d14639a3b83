"""What the rules of `predict` give their steps, from the settings and the table of projects."""

from functools import cache
from pathlib import Path
from typing import Any

from workflow_scripts.core.models import file_sha256
from workflow_scripts.core.step import StepError
from workflow_scripts.predict import sources
from workflow_scripts.predict.checkpoint import first_existing
from workflow_scripts.predict.projects import Project, read_projects
from workflow_scripts.predict.stages import compile_pattern
from workflow_scripts.predict.summary import SUMMARY
from workflow_scripts.predict.tables import SUCCESS, about
from workflow_scripts.settings.base import Images
from workflow_scripts.settings.params import tracked
from workflow_scripts.settings.predict import Predict

# The steps whose time is a project's, by the names of their benchmarks.
TIMED = ("01_inventory", "02_embed", "03_predict", "04_database")


@cache
def projects(table: str | None) -> dict[str, Project]:
    """All projects of the setting `predict.projects`, skipped ones too, by the names of their files.

    Raises:
        StepError: the table cannot be used.
    """
    return {project.name: project for project in read_projects(Path(table))} if table else {}


def models(chosen: Predict) -> dict[str, Any]:
    """The checkpoints to use, with what is in them now: they are small, and another content has to predict anew.

    Raises:
        StepError: one is missing; names the setting.
    """
    found = {}
    for name, setting, paths in (("ranker", "ranker.paths", chosen.ranker.paths), ("crop_proposer", "crop.path", [chosen.crop.path])):
        try:
            path = first_existing(paths)
        except StepError as error:
            raise StepError(f"predict.{setting}: {error}") from None
        found[name] = {"path": path, "sha256": file_sha256(path)}
    return found


def inventory(project: Project, watched: bool, table: Path) -> dict[str, Any]:
    """What a listing depends on.

    Args:
        project: to list.
        watched: whether another content of the source lists it anew.
        table: the listing as it is, if it is. A source that is gone (a disk that was unplugged) does not undo what was made of it.
    """
    state = sources.fingerprint(project.path) if watched else None
    if state == sources.GONE and table.is_file():
        known = about(table)
        state = known["fingerprint"] if known["status"] == SUCCESS and known["path"] == project.path else state
    return {"fingerprint": state, "path": project.path, "project_id": project.project_id}


def embedding(chosen: Predict, images: Images) -> dict[str, Any]:
    """What vectors depend on, beside the model. They have length 1 unless one of the networks wants them as CLIP gives them."""
    normalise = chosen.ranker.normalise and chosen.crop.normalise
    return {"decode_mode": images.decode, "max_pixels": images.max_pixels, "normalise": normalise, "views": "center"}


def grouping(chosen: Predict, project: Project) -> dict[str, Any]:
    """How the images of a project are grouped.

    Raises:
        StepError: the pattern is none.
    """
    setting = "the table of projects, pattern" if project.pattern else "predict.grouping.pattern"
    found = tracked(chosen.grouping, "max_gap_minutes", "ungrouped", pattern=project.pattern or chosen.grouping.pattern)
    if found["pattern"]:
        compile_pattern(found["pattern"], setting)
    return found | {"pattern_setting": setting}


def networks(chosen: Predict) -> dict[str, Any]:
    """What the networks were trained with, and what crops are repaired to."""
    return {
        "min_side": chosen.crop.min_side,
        "proposer_normalise": chosen.crop.normalise,
        "ranker_normalise": chosen.ranker.normalise,
        "scale": chosen.crop.dimension_scale,
    }


def batch(found: dict[str, Project], root: str, checkpoints: dict[str, Any]) -> dict[str, Any]:
    """What the summary is about, as of `summary.Batch`."""
    worked_on = [
        {"line": f"{root}/05_validate/log/{name}.json", "name": name, "path": project.path, "project_id": project.project_id}
        for name, project in found.items()
        if not project.skip
    ]
    return {"models": checkpoints, "projects": worked_on, "skipped": sum(project.skip for project in found.values())}


def results(root: str, names: list[str]) -> list[str]:
    """The files that a whole run makes. Those of every step are among them, so that the next run makes what a failed job left out:
    Snakemake removes a job's outputs before it runs, and does not miss them while those of the steps behind are there.
    """
    steps = ("01_inventory/{}.parquet", "02_embed/{}.parquet", "03_predict/{}.parquet", "04_database/{}.json", "05_validate/{}.json")
    return [f"{root}/{step.format(name)}" for name in names for step in (*steps, "06_report/{}")] + [f"{root}/{SUMMARY}"]


def places(root: str, names: list[str]) -> dict[str, str]:
    """Where to look at what a run came to: the first project's page and database, and the summary."""
    found = {"page": f"06_report/{names[0]}/index.html", "database": f"04_database/{names[0]}.db", "summary": SUMMARY}
    return {what: f"{root}/{path}" for what, path in found.items()}
