"""Sites with accounting: jobs are charged to the account that the profile names, GPUs included."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.slurm import SlurmCluster
from tests.slurm.conftest import ON_CLUSTER, submitted

ACCOUNTING = True
SNAKEFILE = """
rule heavy:
    output: "heavy.txt"
    threads: 4
    resources: gpu=1, slurm_partition="gpu"
    shell: "echo done > {output}"
"""


def run(root: Path, account: str) -> "subprocess.CompletedProcess[str]":
    """One job on a GPU, charged to an account."""
    (root / "Snakefile").write_text(SNAKEFILE)
    command = [sys.executable, "-m", "snakemake", *ON_CLUSTER, "--retries", "0", "--default-resources", f"slurm_account={account}"]
    return subprocess.run(command, cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)


@pytest.fixture(scope="module")
def charged(cluster: SlurmCluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the database says of a finished job."""
    root = tmp_path_factory.mktemp("charged")
    done = run(root, "lab")
    assert not done.returncode, done.stdout
    (job,) = submitted(done.stdout)
    return cluster.command("sacct", "-n", "-P", "-X", "-j", job, "-o", "account,partition,state,alloctres").strip()


def test_a_job_is_charged_to_the_account_of_the_profile_with_its_gpu(charged: str) -> None:
    account, partition, state, resources = charged.split("|")
    assert (account, partition, state) == ("lab", "gpu", "COMPLETED")
    assert {"cpu=4", "gres/gpu=1"} <= set(resources.split(","))


def test_an_account_that_does_not_exist_ends_the_run_with_its_name(cluster: SlurmCluster, tmp_path: Path) -> None:
    done = run(tmp_path, "nobody")
    assert done.returncode
    assert "nobody" in done.stdout
    assert not cluster.jobs("--states=all", "--account=nobody")
