"""people 01: list the source, and give every object its shard and what is to be done with it."""

import hashlib
import heapq
import json
import shutil
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.core.images import IMAGE_EXTENSIONS, extension
from workflow_scripts.core.step import StepError, atomic_output, check_not_orphaned, log, report_counts, step
from workflow_scripts.core.storage import Item, Storage, is_valid_key, open_storage, printable_key
from workflow_scripts.people.check_access import check_access
from workflow_scripts.people.share_listing import fetch_listing

SCAN, NOT_SAMPLED, SKIPPED, ERROR = "scan", "not_sampled", "skipped", "error"
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("size", pa.int64()),
        ("etag", pa.string()),
        ("last_modified", pa.string()),
        ("shard", pa.int32()),
        ("outcome", pa.string()),
        ("detail", pa.string()),
    ]
)
CHUNK = 250_000  # rows held as Python objects; a listing of any size takes the memory of a chunk and of a shard
ROW_GROUP = 65_536


def shard_of(key: str, shard_count: int) -> int:
    """The shard of a key; it stays the same when objects are added."""
    return zlib.crc32(key.encode()) % shard_count


def list_objects(source: Storage, output: Path, *, shard_count: int, max_images: int, sample_seed: int) -> dict[str, int]:
    """Write the listing, sorted by shard and key, and count outcomes.

    Args:
        source: what to list.
        output: Parquet table of `SCHEMA`, with the counts in its metadata. `outcome` is `scan`, `not_sampled`, `skipped`
            (`detail`: the extension) or `error` (`detail`: `list: …`).
        shard_count: into how many shards.
        max_images: size of the sample, 0 for all.
        sample_seed: of the sample.

    Raises:
        StepError: the source is not there, or holds no image.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    for left in output.parent.glob(".listing-*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".listing-", dir=output.parent) as spill:
        sample = Sample(max_images, sample_seed)
        parts: list[pa.Table] = []
        counts: Counter[str] = Counter()
        for table in _chunks(source.list(), shard_count, sample):
            parts.append(_write_part(table, Path(spill) / f"{len(parts)}.arrow"))
            counts.update(table["outcome"].to_pylist())
            log.info("listed %d objects", counts.total())
            check_not_orphaned()
        if 0 < max_images < counts[SCAN]:
            counts[NOT_SAMPLED], counts[SCAN] = counts[SCAN] - max_images, max_images
        if not counts[SCAN]:
            raise StepError(f"{source.location}: none of its {counts.total()} files is an image ({' '.join(IMAGE_EXTENSIONS)})")
        schema = SCHEMA.with_metadata({"counts": json.dumps(counts, sort_keys=True)})
        with atomic_output(output) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
            for shard in range(shard_count):
                for piece in _merge_shard(parts, shard):
                    writer.write_table(sample.mark(piece).cast(schema), row_group_size=ROW_GROUP)
    return dict(counts)


def _chunks(items: Iterable[Item], shard_count: int, sample: "Sample") -> Iterator[pa.Table]:
    """The listing in tables of at most `CHUNK` rows; every key that may be sampled is shown to the sample."""
    rows = (_row(item, shard_count) for item in items)
    while chunk := list(islice(rows, CHUNK)):
        table = pa.table(
            [pa.array(column, field.type) for column, field in zip(zip(*chunk, strict=True), SCHEMA, strict=True)], schema=SCHEMA
        )
        sample.see(row[0] for row in chunk if row[5] == SCAN)
        yield table


def _row(item: Item, shard_count: int) -> tuple[Any, ...]:
    key = item.key if is_valid_key(item.key) else printable_key(item.key)
    outcome, detail = SCAN, ""
    suffix = extension(key)
    if suffix not in IMAGE_EXTENSIONS:
        outcome, detail = SKIPPED, suffix or "(none)"
    elif key != item.key:
        outcome, detail = ERROR, "list: the name is no UTF-8; rename the file"
    return key, item.size, item.etag, item.last_modified, shard_of(key, shard_count), outcome, detail


def _write_part(table: pa.Table, path: Path) -> pa.Table:
    """A chunk on disk, sorted by shard and within it as it came; read back by page."""
    table = table.take(np.argsort(table["shard"].to_numpy(), kind="stable"))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        writer.write_table(table)
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _merge_shard(parts: list[pa.Table], shard: int) -> Iterator[pa.Table]:
    """The rows of a shard, by key. Most stores list in the order of keys, so that the parts follow each other; else they are sorted."""
    pieces = []
    for part in parts:
        shards = part["shard"].to_numpy()
        first, last = np.searchsorted(shards, shard, "left"), np.searchsorted(shards, shard, "right")
        if last > first:
            pieces.append(part.slice(first, last - first))
    sorted_pieces = all(piece["key"].combine_chunks().equals(piece["key"].combine_chunks().sort()) for piece in pieces)
    if sorted_pieces and all(one["key"][-1].as_py().encode() < other["key"][0].as_py().encode() for one, other in pairwise(pieces)):
        yield from pieces
    elif pieces:
        yield pa.concat_tables(pieces).sort_by("key")


class Sample:
    """The images whose hashes come first: the same for any number of shards, and mostly the same when images come."""

    def __init__(self, size: int, seed: int) -> None:
        """A sample of so many images; 0 takes all."""
        self._size = size
        self._seed = seed
        self._worst_first: list[int] = []  # negated ranks of the best so far, a heap

    def rank(self, key: str) -> int:
        """Where a key stands: a number that depends on nothing but seed and key."""
        return int.from_bytes(hashlib.sha256(f"{self._seed}\0{key}".encode()).digest()[:16], "big")

    def see(self, keys: Iterable[str]) -> None:
        """Take notice of candidates."""
        for key in keys if self._size else ():
            if len(self._worst_first) < self._size:
                heapq.heappush(self._worst_first, -self.rank(key))
            else:
                heapq.heappushpop(self._worst_first, -self.rank(key))

    def mark(self, table: pa.Table) -> pa.Table:
        """The table with the outcome of what is not in the sample changed; for when all were seen."""
        if not self._size or not self._worst_first:
            return table
        limit = -self._worst_first[0]
        rows = zip(table["key"].to_pylist(), table["outcome"].to_pylist(), strict=True)
        outcomes = [NOT_SAMPLED if outcome == SCAN and self.rank(key) > limit else outcome for key, outcome in rows]
        return table.set_column(table.schema.get_field_index("outcome"), "outcome", pa.array(outcomes, pa.string()))


def listing_counts(listing: Path) -> dict[str, int]:
    """The counts by outcome that a listing was written with."""
    counts: dict[str, int] = json.loads(pq.read_schema(listing).metadata[b"counts"])
    return counts


def read_shard(listing: Path, shard: int) -> Iterator[dict[str, Any]]:
    """The rows of one shard, in the order of their keys."""
    table = pq.read_table(listing, filters=[("shard", "=", shard)])
    for batch in table.to_batches(max_chunksize=16_384):
        yield from batch.to_pylist()


def items_to_scan(rows: Iterable[dict[str, Any]]) -> Iterator[Item]:
    """Those of a listing's rows that are to be embedded."""
    return (Item(row["key"], row["size"], row["etag"], row["last_modified"]) for row in rows if row["outcome"] == SCAN)


if job := globals().get("snakemake"):
    with step(job.log[0]):
        params, target = job.params.listing, Path(job.output[0])
        store, source = params["store"], open_storage(params["source"], params["store"])
        check_access(source, [open_storage(place, store) for place in job.params.machine["written"]])
        if shared := job.params.published:
            report_counts(rows=fetch_listing(shared, open_storage(shared["manifests"], store), job.params.shards, target))
        else:
            options = {name: params[name] for name in ("shard_count", "max_images", "sample_seed")}
            report_counts(**list_objects(source, target, **options))
