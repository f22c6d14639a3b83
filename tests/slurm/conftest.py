"""A cluster of real SLURM daemons, started once for all tests of this folder."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.slurm import SlurmCluster, missing_programs


@pytest.fixture(scope="session")
def cluster() -> Iterator[SlurmCluster]:
    """Three nodes with two fake GPUs each, without accounting."""
    if missing := missing_programs():
        # Where everything is meant to be installed, a skip would hide that it is not.
        (pytest.fail if os.environ.get("DARKROOM_ALL_TESTS") == "1" else pytest.skip)(missing)
    # Sockets have short paths, and jobs of any user read the configuration: not below pytest's own folder.
    with tempfile.TemporaryDirectory(prefix="darkroom-slurm-") as folder:
        Path(folder).chmod(0o755)
        with SlurmCluster(Path(folder) / "lab") as running:
            yield running


@pytest.fixture(autouse=True)
def on_the_cluster(cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """SLURM's programs, and the Snakemake of a test, find the cluster; nothing of the developer's own settings reaches them."""
    for name in [name for name in os.environ if name.startswith(("SNAKEMAKE_", "SLURM_", "SBATCH_", "SQUEUE_"))]:
        monkeypatch.delenv(name)
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
