"""The manifest files of the people pipeline: names, columns, order and bytes that existing readers depend on."""

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from workflow_scripts.core.csv_output import UnixEnds
from workflow_scripts.core.step import atomic_text
from workflow_scripts.core.storage import is_bucket, parse_location

COLUMNS = (
    "image_id",
    "s3_key",
    "s3_uri",
    "https_url",
    "presigned_url",
    "people_prob",
    "size",
    "etag",
    "last_modified",
    "margin",
    "sha256",
    "reason",
)
ERROR_COLUMNS = ("s3_key", "error")
SHARD_FILES = ("removed.csv", "kept.csv", "removed_image_ids.txt", "removed_s3_urls.txt", "errors.csv", "run_metadata.json")
AGGREGATE_FILES = (
    "removed_all.csv",
    "kept_all.csv",
    "removed_all_image_ids.txt",
    "removed_all_s3_urls.txt",
    "errors_all.csv",
    "merge_metadata.json",
)

Row = dict[str, str]


def shard_name(shard: int, shard_count: int) -> str:
    """The name of a shard in paths, such as `shard-0000-of-0004`."""
    return f"shard-{shard:04d}-of-{shard_count:04d}"


def image_id(key: str) -> str:
    """Last part of the key up to its first dot. It can collide; the key is the identity."""
    return key.rsplit("/", 1)[-1].split(".", 1)[0]


def order(row: Row) -> tuple[float, str]:
    """Sorting: people_prob descending, then key."""
    return -float(row["people_prob"]), row["s3_key"]


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[dict[str, Any]]) -> int:
    r"""Write rows with a header: UTF-8, `\n`, quoted where needed. Gives their number."""
    with atomic_text(path, newline="") as handle:
        return dump_csv(handle, columns, rows)


def dump_csv(handle: IO[str], columns: Iterable[str], rows: Iterable[dict[str, Any]]) -> int:
    """Write rows to an open file, as `write_csv` does."""
    count = 0
    writer = csv.DictWriter(UnixEnds(handle), list(columns), lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(row)
        count += 1
    return count


def read_csv(path: Path) -> Iterator[Row]:
    """The rows of a file that `write_csv` wrote."""
    with path.open(encoding="utf-8", newline="") as handle:
        yield from csv.DictReader(handle, strict=True)


def write_lines(path: Path, values: Iterable[str]) -> int:
    """Write one value a line; control characters, which would break the line, stand percent-encoded. Gives their number."""
    count = 0
    with atomic_text(path) as handle:
        for value in values:
            count += 1
            handle.write(re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]", lambda match: quote(match[0]), value) + "\n")
    return count


def write_removed_and_kept(folder: Path, removed: list[Row], kept: list[Row]) -> None:
    """Write the four tables and lists of a shard."""
    write_csv(folder / "removed.csv", COLUMNS, sorted(removed, key=order))
    write_csv(folder / "kept.csv", COLUMNS, sorted(kept, key=order))
    write_id_lists(folder / "removed.csv", folder / "removed_image_ids.txt", folder / "removed_s3_urls.txt")


def write_id_lists(removed: Path, ids: Path, urls: Path) -> tuple[int, int]:
    """Write the ids and the URIs of a removed table, in its order; gives both numbers."""
    id_count = write_lines(ids, (row["image_id"] for row in read_csv(removed)))
    return id_count, write_lines(urls, (row["s3_uri"] for row in read_csv(removed)))


def describe_source(source: str, store: dict[str, Any]) -> dict[str, Any]:
    """Where a run's images come from, as metadata says it: bucket and region are null for a folder."""
    if not is_bucket(source):
        return {"bucket": None, "region": None, "src_prefix": source}
    bucket, prefix = parse_location(source)
    return {"bucket": bucket, "region": store.get("region"), "src_prefix": prefix}
