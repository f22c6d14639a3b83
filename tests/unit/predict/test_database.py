"""predict 04: the schema, what each of its checks refuses, and how a database is written."""

import dataclasses
import hashlib
import json
import os
import random
import re
import sqlite3
import struct
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.unit.predict.database_data import META, change, decision, drawn, failed_group, make, rows_of
from workflow_scripts.core.step import StepError
from workflow_scripts.predict import database as module
from workflow_scripts.predict.database import COLUMNS, PREDICTED, write_database
from workflow_scripts.predict.validate import validate

ROOT = Path(__file__).parents[3]
CONTRACT = {
    "group_id": "TEXT",
    "timestamp": "TEXT NOT NULL",
    "project_id": "TEXT NOT NULL",
    "directory": "TEXT",
    "batch_number": "INTEGER",
    "images": "TEXT NOT NULL",
    "ai_selected_index": "INTEGER",
    "ai_crop_coords": "TEXT",
    "ai_confidence": "REAL",
    "user_selected_index": "INTEGER",
    "user_action": "TEXT",
    "final_crop_coords": "TEXT",
    "crop_timestamp": "TEXT",
    "image_width": "INTEGER NOT NULL",
    "image_height": "INTEGER NOT NULL",
    "selection_match": "BOOLEAN",
    "crop_match": "BOOLEAN",
    "ai_crop_accepted": "BOOLEAN",
}
NULLABLE = [name for name, kind in CONTRACT.items() if "NOT NULL" not in kind and name != "group_id"]


@pytest.fixture
def path(tmp_path):
    return make(tmp_path / "p.db", [decision(0), decision(1)], [failed_group()])


def set_column(path, column, value):
    change(path, (f"UPDATE ai_decisions SET {column} = ? WHERE group_id = 'p_group_0000'", (value,)))


# ---- the schema ----


def test_columns_types_and_key_are_those_of_the_contract(path):
    found = change(path, "PRAGMA table_info(ai_decisions)")
    assert [row[1] for row in found] == list(CONTRACT) == list(COLUMNS)
    assert {row[1]: row[2] for row in found} == {name: kind.split()[0] for name, kind in CONTRACT.items()}
    assert {row[1] for row in found if row[3]} == {name for name, kind in CONTRACT.items() if "NOT NULL" in kind} | {"group_id"}
    assert [row[1] for row in found if row[5]] == ["group_id"]
    assert [row[1] for row in change(path, "PRAGMA table_info(failed_groups)")] == ["group_id", "directory", "images", "error"]
    assert [row[1] for row in change(path, "PRAGMA table_info(meta)")] == ["key", "value"]


def test_indexes_and_views_are_those_of_the_contract(path):
    indexes = change(path, "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name")
    columns = ["batch_number", "crop_match", "project_id", "selection_match", "timestamp", "user_action"]
    assert [name for name, _ in indexes] == [f"idx_{column}" for column in columns]
    assert [re.search(r"\((.+)\)", sql)[1] for _, sql in indexes] == columns
    views = change(path, "SELECT name FROM sqlite_master WHERE type = 'view' ORDER BY name")
    assert views == [("ai_mistakes",), ("ai_performance",), ("incomplete_crops",)]


@pytest.mark.parametrize("column", NULLABLE)
def test_what_may_be_null_may_be_null(path, column):
    set_column(path, column, None)
    assert rows_of(path, f"group_id, {column}")[0] == ("p_group_0000", None)


@pytest.mark.parametrize("column", [name for name in CONTRACT if name not in NULLABLE])
def test_what_may_not_be_null_is_refused(path, column):
    with pytest.raises(sqlite3.IntegrityError, match=f"NOT NULL constraint failed: ai_decisions.{column}"):
        set_column(path, column, None)


BAD_BOXES = {
    "not four": "[0.1, 0.1, 0.2]",
    "five": "[0.1, 0.1, 0.2, 0.2, 0.3]",
    "object": '{"x1": 0}',
    "text": '"0,0,1,1"',
    "number": "1",
    "null": "null",
    "texts": '["0", "0", "1", "1"]',
    "null inside": "[null, 0, 1, 1]",
    "null second": "[0, null, 1, 1]",
    "null third": "[0, 0, null, 1]",
    "null last": "[0, 0, 1, null]",
    "true": "[0, 0, 1, true]",
    "x equal": "[0.5, 0.1, 0.5, 0.9]",
    "x turned": "[0.6, 0.1, 0.5, 0.9]",
    "y equal": "[0.1, 0.5, 0.9, 0.5]",
    "y turned": "[0.1, 0.6, 0.9, 0.5]",
    "x below 0": "[-0.01, 0, 1, 1]",
    "y below 0": "[0, -0.01, 1, 1]",
    "x above 1": "[0, 0, 1.01, 1]",
    "y above 1": "[0, 0, 1, 1.01]",
    "infinite": "[0, 0, 1, 1e999]",
    "pixels": "[10, 10, 200, 300]",
}
BAD = {
    "images no json": ("images", "a.png, b.png", "images_json"),
    "images nan": ("images", "[NaN]", "images_json"),
    "images blob": ("images", b'["a.png", "b.png", "c.png"]', "images_json"),
    "images object": ("images", '{"a": 1}', "images_list"),
    "images empty": ("images", "[]", "images_list"),
    "images shorter than the selection": ("images", '["a.png"]', "ai_selected_index_range"),
    "confidence below": ("ai_confidence", -0.01, "ai_confidence_range"),
    "confidence above": ("ai_confidence", 1.01, "ai_confidence_range"),
    "confidence text": ("ai_confidence", "sure", "ai_confidence_range"),
    "action": ("user_action", "accept", "user_action_known"),
    "action case": ("user_action", "Crop", "user_action_known"),
    "action empty": ("user_action", "", "user_action_known"),
    **{
        f"{column} {what}": (column, value, f"{column}_range")
        for column in ("ai_selected_index", "user_selected_index")
        for what, value in (("below", -1), ("behind", 3), ("text", "one"), ("between", 0.5), ("blob", b"\1\0\0\0\0\0\0\0"))
    },
    **{
        f"{column} {what}": (column, value, f"{column}_positive")
        for column in ("image_width", "image_height")
        for what, value in (("zero", 0), ("below", -640), ("text", "wide"), ("between", 0.5))
    },
    **{
        f"{column} {what}": (column, value, f"{column}_boolean")
        for column in ("selection_match", "crop_match", "ai_crop_accepted")
        for what, value in (("two", 2), ("text", "true"))
    },
    **{
        f"{column} {what}": (column, value, f"{column}_json")
        for column in ("ai_crop_coords", "final_crop_coords")
        for what, value in (("tuple", "(0, 0, 1, 1)"), ("empty", ""), ("nan", "[NaN, 0, 1, 1]"), ("blob", b"[0, 0, 1, 1]"))
    },
    **{
        f"{column} {what}": (column, value, f"{column}_box")
        for column in ("ai_crop_coords", "final_crop_coords")
        for what, value in BAD_BOXES.items()
    },
}


@pytest.mark.parametrize(("column", "value", "constraint"), BAD.values(), ids=BAD)
def test_each_check_refuses_its_violation(path, column, value, constraint):
    before = rows_of(path)
    with pytest.raises(sqlite3.IntegrityError, match=f"^CHECK constraint failed: {constraint}$"):
        set_column(path, column, value)
    assert rows_of(path) == before


def test_every_constraint_of_the_schema_is_tried():
    named = re.findall(r"CONSTRAINT (\w+) CHECK", module.SCHEMA.read_text("utf-8"))
    assert {name for name in named if not name.startswith("failed_")} == {constraint for _, _, constraint in BAD.values()}
    assert module.SCHEMA.read_text("utf-8").count("CHECK (") == len(named)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("ai_selected_index", 0),
        ("user_selected_index", 2),
        ("ai_crop_coords", "[0, 0, 1, 1]"),
        ("final_crop_coords", "[0.0, 0.999, 1e-9, 1.0]"),
        ("ai_confidence", 0),
        ("ai_confidence", 1),
        ("user_action", "approve"),
        ("user_action", "crop"),
        ("user_action", "reject"),
        ("image_width", 1),
        ("crop_match", 0),
        ("crop_match", 1),
        ("batch_number", -3),
    ],
)
def test_the_ends_of_each_range_are_accepted(path, column, value):
    set_column(path, column, value)
    assert rows_of(path, f"group_id, {column}")[0][1] == value


@pytest.mark.parametrize(
    ("column", "value", "constraint"),
    [
        ("images", "x", "failed_images_json"),
        ("images", "[]", "failed_images_list"),
        ("error", None, "NOT NULL"),
        ("images", None, "NOT NULL"),
    ],
)
def test_failed_groups_are_checked(path, column, value, constraint):
    with pytest.raises(sqlite3.IntegrityError, match=constraint):
        change(path, (f"UPDATE failed_groups SET {column} = ?", (value,)))


# ---- the views ----


def test_performance_counts_over_the_rows_that_say_something(tmp_path):
    rows = [decision(number, project_id="q" if number > 4 else "p") for number in range(7)]
    path = make(tmp_path / "p.db", rows)
    for number, (selection, crop) in enumerate([(1, 0), (1, None), (0, 1), (None, 1), (None, None)]):
        change(
            path,
            ("UPDATE ai_decisions SET selection_match = ?, crop_match = ? WHERE group_id = ?", (selection, crop, rows[number].group_id)),
        )
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT * FROM ai_performance ORDER BY project_id")
        assert [column[0] for column in found.description] == [
            *("project_id", "total_decisions", "correct_selections", "correct_crops", "selection_accuracy", "crop_accuracy")
        ]
        assert found.fetchall() == [("p", 5, 2, 2, pytest.approx(200 / 3), pytest.approx(200 / 3)), ("q", 2, 0, 0, None, None)]


def test_incomplete_crops_and_mistakes(tmp_path):
    path = make(tmp_path / "p.db", [decision(number) for number in range(8)])
    values = {0: "user_action = 'crop'", 1: "user_action = 'crop', final_crop_coords = '[0, 0, 1, 1]'", 2: "user_action = 'approve'"}
    values |= {
        3: "selection_match = 0",
        4: "crop_match = 0, selection_match = 1",
        5: "selection_match = 1, crop_match = 1",
        6: "ai_crop_accepted = 0",
    }
    change(path, *(f"UPDATE ai_decisions SET {value} WHERE group_id = 'p_group_{number:04d}'" for number, value in values.items()))
    assert rows_of(path, "group_id", "incomplete_crops") == [("p_group_0000",)]
    assert rows_of(path, "group_id", "ai_mistakes") == [("p_group_0003",), ("p_group_0004",)]
    assert len(rows_of(path, "*", "ai_mistakes")[0]) == len(COLUMNS)


# ---- writing ----


def test_what_is_written_is_what_came_in(tmp_path):
    one = decision(
        3, directory="", batch_number=2, images=("图 'a'.png", "b\n.png"), ai_selected_index=1, ai_crop_coords=(0, 1 / 3, 0.5, 1)
    )
    counts = write_database(tmp_path / "new" / "p.db", [one, decision(1, ai_crop_coords=None)], [failed_group(7)], META)
    assert counts == {"decisions": 2, "failed_groups": 1, "images": 5}
    path = tmp_path / "new" / "p.db"
    assert rows_of(path, "group_id, ai_crop_coords")[0] == ("p_group_0001", None)
    (found,) = change(path, "SELECT * FROM ai_decisions WHERE group_id = 'p_group_0003'")
    row = dict(zip(COLUMNS, found, strict=True))
    assert row["images"] == '["图 \'a\'.png", "b\\n.png"]'  # readable where people look for a name
    assert json.loads(row.pop("images")) == ["图 'a'.png", "b\n.png"]
    assert json.loads(row.pop("ai_crop_coords")) == [0, 1 / 3, 0.5, 1]
    expected = dict.fromkeys(COLUMNS) | dataclasses.asdict(one)
    assert row == {name: value for name, value in expected.items() if name in row}
    assert set(PREDICTED) == {field.name for field in dataclasses.fields(one)}
    assert rows_of(path, table="failed_groups") == [("p_group_0007", "", '["7.png"]', "decode: truncated")]
    assert dict(rows_of(path, table="meta")) == META | {"schema_version": "1"}
    assert [file.name for file in path.parent.iterdir()] == ["p.db"]


def test_the_schema_version_is_the_writers(tmp_path):
    path = make(tmp_path / "p.db", meta={"schema_version": "99"})
    assert rows_of(path, table="meta") == [("schema_version", "1")]
    assert change(path, "PRAGMA user_version") == [(1,)]


def test_the_file_is_not_in_wal_mode_and_has_a_fixed_page_size(path):
    header = path.read_bytes()[:100]
    assert header[18:20] == b"\1\1"
    assert struct.unpack(">H", header[16:18]) == (4096,)
    assert header[68:72] == b"Drkp"


@pytest.mark.parametrize("seed", range(40))
def test_what_is_written_validates(tmp_path, seed):
    decisions, failed = drawn(seed)
    counts = write_database(tmp_path / "p.db", decisions, failed, META)
    verdict = validate(tmp_path / "p.db")
    assert (verdict["data_quality"], verdict["issues"]) == ("good", [])
    assert (counts["decisions"], counts["failed_groups"]) == (len(decisions), len(failed))
    assert verdict["total_records"] == verdict["records_with_ai_predictions"] == len(decisions)


WRITE = """
import random, sys
from pathlib import Path
from tests.unit.predict.database_data import META, drawn
from workflow_scripts.predict.database import write_database
chance, (decisions, failed) = random.Random(sys.argv[2]), drawn(3)
decisions += [one for seed in range(4, 90) for one in drawn(seed)[0][:-1]]
decisions = list({one.group_id: one for one in decisions}.values())
chance.shuffle(decisions)
chance.shuffle(failed)
meta = list(META.items())
chance.shuffle(meta)
taken = {one.group_id for one in failed}
write_database(Path(sys.argv[1]), (one for one in decisions if one.group_id not in taken), failed, dict(meta))
"""


def test_the_same_input_in_any_order_gives_the_same_bytes_in_two_processes(tmp_path):
    digests = []
    for number in range(2):
        path = tmp_path / str(number) / "p.db"
        environment = os.environ | {"PYTHONHASHSEED": str(number), "TZ": ["UTC", "Asia/Tokyo"][number]}
        subprocess.run([sys.executable, "-c", WRITE, path, str(number)], cwd=ROOT, env=environment, check=True)
        digests.append(hashlib.sha256(path.read_bytes()).hexdigest())
    assert digests[0] == digests[1]
    assert path.stat().st_size > 4096 * 5


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"ai_selected_index": 3}, "ai_selected_index_range"),
        ({"ai_selected_index": -1}, "ai_selected_index_range"),
        ({"ai_confidence": float("nan")}, "ai_confidence is nan"),
        ({"ai_confidence": float("inf")}, "ai_confidence is inf"),
        ({"ai_confidence": 1.5}, "ai_confidence_range"),
        ({"ai_crop_coords": (0.5, 0, 0.5, 1)}, "ai_crop_coords_box"),
        ({"ai_crop_coords": (0, 0, 1, float("nan"))}, "JSON compliant"),
        ({"image_width": 0}, "image_width_positive"),
        ({"images": ()}, "images_list"),
        ({"images": ("a/b.png",)}, "without a folder"),
        ({"images": ("",)}, "without a folder"),
        ({"timestamp": None}, "NOT NULL"),
        ({"directory": "\udc80"}, "surrogates not allowed"),
        ({"group_id": "p_group_0001"}, "UNIQUE"),
        ({"group_id": "p_group_0900"}, "p_group_0900: is both decided and failed"),
    ],
)
def test_a_wrong_row_is_refused_and_nothing_is_left(tmp_path, changes, text):
    with pytest.raises(ValueError, match=text):
        write_database(tmp_path / "p.db", [decision(0, **changes), decision(1)], [failed_group()], META)
    assert list(tmp_path.iterdir()) == []


def test_an_output_stays_as_it_was_when_writing_fails(path):
    before = path.read_bytes()
    with pytest.raises(ValueError, match="image_width_positive"):
        write_database(path, [decision(image_width=-1)], [], META)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["p.db"]


def test_a_full_disk_is_told_with_the_mend(tmp_path, monkeypatch):
    limited = module.SCHEMA.read_text("utf-8") + "; PRAGMA max_page_count = 20;"
    monkeypatch.setattr(module, "SCHEMA", tmp_path / "schema.sql")
    module.SCHEMA.write_text(limited, "utf-8")
    with pytest.raises(StepError, match=r"p.db: database or disk is full; check that the disk has room"):
        make(tmp_path / "p.db", [decision(number) for number in range(2000)])
    assert [file.name for file in tmp_path.iterdir()] == ["schema.sql"]


# ---- never over a user's database ----


def refused(path, text):
    before = path.read_bytes()
    with pytest.raises(StepError, match=text) as caught:
        write_database(path, [decision()], [], META)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before
    assert not [file.name for file in path.parent.iterdir() if file.name.endswith(".tmp")]


def test_predictions_nobody_worked_on_are_replaced(path):
    write_database(path, [decision(8)], [], META)
    assert rows_of(path, "group_id") == [("p_group_0008",)]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("user_selected_index", 0),
        ("user_action", "reject"),
        ("final_crop_coords", "[0, 0, 1, 1]"),
        ("crop_timestamp", "x"),
        ("crop_match", 0),
    ],
)
def test_user_data_is_never_overwritten(path, column, value):
    set_column(path, column, value)
    refused(path, "holds user data in 1 rows, and is not overwritten; move it away, and merge")


def test_a_database_in_wal_mode_shows_its_user_data(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    set_column(path, "user_action", "crop")
    refused(path, "holds user data in 1 rows")
    assert [file.name for file in path.parent.iterdir()] == ["p.db"]


@pytest.mark.parametrize("ending", ["-wal", "-journal"])
def test_what_sqlite_would_play_into_the_new_database_is_refused(path, ending):
    log = Path(f"{path}{ending}")
    log.touch()
    write_database(path, [decision()], [], META)
    log.write_bytes(b"pages")
    path.unlink()
    with pytest.raises(StepError, match=f"p.db{ending}: belongs to a database in use"):
        write_database(path, [decision()], [], META)
    assert not path.exists()


def test_a_database_that_this_workflow_did_not_write_is_never_overwritten(path):
    change(path, "PRAGMA application_id = 0")
    refused(path, "was not written by this workflow")


def test_a_database_with_tables_of_others_is_never_overwritten(path):
    change(path, "CREATE TABLE notes (text)")
    refused(path, "has other tables")


@pytest.mark.parametrize("content", [b"", b"group_id,images\n", random.Random(1).randbytes(8192)], ids=["empty", "table", "noise"])
def test_a_file_that_is_no_database_is_never_overwritten(tmp_path, content):
    path = tmp_path / "p.db"
    path.write_bytes(content)
    refused(path, "cannot be read as predictions")


def test_a_person_who_comes_while_the_database_is_written_keeps_the_data(path):
    def slow():
        set_column(path, "user_action", "crop")
        yield decision(5)

    before = rows_of(path, "group_id")
    with pytest.raises(StepError, match="holds user data"):
        write_database(path, slow(), [], META)
    assert rows_of(path, "group_id") == before
