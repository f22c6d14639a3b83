"""The cache of vectors, and of what reading files gave."""

import hashlib
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from workflow_scripts.core import cache as cache_module
from workflow_scripts.core import segments as segments_module
from workflow_scripts.core.cache import EmbeddingCache, Known, LocatorCache, ThumbnailCache, locator

WIDTH = 5  # of a vector


def sha(name):
    return hashlib.sha256(str(name).encode()).hexdigest()


def known(number, views=1):
    rng = np.random.default_rng(number)
    return Known(rng.standard_normal((views, WIDTH)).astype(np.float16), 100 + number, 200 + number)


def same(found, wanted):
    assert found is not None
    assert found.vectors.dtype == np.float16
    np.testing.assert_array_equal(found.vectors, wanted.vectors)
    return (found.width, found.height) == (wanted.width, wanted.height)


def segments(root, kind="embeddings"):
    return sorted((root / kind).rglob("*.arrow"))


@pytest.fixture
def rows_a_segment(monkeypatch):
    """Set after how many rows a segment is written, whatever the time."""

    def set_to(rows):
        monkeypatch.setattr(segments_module, "FLUSH_ROWS", rows)
        monkeypatch.setattr(segments_module, "FLUSH_SECONDS", (3600.0, 3600.0))

    return set_to


# ---- the cache of vectors ----


def test_a_vector_is_found_in_memory_after_a_flush_and_after_reopening(tmp_path, rows_a_segment):
    rows_a_segment(1000)
    cache = EmbeddingCache(tmp_path, "fp")
    assert cache.get(sha(1)) is None
    cache.add(sha(1), known(1))
    assert segments(tmp_path) == []
    assert same(cache.get(sha(1)), known(1))
    cache.flush()
    assert len(segments(tmp_path)) == 1
    assert same(cache.get(sha(1)), known(1))
    cache.add(sha(2), known(2))
    cache.flush()
    cache.flush()
    assert len(segments(tmp_path)) == 2
    for instance in (cache, EmbeddingCache(tmp_path, "fp")):
        assert same(instance.get(sha(1)), known(1))
        assert same(instance.get(sha(2)), known(2))
        assert instance.get(sha(3)) is None


def test_many_segments(tmp_path, rows_a_segment):
    rows_a_segment(7)
    cache = EmbeddingCache(tmp_path, "fp")
    for number in range(50):
        cache.add(sha(number), known(number))
        assert same(cache.get(sha(number)), known(number))
    assert len(segments(tmp_path)) == 7
    assert same(cache.get(sha(0)), known(0))
    cache.flush()
    assert len(segments(tmp_path)) == 8
    later = EmbeddingCache(tmp_path, "fp")
    assert all(same(later.get(sha(number)), known(number)) for number in range(50))
    later.add(sha(99), known(99))
    later.flush()
    last = EmbeddingCache(tmp_path, "fp")
    assert all(same(last.get(sha(number)), known(number)) for number in (*range(50), 99))


def test_rows_wait_for_a_segment_no_longer_than_a_tenth_of_the_job(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(segments_module.time, "monotonic", lambda: now[0])
    cache = EmbeddingCache(tmp_path, "fp")
    written = []
    for second in range(1, 3000):
        now[0] += 1
        cache.add(sha(second), known(1))
        if len(cache._paths) > len(written):
            written.append(second)
    gaps = [late - early for early, late in zip([0, *written[:-1]], written, strict=True)]
    assert gaps[0] in (5, 6)
    assert gaps[1:5] == [5, 5, 5, 5]
    assert all(gap <= max(6, at / 10 + 1) for gap, at in zip(gaps, written, strict=True))
    assert max(gaps) == 120


@pytest.mark.parametrize("flushed", [True, False])
@pytest.mark.parametrize("start", ["ab" * 8, "00" * 8, "ff" * 8, "7f" + "ff" * 7])
def test_contents_that_share_their_first_8_bytes_are_told_apart(tmp_path, flushed, start):
    names = [start + tail * 24 for tail in ("00", "01", "7f", "80", "ff")]
    for number, name in enumerate(names[:4]):
        cache = EmbeddingCache(tmp_path, "fp")
        cache.add(name, known(number))
        cache.flush()
    cache = EmbeddingCache(tmp_path, "fp") if flushed else cache
    cache.add(sha("neighbour"), known(9))
    assert all(same(EmbeddingCache(tmp_path, "fp").get(name), known(number)) for number, name in enumerate(names[:4]))
    assert cache.get(names[4]) is None


@pytest.mark.parametrize("views", [1, 2, 3])
def test_several_views(tmp_path, views):
    cache = EmbeddingCache(tmp_path, "fp")
    cache.add(sha(1), known(1, views))
    cache.add(sha(2), known(2, 1))
    cache.flush()
    found = EmbeddingCache(tmp_path, "fp").get(sha(1))
    assert found.vectors.shape == (views, WIDTH)
    assert same(found, known(1, views))


def test_fingerprints_are_kept_apart(tmp_path):
    cache = EmbeddingCache(tmp_path, "one")
    cache.add(sha(1), known(1))
    cache.flush()
    assert EmbeddingCache(tmp_path, "two").get(sha(1)) is None


def test_a_content_added_twice_disturbs_no_other(tmp_path):
    cache = EmbeddingCache(tmp_path, "fp")
    for number in (1, 1, 2, 3):
        cache.add(sha(number), known(number))
    cache.flush()
    for instance in (cache, EmbeddingCache(tmp_path, "fp")):
        assert all(same(instance.get(sha(number)), known(number)) for number in (1, 2, 3))


def test_a_content_in_several_segments_is_found_once(tmp_path):
    for _ in range(3):
        cache = EmbeddingCache(tmp_path, "fp")
        cache._prefixes = cache._prefixes[:0]  # a job that started before the others had written
        cache.add(sha(1), known(1))
        cache.flush()
    assert len(segments(tmp_path)) == 3
    assert same(EmbeddingCache(tmp_path, "fp").get(sha(1)), known(1))


def test_what_a_killed_job_left_does_no_harm(tmp_path, ended_pid):
    folder = tmp_path / "embeddings" / "fp"
    folder.mkdir(parents=True)
    (folder / f".188-host-1-0.arrow.host.{ended_pid}.tmp").write_bytes(b"ARROW1 cut off")
    (folder / "notes.txt").write_text("mine")
    cache = EmbeddingCache(tmp_path, "fp")
    cache.add(sha(1), known(1))
    cache.flush()
    assert same(EmbeddingCache(tmp_path, "fp").get(sha(1)), known(1))
    assert (folder / "notes.txt").read_text() == "mine"


def test_an_empty_cache_makes_no_folder(tmp_path):
    cache = EmbeddingCache(tmp_path / "cache", "fp")
    assert cache.get(sha(1)) is None
    cache.flush()
    assert not (tmp_path / "cache").exists()


def test_reading_while_another_thread_flushes(tmp_path):
    """A key stands in memory, then on disk, and is never lost between."""
    cache = EmbeddingCache(tmp_path, "fp")
    cache.add(sha(1), known(1))

    class FlushedBetween(dict):
        def __contains__(self, key):
            there = super().__contains__(key)
            cache.flush()
            return there

    cache._fresh = FlushedBetween(cache._fresh)
    assert same(cache.get(sha(1)), known(1))


def write_one_by_one(root, name, count):
    cache = EmbeddingCache(root, "fp")
    locators = LocatorCache(root, "contract", [])
    for number in range(count):
        cache.add(sha((name, number)), known(number, views=1 + number % 3))
        cache.flush()
        locators.add(locator(name, number), sha256=sha((name, number)), width=number, height=name)
        locators.flush()


def test_many_processes_write_at_once_and_one_is_killed(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=write_one_by_one, args=(tmp_path, name, 20)) for name in range(2)]
    victim = spawn.Process(target=write_one_by_one, args=(tmp_path, 9, 1_000_000))
    for process in (victim, *writers):
        process.start()

    def written(process):
        return [path for path in segments(tmp_path) if f"-{process.pid}-" in path.name]

    try:
        until = time.monotonic() + 30
        while len(written(victim)) < 10:
            assert time.monotonic() < until
            time.sleep(0.005)
    finally:
        os.kill(victim.pid, signal.SIGKILL)
    for process in (victim, *writers):
        process.join()
    assert [process.exitcode for process in (victim, *writers)] == [-signal.SIGKILL, 0, 0]
    counts = {name: len(written(process)) for name, process in zip((0, 1, 9), (*writers, victim), strict=True)}
    assert counts | {9: 0} == {0: 20, 1: 20, 9: 0}
    cache = EmbeddingCache(tmp_path, "fp")
    everything = [(name, number) for name, count in counts.items() for number in range(count)]
    assert all(same(cache.get(sha(pair)), known(pair[1], views=1 + pair[1] % 3)) for pair in everything)
    assert cache.get(sha((9, counts[9] + 1))) is None
    wanted = {locator(*pair): pair for pair in everything}
    locators = LocatorCache(tmp_path, "contract", wanted)
    found = {pair: locators.get(name) for name, pair in wanted.items()}
    lost = [pair for pair, row in found.items() if row is None]
    assert lost in ([], [(9, counts[9] - 1)])  # killed between a vector and its locator
    assert all(row == {"sha256": sha(pair), "width": pair[1], "height": pair[0], "error": None} for pair, row in found.items() if row)


# ---- the cache of thumbnails ----


def test_a_thumbnail_is_found_in_memory_after_a_flush_and_after_reopening(tmp_path, rows_a_segment):
    rows_a_segment(1000)
    cache = ThumbnailCache(tmp_path)
    pictures = {sha(number): bytes([number]) * number for number in range(1, 30)}
    for name, data in pictures.items():
        assert cache.get(name) is None
        cache.add(name, data)
        assert cache.get(name) == data
    assert segments(tmp_path, "thumbnails") == []
    cache.flush()
    assert len(segments(tmp_path, "thumbnails")) == 1
    for instance in (cache, ThumbnailCache(tmp_path)):
        assert {name: instance.get(name) for name in pictures} == pictures
        assert all(type(instance.get(name)) is bytes for name in pictures)
        assert instance.get(sha("another")) is None


def test_thumbnails_of_other_decoding_or_size_are_kept_apart(tmp_path, monkeypatch):
    cache = ThumbnailCache(tmp_path)
    cache.add(sha(1), b"small")
    cache.flush()
    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "DECODE_VERSION", -1)
        assert ThumbnailCache(tmp_path).get(sha(1)) is None
    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "THUMBNAIL_SIDE", 99)
        assert ThumbnailCache(tmp_path).get(sha(1)) is None
    assert ThumbnailCache(tmp_path).get(sha(1)) == b"small"


def test_thumbnails_and_vectors_lie_apart(tmp_path):
    vectors, pictures = EmbeddingCache(tmp_path, "fp"), ThumbnailCache(tmp_path)
    vectors.add(sha(1), known(1))
    pictures.add(sha(1), b"small")
    vectors.flush()
    pictures.flush()
    assert same(EmbeddingCache(tmp_path, "fp").get(sha(1)), known(1))
    assert ThumbnailCache(tmp_path).get(sha(1)) == b"small"


# ---- the cache of locators ----


def test_what_reading_gave_is_found_after_reopening(tmp_path):
    names = [locator("/data", f"{number}.jpg", "etag", 5) for number in range(4)]
    cache = LocatorCache(tmp_path, "contract", names)
    assert cache.get(names[0]) is None
    cache.add(names[0], sha256=sha(0), width=3, height=4)
    cache.add(names[1], sha256=sha(1), error="decode: truncated")
    cache.flush()
    cache.add(names[2], sha256=sha(2), width=5, height=6)
    cache.flush()
    assert len(segments(tmp_path, "locators")) == 2
    again = LocatorCache(tmp_path, "contract", names)
    assert [again.get(name) for name in names] == [
        {"sha256": sha(0), "width": 3, "height": 4, "error": None},
        {"sha256": sha(1), "width": None, "height": None, "error": "decode: truncated"},
        {"sha256": sha(2), "width": 5, "height": 6, "error": None},
        None,
    ]


def test_only_wanted_locators_are_held(tmp_path):
    names = [locator(number) for number in range(100)]
    cache = LocatorCache(tmp_path, "contract", names)
    for name in names:
        cache.add(name, sha256=sha(0), width=1, height=1)
    cache.flush()
    assert len(LocatorCache(tmp_path, "contract", names[:3])._known) == 3
    assert LocatorCache(tmp_path, "contract", []).get(names[0]) is None


def test_decode_contracts_are_kept_apart(tmp_path):
    name = locator("a")
    cache = LocatorCache(tmp_path, "one", [name])
    cache.add(name, sha256=sha(1), error="decode: too large")
    cache.flush()
    assert LocatorCache(tmp_path, "two", [name]).get(name) is None


def test_a_leftover_beside_the_locators_does_no_harm(tmp_path, ended_pid):
    folder = tmp_path / "locators" / "contract"
    folder.mkdir(parents=True)
    (folder / f".188.arrow.host.{ended_pid}.tmp").write_bytes(b"")
    cache = LocatorCache(tmp_path, "contract", [locator("a")])
    cache.add(locator("a"), sha256=sha(1))
    cache.flush()
    assert LocatorCache(tmp_path, "contract", [locator("a")]).get(locator("a"))["sha256"] == sha(1)


def test_a_locator_stands_for_every_part_and_their_borders():
    parts = [("/data", "a.jpg", "1-2", 2), ("/data/", "a.jpg", "1-2", 2), ("/data", "a.jpg", "1-2", 22), ("/data", "a.jpg", "1-22", 2)]
    parts += [("/dataa", ".jpg", "1-2", 2), ("/data", "\udcff.jpg", "1-2", 2)]
    assert len({locator(*identity) for identity in parts}) == len(parts)
    assert locator(*parts[0]) == locator(*parts[0])
    assert len(locator(*parts[0])) == 16


# ---- tables ----
