"""Trains the demo's small pose model on drawn people, by Ultralytics' own trainer, and writes it as Ultralytics reads its models.

It proves the workflow through the real model classes; it knows drawings and nothing of photographs.
"""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from workflow_scripts.core.step import log
from workflow_scripts.demo import small_yolo
from workflow_scripts.demo.drawing import PersonTruth
from workflow_scripts.demo.lora_examples import Example, draw_examples
from workflow_scripts.demo.lora_measures import measure_precision, measure_sorting
from workflow_scripts.demo.lora_staging import SEEN

SIDE = 160  # of the images that the model sees; stands in the checkpoint
WIDTH = 0.125  # of YOLOv8's channels, half of the n model's
FLIPPED = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]  # keypoints when left and right change over
# No mosaic and little cropping: which part of the body the frame cuts off is what has to be learnt.
RECIPE = {
    **small_yolo.RECIPE,
    "imgsz": SIDE,
    "batch": 32,
    "nbs": 32,
    "scale": 0.1,
    "translate": 0.03,
    "hsv_h": 0.01,
    "hsv_s": 0.3,
    "hsv_v": 0.2,
    "kobj": 3.0,
}


def label(person: PersonTruth, size: tuple[int, int]) -> str:
    """A person's line of a YOLO label file; what is hidden counts as not there, so that its confidence comes out low."""
    x1, y1, x2, y2 = person.box
    values = [(x1 + x2) / 2 / size[0], (y1 + y2) / 2 / size[1], (x2 - x1) / size[0], (y2 - y1) / size[1]]
    for x, y, shown in person.keypoints:
        values += [x / size[0], y / size[1], 2] if shown == SEEN else [0, 0, 0]
    return " ".join(["0", *(f"{value:.5g}" for value in values)])


def write_set(folder: Path, name: str, examples: Iterable[Example]) -> None:
    """Write one part of a YOLO data set: `images/{name}` and `labels/{name}`."""
    for part in ("images", "labels"):
        (folder / part / name).mkdir(parents=True)
    for number, example in enumerate(examples):
        example.image.save(folder / f"images/{name}/{number:05d}.jpg", quality=85)
        lines = "".join(label(person, example.image.size) + "\n" for person in example.people)
        (folder / f"labels/{name}/{number:05d}.txt").write_text(lines, encoding="utf-8")


def describe_set(folder: Path) -> Path:
    """Write the data set's description, as Ultralytics asks for it."""
    about = {"path": str(folder), "train": "images/train", "val": "images/val", "kpt_shape": [17, 3], "flip_idx": FLIPPED}
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump({**about, "names": {0: "person"}}), encoding="utf-8")
    return path


def train(weights: Path, *, seed: int, examples: int = 2400, held_out: int = 400, epochs: int = 28, threads: int = 2) -> dict[str, Any]:
    """Draw people, train, write the checkpoint and measure what was written on drawings it has not seen.

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
        write_set(root, "val", unseen)
        data = describe_set(root)
        model = small_yolo.fit(data, "yolov8-pose", WIDTH, RECIPE, seed=seed, epochs=epochs, threads=threads)
        small_yolo.save(model, weights, task="pose", side=SIDE, name="pose.pt")
        figures = measure_precision(weights, data) | measure_sorting(weights, unseen, threads)
    import torch
    import ultralytics

    log.info("held-out figures: %s", figures)
    facts = {"held_out_drawings": held_out, "train_drawings": examples, "epochs": epochs, "seed": seed, "threads": threads}
    versions = {"torch": torch.__version__, "ultralytics": ultralytics.__version__}
    return {"held_out": figures, **facts, "bytes": weights.stat().st_size, **versions}
