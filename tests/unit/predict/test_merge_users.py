"""predict: what is filled into a user's database, what is left as it is, and that nothing is ever lost."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.unit.predict.database_data import ODD, change, decision, make, rows_of, working
from workflow_scripts.core import step
from workflow_scripts.core.step import OrphanedError, StepError
from workflow_scripts.predict import read_database
from workflow_scripts.predict.database import AI_COLUMNS, COLUMNS, MATCH_COLUMNS, USER_COLUMNS
from workflow_scripts.predict.merge_users import merge_users

ROOT = Path(__file__).parents[3]
OLD = """
CREATE TABLE ai_decisions (
    group_id TEXT PRIMARY KEY, timestamp TEXT NOT NULL, project_id TEXT, directory TEXT, images TEXT NOT NULL,
    ai_selected_index INTEGER, ai_crop_coords TEXT, user_selected_index INTEGER, user_action TEXT, final_crop_coords TEXT,
    crop_timestamp TEXT, image_width INTEGER, image_height INTEGER, notes TEXT
)
"""
ONE = {"directory": "/data/p/faces/one", "images": ["0_a.png", "0_b.png", "0_c.png"], "timestamp": "t"}


class Work:
    """Predictions, a user's database, and what merging them gives."""

    def __init__(self, folder):
        self.folder = folder
        self.predictions, self.users, self.backup = folder / "new.db", folder / "user.db", folder / "kept" / "backup.db"

    def predict(self, *decisions):
        make(self.predictions, decisions or [decision()])
        return self

    def use(self, *rows, schema=OLD):
        """A user's database, of rows given by column."""
        change(self.users, schema)
        for number, row in enumerate(rows):
            values = {"group_id": f"user {number}"} | ONE | row
            values["images"] = values["images"] if isinstance(values["images"], str) else json.dumps(values["images"])
            statement = f"INSERT INTO ai_decisions ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})"
            change(self.users, (statement, tuple(values.values())))
        return self

    def merge(self):
        return merge_users(self.predictions, self.users, self.backup)

    def row(self, group_id="user 0"):
        with closing(sqlite3.connect(self.users)) as connection:
            connection.row_factory = sqlite3.Row
            return dict(connection.execute("SELECT * FROM ai_decisions WHERE group_id = ?", (group_id,)).fetchone())

    def filled(self, group_id="user 0"):
        """Values of AI columns and matches."""
        row = self.row(group_id)
        return tuple(row.get(name) for name in (*AI_COLUMNS, *MATCH_COLUMNS))


@pytest.fixture
def work(tmp_path):
    return Work(tmp_path)


def counts(found):
    return {name: found[name] for name in ("merged", "unchanged", "ambiguous", "unmatched") if found[name]}


# ---- what is filled ----


def test_predictions_fill_the_nulls_of_an_older_database(work):
    work.predict().use({"user_action": "crop", "user_selected_index": 1, "final_crop_coords": "[0.12, 0.2, 0.8, 0.9]", "notes": "mine"})
    before, content = work.row(), work.users.read_bytes()
    found = work.merge()
    assert found == {
        "merged": 1,
        "unchanged": 0,
        "ambiguous": 0,
        "unmatched": 0,
        "ambiguous_rows": [],
        "unmatched_rows": [],
        "different_rows": [],
        "unmatched_predictions": [],
        "columns_added": ["ai_confidence", *MATCH_COLUMNS],
        "backup": str(work.backup),
    }
    filled = {"ai_selected_index": 1, "ai_crop_coords": "[0.1, 0.2, 0.8, 0.9]", "ai_confidence": 0.75}
    assert work.row() == before | filled | dict.fromkeys(MATCH_COLUMNS, 1)
    types = {row[1]: row[2] for row in change(work.users, "PRAGMA table_info(ai_decisions)")}
    assert [types[name] for name in (*AI_COLUMNS, *MATCH_COLUMNS)] == ["INTEGER", "TEXT", "REAL", "BOOLEAN", "BOOLEAN", "BOOLEAN"]
    assert rows_of(work.backup, "group_id, user_action, ai_selected_index, notes") == [("user 0", "crop", None, "mine")]
    assert len(content) == work.backup.stat().st_size
    assert sorted(file.name for file in work.folder.iterdir()) == ["kept", "new.db", "user.db"]
    assert [file.name for file in work.backup.parent.iterdir()] == ["backup.db"]


def test_a_second_merge_finds_nothing_to_do_and_writes_nothing(work):
    work.predict().use({})
    work.merge()
    content = work.users.read_bytes()
    work.backup.unlink()
    found = work.merge()
    assert (counts(found), found["backup"], found["columns_added"]) == ({"unchanged": 1}, None, [])
    assert work.users.read_bytes() == content
    assert not work.backup.exists()


def test_values_that_are_there_stay(work):
    work.predict().use({"ai_crop_coords": "[0, 0, 0.5, 0.5]"}, {"ai_selected_index": 1, "images": ["1_a.png", "1_b.png", "1_c.png"]})
    make(work.predictions, [decision(0), decision(1)])
    assert counts(work.merge()) == {"merged": 2}
    assert work.filled("user 0")[:3] == (1, "[0, 0, 0.5, 0.5]", 0.75)
    assert work.filled("user 1")[:3] == (1, "[0.1, 0.2, 0.8, 0.9]", 0.75)


def test_crop_and_confidence_of_another_image_are_not_filled_in(work):
    user = {"user_selected_index": 2, "user_action": "approve"}
    work.predict().use({"ai_selected_index": 2}, user | {"ai_selected_index": 0, "images": ["1_a.png", "1_b.png", "1_c.png"]})
    make(work.predictions, [decision(0), decision(1)])
    found = work.merge()
    assert (counts(found), found["different_rows"]) == ({"merged": 1, "unchanged": 1}, ["user 0", "user 1"])
    assert work.filled("user 0") == (2, None, None, None, None, None)
    assert work.filled("user 1") == (0, None, None, 0, None, None)


def test_a_prediction_without_a_crop_leaves_it_null(work):
    work.predict(decision(ai_crop_coords=None)).use({"final_crop_coords": "[0, 0, 1, 1]", "user_action": "crop", "user_selected_index": 0})
    assert counts(work.merge()) == {"merged": 1}
    assert work.filled() == (1, None, 0.75, 0, None, None)


@pytest.mark.parametrize(
    ("user", "matches"),
    [
        ({}, (None, None, None)),
        ({"user_selected_index": 1}, (1, None, None)),
        ({"user_selected_index": 0, "user_action": "approve"}, (0, None, None)),
        ({"user_action": "reject"}, (None, None, None)),
        ({"user_action": "crop", "final_crop_coords": "[0.1, 0.2, 0.8, 0.9]"}, (None, 1, None)),
        ({"user_selected_index": 1, "final_crop_coords": "[0.1, 0.2, 0.8, 0.9]"}, (1, 1, None)),
        ({"user_selected_index": 1, "user_action": "crop", "final_crop_coords": "[0.1, 0.2, 0.8, 0.9]"}, (1, 1, 1)),
        ({"user_selected_index": 1, "user_action": "approve", "final_crop_coords": "[0.1, 0.2, 0.8, 0.9]"}, (1, 1, 1)),
        ({"user_selected_index": 1, "user_action": "reject", "final_crop_coords": "[0.1, 0.2, 0.8, 0.9]"}, (1, 1, 0)),
        ({"user_selected_index": 2, "user_action": "crop", "final_crop_coords": "[0.1, 0.2, 0.8, 0.9]"}, (0, 1, 0)),
        ({"user_selected_index": 1, "user_action": "crop", "final_crop_coords": "[0.15, 0.25, 0.75, 0.85]"}, (1, 1, 1)),
        ({"user_selected_index": 1, "user_action": "crop", "final_crop_coords": "[0.1, 0.2, 0.8, 0.84]"}, (1, 0, 0)),
        ({"user_selected_index": 1, "user_action": "crop", "final_crop_coords": "[0.151, 0.2, 0.8, 0.9]"}, (1, 0, 0)),
        ({"user_selected_index": 1, "user_action": "crop", "final_crop_coords": "[64, 96, 512, 432]"}, (1, None, None)),
        ({"user_selected_index": 1, "user_action": "crop", "final_crop_coords": "broken"}, (1, None, None)),
        ({"user_selected_index": "none", "user_action": "crop", "final_crop_coords": "[0.1, 0.2, 0.8, 0.9]"}, (None, 1, None)),
    ],
)
def test_matches_are_computed_where_both_sides_are_there(work, user, matches):
    work.predict().use(user)
    work.merge()
    assert work.filled()[3:] == matches


@pytest.mark.parametrize(("one", "other"), [(0.5, 0.55), (0.1, 0.15), (0.3, 0.25), (0.7, 0.65)])
def test_a_distance_of_0_05_is_a_match_whatever_rounding_does(work, one, other):
    work.predict(decision(ai_crop_coords=(one, 0, 1, 1))).use({"final_crop_coords": json.dumps([other, 0, 1, 1])})
    work.merge()
    assert work.filled()[4] == 1


def test_matches_that_are_there_stay_and_others_are_filled_from_the_rows_own_predictions(work):
    work.predict().use(schema="CREATE TABLE ai_decisions (" + ", ".join(COLUMNS) + ")")
    user = dict.fromkeys(COLUMNS) | {
        "group_id": "user 0",
        "directory": "one",
        "images": json.dumps(ONE["images"]),
        "user_selected_index": 2,
    }
    user |= {"ai_selected_index": 2, "ai_crop_coords": "[0, 0, 1, 1]", "ai_confidence": 0.1, "user_action": "crop", "crop_match": 0}
    user["final_crop_coords"] = "[0, 0, 1, 1]"
    change(work.users, (f"INSERT INTO ai_decisions VALUES ({', '.join('?' * len(user))})", tuple(user.values())))
    assert counts(work.merge()) == {"merged": 1}
    assert work.filled() == (2, "[0, 0, 1, 1]", 0.1, 1, 0, 1)


def test_every_row_has_one_outcome_and_only_nulls_change(work):
    chance = random.Random(5)
    decisions = [
        decision(number, directory=f"d{number % 3}", images=(f"{number}{chance.choice(ODD)}", f"{number}.png")) for number in range(60)
    ]
    work.predict(*decisions[:50])
    rows = []
    for one in decisions[10:]:
        row = {"directory": f"/x/{one.directory}", "images": list(one.images), "user_action": chance.choice([None, "crop", "reject"])}
        row["ai_selected_index"] = chance.choice([None, 0, 1])
        rows.append(row | {"user_selected_index": chance.choice([None, 0, 1]), "notes": chance.choice([None, "n"])})
    work.use(*rows)
    before = {f"user {number}": work.row(f"user {number}") for number in range(50)}
    found = work.merge()
    assert sum(counts(found).values()) == 50
    assert (found["unmatched"], len(found["unmatched_predictions"])) == (10, 10)
    for name, row in before.items():
        after = work.row(name)
        assert {column: value for column, value in row.items() if value is not None}.items() <= after.items()
        assert {column for column in row if row[column] != after[column]} <= {*AI_COLUMNS, *MATCH_COLUMNS}
        assert [after[column] for column in USER_COLUMNS] == [row[column] for column in USER_COLUMNS]
    assert work.merge()["merged"] == 0


# ---- which rows belong together ----


@pytest.mark.parametrize(
    "row",
    [
        {"directory": "one"},
        {"directory": "faces/one/"},
        {"directory": "C:\\data\\faces\\one"},
        {"directory": "./one/."},
        {"directory": None},
        {"directory": ""},
        {"images": ["/data/p/faces/one/0_a.png", "/data/p/faces/one/0_b.png", "/data/p/faces/one/0_c.png"]},
        {"directory": None, "images": ["/old/one/0_a.png", "/old/one/0_b.png", "/old/one/0_c.png"]},
        {"images": ["D:\\p\\one\\0_a.png", "D:\\p\\one\\0_b.png", "0_c.png"]},
        {"images": [{"path": "/x/one/0_a.png"}, {"filename": "0_b.png", "stage": 2}, {"path": "one/0_c.png", "name": "0_c.png"}]},
    ],
)
def test_older_ways_to_write_the_same_images_are_understood(work, row):
    work.predict().use(row)
    assert counts(work.merge()) == {"merged": 1}
    assert work.filled()[0] == 1
    assert work.row()["group_id"] == "user 0"


@pytest.mark.parametrize(
    "row",
    [
        {"directory": "two"},
        {"images": ["0_a.png", "0_c.png", "0_b.png"]},
        {"images": ["0_a.png", "0_b.png"]},
        {"images": ["0_A.png", "0_b.png", "0_c.png"]},
        {"images": ["0_a.png", "0_b.png", "0_c.png", "0_d.png"]},
        {"directory": None, "images": ["two/0_a.png", "two/0_b.png", "two/0_c.png"]},
    ],
)
def test_other_images_or_directories_are_unmatched_and_listed(work, row):
    work.predict().use(row)
    found = work.merge()
    assert counts(found) == {"unmatched": 1}
    assert found["unmatched_rows"] == [{"group_id": "user 0", "reason": "no group of the predictions has these images in this order"}]
    assert found["unmatched_predictions"] == ["p_group_0000"]
    assert work.filled() == (None,) * 6


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"images": ["/x/two/0_a.png", "0_b.png", "0_c.png"]}, "directory and images name several folders: one, two"),
        ({"directory": None, "images": ["a/0_a.png", "b/0_b.png", "a/0_c.png"]}, "directory and images name several folders: a, b"),
        ({"images": [{"path": "0_a.png", "name": "x.png"}]}, "an image is told by no name, or by several"),
        ({"images": [{"id": 7}]}, "an image is told by no name, or by several"),
        ({"images": [7, 8, 9]}, "an image is told by no name, or by several"),
        ({"images": ["0_a.png", "0_b.png", "/"]}, "an image has no name"),
        ({"images": "0_a.png, 0_b.png, 0_c.png"}, "images is no list, or an empty one"),
        ({"images": []}, "images is no list, or an empty one"),
        ({"images": {"0": "0_a.png"}}, "images is no list, or an empty one"),
    ],
)
def test_rows_that_contradict_themselves_are_ambiguous_and_listed(work, row, reason):
    work.predict().use(row, {"images": ["1_a.png", "1_b.png", "1_c.png"]})
    make(work.predictions, [decision(0), decision(1)])
    found = work.merge()
    assert counts(found) == {"merged": 1, "ambiguous": 1}
    assert found["ambiguous_rows"] == [{"group_id": "user 0", "reason": reason}]
    assert work.filled("user 0") == (None,) * 6


def test_predictions_that_look_alike_are_ambiguous(work):
    work.predict(decision(0, directory="a/one"), decision(1, directory="b/one", images=decision(0).images)).use({})
    found = work.merge()
    assert found["ambiguous_rows"] == [{"group_id": "user 0", "reason": "2 groups of the predictions have these images"}]
    assert (counts(found), len(found["unmatched_predictions"])) == ({"ambiguous": 1}, 2)


def test_rows_that_want_the_same_prediction_are_ambiguous(work):
    work.predict().use({}, {"directory": "other/one"}, {"directory": None})
    found = work.merge()
    assert counts(found) == {"ambiguous": 3}
    assert {row["reason"] for row in found["ambiguous_rows"]} == {"3 rows have the images of one group of the predictions"}
    assert [work.filled(f"user {number}")[0] for number in range(3)] == [None] * 3


def test_groups_at_the_root_of_a_zip_join_by_their_images(work):
    work.predict(decision(directory="")).use({"directory": "/data/unpacked"})
    assert counts(work.merge()) == {"merged": 1}


def test_a_known_directory_comes_before_an_unknown_one(work):
    work.predict(decision(0), decision(1, directory="", images=decision(0).images)).use({})
    assert counts(work.merge()) == {"merged": 1}


def test_the_form_of_letters_and_backslashes_in_names_do_not_part_images(work):
    work.predict(decision(0, directory="é", images=("é.png", "ü.png")), decision(1, images=("a\\b.png", "c.png")))
    work.use({"directory": "x/e\u0301", "images": ["e\u0301.png", "u\u0308.png"]}, {"images": ["a\\b.png", "c.png"]})
    assert counts(work.merge()) == {"merged": 2}


# ---- tables of all kinds ----


def test_a_database_of_this_workflow_can_be_merged_into(work):
    make(work.users, [decision(7, images=decision(0).images, group_id="mine")])
    change(
        work.users,
        "UPDATE ai_decisions SET ai_selected_index = NULL, ai_confidence = NULL, user_action = 'approve', user_selected_index = 1",
    )
    assert counts(work.predict().merge()) == {"merged": 1}
    assert work.filled("mine") == (1, "[0.1, 0.2, 0.8, 0.9]", 0.75, 1, None, None)


@pytest.mark.parametrize("ending", ["", " WITHOUT ROWID"])
@pytest.mark.parametrize("key", ["TEXT PRIMARY KEY", "INTEGER PRIMARY KEY"])
def test_any_kind_of_key(work, ending, key):
    images = json.dumps(ONE["images"])
    change(work.users, f"CREATE TABLE ai_decisions (group_id {key}, directory, images, AI_Confidence){ending}")
    change(work.users, ("INSERT INTO ai_decisions VALUES (7, 'one', ?, NULL), (8, 'two', ?, NULL)", (images, images)))
    assert counts(work.predict().merge()) == {"merged": 1, "unmatched": 1}
    assert rows_of(work.users, "ai_selected_index, AI_Confidence") == [(None, None), (1, 0.75)]


def test_group_ids_that_are_missing_or_there_twice_are_no_hindrance(work):
    change(work.users, "CREATE TABLE ai_decisions (group_id, directory, images)")
    rows = [(None, "one", 0), ("x", "one", 1), ("x", "one", 2), (b"\xff", "one", 3)]
    for group, folder, number in rows:
        change(work.users, ("INSERT INTO ai_decisions VALUES (?, ?, ?)", (group, folder, json.dumps(decision(number).images))))
    found = work.predict(*(decision(number, ai_selected_index=number) for number in range(3))).merge()
    assert counts(found) == {"merged": 3, "unmatched": 1}
    assert change(work.users, "SELECT ai_selected_index FROM ai_decisions ORDER BY _rowid_") == [(0,), (1,), (2,), (None,)]
    assert found["unmatched_rows"][0]["group_id"] == r"b'\xff'"


def test_an_empty_database_of_a_user_stays_so(work):
    assert counts(work.predict().use().merge()) == {}
    assert not work.backup.exists()


def test_wal_mode_is_kept_and_the_backup_is_one_whole_file(work):
    work.predict().use({"user_action": "reject"})
    with working(work.users, "PRAGMA journal_mode = WAL", "UPDATE ai_decisions SET notes = 'in the log'"):
        assert counts(work.merge()) == {"merged": 1}
    assert change(work.users, "PRAGMA journal_mode") == [("wal",)]
    assert work.filled()[0] == 1
    assert [file.name for file in work.backup.parent.iterdir()] == ["backup.db"]
    assert work.backup.read_bytes()[18:20] == b"\1\1"
    assert rows_of(work.backup, "notes, ai_selected_index") == [("in the log", None)]


# ---- what is refused, with nothing changed ----


def refused(work, text, error=StepError):
    before = work.users.read_bytes() if work.users.is_file() else None
    with pytest.raises(error, match=text):
        work.merge()
    assert (work.users.read_bytes() if work.users.is_file() else None) == before
    assert not [file.name for file in work.folder.rglob("*") if file.name.endswith((".tmp", "-journal", "-wal"))]


@pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_a_database_in_use_is_refused(work, monkeypatch, lock, mode):
    monkeypatch.setattr(read_database, "BUSY_SECONDS", 0.05)
    work.predict().use({})
    change(work.users, f"PRAGMA journal_mode = {mode}")
    with working(work.users, lock), pytest.raises(StepError, match=r"user.db: is in use by another program; close it and merge again"):
        work.merge()
    assert work.filled() == (None,) * 6
    assert not work.backup.exists()
    assert counts(work.merge()) == {"merged": 1}


def test_a_reader_that_does_not_end_hinders_the_commit_and_nothing_is_changed(work, monkeypatch):
    monkeypatch.setattr(read_database, "BUSY_SECONDS", 0.05)
    work.predict().use({})
    with working(work.users, "BEGIN", "SELECT * FROM ai_decisions"), pytest.raises(StepError, match="is in use by another program"):
        work.merge()
    assert work.filled() == (None,) * 6
    assert counts(work.merge()) == {"merged": 1}  # the backup of the first try is the same, and taken for this one


def test_a_backup_is_never_overwritten(work):
    work.predict().use({})
    work.backup.parent.mkdir()
    work.backup.write_text("precious")
    refused(work, "backup.db: stands there already, and is not overwritten; give the backup another name")
    assert work.backup.read_text() == "precious"


@pytest.mark.parametrize("name", ["new.db", "user.db", "link.db"])
def test_the_backup_is_none_of_the_databases(work, name):
    work.predict().use({})
    (work.folder / "link.db").symlink_to("user.db")
    work.backup = work.folder / name
    refused(work, f"{name}: is to be merged; give the backup another name")


def test_a_database_is_not_merged_into_itself(work):
    work.use({})
    work.predictions = work.folder / "link.db"
    work.predictions.symlink_to("user.db")
    refused(work, "is the database of predictions itself")


@pytest.mark.parametrize("name", ["predictions", "users"])
def test_a_missing_file_is_named(work, name):
    work.predict().use({})
    getattr(work, name).unlink()
    refused(work, f"{getattr(work, name)}: no such file")
    assert not getattr(work, name).exists()


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"group_id\n" * 100, "file is not a database; it stays as it was"), (b"", "has no table ai_decisions; give a database of decisions")],
    ids=["table", "empty"],
)
def test_a_file_that_is_no_database_of_decisions(work, content, text):
    work.predict()
    work.users.write_bytes(content)
    refused(work, text)


def test_tables_that_cannot_be_joined(work):
    work.predict()
    change(work.users, "CREATE VIEW ai_decisions AS SELECT 1 AS group_id, 2 AS images")
    refused(work, "has no table ai_decisions")
    change(work.users, "DROP VIEW ai_decisions", "CREATE TABLE ai_decisions (id, photos)")
    refused(work, "ai_decisions lacks group_id, images; nothing to join by")


def test_wrong_predictions_are_refused(work):
    work.predict().use({})
    change(work.predictions, "PRAGMA ignore_check_constraints = ON", "UPDATE ai_decisions SET ai_confidence = 5")
    refused(work, "new.db: values: ai_confidence is not between 0 and 1; make the predictions again")


@pytest.mark.parametrize(
    "body", ["UPDATE ai_decisions SET notes = 'touched'", "DELETE FROM ai_decisions", "UPDATE ai_decisions SET group_id = 'x'"]
)
def test_a_trigger_that_does_more_is_refused(work, body):
    work.predict().use({})
    change(work.users, f"CREATE TRIGGER t AFTER UPDATE OF ai_selected_index ON ai_decisions BEGIN {body}; END")
    refused(work, "user.db: a trigger changes other columns when AI columns are filled; drop it and merge again")


def test_a_row_that_cannot_be_told_is_refused(work):
    change(work.users, "CREATE TABLE ai_decisions (group_id PRIMARY KEY, directory, images) WITHOUT ROWID")
    change(work.users, ("INSERT INTO ai_decisions VALUES (CAST(x'61ff' AS TEXT), 'one', ?)", (json.dumps(ONE["images"]),)))
    work.predict()
    refused(work, "user.db: row .+ cannot be told from others or is not found; mend its group_id")


def test_a_users_database_without_predictions_is_none_to_merge_from(work):
    work.use({"user_action": "reject", "project_id": "p", "image_width": 1, "image_height": 1})
    work.predictions = work.users.rename(work.folder / "other.db")
    work.use({})
    refused(work, "other.db: ai_decisions lacks ai_confidence; give a database of predictions")


def test_a_rule_of_the_users_database_is_kept(work):
    work.predict().use({}, schema=OLD.replace("ai_selected_index INTEGER", "ai_selected_index INTEGER CHECK (ai_selected_index = 0)"))
    refused(work, "user.db: CHECK constraint failed: ai_selected_index = 0; it stays as it was")


@pytest.mark.parametrize(
    ("mode", "text"),
    [(0o777, "user.db: attempt to write a readonly database; it stays"), (0o555, "backup.db: Permission denied; without a backup")],
)
def test_files_that_may_not_be_written_are_told(open_folder, without_privileges, mode, text):
    work = Work(open_folder)
    work.predict().use({})
    work.users.chmod(0o444)
    work.backup.parent.mkdir()
    work.backup.parent.chmod(mode)
    with without_privileges():
        refused(work, text)


def test_a_step_whose_snakemake_is_gone_changes_nothing(work, monkeypatch):
    work.predict().use({})
    calls = []

    def gone_after_the_backup():
        calls.append(work.backup.exists())
        if calls[-1]:
            raise OrphanedError("gone")

    monkeypatch.setattr("workflow_scripts.predict.merge_users.check_not_orphaned", gone_after_the_backup)
    assert step.check_not_orphaned() is None
    refused(work, "gone", OrphanedError)
    assert calls == [True]


KILLED = """
import os, sys
from pathlib import Path
from workflow_scripts.predict import merge_users as module
connect = module.connect

def small_cache(path, options):
    connection = connect(path, options)
    connection.execute("PRAGMA cache_size = 1")  # changes reach the file before the commit
    return connection

module.connect = small_cache
module._check_rest = lambda *arguments: os.kill(os.getpid(), 9)
module.merge_users(*map(Path, sys.argv[1:]))
"""


def test_a_merge_killed_inside_its_transaction_leaves_the_old_data(work):
    decisions = [decision(number, images=(f"{number}_{'a' * 300}.png", "b.png"), directory=f"d{number}") for number in range(400)]
    work.predict(*decisions)
    work.use(schema=OLD)
    with closing(sqlite3.connect(work.users)) as connection:
        columns = "group_id, timestamp, directory, images, user_action"
        rows = [(f"user {number}", "t", one.directory, json.dumps(one.images), "reject") for number, one in enumerate(decisions)]
        connection.executemany(f"INSERT INTO ai_decisions ({columns}) VALUES (?, ?, ?, ?, ?)", rows)
        connection.commit()
    content, data = work.users.read_bytes(), rows_of(work.users)
    killed = subprocess.run([sys.executable, "-c", KILLED, work.predictions, work.users, work.backup], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (work.folder / "user.db-journal").stat().st_size
    assert work.users.read_bytes() != content
    assert rows_of(work.backup) == data
    assert rows_of(work.users) == data
    assert not (work.folder / "user.db-journal").exists()
    assert counts(work.merge()) == {"merged": 400}
    assert work.filled("user 399")[:3] == (1, "[0.1, 0.2, 0.8, 0.9]", 0.75)
