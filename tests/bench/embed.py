"""How fast images become vectors, against the bare parts and against what one would write by hand.

    python -m tests.bench.embed [--images 1000] [--keep FOLDER]

Draws JPEGs of 1024x768, writes a full-size ViT-B-32 with random weights (speed does not depend on them), and measures in one run:
bare decoding and bare forward passes on all cores, a plain DataLoader with open_clip, and the embedder of this workflow.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from workflow_scripts.core import clip
from workflow_scripts.core.embed import Embedder
from workflow_scripts.core.images import decode
from workflow_scripts.core.models import ModelCard
from workflow_scripts.core.prefetch import ahead
from workflow_scripts.core.preprocess import Preprocess
from workflow_scripts.core.step import ENVIRONMENT
from workflow_scripts.core.storage import FolderStorage
from workflow_scripts.demo.drawing import draw_scene, rng_for
from workflow_scripts.models.clip_card import make_card

SIZE = (1024, 768)
BATCH = 32
CORES = len(os.sched_getaffinity(0))


def write_images(folder: Path, count: int) -> None:
    """Photo-like JPEGs: drawn scenes with sensor noise, about 200 kB each, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    scenes = [np.asarray(draw_scene(rng_for(1, "bench", str(number)), SIZE).image, dtype=np.int16) for number in range(min(count, 40))]
    rng = np.random.default_rng(0)
    for number in range(count):
        noise = rng.normal(0, 6, (SIZE[1], SIZE[0], 1)).astype(np.int16)
        pixels = np.roll(scenes[number % len(scenes)], number * 7, axis=1) + noise
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:05d}.jpg", quality=88)


def write_checkpoint(path: Path) -> ModelCard:
    """A full-size ViT-B-32 with random weights, as a file."""
    import open_clip
    import torch

    torch.manual_seed(0)
    torch.save(open_clip.create_model("ViT-B-32").state_dict(), path)
    return make_card({"name": "ViT-B-32", "pretrained": str(path), "sha256": None}, path.parent)


def rate(work: Callable[[], object], count: int) -> float:
    """Items a second."""
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def bare_decode(files: list[Path], card: ModelCard, mode: str) -> float:
    """Read, decode and fit to the model's input with all cores, nothing else."""
    fit = Preprocess.for_model(card.preprocess_cfg, "center")
    min_side = fit.size if mode == "scaled" else None
    done = ahead(lambda path: fit(decode(path.read_bytes(), min_side=min_side).image), files, threads=CORES, depth=4 * CORES)
    return rate(lambda: [None for _ in done], len(files))


def bare_forward(card: ModelCard, precision: str, batches: int) -> float:
    """Forward passes over one batch in memory, nothing else."""
    import torch

    torch.set_num_threads(CORES)
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]
    model = clip.load_model(card).to(dtype)
    pixels = torch.randn(BATCH, 3, 224, 224, dtype=dtype)
    with torch.inference_mode():
        model.encode_image(pixels)
        return rate(lambda: [model.encode_image(pixels) for _ in range(batches)], batches * BATCH)


def by_hand(files: list[Path], card: ModelCard) -> float:
    """What one would write: a DataLoader with workers, open_clip's transform, fp32 batches."""
    import open_clip
    import torch

    model, _, transform = open_clip.create_model_and_transforms("ViT-B-32", pretrained=card.weights)
    model.eval()

    class Files(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, index: int) -> torch.Tensor:
            with Image.open(files[index]) as image:
                return transform(image.convert("RGB"))

    loader = torch.utils.data.DataLoader(Files(), batch_size=BATCH, num_workers=CORES)
    with torch.inference_mode():
        return rate(lambda: [model.encode_image(batch) for batch in loader], len(files))


def embedder(folder: Path, card: ModelCard, mode: str, count: int) -> tuple[float, float]:
    """Images a second from files to vectors, and the most memory above the start, in MiB."""
    with tempfile.TemporaryDirectory() as cache:
        subject = Embedder(
            card, cache_root=cache, views="center", decode_mode=mode, max_pixels=200_000_000, device="auto", batch=BATCH, threads=CORES
        )
        items = list(FolderStorage(folder).list())[:count]
        subject.load()
        process, start = psutil.Process(), psutil.Process().memory_info().rss
        most = start
        begin = time.perf_counter()
        for number, found in enumerate(subject.embed(items, FolderStorage(folder))):
            assert found.error is None
            if number % 50 == 0:
                most = max(most, process.memory_info().rss)
        return len(items) / (time.perf_counter() - begin), (most - start) / 2**20


def main() -> None:
    """Run and print a table, and the same as JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--images", type=int, default=1000)
    options.add_argument("--keep", type=Path, help="folder for the images, kept for the next run")
    arguments = options.parse_args()
    os.environ.update(ENVIRONMENT)  # as every step does
    with tempfile.TemporaryDirectory() as scratch:
        folder = (arguments.keep or Path(scratch)) / f"images-{arguments.images}"
        if not folder.is_dir():
            write_images(folder, arguments.images)
        files = sorted(folder.iterdir())
        card = write_checkpoint(Path(scratch) / "vit-b-32.pt")
        _, precision = clip.resolve_device("cpu")
        figures = {
            "bare decode, full": bare_decode(files, card, "full"),
            "bare decode, scaled": bare_decode(files, card, "scaled"),
            f"bare forward, {precision}": bare_forward(card, precision, max(4, arguments.images // BATCH // 4)),
            "by hand: DataLoader + open_clip fp32": by_hand(files[: max(BATCH, arguments.images // 4)], card),
        }
        memory = {}
        for mode in ("full", "scaled"):
            figures[f"embedder, {mode}"], memory[f"{mode}, {len(files)} images"] = embedder(folder, card, mode, len(files))
            _, memory[f"{mode}, {len(files) // 4} images"] = embedder(folder, card, mode, len(files) // 4)
    report(figures, memory, precision, len(files))


def report(figures: dict[str, float], memory: dict[str, float], precision: str, count: int) -> None:
    """Print images/s and ratios. The limit is what decoding and forward passes allow that share the same cores."""
    forward = figures[f"bare forward, {precision}"]
    print(f"{count} JPEGs of {SIZE[0]}x{SIZE[1]}, ViT-B-32, {CORES} cores, batch {BATCH}")
    for name, value in figures.items():
        line = f"  {name:40s}{value:8.1f} images/s"
        if name.startswith("embedder"):
            decoding = figures[f"bare decode, {name.split(', ')[1]}"]
            limit = 1 / (1 / forward + 1 / decoding)
            hand = figures["by hand: DataLoader + open_clip fp32"]
            line += f"   {value / forward:.2f} of bare forward, {value / limit:.2f} of the limit, {value / hand:.1f} x by hand"
        print(line)
    for name, value in memory.items():
        print(f"  memory above the start, {name:24s}{value:6.0f} MiB")
    print(json.dumps({"images_per_second": figures, "mebibytes": memory}))


if __name__ == "__main__":
    main()
