"""Demo: how well the people pipeline did against the truth that the drawings came with."""

import csv
from pathlib import Path
from typing import Any

from workflow_scripts.core.json_files import read_json
from workflow_scripts.core.step import atomic_text, log, step
from workflow_scripts.core.storage import Storage, open_storage
from workflow_scripts.demo import NOTE
from workflow_scripts.demo.rates import embedding_rate
from workflow_scripts.people import manifests


def people_results(aggregate: Path, truth: Path, source: Storage) -> dict[str, Any]:
    """Counts, precision and recall of one people run.

    Args:
        aggregate: folder of the merged manifests.
        truth: table of `people_data.draw`, with keys below the source.
        source: what was cleaned.
    """
    with truth.open(encoding="utf-8", newline="") as handle:
        expected = {row["key"]: row for row in csv.DictReader(handle)}
    names = ("removed", "kept", "errors")
    removed, kept, errors = ({source.below(row["s3_key"]) for row in manifests.read_csv(aggregate / f"{name}_all.csv")} for name in names)
    people = {key for key, row in expected.items() if row["expected"] == "scanned" and int(row["people"]) > 0}
    right = len(removed & people)
    totals = read_json(aggregate / "merge_metadata.json")["totals"]
    return {
        **{name: totals[name] for name in ("listed", "skipped", "kept", "removed", "errors")},
        "errors_as_expected": errors == {key for key, row in expected.items() if row["expected"] == "error"},
        "precision": right / max(1, len(removed)),
        "recall": right / max(1, len(people & (removed | kept))),
    }


def people_text(found: dict[str, Any], rate: float | None, folder: Path, places: dict[str, str]) -> str:
    """The people part of the summary, with the places `source`, `destination` and `manifests`."""
    damaged = "all of them damaged on purpose" if found["errors_as_expected"] else "NOT the ones that were damaged on purpose"
    lines = [
        "people: images with people taken out of a drawn set",
        f"  listed       {found['listed']:6d}   files in {places['source']}",
        f"  skipped      {found['skipped']:6d}   no image by their extension",
        f"  errors       {found['errors']:6d}   unreadable, {damaged}",
        f"  removed      {found['removed']:6d}   people_prob at or above the threshold",
        f"  kept         {found['kept']:6d}",
        f"  precision    {found['precision']:6.3f}   of the removed, how many show people",
        f"  recall       {found['recall']:6.3f}   of those with people, how many were removed",
    ]
    if rate:
        lines.append(f"  speed        {rate:6.0f}   images/s in the embedding step")
    look = {
        "page": folder / "07_report/index.html",
        "removed": folder / "05_merge/aggregate/removed_all.csv",
        "kept": folder / "05_merge/aggregate/kept_all.csv",
        "cleaned copy": places["destination"],
        "manifests": places["manifests"],
    }
    lines += ["  look at"] + [f"    {name:13s}{path}" for name, path in look.items()]
    return "\n".join(lines) + "\n"


if job := globals().get("snakemake"):
    with step(job.log[0]):
        run = Path(job.input.merged).parents[2]
        results = people_results(run / "05_merge/aggregate", Path(job.input.truth), open_storage(job.params.people["source"]))
        text = people_text(results, embedding_rate(sorted(Path(job.params.logs).glob("*.log"))), run, job.params.people) + NOTE
        log.info("%s", text)
        with atomic_text(job.output[0]) as report:
            report.write(text)
