"""The retrieval part of the demo's summary: every figure says what it claims, right results and wrong ones."""

import csv
import json
from collections.abc import Callable
from math import erfc, exp, pi, sqrt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.demo.retrieval_data import COLUMNS
from workflow_scripts.demo.retrieval_summary import CHI_SQUARE, position_results, retrieval_results, retrieval_text
from workflow_scripts.retrieval.records import Record, write_records

ROOT = "data"
ALIKE = {"red dots": "red mug", "red stripes": "red mug", "blue": "", "green": "", "round": "", "tall": ""}


class World:
    """A drawn set and what a run made of it, small enough to count by hand.

    `mug` has four concepts of three images, the two red ones alike; `vase` has two concepts and gives no records. One file of
    `blue` lies in `green` too, one of `red dots` is there twice, and once resaved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.truth: list[tuple[str, ...]] = []
        self.images: list[tuple[str, str | None, str]] = []
        self.records: list[Record] = []
        for concept in ("red dots", "red stripes", "blue", "green"):
            for number in range(3):
                self.file(f"mug/{concept}/{number}.jpg")
        for concept in ("round", "tall"):
            self.file(f"vase/{concept}/0.jpg")
        self.file("mug/red dots/copy.jpg", "copy", "mug/red dots/0.jpg")
        self.file("mug/red dots/small.jpg", "near copy", "mug/red dots/0.jpg")
        self.file("mug/green/misplaced.jpg", "conflict", "mug/blue/0.jpg")
        self.file("mug/green/broken.jpg", "unreadable", outcome="error")
        self.file("mug/notes.txt", "skipped", outcome="skipped")
        self.file("stray.txt", "skipped", outcome="skipped")
        self.metadata = {
            "mug": self.part("mug", 12, {"red dots": 5, "red stripes": 3, "blue": 3, "green": 4}, {"single image": 3}),
            "vase": self.part("vase", 2, {"round": 1, "tall": 1}, {"too few concepts": 2}),
        }
        self.metadata["mug"]["left_out"] = {"same bytes": 4, "near copy": 6, "duplicate_similarity": 0, "review": 0}
        paths = [f"{ROOT}/mug/blue/0.jpg", f"{ROOT}/mug/green/misplaced.jpg"]
        self.metadata["mug"]["label_conflicts"] = [{"sha256": "c" * 64, "paths": paths}]
        self.splits: dict[str, Any] = {
            "categories": {"mug": {"n_concepts": 4, "selected_count": 3}, "vase": {"n_concepts": 2, "selected_count": 0}},
            "shared_images": [{"sha256": "c" * 64, "train": paths[:1], "validation": paths[1:]}],
        }

    def file(self, path: str, kind: str = "image", group: str | None = None, outcome: str = "train") -> None:
        category, concept = (*path.split("/")[:-1], "", "")[:2]
        self.truth.append((path, category, concept, kind, group or path, ALIKE.get(concept, "")))
        self.images.append((path, f"{ROOT}/{path}" if category else None, outcome))

    @staticmethod
    def part(category: str, queries: int, images: dict[str, int], skipped: dict[str, int]) -> dict[str, Any]:
        none = {"single image": 0, "too few concepts": 0, "review": 0}
        concepts = {concept: {"images": count, "records": 0, "skipped": 0} for concept, count in images.items()}
        left_out = dict.fromkeys(("same bytes", "near copy", "duplicate_similarity", "review"), 0)
        return {"category": category, "k": 3, "queries": queries, "errors": 0, "skipped": none | skipped, "left_out": left_out,
                "label_conflicts": [], "by_concept": concepts}  # fmt: skip

    def ask(self, query: str, *references: str, label: int = 0) -> None:
        """Add a record; images are named `concept/file` below `mug`. It says that its answer is of the query's concept, true or not."""
        paths = [f"{ROOT}/mug/{path}" for path in references]
        names = [path.split("/")[0] for path in references]
        names[label] = query.split("/")[0]
        self.records.append(
            Record(
                query_path=f"{ROOT}/mug/{query}",
                ret_paths=paths,
                label=label,
                category="mug",
                concept=query.split("/")[0],
                ret_concepts=names,
                similarities=[0.5] * len(names),
            )
        )

    def results(self) -> dict[str, Any]:
        records, splits, images, truth = (self.folder / name for name in ("records.json", "splits.json", "images.parquet", "truth.csv"))
        write_records(records, self.records)
        metadata = [self.folder / f"{category}.json" for category in self.metadata]
        for path, content in zip([*metadata, splits], [*self.metadata.values(), self.splits], strict=True):
            path.write_text(json.dumps(content))
        columns = dict(zip(("path", "catalog_path", "outcome"), map(list, zip(*self.images, strict=True)), strict=True))
        pq.write_table(pa.table(columns), images)
        with truth.open("w", newline="") as handle:
            csv.writer(handle).writerows([COLUMNS, *self.truth])
        return retrieval_results(records, metadata, splits, images, truth)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def ask_well(world: World) -> None:
    """Nine good records, three a position; both of the reds meet in two of the six records that ask for a red mug."""
    for number, label in enumerate((0, 1, 2, 0, 1, 2, 0, 1, 2)):
        concept = ("red dots", "red stripes", "blue")[number % 3]
        mate = {"red dots": "red stripes", "red stripes": "red dots"}.get(concept, "red dots")
        references = ["green/1.jpg", f"{mate}/1.jpg" if number < 2 or concept == "blue" else "blue/1.jpg"]
        references.insert(label, f"{concept}/2.jpg")
        world.ask(f"{concept}/1.jpg", *references, label=label)


def test_a_good_run(world: World) -> None:
    ask_well(world)
    found = world.results()
    assert found == {
        "files": 20,
        "error": 1,
        "error_as_expected": True,
        "skipped_files": 2,
        "skipped_as_expected": True,
        "queries": 14,
        "without_vector": 0,
        "skipped": {"single image": 3, "too few concepts": 2},
        "left_out": {"near copy": 6, "same bytes": 4},
        "categories": 2,
        "concepts": 6,
        "training_concepts": 3,
        "shared": 1,
        "conflicts": 1,
        "conflicts_as_expected": True,
        "records": 9,
        "misplaced": 0,
        "copies": 0,
        "positives_right": 1.0,
        "negatives_right": 1.0,
        "look_alikes": 2,
        "look_alikes_possible": 6,
        "look_alikes_by_chance": pytest.approx(6 * 2 * 1 / 3),
        "positions": [3, 3, 3],
        "chi_square": 0.0,
        "chi_square_limit": 13.82,
        "uniform": True,
    }


def test_a_copy_or_a_near_copy_of_the_query_among_the_references_is_counted(world: World) -> None:
    world.ask("red dots/0.jpg", "red dots/copy.jpg", "blue/1.jpg", "green/1.jpg")
    world.ask("red dots/copy.jpg", "red dots/small.jpg", "blue/1.jpg", "green/1.jpg")
    world.ask("red dots/1.jpg", "red dots/small.jpg", "blue/1.jpg", "green/1.jpg")
    assert world.results()["copies"] == 2


def test_a_positive_of_another_concept_is_wrong(world: World) -> None:
    world.ask("red dots/1.jpg", "red dots/2.jpg", "blue/1.jpg", "green/1.jpg")
    world.ask("red dots/1.jpg", "red dots/2.jpg", "blue/1.jpg", "green/1.jpg", label=1)
    found = world.results()
    assert found["positives_right"] == 0.5
    assert found["negatives_right"] == 0.75, "the query's own thing among the negatives is wrong too"


def test_a_negative_of_another_category_is_wrong(world: World) -> None:
    world.ask("red dots/1.jpg", "red dots/2.jpg", "blue/1.jpg", "green/1.jpg")
    record = world.records[0]
    world.records[0] = record.model_copy(update={"ret_paths": [*record.ret_paths[:2], f"{ROOT}/vase/tall/0.jpg"]})
    assert world.results()["negatives_right"] == 0.5


@pytest.mark.parametrize(
    ("query", "references"),
    [
        ("green/misplaced.jpg", ("green/1.jpg", "red dots/1.jpg", "red stripes/1.jpg")),
        ("green/1.jpg", ("green/misplaced.jpg", "red dots/1.jpg", "red stripes/1.jpg")),
        ("blue/1.jpg", ("blue/2.jpg", "green/misplaced.jpg", "red stripes/1.jpg")),
    ],
)
def test_records_with_a_misplaced_file_are_counted_apart(world: World, query: str, references: tuple[str, ...]) -> None:
    ask_well(world)
    world.ask(query, *references)
    found = world.results()
    assert (found["misplaced"], found["records"]) == (1, 10)
    assert found["positives_right"] == found["negatives_right"] == 1.0


def test_concepts_without_an_image_in_the_run_are_neither_look_alikes_nor_chance(world: World) -> None:
    world.ask("red dots/1.jpg", "red dots/2.jpg", "blue/1.jpg", "green/1.jpg")
    assert world.results()["look_alikes_by_chance"] == pytest.approx(2 / 3)
    world.metadata["mug"]["by_concept"]["blue"]["images"] = 0
    assert world.results()["look_alikes_by_chance"] == pytest.approx(1)
    world.metadata["mug"]["by_concept"]["red stripes"]["images"] = 0
    found = world.results()
    assert (found["look_alikes_by_chance"], found["look_alikes_possible"]) == (0, 0)


@pytest.mark.parametrize(("path", "outcome", "key"), [("mug/blue/1.jpg", "error", "error"), ("mug/blue/1.jpg", "skipped", "skipped")])
def test_a_good_file_that_was_not_used_is_told(world: World, path: str, outcome: str, key: str) -> None:
    world.images = [(name, full, outcome if name == path else was) for name, full, was in world.images]
    assert world.results()[f"{key}_as_expected"] is False


def test_a_broken_file_that_was_used_is_told(world: World) -> None:
    world.images = [(name, full, "train" if was == "error" else was) for name, full, was in world.images]
    found = world.results()
    assert (found["error"], found["error_as_expected"], found["skipped_as_expected"]) == (0, False, True)


def test_a_conflict_between_pictures_that_differ_or_that_nobody_misplaced_is_told(world: World) -> None:
    named = world.metadata["mug"]["label_conflicts"]
    for paths in (["mug/blue/1.jpg", "mug/green/misplaced.jpg"], ["mug/red dots/0.jpg", "mug/red dots/copy.jpg"]):
        world.metadata["mug"]["label_conflicts"] = [*named, {"sha256": "d" * 64, "paths": [f"{ROOT}/{path}" for path in paths]}]
        found = world.results()
        assert (found["conflicts"], found["conflicts_as_expected"]) == (2, False)


def test_a_conflict_that_several_categories_name_is_one(world: World) -> None:
    world.metadata["vase"]["label_conflicts"] = world.metadata["mug"]["label_conflicts"]
    assert world.results()["conflicts"] == 1


def test_a_run_of_another_drawing_is_refused(world: World) -> None:
    world.images.append(("mug/blue/of an older set.jpg", f"{ROOT}/x", "train"))
    with pytest.raises(StepError, match=r"images\.parquet: .*of an older set\.jpg.* run the demo again"):
        world.results()


def survival(x: float, degrees: int) -> float:
    """The chance that a chi-square variable exceeds x: its closed forms for even and odd degrees of freedom."""
    total, term = (0.0, 1.0) if degrees % 2 == 0 else (erfc(sqrt(x / 2)) * exp(x / 2), sqrt(2 * x / pi))
    for number in range(2 if degrees % 2 == 0 else 3, degrees + 1, 2):
        total += term
        term *= x / number
    return total * exp(-x / 2)


def test_the_critical_values_are_those_of_a_tenth_of_a_percent() -> None:
    assert list(CHI_SQUARE) == list(range(1, 10))
    for degrees, value in CHI_SQUARE.items():
        assert survival(value, degrees) == pytest.approx(0.001, rel=0.005)


def test_positions_are_judged_by_chi_square() -> None:
    even = position_results([0, 1, 2] * 40, 3)
    assert (even["positions"], even["chi_square"], even["uniform"]) == ([40, 40, 40], 0.0, True)
    # (60 - 40)² / 40 + (40 - 40)² / 40 + (20 - 40)² / 40
    uneven = position_results([0] * 60 + [1] * 40 + [2] * 20, 3)
    assert (uneven["chi_square"], uneven["uniform"]) == (20.0, False)
    within = position_results([0] * 50 + [1] * 40 + [2] * 30, 3)
    assert (within["chi_square"], within["uniform"]) == (5.0, True)
    never = position_results([0] * 20, 2)
    assert (never["positions"], never["chi_square"], never["uniform"]) == ([20, 0], 20.0, False)


def test_more_positions_than_the_table_are_not_judged() -> None:
    found = position_results(range(11), 11)
    assert (found["chi_square_limit"], found["uniform"]) == (None, None)


@pytest.fixture
def text(world: World) -> Callable[[], str]:
    places = {"page": "results/07_report/index.html", "catalog": Path("results/catalog.json")}
    return lambda: retrieval_text(world.results(), "demo/images", places)


def test_the_text_of_a_good_run(world: World, text: Callable[[], str]) -> None:
    ask_well(world)
    assert text() == (
        "retrieval: hard comparisons made of drawn concept folders\n"
        "  files            20   in demo/images\n"
        "  skipped           2   no image of a concept, all as meant\n"
        "  errors            1   unreadable, all as meant\n"
        "  concepts          6   in 2 categories; 3 for training\n"
        "  both sides        1   images that training and validation share\n"
        "  queries          14   images to ask about, 0 of them without a vector\n"
        "  no record         5   3 single image, 2 too few concepts\n"
        "  records           9\n"
        "  positives     1.000   of them show the query's thing\n"
        "  negatives     1.000   of them show another thing of the category\n"
        "  misplaced         0   records with a file that lies in a wrong folder, left out of the two lines above\n"
        "  look-alikes   0.333   of the negatives that could be of a look-alike concept are; by chance 0.667\n"
        "  conflicts         1   images reported for lying in two concepts, all as meant\n"
        "  copies            0   references that show their query's picture; pairs left out: 6 near copy, 4 same bytes\n"
        "  answers       0.000   chi-square of [3, 3, 3] over the positions, the 0.1 % point is 13.82: uniform\n"
        "  look at\n"
        "    page         results/07_report/index.html\n"
        "    catalog      results/catalog.json\n"
    )


def test_the_text_says_what_is_wrong(world: World, text: Callable[[], str]) -> None:
    for _ in range(60):
        world.ask("red dots/1.jpg", "red dots/2.jpg", "blue/1.jpg", "green/1.jpg")
    world.metadata["mug"]["label_conflicts"][0]["paths"][1] = f"{ROOT}/mug/green/1.jpg"
    world.images = [(name, full, "skipped" if was == "error" else was) for name, full, was in world.images]
    found = text()
    assert found.count("NOT the ones that were meant") == 3
    assert "answers      120.000   chi-square of [60, 0, 0] over the positions, the 0.1 % point is 13.82: NOT uniform" in found


def test_the_text_of_a_run_without_records(text: Callable[[], str]) -> None:
    assert "records           0\n" in text()
    assert "[0, 0, 0]" in text()
