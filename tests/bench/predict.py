"""How fast a zipped project becomes a database, against bare forward passes and against the script that one would write.

    python -m tests.bench.predict [--images 1000] [--keep FOLDER]

Draws JPEGs of 1024x768 as groups of three stages in one zip, writes a full-size ViT-B-32, ranker and crop proposer with random weights
(speed does not depend on them), and measures in one run: bare forward passes on all cores, a loop over single images, and every step of
the pipeline.
"""

import argparse
import io
import json
import os
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.bench.embed import BATCH, CORES, SIZE, bare_forward, write_checkpoint, write_images
from workflow_scripts.core import clip
from workflow_scripts.core.decisions import Reviews
from workflow_scripts.core.embed import Embedder
from workflow_scripts.core.models import ModelCard, file_sha256
from workflow_scripts.core.step import ENVIRONMENT
from workflow_scripts.predict.embed import embed_project
from workflow_scripts.predict.fill_database import fill_database
from workflow_scripts.predict.groups import Rule
from workflow_scripts.predict.inventory import take_inventory
from workflow_scripts.predict.networks import CROP_PROPOSER, RANKER, mlp
from workflow_scripts.predict.predict import load, write_predictions
from workflow_scripts.predict.sources import open_source
from workflow_scripts.predict.stages import STAGES
from workflow_scripts.predict.validate_project import validate_project

LIMITS = {"max_member": 200_000_000, "max_ratio": 100.0}
NETWORKS = {"ranker_normalise": True, "proposer_normalise": True, "scale": 10_000, "min_side": 0.05}


def write_zip(files: list[Path], archive: Path) -> None:
    """The images as groups of three stages, a minute apart."""
    stages = sorted(STAGES, key=lambda stage: stage[1])[:3]
    with zipfile.ZipFile(archive, "w") as target:
        for number, path in enumerate(files):
            hour, minute = divmod(number // len(stages), 60)
            time_of_day = f"{hour % 24:02d}{minute:02d}00"
            target.write(path, f"set {hour // 24}/20250101_{time_of_day}_{stages[number % len(stages)][0]}.jpg")


def write_networks(folder: Path) -> dict[str, Any]:
    """A ranker and a crop proposer of the usual sizes with random weights."""
    import torch

    found = {}
    for name, kind, sizes in (("ranker", RANKER, [512, 256, 64, 1]), ("crop_proposer", CROP_PROPOSER, [514, 256, 128, 4])):
        torch.save(mlp(kind, sizes).state_dict(), folder / f"{name}.pt")
        found[name] = {"path": str(folder / f"{name}.pt"), "sha256": file_sha256(folder / f"{name}.pt")}
    return found


def one_by_one(archive: Path, card: ModelCard, models: dict[str, Any], folder: Path, count: int) -> float:
    """Seconds an image of a script that takes one at a time: open, embed in fp32, save the vector to a file of its own, score."""
    import open_clip
    import torch

    model, _, transform = open_clip.create_model_and_transforms("ViT-B-32", pretrained=card.weights)
    model.eval()
    ranker = mlp(RANKER, [512, 256, 64, 1])
    ranker.load_state_dict(torch.load(models["ranker"]["path"], weights_only=True))
    with zipfile.ZipFile(archive) as source, torch.inference_mode():
        start = time.perf_counter()
        for name in source.namelist()[:count]:
            with Image.open(io.BytesIO(source.read(name))) as image:
                vector = model.encode_image(transform(image.convert("RGB"))[None])
            vector /= vector.norm(dim=-1, keepdim=True)
            np.save(folder / f"{Path(name).stem}.npy", vector.numpy())
            ranker(vector)
        return (time.perf_counter() - start) / count


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def pipeline(archive: Path, card: ModelCard, models: dict[str, Any], folder: Path) -> dict[str, float]:
    """Seconds of each step, without imports and without loading CLIP; then of the embedding step when the cache knows all."""
    tables = {name: folder / f"{name}.parquet" for name in ("inventory", "embeddings", "groups", "images")}
    options = {"views": "center", "decode_mode": "scaled", "max_pixels": 200_000_000, "device": "cpu", "batch": BATCH, "threads": CORES}
    how = {"rule": Rule(), "networks": lambda: load(models, NETWORKS), "reviews": Reviews(None, ()), "models": models}
    project = {"project_id": "p", "path": str(archive), "fingerprint": "f"}
    source = open_source(str(archive), **LIMITS)

    def embedder() -> Embedder:
        subject = Embedder(card, cache_root=str(folder / "cache"), **options)
        subject.load()
        return subject

    first = embedder()
    found = {"01 inventory": timed(lambda: take_inventory(project, LIMITS, tables["inventory"]))}
    found["02 embed"] = timed(lambda: embed_project(tables["inventory"], source, first, tables["embeddings"]))
    found["03 predict"] = timed(lambda: write_predictions(tables["embeddings"], tables["groups"], tables["images"], **how))
    receipt = folder / "p.json"
    found["04 database"] = timed(lambda: fill_database(tables["groups"], receipt, {"grouping": {}, "networks": NETWORKS}))
    found["05 validate"] = timed(lambda: validate_project(receipt, tables["groups"], tables["images"]))
    again = embedder()
    found["02 embed, all known"] = timed(lambda: embed_project(tables["inventory"], source, again, tables["embeddings"]))
    assert validate_project(receipt, tables["groups"], tables["images"])["data_quality"] == "good"
    return found


def main() -> None:
    """Run and print a table, and the same as JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--images", type=int, default=1000)
    options.add_argument("--keep", type=Path, help="folder for the images, kept for the next run")
    arguments = options.parse_args()
    os.environ.update(ENVIRONMENT)  # as every step does
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        folder = (arguments.keep or place) / f"images-{arguments.images}"
        if not folder.is_dir():
            write_images(folder, arguments.images)
        write_zip(sorted(folder.iterdir()), place / "p.zip")
        card, models = write_checkpoint(place / "vit-b-32.pt"), write_networks(place)
        _, precision = clip.resolve_device("cpu")
        forward = 1 / bare_forward(card, precision, max(4, arguments.images // BATCH // 4))
        hand = one_by_one(place / "p.zip", card, models, place, min(100, arguments.images))
        steps = pipeline(place / "p.zip", card, models, place)
    report(arguments.images, precision, forward, hand, steps)


def report(count: int, precision: str, forward: float, hand: float, steps: dict[str, float]) -> None:
    """Print seconds an image and ratios."""
    whole = sum(seconds for name, seconds in steps.items() if name != "02 embed, all known") / count
    print(f"{count} JPEGs of {SIZE[0]}x{SIZE[1]} in a zip, ViT-B-32, {CORES} cores, batch {BATCH}")
    print(f"  {'bare forward, ' + precision:32s}{forward:9.4f} s an image")
    print(f"  {'one by one, fp32, as a script':32s}{hand:9.4f} s an image")
    for name, seconds in steps.items():
        print(f"  {name:32s}{seconds / count:9.4f} s an image")
    ratios = f"{forward / whole:.2f} of bare forward, {hand / whole:.1f} x one by one"
    print(f"  {'this workflow, 01 to 05':32s}{whole:9.4f} s an image: {ratios}")
    print(json.dumps({"images": count, "seconds_an_image": {"forward": forward, "one_by_one": hand, "workflow": whole}, "steps": steps}))


if __name__ == "__main__":
    main()
