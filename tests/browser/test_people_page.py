"""The people report as it is used: images from disk, a hostile name, corrections that become decisions, and the labelling page."""

import csv

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.unit.people.conftest import Run
from workflow_scripts.core.storage import open_storage
from workflow_scripts.core.thumbnails import Thumbnails
from workflow_scripts.people import labelling, report
from workflow_scripts.people.calibrate import calibrate
from workflow_scripts.people.labels import read_labels

HOSTILE = "<img src=x onerror=window.hacked=1>.jpg"
COUNT = 40


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A merged run on real images: every fourth has a high score, one a hostile name, one is broken."""
    run = Run(tmp_path_factory.mktemp("people"))
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        key = HOSTILE if number == 7 else f"album/{number:02d}.jpg"
        path = run.put(key, 0.9 if number % 4 == 0 else number / 100)
        Image.fromarray(rng.integers(0, 255, (90, 120, 3), dtype=np.uint8)).save(path)
    run.put("broken.jpg", data="no image", error="decode: not an image")
    run.until_merge()
    return run


@pytest.fixture
def settings(run):
    return {"run_id": "test", "threshold": 0.5, "source": str(run.source), "reviews": "reviews/people/test/decide.csv"}


@pytest.fixture
def pictures(run, tmp_path):
    return Thumbnails(str(tmp_path / "cache"), open_storage(str(run.source)), 10**6)


def saved(rows, path):
    """What the browser's file says, as a file."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_corrections_made_on_the_page_are_what_the_next_run_decides(run, settings, pictures, tmp_path, gallery):
    counts = report.build(settings, run.aggregate, None, pictures, tmp_path / "page", threads=2)
    assert (counts["rows"], counts["thumbnails"], counts["fetched"], counts["missing"]) == (COUNT + 1, COUNT, COUNT, 0)
    seen = gallery(tmp_path / "page")
    assert seen.counts() == {"kept": 30, "removed": 10, "error": 1}
    seen.tab.locator("input[type=search]").fill("<img")
    seen.settle()
    assert seen.names() == [HOSTILE]
    assert seen.tab.evaluate("window.hacked") is None
    seen.press("Escape")
    seen.tab.locator(".cell").first.click()
    seen.press("x")
    seen.tab.keyboard.press("Escape")
    assert seen.decided() == {HOSTILE: "remove"}
    expect(seen.tab.locator("body")).to_contain_text("reviews/people/test/decide.csv")
    run.reviews = saved(seen.export(), tmp_path / "decide.csv")
    try:
        assert run.decide()["removed"] == 11
        assert {row["s3_key"]: row["reason"] for row in run.rows("removed")}[HOSTILE] == "human"
    finally:
        run.reviews = None


def test_labels_made_on_the_page_calibrate_the_scores(run, settings, pictures, tmp_path, gallery):
    chosen = settings | {"labels": "reviews/people/test/labels.csv", "label_images": 12, "sample_seed": 0}
    assert labelling.build(chosen, run.aggregate, pictures, tmp_path / "page", threads=2)["rows"] == 12
    seen = gallery(tmp_path / "page")
    names = seen.names()
    assert len(names) == 12
    text = seen.tab.locator("body").inner_text()
    assert not any(word in text for word in ("people_prob", "kept", "removed"))
    seen.press(*["p", "o", "i", "p"], *["o"] * 8)
    exported = seen.export()
    assert [row["label"] for row in sorted(exported, key=lambda row: names.index(row["path"]))] == ["1", "0", "unsure", "1", *["0"] * 8]
    labels = saved(exported, tmp_path / "labels.csv")
    assert (len(read_labels(labels).sure), read_labels(labels).unsure) == (11, 1)
    found = calibrate(list(run.score().values()), labels, 0.5, 0.9, tmp_path / "calibration.json", tmp_path / "calibration.csv")
    assert (found["positives"], found["negatives"], found["unsure"], found["unmatched"]) == (2, 9, 1, 0)
    report.build(settings, run.aggregate, tmp_path / "calibration.json", pictures, tmp_path / "report", threads=2)
    seen = gallery(tmp_path / "report")
    seen.tab.locator("summary", has_text="What the labels tell").click()
    expect(seen.tab.locator("body")).to_contain_text("precision")
    figures = seen.tab.locator("details img")
    assert figures.count() == 8, "four figures, each for two themes"
    assert figures.evaluate_all("all => all.every(one => one.complete ? one.naturalWidth > 100 : true)")
