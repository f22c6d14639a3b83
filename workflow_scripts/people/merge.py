"""people 05: merge the manifests of all shards, strictly: nothing is merged with a part missing or different."""

import heapq
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from workflow_scripts.core.accounting import AccountingError, Ledger
from workflow_scripts.core.json_files import read_json, write_json
from workflow_scripts.core.step import StepError, log, report_counts, step
from workflow_scripts.people import manifests
from workflow_scripts.people.list_objects import SCAN, shard_of

# What all shards must share for their decisions to stand in one table.
SHARED = (
    "run_id",
    "bucket",
    "src_prefix",
    "shard_count",
    "threshold",
    "max_images",
    "model",
    "prompts",
    "workflow_version",
    "config_digest",
)
TABLES = {"removed": "removed.csv", "kept": "kept.csv", "errors": "errors.csv"}
COLLISIONS_SHOWN = 20


def merge(shards: Path, listing: Path | None, shard_count: int, output: Path) -> dict[str, int]:
    """Merge `shards/shard-…/` into `output/`; gives the counts of the merge.

    Args:
        shards: folder of the shard folders.
        listing: table of all objects, against which every shard is checked; None where only manifests were sent here.
        shard_count: how many shards there must be.
        output: folder of the aggregate files.

    Raises:
        StepError: a shard is missing or was made with other settings.
        AccountingError: a key is in the wrong shard, missing, or in two tables.
    """
    folders = [shards / manifests.shard_name(number, shard_count) for number in range(shard_count)]
    metadata = _read_metadata(folders)
    for number, folder in enumerate(folders):
        found = _check_shard(folder, number, shard_count, metadata[number]["counts"])
        if listing is not None:
            _check_listed(folder, number, listing, metadata[number]["counts"], found)
    for name in ("removed", "kept"):
        merged = heapq.merge(*(manifests.read_csv(folder / f"{name}.csv") for folder in folders), key=manifests.order)
        manifests.write_csv(output / f"{name}_all.csv", manifests.COLUMNS, merged)
    errors = heapq.merge(*(manifests.read_csv(folder / "errors.csv") for folder in folders), key=lambda row: row["s3_key"])
    manifests.write_csv(output / "errors_all.csv", manifests.ERROR_COLUMNS, errors)
    ids = output / "removed_all_image_ids.txt"
    id_count, url_count = manifests.write_id_lists(output / "removed_all.csv", ids, output / "removed_all_s3_urls.txt")
    totals = {name: sum(shard["counts"][name] for shard in metadata) for name in metadata[0]["counts"]}
    counts = {
        "shard_count": shard_count,
        "merged_removed_rows": totals["removed"],
        "merged_removed_ids": id_count,
        "merged_removed_urls": url_count,
        "kept_rows": totals["kept"],
        "error_rows": totals["errors"],
    }
    _check_totals(totals, id_count, url_count)
    write_json(output / "merge_metadata.json", _merged_metadata(metadata, counts, totals, _collisions(output)))
    return totals


def _merged_metadata(
    shards: list[dict[str, Any]], counts: dict[str, int], totals: dict[str, int], collisions: dict[str, Any]
) -> dict[str, Any]:
    """The metadata of the whole run; what publishing knows alone is null until then."""
    return {
        "run_id": shards[0]["run_id"],
        "timestamp_utc": None,
        "bucket": shards[0]["bucket"],
        "region": shards[0]["region"],
        "manifest_root": None,
        "output_prefix": None,
        "counts": counts,
        "totals": totals,
        "image_id_collisions": collisions,
        "shard_status": [
            {"shard": number, "found": True, "counts": shard["counts"], "errors": shard["counts"]["errors"]}
            for number, shard in enumerate(shards)
        ],
    }


def _read_metadata(folders: list[Path]) -> list[dict[str, Any]]:
    missing = [str(folder / name) for folder in folders for name in manifests.SHARD_FILES if not (folder / name).is_file()]
    if missing:
        raise StepError(f"the merge needs every shard; missing: {', '.join(missing)}")
    found = [read_json(folder / "run_metadata.json") for folder in folders]
    for folder, metadata in zip(folders, found, strict=True):
        different = [name for name in SHARED if metadata[name] != found[0][name]]
        if different:
            raise StepError(f"{folder} differs from {folders[0]} in {', '.join(different)}; make both with the same settings")
    return found


def _check_shard(folder: Path, number: int, shard_count: int, counts: dict[str, int]) -> dict[str, list[str]]:
    """Every image stands in one of the shard's tables, and in this shard, and the metadata counts them right; gives the keys by table."""
    keys = {name: [row["s3_key"] for row in manifests.read_csv(folder / file)] for name, file in TABLES.items()}
    everything = [key for found in keys.values() for key in found]
    wrong = [key for key in everything if shard_of(key, shard_count) != number]
    if wrong:
        raise AccountingError(f"{folder}: holds keys of other shards: {', '.join(wrong[:10])}")
    ledger = Ledger(dict.fromkeys(everything), TABLES)
    for name, found in keys.items():
        ledger.add(name, found)
        if len(found) != counts[name]:
            raise AccountingError(f"{folder}: {TABLES[name]} has {len(found)} rows, its metadata says {counts[name]}")
    return keys


def _check_listed(folder: Path, number: int, listing: Path, counts: dict[str, int], keys: dict[str, list[str]]) -> None:
    """Every image that was to be scanned stands in a table of the shard, and nothing else does."""
    listed = pq.read_table(listing, filters=[("shard", "=", number)], columns=["key", "outcome"])
    ledger = Ledger(listed["key"].to_pylist(), (*TABLES, "untouched"))
    for name, found in keys.items():
        ledger.add(name, found)
    seen = {key for found in keys.values() for key in found}
    # What may stand in no table: not an image, not in the sample, or on an exclusion list.
    left = [key for key in listed["key"].to_pylist() if key not in seen]
    scannable = set(listed.filter(pc.equal(listed["outcome"], SCAN))["key"].to_pylist())
    if len(scannable.intersection(left)) != counts["excluded"]:
        names = ", ".join(sorted(scannable.intersection(left))[:10])
        raise AccountingError(f"{folder}: images in no table, and not all of them excluded: {names}")
    ledger.add("untouched", left)
    ledger.close()


def _check_totals(totals: dict[str, int], ids: int, urls: int) -> None:
    if totals["listed"] != sum(totals[name] for name in ("not_sampled", "excluded", "skipped", "kept", "removed", "errors")):
        raise AccountingError(f"the counts of the shards do not add up: {totals}")
    if not totals["removed"] == ids == urls:
        raise AccountingError(f"{totals['removed']} removed rows, {ids} ids and {urls} URLs: a merged list is not whole")


def _collisions(output: Path) -> dict[str, Any]:
    """Image ids that several keys share: readers that go by id alone would mix them up."""
    options = pa.csv.ConvertOptions(include_columns=["image_id"], column_types={"image_id": pa.string()}, strings_can_be_null=False)
    parse = pa.csv.ParseOptions(newlines_in_values=True)
    tables = [pa.csv.read_csv(output / f"{name}_all.csv", convert_options=options, parse_options=parse) for name in ("removed", "kept")]
    counts = pa.concat_tables(tables).group_by("image_id").aggregate([("image_id", "count")])
    shared = counts.filter(pc.greater(counts["image_id_count"], 1)).sort_by("image_id")
    if len(shared):
        log.warning("%d image ids belong to several keys each; go by s3_key or sha256 instead", len(shared))
    return {"ids": len(shared), "examples": shared["image_id"].to_pylist()[:COLLISIONS_SHOWN]}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        source, target = Path(job.params.shards), Path(job.output[0]).parent
        report_counts(**merge(source, Path(job.input.listing), job.params.merge["shard_count"], target))
