"""A cluster of real SLURM daemons for the tests of a file, and Snakemake on it as a user starts it."""

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.slurm import SlurmCluster, missing_programs
from tests.workflow.conftest import REPO

# The profile as it is, but looking often, since the jobs of tests are short. Without --cores no job would get more processors than
# the machine has on which Snakemake runs.
ON_CLUSTER = ("--profile", str(REPO / "profiles/slurm"), "--slurm-init-seconds-before-status-checks", "1", "--cores", "8")


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[SlurmCluster]:
    """Three nodes with two fake GPUs each; with accounting where the file of the tests says `ACCOUNTING = True`."""
    accounting = getattr(request.module, "ACCOUNTING", False)
    if missing := missing_programs(accounting=accounting):
        # Where everything is meant to be installed, a skip would hide that it is not.
        (pytest.fail if os.environ.get("DARKROOM_ALL_TESTS") == "1" else pytest.skip)(missing)
    # Sockets have short paths, and jobs of any user read the configuration: not below pytest's own folder.
    with tempfile.TemporaryDirectory(prefix="darkroom-slurm-") as folder:
        Path(folder).chmod(0o755)
        with SlurmCluster(Path(folder) / "lab", accounting=accounting) as running, pytest.MonkeyPatch.context() as patch:
            # SLURM's programs, and the Snakemake of a test, find the cluster; nothing of the developer's own settings reaches them.
            for name in [name for name in os.environ if name.startswith(("SNAKEMAKE_", "SLURM_", "SBATCH_", "SQUEUE_"))]:
                patch.delenv(name)
            for name, value in running.environment.items():
                patch.setenv(name, value)
            yield running


def eventually(condition: Callable[[], bool], seconds: float = 30) -> bool:
    """Whether something comes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def run_ids(output: str) -> list[str]:
    """The run ids in what Snakemake said; they are the names of the jobs that it submitted."""
    return re.findall(r"SLURM run ID: (\S+)", output)


def submitted(output: str) -> list[str]:
    """The numbers of the jobs that Snakemake submitted, as it said."""
    return re.findall(r"has been submitted with SLURM jobid (\d+)", output)


def about(cluster: SlurmCluster, job: str) -> dict[str, str]:
    """What the controller knows of a job, also of one that ended lately: JobState, Partition, TRES, Comment, …; `rule` by its comment."""
    told = cluster.command("scontrol", "show", "job", "--oneliner", job)
    values = dict(word.split("=", 1) for word in told.split() if "=" in word)
    return values | {"rule": values["Comment"].removeprefix("rule_").split("_wildcards_")[0]}
