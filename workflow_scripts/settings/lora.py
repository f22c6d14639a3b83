"""Settings of the `lora` pipeline."""

from typing import Any, Literal

from pydantic import Field, model_validator

from workflow_scripts.settings.base import ClipModel, Fraction, Sha256, Slug, Strict, inherit

BatchSize = int | Literal["auto"]


class Pose(Strict):
    """How people and their poses are found, and how frames are sorted by them."""

    weights: str = Field(
        "yolov8l-pose.pt", min_length=1, description="Ultralytics pose weights with 17 COCO keypoints; without a / looked for in base_dir."
    )
    sha256: Sha256 | None = Field(None, description="sha256 of the weights file; required, so that a replaced file is noticed.")
    box_conf: float = Field(
        0.25, ge=0.05, le=1, description="A person counts from this confidence of the box on; all from 0.05 on are kept."
    )
    conf_threshold: Fraction = Field(0.5, description="A keypoint counts when its confidence is above this.")
    max_people: int | None = Field(
        None, ge=1, description="Frames with more people are rejected; null: no limit, the largest person counts."
    )
    batch_size: BatchSize = Field("auto", description="Frames a forward pass; auto = 1 on a CPU, 32 on a GPU.")


class Mask(Strict):
    """How the subject is cut out."""

    model: str = Field(
        "isnet-general-use",
        min_length=1,
        description="rembg model (u2net, isnet-general-use, birefnet-portrait, …), or the path of an ONNX file.",
    )
    sha256: Sha256 | None = Field(None, description="sha256 of the ONNX file. Required for a path; pins the download of a name.")
    alpha_matting: bool = Field(False, description="Refine the edge of the mask by closed-form matting: finer hair, many times slower.")


class Weights(Strict):
    """The parts of the final score."""

    pose: float = Field(0.60, ge=0, description="Mean confidence of the category's keypoints.")
    sharpness: float = Field(0.30, ge=0, description="Sharpness, as its percentile within the category.")
    brightness: float = Field(0.10, ge=0, description="How near the subject's mean brightness is to the middle.")

    @model_validator(mode="after")
    def _some(self) -> "Weights":
        if self.pose + self.sharpness + self.brightness <= 0:
            raise ValueError("the weights pose, sharpness and brightness are all 0; one of them has to be above")
        return self


class Score(Strict):
    """Which cut-out subjects are good enough, and which are the best."""

    min_sharpness: float = Field(50.0, ge=0, description="Variance of the Laplacian below which a subject is too blurry; see page 04d.")
    max_contours: int = Field(3, ge=1, description="More separate parts of a mask are too many objects.")
    min_contour_area: Fraction = Field(0.005, description="Parts smaller than this part of the frame do not count.")
    min_solidity: Fraction | None = Field(None, description="Area of the largest part over that of its convex hull; null: no limit.")
    min_area_fraction: Fraction = Field(0.01, description="The mask's part of the frame, at least.")
    weights: Weights = Field(default_factory=lambda: Weights(), description="The parts of the final score.")
    top_n: int = Field(100, ge=1, description="The best so many of each category are taken.")
    duplicate_distance: int = Field(
        3, ge=0, le=64, description="Two subjects whose perceptual hashes differ in fewer bits are near copies."
    )
    duplicate_distance_video: int = Field(10, ge=0, le=64, description="The same for two of one video.")
    per_video: int | Literal["auto"] | None = Field(
        6, description="At most so many of one video and category, spread over time (not for face_and_hair); auto = 2 x top_n / videos."
    )

    @model_validator(mode="after")
    def _sensible(self) -> "Score":
        if isinstance(self.per_video, int) and self.per_video < 1:
            raise ValueError("per_video must be at least 1, auto or null")
        return self


class Composite(Strict):
    """How subjects are laid over other backgrounds."""

    blur_radius: float = Field(
        3.0, ge=0, description="Gaussian blur of the background, in pixels at a longer side of 1024; grows with the size."
    )
    seed: int = Field(0, description="Another seed chooses other backgrounds and crops.")
    decontaminate: bool = Field(
        True, description="Estimate the subject's own colours at its edge, so that no fringe of the old background stays."
    )


class Caption(Strict):
    """Who writes the captions, and how."""

    backend: Literal["vertex", "openai", "clip"] = Field(
        "clip",
        description="vertex: Gemini on Vertex AI (GOOGLE_APPLICATION_CREDENTIALS); openai: any endpoint of that kind (OPENAI_API_KEY); "
        "clip: phrases chosen by CLIP, off-line.",
    )
    model: str | None = Field(None, min_length=1, description="Name of the model, for vertex and openai; there is no default.")
    project: str | None = Field(None, min_length=1, description="Google Cloud project, for vertex.")
    location: str = Field("us-central1", min_length=1, description="Google Cloud location, for vertex.")
    base_url: str | None = Field(
        None, min_length=1, description="Where the endpoint answers, for openai (vLLM, Ollama, ...); default OpenAI's own."
    )
    clip_model: ClipModel = Field(default_factory=lambda: ClipModel(), description="The CLIP model, for clip.")
    trigger_words: str = Field("", description="Put in front of each caption, as written.")
    prompt: str = Field(
        "resources/lora/prompt.txt", min_length=1, description="File with the prompt, a jinja2 template; {{ category }} is filled in."
    )
    phrases: str = Field(
        "resources/lora/phrases.yaml", min_length=1, description="File with the phrases among which the back end clip chooses."
    )
    banned_words: list[str] = Field(
        ["background", "tattoo", "tattoos", "watermark", "text", "logo", "photo", "image", "picture"],
        description="Whole words that no caption may hold; such captions are shown on page 06b and kept out of the export.",
    )
    max_words: int = Field(60, ge=1, description="Longer captions are kept out likewise.")
    caption_on: Literal["subject", "composite"] = Field(
        "subject",
        description="What the model sees and a caption is kept by: the subject on grey, or the composite (paid again when that changes).",
    )
    concurrency: int = Field(4, ge=1, description="Requests at a time.")
    requests_per_minute: float = Field(60, gt=0, description="Requests begun a minute, at most.")
    timeout: float = Field(60, gt=0, description="Seconds to wait for an answer.")
    attempts: int = Field(6, ge=1, description="How often a request is tried after 429, 5xx, a cut connection or no answer.")
    price_in: float = Field(0, ge=0, description="Price of a million tokens sent, for the counted cost.")
    price_out: float = Field(0, ge=0, description="Price of a million tokens received, for the counted cost.")


class Export(Strict):
    """In which forms the set is handed over."""

    formats: list[Literal["kohya", "imagefolder"]] = Field(
        ["kohya", "imagefolder"],
        min_length=1,
        description="kohya: {repeats}_{trigger} folders of pairs; imagefolder: Hugging Face, metadata.jsonl.",
    )
    repeats: int = Field(10, ge=1, description="How often the trainer shows an image in an epoch (kohya).")
    concept: str | None = Field(
        None, min_length=1, description="What stands behind the repeats in the folder's name; null: the trigger words, else the workspace."
    )
    resolution: int = Field(1024, ge=64, multiple_of=64, description="Of the training, for the preview of the buckets.")


class Slice(Strict):
    """A vertical slice: a little of everything, through all steps."""

    videos: int | None = Field(None, ge=1, description="The first so many videos by name; null: all.")
    frames: int | None = Field(None, ge=1, description="Of each of them so many frames, from its start; null: all.")


class LoraDefaults(Strict):
    """Settings that every workspace has and may override."""

    fps: float = Field(1.0, gt=0, le=240, description="Frames taken a second of video.")
    pose: Pose = Field(default_factory=lambda: Pose(), description="Finding and sorting people.")
    mask: Mask = Field(default_factory=lambda: Mask(), description="Cutting the subject out.")
    score: Score = Field(default_factory=lambda: Score(), description="Choosing the best.")
    composite: Composite = Field(default_factory=lambda: Composite(), description="New backgrounds.")
    caption: Caption = Field(default_factory=lambda: Caption(), description="Texts.")
    export: Export = Field(default_factory=lambda: Export(), description="Forms of the finished set.")
    slice: Slice = Field(default_factory=lambda: Slice(), description="Take only a part, to see all steps soon.")


class LoraWorkspace(LoraDefaults):
    """One workspace: a folder with videos that becomes a training set."""

    base_dir: str = Field(min_length=1, description="Folder of the workspace.")
    source_videos: str | None = Field(
        None,
        min_length=1,
        description="Folder with the videos, and with folders of frames ({video}/frame_*.jpg); null: {base_dir}/source_videos.",
    )
    backgrounds: str | None = Field(
        None, min_length=1, description="Folder with images to put behind the subjects; null: {base_dir}/00_background_library."
    )


class Lora(Strict):
    """The pipeline that makes a captioned training set of a person out of videos."""

    results_root: str = Field("results/lora", min_length=1, description="Where frames, masks, sets and pages go.")
    store_root: str = Field("store/lora", min_length=1, description="Where captions are kept, paid for once; no step ever removes one.")
    defaults: LoraDefaults = Field(
        default_factory=lambda: LoraDefaults(), description="What every workspace uses unless it says otherwise."
    )
    workspaces: dict[Slug, LoraWorkspace] = Field(
        default_factory=dict, description="One entry a workspace, such as a whole set and a slice of it."
    )

    @model_validator(mode="before")
    @classmethod
    def _inherit(cls, values: Any) -> Any:
        """Workspaces start from the defaults."""
        return inherit(values, "workspaces")
