"""The predict part of the demo's summary: every figure says what it claims, right results and wrong ones."""

import csv
import json
import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from workflow_scripts.core.embeddings import write_table
from workflow_scripts.core.step import StepError
from workflow_scripts.demo import NOTE, predict_summary
from workflow_scripts.demo.predict_data import COLUMNS
from workflow_scripts.demo.predict_summary import predict_results, predict_text
from workflow_scripts.predict.tables import ERROR, GROUPS, IMAGES, PASSED_OVER, SELECTED, UNGROUPED, schema

BOX = (0.2, 0.2, 0.6, 0.8)


class World:
    """Drawn projects and what a run made of them, small enough to count by hand.

    `red` has three groups: of three images, of two whose last has a defect, and of two that cannot be read. `blue` has a copy of
    the first, and a group of three whose first image cannot be read. `bad` cannot be read at all.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.truth: list[tuple[Any, ...]] = []
        self.images: dict[str, list[dict[str, Any]]] = {"red": [], "blue": [], "bad": []}
        self.groups: dict[str, list[dict[str, Any]]] = {"red": [], "blue": [], "bad": []}
        self.skipped = {"red": {".txt": 1, "__MACOSX": 1}, "blue": {}, "bad": {}}
        self.status = {"red": "success", "blue": "success", "bad": "failed"}
        self.group("red", "a b", "111", best=2)
        self.group("red", "", "11", best=0, defect="tear")
        self.group("red", "lost", "00")
        self.group("blue", "x/y", "111", best=2, kind="copy")
        self.group("blue", "", "011", best=2)
        for kind, outcome, path in (("refused", ERROR, "../out.png"), ("ungrouped", UNGROUPED, "cover.jpg"), ("skipped", "", "notes.txt")):
            self.file("red", path, kind, outcome=outcome)
        self.file("red", "__MACOSX/._a.jpg", "skipped")
        self.summary: dict[str, Any] = {
            "results": {"total_projects": 4, "processed": 2, "skipped": 1, "failed": 1},
            "failed_projects": {"bad": "bad.zip: damaged"},
            "images_per_second": 61.7,
        }

    def file(self, project: str, path: str, kind: str, group: str = "", *, outcome: str = "", **known: Any) -> None:
        """A file as the truth and, with an outcome, the table of images have it."""
        box = BOX if group else ("",) * 4
        stage, defect, best = (known.get(name, default) for name, default in (("stage", ""), ("defect", ""), ("best", 0)))
        self.truth.append((path, project, group, stage, defect, best, *box, kind))
        if outcome:
            row = {"path": path, "group_id": known.get("group_id"), "place": known.get("place"), "outcome": outcome, "reason": ""}
            self.images[project].append(row | {"sha256": None if outcome == ERROR else known.get("sha256", f"{project} {path}")})

    def group(self, project: str, folder: str, readable: str, best: int | None = None, defect: str = "", kind: str = "image") -> None:
        """A group of which the best image was selected, and cropped as the figure stands; `readable` has a 1 for each such image."""
        names, group_id = [f"{number}.jpg" for number in range(len(readable))], f"{project}_group_{folder}"
        paths = [f"{folder}/{name}".removeprefix("/") for name in names]
        for place, (path, sign) in enumerate(zip(paths, readable, strict=True)):
            outcome = ERROR if sign == "0" else SELECTED if place == best else PASSED_OVER
            is_last = place == len(paths) - 1
            known = {
                "stage": place + 1,
                "defect": defect if is_last else "",
                "best": int(place == best),
                "group_id": group_id,
                "place": place,
            }
            known |= {"sha256": f"red a b/{names[place]}"} if kind == "copy" else {}
            self.file(project, path, kind if sign == "1" else "unreadable", paths[0], outcome=outcome, **known)
        row = {"group_id": group_id, "directory": folder, "timestamp": "2025-03-14T10:15:00Z", "images": names, "repairs": []}
        self.groups[project].append(row | {"selected": best, "crop": None if best is None else list(BOX), "error": ""})

    def image(self, project: str, path: str) -> dict[str, Any]:
        return next(row for row in self.images[project] if row["path"] == path)

    def select(self, project: str, number: int, place: int) -> None:
        """Select another image of a group."""
        group = self.groups[project][number]
        for row in self.images[project]:
            if row["group_id"] == group["group_id"] and row["outcome"] != ERROR:
                row["outcome"] = SELECTED if row["place"] == place else PASSED_OVER
        group["selected"] = place

    def write(self) -> dict[str, Any]:
        """The files of the run; gives the arguments of `predict_results`."""
        places: dict[str, Any] = {"groups": [], "images": [], "summary": self.folder / "summary.json", "truth": self.folder / "truth.csv"}
        for project, status in self.status.items():
            about = {"project_id": project, "status": status, "skipped": self.skipped[project]}
            for name, columns, rows in (("groups", GROUPS, self.groups), ("images", IMAGES, self.images)):
                places[name].append(self.folder / name / f"{project}.parquet")
                write_table(places[name][-1], schema(columns, about), rows[project])
        places["summary"].write_text(json.dumps(self.summary))
        with places["truth"].open("w", newline="") as handle:
            csv.writer(handle).writerows([COLUMNS, *self.truth])
        return places

    def results(self) -> dict[str, Any]:
        return predict_results(**self.write())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_good_run(world: World) -> None:
    assert world.results() == {
        "processed": 2,
        "failed": 1,
        "failed_as_expected": True,
        "skipped": 1,
        "left_out": 2,
        "left_out_as_expected": True,
        "images": 15,
        "readable": 11,
        "contents": 8,
        "contents_as_expected": True,
        "unreadable": 3,
        "unreadable_as_expected": True,
        "refused": 1,
        "refused_as_expected": True,
        "ungrouped": 1,
        "ungrouped_as_expected": True,
        "groups": 5,
        "groups_as_expected": True,
        "lost": 1,
        "lost_as_expected": True,
        "selected_right": 1.0,
        "selected_by_chance": pytest.approx((1 / 3 + 1 / 2 + 1 / 3 + 1 / 2) / 4),
        "with_defect": 1,
        "with_defect_right": 1.0,
        "crop_iou": pytest.approx(1.0),
        "crop_near": 1.0,
    }


def test_another_selection_than_the_best_is_wrong_and_its_crop_counts_all_the_same(world: World) -> None:
    world.select("red", 0, 1)
    found = world.results()
    assert (found["selected_right"], found["with_defect_right"], found["crop_iou"]) == (0.75, 1.0, pytest.approx(1))
    world.select("red", 1, 1)
    found = world.results()
    assert (found["selected_right"], found["with_defect_right"]) == (0.5, 0.0)


def test_crops_are_compared_with_the_figure_and_a_missing_one_fits_not_at_all(world: World) -> None:
    world.groups["red"][0]["crop"] = [0.2, 0.2, 0.4, 0.8]  # half of it; three of four coordinates
    assert (world.results()["crop_iou"], world.results()["crop_near"]) == (pytest.approx(3.5 / 4), pytest.approx(3.75 / 4))
    world.groups["red"][1]["crop"] = None
    assert (world.results()["crop_iou"], world.results()["crop_near"]) == (pytest.approx(2.5 / 4), pytest.approx(2.75 / 4))


@pytest.mark.parametrize(
    ("path", "kind"), [("../out.png", "refused"), ("lost/0.jpg", "unreadable")], ids=["a refused member", "a damaged image"]
)
def test_a_file_that_should_not_have_been_used_is_told(world: World, path: str, kind: str) -> None:
    world.image("red", path)["outcome"] = PASSED_OVER
    found = world.results()
    flags = {name: found[f"{name}_as_expected"] for name in ("refused", "unreadable")}
    assert flags == {name: name != kind for name in flags}
    assert found[kind] == {"refused": 0, "unreadable": 2}[kind]


def test_a_good_file_that_was_not_used_is_told(world: World) -> None:
    world.image("red", "a b/0.jpg")["outcome"] = ERROR
    found = world.results()
    assert (found["unreadable"], found["unreadable_as_expected"]) == (4, False)
    assert found["contents_as_expected"] is True, "its copy was read"
    world.image("blue", "1.jpg")["outcome"] = ERROR
    assert world.results()["contents_as_expected"] is False


def test_groups_of_which_no_image_could_be_read_against_expectation_do_not_end_the_summary(world: World) -> None:
    for place in range(3):
        world.image("red", f"a b/{place}.jpg")["outcome"] = ERROR
    world.groups["red"][0] |= {"selected": None, "crop": None}
    found = world.results()
    assert (found["lost"], found["lost_as_expected"], found["selected_right"]) == (2, False, 0.75)


def test_a_lost_group_that_is_not_lost_is_told(world: World) -> None:
    world.groups["red"][2] |= {"selected": 0, "crop": list(BOX)}
    found = world.results()
    assert (found["lost"], found["lost_as_expected"]) == (0, False)


def test_other_groups_than_were_drawn_are_told(world: World) -> None:
    world.image("red", "a b/0.jpg")["group_id"] = "red_group_"
    assert (world.results()["groups"], world.results()["groups_as_expected"]) == (5, False)


def test_an_image_that_is_in_no_group_against_expectation_is_told(world: World) -> None:
    world.image("red", "a b/0.jpg").update(group_id=None, place=None, outcome=UNGROUPED)
    found = world.results()
    assert (found["ungrouped"], found["ungrouped_as_expected"], found["groups_as_expected"]) == (2, False, False)


def test_images_that_are_groups_of_one_count_for_no_crop(world: World) -> None:
    world.image("red", "cover.jpg").update(group_id="single", place=0, outcome=SELECTED)
    single = {"group_id": "single", "directory": "", "images": ["cover.jpg"], "selected": 0, "crop": [0.0, 0.0, 1.0, 1.0], "repairs": []}
    world.groups["red"].append(single)
    found = world.results()
    assert (found["crop_iou"], found["ungrouped_as_expected"], found["groups_as_expected"]) == (pytest.approx(1), False, False)


def test_files_that_were_not_left_out_are_told(world: World) -> None:
    world.skipped["red"] = {".txt": 1}
    assert (world.results()["left_out"], world.results()["left_out_as_expected"]) == (1, False)


@pytest.mark.parametrize("failed", [{}, {"bad": "x", "blue": "y"}, {"blue": "y"}], ids=["none", "one more", "another"])
def test_other_failed_projects_than_were_damaged_are_told(world: World, failed: dict[str, str]) -> None:
    world.summary["failed_projects"] = failed
    assert world.results()["failed_as_expected"] is False


def test_a_drawn_project_that_failed_is_told_and_the_others_are_judged(world: World) -> None:
    world.status["blue"], world.images["blue"], world.groups["blue"] = "failed", [], []
    world.summary["failed_projects"] = {"bad": "x", "blue": "y"}
    found = world.results()
    assert (found["failed_as_expected"], found["images"], found["groups_as_expected"]) == (False, 9, True)
    assert (found["selected_right"], found["unreadable_as_expected"]) == (1.0, True)


def test_a_run_of_another_drawing_is_refused(world: World) -> None:
    world.images["blue"].append({"path": "of an older set.jpg", "outcome": UNGROUPED, "reason": ""})
    with pytest.raises(StepError, match=r"blue: .*of an older set\.jpg.* run the demo again"):
        world.results()
    del world.images["blue"][-2:]
    with pytest.raises(StepError, match=r"blue: .*\(2\.jpg .* run the demo again"):
        world.results()


@pytest.fixture
def text(world: World) -> Callable[..., str]:
    places: dict[str, str | Path] = {"page": "results/06_report/index.html", "databases": Path("results/04_database")}
    return lambda rate=61.7: predict_text(world.results(), rate, Path("demo/predict"), places)


def test_the_text_of_a_good_run(text: Callable[..., str]) -> None:
    assert text() == (
        "predict: the best of each group of drawn images, and a crop of it\n"
        "  projects          2   in demo/predict; 1 more skipped\n"
        "  failed            1   projects that cannot be read, all as meant\n"
        "  images           15   11 of them readable\n"
        "  contents          8   to be embedded, each once; the others are copies, all as meant\n"
        "  unreadable        3   damaged files, all as meant\n"
        "  refused           1   members of zips that are never read, all as meant\n"
        "  left out          2   files that are no images, all as meant\n"
        "  ungrouped         1   images in no group, all as meant\n"
        "  groups            5   of images that show the same scene, all as meant\n"
        "  lost              1   groups without a readable image, all as meant\n"
        "  selected      1.000   of the groups have their best image selected; by chance 0.417\n"
        "  defects       1.000   of the 1 whose last image has a defect\n"
        "  crops         1.000   intersection over union with the figure; 1.000 of the coordinates within 0.05\n"
        "  speed            62   images/s in the embedding step\n"
        "  look at\n"
        "    page         results/06_report/index.html\n"
        "    databases    results/04_database\n"
    )


def test_the_text_says_what_is_wrong(world: World, text: Callable[..., str]) -> None:
    world.image("red", "../out.png")["outcome"] = PASSED_OVER
    world.image("red", "a b/0.jpg")["group_id"] = "red_group_"
    world.skipped["red"] = {}
    world.summary["failed_projects"] = {}
    wrong = [line.split("  ")[1] for line in text().splitlines() if "NOT the ones that were meant" in line]
    assert wrong == ["failed", "contents", "refused", "left out", "groups"]
    assert "speed" not in text(None)


def test_the_rule_writes_the_text_and_the_note(world: World, tmp_path: Path, in_a_step: None) -> None:
    places = {name: [str(path) for path in found] if isinstance(found, list) else str(found) for name, found in world.write().items()}
    rule = SimpleNamespace(
        input=SimpleNamespace(**places),
        output=[str(tmp_path / "out/predict.txt")],
        params=SimpleNamespace(places={"page": "here"}, logs=[str(tmp_path / "none.log")]),
        log=[str(tmp_path / "log")],
    )
    runpy.run_path(predict_summary.__file__, {"snakemake": rule})
    written = (tmp_path / "out/predict.txt").read_text()
    assert written == predict_text(world.results(), None, tmp_path, {"page": "here"}) + NOTE
    assert written in (tmp_path / "log").read_text()
