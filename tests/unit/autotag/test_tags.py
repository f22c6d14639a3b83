"""What is known of a shard's images beside the tar: joined by key, with everything odd counted and nothing guessed."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflow_scripts.autotag.tags import Described, Descriptions, read_rows, read_tags
from workflow_scripts.core.step import StepError


@pytest.fixture
def tags_of(tmp_path):
    """Read a tags' file with this content."""

    def read(content):
        path = tmp_path / "00000.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return read_tags(path)

    return read


@pytest.fixture
def rows_of(tmp_path):
    """Read a table with these columns."""

    def read(**columns):
        pq.write_table(pa.table(columns), tmp_path / "00000.parquet")
        return read_rows(tmp_path / "00000.parquet")

    return read


# ---- tags ----


def test_entries_give_tags_and_addresses_by_key(tags_of, log_text):
    entry = {"image_path": "/x/b.jpg", "width": 3, "height": 4.5}
    found = tags_of([{"key": "b", "url": "u", "tags": ["Cat", "a dog"], **entry}, {"key": "a/写", "tags": []}, {"key": "c"}])
    assert found == {"b": Described(["Cat", "a dog"], "u"), "a/写": Described([], None), "c": Described([], None)}
    assert list(found) == ["b", "a/写", "c"]
    assert log_text() == ""


def test_tags_are_stripped_and_lose_empty_ones_and_repeats_but_keep_their_case(tags_of, log_text):
    assert tags_of([{"key": "a", "tags": [" cat ", "", "  ", "Cat", "cat", "\tdog\n", "big  cat"]}])["a"].tags == [
        "cat",
        "Cat",
        "dog",
        "big  cat",
    ]
    assert log_text() == ""


def test_what_cannot_be_used_is_left_out_and_counted(tags_of, log_text, tmp_path):
    entries = [{"tags": ["x"]}, {"key": "", "tags": ["x"]}, {"key": 5}, "text", None, {"key": "a", "tags": "cat, dog"}]
    entries += [{"key": "b", "tags": ["cat", 5, None, ["x"]]}, {"key": "c", "tags": {"cat": 1}}, {"key": "d", "tags": None, "url": 5}]
    assert tags_of(entries) == {"a": Described([], None), "b": Described(["cat"], None), "c": Described([], None), "d": Described([], None)}
    path = tmp_path / "00000.json"
    assert log_text().splitlines() == [f"{path}: 5 x no key in it", f"{path}: 3 x tags that are no list of texts"]


def test_of_several_entries_with_one_key_the_first_counts(tags_of, log_text):
    assert tags_of([{"key": "a", "tags": ["1"]}, {"key": "a", "tags": ["2"]}, {"key": "a"}])["a"].tags == ["1"]
    assert "00000.json: 2 x a key that stands there before" in log_text()


def test_half_an_emoji_becomes_text_that_a_table_can_hold(tags_of):
    found = tags_of(b'[{"key": "a\\ud800", "url": "u\\udfff", "tags": ["cat \\ud83d", "\\ud83d\\ude00", "caf\\u00e9"]}]')
    assert found == {"a\\ud800": Described(["cat \\ud83d", "😀", "café"], "u\\udfff")}
    pa.array([*found, *found["a\\ud800"].tags])


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b" \n"])
def test_a_list_may_begin_with_blanks_or_a_mark(tags_of, start):
    assert tags_of(start + b'[{"key": "a", "tags": ["x"]}]')["a"].tags == ["x"]


@pytest.mark.parametrize("content", [b"", b"[", b'[{"key": "a"}', b'[{"key": "a"}] x', b'[{"key": "\xff"}]', b"[" * 100_000, b'{"a": ]'])
def test_no_json_ends_the_step_and_names_the_file(tags_of, content):
    with pytest.raises(StepError, match=r"00000\.json: is no JSON \(.*mend it, or take it away"):
        tags_of(content)


@pytest.mark.parametrize("content", [{"a": ["cat"]}, "text", 5, None])
def test_another_json_ends_the_step_and_says_what_is_wanted(tags_of, content):
    with pytest.raises(StepError, match=r"00000\.json: is no list of entries, \[{key, tags"):
        tags_of(content)


def test_a_missing_file_means_untagged_images_and_a_warning(tmp_path, log_text):
    assert read_tags(tmp_path / "00000.json") == {}
    assert log_text() == f"{tmp_path / '00000.json'}: not there: its images count as untagged"


def test_a_file_that_cannot_be_read_ends_the_step(tmp_path):
    (tmp_path / "00000.json").mkdir()
    with pytest.raises(StepError, match=r"00000\.json: cannot be read: Is a directory"):
        read_tags(tmp_path / "00000.json")


# ---- the table ----


def test_rows_are_known_by_the_column_of_keys(rows_of):
    assert rows_of(url=["u", "v"], __key__=["b", "a"], key=["x", "y"]) == {"b": "u", "a": "v"}
    assert rows_of(url=["u", None], key=["b", "a"], caption=["", ""]) == {"b": "u", "a": None}
    assert rows_of(key=["b"]) == {"b": None}
    assert rows_of(key=pa.array(["b"]).dictionary_encode(), url=pa.array(["u"], pa.large_string())) == {"b": "u"}
    assert rows_of(key=[17], url=["u"]) == {"17": "u"}


def test_rows_without_a_key_or_with_one_that_was_there_are_counted(rows_of, log_text):
    assert rows_of(key=["a", None, "a", ""], url=["1", "2", "3", "4"]) == {"a": "1"}
    assert [line.split(": ")[1] for line in log_text().splitlines()] == ["1 x a key that stands there before", "2 x no key in it"]


def test_a_table_that_cannot_be_read_ends_the_step(rows_of, tmp_path):
    with pytest.raises(StepError, match=r"00000\.parquet: has no column __key__ or key; it has name, url"):
        rows_of(name=["a"], url=["u"])
    with pytest.raises(StepError, match=r"00000\.parquet: cannot be read as a table \(.*mend it, or take it away"):
        rows_of(key=[{"a": 1}])
    (tmp_path / "00000.parquet").write_bytes(b"PAR1 no table")
    with pytest.raises(StepError, match=r"00000\.parquet: cannot be read as a table"):
        read_rows(tmp_path / "00000.parquet")


# ---- both ----


@pytest.fixture
def described(tmp_path):
    """Tags of a, b, t; rows of b, a, r; in two folders."""
    dataset, tags = tmp_path / "shards", tmp_path / "tags"
    dataset.mkdir()
    tags.mkdir()
    pq.write_table(pa.table({"key": ["b", "a", "r"], "url": ["ub", None, "ur"]}), dataset / "00000.parquet")
    entries = [{"key": "a", "url": "own", "tags": ["cat"]}, {"key": "b", "url": "other", "tags": []}, {"key": "t", "tags": ["x"]}]
    (tags / "00000.json").write_text(json.dumps(entries))
    return lambda: Descriptions(dataset, tags, "00000")


def test_tags_and_rows_are_joined_by_key(described):
    found = described()
    assert found.row("a") == {"tags": ["cat"], "url": "own"}
    assert found.row("b") == {"tags": [], "url": "ub"}
    assert found.row("nobody") == {"tags": [], "url": None}
    assert found.tags("t") == ["x"]
    assert len(found) == 4


def test_what_the_tar_lacks_is_absent_with_where_it_stands(described):
    assert list(described().absent({"a"})) == [
        ("b", "not in the tar, though the table has a row and tags for it"),
        ("r", "not in the tar, though the table has a row for it"),
        ("t", "not in the tar, though there are tags for it"),
    ]
    assert not list(described().absent({"a", "b", "r", "t", "more"}))


def test_without_a_table_tags_alone_are_known(described, tmp_path, log_text):
    (tmp_path / "shards/00000.parquet").unlink()
    found = described()
    assert not found.has_table
    assert found.row("b") == {"tags": [], "url": "other"}
    assert [key for key, _ in found.absent({"a"})] == ["b", "t"]
    assert "00000.parquet: not there" in log_text()
