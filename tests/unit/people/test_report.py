"""people 07: the page says what the run decided, by which threshold, and what the labels tell; its numbers are the manifests'."""

import io
import json
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.core.json_files import read_json
from workflow_scripts.core.pages import Choice, Export, Number, Threshold
from workflow_scripts.core.storage import FolderStorage
from workflow_scripts.core.thumbnails import Thumbnails
from workflow_scripts.people.calibrate import calibrate
from workflow_scripts.people.calibration_figures import TITLES
from workflow_scripts.people.report import build, calibration_panels, describe

TOTALS = {"listed": 9, "not_sampled": 0, "excluded": 0, "skipped": 0, "scanned": 9, "removed": 4, "kept": 4, "errors": 1}
SETTINGS = {"run_id": "night-1", "threshold": 0.4, "source": "s3://bucket/in/", "reviews": "reviews/people/night-1/decide.csv"}


def picture(number):
    buffer = io.BytesIO()
    noise = np.random.default_rng(number).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def merged(run):
    """Eight images over the whole range, one that is broken, and one that is no image."""
    for number in range(8):
        run.put(f"a b/{number}.png", 0.13 * number + 0.02, data=picture(number))
    run.put("broken.png", data=b"no picture", error="decode: not an image")
    run.put("notes.txt")
    run.until_merge()
    return run


def page_of(run, calibration=None, threads=2):
    """The counts of a page, its folder and what its script gets."""
    settings = {"run_id": "test", "threshold": run.settings["threshold"], "source": str(run.source), "reviews": "reviews/decide.csv"}
    thumbnails = Thumbnails(run.root / "cache", FolderStorage(run.source), 10_000_000)
    folder = run.root / "page"
    counts = build(settings, run.aggregate, calibration, thumbnails, folder, threads)
    text = (folder / "data.js").read_text(encoding="utf-8")
    return counts, folder, json.loads(text[text.index("=") + 1 : text.rindex(";")])


def labelled(run):
    """A calibration by labels of some of the images."""
    labels = run.root / "labels.csv"
    labels.write_text("key,label\n" + "".join(f"a b/{number}.png,{int(number > 2)}\n" for number in range(7)) + "a b/7.png,unsure\n")
    scores = [run.listing.with_name(f"score-{shard}.parquet") for shard in range(run.shard_count)]
    calibrate(scores, labels, run.settings["threshold"], 0.9, run.root / "calibration.json", run.root / "calibration.csv")
    return run.root / "calibration.json"


# ---- what the page is told ----


def test_a_page_names_run_source_threshold_and_where_decisions_are_read():
    page = describe(SETTINGS, 3, TOTALS, None)
    assert page.page_id == "people/night-1/decide"
    assert page.title == "People in s3://bucket/in/"
    assert page.thresholds == (
        Threshold("people_prob", "people_prob", 0.4, 0.0, 1.0, 0.001, "at_least", ("people", "runs", "night-1", "threshold")),
    )
    assert page.numbers == (Number("people_prob", "people_prob", 4), Number("margin", "margin", 4))
    assert page.outcomes == {"kept": "kept", "removed": "rejected", "error": "error"}
    assert page.choices == (Choice("keep", "Keep", "k", "kept"), Choice("remove", "Remove", "x", "rejected"))
    assert page.export == Export("reviews/people/night-1/decide.csv", "decide.csv", "decision")
    assert not page.blind
    assert page.panels == ()


@pytest.mark.parametrize(
    ("changes", "notes"),
    [
        ({}, []),
        ({"skipped": 1234}, ["Not on this page: 1,234 skipped."]),
        ({"skipped": 1, "not_sampled": 20_000, "excluded": 7}, ["Not on this page: 1 skipped, 20,000 not sampled, 7 excluded."]),
    ],
)
def test_notes_say_what_is_too_close_to_call_and_what_is_not_shown(changes, notes):
    close = "1,500 images lie within 0.01 of the threshold (too close to call): another processor or precision may decide otherwise."
    assert describe(SETTINGS, 1500, TOTALS | changes, None).notes == (close, *notes)


# ---- the page ----


def test_the_page_shows_every_scanned_image_as_it_was_decided(merged):
    counts, folder, data = page_of(merged)
    assert counts == {"rows": 9, "shown": 9, "thumbnails": 8, "missing": 0, "broken": 0, "fetched": 8}
    assert data["outcomes"] == [["kept", "kept"], ["removed", "rejected"], ["error", "error"]]
    outcomes = [data["outcomes"][code][0] for code in data["items"]["outcome"]]
    assert dict(zip(data["items"]["name"], outcomes, strict=True)) == {
        **{f"a b/{number}.png": "removed" if number > 3 else "kept" for number in range(8)},
        "broken.png": "error",
    }
    assert data["totals"]["outcomes"] == [4, 4, 1]
    assert [row for row in data["totals"]["reasons"] if row[0] == "error"] == [["error", "decode: not an image", 1]]
    assert set(data["items"]["numbers"]["people_prob"]) == {None, *(round(0.13 * number + 0.02, 6) for number in range(8))}
    first = data["items"]["links"]["rest"][data["items"]["name"].index("a b/0.png")]
    assert data["items"]["links"]["prefix"] + first == (merged.source / "a b/0.png").as_uri()
    document = (folder / "index.html").read_text()
    assert f"People in {merged.source}" in document
    assert "Not on this page: 1 skipped." in document
    assert list((folder / "files").iterdir() if (folder / "files").exists() else []) == []


def test_a_second_page_fetches_nothing_and_is_the_same(merged, tree):
    page_of(merged)
    before = tree(merged.root / "page")
    for path in (merged.source / "a b").iterdir():
        path.write_bytes(b"gone")
    counts, folder, _ = page_of(merged, threads=7)
    assert (counts["fetched"], counts["missing"], counts["thumbnails"]) == (0, 0, 8)
    assert tree(folder) == before


def test_images_that_are_gone_are_shown_without_a_picture(merged):
    (merged.source / "a b/3.png").unlink()
    (merged.source / "a b/4.png").write_bytes(picture(99))
    counts, _, data = page_of(merged)
    assert (counts["missing"], counts["fetched"]) == (2, 6)
    assert len(data["items"]["name"]) == 9


def test_images_near_the_threshold_are_counted_and_tagged(merged):
    for number, prob in ((0, 0.495), (1, 0.509)):
        merged.scores[f"a b/{number}.png"] = (prob, None)
    merged.until_merge()
    _, folder, data = page_of(merged)
    tags = [[data["items"]["tags"]["values"][code] for code in codes] for codes in data["items"]["tags"]["codes"]]
    assert {name for name, found in zip(data["items"]["name"], tags, strict=True) if found} == {"a b/0.png", "a b/1.png"}
    assert "2 images lie within 0.01 of the threshold (too close to call)" in (folder / "index.html").read_text()


def test_earlier_decisions_stand_on_the_page(merged):
    merged.reviews = merged.root / "decide.csv"
    merged.reviews.write_text(f"sha256,path,decision\n{merged.sha256('a b/7.png')},a b/7.png,keep\n")
    merged.until_merge()
    _, _, data = page_of(merged)
    found = data["items"]["decision"]
    decisions = dict(zip(data["items"]["name"], (found["values"][code] for code in found["codes"]), strict=True))
    assert {name: value for name, value in decisions.items() if value} == {"a b/7.png": "keep"}


# ---- what the labels tell ----


def test_labels_give_panels_with_their_sentences_and_figures(merged):
    calibration = labelled(merged)
    found = read_json(calibration)
    counts, folder, data = page_of(merged, calibration)
    assert counts["rows"] == 9
    document = (folder / "index.html").read_text()
    texts = [sentence["text"] for sentence in found["sentences"]]
    assert "Labelled and scored: 4 images with people, 3 images without people." in texts
    assert "1 label was left out as unsure." in texts
    plain = "".join(document.replace("&#39;", "'").replace("&#34;", '"').split())
    places = [plain.index("".join(text.split())) for text in ["What the labels tell", *texts, *TITLES.values()]]
    assert places == sorted(places)
    figures = sorted(path.name for path in (folder / "files").iterdir())
    assert figures == sorted(f"figure-{number}-{theme}.svg" for number in range(2, 6) for theme in ("light", "dark"))
    drawn = {name: (folder / "files" / name).read_text() for name in figures}
    assert all(ElementTree.fromstring(text).tag.endswith("svg") for text in drawn.values())
    assert len(set(drawn.values())) == 8
    assert data["items"]["name"]


def test_panels_have_a_figure_for_each_theme_and_a_title_for_who_cannot_see_it(monkeypatch):
    monkeypatch.setattr("workflow_scripts.people.report.figures", lambda found, theme: {name: f"{name} {theme}" for name in TITLES})
    panels = calibration_panels({"sentences": [{"text": "One.", "warning": False}, {"text": "Two.", "warning": True}]})
    assert [(panel.title, panel.text, panel.light_svg, panel.dark_svg, panel.alt) for panel in panels] == [
        ("What the labels tell", ("One.", "Two."), "", "", ""),
        *((title, (), f"{name} light", f"{name} dark", title) for name, title in TITLES.items()),
    ]
    assert describe(SETTINGS, 0, TOTALS, {"sentences": []}).panels == tuple(calibration_panels({"sentences": []}))
