"""Demo: train the small segmenter of autotag on drawn scenes, by Ultralytics' own trainer, and say how good it is.

A YOLOv8 for masks with half the channels of the n model and one class, `object`: what FastSAM is, for drawings. It proves the workflow
through the real model classes and knows nothing of photographs.
"""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml

from workflow_scripts.core.json_files import write_json
from workflow_scripts.core.models import file_sha256
from workflow_scripts.core.step import log, step
from workflow_scripts.demo import small_yolo
from workflow_scripts.demo.autotag_examples import Mask, Scene, draw_examples
from workflow_scripts.demo.autotag_measures import fastsam, measure

SIDE = 160  # of the images that the model sees; stands in the checkpoint
WIDTH = 0.125  # of YOLOv8's channels, half of the n model's
RECIPE = {**small_yolo.RECIPE, "imgsz": SIDE, "batch": 32, "nbs": 32, "scale": 0.3, "hsv_h": 0.01, "hsv_s": 0.3, "hsv_v": 0.2}


def label(mask: Mask) -> str:
    """An object's line of a YOLO label file: the outline of its parts, one after the other, in parts of width and height."""
    import cv2

    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    parts = sorted((outline[:, 0] for outline in outlines if len(outline) > 2), key=len, reverse=True)
    # There and back on the same line: what joins the parts has no area.
    points = np.concatenate([point for part in parts for point in (part, part[:1], parts[0][:1])])
    scaled = (points + 0.5) / mask.shape[::-1]
    return " ".join(["0", *(f"{value:.4g}" for value in scaled.ravel())])


def write_set(folder: Path, name: str, scenes: Iterable[Scene]) -> None:
    """Write one part of a YOLO data set: `images/{name}` and `labels/{name}`."""
    for part in ("images", "labels"):
        (folder / part / name).mkdir(parents=True)
    for number, scene in enumerate(scenes):
        scene.image.save(folder / f"images/{name}/{number:05d}.jpg", quality=90)
        lines = "".join(label(mask) + "\n" for _, mask in scene.objects)
        (folder / f"labels/{name}/{number:05d}.txt").write_text(lines, encoding="utf-8")


def train(weights: Path, *, seed: int, examples: int = 2400, held_out: int = 300, epochs: int = 12, threads: int = 2) -> dict[str, Any]:
    """Draw scenes, train, write the checkpoint and measure what was written on drawings it has not seen.

    Args:
        weights: the checkpoint to write.
        seed: of drawings, weights and batches.
        examples: drawings to train on.
        held_out: drawings to measure on.
        epochs: how often each is seen.
        threads: processes that draw and threads that compute; results agree only for the same number.

    Returns:
        What stands in `metrics.json`.
    """
    unseen = list(draw_examples(seed, "held-out", held_out, threads))
    with TemporaryDirectory(prefix="darkroom-") as folder:
        root = Path(folder)
        write_set(root, "train", draw_examples(seed, "train", examples, threads))
        write_set(root, "val", unseen[:1])  # the trainer asks for one and does not look at it
        data = root / "data.yaml"
        about = {"path": folder, "train": "images/train", "val": "images/val", "names": {0: "object"}}
        data.write_text(yaml.safe_dump(about), encoding="utf-8")
        model = small_yolo.fit(data, "yolov8-seg", WIDTH, RECIPE, seed=seed, epochs=epochs, threads=threads)
        small_yolo.save(model, weights, task="segment", side=SIDE, name="segmenter.pt")
        figures = measure(fastsam(weights, SIDE), unseen)
    import torch
    import ultralytics

    log.info("held-out figures: %s", figures)
    facts = {"held_out_drawings": held_out, "train_drawings": examples, "epochs": epochs, "seed": seed, "threads": threads}
    versions = {"torch": torch.__version__, "ultralytics": ultralytics.__version__}
    return {"held_out": figures, **facts, "bytes": weights.stat().st_size, **versions}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        segmenter = Path(job.output.segmenter)
        write_json(Path(job.output.metrics), train(segmenter, seed=job.params.seed, threads=job.threads))
        log.info("to use it: copy %s over resources/demo/autotag; sha256 %s", segmenter, file_sha256(segmenter))
