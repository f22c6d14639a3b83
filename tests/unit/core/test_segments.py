"""Segments and what is found in them by content, for values of any kind."""

import hashlib
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from workflow_scripts.core import segments as module
from workflow_scripts.core.segments import ContentStore, SegmentWriter, open_segment, segments

SCHEMA = pa.schema([("sha256", pa.binary(32)), ("name", pa.string()), ("count", pa.int64())])


class Pairs(ContentStore[tuple[str, int]]):
    """Content → a text and a number."""

    def __init__(self, folder):
        super().__init__(folder, SCHEMA)

    def _to_row(self, value):
        return value

    def _from_row(self, table, row):
        return table["name"][row].as_py(), table["count"][row].as_py()


def sha(name):
    return hashlib.sha256(str(name).encode()).hexdigest()


@pytest.fixture
def rows_a_segment(monkeypatch):
    """Set after how many rows a segment is written, whatever the time."""

    def set_to(rows):
        monkeypatch.setattr(module, "FLUSH_ROWS", rows)
        monkeypatch.setattr(module, "FLUSH_SECONDS", (3600.0, 3600.0))

    return set_to


# ---- the writer ----


def test_rows_come_back_in_their_order_and_columns(tmp_path, rows_a_segment):
    rows_a_segment(3)
    writer = SegmentWriter(tmp_path / "new", SCHEMA)
    rows = [(bytes([number]) * 32, f"é {number}", number) for number in range(7)]
    written = [path for path in (writer.add(*row) for row in rows) if path]
    written.append(writer.flush())
    assert sorted(written) == segments(tmp_path / "new")
    tables = [open_segment(path) for path in written]
    assert [len(table) for table in tables] == [3, 3, 1]
    assert all(table.schema.equals(SCHEMA) for table in tables)
    assert [tuple(row.values()) for table in tables for row in table.to_pylist()] == rows


def test_nothing_to_write_writes_nothing(tmp_path):
    writer = SegmentWriter(tmp_path / "new", SCHEMA)
    assert writer.flush() is None
    assert not (tmp_path / "new").exists()
    assert segments(tmp_path / "new") == []


def test_a_value_that_fits_no_column_is_the_callers_mistake_and_leaves_no_file(tmp_path):
    writer = SegmentWriter(tmp_path, SCHEMA)
    writer.add(b"short", "a", 1)
    with pytest.raises(pa.ArrowInvalid):
        writer.flush()
    assert list(tmp_path.iterdir()) == []


def test_segments_of_one_instant_and_of_several_writers_have_names_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(module.time, "time_ns", lambda: 1)
    writer = SegmentWriter(tmp_path, SCHEMA)
    for number in range(3):
        writer.add(bytes([number]) * 32, "", number)
        writer.flush()
    assert [path.name for path in segments(tmp_path)] == [
        f"1-{socket.gethostname()[:40]}-{os.getpid()}-{number}.arrow" for number in range(3)
    ]


def test_what_dead_writers_left_is_swept_and_is_never_read(tmp_path, ended_pid):
    dead = tmp_path / f".1-host-1-0.arrow.{socket.gethostname()}.{ended_pid}.tmp"
    alive = tmp_path / f".1-host-1-0.arrow.{socket.gethostname()}.{os.getppid()}.tmp"
    for path in (dead, alive):
        path.write_bytes(b"half")
    assert Pairs(tmp_path).get(sha(1)) is None
    assert list(tmp_path.iterdir()) == [alive]


# ---- the store ----


def test_a_store_gives_back_what_it_took(tmp_path, rows_a_segment):
    rows_a_segment(4)
    store = Pairs(tmp_path)
    values = {sha(number): (f"é {number}", number) for number in range(1, 11)}
    for name, value in values.items():
        store.add(name, value)
        assert store.get(name) == value
    assert len(segments(tmp_path)) == 2
    assert {name: store.get(name) for name in values} == values
    store.flush()
    assert {name: Pairs(tmp_path).get(name) for name in values} == values
    assert Pairs(tmp_path).get(sha("another")) is None


def test_values_stay_on_disk(tmp_path, rows_a_segment):
    rows_a_segment(5)
    store = Pairs(tmp_path)
    for number in range(20):
        store.add(sha(number), ("x", number))
        assert len(store._fresh) < 5
    later = Pairs(tmp_path)
    assert (later._fresh, later._added) == ({}, {})
    assert later._prefixes.nbytes + later._places.nbytes == 16 * 20


def test_a_content_that_is_added_twice_is_written_once(tmp_path):
    store = Pairs(tmp_path)
    for value in (("first", 1), ("second", 2)):
        store.add(sha(1), value)
    store.flush()
    assert [len(open_segment(path)) for path in segments(tmp_path)] == [1]
    assert store.get(sha(1)) == Pairs(tmp_path).get(sha(1)) == ("first", 1)


def test_contents_that_share_8_bytes_are_told_apart_across_segments(tmp_path):
    names = ["0011223344556677" + tail * 24 for tail in ("00", "7f", "80", "ff")]
    for number, name in enumerate(names[:3], 1):
        store = Pairs(tmp_path)
        store.add(name, ("", number))
        store.flush()
    later = Pairs(tmp_path)
    assert [later.get(name) for name in names] == [("", 1), ("", 2), ("", 3), None]


def test_a_store_sees_what_others_wrote_before_it_was_opened_and_not_after(tmp_path):
    one, other = Pairs(tmp_path), Pairs(tmp_path)
    one.add(sha(1), ("", 1))
    one.flush()
    assert other.get(sha(1)) is None
    assert Pairs(tmp_path).get(sha(1)) == ("", 1)


def test_many_threads_get_while_one_adds(tmp_path, rows_a_segment):
    rows_a_segment(3)
    store = Pairs(tmp_path)
    until = time.monotonic() + 20

    def look(number):
        found = None
        while found is None and time.monotonic() < until:
            found = store.get(sha(number))
        return {found, *(store.get(sha(number)) for _ in range(50))}

    with ThreadPoolExecutor(4) as pool:
        looks = [pool.submit(look, number) for number in range(1, 5)]
        for number in range(1, 40):
            store.add(sha(number), ("", number))
        assert [look.result() for look in looks] == [{("", number)} for number in range(1, 5)]


def test_an_index_of_many_contents_finds_each(tmp_path, rows_a_segment):
    rows_a_segment(250)
    store = Pairs(tmp_path)
    for number in range(1, 1001):
        store.add(sha(number), ("", number))
    store.flush()
    later = Pairs(tmp_path)
    assert (np.diff(later._prefixes.astype(object)) >= 0).all()
    assert all(later.get(sha(number)) == ("", number) for number in range(1, 1001))
