"""What it costs that Snakemake submits a job of this workflow, against plain `sbatch` of the same command.

    python -m tests.bench.slurm [--jobs 20]

Starts a cluster of its own (see tests/lab/slurm.py) whose nodes all run on this machine, and submits jobs that only touch a file: how
long until all are in the queue, until one that is alone has ended, and until all have. The processors are this machine's, so jobs that
are at work at the same time slow each other down; on a cluster they do not.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.lab.slurm import SlurmCluster

REPO = Path(__file__).parents[2]
RULES = """
rule bench:
    output: "out/{number}"
    shell: "touch {output}"
"""
PAUSE = 0.05  # seconds between two looks


def wait_for(what: Callable[[], bool]) -> float:
    """Seconds until something holds."""
    start = time.perf_counter()
    while not what():
        time.sleep(PAUSE)
    return time.perf_counter() - start


def ended(cluster: SlurmCluster, count: int) -> bool:
    """Whether so many jobs of the cluster have ended well."""
    return len(cluster.jobs("--states=COMPLETED")) >= count


def plain(cluster: SlurmCluster, root: Path, numbers: range) -> tuple[float, float]:
    """Seconds until all jobs are submitted by `sbatch`, and until all have ended."""
    before = len(cluster.jobs("--states=COMPLETED"))
    start = time.perf_counter()
    for number in numbers:
        cluster.command("sbatch", "--mem=100", f"--chdir={root}", "--output=/dev/null", "--wrap", f"mkdir -p out; touch out/{number}")
    submitted = time.perf_counter() - start
    return submitted, submitted + wait_for(lambda: ended(cluster, before + len(numbers)))


def with_snakemake(cluster: SlurmCluster, root: Path, numbers: range) -> tuple[float, float, float]:
    """Seconds until the first job is submitted, from there until all are, and until all have ended."""
    before, output = len(cluster.jobs("--states=COMPLETED")), root / "output.txt"
    targets = [f"out/{number}" for number in numbers]
    command = [sys.executable, "-m", "snakemake", *targets, "--profile", str(REPO / "profiles/slurm"), "--default-resources", "mem_mb=1000"]
    command += ["runtime=10", "--slurm-init-seconds-before-status-checks", "1"]

    def submitted(count: int) -> bool:
        return output.read_text().count("has been submitted with SLURM jobid") >= count

    with output.open("wb") as handle:
        process = subprocess.Popen(command, cwd=root, stdout=handle, stderr=handle, env=os.environ | cluster.environment)
        first = wait_for(lambda: submitted(1) or process.poll() is not None)
        rest = wait_for(lambda: submitted(len(numbers)) or process.poll() is not None)
        end = rest + wait_for(lambda: ended(cluster, before + len(numbers)) or process.poll() is not None)
        if process.wait():
            raise RuntimeError(output.read_text())
    return first, rest, end


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20)
    jobs = parser.parse_args().jobs
    with tempfile.TemporaryDirectory(prefix="darkroom-slurm-") as folder, SlurmCluster(Path(folder) / "lab") as cluster:
        root = Path(folder) / "work"
        root.mkdir()
        for name in ("rules", "config", "workflow_scripts", "profiles"):
            (root / name).symlink_to(REPO / name)
        (root / "Snakefile").write_text((REPO / "Snakefile").read_text() + RULES)
        _, alone = plain(cluster, root, range(1))
        submitted, end = plain(cluster, root, range(jobs))
        print(f"sbatch: one job alone {alone:.1f} s; {jobs} jobs submitted in {submitted:.1f} s, ended after {end:.1f} s")
        first, _, alone = with_snakemake(cluster, root, range(jobs, jobs + 1))
        print(f"Snakemake: {first:.1f} s until the first job is submitted; one job alone {alone:.1f} s")
        _, submitted, end = with_snakemake(cluster, root, range(jobs + 1, 2 * jobs + 1))
        print(f"Snakemake: {jobs} jobs submitted in {submitted:.1f} s, ended after {end:.1f} s, {end / jobs:.1f} s a job on this machine")


if __name__ == "__main__":
    main()
