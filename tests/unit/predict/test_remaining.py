"""The estimate of the remaining time: from images, and from those alone that took time."""

import logging
from collections import Counter

import pytest

from workflow_scripts.core.embeddings import write_table
from workflow_scripts.predict import remaining
from workflow_scripts.predict.remaining import Remaining, clock, estimated
from workflow_scripts.predict.tables import INVENTORY, schema


@pytest.fixture
def seconds(monkeypatch):
    """A clock that the test moves on."""
    now = [100.0]
    monkeypatch.setattr(remaining.time, "monotonic", lambda: now[0])
    return now


def run(seconds, counts, steps, total, others=None, every=30.0):
    """Results that take the seconds, and encode the images, that `steps` says."""

    def results():
        for duration, encoded in steps:
            seconds[0] += duration
            counts["encoded"] += encoded
            yield "result"

    return list(estimated(results(), counts, total, others, every))


def test_other_projects_count_by_their_images(tmp_path):
    for name, images in (("own", 10), ("done", 300), ("small", 20), ("large", 1000)):
        write_table(tmp_path / f"01/{name}.parquet", schema(INVENTORY, {"images": images}), [])
    inventories = [tmp_path / f"01/{name}.parquet" for name in ("own", "done", "small", "large", "not listed yet")]
    (tmp_path / "02").mkdir()
    (tmp_path / "02/done.parquet").write_bytes(b"")
    assert Remaining.of(tmp_path / "02/own.parquet", inventories[0], inventories) == Remaining(images=1020, projects=2, done=300)


def test_the_estimate_is_images_by_the_rate_of_those_that_were_embedded(seconds, caplog):
    caplog.set_level(logging.INFO)
    steps = [(0, 0), *[(1, 4)] * 40]
    assert run(seconds, Counter(), steps, 41 + 79, Remaining(images=321, projects=3, done=0)) == ["result"] * 41
    # After 30 seconds 120 images were embedded and 31 results had come: 4 a second for 89 + 321 images.
    assert [record.message for record in caplog.records] == ["about 2 min left for 410 images in this and 3 other projects, at 4.0/s"]


def test_what_the_cache_knew_says_nothing_about_the_rest(seconds, caplog):
    caplog.set_level(logging.INFO)
    run(seconds, Counter(), [(1, 0)] * 200, 200, Remaining(images=5000, projects=1, done=0))
    run(seconds, Counter(), [(1, 1)] * 60, 60, Remaining(images=5000, projects=1, done=0))
    assert not caplog.records


def test_at_the_end_of_the_last_project_nothing_is_left_to_say(seconds, caplog):
    caplog.set_level(logging.INFO)
    run(seconds, Counter(), [(0.1, 1)] * 200, 200)
    assert not caplog.records
    run(seconds, Counter(), [(0.1, 1)] * 200, 200, Remaining(images=100, projects=1, done=0))
    assert [record.message for record in caplog.records] == ["about 10 s left for 100 images in this and 1 other project, at 10.0/s"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(20, "20 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (5400, "1.5 h"), (36000, "10.0 h")]
)
def test_times_are_said_as_people_do(seconds, text):
    assert clock(seconds) == text
