"""predict 04: write the predictions of a project into a database of its own."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workflow_scripts.core.embeddings import digest
from workflow_scripts.core.json_files import write_json
from workflow_scripts.core.models import file_sha256
from workflow_scripts.core.step import StepError, log, report_counts, step
from workflow_scripts.core.version import workflow_version
from workflow_scripts.predict.database import Decision, FailedGroup, check_replaceable, write_database
from workflow_scripts.predict.tables import about, read

PREPROCESSING = ("decode", "normalise", "precision", "views", "fingerprint")  # what an embedding table says of its vectors


def fill_database(groups: Path, receipt: Path, how: dict[str, Any]) -> dict[str, int]:
    """Write the database beside its receipt, and the receipt; gives the counts of rows.

    A person works in the database. One that holds their work, or is not of this workflow, stays as it is: the predictions then go into
    a file of another name. So the receipt is the output of the rule, whose outputs Snakemake removes before it runs.

    Args:
        groups: table `GROUPS`.
        receipt: JSON with the database's path, and the project's status.
        how: settings that `meta` names: `networks`, `grouping`.
    """
    known, rows = about(groups), read(groups)
    target = free_place(receipt.with_suffix(".db"), digest([file_sha256(groups), how])[:8])
    decisions = [row for row in rows if row["selected"] is not None]
    failed = (FailedGroup(row["group_id"], row["directory"], tuple(row["images"]), row["error"]) for row in rows if row["selected"] is None)
    counts = write_database(target, _decisions(known["project_id"], decisions), failed, meta(known, how))
    text = {name: known[name] for name in ("project_id", "path", "status", "error")} | {"counts": counts, "database": str(target)}
    write_json(receipt, text)
    return counts


def free_place(wished: Path, suffix: str) -> Path:
    """Where the database can go without touching a person's work: the wished place, else beside it."""
    try:
        check_replaceable(wished)
    except StepError as error:
        other = wished.with_name(f"{wished.stem}.{suffix}.db")
        log.warning("%s takes the new predictions, since %s", other, error)
        return other
    return wished


def _decisions(project: str, rows: list[dict[str, Any]]) -> Iterator[Decision]:
    for row in rows:
        crop = row["crop"]
        yield Decision(
            group_id=row["group_id"],
            timestamp=row["timestamp"],
            project_id=project,
            directory=row["directory"],
            batch_number=None,
            images=tuple(row["images"]),
            ai_selected_index=row["selected"],
            ai_crop_coords=(crop[0], crop[1], crop[2], crop[3]) if crop else None,
            ai_confidence=row["confidence"],
            image_width=row["width"],
            image_height=row["height"],
        )


def meta(known: dict[str, Any], how: dict[str, Any]) -> dict[str, str]:
    """What the database says of how it was made; structures as JSON. Only `created_at` differs from run to run."""
    values = {name: known[name] for name in ("project_id", "path", "status", "error")}
    for name, model in (known["models"] | {"clip": known.get("model", {})}).items():
        values[name] = model.get("path") or json.dumps(model, sort_keys=True)
        values[f"{name}_sha256"] = model.get("sha256", "")
    preprocessing = {name: known[name] for name in PREPROCESSING if name in known}
    values |= {"preprocessing": json.dumps(preprocessing | how["networks"], sort_keys=True)}
    values |= {"grouping": json.dumps(how["grouping"], sort_keys=True, ensure_ascii=False), "workflow_version": workflow_version()}
    return values | {"created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        report_counts(**fill_database(Path(job.input.groups), Path(job.output[0]), job.params.how))
