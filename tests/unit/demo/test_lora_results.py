"""The lora part of the demo's summary: every figure says what it claims, right results and wrong ones."""

import csv
import runpy
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.core.step import StepError
from workflow_scripts.demo import NOTE, lora_summary
from workflow_scripts.demo.lora_clips import CLIPS, Frame, draw_frame
from workflow_scripts.demo.lora_data import COLUMNS, truth_row
from workflow_scripts.demo.lora_results import lora_results
from workflow_scripts.demo.lora_summary import lora_text, step_seconds
from workflow_scripts.lora import tables

SEED = 7
BY_PATH = {clip.path: clip for clip in CLIPS}
# Frames that were taken, by number in the clip: one of each category, two blurred ones, a phone, the start of a broken file.
TAKEN = {
    "near_far.mp4": (0, 13, 20),
    "behind.mp4": (3,),
    "blurred.mkv": (0, 10, 18),
    "empty.webm": (0, 10),
    "two people.mp4": (5,),
    "phone.mp4": (12,),
    "broken.mp4": (0, 3),
    "extracted": (0, 5),
}
PASSED_ON = ("face_and_hair", "upper_body", "full_body")
Row = dict[str, Any]


@lru_cache
def drawn(path: str, index: int) -> Frame:
    return draw_frame(BY_PATH[path], index, SEED)


class World:
    """What a run made of some of the demo's frames: all of it as it should be, until a test changes something."""

    def __init__(self, folder: Path) -> None:
        self.root, self.truth = folder / "results", folder / "truth.csv"
        self.about: dict[str, Row] = {}
        self.frames: dict[str, list[Row]] = {}
        self.sorted: list[Row] = []
        self.masks: list[Row] = []
        self.drawn: list[Row] = []
        for path, indices in TAKEN.items():
            clip = BY_PATH[path]
            self.about[path] = {"path": path, "expected": len(indices), "extracted": len(indices), "errors": 0}
            self.frames[path] = [self._frame(path, index, index + 1 if path == "extracted" else n) for n, index in enumerate(indices, 1)]
            self.drawn += [truth_row(clip, index, drawn(path, index)) for index in indices]
        self.frames["broken.mp4"].append({"frame_id": "broken_frame_000003", "n": 3, "outcome": "error", "reason": "decode: invalid"})
        self.about["broken.mp4"] |= {"expected": 9, "errors": 1}
        self.chosen = [row | {"outcome": "selected", "path": f"s/{row['frame_id']}.png"} for row in self.masks]
        for row in self.chosen:
            if row["frame_id"] in ("blurred_frame_000002", "blurred_frame_000003"):
                row |= {"outcome": "failed", "reason": "too blurry (3.1)"}
        self.composites = [
            row | {"outcome": "composited", "background": "hills_02.jpg"} for row in self.chosen if row["outcome"] == "selected"
        ]
        self.captions = [row | {"outcome": "captioned"} for row in self.composites]
        self.exported = [row | {"outcome": "exported"} for row in self.captions]
        for row in self.exported:
            for suffix in (".jpg", ".txt"):
                path = self.root / f"07_export/kohya/10_demo/{row['frame_id']}{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"")

    def _frame(self, path: str, index: int, n: int) -> Row:
        clip, shown = BY_PATH[path], drawn(path, index)
        identity = {"frame_id": f"{clip.name}_frame_{n:06d}", "video": clip.name, "n": n}
        category = shown.category
        self.sorted.append(identity | {"category": category, "person_count": shown.people, "outcome": "candidate"})
        if category in PASSED_ON:
            name = f"03_masked_subjects/{identity['frame_id']}.png"
            picture = shown.image.copy()
            picture.putalpha(shown.mask)
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            picture.save(self.root / name)
            self.masks.append(identity | {"category": category, "path": name, "outcome": "masked"})
        time = None if path == "extracted" else index / clip.fps
        return identity | {"time": time, "width": clip.size[0], "height": clip.size[1], "outcome": "frame"}

    def write(self) -> dict[str, Any]:
        """Write the tables; gives their files."""
        with self.truth.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, COLUMNS)
            writer.writeheader()
            writer.writerows(self.drawn)
        frames = []
        for number, (path, rows) in enumerate(self.frames.items()):
            frames.append(str(self.root / f"01_source_frames/{number}.parquet"))
            tables.write(frames[-1], tables.FRAMES, rows, self.about[path])
        one = {
            "sorted": ("02_sorted_candidates/a.parquet", tables.SORTED, self.sorted),
            "masks": ("03_masked_subjects/a.parquet", tables.MASKS, self.masks),
            "selection": ("04_top100_staging/manifest.parquet", tables.SELECTION, self.chosen),
            "composites": ("05_training_data/manifest.parquet", tables.COMPOSITES, self.composites),
            "captions": ("06_caption/manifest.parquet", tables.CAPTIONS, self.captions),
            "exported": ("07_export/manifest.parquet", tables.EXPORTED, self.exported),
        }
        for name, columns, rows in one.values():
            tables.write(self.root / name, columns, rows)
        lists = {name: [str(self.root / one[name][0])] for name in ("sorted", "masks")}
        return {"frames": frames} | {name: str(self.root / place[0]) for name, place in one.items()} | lists

    def results(self) -> Row:
        return lora_results(self.write(), self.truth, SEED)

    def row(self, rows: list[Row], frame_id: str) -> Row:
        return next(row for row in rows if row["frame_id"] == frame_id)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


RIGHT = {
    "videos": 8,
    "expected": 22,
    "extracted": 15,
    "errors": 1,
    "errors_as_expected": True,
    "sideways": 1,
    "sideways_as_expected": True,
    "sorted_right": 1.0,
    "by_category": {
        "face_and_hair": (6, 6),
        "upper_body": (3, 3),
        "full_body": (4, 4),
        "review_no_face": (1, 1),
        "no_person_detected": (1, 1),
    },
    "people_right": 1.0,
    "masks": 13,
    "iou": 1.0,
    "worst_iou": 1.0,
    "blurred": 2,
    "caught": 2,
    "sharp": 11,
    "wrongly": 0,
    "selected": 11,
    "composited": 11,
    "composited_as_expected": True,
    "captioned": 11,
    "lint": 0,
    "exported": 11,
    "pairs": 11,
    "pairs_as_expected": True,
}


def test_a_run_without_fault_is_all_as_meant(world: World) -> None:
    assert world.results() == RIGHT


def another_category(world: World) -> None:
    world.row(world.sorted, "behind_frame_000001")["category"] = "upper_body"


def a_person_too_many(world: World) -> None:
    world.row(world.sorted, "two people_frame_000001")["person_count"] = 3


def a_mask_lost(world: World) -> None:
    world.row(world.masks, "extracted_frame_000001")["outcome"] = "error"


def an_empty_mask(world: World) -> None:
    row = world.row(world.masks, "phone_frame_000001")
    Image.fromarray(np.zeros((360, 270, 4), np.uint8)).save(world.root / row["path"])


def a_blurred_mask(world: World) -> None:
    row = world.row(world.masks, "blurred_frame_000002")
    Image.fromarray(np.zeros((360, 480, 4), np.uint8)).save(world.root / row["path"])


def a_blurred_frame_taken(world: World) -> None:
    world.row(world.chosen, "blurred_frame_000002").update(outcome="selected", reason=None)


def a_blurred_frame_failed_otherwise(world: World) -> None:
    world.row(world.chosen, "blurred_frame_000002")["reason"] = "too many objects (4)"


def a_sharp_frame_failed(world: World) -> None:
    world.row(world.chosen, "near_far_frame_000001").update(outcome="failed", reason="too blurry (49.9)")


def a_phone_left_sideways(world: World) -> None:
    world.frames["phone.mp4"][0].update(width=360, height=270)


def an_unreadable_background(world: World) -> None:
    world.composites[0]["background"] = "unreadable.jpg"


def nothing_composited(world: World) -> None:
    for row in world.composites:
        row.update(outcome="error", background=None)


def a_banned_word(world: World) -> None:
    world.captions[0]["outcome"] = "lint"
    world.exported[0]["outcome"] = "lint"


def a_text_lost(world: World) -> None:
    next((world.root / "07_export/kohya").rglob("*.txt")).unlink()


def no_frame_before_the_break(world: World) -> None:
    world.frames["broken.mp4"] = world.frames["broken.mp4"][2:]
    world.about["broken.mp4"] |= {"extracted": 0, "expected": None}
    world.sorted = [row for row in world.sorted if row["video"] != "broken"]
    world.masks = [row for row in world.masks if row["video"] != "broken"]
    world.chosen = [row for row in world.chosen if row["video"] != "broken"]


def another_video_breaks_off(world: World) -> None:
    world.about["hips.mov"] = {"path": "hips.mov", "expected": 9, "extracted": 0, "errors": 1}
    world.frames["hips.mov"] = [{"frame_id": "hips_frame_000001", "n": 1, "outcome": "error", "reason": "decode: moov"}]


def a_whole_file_in_place_of_the_broken_one(world: World) -> None:
    world.about["broken.mp4"]["errors"] = 0


def frames_lost(world: World) -> None:
    world.about["behind.mp4"]["expected"] = 3


@pytest.mark.parametrize(
    ("change", "differing"),
    [
        (another_category, {"sorted_right": 14 / 15, "by_category": RIGHT["by_category"] | {"review_no_face": (0, 1)}}),
        (a_person_too_many, {"people_right": 14 / 15}),
        (a_mask_lost, {"masks": 12}),
        (an_empty_mask, {"iou": 10 / 11, "worst_iou": 0.0}),
        (a_blurred_mask, {}),
        (a_blurred_frame_taken, {"caught": 1, "selected": 12}),
        (a_blurred_frame_failed_otherwise, {"caught": 1}),
        (a_sharp_frame_failed, {"wrongly": 1, "selected": 10}),
        (a_phone_left_sideways, {"sideways_as_expected": False}),
        (an_unreadable_background, {"composited_as_expected": False}),
        (nothing_composited, {"composited": 0, "composited_as_expected": False}),
        (a_banned_word, {"captioned": 10, "lint": 1, "exported": 10}),
        (a_text_lost, {"pairs": 10, "pairs_as_expected": False}),
        (another_video_breaks_off, {"videos": 9, "expected": 31, "errors": 2, "errors_as_expected": False}),
        (a_whole_file_in_place_of_the_broken_one, {"errors": 0, "errors_as_expected": False}),
        (frames_lost, {"expected": 24, "errors_as_expected": False}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_went_wrong_shows_in_its_figure_and_in_no_other(world: World, change: Callable[[World], None], differing: Row) -> None:
    change(world)
    found = world.results()
    assert {name: value for name, value in found.items() if value != RIGHT[name]} == {
        name: value if isinstance(value, dict) else pytest.approx(value) for name, value in differing.items()
    }


def test_a_broken_file_that_gives_nothing_is_not_as_meant(world: World) -> None:
    no_frame_before_the_break(world)
    assert not world.results()["errors_as_expected"]


def test_a_slice_of_the_videos_is_measured_by_itself(world: World) -> None:
    files = world.write()
    files["frames"] = files["frames"][:1]
    found = lora_results(files, world.truth, SEED)
    assert (found["videos"], found["extracted"], found["masks"], found["selected"], found["blurred"]) == (1, 3, 3, 3, 0)
    assert found["errors_as_expected"]
    assert found["by_category"] == {"face_and_hair": (1, 1), "upper_body": (1, 1), "full_body": (1, 1)}


def test_results_of_other_videos_than_those_drawn_last_are_refused(world: World) -> None:
    world.drawn = [row for row in world.drawn if row["video"] != "phone.mp4"]
    with pytest.raises(StepError, match=r"phone\.mp4: the results are not of the videos as drawn last"):
        world.results()
    world.about["phone.mp4"]["path"] = "holiday.mp4"
    with pytest.raises(StepError, match=r"holiday\.mp4: .*run the demo again"):
        world.results()


def test_seconds_of_a_step_are_those_of_all_its_jobs(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("12:00 1 of 9 frames, 2.0/s\n12:01 9 frames in 4.5 s, 2.0/s\n")
    (tmp_path / "b.log").write_text("12:02 3 images in 1.2 s, 2.5/s\ndone: frames=3\n")
    assert step_seconds([tmp_path / "a.log", tmp_path / "b.log", tmp_path / "none.log"]) == pytest.approx(5.7)


def test_the_text_says_what_is_as_meant_and_where_to_look() -> None:
    text = lora_text(RIGHT, {"pose": 3.25, "mask": 0.0}, "demo_data/lora/source_videos", {"composites": "some/page.html"})
    assert "15   of 22 expected ones" in text
    assert "face_and_hair      1.000   6 of 6" in text
    assert "2   of 2 blurred frames failed as too blurry" in text
    assert "pose, s                3.2" in text or "pose, s                3.3" in text
    assert "mask, s" not in text
    assert "    composites        some/page.html\n" in text
    assert "NOT" not in text
    wrong = lora_text(RIGHT | {name: False for name in RIGHT if name.endswith("_as_expected")}, {}, "", {})
    assert wrong.count("NOT as meant") == 4


def test_the_rule_writes_the_text_of_its_inputs(world: World, tmp_path: Path, in_a_step: None) -> None:
    files = world.write() | {"truth": str(world.truth)}
    log = tmp_path / "pose.log"
    log.write_text("15 frames in 2.0 s, 7.5/s\n")
    rule = SimpleNamespace(
        input=files,
        output=[str(tmp_path / "lora.txt")],
        params=SimpleNamespace(seed=SEED, logs={"pose": [str(log)]}, places={"export": "results/lora/demo/07_export"}),
        log=[str(tmp_path / "log")],
    )
    rule.input = type("Inputs", (dict,), {"truth": files["truth"]})(files)
    runpy.run_path(lora_summary.__file__, {"snakemake": rule})
    text = (tmp_path / "lora.txt").read_text()
    assert text == lora_text(RIGHT, {"pose": 2.0}, tmp_path / "source_videos", rule.params.places) + NOTE
