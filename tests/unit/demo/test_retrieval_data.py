"""The drawn concept folders are what their truth table says."""

import csv
import hashlib
import runpy
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from workflow_scripts.core.images import IMAGE_EXTENSIONS, DecodeError, decode, extension
from workflow_scripts.core.inspect import perceptual_hash
from workflow_scripts.demo import retrieval_data
from workflow_scripts.demo.retrieval_data import CATEGORIES, concepts, draw, drawn, look_alike, names, picture, thing

Rows = dict[str, dict[str, str]]
NEAR = 4  # perceptual-hash distance up to which pictures count as copies


def read(truth: Path) -> Rows:
    with truth.open(encoding="utf-8", newline="") as handle:
        return {row["path"]: row for row in csv.DictReader(handle)}


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set, as the demo draws it otherwise."""
    folder = tmp_path_factory.mktemp("retrieval")
    draw(folder / "images", folder / "truth.csv", 4, 7)
    return folder


@pytest.fixture(scope="module")
def truth(root: Path) -> Rows:
    return read(root / "truth.csv")


@pytest.fixture(scope="module")
def hashes(root: Path, truth: Rows) -> dict[str, int]:
    """Perceptual hash of every readable image in a concept's folder."""
    usable = [path for path, row in truth.items() if row["kind"] not in ("unreadable", "skipped")]
    return {path: perceptual_hash(decode((root / "images" / path).read_bytes()).image) for path in usable}


def of_kind(truth: Rows, kind: str) -> list[dict[str, str]]:
    found = [row for row in truth.values() if row["kind"] == kind]
    assert found, f"the set has no {kind}"
    return found


def place(row: dict[str, str]) -> tuple[str, str]:
    return row["category"], row["concept"]


def test_the_truth_names_every_file_and_its_folders(root: Path, truth: Rows) -> None:
    assert contents(root / "images").keys() == truth.keys()
    assert {row["kind"] for row in truth.values()} == {"image", "copy", "near copy", "conflict", "unreadable", "skipped"}
    for path, row in truth.items():
        assert [*path.split("/")[:-1], "", ""][:2] == [row["category"], row["concept"]]
        assert row["group"] in truth


def test_categories_of_several_concepts_one_of_two_and_a_concept_of_one_image(truth: Rows) -> None:
    images: dict[tuple[str, str], int] = defaultdict(int)
    for row in truth.values():
        if row["kind"] not in ("unreadable", "skipped"):
            images[place(row)] += 1
    counts = [sum(category == name for category, _ in images) for name in CATEGORIES]
    assert len(counts) >= 5
    assert sorted(counts)[0] == 2 < sorted(counts)[1]
    assert max(counts) >= 6
    assert [count for count in images.values() if count == 1] == [1]
    assert any(" " in name and '"' in name and not name.isascii() for name in CATEGORIES)
    assert any("," in concept for _, concept in images)


def test_names_that_need_care(truth: Rows) -> None:
    usable = [row["path"].rsplit("/", 1)[1] for row in of_kind(truth, "image")]
    together = "".join(usable)
    assert all(sign in together for sign in (",", '"', "'", " ", "%", "{wildcard}", "#", "→", "写真", "🙂"))
    assert {"jpg", "JPG"} <= {name.rsplit(".", 1)[1] for name in usable}


def test_copies_have_the_same_bytes_in_the_same_concept(root: Path, truth: Rows) -> None:
    digests = contents(root / "images")
    for row in of_kind(truth, "copy"):
        assert digests[row["path"]] == digests[row["group"]]
        assert row["path"] != row["group"]
        assert place(row) == place(truth[row["group"]])


def test_a_label_conflict_is_the_same_bytes_in_another_concept_of_the_category(root: Path, truth: Rows) -> None:
    digests = contents(root / "images")
    for row in of_kind(truth, "conflict"):
        assert digests[row["path"]] == digests[row["group"]]
        assert row["concept"] != truth[row["group"]]["concept"]
        assert row["category"] == truth[row["group"]]["category"]


def test_near_copies_have_other_bytes_and_nearly_the_same_pixels(root: Path, truth: Rows, hashes: dict[str, int]) -> None:
    digests = contents(root / "images")
    for row in of_kind(truth, "near copy"):
        assert digests[row["path"]] != digests[row["group"]]
        assert (hashes[row["path"]] ^ hashes[row["group"]]).bit_count() <= NEAR
        assert place(row) == place(truth[row["group"]])


def test_other_pictures_are_no_near_copies(truth: Rows, hashes: dict[str, int]) -> None:
    firsts = sorted({truth[path]["group"] for path in hashes})
    close = [(a, b) for a in firsts for b in firsts if a < b and (hashes[a] ^ hashes[b]).bit_count() <= NEAR]
    assert not close
    assert all(truth[path]["group"] == path for path in truth if truth[path]["kind"] in ("image", "unreadable", "skipped"))


def test_unreadable_files_break_and_skipped_ones_are_no_images_of_a_concept(root: Path, truth: Rows) -> None:
    for row in of_kind(truth, "unreadable"):
        assert extension(row["path"]) in IMAGE_EXTENSIONS
        with pytest.raises(DecodeError):
            decode((root / "images" / row["path"]).read_bytes())
    skipped = of_kind(truth, "skipped")
    assert all(not row["concept"] or extension(row["path"]) not in IMAGE_EXTENSIONS for row in skipped)
    assert {bool(row["concept"]) for row in skipped} == {True, False}
    assert {bool(row["category"]) for row in skipped} == {True, False}


def test_look_alikes_share_kind_and_colour_and_differ_in_pattern_or_build() -> None:
    groups = defaultdict(list)
    for name in concepts():
        category, concept = name.split("/")
        spec = thing(name, 7)
        assert (spec.kind, spec.colour) == (CATEGORIES[category][0], concept.split()[0])
        alike = look_alike(category, concept)
        groups[(category, alike) if alike else (category, spec.colour, "alone")].append(spec)
    assert all((len(specs) == 1) == ("alone" in group) for group, specs in groups.items())
    pairs = [specs for group, specs in groups.items() if "alone" not in group]
    assert len(pairs) >= 6
    assert all(len({(spec.pattern, round(spec.build)) for spec in specs}) == len(specs) for specs in pairs)
    assert [{spec.build for spec in specs} for specs in pairs if len({spec.pattern for spec in specs}) == 1] == [{1.0, -1.0}]


def test_a_concept_is_one_thing_in_many_scenes_of_nothing_else() -> None:
    name = "mug/red dots"
    assert asdict(thing(name, 7)) == asdict(thing(name, 7)) != asdict(thing(name, 8))
    scenes = [picture(name, file, 7) for file in names(name, 8, 7)]
    assert len({scene.tobytes() for scene in scenes}) == len(scenes)
    assert {scene.size for scene in scenes} >= {(320, 240), (240, 320)}


def test_a_scene_holds_the_thing_and_neither_people_nor_distractors(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = []
    real = retrieval_data.draw_scene
    monkeypatch.setattr(retrieval_data, "draw_scene", lambda *args, **options: scenes.append(real(*args, **options)) or scenes[-1])
    for name in concepts():
        for file in names(name, 4, 3):
            picture(name, file, 3)
        assert {shown.spec for drawing in scenes for shown in drawing.things} == {thing(name, 3)}
        assert all(len(drawing.things) == 1 and not drawing.people and not drawing.distractors for drawing in scenes)
        for drawing in scenes:
            x1, y1, x2, y2 = drawing.things[0].box
            assert max((x2 - x1) / drawing.image.width, (y2 - y1) / drawing.image.height) > 0.4, "large enough to be told from others"
        scenes.clear()


def test_about_as_many_images_a_concept_as_asked_for() -> None:
    counts = [len(names(name, 10, 7)) for name in concepts() if name != retrieval_data.SINGLE]
    assert {8, 12} <= set(counts) <= set(range(8, 13))
    assert 230 <= sum(counts) <= 270


def test_a_concept_holds_files_of_several_formats() -> None:
    suffixes = {name.rsplit(".", 1)[1]: name for name in names("mug/red dots", 10, 7)}
    for suffix, start in (("jpg", b"\xff\xd8"), ("png", b"\x89PNG"), ("webp", b"RIFF")):
        assert drawn("mug/red dots", suffixes[suffix], 7).data.startswith(start)


def test_the_same_seed_gives_the_same_bytes_whatever_was_there(root: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/stale.jpg").write_bytes(b"old")
    assert draw(tmp_path / "images", tmp_path / "truth.csv", 4, 7) == len(read(root / "truth.csv"))
    assert contents(tmp_path / "images") == contents(root / "images")
    assert (tmp_path / "truth.csv").read_bytes() == (root / "truth.csv").read_bytes()


def test_more_images_leave_the_others_as_they_are(root: Path, tmp_path: Path, in_a_step: None) -> None:
    rule = SimpleNamespace(
        output=SimpleNamespace(truth=str(tmp_path / "truth.csv")), params=SimpleNamespace(images=5, seed=7), log=[str(tmp_path / "log")]
    )
    runpy.run_path(retrieval_data.__file__, {"snakemake": rule})
    fewer, more = contents(root / "images"), contents(tmp_path / "images")
    assert len(more) == len(fewer) + len(concepts()) - 1
    assert {path: more[path] for path in fewer} == fewer
    assert f"drawn={len(more)}" in (tmp_path / "log").read_text()


def test_another_seed_draws_other_scenes(root: Path, tmp_path: Path) -> None:
    draw(tmp_path / "images", tmp_path / "truth.csv", 4, 8)
    first, other = contents(root / "images"), contents(tmp_path / "images")
    same = {path for path in first.keys() & other.keys() if first[path] == other[path]}
    assert same == {"mug/green check/notes.txt", "car/white band/empty.JPEG"}
