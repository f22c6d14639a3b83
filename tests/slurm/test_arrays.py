"""Job arrays: why the profile does not use them, and the day from which it could.

In array mode every task of snakemake-executor-plugin-slurm runs inside the command of the first: what it checks afterwards, and removes
after a failure, is the first task's output. Jobs of many images lose little by being submitted one by one; tests.bench.slurm measures it.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.lab.slurm import SlurmCluster
from tests.slurm.conftest import ON_CLUSTER
from tests.workflow.conftest import REPO

# The second task fails when the first is long done.
SNAKEFILE = """
rule all:
    localrule: True
    input: expand("{number}.txt", number=[1, 2, 3])

rule each:
    output: "{number}.txt"
    shell: "if [ {wildcards.number} = 2 ]; then sleep 8; exit 1; fi; echo {wildcards.number} > {output}"
"""


def left_by(root: Path, *options: str) -> set[str]:
    """What three jobs leave of which the second fails."""
    root.mkdir()
    (root / "Snakefile").write_text(SNAKEFILE)
    command = [sys.executable, "-m", "snakemake", *ON_CLUSTER, "--retries", "0", "--latency-wait", "2", *options]
    done = subprocess.run(command, cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
    if done.returncode != 1:
        raise RuntimeError(done.stdout)
    return {path.name for path in root.glob("*.txt")}


def test_a_job_that_fails_touches_no_other(cluster: SlurmCluster, tmp_path: Path) -> None:
    assert left_by(tmp_path / "jobs") == {"1.txt", "3.txt"}


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="snakemake-executor-plugin-slurm 2.8: good outputs go with a failed task")
def test_a_task_of_an_array_that_fails_touches_no_other(cluster: SlurmCluster, tmp_path: Path) -> None:
    assert left_by(tmp_path / "array", "--slurm-array-jobs", "each") == {"1.txt", "3.txt"}


def test_the_profile_uses_no_arrays() -> None:
    profile = yaml.safe_load((REPO / "profiles/slurm/profile.yaml").read_text())
    assert not [key for key in profile if "array" in key]
