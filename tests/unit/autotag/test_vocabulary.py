"""autotag 00: the most frequent tags of many files, in one spelling, in one order."""

import json
import runpy
from types import SimpleNamespace

import pytest

from workflow_scripts.autotag import vocabulary as vocabulary_module
from workflow_scripts.autotag.target_words import read_vocabulary
from workflow_scripts.autotag.vocabulary import write_vocabulary
from workflow_scripts.core.step import StepError


@pytest.fixture
def tags(tmp_path):
    """A folder, and a function that writes the tags of a shard's images into it."""
    folder = tmp_path / "tags"
    folder.mkdir()

    def write(shard, *images):
        entries = [{"key": f"{number:03d}", "tags": list(each)} for number, each in enumerate(images)]
        (folder / f"{shard}.json").write_text(json.dumps(entries))

    write.folder = folder
    return write


def lines(tags, *shards, **options):
    output = tags.folder.parent / "vocabulary.txt"
    counts = write_vocabulary(tags.folder, shards, output, **options)
    return output.read_text(encoding="utf-8").splitlines(), counts


def test_tags_of_all_shards_come_in_the_order_of_how_many_images_have_them_and_then_by_name(tags):
    tags("00000", ["dog", "cat", "zebra"], ["cat"], [])
    tags("00001", ["cat", "dog", "ant"], ["écu"])
    assert lines(tags, "00000", "00001") == (["cat", "dog", "ant", "zebra", "écu"], {"shards": 2, "tagged": 4, "tags": 5, "words": 5})
    assert lines(tags, "00001")[0] == ["ant", "cat", "dog", "écu"]


def test_spellings_of_a_tag_count_together_and_once_an_image(tags):
    tags("00000", ["Straße", "STRASSE", " strasse "], ["cafe\u0301", "Café"], ["café", "a\nred\t car"])
    assert lines(tags, "00000")[0] == ["café", "a red car", "strasse"]


def test_only_the_most_frequent_are_words(tags):
    tags("00000", *[[f"tag {number:03d}" for number in range(row, 300)] for row in range(3)])
    found, counts = lines(tags, "00000")
    assert found == [f"tag {number:03d}" for number in [*range(2, 202)]]
    assert counts["tags"] == 300
    assert counts["words"] == vocabulary_module.WORDS == 200
    assert lines(tags, "00000", words=2)[0] == ["tag 002", "tag 003"]


def test_the_vocabulary_is_what_the_other_steps_read(tags):
    tags("00000", ["Cat", "a dog"], ["cat"])
    found, _ = lines(tags, "00000")
    assert read_vocabulary(tags.folder.parent / "vocabulary.txt") == found == ["cat", "a dog"]


def test_a_shard_without_tags_is_passed_over_with_a_warning(tags, log_text):
    tags("00000", ["cat"])
    assert lines(tags, "00000", "00007")[0] == ["cat"]
    assert "00007.json: not there: its images count as untagged" in log_text()


@pytest.mark.parametrize("images", [[], [[]], [["", " "]]])
def test_without_a_tag_the_step_ends_and_says_what_to_set(tags, images):
    tags("00000", *images)
    with pytest.raises(StepError, match=r"no image has a tag in .*tags; name the folder, or set autotag\.segmenter\.vocabulary"):
        lines(tags, "00000")
    assert not (tags.folder.parent / "vocabulary.txt").exists()


def test_a_broken_file_ends_the_step(tags):
    (tags.folder / "00000.json").write_text("[")
    with pytest.raises(StepError, match=r"00000\.json: is no JSON"):
        lines(tags, "00000")


def test_the_step_takes_what_its_rule_gives(tags, tmp_path, in_a_step):
    tags("00000", ["cat"])
    tags("00001", ["dog"])
    params = SimpleNamespace(source={"dataset": "elsewhere", "tags": str(tags.folder)}, shards=["00001"])
    job = SimpleNamespace(params=params, output=[str(tmp_path / "v.txt")], log=[str(tmp_path / "log.txt")])
    runpy.run_path(vocabulary_module.__file__, {"snakemake": job})
    assert (tmp_path / "v.txt").read_text() == "dog\n"
    assert "done: shards=1 tagged=1 tags=1 words=1" in (tmp_path / "log.txt").read_text()
