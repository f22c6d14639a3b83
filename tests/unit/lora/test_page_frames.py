"""lora 01b: the page of frames: every frame once, and which videos lack some."""

import csv
import io
import runpy
from types import SimpleNamespace

import pytest

from tests.unit.lora.pages_data import Workspace, read_page
from workflow_scripts.lora import page_frames, tables
from workflow_scripts.lora.page_frames import build, describe, missing, warnings

RUN = {"workspace": "data_TEST"}


@pytest.fixture
def workspace(tmp_path):
    """A whole video, and one that breaks off after four of ten frames."""
    found = Workspace(tmp_path, {"whole": 3, "broken": 4})
    error = {"frame_id": "broken_frame_000005", "video": "broken", "n": 5, "outcome": "error", "reason": "decode: truncated"}
    found.frames["broken"].append(dict.fromkeys(("sha256", "path", "time", "width", "height")) | error)
    found.about("broken", expected=10, damaged=1)
    return found


def page_of(workspace, folder="page"):
    output = workspace.root / folder
    given = workspace.write("01_source_frames", tables.FRAMES, workspace.frames, workspace.abouts)
    return build(RUN, given, workspace.root, machine=workspace.machine, output=output), output


def test_every_frame_stands_there_once_and_errors_with_their_text(workspace):
    counts, output = page_of(workspace)
    assert counts == {"rows": 8, "shown": 8, "thumbnails": 7, "missing": 0, "broken": 0, "fetched": 7}
    found, data = read_page(output)
    assert list(found) == [row["frame_id"] for row in workspace.rows()]
    assert data["totals"]["outcomes"] == [7, 1]
    assert data["page"]["choices"] == []
    broken = found["broken_frame_000005"]
    assert (broken["outcome"], broken["reason"], broken["links"], broken["pictures"]) == ("error", "decode: truncated", [None], 0)
    first = workspace.rows()[1]
    assert found[first["frame_id"]]["links"] == [f"../{first['path']}"]
    assert found[first["frame_id"]]["numbers"] == {"time": 1.0, "width": 64.0, "height": 48.0}
    assert found[first["frame_id"]]["tags"] == ["whole"]
    assert found[first["frame_id"]]["id"] == first["sha256"]


def test_the_table_of_videos_says_what_was_expected_and_what_there_is(workspace):
    _, output = page_of(workspace)
    (path,) = output.glob("files/*/videos.csv")
    rows = {row["video"]: row for row in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))}
    columns = ("expected", "extracted", "missing", "errors", "damaged")
    assert {name: [row[column] for column in columns] for name, row in rows.items()} == {
        "whole": ["3", "3", "0", "0", "0"],
        "broken": ["10", "4", "6", "1", "1"],
    }
    assert rows["whole"]["file"] == "whole.mp4"


def test_missing_frames_and_empty_videos_are_warned_of_first(workspace):
    workspace.frames["empty"] = []
    workspace.about("empty", expected=5, duration=None, codec=None, fps=None)
    assert warnings(list(workspace.abouts.values())) == [
        "1 video without a single frame: empty. The view Errors says why.",
        "1 video with missing frames: broken (6 of 10). The view Errors says why, where it is known.",
        "1 video with damaged pictures, which were left out: broken (1).",
    ]
    assert warnings([workspace.abouts["whole"]]) == []
    assert describe(RUN, list(workspace.abouts.values())).warnings == tuple(warnings(list(workspace.abouts.values())))


def test_what_nobody_knows_of_a_video_is_an_empty_cell(workspace):
    workspace.about("whole", expected=None, duration=None, codec=None, fps=None, damaged=None, rotation=None)
    (panel,) = describe(RUN, [workspace.abouts["whole"]]).panels
    assert panel.rows == (("whole", "whole.mp4", "", "3", "0", "0", "", "", "", "", ""),)


@pytest.mark.parametrize(
    ("kind", "expected", "extracted", "lacks"),
    [("video", 10, 9, 0), ("video", 10, 8, 2), ("video", 10, 11, 0), ("video", None, 5, 0), ("frames", 10, 9, 1), ("frames", 10, 10, 0)],
)
def test_the_last_frame_of_a_video_may_lack_but_no_file_of_a_folder(kind, expected, extracted, lacks):
    assert missing({"kind": kind, "expected": expected, "extracted": extracted}) == lacks


def test_the_same_frames_give_the_same_bytes(workspace):
    def tree(folder):
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    first = tree(page_of(workspace)[1])
    workspace.machine = workspace.machine | {"threads": 5}
    counts, again = page_of(workspace, "again")
    assert tree(again) == first
    assert counts["fetched"] == 0


def test_the_step_as_snakemake_starts_it(workspace, in_a_step):
    given = [str(path) for path in workspace.write("01_source_frames", tables.FRAMES, workspace.frames, workspace.abouts)]
    log, output = workspace.folder / "step.log", workspace.root / "01b_validation_report"
    params = SimpleNamespace(page=RUN, root=str(workspace.root), machine=workspace.machine)
    rule = SimpleNamespace(input=SimpleNamespace(frames=given), output=[str(output)], params=params, log=[str(log)])
    runpy.run_path(page_frames.__file__, {"snakemake": rule})
    assert log.read_text().endswith("done: rows=8 shown=8 thumbnails=7 missing=0 broken=0 fetched=7\n")
    assert (output / "index.html").is_file()
