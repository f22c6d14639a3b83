"""The lora pipeline in trouble: files that are no videos, models and folders that are missing, kill -9 at the worst moments."""

import os
import re
import shutil
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.lab.captions import MODEL, Answer, CaptionServer, say
from tests.workflow.conftest import digest_tree
from tests.workflow.lora_workspace import CORES, EMPTY, NEAR, ODD, Workspace, finished_workspace
from tests.workflow.test_faults import started, wait_for

pytest.importorskip("ultralytics")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Three videos, run once; tests leave it as it was."""
    return finished_workspace(tmp_path_factory.getbasetemp())


@pytest.fixture
def work(finished: Workspace, tmp_path: Path) -> Workspace:
    """A copy of it, to change."""
    return finished.copy_to(tmp_path / "copy")


# ---- what is missing or wrong ----


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"pose": {"sha256": "0" * 64}}, ["weights/pose.pt", "sha256"]),
        ({"mask": {"model": "weights/none.onnx"}}, ["lora.workspaces.w.mask", "weights/none.onnx"]),
        ({"source_videos": "model"}, ["model: no videos", "source_videos"]),
    ],
    ids=["another sha256", "no weights", "no videos"],
)
def test_what_is_missing_is_said_once_and_clearly(work: Workspace, changed: dict[str, Any], said: list[str]) -> None:
    shutil.rmtree(work.root / "resources/models/cards")
    work.write_config(**changed)
    # A wrong sha256 takes reading the file, which no plan does.
    dry = () if "pose" in changed else ("-n",)
    done = work.run(work.target("03_mask", NEAR), *dry, *CORES, check=False)
    assert done.returncode
    assert [text for text in said if text not in done.stdout] == []
    assert "Traceback (most recent call last)" not in done.stdout


def test_another_pipeline_plans_whatever_is_wrong_with_a_workspace(work: Workspace) -> None:
    shutil.rmtree(work.root / "data/source_videos")
    work.write_config(mask={"model": "weights/none.onnx"})
    runs = {"r": {"source": "data/00_background_library", "destination": "clean", "manifests": "manifests"}}
    work.config["people"] = {"runs": runs | {"r": runs["r"] | {"model": work.settings["caption"]["clip_model"]}}}
    work.write_config()
    assert "people_02_embed" in work.planned("people")


def test_an_empty_library_is_said(work: Workspace) -> None:
    shutil.rmtree(work.root / "data/00_background_library")
    (work.root / "data/00_background_library").mkdir()
    done = work.run(work.target("05_composite"), *CORES, check=False)
    assert done.returncode
    assert "data/00_background_library" in work.log("05_composite")
    assert "Traceback" not in work.log("05_composite")


def test_a_step_that_is_missing_is_planned_though_later_ones_are_there(work: Workspace) -> None:
    work.file("02_pose", NEAR).unlink()
    assert ("02_pose", NEAR) in work.jobs()


def test_files_that_are_no_videos_are_rows_and_stop_no_other(work: Workspace) -> None:
    videos = work.root / "data/source_videos"
    whole = (videos / f"{NEAR}.mp4").read_bytes()
    (videos / "cut.mp4").write_bytes(whole[: round(0.7 * len(whole))])
    (videos / "empty.mp4").touch()
    (videos / "text.mp4").write_text("no video\n" * 100)
    for folder in ("one", "two"):
        (videos / folder).mkdir()
        shutil.copy(videos / f"{EMPTY}.webm", videos / folder / "same.webm")
    shutil.copy(videos / f"{EMPTY}.webm", videos / f"{NEAR}.webm")
    before = digest_tree(videos)
    known = set(work.videos())
    targets = ["results/lora/w/01b_validation_report", work.target("03_mask", "cut")]
    work.run(*targets, *CORES)
    assert digest_tree(videos) == before
    new = sorted(set(work.videos()) - known)
    (twin,) = (name for name in new if name.startswith(NEAR))
    assert new == sorted(["cut", "empty", "text", "one__same", "two__same", twin])
    for video in ("empty", "text"):
        (row,) = work.rows("01_frames", video)
        assert row["outcome"] == "error"
        assert re.match(r"(decode|open|read): \S", row["reason"])
    cut = work.rows("01_frames", "cut")
    assert {row["outcome"] for row in cut} == {"frame", "error"}
    assert [row["reason"].partition(":")[0] for row in cut if row["outcome"] == "error"] == ["decode"]
    assert work.counted("02_pose", "cut")["pose"] == sum(row["outcome"] == "frame" for row in cut)
    assert work.counted("02_sort", "cut")["listed"] == len(cut)
    assert {row["outcome"] for row in work.rows("01_frames", "one__same")} == {"frame"}
    shown = work.page("01b_validation_report")
    assert dict(zip(("frame", "error"), shown["totals"]["outcomes"], strict=True))["error"] == 3
    frames = [row["frame_id"] for row in work.rows("01_frames")]
    assert len(frames) == len(set(frames)), "names are of one frame each"


# ---- kill -9 ----


def kill_all(process: Any) -> None:
    """Kill Snakemake and all that it started, and wait until they are gone."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        member.kill()
    psutil.wait_procs(family[1:], timeout=60)
    process.wait()


@pytest.mark.parametrize(
    ("step", "video", "cache", "sign"),
    [
        ("01_frames", NEAR, "", f"results/lora/w/01_source_frames/{NEAR}/*.jpg"),
        ("02_pose", ODD, "poses", "logs/lora/w/02_pose/*.log"),
        ("03_mask", NEAR, "masks", "results/lora/w/03_masked_subjects/*/*.png"),
        ("05_composite", "", "", "results/lora/w/05_training_data/*/*.jpg"),
    ],
    ids=["frames", "pose", "mask", "composite"],
)
def test_killed_in_a_step_and_the_same_command_makes_what_an_undisturbed_run_made(
    work: Workspace, step: str, video: str, cache: str, sign: str
) -> None:
    before = work.made()
    table, target = work.file(step, video), work.target(step, video)
    # As before the step: its table, its pictures, and what is known of them by content.
    shutil.rmtree(table.parent)
    shutil.rmtree(work.root / "cache" / cache if cache else work.root / "cache/none", ignore_errors=True)
    shutil.rmtree(work.root / "logs/lora/w" / step, ignore_errors=True)
    with started(work, target, *CORES) as process:
        wait_for(lambda: any(work.root.glob(sign)) or process.poll() is not None)
        assert process.poll() is None
        kill_all(process)
    standing = [path for path in table.parent.rglob("*.*") if path.suffix in (".jpg", ".png")]
    work.run("--unlock")
    work.run(target, *CORES)
    after = work.made()
    name = str(table.relative_to(work.results))
    assert after[name] == before[name]
    pictures = {path: data for path, data in after.items() if path.startswith(table.parent.name)}
    assert pictures.items() <= before.items()
    if step in ("03_mask", "05_composite"):
        counts = work.counted(step, video)
        assert counts["current"] >= len(standing) > 0, "what stood there was not made again"
        assert counts["current"] + sum(counts.get(name, 0) for name in ("known", "computed", "made")) == counts["listed"]
    assert not list(work.root.rglob("*.tmp"))


def test_killed_between_two_replies_and_only_the_rest_is_paid_for(work: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("openai")
    with CaptionServer() as server:
        for name, value in server.environment(tmp_path).items():
            monkeypatch.setenv(name, value)
        caption = {
            "backend": "openai",
            "model": MODEL,
            "base_url": f"{server.endpoint}/v1",
            "concurrency": 1,
            "requests_per_minute": 6000.0,
        }
        work.write_config(caption=caption)
        target, store = work.target("06_caption"), work.root / "store/lora/w/captions.jsonl"
        count, released = len(work.rows("05_composite")), threading.Event()
        server.answers += [say(f"juggling {number} balls") for number in range(4)]
        server.always = Answer(wait=lambda: released.wait(60))
        with started(work, target, *CORES) as process:
            wait_for(lambda: len(server.asked) == 5 or process.poll() is not None)
            assert process.poll() is None, (work.root / "output.txt").read_text()[-3000:]
            kill_all(process)
            released.set()
        paid = store.read_bytes()
        assert paid.count(b"\n") == 4
        server.reset()
        work.run("--unlock")
        work.run(target, work.target("07_export"), *CORES)
        assert len(server.asked) == count - 4
        assert store.read_bytes().startswith(paid), "what was paid for stays"
        rows = work.rows("06_caption")
        assert {f"juggling {number} balls" for number in range(4)} < {row["caption"] for row in rows}
        assert {row["source"] for row in rows} == {f"openai {MODEL}"}
        assert {row["outcome"] for row in rows} == {"captioned"}
        assert {row["outcome"] for row in work.rows("07_export")} == {"exported"}
        files = [path for path in work.root.rglob("*") if path.is_file()]
        assert [path for path in files for secret in server.secrets() if secret in path.read_bytes()] == []
        assert os.environ["OPENAI_API_KEY"].encode() in server.secrets()
