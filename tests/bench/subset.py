"""How near chosen concepts come to a number of images, against a random search of the same time.

    python -m tests.bench.subset [--concepts 5000] [--categories 50]

Counts are from 1 to 1,000, or (`rough`) hundreds alone with five odd ones among them. Targets are what k concepts have on average,
and nine tenths of the way from there to the most that they can have, which random draws hardly ever come near. The random search is
what one would write by hand: draw k concepts (with a cover, one of each category first), keep the best.
"""

import argparse
import random
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import psutil

from workflow_scripts.retrieval.choose import Concept, choose

SIZES = (10, 50, 500)
SEED = 23


def make_concepts(kind: str, count: int, categories: int) -> list[Concept]:
    """Concepts with up to 1,000 images."""
    rng = random.Random(0)
    counts = [rng.randint(1, 1000) if kind == "smooth" else 100 * rng.randint(1, 10) for _ in range(count)]
    if kind == "rough":
        counts[-5:] = [7, 8, 9, 10, 11]
    return [Concept(f"category {index % categories}", f"concept {index}", images) for index, images in enumerate(counts)]


def drawer(concepts: list[Concept], k: int, cover: bool) -> Callable[[], int]:
    """Gives the images of k concepts drawn at random."""
    rng = random.Random(SEED)
    counts = [concept.images for concept in concepts]
    if not cover:
        return lambda: sum(rng.sample(counts, k))
    groups = defaultdict(list)
    for index, concept in enumerate(concepts):
        groups[concept.category].append(index)
    members = list(groups.values())

    def draw() -> int:
        firsts = {rng.choice(group) for group in members}
        while len(firsts) < k:
            firsts.add(rng.randrange(len(counts)))
        return sum(counts[index] for index in firsts)

    return draw


def random_search(draw: Callable[[], int], target: int, seconds: float) -> tuple[int, int]:
    """The smallest gap of the draws that the time allows, and their number."""
    best, draws, end = None, 0, time.perf_counter() + seconds
    while best is None or time.perf_counter() < end:
        gap = abs(draw() - target)
        best = gap if best is None else min(best, gap)
        draws += 1
    return best, draws


def targets(concepts: list[Concept], k: int) -> Iterator[tuple[str, int]]:
    """Names and numbers."""
    counts = sorted(concept.images for concept in concepts)
    mean, most = k * sum(counts) // len(counts), sum(counts[-k:])
    yield "mean", mean
    yield "high", (mean + 9 * most) // 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concepts", type=int, default=5000)
    parser.add_argument("--categories", type=int, default=50)
    options = parser.parse_args()
    before = psutil.Process().memory_info().rss
    print("counts    k cover        target seconds  gap proven | random: draws     gap")
    for kind in ("smooth", "rough"):
        concepts = make_concepts(kind, options.concepts, options.categories)
        for k in SIZES:
            for cover in (False, True)[: 1 + (k >= options.categories)]:
                for name, target in targets(concepts, k):
                    print(kind, measure(concepts, k, cover, name, target), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"peak memory above the start: {(peak - before) / 2**20:.0f} MiB")


def measure(concepts: list[Concept], k: int, cover: bool, name: str, target: int) -> str:
    """A line of the table."""
    start = time.perf_counter()
    choice = choose(concepts, k, target, SEED, cover=cover)
    seconds = time.perf_counter() - start
    gap, draws = random_search(drawer(concepts, k, cover), target, seconds)
    proven = "yes" if choice.optimal else f">={choice.bound}"
    shown = f"{k:>4} {'yes' if cover else 'no':>5} {target:>8} {name} {seconds:>7.2f} {choice.gap:>4} {proven:>6}"
    return f"{shown} | {draws:>13} {gap:>7}"


if __name__ == "__main__":
    main()
