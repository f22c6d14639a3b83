"""lora 02: every frame stands in one category, in the table and in the folders, and thresholds move it."""

import hashlib
import runpy
from types import SimpleNamespace

import pytest

from workflow_scripts.lora import sort as module
from workflow_scripts.lora.sort import sort
from workflow_scripts.lora.tables import FRAMES, POSES, SORTED, about, read, write

SETTINGS = {"box_conf": 0.25, "conf_threshold": 0.5, "max_people": None}
VISIBLE = {"face": (0, 1, 2), "shoulders": (5, 6), "hips": (11, 12), "ankles": (15, 16)}


def person(*parts, confidence=0.875, sure=0.75):
    seen = [point for part in parts for point in VISIBLE[part]]
    keypoints = [value for point in range(17) for value in (1.0, 2.0, sure if point in seen else 0.25)]
    return {"box": [0.0, 0.0, 4.0, 8.0], "confidence": confidence, "keypoints": keypoints}


class Workspace:
    """Frames of one video with what was found in them."""

    def __init__(self, root, video="clip"):
        self.root, self.video, self.frames, self.poses = root, video, [], []

    def add(self, people, suffix=".jpg", **pose):
        n = len(self.frames) + 1
        frame_id = f"{self.video}_frame_{n:06d}"
        path = f"01_source_frames/{self.video}/{frame_id}{suffix}"
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(frame_id.encode())
        known = {"frame_id": frame_id, "video": self.video, "n": n, "sha256": hashlib.sha256(frame_id.encode()).hexdigest()}
        self.frames.append(known | {"path": path, "width": 4, "height": 8, "outcome": "frame"})
        self.poses.append(known | {"people": people, "sharpness": n + 0.5, "outcome": "pose"} | pose)
        return frame_id

    def run(self, **settings):
        write(self.root / "frames.parquet", FRAMES, self.frames)
        write(self.root / "poses.parquet", POSES, self.poses, {"video": self.video})
        self.output = self.root / f"02_sorted_candidates/{self.video}.parquet"
        self.counts = sort(self.root / "frames.parquet", self.root / "poses.parquet", self.root, SETTINGS | settings, self.output)
        return read(self.output)

    def shown(self):
        folder = self.root / "02_sorted_candidates"
        return sorted(str(path.relative_to(folder)) for path in folder.glob("*/*") if ".made" not in path.parts)


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)


def test_every_frame_is_in_one_category_with_its_person_and_its_picture(workspace):
    people = [
        [person("face", "shoulders")],
        [person("face", "shoulders", "hips")],
        [person("face", "shoulders", "hips", "ankles")],
        [person("shoulders")],
        [person("face")],
        [],
    ]
    names = [workspace.add(found) for found in people]
    rows = workspace.run()
    assert [(row["frame_id"], row["category"], row["outcome"], row["reason"]) for row in rows] == [
        (names[0], "face_and_hair", "candidate", None),
        (names[1], "upper_body", "candidate", None),
        (names[2], "full_body", "candidate", None),
        (names[3], "review_no_face", "rejected", "shoulders, but no face"),
        (names[4], "uncategorized", "rejected", "no shoulders; a face can be seen"),
        (names[5], "no_person_detected", "rejected", "no person: nobody was found"),
    ]
    assert [row["person"] for row in rows] == [found[0] if found else None for found in people]
    assert [row["person_count"] for row in rows] == [1, 1, 1, 1, 1, 0]
    assert [row["sharpness"] for row in rows] == [1.5, 2.5, 3.5, 4.5, 5.5, 6.5]
    assert [(row["path"], row["width"], row["height"]) for row in rows] == [(row["path"], 4, 8) for row in workspace.frames]
    assert workspace.shown() == sorted(f"{row['category']}/{row['frame_id']}.jpg" for row in rows)
    for row in rows:
        link = workspace.root / f"02_sorted_candidates/{row['category']}/{row['frame_id']}.jpg"
        assert link.samefile(workspace.root / row["path"])
    assert workspace.counts == {"listed": 6, "candidate": 3, "rejected": 3, "error": 0} | dict.fromkeys(
        sorted(row["category"] for row in rows), 1
    )
    assert about(workspace.output) == {"video": "clip", "thresholds": SETTINGS}


def test_errors_of_both_steps_before_stay_errors_and_are_shown_nowhere(workspace):
    good = workspace.add([person("face", "shoulders")])
    pose = workspace.add(None, outcome="error", reason="decode: truncated", sharpness=None)
    workspace.frames.append(
        {"frame_id": "clip_frame_000003", "video": "clip", "n": 3, "outcome": "error", "reason": "decode: it broke off"}
    )
    lost = workspace.add([])
    workspace.poses.pop()
    rows = workspace.run()
    assert [(row["frame_id"], row["category"], row["outcome"], row["reason"]) for row in rows] == [
        (good, "face_and_hair", "candidate", None),
        (pose, "", "error", "decode: truncated"),
        ("clip_frame_000003", "", "error", "decode: it broke off"),
        (lost, "", "error", "pose: not in the table of poses"),
    ]
    assert [(row["person"], row["person_count"]) for row in rows[1:]] == [(None, None)] * 3
    assert workspace.shown() == [f"face_and_hair/{good}.jpg"]
    assert (workspace.counts["listed"], workspace.counts["error"]) == (4, 3)


def test_another_threshold_moves_pictures_and_leaves_nothing_behind(workspace):
    moved = workspace.add([person("face", "shoulders", "hips", sure=0.625)])
    stays = workspace.add([person("face", "shoulders")], suffix=".png")
    workspace.run()
    assert workspace.shown() == [f"face_and_hair/{stays}.png", f"upper_body/{moved}.jpg"]
    before = (workspace.root / f"02_sorted_candidates/face_and_hair/{stays}.png").stat()
    rows = workspace.run(conf_threshold=0.7)
    assert [row["category"] for row in rows] == ["uncategorized", "face_and_hair"]
    assert workspace.shown() == [f"face_and_hair/{stays}.png", f"uncategorized/{moved}.jpg"]
    after = (workspace.root / f"02_sorted_candidates/face_and_hair/{stays}.png").stat()
    assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)


def test_people_are_counted_and_too_many_are_rejected(workspace):
    workspace.add([person("face", "shoulders"), person(confidence=0.5), person(confidence=0.125)])
    assert [(row["category"], row["person_count"]) for row in workspace.run()] == [("face_and_hair", 2)]
    assert [(row["category"], row["person_count"]) for row in workspace.run(max_people=1)] == [("too_many_people", 2)]
    assert [(row["category"], row["person_count"]) for row in workspace.run(box_conf=0.1)] == [("face_and_hair", 3)]


def test_what_a_person_put_or_changed_there_stays(workspace):
    name = workspace.add([person("face", "shoulders")])
    theirs = workspace.root / f"02_sorted_candidates/face_and_hair/{name}.jpg"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"retouched")
    other = theirs.with_name("note.txt")
    other.write_bytes(b"mine")
    workspace.run()
    workspace.run(conf_threshold=0.9)
    assert (theirs.read_bytes(), other.read_bytes()) == (b"retouched", b"mine")
    assert (workspace.root / f"02_sorted_candidates/uncategorized/{name}.jpg").read_bytes() == name.encode()


def test_a_frame_that_is_gone_keeps_its_row(workspace):
    name = workspace.add([person("face", "shoulders")])
    (workspace.root / workspace.frames[0]["path"]).unlink()
    assert [(row["frame_id"], row["category"]) for row in workspace.run()] == [(name, "face_and_hair")]
    assert workspace.shown() == []


def test_another_content_of_a_frame_is_shown_anew(workspace):
    name = workspace.add([person("face", "shoulders")])
    workspace.run()
    path = workspace.root / workspace.frames[0]["path"]
    path.unlink()
    path.write_bytes(b"another frame")
    for table in (workspace.frames, workspace.poses):
        table[0]["sha256"] = hashlib.sha256(b"another frame").hexdigest()
    workspace.run()
    assert (workspace.root / f"02_sorted_candidates/face_and_hair/{name}.jpg").read_bytes() == b"another frame"


def test_two_videos_share_the_folders_and_leave_each_other_alone(workspace):
    other = Workspace(workspace.root, video="other")
    mine, theirs = workspace.add([person("face", "shoulders")]), other.add([person("face", "shoulders")])
    workspace.run()
    other.run()
    workspace.run(conf_threshold=0.9)
    assert workspace.shown() == [f"face_and_hair/{theirs}.jpg", f"uncategorized/{mine}.jpg"]


def test_the_same_input_gives_the_same_bytes(workspace):
    for parts in (("face", "shoulders"), ("shoulders",), ()):
        workspace.add([person(*parts)])
    workspace.run()
    before = workspace.output.read_bytes()
    workspace.run()
    assert workspace.output.read_bytes() == before


def test_the_rule_calls_it_with_its_tables_and_thresholds(workspace, in_a_step):
    workspace.add([person("face", "shoulders")])
    workspace.run()
    job = SimpleNamespace(
        log=[str(workspace.root / "log")],
        input=SimpleNamespace(frames=str(workspace.root / "frames.parquet"), poses=str(workspace.root / "poses.parquet")),
        params=SimpleNamespace(root=str(workspace.root), sort=SETTINGS | {"conf_threshold": 0.9}),
        output=[str(workspace.output)],
    )
    runpy.run_path(module.__file__, {"snakemake": job})
    assert [row["category"] for row in read(workspace.output)] == ["uncategorized"]
    assert "listed=1 candidate=0 rejected=1 error=0 uncategorized=1" in (workspace.root / "log").read_text()


def test_the_table_has_the_columns_of_the_contract(workspace):
    workspace.add([])
    assert list(workspace.run()[0]) == [name for name, _ in SORTED]
