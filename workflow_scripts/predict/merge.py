"""predict_merge: fill the predictions of a project into the database that a person works in."""

from pathlib import Path

from workflow_scripts.core.json_files import read_json, write_json
from workflow_scripts.core.models import file_sha256
from workflow_scripts.core.step import StepError, log, report_counts, step
from workflow_scripts.predict.merge_users import OUTCOMES, merge_users


def merge(receipt: Path, users: Path, output: Path) -> dict[str, int]:
    """Merge, and write what became of each row; gives the counts.

    The backup stands beside the report, named by the content of the database as it was, so that no backup replaces another.

    Args:
        receipt: of the predictions.
        users: the database that a person works in.
        output: JSON.

    Raises:
        StepError: a file cannot be used; nothing was changed.
    """
    predictions = Path(read_json(receipt)["database"])
    if not users.is_file():
        raise StepError(f"{users}: no such database; correct user_database in the table of projects")
    backup = output.parent / "backups" / f"{output.stem}.{file_sha256(users)[:16]}.db"
    found = merge_users(predictions, users, backup)
    write_json(output, {"predictions": str(predictions), "user_database": str(users)} | found)
    for kind in ("ambiguous", "unmatched"):
        for row in found[f"{kind}_rows"]:
            log.warning("%s: %s: %s", kind, row["group_id"], row["reason"])
    return {name: found[name] for name in OUTCOMES}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        report_counts(**merge(Path(job.input.receipt), Path(job.params.users["path"]), Path(job.output[0])))
