"""The summary and the log of an invocation."""

import json
import re
import time

import pytest

from workflow_scripts.core.json_files import read_json, write_json
from workflow_scripts.predict.summary import LOG, SUMMARY, Batch, describe, summarise

MODELS = {"ranker": {"path": "r.pt", "sha256": "ab"}, "crop_proposer": {"path": "c.pt", "sha256": "cd"}}


@pytest.fixture
def batch(tmp_path):
    """Projects of which some are finished; the first was finished last."""

    def make(*finished, skipped=0, failed=()):
        names = ["one", "two", "three"]
        for number, name in enumerate(finished):
            status, error = ("failed", "cut off") if name in failed else ("success", None)
            line = {"project_id": f"{name} ü", "zip_file": f"{name}.zip", "image_count": 100, "duration_seconds": 4.0, "status": status}
            line |= {"error": error, "timestamp": f"2026-01-01T00:00:0{9 - number}.000Z", "database": f"{name}.db"}
            write_json(tmp_path / f"log/{name}.json", line)
        projects = [
            {"name": name, "project_id": f"{name} ü", "path": f"{name}.zip", "line": str(tmp_path / f"log/{name}.json")} for name in names
        ]
        return Batch(projects, skipped, MODELS, time.time() - 60)

    return make


def lines(folder):
    return [json.loads(line) for line in (folder / LOG).read_text(encoding="utf-8").splitlines()]


def test_the_summary_counts_projects_and_images(batch, tmp_path):
    found = summarise(batch("one", "two", "three", skipped=2, failed=["two"]), tmp_path)
    assert found["results"] == {"total_projects": 5, "processed": 2, "skipped": 2, "failed": 1}
    assert found["failed_projects"] == {"two ü": "cut off"}
    assert (found["images"], found["images_per_second"]) == (200, 25.0)
    assert (found["models"], found["output_directory"], found["log_file"]) == (MODELS, str(tmp_path), str(tmp_path / LOG))
    assert 59 <= found["total_duration_seconds"] <= 90
    assert re.fullmatch(r"batch_\d{8}T\d{6}Z", found["batch_id"])
    assert read_json(tmp_path / SUMMARY) == found


def test_each_invocation_keeps_a_copy_under_a_name_of_its_own(batch, tmp_path):
    found = summarise(batch("one", "two", "three"), tmp_path)
    (copy,) = tmp_path.glob("batch_predictions_summary_*.json")
    assert re.fullmatch(r"batch_predictions_summary_\d{8}T\d{6}Z\.json", copy.name)
    assert read_json(copy) == found


def test_the_log_is_in_the_order_of_completion(batch, tmp_path):
    summarise(batch("one", "two", "three"), tmp_path)
    assert [line["project_id"] for line in lines(tmp_path)] == ["three ü", "two ü", "one ü"]


def test_projects_that_are_not_finished_are_failed_and_come_last(batch, tmp_path):
    found = summarise(batch("one", "two"), tmp_path, {"two"})
    assert found["results"] == {"total_projects": 3, "processed": 1, "skipped": 0, "failed": 2}
    assert [(line["project_id"], line["status"], line["error"]) for line in lines(tmp_path)] == [
        ("one ü", "success", None),
        ("two ü", "failed", "not finished; logs/predict/two/ says why"),
        ("three ü", "failed", "not finished; logs/predict/three/ says why"),
    ]


def test_the_text_names_what_failed(batch, tmp_path):
    text = describe(summarise(batch("one", "two", "three", failed=["two"]), tmp_path))
    assert text.splitlines()[:2] == [
        "predict: 2 of 3 projects processed, 1 failed, 0 skipped, 200 images at 25.0/s",
        "  failed: two ü: cut off",
    ]


def test_nothing_finished_has_no_rate(batch, tmp_path):
    found = summarise(batch(), tmp_path)
    assert (found["images"], found["images_per_second"], found["results"]["failed"]) == (0, None, 3)
    assert "/s" not in describe(found).splitlines()[0]
