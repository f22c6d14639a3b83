"""predict_check: the verdicts on all databases, and the exit status that goes with the worst: 0 good, 1 warnings, 2 errors."""

import sys
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.core.json_files import read_json
from workflow_scripts.core.step import log, step
from workflow_scripts.predict.validate_all import describe, exit_status


def check(verdicts: Sequence[Path]) -> int:
    """Log what was found about each database; gives the exit status."""
    found = [read_json(path) for path in verdicts]
    for verdict in found:
        log.info("%s", describe(verdict["database"], verdict).rstrip())
    return exit_status(found)


if job := globals().get("snakemake"):
    with step(job.log[0]):
        status = check([Path(path) for path in job.input.verdicts])
    sys.exit(status)
