"""Decisions to write into databases, plain and drawn."""

import json
import random
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager

from workflow_scripts.predict.database import Decision, FailedGroup, write_database

META = {"ranker_sha256": "ab12", "preprocessing": "clip", "run_time": "2025-06-01T12:00:00Z", "workflow_version": "0.1.0"}
ODD = ["é.png", "e\u0301.png", "a b.png", "#%{}.png", "quote'\".png", "new\nline.png", "back\\slash.png", "-dash.png", "图.webp", "🙂.jpg"]


def decision(number=0, **changes):
    values = {
        "group_id": f"p_group_{number:04d}",
        "timestamp": "2025-05-01T10:00:00Z",
        "project_id": "p",
        "directory": "faces/one",
        "batch_number": None,
        "images": (f"{number}_a.png", f"{number}_b.png", f"{number}_c.png"),
        "ai_selected_index": 1,
        "ai_crop_coords": (0.1, 0.2, 0.8, 0.9),
        "ai_confidence": 0.75,
        "image_width": 640,
        "image_height": 480,
    }
    return Decision(**values | changes)


def failed_group(number=900, **changes):
    values = {"group_id": f"p_group_{number:04d}", "directory": "", "images": (f"{number}.png",), "error": "decode: truncated"}
    return FailedGroup(**values | changes)


def drawn(seed):
    """Random decisions and failed groups of one project, with odd names, as the steps before may give them."""
    chance = random.Random(seed)
    decisions, failed = [], []
    for number in range(chance.randrange(1, 30)):
        folder = chance.choice(["", "a", "a/b", "é ü", "it's"])
        images = tuple(f"{number}_{member}{chance.choice(ODD)}" for member in range(chance.randrange(1, 6)))
        low = [chance.choice([0.0, chance.random() * 0.9, 1 / 3]) for _ in range(2)]
        high = [chance.choice([1.0, min(1.0, one + 1e-6 + chance.random())]) for one in low]
        if chance.random() < 0.2:
            failed.append(failed_group(number, directory=folder, images=images))
            continue
        one = decision(
            number,
            directory=folder,
            images=images,
            batch_number=chance.choice([None, 0, 7]),
            ai_selected_index=chance.randrange(len(images)),
            ai_crop_coords=(*low, *high),
            ai_confidence=chance.choice([0.0, 1.0, chance.random()]),
            image_width=chance.choice([1, 512, 100_000]),
            image_height=chance.randrange(1, 5000),
        )
        decisions.append(one)
    return [*decisions, decision(5000)], failed


def make(path, decisions=None, failed=(), meta=META):
    write_database(path, [decision()] if decisions is None else decisions, failed, meta)
    return path


def change(path, *statements):
    """Run SQL on a database as other programs would; gives the rows of the last statement."""
    with closing(sqlite3.connect(path)) as connection:
        rows = []
        for statement in statements:
            text, values = (statement, ()) if isinstance(statement, str) else statement
            rows = connection.execute(text, values).fetchall()
        connection.commit()
        return rows


def rows_of(path, columns="*", table="ai_decisions"):
    return change(path, f"SELECT {columns} FROM {table} ORDER BY 1")


WORK = """
import json, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in json.loads(sys.argv[2]):
    connection.execute(statement).fetchall()
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def working(path, *statements):
    """Another program that has run these statements on a database and keeps it open."""
    with subprocess.Popen(
        [sys.executable, "-c", WORK, path, json.dumps(statements)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield
        process.stdin.close()
