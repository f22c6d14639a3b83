"""How fast frames become poses, masks and composites, against the bare models and against what one would write first.

    python -m tests.bench.lora [--frames 48]

Draws frames of 1280x720, writes a pose model of the size of yolov8n-pose with random weights (speed does not depend on them) and a
segmenter with about the arithmetic of U2-Net whose mask is always the same, and measures in one run: the bare forward passes in memory,
the libraries' own calls on the files, and the steps, which decode, measure, cache and write files besides. All without imports, and all but
the step of the masks without loading the model.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from workflow_scripts.core.models import WeightsCard, hash_file
from workflow_scripts.core.step import ENVIRONMENT
from workflow_scripts.demo import train_segmenter
from workflow_scripts.demo.lora_clips import CLIPS, draw_frame
from workflow_scripts.demo.lora_data import LIBRARY, write_backgrounds
from workflow_scripts.lora import composite, mask, mask_model, measure, pose, pose_model, poses, tables
from workflow_scripts.lora.mask_session import open_session

CORES = os.cpu_count() or 1
SIZE = (1280, 720)
COMPOSITE = {"blur_radius": 3.0, "decontaminate": True, "seed": 0}
LIMIT = 200_000_000  # pixels


def write_frames(root: Path, count: int) -> list[dict[str, Any]]:
    """Frames of full figures as JPEGs, and rows of SORTED for them, with the truth as the person."""
    clip = next(clip for clip in CLIPS if clip.name == "phone")
    rows = []
    for number in range(count):
        drawn = draw_frame(clip, number % len(clip), number // len(clip))
        frame_id, across, down = f"v_frame_{number + 1:06d}", SIZE[0] / drawn.image.width, SIZE[1] / drawn.image.height
        path = root / f"01_source_frames/v/{frame_id}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn.image.resize(SIZE, Image.Resampling.BICUBIC).save(path, quality=95, subsampling=0)
        box = [side * scale for side, scale in zip(drawn.box or (0, 0, *drawn.image.size), (across, down) * 2, strict=True)]
        person = {"box": box, "confidence": 0.9, "keypoints": [0.9] * 51}
        rows.append(
            {
                "frame_id": frame_id,
                "video": "v",
                "n": number + 1,
                "sha256": hash_file(path),
                "path": str(path.relative_to(root)),
                "time": 0.0,
            }
            | {"width": SIZE[0], "height": SIZE[1], "category": tables.FULL_BODY, "person_count": 1, "person": person, "reason": ""}
        )
    return rows


def write_segmenter(path: Path) -> None:
    """An ONNX file of 320 x 320 pixels that works as hard as U2-Net and gives an ellipse."""
    import torch

    class StandIn(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            inner = [layer for _ in range(8) for layer in (torch.nn.Conv2d(64, 64, 3, padding=1), torch.nn.ReLU())]
            self.heavy = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 3, padding=1), *inner, torch.nn.Conv2d(64, 1, 1))
            down, across = torch.meshgrid(torch.linspace(-1, 1, 320), torch.linspace(-1, 1, 320), indexing="ij")
            self.register_buffer("ellipse", torch.sigmoid(40 * (0.5 - (across / 0.5) ** 2 - down**2))[None, None])

        def forward(self, picture: torch.Tensor) -> torch.Tensor:
            return self.ellipse + 1e-9 * self.heavy(picture)

    train_segmenter.save(StandIn(), path)


def card(kind: str, path: Path) -> WeightsCard:
    """The card of a weights file."""
    return WeightsCard(kind, str(path), str(path), path.stat().st_size, hash_file(path))


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@contextmanager
def loaded(module: Any, name: str, model: object) -> Iterator[None]:
    """A step that finds its model loaded."""
    original = getattr(module, name)
    setattr(module, name, lambda *_, **__: model)
    try:
        yield
    finally:
        setattr(module, name, original)


def bench_pose(root: Path, rows: list[dict[str, Any]], machine: dict[str, Any]) -> dict[str, float]:
    """Frames a second: the network alone on pictures in memory, `YOLO.predict` on the files in batches, and the step."""
    from ultralytics.models import YOLO

    weights = root / "pose.pt"
    YOLO("yolov8n-pose.yaml").save(weights)
    model = pose_model.PoseModel(weights, device="cpu", threads=CORES)
    files = [root / row["path"] for row in rows]
    prepared = [model.prepare(np.asarray(Image.open(file))) for file in files]
    model.find(prepared[:1])
    found = {"bare network": timed(lambda: model.find(prepared))}
    yolo = YOLO(weights)
    yolo.predict([str(files[0])], verbose=False)
    found["YOLO.predict"] = timed(lambda: yolo.predict([str(file) for file in files], batch=8, conf=0.05, verbose=False))
    tables.write(root / "frames.parquet", tables.FRAMES, [row | {"outcome": "frame"} for row in rows])
    with loaded(poses, "PoseModel", model):
        found["step"] = timed(
            lambda: pose.detect(root / "frames.parquet", root, card("pose", weights), machine, root / "poses.parquet", max_pixels=LIMIT)
        )
    return {name: len(rows) / seconds for name, seconds in found.items()}


def bench_mask(root: Path, rows: list[dict[str, Any]], machine: dict[str, Any]) -> dict[str, float]:
    """Frames a second: the ONNX session alone, rembg image by image on the files, and the step."""
    import rembg

    segmenter = root / "segmenter.onnx"
    write_segmenter(segmenter)
    model = mask_model.Masker(card("mask", segmenter), device="cpu", threads=CORES)
    pictures = [Image.open(root / row["path"]).convert("RGB") for row in rows]
    prepared = [model.prepare(picture) for picture in pictures]
    model.infer(prepared[:1])
    session = open_session(segmenter, mask_model.CUSTOM, "cpu", CORES)
    found = {"bare network": timed(lambda: [model.infer([one]) for one in prepared])}

    def one_by_one() -> None:
        for row in rows:
            with Image.open(root / row["path"]) as image:
                rembg.remove(image, session=session).save(root / "one.png")

    found["rembg.remove"] = timed(one_by_one)
    tables.write(root / "sorted.parquet", tables.SORTED, [row | {"outcome": "candidate"} for row in rows])
    output = root / "03_masked_subjects/v.parquet"
    how = {"alpha_matting": False, "max_pixels": LIMIT}
    found["step"] = timed(lambda: mask.cut_out(root / "sorted.parquet", root, card("mask", segmenter), machine, output, **how))
    return {name: len(rows) / seconds for name, seconds in found.items()}


def bench_rest(root: Path, machine: dict[str, Any]) -> dict[str, float]:
    """Subjects a second of measuring, and of composites with and without the subject's own colours at its edge."""
    masks, metrics, selection = root / "03_masked_subjects/v.parquet", root / "metrics.parquet", root / "selection.parquet"
    found = {"measure": timed(lambda: measure.measure(masks, root / "sorted.parquet", root, machine, metrics, max_pixels=LIMIT))}
    rows = [row | {"outcome": "selected"} for row in tables.read(metrics)]
    tables.write(selection, tables.SELECTION, rows)
    write_backgrounds(root / LIBRARY, 12, 7)
    for name, own_colours in (("composite", True), ("composite, decontaminate off", False)):
        settings = COMPOSITE | {"decontaminate": own_colours}
        output = root / "05_training_data/manifest.parquet"
        work = (selection, [], root, root / LIBRARY, settings, LIMIT, machine, output)
        found[name] = timed(lambda work=work: composite.composite(*work))
    return {name: len(rows) / seconds for name, seconds in found.items()}


def show(title: str, rates: dict[str, float]) -> None:
    """A line a rate; with the share of the first where they are of one kind."""
    print(title)
    bare = rates.get("bare network")
    for name, rate in rates.items():
        share = f"   {rate / bare:.2f} of bare" if bare and name != "bare network" else ""
        print(f"  {name:30s}{rate:8.1f}/s{share}")


def main() -> None:
    """Run and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--frames", type=int, default=48)
    count = options.parse_args().frames
    os.environ.update(ENVIRONMENT)  # as every step does
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        machine = {"cache_root": str(root / "cache"), "device": "cpu", "threads": CORES}
        rows = write_frames(root, count)
        print(f"{count} frames of {SIZE[0]}x{SIZE[1]}, {CORES} cores")
        show("pose", bench_pose(root, rows, machine))
        show("mask", bench_mask(root, rows, machine))
        show("behind", bench_rest(root, machine))


if __name__ == "__main__":
    main()
