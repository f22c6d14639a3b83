"""people 06: copy the kept images and the manifests to their destination, and write a receipt for a complete copy.

What was published stands in a journal beside the receipt: Snakemake deletes a receipt before it runs the step again, the
journal stays, so an interrupted or repeated run copies only what is not there yet.
"""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workflow_scripts.core.embed import ahead
from workflow_scripts.core.step import StepError, is_leftover, log, progress, report_counts, step
from workflow_scripts.core.storage import Item, Storage, StorageError, open_storage
from workflow_scripts.people import manifests
from workflow_scripts.people.journal import IMAGE, MANIFEST, Entry, Journal

COPIES_AT_ONCE = 16


class Publisher:
    """Publishes one run.

    Attributes:
        counts: `kept`, `copied`, `already_there`, `failed`, `would_copy`, `stale` (published earlier, kept no more),
            `pruned`, `manifests`.
    """

    def __init__(self, run: dict[str, Any], journal: Journal) -> None:
        """Open the run's places; `run` holds its settings and `source`, `destination`, `manifests`."""
        self._run = run
        self._journal = journal
        self._source: Storage = open_storage(run["source"])
        self._destination: Storage = open_storage(run["destination"])
        self._manifests: Storage = open_storage(run["manifests"])
        self._failed: list[manifests.Row] = []
        names = ("kept", "copied", "already_there", "failed", "would_copy", "stale", "pruned", "manifests")
        self.counts = dict.fromkeys(names, 0)

    def copy_images(self, kept: list[Item]) -> None:
        """Copy what is not there yet; try every image before failing.

        Raises:
            StepError: some could not be copied, and `allow_copy_errors` is off.
        """
        present = {item.key: item.etag for item in _sweep(self._destination)}
        # The journal outlives a change of destination and copies deleted by hand; the receipt made from it must not.
        for entry in self._journal.of_kind(IMAGE):
            if entry.key not in present:
                self._journal.remove(entry)
        missing = [item for item in kept if not self._is_published(item, present)]
        self.counts |= {"kept": len(kept), "already_there": len(kept) - len(missing)}
        if self._run["dry_run"]:
            self.counts["would_copy"] = len(missing)
            return
        copies = ahead(self._copy, missing, threads=COPIES_AT_ONCE, depth=4 * COPIES_AT_ONCE)
        for item, result in progress(zip(missing, copies, strict=True), total=len(missing), unit="copies"):
            if isinstance(result, Entry):
                self._journal.add(result)
                self.counts["copied"] += 1
            else:
                self._failed.append({"s3_key": item.key, "error": f"copy: {result}"})
        self.counts["failed"] = len(self._failed)
        if self._failed and not self._run["allow_copy_errors"]:
            shown = "; ".join(f"{row['s3_key']}: {row['error']}" for row in self._failed[:10])
            mend = "run again to try only these, or set allow_copy_errors"
            raise StepError(f"{len(self._failed)} of {len(kept)} images could not be copied ({shown}); {mend}")

    def _is_published(self, item: Item, present: dict[str, str]) -> bool:
        entry = self._journal.entries.get((IMAGE, item.key))
        return entry is not None and entry.source_etag == item.etag and present.get(item.key) == entry.etag

    def _copy(self, item: Item) -> Entry | StorageError:
        try:
            there = self._destination.copy_from(self._source, item, item.key)
        except StorageError as error:
            return error
        return Entry(IMAGE, item.key, item.etag, there.size, there.etag)

    def publish_manifests(self, shards: Path, aggregate: Path, shard_count: int) -> None:
        """Write the manifests after the images, the aggregate last; take away those of an earlier division into shards."""
        root = self._run["run_id"]
        names = [manifests.shard_name(number, shard_count) for number in range(shard_count)]
        files = [(f"{root}/{name}/{file}", shards / name / file) for name in names for file in manifests.SHARD_FILES]
        if shard_count == 1:
            files += [(f"{root}/{file}", shards / names[0] / file) for file in manifests.SHARD_FILES]
        files += [(f"{root}/aggregate/{file}", aggregate / file) for file in manifests.AGGREGATE_FILES]
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for key, path in files:
            there = self._manifests.write(key, self._published_bytes(path, now))
            self._journal.add(Entry(MANIFEST, key, "", there.size, there.etag))
        self.counts["manifests"] = len(files)
        written = {key for key, _ in files}
        for entry in self._journal.of_kind(MANIFEST):
            if entry.key not in written:
                self._delete(self._manifests, entry)

    def _published_bytes(self, path: Path, now: str) -> bytes:
        """A manifest with what only publishing knows."""
        if path.name in ("errors.csv", "errors_all.csv"):
            return self._errors_with_copies(path)
        if path.suffix != ".json":
            return path.read_bytes()
        metadata = manifests.read_json(path)
        known = {
            "timestamp_utc": now,
            "dst_prefix": self._run["destination"],
            "manifest_prefix": self._run["manifests"],
            "manifest_root": f"{self._run['manifests'].rstrip('/')}/{self._run['run_id']}",
            "output_prefix": f"{self._run['manifests'].rstrip('/')}/{self._run['run_id']}/aggregate",
            "dry_run": self._run["dry_run"],
            "batch_size": self._run["batch_size"],
        }
        metadata |= {name: value for name, value in known.items() if name in metadata}
        if "shard_index" not in metadata:
            metadata["publish"] = self.counts
        return (json.dumps(metadata, indent=2, ensure_ascii=False) + "\n").encode()

    def _errors_with_copies(self, path: Path) -> bytes:
        """The errors of a shard or of the merge, with the copies that failed among its kept images."""
        if not self._failed:
            return path.read_bytes()
        kept_file = path.with_name("kept_all.csv" if path.name == "errors_all.csv" else "kept.csv")
        kept = {row["s3_key"] for row in manifests.read_csv(kept_file)}
        rows = [*manifests.read_csv(path), *(row for row in self._failed if row["s3_key"] in kept)]
        text = io.StringIO(newline="")
        manifests.dump_csv(text, manifests.ERROR_COLUMNS, sorted(rows, key=lambda row: row["s3_key"]))
        return text.getvalue().encode()

    def prune(self, kept: list[Item]) -> None:
        """Remove what this run published earlier and keeps no more, where that is allowed.

        Raises:
            StepError: nothing is kept, or more than `prune_max_fraction` would go.
        """
        keys = {item.key for item in kept}
        published = self._journal.of_kind(IMAGE)
        stale = [entry for entry in published if entry.key not in keys]
        self.counts["stale"] = len(stale)
        if not stale:
            return
        if not self._run["prune"] or self._run["dry_run"]:
            what = "%d images that an earlier run published are kept no more and still lie in %s; prune: true removes them"
            log.warning(what, len(stale), self._run["destination"])
            return
        if not keys or len(stale) > self._run["prune_max_fraction"] * len(published):
            raise StepError(
                f"prune would remove {len(stale)} of {len(published)} published images, more than prune_max_fraction "
                f"({self._run['prune_max_fraction']}) allows, or all; look at the threshold, then raise prune_max_fraction if it is meant"
            )
        for entry in stale:
            log.info("prune: %s", entry.key)
            self._delete(self._destination, entry)
        self.counts |= {"pruned": len(stale), "stale": 0}

    def _delete(self, storage: Storage, entry: Entry) -> None:
        """Delete a published object, unless somebody changed it."""
        there = storage.find(entry.key)
        if there is not None and there.etag == entry.etag:
            storage.delete(entry.key)
        elif there is not None:
            log.warning("%s was changed since it was published and stays", entry.key)
        self._journal.remove(entry)


def _sweep(storage: Storage) -> Iterator[Item]:
    """What lies at the destination, without what a killed copy left there, which is removed."""
    storage.prepare()
    for item in storage.list():
        if is_leftover(item.key.rsplit("/", 1)[-1]):
            storage.delete(item.key)
        else:
            yield item


def read_kept(kept: Path) -> list[Item]:
    """The kept images of a manifest."""
    return [Item(row["s3_key"], int(row["size"]), row["etag"], row["last_modified"]) for row in manifests.read_csv(kept)]


def publish(run: dict[str, Any], shards: Path, aggregate: Path, output: Path) -> dict[str, int]:
    """Publish a run; gives the counts.

    Args:
        run: `run_id`, places and settings.
        shards: folder of the shards' manifests.
        aggregate: folder of the merged manifests.
        output: the receipt, a table of every object published; written only when all are there.
    """
    journal = Journal(output.with_name("journal.jsonl"))
    publisher = Publisher(run, journal)
    kept = read_kept(aggregate / "kept_all.csv")
    publisher.copy_images(kept)
    publisher.publish_manifests(shards, aggregate, run["shard_count"])
    publisher.prune(kept)
    journal.write_receipt(output)
    return publisher.counts


if job := globals().get("snakemake"):
    with step(job.log[0]):
        merged = Path(job.input.merged[0]).parent
        settings = job.params.run | job.params.machine
        report_counts(**publish(settings, Path(job.params.shards), merged, Path(job.output[0])))
