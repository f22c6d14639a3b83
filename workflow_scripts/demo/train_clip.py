"""Trains the demo's tiny CLIP on drawn scenes and writes it as open_clip reads its models from a folder.

It proves the workflow through the real model classes; it knows drawings and nothing of photographs.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workflow_scripts.core.models import file_sha256
from workflow_scripts.core.step import log, step
from workflow_scripts.demo.tiny_clip.examples import BLOCK, CAPTIONS, Examples, draw_examples
from workflow_scripts.demo.tiny_clip.metrics import measure
from workflow_scripts.demo.tiny_clip.objective import Objective

if TYPE_CHECKING:
    import torch

SIDE = 64
MARGIN = 4
BATCH_BLOCKS = 6
PEAK_RATE = 2e-3
# The token table is most of a small CLIP, so the text tower is narrow.
MODEL = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": SIDE, "layers": [1, 2, 2, 1], "width": 16},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
PREPROCESS = {
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
WEIGHTS = {
    "captions": 0.5,
    "people": 3.0,
    "looks": 0.6,
    "who": 0.4,
    "other": 0.4,
    "kind": 0.6,
    "colour": 0.8,
    "background": 0.5,
}


def batches(examples: Examples, steps: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the example numbers of each step's batch: whole blocks, so that every pair is together."""
    blocks = len(examples) // BLOCK
    order: list[int] = []
    for _ in range(steps):
        while len(order) < BATCH_BLOCKS:
            order += rng.permutation(blocks).tolist()
        chosen, order = order[:BATCH_BLOCKS], order[BATCH_BLOCKS:]
        yield np.concatenate([np.arange(block * BLOCK, (block + 1) * BLOCK) for block in chosen])


def augmented(pixels: np.ndarray, rng: np.random.Generator) -> "torch.Tensor":
    """Return a batch as normalised floats (b, 3, SIDE, SIDE): each image shifted, perhaps mirrored, lit differently."""
    import torch

    crops = np.empty((len(pixels), SIDE, SIDE, 3), dtype=np.uint8)
    offsets = rng.integers(0, MARGIN + 1, (len(pixels), 2))
    mirror = rng.random(len(pixels)) < 0.5
    for row, (y, x) in enumerate(offsets):
        crop = pixels[row, y : y + SIDE, x : x + SIDE]
        crops[row] = crop[:, ::-1] if mirror[row] else crop
    mean, std = (torch.tensor(PREPROCESS[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    light = torch.from_numpy(rng.uniform(0.88, 1.08, (len(pixels), 1, 1, 1)).astype(np.float32))
    images = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    return ((images * light).clamp(0, 1) - mean) / std


def fit(model: "torch.nn.Module", tokenizer: Any, examples: Examples, steps: int, seed: int) -> None:
    """Train a model in place for a fixed number of steps."""
    import torch

    objective = Objective(tokenizer)
    tokens = tokenizer([text for texts in examples.captions for text in texts]).view(len(examples), CAPTIONS, -1)
    labels = {name: torch.from_numpy(column) for name, column in examples.labels.items()}
    decay = [p for p in model.parameters() if p.ndim >= 2 and p.requires_grad]
    plain = [p for p in model.parameters() if p.ndim < 2 and p.requires_grad]
    groups = [{"params": decay, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, steps, pct_start=0.1, cycle_momentum=False)
    rng, said = np.random.default_rng(seed), time.monotonic()
    model.train()
    for number, rows in enumerate(batches(examples, steps, rng), start=1):
        chosen = tokens[torch.from_numpy(rows), torch.from_numpy(rng.integers(CAPTIONS, size=len(rows)))]
        same = (chosen[:, None] == chosen[None]).all(dim=2)
        images = augmented(examples.pixels[rows], rng).contiguous(memory_format=torch.channels_last)
        batch = {name: column[torch.from_numpy(rows)] for name, column in labels.items()}
        losses = objective(model, images, chosen, same, batch)
        total = torch.stack([WEIGHTS[name] * loss for name, loss in losses.items()]).sum()
        optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
        schedule.step()
        if time.monotonic() - said > 10 or number == steps:
            said = time.monotonic()
            parts = " ".join(f"{name} {float(loss.detach()):.3f}" for name, loss in losses.items())
            log.info("step %d of %d: %s", number, steps, parts)
    model.eval()


def write(model: "torch.nn.Module", out_dir: Path) -> None:
    """Write configuration and half-precision weights in open_clip's ``local-dir:`` form."""
    import torch
    from safetensors.torch import save_file

    out_dir.mkdir(parents=True, exist_ok=True)
    state = {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    weights = out_dir / "open_clip_model.safetensors"
    save_file({name: value.contiguous(memory_format=torch.contiguous_format) for name, value in state.items()}, weights)
    # safetensors leaves files that only their owner may read.
    weights.chmod(0o644)
    config = {"model_cfg": MODEL, "preprocess_cfg": PREPROCESS}
    (out_dir / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")


def train(out_dir: Path, *, seed: int, steps: int = 1500, blocks: int = 1000, threads: int = 2) -> dict[str, Any]:
    """Draw examples, train, write the model and measure what was written on drawings it has not seen.

    Args:
        out_dir: folder for ``open_clip_config.json``, ``open_clip_model.safetensors`` and ``metrics.json``.
        seed: of drawings, weights and batches.
        steps: batches of 120 images; 1,500 take about five minutes on two free cores.
        blocks: blocks of 20 training drawings.
        threads: processes that draw and threads that train; results agree only for the same number.

    Returns:
        The figures in ``metrics.json``.
    """
    examples = draw_examples(seed, "train", blocks, SIDE + MARGIN, workers=threads)
    held_out = draw_examples(seed, "held-out", 60, 256, sizes=((320, 256), (256, 256)), workers=threads)

    # Threads that spin at barriers lose a hundredfold when others use the cores; read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import open_clip
    import torch
    from open_clip.model import CLIP

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    # Determinism needs no cleared buffers here, and clearing them takes a fifth of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    model = CLIP(**MODEL).to(memory_format=torch.channels_last)
    # Scores are read at 100 x cosine, so that is the scale the model is trained at.
    model.logit_scale.data.fill_(float(np.log(100)))
    model.logit_scale.requires_grad_(False)
    tokenizer = open_clip.SimpleTokenizer(context_length=24)
    fit(model, tokenizer, examples, steps, seed)
    write(model, out_dir)
    source = f"local-dir:{out_dir}"
    loaded, _, preprocess = open_clip.create_model_and_transforms(source)
    loaded.eval()
    figures = measure(loaded, preprocess, open_clip.get_tokenizer(source), held_out)
    size = (out_dir / "open_clip_model.safetensors").stat().st_size
    report = {"held_out": figures, "train_images": len(examples), "steps": steps, "seed": seed, "threads": threads,
              "weights_bytes": size, "torch": torch.__version__, "open_clip": open_clip.__version__}  # fmt: skip
    (out_dir / "metrics.json").write_text(json.dumps(report, indent=2) + "\n")
    log.info("held-out figures: %s", figures)
    return report


if job := globals().get("snakemake"):
    with step(job.log[0]):
        folder = Path(job.output.metrics).parent
        train(folder, seed=job.params.seed, threads=job.threads)
        weights = file_sha256(job.output.weights)
        log.info("to use it: copy the files of %s over resources/demo/clip, and set sha256: %s in config/demo.yaml", folder, weights)
