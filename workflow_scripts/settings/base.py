"""What the settings of every pipeline share: strictness, models, lists of excluded images."""

import os
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

SLUG = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,79}$"
Slug = Annotated[str, Field(pattern=SLUG)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """A settings group: unknown keys are errors, values are never coerced, instances do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)


def inherit(values: Any, entries: str) -> Any:
    """Give every entry of a pipeline's named collection (`runs`, `datasets`) the pipeline's defaults, under what it says itself."""
    if not isinstance(values, dict) or not isinstance(values.get(entries), dict) or not isinstance(values.get("defaults", {}), dict):
        return values
    defaults = values.get("defaults", {})
    return values | {entries: {name: merge(defaults, own) if isinstance(own, dict) else own for name, own in values[entries].items()}}


def merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """The overlay's values on the base's, group by group; a list replaces a list."""
    merged = dict(base)
    for key, value in overlay.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = merge(base[key], value) if both else value
    return merged


def lies_within(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies below it, links followed."""
    path, folder = os.path.realpath(path), os.path.realpath(folder)
    return os.path.commonpath([path, folder]) == folder


class ClipModel(Strict):
    """A CLIP model: an open_clip architecture with its weights."""

    name: str = Field("ViT-B-32", min_length=1, description="open_clip architecture; OpenAI weights need the -quickgelu variant.")
    pretrained: str = Field(
        "laion2b_s34b_b79k",
        min_length=1,
        description="open_clip tag (fetched once), a weights file, or a folder with open_clip_config.json and weights.",
    )
    sha256: Sha256 | None = Field(None, description="sha256 of the weights file. Required for a local path; pins the download of a tag.")


class Store(Strict):
    """How the buckets of a run are reached. Keys and secrets stand in no setting: they come from the standard AWS chain."""

    region: str | None = Field(None, description="Region of the buckets; default AWS_DEFAULT_REGION, else us-east-1.")
    endpoint_url: str | None = Field(
        None, description="For stores that speak S3 but are not Amazon's (MinIO, Ceph, Swift, R2): where they answer."
    )
    addressing: Literal["auto", "path", "virtual"] = Field(
        "auto", description="Where the bucket stands in addresses: path, virtual host, or what suits the endpoint."
    )

    @model_validator(mode="after")
    def _no_secrets(self) -> "Store":
        address = urlsplit(self.endpoint_url or "https://amazon")
        if address.username or address.password or address.query:
            raise ValueError("endpoint_url holds a key or a secret; take it out, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError("endpoint_url is no address; write https://host:port")
        return self


class Exclude(Strict):
    """One list of images to leave out, such as the `removed_all.csv` of a people run."""

    csv: str = Field(min_length=1, description="CSV file with a header.")
    by: Literal["sha256", "path"] = Field("sha256", description="Match by content (sha256) or by path (s3_key or path).")
    strip_prefix: str = Field("", description="With `by: path`: taken off the front of the paths in the list.")


class Images(Strict):
    """How image files are decoded; the same for every pipeline."""

    decode: Literal["full", "scaled"] = Field(
        "scaled",
        description="scaled: JPEGs are decoded at the smallest DCT scale that still covers the model's input (faster); full: always whole.",
    )
    max_pixels: int = Field(200_000_000, gt=0, description="Larger images become the error `decode: too large`.")
