"""The autotag part of the demo's summary: every figure says what it claims, right results and wrong ones."""

import csv
import json
import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from workflow_scripts.autotag.blocks import IMAGES_TABLE, Block, Shard, file_entry
from workflow_scripts.autotag.tables import CANDIDATES, IMAGES, TARGET_IMAGES
from workflow_scripts.core.json_files import write_json
from workflow_scripts.core.step import StepError
from workflow_scripts.core.tables import write
from workflow_scripts.demo import NOTE, autotag_summary
from workflow_scripts.demo.autotag_data import COLUMNS
from workflow_scripts.demo.autotag_results import autotag_results
from workflow_scripts.demo.autotag_summary import autotag_text

Row = dict[str, Any]


class World:
    """Drawn data and what a run made of it, small enough to count by hand.

    Two shards: in the first `a` and `b` are tagged, `c` is not, `bad` is damaged and there are two of `a`; of the second `lost` is absent.
    Two folders: `day` with `one`, `two` and a copy of `00000/a`, and `night` with `three` twice and a damaged `cut`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.source = [
            ("00000", "a", "image", ["car", "red car", "person"]),
            ("00000", "b", "image", ["car", "person"]),
            ("00000", "c", "untagged", ["person", "unicorn"]),
            ("00000", "bad", "error", ["dragon"]),
            ("00000", "a", "error", ["dragon"]),
            ("00001", "d", "image", ["person", "tree"]),
            ("00001", "lost", "absent", ["dragon"]),
        ]
        self.samples = [
            ("00000", "a", "embedded", ["Car"]),
            ("00000", "b", "embedded", ["car"]),
            ("00000", "c", "embedded", []),
            ("00000", "bad", "error", []),
            ("00000", "a.jpg@5632", "error", []),
            ("00001", "d", "embedded", ["tree"]),
            ("00001", "lost", "absent", ["x"]),
        ]
        self.targets = [
            ("day", "one.jpg", "image", "", ["car", "person", "dragon"]),
            ("day", "two.jpg", "image", "", ["tree"]),
            ("day", "copy.jpg", "copy from the source", "00000/a", ["car", "red car", "person"]),
            ("night", "three.jpg", "image", "", ["person"]),
            ("night", "cut.jpg", "error", "", ["car"]),
            ("night", "again.jpg", "copy", "three.jpg", ["person"]),
            ("night", "notes.txt", "skipped", "", []),
        ]
        self.outcomes = {name: "segmented" for _, name, *_ in self.targets} | {"cut.jpg": "error"}
        del self.outcomes["notes.txt"]
        # folder, image, tag, outcome, neighbours
        self.votes = [
            ("day", "one.jpg", "car", "kept", ["00000/a", "00000/b"]),
            ("day", "one.jpg", "tree", "kept", ["00001/d"]),
            ("day", "copy.jpg", "car", "kept", ["00000/b"]),
            ("day", "copy.jpg", "person", "kept", ["00000/b"]),
            ("day", "copy.jpg", "red car", "rejected", ["00001/d"]),
            ("night", "three.jpg", "person", "kept", ["00001/d"]),
        ]

    @property
    def paths(self) -> dict[str, tuple[Path, Path, Path]]:
        place = self.root / "results/targets"
        return {
            folder: (place / folder / "segmentation/images.parquet", place / folder / "candidates.parquet", place / folder / "tags.parquet")
            for folder in ("day", "night")
        }

    @property
    def blocks(self) -> list[Path]:
        return [self.root / f"results/01_source/blocks/block_{number:04d}.json" for number in range(2)]

    @property
    def index(self) -> tuple[Path, Path]:
        return self.root / "recall.json", self.root / "index_metadata.json"

    def write(self) -> None:
        with (self.root / "truth.csv").open("w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow(COLUMNS)
            writer.writerows(["source", *row[:3], "", json.dumps(row[3])] for row in self.source)
            writer.writerows(["target", *row[:4], json.dumps(row[4])] for row in self.targets)
        for number, path in enumerate(self.blocks):
            self._block(path, f"{number:05d}")
        for folder, (images, candidates, tags) in self.paths.items():
            names = [name for place, name, *_ in self.targets if place == folder and name in self.outcomes]
            rows = [
                {"image": name, "crops": None if self.outcomes[name] == "error" else 2, "outcome": self.outcomes[name]} for name in names
            ]
            write(images, TARGET_IMAGES, rows)
            found = [dict(zip(("image", "tag", "outcome", "neighbours"), row[1:], strict=True)) for row in self.votes if row[0] == folder]
            write(candidates, CANDIDATES, found)
            write(tags, CANDIDATES, [row for row in found if row["outcome"] == "kept"])
        write_json(self.index[0], {"recall": 0.975})
        write_json(self.index[1], {"factory": "Flat"})

    def _block(self, path: Path, shard: str) -> None:
        folder = path.parents[1]
        table = folder / f"embeddings/images_{shard}.parquet"
        rows = [dict(zip(("shard", "key", "outcome", "tags"), row, strict=True)) for row in self.samples if row[0] == shard]
        write(table, IMAGES, rows)
        made = Shard(shard, 10 * len(rows), {}, 0, {IMAGES_TABLE: file_entry(folder, IMAGES_TABLE, shard)})
        Block(path.stem[-4:], {}, {}, (made,)).write(path)

    def results(self) -> dict[str, Any]:
        self.write()
        return autotag_results(self.blocks, self.index, self.paths, self.root / "truth.csv")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_right_results_are_counted_and_as_meant(world: World) -> None:
    assert world.results() == {
        "shards": 2,
        "embedded": 4,
        "embedded_as_expected": True,
        "error": 2,
        "error_as_expected": True,
        "absent": 1,
        "absent_as_expected": True,
        "untagged": 1,
        "untagged_as_expected": True,
        "segments": 70,
        "folders": 2,
        "targets": 6,
        "target_errors": 1,
        "target_errors_as_expected": True,
        "crops": 10,
        "tags": 5,
        "precision": 4 / 5,  # tree is not true of one.jpg
        "recall": 4 / 8,  # dragon occurs in no tagged image of the source
        "frequent": 1,
        "frequent_precision": 4 / 5,
        "frequent_recall": 4 / 8,
        "copies": 1,
        "copies_as_expected": True,
        "index": "Flat",
        "recall_at_10": 0.975,
    }


Change = Callable[[World], Any]
WRONG: dict[str, tuple[Change, tuple[str, ...]]] = {
    "an image more is an error": (lambda world: _set(world.samples, 1, ("00000", "b", "error", [])), ("embedded", "error")),
    "a damaged image is embedded": (lambda world: _set(world.samples, 3, ("00000", "bad", "embedded", ["x"])), ("embedded", "error")),
    "a lost one is not missed": (lambda world: world.samples.pop(), ("absent",)),
    "one of two of a key is not told": (lambda world: world.samples.pop(4), ("error",)),
    "three of a key": (lambda world: world.samples.append(("00000", "a.jpg@9728", "error", [])), ("error",)),
    "another error": (lambda world: world.samples.append(("00001", "00001.tar@0-512", "error", [])), ("error",)),
    "a tagged one came untagged": (lambda world: _set(world.samples, 1, ("00000", "b", "embedded", [])), ("untagged",)),
    "a good target is an error": (lambda world: world.outcomes.update({"two.jpg": "error"}), ("target_errors",)),
    "a damaged target is none": (lambda world: world.outcomes.update({"cut.jpg": "segmented"}), ("target_errors",)),
    "a copy votes for itself": (lambda world: world.votes[4][4].append("00000/a"), ("copies",)),
    "a copy has no votes": (lambda world: world.votes.__delitem__(slice(2, 5)), ("copies",)),
}


def _set(rows: list[Any], number: int, row: Any) -> None:
    rows[number] = row


@pytest.mark.parametrize(("change", "names"), WRONG.values(), ids=WRONG)
def test_wrong_results_are_not_as_meant(world: World, change: Change, names: tuple[str, ...]) -> None:
    change(world)
    found = world.results()
    wrong = {name.removesuffix("_as_expected") for name, value in found.items() if value is False}
    assert wrong == set(names)
    text = autotag_text(found, None, "data", {})
    assert text.count("NOT as meant") == len(names)


def test_no_tags_at_all_are_no_division_by_zero(world: World) -> None:
    world.votes = []
    found = world.results()
    assert (found["tags"], found["precision"], found["recall"], found["frequent_precision"]) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    "change", [lambda world: world.samples.append(("00001", "stranger", "embedded", [])), lambda world: world.outcomes.pop("two.jpg")]
)
def test_results_of_other_data_are_refused(world: World, change: Change) -> None:
    change(world)
    with pytest.raises(StepError, match="as drawn last; run the demo again"):
        world.results()


def test_the_text_says_what_was_found_and_where_to_look(world: World) -> None:
    text = autotag_text(world.results(), 12.34, "demo_data/autotag/source", {"page": "results/page.html"})
    lines = {line.split("  ")[1].strip() or line.split("  ")[2].strip(): line for line in text.splitlines()[1:]}
    assert text.startswith("autotag: ")
    assert "NOT" not in text
    assert lines["shards"].split() == ["shards", "2", "in", "demo_data/autotag/source"]
    assert lines["precision"].split()[:2] == ["precision", "0.800"]
    assert lines["precision"].endswith("the 1 most frequent tags for every image: 0.800")
    assert lines["recall"].split()[:2] == ["recall", "0.500"]
    assert lines["recall@10"].split()[1] == "0.975"
    assert lines["segments"].endswith("(Flat)")
    assert lines["speed"].split()[1] == "12.3"
    assert lines["page"].split() == ["page", "results/page.html"]
    assert "speed" not in autotag_text(world.results(), None, "", {})


def test_the_rule_writes_the_text(world: World, in_a_step: None) -> None:
    world.write()
    log = world.root / "source.log"
    log.write_text("2026 8 images in 2.0 s, 4.0/s\n")
    files = {name: [str(paths[number]) for paths in world.paths.values()] for number, name in enumerate(("images", "candidates", "tags"))}
    rule = SimpleNamespace(
        input=SimpleNamespace(
            truth=str(world.root / "truth.csv"),
            blocks=[str(path) for path in world.blocks],
            recall=str(world.index[0]),
            index=str(world.index[1]),
            **files,
        ),
        params=SimpleNamespace(logs=[str(log)], places={"page": "page.html"}, source="the source", targets=list(world.paths)),
        output=[str(world.root / "autotag.txt")],
        log=[str(world.root / "log")],
    )
    runpy.run_path(autotag_summary.__file__, {"snakemake": rule})
    text = (world.root / "autotag.txt").read_text()
    assert text.endswith(f"page.html\n{NOTE}")
    assert "  shards            2   in the source\n" in text
    assert "  4.0   images/s" in text
