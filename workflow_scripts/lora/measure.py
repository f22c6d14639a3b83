"""lora 04: measure the cut-out subjects of a video; what is good enough is decided later."""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL.PngImagePlugin import PngImageFile

from workflow_scripts.core.accounting import Ledger
from workflow_scripts.core.images import DECODE_VERSION, DecodeError, content_hash, decode
from workflow_scripts.core.inspect import PHASH_VERSION
from workflow_scripts.core.prefetch import ahead
from workflow_scripts.core.segments import ContentStore
from workflow_scripts.core.step import progress, report_counts, step
from workflow_scripts.lora.shapes import Shape, measure_subject, pose_confidence
from workflow_scripts.lora.tables import METRICS, about, read, write

ALGORITHM = 1  # bumped by hand when measures change
Row = dict[str, Any]
Look = Callable[[Row, Row], Shape | str]
_SCHEMA = pa.schema([("sha256", pa.binary(32)), *((field.name, dict(METRICS)[field.name]) for field in fields(Shape))])


class ShapeCache(ContentStore[Shape]):
    """What a subject was measured from → its measures."""

    def __init__(self, root: str) -> None:
        """Open the cache below `root`."""
        super().__init__(Path(root) / "subjects" / f"v{DECODE_VERSION}-{PHASH_VERSION}-{ALGORITHM}", _SCHEMA)

    def _to_row(self, value: Shape) -> tuple[Any, ...]:
        return tuple(getattr(value, field.name) for field in fields(Shape))

    def _from_row(self, table: pa.Table, row: int) -> Shape:
        return Shape(*(table[field.name][row].as_py() for field in fields(Shape)))


def cache_key(mask: Row, candidate: Row) -> str:
    """sha256 of what the measures of a subject depend on: picture, frame and the person's box."""
    parts = [mask["file_sha256"], candidate["sha256"], candidate["person"]["box"]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _measure(root: Path, mask: Row, candidate: Row, max_pixels: int) -> Shape | str:
    """The measures of one subject, or why there are none."""
    try:
        picture, frame = (root / mask["path"]).read_bytes(), (root / candidate["path"]).read_bytes()
        if content_hash(picture) != mask["file_sha256"]:
            return "mask: the picture was changed since step 03; run that step again"
        if content_hash(frame) != candidate["sha256"]:
            return "read: another content than step 01 listed"
        with PngImageFile(io.BytesIO(picture)) as subject:
            subject.load()
            return measure_subject(subject, decode(frame, max_pixels=max_pixels).image, candidate["person"]["box"])
    except DecodeError as error:
        return str(error)
    except (OSError, SyntaxError, ValueError) as error:
        return f"read: {getattr(error, 'strerror', None) or 'not a PNG that can be read'}"


def _measured(pairs: list[tuple[Row, Row]], look_at: Look, machine: dict[str, Any], counts: Counter[str]) -> Iterator[Shape | str]:
    """What is known or measured of each subject, in order; OpenCV and Pillow let threads work side by side."""
    cache = ShapeCache(machine["cache_root"])

    def look(pair: tuple[Row, Row]) -> tuple[str, Shape | str, bool]:
        key = cache_key(*pair)
        known = cache.get(key)
        return key, known or look_at(*pair), known is not None

    threads = machine["threads"]
    results = ahead(look, pairs, threads=threads, depth=8 * threads)
    try:
        for key, found, was_known in progress(results, total=len(pairs), unit="subjects"):
            if isinstance(found, Shape):
                counts["known" if was_known else "computed"] += 1
                if not was_known:
                    cache.add(key, found)
            yield found
    finally:
        cache.flush()


def measure(masks: Path, sorted_table: Path, root: Path, machine: dict[str, Any], output: Path, *, max_pixels: int) -> dict[str, int]:
    """Write the measures of a video's subjects; gives the counts.

    Args:
        masks: of step 03.
        sorted_table: of step 02, which step 03 was made from.
        root: the results of the workspace.
        machine: `cache_root` and `threads`.
        output: the table `METRICS`.
        max_pixels: of a frame, above which it is an error.
    """
    rows = read(masks)
    candidates = {row["frame_id"]: row for row in read(sorted_table) if row["outcome"] == "candidate"}
    ledger = Ledger((row["frame_id"] for row in rows), ("measured", "error"))
    counts = Counter(dict.fromkeys(("known", "computed"), 0))
    pairs = [(row, candidates[row["frame_id"]]) for row in rows if row["outcome"] == "masked"]
    results = _measured(pairs, lambda mask, candidate: _measure(root, mask, candidate, max_pixels), machine, counts)
    for row in rows:
        if row["outcome"] == "masked":
            found = next(results)
            if isinstance(found, Shape):
                pose = pose_confidence(row["category"], candidates[row["frame_id"]]["person"]["keypoints"])
                row |= asdict(found) | {"pose": pose, "outcome": "measured"}
            else:
                row |= {"outcome": "error", "reason": found}
        ledger.add(row["outcome"], [row["frame_id"]])
    next(results, None)  # lets the cache be written
    write(output, METRICS, rows, about(masks))
    return ledger.close() | dict(counts)


if job := globals().get("snakemake"):
    with step(job.log[0]):
        params = job.params
        places = Path(job.input.masks), Path(job.input.sorted), Path(params.root), params.machine, Path(job.output[0])
        report_counts(**measure(*places, max_pixels=params.max_pixels))
