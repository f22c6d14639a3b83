"""Settings of the `people` pipeline."""

import math
import os
from typing import Any, Literal

from pydantic import Field, model_validator

from workflow_scripts.core.storage import SCHEME, is_bucket, parse_location
from workflow_scripts.settings.base import ClipModel, Exclude, Fraction, Slug, Store, Strict, inherit, lies_within

DEFAULT_REGION = "us-east-1"
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


class Presigned(Strict):
    """Links in the published manifests by which anybody can open an image of a bucket for a time."""

    enabled: bool = Field(False, description="Put a presigned link beside every removed and kept image, in the published copy alone.")
    expires_seconds: int = Field(604_800, ge=1, le=604_800, description="How long a link lives; a week is the longest that S3 allows.")


class PeopleDefaults(Store):
    """What every run uses unless it says otherwise."""

    snapshot: str = Field("", description="Any text; changing it lists a bucket anew. Folders are looked through at every start.")
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
    presigned: Presigned = Field(default_factory=lambda: Presigned(), description="Presigned links in the published manifests.")
    labels: str | None = Field(
        None,
        min_length=1,
        description="CSV with what a person saw (key or sha256; label 1 or 0); the report then shows precision and recall.",
    )
    label_images: int = Field(400, ge=1, description="How many images the labelling page shows: a sample in the order of `sample_seed`.")
    wished_recall: Fraction = Field(0.99, description="With labels: the report names the threshold that reaches this recall.")
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

    source: str = Field(min_length=1, description="Folder or `s3://bucket/prefix/` with the images. It is only ever read.")
    destination: str | None = Field(
        None,
        description="Folder or `s3://bucket/prefix/` for the cleaned copy; default cleaned/train/ in the source's bucket, or "
        "{results_root}/{run}/cleaned/train.",
    )
    manifests: str | None = Field(
        None,
        description="Likewise for the published manifests; default cleaned/manifests/ in the source's bucket, or "
        "{results_root}/{run}/cleaned/manifests.",
    )
    shards: list[int] | None = Field(
        None, min_length=1, description="With people_shard: the shards (from 0) that this machine works on, where machines share no disk."
    )
    published_listing: bool = Field(
        False, description="With people_shard: take the listing that people_listing published, so that all machines see the same objects."
    )

    @model_validator(mode="after")
    def _fits(self) -> "PeopleRun":
        for name in ("source", "destination", "manifests"):
            place = getattr(self, name) or ""
            if is_bucket(place):
                try:
                    parse_location(place)
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from None
            elif "://" in place:
                raise ValueError(f"{name}: {place} is neither a folder nor s3://bucket/prefix/")
        wrong = [number for number in self.shards or () if not 0 <= number < self.shard_count]
        if wrong or len(set(self.shards or ())) < len(self.shards or ()):
            raise ValueError(f"shards: {self.shards} must be different numbers from 0 to {self.shard_count - 1} (shard_count - 1)")
        if (self.shards or self.published_listing) and not is_bucket(self.manifests or self.source):
            raise ValueError("shards and published_listing are for machines without a shared disk: manifests must be in a bucket")
        return self

    @property
    def uses_bucket(self) -> bool:
        """Whether any of its places is in a bucket."""
        return any(is_bucket(place or "") for place in (self.source, self.destination, self.manifests))


class People(Strict):
    """The pipeline that takes images with people out of a set."""

    results_root: str = Field("results/people", min_length=1, description="Where tables and manifests of all runs go.")
    defaults: PeopleDefaults = Field(default_factory=lambda: PeopleDefaults(), description="What every run uses unless it says otherwise.")
    runs: dict[Slug, PeopleRun] = Field(default_factory=dict, description="One entry a run, named by its run id.")

    @model_validator(mode="before")
    @classmethod
    def _inherit(cls, values: Any) -> Any:
        """Runs start from the defaults."""
        return inherit(values, "runs")

    @model_validator(mode="after")
    def _places(self) -> "People":
        """Give every run its places, and refuse those that lie within each other."""
        for name, run in self.runs.items():
            root = f"{self.results_root}/{name}/cleaned"
            if is_bucket(run.source):
                root = f"{SCHEME}{parse_location(run.source)[0]}/cleaned"
            fill = {"destination": run.destination or f"{root}/train", "manifests": run.manifests or f"{root}/manifests"}
            if run.uses_bucket:
                fill["region"] = run.region or os.environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION
            self.runs[name] = run.model_copy(update=fill)
        places = [
            (f"runs.{name}.{key}", run, getattr(run, key))
            for name, run in self.runs.items()
            for key in ("source", "destination", "manifests")
        ]
        for at, (where, run, place) in enumerate(places):
            for other_where, other_run, other in places[at + 1 :]:
                both_read = where.endswith(".source") and other_where.endswith(".source")
                if not both_read and overlap((place, run.endpoint_url), (other, other_run.endpoint_url)):
                    raise ValueError(f"{where} ({place}) and {other_where} ({other}) lie within each other; give each a place of its own")
            if where.endswith(".source") and not is_bucket(place) and lies_within(self.results_root, place):
                raise ValueError(f"{where} ({place}) holds results_root ({self.results_root}); results would be listed as sources")
        return self


def overlap(one: tuple[str, str | None], other: tuple[str, str | None]) -> bool:
    """Whether two places, each with the endpoint of its store, are the same or one lies in the other."""
    (place, endpoint), (other_place, other_endpoint) = one, other
    if is_bucket(place) != is_bucket(other_place):
        return False
    if not is_bucket(place):
        return lies_within(place, other_place) or lies_within(other_place, place)
    (bucket, prefix), (other_bucket, other_prefix) = parse_location(place), parse_location(other_place)
    same_bucket = (bucket, (endpoint or "").rstrip("/")) == (other_bucket, (other_endpoint or "").rstrip("/"))
    return same_bucket and (prefix.startswith(other_prefix) or other_prefix.startswith(prefix))
