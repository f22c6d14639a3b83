"""How fast the images of a bucket become vectors, against bare transfer, bare embedding, and one thread that does one after another.

    python -m tests.bench.s3 [--images 600] [--latency 0.03]

Starts a real object store on this machine (OpenStack Swift; see `make lab`), puts noisy JPEGs of 1024x768 into it, and measures in
one run. `--latency` adds seconds to every answer, as a network would. Store and workflow share the cores of this machine:
the limit is what transfer and embedding allow together, not the slower of the two.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.embed import BATCH, CORES, embedder, rate, write_checkpoint, write_images
from tests.lab import faulty
from tests.lab.faulty import FaultyProxy
from tests.lab.swift import SwiftServer
from workflow_scripts.core.embed import Embedder
from workflow_scripts.core.models import ModelCard
from workflow_scripts.core.step import ENVIRONMENT
from workflow_scripts.core.storage import S3Options, S3Storage

BUCKET = "bench"


def fill(server: SwiftServer, files: list[Path]) -> float:
    """Put the files into a bucket; objects a second."""
    client = server.client()
    client.create_bucket(Bucket=BUCKET)

    def put(path: Path) -> None:
        client.put_object(Bucket=BUCKET, Key=f"images/{path.name}", Body=path.read_bytes())

    with ThreadPoolExecutor(8) as threads:
        return rate(lambda: list(threads.map(put, files)), len(files))


def transfer(store: S3Storage) -> float:
    """Every object read by as many threads as the embedder uses, nothing else."""
    items = list(store.list())
    with ThreadPoolExecutor(store.reads_at_once) as threads:
        return rate(lambda: [None for _ in threads.map(store.read, items)], len(items))


def pipeline(card: ModelCard) -> Callable[[S3Storage], float]:
    """From the bucket to vectors."""

    def run(store: S3Storage) -> float:
        items = list(store.list())
        with tempfile.TemporaryDirectory() as cache:
            subject = Embedder(
                card,
                cache_root=cache,
                views="center",
                decode_mode="scaled",
                max_pixels=200_000_000,
                device="auto",
                batch=BATCH,
                threads=CORES,
            )
            subject.load()
            found = []
            speed = rate(lambda: found.extend(subject.embed(items, store)), len(items))
        assert not [result.error for result in found if result.error]
        return speed

    return run


def one_thread(card: ModelCard, store: S3Storage, count: int) -> float:
    """What the script that this pipeline replaces did: one thread, GET → decode → transform → forward in fp32, one after another."""
    import io

    import open_clip
    import torch
    from PIL import Image

    model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32", pretrained=card.weights)
    model.eval()
    items = list(store.list())[:count]

    def run() -> None:
        for start in range(0, len(items), 16):
            images = [preprocess(Image.open(io.BytesIO(store.read(item))).convert("RGB")) for item in items[start : start + 16]]
            with torch.inference_mode():
                model.encode_image(torch.stack(images))

    return rate(run, len(items))


def copies(store: S3Storage) -> float:
    """Copies within the store, by as many threads as publishing uses."""
    items = list(store.list())
    target = S3Storage(f"s3://{BUCKET}/copied/", store.options)
    with ThreadPoolExecutor(16) as threads:
        return rate(lambda: list(threads.map(lambda item: target.copy_from(store, item, target.key_of(item.key)), items)), len(items))


def main() -> None:
    """Run and print a table, and the same as JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--images", type=int, default=600)
    options.add_argument("--latency", type=float, default=0.03)
    arguments = options.parse_args()
    os.environ.update(ENVIRONMENT)
    with tempfile.TemporaryDirectory() as scratch:
        write_images(Path(scratch) / "images", arguments.images)
        card = write_checkpoint(Path(scratch) / "vit-b-32.pt")
        with SwiftServer(Path(scratch) / "swift") as server, FaultyProxy(server.endpoint) as proxy:
            os.environ.update(server.environment())
            figures = {"put": fill(server, sorted((Path(scratch) / "images").iterdir()))}
            proxy.rules.append(faulty.delay(arguments.latency))
            store = S3Storage(f"s3://{BUCKET}/images/", S3Options(server.region, proxy.endpoint))
            start = time.perf_counter()
            listed = len(list(store.list()))
            figures |= {"list": listed / (time.perf_counter() - start), "bare transfer": transfer(store)}
            figures["bare embedding, from a folder"], _ = embedder(Path(scratch) / "images", card, "scaled", arguments.images)
            figures["one thread, one after another, fp32"] = one_thread(card, store, max(32, arguments.images // 6))
            figures["this workflow, from the bucket"] = pipeline(card)(store)
            figures["copies within the store"] = copies(store)
    report(figures, arguments.images, arguments.latency)


def report(figures: dict[str, float], count: int, latency: float) -> None:
    """Print objects/s and the ratios."""
    print(f"{count} JPEGs, ViT-B-32, {CORES} cores for store and workflow, {latency * 1000:.0f} ms added to every answer")
    for name, value in figures.items():
        print(f"  {name:40s}{value:8.1f}/s")
    moved, embedded, found = (
        figures[name] for name in ("bare transfer", "bare embedding, from a folder", "this workflow, from the bucket")
    )
    slower, together = min(moved, embedded), 1 / (1 / moved + 1 / embedded)
    print(f"  {found / slower:.2f} of the slower of both, {found / together:.2f} of what both allow on the same cores")
    print(f"  {found / figures['one thread, one after another, fp32']:.1f} x one thread")
    print(json.dumps({"per_second": figures}))


if __name__ == "__main__":
    main()
