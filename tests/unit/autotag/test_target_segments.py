"""A folder of images to its segments and crops, with a segmenter that finds squares of known colours."""

import io
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.autotag import target_crops
from workflow_scripts.autotag.segment_target import Outputs, Prompts, segment_folder
from workflow_scripts.autotag.segmenters.base import Found, Segmenter
from workflow_scripts.autotag.target_finder import Finder
from workflow_scripts.core.images import content_hash, decode
from workflow_scripts.core.models import hash_file
from workflow_scripts.core.step import StepError
from workflow_scripts.core.tables import about, read
from workflow_scripts.demo.people_data import ODD_NAMES, bomb

COLOURS = {"red": (220, 20, 30), "green": (20, 180, 40), "blue": (30, 40, 210)}
SEGMENT = {"backend": "squares", "prompts": "everything", "min_area": 10, "min_crop": 1, "max_segments": 64, "whole_image": True}
Box = tuple[int, int, int, int]
Row = dict[str, Any]


class Squares(Segmenter):
    """Finds what has exactly one of the colours; asked in words, those that are named."""

    def __init__(self, fingerprint: str = "squares", *, takes_words: bool = False, batch: int = 2) -> None:
        self.batch, self.takes_words, self.fingerprint = batch, takes_words, fingerprint
        self.seen: list[tuple[tuple[int, int], list[str]]] = []

    def segment(self, images: Sequence[Image.Image], words: Sequence[Sequence[str]]) -> list[list[Found]]:
        assert 0 < len(images) == len(words) <= self.batch
        self.seen += [(image.size, list(asked)) for image, asked in zip(images, words, strict=True)]
        return [self._found(np.asarray(image), asked) for image, asked in zip(images, words, strict=True)]

    def _found(self, pixels: Any, words: Sequence[str]) -> list[Found]:
        found = []
        for number, (name, colour) in enumerate(COLOURS.items()):
            mask = (pixels == colour).all(2)
            if mask.any() and (name in words or not self.takes_words):
                y, x = np.nonzero(mask)
                box = (x.min() + 0.25, y.min() + 0.25, x.max() + 0.75, y.max() + 0.75)
                sure = 0.9 - number / 10
                found.append(Found(tuple(map(float, box)), sure, number, name if self.takes_words else None, int(mask.sum())))
        return found


def painted(size: tuple[int, int] = (80, 60), **squares: Box) -> Image.Image:
    """A picture with squares, by colour."""
    image = Image.new("RGB", size, (250, 250, 250))
    for name, box in squares.items():
        image.paste(COLOURS[name], box)
    return image


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


class Target:
    """A folder to tag, and what is made of it."""

    def __init__(self, root: Path) -> None:
        self.folder, self.output = root / "holiday #1", root / "results/segmentation"
        self.folder.mkdir()
        self.files = Outputs(self.output / "images.parquet", self.output / "segments.parquet", self.output / "metadata.json")
        self.cache = root / "cache"
        self.segmenter = Squares()
        self.prompts = Prompts()
        self.loaded = 0

    def add(self, path: str, data: bytes | Image.Image) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(data if isinstance(data, bytes) else png(data))

    def run(self, max_pixels: int = 1_000_000, threads: int = 2, **settings: Any) -> dict[str, int]:
        def load() -> Segmenter:
            self.loaded += 1
            return self.segmenter

        self.loaded, self.segmenter.seen = 0, []
        finder = Finder(self.segmenter.fingerprint, load, cache_root=str(self.cache), threads=threads, max_pixels=max_pixels)
        return segment_folder(self.folder, finder, SEGMENT | settings, self.prompts, self.files, threads=threads)

    @property
    def images(self) -> dict[str, Row]:
        return {row["image"]: row for row in read(self.files.images)}

    @property
    def segments(self) -> list[Row]:
        return read(self.files.segments)

    @property
    def crops(self) -> dict[str, Path]:
        return {path.name: path for path in (self.output / "crops").glob("*") if path.is_file()}

    def contents(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (*self.files, *self.crops.values())}


@pytest.fixture
def target(tmp_path: Path) -> Target:
    found = Target(tmp_path)
    found.add("a/one.png", painted(red=(10, 10, 30, 40), blue=(50, 20, 60, 30)))
    found.add("two.png", painted(green=(0, 0, 80, 10)))
    found.add("plain.png", painted())
    return found


def test_every_image_and_every_crop_has_a_row(target: Target) -> None:
    target.add("notes.txt", b"no image")
    counts = target.run()
    assert counts == {"listed": 3, "segmented": 3, "error": 0, "skipped": 1, "crops": 6, "theirs": 0, "computed": 3, "known": 0}
    assert list(target.images) == ["a/one.png", "plain.png", "two.png"]
    one = target.images["a/one.png"]
    data = (target.folder / "a/one.png").read_bytes()
    assert one == {
        "image": "a/one.png",
        "key": "a__one",
        "sha256": content_hash(data),
        "width": 80,
        "height": 60,
        "found": 2,
        "too_small": 0,
        "too_thin": 0,
        "beyond_max": 0,
        "crops": 3,
        "outcome": "segmented",
        "reason": None,
    }
    assert [(row["crop_id"], row["bbox"], row["area"], row["box_area"]) for row in target.segments] == [
        ("a__one_0", [10, 10, 30, 40], 600, 600),
        ("a__one_1", [50, 20, 60, 30], 100, 100),
        ("a__one_full", [0, 0, 80, 60], 4800, 4800),
        ("plain_full", [0, 0, 80, 60], 4800, 4800),
        ("two_0", [0, 0, 80, 10], 800, 800),
        ("two_full", [0, 0, 80, 60], 4800, 4800),
    ]
    first = target.segments[0]
    assert {name: first[name] for name in ("image", "key", "sha256", "width", "height", "class_id", "label")} == {
        **{name: one[name] for name in ("image", "key", "sha256", "width", "height")},
        "class_id": 0,
        "label": None,
    }
    assert [row["confidence"] is None for row in target.segments] == [row["crop_id"].endswith("_full") for row in target.segments]
    assert about(target.files.segments) == about(target.files.images)
    assert about(target.files.segments) == {
        "folder": "holiday #1",
        "segmenter": {"backend": "squares", "fingerprint": "squares", "prompts": "everything"},
        "skipped": 1,
    }


def test_crops_are_the_pixels_of_their_boxes_as_jpeg_without_metadata(target: Target) -> None:
    exif = Image.Exif()
    exif[0x010E] = "secret"
    buffer = io.BytesIO()
    painted(red=(20, 5, 60, 35)).save(buffer, "PNG", exif=exif.tobytes(), icc_profile=b"")
    target.add("three.png", buffer.getvalue())
    target.run()
    assert set(target.crops) == {row["file"] for row in target.segments} == {f"{row['crop_id']}.jpg" for row in target.segments}
    for row in target.segments:
        path = target.crops[row["file"]]
        assert hash_file(path) == row["file_sha256"]
        with Image.open(path) as image:
            x1, y1, x2, y2 = row["bbox"]
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (x2 - x1, y2 - y1))
            assert not image.getexif()
            # Tables of quality 95 of the JPEG library begin so.
            assert list(image.quantization[0][:3]) == [2, 1, 1]
        assert b"secret" not in path.read_bytes()
    shown = np.asarray(decode(target.crops["three_0.jpg"].read_bytes()).image, int)
    assert np.abs(shown - COLOURS["red"]).max() < 6


def test_the_json_says_the_same_for_other_readers(target: Target) -> None:
    target.run()
    found = json.loads(target.files.metadata.read_text())
    assert {name: found[name] for name in ("folder", "images", "crops")} == {"folder": "holiday #1", "images": 3, "crops": 6}
    names = ["key", "bbox", "area", "label", "vlm_tags", "crop_id", "image", "sha256", "width", "height"]
    assert [list(row) for row in found["segments"]] == [names] * 6
    assert found["segments"] == [{name: (row | {"vlm_tags": []})[name] for name in names} for row in target.segments]


def test_the_whole_image_is_a_crop_where_wanted_and_where_there_is_no_other(target: Target) -> None:
    target.run(whole_image=False)
    assert [row["crop_id"] for row in target.segments] == ["a__one_0", "a__one_1", "plain_full", "two_0"]


def test_other_settings_choose_anew_without_the_segmenter(target: Target) -> None:
    target.run()
    before = target.contents()
    counts = target.run(min_area=200, whole_image=False)
    assert (counts["known"], counts["computed"], target.loaded) == (3, 0, 0)
    assert [row["crop_id"] for row in target.segments] == ["a__one_0", "plain_full", "two_0"]
    assert target.images["a/one.png"]["too_small"] == 1
    assert set(target.crops) == {"a__one_0.jpg", "plain_full.jpg", "two_0.jpg"}, "others are removed"
    assert all(path.read_bytes() == before[name] for name, path in target.crops.items())
    target.run()
    assert target.contents() == before


def test_a_second_run_reads_and_writes_nothing_again(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    target.run()
    times = {name: path.stat().st_mtime_ns for name, path in target.crops.items()}
    before = target.contents()
    monkeypatch.setattr("workflow_scripts.autotag.target_finder.decode", None)
    monkeypatch.setattr(target_crops, "crop", None)
    assert target.run()["known"] == 3
    assert target.contents() == before
    assert {name: path.stat().st_mtime_ns for name, path in target.crops.items()} == times


def test_after_a_kill_finished_images_are_not_segmented_again(target: Target) -> None:
    class Killed(BaseException):
        pass

    class Dying(Squares):
        def segment(self, images: Sequence[Image.Image], words: Sequence[Sequence[str]]) -> list[list[Found]]:
            if self.seen:
                raise Killed
            return super().segment(images, words)

    target.segmenter = Dying(batch=1)
    with pytest.raises(Killed):
        target.run(threads=1)
    assert not any(path.exists() for path in target.files)
    target.segmenter = Squares()
    counts = target.run()
    assert (counts["known"], counts["computed"], counts["crops"]) == (1, 2, 6)


def test_another_segmenter_or_other_words_find_anew(target: Target) -> None:
    target.run()
    target.segmenter = Squares("other")
    assert target.run()["computed"] == 3
    target.segmenter = Squares("other", takes_words=True)
    target.prompts = Prompts(vocabulary=_words(target, "red"))
    assert target.run()["computed"] == 3
    assert [row["label"] for row in target.segments if row["confidence"] is not None] == ["red"]
    target.prompts = Prompts(vocabulary=_words(target, "red\ngreen"))
    assert target.run()["computed"] == 3
    assert target.segmenter.seen[0][1] == ["red", "green"]
    assert [row["label"] for row in target.segments if row["confidence"] is not None] == ["red", "green"]
    target.prompts = Prompts(vocabulary=_words(target, "red"))
    assert target.run()["known"] == 3


def _words(target: Target, text: str) -> Path:
    path = target.folder.parent / "words.txt"
    path.write_text(text)
    return path


def test_each_image_is_searched_for_its_own_tags(target: Target) -> None:
    tags = target.folder.parent / "holiday #1.json"
    tags.write_text(json.dumps([{"image_path": "a/one.png", "tags": [" blue ", "Red"]}, {"key": "two", "tags": ["green"]}]))
    target.prompts, target.segmenter = Prompts(tags=tags), Squares(takes_words=True, batch=8)
    target.run()
    assert {tuple(words) for _, words in target.segmenter.seen} == {("blue", "Red"), ("green",), ()}
    assert [(row["image"], row["label"]) for row in target.segments if row["label"]] == [("a/one.png", "blue"), ("two.png", "green")]
    view = json.loads(target.files.metadata.read_text())["segments"]
    assert {row["image"]: row["vlm_tags"] for row in view} == {"a/one.png": [" blue ", "Red"], "plain.png": [], "two.png": ["green"]}
    # The same words for one image alone: the others stay known.
    tags.write_text(json.dumps([{"image_path": "a/one.png", "tags": ["red"]}, {"key": "two", "tags": ["green"]}]))
    assert target.run()["computed"] == 1


def test_copies_have_rows_of_their_own_and_are_segmented_once(target: Target) -> None:
    data = (target.folder / "a/one.png").read_bytes()
    target.add("b/one.png", data)
    target.add("z.png", data)
    counts = target.run()
    assert (counts["listed"], counts["computed"], counts["known"]) == (5, 3, 2)
    ids = [row["crop_id"] for row in target.segments if row["sha256"] == content_hash(data)]
    assert ids == [f"{key}_{end}" for key in ("a__one", "b__one", "z") for end in (0, 1, "full")]
    assert len({target.crops[f"{name}.jpg"].read_bytes() for name in ids}) == 3


def test_copies_that_come_in_one_batch_wait_for_the_first(target: Target) -> None:
    target.segmenter = Squares(batch=64)
    for number in range(5):
        target.add(f"copy {number}.png", (target.folder / "two.png").read_bytes())
    counts = target.run()
    assert (counts["computed"], counts["known"]) == (3, 5)
    assert len(target.segmenter.seen) == 3


def test_what_cannot_be_read_is_a_row_with_the_reason(target: Target) -> None:
    whole = png(Image.effect_noise((200, 200), 90).convert("RGB"))
    target.add("cut.png", whole[: len(whole) // 2])
    target.add("empty.jpg", b"")
    target.add("text.jpg", b"hello")
    target.add("bomb.png", bomb())
    target.add("large.png", painted((1001, 1000)))
    (target.folder / "nowhere.jpg").symlink_to("gone.jpg")
    counts = target.run()
    reasons = {image: row["reason"] for image, row in target.images.items() if row["outcome"] == "error"}
    assert reasons == {
        "bomb.png": "decode: too large",
        "cut.png": "decode: truncated",
        "empty.jpg": "decode: empty file",
        "large.png": "decode: too large",
        "nowhere.jpg": "read: no such file or directory",
        "text.jpg": "decode: not an image",
    }
    assert (counts["listed"], counts["segmented"], counts["error"]) == (9, 3, 6)
    assert target.images["cut.png"]["crops"] is None
    assert target.images["cut.png"]["sha256"] == content_hash(whole[: len(whole) // 2])
    assert not [row for row in target.segments if row["image"] in reasons]


def test_a_file_larger_than_any_image_may_be_is_not_read(target: Target) -> None:
    with (target.folder / "huge.png").open("wb") as file:
        file.truncate((64 << 20) + 16 * 10_000 + 1)
    assert target.run(max_pixels=10_000)["error"] == 1
    row = target.images["huge.png"]
    assert (row["reason"], row["sha256"]) == ("decode: too large", None)


def test_a_known_image_that_is_too_large_now_is_an_error(target: Target) -> None:
    target.run()
    assert target.run(max_pixels=4_000)["error"] == 3
    assert not target.crops


def test_an_image_longer_than_any_jpeg_is_an_error(target: Target) -> None:
    target.add("long.png", painted((66_000, 3)))
    counts = target.run(whole_image=False)
    assert counts["error"] == 1
    assert re.match("crop: longer than 65500 pixels", target.images["long.png"]["reason"])


def test_odd_names_work_and_stand_in_the_tables_as_they_are(target: Target) -> None:
    names = [*(name.replace("/", "_") for name in ODD_NAMES), "ä" * 125 + ".jpg", "-n.png", ".hidden.png", "#%{}.png"]
    for number, name in enumerate(names):
        target.add(f"odd #/{name}", painted(red=(5, 5, 20, 20 + number)))
    counts = target.run()
    assert counts["segmented"] == 3 + len(names)
    assert {f"odd #/{name}" for name in names} < set(target.images)
    odd = [row for row in target.segments if row["image"].startswith("odd")]
    assert len(odd) == 2 * len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]+_(0|full)\.jpg", row["file"]) for row in odd)
    assert all(target.crops[row["file"]].stat().st_size > 300 for row in odd)


def test_a_name_that_is_no_utf8_is_an_error_with_a_name_that_can_be_written(target: Target) -> None:
    (target.folder / os.fsdecode(b"\xff.png")).write_bytes(b"")
    counts = target.run()
    assert counts["error"] == 1
    assert target.images["\\udcff.png"]["reason"] == "name: no UTF-8; rename it"
    assert list(target.images) == ["\\udcff.png", "a/one.png", "plain.png", "two.png"]


def test_what_people_put_into_the_folder_stays_and_is_no_crop(target: Target, log_text: Any) -> None:
    target.run()
    mine, changed = target.output / "crops/mine.jpg", target.crops["two_0.jpg"]
    mine.write_bytes(b"mine")
    changed.write_bytes(b"changed")
    counts = target.run()
    assert counts["theirs"] == 1
    assert "1 crops are left out" in log_text()
    assert (mine.read_bytes(), changed.read_bytes()) == (b"mine", b"changed")
    assert [row["crop_id"] for row in target.segments if row["file_sha256"] is None] == ["two_0"]
    (target.folder / "two.png").unlink()
    target.run()
    assert (mine.read_bytes(), changed.read_bytes()) == (b"mine", b"changed"), "not ours to remove"
    assert not [name for name in target.crops if name.startswith("two_full")]


def test_a_crop_that_was_taken_away_is_made_again(target: Target) -> None:
    target.run()
    before = target.contents()
    target.crops["two_0.jpg"].unlink()
    assert target.run()["computed"] == 0
    assert target.contents() == before


def test_a_changed_image_has_new_crops(target: Target) -> None:
    target.run()
    before = target.contents()
    target.add("two.png", painted(green=(0, 0, 80, 10), red=(40, 40, 60, 60)))
    counts = target.run()
    assert (counts["known"], counts["computed"]) == (2, 1)
    assert next(row["bbox"] for row in target.segments if row["image"] == "two.png") == [40, 40, 60, 60]
    assert target.contents()["two_0.jpg"] != before["two_0.jpg"]


def test_a_crop_of_the_same_place_in_another_image_is_another_crop(target: Target) -> None:
    target.run()
    target.add("two.png", painted(blue=(0, 0, 80, 10)))
    target.run()
    shown = np.asarray(decode(target.crops["two_0.jpg"].read_bytes()).image, int)
    assert np.abs(shown - COLOURS["blue"]).max() < 8


def test_a_crop_that_moves_up_is_another_crop(target: Target) -> None:
    target.add("moved.png", painted(red=(0, 0, 10, 10), blue=(20, 20, 60, 60)))
    target.run()
    target.run(min_area=200)
    assert [row["bbox"] for row in target.segments if row["image"] == "moved.png"] == [[20, 20, 60, 60], [0, 0, 80, 60]]
    with Image.open(target.crops["moved_0.jpg"]) as image:
        assert image.size == (40, 40)


def test_an_empty_folder_has_empty_tables(tmp_path: Path) -> None:
    target = Target(tmp_path)
    assert target.run()["listed"] == 0
    assert (target.segments, target.images, target.loaded) == ([], {}, 0)
    assert json.loads(target.files.metadata.read_text()) == {"folder": "holiday #1", "images": 0, "crops": 0, "segments": []}


def test_a_folder_that_is_not_there_is_refused(target: Target) -> None:
    target.folder = target.folder / "gone"
    with pytest.raises(StepError, match="gone: no such folder"):
        target.run()


def test_bytes_do_not_depend_on_batches_threads_and_what_was_known(target: Target, tmp_path: Path) -> None:
    for number in range(12):
        target.add(f"more/{number}.png", painted(red=(number, 3, number + 20, 30), blue=(40, number, 60, 50)))
    target.run(threads=1)
    before = target.contents()
    for path in target.files:
        path.unlink()
    (target.cache / "segments").rename(tmp_path / "away")
    target.segmenter = Squares(batch=7)
    target.run(threads=4)
    assert target.contents() == before


class Picky(Squares):
    """Fails at pictures of one width, as a library may at an odd one."""

    def segment(self, images: Sequence[Image.Image], words: Sequence[Sequence[str]]) -> list[list[Found]]:
        if any(image.width == 77 for image in images):
            raise ValueError("cannot reshape array")
        return super().segment(images, words)


def test_an_image_that_the_segmenter_fails_at_costs_itself_and_its_copies_alone(target: Target) -> None:
    target.segmenter = Picky()
    for name in ("odd.png", "odd again.png"):
        target.add(name, painted((77, 60), red=(0, 0, 20, 20)))
    counts = target.run()
    assert (counts["segmented"], counts["error"], counts["computed"]) == (3, 2, 3)
    failed = [row for row in target.images.values() if row["outcome"] == "error"]
    assert {(row["image"], row["reason"]) for row in failed} == {
        (name, "segment: cannot reshape array") for name in ("odd.png", "odd again.png")
    }
    assert all(row["sha256"] for row in failed)
    # Nothing is kept of a failure: the next run may have a better segmenter.
    target.segmenter = Squares()
    assert target.run()["segmented"] == 5


def test_a_segmenter_that_fails_at_everything_ends_the_step(target: Target) -> None:
    class Broken(Squares):
        def segment(self, images: Sequence[Image.Image], words: Sequence[Sequence[str]]) -> list[list[Found]]:
            raise RuntimeError("the device is gone")

    target.segmenter = Broken()
    with pytest.raises(RuntimeError, match="the device is gone"):
        target.run()
