"""people 04: apply the threshold and what people decided; writes the manifests of every shard."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from workflow_scripts.core.accounting import Ledger
from workflow_scripts.core.decisions import Exclusions, Reviews
from workflow_scripts.core.embeddings import digest
from workflow_scripts.core.json_files import write_json
from workflow_scripts.core.models import ModelCard
from workflow_scripts.core.step import StepError, log, progress, report_counts, step
from workflow_scripts.core.storage import Storage, open_storage
from workflow_scripts.core.version import workflow_version
from workflow_scripts.people import manifests
from workflow_scripts.people.list_objects import ERROR, NOT_SAMPLED, SKIPPED, read_shard

OUTCOMES = ("not_sampled", "excluded", "skipped", "kept", "removed", "errors")
DECISIONS = ("keep", "remove")


class Decider:
    """Decides image by image, and counts what it did over all shards.

    Attributes:
        counts: outcomes of the current shard.
    """

    def __init__(self, source: Storage, threshold: float, reviews: Reviews, exclusions: Exclusions) -> None:
        """Take the source (for URIs), the threshold, and what people decided."""
        self._source = source
        self._threshold = threshold
        self._reviews = reviews
        self._exclusions = exclusions

    def outcome(self, listed: dict[str, Any], score: dict[str, Any] | None) -> tuple[str, str]:
        """One of `OUTCOMES` and its reason, for a listed object and its row of the score table."""
        key = listed["key"]
        if listed["outcome"] == NOT_SAMPLED:
            return "not_sampled", "not in the sample"
        if listed["outcome"] == SKIPPED:
            return "skipped", f"extension {listed['detail']}"
        if listed["outcome"] == ERROR:
            return "errors", listed["detail"]
        if score is None or score["etag"] != listed["etag"]:
            raise StepError(f"{key}: listed but not scored as it is now; delete 03_score and run again")
        if excluded := self._exclusions.find(key, score["sha256"]):
            return "excluded", f"excluded: {excluded}"
        if score["error"] is not None:
            return "errors", score["error"]
        if decision := self._reviews.find(key, score["sha256"]):
            return ("kept" if decision == "keep" else "removed"), "human"
        if score["people_prob"] >= self._threshold:
            return "removed", f"people_prob >= {self._threshold}"
        return "kept", f"people_prob < {self._threshold}"

    def row(self, listed: dict[str, Any], score: dict[str, Any], reason: str) -> manifests.Row:
        """The manifest row of a kept or removed image."""
        key = listed["key"]
        return {
            "image_id": manifests.image_id(key),
            "s3_key": key,
            "s3_uri": self._source.uri(key),
            "https_url": self._source.https_url(key),
            "presigned_url": "",
            "people_prob": f"{score['people_prob']:.6f}",
            "size": str(listed["size"]),
            "etag": listed["etag"],
            "last_modified": listed["last_modified"],
            "margin": f"{score['margin']:.6f}",
            "sha256": score["sha256"],
            "reason": reason,
        }


def decide_shard(decider: Decider, listed: Iterator[dict[str, Any]], scores: Path, folder: Path) -> dict[str, Any]:
    """Write a shard's tables and lists; gives its counts, with those of skipped extensions and exclusion lists.

    Raises:
        AccountingError: an image has no outcome, or more than one.
    """
    by_key = {row["key"]: row for row in pq.read_table(scores).to_pylist()}
    rows: dict[str, list[manifests.Row]] = {"kept": [], "removed": [], "errors": []}
    outcomes: dict[str, list[str]] = {name: [] for name in OUTCOMES}
    details: dict[str, Counter[str]] = {"skipped": Counter(), "excluded": Counter()}
    everything = list(listed)
    for item in everything:
        score = by_key.pop(item["key"], None)
        outcome, reason = decider.outcome(item, score)
        outcomes[outcome].append(item["key"])
        if outcome == "errors":
            rows["errors"].append({"s3_key": item["key"], "error": reason})
        elif outcome in rows and score is not None:
            rows[outcome].append(decider.row(item, score, reason))
        elif outcome in details:
            details[outcome][reason] += 1
    if by_key:
        raise StepError(f"scored but never listed: {', '.join(sorted(by_key)[:10])}; delete 03_score and run again")
    ledger = Ledger((item["key"] for item in everything), OUTCOMES)
    for name, keys in outcomes.items():
        ledger.add(name, keys)
    counts = ledger.close()
    manifests.write_removed_and_kept(folder, rows["removed"], rows["kept"])
    manifests.write_csv(folder / "errors.csv", manifests.ERROR_COLUMNS, sorted(rows["errors"], key=lambda row: row["s3_key"]))
    counts["scanned"] = counts["kept"] + counts["removed"] + counts["errors"]
    return {"counts": counts, **{name: dict(sorted(found.items())) for name, found in details.items()}}


def run_metadata(run: dict[str, Any], card: ModelCard, shard: int, found: dict[str, Any]) -> dict[str, Any]:
    """The metadata of a shard; what publishing knows alone (times, destination, batch size) is null until then."""
    return {
        "run_id": run["run_id"],
        "timestamp_utc": None,
        **manifests.describe_source(run["source"], run["store"]),
        "dst_prefix": None,
        "shard_index": shard,
        "shard_count": run["shard_count"],
        "manifest_prefix": None,
        "dry_run": None,
        "threshold": run["threshold"],
        "batch_size": None,
        "max_images": run["max_images"],
        "model": {"name": card.name, "pretrained": card.pretrained, "sha256": card.sha256},
        "counts": found["counts"],
        "skipped": found["skipped"],
        "excluded": found["excluded"],
        "prompts": run["prompts"],
        "workflow_version": workflow_version(),
        "config_digest": digest(run),
    }


def decide(
    settings: dict[str, Any], listing: Path, scores: dict[int, Path], card: ModelCard, reviews: Path | None, folder: Path
) -> Counter[str]:
    """Write the manifests of shards below `folder`; gives the counts over all.

    Args:
        settings: of the run.
        listing: table of all objects.
        scores: the table of each shard to decide on, by its number.
        card: of the model that scored.
        reviews: CSV of a person's decisions, if there is one.
        folder: for the shard folders.
    """
    decisions, exclusions = Reviews(reviews, DECISIONS), Exclusions.read(settings["exclude"])
    decider = Decider(open_storage(settings["source"], settings["store"]), settings["threshold"], decisions, exclusions)
    totals: Counter[str] = Counter()
    for shard, table in progress(scores.items(), total=len(scores), unit="shards"):
        out = folder / manifests.shard_name(shard, settings["shard_count"])
        found = decide_shard(decider, read_shard(listing, shard), table, out)
        write_json(out / "run_metadata.json", run_metadata(settings, card, shard, found))
        totals.update(found["counts"])
    exclusions.check_used()
    for review in decisions.unused():
        log.warning("%s: not applied, no such image now: %s %s (%s)", reviews, review.sha256, review.path, review.decision)
    return totals


if job := globals().get("snakemake"):
    with step(job.log[0]):
        files, run, shards = job.input, job.params.run, job.params.shards
        tables, reviewed = dict(zip(shards, map(Path, files.scores), strict=True)), [Path(path) for path in files.reviews]
        out_folder = Path(job.params.folder)
        report_counts(**decide(run, Path(files.listing), tables, ModelCard.read(files.model), next(iter(reviewed), None), out_folder))
