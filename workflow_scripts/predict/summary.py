"""predict 06: what became of all projects of an invocation: `batch_predictions_summary.json` and `batch_predictions_log.jsonl`."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workflow_scripts.core.json_files import read_json, write_json
from workflow_scripts.core.step import atomic_text, log, report_counts, step
from workflow_scripts.predict.tables import FAILED, SUCCESS

SUMMARY, LOG = "batch_predictions_summary.json", "batch_predictions_log.jsonl"


@dataclass(frozen=True)
class Batch:
    """The projects of an invocation.

    Attributes:
        projects: `name` of its files, `project_id`, `path`, and `line`, where its line of the log stands once it is finished.
        skipped: how many the table leaves out.
        models: `ranker` and `crop_proposer`, each with `path` and `sha256`.
        started: seconds since 1970.
    """

    projects: Sequence[dict[str, str]]
    skipped: int
    models: dict[str, Any]
    started: float


def read_lines(batch: Batch, unfinished: Collection[str]) -> list[dict[str, Any]]:
    """The lines of the log in the order of completion; projects that are not finished come last, as failed."""
    lines, missing = [], []
    for project in batch.projects:
        path = Path(project["line"])
        if path.is_file() and project["name"] not in unfinished:
            lines.append(read_json(path))
        else:
            line = {"project_id": project["project_id"], "zip_file": project["path"], "image_count": None, "duration_seconds": None}
            error = f"not finished; logs/predict/{project['name']}/ says why"
            missing.append(line | {"status": FAILED, "error": error, "timestamp": None, "database": None})
    return sorted(lines, key=lambda line: (line["timestamp"], line["project_id"])) + missing


def summarise(batch: Batch, folder: Path, unfinished: Collection[str] = ()) -> dict[str, Any]:
    """Write log and summary, and a copy of the summary that keeps its name for good; gives the summary.

    Args:
        batch: what was to be done.
        folder: where they go.
        unfinished: names of projects whose line, if there is one, is of an earlier run.
    """
    lines, now = read_lines(batch, unfinished), datetime.now(UTC)
    done = [line for line in lines if line["status"] == SUCCESS]
    images, seconds = (sum(line[name] for line in done) for name in ("image_count", "duration_seconds"))
    started = datetime.fromtimestamp(batch.started, UTC)
    summary = {
        "batch_id": f"batch_{_stamp(started)}",
        "started_at": _iso(started),
        "completed_at": _iso(now),
        "total_duration_seconds": round(max(0.0, now.timestamp() - batch.started), 1),
        "models": batch.models,
        "results": {
            "total_projects": len(lines) + batch.skipped,
            "processed": len(done),
            "skipped": batch.skipped,
            "failed": len(lines) - len(done),
        },
        "failed_projects": {line["project_id"]: line["error"] for line in lines if line["status"] == FAILED},
        "images": images,
        "images_per_second": round(images / seconds, 1) if seconds else None,
        "output_directory": str(folder),
        "log_file": str(folder / LOG),
    }
    with atomic_text(folder / LOG) as handle:
        handle.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_json(folder / SUMMARY, summary)
    write_json(folder / f"batch_predictions_summary_{_stamp(now)}.json", summary)
    return summary


def describe(summary: dict[str, Any]) -> str:
    """The summary in a few lines, with what failed."""
    results = summary["results"]
    head = "predict: {processed} of {total_projects} projects processed, {failed} failed, {skipped} skipped".format(**results)
    rate = f", {summary['images']} images at {summary['images_per_second']}/s" if summary["images_per_second"] else ""
    failed = [f"  failed: {project}: {error}" for project, error in summary["failed_projects"].items()]
    return "\n".join([head + rate, *failed, f"  log: {summary['log_file']}"])


def _iso(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _stamp(time: datetime) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ")


if job := globals().get("snakemake"):
    with step(job.log[0]):
        batch = Batch(**job.params.batch, **job.params.machine)
        found = summarise(batch, Path(job.output.summary).parent)
        log.info("%s", describe(found))
        report_counts(**found["results"])
