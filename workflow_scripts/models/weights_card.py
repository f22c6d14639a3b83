"""Make the card of a model that is one file: fetch it where a name was given, verify it, and write down what it is."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workflow_scripts.core.models import WeightsCard, file_sha256
from workflow_scripts.core.step import StepError, log, step
from workflow_scripts.lora.mask_model import kind as mask_kind

SEGMENTS = ("FastSAM-", "mobile_sam", "sam_", "sam2")  # what names of weights that segment begin with, beside those in -seg.pt


def fetch_pose(name: str, folder: Path) -> Path:
    """Fetch pose weights that Ultralytics publishes.

    Raises:
        StepError: there are none of this name.
    """
    return _fetch(name, folder, "pose weights", lambda each: each.endswith("-pose.pt"))


def fetch_segment(name: str, folder: Path) -> Path:
    """Fetch weights of a segmenter that Ultralytics publishes; those of SAM 3 nobody does.

    Raises:
        StepError: there are none of this name.
    """
    if name.startswith("sam3"):
        raise StepError(
            f"{name}: no such file, and it cannot be fetched: the makers of SAM 3 hand its weights out on request. Ask for sam3.pt at "
            "huggingface.co/facebook/sam3, put the file anywhere, and give its path as segmenter.weights and its sha256"
        )
    return _fetch(name, folder, "segmenters", lambda each: each.startswith(SEGMENTS) or each.endswith("-seg.pt"))


def _fetch(name: str, folder: Path, kind: str, fits: Callable[[str], bool]) -> Path:
    settings = folder / "settings"
    settings.mkdir(exist_ok=True)
    os.environ |= {"YOLO_CONFIG_DIR": str(settings), "YOLO_OFFLINE": "false"}
    from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES, attempt_download_asset

    if name not in GITHUB_ASSETS_NAMES:
        known = ", ".join(sorted(filter(fits, GITHUB_ASSETS_NAMES)))
        raise StepError(f"{name}: no such file, and Ultralytics publishes no weights of this name; {kind} are {known}")
    return Path(attempt_download_asset(folder / name))


def fetch_mask(name: str, folder: Path) -> Path:
    """Fetch weights that rembg knows by name; it checks them against its own checksum.

    Raises:
        StepError: there are none of this name that can be used here.
    """
    os.environ["U2NET_HOME"] = str(folder)
    from rembg.sessions import sessions

    return Path(sessions[mask_kind(name)].download_models())


FETCH: dict[str, Callable[[str, Path], Path]] = {"pose": fetch_pose, "mask": fetch_mask, "segment": fetch_segment}


def make_card(kind: str, name: str, sha256: str | None, folder: Path) -> WeightsCard:
    """The card of a model.

    Args:
        kind: `pose`, `mask` or `segment`.
        name: path of the file, or a name to fetch.
        sha256: that it should have.
        folder: where fetched files go.

    Raises:
        StepError: no such model, no network, or another content.
    """
    weights = Path(name)
    if not weights.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            weights = FETCH[kind](name, folder)
        except (OSError, RuntimeError, ValueError) as error:
            raise StepError(
                f"cannot fetch {name}: {error}\nWithout a network, copy the file here by hand and give its path and sha256."
            ) from error
    found = file_sha256(weights)
    if sha256 is None:
        log.info("to pin these weights, set sha256: %s", found)
    elif sha256 != found:
        raise StepError(
            f"{weights}: sha256 is {found}, the setting says {sha256}; use the right file, or paste the new sha256 if you mean it"
        )
    return WeightsCard(kind, name, str(weights), weights.stat().st_size, found)


if job := globals().get("snakemake"):
    with step(job.log[0], online=True):
        model: dict[str, Any] = job.params.model
        make_card(**model, folder=Path(job.params.folder) / model["kind"]).write(job.output[0])
