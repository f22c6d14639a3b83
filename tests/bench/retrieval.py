"""How fast hard negatives are found, against the bare arithmetic and against what one would use instead.

    python -m tests.bench.retrieval [--images 100000] [--concepts 1000] [--threads 2]

Draws clustered embeddings and measures in one run, for one category that holds everything and K = 3: step 04 without reading files,
the bare float64 matmuls that it cannot do without, and an exact faiss search of all against all, measured on a sample of queries.
"""

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from workflow_scripts.core.cosine import blas_threads
from workflow_scripts.core.step import ENVIRONMENT
from workflow_scripts.retrieval.gallery import Gallery
from workflow_scripts.retrieval.pair_reviews import PairReviews
from workflow_scripts.retrieval.records import write_records
from workflow_scripts.retrieval.references import Choice, choose
from workflow_scripts.retrieval.retrieve import make_records

DIMENSIONS = 512
K = 3
CANDIDATES = 8
REPEATS = 3
SAMPLE = 1024  # queries that faiss is timed on
SPREAD = 0.05  # of an image about its concept, in each dimension: cosines of about 0.45 within a concept
SETTINGS = {
    "candidate_concepts": CANDIDATES,
    "category": "all",
    "data_root": "/data",
    "duplicate_similarity": None,
    "k": K,
    "negative_pool": "category",
    "negatives": "nearest",
    "positive": "hard",
    "relative": True,
    "seed": 23,
}


def draw(images: int, concepts: int) -> Gallery:
    """Concepts round random centres, which lie round a few kinds of thing; no copies."""
    rng = np.random.default_rng(0)
    kinds = rng.normal(0, 1, (20, DIMENSIONS))
    centres = kinds[rng.integers(0, 20, concepts)] + rng.normal(0, 1, (concepts, DIMENSIONS))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    bounds = np.arange(concepts + 1) * images // concepts
    vectors = np.empty((images, DIMENSIONS), dtype=np.float16)
    for number, centre in enumerate(centres):
        block = centre + rng.normal(0, SPREAD, (bounds[number + 1] - bounds[number], DIMENSIONS))
        vectors[bounds[number] : bounds[number + 1]] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return Gallery(
        concepts=[("all", f"{number:06d}") for number in range(concepts)],
        bounds=bounds,
        paths=[f"all/concept/{number:08d}.jpg" for number in range(images)],
        names=[f"all/concept/{number:08d}.jpg" for number in range(images)],
        contents=[f"{number:064x}" for number in range(images)],
        phashes=rng.integers(0, 1 << 64, images, dtype=np.uint64),
        vectors=vectors,
        errors={},
    )


@dataclass(slots=True)
class Figure:
    """The fastest of some runs: seconds, seconds of all processors together, and the most memory above the start in MiB."""

    seconds: float
    cpu: float
    memory: float


def measure(work: Callable[[], object], repeats: int = REPEATS) -> Figure:
    """Run it and measure. Other work on the machine makes runs slower, so the fastest counts."""
    return min((measure_once(work) for _ in range(repeats)), key=lambda figure: figure.seconds)


def measure_once(work: Callable[[], object]) -> Figure:
    process, done = psutil.Process(), threading.Event()
    start = most = process.memory_info().rss

    def watch() -> None:
        nonlocal most
        while not done.wait(0.01):
            most = max(most, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    begin, cpu = time.perf_counter(), time.process_time()
    work()
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    done.set()
    watcher.join()
    return Figure(seconds, cpu, (most - start) / 2**20)


def write(gallery: Gallery, choice: Choice, folder: Path) -> None:
    """Make and write the records."""
    write_records(folder / "records.json", make_records(gallery, choice, gallery.paths, SETTINGS))


def bare(gallery: Gallery, threads: int) -> Callable[[], None]:
    """As many cosines as the step needs, from float64 to float64, and nothing done with them."""
    size = np.diff(gallery.bounds).mean()
    others = round(len(gallery.concepts) + (CANDIDATES + 1) * size)  # means, images of the candidates, images of the own concept
    rows = 1024
    left = gallery.vectors[:rows].astype(np.float64)
    right = gallery.vectors[np.arange(others) % len(gallery.paths)].astype(np.float64)

    def work() -> None:
        with blas_threads(1), ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(lambda count: (left[:count] @ right.T).shape, (rows,) * (len(gallery.paths) // rows)):
                pass

    return work


def faiss_depth(index: Any, gallery: Gallery, vectors: Any, queries: Any) -> int:
    """How many neighbours it takes to meet K - 1 other concepts, as a power of two."""
    owners, depth = gallery.owners(), 16
    while True:
        _, found = index.search(vectors[queries], depth)
        if min(len(set(owners[row]) - {owners[query]}) for query, row in zip(queries, found, strict=True)) >= K - 1:
            return depth
        depth *= 2


def by_faiss(gallery: Gallery, threads: int) -> tuple[Figure, int]:
    """An exact float32 search of all images among all; gives its figure and how many neighbours it was asked for."""
    import faiss

    faiss.omp_set_num_threads(threads)
    vectors = gallery.vectors.astype(np.float32)
    index = faiss.IndexFlatIP(DIMENSIONS)
    index.add(vectors)
    queries = np.linspace(0, len(vectors) - 1, min(SAMPLE, len(vectors)), dtype=np.int64)
    depth = faiss_depth(index, gallery, vectors, queries)
    found, share = measure(lambda: index.search(vectors[queries], depth)), len(queries) / len(vectors)
    return Figure(found.seconds / share, found.cpu / share, found.memory + vectors.nbytes / 2**20), depth


def main() -> None:
    """Run and print a table, and the same as JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--images", type=int, default=100_000)
    options.add_argument("--concepts", type=int, default=1000)
    options.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = options.parse_args()
    os.environ.update(ENVIRONMENT)  # as every step does
    gallery = draw(arguments.images, arguments.concepts)
    choices: list[Choice] = []
    figures = {"choose": measure(lambda: choices.append(choose(gallery, PairReviews(), SETTINGS, arguments.threads)))}
    assert not choices[0].skipped
    with tempfile.TemporaryDirectory() as folder:
        figures["make and write records"] = measure(lambda: write(gallery, choices[0], Path(folder)))
    figures["bare float64 matmuls"] = measure(bare(gallery, arguments.threads))
    figure, depth = by_faiss(gallery, arguments.threads)
    figures[f"faiss IndexFlatIP, {depth} neighbours"] = figure
    report(figures, arguments)


def report(figures: dict[str, Figure], arguments: argparse.Namespace) -> None:
    """Print seconds, rates, memory and ratios."""
    limited = find_spec("threadpoolctl") or os.environ.get("OPENBLAS_NUM_THREADS") == "1"
    print(f"{arguments.images} images of {DIMENSIONS} dimensions in {arguments.concepts} concepts, K = {K}, {arguments.threads} threads,")
    print(f"BLAS with {'one thread in each' if limited else 'as many of its own as it likes'}; the fastest of {REPEATS} runs")
    for name, found in figures.items():
        rate = arguments.images / found.seconds
        print(f"  {name:36s}{found.seconds:8.2f} s {found.cpu:8.2f} s of CPU {rate:9.0f} queries/s {found.memory:6.0f} MiB above the start")
    chosen, _, limit, other = figures.values()
    print(f"  faiss was measured on {min(SAMPLE, arguments.images)} queries and multiplied; its neighbours are no negatives yet")
    print(f"  choosing takes {chosen.seconds / limit.seconds:.2f} x the bare matmuls ({chosen.cpu / limit.cpu:.2f} x their CPU time)")
    print(f"  faiss takes {other.seconds / chosen.seconds:.1f} x choosing")
    print(json.dumps({name: asdict(found) for name, found in figures.items()}))


if __name__ == "__main__":
    main()
