"""Merging as a step: the report, and the backup that no other backup replaces."""

import hashlib
import sqlite3
from contextlib import closing

import pytest

from workflow_scripts.core.json_files import read_json, write_json
from workflow_scripts.core.models import file_sha256
from workflow_scripts.core.step import StepError
from workflow_scripts.predict.database import Decision, write_database
from workflow_scripts.predict.merge import merge


@pytest.fixture
def predictions(tmp_path):
    """The receipt of a database with one decision."""
    decision = Decision("new", "2025-01-01T00:00:00Z", "p", "a", None, ("1.png", "2.png"), 1, (0.1, 0.1, 0.9, 0.9), 0.5, 10, 10)
    write_database(tmp_path / "p.db", [decision], [], {})
    write_json(tmp_path / "p.json", {"database": str(tmp_path / "p.db")})
    return tmp_path / "p.json"


def users_database(path, *names):
    """A database in which a person decided."""
    decisions = [Decision(name, "2025-01-01T00:00:00Z", "p", "x/a", None, (f"{name}.png",), 0, None, 0.5, 10, 10) for name in names]
    same = Decision("old", "2025-01-01T00:00:00Z", "p", "x/a", None, ("1.png", "2.png"), 1, None, 0.5, 10, 10)
    write_database(path, [same, *decisions], [], {})
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE ai_decisions SET user_action = 'approve', ai_selected_index = NULL, ai_confidence = NULL")
        connection.commit()
    return path


def test_predictions_are_filled_in_and_what_found_no_place_is_listed(predictions, tmp_path):
    users = users_database(tmp_path / "users.db", "other")
    before = users.read_bytes()
    counts = merge(predictions, users, tmp_path / "07/p.json")
    assert counts == {"merged": 1, "unchanged": 0, "ambiguous": 0, "unmatched": 1}
    report = read_json(tmp_path / "07/p.json")
    assert [row["group_id"] for row in report["unmatched_rows"]] == ["other"]
    assert (report["predictions"], report["user_database"]) == (str(tmp_path / "p.db"), str(users))
    backup = tmp_path / f"07/backups/p.{hashlib.sha256(before).hexdigest()[:16]}.db"
    assert report["backup"] == str(backup)
    with closing(sqlite3.connect(backup)) as kept, closing(sqlite3.connect(users)) as filled:
        columns = "SELECT ai_selected_index, ai_crop_coords, user_action FROM ai_decisions WHERE group_id = 'old'"
        assert kept.execute(columns).fetchall() == [(None, None, "approve")]
        assert filled.execute(columns).fetchall() == [(1, "[0.1, 0.1, 0.9, 0.9]", "approve")]


def test_a_second_merge_changes_nothing(predictions, tmp_path):
    users = users_database(tmp_path / "users.db")
    merge(predictions, users, tmp_path / "07/p.json")
    after = users.read_bytes()
    file_sha256.cache_clear()
    assert merge(predictions, users, tmp_path / "07/p.json")["unchanged"] == 1
    assert users.read_bytes() == after
    assert len(list((tmp_path / "07/backups").iterdir())) == 1


def test_a_database_that_is_not_there_is_told_by_its_setting(predictions, tmp_path):
    with pytest.raises(StepError, match=r"none\.db: no such database; correct user_database"):
        merge(predictions, tmp_path / "none.db", tmp_path / "07/p.json")
