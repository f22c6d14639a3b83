"""The cluster of the tests is one: it has nodes and GPUs, and what is killed in it comes back."""

import psutil

from tests.lab.slurm import SYSTEM, SlurmCluster
from tests.slurm.conftest import eventually


def commands() -> list[str]:
    """The command lines of all processes of the machine."""
    return [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]


def test_a_job_gets_the_gpu_that_it_asks_for(cluster: SlurmCluster) -> None:
    assert cluster.idle_nodes() == cluster.nodes
    devices = cluster.command("srun", "--partition=gpu", "--gres=gpu:1", "printenv", "CUDA_VISIBLE_DEVICES").strip()
    assert devices in ("0", "1")


def test_nodes_alone_see_the_configuration_where_the_system_has_its_own(cluster: SlurmCluster) -> None:
    seen = cluster.command("srun", "env", "--unset=SLURM_CONF", "scontrol", "show", "config")
    assert f"{cluster.folder}/state" in seen
    own = SYSTEM / "slurm.conf"
    assert not own.exists() or str(cluster.folder) not in own.read_text()


def test_a_job_of_a_node_that_dies_is_queued_again(cluster: SlurmCluster) -> None:
    job = cluster.command("sbatch", "--parsable", "--requeue", "--output=/dev/null", "--wrap", "sleep 299.5").strip()
    assert eventually(lambda: any("RUNNING" in line for line in cluster.jobs("--jobs", job)))
    (line,) = cluster.jobs("--jobs", job)
    node = line.split()[4]
    assert eventually(lambda: commands().count("sleep 299.5") == 1)
    cluster.kill_node(node)
    assert eventually(lambda: "sleep 299.5" not in commands()), "nothing survives on a node without power"
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
