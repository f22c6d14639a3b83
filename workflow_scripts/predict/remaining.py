"""How long the projects that are still to be embedded will take, from their images."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from workflow_scripts.core.step import log
from workflow_scripts.predict.tables import about

T = TypeVar("T")
EVERY = 30.0  # seconds between two estimates
FEWEST = 64  # images that must have been embedded before their rate says anything


@dataclass(frozen=True)
class Remaining:
    """What is to be embedded beside one project.

    Attributes:
        images: of the projects that have no embeddings yet.
        projects: how many these are.
        done: images of those that have.
    """

    images: int
    projects: int
    done: int

    @classmethod
    def of(cls, table: Path, inventory: Path, inventories: Sequence[Path]) -> "Remaining":
        """Look which projects have their embedding table; those that are not listed yet are not counted.

        Args:
            table: of the project itself; those of the others stand in the same folder.
            inventory: of the project itself.
            inventories: of all projects.
        """
        counts = {path: int(about(path)["images"]) for path in inventories if path.name != inventory.name and path.is_file()}
        there = {path for path in counts if (table.parent / path.name).is_file()}
        waiting = counts.keys() - there
        return cls(sum(counts[path] for path in waiting), len(waiting), sum(counts[path] for path in there))


def estimated(results: Iterable[T], counts: Mapping[str, int], total: int, others: Remaining | None, every: float = EVERY) -> Iterator[T]:
    """Pass results on; log every now and then how long this project and the others will take at the rate so far.

    Images that the cache knew take no time, and say nothing about the others: the rate is that of the `encoded` ones. It is the rate
    of this job alone: where several run at a time, all are done sooner.

    Args:
        results: one an image.
        counts: the embedder's, while it works.
        total: images of this project.
        others: what is to be done beside it; None for nothing.
        every: seconds between two estimates.
    """
    others = others or Remaining(0, 0, 0)
    last = time.monotonic()
    start: tuple[float, int] | None = None
    for number, result in enumerate(results, 1):
        yield result
        now = time.monotonic()
        if start is None:
            start = now, counts["encoded"]
        encoded = counts["encoded"] - start[1]
        if (now - last >= every or number == total) and encoded >= FEWEST and now > start[0]:
            last = now
            left, rate = total - number + others.images, encoded / (now - start[0])
            if left:
                beside = f" in this and {others.projects} other project{'s' * (others.projects > 1)}" if others.projects else ""
                log.info("about %s left for %d images%s, at %.1f/s", clock(left / rate), left, beside, rate)


def clock(seconds: float) -> str:
    """A length of time as people say it."""
    minutes = seconds / 60
    return f"{minutes / 60:.1f} h" if minutes >= 90 else f"{minutes:.0f} min" if minutes >= 1.5 else f"{seconds:.0f} s"
