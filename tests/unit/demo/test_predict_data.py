"""The drawn projects are what their truth table says."""

import csv
import hashlib
import runpy
import zipfile
from collections import Counter, defaultdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from workflow_scripts.core.images import DecodeError, decode
from workflow_scripts.core.storage import FolderStorage, StoreError, ZipStorage
from workflow_scripts.demo import predict_data
from workflow_scripts.demo.predict_data import draw
from workflow_scripts.demo.predict_groups.members import ordinary_group
from workflow_scripts.demo.predict_groups.pictures import DEFECTS
from workflow_scripts.predict.groups import Rule, group_images
from workflow_scripts.predict.inventory import list_source
from workflow_scripts.predict.projects import Project, read_projects

GROUPS = 13  # enough for every format and all defects
Row = dict[str, str]


def read(truth: Path) -> list[Row]:
    with truth.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def bytes_below(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set, as the demo draws it otherwise."""
    folder = tmp_path_factory.mktemp("predict")
    draw(folder / "truth.csv", GROUPS, 7)
    return folder


@pytest.fixture(scope="module")
def truth(root: Path) -> list[Row]:
    return read(root / "truth.csv")


@pytest.fixture(scope="module")
def projects(root: Path) -> dict[str, Project]:
    return {project.project_id: project for project in read_projects(root / "projects.tsv")}


@pytest.fixture(scope="module")
def sources(root: Path) -> dict[str, ZipStorage | FolderStorage]:
    return {"spring": ZipStorage(root / "spring.zip"), "autumn": ZipStorage(root / "autumn.zip"), "studio": FolderStorage(root / "studio")}


@pytest.fixture(scope="module")
def contents(sources: dict[str, ZipStorage | FolderStorage]) -> dict[tuple[str, str], bytes]:
    """The bytes of every file that may be read, by project and path."""
    return {(name, item.key): source.read(item) for name, source in sources.items() for item in source.list()}


def of_kind(truth: list[Row], *kinds: str) -> dict[tuple[str, str], Row]:
    found = {(row["project"], row["path"]): row for row in truth if row["kind"] in kinds}
    assert {row["kind"] for row in found.values()} == set(kinds)
    return found


def groups_of(truth: list[Row]) -> dict[tuple[str, str], list[Row]]:
    found = defaultdict(list)
    for row in truth:
        if row["group"]:
            found[row["project"], row["group"]].append(row)
    return found


def test_the_truth_names_every_file_of_the_three_projects(root: Path, truth: list[Row]) -> None:
    listed = {name: zipfile.ZipFile(root / f"{name}.zip").namelist() for name in ("spring", "autumn")}
    listed["studio"] = list(bytes_below(root / "studio"))
    paths = {name: sorted(row["path"] for row in truth if row["project"] == name) for name in listed}
    assert paths == {name: sorted(found) for name, found in listed.items()}
    assert {row["kind"] for row in truth} == {"image", "copy", "unreadable", "ungrouped", "skipped", "refused"}
    assert {row["project"] for row in truth} == set(listed)


def test_the_table_of_projects_is_read_as_the_pipeline_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw(Path("demo data/predict/truth.csv"), 1, 7)
    plain = [Project(name, f"demo data/predict/{name}.zip", "", skip=False) for name in ("spring", "autumn", "broken")]
    studio = Project("studio", "demo data/predict/studio", r"^(?P<group>\d{8}_\d{6})_", skip=False)
    winter = Project("winter", "demo data/predict/winter.zip", "", skip=True)
    assert read_projects(Path("demo data/predict/projects.tsv")) == [*plain[:2], studio, plain[2], winter]
    assert all(Path(project.path).exists() is not project.skip for project in [*plain, studio, winter])


def test_refused_and_skipped_files_are_those_of_the_inventory(truth: list[Row], sources: dict[str, ZipStorage | FolderStorage]) -> None:
    skipped, refused = Counter(row["project"] for row in of_kind(truth, "skipped").values()), of_kind(truth, "refused")
    for name, source in sources.items():
        found = list_source(source)
        assert found.skipped.total() == skipped[name] == 3
        assert {"__MACOSX", ".DS_Store", ".txt"} == set(found.skipped)
        assert {row["path"] for row in found.rows} == {row["path"] for row in truth if row["project"] == name and row["kind"] != "skipped"}
        assert {(name, row["path"]) for row in found.rows if row["error"]} == {key for key in refused if key[0] == name}
    reasons = {name: [reason for _, reason in source.refused] for name, source in sources.items() if isinstance(source, ZipStorage)}
    wanted = ["path traversal: .. in the name", "a link", "declares to expand more than 100 times"]
    assert reasons == {"spring": wanted, "autumn": wanted}


def test_an_archive_with_a_damaged_list_fails_as_a_whole(root: Path) -> None:
    with pytest.raises(StoreError, match="its list of members is damaged"):
        ZipStorage(root / "broken.zip")


def test_images_are_grouped_by_their_names_as_they_were_drawn(truth: list[Row], projects: dict[str, Project]) -> None:
    drawn = groups_of(truth)
    for name in ("spring", "autumn", "studio"):
        rows = [row for row in truth if row["project"] == name and row["kind"] not in ("skipped", "refused")]
        found = group_images(name, [row["path"] for row in rows], Rule(pattern=projects[name].pattern))
        wanted = sorted(tuple(row["path"] for row in members) for (project, _), members in drawn.items() if project == name)
        assert sorted(group.paths for group in found.groups) == wanted
        assert [path for path, _ in found.ungrouped] == sorted(row["path"] for row in rows if row["kind"] == "ungrouped")
        assert len(wanted) == GROUPS + (2 if name == "studio" else 3)
        assert sum(group.timestamp is None for group in found.groups) == (name != "studio")
        close = group_images(name, [row["path"] for row in rows], Rule(max_gap_minutes=5))
        assert len(close.groups) == len(wanted) - (name != "studio"), "by time too, but for the undated group"


def test_groups_hold_two_to_four_rising_stages_from_the_first_on(truth: list[Row]) -> None:
    stages = {tuple(float(row["stage"]) for row in members) for members in groups_of(truth).values()}
    assert stages == {(1, 2), (1, 1.5, 2), (1, 2, 3), (1, 1.5, 2, 3)}
    for members in groups_of(truth).values():
        assert len({tuple(row[name] for name in ("x1", "y1", "x2", "y2")) for row in members}) == 1


def test_the_best_is_the_last_readable_image_without_a_defect(truth: list[Row]) -> None:
    defects, lost = Counter(), 0
    for members in groups_of(truth).values():
        good = [row for row in members if row["kind"] != "unreadable" and not row["defect"]]
        assert [row for row in members if row["best"] == "1"] == good[-1:]
        assert not any(row["defect"] for row in members[:-1])
        defects[members[-1]["defect"]] += 1
        lost += not good
    assert lost == 3
    assert set(defects) == {"", *DEFECTS[:2]}
    assert all(row["best"] == "0" for row in truth if not row["group"])


def test_every_fifth_group_has_a_defect_and_each_kind_comes() -> None:
    numbers = {number: ordinary_group("spring", number, 7)[-1].defect for number in (3, 4, 5, 9, 14, 19)}
    assert numbers == {3: "", 4: "patch", 5: "", 9: "tear", 14: "cast", 19: "patch"}


def test_copies_have_the_bytes_of_the_other_project_and_everything_else_is_there_once(
    truth: list[Row], contents: dict[tuple[str, str], bytes]
) -> None:
    digests = {key: hashlib.sha256(contents[key]).hexdigest() for key in of_kind(truth, "image", "copy", "ungrouped")}
    copies = of_kind(truth, "copy")
    assert {project for project, _ in copies} == {"autumn"}
    assert len({row["group"] for row in copies.values()}) == 2
    originals = {digests[key] for key, row in of_kind(truth, "image").items() if row["project"] == "spring"}
    assert {digests[key] for key in copies} < originals
    assert len(set(digests.values())) == len(digests) - len(copies)


def test_unreadable_files_break_in_several_ways_and_all_others_decode(truth: list[Row], contents: dict[tuple[str, str], bytes]) -> None:
    errors = set()
    for key, row in of_kind(truth, "unreadable").items():
        with pytest.raises(DecodeError) as caught:
            decode(contents[key])
        errors.add(str(caught.value))
        assert row["group"]
    assert {"decode: truncated", "decode: empty file", "decode: not an image"} <= errors
    partly = [members for members in groups_of(truth).values() if 0 < sum(row["kind"] == "unreadable" for row in members) < len(members)]
    assert [members[0]["kind"] for members in partly] == ["unreadable"] * 3
    for key in of_kind(truth, "image", "copy", "ungrouped"):
        decode(contents[key])


def test_boxes_are_of_the_upright_image_within_the_middle_square(truth: list[Row], contents: dict[tuple[str, str], bytes]) -> None:
    sideways = 0
    for key in of_kind(truth, "image", "copy"):
        row = of_kind(truth, "image", "copy")[key]
        found = decode(contents[key])
        pixels = [float(row[name]) * (found.width, found.height)[number % 2] for number, name in enumerate(("x1", "y1", "x2", "y2"))]
        assert all(value == pytest.approx(round(value), abs=0.05) for value in pixels), "whole pixels of this size"
        margins = [(side - min(found.width, found.height)) / 2 for side in (found.width, found.height)]
        assert margins[0] <= round(pixels[0]) < round(pixels[2]) <= found.width - margins[0]
        assert margins[1] <= round(pixels[1]) < round(pixels[3]) <= found.height - margins[1]
        assert min(float(row["x2"]) - float(row["x1"]), float(row["y2"]) - float(row["y1"])) > 0.1
        sideways += b"Exif" in contents[key][:40]
    assert sideways >= 6, "some are stored turned"


def test_files_of_several_formats_and_names_that_need_care(truth: list[Row], contents: dict[tuple[str, str], bytes]) -> None:
    images = of_kind(truth, "image")
    starts = {path.rsplit(".", 1)[1]: contents[project, path][:4] for project, path in images}
    assert starts == {"jpg": b"\xff\xd8\xff\xe0", "JPEG": b"\xff\xd8\xff\xe0", "png": b"\x89PNG", "webp": b"RIFF"}
    together = "".join(path for _, path in images)
    assert all(sign in together for sign in ("'", '"', "&", "<b>", " ", "#", "%", "{wildcard}", "写真", "🙂", "\n"))
    assert any(path.startswith("-") for _, path in images)


def test_the_same_seed_gives_the_same_bytes_whatever_was_there(root: Path, tmp_path: Path, in_a_step: None) -> None:
    (tmp_path / "studio").mkdir()
    (tmp_path / "studio/stale.jpg").write_bytes(b"old")
    (tmp_path / "spring.zip").write_bytes(b"old")
    rule = SimpleNamespace(
        output=SimpleNamespace(truth=str(tmp_path / "truth.csv")),
        params=SimpleNamespace(groups=GROUPS, seed=7),
        log=[str(tmp_path / "log")],
    )
    runpy.run_path(predict_data.__file__, {"snakemake": rule})
    assert f"drawn={len(read(root / 'truth.csv'))}" in (tmp_path / "log").read_text()
    (tmp_path / "log").unlink()
    first, again = bytes_below(root), bytes_below(tmp_path)
    changing = {"projects.tsv"}  # holds the folder
    assert {path for path in first.keys() | again.keys() if first.get(path) != again.get(path)} == changing


def test_another_seed_draws_other_scenes() -> None:
    first, other = ([member.data for member in ordinary_group("spring", 0, seed)] for seed in (7, 8))
    assert not set(first) & set(other)
