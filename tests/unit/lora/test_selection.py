"""The selection of a workspace: every subject has an outcome, culls go first, and the staging folder shows what was chosen."""

import hashlib
import json

import pytest

from workflow_scripts.core.accounting import AccountingError
from workflow_scripts.core.step import StepError
from workflow_scripts.lora.selection import select
from workflow_scripts.lora.tables import CATEGORIES, FACE_AND_HAIR, FULL_BODY, METRICS, UPPER_BODY, about, read, write
from workflow_scripts.settings.lora import Score

STAGING = "04_top100_staging"


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


class Workspace:
    """Subjects of some videos, and step 04 over them."""

    def __init__(self, root):
        self.root = root / "ws"
        self.rows, self.culls, self.score = [], [], {}

    def add(self, name, *, video="v", **changes):
        """A subject that passes and is like no other; its pose decides its score."""
        n = len(self.rows) + 1
        path = f"03_masked_subjects/{changes.get('category', UPPER_BODY)}/{name}.png"
        row = {"frame_id": name, "video": video, "n": n, "sha256": sha(f"frame {name}"), "category": UPPER_BODY, "path": path}
        row |= {"file_sha256": sha(name), "contour_areas": [0.2], "solidities": [0.9], "area_fraction": 0.2, "edges": ["left"], "holes": 1}
        row |= {"uncertainty": 0.1, "sharpness": 100.0, "sharpness_pixels": 5000, "brightness": 0.5, "pose": 0.5}
        row |= {"phash": int(sha(name)[:16], 16), "outcome": "measured"} | changes
        self.rows.append(row)
        if row["path"] and row["outcome"] == "measured":
            (self.root / row["path"]).parent.mkdir(parents=True, exist_ok=True)
            (self.root / row["path"]).write_text(name)
        return row

    def cull(self, *lines):
        path = self.root / f"{len(self.culls)}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("sha256,path,decision,reason\n" + "".join(f"{sha(f'frame {name}')},x,{rest}\n" for name, rest in lines))
        self.culls.append(path)

    def run(self):
        tables = []
        for video in sorted({row["video"] for row in self.rows}) or ["empty"]:
            tables.append(self.root / f"{video}.parquet")
            write(tables[-1], METRICS, [row for row in self.rows if row["video"] == video])
        self.output, self.results = self.root / STAGING / "manifest.parquet", self.root / STAGING / "scoring_results.json"
        counts = select(tables, self.culls, self.root, Score(**self.score).model_dump(), self.output, self.results)
        self.table = read(self.output)
        self.told = json.loads(self.results.read_text("utf-8"))
        return counts

    def outcomes(self):
        return {row["frame_id"]: (row["outcome"], row["reason"]) for row in self.table}

    def staged(self):
        folder = self.root / STAGING
        return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.glob("*/*.png"))}


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)


def test_every_subject_has_an_outcome_and_the_selected_are_staged_by_rank(workspace):
    workspace.score = {"top_n": 2}
    workspace.add("plain", pose=0.5)
    workspace.add("best", pose=0.9)
    workspace.add("third", pose=0.1, video="w")
    workspace.add("blurry", sharpness=3.0)
    workspace.add("broken", outcome="error", reason="decode: truncated", path=None, sharpness=None, phash=None, contour_areas=None)
    workspace.add("a face", category=FACE_AND_HAIR)
    counts = workspace.run()
    assert counts == {"listed": 6, "selected": 3, "passed_over": 1, "failed": 1, "culled": 0, "error": 1, "unused_decisions": 0}
    assert workspace.outcomes() == {
        "a face": ("selected", None),
        "best": ("selected", None),
        "plain": ("selected", None),
        "blurry": ("failed", "too blurry (3.0)"),
        "broken": ("error", "decode: truncated"),
        "third": ("passed over", "beyond top_n (2)"),
    }
    assert list(workspace.outcomes()) == ["a face", "best", "plain", "blurry", "broken", "third"]
    assert workspace.staged() == {
        f"{FACE_AND_HAIR}/001_a face.png": "a face",
        f"{UPPER_BODY}/001_best.png": "best",
        f"{UPPER_BODY}/002_plain.png": "plain",
    }
    rows = {row["frame_id"]: row for row in workspace.table}
    assert (rows["best"]["rank"], rows["best"]["path"]) == (1, f"{STAGING}/{UPPER_BODY}/001_best.png")
    assert (rows["third"]["rank"], rows["third"]["path"]) == (None, f"03_masked_subjects/{UPPER_BODY}/third.png")
    assert rows["best"]["score"] == pytest.approx(0.6 * 0.9 + 0.3 * 0.5 + 0.1 * 0.5)
    assert rows["third"]["score"] == pytest.approx(0.6 * 0.1 + 0.3 * 0.5 + 0.1 * 0.5)
    assert rows["blurry"]["score"] is rows["blurry"]["sharpness_percentile"] is None
    assert (rows["blurry"]["contours"], rows["blurry"]["solidity"]) == (1, 0.9)


def test_percentiles_and_ranks_are_within_a_category(workspace):
    for number, category in enumerate((FACE_AND_HAIR, UPPER_BODY, FULL_BODY)):
        workspace.add(f"low {category}", category=category, sharpness=60.0 + 100 * number)
        workspace.add(f"high {category}", category=category, sharpness=70.0 + 100 * number)
        workspace.add(f"out {category}", category=category, sharpness=1.0)
    workspace.run()
    found = {row["frame_id"]: (row["sharpness_percentile"], row["rank"]) for row in workspace.table}
    for category in CATEGORIES:
        assert [found[f"{name} {category}"] for name in ("high", "low", "out")] == [(0.75, 1), (0.25, 2), (None, None)]


def test_a_persons_cull_goes_before_every_other_outcome_but_an_error(workspace):
    workspace.add("fine")
    workspace.add("culled", pose=1.0)
    workspace.add("culled and blurry", sharpness=1.0)
    workspace.add("culled and broken", outcome="error", reason="decode: truncated", path=None)
    workspace.cull(
        ("culled", "reject,hand in front"), ("culled and blurry", "reject,"), ("culled and broken", "reject,"), ("fine", "keep,")
    )
    counts = workspace.run()
    assert workspace.outcomes() == {
        "fine": ("selected", None),
        "culled": ("culled", "culled by a person: hand in front"),
        "culled and blurry": ("culled", "culled by a person"),
        "culled and broken": ("error", "decode: truncated"),
    }
    assert (counts["culled"], counts["unused_decisions"]) == (2, 0)
    assert list(workspace.staged()) == [f"{UPPER_BODY}/001_fine.png"]


def test_a_culled_subject_makes_no_near_copies(workspace):
    workspace.add("best", pose=0.9, phash=1)
    workspace.add("copy", pose=0.5, phash=1)
    workspace.run()
    assert workspace.outcomes()["copy"] == ("passed over", "near copy of best (distance 0)")
    workspace.cull(("best", "reject,"))
    workspace.run()
    assert workspace.outcomes() == {"copy": ("selected", None), "best": ("culled", "culled by a person")}
    assert list(workspace.staged()) == [f"{UPPER_BODY}/001_copy.png"]


def test_decisions_that_fit_no_frame_are_counted_and_said(workspace, log_text):
    workspace.add("fine")
    workspace.cull(("gone", "reject,"))
    assert workspace.run()["unused_decisions"] == 1
    assert sha("frame gone") in log_text()


def test_the_results_tell_counts_reasons_and_the_selected_of_every_category(workspace):
    workspace.score = {"top_n": 2, "per_video": "auto"}
    for number in range(4):
        workspace.add(f"u{number}", pose=number / 10)
    workspace.add("copy", pose=0.05, phash=workspace.rows[3]["phash"])
    workspace.add("b1", sharpness=1.0)
    workspace.add("b2", sharpness=2.0)
    workspace.add("many", contour_areas=[0.1] * 5)
    workspace.add("gone", outcome="error", reason="read: No such file or directory", path=None, category=FULL_BODY)
    workspace.run()
    told = workspace.told["categories"]
    assert list(told) == list(CATEGORIES)
    assert told[FACE_AND_HAIR] == {
        "listed": 0,
        "outcomes": dict.fromkeys(("selected", "passed over", "failed", "culled", "error"), 0),
        "reasons": {},
        "per_video": None,
        "selected": [],
    }
    assert told[FULL_BODY]["reasons"] == {"error": {"read: No such file or directory": 1}}
    assert told[UPPER_BODY]["outcomes"] == {"selected": 2, "passed over": 3, "failed": 3, "culled": 0, "error": 0}
    assert told[UPPER_BODY]["reasons"] == {
        "passed over": {"beyond top_n": 2, "near copy": 1},
        "failed": {"too blurry": 2, "too many objects": 1},
    }
    assert told[UPPER_BODY]["per_video"] == 4
    best = told[UPPER_BODY]["selected"][0]
    assert (best["rank"], best["frame_id"], best["pose"], best["path"]) == (1, "u3", 0.3, f"{STAGING}/{UPPER_BODY}/001_u3.png")
    assert best["score"] == pytest.approx(0.6 * 0.3 + 0.3 * best["sharpness_percentile"] + 0.1 * 0.5)
    assert workspace.told["settings"]["top_n"] == about(workspace.output)["score"]["top_n"] == 2


def test_a_second_run_gives_the_same_bytes_and_touches_no_link(workspace):
    for number in range(5):
        workspace.add(f"{number}", pose=number / 10)
    workspace.run()
    before = workspace.output.read_bytes(), workspace.results.read_bytes()
    links = {path: path.stat().st_ctime_ns for path in (workspace.root / STAGING).glob("*/*.png")}
    workspace.run()
    assert (workspace.output.read_bytes(), workspace.results.read_bytes()) == before
    assert {path: path.stat().st_ctime_ns for path in (workspace.root / STAGING).glob("*/*.png")} == links


def test_the_order_of_the_tables_decides_nothing(workspace):
    for number in range(6):
        workspace.add(f"{number}", video=f"v{number % 3}", pose=number % 2 / 2)
    workspace.run()
    before = workspace.table
    workspace.rows.reverse()
    workspace.run()
    assert workspace.table == before


def test_links_follow_the_ranks_and_take_no_room(workspace):
    first, second = workspace.add("first", pose=0.9), workspace.add("second", pose=0.1)
    workspace.run()
    link = workspace.root / STAGING / UPPER_BODY / "001_first.png"
    assert link.samefile(workspace.root / first["path"])
    second["pose"] = 1.0
    workspace.run()
    assert list(workspace.staged()) == [f"{UPPER_BODY}/001_second.png", f"{UPPER_BODY}/002_first.png"]
    second["file_sha256"] = sha("retouched")
    path = workspace.root / second["path"]
    path.unlink()
    path.write_text("retouched")
    workspace.run()
    assert workspace.staged()[f"{UPPER_BODY}/001_second.png"] == "retouched"


def test_what_a_person_made_of_a_staged_picture_stays_and_counts(workspace):
    workspace.add("mine")
    workspace.add("other", pose=0.1)
    workspace.run()
    staged = workspace.root / STAGING / UPPER_BODY / "001_mine.png"
    staged.unlink()
    staged.write_text("better")
    (staged.parent / "notes.txt").write_text("of a person")
    workspace.run()
    rows = {row["frame_id"]: row for row in workspace.table}
    assert staged.read_text() == "better"
    assert rows["mine"]["file_sha256"] == sha("better")
    assert rows["other"]["file_sha256"] == sha("other")
    assert (staged.parent / "notes.txt").exists()


def test_a_picture_that_is_gone_is_an_error_and_the_next_takes_its_place(workspace):
    workspace.score = {"top_n": 1}
    gone = workspace.add("gone", pose=0.9)
    workspace.add("next", pose=0.1)
    (workspace.root / gone["path"]).unlink()
    workspace.run()
    assert workspace.outcomes() == {"next": ("selected", None), "gone": ("error", "read: the picture is gone; run step 03 again")}


def test_a_workspace_without_subjects_has_an_empty_selection(workspace):
    assert workspace.run()["listed"] == 0
    assert workspace.table == []
    assert [entry["listed"] for entry in workspace.told["categories"].values()] == [0, 0, 0]


def test_a_frame_of_two_tables_stops_the_step(workspace):
    workspace.add("twice")
    workspace.add("twice", video="w")
    with pytest.raises(AccountingError, match=r"listed twice: twice"):
        workspace.run()


def test_a_review_that_says_something_else_names_its_line(workspace):
    workspace.add("fine")
    workspace.cull(("fine", "perhaps,"))
    with pytest.raises(StepError, match=r"0\.csv, line 2"):
        workspace.run()
