"""predict 05: whether the database of a project is as it should be, and the project's line of the log."""

import csv
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workflow_scripts.core.json_files import read_json, write_json
from workflow_scripts.core.step import log, report_counts, step
from workflow_scripts.predict.tables import read
from workflow_scripts.predict.validate import Inventory, validate
from workflow_scripts.predict.validate_all import describe


def validate_project(receipt: Path, groups: Path, images: Path) -> dict[str, Any]:
    """The verdict of `validate` on the database that a receipt names, with `project_id` and `database`."""
    known = read_json(receipt)
    members = [row["path"] for row in read(images, "path")]
    inventory = Inventory([row["group_id"] for row in read(groups, "group_id")], members)
    verdict = validate(Path(known["database"]), inventory=inventory)
    return {"project_id": known["project_id"], "database": known["database"]} | verdict


def log_line(receipt: Path, images: int, seconds: float) -> dict[str, Any]:
    """What `batch_predictions_log.jsonl` says of the project.

    Args:
        receipt: of the database.
        images: of the project.
        seconds: that its steps took.
    """
    known = read_json(receipt)
    return {
        "project_id": known["project_id"],
        "zip_file": known["path"],
        "image_count": images,
        "duration_seconds": round(seconds, 1),
        "status": known["status"],
        "error": known["error"] or None,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "database": known["database"],
    }


def measured_seconds(benchmarks: Sequence[Path]) -> float:
    """Seconds that steps took, each the last time that it ran, by Snakemake's own measurements; those that are not there count nothing."""
    total = 0.0
    for path in benchmarks:
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as handle:
                total += sum(float(row["s"]) for row in csv.DictReader(handle, delimiter="\t"))
    return total


if job := globals().get("snakemake"):
    with step(job.log[0]):
        made, table = Path(job.input.receipt), Path(job.input.images)
        found = validate_project(made, Path(job.input.groups), table)
        log.info("%s", describe(found["database"], found).rstrip())
        write_json(Path(job.output.verdict), found)
        seconds = measured_seconds([Path(path) for path in job.params.benchmarks])
        write_json(Path(job.output.line), log_line(made, len(read(table, "path")), seconds))
        report_counts(records=found["total_records"], issues=len(found["issues"]))
