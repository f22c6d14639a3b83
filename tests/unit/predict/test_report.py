"""predict 06: the page of a project: what it is told, what it holds, and that it is built whatever became of the project."""

import json
import runpy
import shutil
from types import SimpleNamespace

import pytest

from tests.unit.predict.report_data import Project, name
from workflow_scripts.core.pages import Choice, Export
from workflow_scripts.predict import report
from workflow_scripts.predict.report import build, describe
from workflow_scripts.predict.report_items import Found

HOSTILE = "<script>window.hacked=1<script>\"'\n\u2028.png"


@pytest.fixture
def project(tmp_path):
    found = Project(tmp_path)
    for minute in range(4):
        found.put_group(minute, {1: 0.1, 2: 0.2 + minute / 10, 3: 0.3}, "set A")
    found.put("loose.png", 0.5)
    found.put(name(3, 1.5), error="decode: truncated")
    return found


def page_of(project, *, folder="page", threads=2, save=True, **changes):
    """The counts of a page, its folder and what its script gets."""
    if save:
        project.save()
    output = project.root / folder
    places = {"cache_root": str(project.root / "cache"), "output": output}
    counts = build(project.settings(**changes), *project.write(), **places, threads=threads)
    text = (output / "data.js").read_text(encoding="utf-8")
    return counts, output, json.loads(text[text.index("=") + 1 : text.rindex(";")])


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_page_says_what_can_be_decided_and_where_that_is_read(project):
    page = describe(project.settings(), project.about, Found())
    assert (page.page_id, page.title) == ("predict/p/groups", "Selections of p")
    assert page.export == Export("reviews/predict/p/groups.csv", "groups.csv", "decision")
    assert page.choices == (Choice("keep", "Keep", "k", "kept"), Choice("drop", "Drop", "x", "rejected"), Choice("split", "Split", "s"))
    assert page.outcomes == {"selected": "kept", "dropped": "rejected", "failed": "error", "ungrouped": "other", "error": "error"}
    assert (page.lowest_first, page.thresholds, page.warnings) == ("margin", (), ())
    columns = [number.column for number in page.shown_numbers()]
    assert columns == ["margin", "confidence", "group_size", "crop_share", "crop_side"]


@pytest.mark.parametrize("zipped", [True, False])
def test_the_page_shows_every_group_and_every_other_image(tmp_path, project, zipped):
    project.zipped, project.path = zipped, project.root / ("p.zip" if zipped else "p #1")
    counts, folder, data = page_of(project)
    assert counts == {"rows": 6, "shown": 6, "thumbnails": 13, "missing": 0, "broken": 0}
    assert data["totals"]["outcomes"] == [4, 0, 0, 1, 1]
    assert sorted(map(tuple, data["totals"]["reasons"])) == [
        ("error", "decode: truncated", 1),
        ("selected", "stage 2 chosen", 3),
        ("selected", "stage 3 chosen", 1),
        ("ungrouped", "no stage in the name", 1),
    ]
    assert data["items"]["open"] == [1, 1, 1, 1, 0, 0]
    assert data["page"]["lowestFirst"] == "margin"
    document = (folder / "index.html").read_text(encoding="utf-8")
    assert document.count('class="notice warning"') == 1, "that it needs a script"
    links = data["items"]["links"]
    firsts = [rest and links["prefix"] + rest for rest in links["rest"]]
    if zipped:
        assert firsts == [None] * 6
        assert not any(link for row in links["more"] for link in row)
    else:
        assert firsts == [(project.path / path).as_uri() for path in data["items"]["name"]]
        assert links["more"][0][1:] == [(project.path / "set A" / name(0, 1)).as_uri()]


def test_the_same_tables_give_the_same_bytes(project):
    first = tree(page_of(project)[1])
    assert tree(page_of(project, folder="again", threads=5)[1]) == first
    assert len([path for path in first if path.startswith("sheets/")]) == 1


@pytest.mark.parametrize("what", ["removed", "damaged"])
def test_without_the_source_the_pictures_come_from_the_cache(project, what):
    _, folder, _ = page_of(project)
    before = tree(folder)
    if what == "removed":
        project.path.unlink()
    else:
        project.path.write_bytes(b"no archive at all")
    counts, folder, data = page_of(project, folder="again", save=False)
    assert (counts["thumbnails"], counts["missing"]) == (13, 0)
    assert tree(folder)["sheets/000.webp"] == before["sheets/000.webp"]
    document = (folder / "index.html").read_text(encoding="utf-8")
    assert f"The originals cannot be reached: {project.path}: " in document
    shutil.rmtree(project.root / "cache")
    counts, _, data = page_of(project, folder="without", save=False)
    assert (counts["thumbnails"], counts["missing"]) == (13, 13)
    assert len(data["items"]["name"]) == 6


def test_images_that_were_replaced_since_are_shown_without_a_picture(project):
    path = f"set A/{name(0, 1)}"
    project.images[path]["sha256"] = "0" * 64
    counts, _, data = page_of(project)
    assert (counts["missing"], counts["thumbnails"]) == (1, 13)
    assert len(data["items"]["name"]) == 6


def test_a_project_that_failed_has_a_page_that_says_why(tmp_path):
    project = Project(tmp_path)
    project.fail(f"{project.path}: <b>no such file</b>; correct the path")
    counts, folder, data = page_of(project, save=False)
    assert (counts["rows"], data["page"]["choices"], data["page"]["thresholds"]) == (0, [], [])
    document = (folder / "index.html").read_text(encoding="utf-8")
    assert "This project could not be processed: " in document
    assert "&lt;b&gt;no such file&lt;/b&gt;; correct the path. The page is empty" in document
    assert "originals cannot be reached" not in document
    assert "The chosen image should be" not in document


def test_a_project_without_images_has_a_page(tmp_path):
    counts, folder, _ = page_of(Project(tmp_path))
    assert counts["rows"] == 0
    assert "could not be processed" not in (folder / "index.html").read_text(encoding="utf-8")


def test_hostile_names_are_data_only(tmp_path):
    project = Project(tmp_path, "<b>\"p'</b>", pattern="(?P<group>.)")
    project.path = tmp_path / "p.zip"
    for number in range(2):
        project.put(f"{HOSTILE}/{number}{HOSTILE}", 0.1)
        project.put(f"{HOSTILE}/{number}{HOSTILE}x.png", 0.2)
    project.put(f"{HOSTILE}/2{HOSTILE}", error=f"decode: {HOSTILE}")
    project.about["skipped"] = {HOSTILE: 3}
    counts, folder, data = page_of(project)
    assert (counts["rows"], counts["thumbnails"], counts["missing"]) == (3, 4, 0)
    assert set(project.images) == {
        *data["items"]["name"],
        *(found for row in data["items"]["members"] for found, _ in row),
    }
    document = (folder / "index.html").read_text(encoding="utf-8")
    assert document.count("<script") == 2, "the page's own"
    assert "<b>" not in document
    assert not set("<>&\u2028\u2029") & set((folder / "data.js").read_text(encoding="utf-8"))


def test_the_step_as_snakemake_starts_it(project, in_a_step):
    project.save()
    groups, images = map(str, project.write())
    log, output = project.root / "step.log", project.root / "page"
    params = SimpleNamespace(page=project.settings(), machine={"threads": 2, "cache_root": str(project.root / "cache")})
    rule = SimpleNamespace(input=SimpleNamespace(groups=groups, images=images), output=[str(output)], params=params, log=[str(log)])
    runpy.run_path(report.__file__, {"snakemake": rule})
    assert log.read_text().endswith("done: rows=6 shown=6 thumbnails=13 missing=0 broken=0\n")
    assert (output / "index.html").is_file()
