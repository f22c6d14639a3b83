"""Weights for the tests of segmenters: the real architectures in their full size, with random numbers, as the library's files hold them.

All tensors of a file are views of one block of numbers, so that even SAM 3 takes 200 MB and a few seconds.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from workflow_scripts.autotag.segmenters import load
from workflow_scripts.autotag.segmenters.base import Segmenter
from workflow_scripts.autotag.segmenters.library import replaced, set_up, undrawn
from workflow_scripts.autotag.segmenters.sam3 import _clip
from workflow_scripts.core.models import WeightsCard

NAMES = ("tree", "house", "dog")


def drawing(number: int, size: tuple[int, int] = (200, 120)) -> Image.Image:
    """Noise in large squares, the same for the same number."""
    noise = np.random.default_rng(number).integers(0, 255, (-(-size[1] // 8), -(-size[0] // 8), 3), np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.NEAREST)


def card(path: Path, sha256: str | None = None) -> WeightsCard:
    """The card of a file."""
    found = sha256 or hashlib.sha256(path.read_bytes()).hexdigest()
    return WeightsCard("segment", path.name, str(path), path.stat().st_size, found)


def load_it(path: Path, backend: str, *, imgsz: int, conf: float = 0.25, batch: int | str = "auto") -> Segmenter:
    """A segmenter on the CPU."""
    segment = {"backend": backend, "imgsz": imgsz, "conf": conf, "max_segments": 64, "min_area": 1, "min_crop": 1, "prompts": "everything"}
    return load(card(path), segment, {"device": "cpu", "threads": 1, "batch_images": batch})


def yolo(path: Path, names: tuple[str, ...] = NAMES, family: str = "yolov8n-seg.yaml", *, one_head: bool = False) -> Path:
    """A narrow YOLO as Ultralytics saves it, whose boxes are sure about some places.

    Those of the family YOLO26 have two heads, one of which removes overlaps by itself; with `one_head` that one alone.
    """
    set_up()
    import torch
    from ultralytics.nn.tasks import SegmentationModel, yaml_model_load

    torch.manual_seed(0)
    plan = yaml_model_load(family) | {"scale": "n", "nc": len(names)}
    plan["scales"] = {"n": [0.33, 0.0625, 256]}
    net = SegmentationModel(plan, verbose=False)
    net.names = dict(enumerate(names))
    # With statistics of pictures in its normalisations, what comes out depends on what goes in.
    for part in net.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None
    with torch.no_grad():
        pictures = np.stack([np.asarray(drawing(number, (160, 160))) for number in range(8)])
        net.train()(torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255)
    net.eval()
    head = net.model[-1]
    for scores in head.one2one_cv3 if one_head else head.cv3:
        scores[-1].weight.data.mul_(3)
        scores[-1].bias.data.fill_(-3.0)
    head.end2end = "26" in family
    if one_head:
        head.fuse()
    net.args = {"imgsz": 160, "task": "segment"}
    torch.save({"model": net, "train_args": {"imgsz": 160, "task": "segment"}, "version": "8.4.0", "date": ""}, path)
    return path


def sam(path: Path, ending: str) -> Path:
    """SAM, MobileSAM or SAM 2, sure of nearly all its masks."""
    set_up()
    from ultralytics.models.sam import build

    with undrawn(), replaced(build, "_load_checkpoint", lambda network, _: network):
        network = build.build_sam(ending)  # type: ignore[no-untyped-call]
    sure = 4.0 if "sam2" in ending else 0.95  # SAM 2 squeezes it between 0 and 1
    changes = {"iou_prediction_head.layers.2.bias": (0.01, sure), "output_upscaling.3.": (100.0, 0.0)}
    torch_save(_state(network, changes), path)
    return path


def sam3(path: Path) -> Path:
    """SAM 3, in the form that its makers hand out."""
    set_up()
    import open_clip.tokenizer
    from ultralytics.models.sam import build_sam3

    with undrawn(), _clip(open_clip.tokenizer), replaced(build_sam3, "_load_checkpoint", lambda network, _: network):
        network = build_sam3.build_sam3_image_model("")
    state = _state(network, {"reference_points.weight": (2.0, 0.0), "mask_embed.layers.2.weight": (5.0, 0.0)})
    state["segmentation_head.instance_seg_head.weight"] -= state["segmentation_head.instance_seg_head.weight"].mean(1, keepdim=True)
    torch_save({"model": {f"detector.{name}": value for name, value in state.items()}}, path)
    return path


def torch_save(value: Any, path: Path) -> None:
    """Write a checkpoint."""
    import torch

    torch.save(value, path)


def _state(network: Any, changes: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    """Random values for all tensors of a network; `changes` multiplies those whose names hold a text, and adds to them."""
    import torch

    norms = tuple(name for name, part in network.named_modules() if "Norm" in type(part).__name__)
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    block = torch.randn(max(shape.numel() for shape in shapes.values()), generator=torch.Generator().manual_seed(0)) * 0.03
    state = {}
    for name, shape in shapes.items():
        values = block[: shape.numel()].view(shape)
        if name.rpartition(".")[0] in norms:
            values = torch.ones(shape) if name.endswith(("weight", "running_var")) else torch.zeros(shape)
        elif shape.numel() < 100_000 and len(shape) > 1:
            values = values / 0.03 * (shape.numel() / shape[0]) ** -0.5
        for part, (factor, more) in changes.items():
            if part in name:
                values = values * factor + more
        state[name] = values
    return state
