"""autotag 09: the page of a folder as a whole."""

import json
import runpy
import shutil
from types import SimpleNamespace

import pytest

from tests.unit.autotag.vote_data import Drawn
from workflow_scripts.autotag import report
from workflow_scripts.core.pages import Export

HOSTILE = ("<script>window.hacked=1<script>.png", 'it\'s "so", twice.png', " #1 100% {x} \u2028 é 🙂.png", "-rf → x.png")


@pytest.fixture
def drawn(tmp_path):
    found = Drawn(tmp_path)
    found.samples_of()
    for name in HOSTILE:
        found.draw(f"d/{name}", "ball", "box", "ball")
    found.draw("plain.png", "tent", "kite")
    found.save_source()
    return found


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_page_says_what_can_be_decided_and_where_that_is_read(drawn):
    _, folder = drawn.page()
    text = (folder / "data.js").read_text(encoding="utf-8")
    page = json.loads(text[text.index("=") + 1 : text.rindex(";")])["page"]
    assert page["id"] == "autotag/holiday/vote"
    assert Export(**page["export"]) == Export("reviews/autotag/holiday/vote.csv", "vote.csv", "decision")
    assert [(choice["value"], choice["key"]) for choice in page["choices"]] == [("keep", "k"), ("reject", "x")]
    assert [number["column"] for number in page["numbers"]] == ["votes", "needed", "parts", "similarity", "weight"]
    assert page["thresholds"][0]["path"] == ["autotag", "vote", "min_votes"]
    document = (folder / "index.html").read_text(encoding="utf-8")
    assert "<h1>Tags of holiday</h1>" in document
    assert "<script>window" not in document


def test_the_same_input_gives_the_same_bytes(drawn):
    counts, folder = drawn.page()
    first = tree(folder)
    again, folder = drawn.page(name="again", threads=5)
    assert tree(folder) == first
    assert counts["fetched"] == counts["thumbnails"]
    assert again == counts | {"fetched": 0}, "from the cache"


def test_without_the_tars_the_page_says_so_once_and_shows_what_the_cache_holds(drawn):
    before = drawn.page()[0]
    shutil.rmtree(drawn.dataset)
    after, folder = drawn.page(name="again")
    assert (after["missing"], after["thumbnails"]) == (0, before["thumbnails"])
    document = (folder / "index.html").read_text(encoding="utf-8")
    assert document.count("their shards are gone (00000.tar, 00001.tar)") == 1
    shutil.rmtree(drawn.root / "cache")
    assert drawn.page(name="once more")[0]["missing"] == before["thumbnails"] - len(drawn.images)


def test_a_folder_of_nothing_has_a_page(tmp_path):
    drawn = Drawn(tmp_path)
    counts, folder = drawn.page()
    assert (counts["rows"], (folder / "index.html").is_file()) == (0, True)


def test_the_step_takes_what_its_rule_gives(drawn, tmp_path, in_a_step):
    expected = tree(drawn.page(["sha256,path,decision"])[1])
    sources = drawn.write(["sha256,path,decision"])
    inputs = {"images": sources.images, "crops": sources.crops, "candidates": drawn.outputs.candidates, "index": sources.index}
    run = drawn.run()
    job = SimpleNamespace(
        log=[str(tmp_path / "09.log")],
        input=SimpleNamespace(**inputs, recall=drawn.root / "recall.json", reviews=[str(sources.reviews)]),
        output=[str(tmp_path / "report")],
        params=SimpleNamespace(
            page={name: run[name] for name in ("folder", "path", "reviews", "vote")},
            source={"dataset": str(drawn.dataset), "tags": "elsewhere"},
            folder=str(drawn.results),
            max_pixels=run["max_pixels"],
            machine={"device": "auto", "threads": 2, "cache_root": str(drawn.root / "cache")},
        ),
    )
    runpy.run_path(report.__file__, {"snakemake": job})
    assert tree(tmp_path / "report") == expected
    assert f"rows={len(drawn.candidates())}" in (tmp_path / "09.log").read_text()
