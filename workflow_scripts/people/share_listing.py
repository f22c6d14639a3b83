"""people: the listing that one machine publishes and others read, so that all of them work on the same objects."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.core.json_files import write_json
from workflow_scripts.core.step import StepError, atomic_output, report_counts, step
from workflow_scripts.core.storage import Storage, StorageError, open_storage
from workflow_scripts.people import manifests

FOLDER = "listing"


def publish_listing(listing: Path, run: dict[str, Any], place: Storage) -> int:
    """Write each shard's part of a listing beside the run's manifests; gives the number of rows.

    Args:
        listing: as `list_objects` wrote it.
        run: `run_id`, `shard_count`, and `listing`, the settings that it was made with.
        place: of the manifests.
    """
    rows = 0
    with listing.open("rb") as handle:
        whole = hashlib.file_digest(handle, "sha256").hexdigest()
    made_with = {b"listing": json.dumps(run["listing"], sort_keys=True).encode(), b"whole": whole.encode()}
    for shard in range(run["shard_count"]):
        table = pq.read_table(listing, filters=[("shard", "=", shard)])
        known = {**(table.schema.metadata or {}), **made_with}
        buffer = io.BytesIO()
        pq.write_table(table.replace_schema_metadata(known), buffer, compression="zstd")
        place.write(_key(place, run, shard), buffer.getvalue())
        rows += len(table)
    return rows


def fetch_listing(run: dict[str, Any], place: Storage, shards: list[int], output: Path) -> int:
    """Read some shards of a published listing into one table; gives the number of rows.

    Raises:
        StepError: it is not there, was made with other settings than this machine has, or is being replaced by another.
    """
    tables: list[pa.Table] = []
    for shard in shards:
        key = _key(place, run, shard)
        found = place.find(key)
        if found is None:
            raise StepError(f"{place.uri(key)}: no such listing; run the target people_listing on one machine first")
        try:
            table = pq.read_table(io.BytesIO(place.read(found)))
        except (StorageError, pa.ArrowException, OSError) as error:
            raise StepError(f"{place.uri(key)}: cannot be read ({error}); publish it again with people_listing") from error
        made_with = json.loads((table.schema.metadata or {}).get(b"listing", b"{}"))
        different = sorted(name for name in run["listing"] if run["listing"][name] != made_with.get(name))
        if different:
            raise StepError(f"{place.uri(key)}: was made with another {', '.join(different)}; give all machines the same settings")
        tables.append(table)
    if len({table.schema.metadata[b"whole"] for table in tables}) > 1:
        raise StepError(
            f"{place.uri(place.key_of(run['run_id']))}/{FOLDER}: holds parts of two listings; publish it again with people_listing"
        )
    with atomic_output(output) as partial:
        pq.write_table(pa.concat_tables(tables), partial, compression="zstd", row_group_size=65_536)
    return sum(len(table) for table in tables)


def _key(place: Storage, run: dict[str, Any], shard: int) -> str:
    return place.key_of(f"{run['run_id']}/{FOLDER}/{manifests.shard_name(shard, run['shard_count'])}.parquet")


if job := globals().get("snakemake"):
    with step(job.log[0]):
        target = open_storage(job.params.run["manifests"], job.params.run["store"])
        target.prepare()
        count = publish_listing(Path(job.input[0]), job.params.run, target)
        write_json(Path(job.output[0]), {"rows": count, "place": target.uri(target.key_of(f"{job.params.run['run_id']}/{FOLDER}"))})
        report_counts(rows=count)
