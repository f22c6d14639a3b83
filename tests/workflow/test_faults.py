"""Kill -9 at the worst moments: nothing is lost, nothing is done twice needlessly, the end is the same to the byte."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from tests.workflow.conftest import Project, digest_tree, new_project

LARGE = 160  # images that take long enough to decode that a kill finds the step in the middle
SMALL = 1500  # images small enough to embed at once, and enough of them to kill a copy in the middle


def large_images(folder: Path) -> None:
    """One large JPEG, again and again with other bytes behind its end: as many contents, drawn once."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (220, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((3000, 2200)).save(folder / "first.jpg", quality=90)
    data = (folder / "first.jpg").read_bytes()
    for number in range(LARGE - 1):
        (folder / f"{number:04d}.jpg").write_bytes(data + number.to_bytes(4, "big"))


def small_images(folder: Path) -> None:
    """Many small images."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    for number in range(SMALL):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number:05d}.png")


@contextmanager
def started(project: Project, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """The workflow running in the background; nothing of it is left afterwards."""
    with (project.root / "output.txt").open("wb") as output:
        process = subprocess.Popen(project.command(*arguments), cwd=project.root, stdout=output, stderr=output, start_new_session=True)
        family = psutil.Process(process.pid)
        try:
            yield process
        finally:
            with_children = [family, *family.children(recursive=True)] if family.is_running() else []
            for member in with_children:
                member.kill()
            process.wait()


def wait_for(what: Callable[[], bool], seconds: float = 300) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def jobs_of(process: subprocess.Popen[bytes], script: str) -> list[psutil.Process]:
    """The running jobs of a script below a Snakemake."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if any(script in word for word in child.cmdline()) and "python" in child.name():
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def cached_vectors(project: Project) -> int:
    """How many segments of vectors are safe on disk."""
    return len(list((project.root / "cache").glob("embeddings/*/*.arrow")))


def finish(project: Project) -> None:
    """The documented way on after a kill: unlock, then the same command."""
    project.run("--unlock")
    project.run()
    assert project.planned() == set()


@pytest.fixture(scope="module")
def undisturbed_large(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The large images, run once without a disturbance."""
    project = new_project(tmp_path_factory.mktemp("large") / "p", large_images, shard_count=1, batch_size=8)
    project.config["images"] = {"decode": "full"}
    project.write_config()
    project.run()
    return project


@pytest.fixture(scope="module")
def undisturbed_small(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small images, run once without a disturbance, everything kept."""
    project = new_project(tmp_path_factory.mktemp("small") / "p", small_images, shard_count=1, threshold=1.0)
    project.run()
    return project


def unmade(finished: Project, root: Path, *folders: str) -> Project:
    """The same project as it was before these folders were made."""
    import shutil

    project = finished.copy_to(root)
    for folder in folders:
        shutil.rmtree(project.root / folder, ignore_errors=True)
    return project


@pytest.mark.parametrize("victim", ["snakemake alone", "snakemake and job", "job alone"])
def test_killed_while_embedding(undisturbed_large: Project, tmp_path: Path, victim: str) -> None:
    project = unmade(undisturbed_large, tmp_path / "p", "cache", "results", ".snakemake", "clean", "manifests", "logs")
    # On one core it takes long enough to be killed in the middle, on fast machines too.
    with started(project, "people", "--cores", "1") as process:
        wait_for(lambda: cached_vectors(project) > 0)
        (job,) = jobs_of(process, "embed.py")
        if victim != "job alone":
            process.kill()
        if victim != "snakemake alone":
            job.kill()
        if victim == "snakemake alone":
            # The orphan finds out by itself that nobody waits for it, and leaves nothing behind.
            wait_for(lambda: not job.is_running() or job.status() == psutil.STATUS_ZOMBIE, seconds=120)
        if victim == "job alone":
            assert process.wait(timeout=400) == 0, "Snakemake tries a killed job again"
    assert victim == "job alone" or not (project.results / "02_embed/shard-0000-of-0001.parquet").exists()
    if victim != "job alone":
        finish(project)
    assert project.aggregate() == undisturbed_large.aggregate()
    assert digest_tree(project.root / "clean") == digest_tree(undisturbed_large.root / "clean")
    done = project.counts("02_embed")
    assert 0 < done["encoded"] <= LARGE - 8, "what was in the cache was computed again"
    assert done["read"] + done["known"] == LARGE
    assert not list(project.root.rglob(".*.tmp"))


def test_an_orphan_that_ends_after_the_new_run_changes_nothing(undisturbed_large: Project, tmp_path: Path) -> None:
    project = unmade(undisturbed_large, tmp_path / "p", "cache", "results", ".snakemake", "clean", "manifests", "logs")
    # On one core it takes long enough to be killed in the middle, on fast machines too.
    with started(project, "people", "--cores", "1") as process:
        wait_for(lambda: cached_vectors(project) > 0)
        (job,) = jobs_of(process, "embed.py")
        job.suspend()
        process.kill()
        process.wait()
        finish(project)
        before = {name: digest for name, digest in digest_tree(project.results).items() if not name.endswith(".tmp")}
        job.resume()
        wait_for(lambda: not job.is_running() or job.status() == psutil.STATUS_ZOMBIE, seconds=120)
    assert digest_tree(project.results) == before
    assert not list(project.results.rglob(".*.tmp"))


@pytest.mark.parametrize("victim", ["snakemake and job", "job alone"])
def test_killed_while_publishing(undisturbed_small: Project, tmp_path: Path, victim: str) -> None:
    project = unmade(undisturbed_small, tmp_path / "p", "clean", "manifests", "results/people/r/06_publish")
    journal = project.results / "06_publish/journal.jsonl"
    with started(project) as process:
        wait_for(lambda: journal.is_file() and journal.stat().st_size > 30_000)
        for job in jobs_of(process, "publish.py"):
            os.kill(job.pid, signal.SIGKILL)
        if victim == "job alone":
            assert process.wait(timeout=400) == 0
        else:
            process.kill()
    if victim != "job alone":
        assert not (project.results / "06_publish/receipt.parquet").exists()
        assert not list((project.root / "manifests").rglob("*.*")), "manifests stand for a complete copy"
        published = {entry["key"] for entry in map(json.loads, filter(str.strip, journal.read_text().splitlines()[:-1]))}
        finish(project)
        done = project.counts("06_publish")
        assert done["already_there"] >= len(published) > 0
        assert done["copied"] + done["already_there"] == SMALL
    assert digest_tree(project.root / "clean") == digest_tree(undisturbed_small.root / "clean")
    assert not list((project.root / "clean").rglob(".*.tmp"))


def test_a_full_disk_fails_the_step_and_the_next_run_goes_on(undisturbed_small: Project, tmp_path: Path) -> None:
    project = unmade(undisturbed_small, tmp_path / "p", "clean", "manifests", "results/people/r/06_publish")
    (project.root / "clean").mkdir()
    (project.root / "clean/00100.png").mkdir()  # where a file has to go, a folder stands
    failed = project.run(check=False)
    assert failed.returncode != 0
    assert "00100.png: copy: is a directory" in failed.stdout
    assert len(list((project.root / "clean").glob("*.png"))) == SMALL, "every other image was tried"
    (project.root / "clean/00100.png").rmdir()
    project.run()
    assert project.counts("06_publish")["copied"] == 1
    assert digest_tree(project.root / "clean") == digest_tree(undisturbed_small.root / "clean")
