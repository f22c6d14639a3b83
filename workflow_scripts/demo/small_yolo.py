"""Trains narrow YOLO models on drawings by Ultralytics' own trainer, and writes them as Ultralytics reads its models."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from workflow_scripts.core.step import atomic_output

if TYPE_CHECKING:
    from ultralytics.models import YOLO

# For a few thousand drawings on a CPU: whole pictures as they are, and nothing that differs from run to run.
RECIPE: Mapping[str, Any] = {
    "optimizer": "AdamW",
    "lr0": 3e-3,
    "lrf": 0.02,
    "cos_lr": True,
    "warmup_epochs": 1.0,
    "mosaic": 0.0,
    "erasing": 0.0,
    "cache": "ram",
    "workers": 0,
    "device": "cpu",
    "amp": False,
    "pretrained": False,
    "deterministic": True,
    "val": False,
    "plots": False,
    "verbose": False,
    "exist_ok": True,
}


def fit(data: Path, plan: str, width: float, recipe: Mapping[str, Any], *, seed: int, epochs: int, threads: int) -> "YOLO":
    """Train on a data set; everything that Ultralytics writes stays beside the set.

    Args:
        data: description of the set, as Ultralytics asks for it.
        plan: name of Ultralytics' plan, such as `yolov8-seg`; its n model with other channels is built.
        width: of the plan's channels; the n model has 0.25.
        recipe: the trainer's settings.
        seed: of weights and batches.
        epochs: how often each drawing is seen.
        threads: of the CPU; results agree only for the same number.
    """
    # Read when Ultralytics is imported.
    os.environ |= {"YOLO_CONFIG_DIR": str(data.parent), "ULTRALYTICS_SKIP_REQUIREMENTS_CHECKS": "1", "OMP_NUM_THREADS": str(threads)}
    import torch
    import ultralytics
    from ultralytics.models import YOLO

    torch.set_num_threads(threads)
    planned = yaml.safe_load((Path(ultralytics.__file__).parent / f"cfg/models/v8/{plan}.yaml").read_text(encoding="utf-8"))
    planned["scales"]["n"][1] = width
    narrow = data.with_name(plan.replace("-", "n-", 1) + ".yaml")
    narrow.write_text(yaml.safe_dump(planned), encoding="utf-8")
    model = YOLO(str(narrow))
    # The trainer leaves one core idle.
    model.add_callback("on_train_start", lambda _: torch.set_num_threads(threads))
    model.train(data=str(data), epochs=epochs, seed=seed, project=str(data.parent), name="run", **recipe)
    return YOLO(str(data.parent / "run/weights/last.pt"))


def save(model: "YOLO", path: Path, *, task: str, side: int, name: str) -> None:
    """Write a checkpoint in half precision that names no folder and no time; the same numbers give the same bytes.

    Args:
        model: trained.
        path: the file.
        task: of Ultralytics: `pose` or `segment`.
        side: pixels of the images that it was trained on.
        name: that stands in the file as its own, wherever it is written.
    """
    import torch
    import ultralytics

    network: Any = model.model
    network.half().eval().requires_grad_(False)
    network.args, network.yaml["yaml_file"], network.pt_path, network.criterion = {}, f"{task}.yaml", name, None
    about = {"version": ultralytics.__version__, "license": "AGPL-3.0", "train_args": {"task": task, "imgsz": side}}
    buffer = io.BytesIO()  # to a file torch.save would write that file's name too
    torch.save({"model": network, "epoch": -1, **about}, buffer)
    with atomic_output(path) as partial:
        partial.write_bytes(buffer.getvalue())
