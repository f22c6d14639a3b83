"""people 01: list the source, and give every object its shard and what is to be done with it."""

import hashlib
import heapq
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts.core.images import IMAGE_EXTENSIONS
from workflow_scripts.core.step import StepError, atomic_output, report_counts, step
from workflow_scripts.core.storage import Item, Storage, is_valid_key, open_storage, printable_key

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


def shard_of(key: str, shard_count: int) -> int:
    """The shard of a key; it stays the same when objects are added."""
    return zlib.crc32(key.encode()) % shard_count


def list_objects(source: Storage, output: Path, *, shard_count: int, max_images: int, sample_seed: int) -> dict[str, int]:
    """Write the listing, sorted by shard and key, and count outcomes.

    Args:
        source: what to list.
        output: Parquet table of `SCHEMA`. `outcome` is `scan`, `not_sampled`, `skipped` (`detail`: the extension) or `error`
            (`detail`: `list: …`).
        shard_count: into how many shards.
        max_images: size of the sample, 0 for all.
        sample_seed: of the sample.

    Raises:
        StepError: the source is not there, or holds no image.
    """
    rows = [_row(item, shard_count) for item in source.list()]
    if max_images:
        _sample(rows, max_images, sample_seed)
    counts = Counter(row["outcome"] for row in rows)
    if not counts[SCAN]:
        raise StepError(f"{source.location}: none of its {len(rows)} files is an image ({' '.join(IMAGE_EXTENSIONS)})")
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    # Stable, and the listing comes in the order of keys: each shard is one stretch of the table.
    order = pc.sort_indices(table, sort_keys=[("shard", "ascending"), ("key", "ascending")])
    with atomic_output(output) as partial:
        pq.write_table(table.take(order), partial, compression="zstd", row_group_size=65_536)
    return dict(counts)


def _row(item: Item, shard_count: int) -> dict[str, Any]:
    key = item.key if is_valid_key(item.key) else printable_key(item.key)
    outcome, detail = SCAN, ""
    suffix = PurePosixPath(key).suffix.lower()
    if suffix not in IMAGE_EXTENSIONS:
        outcome, detail = SKIPPED, suffix or "(none)"
    elif key != item.key:
        outcome, detail = ERROR, "list: the name is no UTF-8; rename the file"
    shard = shard_of(key, shard_count)
    values = (key, item.size, item.etag, item.last_modified, shard, outcome, detail)
    return dict(zip(SCHEMA.names, values, strict=True))


def _sample(rows: list[dict[str, Any]], size: int, seed: int) -> None:
    """Keep the `size` images whose hashes come first: the same for any shard count, and mostly the same when images come."""

    def rank(row: dict[str, Any]) -> bytes:
        return hashlib.sha256(f"{seed}\0{row['key']}".encode()).digest()

    candidates = [row for row in rows if row["outcome"] == SCAN]
    chosen = {row["key"] for row in heapq.nsmallest(size, candidates, key=rank)}
    for row in candidates:
        if row["key"] not in chosen:
            row["outcome"] = NOT_SAMPLED


def read_shard(listing: Path, shard: int) -> Iterator[dict[str, Any]]:
    """The rows of one shard, in the order of their keys."""
    table = pq.read_table(listing, filters=[("shard", "=", shard)])
    for batch in table.to_batches(max_chunksize=16_384):
        yield from batch.to_pylist()


if job := globals().get("snakemake"):
    with step(job.log[0]):
        params = job.params.listing
        options = {name: params[name] for name in ("shard_count", "max_images", "sample_seed")}
        report_counts(**list_objects(open_storage(params["source"]), Path(job.output[0]), **options))
