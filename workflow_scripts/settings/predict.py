"""Settings of the `predict` pipeline."""

from typing import Any, Literal

from pydantic import Field, model_validator

from workflow_scripts.settings.base import ClipModel, Strict

MEGABYTE = 1_000_000


class Ranker(Strict):
    """The network that scores the images of a group."""

    paths: list[str] = Field(
        ["resources/models/predict/ranker_v4.pt", "resources/models/predict/ranker_v3_w10.pt"],
        min_length=1,
        description="Checkpoints; the first that exists is used and recorded, with its sha256. Another content predicts anew.",
    )
    normalise: bool = Field(
        True, description="Whether it was trained on embeddings of length 1; false: on those that CLIP gives as they are."
    )


class CropProposer(Strict):
    """The network that proposes how to crop the selected image."""

    path: str = Field("resources/models/predict/crop_proposer.pt", min_length=1, description="Its checkpoint; recorded with its sha256.")
    normalise: bool = Field(True, description="As for the ranker.")
    dimension_scale: int | Literal["image"] = Field(
        10_000, description="What it was trained with: width and height are divided by 2048, by 10000, or by the longer side (image)."
    )
    min_side: float = Field(
        0.05, gt=0, le=1, description="Shorter sides of a crop, as a part of the image's width or height, are enlarged to this."
    )

    @model_validator(mode="after")
    def _sensible(self) -> "CropProposer":
        if isinstance(self.dimension_scale, int) and self.dimension_scale < 1:
            raise ValueError("dimension_scale must be at least 1, or image")
        return self


class Grouping(Strict):
    """Which images of a project compete with each other."""

    pattern: str = Field(
        "",
        description="Regular expression with a group named `group`, searched in file names: images with the same text there are a group. "
        "Empty: by the stages in the names. The table of projects may give a project its own.",
    )
    max_gap_minutes: float | None = Field(
        None, ge=0, description="The next stage must have been made within so many minutes, by the times in the names; null: no limit."
    )
    ungrouped: Literal["list", "singletons"] = Field(
        "list", description="Images in no group are listed with the reason, or are groups of one (for projects without stages in names)."
    )


class Archives(Strict):
    """What is refused in a zip, so that no archive can fill the memory."""

    max_member_mb: int = Field(200, ge=1, description="Largest member, in megabytes of content.")
    max_ratio: float = Field(100.0, ge=1, description="How many times a member may expand.")

    @property
    def limits(self) -> dict[str, Any]:
        """As `sources.open_source` takes them."""
        return {"max_member": self.max_member_mb * MEGABYTE, "max_ratio": self.max_ratio}


class Predict(Strict):
    """The pipeline that selects the best image of each group, and proposes a crop, for many zipped projects."""

    results_root: str = Field("results/predict", min_length=1, description="Where tables, databases and pages go.")
    projects: str | None = Field(
        None,
        min_length=1,
        description="TSV with a header: project_id, path (of a zip or a folder), and perhaps pattern, skip (yes) and user_database (that "
        "predict_merge fills); or a folder, of which every zip is a project.",
    )
    model: ClipModel = Field(
        default_factory=lambda: ClipModel(name="ViT-B-32-quickgelu", pretrained="openai"),
        description="The CLIP model that the ranker and the crop proposer were trained with.",
    )
    batch_size: int | Literal["auto"] = Field("auto", description="Images a forward pass; auto = 32 on a CPU, 256 on a GPU.")
    cache: bool = Field(True, description="Keep embeddings in cache_root, so that no content is embedded twice; false: not beyond a job.")
    ranker: Ranker = Field(default_factory=lambda: Ranker(), description="Scores the images of a group.")
    crop: CropProposer = Field(default_factory=lambda: CropProposer(), description="Proposes a crop of the selected image.")
    grouping: Grouping = Field(default_factory=lambda: Grouping(), description="Which images compete.")
    archives: Archives = Field(default_factory=lambda: Archives(), description="Limits for what a zip may hold.")
    imports: list[str] = Field(
        [], description="Folders with an older cache (processed_images.jsonl and .npy files) that predict_import takes over."
    )

    @model_validator(mode="after")
    def _sensible(self) -> "Predict":
        if isinstance(self.batch_size, int) and self.batch_size < 1:
            raise ValueError("batch_size must be at least 1, or auto")
        return self
