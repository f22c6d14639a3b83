"""people: what to delete from the source, for a person to look at and to run. The workflow itself deletes no source."""

import shlex
from pathlib import Path

from workflow_scripts.core.step import atomic_output, atomic_text, report_counts, step
from workflow_scripts.people import manifests


def write_plan(removed: Path, source: str, output: Path) -> int:
    """Write `plan.csv` (s3_key, size), `keys.nul` (NUL after each key) and `delete.sh`; gives the number of images.

    Names enter no shell text: the script hands the file of keys to xargs.

    Args:
        removed: `removed_all.csv` of the aggregate.
        source: the folder that was cleaned.
        output: folder for the three files.
    """
    count = manifests.write_csv(
        output / "plan.csv", ("s3_key", "size"), ({name: row[name] for name in ("s3_key", "size")} for row in manifests.read_csv(removed))
    )
    with atomic_output(output / "keys.nul") as partial, partial.open("wb") as handle:
        for row in manifests.read_csv(removed):
            handle.write(row["s3_key"].encode() + b"\0")
    with atomic_text(output / "delete.sh") as text:
        text.write(
            "#!/bin/sh\n"
            f"# Deletes {count} images with people from their source, for good. Read plan.csv first.\n"
            'keys=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)/keys.nul\n'
            f'cd -- {shlex.quote(str(Path(source).resolve()))} && xargs -0 -r -a "$keys" rm -v --\n'
        )
    return count


if job := globals().get("snakemake"):
    with step(job.log[0]):
        folder = Path(job.output.plan).parent
        report_counts(planned=write_plan(Path(job.input.removed), job.params.source, folder))
