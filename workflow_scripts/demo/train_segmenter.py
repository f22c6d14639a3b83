"""Trains the demo's small segmenter on drawn people and writes it as ONNX, as rembg's `u2net_custom` session takes it.

It proves the workflow through the real session; it knows drawings and nothing of photographs.
"""

import warnings
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from workflow_scripts.core.step import atomic_output, log, progress
from workflow_scripts.demo.lora_examples import Example, draw_examples
from workflow_scripts.demo.lora_measures import measure_masks

if TYPE_CHECKING:
    import torch

SIDE = 320  # of the squares that rembg's session makes of every picture
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # as the session normalises them
OPSET = 17
BATCH = 8
PEAK_RATE = 4e-3
PATCH = 4  # pixels
CHANNELS = (16, 32, 64, 96)  # at a fourth of the size, and each time at half of the one before

Pixels = npt.NDArray[np.uint8]


def squares(examples: Iterable[Example]) -> tuple[Pixels, Pixels]:
    """Pictures [n, SIDE, SIDE, 3] and masks [n, SIDE, SIDE], squeezed to squares as rembg's session does it."""
    pictures, masks = [], []
    for example in examples:
        pictures.append(np.asarray(example.image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)))
        masks.append(np.asarray(example.mask.resize((SIDE, SIDE), Image.Resampling.BILINEAR)))
    return np.stack(pictures), np.stack(masks)


def make_network() -> "torch.nn.Module":
    """A small U-Net: normalised pictures [n, 3, SIDE, SIDE] to the probability of a person [n, 1, SIDE, SIDE]."""
    import torch
    from torch import nn

    def block(ins: int, outs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
        convolution = nn.Conv2d(ins, outs, kernel, stride, kernel // 2 if kernel % 2 else 0, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(outs), nn.ReLU(inplace=True))

    class Segmenter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            # Layers of the picture's own size cost most and tell least: it begins with patches, and ends in them.
            first = block(3, CHANNELS[0], PATCH, PATCH)
            entries = [first, *(block(ins, outs, 2) for ins, outs in pairwise(CHANNELS))]
            self.down = nn.ModuleList(nn.Sequential(entry, block(outs, outs)) for entry, outs in zip(entries, CHANNELS, strict=True))
            self.up = nn.ModuleList(block(below + beside, beside) for beside, below in pairwise(CHANNELS))
            self.head = nn.Conv2d(CHANNELS[0], PATCH * PATCH, 3, padding=1)

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            kept, found = [], pictures
            for part in self.down:
                found = part(found)
                kept.append(found)
            for part, beside in zip(reversed(self.up), reversed(kept[:-1]), strict=True):
                found = part(torch.cat([nn.functional.interpolate(found, scale_factor=2.0, mode="nearest"), beside], dim=1))
            return torch.sigmoid(nn.functional.pixel_shuffle(self.head(found), PATCH))

    return Segmenter()


def batches(count: int, epochs: int, rng: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
    """The numbers of each step's examples: all of them in a new order, as often as there are epochs."""
    for _ in range(epochs):
        order = rng.permutation(count)
        yield from (order[start : start + BATCH] for start in range(0, count - BATCH + 1, BATCH))


def fit(pictures: Pixels, masks: Pixels, *, seed: int, epochs: int) -> "torch.nn.Module":
    """Train a network on squares with their masks, mirrored at random and lit differently."""
    import torch

    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    network = make_network().to(memory_format=torch.channels_last)
    steps, rng = epochs * (len(pictures) // BATCH), np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(network.parameters(), PEAK_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, steps, pct_start=0.15, cycle_momentum=False)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    for rows in progress(batches(len(pictures), epochs, rng), total=steps, unit="steps"):
        ahead = slice(None, None, -1 if rng.random() < 0.5 else 1)
        light = torch.from_numpy(rng.uniform(0.8, 1.1, (len(rows), 1, 1, 1)).astype(np.float32))
        images = torch.from_numpy(pictures[rows][:, :, ahead].copy()).permute(0, 3, 1, 2) / 255.0
        wanted = torch.from_numpy(masks[rows][:, :, ahead].copy())[:, None] / 255.0
        found = network((((images * light).clamp(0, 1) - mean) / std).contiguous(memory_format=torch.channels_last))
        overlap = 1 - (2 * (found * wanted).sum((1, 2, 3)) + 1) / (found.sum((1, 2, 3)) + wanted.sum((1, 2, 3)) + 1)
        loss = torch.nn.functional.binary_cross_entropy(found, wanted) + 0.5 * overlap.mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def save(network: "torch.nn.Module", path: Path) -> None:
    """Write a network as ONNX for batches of any size; the same numbers give the same bytes."""
    import torch

    with atomic_output(path) as partial, warnings.catch_warnings():
        # The newer exporter writes the folders of this machine into the file, and needs one more library.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network.to(memory_format=torch.contiguous_format),
            (torch.zeros(1, 3, SIDE, SIDE),),
            str(partial),
            input_names=["input"],
            output_names=["mask"],
            dynamic_axes={"input": {0: "batch"}, "mask": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )


def train(weights: Path, *, seed: int, examples: int = 1600, held_out: int = 300, epochs: int = 12, threads: int = 2) -> dict[str, Any]:
    """Draw people, train, write the ONNX file and measure what was written on drawings it has not seen.

    Args:
        weights: the file to write.
        seed: of drawings, weights and batches.
        examples: drawings to train on.
        held_out: drawings to measure on.
        epochs: how often each is seen.
        threads: processes that draw and threads that compute; results agree only for the same number.

    Returns:
        What stands in `metrics.json`.
    """
    pictures, masks = squares(draw_examples(seed, "train", examples, threads))
    unseen = list(draw_examples(seed, "held-out", held_out, threads))
    import torch

    torch.set_num_threads(threads)
    save(fit(pictures, masks, seed=seed, epochs=epochs), weights)
    figures = measure_masks(weights, unseen, threads)
    log.info("held-out figures: %s", figures)
    facts = {"held_out_drawings": held_out, "train_drawings": examples, "epochs": epochs, "seed": seed, "threads": threads}
    return {"held_out": figures, **facts, "bytes": weights.stat().st_size, "opset": OPSET, "torch": torch.__version__}
