"""The page of predict as it is used: the closest choices first, crops drawn, and decisions that the next grouping follows."""

import csv
import re

import pytest
from playwright.sync_api import expect

from tests.unit.predict.report_data import Project, name
from workflow_scripts.core.decisions import Reviews
from workflow_scripts.predict.group_reviews import DECISIONS
from workflow_scripts.predict.report import build

HOSTILE = ("<script>window.hacked=1<script>", 'it\'s "quoted", twice', "line\nbreak", " #1 100% {x} \u2028 é 🙂", "=1+2")
SCORES = (
    {1: 0.1, 1.5: 0.5, 2: 2.0, 3: 0.3},  # margin 1.5
    {1: 0.1, 1.5: 0.9, 2: 0.2, 3: 1.0},  # 0.1
    {1: 0.1, 3: 0.6},  # 0.5
    {1: 0.4, 2: 0.4},  # 0
    {2: 0.0, 3: 0.7},  # 0.7
)
BY_MARGIN = (3, 1, 2, 4, 0)
WIDE = {"viewport": {"width": 1300, "height": 2600}}


class Drawn(Project):
    """Groups under names that are hard to handle, an image in no group, and some that cannot be read."""

    def __init__(self, root, **options):
        super().__init__(root, **options)
        for minute, scores in enumerate(SCORES):
            for stage, score in scores.items():
                self.put(self.image(minute, stage), score, size=(300, 200), proposal=(0.25, 0.5, 0.75, 0.9))
        self.put(self.image(2, 2), error="decode: <b>truncated</b>")
        self.put("loose.png", 0.5)
        for stage in (1, 2):
            self.put(name(30, stage), error="list: encrypted")
        self.refused.append(("loose.png", "list: another member has this name"))
        self.pages = 0

    @staticmethod
    def image(minute, stage):
        """The path of an image of a group."""
        return f"{HOSTILE[minute]}/{name(minute, stage, HOSTILE[minute])}"

    def chosen(self, minute):
        """The path of the image that wins."""
        return self.image(minute, max(SCORES[minute], key=SCORES[minute].get))

    def page(self, reviews=None):
        """Build the page; gives its folder."""
        self.pages += 1
        folder = self.root / f"page-{self.pages}"
        build(self.settings(), *self.write(reviews), cache_root=str(self.root / "cache"), output=folder, threads=2)
        return folder


@pytest.fixture
def project(tmp_path):
    found = Drawn(tmp_path)
    found.save()
    return found


def cell_of(seen, path):
    """The row of a group by the path of its chosen image."""
    place = seen.names().index(path)
    return seen.tab.locator(f".cell[aria-posinset='{place + 1}']")


def texts(locator):
    return [text.replace("\xa0", " ") for text in locator.all_text_contents()]


def saved(rows, path):
    """What the browser's file says, as a file."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def outcomes(project, reviews):
    """Outcome and reason by path after the next grouping, and the groups as lists of file names."""
    groups, images = project.predict(reviews)
    return {row["path"]: (row["outcome"], row["reason"]) for row in images}, [row["images"] for row in groups]


def test_the_page_opens_with_the_closest_choice(project, gallery):
    seen = gallery(project.page(), **WIDE)
    assert seen.counts() == {"selected": 5, "failed": 1, "ungrouped": 1, "error": 4}
    assert seen.names()[:5] == [project.chosen(minute) for minute in BY_MARGIN]
    margins = seen.tab.locator(".cell:has(.badge.kept) .facts").all_text_contents()
    assert sorted(margins) == [f"margin {margin:.3f}" for margin in (0, 0.1, 0.5, 0.7, 1.5)]
    assert seen.current() == project.chosen(3)
    assert seen.tab.evaluate("window.hacked") is None


def test_a_row_shows_the_chosen_image_with_its_crop_and_the_others_by_rank(project, gallery):
    seen = gallery(project.page(), **WIDE)
    cell = cell_of(seen, project.chosen(1))
    assert texts(cell.locator(".caption")) == ["chosen · stage 3", "2nd · stage 1.5", "3rd · stage 2", "4th · stage 1"]
    assert re.fullmatch(r"p_group_20240131_120100_[0-9a-f]{8}", cell.locator(".name").text_content())
    thumbs = cell.locator(".thumb")
    assert [thumb.locator(".box").count() for thumb in thumbs.all()] == [1, 0, 0, 0]
    expect(thumbs.first.locator(".box span")).to_have_text("crop")
    outer, box = thumbs.first.bounding_box(), thumbs.first.locator(".box").bounding_box()
    sides = [(box["x"] - outer["x"]) / outer["width"], (box["y"] - outer["y"]) / outer["height"]]
    sides += [box["width"] / outer["width"], box["height"] / outer["height"]]
    assert sides == pytest.approx([0.25, 0.5, 0.5, 0.4], abs=0.02)
    labels = thumbs.evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    assert labels[1].replace("\xa0", " ") == f"2nd · stage 1.5: {project.image(1, 1.5)}"
    cell.dblclick()
    box = seen.tab.locator("#lightbox")
    expect(box.locator("figure .said")).to_have_text(["thumbnail enlarged"] * 4)
    assert box.locator(".links a").count() == 0, "an archive's members have no address"
    words = dict(zip(box.locator("dt").all_text_contents(), box.locator("dd").all_text_contents(), strict=True))
    assert (words["Reason"], words["margin"], words["images in the group"]) == ("stage 3 chosen", "0.100", "4")
    assert (words["crop, part of the image"], words["crop, shorter side in pixels"]) == ("0.20", "80")
    assert box.locator(".members li").last.text_content().endswith(name(1, 1, HOSTILE[1]))


def test_an_unreadable_image_is_seen_in_its_group_and_among_the_errors(project, gallery):
    seen = gallery(project.page(), **WIDE)
    cell = cell_of(seen, project.chosen(2))
    assert texts(cell.locator(".caption")) == ["chosen · stage 3", "2nd · stage 1", "unreadable · stage 2"]
    assert cell.locator(".thumb").last.inner_text() == "no picture"
    seen.tab.locator("[data-view=errors]").click()
    seen.settle()
    found = dict(seen.tab.locator(".cell").evaluate_all("all => all.map(one => [one.title, one.querySelector('.facts').textContent])"))
    (group,) = (row for row in project.predict()[0] if row["selected"] is None)
    assert found == {
        group["group_id"]: f"read: none of 2 images can be used; {name(30, 1)}: list: encrypted",
        project.image(2, 2): "decode: <b>truncated</b>",
        name(30, 1): "list: encrypted",
        name(30, 2): "list: encrypted",
        "loose.png (2)": "list: another member has this name",
    }
    assert seen.tab.locator(".cell .thumb").count() == len(found), "one picture at most where a row is a line"
    seen.press("x", "s")
    assert seen.export() == [], "there is nothing to decide about them"


def test_every_image_is_found_by_its_name(project, gallery):
    seen = gallery(project.page(), **WIDE)
    for path in project.images:
        seen.tab.locator("#search").fill(path.split("\n")[-1])  # a field for text holds no line break
        seen.settle()
        assert seen.visible() >= 1, path
    seen.tab.locator("#search").fill(project.image(1, 1.5))
    seen.settle()
    assert seen.names() == [project.chosen(1)]


def test_a_dropped_group_is_left_out_by_the_next_grouping(project, gallery, tmp_path):
    seen = gallery(project.page(), **WIDE)
    seen.press("x", "k", "x", "x", "x")
    rows = seen.export()
    decided = {project.chosen(minute): "keep" if minute == 1 else "drop" for minute in BY_MARGIN}
    assert {row["path"]: row["decision"] for row in rows} == decided
    assert {row["path"]: row["sha256"] for row in rows} == {path: project.images[path]["sha256"] for path in decided}
    assert seen.counts() == {"selected": 1, "dropped": 4, "failed": 1, "ungrouped": 1, "error": 4}
    expect(seen.tab.locator("#notices")).to_contain_text("reviews/predict/p/groups.csv")
    reviews = Reviews(saved(rows, tmp_path / "groups.csv"), DECISIONS)
    found, groups = outcomes(project, reviews)
    assert not reviews.unused()
    assert [len(group) for group in groups] == [2, 4], "the one that failed, and the one that was kept"
    for minute in (0, 2, 3, 4):
        assert {found[project.image(minute, stage)] for stage in SCORES[minute]} == {("ungrouped", "dropped by a person")}


def test_a_group_is_split_at_the_picture_that_was_clicked_and_the_split_stays_in_the_file(project, gallery, visit, tmp_path):
    context = visit.context(**WIDE)
    seen = gallery(project.page(), context)
    cell = cell_of(seen, project.chosen(1))
    cell.locator(".frame").nth(2).click()
    seen.press("s")
    (row,) = seen.export()
    assert (row["path"], row["decision"]) == (project.image(1, 2), "split")
    reviews = saved([row], tmp_path / "groups.csv")
    found, groups = outcomes(project, Reviews(reviews, DECISIONS))
    halves = [[name(1, stage, HOSTILE[1]) for stage in stages] for stages in ((1, 1.5), (2, 3))]
    assert [group for group in groups if group[0] in (halves[0][0], halves[1][0])] == halves
    after = gallery(project.page(Reviews(reviews, DECISIONS)), context)
    assert after.counts()["selected"] == 6
    assert after.export() == [row]
    expect(after.tab.locator(".badge.decision")).to_have_count(0)
    cell_of(after, project.image(1, 3)).click()
    after.press("x")
    decided = {each["path"]: each["decision"] for each in after.export()}
    assert decided == {project.image(1, 2): "split", project.image(1, 3): "drop"}
    found, groups = outcomes(project, Reviews(saved(after.export(), reviews), DECISIONS))
    assert halves[0] in groups
    assert {found[project.image(1, stage)][1] for stage in (2, 3)} == {"dropped by a person"}


def test_originals_in_a_folder_are_opened(tmp_path, gallery):
    project = Drawn(tmp_path, project_id="p", zipped=False)
    project.save()
    seen = gallery(project.page(), **WIDE)
    seen.press("ArrowRight", "Enter")
    box = seen.tab.locator("#lightbox")
    wanted = [project.path / project.image(1, stage) for stage in (3, 1.5, 2, 1)]
    assert box.locator(".links a").evaluate_all("all => all.map(one => one.href)") == [path.as_uri() for path in wanted]
    expect(box.locator("figure .said")).to_have_text(["full image, 300 × 200"] * 4)
    expect(box.locator("figure .box span")).to_have_text("crop")


def test_panels_and_notes_are_there_to_read(project, gallery):
    project.about["skipped"] = {"__MACOSX": 4, ".txt": 2}
    tab = gallery(project.page()).tab
    titles = ["Which stage is chosen", "How clear the choices are", "Crops and their repairs"]
    assert tab.locator(".panel > summary").all_text_contents() == titles
    tab.locator("summary", has_text=titles[0]).click()
    cells = tab.locator(".panel").first.locator("tr").evaluate_all("all => all.map(one => [...one.children].map(cell => cell.textContent))")
    assert cells[1:] == [
        ["stage 1", "4", "1", "25.0%"],
        ["stage 1.5", "2", "0", "0.0%"],
        ["stage 2", "4", "1", "25.0%"],
        ["stage 3", "4", "3", "75.0%"],
    ]
    expect(tab.locator("#notices")).to_contain_text("Files that are no images: .txt 2, __MACOSX 4.")
    expect(tab.locator("#notices")).to_contain_text("Chosen by ranker_v4.pt (abababababab)")


def test_a_project_that_failed_says_so(tmp_path, gallery):
    project = Project(tmp_path)
    project.fail("p.zip: <b>damaged</b>; copy it again")
    build(project.settings(), *project.write(), cache_root=str(tmp_path / "cache"), output=tmp_path / "page", threads=2)
    tab = gallery(tmp_path / "page").tab
    expect(tab.locator(".notice.warning")).to_contain_text("could not be processed: p.zip: <b>damaged</b>; copy it again.")
    expect(tab.locator("#empty")).to_have_text("There is nothing to show.")
    expect(tab.locator("#bar")).to_have_count(0)
