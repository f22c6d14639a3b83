"""lora 05b: the page of composites: each beside its subject, with its background, and lines that move what is rejected."""

import csv
import io
import runpy
from types import SimpleNamespace

import pytest

from tests.unit.lora.pages_data import HOSTILE, Workspace, read_page
from workflow_scripts.core.pages import Export
from workflow_scripts.lora import page_composites, tables
from workflow_scripts.lora.page_common import Place
from workflow_scripts.lora.page_composites import build, describe

RUN = {"workspace": "data_TEST", "reviews": "reviews/lora/data_TEST/05_composite.csv"}


@pytest.fixture
def results(tmp_path):
    workspace = Workspace(tmp_path)
    return workspace, workspace.composites()


def page_of(results, reviews=()):
    workspace, rows = results
    output = workspace.root / "page"
    composites = workspace.write("05_training_data/manifest", tables.COMPOSITES, rows)
    return build(RUN, composites, reviews, workspace.root, machine=workspace.machine, output=output), output


def test_every_composite_stands_beside_its_subject_with_its_background(results):
    counts, output = page_of(results)
    assert counts == {"rows": 12, "shown": 12, "thumbnails": 24, "missing": 0, "broken": 0, "fetched": 24}
    found, data = read_page(output)
    row = results[1][0]
    shown = found[f"{row['category']}/{row['frame_id']}.jpg"]
    assert (shown["label"], shown["id"], shown["outcome"]) == (row["frame_id"], row["sha256"], "composited")
    assert shown["tags"] == [row["category"], row["video"], "park 0.jpg"]
    assert shown["links"] == [f"../{row['path']}", f"../{row['subject_path']}"]
    assert data["page"]["captions"] == ["composite", "subject"]


def test_names_are_those_of_the_files_so_that_the_lines_move_them(results):
    workspace, _ = results
    found, data = read_page(page_of(results)[1])
    source, target = data["page"]["move"]
    assert source == str(workspace.root / "05_training_data")
    assert target == str(workspace.root / "05_disqualified_backgrounds")
    assert all((workspace.root / "05_training_data" / name).is_file() for name in found)


def test_what_was_culled_before_or_failed_needs_no_decision(results):
    rows = results[1]
    nothing = dict.fromkeys(("path", "file_sha256", "background"))
    rows[0] |= nothing | {"outcome": "culled", "reason": "culled by a person"}
    rows[1] |= nothing | {"outcome": "error", "reason": "composite: broken"}
    counts, output = page_of(results)
    found, data = read_page(output)
    assert counts["missing"] == 0
    culled, error = found[rows[0]["frame_id"]], found[rows[1]["frame_id"]]
    assert (culled["outcome"], culled["open"], culled["reason"]) == ("culled", 0, "culled by a person")
    assert (error["outcome"], error["open"]) == ("error", 0)
    assert culled["links"][0] in ("", None)
    assert culled["tags"] == [rows[0]["category"], rows[0]["video"]]
    assert dict(zip([name for name, _ in data["outcomes"]], data["totals"]["outcomes"], strict=True)) == {
        "composited": 10,
        "rejected": 0,
        "culled": 1,
        "error": 1,
    }


def test_backgrounds_are_counted(results):
    results[1][0]["background"] = "park 1.jpg"
    (path,) = page_of(results)[1].glob("files/*/backgrounds.csv")
    found = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
    assert found == [["background", "pictures"], ["park 1.jpg", "7"], ["park 0.jpg", "5"]]


def test_earlier_decisions_are_shown(results, tmp_path):
    row = results[1][3]
    reviews = tmp_path / "05_composite.csv"
    reviews.write_text(f"sha256,path,decision,reason\n{row['sha256'].upper()},gone/elsewhere.jpg,reject,\n")
    found, _ = read_page(page_of(results, [reviews])[1])
    assert [name for name, each in found.items() if each["decision"] == "reject"] == [f"{row['category']}/{row['frame_id']}.jpg"]


def test_the_page_names_the_file_of_its_decisions(results):
    workspace, rows = results
    page = describe(RUN, rows, Place(workspace.root, workspace.root / "page"))
    assert page.page_id == "lora/data_TEST/05b_background_qa_report"
    assert page.export == Export("reviews/lora/data_TEST/05_composite.csv", "05_composite.csv", "decision")


def test_hostile_names_are_data_only(tmp_path):
    workspace = Workspace(tmp_path, dict.fromkeys(HOSTILE, 1))
    rows = workspace.composites()
    for row, name in zip(rows, HOSTILE, strict=True):
        row["background"] = name
    counts, output = page_of((workspace, rows))
    assert (counts["rows"], counts["missing"]) == (6, 0)
    assert "<b>" not in (output / "index.html").read_text(encoding="utf-8") + (output / "data.js").read_text(encoding="utf-8")


def test_the_step_as_snakemake_starts_it(results, in_a_step):
    workspace, rows = results
    composites = workspace.write("05_training_data/manifest", tables.COMPOSITES, rows)
    log, output = workspace.folder / "step.log", workspace.root / "05b_background_qa_report"
    params = SimpleNamespace(page=RUN, root=str(workspace.root), machine=workspace.machine)
    given = SimpleNamespace(composites=str(composites), reviews=[])
    rule = SimpleNamespace(input=given, output=[str(output)], params=params, log=[str(log)])
    runpy.run_path(page_composites.__file__, {"snakemake": rule})
    assert "done: rows=12 " in log.read_text()
