"""lora 06b: the page of texts: each under its picture, lint by kind, and the words that are most frequent."""

import csv
import io
import runpy
from types import SimpleNamespace

import pytest

from tests.unit.lora.pages_data import Workspace, read_page
from workflow_scripts.core.pages import Export
from workflow_scripts.lora import page_captions, tables
from workflow_scripts.lora.caption_text import lint
from workflow_scripts.lora.page_captions import build, describe, kinds, words
from workflow_scripts.lora.page_common import Place

RUN = {"workspace": "data_TEST", "reviews": "reviews/lora/data_TEST/06_caption.csv"}
LINT = "banned words: tattoo; too long: 72 words, at most 60"


@pytest.fixture
def results(tmp_path):
    """Twelve texts, of which one has lint, one was refused, one was culled and one failed."""
    workspace = Workspace(tmp_path)
    rows = workspace.captions()
    nothing = dict.fromkeys(("caption", "text", "text_path"))
    rows[0] |= {"outcome": "lint", "reason": LINT, "caption": "a tattoo", "text": "ohwx woman, a tattoo"}
    rows[1] |= nothing | {"outcome": "blocked", "reason": "SAFETY"}
    rows[2] |= nothing | {"outcome": "culled", "reason": "culled by a person", "source": None}
    rows[3] |= nothing | {"outcome": "error", "reason": "caption: 503"}
    return workspace, rows


def page_of(results, reviews=()):
    workspace, rows = results
    output = workspace.root / "page"
    captions = workspace.write("06_caption/manifest", tables.CAPTIONS, rows)
    return build(RUN, captions, reviews, workspace.root, machine=workspace.machine, output=output), output


def table_of(output, name):
    (path,) = output.glob(f"files/*/{name}")
    return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))


def named(rows, place):
    return f"{rows[place]['category']}/{rows[place]['frame_id']}.jpg"


def test_every_text_stands_under_its_picture_whole(results):
    rows = results[1]
    rows[5]["text"] = "ohwx woman, " + "very long " * 200
    counts, output = page_of(results)
    assert counts == {"rows": 12, "shown": 12, "thumbnails": 12, "missing": 0, "broken": 0, "fetched": 12}
    found, _ = read_page(output)
    assert [found[named(rows, place)]["captions"] for place in (4, 5)] == [[rows[4]["text"]], [rows[5]["text"]]]
    assert found[named(rows, 1)]["captions"] == ["SAFETY"], "why there is none"
    row = found[named(rows, 4)]
    assert (row["outcome"], row["numbers"]["words"], row["open"]) == ("captioned", 9.0, 1)
    assert row["tags"] == [rows[4]["category"], rows[4]["video"], "vertex some-model"]
    assert row["links"] == [f"../{rows[4]['path']}"]


def test_texts_with_lint_and_refused_ones_need_another_text_and_no_decision(results):
    rows = results[1]
    _, output = page_of(results)
    found, data = read_page(output)
    lint_row = found[named(rows, 0)]
    assert (lint_row["outcome"], lint_row["reason"], lint_row["open"]) == ("lint", LINT, 0)
    assert lint_row["tags"][2:] == ["banned words", "too long", "vertex some-model"]
    assert [found[named(rows, place)]["outcome"] for place in (1, 2, 3)] == ["blocked", "culled", "error"]
    assert [found[named(rows, place)]["open"] for place in range(5)] == [0, 0, 0, 0, 1]
    assert found[named(rows, 1)]["numbers"]["words"] is None
    assert "1 text with lint and 1 that the model refused are kept out of the export." in (output / "index.html").read_text(
        encoding="utf-8"
    )
    assert dict(zip([name for name, _ in data["outcomes"]], data["totals"]["outcomes"], strict=True))["captioned"] == 8


def test_lint_is_counted_by_kind_and_words_by_texts(results):
    _, output = page_of(results)
    assert table_of(output, "lint.csv") == [["lint", "texts"], ["banned words", "1"], ["too long", "1"]]
    frequent = table_of(output, "words.csv")
    assert frequent[0] == ["word", "texts", "part"]
    assert frequent[1:4] == [["coat", "8", "89%"], ["picture", "8", "89%"], ["red", "8", "89%"]]
    assert ["tattoo", "1", "11%"] in frequent
    assert "a" not in {row[0] for row in frequent}
    assert "ohwx" not in {row[0] for row in frequent}, "trigger words are in all of them"


def test_a_word_counts_once_a_text(results):
    results[1][4]["caption"] = "Red red RED coat"
    assert ["red", "8", "89%"] in table_of(page_of(results)[1], "words.csv")


def test_every_kind_of_lint_is_known():
    found = lint("background " * 5, trigger_words="ohwx woman", banned_words=["background"], max_words=3)
    found += lint("ohwx woman", trigger_words="ohwx woman", banned_words=[], max_words=3)
    assert kinds("; ".join(found)) == ["banned words", "empty", "too long", "trigger words missing"]
    assert kinds("the text file is no UTF-8; save it again as UTF-8") == ["other lint"]
    assert kinds("trigger words missing: empty; nest") == ["trigger words missing"]


def test_words_are_whole_and_of_any_script():
    assert words("A long-sleeved, T-shirt; the woman's écharpe 写真 2") == [
        "a",
        "long-sleeved",
        "t-shirt",
        "the",
        "woman's",
        "écharpe",
        "写真",
        "2",
    ]
    assert words(None) == words("") == []


def test_without_lint_there_is_no_word_of_it(tmp_path):
    workspace = Workspace(tmp_path)
    _, output = page_of((workspace, workspace.captions()))
    document = (output / "index.html").read_text(encoding="utf-8")
    assert "Lint" not in document
    assert "kept out" not in document


def test_rejected_pictures_move_to_their_folder_and_decisions_to_their_file(results):
    workspace, rows = results
    page = describe(RUN, rows, Place(workspace.root, workspace.root / "page"))
    assert page.page_id == "lora/data_TEST/06b_caption_qa_report"
    assert page.move == (str(workspace.root / "05_training_data"), str(workspace.root / "06_disqualified_captions"))
    assert page.export == Export("reviews/lora/data_TEST/06_caption.csv", "06_caption.csv", "decision")


def test_earlier_decisions_are_shown(results, tmp_path):
    rows = results[1]
    reviews = tmp_path / "06_caption.csv"
    reviews.write_text(f"sha256,path,decision,reason\n{rows[6]['sha256']},x,reject,\n{rows[7]['sha256']},x,keep,\n")
    found, _ = read_page(page_of(results, [reviews])[1])
    assert {name: row["decision"] for name, row in found.items() if row["decision"]} == {named(rows, 6): "reject", named(rows, 7): "keep"}


def test_the_step_as_snakemake_starts_it(results, in_a_step):
    workspace, rows = results
    captions = workspace.write("06_caption/manifest", tables.CAPTIONS, rows)
    log, output = workspace.folder / "step.log", workspace.root / "06b_caption_qa_report"
    params = SimpleNamespace(page=RUN, root=str(workspace.root), machine=workspace.machine)
    given = SimpleNamespace(captions=str(captions), reviews=[])
    rule = SimpleNamespace(input=given, output=[str(output)], params=params, log=[str(log)])
    runpy.run_path(page_captions.__file__, {"snakemake": rule})
    assert "done: rows=12 " in log.read_text()
