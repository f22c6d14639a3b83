"""The predict pipeline in trouble: models that are no use, sources that go, jobs that fail, kill -9 at the worst moments, many images."""

import io
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
from PIL import Image

from tests.workflow.conftest import REPO
from tests.workflow.predict_data import (
    ALPHA,
    BETA,
    CORES,
    STAGES,
    Batch,
    finished_batch,
    fresh,
    picture,
    save_ranker,
    zipped,
)
from tests.workflow.test_faults import jobs_of, started, wait_for
from workflow_scripts.core.images import decode

pytest.importorskip("torch")

SHARED = 8  # images that all large projects hold
KILLABLE = 9.0  # seconds of one core that a large project takes, so that a kill finds it in the middle
FEWEST = 80  # images of a large project
LARGE = ("one", "two", "three")
TABLES = ("02_embed", "03_predict", "03_predict/images")
# Targets: decisions on one project stand for all, since each costs seconds.
DECISIONS = "results/predict/03_predict/one.parquet"
ALL = ("results/predict/02_embed/two.parquet", "results/predict/02_embed/three.parquet", DECISIONS)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """Two zips with the same images and a folder, run once."""
    return finished_batch(tmp_path_factory.getbasetemp())


@pytest.fixture
def batch(finished: Batch, tmp_path: Path) -> Batch:
    """A copy of the finished batch, to change."""
    return finished.copy_to(tmp_path / "copy")


# ---- models ----


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ranker": {"paths": ["ranker_v4.pt", "none/ranker_v3.pt"]}}, ["predict.ranker.paths: ", "ranker_v4.pt", "none/ranker_v3.pt"]),
        ({"crop": {"path": "none/crop.pt"}}, ["predict.crop.path: ", "none/crop.pt"]),
    ],
    ids=["ranker", "crop proposer"],
)
def test_a_missing_checkpoint_ends_the_plan_with_the_setting_and_the_paths(
    finished: Batch, settings: dict[str, Any], said: list[str]
) -> None:
    with finished.changed(**settings):
        done = finished.run("predict", "-n", check=False)
    assert done.returncode
    assert "Traceback (most recent call last)" not in done.stdout
    assert [text for text in said if text not in done.stdout] == []
    assert not re.search(r"^(local)?rule ", done.stdout, re.MULTILINE)


class Code:
    """What runs when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch it_ran",)


@pytest.mark.parametrize("case", ["of another CLIP", "a pickle with code"])
def test_a_checkpoint_that_is_no_use_ends_the_run_before_any_image_is_read(finished: Batch, tmp_path: Path, case: str) -> None:
    batch = fresh(finished, tmp_path / "p", {ALPHA: {"path": "in/a.zip"}}, lambda root: zipped(root / "a.zip", {"a.jpg": picture(1)}))
    if case == "of another CLIP":
        save_ranker(batch.root / "ranker_v4.pt", dimension=768)
    else:
        (batch.root / "ranker_v4.pt").write_bytes(pickle.dumps({"model_state_dict": Code()}))
    done = batch.run("predict", *CORES, check=False)
    assert done.returncode
    log = (batch.root / "logs/predict/00_models.log").read_text()
    assert re.search(r"^\S+ \S+ ranker_v4\.pt: ", log, re.MULTILINE)
    assert ("768→256→64→1" in log) == (case == "of another CLIP")
    assert "Traceback" not in log
    made = [path for path in (batch.root / "results/predict").rglob("*") if path.is_file()]
    assert {path.parent.name for path in made} == {"predict"}, "the summary of what failed, and not even a list of images"
    assert batch.json("batch_predictions_summary.json")["failed_projects"].keys() == {ALPHA}
    assert not (batch.root / "it_ran").exists()


# ---- sources ----


def test_a_source_that_is_gone_after_the_run_undoes_nothing(batch: Batch) -> None:
    (batch.root / "in").rename(batch.root / "unplugged")
    assert batch.jobs() == set()
    # What does not need the source goes on.
    save_ranker(batch.root / "ranker_v3_w10.pt", seed=9)
    assert {step for step, _ in batch.jobs()} == {"00_models", "03_predict", "04_database", "05_validate", "06_report", "06_summary"}


def test_a_job_that_fails_stops_no_other_and_the_next_run_makes_it(finished: Batch, batch: Batch) -> None:
    batch.file("02_embed", ALPHA).unlink()
    batch.file("04_database", BETA, "json").unlink()
    (batch.root / "in/a.zip").rename(batch.root / "a.zip")
    failed = batch.run("predict", "--keep-going", *CORES, check=False)
    assert failed.returncode
    assert "in/a.zip: no such file or directory" in batch.log("02_embed", ALPHA)
    assert not batch.file("02_embed", ALPHA).exists()
    assert batch.json("04_database", BETA) == finished.json("04_database", BETA)
    summary = batch.json("batch_predictions_summary.json")
    assert summary["results"] == {"total_projects": 3, "processed": 2, "skipped": 0, "failed": 1}
    assert summary["failed_projects"] == {ALPHA: f"not finished; logs/predict/{ALPHA}/ says why"}
    assert f"failed: {ALPHA}: not finished" in failed.stdout
    lines = (batch.root / "results/predict/batch_predictions_log.jsonl").read_text().splitlines()
    assert [line for line in lines if '"failed"' in line] == [line for line in lines if f'"project_id": "{ALPHA}"' in line] == lines[-1:]

    (batch.root / "a.zip").rename(batch.root / "in/a.zip")
    batch.run("predict", *CORES)
    assert batch.json("batch_predictions_summary.json")["results"] == {"total_projects": 3, "processed": 3, "skipped": 0, "failed": 0}
    for step in TABLES:
        assert batch.file(step, ALPHA).read_bytes() == finished.file(step, ALPHA).read_bytes()
    assert batch.counted("02_embed", ALPHA)["encoded"] == 0, "the cache knew all of it"


# ---- kill -9 ----


def large_members(project: str, data: bytes, count: int) -> dict[str, bytes]:
    """Groups of one large picture, again and again with other bytes behind its end: as many contents, drawn once."""
    names = [f"{number // 2:04d}_{STAGES[1.0 + number % 2]}.jpg" for number in range(count)]
    return {name: data + (b"shared" if number < SHARED else project.encode()) + b"%04d" % number for number, name in enumerate(names)}


@pytest.fixture(scope="module")
def undisturbed(finished: Batch, tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """Three zips of large images, embedded once without a disturbance."""
    folder, data = tmp_path_factory.mktemp("large"), io.BytesIO()
    Image.open(io.BytesIO(picture("large"))).resize((4000, 3000)).save(data, "JPEG", quality=50)
    start = time.process_time()
    decode(data.getvalue(), max_pixels=10**8, min_side=None).image.resize((300, 225))
    count = max(FEWEST, round(KILLABLE / (time.process_time() - start)))
    zips = {name: zipped(folder / f"{name}.zip", large_members(name, data.getvalue(), count)) for name in LARGE}
    # Absolute paths: the zips are not copied with the batch.
    batch = fresh(finished, folder / "p", {name: {"path": str(path)} for name, path in zips.items()}, Path.mkdir, batch_size=4)
    batch.config["images"] = {"decode": "full"}
    batch.write_config()
    batch.run(*ALL, *CORES)
    return batch


def unembedded(undisturbed: Batch, root: Path) -> Batch:
    """The same, listed, with nothing embedded."""
    batch = undisturbed.copy_to(root)
    for folder in ("cache", "results/predict/02_embed", "results/predict/03_predict", "logs/predict"):
        shutil.rmtree(root / folder)
    return batch


def cached(batch: Batch) -> Counter[str]:
    """How often each content stands in the cache of vectors."""
    found: Counter[str] = Counter()
    for path in (batch.root / "cache").glob("embeddings/*/*.arrow"):
        found.update(value.hex() for value in pa.ipc.open_file(path).read_all()["sha256"].to_pylist())
    return found


def writers(batch: Batch) -> set[int]:
    """Processes that have brought vectors to safety."""
    return {int(path.name.split("-")[-2]) for path in (batch.root / "cache").glob("embeddings/*/*.arrow")}


def test_of_three_that_embed_at_once_one_is_killed_and_nothing_is_lost_or_done_twice(undisturbed: Batch, tmp_path: Path) -> None:
    batch = unembedded(undisturbed, tmp_path / "p")
    count = len(undisturbed.rows("02_embed", "one"))
    with started(batch, *ALL, "--cores", "3", "--set-threads", "predict_02_embed=1") as process:
        wait_for(lambda: bool(writers(batch)))
        jobs = jobs_of(process, "embed.py")
        assert len(jobs) == 3, "all at work"
        (victim, *_) = (job for job in jobs if job.pid in writers(batch))
        os.kill(victim.pid, signal.SIGKILL)
        safe = cached(batch)
        assert process.wait(timeout=500) == 0, (batch.root / "output.txt").read_text()[-3000:]
    assert 0 < safe.total() < 3 * count
    for project in LARGE:
        for step in TABLES if project == "one" else TABLES[:1]:
            assert batch.file(step, project).read_bytes() == undisturbed.file(step, project).read_bytes(), (project, step)
    found = cached(batch)
    shared = {row["sha256"] for row in batch.rows("02_embed", "one")} & {row["sha256"] for row in batch.rows("02_embed", "two")}
    assert len(shared) == SHARED
    assert found.keys() == cached(undisturbed).keys()
    assert {content for content, times in found.items() if times > 1} <= shared, "only at the same time"
    encoded = sorted(batch.counted("02_embed", project)["encoded"] for project in LARGE)
    assert count - SHARED <= encoded[1] <= encoded[2] <= count, "each survivor its own, once"
    assert encoded[0] < count - SHARED, "what the victim had brought to safety was not embedded again"
    assert not list(batch.root.rglob("*.tmp"))


def test_all_killed_while_embedding_and_the_next_run_goes_on_where_it_was(undisturbed: Batch, tmp_path: Path) -> None:
    batch = unembedded(undisturbed, tmp_path / "p")
    with started(batch, DECISIONS, "--cores", "1") as process:
        wait_for(lambda: bool(cached(batch)))
        jobs = jobs_of(process, "embed.py")
        os.killpg(process.pid, signal.SIGKILL)
        wait_for(lambda: not any(job.is_running() and job.status() != psutil.STATUS_ZOMBIE for job in jobs), seconds=60)
        safe = cached(batch).total()
    assert not batch.file("02_embed", "one").exists()
    batch.run("--unlock")
    batch.run(DECISIONS, *CORES)
    for step in TABLES:
        assert batch.file(step, "one").read_bytes() == undisturbed.file(step, "one").read_bytes(), step
    count = len(batch.rows("02_embed", "one"))
    assert 0 < safe < count
    assert batch.counted("02_embed", "one")["encoded"] == count - safe
    assert set(cached(batch).values()) == {1}
    assert not list(batch.root.rglob("*.tmp"))


def test_the_remaining_time_is_told_from_images(undisturbed: Batch) -> None:
    count = len(undisturbed.rows("02_embed", "one"))
    logs = "".join(undisturbed.log("02_embed", project) for project in LARGE)
    assert re.search(rf"about \d+ (s|min) left for {2 * count} images in this and 2 other projects, at [\d.]+/s", logs)
    assert re.search(rf"about \d+ (s|min) left for {count} images in this and 1 other project, at [\d.]+/s", logs)


# ---- many images ----

MEMORY = """
import resource, sys
from pathlib import Path
from workflow_scripts.core.embed import Embedder
from workflow_scripts.core.models import ModelCard
from workflow_scripts.predict.embed import embed_project
from workflow_scripts.predict.inventory import take_inventory
from workflow_scripts.predict.sources import open_source

limits = {"max_member": 10**8, "max_ratio": 100}
counts = take_inventory({"project_id": "p", "path": sys.argv[1], "fingerprint": ""}, limits, Path("inventory.parquet"))
embedder = Embedder(ModelCard.read(Path(sys.argv[2])), cache_root="cache", views="center", decode_mode="scaled", max_pixels=10**8,
    device="cpu", batch="auto", threads=2, thumbnail_share=1.0)
done = embed_project(Path("inventory.parquet"), open_source(sys.argv[1], **limits), embedder, Path("table.parquet"))
print(counts["listed"], done["encoded"], done["errors"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_forty_thousand_images_in_a_zip_take_little_memory(finished: Batch, tmp_path: Path) -> None:
    pictures = [picture(number, (32, 24)) for number in range(50)]
    (card,) = (finished.root / "resources/models/cards").glob("*.json")
    megabytes = {}
    for count in (100, 40_000):
        folder = tmp_path / str(count)
        path = zipped(folder / "p.zip", {f"{n % 7}/{n:05d}.jpg": pictures[n % 50] for n in range(count)})
        # The card names the weights from the batch's folder.
        (folder / "model").symlink_to(finished.root / "model")
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, path, card],
            cwd=folder, env=os.environ | {"PYTHONPATH": str(REPO)}, text=True, capture_output=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        listed, encoded, errors, megabytes[count] = map(int, done.stdout.split())
        assert (listed, encoded, errors) == (count, 50, 0)
    # 2048 are allowed; with images as small as these it is little more than the tables.
    assert megabytes[40_000] - megabytes[100] < 500, megabytes
