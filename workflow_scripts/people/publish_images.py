"""people 06: the cleaned copy: what is not there yet is copied, what is kept no more may be pruned."""

from collections.abc import Iterable
from typing import Any

from workflow_scripts.core.prefetch import ahead
from workflow_scripts.core.step import StepError, log, progress
from workflow_scripts.core.storage import Item, Storage, StorageError
from workflow_scripts.people import manifests
from workflow_scripts.people.journal import IMAGE, Entry, Journal

COPIES_AT_ONCE = 16


class ImagePublisher:
    """Copies and prunes the images of one run.

    Attributes:
        counts: `kept`, `copied`, `already_there`, `failed`, `would_copy`, `stale` (published earlier, kept no more), `pruned`.
        failed: rows of `errors.csv` for what could not be copied.
    """

    def __init__(self, run: dict[str, Any], source: Storage, destination: Storage, journal: Journal) -> None:
        """Take the run's settings (`dry_run`, `prune`, `prune_max_fraction`, `allow_copy_errors`) and places."""
        self._run = run
        self._source = source
        self._destination = destination
        self._journal = journal
        self.failed: list[manifests.Row] = []
        self.counts = dict.fromkeys(("kept", "copied", "already_there", "failed", "would_copy", "stale", "pruned"), 0)

    def copy(self, kept: list[Item]) -> None:
        """Copy what is not there yet; try every image before failing.

        Raises:
            StepError: some could not be copied, and `allow_copy_errors` is off.
        """
        present = self._present()
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
                self.failed.append({"s3_key": item.key, "error": f"copy: {result}"})
        self.counts["failed"] = len(self.failed)
        if self.failed and not self._run["allow_copy_errors"]:
            shown = "; ".join(f"{row['s3_key']}: {row['error']}" for row in self.failed[:10])
            mend = "run again to try only these, or set allow_copy_errors"
            raise StepError(f"{len(self.failed)} of {len(kept)} images could not be copied ({shown}); {mend}")

    def _present(self) -> dict[str, str]:
        """The ETags of what this run published and is still at the destination, by path below it."""
        known = {entry.key for entry in self._journal.of_kind(IMAGE)}
        if not known:
            return {}  # nothing to look for: a first run lists no destination
        found = ((self._destination.below(item.key), item.etag) for item in self._destination.list())
        present = {key: etag for key, etag in found if key in known}
        # The journal outlives a change of destination and copies deleted by hand; the receipt made from it must not.
        for entry in self._journal.of_kind(IMAGE):
            if entry.key not in present:
                self._journal.remove(entry)
        return present

    def _is_published(self, item: Item, present: dict[str, str]) -> bool:
        entry = self._journal.entries.get((IMAGE, self._source.below(item.key)))
        return entry is not None and entry.source_etag == item.etag and present.get(entry.key) == entry.etag

    def _copy(self, item: Item) -> Entry | StorageError:
        key = self._source.below(item.key)
        try:
            there = self._destination.copy_from(self._source, item, self._destination.key_of(key))
        except StorageError as error:
            return error
        return Entry(IMAGE, key, item.etag, there.size, there.etag)

    def prune(self, kept: Iterable[Item]) -> None:
        """Remove what this run published earlier and keeps no more, where that is allowed.

        Raises:
            StepError: nothing is kept, or more than `prune_max_fraction` would go.
        """
        keys = {self._source.below(item.key) for item in kept}
        published = self._journal.of_kind(IMAGE)
        stale = [entry for entry in published if entry.key not in keys]
        self.counts["stale"] = len(stale)
        if not stale:
            return
        if not self._run["prune"] or self._run["dry_run"]:
            what = "%d images that an earlier run published are kept no more and still lie in %s; prune: true removes them"
            log.warning(what, len(stale), self._destination.location)
            return
        if not keys or len(stale) > self._run["prune_max_fraction"] * len(published):
            raise StepError(
                f"prune would remove {len(stale)} of {len(published)} published images, more than prune_max_fraction "
                f"({self._run['prune_max_fraction']}) allows, or all; look at the threshold, then raise prune_max_fraction if it is meant"
            )
        for entry in stale:
            log.info("prune: %s", entry.key)
        gone = ahead(lambda entry: delete_unchanged(self._destination, entry), stale, threads=COPIES_AT_ONCE, depth=64)
        for entry, is_gone in zip(stale, gone, strict=True):
            self._journal.remove(entry)
            self.counts["pruned"] += is_gone
        self.counts["stale"] = 0


def delete_unchanged(storage: Storage, entry: Entry) -> bool:
    """Delete a published object, unless somebody changed it; whether it is gone."""
    there = storage.find(storage.key_of(entry.key))
    if there is not None and there.etag != entry.etag:
        log.warning("%s was changed since it was published and stays", entry.key)
        return False
    if there is not None:
        storage.delete(there.key)
    return True
