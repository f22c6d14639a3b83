"""people 06: the manifests at their destination, with what only publishing knows: times, places, links, failed copies.

A set of manifests ends with its metadata file. That one is taken away first and written last, so that whoever sees it can
trust the tables beside it.
"""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from workflow_scripts.core.json_files import read_json, write_json
from workflow_scripts.core.prefetch import ahead
from workflow_scripts.core.step import log, progress
from workflow_scripts.core.storage import S3Storage, Storage
from workflow_scripts.people import manifests
from workflow_scripts.people.journal import MANIFEST, Entry, Journal
from workflow_scripts.people.publish_images import delete_unchanged

SETS_AT_ONCE = 8
WITH_LINKS = ("removed.csv", "kept.csv", "removed_all.csv", "kept_all.csv")


@dataclass(frozen=True)
class ManifestSet:
    """Manifests that belong together.

    Attributes:
        prefix: where they go below the manifests' place, with the run id, without a slash at the end.
        folder: where they lie.
        files: their names, the metadata last.
    """

    prefix: str
    folder: Path
    files: tuple[str, ...]


def manifest_sets(run: dict[str, Any], shards: Path | None, aggregate: Path | None) -> list[ManifestSet]:
    """What a run publishes: its shards, those of a single shard once more in the run's own folder, then the aggregate."""
    sets: list[ManifestSet] = []
    if shards is not None:
        for name in (manifests.shard_name(number, run["shard_count"]) for number in run["shards"]):
            sets.append(ManifestSet(f"{run['run_id']}/{name}", shards / name, manifests.SHARD_FILES))
            if run["shard_count"] == 1:
                sets.append(ManifestSet(run["run_id"], shards / name, manifests.SHARD_FILES))
    if aggregate is not None:
        sets.append(ManifestSet(f"{run['run_id']}/aggregate", aggregate, manifests.AGGREGATE_FILES))
    return sets


class ManifestPublisher:
    """Writes sets of manifests to their destination."""

    def __init__(self, run: dict[str, Any], source: Storage, destination: Storage, facts: dict[str, Any]) -> None:
        """Take the run's settings and places.

        Args:
            run: with `run_id`, `destination`, `manifests`, `dry_run`, `batch_size`, `presigned` and, where copies failed,
                the rows `failed`.
            source: what links lead to.
            destination: the place of all runs' manifests.
            facts: what became of the images, for the metadata of the aggregate.
        """
        self._run = run
        self._source = source
        self._destination = destination
        self._facts = facts
        self._now = datetime.now(UTC)
        self._failed: list[manifests.Row] = run.get("failed", [])
        self._links = link_facts(run["presigned"], source, self._now)

    def publish(self, sets: list[ManifestSet], journal: Journal) -> int:
        """Write the sets, the aggregate after all shards; gives the number of files."""
        shards = [found for found in sets if found.files == manifests.SHARD_FILES]
        last = [found for found in sets if found.files == manifests.AGGREGATE_FILES]
        for found in sets:
            self._destination.delete(self._key(found, found.files[-1]))
        written = 0
        with tempfile.TemporaryDirectory() as folder:
            for group in (shards, last):
                done = ahead(lambda found: list(self._write_set(found, Path(folder))), group, threads=SETS_AT_ONCE, depth=4 * SETS_AT_ONCE)
                for entries in progress(done, total=len(group), unit="manifest sets"):
                    written += len(entries)
                    for entry in entries:
                        journal.add(entry)
        return written

    def _key(self, found: ManifestSet, name: str) -> str:
        return self._destination.key_of(f"{found.prefix}/{name}")

    def _write_set(self, found: ManifestSet, folder: Path) -> Iterator[Entry]:
        for name in found.files:
            with tempfile.NamedTemporaryFile(dir=folder, suffix=name) as scratch:
                there = self._destination.put_file(self._key(found, name), self._published(found.folder / name, Path(scratch.name)))
            yield Entry(MANIFEST, f"{found.prefix}/{name}", "", there.size, there.etag)

    def _published(self, path: Path, scratch: Path) -> Path:
        """A manifest with what only publishing knows, in `scratch`; or itself, where there is nothing to add."""
        if path.name in ("errors.csv", "errors_all.csv") and self._failed:
            manifests.write_csv(scratch, manifests.ERROR_COLUMNS, self._with_failed_copies(path))
        elif path.name in WITH_LINKS and self._links:
            manifests.write_csv(scratch, manifests.COLUMNS, self._with_links(manifests.read_csv(path)))
        elif path.suffix == ".json":
            write_json(scratch, self._with_facts(read_json(path)))
        else:
            return path
        return scratch

    def _with_failed_copies(self, path: Path) -> list[manifests.Row]:
        """The errors of a shard or of the merge, with the copies that failed among its kept images."""
        kept_file = path.with_name("kept_all.csv" if path.name == "errors_all.csv" else "kept.csv")
        kept = {row["s3_key"] for row in manifests.read_csv(kept_file)}
        rows = [*manifests.read_csv(path), *(row for row in self._failed if row["s3_key"] in kept)]
        return sorted(rows, key=lambda row: row["s3_key"])

    def _with_links(self, rows: Iterable[manifests.Row]) -> Iterator[manifests.Row]:
        for row in rows:
            yield row | {"presigned_url": self._source.presigned_url(row["s3_key"], self._run["presigned"]["expires_seconds"])}

    def _with_facts(self, metadata: dict[str, Any]) -> dict[str, Any]:
        root = f"{self._run['manifests'].rstrip('/')}/{self._run['run_id']}"
        known = {
            "timestamp_utc": _time(self._now),
            "dst_prefix": self._run["destination"],
            "manifest_prefix": self._run["manifests"],
            "manifest_root": root,
            "output_prefix": f"{root}/aggregate",
            "dry_run": self._run["dry_run"],
            "batch_size": self._run["batch_size"],
        }
        metadata |= {name: value for name, value in known.items() if name in metadata}
        if self._links:
            metadata["presigned"] = self._links
        if "shard_index" not in metadata:
            metadata["publish"] = self._facts
        return metadata


def link_facts(presigned: dict[str, Any], source: Storage, now: datetime) -> dict[str, Any]:
    """When the links of a run expire, for its metadata; empty when there are none. Warns of credentials that end sooner."""
    if not presigned["enabled"]:
        return {}
    if not isinstance(source, S3Storage):
        log.warning("presigned links are for images in a bucket; %s is none, the column stays empty", source.location)
        return {}
    seconds = presigned["expires_seconds"]
    facts: dict[str, Any] = {"expires_seconds": seconds, "expires_at_utc": _time(now + timedelta(seconds=seconds))}
    temporary, end = source.credentials_end()
    if temporary and (end is None or end < now + timedelta(seconds=seconds)):
        when = f"at {_time(end)}" if end else "before that, at a time that cannot be known here"
        facts["note"] = f"signed with temporary credentials: the links die with them, {when}"
        log.warning("presigned links: %s", facts["note"])
    return facts


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def remove_others(journal: Journal, destination: Storage, sets: list[ManifestSet]) -> None:
    """Take away manifests of an earlier division into shards."""
    current = {f"{found.prefix}/{name}" for found in sets for name in found.files}
    for entry in journal.of_kind(MANIFEST):
        if entry.key not in current:
            delete_unchanged(destination, entry)
            journal.remove(entry)
