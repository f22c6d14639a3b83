"""lora 05: every selected frame gets its background, for good; what people did by hand stays done."""

import io
import os
import runpy
import shutil
from types import SimpleNamespace

import pytest
from PIL import Image

from tests.unit.lora.composite_data import SETTINGS, SIZE, Workspace, background, png, sha, subject
from workflow_scripts.core.own_files import OwnFiles
from workflow_scripts.core.step import StepError
from workflow_scripts.lora import composite as module
from workflow_scripts.lora.by_hand import MOVED_OUT, composites, texts
from workflow_scripts.lora.compositor import EDITED
from workflow_scripts.lora.culls import CULLED
from workflow_scripts.lora.tables import about

NAME = "upper_body/v_frame_000002.jpg"
FRAME = "v_frame_000002"


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path).fill_library().select()


def edit(path, image=None):
    (image or Image.new("RGB", (50, 40), "red")).save(path, "JPEG")
    os.utime(path, ns=(1, 1))


def near(one, other, most=6):
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) <= most


# ---- pictures ----


def test_the_subject_stands_sharp_before_a_blurred_background(workspace, tmp_path):
    shutil.rmtree(workspace.library)
    workspace.library.mkdir()
    stripes = Image.new("RGB", SIZE)
    for left in range(0, SIZE[0], 8):
        stripes.paste("white", (left, 0, left + 4, SIZE[1]))
    stripes.save(workspace.library / "stripes.png")
    row = workspace.run(blur_radius=60.0)[FRAME]
    stripes.save(tmp_path / "95.jpg", quality=95)
    with Image.open(workspace.root / row["path"]) as image, Image.open(tmp_path / "95.jpg") as like:
        assert (image.format, image.size, image.mode) == ("JPEG", SIZE, "RGB")
        assert [component[1:3] for component in image.layer] == [(1, 1)] * 3  # no colour is left out
        assert image.quantization == like.quantization
        assert not {"exif", "icc_profile", "comment"} & image.info.keys()
        assert all(near(image.getpixel(place), (255, 255, 255)) for place in ((22, 12), (45, 58), (30, 30)))
        beside = [image.getpixel((x, 30))[0] for x in range(64, 90)]
    assert max(beside) - min(beside) < 40


def test_the_blur_grows_with_the_frame(tmp_path):
    spread = []
    for name, scale in (("small", 1), ("large", 4)):
        workspace = Workspace(tmp_path / name)
        size = (128 * scale, 64 * scale)
        workspace.library.mkdir(parents=True)
        Image.new("L", size).save(workspace.library / "edge.png")
        edge = Image.new("L", size)
        edge.paste(255, (size[0] // 2, 0, *size))
        edge.save(workspace.library / "edge.png")
        row = workspace.select("v", picture=Image.new("RGBA", size)).run(blur_radius=50.0)["v"]
        with Image.open(workspace.root / row["path"]) as image:
            spread.append(sum(20 < image.getpixel((x, size[1] // 2))[0] < 235 for x in range(size[0])) / scale)
    assert spread[0] == pytest.approx(spread[1], abs=2)
    assert 10 < spread[0] < 30  # of a deviation of 6.25 pixels at 128


def test_without_blur_the_background_is_the_librarys(workspace):
    shutil.rmtree(workspace.library)
    workspace.fill_library(1, size=SIZE)
    row = workspace.run(blur_radius=0)[FRAME]
    expected = background(0, SIZE)
    with Image.open(workspace.root / row["path"]) as image:
        assert all(near(image.getpixel(place), expected.getpixel(place), 25) for place in ((2, 2), (90, 5), (70, 60)))
    assert (row["background"], row["background_sha256"]) == ("0.png", sha((workspace.library / "0.png").read_bytes()))


def test_a_row_says_what_the_picture_is(workspace):
    row = workspace.run()[FRAME]
    data = (workspace.root / "05_training_data" / NAME).read_bytes()
    assert (row["path"], row["file_sha256"]) == (f"05_training_data/{NAME}", sha(data))
    assert (row["width"], row["height"]) == SIZE
    assert row["subject_path"] == "04_top100_staging/upper_body/002_v_frame_000002.png"
    assert row["subject_sha256"] == sha((workspace.root / row["subject_path"]).read_bytes())
    assert (row["video"], row["n"], row["sha256"], row["category"]) == ("v", 2, sha(FRAME), "upper_body")
    assert (row["outcome"], row["reason"]) == ("composited", None)


def test_only_selected_rows_count(workspace):
    workspace.select("failed", "passed", outcome="failed")
    workspace.rows[-1]["outcome"] = "passed over"
    assert len(workspace.run()) == 6
    assert workspace.counts | {"made": 6} == workspace.counts


def test_the_same_input_gives_the_same_bytes_with_any_number_of_threads(workspace, tmp_path):
    workspace.run()
    other = Workspace(tmp_path / "other", threads=5).fill_library().select()
    other.run()
    assert workspace.pictures() == other.pictures()
    assert workspace.manifest.read_bytes() == other.manifest.read_bytes()
    assert workspace.index() == other.index()


def test_odd_names_and_sizes(tmp_path):
    names = ["-a 'b\" \n_frame_000001", "é 中_frame_000001", "a.b.c_frame_000001", "x" * 200]
    workspace = Workspace(tmp_path).fill_library(1)
    for number, name in enumerate(names):
        size = [(1, 300), (300, 1), (33, 17), (64, 64)][number]
        workspace.select(name, picture=Image.new("RGBA", size, (9, 9, 9, 255)))
    rows = workspace.run()
    assert [(row["width"], row["height"]) for row in rows.values()] == [(1, 300), (300, 1), (33, 17), (64, 64)]
    assert set(workspace.pictures()) == {f"upper_body/{name}.jpg" for name in names}


def test_a_picture_does_not_depend_on_the_others(tmp_path):
    sizes = {"small": (30, 20), "large": (200, 150), "tall": (20, 300)}
    together = Workspace(tmp_path / "all").fill_library(1)
    for name, size in sizes.items():
        together.select(name, picture=Image.new("RGBA", size))
    together.run()
    for name, size in sizes.items():
        alone = Workspace(tmp_path / name).fill_library(1).select(name, picture=Image.new("RGBA", size))
        alone.run()
        assert alone.pictures().items() <= together.pictures().items()


# ---- choice of the background ----


def test_the_background_depends_on_the_frames_content_and_the_seed_alone(tmp_path):
    one = Workspace(tmp_path / "1").fill_library().select(*(f"{n}_frame_000001" for n in range(30)))
    rows = one.run()
    assert len({row["background"] for row in rows.values()}) == 4
    other = Workspace(tmp_path / "2").fill_library()
    for row in reversed(one.rows):
        other.select(f"new {row['frame_id']}", sha256=row["sha256"], category="full_body")
    again = other.run()
    assert {name: row["background"] for name, row in rows.items()} == {name[4:]: row["background"] for name, row in again.items()}
    assert {row["frame_id"]: row["background"] for row in one.run(seed=1).values()} != {n: r["background"] for n, r in rows.items()}


def test_names_of_backgrounds_do_not_matter_and_copies_count_once(tmp_path):
    one = Workspace(tmp_path).fill_library().select(*(f"{n}_frame_000001" for n in range(30)))
    before = {name: row["background_sha256"] for name, row in one.run().items()}
    pictures = one.pictures()
    (one.library / "deep").mkdir()
    (one.library / "0.png").rename(one.library / "deep/é, renamed.PNG")
    for number in range(5):
        shutil.copy(one.library / "1.png", one.library / f"copy {number}.png")
    (one.library / "notes.txt").touch()
    rows = one.run()
    assert {name: row["background_sha256"] for name, row in rows.items()} == before
    assert {"deep/é, renamed.PNG", "1.png"} < {row["background"] for row in rows.values()}
    assert (one.pictures(), one.counts["made"]) == (pictures, 0)
    assert about(one.manifest) == {"backgrounds": 4, "unreadable": {}}


def test_one_background_more_moves_few(tmp_path):
    one = Workspace(tmp_path).fill_library(9).select(*(f"{n}_frame_000001" for n in range(50)))
    before = one.run()
    background(77).save(one.library / "new.png")
    rows = one.run()
    moved = [name for name, row in rows.items() if row["background"] != before[name]["background"]]
    assert 0 < len(moved) < 15
    assert {rows[name]["background"] for name in moved} == {"new.png"}
    assert (one.counts["made"], one.counts["current"]) == (len(moved), 50 - len(moved))


def test_frames_with_one_background_get_parts_of_their_own(tmp_path):
    one = Workspace(tmp_path).fill_library(1, size=(400, 64)).select(*(f"{n}_frame_000001" for n in range(6)))
    one.run(blur_radius=0)
    corners = {Image.open(io.BytesIO(data)).getpixel((5, 32)) for data in one.pictures().values()}
    assert len(corners) >= 5


# ---- the library ----


@pytest.mark.parametrize(
    ("fill", "text"),
    [
        (lambda library: None, r"00_background_library: no such folder; put images there"),
        (lambda library: library.mkdir(), r"00_background_library: no readable image; put images there"),
        (lambda library: (library.mkdir(), (library / "a.jpg").touch()), r"no readable image \(1 that cannot be read\); put images there"),
    ],
    ids=["no folder", "nothing", "nothing that can be read"],
)
def test_a_library_without_images_is_an_error_that_says_what_to_do(tmp_path, fill, text):
    workspace = Workspace(tmp_path).select()
    fill(workspace.library)
    with pytest.raises(StepError, match=text):
        workspace.run()
    assert not (workspace.root / "05_training_data").exists()


def test_unreadable_backgrounds_are_left_out_and_named(workspace, log_text):
    before = workspace.run()
    (workspace.library / "a broken.png").write_bytes(png(background(1))[:200])
    rows = workspace.run()
    assert {name: row["background"] for name, row in rows.items()} == {name: row["background"] for name, row in before.items()}
    assert about(workspace.manifest) == {"backgrounds": 4, "unreadable": {"a broken.png": "decode: truncated"}}
    assert "a broken.png: not used as a background: decode: truncated" in log_text()


def test_backgrounds_are_looked_at_once(workspace, monkeypatch):
    workspace.run()
    from workflow_scripts.core.storage import FolderStorage

    monkeypatch.setattr(FolderStorage, "read", None)
    workspace.run()
    assert workspace.counts["current"] == 6


# ---- runs again ----


def test_what_is_there_is_not_made_again(workspace):
    workspace.run()
    stamps = {name: (workspace.root / "05_training_data" / name).stat().st_mtime_ns for name in workspace.pictures()}
    rows = workspace.run()
    assert (workspace.counts["current"], workspace.counts["made"]) == (6, 0)
    assert all((workspace.root / "05_training_data" / name).stat().st_mtime_ns == stamp for name, stamp in stamps.items())
    assert rows[FRAME]["outcome"] == "composited"


@pytest.mark.parametrize("settings", [{"blur_radius": 9.0}, {"seed": 5}], ids=["blur", "seed"])
def test_other_settings_make_other_pictures(workspace, settings):
    workspace.run()
    before = workspace.pictures()
    workspace.run(**settings)
    assert workspace.counts["made"] == 6
    assert all(data != before[name] for name, data in workspace.pictures().items())


def test_another_cut_of_a_subject_makes_its_picture_again(workspace):
    workspace.run()
    data = png(subject(5))
    (workspace.root / workspace.rows[1]["path"]).write_bytes(data)
    workspace.rows[1]["file_sha256"] = sha(data)
    workspace.run()
    assert (workspace.counts["made"], workspace.counts["current"]) == (1, 5)


def test_another_rank_makes_nothing_again(workspace):
    workspace.run()
    workspace.rows.reverse()
    for rank, row in enumerate(workspace.rows, 1):
        path = workspace.root / row["path"]
        row["rank"], row["path"] = rank, f"04_top100_staging/upper_body/{rank:03d}_new.png"
        path.rename(workspace.root / row["path"])
    assert workspace.run()[FRAME]["subject_path"].endswith("005_new.png")
    assert workspace.counts["made"] == 0


def test_pictures_of_frames_that_are_not_selected_any_more_go(workspace):
    workspace.run()
    del workspace.rows[1:]
    workspace.run()
    assert list(workspace.pictures()) == ["upper_body/v_frame_000001.jpg"]
    assert composites(workspace.root) == {"edited": {}, "moved_out": []}


def test_a_frame_in_another_category_moves(workspace):
    workspace.run()
    workspace.rows[1]["category"] = "full_body"
    row = workspace.run()[FRAME]
    assert row["path"] == "05_training_data/full_body/v_frame_000002.jpg"
    assert NAME not in workspace.pictures()


# ---- errors ----


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "subject: no such file or directory"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\nno"), "subject: no PNG that can be read"),
        (lambda path: path.write_bytes(png(subject(3))), "subject: another content than step 04 selected"),
    ],
    ids=["gone", "broken", "other"],
)
def test_a_subject_that_cannot_be_used_is_a_row(workspace, spoil, reason):
    spoil(workspace.root / workspace.rows[1]["path"])
    row = workspace.run()[FRAME]
    assert (row["outcome"], row["reason"], row["path"], row["file_sha256"]) == ("error", reason, None, None)
    assert (workspace.counts["composited"], workspace.counts["error"], workspace.counts["made"]) == (5, 1, 5)


def test_a_subject_that_is_cut_off_and_one_without_transparency_are_rows(workspace):
    for row, data in ((workspace.rows[0], png(subject())[:-30]), (workspace.rows[1], png(Image.new("RGB", SIZE)))):
        (workspace.root / row["path"]).write_bytes(data)
        row["file_sha256"] = sha(data)
    reasons = [row["reason"] for row in workspace.run().values()][:2]
    assert reasons == ["subject: no PNG that can be read", "subject: RGB, not RGBA"]


def test_a_background_that_changes_meanwhile_costs_only_its_frames(workspace, monkeypatch):
    from workflow_scripts.lora import compositor

    def replaced(self, rows, compose=compositor.Compositor.compose):
        for path in workspace.library.iterdir():
            path.write_bytes(png(background(50)))
        return compose(self, rows)

    workspace.run()
    monkeypatch.setattr(compositor.Compositor, "compose", replaced)
    workspace.select("late_frame_000001")
    rows = workspace.run()
    assert [row["outcome"] for row in rows.values()] == ["composited"] * 6 + ["error"]
    assert rows["late_frame_000001"]["reason"] == "background: changed since listing"


def test_a_background_that_was_replaced_unseen_is_not_taken_for_what_it_was(workspace):
    workspace.run()
    for path in workspace.library.iterdir():
        before = path.stat()
        path.write_bytes(png(background(50)).ljust(before.st_size, b"\0")[: before.st_size])
        os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    rows = workspace.run(seed=1)
    assert {(row["outcome"], row["reason"]) for row in rows.values()} == {("error", "background: changed since listing")}


# ---- what people did ----


def test_a_frame_that_was_culled_on_a_page_gets_no_picture(workspace, log_text):
    workspace.run()
    row = workspace.run(f"{sha(FRAME)},old/path.png,reject,hand", f"{sha('x')},gone.png,keep,")[FRAME]
    assert (row["outcome"], row["reason"], row["path"]) == ("culled", f"{CULLED}: hand", None)
    assert NAME not in workspace.pictures()
    assert f"review: gone.png ({sha('x')}) fits no frame" in log_text()
    assert composites(workspace.root) == {"edited": {}, "moved_out": []}
    assert workspace.run()[FRAME]["outcome"] == "composited"


def test_a_decision_about_a_frame_that_was_not_selected_is_no_stray(workspace, log_text):
    workspace.select("failed", outcome="failed")
    workspace.run(f"{sha('failed')},,reject,")
    assert "review" not in log_text()


def test_an_edited_picture_stays_whatever_the_settings(workspace):
    workspace.run()
    path = workspace.root / "05_training_data" / NAME
    edit(path)
    mine = path.read_bytes()
    before = composites(workspace.root)
    assert before == {"edited": {NAME: sha(mine)}, "moved_out": []}
    row = workspace.run(blur_radius=7.0)[FRAME]
    assert (row["outcome"], row["reason"], row["file_sha256"]) == ("composited", EDITED, sha(mine))
    assert (row["width"], row["height"], row["background"], row["background_sha256"]) == (50, 40, None, None)
    assert (workspace.counts["edited"], workspace.counts["made"]) == (1, 5)
    assert (path.read_bytes(), composites(workspace.root)) == (mine, before)
    workspace.run(f"{sha(FRAME)},,reject,")
    assert (path.read_bytes(), composites(workspace.root)) == (mine, before)


def test_an_edited_picture_that_cannot_be_read_is_an_error(workspace):
    workspace.run()
    path = workspace.root / "05_training_data" / NAME
    path.write_bytes(b"no image")
    row = workspace.run()[FRAME]
    assert (row["outcome"], row["reason"], path.read_bytes()) == ("error", f"{EDITED}: decode: not an image", b"no image")


def moved(workspace, name=NAME, to="05_disqualified_backgrounds"):
    target = workspace.root / to / name.rpartition("/")[2]
    target.parent.mkdir(exist_ok=True)
    return (workspace.root / "05_training_data" / name).rename(target)


@pytest.mark.parametrize("to", ["05_disqualified_backgrounds", "06_disqualified_captions", "elsewhere"])
def test_what_was_moved_out_is_culled_and_not_made_again(workspace, to):
    workspace.run()
    moved(workspace, to=to)
    plan = composites(workspace.root)
    listed = [f"{to}/v_frame_000002.jpg"] if to != "elsewhere" else []
    assert plan == {"edited": {}, "moved_out": sorted([f"05_training_data/{NAME}", *listed])}
    for settings in ({}, {"blur_radius": 8.0}, {"seed": 4}):
        row = workspace.run(**settings)[FRAME]
        assert (row["outcome"], row["reason"], row["path"]) == ("culled", MOVED_OUT, None)
        assert (len(workspace.pictures()), composites(workspace.root)) == (5, plan)


def test_what_was_moved_back_is_in_again(workspace):
    workspace.run()
    data = workspace.pictures()[NAME]
    there = moved(workspace)
    workspace.run()
    there.rename(workspace.root / "05_training_data" / NAME)
    assert composites(workspace.root) == {"edited": {}, "moved_out": []}
    assert (workspace.run()[FRAME]["outcome"], workspace.pictures()[NAME]) == ("composited", data)


def test_it_stays_out_under_another_rank_and_category(workspace):
    workspace.run()
    moved(workspace, to="elsewhere")
    workspace.rows[1] |= {"category": "full_body", "rank": 1}
    assert workspace.run()[FRAME]["reason"] == MOVED_OUT
    del workspace.rows[1]
    workspace.run()
    workspace.select(FRAME, category="face_and_hair")
    assert workspace.run()[FRAME]["reason"] == MOVED_OUT


def test_moved_back_to_where_it_belongs_now(workspace):
    workspace.run()
    there = moved(workspace, to="elsewhere")
    workspace.rows[1]["category"] = "full_body"
    workspace.run()
    (workspace.root / "05_training_data/full_body").mkdir()
    there.rename(workspace.root / "05_training_data/full_body/v_frame_000002.jpg")
    assert workspace.run()[FRAME]["reason"] == EDITED


def test_a_deleted_category_folder_is_made_anew(workspace):
    workspace.run()
    data = workspace.pictures()
    shutil.rmtree(workspace.root / "05_training_data/upper_body")
    assert composites(workspace.root) == {"edited": {}, "moved_out": []}
    workspace.run()
    assert workspace.pictures() == data


def test_what_lies_in_a_folder_for_rejects_stays_out_when_all_is_made_anew(workspace):
    workspace.run()
    moved(workspace)
    shutil.rmtree(workspace.root / "05_training_data")
    rows = workspace.run()
    assert [row["frame_id"] for row in rows.values() if row["outcome"] == "culled"] == [FRAME]
    assert composites(workspace.root)["moved_out"] == ["05_disqualified_backgrounds/v_frame_000002.jpg"]


def test_a_text_in_a_folder_for_rejects_culls_its_picture_until_it_is_back(workspace):
    workspace.run()
    text = workspace.root / "05_training_data/upper_body/v_frame_000002.txt"
    text.write_text("a caption")
    there = moved(workspace, "upper_body/v_frame_000002.txt", "06_disqualified_captions")
    assert composites(workspace.root)["moved_out"] == ["06_disqualified_captions/v_frame_000002.txt"]
    for _ in range(2):
        assert workspace.run()[FRAME]["reason"] == MOVED_OUT
    assert composites(workspace.root)["moved_out"] == ["06_disqualified_captions/v_frame_000002.txt"]
    there.rename(text)
    assert workspace.run()[FRAME]["outcome"] == "composited"


def test_a_copy_in_a_folder_for_rejects_culls_nothing(workspace):
    workspace.run()
    (workspace.root / "05_disqualified_backgrounds").mkdir()
    shutil.copy(workspace.root / "05_training_data" / NAME, workspace.root / "05_disqualified_backgrounds")
    assert workspace.run()[FRAME]["outcome"] == "composited"


def test_the_name_of_another_frame_says_nothing(workspace):
    """After a change of `fps` a name may be that of another frame."""
    workspace.run()
    moved(workspace)
    workspace.rows[1]["sha256"] = sha("another")
    rows = workspace.run()
    assert rows[FRAME]["outcome"] == "composited"
    assert workspace.run()[FRAME]["outcome"] == "composited"


def test_other_files_in_the_folders_for_rejects_do_not_count(workspace):
    folder = workspace.root / "05_disqualified_backgrounds/deep"
    folder.mkdir(parents=True)
    for name in ("Thumbs.db", ".DS_Store", "v_frame_000003.jpg", os.fsdecode(b"caf\xe9.jpg")):
        (folder / name).touch()
    assert composites(workspace.root)["moved_out"] == ["05_disqualified_backgrounds/deep/v_frame_000003.jpg"]
    assert [name for name, row in workspace.run().items() if row["outcome"] == "culled"] == ["v_frame_000003"]


def test_planning_needs_no_results(tmp_path):
    assert composites(tmp_path / "nothing") == {"edited": {}, "moved_out": []}


def test_texts_that_people_changed_are_planned_with(tmp_path):
    files = OwnFiles(tmp_path / "05_training_data", "06_caption")
    for name in ("x/a.txt", "x/b.txt"):
        with files.write(name, "k") as partial:
            partial.write_text("a caption")
    path = tmp_path / "05_training_data/x/b.txt"
    path.write_text("mine")
    os.utime(path, ns=(1, 1))
    assert texts(tmp_path) == {"x/b.txt": sha("mine")}


def test_the_step_as_snakemake_starts_it(workspace, in_a_step):
    workspace.run()
    log = workspace.base / "step.log"
    machine = {"cache_root": str(workspace.base / "cache"), "threads": 2, "device": "cpu"}
    where = {"library": str(workspace.library), "root": str(workspace.root)}
    params = SimpleNamespace(composite=SETTINGS | {"seed": 3}, max_pixels=10**8, machine=machine, **where)
    selection = workspace.root / "04_top100_staging/manifest.parquet"
    files = SimpleNamespace(selection=str(selection), reviews=[])
    rule = SimpleNamespace(input=files, output=[str(workspace.manifest)], params=params, log=[str(log)])
    runpy.run_path(module.__file__, {"snakemake": rule})
    assert log.read_text().endswith("done: listed=6 composited=6 culled=0 error=0 current=0 edited=0 made=6\n")
