"""The videos of the lora demo show what their truth table says."""

import csv
import hashlib
import runpy
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image

from workflow_scripts.core.images import DecodeError, decode
from workflow_scripts.demo import lora_data
from workflow_scripts.demo.lora_clips import CLIPS, Clip, draw_frame, mask_of
from workflow_scripts.demo.lora_data import draw
from workflow_scripts.demo.lora_measures import overlap

SEED = 7
BY_PATH = {clip.path: clip for clip in CLIPS}
Row = dict[str, str]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of it, as the demo draws it."""
    folder = tmp_path_factory.mktemp("lora")
    counts = draw(folder / "truth.csv", 5, SEED)
    assert counts == {"videos": len(CLIPS), "frames": sum(len(clip) for clip in CLIPS), "backgrounds": 5}
    return folder


@pytest.fixture(scope="module")
def truth(root: Path) -> dict[str, list[Row]]:
    """The rows of each video."""
    found = defaultdict(list)
    with (root / "truth.csv").open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            found[row["video"]].append(row)
    return found


def decoded(path: Path) -> list[tuple[float, int, Image.Image]]:
    """Time, rotation and upright picture of each frame that can be decoded."""
    found = []
    with av.open(str(path)) as container:
        try:
            for frame in container.decode(video=0):
                found.append((float(frame.time), frame.rotation, frame.to_image().rotate(frame.rotation, expand=True)))  # noqa: PERF401 - it may break off
        except av.error.InvalidDataError:
            assert path.name == "broken.mp4"
    return found


def sampled(clip: Clip) -> list[int]:
    """The frames that the pipeline takes at two a second."""
    times = [index / clip.fps for index in range(len(clip))]
    return sorted({next(index for index, time in enumerate(times) if time >= n / 2) for n in range(int(2 * times[-1]) + 1)})


def test_the_clips_show_every_situation_once_and_for_long_enough() -> None:
    seen = {clip.path: Counter(draw_frame(clip, index, SEED).category for index in sampled(clip)) for clip in CLIPS}
    wanted = {
        "near_far.mp4": {"full_body", "upper_body", "face_and_hair"},
        "behind.mp4": {"review_no_face"},
        "hips.mov": {"upper_body"},
        "blurred.mkv": {"face_and_hair", "upper_body"},
        "empty.webm": {"no_person_detected", "face_and_hair"},
        "two people.mp4": {"full_body"},
        "phone.mp4": {"full_body", "face_and_hair"},
        "broken.mp4": {"full_body"},
        "extracted": {"upper_body", "face_and_hair"},
    }
    assert {path: set(found) for path, found in seen.items()} == wanted
    assert 60 <= sum(found.total() for found in seen.values()) <= 80, "what two frames a second give"


def test_every_frame_of_every_clip_has_a_row(truth: dict[str, list[Row]]) -> None:
    assert {path: [int(row["index"]) for row in rows] for path, rows in truth.items()} == {
        clip.path: list(range(len(clip))) for clip in CLIPS
    }
    assert [row["time"] for row in truth["near_far.mp4"]][:6] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]


def test_videos_hold_the_frames_that_were_drawn_at_their_times(root: Path, truth: dict[str, list[Row]]) -> None:
    for clip in CLIPS:
        path = root / "source_videos" / clip.path
        if clip.broken or path.is_dir():
            continue
        found = decoded(path)
        assert [time for time, _, _ in found] == [pytest.approx(float(row["time"]), abs=0.002) for row in truth[clip.path]]
        for index, (_, _, picture) in list(enumerate(found))[::7]:
            drawn = draw_frame(clip, index, SEED).image
            assert picture.size == drawn.size == clip.size
            assert np.abs(np.asarray(picture, float) - np.asarray(drawn, float)).mean() < 6, (clip.path, index)


def test_the_phone_stored_its_pictures_sideways_and_says_so(root: Path) -> None:
    with av.open(str(root / "source_videos/phone.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (360, 270)
    assert {rotation for _, rotation, _ in decoded(root / "source_videos/phone.mp4")} == {-90}
    assert {rotation for _, rotation, _ in decoded(root / "source_videos/hips.mov")} == {0}


def test_the_broken_file_gives_frames_before_it_breaks_off(root: Path, truth: dict[str, list[Row]]) -> None:
    assert 4 < len(decoded(root / "source_videos/broken.mp4")) < len(truth["broken.mp4"]) - 4


def test_a_folder_holds_frames_that_were_extracted_elsewhere(root: Path) -> None:
    names = sorted(path.name for path in (root / "source_videos/extracted").iterdir())
    assert names == [f"frame_{number:04d}.jpg" for number in range(1, 7)]
    assert decode((root / "source_videos/extracted/frame_0006.jpg").read_bytes()).image.size == (480, 360)


def test_boxes_hold_the_mask_of_the_largest_person(truth: dict[str, list[Row]]) -> None:
    for path, rows in truth.items():
        for row in rows[::9]:
            frame = draw_frame(BY_PATH[path], int(row["index"]), SEED)
            found = frame.mask.point(lambda value: 255 if value > 96 else 0).getbbox()
            box = tuple(int(row[name]) for name in ("x1", "y1", "x2", "y2")) if row["x1"] else None
            assert (found, row["category"], row["people"]) == (box, frame.category, str(frame.people))
            assert (row["people"] == "0") == (box is None) == (row["category"] == "no_person_detected")


def test_the_mask_of_two_people_is_that_of_the_nearer_one(truth: dict[str, list[Row]]) -> None:
    row = truth["two people.mp4"][0]
    assert row["people"] == "2"
    mask = np.asarray(mask_of("two people.mp4", 0, SEED))
    right = mask[:, round(0.55 * mask.shape[1]) :]
    assert mask.any()
    assert not right.any()


def test_the_mask_of_a_frame_is_drawn_anew_from_its_number_alone() -> None:
    mask = np.asarray(mask_of("hips.mov", 9, SEED))
    assert overlap(mask, np.asarray(draw_frame(BY_PATH["hips.mov"], 9, SEED).mask)) == 1
    assert overlap(mask, np.asarray(mask_of("hips.mov", 9, SEED + 1))) < 0.95
    with pytest.raises(IndexError):
        mask_of("hips.mov", 20, SEED)


def test_people_move_smoothly_within_a_shot() -> None:
    clip = BY_PATH["hips.mov"]
    masks = [np.asarray(draw_frame(clip, index, SEED).mask) for index in range(20)]
    assert all(overlap(one, other) > 0.8 for one, other in pairwise(masks))
    assert overlap(masks[0], masks[-1]) < 0.9


def test_blurred_frames_have_lost_their_edges(truth: dict[str, list[Row]]) -> None:
    assert {path for path, rows in truth.items() for row in rows if row["blurred"] == "1"} == {"blurred.mkv"}
    clip, edges = BY_PATH["blurred.mkv"], defaultdict(list)
    for index in range(0, len(clip), 3):
        frame = draw_frame(clip, index, SEED)
        grey = np.asarray(frame.image.convert("L"), float)
        inside = np.asarray(frame.mask)[1:-1, 1:-1] > 128
        edges[frame.blurred].append(
            (4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:])[inside].var()
        )
    assert max(edges[True]) < 0.5 * min(edges[False])


def test_the_library_has_backgrounds_of_several_kinds_and_one_that_cannot_be_read(root: Path) -> None:
    files = sorted((root / "00_background_library").iterdir())
    assert len(files) == 6
    assert len({decode(path.read_bytes()).image.size for path in files if path.name != "unreadable.jpg"}) == 4
    with pytest.raises(DecodeError):
        decode((root / "00_background_library/unreadable.jpg").read_bytes())


def test_the_same_seed_gives_the_same_bytes_whatever_was_there(tmp_path: Path) -> None:
    def digests(folder: Path) -> dict[str, str]:
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()
        }

    names = ("two people.mp4", "blurred.mkv", "empty.webm", "hips.mov", "extracted")
    some = [
        replace(clip, shots=tuple(replace(shot, seconds=2 / clip.fps) for shot in clip.shots)) for clip in map(BY_PATH.get, names) if clip
    ]
    stale = tmp_path / "second/source_videos/stale.mp4"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"old")
    assert draw(tmp_path / "first/truth.csv", 2, SEED, some) == {"videos": 5, "frames": 22, "backgrounds": 2}
    draw(tmp_path / "second/truth.csv", 2, SEED, some)
    draw(tmp_path / "third/truth.csv", 2, SEED + 1, some)
    first, second, third = (digests(tmp_path / name) for name in ("first", "second", "third"))
    assert first == second
    assert first.keys() == third.keys()
    assert not set(first.values()) & set(third.values())


def test_the_rule_draws_all_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_a_step: None) -> None:
    monkeypatch.setattr(Clip, "__len__", lambda clip: len(clip.shots))  # a frame of each shot is enough
    rule = SimpleNamespace(
        output=SimpleNamespace(truth=str(tmp_path / "truth.csv")),
        params=SimpleNamespace(backgrounds=3, seed=SEED),
        log=[str(tmp_path / "log")],
    )
    runpy.run_path(lora_data.__file__, {"snakemake": rule})
    assert f"videos={len(CLIPS)} frames={sum(len(clip) for clip in CLIPS)} backgrounds=3" in (tmp_path / "log").read_text()
    assert sorted(path.name for path in (tmp_path / "source_videos").iterdir()) == sorted(clip.path for clip in CLIPS)
