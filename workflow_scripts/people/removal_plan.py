"""people: what to delete from the source, for a person to look at and to run. The workflow itself deletes no source."""

import json
import shlex
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from workflow_scripts.core.step import atomic_output, atomic_text, report_counts, step
from workflow_scripts.core.storage import is_bucket, parse_location
from workflow_scripts.people import manifests

COLUMNS = ("s3_key", "size", "etag", "people_prob", "reason")
BATCH = 1000  # keys a request, the most that DeleteObjects takes


def write_plan(removed: Path, source: str, output: Path, store: dict[str, Any] | None = None) -> int:
    """Write `plan.csv`, `keys.nul` (NUL after each key), for a bucket `batches/*.json`, and `delete.sh`; gives the number of images.

    Names enter no shell text: the script hands files of keys to xargs, or to the AWS command line.

    Args:
        removed: `removed_all.csv` of the aggregate.
        source: what was cleaned.
        output: folder for the files.
        store: how its bucket is reached, as `open_storage` takes it.
    """
    count = manifests.write_csv(
        output / "plan.csv", COLUMNS, ({name: row[name] for name in COLUMNS} for row in manifests.read_csv(removed))
    )
    with atomic_output(output / "keys.nul") as partial, partial.open("wb") as handle:
        for row in manifests.read_csv(removed):
            handle.write(row["s3_key"].encode() + b"\0")
    batches = output / "batches"
    shutil.rmtree(batches, ignore_errors=True)
    if is_bucket(source):
        for number, keys in enumerate(_batches(removed)):
            with atomic_text(batches / f"{number:06d}.json") as text:  # ASCII: the AWS command line reads files in the locale's encoding
                json.dump({"Quiet": True, "Objects": [{"Key": key} for key in keys]}, text)
        command = _delete_objects(source, store or {})
    else:
        command = f'cd -- {shlex.quote(str(Path(source).resolve()))} && xargs -0 -r -a "$here/keys.nul" rm -v --\n'
    with atomic_text(output / "delete.sh") as text:
        text.write(
            "#!/bin/sh\n"
            f"# Deletes {count} images with people from their source, for good. Read plan.csv first.\n"
            'here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)\n' + command
        )
    return count


def _batches(removed: Path) -> Iterator[list[str]]:
    keys = (row["s3_key"] for row in manifests.read_csv(removed))
    while batch := list(islice(keys, BATCH)):
        yield batch


def _delete_objects(source: str, store: dict[str, Any]) -> str:
    """Shell lines that delete the batches from a bucket, and stop at the first that fails."""
    options = {"--endpoint-url": store.get("endpoint_url"), "--region": store.get("region")}
    flags = "".join(f" {name} {shlex.quote(value)}" for name, value in options.items() if value)
    bucket = shlex.quote(parse_location(source)[0])
    return (
        "# In a bucket with versions the old versions stay; a lifecycle rule for noncurrent versions removes them.\n"
        # Relative paths: the AWS command line expands $ and ~ in a path.
        'cd -- "$here" && mkdir -p batches && cd batches || exit 1\n'
        "for batch in *.json; do\n"
        '    [ -e "$batch" ] || continue\n'
        # A request in which single keys are refused succeeds, and says so in its answer alone.
        f'    refused=$(aws s3api delete-objects --bucket {bucket}{flags} --delete "file://$batch"'
        " --query 'Errors[].[Code,Key]' --output text) || exit 1\n"
        '    case $refused in None | "") ;; *) printf "not deleted: %s\\n" "$refused" >&2; exit 1 ;; esac\n'
        "done\n"
    )


if job := globals().get("snakemake"):
    with step(job.log[0]):
        folder = Path(job.output.plan).parent
        report_counts(planned=write_plan(Path(job.input.removed), job.params.run["source"], folder, job.params.run["store"]))
