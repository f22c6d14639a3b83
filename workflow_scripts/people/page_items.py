"""people 07: what the pages show: a row for each scanned image."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from workflow_scripts.core.step import atomic_output
from workflow_scripts.people import manifests

OUTCOMES = {"kept": "kept", "removed": "removed", "errors": "error"}
TOO_CLOSE = "too close to call"
# Another processor or precision moves people_prob by less than this (README, Same input, same bytes).
BAND = 0.01
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("name", pa.string()),
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("decision", pa.string()),
        ("link", pa.string()),
        ("images", pa.list_(pa.string())),
        ("tags", pa.list_(pa.string())),
        ("people_prob", pa.float64()),
        ("margin", pa.float64()),
    ]
)


def write_items(aggregate: Path, threshold: float, output: Path) -> int:
    """Write the table of a page from the merged manifests; gives the number of images too close to call."""
    close = 0
    with atomic_output(output) as partial, pq.ParquetWriter(partial, SCHEMA, compression="zstd") as writer:
        for table, outcome in OUTCOMES.items():
            for batch in _read(aggregate / f"{table}_all.csv"):
                items = _error_items(batch) if outcome == "error" else _scored_items(batch, outcome, threshold)
                close += sum(map(len, items["tags"].to_pylist()))
                writer.write_batch(items)
    return close


def _read(path: Path) -> Iterator[pa.RecordBatch]:
    columns = manifests.ERROR_COLUMNS if path.name.startswith("errors") else manifests.COLUMNS
    kinds = {name: pa.float64() if name in ("people_prob", "margin") else pa.string() for name in columns}
    options = pa.csv.ConvertOptions(column_types=kinds, strings_can_be_null=False)
    with pa.csv.open_csv(path, convert_options=options, parse_options=pa.csv.ParseOptions(newlines_in_values=True)) as reader:
        yield from reader


def _scored_items(batch: pa.RecordBatch, outcome: str, threshold: float) -> pa.RecordBatch:
    count = batch.num_rows
    by_hand = pc.equal(batch["reason"], "human")
    near = pc.and_(pc.less_equal(pc.abs(pc.subtract(batch["people_prob"], threshold)), BAND), pc.invert(by_hand))
    image = pc.binary_join_element_wise(batch["sha256"], batch["s3_key"], " ")
    columns = {
        "id": batch["sha256"],
        "name": batch["s3_key"],
        "outcome": pa.array([outcome] * count, pa.string()),
        "reason": batch["reason"],
        "decision": pc.if_else(by_hand, {"kept": "keep", "removed": "remove"}[outcome], ""),
        "link": pc.if_else(pc.equal(batch["https_url"], ""), batch["s3_uri"], batch["https_url"]),
        "images": pa.ListArray.from_arrays(pa.array(range(count + 1), pa.int32()), image),
        "tags": pa.array([[TOO_CLOSE] if is_near else [] for is_near in near.to_pylist()], pa.list_(pa.string())),
        "people_prob": batch["people_prob"],
        "margin": batch["margin"],
    }
    return pa.record_batch([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def _error_items(batch: pa.RecordBatch) -> pa.RecordBatch:
    count = batch.num_rows
    known = {"name": batch["s3_key"], "outcome": pa.array(["error"] * count, pa.string()), "reason": batch["error"]}
    empty = {"decision": "", "link": "", "images": [], "tags": []}
    columns = [known.get(field.name, pa.array([empty.get(field.name)] * count, field.type)) for field in SCHEMA]
    return pa.record_batch(columns, schema=SCHEMA)
