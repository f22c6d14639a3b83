"""Tables of the index's rows: written by groups, with a JSON view, and looked up by id."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.autotag.index_data import clustered, content, segment_rows, write_shard
from workflow_scripts.autotag import index_rows, row_groups
from workflow_scripts.autotag.exact import Queries
from workflow_scripts.autotag.index_rows import look_up, write_rows
from workflow_scripts.autotag.row_groups import take_rows, write_groups
from workflow_scripts.autotag.tables import ROWS
from workflow_scripts.core.step import StepError

D = 8
SCHEMA = pa.schema([("n", pa.int64()), ("word", pa.dictionary(pa.int32(), pa.string()))])
NOBODY = Queries(clustered(1, D), [content("of no shard")])


def numbered(first, count):
    """Rows with a number and a word."""
    numbers = list(range(first, first + count))
    return pa.table(
        {"n": numbers, "word": [f"word {number % 3}" for number in numbers]}, pa.schema([("n", pa.int64()), ("word", pa.string())])
    )


@pytest.fixture
def shards(tmp_path):
    """Shards of 7, 0 and 5 crops."""
    odd = {"vlm_tags": [], "label": None, "key": 'b "ø" \\ ☂', "crop_id": 'b "ø" \\ ☂_full'}
    rows = {"00002": segment_rows("00002", 7), "00003": [], "00010": segment_rows("00010", 5)}
    rows["00010"][3] |= odd
    return [write_shard(tmp_path, name, clustered(len(of_one), D), of_one) for name, of_one in rows.items()]


# ---- groups ----


@pytest.mark.parametrize("cuts", [[25], [1] * 25, [10, 10, 5], [0, 3, 22, 0], [24, 1]])
def test_how_tables_were_cut_leaves_no_trace(tmp_path, monkeypatch, cuts):
    monkeypatch.setattr(row_groups, "GROUP", 10)
    write_groups(tmp_path / "whole.parquet", SCHEMA, [numbered(0, 25)])
    starts = np.cumsum([0, *cuts])
    assert (
        write_groups(tmp_path / "cut.parquet", SCHEMA, (numbered(int(start), cut) for start, cut in zip(starts, cuts, strict=False))) == 25
    )
    assert (tmp_path / "cut.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    file = pq.ParquetFile(tmp_path / "cut.parquet")
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [10, 10, 5]
    assert file.read()["n"].to_pylist() == list(range(25))
    assert file.schema_arrow == SCHEMA


@pytest.mark.parametrize("tables", [[], [numbered(0, 0)]])
def test_a_table_without_rows_has_its_columns(tmp_path, tables):
    assert write_groups(tmp_path / "t.parquet", SCHEMA, tables) == 0
    assert pq.read_table(tmp_path / "t.parquet").schema == SCHEMA


def test_only_groups_that_are_needed_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(row_groups, "GROUP", 10)
    write_groups(tmp_path / "t.parquet", SCHEMA, [numbered(0, 47)])
    read = []
    original = pq.ParquetFile.read_row_group

    def spy(self, group, columns):
        read.append((group, columns))
        return original(self, group, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", spy)
    plain = pa.schema([("word", pa.string())])
    found = take_rows(tmp_path / "t.parquet", np.array([0, 9, 20, 46]), plain)
    assert found == pa.table({"word": ["word 0", "word 0", "word 2", "word 1"]})
    assert read == [(0, ["word"]), (2, ["word"]), (4, ["word"])]
    assert take_rows(tmp_path / "t.parquet", np.array([], np.int64), plain) == plain.empty_table()


# ---- rows ----


def test_rows_stand_in_the_order_of_the_index(tmp_path, shards):
    path = tmp_path / "04/id_to_tags.parquet"
    write_rows(path, shards, tmp_path, NOBODY)
    table = pq.read_table(path)
    assert table.schema.equals(pa.schema(ROWS).with_metadata(None)) or table.schema.names == [name for name, _ in ROWS]
    rows = table.to_pylist()
    wanted = [*segment_rows("00002", 7), *segment_rows("00010", 5)]
    assert [row["shard"] for row in rows] == ["00002"] * 7 + ["00010"] * 5
    assert [row["sha256"] for row in rows] == [bytes.fromhex(row["sha256"]) for row in wanted]
    assert [row["crop_id"] for row in rows[:7]] == [row["crop_id"] for row in wanted[:7]]
    assert rows[0]["tags"] == ["thing 0", "straße ☂"]
    assert rows[10] == rows[10] | {"key": 'b "ø" \\ ☂', "crop_id": 'b "ø" \\ ☂_full', "label": None, "tags": []}


def test_words_are_dictionary_encoded(tmp_path, shards):
    path = tmp_path / "id_to_tags.parquet"
    write_rows(path, shards, tmp_path, NOBODY)
    group = pq.ParquetFile(path).metadata.row_group(0)
    encoded = {group.column(number).path_in_schema: group.column(number).encodings for number in range(group.num_columns)}
    for name in ("shard", "label", "tags.list.element"):
        assert "RLE_DICTIONARY" in encoded[name]


def test_the_view_says_the_same(tmp_path, shards):
    path = tmp_path / "id_to_tags.parquet"
    write_rows(path, shards, tmp_path, NOBODY)
    text = (tmp_path / "id_to_tags.json").read_text(encoding="utf-8")
    assert json.loads(text) == {str(row): tags for row, tags in enumerate(pq.read_table(path)["tags"].to_pylist())}
    assert "straße ☂" in text
    assert text.count("\n") == 12 + 2


def test_many_rows_have_no_view_and_leave_no_old_one(tmp_path, shards, monkeypatch):
    path, view = tmp_path / "id_to_tags.parquet", tmp_path / "id_to_tags.json"
    monkeypatch.setattr(index_rows, "VIEW_BELOW", 13)
    write_rows(path, shards, tmp_path, NOBODY)
    assert view.is_file()
    monkeypatch.setattr(index_rows, "VIEW_BELOW", 12)
    write_rows(path, shards, tmp_path, NOBODY)
    assert not view.exists()


def test_an_index_without_rows_has_an_empty_table_and_view(tmp_path):
    path = tmp_path / "id_to_tags.parquet"
    write_rows(path, [], tmp_path, NOBODY)
    assert pq.read_table(path).num_rows == 0
    assert json.loads((tmp_path / "id_to_tags.json").read_text()) == {}


def test_rows_of_the_queries_images_are_noted(tmp_path, shards):
    queries = Queries(clustered(3, D), [segment_rows("00010", 5)[0]["sha256"], segment_rows("00002", 7)[6]["sha256"], content("x")])
    images, ids = write_rows(tmp_path / "id_to_tags.parquet", shards, tmp_path, queries)
    found = {int(image): sorted(ids[images == image].tolist()) for image in set(images.tolist())}
    assert found == {int(queries.images[0]): [7, 8, 9], int(queries.images[1]): [6]}


def test_a_table_that_fits_its_vectors_no_more_is_refused(tmp_path, shards):
    shard = shards[0]
    changed = type(shard)(shard.shard, 8, shard.outcomes, shard.untagged, shard.files)
    with pytest.raises(StepError, match=r"metadata_00002\.parquet: 7 rows for 8 vectors"):
        write_rows(tmp_path / "id_to_tags.parquet", [changed], tmp_path, NOBODY)
    assert not (tmp_path / "id_to_tags.parquet").exists()


def test_rows_are_looked_up_by_id(tmp_path, shards, monkeypatch):
    monkeypatch.setattr(row_groups, "GROUP", 4)
    path = tmp_path / "id_to_tags.parquet"
    write_rows(path, shards, tmp_path, NOBODY)
    found = look_up(path, np.array([1, 6, 7, 10])).to_pylist()
    wanted = [*segment_rows("00002", 7), *segment_rows("00010", 5)]
    for row, number in zip(found[:3], (1, 6, 7), strict=True):
        assert row == {name: wanted[number][name] for name in ("shard", "key", "crop_id", "sha256", "label")} | {"tags": row["tags"]}
        assert row["tags"] == wanted[number]["vlm_tags"]
    assert (found[3]["key"], found[3]["label"], found[3]["tags"]) == ('b "ø" \\ ☂', None, [])
    assert look_up(path, np.array([], np.int64)).num_rows == 0
