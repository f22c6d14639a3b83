"""All settings: pydantic models are the one source of names, types, defaults, descriptions and checks.

`config/config.yaml`, `config/schemas/` and the tables in `config/README.md` are generated from here
(`python -m workflow_scripts.settings.generate`).
"""

import difflib
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from workflow_scripts.settings.autotag import Autotag
from workflow_scripts.settings.base import Images, Strict
from workflow_scripts.settings.demo import Demo
from workflow_scripts.settings.lora import Lora
from workflow_scripts.settings.people import People
from workflow_scripts.settings.predict import Predict
from workflow_scripts.settings.retrieval import Retrieval


class Settings(Strict):
    """Everything that can be set."""

    cache_root: str = Field(
        "cache", min_length=1, description="Embeddings by content, shared by all pipelines and runs. Safe to delete, costly to rebuild."
    )
    models_root: str = Field("resources/models", min_length=1, description="Fetched weights and the cards of all models.")
    reviews_root: str = Field(
        "reviews", min_length=1, description="What people decided: {pipeline}/{run or dataset}/{step}.csv; read where it exists."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where models run. cuda without a GPU is an error.")
    watch_sources: bool = Field(
        True, description="Look through source folders at every start, so that new files are noticed; turn off for huge trees."
    )
    images: Images = Field(default_factory=lambda: Images(), description="How image files are decoded.")
    people: People = Field(default_factory=lambda: People(), description="Take images with people out of a set.")
    retrieval: Retrieval = Field(default_factory=lambda: Retrieval(), description="Concept folders to a training set of hard comparisons.")
    predict: Predict = Field(
        default_factory=lambda: Predict(), description="Best images of groups and how to crop them, for many zipped projects."
    )
    lora: Lora = Field(default_factory=lambda: Lora(), description="Videos to a small, clean, captioned training set.")
    autotag: Autotag = Field(default_factory=lambda: Autotag(), description="Tags for folders of images from a large tagged collection.")
    demo: Demo = Field(default_factory=lambda: Demo(), description="Sample data, drawn by the workflow itself.")


class SettingsError(Exception):
    """The configuration cannot be used; the text names every key that is wrong, its value, and what would be right."""


def load(config: dict[str, Any]) -> Settings:
    """Check a configuration.

    Raises:
        SettingsError: with a line for each thing that is wrong.
    """
    try:
        return Settings.model_validate(config)
    except ValidationError as error:
        found = [details for details in error.errors(include_url=False) if not _is_other_branch(details)]
        # What is wrong with a default is wrong in every run that inherits it, and said once.
        defaults = {(details["loc"][0], details["loc"][2:], _mistake(details)) for details in found if details["loc"][1:2] == ("defaults",)}
        lines = dict.fromkeys(_explain(details) for details in found if not _is_inherited(details, defaults))
        raise SettingsError("The configuration cannot be used:\n" + "\n".join(f"  {line}" for line in lines)) from None


def _is_inherited(details: Any, defaults: set[Any]) -> bool:
    location = details["loc"]
    return len(location) > 2 and location[1] != "defaults" and (location[0], location[3:], _mistake(details)) in defaults


def _is_other_branch(details: Any) -> bool:
    """Of a list or a word: whether this is what is wrong with the one that was not meant."""
    branch, value = str(details["loc"][-1]), details["input"]
    return (branch.startswith("list[") and isinstance(value, str)) or (branch.startswith("literal[") and isinstance(value, list))


def _mistake(details: Any) -> str:
    """What is wrong, the same for a default and for a run that inherits it among values of its own."""
    return str(details["ctx"]["error"]) if details["type"] == "value_error" else repr(details["input"])


def _explain(details: Any) -> str:
    location = [str(part) for part in details["loc"] if not str(part).startswith("list[")]
    if location and (location[-1] in ("int", "float") or location[-1].startswith("literal[")):
        location.pop()  # the branch of a union: "16 or auto"
    path = ".".join(location) or "(top level)"
    value = details["input"]
    match details["type"]:
        case "extra_forbidden":
            known = _known_keys(location[:-1])
            near = difflib.get_close_matches(location[-1], known, n=1)
            return f"{path}: unknown key" + (f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(known)}")
        case "missing":
            return f"{path}: is missing; {_describe(location)}"
        case "string_pattern_mismatch" if "[key]" in location:
            return f"{'.'.join(location[:-1])}: {value!r} cannot be a name; use letters, digits and . _ - (80 at most, no dot in front)"
        case "value_error":
            return f"{path}: {details['ctx']['error']}"
        case _:
            hint = " (values after --config are text: put it into a file and use --configfile)" if isinstance(value, str) else ""
            hint = " (text made of digits needs quotes)" if details["type"] == "string_type" and isinstance(value, int) else hint
            return f"{path}: {value!r} is wrong: {details['msg'][0].lower()}{details['msg'][1:]}{hint}"


def _model_at(location: list[str]) -> type[BaseModel] | None:
    """The settings group at a place; names of runs stand for their group."""
    model: Any = Settings
    for part in location:
        if isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields:
            model = model.model_fields[part].annotation
        elif getattr(model, "__origin__", None) is dict:
            model = model.__args__[1]
        elif getattr(model, "__origin__", None) is list:
            model = model.__args__[0]
        else:
            return None
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def _known_keys(location: list[str]) -> list[str]:
    model = _model_at(location)
    return list(model.model_fields) if model else []


def _describe(location: list[str]) -> str:
    model = _model_at(location[:-1])
    field = model.model_fields.get(location[-1]) if model else None
    return (field.description or "") if field else ""
