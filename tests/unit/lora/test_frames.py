"""lora 01: the frames of a video as files and as rows, again and again, beside what people do in the folder."""

import hashlib
import io
import runpy
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from tests.unit.lora.video_data import number_of, write_video
from workflow_scripts.lora import frames as module
from workflow_scripts.lora import params
from workflow_scripts.lora.frames import extract
from workflow_scripts.lora.tables import FRAMES, about, read
from workflow_scripts.lora.videos import find

pytest.importorskip("av")
ROOT = Path(__file__).parents[3]


def jpeg(colour, size=(9, 7), kind="JPEG", **how):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind, **how)
    return buffer.getvalue()


class Workspace:
    """A folder of videos, and the frames that come of it."""

    def __init__(self, root):
        self.source, self.root = root / "videos", root / "results"
        self.source.mkdir()

    def video(self, name="clip.mkv", number=40, **how):
        return write_video(self.source / name, range(number), base=Fraction(1, 10), **how)

    def put(self, name, data):
        (self.source / name).parent.mkdir(parents=True, exist_ok=True)
        (self.source / name).write_bytes(data)

    def run(self, slug="clip", *, fps=1, limit=None, threads=2):
        self.output = self.root / f"01_source_frames/{slug}.parquet"
        self.counts = extract(find(str(self.source))[slug], self.root, self.output, fps=fps, limit=limit, threads=threads)
        return read(self.output)

    def files(self, video="clip"):
        folder = self.root / "01_source_frames" / video
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)


def check_rows(rows, root):
    """What every table of frames promises."""
    for row in rows:
        assert list(row) == [name for name, _ in FRAMES]
        assert row["frame_id"] == f"{row['video']}_frame_{row['n']:06d}"
        if row["outcome"] == "error":
            assert (row["path"], row["sha256"], row["width"], row["height"], row["time"]) == (None,) * 5
            continue
        data = (root / row["path"]).read_bytes()
        assert row["sha256"] == hashlib.sha256(data).hexdigest()
        assert row["reason"] is None
    assert [row["n"] for row in rows] == list(range(1, len(rows) + 1))


def test_a_video_becomes_numbered_jpegs_and_rows(workspace):
    workspace.video(rotation=None)
    rows = workspace.run()
    check_rows(rows, workspace.root)
    assert [row["path"] for row in rows] == [f"01_source_frames/clip/clip_frame_00000{n}.jpg" for n in (1, 2, 3, 4)]
    assert [(row["time"], row["width"], row["height"], row["video"]) for row in rows] == [(t, 48, 32, "clip") for t in (0.0, 1.0, 2.0, 3.0)]
    assert workspace.counts == {"listed": 4, "frame": 4, "error": 0}
    for row, number in zip(rows, (0, 10, 20, 30), strict=True):
        with Image.open(workspace.root / row["path"]) as image:
            assert (image.format, image.size, number_of(image)) == ("JPEG", (48, 32), number)
            assert image.layer == [(1, 1, 1, 0), (2, 1, 1, 1), (3, 1, 1, 1)], "chroma is not subsampled"
    assert about(workspace.output) == {
        "codec": "mpeg4",
        "damaged": 0,
        "duration": 4.0,
        "errors": 0,
        "expected": 5,
        "extracted": 4,
        "fps": 1,
        "kind": "video",
        "path": "clip.mkv",
        "rotation": 0,
        "video": "clip",
    }


def test_the_quality_is_95(workspace):
    workspace.video(number=1)
    (row,) = workspace.run()
    reference = io.BytesIO()
    Image.new("RGB", (8, 8)).save(reference, "JPEG", quality=95)
    with Image.open(workspace.root / row["path"]) as image, Image.open(reference) as wanted:
        assert image.quantization == wanted.quantization


def test_a_turned_video_gives_upright_frames(workspace):
    workspace.video("clip.mp4", number=3, rotation=90)
    (row,) = workspace.run()
    assert (row["width"], row["height"]) == (32, 48)
    with Image.open(workspace.root / row["path"]) as image:
        assert image.size == (32, 48)
        assert image.getpixel((3, 3))[0] < 40, "the top right corner, which is black, is now at the top left"
    assert about(workspace.output)["rotation"] == 90
    assert workspace.run()[0]["width"] == 32, "also when the file is there already"


def test_a_slice_takes_the_first_frames(workspace):
    workspace.video()
    assert [row["time"] for row in workspace.run(limit=2)] == [0.0, 1.0]
    assert (about(workspace.output)["expected"], workspace.counts["listed"]) == (2, 2)


def test_a_frame_that_stands_for_several_moments_has_a_row_and_a_file_for_each(workspace):
    write_video(workspace.source / "clip.mkv", [0, 100, 3500, 3600])
    rows = workspace.run()
    check_rows(rows, workspace.root)
    assert [row["time"] for row in rows] == [0.0, 3.5, 3.5, 3.5]
    assert len({row["sha256"] for row in rows}) == 2
    assert len(workspace.files()) == 4


def test_a_video_that_breaks_off_gives_its_frames_and_one_error(workspace):
    path = workspace.video(number=60)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 5])
    rows = workspace.run()
    check_rows(rows, workspace.root)
    assert [row["outcome"] for row in rows] == ["frame", "frame", "frame", "error"]
    assert rows[3]["reason"].startswith("decode: the video ends after 2.")
    assert workspace.counts == {"listed": 4, "frame": 3, "error": 1}
    assert {name: about(workspace.output)[name] for name in ("expected", "extracted", "errors")} == {
        "expected": 7,
        "extracted": 3,
        "errors": 1,
    }


def test_what_cannot_be_opened_is_one_error_and_what_it_gave_before_goes(workspace):
    path = workspace.video()
    workspace.run()
    path.write_bytes(b"broken")
    rows = workspace.run()
    check_rows(rows, workspace.root)
    assert [(row["n"], row["outcome"], row["reason"]) for row in rows] == [(1, "error", "decode: invalid data found when processing input")]
    assert workspace.files() == []
    path.unlink()
    path.symlink_to("nowhere")
    assert workspace.run()[0]["reason"] == "decode: no such file or directory"


# ---- again ----


def test_a_second_run_gives_the_same_bytes_and_touches_no_file(workspace):
    workspace.video()
    rows = workspace.run()
    before = {name: (workspace.root / "01_source_frames/clip" / name).stat() for name in workspace.files()}
    table = workspace.output.read_bytes()
    assert workspace.run(threads=4) == rows
    assert workspace.output.read_bytes() == table
    after = {name: (workspace.root / "01_source_frames/clip" / name).stat() for name in workspace.files()}
    assert {name: (found.st_ino, found.st_mtime_ns) for name, found in after.items()} == {
        name: (found.st_ino, found.st_mtime_ns) for name, found in before.items()
    }


def test_a_second_run_encodes_and_copies_nothing(workspace, monkeypatch):
    workspace.video()
    workspace.put("elsewhere/frame_1.jpg", jpeg("red"))
    first = workspace.run() + workspace.run("elsewhere")
    copied = (workspace.root / first[-1]["path"]).stat()
    monkeypatch.setattr(module, "upright", None)
    assert workspace.run() + workspace.run("elsewhere") == first
    assert (workspace.root / first[-1]["path"]).stat().st_ino == copied.st_ino


def test_another_rate_leaves_nothing_of_the_first(workspace):
    workspace.video()
    assert len(workspace.run(fps=5)) == 20
    rows = workspace.run(fps=0.5)
    check_rows(rows, workspace.root)
    assert [row["time"] for row in rows] == [0.0, 2.0]
    assert workspace.files() == ["clip_frame_000001.jpg", "clip_frame_000002.jpg"]
    with Image.open(workspace.root / rows[1]["path"]) as image:
        assert number_of(image) == 20


def test_another_video_of_the_same_name_gives_other_frames(workspace):
    workspace.video()
    first = workspace.run()
    write_video(workspace.source / "clip.mkv", range(0, 80, 2), base=Fraction(1, 10))
    second = workspace.run()
    check_rows(second, workspace.root)
    assert [row["sha256"] for row in second][1:] != [row["sha256"] for row in first][1:]
    with Image.open(workspace.root / second[1]["path"]) as image:
        assert number_of(image) == 5


def test_a_frame_that_was_deleted_is_made_again(workspace):
    workspace.video()
    rows = workspace.run()
    (workspace.root / rows[2]["path"]).unlink()
    assert workspace.run() == rows
    check_rows(rows, workspace.root)


def test_what_a_person_changed_is_kept_and_counts_as_it_is(workspace):
    workspace.video()
    rows = workspace.run()
    (workspace.root / rows[1]["path"]).write_bytes(jpeg("red", (20, 10)))
    again = workspace.run()
    check_rows(again, workspace.root)
    assert (again[1]["width"], again[1]["height"], again[1]["sha256"]) == (20, 10, hashlib.sha256(jpeg("red", (20, 10))).hexdigest())
    assert [row for row in again if row["n"] != 2] == [row for row in rows if row["n"] != 2]
    workspace.run(fps=0.25)
    assert workspace.files() == ["clip_frame_000001.jpg", "clip_frame_000002.jpg"]


def test_what_a_person_broke_is_kept_and_an_error(workspace):
    workspace.video()
    rows = workspace.run()
    (workspace.root / rows[1]["path"]).write_bytes(b"broken")
    again = workspace.run()
    check_rows(again, workspace.root)
    assert (again[1]["outcome"], again[1]["reason"]) == ("error", "decode: not an image")
    assert (workspace.root / rows[1]["path"]).read_bytes() == b"broken"
    assert workspace.counts == {"listed": 4, "frame": 3, "error": 1}


def test_killed_at_any_time_the_next_run_gives_the_same(workspace, tmp_path):
    workspace.video(number=60)
    expected, table = workspace.run(fps=10), workspace.output.read_bytes()
    program = (
        "import sys; from pathlib import Path\n"
        "from workflow_scripts.lora.frames import extract; from workflow_scripts.lora.videos import find\n"
        f"extract(find({str(workspace.source)!r})['clip'], Path(sys.argv[1]), Path(sys.argv[1], '01_source_frames/clip.parquet'), "
        "fps=10, limit=None, threads=2)"
    )
    killed = 0
    for number, files in enumerate((1, 20, 50)):
        workspace.root = tmp_path / f"killed {number}"
        process = subprocess.Popen([sys.executable, "-c", program, str(workspace.root)], cwd=ROOT)
        while process.poll() is None and len(workspace.files()) < files:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        assert workspace.run(fps=10) == expected
        assert workspace.output.read_bytes() == table
        check_rows(expected, workspace.root)
        assert [name for name in workspace.files() if name.endswith(".jpg")] == [Path(row["path"]).name for row in expected]
    assert killed


# ---- frames that were extracted elsewhere ----


def test_frames_from_elsewhere_are_taken_as_they_are_in_the_order_of_their_numbers(workspace):
    given = {"frame_2.jpg": jpeg("red"), "frame_10.PNG": jpeg("green", (5, 6), "PNG"), "frame_1.jpeg": jpeg("blue")}
    for name, data in given.items():
        workspace.put(f"elsewhere/{name}", data)
    rows = workspace.run("elsewhere", fps=7)
    check_rows(rows, workspace.root)
    assert [row["path"].rpartition("/")[2] for row in rows] == [
        "elsewhere_frame_000001.jpeg",
        "elsewhere_frame_000002.jpg",
        "elsewhere_frame_000003.png",
    ]
    wanted = [given[name] for name in ("frame_1.jpeg", "frame_2.jpg", "frame_10.PNG")]
    assert [(workspace.root / row["path"]).read_bytes() for row in rows] == wanted
    assert [(row["width"], row["height"], row["time"]) for row in rows] == [(9, 7, None), (9, 7, None), (5, 6, None)]
    known = about(workspace.output)
    assert {name: known[name] for name in ("kind", "path", "expected", "extracted", "fps", "duration", "rotation", "codec")} == {
        "kind": "frames",
        "path": "elsewhere",
        "expected": 3,
        "extracted": 3,
    } | dict.fromkeys(("fps", "duration", "rotation", "codec"))
    assert {path.name: path.read_bytes() for path in (workspace.source / "elsewhere").iterdir()} == given
    assert not (workspace.root / rows[0]["path"]).samefile(workspace.source / "elsewhere/frame_1.jpeg"), "an edit must not reach the source"


def test_frames_from_elsewhere_that_cannot_be_read_are_errors_among_the_others(workspace):
    workspace.put("elsewhere/frame_1.jpg", jpeg("red"))
    workspace.put("elsewhere/frame_2.jpg", jpeg("red")[:-60])
    workspace.put("elsewhere/frame_3.jpg", b"")
    (workspace.source / "elsewhere/frame_4.jpg").symlink_to("nowhere")
    workspace.put("elsewhere/frame_5.jpg", jpeg("blue"))
    rows = workspace.run("elsewhere")
    check_rows(rows, workspace.root)
    assert [row["reason"] for row in rows] == [None, "decode: truncated", "decode: empty file", "read: no such file or directory", None]
    assert workspace.counts == {"listed": 5, "frame": 2, "error": 3}
    assert workspace.files("elsewhere") == ["elsewhere_frame_000001.jpg", "elsewhere_frame_000005.jpg"]


def test_the_size_of_frames_from_elsewhere_is_the_upright_one(workspace):
    exif = Image.Exif()
    exif[0x0112] = 6
    workspace.put("elsewhere/frame_1.jpg", jpeg("red", (9, 7), exif=exif))
    (row,) = workspace.run("elsewhere")
    assert (row["width"], row["height"]) == (7, 9)


def test_a_frame_that_comes_between_moves_the_others_and_leaves_nothing_stale(workspace):
    workspace.put("elsewhere/frame_1.jpg", jpeg("red"))
    workspace.put("elsewhere/frame_3.png", jpeg("green", kind="PNG"))
    workspace.run("elsewhere")
    workspace.put("elsewhere/frame_2.jpg", jpeg("blue"))
    rows = workspace.run("elsewhere")
    check_rows(rows, workspace.root)
    assert workspace.files("elsewhere") == ["elsewhere_frame_000001.jpg", "elsewhere_frame_000002.jpg", "elsewhere_frame_000003.png"]
    assert [row["n"] for row in workspace.run("elsewhere", limit=2)] == [1, 2]
    assert workspace.files("elsewhere") == ["elsewhere_frame_000001.jpg", "elsewhere_frame_000002.jpg"]


@pytest.mark.parametrize("name", ["-rf", 'it\'s "a" film', "line\nbreak", "größe 東京", "x" * 150])
def test_names_are_data(workspace, name):
    workspace.video(f"{name}.mkv", number=12)
    (slug,) = find(str(workspace.source))
    rows = workspace.run(slug)
    check_rows(rows, workspace.root)
    assert [row["frame_id"] for row in rows] == [f"{name}_frame_000001", f"{name}_frame_000002"]


def test_videos_share_the_folder_and_leave_each_other_alone(workspace):
    workspace.video("a.mkv")
    workspace.video("b.mkv", number=20)
    workspace.run("a")
    workspace.run("b")
    workspace.run("a", fps=0.25)
    assert (workspace.files("a"), len(workspace.files("b"))) == (["a_frame_000001.jpg"], 2)


def test_the_source_is_only_read(workspace):
    workspace.video()
    workspace.put("elsewhere/frame_1.jpg", jpeg("red"))
    before = {path: path.stat().st_mtime_ns for path in workspace.source.rglob("*")}
    for path in before:
        path.chmod(0o555 if path.is_dir() else 0o444)
    workspace.run()
    workspace.run("elsewhere")
    assert {path: path.stat().st_mtime_ns for path in workspace.source.rglob("*")} == before


def test_the_rule_calls_it_with_a_video_and_how_to_take_it(workspace, in_a_step):
    workspace.video()
    (video,) = find(str(workspace.source)).values()
    output = workspace.root / "01_source_frames/clip.parquet"
    job = SimpleNamespace(
        log=[str(workspace.root / "log")],
        params=SimpleNamespace(
            video=params.video(video, watched=True), root=str(workspace.root), fps=2, limit=3, max_pixels=10**6, machine={"threads": 2}
        ),
        output=[str(output)],
    )
    runpy.run_path(module.__file__, {"snakemake": job})
    assert [row["time"] for row in read(output)] == [0.0, 0.5, 1.0]
    assert "done: listed=3 frame=3 error=0" in (workspace.root / "log").read_text()
