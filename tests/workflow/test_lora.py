"""The lora pipeline as a user runs it: what it decides about drawn videos, what stands in tables, folders and pages."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.workflow.conftest import digest_tree
from tests.workflow.lora_workspace import CLIPS_HERE, CORES, EMPTY, MANIFESTS, NEAR, ODD, SEED, SHARP, Workspace, finished_workspace
from workflow_scripts.demo.lora_clips import Clip, Frame, draw_frame
from workflow_scripts.demo.lora_data import UNREADABLE
from workflow_scripts.demo.lora_measures import overlap
from workflow_scripts.lora.params import PAGES
from workflow_scripts.lora.tables import CATEGORIES

pytest.importorskip("ultralytics")

VIDEOS = (NEAR, ODD, EMPTY)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Three videos, run once; tests leave it as it was."""
    return finished_workspace(tmp_path_factory.getbasetemp())


def clip_of(video: str) -> Clip:
    """The clip that a video was drawn from."""
    return next(clip for clip in CLIPS_HERE if clip.name == video)


@pytest.fixture(scope="module")
def drawn(finished: Workspace) -> dict[str, Frame]:
    """What each frame shows in truth, by frame_id."""
    frames = finished.rows("01_frames")
    return {row["frame_id"]: draw_frame(clip_of(row["video"]), round(row["time"] * clip_of(row["video"]).fps), SEED) for row in frames}


def pixels(path: Path) -> npt.NDArray[np.int16]:
    """The pixels of a picture, to reckon with."""
    with Image.open(path) as picture:
        return np.asarray(picture).astype(np.int16)


def ids(rows: list[dict[str, Any]], *outcomes: str) -> list[str]:
    """The frames of rows with one of these outcomes, or of all, sorted."""
    return sorted(row["frame_id"] for row in rows if not outcomes or row["outcome"] in outcomes)


def test_every_frame_is_accounted_for_at_every_step(finished: Workspace) -> None:
    frames, poses, sorted_, masks = (finished.rows(step) for step in ("01_frames", "02_pose", "02_sort", "03_mask"))
    assert Counter(row["video"] for row in frames) == {NEAR: 11, ODD: 9, EMPTY: 3}
    for row in frames:
        assert (finished.results / row["path"]).is_file()
        assert row["outcome"] == "frame"
    assert ids(poses) == ids(sorted_) == ids(frames)
    assert ids(masks) == ids(sorted_, "candidate")
    assert ids(sorted_, "rejected") == ids([row for row in frames if row["video"] == EMPTY])
    assert ids(finished.rows("04_measure")) == ids(finished.rows("04_select")) == ids(masks)
    selection, composites, captions = (finished.rows(step) for step in ("04_select", "05_composite", "06_caption"))
    assert ids(composites) == ids(selection, "selected")
    assert ids(captions) == ids(composites)
    assert ids(finished.rows("07_export")) == ids(captions)
    outcomes = {row["outcome"] for step in (poses, sorted_, masks, selection, composites, captions) for row in step}
    assert outcomes == {"pose", "candidate", "rejected", "masked", "selected", "passed over", "failed", "composited", "captioned", "lint"}
    for step in (*MANIFESTS, "03_mask"):
        for row in finished.rows(step):
            assert (row["reason"] is None) == (row["outcome"] in ("selected", "masked", "composited", "captioned", "exported")), step
    contents = {row["frame_id"]: row["sha256"] for row in frames}
    for step in (poses, sorted_, masks, selection, composites, captions):
        assert {row["frame_id"]: row["sha256"] for row in step}.items() <= contents.items()


def test_what_the_logs_count_is_what_the_tables_hold(finished: Workspace) -> None:
    for step in ("04_select", "05_composite", "06_caption", "07_export"):
        held = Counter(row["outcome"].replace(" ", "_") for row in finished.rows(step))
        said = finished.counted(step)
        assert {name: said[name] for name in held} == held, step
        assert said["listed"] == held.total()


def test_categories_are_right_for_most_frames_and_all_kinds_are_there(finished: Workspace, drawn: dict[str, Frame]) -> None:
    found = {row["frame_id"]: row["category"] for row in finished.rows("02_sort")}
    right = [found[frame_id] == frame.category for frame_id, frame in drawn.items()]
    assert sum(right) >= 0.85 * len(right)
    assert set(found.values()) >= {*CATEGORIES, "no_person_detected"}
    for row in finished.rows("02_sort"):
        shown = finished.results / "02_sorted_candidates" / row["category"] / f"{row['frame_id']}.jpg"
        assert shown.read_bytes() == (finished.results / row["path"]).read_bytes()


def test_masks_fit_the_figures(finished: Workspace, drawn: dict[str, Frame]) -> None:
    fits = []
    for row in finished.rows("03_mask"):
        frame, cut = drawn[row["frame_id"]], pixels(finished.results / row["path"])
        assert cut.shape[:2] == (frame.image.height, frame.image.width)
        fits.append(overlap(cut[..., 3].astype(np.uint8), np.asarray(frame.mask)))
    assert np.mean(fits) > 0.7
    assert min(fits) > 0.4


def test_selected_are_the_best_by_score_and_the_rest_has_reasons(finished: Workspace) -> None:
    rows = finished.rows("04_select")
    for category in CATEGORIES:
        members = [row for row in rows if row["category"] == category]
        selected = [row for row in members if row["outcome"] == "selected"]
        assert [row["rank"] for row in selected] == list(range(1, len(selected) + 1))
        scores = [row["score"] for row in selected]
        assert scores == sorted(scores, reverse=True)
        for row in selected:
            staged = finished.results / "04_top100_staging" / category / f"{row['rank']:03d}_{row['frame_id']}.png"
            masked = finished.results / "03_masked_subjects" / category / f"{row['frame_id']}.png"
            assert staged.read_bytes() == masked.read_bytes()
    blurry = [row for row in rows if row["sharpness"] < SHARP]
    assert blurry
    assert {(row["outcome"], row["reason"].partition(" (")[0]) for row in blurry} == {("failed", "too blurry")}
    assert {row["reason"].partition("copy of")[0] for row in rows if row["outcome"] == "passed over"} == {"near "}
    told = json.loads((finished.results / "04_top100_staging/scoring_results.json").read_text())
    assert told["settings"]["min_sharpness"] == SHARP
    for category in CATEGORIES:
        members = [row for row in rows if row["category"] == category]
        part = told["categories"][category]
        assert part["listed"] == len(members) == sum(part["outcomes"].values())
        assert [one["frame_id"] for one in part["selected"]] == [row["frame_id"] for row in members if row["outcome"] == "selected"]


def test_composites_keep_the_subject_and_have_another_background(finished: Workspace) -> None:
    rows = finished.rows("05_composite")
    library = {path.name for path in (finished.root / "data/00_background_library").iterdir()} - {UNREADABLE}
    assert {row["background"] for row in rows} <= library
    assert len({row["background"] for row in rows}) > 1
    paths = {row["frame_id"]: row["path"] for row in finished.rows("01_frames")}
    for row in rows:
        composed, frame = pixels(finished.results / row["path"]), pixels(finished.results / paths[row["frame_id"]])
        alpha = pixels(finished.results / row["subject_path"])[..., 3]
        assert composed.shape == frame.shape
        change = np.abs(composed - frame).mean(axis=2)
        assert np.median(change[alpha > 250]) < 8, "the subject's pixels"
        assert np.mean(change[alpha < 5]) > 20, "another background"


def test_captions_begin_with_the_trigger_words_and_stand_beside_the_pictures(finished: Workspace) -> None:
    for row in finished.rows("06_caption"):
        text = (finished.results / row["text_path"]).read_text(encoding="utf-8")
        assert text == f"{row['text']}\n"
        assert row["text_path"] == str(Path(row["path"]).with_suffix(".txt"))
        if row["outcome"] == "lint":
            assert (row["text"], row["reason"]) == ("Ohwx Person", "empty")
            continue
        trigger, _, said = row["text"].partition(", ")
        assert (trigger, said) == ("Ohwx Person", row["caption"])
        assert said == said.lower() != ""


def test_the_export_holds_every_captioned_picture_with_its_text(finished: Workspace) -> None:
    rows = [row for row in finished.rows("07_export") if row["outcome"] == "exported"]
    assert ids(rows) == ids(finished.rows("06_caption"), "captioned")
    texts = {row["name"]: row["text"] for row in rows}
    assert len(texts) == len(rows)
    kohya = finished.results / "07_export/kohya/10_Ohwx Person"
    assert {path.name for path in kohya.iterdir()} == {name + suffix for name in texts for suffix in (".jpg", ".txt")}
    for row in rows:
        assert (kohya / f"{row['name']}.jpg").read_bytes() == (finished.results / row["path"]).read_bytes()
        assert (kohya / f"{row['name']}.txt").read_text(encoding="utf-8").strip() == row["text"]
        assert "\n" not in row["name"]
    datasets = pytest.importorskip("datasets")
    (folder,) = {path.parent for path in (finished.results / "07_export/imagefolder").rglob("metadata.jsonl")}
    loaded = datasets.load_dataset("imagefolder", data_dir=str(folder), split="train", cache_dir=str(finished.root / "hf"))
    assert sorted(loaded["text"]) == sorted(texts.values())
    assert {image.size for image in loaded["image"]} == {(480, 360)}
    with (finished.results / "07_export/buckets.csv").open() as handle:
        buckets = list(csv.DictReader(handle))
    assert sum(int(bucket["images"]) for bucket in buckets) == len(rows)
    assert {f"{bucket['width']}x{bucket['height']}" for bucket in buckets} == {row["bucket"] for row in rows}


def test_every_page_shows_what_the_tables_hold(finished: Workspace) -> None:
    frames, sorted_, masks = (finished.rows(step) for step in ("01_frames", "02_sort", "03_mask"))
    selection, composites, captions = (finished.rows(step) for step in ("04_select", "05_composite", "06_caption"))
    failed = [row for row in selection if row["outcome"] == "failed"]
    blurry = sum(row["sharpness"] < SHARP for row in selection)
    held = Counter(row["outcome"] for row in captions)
    wanted = {
        "01b_validation_report": {"frame": len(frames), "error": 0},
        "02b_reject_qa_report": Counter(row["category"] for row in sorted_ if row["outcome"] == "rejected"),
        "03b_mask_qa_report": {"masked": len(masks), "rejected": 0, "error": 0},
        "04c_filter_qa_report": {"passes": len(selection) - len(failed), "fails": len(failed), "culled": 0, "error": 0},
        "04d_sharpness_spectrum_report": {"sharp": len(selection) - blurry, "too blurry": blurry},
        "05b_background_qa_report": {"composited": len(composites), "rejected": 0, "culled": 0, "error": 0},
        "06b_caption_qa_report": {
            "captioned": held["captioned"],
            "lint": held["lint"],
            "rejected": 0,
            "blocked": 0,
            "culled": 0,
            "error": 0,
        },
    }
    assert wanted.keys() == set(PAGES)
    for page, counts in wanted.items():
        shown = finished.page(page)
        names = [name for name, _ in shown["outcomes"]]
        found = dict(zip(names, shown["totals"]["outcomes"], strict=True))
        assert {name: count for name, count in found.items() if count} == {name: count for name, count in counts.items() if count}, page
        # The contents of frames are what decisions are kept by; of frames that are the same to the byte, one has it.
        known = {row["sha256"] for row in frames}
        assert known & set(shown["items"]["id"]) >= set(shown["items"]["id"]) - {""} != set(), page
        assert (finished.results / page / "index.html").is_file()
    steps = {page: finished.page(page)["page"]["export"]["destination"] for page in PAGES}
    assert {page: place for page, place in steps.items() if place} == {
        "03b_mask_qa_report": "reviews/lora/w/03_mask.csv",
        "04c_filter_qa_report": "reviews/lora/w/04_select.csv",
        "05b_background_qa_report": "reviews/lora/w/05_composite.csv",
        "06b_caption_qa_report": "reviews/lora/w/06_caption.csv",
    }


def test_nothing_but_the_results_and_caches_was_written_and_nothing_is_left_over(finished: Workspace) -> None:
    assert not list(finished.root.rglob("*.tmp"))
    known = {".snakemake", "benchmarks", "cache", "data", "hf", "logs", "model", "my.yaml", "output.txt", "resources", "results"}
    assert {path.name for path in finished.root.iterdir()} <= known | {"weights"}


def test_a_second_run_does_nothing(finished: Workspace) -> None:
    before = digest_tree(finished.results)
    done = finished.run("lora", *CORES)
    assert "Nothing to be done" in done.stdout
    assert digest_tree(finished.results) == before
