"""retrieval 07: the rows of the report: a query, its positive and one negative; queries without a record; unreadable images."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.core.step import StepError, atomic_output
from workflow_scripts.retrieval.page_images import BATCH, Images, batch_of, side_by_side
from workflow_scripts.retrieval.records import NEAR_COPY, Record, read_records

BETWEEN = " → "  # decisions are read back by names of this form
NEAR_COPY_TAG = "near copy?"
BINS = 200  # of cosines, each 0.01 wide, from -1 to 1
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("name", pa.string()),
        ("label", pa.string()),
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("link", pa.string()),
        ("links", pa.list_(pa.string())),
        ("images", pa.list_(pa.string())),
        ("tags", pa.list_(pa.string())),
        ("negative", pa.float64()),
        ("positive", pa.float64()),
        ("margin", pa.float64()),
    ]
)

Counts = npt.NDArray[np.int64]
T = TypeVar("T")


@dataclass
class Found:
    """What the records hold.

    Attributes:
        records: by category.
        positions: records by (K, place of the answer).
        positives: how many cosines of a positive lie in each bin [BINS].
        negatives: those of negatives, likewise.
        near: negatives with a cosine of at least `NEAR_COPY`.
        closer: negatives more similar to their query than its positive.
        errors: images that cannot be read.
    """

    records: Counter[str] = field(default_factory=Counter)
    positions: Counter[tuple[int, int]] = field(default_factory=Counter)
    positives: Counts = field(default_factory=lambda: np.zeros(BINS, np.int64))
    negatives: Counts = field(default_factory=lambda: np.zeros(BINS, np.int64))
    near: int = 0
    closer: int = 0
    errors: int = 0

    def add(self, records: Sequence[Record], pairs: pa.RecordBatch) -> None:
        """Count some records and the rows that they gave."""
        negatives = np.asarray(pairs["negative"])
        self.records.update(record.category for record in records)
        self.positions.update((len(record.ret_paths), record.label) for record in records)
        self.positives += binned([record.similarities[record.label] for record in records])
        self.negatives += binned(negatives)
        self.near += int((negatives >= NEAR_COPY).sum())
        self.closer += int((np.asarray(pairs["margin"]) < 0).sum())


def binned(cosines: Sequence[float] | npt.NDArray[np.float64]) -> Counts:
    """How many cosines lie in each bin, its lower end included; 1 belongs to the last [BINS]."""
    # As whole millionths, which records are rounded to, they fall into the bin that a reader of decimals expects.
    millionths = np.rint(np.asarray(cosines, np.float64) * 1e6).astype(np.int64)
    return np.bincount(np.clip(millionths // 10_000 + BINS // 2, 0, BINS - 1), minlength=BINS)


def write_items(records: Sequence[Path], metadata: Sequence[dict[str, Any]], images: Images, output: Path) -> Found:
    """Write the table of the page.

    Args:
        records: of each category.
        metadata: of each category, in the same order.
        images: of the whole dataset.
        output: a Parquet file with `SCHEMA`.

    Raises:
        StepError: a file of records and its metadata do not belong together, or name an image that is not in the catalog.
    """
    found = Found()
    with atomic_output(output) as partial, pq.ParquetWriter(partial, SCHEMA, compression="zstd") as writer:
        for path, facts in zip(records, metadata, strict=True):
            for some in _chunks(read_records(path)):
                pairs = _pairs(some, images, path)
                found.add(some, pairs)
                writer.write_batch(pairs)
            if found.records[facts["category"]] != facts["records"]:
                told = f"{facts['records']} records of {facts['category']}"
                raise StepError(f"{path}: the metadata beside it speak of {told}; delete it, and it is made again")
            for queries in _chunks(facts["skipped_queries"]):
                writer.write_batch(_skipped(queries, images, path))
        for batch in images.errors():
            found.errors += len(batch)
            writer.write_batch(_errors(batch))
    return found


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while some := list(islice(iterator, BATCH)):
        yield some


def _pairs(records: Sequence[Record], images: Images, where: Path) -> pa.RecordBatch:
    """A row for each negative of each record."""
    pairs = [(record, place) for record in records for place in range(len(record.ret_paths)) if place != record.label]
    queries = images.find([record.query_path for record, _ in pairs], where)
    positives = images.find([record.ret_paths[record.label] for record, _ in pairs], where)
    negatives = images.find([record.ret_paths[place] for record, place in pairs], where)
    positive = np.array([record.similarities[record.label] for record, _ in pairs], np.float64)
    negative = np.array([record.similarities[place] for record, place in pairs], np.float64)
    told = [_told(record, place, other) for (record, place), other in zip(pairs, negatives["category"].to_pylist(), strict=True)]
    rows = {
        "id": queries["sha256"],
        "name": [f"{record.query_path}{BETWEEN}{record.ret_paths[place]}" for record, place in pairs],
        "label": told,
        "outcome": ["kept"] * len(pairs),
        "reason": told,
        "link": queries["link"],
        "links": side_by_side(queries["link"], positives["link"], negatives["link"]),
        "images": side_by_side(queries["picture"], positives["picture"], negatives["picture"]),
        "tags": [_tags(record, record.similarities[place]) for record, place in pairs],
        "negative": negative,
        "positive": positive,
        "margin": np.round(positive - negative, 6),  # of numbers with six decimals
    }
    return batch_of(SCHEMA, rows, len(pairs))


def _told(record: Record, place: int, category: str) -> str:
    """Which concepts meet; the negative's category stands there where it is another."""
    other = record.ret_concepts[place]
    return f"{record.concept}{BETWEEN}{other if category == record.category else f'{category}/{other}'}"


def _tags(record: Record, negative: float) -> list[str]:
    return [
        record.category,
        f"answer at {record.label + 1} of {len(record.ret_paths)}",
        *([NEAR_COPY_TAG] if negative >= NEAR_COPY else []),
    ]


def _skipped(queries: Sequence[dict[str, str]], images: Images, where: Path) -> pa.RecordBatch:
    """A row for each query that gave no record."""
    paths = [query["path"] for query in queries]
    found = images.find(paths, where)
    rows = {
        "id": found["sha256"],
        "name": paths,
        "label": found["concept"],
        "outcome": ["skipped"] * len(paths),
        "reason": [query["reason"] for query in queries],
        "link": found["link"],
        "images": side_by_side(found["picture"]),
        "tags": side_by_side(found["category"]),
    }
    return batch_of(SCHEMA, rows, len(paths))


def _errors(found: pa.RecordBatch) -> pa.RecordBatch:
    """A row for each image that cannot be read."""
    rows = {name: found[name] for name in ("reason", "link")}
    rows |= {"id": found["sha256"], "name": found["catalog_path"], "label": found["concept"], "tags": side_by_side(found["category"])}
    return batch_of(SCHEMA, rows | {"outcome": ["error"] * len(found)}, len(found))
