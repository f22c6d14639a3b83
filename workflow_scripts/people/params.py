"""What the rules of `people` give their steps, from the settings of a run."""

from collections.abc import Sequence
from typing import Any

from workflow_scripts.core.step import StepError
from workflow_scripts.core.storage import is_bucket
from workflow_scripts.people.manifests import AGGREGATE_FILES, SHARD_FILES
from workflow_scripts.settings.params import store as store_of
from workflow_scripts.settings.params import tracked
from workflow_scripts.settings.people import PeopleRun


def store(run: PeopleRun) -> dict[str, Any]:
    """How the run's buckets are reached."""
    return store_of(run, used=run.uses_bucket)


def listing(run: PeopleRun) -> dict[str, Any]:
    """What a listing depends on."""
    return tracked(run, "source", "shard_count", "max_images", "sample_seed", "snapshot", store=store(run))


def shared_listing(name: str, run: PeopleRun) -> dict[str, Any]:
    """Where a listing is published for other machines, and what it must have been made with there."""
    return tracked(run, "manifests", "shard_count", run_id=name, store=store(run), listing=listing(run))


def written(run: PeopleRun) -> list[str | None]:
    """The places that a run writes to; in buckets this is tried before the long work."""
    return [run.manifests] if run.dry_run else [run.manifests, run.destination]


def publish(name: str, run: PeopleRun, shards: Sequence[int]) -> dict[str, Any]:
    """What publishing some shards of a run depends on."""
    places = ("source", "destination", "manifests")
    behaviour = ("shard_count", "dry_run", "presigned", "prune", "prune_max_fraction", "allow_copy_errors")
    return tracked(run, *places, *behaviour, run_id=name, store=store(run), shards=list(shards))


def steps(shards: Sequence[str], *, merged: bool) -> list[str]:
    """What the steps of a run make, below its results. Every target asks for all of it, so that what a failed job left out is made by
    the next run: Snakemake removes a job's outputs before it runs, and does not miss them while those of the steps behind are there.

    Args:
        shards: those that are worked on here.
        merged: whether they are merged here.
    """
    found = ["01_list/objects.parquet", "03_score/prompts.json"]
    for shard in shards:
        found += [f"02_embed/{shard}.parquet", f"03_score/{shard}.parquet", *(f"04_decide/{shard}/{file}" for file in SHARD_FILES)]
    return found + [f"05_merge/aggregate/{file}" for file in AGGREGATE_FILES if merged]


def receipts(folder: str, run: PeopleRun, shards: Sequence[str]) -> list[str]:
    """The receipts of what this machine published below a run's folder."""
    if run.shards:
        return [f"{folder}/06_publish/{shard}/receipt.parquet" for shard in shards]
    return [f"{folder}/06_publish/receipt.parquet"]


def check_whole(name: str, run: PeopleRun) -> None:
    """Refuse to merge on a machine that has a part of the run.

    Raises:
        StepError: naming the targets to use.
    """
    if run.shards:
        raise StepError(
            f"people.runs.{name}.shards gives this machine a part of the run: use the target people_shard here, "
            "and people_merge_remote when all machines are done"
        )


def check_in_bucket(name: str, run: PeopleRun) -> None:
    """Refuse to work without a shared disk where the manifests are on one.

    Raises:
        StepError: naming the setting.
    """
    if not is_bucket(str(run.manifests)):
        raise StepError(f"people.runs.{name}.manifests ({run.manifests}) is a folder: without a shared disk it must be s3://bucket/prefix/")
