"""lora 03b: the page of cut-out subjects: each beside its frame, and what was decided about it before."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.lora.pages_data import HOSTILE, Workspace, read_page
from workflow_scripts.core.pages import Export
from workflow_scripts.lora import page_masks, tables
from workflow_scripts.lora.page_common import Place
from workflow_scripts.lora.page_masks import build, describe, item
from workflow_scripts.lora.page_pictures import plain, subject

RUN = {"workspace": "data_TEST", "reviews": "reviews/lora/data_TEST/03_mask.csv"}


def tables_of(workspace, rows=None):
    masks = workspace.write("03_masked_subjects", tables.MASKS, rows or workspace.masks())
    return masks, workspace.write("02_sorted_candidates", tables.SORTED, workspace.sorted())


def page_of(workspace, rows=None, reviews=()):
    output = workspace.root / "page"
    return build(RUN, *tables_of(workspace, rows), reviews, workspace.root, machine=workspace.machine, output=output), output


def test_every_subject_stands_beside_its_frame(tmp_path):
    workspace = Workspace(tmp_path)
    counts, output = page_of(workspace)
    assert counts == {"rows": 12, "shown": 12, "thumbnails": 24, "missing": 0, "broken": 0, "fetched": 24}
    found, data = read_page(output)
    frame = workspace.rows()[1]
    row = found[frame["frame_id"]]
    assert row["links"] == [f"../{frame['path']}", f"../03_masked_subjects/upper_body/{frame['frame_id']}.png"]
    assert (row["id"], row["outcome"], row["tags"], row["pictures"]) == (frame["sha256"], "masked", ["upper_body", "first"], 2)
    assert data["page"]["captions"] == ["original", "subject"]


def test_the_subject_is_shown_on_its_ground_and_the_frame_as_it_is():
    row = {"frame_id": "f", "video": "v", "category": "full_body", "sha256": "1", "file_sha256": "2", "path": "f.png", "outcome": "masked"}
    found = item(row | {"reason": None}, "f.jpg", Place(Path("root"), Path("root/page")))
    assert found["images"] == [plain("1", "f.jpg"), subject("2", "f.png")]


def test_what_could_not_be_masked_shows_its_frame_and_why(tmp_path):
    workspace = Workspace(tmp_path, {"one": 2})
    rows = workspace.masks()
    rows["one"][0] |= {"path": None, "file_sha256": None, "outcome": "error", "reason": "mask: empty"}
    counts, output = page_of(workspace, rows)
    assert (counts["thumbnails"], counts["missing"]) == (3, 0)
    found, _ = read_page(output)
    row = found["one_frame_000001"]
    assert (row["outcome"], row["reason"], row["open"]) == ("error", "mask: empty", 0)
    assert row["links"] == [f"../{workspace.rows()[0]['path']}", ""]


def test_earlier_decisions_are_shown(tmp_path):
    workspace = Workspace(tmp_path)
    kept, rejected, *_ = workspace.rows()
    reviews = tmp_path / "03_mask.csv"
    reviews.write_text(f"sha256,path,decision,reason\n{kept['sha256']},a,keep,\n{rejected['sha256']},b,reject,hand lost\n")
    found, _ = read_page(page_of(workspace, reviews=[reviews])[1])
    assert {name: row["decision"] for name, row in found.items() if row["decision"]} == {
        kept["frame_id"]: "keep",
        rejected["frame_id"]: "reject",
    }


def test_a_moment_that_stands_still_is_decided_once(tmp_path):
    workspace = Workspace(tmp_path, {"still": 3})
    rows = workspace.masks()
    rows["still"][1]["sha256"] = rows["still"][0]["sha256"]
    found, _ = read_page(page_of(workspace, rows)[1])
    assert [row["open"] for row in found.values()] == [1, 0, 1]
    assert "same picture as still_frame_000001" in found["still_frame_000002"]["tags"]


def test_the_page_names_the_file_of_its_decisions():
    page = describe(RUN)
    assert page.page_id == "lora/data_TEST/03b_mask_qa_report"
    assert page.export == Export("reviews/lora/data_TEST/03_mask.csv", "03_mask.csv", "decision")
    assert [(choice.value, choice.key) for choice in page.choices] == [("keep", "k"), ("reject", "x")]
    assert page.outcomes == {"masked": "kept", "rejected": "rejected", "error": "error"}


def test_hostile_names_are_data_only(tmp_path):
    workspace = Workspace(tmp_path, dict.fromkeys(HOSTILE, 1))
    counts, output = page_of(workspace)
    assert (counts["thumbnails"], counts["missing"]) == (12, 0)
    found, _ = read_page(output)
    assert list(found) == [f"{name}_frame_000001" for name in HOSTILE]
    assert "<b>" not in (output / "data.js").read_text(encoding="utf-8")
    assert "%0A" in found[f"{HOSTILE[3]}_frame_000001"]["links"][0]


@pytest.mark.parametrize("decided", [True, False])
def test_the_step_as_snakemake_starts_it(tmp_path, decided, in_a_step):
    workspace = Workspace(tmp_path)
    masks, candidates = ([str(path) for path in paths] for paths in tables_of(workspace))
    reviews = tmp_path / "03_mask.csv"
    reviews.write_text(f"sha256,decision\n{workspace.rows()[0]['sha256']},reject\n")
    log, output = tmp_path / "step.log", workspace.root / "03b_mask_qa_report"
    given = SimpleNamespace(masks=masks, candidates=candidates, reviews=[str(reviews)] if decided else [])
    params = SimpleNamespace(page=RUN, root=str(workspace.root), machine=workspace.machine)
    rule = SimpleNamespace(input=given, output=[str(output)], params=params, log=[str(log)])
    runpy.run_path(page_masks.__file__, {"snakemake": rule})
    assert "done: rows=12 " in log.read_text()
    found, _ = read_page(output)
    assert [row["decision"] for row in found.values() if row["decision"]] == ["reject"] * decided
