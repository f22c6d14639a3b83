"""Segmenters: Ultralytics' models behind one small interface."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.autotag.segmenters.base import Segmenter
from workflow_scripts.autotag.segmenters.library import Setup, precision
from workflow_scripts.core.clip import resolve_device
from workflow_scripts.core.embeddings import digest
from workflow_scripts.core.images import DECODE_VERSION
from workflow_scripts.core.models import WeightsCard

ALGORITHM = 1  # bumped by hand when what is found changes


def fingerprint(sha256: str, segment: Mapping[str, Any], device: str) -> str:
    """What `load` would give as the segmenter's fingerprint.

    Args:
        sha256: of the weights.
        segment: `backend`, `imgsz`, `conf`; what is made of the findings does not count.
        device: `auto`, `cpu` or `cuda`, of which the precision follows.
    """
    parts = {name: segment[name] for name in ("backend", "conf", "imgsz")} | {"algorithm": ALGORITHM, "decode": DECODE_VERSION}
    return digest(parts | {"precision": precision(resolve_device(device)[0]), "weights": sha256})


def load(card: WeightsCard, segment: Mapping[str, Any], machine: Mapping[str, Any]) -> Segmenter:
    """Load a segmenter.

    Args:
        card: of its weights.
        segment: `backend` (fastsam, mobile_sam, sam, sam2, sam3), `imgsz` (rounded up to the stride of the model) and `conf`.
        machine: `device` (auto, cpu, cuda), `threads` of the CPU and, if wanted, `batch_images` (a number, or auto).

    Raises:
        StepError: the file is missing, another one or no such model; or there is no such device.
    """
    card.verify()
    setup = Setup(
        backend=segment["backend"],
        weights=Path(card.weights),
        device=resolve_device(machine["device"])[0],
        threads=machine["threads"],
        imgsz=segment["imgsz"],
        conf=segment["conf"],
        batch=machine.get("batch_images", "auto"),
        fingerprint=fingerprint(card.sha256, segment, machine["device"]),
    )
    if setup.backend == "fastsam":
        from workflow_scripts.autotag.segmenters.fastsam import FastSam

        return FastSam(setup)
    if setup.backend == "sam3":
        from workflow_scripts.autotag.segmenters.sam3 import Sam3

        return Sam3(setup)
    from workflow_scripts.autotag.segmenters.sam import Sam

    return Sam(setup)
