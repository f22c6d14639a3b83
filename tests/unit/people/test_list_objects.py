"""people 01: shards, the sample, extensions, names; a listing of any size; what a bucket refuses."""

import hashlib
import os
import random
import zlib
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflow_scripts.core.step import OrphanedError, StepError
from workflow_scripts.core.storage import Item, StoreError, printable_key
from workflow_scripts.people import list_objects as module
from workflow_scripts.people.list_objects import (
    SCHEMA,
    items_to_scan,
    list_objects,
    listing_counts,
    read_shard,
    shard_of,
)

KEYS = [
    f"{folder}{name}"
    for folder in ("", "a/", "a b/é/")
    for name in ("1.jpg", "2.png", "z-1.webp", "notes.txt", "x.TIFF", "10.jpg", "é.jpg")
]


class Listed:
    """A source that lists what it is given."""

    location = "/data/somewhere"

    def __init__(self, keys, order=None):
        self._keys = order(keys) if order else sorted(keys, key=os.fsencode)

    def list(self):
        return (Item(key, 5, f"etag of {printable_key(key)}", "2026-01-01T00:00:00Z") for key in self._keys)


@pytest.fixture
def listed(tmp_path):
    """The rows of a listing, and its counts."""

    def make(keys, *, shard_count=1, max_images=0, sample_seed=0, order=None):
        output = tmp_path / "objects.parquet"
        counts = list_objects(Listed(keys, order), output, shard_count=shard_count, max_images=max_images, sample_seed=sample_seed)
        table = pq.read_table(output)
        assert table.schema.equals(SCHEMA)
        return table.to_pylist(), counts

    return make


def scanned(rows):
    return {row["key"] for row in rows if row["outcome"] == "scan"}


@pytest.mark.parametrize("shard_count", [1, 3, 7, 50])
def test_a_shard_is_the_crc32_of_the_key(listed, shard_count):
    rows, _ = listed(KEYS, shard_count=shard_count)
    assert [(row["shard"], row["key"]) for row in rows] == sorted(
        [(zlib.crc32(key.encode("utf-8")) % shard_count, key) for key in KEYS], key=lambda pair: (pair[0], pair[1].encode())
    )
    assert all(shard_of(row["key"], shard_count) == row["shard"] for row in rows)


def test_a_shard_is_pinned():
    assert [shard_of(key, 4) for key in ("album/1.jpg", "album/2.jpg", "é.png", "")] == [
        zlib.crc32(b"album/1.jpg") % 4,
        zlib.crc32(b"album/2.jpg") % 4,
        zlib.crc32("é.png".encode()) % 4,
        0,
    ]
    assert shard_of("123456789", 2**32) == 0xCBF43926  # the check value of CRC-32


def test_reading_the_shards_gives_every_row_once(listed, tmp_path):
    rows, _ = listed(KEYS, shard_count=5)
    parts = [list(read_shard(tmp_path / "objects.parquet", shard)) for shard in range(5)]
    assert [row for part in parts for row in part] == rows
    assert all([row["key"] for row in part] == sorted(row["key"] for row in part) for part in parts)
    assert list(read_shard(tmp_path / "objects.parquet", 5)) == []


@pytest.mark.parametrize("shard_count", [2, 5, 40])
@pytest.mark.parametrize("size", [1, 7, 200, 1000])
def test_the_sample_is_the_same_for_any_shard_count(listed, shard_count, size):
    keys = [f"album-{number % 7}/{number}.jpg" for number in range(300)]
    one, counts = listed(keys, max_images=size)
    many, _ = listed(keys, max_images=size, shard_count=shard_count)
    assert scanned(one) == scanned(many)
    assert len(scanned(one)) == min(size, 300)
    assert counts == {name: count for name, count in (("scan", min(size, 300)), ("not_sampled", 300 - size)) if count > 0}
    assert {row["detail"] for row in one} == {""}


def test_another_seed_draws_another_sample(listed):
    keys = [f"{number}.jpg" for number in range(300)]
    samples = [scanned(listed(keys, max_images=30, sample_seed=seed)[0]) for seed in (0, 0, 1, 2)]
    assert samples[0] == samples[1]
    assert all(len(samples[0] & other) < 15 for other in samples[2:])


def test_a_sample_is_nested_and_keeps_what_it_had_when_images_come(listed):
    keys = [f"{number}.jpg" for number in range(300)]
    small, large = (scanned(listed(keys, max_images=size)[0]) for size in (20, 60))
    assert small < large
    grown = scanned(listed([*keys, *(f"new/{number}.jpg" for number in range(100))], max_images=60)[0])
    assert grown - {key for key in grown if key.startswith("new/")} <= large
    assert len(grown & large) > 30


def test_the_sample_is_spread_over_the_folders(listed):
    keys = [f"{folder}/{number}.jpg" for folder in "abcd" for number in range(100)]
    found = Counter(key[0] for key in scanned(listed(keys, max_images=100)[0]))
    assert all(12 <= found[folder] <= 40 for folder in "abcd")


def test_only_images_are_drawn(listed):
    rows, counts = listed([f"{number}.txt" for number in range(50)] + ["1.jpg", "2.jpg"], max_images=2)
    assert scanned(rows) == {"1.jpg", "2.jpg"}
    assert counts == {"skipped": 50, "scan": 2}


@pytest.mark.parametrize("extension", [".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tiff", ".tif", ".JPG", ".JpEg", ".WEBP", ".TIF"])
def test_extensions_count_in_any_case(listed, extension):
    rows, counts = listed([f"a.b{extension}"])
    assert [(row["outcome"], row["detail"]) for row in rows] == [("scan", "")]
    assert counts == {"scan": 1}


@pytest.mark.parametrize(
    ("key", "detail"),
    [
        ("a.gif", ".gif"),
        ("a.MP4", ".mp4"),
        ("Thumbs.db", ".db"),
        ("no-extension", "(none)"),
        ("a.jpg.part", ".part"),
        ("folder.jpg/readme", "(none)"),
        (".jpg", "(none)"),
        ("a.jpg~", ".jpg~"),
        ("album/", "(none)"),  # consoles of object stores make such objects as folders
        ("album.jpg/", "(none)"),
    ],
)
def test_other_files_are_skipped_by_their_extension(listed, key, detail):
    rows, counts = listed([key, "good.jpg"])
    (row,) = [row for row in rows if row["key"] == key]
    assert (row["outcome"], row["detail"]) == ("skipped", detail)
    assert counts == {"skipped": 1, "scan": 1}


def test_a_name_that_is_no_utf8_is_an_error_with_a_name_that_can_be_written(listed):
    rows, counts = listed([os.fsdecode(b"caf\xe9.jpg"), os.fsdecode(b"caf\xe9.txt"), "café.jpg"], shard_count=3)
    found = {row["key"]: (row["outcome"], row["detail"], row["shard"]) for row in rows}
    assert found == {
        r"caf\udce9.jpg": ("error", "list: the name is no UTF-8; rename the file", shard_of(r"caf\udce9.jpg", 3)),
        r"caf\udce9.txt": ("skipped", ".txt", shard_of(r"caf\udce9.txt", 3)),
        "café.jpg": ("scan", "", shard_of("café.jpg", 3)),
    }
    assert counts == {"error": 1, "skipped": 1, "scan": 1}


def test_what_was_listed_stands_in_the_table(listed):
    rows, _ = listed(["a/1.jpg"])
    assert rows == [
        {
            "key": "a/1.jpg",
            "size": 5,
            "etag": "etag of a/1.jpg",
            "last_modified": "2026-01-01T00:00:00Z",
            "shard": 0,
            "outcome": "scan",
            "detail": "",
        }
    ]


@pytest.mark.parametrize("keys", [[], ["a.txt", "b.gif"], [os.fsdecode(b"\xff.jpg")]])
def test_a_source_without_an_image_is_refused(listed, tmp_path, keys):
    with pytest.raises(StepError, match=rf"^/data/somewhere: none of its {len(keys)} files is an image \(\.jpg \.jpeg .*\)$"):
        listed(keys)
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_is_not_there_is_named(run):
    run.source.rmdir()
    with pytest.raises(StepError, match="source: no such folder"):
        run.list()


def test_same_source_same_bytes(listed, tmp_path):
    found = []
    for _ in range(2):
        listed(KEYS, shard_count=3, max_images=5)
        found.append((tmp_path / "objects.parquet").read_bytes())
    assert found[0] == found[1]


# ---- listings of any size ----

# U+E000 stands before the emoji as UTF-8, and behind it as UTF-16, by which some stores sort.
WIDE = [*KEYS, "\ue000.jpg", "😀.jpg", "😀/\ue000.jpg", "\ue000/😀.jpg", "\ufb00.jpg"]
ORDERS = {
    "by key": sorted,
    "as UTF-16": lambda keys: sorted(keys, key=lambda key: key.encode("utf-16-be")),
    "backwards": lambda keys: sorted(keys, reverse=True),
    "shuffled": lambda keys: random.Random(3).sample(keys, len(keys)),
    "case folded": lambda keys: sorted(keys, key=str.lower),
}


def by_hash(keys, seed, size):
    """What a sample of images must be."""
    ranked = sorted(keys, key=lambda key: hashlib.sha256(f"{seed}\0{key}".encode()).hexdigest())
    return set(ranked[:size])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_the_table_is_the_same_in_whatever_pieces_and_order_it_was_listed(listed, monkeypatch, chunk, order):
    assert ORDERS["as UTF-16"](WIDE) != sorted(WIDE)
    monkeypatch.setattr(module, "CHUNK", chunk)
    rows, counts = listed(WIDE, shard_count=3, max_images=9, sample_seed=5, order=ORDERS[order])
    images = [key for key in WIDE if not key.endswith(".txt")]
    sample = by_hash(images, 5, 9)
    outcome = {key: "skipped" if key not in images else "scan" if key in sample else "not_sampled" for key in WIDE}
    wanted = sorted(WIDE, key=lambda key: (zlib.crc32(key.encode()) % 3, key.encode()))
    assert [(row["key"], row["outcome"], row["shard"]) for row in rows] == [
        (key, outcome[key], zlib.crc32(key.encode()) % 3) for key in wanted
    ]
    assert all(row["etag"] == f"etag of {row['key']}" for row in rows)
    assert counts == {"scan": 9, "not_sampled": len(images) - 9, "skipped": 3}


@pytest.mark.parametrize(("chunk", "shard_count"), [(7, 1), (100, 50), (1000, 4)])
def test_the_sample_is_the_first_by_hash_for_any_chunk_and_shard_count(listed, monkeypatch, chunk, shard_count):
    monkeypatch.setattr(module, "CHUNK", chunk)
    keys = [f"album-{number % 7}/{number}.jpg" for number in range(300)]
    rows, _ = listed([*keys, *(f"{number}.txt" for number in range(50))], shard_count=shard_count, max_images=40, sample_seed=11)
    assert scanned(rows) == by_hash(keys, 11, 40)


@pytest.mark.parametrize("max_images", [0, 3, 14, 100])
def test_the_counts_stand_in_the_listing(listed, tmp_path, monkeypatch, max_images):
    monkeypatch.setattr(module, "CHUNK", 4)
    rows, counts = listed([*KEYS, os.fsdecode(b"caf\xe9.jpg")], shard_count=3, max_images=max_images)
    assert listing_counts(tmp_path / "objects.parquet") == counts == Counter(row["outcome"] for row in rows)
    assert sum(counts.values()) == len(KEYS) + 1


def test_leftovers_of_a_killed_listing_are_swept(listed, tmp_path):
    left = tmp_path / ".listing-abc"
    left.mkdir()
    (left / "0.arrow").write_bytes(b"half")
    (tmp_path / "mine").mkdir()
    listed(KEYS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "objects.parquet"]


class CutOff(Listed):
    """A source that lists so many objects and fails."""

    def list(self):
        yield from super().list()
        raise StoreError("the store does not answer")


@pytest.mark.parametrize("chunk", [1, 1000])
def test_a_listing_that_fails_leaves_the_older_one_and_nothing_beside(listed, tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(module, "CHUNK", chunk)
    listed(KEYS)
    before = (tmp_path / "objects.parquet").read_bytes()
    with pytest.raises(StoreError, match="the store does not answer"):
        list_objects(CutOff(KEYS[:5]), tmp_path / "objects.parquet", shard_count=1, max_images=0, sample_seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["objects.parquet"]
    assert (tmp_path / "objects.parquet").read_bytes() == before


def test_an_orphan_stops_listing(listed, tmp_path, monkeypatch):
    def gone():
        raise OrphanedError("gone")

    monkeypatch.setattr(module, "check_not_orphaned", gone)
    monkeypatch.setattr(module, "CHUNK", 2)
    source = Listed(KEYS)
    source.list = lambda: (pytest.fail("went on") if number > 4 else item for number, item in enumerate(Listed(KEYS).list()))
    with pytest.raises(OrphanedError):
        list_objects(source, tmp_path / "objects.parquet", shard_count=1, max_images=0, sample_seed=0)
    assert list(tmp_path.iterdir()) == []


def test_a_long_listing_takes_the_memory_of_a_chunk_and_of_a_shard(tmp_path, monkeypatch):
    total, chunk, shard_count = 60_000, 3_000, 20
    monkeypatch.setattr(module, "CHUNK", chunk)
    alive, most = 0, 0

    class Key(str):
        __slots__ = ()

        def __del__(self):
            nonlocal alive
            alive -= 1

    class Long:
        location = "s3://bucket/"

        def list(self):
            nonlocal alive, most
            for number in range(total):
                alive += 1
                most = max(most, alive)
                yield Item(Key(f"album-{number // 1000:05d}/{number:09d}.jpg"), number, f"{number:032x}", "2026-01-01T00:00:00Z")

    ours, arrow = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(arrow)
    try:
        counts = list_objects(Long(), tmp_path / "objects.parquet", shard_count=shard_count, max_images=0, sample_seed=0)
    finally:
        pa.set_memory_pool(ours)
    assert counts == {"scan": total}
    assert most <= 2 * chunk
    row_bytes = pq.read_table(tmp_path / "objects.parquet").nbytes / total
    assert arrow.max_memory() < 0.3 * total * row_bytes


# ---- rows and items ----


def test_what_is_to_be_scanned_comes_as_items(listed, tmp_path):
    listed(["b.jpg", "a.txt", "a.jpg", os.fsdecode(b"\xe9.jpg")])
    assert list(items_to_scan(read_shard(tmp_path / "objects.parquet", 0))) == [
        Item(key, 5, f"etag of {key}", "2026-01-01T00:00:00Z") for key in ("a.jpg", "b.jpg")
    ]
