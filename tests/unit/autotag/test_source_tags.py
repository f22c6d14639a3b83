"""How frequent tags are: counted by image, over all shards, of embedded images alone."""

from pathlib import Path

import pytest

from workflow_scripts.autotag.blocks import FILES, IMAGES_TABLE, Shard, file_entry
from workflow_scripts.autotag.source_tags import tag_images
from workflow_scripts.autotag.tables import IMAGES
from workflow_scripts.core import tables
from workflow_scripts.core.step import StepError


def shard(folder: Path, number: str, *images: tuple[str, list[str] | None]) -> Shard:
    """A shard with a table of images, each with its outcome and its tags."""
    rows = [{"shard": number, "key": str(place), "outcome": outcome, "tags": tags} for place, (outcome, tags) in enumerate(images)]
    tables.write(folder / FILES[IMAGES_TABLE].format(number), IMAGES, rows)
    return Shard(number, 0, {}, 0, {IMAGES_TABLE: file_entry(folder, IMAGES_TABLE, number)})


def test_tags_are_counted_by_image_over_all_shards(tmp_path):
    first = shard(tmp_path, "00000", ("embedded", ["b", "a"]), ("embedded", []), ("error", ["a"]), ("absent", ["a"]))
    second = shard(tmp_path, "00001", ("embedded", ["a"]), ("embedded", None), ("empty", ["b"]), ("embedded", ["c ü"]))
    assert list(tag_images([first, second], tmp_path).items()) == [("a", 2), ("b", 1), ("c ü", 1)]


def test_the_most_frequent_are_kept(tmp_path):
    one = shard(tmp_path, "00000", ("embedded", ["b", "a", "c"]), ("embedded", ["c"]))
    assert tag_images([one], tmp_path, most=2) == {"c": 2, "a": 1}


def test_no_tags_and_no_shards_are_none(tmp_path):
    assert tag_images([], tmp_path) == {}
    assert tag_images([shard(tmp_path, "00000", ("embedded", []))], tmp_path) == {}


def test_a_table_that_was_changed_is_said(tmp_path):
    one = shard(tmp_path, "00000", ("embedded", ["a"]))
    with (tmp_path / FILES[IMAGES_TABLE].format("00000")).open("ab") as handle:
        handle.write(b"x")
    with pytest.raises(StepError, match=r"images_00000\.parquet: is gone or was changed"):
        tag_images([one], tmp_path)
