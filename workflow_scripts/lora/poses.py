"""Frames to what is seen in them, through the cache: decode ahead in threads, look for people in batches of one shape."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from workflow_scripts.core.clip import resolve_device
from workflow_scripts.core.images import DecodeError, content_hash, decode
from workflow_scripts.core.models import WeightsCard
from workflow_scripts.core.prefetch import ahead
from workflow_scripts.core.segments import ContentStore
from workflow_scripts.core.step import progress
from workflow_scripts.lora import pose_model, tables
from workflow_scripts.lora.categories import Person
from workflow_scripts.lora.pose_model import Pixels, PoseModel, Prepared

Row = dict[str, Any]
_SCHEMA = pa.schema([("sha256", pa.binary(32)), ("people", pa.list_(tables.PERSON)), ("sharpness", pa.float64())])
_MOST_WAITING = 256  # frames of any shapes, until the batch that is fullest is computed as it is


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found in a frame: the people, largest box first, and the variance of the Laplacian over the whole of it."""

    people: list[Person]
    sharpness: float


class PoseCache(ContentStore[Seen]):
    """Content sha256 of a frame → what was found in it, for one fingerprint."""

    def __init__(self, root: str, fingerprint: str) -> None:
        """Open the cache below `root`."""
        super().__init__(Path(root) / "poses" / fingerprint, _SCHEMA)

    def _to_row(self, value: Seen) -> tuple[Any, ...]:
        return value.people, value.sharpness

    def _from_row(self, table: pa.Table, row: int) -> Seen:
        return Seen(table["people"][row].as_py(), table["sharpness"][row].as_py())


def sharpness(pixels: Pixels) -> float:
    """Variance of the Laplacian (a pixel's 4 neighbours less 4 times itself) of the BT.601 grey of RGB pixels [h, w, 3]."""
    import cv2

    edges = cv2.Laplacian(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.CV_64F, ksize=1)
    # Sums of whole numbers: the same on every machine.
    _, deviation = cv2.meanStdDev(edges)
    return float(deviation[0, 0]) ** 2


@dataclass(slots=True)
class _Frame:
    """A frame on its way: `prepared` for the model, or why it is not."""

    row: Row
    prepared: Prepared | None = None
    sharpness: float = 0.0
    error: str | None = None


class Finder:
    """Looks for people in frames, through the cache; the model is loaded when a frame is unknown.

    Attributes:
        fingerprint: of what is found.
        counts: contents `known`, and those `computed`.
    """

    def __init__(self, root: Path, card: WeightsCard, machine: dict[str, Any], *, max_pixels: int) -> None:
        """Open the cache. Arguments as of `pose.detect`."""
        self._root, self._card, self._machine, self._max_pixels = root, card, machine, max_pixels
        device, _ = resolve_device(machine["device"])
        self.fingerprint = pose_model.fingerprint(card.sha256, pose_model.precision(device))
        self._cache = PoseCache(machine["cache_root"], self.fingerprint)
        self.counts = Counter(dict.fromkeys(("known", "computed"), 0))

    def find(self, rows: list[Row]) -> dict[str, Seen | str]:
        """What is seen in the contents of these rows of FRAMES, by sha256; or `stage: text`."""
        contents = {row["sha256"]: row for row in rows}
        found: dict[str, Seen | str] = {sha256: seen for sha256 in contents if (seen := self._cache.get(sha256)) is not None}
        self.counts["known"] += len(found)
        unknown = [row for sha256, row in contents.items() if sha256 not in found]
        return found | (dict(self._computed(unknown)) if unknown else {})

    def _computed(self, rows: list[Row]) -> Iterator[tuple[str, Seen | str]]:
        threads = self._machine["threads"]
        how = {"device": self._machine["device"], "threads": threads, "batch": self._machine.get("batch", "auto")}
        self._card.verify()
        model = PoseModel(Path(self._card.weights), **how)
        frames = ahead(
            lambda row: self._prepare(row, model),
            rows,
            threads=threads,
            depth=2 * model.batch + threads,
            weight=lambda row: 3 * row["width"] * row["height"],
        )
        try:
            for frame, people in progress(_in_batches(frames, model), total=len(rows), unit="frames"):
                sha256 = frame.row["sha256"]
                if frame.error is not None:
                    yield sha256, frame.error
                elif not _finite(people):
                    yield sha256, "pose: the model gave numbers that are not finite"
                else:
                    seen = Seen(people, frame.sharpness)
                    self._cache.add(sha256, seen)
                    self.counts["computed"] += 1
                    yield sha256, seen
        finally:
            self._cache.flush()

    def _prepare(self, row: Row, model: PoseModel) -> _Frame:
        """Runs in a thread."""
        try:
            data = (self._root / row["path"]).read_bytes()
            if content_hash(data) != row["sha256"]:
                return _Frame(row, error="read: another content than step 01 listed")
            pixels = np.asarray(decode(data, max_pixels=self._max_pixels).image)
        except OSError as error:
            return _Frame(row, error=f"read: {(error.strerror or type(error).__name__).lower()}")
        except DecodeError as error:
            return _Frame(row, error=str(error))
        return _Frame(row, model.prepare(pixels), sharpness(pixels))


def _in_batches(frames: Iterable[_Frame], model: PoseModel) -> Iterator[tuple[_Frame, list[Person]]]:
    """Each frame with its people, in the order of full batches: a batch has one shape, a frame that has none is passed on at once."""
    waiting: dict[tuple[int, ...], list[_Frame]] = defaultdict(list)
    for frame in frames:
        if frame.prepared is None:
            yield frame, []
            continue
        batch = waiting[frame.prepared.pixels.shape]
        batch.append(frame)
        if len(batch) >= model.batch:
            yield from _found(batch, model)
        elif sum(map(len, waiting.values())) > _MOST_WAITING:
            yield from _found(max(waiting.values(), key=len), model)
    for batch in filter(None, waiting.values()):
        yield from _found(batch, model)


def _found(batch: list[_Frame], model: PoseModel) -> Iterator[tuple[_Frame, list[Person]]]:
    """Empties a batch."""
    prepared = [frame.prepared for frame in batch if frame.prepared is not None]
    yield from zip(batch, model.find(prepared), strict=True)
    batch.clear()


def _finite(people: list[Person]) -> bool:
    return all(isfinite(value) for person in people for value in (*person["box"], person["confidence"], *person["keypoints"]))
