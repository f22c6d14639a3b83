"""What goes wrong on a cluster: after the step that the documentation names, the results are those of an undisturbed run, to the byte.

The victims are light jobs without a model; one of them is held in the middle of its work until the fault has happened.
"""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.lab.slurm import SlurmCluster
from tests.slurm.conftest import ON_CLUSTER, about, eventually, run_ids, submitted
from tests.workflow.conftest import Project, demo_model
from workflow_scripts.demo import retrieval_data

CATEGORIES = ("dog", "vase")
INVENTORIES = [f"results/retrieval/d/00_inventory/{category}.parquet" for category in CATEGORIES]
PATIENCE = 180  # seconds


@dataclass
class Head:
    """Snakemake on the head node, in the background.

    Attributes:
        process: it.
        project: where it works.
        output: what it says.
        cluster: where its jobs run.
    """

    process: "subprocess.Popen[bytes]"
    project: Project
    output: Path
    cluster: SlurmCluster

    def said(self) -> str:
        """What it said until now."""
        return self.output.read_text()

    def jobs(self, category: str) -> list[dict[str, str]]:
        """The jobs that it submitted for a category, in order."""
        found = [about(self.cluster, job) for job in submitted(self.said())]
        return [job for job in found if job["Comment"].endswith(f"_{category}")]

    def states(self, category: str) -> list[str]:
        """The states of these jobs."""
        return [job["JobState"] for job in self.jobs(category)]

    def hold(self) -> tuple[psutil.Process, str]:
        """Wait for a job at work and stop its process for a while; gives it and its category."""
        held: list[psutil.Process] = []

        def is_caught() -> bool:
            held.extend(at_work(self.project))
            return bool(held)

        assert eventually(is_caught, PATIENCE), self.said()
        held[0].suspend()
        return held[0], next(name for name in CATEGORIES if self._runs(held[0], name))

    def _runs(self, process: psutil.Process, category: str) -> bool:
        job = process.environ()["SLURM_JOB_ID"]
        return about(self.cluster, job)["Comment"].endswith(f"_{category}")

    def ends(self) -> int:
        """Its exit status, after the end."""
        return self.process.wait(timeout=PATIENCE)


def at_work(project: Project) -> list[psutil.Process]:
    """The processes that take an inventory in a project."""
    found = []
    for process in psutil.process_iter():
        try:
            is_script = "inventory.py" in process.cmdline()[-1] and process.cwd() == str(project.root)
        except (psutil.Error, IndexError):
            continue
        if is_script:
            found.append(process)
    return found


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A disk that is soon full."""
    place = tmp_path_factory.mktemp("disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture(scope="module")
def cluster(disk: Path, cluster: SlurmCluster) -> SlurmCluster:
    """The cluster; nodes see what was mounted before they started."""
    return cluster


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Drawn folders of which nothing is known."""
    root = tmp_path_factory.mktemp("faults") / "project"
    retrieval_data.draw(root / "photos", root / "truth.csv", 2, seed=7)
    dataset = {"data_root": "photos", "categories": list(CATEGORIES), "model": demo_model(root)}
    project = Project(root, {"retrieval": {"datasets": {"d": dataset}}}, ("retrieval", "datasets", "d"))
    project.write_config()
    return project


@pytest.fixture(scope="module")
def expected(drawn: Project, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The inventories of an undisturbed local run."""
    project = drawn.copy_to(tmp_path_factory.mktemp("undisturbed") / "project")
    project.run(*INVENTORIES)
    return [(project.root / path).read_bytes() for path in INVENTORIES]


@pytest.fixture
def project(drawn: Project, tmp_path: Path) -> Project:
    """The drawn folders, to run on."""
    return drawn.copy_to(tmp_path / "project")


def heed_interrupts() -> None:
    """As in a terminal, also where these tests run in the background, and a child would inherit that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def started(project: Project, cluster: SlurmCluster, *options: str) -> Iterator[Head]:
    """The inventories of a project in the making; afterwards nothing of it is left, on the cluster neither."""
    output = project.root / "output.txt"
    with output.open("wb") as handle:
        command = project.command(*INVENTORIES, *ON_CLUSTER, *options)
        process = subprocess.Popen(
            command, cwd=project.root, stdout=handle, stderr=handle, start_new_session=True, preexec_fn=heed_interrupts
        )
    try:
        yield Head(process, project, output, cluster)
    finally:
        process.kill()
        process.wait()
        for run in run_ids(output.read_text()):
            cluster.command("scancel", "--name", run)


def results(project: Project) -> list[bytes]:
    """The inventories that stand there."""
    left = [path.name for path in project.results.rglob("*") if path.is_file() and path.suffix != ".parquet"]
    assert not left, "an unfinished file"
    return [(project.root / path).read_bytes() for path in INVENTORIES]


def other(category: str) -> str:
    """The category that nothing happened to."""
    return next(name for name in CATEGORIES if name != category)


def test_a_running_job_that_is_cancelled_is_submitted_again(cluster: SlurmCluster, project: Project, expected: list[bytes]) -> None:
    with started(project, cluster) as head:
        process, category = head.hold()
        cluster.command("scancel", process.environ()["SLURM_JOB_ID"])
        assert head.ends() == 0, head.said()
        assert head.states(category) == ["CANCELLED", "COMPLETED"]
        assert head.states(other(category)) == ["COMPLETED"]
    assert results(project) == expected


def test_a_waiting_job_that_is_cancelled_is_submitted_again(cluster: SlurmCluster, project: Project, expected: list[bytes]) -> None:
    cluster.command("scontrol", "update", "PartitionName=cpu", "State=DOWN")
    try:
        with started(project, cluster) as head:
            assert eventually(lambda: len(submitted(head.said())) == 2, PATIENCE), head.said()
            cluster.command("scancel", submitted(head.said())[0])
            cluster.command("scontrol", "update", "PartitionName=cpu", "State=UP")
            assert head.ends() == 0, head.said()
            assert sorted(map(head.states, CATEGORIES), key=len) == [["COMPLETED"], ["CANCELLED", "COMPLETED"]]
    finally:
        cluster.command("scontrol", "update", "PartitionName=cpu", "State=UP")
    assert results(project) == expected


def test_a_job_whose_node_dies_is_submitted_again(cluster: SlurmCluster, project: Project, expected: list[bytes]) -> None:
    with started(project, cluster, "--slurm-no-requeue") as head:
        _, category = head.hold()
        node = head.jobs(category)[0]["NodeList"]
        cluster.kill_node(node)
        assert head.ends() == 0, head.said()
        assert head.states(category) == ["NODE_FAIL", "COMPLETED"]
        assert head.jobs(category)[1]["NodeList"] != node
    cluster.start_node(node)
    assert results(project) == expected


def test_a_node_that_was_only_cut_off_takes_nothing_with_it_for_good(
    cluster: SlurmCluster, project: Project, expected: list[bytes]
) -> None:
    with started(project, cluster, "--slurm-no-requeue") as head:
        process, category = head.hold()
        node = head.jobs(category)[0]["NodeList"]
        cluster.kill_node(node, daemon_alone=True)
        assert head.ends() == 0, head.said()
        assert process.is_running()
        assert head.states(category) == ["NODE_FAIL", "COMPLETED"]
        assert results(project) == expected
        # SLURM now ends what was left of the job there; Snakemake, as it ends, removes the output of a job that failed.
        cluster.start_node(node)
        assert eventually(lambda: not at_work(project), PATIENCE)
    project.run(*INVENTORIES, *ON_CLUSTER)
    assert results(project) == expected


def test_a_job_that_slurm_queues_again_is_waited_for(cluster: SlurmCluster, project: Project, expected: list[bytes]) -> None:
    with started(project, cluster) as head:
        process, category = head.hold()
        cluster.command("scontrol", "requeue", process.environ()["SLURM_JOB_ID"])
        assert head.ends() == 0, head.said()
        (job,) = head.jobs(category)
        assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")
        assert head.states(other(category)) == ["COMPLETED"]
    assert results(project) == expected


def test_a_job_that_takes_too_long_gets_more_time(cluster: SlurmCluster, project: Project, expected: list[bytes]) -> None:
    with started(project, cluster) as head:
        process, category = head.hold()
        cluster.command("scontrol", "update", f"JobId={process.environ()['SLURM_JOB_ID']}", "EndTime=now+1")
        assert head.ends() == 0, head.said()
        assert head.states(category) == ["TIMEOUT", "COMPLETED"]
        assert head.jobs(category)[1]["TimeLimit"] == "02:00:00"
        assert head.jobs(other(category))[0]["TimeLimit"] == "01:00:00"
    assert results(project) == expected


def test_a_job_that_takes_too_much_memory_gets_more(cluster: SlurmCluster, project: Project, expected: list[bytes]) -> None:
    # Less than Snakemake itself takes, then plenty.
    memory = ("--set-resources", "retrieval_00_inventory:mem_mb=2 * 30 ** attempt")
    with started(project, cluster, *memory) as head:
        assert head.ends() == 0, head.said()
        for category in CATEGORIES:
            assert head.states(category)[0] in ("OUT_OF_MEMORY", "FAILED")
            assert head.states(category)[1:] == ["COMPLETED"]
            assert [job["MinMemoryNode"] for job in head.jobs(category)] == ["60M", "1800M"]
    assert results(project) == expected


@pytest.mark.parametrize("way", ["cancel the jobs", "wait for the jobs"])
def test_a_head_that_was_killed_goes_on_with_the_same_command(
    cluster: SlurmCluster, project: Project, expected: list[bytes], way: str
) -> None:
    with started(project, cluster) as head:
        process, category = head.hold()
        assert eventually(lambda: len(submitted(head.said())) == 2, PATIENCE)
        head.process.kill()
        head.process.wait()
        (old,) = run_ids(head.said())
        assert cluster.jobs("--name", old), "jobs outlive their Snakemake"
        if way == "cancel the jobs":
            cluster.command("scancel", "--name", old)
        else:
            process.resume()
        assert eventually(lambda: not cluster.jobs("--name", old), PATIENCE)
        if way == "cancel the jobs":
            locked = project.run(*INVENTORIES, *ON_CLUSTER, check=False)
            assert locked.returncode
            assert "--unlock" in locked.stdout
        project.run("--unlock")
        done = project.run(*INVENTORIES, *ON_CLUSTER)
        if way == "wait for the jobs":
            assert head.states(category) == head.states(other(category)) == ["COMPLETED"]
            assert not submitted(done.stdout), "what they made is taken as it is"
    assert results(project) == expected
    assert project.planned(*INVENTORIES) == set()


def test_an_interrupted_head_cancels_its_jobs_and_leaves_no_lock(cluster: SlurmCluster, project: Project, expected: list[bytes]) -> None:
    with started(project, cluster) as head:
        _, category = head.hold()
        assert eventually(lambda: len(submitted(head.said())) == 2, PATIENCE)
        head.process.send_signal(signal.SIGINT)
        assert head.ends() != 0
        assert eventually(lambda: not cluster.jobs("--name", run_ids(head.said())[0]), PATIENCE)
        assert head.states(category) == ["CANCELLED"]
    project.run(*INVENTORIES, *ON_CLUSTER)
    assert results(project) == expected


def test_a_restarted_controller_is_waited_for(cluster: SlurmCluster, project: Project, expected: list[bytes]) -> None:
    with started(project, cluster) as head:
        process, category = head.hold()
        cluster.restart_controller()
        process.resume()
        assert head.ends() == 0, head.said()
        assert head.states(category) == head.states(other(category)) == ["COMPLETED"]
    assert results(project) == expected


def test_a_full_disk_fails_the_jobs_and_the_same_command_goes_on(
    cluster: SlurmCluster, project: Project, expected: list[bytes], disk: Path
) -> None:
    project.config["retrieval"]["results_root"] = str(disk)
    project.write_config()
    targets = [f"{disk}/d/00_inventory/{category}.parquet" for category in CATEGORIES]
    filler = disk / "filler"
    subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4096"], capture_output=True)  # until nothing more fits
    failed = project.run(*targets, *ON_CLUSTER, "--retries", "0", check=False)
    assert failed.returncode == 1
    assert "No space left on device" in failed.stdout
    assert [path.name for path in disk.rglob("*") if path.is_file()] == ["filler"]
    filler.unlink()
    project.run(*targets, *ON_CLUSTER)
    assert [Path(path).read_bytes() for path in targets] == expected
