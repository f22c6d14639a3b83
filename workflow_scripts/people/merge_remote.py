"""people: merge the shards that other machines published, and publish the aggregate beside them."""

import tempfile
from pathlib import Path
from typing import Any

from workflow_scripts.core.prefetch import ahead
from workflow_scripts.core.step import StepError, progress, report_counts, step
from workflow_scripts.core.storage import Item, Storage, StorageError, open_storage
from workflow_scripts.people import manifests
from workflow_scripts.people.journal import Journal
from workflow_scripts.people.merge import merge
from workflow_scripts.people.publish_manifests import ManifestPublisher, manifest_sets

READS_AT_ONCE = 16
NAMED = 10


def fetch_shards(run: dict[str, Any], place: Storage, folder: Path) -> list[manifests.Row]:
    """Read the manifests of all shards of a run into `folder`, without what publishing added: links, and copies that failed.

    Gives the rows of the copies that failed, whose images stand in the kept tables too.

    Raises:
        StepError: naming what is missing.
    """
    names = [manifests.shard_name(number, run["shard_count"]) for number in range(run["shard_count"])]
    wanted = [(place.key_of(f"{run['run_id']}/{name}/{file}"), folder / name / file) for name in names for file in manifests.SHARD_FILES]
    found = ahead(lambda pair: (place.find(pair[0]), *pair), wanted, threads=READS_AT_ONCE, depth=4 * READS_AT_ONCE)
    missing: list[str] = []
    items: list[tuple[Item, Path]] = []
    for item, key, path in found:
        if item is None:
            missing.append(place.uri(key))
        else:
            items.append((item, path))
    if missing:
        more = f" … and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise StepError(f"the merge needs every shard; missing: {', '.join(missing[:NAMED])}{more}; run people_shard for them first")
    fetched = ahead(
        lambda pair: _fetch(place, *pair), items, threads=READS_AT_ONCE, depth=2 * READS_AT_ONCE, weight=lambda pair: pair[0].size
    )
    return [row for failed in progress(fetched, total=len(items), unit="manifests") for row in failed]


def _fetch(place: Storage, item: Item, path: Path) -> list[manifests.Row]:
    """Read one manifest; gives the rows of copies that failed, when it is the one that holds them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.write_bytes(place.read(item))
    except StorageError as error:
        raise StepError(f"{place.uri(item.key)}: {error}; a machine is publishing it now, merge again when it is done") from error
    if path.name in ("removed.csv", "kept.csv"):
        manifests.write_csv(path, manifests.COLUMNS, [row | {"presigned_url": ""} for row in manifests.read_csv(path)])
    if path.name != "errors.csv":
        return []
    unreadable: list[manifests.Row] = []
    failed: list[manifests.Row] = []
    for row in manifests.read_csv(path):
        (failed if row["error"].startswith("copy:") else unreadable).append(row)
    manifests.write_csv(path, manifests.ERROR_COLUMNS, unreadable)
    return failed


def merge_remote(run: dict[str, Any], output: Path) -> dict[str, int]:
    """Merge a run's published shards into `output` and publish the aggregate; gives the totals.

    Args:
        run: `run_id`, `shard_count`, places and settings of publishing.
        output: folder of the aggregate files.
    """
    source, place = open_storage(run["source"], run["store"]), open_storage(run["manifests"], run["store"])
    with tempfile.TemporaryDirectory() as folder:
        failed = fetch_shards(run, place, Path(folder))
        totals = merge(Path(folder), None, run["shard_count"], output)
    sets = manifest_sets(run, None, output)
    facts = {"machines": "each shard was published by the machine that made it"}
    ManifestPublisher(run | {"failed": failed}, source, place, facts).publish(sets, Journal(output.parent / "journal.jsonl"))
    return totals


if job := globals().get("snakemake"):
    with step(job.log[0]):
        report_counts(**merge_remote(job.params.run | job.params.machine, Path(job.output[0]).parent))
