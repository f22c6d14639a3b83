"""people: compare the destination with the receipt of what was published there."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from workflow_scripts.core.step import StepError, report_counts, step
from workflow_scripts.core.storage import open_storage
from workflow_scripts.people import manifests
from workflow_scripts.people.journal import IMAGE, MANIFEST

NAMED = 10


def verify(receipt: Path, places: dict[str, str]) -> dict[str, dict[str, int]]:
    """Counts by kind: `published`, and `foreign` objects that no receipt names.

    Args:
        receipt: table written by `publish`.
        places: the location of each kind, `image` and `manifest`.

    Raises:
        StepError: a published object is missing or was changed.
    """
    rows = pq.read_table(receipt).to_pylist()
    found: dict[str, dict[str, int]] = {}
    wrong: list[str] = []
    for kind, place in places.items():
        storage = open_storage(place)
        storage.prepare()
        there = {item.key: item.etag for item in storage.list()}
        published = {row["key"]: row["etag"] for row in rows if row["kind"] == kind}
        wrong += [f"{place}: {key}: missing" for key in published.keys() - there.keys()]
        wrong += [f"{place}: {key}: changed" for key, etag in published.items() if there.get(key, etag) != etag]
        found[kind] = {"published": len(published), "foreign": len(there.keys() - published.keys())}
    if wrong:
        more = f" … and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        shown = "; ".join(sorted(wrong)[:NAMED])
        raise StepError(f"{len(wrong)} published objects are not as the receipt says: {shown}{more}; delete the receipt and publish again")
    return found


def as_report(found: dict[str, dict[str, int]], receipt: Path) -> dict[str, Any]:
    """The counts with the receipt they belong to."""
    return {"receipt": str(receipt), **found}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        proof, run = Path(job.input.receipt), job.params.run
        result = verify(proof, {IMAGE: run["destination"], MANIFEST: run["manifests"]})
        manifests.write_json(Path(job.output[0]), as_report(result, proof))
        report_counts(**result[IMAGE])
