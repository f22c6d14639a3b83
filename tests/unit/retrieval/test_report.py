"""retrieval 07: the page of the comparisons: what it is told, what it holds, and that the same results give the same bytes."""

import json

import pytest

from tests.unit.retrieval.pages_data import HOSTILE, Results, drawn
from workflow_scripts.core.pages import Choice, Export, Threshold
from workflow_scripts.core.storage import FolderStorage
from workflow_scripts.core.thumbnails import Thumbnails
from workflow_scripts.retrieval.report import build, describe
from workflow_scripts.retrieval.report_items import Found

CONCEPTS = {"mug": ["red", "blue", "grey"], "dog": ["terrier", "poodle", "spaniel", "mastiff"], "oil": ["jar", "can"]}
SPLITS = {"categories": {}, "shared_images": []}


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path, CONCEPTS, images=3)


def page_of(results, *, folder="page", threads=2, **changes):
    """The counts of a page, its folder and what its script gets."""
    thumbnails = Thumbnails(str(results.root / "cache"), FolderStorage(results.data), 10**7)
    output = results.root / folder
    counts = build(results.settings(**changes), **results.write(), thumbnails=thumbnails, output=output, threads=threads)
    text = (output / "data.js").read_text(encoding="utf-8")
    return counts, output, json.loads(text[text.index("=") + 1 : text.rindex(";")])


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- what the page is told ----


def test_a_page_says_what_can_be_decided_and_where_that_is_read(results):
    page = describe(results.settings(), list(results.metadata.values()), SPLITS, Found())
    assert page.title == "Comparisons of things: 1 positive, 2 negatives, seed 23"
    assert page.export == Export("reviews/retrieval/things/retrieve.csv", "retrieve.csv", "decision")
    assert page.choices == (
        Choice("keep", "Keep", "k", "kept"),
        Choice("drop_pair", "Drop pair", "x", "rejected"),
        Choice("drop_query", "Drop query", "q", "rejected"),
        Choice("drop_negative", "Drop negative", "v", "rejected"),
    )
    assert page.captions == ("query", "positive", "negative")
    assert page.outcomes == {"kept": "kept", "left out": "rejected", "skipped": "other", "error": "error"}
    assert [number.column for number in page.shown_numbers()] == ["negative", "positive", "margin"]


def test_pages_of_all_seeds_and_k_share_their_decisions_as_they_share_the_file(results):
    pages = [describe(results.settings(seed=seed, k=k), [], SPLITS, Found()) for seed, k in ((23, 3), (1, 2))]
    assert {page.page_id for page in pages} == {"retrieval/things/retrieve"}
    assert pages[1].title == "Comparisons of things: 1 positive, 1 negative, seed 1"


@pytest.mark.parametrize(("limit", "value"), [(None, 1.0), (0.97, 0.97)])
def test_the_slider_is_duplicate_similarity(results, limit, value):
    page = describe(results.settings(duplicate_similarity=limit), [], SPLITS, Found())
    setting = ("retrieval", "datasets", "things", "duplicate_similarity")
    assert page.thresholds == (Threshold("negative", "cosine of the negative", value, 0.0, 1.0, 0.001, "at_least", setting),)


# ---- the page ----


def test_the_page_shows_every_pair_query_and_error(results):
    results.put("mug", "red", "broken.jpg", b"no image", "error", "decode: not an image")
    counts, folder, data = page_of(results, retrieval_source="catalog")
    images = {key for row in results.rows for key in [row["path"]] if row["outcome"] == "train"}
    assert counts == {"rows": 42 + 6 + 1, "shown": 49, "thumbnails": len(images), "missing": 0, "broken": 0, "fetched": len(images)}
    assert data["totals"]["outcomes"] == [42, 0, 6, 1]
    assert {tuple(row) for row in data["totals"]["reasons"]} >= {("skipped", "too few concepts", 6), ("error", "decode: not an image", 1)}
    assert data["items"]["open"] == [1] * 42 + [0] * 7
    assert data["items"]["movable"] == [1] * 42 + [0] * 7
    assert data["page"]["thresholds"][0]["path"] == ["retrieval", "datasets", "things", "duplicate_similarity"]
    document = (folder / "index.html").read_text(encoding="utf-8")
    assert document.count('class="notice warning"') == 3, "the whole catalog, a category that is too small, and no script"
    assert "21 records of 27 queries" in document
    assert sorted(path.name for path in (folder / "files").glob("*.svg")) == ["figure-3-dark.svg", "figure-3-light.svg"]
    assert sorted(path.name for path in (folder / "files").glob("*/*")) == ["categories.csv", "concepts.csv", "positions.csv"]


def test_the_same_results_give_the_same_bytes_and_fetch_nothing_again(results):
    first, folder, _ = page_of(results)
    before = tree(folder)
    for row in results.rows:
        (results.data / row["path"]).unlink()
    again, other, _ = page_of(results, folder="again", threads=5)
    assert (first["fetched"], again["fetched"], again["missing"]) == (27, 0, 0)
    assert tree(other) == before


def test_images_that_are_gone_or_replaced_are_shown_without_a_picture(results):
    (results.data / "mug/red/0.jpg").unlink()
    (results.data / "mug/red/1.jpg").write_bytes(drawn("mug", "red", 50))
    counts, _, data = page_of(results)
    assert (counts["missing"], counts["fetched"]) == (2, 25)
    assert len(data["items"]["name"]) == 48


def test_hostile_names_are_data_only(tmp_path):
    results = Results(tmp_path, {}, images=3)
    for name in HOSTILE:
        results.put("mug", "<b>red\n</b>", name, drawn("mug", "red", len(name)))
    results.put("mug", "blue", HOSTILE[0], drawn("mug", "blue", 1))
    names = ["<b>red\n</b>", "blue"]
    results.k = 2
    results.compare("mug", names)
    results.metadata["mug"]["label_conflicts"] = [{"sha256": "ab" * 32, "paths": results.of("mug", names[0])}]
    results.splits["shared_images"] = [{"sha256": "ab" * 32, "train": results.of("mug", names[0]), "validation": results.of("mug", "blue")}]
    counts, folder, data = page_of(results, dataset="<script>window.hacked=1</script>")
    assert counts["rows"] == len(HOSTILE) + 1
    negative = results.of("mug", "blue")[0]
    assert data["items"]["name"] == [*(f"{query} → {negative}" for query in results.of("mug", names[0])), negative]
    document = (folder / "index.html").read_text(encoding="utf-8")
    assert document.count("<script") == 2, "the page's own"
    assert "<b>" not in document
    assert not set("<>&\u2028\u2029") & set((folder / "data.js").read_text(encoding="utf-8"))


def test_a_dataset_without_any_record_has_a_page_that_says_why(tmp_path):
    results = Results(tmp_path, {"oil": ["jar", "can"]}, images=2)
    counts, folder, data = page_of(results)
    assert (counts["rows"], counts["thumbnails"]) == (4, 4)
    assert data["totals"]["reasons"] == [["skipped", "too few concepts", 4]]
    document = (folder / "index.html").read_text(encoding="utf-8")
    assert "oil (largest K 2)" in document
    assert "0 records of 4 queries" in document
    assert not list((folder / "files").glob("*.svg"))


def test_an_empty_dataset_has_a_page(tmp_path):
    results = Results(tmp_path, {"oil": []})
    assert page_of(results)[0]["rows"] == 0
