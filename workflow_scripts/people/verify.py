"""people: compare the destination with the receipts of what was published there."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from workflow_scripts.core.json_files import write_json
from workflow_scripts.core.step import StepError, report_counts, step
from workflow_scripts.core.storage import Storage, open_storage
from workflow_scripts.people.journal import IMAGE, MANIFEST

NAMED = 10


def verify(receipts: list[Path], places: dict[str, Storage]) -> dict[str, dict[str, int]]:
    """Counts by kind: `published`, and `foreign` objects that no receipt names.

    Args:
        receipts: tables written by `publish`.
        places: of each kind, `image` and `manifest`.

    Raises:
        StepError: a published object is missing or was changed.
    """
    rows = [row for receipt in receipts for row in pq.read_table(receipt).to_pylist()]
    found: dict[str, dict[str, int]] = {}
    wrong: list[str] = []
    for kind, storage in places.items():
        published = {row["key"]: row["etag"] for row in rows if row["kind"] == kind}
        # A dry run makes no destination.
        there = {storage.below(item.key): item.etag for item in storage.list()} if published else {}
        wrong += [f"{storage.location}: {key}: missing" for key in published.keys() - there.keys()]
        wrong += [f"{storage.location}: {key}: changed" for key, etag in published.items() if there.get(key, etag) != etag]
        found[kind] = {"published": len(published), "foreign": len(there.keys() - published.keys())}
    if wrong:
        more = f" … and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        shown = "; ".join(sorted(wrong)[:NAMED])
        raise StepError(f"{len(wrong)} published objects are not as the receipt says: {shown}{more}; delete the receipt and publish again")
    return found


def as_report(found: dict[str, dict[str, int]], receipts: list[Path]) -> dict[str, Any]:
    """The counts with the receipts they belong to."""
    return {"receipts": [str(receipt) for receipt in receipts], **found}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        proofs, run = [Path(path) for path in job.input.receipts], job.params.run
        opened = {kind: open_storage(run[name], run["store"]) for kind, name in ((IMAGE, "destination"), (MANIFEST, "manifests"))}
        result = verify(proofs, opened)
        write_json(Path(job.output[0]), as_report(result, proofs))
        report_counts(**result[IMAGE])
