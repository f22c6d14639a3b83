"""people 06: copy the kept images and the manifests to their destination, and write a receipt for a complete copy.

What was published stands in a journal beside the receipt: Snakemake deletes a receipt before it runs the step again, the
journal stays, so an interrupted or repeated run copies only what is not there yet.
"""

from pathlib import Path
from typing import Any

from workflow_scripts.core.step import report_counts, step
from workflow_scripts.core.storage import Item, open_storage
from workflow_scripts.people import manifests
from workflow_scripts.people.journal import Journal
from workflow_scripts.people.publish_images import ImagePublisher
from workflow_scripts.people.publish_manifests import ManifestPublisher, manifest_sets, remove_others


def read_kept(kept: Path) -> list[Item]:
    """The kept images of a manifest."""
    return [Item(row["s3_key"], int(row["size"]), row["etag"], row["last_modified"]) for row in manifests.read_csv(kept)]


def publish(run: dict[str, Any], shards: Path, aggregate: Path | None, output: Path) -> dict[str, int]:
    """Publish a run, or some shards of it; gives the counts.

    Args:
        run: `run_id`, `shards` (the numbers to publish), places and settings.
        shards: folder of the shards' manifests.
        aggregate: folder of the merged manifests; None where each machine publishes its own shards.
        output: the receipt, a table of every object published; written only when all are there.

    Raises:
        StepError: images could not be copied, or too many would be pruned.
    """
    journal = Journal(output.with_name("journal.jsonl"))
    source, destination, place = (open_storage(run[name], run["store"]) for name in ("source", "destination", "manifests"))
    if not run["dry_run"]:
        destination.prepare()
    place.prepare()
    names = [manifests.shard_name(number, run["shard_count"]) for number in run["shards"]]
    kept = [item for name in names for item in read_kept(shards / name / "kept.csv")]
    images = ImagePublisher(run, source, destination, journal)
    images.copy(kept)
    sets = manifest_sets(run, shards, aggregate)
    written = ManifestPublisher(run | {"failed": images.failed}, source, place, images.counts).publish(sets, journal)
    remove_others(journal, place, sets)
    images.prune(kept)
    journal.write_receipt(output)
    return images.counts | {"manifests": written}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        decided = Path(job.input.shards[0]).parents[1]
        merged = Path(job.input.merged[0]).parent if job.input.get("merged") else None
        report_counts(**publish(job.params.run | job.params.machine, decided, merged, Path(job.output[0])))
