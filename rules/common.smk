# Helpers of all rule files; no rules.
from pathlib import Path

from snakemake.exceptions import WorkflowError

import workflow_scripts.settings
from workflow_scripts.core.models import card_name, require_sha256
from workflow_scripts.core.step import StepError
from workflow_scripts.core.storage import StorageError, tree_fingerprint

try:
    settings = workflow_scripts.settings.load(config)
except workflow_scripts.settings.SettingsError as error:
    raise WorkflowError(str(error)) from None


def sort_keys(value):
    """Plain values with sorted keys: Snakemake compares params by their text, in which the order of keys counts."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    if isinstance(value, dict):
        return {key: sort_keys(value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [sort_keys(item) for item in value]
    return value


def tracked(group, *names, **more):
    """Some settings of a group as a plain dict: what a step's result depends on, and nothing else."""
    return sort_keys({name: getattr(group, name) for name in names} | more)


def machine(threads, **values):
    """How to compute, not what. A lambda that takes `threads` calls this, and so Snakemake does not track it."""
    return values | {"device": settings.device, "threads": threads}


def model_gpus():
    """GPUs that a job with a model asks for."""
    return 0 if settings.device == "cpu" else 1


def source_fingerprint(location):
    """Changes when a file of a source folder comes, goes or changes."""
    if not settings.watch_sources:
        return None
    try:
        return tree_fingerprint(location)
    except StorageError as error:
        raise WorkflowError(str(error)) from None


def destination_fingerprint(location):
    """Changes when somebody touches what was published; empty before anything was."""
    return source_fingerprint(location) if Path(location).is_dir() else ""


def model_card(model):
    """The path of a model's card, which the models rules make."""
    return f"{settings.models_root}/cards/{card_name(model.name, model.pretrained, model.sha256)}.json"


def checked_model(where, model):
    """The model's settings, after the check that a local one is there and pinned."""
    try:
        require_sha256(where, model.model_dump())
    except StepError as error:
        raise WorkflowError(str(error)) from None
    return tracked(model, "name", "pretrained", "sha256")


def named(where, runs):
    """The names of a pipeline's runs; without any, there is nothing that its targets could make."""
    if not runs:
        raise WorkflowError(
            f"{where} is empty: name what to work on in a file of yours and give it with --configfile; see config/README.md"
        )
    return list(runs)


def reviews(pipeline, run, step):
    """The CSV of what a person decided at a step, where there is one."""
    path = Path(settings.reviews_root) / pipeline / run / f"{step}.csv"
    return [str(path)] if path.is_file() else []
