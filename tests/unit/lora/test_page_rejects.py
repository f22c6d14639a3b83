"""lora 02b: the page of rejected frames: which are shown, why, and with whose box."""

import csv
import io
import runpy
from types import SimpleNamespace

import pytest

from tests.unit.lora.pages_data import BOX, SIZE, Workspace, close, read_page
from workflow_scripts.lora import page_rejects, tables
from workflow_scripts.lora.page_rejects import RANDOM, SAMPLE, SHARPEST, build, choose
from workflow_scripts.lora.tables import REJECTED

RUN = {"workspace": "data_TEST"}


@pytest.fixture
def results(tmp_path):
    """A workspace and its sorted rows: of each video the first four are rejected, for another reason each."""
    workspace = Workspace(tmp_path)
    rows = workspace.sorted()
    for of_video in rows.values():
        for place, category in enumerate(REJECTED):
            of_video[place] |= {"category": category, "outcome": "rejected", "reason": f"why {category}", "sharpness": 10.0 * place}
        of_video[0] |= {"person": None, "person_count": 0}
    return workspace, rows


def page_of(results):
    workspace, rows = results
    output = workspace.root / "page"
    given = workspace.write("02_sorted_candidates", tables.SORTED, rows)
    return build(RUN, given, workspace.root, machine=workspace.machine, output=output), output


def many(count):
    return [{"frame_id": f"v_frame_{n:06d}", "sharpness": float(n * 7919 % count)} for n in range(count)]


def test_the_sharpest_come_first_then_some_by_chance_and_tags_say_which():
    rows = many(1000)
    found = choose(rows)
    sharpest = sorted(rows, key=lambda row: -row["sharpness"])[:SAMPLE]
    assert [row for row, _ in found[:SAMPLE]] == sharpest
    assert all(SHARPEST in why for _, why in found[:SAMPLE])
    drawn = [row for row, why in found if RANDOM in why]
    assert len(drawn) == SAMPLE
    assert 100 < len(found) < 200
    assert 300 < sum(row["sharpness"] for row in drawn) / SAMPLE < 700, "a fair sample"


def test_chance_depends_on_names_alone():
    rows = many(1000)

    def drawn(some):
        return {row["frame_id"] for row, why in choose(some) if RANDOM in why}

    assert drawn(rows) == drawn(rows[::-1])
    assert len(drawn(rows) - drawn(rows[10:])) <= 10, "frames that are not rejected any more leave the others where they are"


def test_a_few_rejected_frames_are_all_shown_once():
    assert [why for _, why in choose(many(3))] == [[SHARPEST, RANDOM]] * 3
    assert choose([]) == []


def test_rejected_frames_alone_are_shown_with_category_reason_and_numbers(results):
    counts, output = page_of(results)
    assert counts == {"rows": 8, "shown": 8, "thumbnails": 8, "missing": 0, "broken": 0, "fetched": 8}
    found, data = read_page(output)
    assert {name: row["outcome"] for name, row in found.items()} == {
        f"{video}_frame_{n:06d}": category for video in ("first", "second") for n, category in enumerate(REJECTED, 1)
    }
    assert [name for name, _ in data["outcomes"]] == list(REJECTED)
    assert [row["numbers"]["sharpness"] for row in found.values()] == [30.0, 30.0, 20.0, 20.0, 10.0, 10.0, 0.0, 0.0]
    row = found["first_frame_000002"]
    assert row["reason"] == "why review_no_face"
    assert row["tags"] == ["first", SHARPEST, RANDOM]
    assert (row["numbers"]["confidence"], row["numbers"]["person_count"]) == (0.875, 1.0)
    assert data["page"]["choices"] == []


def test_the_box_of_the_chosen_person_is_drawn_in_parts_of_the_frame(results):
    found, _ = read_page(page_of(results)[1])
    ((image, x0, y0, x1, y1, label),) = found["first_frame_000003"]["boxes"]
    assert (image, label) == (0, "0.88")
    expected = (BOX[0] / SIZE[0], BOX[1] / SIZE[1], BOX[2] / SIZE[0], BOX[3] / SIZE[1])
    assert all(close(one, other) for one, other in zip((x0, y0, x1, y1), expected, strict=True))
    nobody = found["first_frame_000001"]
    assert (nobody["boxes"], nobody["numbers"]["confidence"], nobody["numbers"]["person_count"]) == ([], None, 0.0)


def test_all_frames_are_counted_by_video_and_category(results):
    _, rows = results
    rows["first"][5] |= {"category": "", "outcome": "error", "person": None}
    _, output = page_of(results)
    (path,) = output.glob("files/*/categories.csv")
    found = {row["video"]: row for row in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))}
    assert list(found) == ["first", "second", "all"]
    assert found["all"] == {
        "video": "all",
        "face and hair": "0",
        "upper body": "2",
        "full body": "1",
        "no person detected": "2",
        "review no face": "2",
        "uncategorized": "2",
        "too many people": "2",
        "error": "1",
    }
    document = (output / "index.html").read_text(encoding="utf-8")
    assert "8 of 8 rejected frames are shown" in document
    assert "upper body 2, full body 1, no person detected 2," in document


def test_the_step_as_snakemake_starts_it(results, in_a_step):
    workspace, rows = results
    given = [str(path) for path in workspace.write("02_sorted_candidates", tables.SORTED, rows)]
    log, output = workspace.folder / "step.log", workspace.root / "02b_reject_qa_report"
    params = SimpleNamespace(page=RUN, root=str(workspace.root), machine=workspace.machine)
    rule = SimpleNamespace(input=SimpleNamespace(candidates=given), output=[str(output)], params=params, log=[str(log)])
    runpy.run_path(page_rejects.__file__, {"snakemake": rule})
    assert "done: rows=8 " in log.read_text()
