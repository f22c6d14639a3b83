"""How fast the index of `autotag` is trained, filled, merged and searched, how much memory that takes, and what it finds.

    python -m tests.bench.autotag_index [--shards 500 --rows 10000 --dim 512 --queries 20000] [--folder /somewhere/large]

Draws shards of clustered unit vectors (concepts round a few kinds of thing, crops round concepts, most of their spread in 48 directions as
that of real embeddings is in few; ten crops an image), and runs the functions of steps 02, 03 (a block after the other), 04 and 07 on
them, each in a process of its own. Memory is what a process allocates; pages of mapped files, which the system takes back when it
likes, are not in it. Searching is compared with FAISS's own call on the same index, mapped alike, with the same parameters.
On a machine with other work, seconds of CPU say more than seconds.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.autotag import add_block, merge_index, scoring, search_target, train_index
from workflow_scripts.autotag.blocks import EMBEDDINGS, FILES, IMAGES_TABLE, METADATA, Block, Shard, file_entry
from workflow_scripts.autotag.tables import EMBEDDED, IMAGES, SEGMENTS, TARGET_CROPS
from workflow_scripts.core import index as core
from workflow_scripts.core import tables
from workflow_scripts.core.cosine import blas_threads
from workflow_scripts.core.json_files import read_json
from workflow_scripts.core.step import ENVIRONMENT

MODEL = {"name": "drawn", "pretrained": "drawn", "sha256": "0" * 64}
SEED = 23
KINDS, CONCEPTS, DIRECTIONS, CROPS = 50, 20_000, 48, 10
SEARCH = {"k_max": 50, "nprobe": "auto", "rerank": "auto"}
BATCH = 20_000
REPEATS = 4


@cache
def world(d: int) -> tuple[np.ndarray, np.ndarray]:
    """Concepts [CONCEPTS, d], and the directions that crops spread in [DIRECTIONS, d]."""
    rng = np.random.default_rng(SEED)
    kinds = rng.standard_normal((KINDS, d), np.float32)
    concepts = 0.8 * kinds[rng.integers(0, KINDS, CONCEPTS)] + rng.standard_normal((CONCEPTS, d), np.float32)
    return concepts, rng.standard_normal((DIRECTIONS, d), np.float32) / np.float32(DIRECTIONS**0.5)


def draw(number: int, rows: int, d: int) -> np.ndarray:
    """Unit vectors [rows, d] float16, the same for the same number."""
    concepts, directions = world(d)
    rng = np.random.default_rng([SEED, number])
    vectors = concepts[rng.integers(0, CONCEPTS, rows)]
    vectors += 0.8 * rng.standard_normal((rows, DIRECTIONS), np.float32) @ directions
    vectors += 0.2 * rng.standard_normal((rows, d), np.float32)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def write_shard(folder: Path, number: int, rows: int, d: int) -> Shard:
    """The files of a shard."""
    name = f"{number:05d}"
    path = folder / FILES[EMBEDDINGS].format(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, draw(number, rows, d))
    keys = [f"{name}{row // CROPS:06d}" for row in range(rows)]
    columns = {
        "key": keys,
        "label": [f"thing {row % 997}" for row in range(rows)],
        "vlm_tags": [[f"thing {row % 997}", f"tag {row % 89}"] for row in range(rows)],
        "crop_id": [f"{key}_{row % CROPS}" for row, key in enumerate(keys)],
        "shard": [name] * rows,
        "sha256": [f"{int(key):064x}" for key in keys],
    }
    table = pa.table({field: columns.get(field, pa.nulls(rows, kind)) for field, kind in SEGMENTS}).cast(pa.schema(SEGMENTS))
    pq.write_table(table, folder / FILES[METADATA].format(name), compression="zstd")
    images = [{"key": keys[row], "tags": columns["vlm_tags"][row], "outcome": EMBEDDED} for row in range(0, rows, CROPS)]
    tables.write(folder / FILES[IMAGES_TABLE].format(name), IMAGES, images)
    files = {kind: file_entry(folder, kind, name) for kind in (EMBEDDINGS, METADATA, IMAGES_TABLE)}
    return Shard(name, rows, {EMBEDDED: len(images)}, 0, files)


def write_source(folder: Path, arguments: argparse.Namespace) -> list[Path]:
    """All shards, and the manifests of their blocks."""
    with ProcessPoolExecutor(arguments.threads) as pool:
        size = (arguments.rows, arguments.dim)
        shards = list(pool.map(write_shard, *zip(*((folder, number, *size) for number in range(arguments.shards)), strict=True)))
    embedding = {"fingerprint": "0" * 16, "model": MODEL, "precision": "fp32", "d": arguments.dim}
    paths = []
    for number, start in enumerate(range(0, len(shards), arguments.block_shards)):
        paths.append(folder / f"blocks/block_{number:04d}.json")
        Block(f"{number:04d}", embedding, {}, tuple(shards[start : start + arguments.block_shards])).write(paths[-1])
    return paths


def write_target(folder: Path, queries: int, d: int) -> None:
    """Crops to search for, of no shard."""
    rows = [
        {"image": f"{row // CROPS}.jpg", "sha256": f"f{row // CROPS:063x}", "crop_id": f"{row // CROPS}_{row % CROPS}"}
        for row in range(queries)
    ]
    np.save(folder / "target.npy", draw(1_000_000, queries, d))
    tables.write(folder / "target.parquet", TARGET_CROPS, rows, {"embedding": {"model": MODEL, "d": d}})


class Bench:
    """The steps, on one folder."""

    def __init__(self, folder: Path, blocks: list[Path], arguments: argparse.Namespace) -> None:
        self.folder, self.blocks, self.arguments = folder, blocks, arguments
        self.trained = train_index.Outputs(*(folder / f"02/{name}" for name in ("trained.faiss", "metadata.json", "queries.parquet")))
        self.parts = [(folder / f"03/{block.stem}.faiss", folder / f"03/{block.stem}.parquet") for block in blocks]
        files = ("index.faiss", "id_to_tags.parquet", "metadata.json", "recall.json")
        self.merged = merge_index.Outputs(*(folder / f"04/{name}" for name in files))
        self.inputs = search_target.Inputs(
            folder / "target.npy", folder / "target.parquet", self.merged.index, self.merged.rows, self.merged.metadata
        )

    def train(self) -> dict[str, Any]:
        blocks = [Block.read(block) for block in self.blocks]
        names = [shard.shard for block in blocks for shard in block.shards]
        settings = {"factory": self.arguments.factory, "train_label": "1", "train_memory_gb": 16.0, "drawn": True, "shards": names}
        return train_index.train_index(blocks, self.folder, settings, MODEL, len(names), self.trained)

    def add(self) -> dict[str, Any]:
        for block, part in zip(self.blocks, self.parts, strict=True):
            add_block.add_block(self.trained.index, self.trained.queries, block, self.folder, part)
        return {"blocks": len(self.blocks)}

    def merge(self) -> dict[str, Any]:
        parts = merge_index.Inputs(self.trained.metadata, self.trained.queries, self.blocks, *zip(*self.parts, strict=True))
        machine = {"threads": self.arguments.threads, "on_disk_gb": self.arguments.on_disk_gb}
        return merge_index.merge_index(parts, self.folder, SEARCH, machine, self.merged)

    def search(self) -> dict[str, Any]:
        machine = {"threads": self.arguments.threads, "batch": BATCH, "device": "cpu", "gpu": "cpu"}
        return search_target.search_target(self.inputs, self.folder, SEARCH, machine, self.folder / "neighbours.parquet")

    def compare(self) -> dict[str, Any]:
        """FAISS's own call and the part of step 07 that searches the index, in turn: the fastest of each, and the least time of CPU."""
        facts = read_json(self.merged.metadata)
        index = core.read(self.merged.index, mapped=True)
        if facts["nprobe"]:
            core.look_through(index, facts["nprobe"])
        vectors, count = np.load(self.inputs.vectors), max(SEARCH["k_max"], facts["rerank"])
        wide = vectors.astype(np.float32)
        starts = range(0, len(wide), BATCH)
        calls = {
            "bare": lambda: [index.search(wide[start : start + BATCH], count) for start in starts],
            "ours": lambda: [scoring.propose(index, vectors[start : start + BATCH], count) for start in starts],
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
        for turn in range(REPEATS):
            # Who comes first changes from turn to turn.
            for name in sorted(calls, reverse=bool(turn % 2)):
                start, cpu = time.perf_counter(), time.process_time()
                calls[name]()
                times[name].append((time.perf_counter() - start, time.process_time() - cpu))
        return {name: [min(column) for column in zip(*found, strict=True)] for name, found in times.items()}


def measured(work: Callable[[], dict[str, Any]], threads: int, answer: Any) -> None:
    """Run a step in this process, and send what it gives with seconds and the most memory in GB."""
    os.environ.update(ENVIRONMENT)  # as every step does
    process, done, most = psutil.Process(), threading.Event(), 0

    def watch() -> None:
        nonlocal most
        while not done.wait(0.02):
            memory = process.memory_info()
            most = max(most, memory.rss - memory.shared)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    core.set_threads(threads)
    start, cpu = time.perf_counter(), time.process_time()
    with blas_threads(threads):
        found = work()
    spent = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    answer.send(found | spent | {"memory_gb": most / 1e9})
    done.set()


def apart(work: Callable[[], dict[str, Any]], threads: int) -> dict[str, Any]:
    """`measured` in a process of its own."""
    context = multiprocessing.get_context("spawn")
    answer, sender = context.Pipe(duplex=False)
    process = context.Process(target=measured, args=(work, threads, sender))
    process.start()
    sender.close()
    try:
        found: dict[str, Any] = answer.recv()
    finally:
        process.join()
    return found


def run(folder: Path, arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Draw, run all steps, print a line each; gives what was measured."""
    start = time.perf_counter()
    blocks = write_source(folder, arguments)
    write_target(folder, arguments.queries, arguments.dim)
    rows = arguments.shards * arguments.rows
    print(
        f"{rows:,} vectors of {arguments.dim} in {arguments.shards} shards, {len(blocks)} blocks; {arguments.queries:,} queries; ", end=""
    )
    print(f"{arguments.threads} threads; drawn in {time.perf_counter() - start:.0f} s", flush=True)
    bench, figures = Bench(folder, blocks, arguments), {}
    for name in ("train", "add", "merge", "search", "compare"):
        figures[name] = apart(getattr(bench, name), arguments.threads)
        seconds, cpu, memory = (figures[name][unit] for unit in ("seconds", "cpu_seconds", "memory_gb"))
        print(f"  {name:8s}{seconds:9.1f} s{cpu:9.1f} s of CPU{memory:7.2f} GB", flush=True)
    return figures


def report(folder: Path, figures: dict[str, dict[str, Any]], arguments: argparse.Namespace) -> None:
    """Print rates, recall and ratios, and all as JSON."""
    facts, recall = read_json(folder / "04/metadata.json"), read_json(folder / "04/recall.json")
    sizes = {
        name: sum(path.stat().st_size for path in folder.glob(name)) for name in ("embeddings/*.npy", "04/index.*", "04/id_to_tags.parquet")
    }
    compare, search, rows = figures["compare"], figures["search"], facts["rows"]
    bytes_a_row = ", ".join(f"{name} {size / rows:.1f}" for name, size in sizes.items())
    tried = recall["by_nprobe"]
    rates = f"added {rows / figures['add']['seconds']:,.0f} vectors/s, searched {arguments.queries / search['seconds']:,.0f} queries/s"
    print(f"{facts['factory']}, trained on {figures['train']['trained_on']:,}; nprobe {facts['nprobe']}, rerank {facts['rerank']}")
    print(f"  recall@{recall['at']} {recall['recall']}, without comparing again {recall['without_rerank']}; by nprobe {tried}")
    print(f"  bytes a row: {bytes_a_row}")
    print(f"  {rates}")
    for place, (unit, name) in enumerate((("s", "seconds"), ("s of CPU", "cpu_seconds"))):
        bare, ours, whole = compare["bare"][place], compare["ours"][place], search[name]
        part = f"FAISS alone {bare:.1f} {unit}; the same part of step 07 {ours:.1f}: {bare / ours:.3f}"
        print(f"  {part}; the whole step {whole:.1f}: {bare / whole:.3f}")
    print(f"  the whole step gives {search['neighbours']:,} neighbours exact cosines, names and tags, and writes them")
    print(json.dumps({"recall": recall, "figures": figures}))


def main(words: list[str] | None = None) -> None:
    """Run and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--shards", type=int, default=500)
    options.add_argument("--rows", type=int, default=10_000, help="of a shard")
    options.add_argument("--dim", type=int, default=512)
    options.add_argument("--queries", type=int, default=20_000)
    options.add_argument("--factory", default="auto")
    options.add_argument("--block-shards", type=int, default=64)
    options.add_argument("--on-disk-gb", type=float, default=32.0)
    options.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options.add_argument("--folder", type=Path, help="for the files, some 2.3 kB a row; default: a temporary folder")
    arguments = options.parse_args(words)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        report(Path(folder), run(Path(folder), arguments), arguments)


if __name__ == "__main__":
    main()
