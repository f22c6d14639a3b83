"""What people decide on the pages of lora, move out by hand or edit: the next run goes by it, and undoes nothing of it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.workflow.conftest import digest_tree
from tests.workflow.lora_workspace import CORES, NEAR, Workspace, finished_workspace, rules_from

pytest.importorskip("ultralytics")

NOBODY_HAS = "f" * 64  # the content of no frame
DATA = "05_training_data"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Three videos, run once; tests leave it as it was."""
    return finished_workspace(tmp_path_factory.getbasetemp())


@pytest.fixture
def work(finished: Workspace, tmp_path: Path) -> Workspace:
    """A copy of it, to change."""
    return finished.copy_to(tmp_path / "copy")


def outcomes(work: Workspace, step: str) -> dict[str, tuple[str, str | None]]:
    """Outcome and reason of each frame of a step."""
    return {row["frame_id"]: (row["outcome"], row["reason"]) for row in work.rows(step)}


def exported(work: Workspace) -> set[str]:
    """The frames that were handed over."""
    return {frame for frame, (outcome, _) in outcomes(work, "07_export").items() if outcome == "exported"}


def pairs(work: Workspace) -> set[str]:
    """The names in kohya's folder."""
    (folder,) = (work.results / "07_export/kohya").iterdir()
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("step", "page", "first"), [("03_mask", "03_mask_page", "04_select"), ("06_caption", "06_caption_page", "07_export")]
)
def test_a_decision_is_read_by_the_step_behind_its_page(work: Workspace, step: str, page: str, first: str) -> None:
    work.decide(step, (NOBODY_HAS, "reject"))
    assert work.rules() == {page} | rules_from(first)


def test_decisions_drop_exactly_those_frames_from_there_on_and_touch_no_other_file(work: Workspace) -> None:
    rows = work.rows("06_caption")
    contents = {row["frame_id"]: row["sha256"] for row in work.rows("01_frames")}
    best, beside = f"{NEAR}_frame_000001", f"{NEAR}_frame_000002"
    assert outcomes(work, "04_select")[best] == ("selected", None)
    assert outcomes(work, "04_select")[beside][1].startswith(f"near copy of {best} ")
    others = [row["frame_id"] for row in rows if row["outcome"] == "captioned" and row["category"] != "full_body"]
    after_select, after_composite, after_caption, kept = others[0], others[2], others[4], others[1]
    before, stood = outcomes(work, "07_export"), digest_tree(work.results)
    work.decide("03_mask", (contents[best], "reject"), (contents[kept], "keep"), (NOBODY_HAS, "reject"))
    work.decide("04_select", (contents[after_select], "REJECT"), (NOBODY_HAS, "reject"))
    work.decide("05_composite", (contents[after_composite], "reject"), (NOBODY_HAS, "reject"))
    work.decide("06_caption", (contents[after_caption], "reject"), (contents[after_caption].upper(), "reject"), (NOBODY_HAS, "reject"))
    work.run(work.target("07_export"), *CORES)

    culled = ("culled", "culled by a person")
    assert outcomes(work, "04_select")[best] == culled
    assert outcomes(work, "04_select")[beside] == ("selected", None), "another takes its place"
    assert outcomes(work, "05_composite").keys() == before.keys() - {best} | {beside}
    for step, dropped in (("05_composite", {after_select}), ("06_caption", {after_select, after_composite})):
        assert {frame for frame, found in outcomes(work, step).items() if found == culled} == dropped, step
    gone = {after_select, after_composite, after_caption}
    assert {frame for frame, found in outcomes(work, "07_export").items() if found == culled} == gone
    same = before.keys() - gone - {best}
    assert {frame: found for frame, found in outcomes(work, "07_export").items() if frame in same} == {
        frame: before[frame] for frame in same
    }

    now = digest_tree(work.results)
    frames = [row for row in work.rows("07_export") if row["frame_id"] in same]
    names = {row["name"] for row in frames}
    for path, digest in stood.items():
        mine = Path(path).stem in names or any(path.endswith(f"_{row['frame_id']}.png") for row in frames if row["category"] != "full_body")
        if path.startswith(("05_training_data/", "07_export/", "04_top100_staging/")) and mine:
            assert now.get(path) == digest, path
        if path.startswith(("01_", "02_", "03_", "04_metrics")):
            assert now[path] == digest, path
    wanted = {row["name"] + suffix for row in work.rows("07_export") if row["outcome"] == "exported" for suffix in (".jpg", ".txt")}
    assert pairs(work) == wanted
    assert not (work.results / DATA / "face_and_hair" / f"{after_select}.jpg").exists()
    for step in ("04_select", "05_composite", "06_caption", "07_export"):
        assert NOBODY_HAS in work.log(step), "a decision that fits nothing is said"
    for frame in (best, kept, after_caption):
        assert contents[frame] not in work.log("04_select") + work.log("07_export")


def edit(path: Path) -> bytes:
    """A picture with a white corner, as a person saves it."""
    with Image.open(path) as picture:
        pixels = np.array(picture)
    pixels[:20, :20] = 255
    Image.fromarray(pixels).save(path)
    return path.read_bytes()


def move(work: Workspace, folder: str, row: dict[str, str], *suffixes: str, back: bool = False) -> None:
    """Move files of a frame out of the training data, as the pages say it, or back."""
    for suffix in suffixes:
        place = (work.results / row["path"]).with_suffix(suffix)
        aside = work.results / folder / place.name
        aside.parent.mkdir(exist_ok=True)
        aside.rename(place) if back else place.rename(aside)


def test_what_was_moved_out_or_edited_by_hand_stays_so_until_a_person_undoes_it(work: Workspace) -> None:
    rows = [row for row in work.rows("06_caption") if row["outcome"] == "captioned"]
    picture, pair, retold, painted = rows[0], rows[2], rows[4], rows[6]
    move(work, "05_disqualified_backgrounds", picture, ".jpg")
    move(work, "06_disqualified_captions", pair, ".jpg", ".txt")
    (work.results / retold["text_path"]).write_text("Ohwx Person, juggling\n")
    mine = edit(work.results / painted["path"])
    assert work.rules() == rules_from("05_composite"), "the next plan sees it"

    work.write_config(composite={"blur_radius": 7})
    targets = (work.target("05_composite"), work.target("06_caption"), work.target("07_export"))
    work.run(*targets, *CORES)
    moved = ("culled", "moved out by hand")
    for step in ("05_composite", "06_caption", "07_export"):
        found = outcomes(work, step)
        assert {frame for frame, what in found.items() if what == moved} == {picture["frame_id"], pair["frame_id"]}, step
    assert exported(work) == {row["frame_id"] for row in rows} - {picture["frame_id"], pair["frame_id"]}
    assert not (work.results / picture["path"]).exists()
    assert (work.results / painted["path"]).read_bytes() == mine
    told = {row["frame_id"]: row for row in work.rows("07_export")}
    assert (told[retold["frame_id"]]["caption"], told[retold["frame_id"]]["source"]) == ("juggling", "a person")
    (kohya,) = (work.results / "07_export/kohya").iterdir()
    assert (kohya / f"{told[retold['frame_id']]['name']}.txt").read_text() == "Ohwx Person, juggling"
    assert (kohya / f"{told[painted['frame_id']]['name']}.jpg").read_bytes() == mine
    assert work.jobs(*targets) == set(), "what people did is recorded"

    move(work, "05_disqualified_backgrounds", picture, ".jpg", back=True)
    move(work, "06_disqualified_captions", pair, ".jpg", ".txt", back=True)
    assert work.rules(*targets) == {"05_composite", "06_caption", "07_export"}
    work.run(*targets, *CORES)
    assert exported(work) == {row["frame_id"] for row in rows}
    assert (work.results / painted["path"]).read_bytes() == mine
    assert (work.results / retold["text_path"]).read_text() == "Ohwx Person, juggling\n"


def test_a_retouched_mask_is_kept_and_measured(work: Workspace) -> None:
    row = next(row for row in work.rows("03_mask", NEAR) if row["category"] == "full_body")
    mine = edit(work.results / row["path"])
    target = work.target("04_measure", NEAR)
    assert work.jobs(target) == {("03_mask", NEAR), ("04_measure", NEAR)}
    work.run(target, *CORES)
    assert (work.results / row["path"]).read_bytes() == mine
    assert work.counted("03_mask", NEAR)["computed"] == 0
    assert work.counted("03_mask", NEAR)["retouched"] == 1
    assert work.counted("04_measure", NEAR)["computed"] == 1
    (measured,) = (one for one in work.rows("04_measure", NEAR) if one["frame_id"] == row["frame_id"])
    assert {"left", "top"} <= set(measured["edges"])
