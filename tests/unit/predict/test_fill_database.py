"""The database of a project beside its receipt; and that a person's work is never touched."""

import json
import logging
import shutil
import sqlite3
from contextlib import closing

import pytest

from workflow_scripts.core.embeddings import write_table
from workflow_scripts.core.json_files import read_json
from workflow_scripts.core.models import file_sha256
from workflow_scripts.predict.fill_database import fill_database
from workflow_scripts.predict.tables import GROUPS, schema

SHA = "ab" * 32
ABOUT = {
    "project_id": "p ü",
    "path": "/disk/p.zip",
    "status": "success",
    "error": "",
    "models": {"ranker": {"path": "r.pt", "sha256": SHA}, "crop_proposer": {"path": "c.pt", "sha256": SHA}},
    "model": {"name": "ViT", "pretrained": "openai", "sha256": SHA},
    "decode": "scaled",
    "precision": "bf16",
    "fingerprint": "f" * 16,
    "views": "center",
    "normalise": True,
}
HOW = {"grouping": {"pattern": "ü", "ungrouped": "list"}, "networks": {"scale": 10000, "min_side": 0.05}}


def group(name, **changes):
    row = {"group_id": name, "directory": "a b", "timestamp": "2025-01-02T03:04:05Z", "images": [f"{name}.1.png", f"{name}.2.png"]}
    row |= {"sha256": [SHA, SHA], "scores": [1.0, 2.0], "selected": 1, "confidence": 0.75, "margin": 1.0, "proposal": [0, 0, 1, 1]}
    return row | {"crop": [0.1, 0.2, 0.9, 0.8], "repairs": [], "width": 800, "height": 600, "error": ""} | changes


@pytest.fixture
def place(tmp_path):
    """Writes a table of groups and fills the database from it; gives the receipt and the counts."""

    def fill(*rows, how=HOW, **about):
        write_table(tmp_path / "p.parquet", schema(GROUPS, ABOUT | about), list(rows))
        receipt = tmp_path / "04/p.json"
        receipt.unlink(missing_ok=True)  # as Snakemake does before it runs a rule again
        file_sha256.cache_clear()  # which a step, a process of its own, does not need
        counts = fill_database(tmp_path / "p.parquet", receipt, how)
        return read_json(receipt), counts

    return fill


def select(path, statement):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def test_decisions_and_failed_groups_go_into_their_tables(place):
    unreadable = {"selected": None, "confidence": None, "margin": None, "proposal": None, "crop": None, "width": None, "height": None}
    rows = [group("g1"), group("g2", crop=None, error="crop: not 4 finite numbers"), group("g3", **unreadable, error="read: none")]
    receipt, counts = place(*rows)
    assert counts == {"decisions": 2, "failed_groups": 1, "images": 4}
    assert receipt["counts"] == counts
    columns = (
        "group_id, timestamp, project_id, directory, images, ai_selected_index, ai_crop_coords, ai_confidence, image_width, image_height"
    )
    images = '["g1.1.png", "g1.2.png"]'
    assert select(receipt["database"], f"SELECT {columns} FROM ai_decisions") == [
        ("g1", "2025-01-02T03:04:05Z", "p ü", "a b", images, 1, "[0.1, 0.2, 0.9, 0.8]", 0.75, 800, 600),
        ("g2", "2025-01-02T03:04:05Z", "p ü", "a b", images.replace("g1", "g2"), 1, None, 0.75, 800, 600),
    ]
    assert select(receipt["database"], "SELECT * FROM failed_groups") == [("g3", "a b", '["g3.1.png", "g3.2.png"]', "read: none")]


def test_meta_says_how_it_was_made(place):
    receipt, _ = place(group("g1"))
    meta = dict(select(receipt["database"], "SELECT key, value FROM meta"))
    assert {name: meta[name] for name in ("project_id", "path", "status", "ranker", "ranker_sha256", "crop_proposer", "clip_sha256")} == {
        "project_id": "p ü",
        "path": "/disk/p.zip",
        "status": "success",
        "ranker": "r.pt",
        "ranker_sha256": SHA,
        "crop_proposer": "c.pt",
        "clip_sha256": SHA,
    }
    assert json.loads(meta["clip"]) == ABOUT["model"]
    assert json.loads(meta["preprocessing"]) == {
        **{name: ABOUT[name] for name in ("decode", "precision", "fingerprint", "views", "normalise")},
        "scale": 10000,
        "min_side": 0.05,
    }
    assert json.loads(meta["grouping"]) == HOW["grouping"]
    assert meta["created_at"].endswith("Z")


def test_a_failed_project_has_an_empty_database_that_says_why(place):
    receipt, counts = place(status="failed", error="no such zip", model={})
    assert (receipt["status"], receipt["error"], counts["decisions"]) == ("failed", "no such zip", 0)
    assert dict(select(receipt["database"], "SELECT key, value FROM meta"))["error"] == "no such zip"


def test_predictions_replace_predictions(place):
    before, _ = place(group("g1"))
    after, _ = place(group("g1", selected=0))
    assert before["database"] == after["database"]
    assert after["database"].endswith("04/p.db")
    assert select(after["database"], "SELECT ai_selected_index FROM ai_decisions") == [(0,)]


def test_a_database_that_a_person_works_in_stays_and_new_predictions_go_beside_it(place, tmp_path, caplog):
    receipt, _ = place(group("g1"))
    with closing(sqlite3.connect(receipt["database"])) as connection:
        connection.execute("UPDATE ai_decisions SET user_action = 'approve'")
        connection.commit()
    shutil.copy(receipt["database"], tmp_path / "kept.db")
    caplog.set_level(logging.WARNING)
    after, _ = place(group("g1", selected=0))
    assert (tmp_path / "04/p.db").read_bytes() == (tmp_path / "kept.db").read_bytes()
    assert after["database"] != receipt["database"]
    assert select(after["database"], "SELECT ai_selected_index, user_action FROM ai_decisions") == [(0, None)]
    assert "holds user data in 1 rows" in caplog.text
    again, _ = place(group("g1", selected=0))
    assert again["database"] == after["database"]
    other, _ = place(group("g1", selected=0), how=HOW | {"networks": {"scale": 2048}})
    assert other["database"] not in (after["database"], receipt["database"])
    with closing(sqlite3.connect(after["database"])) as connection:
        connection.execute("UPDATE ai_decisions SET user_action = 'crop'")
        connection.commit()
    third, _ = place(group("g1", selected=0, confidence=0.5))
    assert select(after["database"], "SELECT user_action FROM ai_decisions") == [("crop",)]
    assert select(third["database"], "SELECT user_action, ai_confidence FROM ai_decisions") == [(None, 0.5)]
    assert len(list((tmp_path / "04").glob("*.db"))) == 4
