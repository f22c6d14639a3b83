"""lora 04c: the page of limits: what passes and what fails, which limit moves what, and what a person can decide."""

import csv
import io
import runpy
from types import SimpleNamespace

import pytest

from tests.unit.lora.pages_data import SCORE, Workspace, read_page
from workflow_scripts.core.pages import Export
from workflow_scripts.lora import page_filter, tables
from workflow_scripts.lora.page_filter import build, describe, kind, sharpness_threshold, thresholds

RUN = {"workspace": "data_TEST", "reviews": "reviews/lora/data_TEST/04_select.csv", "score": SCORE}


@pytest.fixture
def results(tmp_path):
    """A workspace of twelve subjects; the first two fail by sharpness, of the others two of each category are selected."""
    workspace = Workspace(tmp_path)
    return workspace, workspace.selection()


def page_of(results, reviews=(), folder="page", **score):
    workspace, rows = results
    output = workspace.root / folder
    selection = workspace.write("04_top100_staging/manifest", tables.SELECTION, rows)
    candidates = workspace.write("02_sorted_candidates", tables.SORTED, workspace.sorted())
    run = RUN | {"score": SCORE | score}
    return build(run, selection, candidates, reviews, workspace.root, machine=workspace.machine, output=output), output


def test_every_subject_passes_or_fails_with_its_reason_and_tags(results):
    counts, output = page_of(results)
    assert counts == {"rows": 12, "shown": 12, "thumbnails": 24, "missing": 0, "broken": 0, "fetched": 24}
    found, data = read_page(output)
    assert data["totals"]["outcomes"] == [10, 2, 0, 0]
    assert [name for name, _ in data["outcomes"]] == ["passes", "fails", "culled", "error"]
    rows = results[1]
    failed, selected = rows[0], next(row for row in rows if row["outcome"] == "selected")
    passed_over = next(row for row in rows if row["outcome"] == "passed over")
    first = found[failed["frame_id"]]
    assert (first["outcome"], first["reason"], first["captions"]) == ("fails", "too blurry", ["original", "too blurry (20.0)"])
    assert first["numbers"]["sharpness"] == 20.0
    assert found[selected["frame_id"]]["tags"] == [selected["category"], selected["video"], "selected"]
    assert found[selected["frame_id"]]["captions"] == ["original", "subject"]
    assert found[passed_over["frame_id"]]["tags"][2] == "passed over"
    assert found[passed_over["frame_id"]]["reason"] == "beyond top_n"
    assert found[selected["frame_id"]]["links"][1] == f"../{selected['path']}"
    assert found[selected["frame_id"]]["numbers"]["rank"] == 1.0


def test_a_person_decides_about_what_passes_and_about_nothing_else(results):
    rows = results[1]
    rows[5] |= {"outcome": "culled", "reason": "culled by a person: hand lost"}
    rows[6] |= {"outcome": "error", "reason": "measure: broken", "sharpness": None, "contours": None, "area_fraction": None}
    found, _ = read_page(page_of(results)[1])
    assert {name for name, row in found.items() if not row["open"]} == {rows[place]["frame_id"] for place in (0, 1, 5, 6)}
    assert found[rows[5]["frame_id"]]["reason"] == "culled by a person: hand lost"


def test_only_what_a_limit_decided_moves_with_it(results):
    rows = results[1]
    failed = {"outcome": "failed"}
    rows[0] |= failed | {"reason": "too many objects (4)", "contours": 4, "sharpness": 400.0}
    rows[1] |= failed | {"reason": "area (0.0050)", "area_fraction": 0.005, "sharpness": 400.0}
    rows[2] |= failed | {"reason": "empty mask", "contours": 0, "area_fraction": 0.05, "sharpness": 20.0}
    rows[3] |= failed | {"reason": "subject too small", "sharpness": None}
    rows[4] |= failed | {"reason": "subject too small", "sharpness": None, "area_fraction": 0.001}
    found, data = read_page(page_of(results)[1])
    moves = [found[row["frame_id"]]["movable"] for row in rows]
    assert moves == [1, 1, 0, 0, 0, *[1] * 7]
    assert found[rows[0]["frame_id"]]["numbers"]["beside"] == 3.0
    assert [threshold["column"] for threshold in data["page"]["thresholds"]] == ["sharpness", "area_fraction", "beside", "solidity"]


def test_the_limits_are_those_of_the_settings_and_so_are_their_names():
    found = {threshold.column: threshold for threshold in thresholds(RUN, [])}
    own = ("lora", "workspaces", "data_TEST", "score")
    assert {column: (threshold.value, threshold.rejects, threshold.config_path) for column, threshold in found.items()} == {
        "sharpness": (50.0, "below", (*own, "min_sharpness")),
        "area_fraction": (0.01, "below", (*own, "min_area_fraction")),
        "beside": (3, "at_least", (*own, "max_contours")),
        "solidity": (0.0, "below", (*own, "min_solidity")),
    }
    solid = thresholds(RUN | {"score": SCORE | {"min_solidity": 0.7, "max_contours": 30}}, [])
    assert (solid[3].value, solid[2].high) == (0.7, 60)
    assert "min_solidity is off" in describe(RUN, []).notes[0]
    assert "min_solidity is off" not in describe(RUN | {"score": SCORE | {"min_solidity": 0.7}}, []).notes[0]


@pytest.mark.parametrize(
    ("value", "measured"), [(50.0, []), (0.0, []), (0.0, [0.0]), (50.0, [20.0, 90_000.0]), (50.0, [float(n) for n in range(3000)])]
)
def test_the_slider_for_sharpness_reaches_most_of_what_was_measured_in_fine_steps(value, measured):
    found = sharpness_threshold("ws", value, measured)
    assert found.high >= 2 * value
    assert sum(one > found.high for one in measured) <= 0.05 * len(measured) + 1
    assert 200 <= len(found.grid()) <= 2100
    assert value in found.grid()


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("too blurry (12.3)", "too blurry"),
        ("near copy of a (b) of c (distance 2)", "near copy"),
        ("beyond top_n (100)", "beyond top_n"),
        ("empty mask", "empty mask"),
        ("", ""),
    ],
)
def test_reasons_are_counted_by_their_kind(reason, said):
    assert kind(reason) == said


def test_categories_are_counted_though_nothing_is_in_them(results):
    _, output = page_of((results[0], [row for row in results[1] if row["category"] != "full_body"]))
    (path,) = output.glob("files/*/categories.csv")
    found = {row.pop("category"): row for row in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))}
    assert found["full body"] == dict.fromkeys(("selected", "passed over", "failed", "culled", "error"), "0")
    assert sum(int(count) for row in found.values() for count in row.values()) == 8


def test_a_decision_is_shown_whatever_the_rank(results, tmp_path):
    rows = results[1]
    reviews = tmp_path / "04_select.csv"
    reviews.write_text(f"sha256,path,decision,reason\n{rows[4]['sha256']},another,reject,\n{rows[0]['sha256']},x,keep,\n")
    rows[4] |= {"rank": 77}
    found, _ = read_page(page_of(results, [reviews])[1])
    assert found[rows[4]["frame_id"]]["decision"] == "reject"


def test_the_page_names_the_file_of_its_decisions(results):
    page = describe(RUN, results[1])
    assert page.page_id == "lora/data_TEST/04c_filter_qa_report"
    assert page.export == Export("reviews/lora/data_TEST/04_select.csv", "04_select.csv", "decision")
    assert page.notes[0].startswith("Of those that pass 6 subjects are selected, 4 passed over")


def test_the_step_as_snakemake_starts_it(results, in_a_step):
    workspace, rows = results
    selection = workspace.write("04_top100_staging/manifest", tables.SELECTION, rows)
    candidates = [str(path) for path in workspace.write("02_sorted_candidates", tables.SORTED, workspace.sorted())]
    log, output = workspace.folder / "step.log", workspace.root / "04c_filter_qa_report"
    given = SimpleNamespace(selection=str(selection), candidates=candidates, reviews=[])
    params = SimpleNamespace(page=RUN, root=str(workspace.root), machine=workspace.machine)
    rule = SimpleNamespace(input=given, output=[str(output)], params=params, log=[str(log)])
    runpy.run_path(page_filter.__file__, {"snakemake": rule})
    assert "done: rows=12 " in log.read_text()
