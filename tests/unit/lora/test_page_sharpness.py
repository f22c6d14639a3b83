"""lora 04d: the page of sharpness: the ends and the middle of each category first, all others behind them, and a suggestion."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.lora.pages_data import SCORE, Workspace, read_page
from tests.unit.lora.test_spectrum import two_groups
from workflow_scripts.lora import page_sharpness, tables
from workflow_scripts.lora.page_common import Place
from workflow_scripts.lora.page_sharpness import build, chosen, describe, item, suggestion
from workflow_scripts.lora.spectrum import find_valley
from workflow_scripts.lora.tables import CATEGORIES

RUN = {"workspace": "data_TEST", "score": SCORE}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A workspace of 120 subjects, forty of each category, ten of which have no sharpness."""
    workspace = Workspace(tmp_path_factory.mktemp("sharpness"), {"first": 60, "second": 60})
    values = two_groups(120)
    return workspace, workspace.selection(lambda place: values[place] if place % 12 else None)


def page_of(results, folder="page"):
    workspace, rows = results
    output = workspace.root / folder
    selection = workspace.write("04_top100_staging/manifest", tables.SELECTION, rows)
    candidates = workspace.write("02_sorted_candidates", tables.SORTED, workspace.sorted())
    return build(RUN, selection, candidates, workspace.root, machine=workspace.machine, output=output), output


@pytest.fixture(scope="module")
def page(results):
    """The counts of the page, its items by name, and all that its script gets."""
    counts, output = page_of(results)
    return counts, *read_page(output)


def test_all_measured_subjects_are_there_and_the_chosen_ones_come_first(results, page):
    counts, found, data = page
    assert (counts["rows"], counts["missing"]) == (110, 0)
    document = (results[0].root / "page" / "index.html").read_text(encoding="utf-8")
    assert "110 subjects. 10 subjects too small, empty or not readable have no sharpness." in document
    assert data["page"]["lowestFirst"] == "place"
    measured = [row for row in results[1] if row["sharpness"] is not None]
    assert set(found) == {row["frame_id"] for row in measured}
    placed = {name: row["numbers"]["place"] for name, row in found.items() if row["numbers"]["place"] is not None}
    assert sorted(placed.values()) == list(range(1, 91))
    order = sorted(placed, key=placed.get)
    assert [found[name]["reason"] for name in order] == (["worst"] * 10 + ["middle"] * 10 + ["best"] * 10) * 3
    assert [found[name]["tags"][0] for name in order] == [category for category in CATEGORIES for _ in range(30)]
    for category in CATEGORIES:
        values = sorted(row["sharpness"] for row in measured if row["category"] == category)
        own = [found[name] for name in order if found[name]["tags"][0] == category]
        assert [row["numbers"]["sharpness"] for row in own[:10]] == values[:10]
        assert [row["numbers"]["sharpness"] for row in own[20:]] == values[-10:]


def test_outcomes_are_those_of_sharpness_alone(results, page):
    _, _, data = page
    values = [row["sharpness"] for row in results[1] if row["sharpness"] is not None]
    below = sum(value < 50 for value in values)
    assert data["outcomes"] == [["sharp", "kept"], ["too blurry", "rejected"]]
    assert data["totals"]["outcomes"] == [110 - below, below]
    assert all(data["items"]["movable"])


def test_a_subject_at_the_limit_is_sharp(results):
    row = next(row for row in results[1] if row["sharpness"] is not None)
    place = Place(Path("root"), Path("root/page"))
    outcomes = [item(row | {"sharpness": value}, None, "", 50.0, place)["outcome"] for value in (49.9, 50.0)]
    assert outcomes == ["too blurry", "sharp"]


def test_a_chosen_subject_says_what_it_is(page):
    _, found, _ = page
    first = min((row for row in found.values() if row["numbers"]["place"]), key=lambda row: row["numbers"]["place"])
    assert first["captions"] == ["worst of face and hair", f"sharpness {first['numbers']['sharpness']:.1f}"]
    other = next(row for row in found.values() if row["numbers"]["place"] is None)
    assert (other["reason"], other["captions"][0]) == ("", other["tags"][0].replace("_", " "))
    assert all(len(row["links"]) == row["pictures"] == 2 for row in found.values())


def test_the_suggestion_is_said_with_what_it_would_leave_out():
    values = two_groups(300)
    valley = find_valley(values)
    said = suggestion(values, valley, 50.0)
    assert f"min_sharpness {valley.at:g} is worth a try, {valley.below} of 300 ({valley.below / 300:.0%}) lie below" in said
    assert said.endswith("Now it is 50.")
    assert "Too few subjects" in suggestion(values[:49], None, 50.0)
    assert "No two groups" in suggestion(values, None, 50.0)


def test_what_has_no_sharpness_is_counted(results):
    page = describe(RUN, two_groups(100), 1)
    assert page.notes[1] == "100 subjects. 1 subject too small, empty or not readable has no sharpness."
    assert describe(RUN, two_groups(100), 0).notes[1] == "100 subjects."
    assert page.choices == ()
    assert [panel.title for panel in page.panels] == ["How sharp the subjects are"]
    assert page.panels[0].light_svg != page.panels[0].dark_svg


def test_nothing_measured_is_a_page_too(results):
    workspace, _ = results
    counts, output = page_of((workspace, []), "empty")
    assert counts["rows"] == 0
    assert "Too few subjects" in (output / "index.html").read_text(encoding="utf-8")


def test_a_category_with_few_subjects_is_shown_whole():
    rows = [{"category": CATEGORIES[0], "sharpness": float(n)} for n in range(4)] + [{"category": CATEGORIES[2], "sharpness": 1.0}]
    assert chosen(rows) == {0: (1, "worst"), 1: (2, "worst"), 2: (3, "middle"), 3: (4, "best"), 4: (5, "worst")}


def test_the_step_as_snakemake_starts_it(results, in_a_step):
    workspace, rows = results
    selection = workspace.write("04_top100_staging/manifest", tables.SELECTION, rows)
    candidates = [str(path) for path in workspace.write("02_sorted_candidates", tables.SORTED, workspace.sorted())]
    log, output = workspace.folder / "step.log", workspace.root / "04d_sharpness_spectrum_report"
    params = SimpleNamespace(page=RUN, root=str(workspace.root), machine=workspace.machine)
    given = SimpleNamespace(selection=str(selection), candidates=candidates)
    rule = SimpleNamespace(input=given, output=[str(output)], params=params, log=[str(log)])
    runpy.run_path(page_sharpness.__file__, {"snakemake": rule})
    assert "done: rows=110 " in log.read_text()
