"""people 07: the labelling page: the run's own sample, and nothing in it of what the model thinks."""

import hashlib
import io
import json

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.core.pages import Choice, Export
from workflow_scripts.core.pages.document import program, stylesheet
from workflow_scripts.core.step import StepError
from workflow_scripts.core.storage import FolderStorage
from workflow_scripts.core.thumbnails import Thumbnails
from workflow_scripts.people.labelling import build, describe, sample_items
from workflow_scripts.people.page_items import write_items

KEYS = [f"album {number % 3}/{number:02}.png" for number in range(30)]
BROKEN = [f"broken/{number}.png" for number in range(5)]


@pytest.fixture
def merged(run):
    """Thirty images of all probabilities, and five that cannot be read."""
    for number, key in enumerate(KEYS):
        buffer = io.BytesIO()
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(buffer, "PNG")
        run.put(key, round(0.031 * number + 0.05, 6), data=buffer.getvalue())
    for key in BROKEN:
        run.put(key, data=f"not {key}", error="decode: not an image")
    run.until_merge()
    return run


def by_hash(keys, seed):
    return sorted(keys, key=lambda key: hashlib.sha256(f"{seed}\0{key}".encode()).hexdigest())


def sample(run, size, seed):
    items = run.root / "items.parquet"
    write_items(run.aggregate, run.settings["threshold"], items)
    return sample_items(items, size, seed)["name"].to_pylist()


def page_of(run, size=12, seed=4, folder="page"):
    """The counts of a page, its folder and what its script gets."""
    settings = {"run_id": "test", "threshold": run.settings["threshold"], "source": str(run.source), "labels": "reviews/labels.csv"}
    settings |= {"label_images": size, "sample_seed": seed}
    thumbnails = Thumbnails(run.root / "cache", FolderStorage(run.source), 10_000_000)
    counts = build(settings, run.aggregate, thumbnails, run.root / folder, 2)
    text = (run.root / folder / "data.js").read_text(encoding="utf-8")
    return counts, run.root / folder, json.loads(text[text.index("=") + 1 : text.rindex(";")])


# ---- the sample ----


@pytest.mark.parametrize("seed", [0, 4])
@pytest.mark.parametrize("size", [1, 12, 30, 400])
def test_the_sample_is_the_first_readable_images_in_the_runs_own_order(merged, size, seed):
    assert sample(merged, size, seed) == by_hash(KEYS, seed)[:size]


def test_a_larger_sample_begins_with_the_smaller(merged):
    assert sample(merged, 25, 4)[:10] == sample(merged, 10, 4)
    assert sample(merged, 10, 5) != sample(merged, 10, 4)


@pytest.mark.parametrize("shard_count", [2, 7])
def test_the_sample_is_the_same_for_any_shard_count(merged, shard_count):
    before = sample(merged, 12, 4)
    merged.settings["shard_count"] = shard_count
    merged.until_merge()
    assert sample(merged, 12, 4) == before


def test_the_sample_is_within_that_of_a_run_over_fewer_images(merged):
    merged.settings["max_images"] = 20
    merged.list(seed=4)
    merged.decide()
    merged.merge()
    run = by_hash([*KEYS, *BROKEN], 4)[:20]
    assert sample(merged, 8, 4) == [key for key in run if key in KEYS][:8]


# ---- the page ----


def test_a_page_says_what_to_do_and_where_labels_are_read():
    page = describe({"run_id": "r", "source": "s3://bucket/in/", "labels": "reviews/people/r/labels.csv"}, 400)
    assert page.page_id == "people/r/labels"
    assert page.title == "Is there a person in it? 400 images of s3://bucket/in/"
    assert page.blind
    assert page.choices == (Choice("1", "Person", "p", "rejected"), Choice("0", "No person", "o", "kept"), Choice("unsure", "Unsure", "i"))
    assert page.export == Export("reviews/people/r/labels.csv", "labels.csv", "label")
    assert (page.thresholds, page.numbers) == ((), ())


def test_the_page_shows_the_sample_in_its_order(merged):
    counts, folder, data = page_of(merged)
    assert counts == {"rows": 12, "shown": 12, "thumbnails": 12, "missing": 0, "broken": 0}
    assert data["items"]["name"] == by_hash(KEYS, 4)[:12]
    assert data["items"]["id"] == [merged.sha256(key) for key in data["items"]["name"]]
    assert data["items"]["open"] == [1] * 12
    assert f"Is there a person in it? 12 images of {merged.source}" in (folder / "index.html").read_text()
    # What was made for it is kept: the next page asks for nothing.
    for key in KEYS:
        (merged.source / key).unlink()
    assert page_of(merged)[0]["missing"] == 0


def test_fewer_images_than_wished_are_all_of_them(merged):
    counts, folder, _ = page_of(merged, size=400)
    assert counts["rows"] == 30
    assert "30 images of" in (folder / "index.html").read_text()


def decide_otherwise(run):
    """Other scores, outcomes, reasons, tags and decisions of the same images."""
    for number, key in enumerate(KEYS):
        run.scores[key] = ((0.495, 0.503, 0.123457, 0.987654)[number % 4], None)
    run.reviews = run.root / "decide.csv"
    rows = [f"{run.sha256(key)},{key},{'keep' if number % 2 else 'remove'}" for number, key in enumerate(KEYS[::3])]
    run.reviews.write_text("\n".join(["sha256,path,decision", *rows, ""]))
    run.until_merge()


def test_the_page_is_the_same_whatever_the_model_thinks_and_people_decided(merged, tree):
    _, one, _ = page_of(merged, folder="one")
    decide_otherwise(merged)
    _, other, _ = page_of(merged, folder="other")
    assert tree(one) == tree(other)


def test_no_word_of_the_model_is_in_any_file_of_the_page(merged):
    decide_otherwise(merged)
    _, folder, data = page_of(merged, size=30)
    assert (folder / "page.js").read_bytes() == program()
    assert (folder / "page.css").read_bytes() == stylesheet()
    assert [choice.pop("outcome") for choice in data["page"]["choices"]] == ["rejected", "kept", ""], "colours of the buttons"
    text = json.dumps(data) + (folder / "index.html").read_text()
    for word in ("0.495", "0.503", "0.123457", "0.987654", "people_prob", "margin", "kept", "removed", "human", "too close"):
        assert word not in text
    values = [value for column in data["items"].values() for value in (column if isinstance(column, list) else [])]
    assert "keep" not in values
    assert not data["items"].get("decision")
    assert not data["items"].get("tags")


def test_no_readable_image_is_no_page(run):
    run.put("a.jpg", error="decode: truncated")
    run.until_merge()
    with pytest.raises(StepError, match="no image could be read, so that there is none to label"):
        page_of(run)
    assert not (run.root / "page").exists()
