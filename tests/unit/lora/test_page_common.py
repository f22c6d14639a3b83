"""lora: what all of its pages have in common: links beside the page, earlier decisions, contents that occur twice."""

from pathlib import Path

import pyarrow as pa
import pytest

from tests.unit.lora.pages_data import Workspace, read_page
from workflow_scripts.core.pages import Export, Number, Page
from workflow_scripts.core.step import StepError
from workflow_scripts.lora import page_common as common
from workflow_scripts.lora import tables
from workflow_scripts.lora.page_common import Place

PAGE = Page("p", "P", outcomes={"good": "kept", "bad": "rejected", "error": "error"}, numbers=(Number("size", "size"),))


def row(name, sha256, outcome="good", **more):
    return {"name": name, "label": name, "id": sha256, "outcome": outcome, "tags": ["t"], "decision": "", **more}


def test_links_lead_from_the_page_to_the_file_and_stay_true_when_both_are_moved(tmp_path):
    place = Place(tmp_path / "results" / "ws", tmp_path / "results" / "ws" / "03b_mask_qa_report")
    assert place.link("01_source_frames/a b/c#1?.jpg") == "../01_source_frames/a%20b/c%231%3F.jpg"
    assert place.link(None) == place.link("") == ""
    assert Place(Path("results/ws"), Path("elsewhere/page")).link("a.jpg") == "../../results/ws/a.jpg"
    assert place.folder("05_training_data") == str(tmp_path / "results" / "ws" / "05_training_data")


def test_a_folder_to_move_from_is_found_from_anywhere():
    assert Place(Path("results/ws"), Path("results/ws/page")).folder("x") == str(Path.cwd() / "results/ws/x")


def test_the_file_of_decisions_has_the_name_under_which_it_is_read():
    assert common.export("reviews/lora/ws/03_mask.csv") == Export("reviews/lora/ws/03_mask.csv", "03_mask.csv", "decision")


def test_items_show_what_was_decided_about_their_content_and_the_last_line_counts(tmp_path):
    file, items = tmp_path / "a.csv", [{"id": "aa"}, {"id": "bb"}, {"id": "cc"}, {"id": None}]
    file.write_text("sha256,path,decision,reason\nAA ,x,Reject,\nbb,y,reject,\nbb,y,keep,\n")
    assert [item["decision"] for item in common.judged(items, [file])] == ["reject", "keep", "", ""]
    assert [item["decision"] for item in common.judged(items, [])] == ["", "", "", ""]
    file.write_text("path,decision\nx,keep\n")
    with pytest.raises(StepError, match=r"a\.csv: needs sha256 and decision"):
        common.judged(items, [file])
    file.write_text("sha256,decision\naa,perhaps\n")
    with pytest.raises(StepError, match="line 2: needs a sha256 and a decision"):
        common.judged(items, [file])


def test_frames_are_found_by_their_name_and_errors_have_none(tmp_path):
    workspace = Workspace(tmp_path)
    workspace.frames["first"].append({"frame_id": "first_frame_000007", "video": "first", "n": 7, "path": None, "outcome": "error"})
    found = common.frames(workspace.write("02_sorted_candidates", tables.SORTED, workspace.sorted()))
    assert found == {row["frame_id"]: row["path"] for row in workspace.rows()[:6] + workspace.rows()[7:]}


def test_tags_are_category_and_video_where_there_are_any():
    assert common.tags({"category": "upper_body", "video": "a"}, "park", None, "") == ["upper_body", "a", "park"]
    assert common.tags({"video": "a"}) == common.tags({"video": "a", "category": None}) == ["a"]


def test_of_frames_with_one_content_only_the_best_is_open_to_a_decision_and_the_others_say_which():
    rows = [
        row("a", "1", "bad"),
        row("b", "1", decision="reject"),
        row("c", "2"),
        row("d", "1", decision="keep"),
        row("e", None, "error"),
        row("f", None, "error"),
    ]
    found = common.once(PAGE, rows)
    assert [each["id"] for each in found] == [None, "1", "2", None, None, None]
    assert [each["tags"] for each in found] == [["t", "same picture as b"], ["t"], ["t"], ["t", "same picture as b"], ["t"], ["t"]]
    assert [each["decision"] for each in found] == ["", "reject", "", "", "", ""]
    assert [each["name"] for each in found] == list("abcdef")


def test_a_name_that_occurs_twice_is_told_apart():
    assert [each["name"] for each in common.once(PAGE, [row("a", "1"), row("a", "2"), row("b", "3"), row("a", "4")])] == [
        "a",
        "a (2)",
        "b",
        "a (3)",
    ]


def test_a_table_has_a_column_for_every_number_of_the_page():
    schema = common.schema(PAGE)
    assert schema.field("size").type == pa.float64()
    assert {"id", "name", "outcome", "reason", "link", "images", "boxes", "fixed", "decision"} <= set(schema.names)


def test_a_page_is_written_with_what_its_rows_have(tmp_path):
    workspace = Workspace(tmp_path)
    frame = workspace.rows()[0]
    place = Place(workspace.root, workspace.root / "page")
    rows = [{"name": "x", "id": frame["sha256"], "outcome": "good", "images": [f"{frame['sha256']} {frame['path']}", None], "size": 2}]
    counts = common.write_page(PAGE, [*rows, {"name": "y", "outcome": "error", "reason": "why"}], place, workspace.machine)
    assert counts == {"rows": 2, "shown": 2, "thumbnails": 1, "missing": 0, "broken": 0, "fetched": 1}
    found, data = read_page(workspace.root / "page")
    assert found["x"]["numbers"] == {"size": 2.0}
    assert (found["x"]["label"], found["y"]["reason"], found["y"]["open"]) == ("x", "why", 0)
    assert data["items"]["captions"] is None, "or the page's own would not show"


def test_a_page_of_nothing_is_a_page(tmp_path):
    workspace = Workspace(tmp_path)
    counts = common.write_page(PAGE, [], Place(workspace.root, workspace.root / "page"), workspace.machine)
    assert counts["rows"] == 0
    assert (workspace.root / "page" / "index.html").is_file()
