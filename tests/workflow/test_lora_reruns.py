"""What a changed setting or source of lora reruns, and that what was computed or paid for once is not done again."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.workflow.lora_workspace import (
    CORES,
    EMPTY,
    NEAR,
    ODD,
    VIDEO_STEPS,
    Workspace,
    finished_workspace,
    rules_from,
)
from workflow_scripts.core.models import slug

pytest.importorskip("ultralytics")

VIDEOS = (NEAR, ODD, EMPTY)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Three videos, run once; tests leave it as it was."""
    return finished_workspace(tmp_path_factory.getbasetemp())


@pytest.fixture
def work(finished: Workspace, tmp_path: Path) -> Workspace:
    """A copy of it, to change."""
    return finished.copy_to(tmp_path / "copy")


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        ({"fps": 1}, "01_frames"),
        ({"pose": {"conf_threshold": 0.6}}, "02_sort"),
        ({"pose": {"box_conf": 0.3}}, "02_sort"),
        ({"pose": {"max_people": 1}}, "02_sort"),
        ({"mask": {"alpha_matting": True}}, "03_mask"),
        ({"score": {"min_sharpness": 60}}, "04_select"),
        ({"composite": {"blur_radius": 5}}, "05_composite"),
        ({"caption": {"trigger_words": "sks"}}, "06_caption"),
        ({"caption": {"banned_words": ["hat"]}}, "06_caption"),
        ({"export": {"repeats": 3}}, "07_export"),
    ],
    ids=lambda value: (
        value if isinstance(value, str) else "-".join(str(next(iter(part))) for part in value.values() if isinstance(part, dict))
    ),
)
def test_a_changed_setting_reruns_what_depends_on_it_and_nothing_before(finished: Workspace, changed: dict[str, Any], first: str) -> None:
    with finished.changed(**changed):
        jobs = finished.jobs()
    assert {rule for rule, _ in jobs} == rules_from(first)
    for step in VIDEO_STEPS:
        of_step = {video for rule, video in jobs if rule == step}
        assert of_step in (set(), {slug(video) for video in VIDEOS}), "of all videos or of none"


def test_how_to_compute_reruns_nothing(work: Workspace) -> None:
    work.config |= {"cache_root": "elsewhere", "device": "auto"}
    work.write_config(pose={"batch_size": 3}, caption={"concurrency": 1, "timeout": 5, "requests_per_minute": 7, "price_in": 2.0})
    for path in (*(work.root / "model").iterdir(), *(work.root / "weights").iterdir()):
        os.utime(path)
    for path in (work.root / "data/source_videos").iterdir():
        os.utime(path, ns=(0, path.stat().st_mtime_ns))
    assert work.jobs("lora", "--set-threads", "lora_02_pose=1", "lora_05_composite=1") == set()


def test_words_of_another_file_rerun_captions(work: Workspace) -> None:
    shutil.copy(Path(__file__).parents[2] / "resources/lora/phrases.yaml", work.root / "mine.yaml")
    with work.changed(caption={"phrases": "mine.yaml"}):
        assert work.rules() == rules_from("06_caption")


def test_a_new_video_takes_its_own_steps_and_the_choice_is_made_anew(work: Workspace) -> None:
    videos = work.root / "data/source_videos"
    shutil.copy(videos / f"{NEAR}.mp4", videos / "another.mp4")
    jobs = work.jobs()
    own = {(rule, video) for rule, video in jobs if rule in VIDEO_STEPS}
    assert own == {(step, "another") for step in VIDEO_STEPS}
    pages = {"01_validation_page", "02_reject_page", "03_mask_page"}
    assert {rule for rule, _ in jobs - own} == rules_from("04_select") | pages


def test_another_content_of_a_video_takes_the_frames_of_it_alone(work: Workspace) -> None:
    videos = work.root / "data/source_videos"
    (videos / f"{EMPTY}.webm").write_bytes((videos / f"{EMPTY}.webm").read_bytes()[:-1000])
    assert {video for rule, video in work.jobs() if rule in VIDEO_STEPS} == {EMPTY}


def test_a_video_that_is_gone_takes_no_frames_anew_and_the_choice_is_made_without_it(work: Workspace) -> None:
    (work.root / "data/source_videos" / f"{EMPTY}.webm").unlink()
    jobs = work.jobs()
    assert {rule for rule, _ in jobs} == rules_from("04_select") | {"01_validation_page", "02_reject_page", "03_mask_page"}


def test_a_new_background_lays_subjects_on_anew(work: Workspace) -> None:
    library = work.root / "data/00_background_library"
    first = min(path for path in library.iterdir())
    shutil.copy(first, library / "new.jpg")
    assert work.rules() == rules_from("05_composite")


def test_a_slice_of_a_finished_workspace_poses_and_masks_nothing_again(work: Workspace) -> None:
    work.config["lora"]["workspaces"]["part"] = work.settings | {"slice": {"videos": 2, "frames": 4}}
    work.write_config()
    first_two = sorted(slug(video) for video in sorted(VIDEOS)[:2])
    work.run(*(f"results/lora/part/04_metrics/{video}.parquet" for video in first_two), *CORES)
    for video in first_two:
        assert work.counted("01_frames", video, "part")["frame"] == 4
        posed = work.counted("02_pose", video, "part")
        assert (posed["computed"], posed["known"]) == (0, 4)
    done = [work.counted("03_mask", video, "part") for video in first_two]
    assert sum(counts["computed"] for counts in done) == 0
    assert sum(counts["known"] for counts in done) == sum(counts["masked"] for counts in done) > 0


def test_another_threshold_poses_nothing_and_masks_only_what_is_new(work: Workspace) -> None:
    # Nothing counts as seen above this threshold: all are rejected. Below it they are back, and their masks are known.
    before = work.made()
    work.write_config(pose={"conf_threshold": 0.999})
    targets = [work.target("04_measure", NEAR), work.target("03_mask", ODD)]
    work.run(*targets, *CORES)
    few = [work.counted("03_mask", video) for video in (NEAR, ODD)]
    assert sum(counts["computed"] for counts in few) == 0
    work.write_config(pose={"conf_threshold": 0.5})
    work.run(*targets, *CORES)
    again = [work.counted("03_mask", video) for video in (NEAR, ODD)]
    assert sum(counts["computed"] for counts in again) == 0
    assert sum(counts["masked"] for counts in again) > sum(counts["masked"] for counts in few)
    assert work.made() == before


def test_another_background_asks_for_no_caption_again(work: Workspace) -> None:
    before = work.rows("06_caption")
    work.write_config(composite={"blur_radius": 9})
    work.run(work.target("06_caption"), *CORES)
    counts = work.counted("06_caption")
    assert (counts["known"], counts["encoded"]) == (len(before), 0)
    after = work.rows("06_caption")
    assert [(row["frame_id"], row["text"]) for row in after] == [(row["frame_id"], row["text"]) for row in before]
    assert all(new["file_sha256"] != old["file_sha256"] for new, old in zip(after, before, strict=True))
