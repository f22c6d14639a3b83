"""The words that images are searched for: those of a file for all, or the tags of each."""

import json
from pathlib import Path
from typing import Any

import pytest

from workflow_scripts.autotag.target_words import read_tags, read_vocabulary, words_of
from workflow_scripts.core.step import StepError


def write(path: Path, entries: Any) -> Path:
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


def test_a_vocabulary_is_its_lines_each_once(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes("\ufeffred car\r\n\n  cat \ncat\n写真\n".encode())
    assert read_vocabulary(path) == ["red car", "cat", "写真"]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe\0c"])
def test_a_vocabulary_without_words_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(StepError, match=r"segmenter.vocabulary: .*words\.txt"):
        read_vocabulary(path)


def test_tags_belong_to_the_image_of_that_path_with_or_without_extension(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", [{"image_path": "./a/one.jpg", "tags": ["cat"]}, {"key": "a/two", "tags": ["dog"]}])
    found = read_tags(path, ["a/one.jpg", "a/two.png", "b/three.jpg"])
    assert found == {"a/one.jpg": ["cat"], "a/two.png": ["dog"]}


def test_tags_belong_to_the_file_of_that_name_wherever_it_lies(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", [{"image_path": "/elsewhere/one.jpg", "tags": ["cat"]}, {"key": "two", "tags": ["dog"]}])
    found = read_tags(path, ["a/one.jpg", "b/two.png", "one.png"])
    assert found == {"a/one.jpg": ["cat"], "b/two.png": ["dog"]}, "one.png is another file than one.jpg"


def test_the_path_goes_before_the_name_and_names_of_several_entries_count_for_none(tmp_path: Path) -> None:
    entries = [{"image_path": "a/one.jpg", "tags": ["cat"]}, {"image_path": "b/one.jpg", "tags": ["dog"]}]
    found = read_tags(write(tmp_path / "x.json", entries), ["b/one.jpg", "a/one.jpg", "c/one.jpg"])
    assert found == {"b/one.jpg": ["dog"], "a/one.jpg": ["cat"]}


def test_paths_of_several_entries_with_one_name_are_told_apart_without_extension_and_with_a_dot_before(tmp_path: Path) -> None:
    entries = [{"key": "a/one", "tags": ["cat"]}, {"key": "b/one", "tags": ["dog"]}, {"image_path": "./c/one", "tags": ["fox"]}]
    found = read_tags(write(tmp_path / "x.json", entries), ["a/one.jpg", "b/one.jpg", "c/one.jpg"])
    assert found == {"a/one.jpg": ["cat"], "b/one.jpg": ["dog"], "c/one.jpg": ["fox"]}


def test_image_path_goes_before_key(tmp_path: Path) -> None:
    entries = [{"image_path": "one.jpg", "key": "000017", "tags": ["cat"]}]
    assert read_tags(write(tmp_path / "x.json", entries), ["one.jpg", "000017.jpg"]) == {"one.jpg": ["cat"]}


def test_tags_stay_as_they_are_and_become_words_without_blanks_and_repeats(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", [{"key": "a", "tags": [" Cat ", "cat", "Cat", "", "写真"]}, {"key": "b", "tags": None}, {"key": "c"}])
    found = read_tags(path, ["a.jpg", "b.jpg", "c.jpg", "d.jpg"])
    assert found == {"a.jpg": [" Cat ", "cat", "Cat", "", "写真"], "b.jpg": [], "c.jpg": []}
    assert words_of(found, "a.jpg") == ["Cat", "cat", "写真"]
    assert words_of(found, "d.jpg") == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": ["cat"]}, "wanted is a list"),
        ([{"key": "a", "tags": ["cat"]}, {"tags": ["cat"]}], "entry 2"),
        ([{"key": "a", "tags": "cat"}], "entry 1"),
        ([{"key": "a", "tags": [1]}], "entry 1"),
        ([{"key": 7, "tags": []}], "entry 1"),
        (["a"], "entry 1"),
    ],
)
def test_another_file_is_refused_and_named(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(StepError, match=rf"x\.json: .*{message}"):
        read_tags(write(tmp_path / "x.json", content), ["a.jpg"])


def test_no_json_is_refused_and_named(tmp_path: Path) -> None:
    for content in (b"[", b"\xff"):
        (tmp_path / "x.json").write_bytes(content)
        with pytest.raises(StepError, match=r"x\.json: no JSON"):
            read_tags(tmp_path / "x.json", [])
