"""predict 05: the verdict on good, wrong, foreign and damaged databases."""

import json
import os
import random
import re
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from tests.unit.predict.database_data import change, decision, failed_group, make, working
from workflow_scripts.predict import read_database
from workflow_scripts.predict.database import COLUMNS
from workflow_scripts.predict.validate import Inventory, validate

FIRST, SECOND = "p_group_0000", "p_group_0001"
EMPTY = {
    "columns_found": [],
    "total_records": 0,
    "records_with_ai_predictions": 0,
    "records_with_user_data": 0,
    "ai_prediction_coverage": 0.0,
    "user_data_coverage": 0.0,
    "data_quality": "errors",
}


@pytest.fixture
def path(tmp_path):
    return make(tmp_path / "p.db", [decision(0), decision(1)], [failed_group()])


def force(path, **values):
    """Put values into the first row that the checks of the schema would refuse, as a database without them may hold."""
    for column, value in values.items():
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute(f"UPDATE ai_decisions SET {column} = ? WHERE group_id = ?", (value, FIRST))
            connection.commit()


def plain(path, columns, *rows):
    """A database as others make them: no checks, no keys."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE ai_decisions ({columns})")
        for row in rows:
            connection.execute(f"INSERT INTO ai_decisions VALUES ({', '.join('?' * len(row))})", row)
        connection.commit()
    return path


def unchecked(path, **changes):
    """A database of all columns, without any check, with one row."""
    row = dict.fromkeys(COLUMNS) | {
        "group_id": FIRST,
        "timestamp": "2025",
        "project_id": "p",
        "directory": "a",
        "images": '["a.png", "b.png"]',
        "ai_selected_index": 0,
        "ai_crop_coords": "[0, 0, 1, 1]",
        "ai_confidence": 0.5,
        "image_width": 10,
        "image_height": 20,
    }
    return plain(path, ", ".join(COLUMNS), tuple((row | changes).values()))


def issues(path, severity=None, **options):
    """Check and message of each issue, with its groups."""
    found = validate(path, **options)["issues"]
    return {(one["check"], one["message"]): one["rows"] for one in found if severity in (None, one["severity"])}


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


# ---- a good one ----


def test_good_predictions(path):
    assert validate(path) == {
        "columns_found": list(COLUMNS),
        "total_records": 2,
        "records_with_ai_predictions": 2,
        "records_with_user_data": 0,
        "ai_prediction_coverage": 1.0,
        "user_data_coverage": 0.0,
        "issues": [],
        "data_quality": "good",
    }


def test_good_user_data(path):
    change(
        path,
        "UPDATE ai_decisions SET user_action = 'approve', user_selected_index = 1, selection_match = 1 WHERE group_id = 'p_group_0000'",
    )
    verdict = validate(path)
    assert (verdict["records_with_user_data"], verdict["user_data_coverage"]) == (1, 0.5)
    assert verdict["data_quality"] == "good"


def test_coverage_counts_rows_with_a_selection(path):
    change(path, "UPDATE ai_decisions SET ai_selected_index = NULL WHERE group_id = 'p_group_0000'")
    verdict = validate(path)
    assert (verdict["records_with_ai_predictions"], verdict["ai_prediction_coverage"]) == (1, 0.5)
    assert issues(path) == {("ai predictions", "ai_selected_index is NULL"): [FIRST]}


def test_a_database_without_rows_is_a_warning(tmp_path):
    verdict = validate(make(tmp_path / "p.db", []))
    assert [(one["severity"], one["message"]) for one in verdict["issues"]] == [("warning", "ai_decisions has no rows")]
    assert verdict["data_quality"] == "warnings"


# ---- the rules for rows ----

BOX = "are not 4 numbers with 0 ≤ x1 < x2 ≤ 1 and 0 ≤ y1 < y2 ≤ 1"
WRONG = {
    **{f"{name} empty": ({name: ""}, "required values", f"{name} is NULL or empty") for name in ("group_id", "timestamp", "project_id")},
    **{
        f"{name} null": ({name: None}, "required values", f"{name} is NULL or empty")
        for name in ("timestamp", "images", "image_width", "image_height")
    },
    "images no json": ({"images": "a.png"}, "json", "images is no JSON"),
    "images blob": ({"images": b'["a.png"]'}, "json", "images is no JSON"),
    "images deep": ({"images": "[" * 100_000}, "json", "images is no JSON"),
    "images nan": ({"images": "[NaN]"}, "json", "images is no JSON"),
    "images object": ({"images": '{"a": 1}'}, "images", "images is no list, or an empty one"),
    "images empty": ({"images": "[]"}, "images", "images is no list, or an empty one"),
    "image path": ({"images": '["a.png", "b/c.png"]'}, "file names", "images are not told by their file names"),
    "image object": ({"images": '["a.png", {"path": "c.png"}]'}, "file names", "images are not told by their file names"),
    "image empty": ({"images": '["a.png", ""]'}, "file names", "images are not told by their file names"),
    "crop no json": ({"ai_crop_coords": "0,0,1,1"}, "json", "ai_crop_coords is no JSON"),
    "crop number": ({"ai_crop_coords": 7}, "json", "ai_crop_coords is no JSON"),
    "crop three": ({"ai_crop_coords": "[0, 0, 1]"}, "coordinates", f"ai_crop_coords {BOX}"),
    "crop five": ({"ai_crop_coords": "[0, 0, 1, 1, 1]"}, "coordinates", f"ai_crop_coords {BOX}"),
    "crop null": ({"ai_crop_coords": "null"}, "coordinates", f"ai_crop_coords {BOX}"),
    "crop true": ({"ai_crop_coords": "[false, 0, 1, true]"}, "coordinates", f"ai_crop_coords {BOX}"),
    "crop text": ({"ai_crop_coords": '["0", 0, 1, 1]'}, "coordinates", f"ai_crop_coords {BOX}"),
    "crop infinite": ({"ai_crop_coords": "[0, 0, 1, 1e999]"}, "coordinates", f"ai_crop_coords {BOX}"),
    "crop huge": ({"ai_crop_coords": f"[0, 0, 1, 1{'0' * 400}]"}, "coordinates", f"ai_crop_coords {BOX}"),
    "crop x turned": ({"ai_crop_coords": "[0.5, 0, 0.5, 1]"}, "coordinates", f"ai_crop_coords {BOX}"),
    "crop y turned": ({"ai_crop_coords": "[0, 0.5, 1, 0.4]"}, "coordinates", f"ai_crop_coords {BOX}"),
    "crop x below": ({"ai_crop_coords": "[-0.1, 0, 1, 1]"}, "coordinates", f"ai_crop_coords {BOX}"),
    "crop y below": ({"ai_crop_coords": "[0, -0.1, 1, 1]"}, "coordinates", f"ai_crop_coords {BOX}"),
    "crop x above": ({"ai_crop_coords": "[0, 0, 1.1, 1]"}, "coordinates", f"ai_crop_coords {BOX}"),
    "index behind": ({"ai_selected_index": 2}, "indexes", "ai_selected_index is no index into images"),
    "index below": ({"ai_selected_index": -1}, "indexes", "ai_selected_index is no index into images"),
    "index text": ({"ai_selected_index": "1"}, "indexes", "ai_selected_index is no index into images"),
    "index numpy": ({"ai_selected_index": b"\1\0\0\0\0\0\0\0"}, "indexes", "ai_selected_index is no index into images"),
    "index between": ({"ai_selected_index": 0.5}, "indexes", "ai_selected_index is no index into images"),
    "confidence above": ({"ai_confidence": 1.01}, "values", "ai_confidence is not between 0 and 1"),
    "confidence below": ({"ai_confidence": -0.01}, "values", "ai_confidence is not between 0 and 1"),
    "confidence text": ({"ai_confidence": "0.5"}, "values", "ai_confidence is not between 0 and 1"),
    "width zero": ({"image_width": 0}, "values", "image_width is no number of pixels"),
    "height text": ({"image_height": "tall"}, "values", "image_height is no number of pixels"),
    "match two": ({"selection_match": 2, "user_action": "reject"}, "values", "selection_match is neither 0 nor 1"),
    "match text": ({"crop_match": "true", "user_action": "reject"}, "values", "crop_match is neither 0 nor 1"),
    "action": ({"user_action": "accept"}, "values", "user_action is none of approve, crop, reject"),
    "selection of the user": (
        {"user_selected_index": 2, "user_action": "crop", "final_crop_coords": "[0, 0, 1, 1]"},
        "indexes",
        "user_selected_index is no index into images",
    ),
    "crop of the user": (
        {"user_selected_index": 0, "user_action": "crop", "final_crop_coords": "[0, 0, 0, 1]"},
        "coordinates",
        f"final_crop_coords {BOX}",
    ),
    "crop of the user no json": (
        {"user_selected_index": 0, "user_action": "crop", "final_crop_coords": "x"},
        "json",
        "final_crop_coords is no JSON",
    ),
    "no selection": ({"ai_selected_index": None}, "ai predictions", "ai_selected_index is NULL"),
    "no confidence": ({"ai_confidence": None}, "ai predictions", "ai_confidence is NULL"),
}


@pytest.mark.parametrize(("changes", "check", "message"), WRONG.values(), ids=WRONG)
def test_what_a_row_may_not_hold_is_an_error(tmp_path, changes, check, message):
    path = unchecked(tmp_path / "p.db", **changes)
    verdict = validate(path)
    assert issues(path, "error") == {(check, message): [changes.get("group_id", FIRST)]}
    assert verdict["data_quality"] == "errors"
    assert json.loads(json.dumps(verdict)) == verdict


def test_the_rows_beside_a_wrong_one_are_not_named(path):
    force(path, ai_confidence=7)
    assert issues(path)["values", "ai_confidence is not between 0 and 1"] == [FIRST]


USER = {"user_selected_index": 0, "user_action": "approve"}
DOUBTFUL = {
    "no crop": ({"ai_crop_coords": None}, "ai predictions", "an image is selected and has no crop"),
    "match alone": ({"crop_match": 1}, "user data", "there is a match with user data that are not there"),
    "incomplete crop": (USER | {"user_action": "crop"}, "incomplete crops", "user_action is crop and final_crop_coords is NULL"),
    "no action": ({"user_selected_index": 0}, "user data", "there is user data and no user_action"),
    "timestamp alone": ({"crop_timestamp": "2025"}, "user data", "there is user data and no user_action"),
    "no selection by the user": ({"user_action": "approve"}, "user data", "an image is accepted and none selected"),
    "no selection to crop": (
        {"user_action": "crop", "final_crop_coords": "[0, 0, 1, 1]"},
        "user data",
        "an image is accepted and none selected",
    ),
    "not predicted yet": (USER | {"ai_selected_index": None, "ai_crop_coords": None}, "ai predictions", "ai_selected_index is NULL"),
    "no confidence yet": (USER | {"ai_confidence": None}, "ai predictions", "ai_confidence is NULL"),
    "paths": (USER | {"images": '["/data/a/a.png"]'}, "file names", "images are not told by their file names"),
}


@pytest.mark.parametrize(("changes", "check", "message"), DOUBTFUL.values(), ids=DOUBTFUL)
def test_what_a_row_should_not_hold_is_a_warning(tmp_path, changes, check, message):
    path = unchecked(tmp_path / "p.db", **changes)
    assert issues(path, "error") == {}
    found = issues(path, "warning")
    assert {key for key in found if key[0] != "schema"} == {(check, message)}
    assert found[check, message] == [FIRST]
    assert validate(path)["data_quality"] == "warnings"


def test_a_rejected_group_needs_no_selection_by_the_user(tmp_path):
    assert validate(unchecked(tmp_path / "p.db", user_action="reject"))["data_quality"] == "good"


def test_ten_groups_are_named_and_all_counted(tmp_path):
    path = make(tmp_path / "p.db", [decision(number, ai_crop_coords=None) for number in reversed(range(25))])
    (found,) = validate(path)["issues"]
    assert (found["rows"], found["count"]) == ([f"p_group_{number:04d}" for number in range(10)], 25)


# ---- the table and its phase ----


def without(*columns):
    return ", ".join(name for name in COLUMNS if name not in columns)


def test_missing_columns_are_errors_among_predictions_and_warnings_among_user_data(tmp_path):
    values = ("g", "2025", "p", "a", None, '["a.png"]', 0, "[0, 0, 1, 1]", 10, 20)
    names = "group_id, timestamp, project_id, directory, batch_number, images, ai_selected_index, ai_crop_coords, image_width, image_height"
    bare = plain(tmp_path / "bare.db", names, values)
    verdict = validate(bare)
    assert verdict["columns_found"] == names.split(", ")
    message = (
        "ai_decisions lacks ai_confidence, user_selected_index, user_action, final_crop_coords, crop_timestamp, "
        "selection_match, crop_match, ai_crop_accepted"
    )
    assert issues(bare, "error") == {("columns", message): []}
    assert verdict["issues"][0]["count"] == 8
    used = plain(tmp_path / "used.db", f"{names}, user_action", (*values, "reject"))
    assert issues(used, "error") == {}
    assert issues(used, "warning") == {("columns", message.replace("user_action, ", "")): []}


@pytest.mark.parametrize("column", ["group_id", "timestamp", "project_id", "images", "image_width", "image_height"])
def test_a_missing_required_column_is_an_error_in_both_phases(tmp_path, column):
    for number, action in enumerate([None, "reject"]):
        path = unchecked(tmp_path / f"{number}.db", user_action=action)
        change(path, f"ALTER TABLE ai_decisions DROP COLUMN {column}")
        assert issues(path, "error") == {("columns", f"ai_decisions lacks {column}"): []}


def test_names_count_in_any_case(tmp_path):
    path = unchecked(tmp_path / "p.db", user_action="reject")
    change(
        path, "ALTER TABLE ai_decisions RENAME TO old", "CREATE TABLE AI_Decisions AS SELECT images AS Images, * FROM old", "DROP TABLE old"
    )
    change(path, 'ALTER TABLE AI_Decisions DROP COLUMN "images:1"')
    verdict = validate(path)
    assert verdict["data_quality"] == "good"
    assert verdict["columns_found"][0] == "images"


def test_a_database_without_meta_failed_groups_and_views_is_a_warning_among_predictions(tmp_path):
    message = "there is no failed_groups, meta, ai_mistakes, ai_performance, incomplete_crops"
    assert issues(unchecked(tmp_path / "p.db")) == {("schema", message): []}
    assert issues(unchecked(tmp_path / "q.db", user_action="reject")) == {}


def test_another_schema_version_is_a_warning(path):
    change(path, "UPDATE meta SET value = '2' WHERE key = 'schema_version'")
    assert issues(path, "warning") == {("schema", "the schema is of version 2, not 1"): []}


def test_wrong_failed_groups_are_errors(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("UPDATE failed_groups SET images = 'x', error = ''")
        connection.commit()
    found = issues(path, "error")
    assert found["images", "images of failed_groups is no list, or an empty one"] == ["p_group_0900"]
    assert found["required values", "error of failed_groups is NULL or empty"] == ["p_group_0900"]


# ---- between rows, and with inventory and source ----

DUPLICATE = ("duplicate images", "an image stands in two groups, or twice in one")


def test_an_image_in_two_groups_is_an_error(tmp_path):
    rows = [
        decision(0, images=("a.png", "b.png")),
        decision(1, images=("c.png", "b.png")),
        decision(2, directory="faces/two", images=("b.png", "d.png")),
    ]
    path = make(tmp_path / "p.db", rows)
    assert issues(path) == {DUPLICATE: [FIRST, SECOND]}
    assert validate(path)["issues"][0]["count"] == 2
    assert validate(path)["data_quality"] == "errors"


def test_an_image_twice_in_one_group_is_an_error(tmp_path):
    assert issues(make(tmp_path / "p.db", [decision(0, images=("a.png", "a.png")), decision(1)]), "error") == {DUPLICATE: [FIRST]}


def test_an_image_of_a_failed_group_counts_too(tmp_path):
    path = make(tmp_path / "p.db", [decision(0, directory="", images=("a.png", "b.png"))], [failed_group(images=("b.png",))])
    assert issues(path, "error") == {DUPLICATE: [FIRST, "p_group_0900"]}


def test_the_same_name_in_other_directories_or_projects_is_another_image(tmp_path):
    rows = [decision(0), decision(1, images=decision(0).images, directory="faces"), decision(2, images=decision(0).images, project_id="q")]
    assert validate(make(tmp_path / "p.db", rows))["data_quality"] == "good"


def test_where_no_directory_is_known_a_duplicate_is_a_warning(path):
    change(path, 'UPDATE ai_decisions SET directory = NULL, images = \'["x.png", "y.png"]\'')
    assert issues(path, "error") == {}
    assert issues(path, "warning") == {DUPLICATE: [FIRST, SECOND]}


def test_the_inventory_is_decided_or_failed(path):
    groups = {FIRST, SECOND, "p_group_0900"}
    assert issues(path, inventory=Inventory(groups=groups)) == {}
    assert issues(path, inventory=Inventory(groups=[*groups, "z", "y"])) == {
        ("inventory", "a group of the inventory is neither in ai_decisions nor in failed_groups"): ["y", "z"]
    }
    assert issues(path, inventory=Inventory(groups={SECOND})) == {("inventory", "a group is not in the inventory"): [FIRST, "p_group_0900"]}
    change(path, f"INSERT INTO failed_groups VALUES ('{FIRST}', 'x', '[\"q.png\"]', 'e')")
    twice = {("inventory", "a group stands in ai_decisions or failed_groups more than once"): [FIRST]}
    assert issues(path, "error") == issues(path, "error", inventory=Inventory(groups=groups)) == twice


def test_every_image_is_in_the_source(path):
    members = {f"faces/one/{number}_{letter}.png" for number in range(2) for letter in "abc"}
    complete = [*members, "900.png", "notes/other.png"]
    assert issues(path, inventory=Inventory(members=complete)) == {}
    source = ("source", "an image is not in the source")
    assert issues(path, "error", inventory=Inventory(members=members)) == {source: ["p_group_0900"]}
    assert issues(path, "error", inventory=Inventory(members={*complete} - {"faces/one/1_c.png"})) == {source: [SECOND]}
    assert issues(path, "error", inventory=Inventory(members=[])) == {source: [FIRST, SECOND, "p_group_0900"]}


# ---- whatever the file is ----


def opened_badly(path, text):
    verdict = validate(path)
    (issue,) = verdict.pop("issues")
    assert verdict == EMPTY
    assert (issue["severity"], issue["check"], issue["count"]) == ("error", "open", 1)
    assert text in issue["message"]
    assert path.name in issue["message"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is an empty file"),
        (b"group_id,images\n1,a.png\n", "is no SQLite database, or an encrypted one"),
        (random.Random(7).randbytes(16_384), "is no SQLite database, or an encrypted one"),
        (b"SQLite format 3", "is no SQLite database"),
        (b"SQLite format 3\0", "not a database"),
        (b"SQLite format 3\0" + random.Random(8).randbytes(8176), "not a database"),
    ],
    ids=["empty", "table", "noise", "15 bytes", "16 bytes", "noise behind the first bytes"],
)
def test_a_file_that_is_no_database(tmp_path, content, text):
    path = tmp_path / "odd.db"
    path.write_bytes(content)
    opened_badly(path, text)
    assert contents(tmp_path) == {"odd.db": content}


def test_no_file_a_folder_and_a_dangling_link(tmp_path):
    opened_badly(tmp_path / "none.db", "No such file")
    (tmp_path / "folder.db").mkdir()
    opened_badly(tmp_path / "folder.db", "directory")
    (tmp_path / "link.db").symlink_to("gone.db")
    opened_badly(tmp_path / "link.db", "No such file")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder.db", "link.db"]


def test_a_file_that_may_not_be_read(open_folder, without_privileges):
    path = make(open_folder / "p.db")
    path.chmod(0)
    with without_privileges():
        opened_badly(path, "Permission denied")


def test_a_database_in_a_folder_that_cannot_be_written(open_folder, without_privileges):
    path = make(open_folder / "p.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    path.chmod(0o644)
    with without_privileges():
        assert validate(path)["data_quality"] == "good"


def test_another_database(tmp_path):
    path = tmp_path / "other.db"
    change(path, "CREATE TABLE photos (id)")
    verdict = validate(path)
    assert ("error", "columns", "there is no table ai_decisions") in {
        (one["severity"], one["check"], one["message"]) for one in verdict["issues"]
    }
    assert verdict["data_quality"] == "errors"


def test_a_view_is_no_table(tmp_path):
    path = tmp_path / "p.db"
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS group_id, '[]' AS images FROM n"
    change(path, f"CREATE VIEW ai_decisions AS {endless}")
    assert ("schema", "ai_decisions is a view, not a table") in issues(path, "error")


def test_odd_names_of_files(tmp_path):
    for name in ("a b?mode=rwc&x#y%41.db", "é'\".db", os.fsdecode(b"\xff.db"), "new\nline.db"):
        assert validate(make(tmp_path / "p.db").rename(tmp_path / name))["data_quality"] == "good"
    assert len(list(tmp_path.iterdir())) == 4


def test_group_ids_and_texts_of_any_kind(tmp_path):
    path = unchecked(tmp_path / "p.db", ai_confidence=5)
    for value in ("7", "x'ff00'", "NULL", "CAST(x'61ff' AS TEXT)", "CAST(x'eda080' AS TEXT)"):
        columns = "timestamp, project_id, images, ai_confidence"
        change(path, f"INSERT INTO ai_decisions (group_id, {columns}) SELECT {value}, {columns} FROM ai_decisions LIMIT 1")
    verdict = validate(path)
    found = issues(path)["values", "ai_confidence is not between 0 and 1"]
    assert set(found) == {"7", r"b'\xff\x00'", "None", r"a\xff", r"\xed\xa0\x80", FIRST}
    assert json.dumps(verdict, ensure_ascii=False).encode()


# ---- WAL mode, locks, damage ----


def as_wal(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    return path


def test_wal_mode_is_read_without_writing_beside_it(path):
    before = contents(as_wal(path).parent)
    assert before[path.name][18:20] == b"\2\2"
    assert validate(path)["data_quality"] == "good"
    assert contents(path.parent) == before


def test_what_stands_in_the_log_alone_is_seen(path):
    with working(as_wal(path), "UPDATE ai_decisions SET user_action = 'reject'"):
        before = contents(path.parent)
        assert len(before) == 3
        assert validate(path)["records_with_user_data"] == 2
        assert contents(path.parent) == before
        copied = path.parent / "copied"
        copied.mkdir()
        for name in (path.name, f"{path.name}-wal"):
            (copied / name).write_bytes(before[name])
    assert validate(copied / path.name)["records_with_user_data"] == 2
    assert sorted(contents(copied)) == [path.name, f"{path.name}-wal"]


def test_a_log_that_changes_all_the_time_is_told(path, monkeypatch):
    with working(as_wal(path), "UPDATE ai_decisions SET user_action = 'reject'"):
        state = iter(range(100))
        monkeypatch.setattr(read_database, "_state", lambda path: (next(state), 0))
        opened_badly(path, "another program is writing it; close it and try again")


def test_an_open_transaction_of_another_is_not_seen_and_does_not_disturb(path):
    with working(path, "BEGIN IMMEDIATE", "UPDATE ai_decisions SET user_action = 'reject'"):
        verdict = validate(path)
    assert (verdict["data_quality"], verdict["records_with_user_data"]) == ("good", 0)


def test_a_locked_database_is_told(path, monkeypatch):
    monkeypatch.setattr(read_database, "BUSY_SECONDS", 0.05)
    with working(path, "BEGIN EXCLUSIVE"):
        opened_badly(path, "is locked by another program; close it and try again")
    assert validate(path)["data_quality"] == "good"


KILLED = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN")
connection.execute("UPDATE ai_decisions SET user_action = 'reject'")
os.kill(os.getpid(), 9)
"""


def test_a_journal_of_a_killed_program_is_told_and_left_alone(tmp_path):
    path = make(tmp_path / "p.db", [decision(number) for number in range(500)])
    assert subprocess.run([sys.executable, "-c", KILLED, path], check=False).returncode == -9
    before = contents(tmp_path)
    assert before["p.db-journal"]
    opened_badly(path, "p.db-journal beside it may be that of a killed program: open the database once to let it recover")
    assert contents(tmp_path) == before
    assert change(path, "SELECT COUNT(*) FROM ai_decisions WHERE user_action IS NOT NULL") == [(0,)]
    assert validate(path)["data_quality"] == "good"


def test_a_truncated_database_is_an_error(tmp_path):
    path = make(tmp_path / "p.db", [decision(number) for number in range(300)])
    data = path.read_bytes()
    for size in (17, 99, 100, 1000, 4096, 5000, 8192, len(data) - 4096, len(data) - 1):
        path.write_bytes(data[:size])
        verdict = validate(path)
        assert verdict["data_quality"] == "errors", size
        assert {one["check"] for one in verdict["issues"]} & {"open", "integrity", "records"}, size
        assert contents(tmp_path) == {"p.db": data[:size]}


@pytest.mark.parametrize("seed", range(60))
def test_damage_anywhere_gives_a_verdict(tmp_path, seed):
    chance = random.Random(seed)
    path = make(tmp_path / "p.db", [decision(number) for number in range(60)])
    data = bytearray(path.read_bytes())
    for _ in range(chance.choice([1, 5, 50])):
        at = chance.choice([chance.randrange(16, 120), chance.randrange(16, 4096), chance.randrange(16, len(data))])
        data[at : at + chance.choice([1, 4, 60])] = chance.randbytes(chance.choice([1, 4, 60]))
    path.write_bytes(data)
    verdict = validate(path)
    assert verdict["data_quality"] in ("good", "warnings", "errors")
    assert json.dumps(verdict, ensure_ascii=False).encode()
    assert contents(tmp_path) == {"p.db": bytes(data)}


def test_of_many_damages_some_are_named_and_the_others_counted(tmp_path):
    path = make(tmp_path / "p.db", [decision(number) for number in range(60)])
    data = bytearray(path.read_bytes())
    for (root,) in change(path, "SELECT rootpage FROM sqlite_master WHERE name LIKE 'idx_%'"):
        data[(root - 1) * 4096 + 3 : (root - 1) * 4096 + 5] = b"\0\1"
    path.write_bytes(data)
    (found,) = [one for one in validate(path)["issues"] if one["check"] == "integrity"]
    assert re.search(r"; .+; .+ … and \d+ more$", found["message"])
    assert len(found["message"]) < 300
    assert "***" not in found["message"]


def test_a_database_does_not_change_while_it_is_read(path):
    with read_database.read_only(path), closing(sqlite3.connect(path, timeout=0)) as other:
        other.execute("DELETE FROM ai_decisions")
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            other.commit()


@pytest.mark.parametrize(
    ("code", "busy"), [(sqlite3.SQLITE_BUSY, True), (517, True), (sqlite3.SQLITE_LOCKED, True), (sqlite3.SQLITE_FULL, False)]
)
def test_locks_are_told_from_other_errors_also_by_their_finer_codes(code, busy):
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = code
    assert read_database.is_busy(error) is busy
    assert not read_database.is_busy(ValueError())


def test_a_damaged_index_is_found(tmp_path):
    path = make(tmp_path / "p.db", [decision(number) for number in range(60)])
    (root,) = change(path, "SELECT rootpage FROM sqlite_master WHERE name = 'idx_timestamp'")[0]
    data = bytearray(path.read_bytes())
    data[(root - 1) * 4096 + 3 : (root - 1) * 4096 + 5] = b"\0\1"
    path.write_bytes(data)
    (found,) = [one for one in validate(path)["issues"] if one["check"] == "integrity"]
    assert (found["severity"], found["count"]) == ("error", 1)
    assert "idx_timestamp" in found["message"]
