"""What the settings of every pipeline share: strictness, models, lists of excluded images."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SLUG = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,79}$"
Slug = Annotated[str, Field(pattern=SLUG)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """A settings group: unknown keys are errors, values are never coerced, instances do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)


class ClipModel(Strict):
    """A CLIP model: an open_clip architecture with its weights."""

    name: str = Field("ViT-B-32", min_length=1, description="open_clip architecture; OpenAI weights need the -quickgelu variant.")
    pretrained: str = Field(
        "laion2b_s34b_b79k",
        min_length=1,
        description="open_clip tag (fetched once), a weights file, or a folder with open_clip_config.json and weights.",
    )
    sha256: Sha256 | None = Field(None, description="sha256 of the weights file. Required for a local path; pins the download of a tag.")


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
