"""Measures of a video: a row for every mask, nothing measured twice, and errors that say what is wrong."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.core.accounting import AccountingError
from workflow_scripts.lora import measure as measure_module
from workflow_scripts.lora.measure import measure
from workflow_scripts.lora.tables import MASKS, SORTED, about, read, write

pytest.importorskip("cv2")
pytest.importorskip("imagehash")

SIZE = (120, 90)
CONFIDENCE = 0.75


class Video:
    """Frames and masks of one video, and step 04 over them."""

    def __init__(self, root):
        self.root, self.cache = root / "ws", root / "cache"
        self.candidates, self.masks = [], []
        self.max_pixels = 1_000_000

    def add(self, seed=0, *, outcome="masked", reason=None):
        """A frame of noise with a mask in its middle."""
        n = len(self.masks) + 1
        random = np.random.Generator(np.random.PCG64(seed))
        frame = random.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
        alpha = np.zeros((SIZE[1], SIZE[0]), np.uint8)
        alpha[20:70, 30:90] = 255
        row = {"frame_id": f"v_frame_{n:06d}", "video": "v", "n": n, "category": "upper_body", "reason": reason}
        row["sha256"], path = self.save(Image.fromarray(frame), f"01_source_frames/v/{n}.png")
        box = {"box": [30.0, 20.0, 90.0, 70.0], "confidence": 0.9, "keypoints": [1.0, 1.0, CONFIDENCE] * 17}
        self.candidates.append(row | {"path": path, "person": box, "person_count": 1, "outcome": "candidate"})
        content, path = self.save(Image.fromarray(np.dstack([frame, alpha])), f"03_masked_subjects/upper_body/{n}.png")
        self.masks.append(row | {"path": path, "file_sha256": content, "outcome": outcome})
        return self.masks[-1], self.candidates[-1]

    def save(self, image, name):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        return hashlib.sha256(path.read_bytes()).hexdigest(), name

    def run(self, threads=2):
        tables = self.root / "masks.parquet", self.root / "sorted.parquet"
        write(tables[0], MASKS, self.masks, {"video": "v"})
        write(tables[1], SORTED, self.candidates)
        self.output = self.root / "04_metrics" / "v.parquet"
        counts = measure(*tables, self.root, {"cache_root": str(self.cache), "threads": threads}, self.output, max_pixels=self.max_pixels)
        return counts, read(self.output)


@pytest.fixture
def video(tmp_path):
    return Video(tmp_path)


@pytest.fixture
def measurings(monkeypatch):
    """The boxes of the subjects that were really measured."""
    boxes, real = [], measure_module.measure_subject
    monkeypatch.setattr(measure_module, "measure_subject", lambda *args: boxes.append(args[2]) or real(*args))
    return boxes


def test_every_mask_has_a_row_with_its_measures_in_its_order(video):
    masks = [video.add(seed)[0] for seed in range(7)]
    counts, rows = video.run()
    assert counts == {"listed": 7, "measured": 7, "error": 0, "known": 0, "computed": 7}
    for row, mask in zip(rows, masks, strict=True):
        assert {name: row[name] for name in mask if name not in ("outcome", "reason")} == {
            name: value for name, value in mask.items() if name not in ("outcome", "reason")
        }
        assert (row["outcome"], row["reason"], row["pose"]) == ("measured", None, CONFIDENCE)
        assert row["area_fraction"] == pytest.approx(50 * 60 / (SIZE[0] * SIZE[1]))
        assert (row["sharpness_pixels"], row["holes"], row["edges"]) == (40 * 50, 0, [])
        assert row["sharpness"] > 1000
    assert len({row["phash"] for row in rows}) == 7
    assert about(video.output) == {"video": "v"}


def test_an_error_of_step_03_is_passed_on(video):
    video.add()
    video.add(1, outcome="error", reason="decode: truncated")
    counts, rows = video.run()
    assert [(row["outcome"], row["reason"]) for row in rows] == [("measured", None), ("error", "decode: truncated")]
    assert rows[1]["sharpness"] is rows[1]["pose"] is None
    assert (counts["measured"], counts["error"], counts["computed"]) == (1, 1, 1)


def test_what_is_gone_broken_or_replaced_is_a_row_with_its_reason(video):
    places = [video.add(seed) for seed in range(6)]
    (video.root / places[0][0]["path"]).unlink()
    (video.root / places[1][1]["path"]).unlink()
    (video.root / places[2][0]["path"]).write_bytes((video.root / places[3][0]["path"]).read_bytes())
    (video.root / places[3][1]["path"]).write_bytes((video.root / places[4][1]["path"]).read_bytes())
    broken = (video.root / places[4][0]["path"]).read_bytes()[:200]
    (video.root / places[4][0]["path"]).write_bytes(broken)
    places[4][0]["file_sha256"] = hashlib.sha256(broken).hexdigest()
    counts, rows = video.run()
    assert [row["reason"] for row in rows] == [
        "read: No such file or directory",
        "read: No such file or directory",
        "mask: the picture was changed since step 03; run that step again",
        "read: another content than step 01 listed",
        "read: not a PNG that can be read",
        None,
    ]
    assert counts == {"listed": 6, "measured": 1, "error": 5, "known": 0, "computed": 1}


def test_a_frame_that_cannot_be_decoded_says_so(video):
    mask, candidate = video.add()
    (video.root / candidate["path"]).write_bytes(b"no image")
    candidate["sha256"] = mask["sha256"] = hashlib.sha256(b"no image").hexdigest()
    _, rows = video.run()
    assert (rows[0]["outcome"], rows[0]["reason"]) == ("error", "decode: not an image")


def test_a_frame_above_the_limit_is_an_error(video):
    video.add()
    video.max_pixels = 1000
    _, rows = video.run()
    assert (rows[0]["outcome"], rows[0]["reason"]) == ("error", "decode: too large")


def test_a_second_run_measures_nothing_and_gives_the_same_bytes(video, measurings):
    for seed in range(3):
        video.add(seed)
    _, first = video.run()
    before = video.output.read_bytes()
    counts, second = video.run(threads=1)
    assert len(measurings) == 3
    assert (counts["known"], counts["computed"]) == (3, 0)
    assert first == second
    assert video.output.read_bytes() == before


def test_a_subject_is_measured_anew_when_its_picture_or_its_box_changes_and_not_for_its_category(video, measurings):
    mask, candidate = video.add()
    video.run()
    mask["category"] = candidate["category"] = "full_body"
    counts, _ = video.run()
    assert (counts["known"], len(measurings)) == (1, 1)
    candidate["person"]["box"] = [30.0, 20.0, 80.0, 70.0]
    _, rows = video.run()
    assert len(measurings) == 2
    assert rows[0]["sharpness_pixels"] == (50 - 5) * 40  # beyond the right side of the box the mask goes on
    mask["file_sha256"], _ = video.save(Image.new("RGBA", SIZE, (5, 5, 5, 255)), mask["path"])
    _, rows = video.run()
    assert len(measurings) == 3
    assert rows[0]["area_fraction"] == 1.0


def test_an_empty_mask_is_measured_too_and_known_afterwards(video):
    mask, _ = video.add()
    mask["file_sha256"], _ = video.save(Image.new("RGBA", SIZE), mask["path"])
    for known in (0, 1):
        counts, rows = video.run()
        assert counts["known"] == known
        assert (rows[0]["outcome"], rows[0]["area_fraction"], rows[0]["contour_areas"]) == ("measured", 0.0, [])
        assert rows[0]["phash"] is rows[0]["brightness"] is rows[0]["sharpness"] is None


def test_a_video_without_masks_has_an_empty_table(video):
    assert video.run() == ({"listed": 0, "measured": 0, "error": 0, "known": 0, "computed": 0}, [])


def test_a_frame_that_is_listed_twice_stops_the_step(video):
    video.add()
    video.masks *= 2
    with pytest.raises(AccountingError, match="listed twice"):
        video.run()
