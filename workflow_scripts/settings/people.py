"""Settings of the `people` pipeline."""

import math
import os
from typing import Any, Literal

from pydantic import Field, model_validator

from workflow_scripts.settings.base import ClipModel, Exclude, Fraction, Slug, Strict

POSITIVE = (
    "a photo of a person",
    "a photo of a human",
    "a photo of people",
    "a photo of a man",
    "a photo of a woman",
    "a photo of a child",
    "a portrait of a person",
)
NEGATIVE = ("a photo of a landscape", "a photo of a building", "a photo of food", "a photo of an object", "an empty room")


class Prompts(Strict):
    """The texts that an image is compared with."""

    positive: list[str] = Field(list(POSITIVE), min_length=1, description="Texts that describe an image with people.")
    negative: list[str] = Field(list(NEGATIVE), min_length=1, description="Texts that describe an image without.")


class PeopleDefaults(Strict):
    """What every run uses unless it says otherwise."""

    shard_count: int = Field(1, ge=1, le=9999, description="Into how many jobs the embedding is divided; results do not depend on it.")
    threshold: Fraction = Field(0.5, description="An image is removed if and only if its people_prob is at least this.")
    max_images: int = Field(
        0, ge=0, description="Look at a sample of this many images only; 0 takes all. The sample is the same for any shard_count."
    )
    sample_seed: int = Field(0, description="Another seed draws another sample.")
    model: ClipModel = Field(default_factory=lambda: ClipModel(), description="The CLIP model that scores.")
    views: Literal["center", "pad", "tiles"] = Field(
        "center",
        description="What the model sees: center = its own crop; pad = the whole image, padded; tiles = squares along the long side, "
        "of which the largest margin counts.",
    )
    batch_size: int | Literal["auto"] = Field(
        16, description="Images a forward pass; auto = 32 on a CPU, 256 on a GPU. Halved when memory does not suffice."
    )
    prompts: Prompts = Field(default_factory=lambda: Prompts(), description="What counts as people, and what does not.")
    negative_mode: Literal["mean", "max"] = Field(
        "mean", description="mean: compare with the average of the negative prompts; max: with the nearest of them."
    )
    logit_scale: float | Literal["model"] = Field(
        100.0, description="Factor on the margin before the softmax; model = the one it was trained with."
    )
    exclude: list[Exclude] = Field([], description="Lists of images to leave out, counted as excluded.")
    dry_run: bool = Field(False, description="Write the manifests but copy no image.")
    prune: bool = Field(False, description="Remove from the destination what an earlier run published and this one does not keep.")
    prune_max_fraction: Fraction = Field(0.2, description="Refuse to prune more than this part of what was published.")
    allow_copy_errors: bool = Field(
        False, description="Publish although some images could not be copied; they are listed in the published errors.csv."
    )

    @model_validator(mode="after")
    def _sensible(self) -> "PeopleDefaults":
        if isinstance(self.batch_size, int) and self.batch_size < 1:
            raise ValueError("batch_size must be at least 1, or auto")
        if isinstance(self.logit_scale, float) and not 0 < self.logit_scale < math.inf:
            raise ValueError("logit_scale must be above 0 and finite, or model")
        return self


class PeopleRun(PeopleDefaults):
    """One run: a source, where its cleaned copy goes, and what it does differently from the defaults."""

    source: str = Field(min_length=1, description="Folder with the images. It is only ever read.")
    destination: str | None = Field(None, description="Folder for the cleaned copy; default {results_root}/{run}/cleaned/train.")
    manifests: str | None = Field(None, description="Folder for the published manifests; default {results_root}/{run}/cleaned/manifests.")

    @model_validator(mode="after")
    def _folders_only(self) -> "PeopleRun":
        for name in ("source", "destination", "manifests"):
            if "://" in (getattr(self, name) or ""):
                raise ValueError(f"{name}: {getattr(self, name)} is no folder; this version reads and writes folders")
        return self


class People(Strict):
    """The pipeline that takes images with people out of a set."""

    results_root: str = Field("results/people", min_length=1, description="Where tables and manifests of all runs go.")
    defaults: PeopleDefaults = Field(default_factory=lambda: PeopleDefaults(), description="What every run uses unless it says otherwise.")
    runs: dict[Slug, PeopleRun] = Field(default_factory=dict, description="One entry a run, named by its run id.")

    @model_validator(mode="before")
    @classmethod
    def _inherit(cls, values: Any) -> Any:
        """Runs start from the defaults."""
        if isinstance(values, dict) and isinstance(values.get("runs"), dict) and isinstance(values.get("defaults", {}), dict):
            runs = {name: merge(values.get("defaults", {}), run) if isinstance(run, dict) else run for name, run in values["runs"].items()}
            values = values | {"runs": runs}
        return values

    @model_validator(mode="after")
    def _places(self) -> "People":
        """Give every run its places, and refuse those that lie within each other."""
        for name, run in self.runs.items():
            root = f"{self.results_root}/{name}/cleaned"
            fill = {"destination": run.destination or f"{root}/train", "manifests": run.manifests or f"{root}/manifests"}
            self.runs[name] = run.model_copy(update=fill)
        places = [
            (f"runs.{name}.{key}", getattr(run, key)) for name, run in self.runs.items() for key in ("source", "destination", "manifests")
        ]
        for at, (where, place) in enumerate(places):
            for other_where, other in places[at + 1 :]:
                if _overlap(place, other) and not (where.endswith(".source") and other_where.endswith(".source")):
                    raise ValueError(f"{where} ({place}) and {other_where} ({other}) lie within each other; give each a folder of its own")
            if where.endswith(".source") and _overlap(place, self.results_root) and _inside(self.results_root, place):
                raise ValueError(f"{where} ({place}) holds results_root ({self.results_root}); results would be listed as sources")
        return self


def merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """The overlay's values on the base's, group by group; a list replaces a list."""
    merged = dict(base)
    for key, value in overlay.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = merge(base[key], value) if both else value
    return merged


def _inside(path: str, folder: str) -> bool:
    path, folder = os.path.realpath(path), os.path.realpath(folder)
    return os.path.commonpath([path, folder]) == folder


def _overlap(one: str, other: str) -> bool:
    return _inside(one, other) or _inside(other, one)
