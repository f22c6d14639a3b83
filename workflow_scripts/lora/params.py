"""What the rules of `lora` give their steps, from the settings and the folder of a workspace."""

from functools import cache
from pathlib import Path
from typing import Any

from workflow_scripts.core.step import StepError
from workflow_scripts.lora.videos import Video, find, fingerprint
from workflow_scripts.settings.lora import LoraWorkspace
from workflow_scripts.settings.params import tracked

NEEDED = {"vertex": ("model", "project"), "openai": ("model",), "clip": ()}  # settings without a default, by back end
PAGES = (
    "01b_validation_report",
    "02b_reject_qa_report",
    "03b_mask_qa_report",
    "04c_filter_qa_report",
    "04d_sharpness_spectrum_report",
    "05b_background_qa_report",
    "06b_caption_qa_report",
)


@cache
def videos(source: str, number: int | None) -> dict[str, Video]:
    """The videos of a workspace by the names of their files; the folder is looked at once.

    Raises:
        StepError: there are none.
    """
    return find(source, videos=number)


def source(workspace: LoraWorkspace) -> str:
    """The folder with the videos."""
    return workspace.source_videos or str(Path(workspace.base_dir, "source_videos"))


def library(workspace: LoraWorkspace) -> str:
    """The folder with the backgrounds."""
    return workspace.backgrounds or str(Path(workspace.base_dir, "00_background_library"))


def video(chosen: Video, watched: bool) -> dict[str, Any]:
    """What the frames of a video depend on, beside the rate.

    Args:
        chosen: the video, or folder of frames.
        watched: whether another content of the file takes the frames anew.
    """
    return {
        "fingerprint": fingerprint(chosen) if watched else None,
        "kind": chosen.kind,
        "path": chosen.path,
        "source": chosen.source,
        "video_id": chosen.video_id,
    }


def pose_model(workspace: LoraWorkspace) -> dict[str, Any]:
    """The pose weights: a path, a file of base_dir, or a name to fetch."""
    own = Path(workspace.base_dir, workspace.pose.weights)
    return {"kind": "pose", "name": str(own) if own.is_file() else workspace.pose.weights, "sha256": workspace.pose.sha256}


def mask_model(workspace: LoraWorkspace) -> dict[str, Any]:
    """The mask weights: a path, or a name that rembg knows."""
    return {"kind": "mask", "name": workspace.mask.model, "sha256": workspace.mask.sha256}


def caption(where: str, workspace: LoraWorkspace) -> dict[str, Any]:
    """What captions and their texts depend on; how fast they are asked for is not among it.

    Args:
        where: the workspace's settings, for the message.
        workspace: the settings.

    Raises:
        StepError: the back end lacks a setting that it cannot do without.
    """
    for name in NEEDED[workspace.caption.backend]:
        if not getattr(workspace.caption, name):
            raise StepError(f"{where}.caption.{name}: needed where backend is {workspace.caption.backend}")
    names = ("backend", "model", "project", "location", "base_url", "trigger_words", "banned_words", "max_words", "caption_on")
    return tracked(workspace.caption, *names)


def limits(workspace: LoraWorkspace) -> dict[str, Any]:
    """The limits that a person tries out on page 04c."""
    return tracked(workspace.score, "max_contours", "min_area_fraction", "min_sharpness", "min_solidity")


def words(workspace: LoraWorkspace, repository: str) -> str:
    """The file with the prompt, or with the phrases of clip; those that come with the workflow stand below its own folder."""
    own = Path(workspace.caption.phrases if workspace.caption.backend == "clip" else workspace.caption.prompt)
    return str(own if own.is_file() or own.is_absolute() else Path(repository, own))


def export(name: str, workspace: LoraWorkspace) -> dict[str, Any]:
    """What the forms of the set depend on."""
    concept = workspace.export.concept or workspace.caption.trigger_words.strip() or name
    return tracked(workspace.export, "formats", "repeats", "resolution", concept=concept)


def requests(workspace: LoraWorkspace) -> dict[str, Any]:
    """How captions are asked for."""
    return tracked(workspace.caption, "concurrency", "requests_per_minute", "timeout", "attempts", "price_in", "price_out")


def per_video(names: list[str]) -> list[str]:
    """What the steps make of each video."""
    steps = ("01_source_frames", "02_pose", "02_sorted_candidates", "03_masked_subjects", "04_metrics")
    return [f"{step}/{name}.parquet" for step in steps for name in names]


def results(names: list[str]) -> list[str]:
    """Everything that the target of a workspace makes: of every step, since Snakemake is silent on one that failed before a later one."""
    tables = [f"{step}/manifest.parquet" for step in ("04_top100_staging", "05_training_data", "06_caption", "07_export")]
    return per_video(names) + tables + list(PAGES)


def logs(names: list[str], folder: str) -> dict[str, list[str]]:
    """The logs of the long steps, by what they do."""
    each = {name: [f"{folder}/{step}/{video}.log" for video in names] for name, step in (("pose", "02_pose"), ("mask", "03_mask"))}
    return each | {"composite": [f"{folder}/05_composite.log"]}


def places(root: str) -> dict[str, str]:
    """Where to look at what a workspace came to."""
    pages = {"pages": f"{root}/*_report/index.html"}
    return pages | {"training set": f"{root}/07_export/kohya", "scores": f"{root}/04_top100_staging/scoring_results.json"}
