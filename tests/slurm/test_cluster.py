"""The cluster of the tests is one: it has nodes and GPUs, and what is killed in it comes back."""

import time
from collections.abc import Callable

from tests.lab.slurm import SYSTEM, SlurmCluster


def eventually(condition: Callable[[], bool], seconds: float = 30) -> bool:
    """Whether something comes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def test_a_job_gets_the_gpu_that_it_asks_for(cluster: SlurmCluster) -> None:
    assert cluster.idle_nodes() == cluster.nodes
    devices = cluster.command("srun", "--partition=gpu", "--gres=gpu:1", "printenv", "CUDA_VISIBLE_DEVICES").strip()
    assert devices in ("0", "1")
    assert (SYSTEM / "slurm.conf").resolve() == cluster.folder / "etc/slurm.conf"


def test_a_job_of_a_node_that_dies_is_queued_again(cluster: SlurmCluster) -> None:
    job = cluster.command("sbatch", "--parsable", "--requeue", "--output=/dev/null", "--wrap", "sleep 300").strip()
    assert eventually(lambda: any("RUNNING" in line for line in cluster.jobs("--jobs", job)))
    (line,) = cluster.jobs("--jobs", job)
    node = line.split()[4]
    cluster.kill_node(node)
    assert node not in cluster.idle_nodes()
    assert eventually(lambda: "PENDING" in cluster.jobs("--jobs", job)[0] or node not in cluster.jobs("--jobs", job)[0])
    cluster.command("scancel", job)
    cluster.start_node(node)
    assert cluster.idle_nodes() == cluster.nodes


def test_jobs_outlive_their_controller(cluster: SlurmCluster) -> None:
    job = cluster.command("sbatch", "--parsable", "--output=/dev/null", "--wrap", "sleep 300").strip()
    assert eventually(lambda: any("RUNNING" in line for line in cluster.jobs("--jobs", job)))
    cluster.restart_controller()
    assert eventually(lambda: any("RUNNING" in line for line in cluster.jobs("--jobs", job)))
    cluster.command("scancel", job)


def test_more_memory_than_asked_for_ends_a_job(cluster: SlurmCluster) -> None:
    greedy = "python3 -c 'data = bytearray(300_000_000); import time; time.sleep(60)'"
    job = cluster.command("sbatch", "--parsable", "--mem=100", "--output=/dev/null", "--wrap", greedy).strip()

    def state() -> str:
        return cluster.command("scontrol", "show", "job", job).split("JobState=")[1].split()[0]

    assert eventually(lambda: state() not in ("PENDING", "RUNNING", "COMPLETING"))
    assert state() in ("OUT_OF_MEMORY", "FAILED")
