"""A small table of a page, and pictures for it."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from workflow_scripts.core.pages import Choice, Page, Threshold

OUTCOMES = {"kept": "kept", "removed": "rejected", "errors": "error"}
THRESHOLD = Threshold("prob", "people", 0.5, 0, 1, 0.01, config_path=("people", "threshold"))


def make_rows(count, seed=0):
    """Rows whose outcome is what the threshold says; every tenth is an error."""
    numbers = np.random.default_rng(seed).random(count).round(3)
    rows = []
    for place, number in enumerate(numbers.tolist()):
        row = {"id": hashlib.sha256(str(place).encode()).hexdigest(), "name": f"a/{place:05d}.jpg", "link": "", "images": [str(place)]}
        removed = number >= 0.5
        row |= {"outcome": "removed" if removed else "kept", "reason": "prob >= 0.5" if removed else "prob < 0.5", "prob": number}
        if place % 10 == 9:
            row |= {"outcome": "errors", "reason": "decode: truncated", "prob": None, "images": [], "id": None}
        rows.append(row)
    return rows


def make_table(rows):
    return pa.Table.from_pylist(rows)


def picture(key, size=(160, 120)):
    """A JPEG whose colour follows from its key."""
    colour = tuple(hashlib.sha256(key.encode()).digest()[:3])
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def read_data(folder):
    """What the page's script gets."""
    text = (Path(folder) / "data.js").read_text(encoding="utf-8")
    start, end = "window.darkroomData=", ";\n"
    assert text.startswith(start)
    assert text.endswith(end)
    return json.loads(text[len(start) : -len(end)])


@pytest.fixture
def rows():
    return make_rows(60)


@pytest.fixture
def page():
    return Page("test", "A test", "Look.", thresholds=(THRESHOLD,), outcomes=OUTCOMES, choices=(Choice("keep", "Keep", "k", "kept"),))


@pytest.fixture
def kit():
    """What tests need of this file; with pytest's import mode it cannot be imported."""

    class Kit:
        rows = staticmethod(make_rows)
        table = staticmethod(make_table)
        picture = staticmethod(picture)
        data = staticmethod(read_data)

    return Kit
