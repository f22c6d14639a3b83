"""people 06: a copy that can be cut off anywhere, manifests after images, a receipt for what is whole."""

import itertools
import json
import os
import re
import socket
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from workflow_scripts.core.json_files import read_json
from workflow_scripts.core.step import StepError
from workflow_scripts.core.storage import FolderStorage, StorageError
from workflow_scripts.people import manifests
from workflow_scripts.people.journal import IMAGE, MANIFEST, RECEIPT_SCHEMA, Entry, Journal


class Killed(BaseException):
    """Ends a step where it stands, as a signal does."""


KEPT = [f"album {number % 3}/{number:02}.jpg" for number in range(12)]


@pytest.fixture
def filled(run):
    """Twelve images to keep, two to remove, one that is broken."""
    for key in KEPT:
        run.put(key, 0.1)
    run.put("people/1.jpg", 0.9)
    run.put("people/2.jpg", 0.8)
    run.put("broken.jpg", error="decode: truncated")
    return run


@pytest.fixture
def cut_off(monkeypatch):
    """A context in which the copies after the first few fail in some way."""

    @contextmanager
    def after(count, error):
        plain, tries = FolderStorage.copy_from, itertools.count()

        def copy_from(self, source, item, key):
            if next(tries) >= count:
                raise error
            return plain(self, source, item, key)

        with monkeypatch.context() as patch:
            patch.setattr(FolderStorage, "copy_from", copy_from)
            yield

    return after


def journal_of(run):
    return run.receipt.with_name("journal.jsonl")


def receipt(run):
    table = pq.read_table(run.receipt)
    assert table.schema.equals(RECEIPT_SCHEMA)
    return table.to_pylist()


def copied(counts):
    return counts["copied"], counts["already_there"]


# ---- a whole copy ----


def test_the_kept_images_are_copied_with_their_times(filled, tree):
    counts = filled.all()
    assert tree(filled.destination) == {key: (filled.source / key).read_bytes() for key in KEPT}
    assert all((filled.destination / key).stat().st_mtime_ns == (filled.source / key).stat().st_mtime_ns for key in KEPT)
    assert counts == {
        "kept": 12,
        "copied": 12,
        "already_there": 0,
        "failed": 0,
        "would_copy": 0,
        "stale": 0,
        "pruned": 0,
        "manifests": 18,
    }


def test_the_source_is_never_touched(filled, tree):
    before = tree(filled.source), {path: path.stat().st_mtime_ns for path in filled.source.rglob("*")}
    filled.all(prune=True)
    assert (tree(filled.source), {path: path.stat().st_mtime_ns for path in filled.source.rglob("*")}) == before


def test_the_receipt_names_everything_that_was_published(filled):
    filled.all()
    rows = receipt(filled)
    images, published = ([row for row in rows if row["kind"] == kind] for kind in (IMAGE, MANIFEST))
    assert rows == images + published
    assert [row["key"] for row in images] == KEPT[::3] + KEPT[1::3] + KEPT[2::3]
    listed = {row["key"]: row["etag"] for row in pq.read_table(filled.listing).to_pylist()}
    there = FolderStorage(filled.destination)
    assert all((row["source_etag"], row["size"], row["etag"]) == (listed[row["key"]], 14, there.find(row["key"]).etag) for row in images)
    assert [row["key"] for row in published] == sorted(str(path.relative_to(filled.published)) for path in filled.published.rglob("*.*"))
    assert {row["source_etag"] for row in published} == {""}


@pytest.mark.parametrize("shard_count", [1, 3])
def test_manifests_stand_where_readers_look(filled, tree, shard_count):
    filled.settings["shard_count"] = shard_count
    filled.all()
    found = tree(filled.published)
    folders = [f"test/{manifests.shard_name(shard, shard_count)}" for shard in range(shard_count)] + ["test"] * (shard_count == 1)
    wanted = {f"{folder}/{name}" for folder in folders for name in manifests.SHARD_FILES}
    wanted |= {f"test/aggregate/{name}" for name in manifests.AGGREGATE_FILES}
    assert found.keys() == wanted
    for key, data in found.items():
        if not key.endswith(".json"):
            tracked = filled.aggregate if "/aggregate/" in key else filled.shard(int(key[11:15]) if "/shard-" in key else 0)
            assert data == (tracked / key.rsplit("/", 1)[-1]).read_bytes()


def test_published_metadata_says_what_only_publishing_knows(filled, tree):
    filled.until_merge()
    tracked = tree(filled.decided), tree(filled.aggregate)
    counts = filled.publish(batch_size="auto")
    assert (tree(filled.decided), tree(filled.aggregate)) == tracked
    found = read_json(filled.published / "test" / "run_metadata.json")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["timestamp_utc"])
    named = {name: found[name] for name in ("dst_prefix", "manifest_prefix", "dry_run", "batch_size", "bucket", "region")}
    assert named == {
        "dst_prefix": str(filled.destination),
        "manifest_prefix": str(filled.published),
        "dry_run": False,
        "batch_size": "auto",
        "bucket": None,
        "region": None,
    }
    assert list(found) == list(read_json(filled.shard() / "run_metadata.json"))
    found = read_json(filled.published / "test" / "aggregate" / "merge_metadata.json")
    assert found["manifest_root"] == f"{filled.published}/test"
    assert found["output_prefix"] == f"{filled.published}/test/aggregate"
    assert {name: found["publish"][name] for name in ("kept", "copied", "failed")} == {"kept": 12, "copied": 12, "failed": 0}
    assert counts["copied"] == 12


def test_images_come_before_manifests_and_the_aggregate_last(filled, monkeypatch):
    order = []
    plain_copy, plain_put = FolderStorage.copy_from, FolderStorage.put_file
    monkeypatch.setattr(
        FolderStorage, "copy_from", lambda self, source, item, key: order.append("image") or plain_copy(self, source, item, key)
    )
    monkeypatch.setattr(FolderStorage, "put_file", lambda self, key, path: order.append(key) or plain_put(self, key, path))
    filled.all()
    assert order[:12] == ["image"] * 12
    assert [key.startswith("test/aggregate/") for key in order[12:]] == [False] * 12 + [True] * 6
    # Of each set the metadata comes last: whoever sees it can trust the tables beside it.
    for folder in ("test", "test/shard-0000-of-0001", "test/aggregate"):
        names = [key for key in order[12:] if key.rpartition("/")[0] == folder]
        assert names[-1].endswith("metadata.json")


def test_metadata_of_an_earlier_publish_does_not_vouch_for_new_tables(filled, monkeypatch):
    filled.all()
    metadata = sorted(filled.published.rglob("*_metadata.json"))
    assert len(metadata) == 3
    plain, seen = FolderStorage.put_file, []

    def put_file(self, key, path):
        folder = (filled.published / key).parent
        seen.append((key, [found.name for found in folder.glob("*_metadata.json")]))
        return plain(self, key, path)

    monkeypatch.setattr(FolderStorage, "put_file", put_file)
    filled.publish()
    assert len(seen) == 18
    assert all(there == [] for _, there in seen)
    assert sorted(filled.published.rglob("*_metadata.json")) == metadata


def test_a_copy_is_on_the_disk_before_the_journal_says_so(filled, monkeypatch):
    order = []
    plain_add, plain_replace = Journal.add, Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: order.append("flush"))
    monkeypatch.setattr(Path, "replace", lambda self, target: order.append("rename") or plain_replace(self, target))
    monkeypatch.setattr(Journal, "add", lambda self, entry: order.append("journal") or plain_add(self, entry))
    for key in KEPT[1:]:
        (filled.source / key).unlink()
    filled.until_merge()
    order.clear()
    filled.publish()
    assert order[:3] == ["flush", "rename", "journal"]


def test_a_second_publish_copies_nothing(filled):
    filled.all()
    before = {key: (filled.destination / key).stat().st_ino for key in KEPT}
    images = [row for row in receipt(filled) if row["kind"] == IMAGE]
    assert copied(filled.publish()) == (0, 12)
    assert {key: (filled.destination / key).stat().st_ino for key in KEPT} == before
    assert [row for row in receipt(filled) if row["kind"] == IMAGE] == images


# ---- cut off and resumed ----


@pytest.mark.parametrize("after", [0, 1, 7])
def test_a_killed_copy_goes_on_where_it_was(filled, cut_off, after):
    filled.until_merge()
    with pytest.raises(Killed), cut_off(after, Killed()):
        filled.publish()
    assert not filled.receipt.exists()
    assert not list(filled.published.rglob("*"))
    journal = Journal(journal_of(filled))
    done = len(journal.of_kind(IMAGE))
    assert done <= after
    counts = filled.publish()
    assert copied(counts) == (12 - done, done)
    assert len([row for row in receipt(filled) if row["kind"] == IMAGE]) == 12


def test_what_was_copied_before_a_kill_is_in_the_journal(filled, monkeypatch):
    filled.until_merge()
    with monkeypatch.context() as patch:

        def stop(*_):
            raise Killed

        patch.setattr(FolderStorage, "put_file", stop)
        with pytest.raises(Killed):
            filled.publish()
    assert not filled.receipt.exists()
    assert copied(filled.publish()) == (0, 12)


@pytest.mark.parametrize("cut", [1, 2, 20, 60])
def test_a_journal_line_that_was_cut_off_is_that_image_again(filled, cut):
    filled.all()
    lines = [line for line in journal_of(filled).read_text().splitlines() if '"image"' in line]
    last = json.loads(lines[-1])["key"]
    journal_of(filled).write_text("\n".join(lines)[:-cut])
    counts = filled.publish()
    assert copied(counts) == (1, 11)
    entries = Journal(journal_of(filled)).entries
    assert len([entry for entry in entries.values() if entry.kind == IMAGE]) == 12
    assert (IMAGE, last) in entries
    assert copied(filled.publish()) == (0, 12)


def test_a_lost_journal_is_a_copy_from_the_start(filled):
    filled.all()
    journal_of(filled).unlink()
    assert copied(filled.publish()) == (12, 0)


def test_leftovers_of_a_killed_copy_are_swept(filled, ended_pid, tree):
    filled.all()
    folder = filled.destination / "album 0"
    dead = folder / f".00.jpg.{socket.gethostname()}.{ended_pid}.tmp"
    alive = folder / f".01.jpg.{socket.gethostname()}.{os.getppid()}.tmp"
    lonely = filled.destination / "gone" / f".x.jpg.{socket.gethostname()}.{ended_pid}.tmp"
    lonely.parent.mkdir()
    for path in (dead, alive, lonely):
        path.write_text("half")
    filled.publish()
    assert tree(filled.destination).keys() - set(KEPT) == {str(alive.relative_to(filled.destination))}
    assert not lonely.parent.exists()


# ---- what is no longer as it was ----


def test_a_source_that_changed_since_it_was_listed_fails_after_all_were_tried(filled):
    filled.until_merge()
    filled.put(KEPT[3], data="another content")
    (filled.source / KEPT[5]).unlink()
    with pytest.raises(StepError) as caught:
        filled.publish()
    text = str(caught.value)
    assert text.startswith("2 of 12 images could not be copied (")
    assert f"{KEPT[3]}: copy: changed since listing" in text
    assert f"{KEPT[5]}: copy: no such file or directory" in text
    assert text.endswith("run again to try only these, or set allow_copy_errors")
    assert not filled.receipt.exists()
    assert not list(filled.published.rglob("*"))
    assert sum(path.is_file() for path in filled.destination.rglob("*")) == 10
    filled.put(KEPT[5])
    assert copied(filled.all()) == (2, 10)


def test_a_changed_source_is_copied_again_when_it_was_listed_anew(filled):
    filled.all()
    filled.put(KEPT[3], data="another content")
    assert copied(filled.all()) == (1, 11)
    assert (filled.destination / KEPT[3]).read_text() == "another content"


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_text("edited by hand"), os.utime])
def test_a_copy_that_was_deleted_or_altered_is_made_again(filled, harm):
    filled.all()
    harm(filled.destination / KEPT[4])
    assert copied(filled.publish()) == (1, 11)
    assert (filled.destination / KEPT[4]).read_text() == KEPT[4]


def test_another_destination_is_filled_from_the_start(filled, tree):
    filled.all()
    filled.destination = filled.root / "elsewhere"
    assert copied(filled.publish()) == (12, 0)
    assert tree(filled.destination).keys() == set(KEPT)


def test_another_division_into_shards_takes_the_old_manifests_away(filled, tree):
    filled.all()
    (filled.published / "test" / "notes.txt").write_text("mine")
    filled.settings["shard_count"] = 2
    counts = filled.all()
    assert copied(counts) == (0, 12)
    wanted = {f"test/{manifests.shard_name(shard, 2)}/{name}" for shard in range(2) for name in manifests.SHARD_FILES}
    wanted |= {f"test/aggregate/{name}" for name in manifests.AGGREGATE_FILES} | {"test/notes.txt"}
    assert tree(filled.published).keys() == wanted
    assert {row["key"] for row in receipt(filled) if row["kind"] == MANIFEST} == wanted - {"test/notes.txt"}


def test_an_old_manifest_that_somebody_changed_stays(filled, log_text):
    filled.all()
    (filled.published / "test" / "kept.csv").write_text("with my notes")
    filled.settings["shard_count"] = 2
    filled.all()
    assert (filled.published / "test" / "kept.csv").read_text() == "with my notes"
    assert not (filled.published / "test" / "removed.csv").exists()
    assert "test/kept.csv was changed since it was published and stays" in log_text()


# ---- prune ----


def keep_fewer(filled, count):
    """Remove some of the images that were published."""
    for key in KEPT[:count]:
        filled.scores[key] = (0.9, None)


def test_without_prune_what_is_no_longer_kept_stays_and_is_counted(filled, tree, log_text):
    filled.all()
    keep_fewer(filled, 2)
    counts = filled.all()
    assert (counts["stale"], counts["pruned"], counts["kept"]) == (2, 0, 10)
    assert tree(filled.destination).keys() == set(KEPT)
    assert f"2 images that an earlier run published are kept no more and still lie in {filled.destination}; prune: true" in log_text()


@pytest.mark.parametrize("how", ["another destination", "deleted by hand"])
def test_the_receipt_names_nothing_that_is_not_at_the_destination(filled, tree, how):
    filled.all()
    keep_fewer(filled, 3)
    if how == "another destination":
        filled.destination = filled.root / "elsewhere"
    else:
        for key in KEPT[:3]:
            (filled.destination / key).unlink()
    assert filled.all()["stale"] == 0
    images = {row["key"] for row in receipt(filled) if row["kind"] == IMAGE}
    assert images == set(KEPT[3:]) == tree(filled.destination).keys()


def test_prune_removes_what_this_run_published_and_nothing_else(filled, tree, log_text):
    filled.all()
    (filled.destination / "album 0" / "mine.jpg").write_text("mine")
    keep_fewer(filled, 2)
    counts = filled.all(prune=True)
    assert (counts["stale"], counts["pruned"]) == (0, 2)
    assert tree(filled.destination).keys() == {*KEPT[2:], "album 0/mine.jpg"}
    assert {row["key"] for row in receipt(filled) if row["kind"] == IMAGE} == set(KEPT[2:])
    assert [line for line in log_text().splitlines() if line.startswith("prune: ")] == [f"prune: {key}" for key in KEPT[:2]]
    assert filled.publish(prune=True)["pruned"] == 0


def test_prune_leaves_what_somebody_changed(filled, log_text):
    filled.all()
    (filled.destination / KEPT[0]).write_text("edited by hand")
    keep_fewer(filled, 1)
    filled.all(prune=True)
    assert (filled.destination / KEPT[0]).read_text() == "edited by hand"
    assert f"{KEPT[0]} was changed since it was published and stays" in log_text()


def test_prune_removes_emptied_folders(filled):
    filled.put("alone/x.jpg")
    filled.all()
    filled.scores["alone/x.jpg"] = (0.9, None)
    filled.all(prune=True)
    assert not (filled.destination / "alone").exists()


@pytest.mark.parametrize(
    ("gone", "fraction", "allowed"), [(3, 0.25, True), (4, 0.25, False), (11, 1.0, True), (12, 1.0, False), (1, 0.0, False)]
)
def test_prune_has_limits(filled, tree, gone, fraction, allowed):
    filled.all()
    keep_fewer(filled, gone)
    filled.until_merge()
    if allowed:
        assert filled.publish(prune=True, prune_max_fraction=fraction)["pruned"] == gone
        assert len(tree(filled.destination)) == 12 - gone
        return
    with pytest.raises(StepError, match=rf"^prune would remove {gone} of 12 published images, more than prune_max_fraction \({fraction}\)"):
        filled.publish(prune=True, prune_max_fraction=fraction)
    assert tree(filled.destination).keys() == set(KEPT)
    assert not filled.receipt.exists()


def test_a_prune_that_was_killed_goes_on(filled, tree, monkeypatch):
    filled.all()
    keep_fewer(filled, 2)
    plain, deleted = FolderStorage.delete, []

    def delete(self, key):
        if self.root == filled.destination:
            if deleted:
                raise Killed
            deleted.append(key)
        plain(self, key)

    with monkeypatch.context() as patch:
        patch.setattr(FolderStorage, "delete", delete)
        with pytest.raises(Killed):
            filled.all(prune=True)
    assert len(tree(filled.destination)) == 11
    filled.publish(prune=True)
    assert tree(filled.destination).keys() == set(KEPT[2:])


# ---- dry_run, allow_copy_errors ----


def test_a_dry_run_copies_no_image_and_publishes_the_manifests(filled, tree):
    counts = filled.all(dry_run=True)
    assert (counts["would_copy"], counts["copied"], counts["manifests"]) == (12, 0, 18)
    assert tree(filled.destination) == {}
    assert read_json(filled.published / "test" / "run_metadata.json")["dry_run"] is True
    assert read_json(filled.published / "test" / "aggregate" / "merge_metadata.json")["publish"]["would_copy"] == 12
    assert {row["kind"] for row in receipt(filled)} == {MANIFEST}
    assert copied(filled.publish()) == (12, 0)


def test_a_dry_run_prunes_nothing(filled, tree):
    filled.all()
    keep_fewer(filled, 1)
    counts = filled.all(dry_run=True, prune=True)
    assert (counts["stale"], counts["pruned"], counts["would_copy"]) == (1, 0, 0)
    assert tree(filled.destination).keys() == set(KEPT)


@pytest.mark.parametrize("shard_count", [1, 3])
def test_allowed_copy_errors_stand_in_the_published_errors(filled, shard_count):
    filled.settings["shard_count"] = shard_count
    filled.until_merge()
    (filled.source / KEPT[3]).unlink()
    filled.put(KEPT[5], data="another content")
    counts = filled.publish(allow_copy_errors=True)
    assert (counts["kept"], counts["copied"], counts["failed"]) == (12, 10, 2)
    wanted = [(KEPT[3], "copy: no such file or directory"), (KEPT[5], "copy: changed since listing"), ("broken.jpg", "decode: truncated")]
    published = filled.published / "test"
    rows = list(manifests.read_csv(published / "aggregate" / "errors_all.csv"))
    assert [(row["s3_key"], row["error"]) for row in rows] == sorted(wanted)
    parts = [row for path in published.glob("shard-*/errors.csv") for row in manifests.read_csv(path)]
    assert sorted(map(tuple, (row.values() for row in parts))) == sorted(wanted)
    assert len(list(manifests.read_csv(published / "aggregate" / "kept_all.csv"))) == 12  # a failed copy stays kept
    assert [row["s3_key"] for row in manifests.read_csv(filled.aggregate / "errors_all.csv")] == ["broken.jpg"]
    assert {row["key"] for row in receipt(filled) if row["kind"] == IMAGE} == set(KEPT) - {KEPT[3], KEPT[5]}


def test_a_full_disk_is_an_error_of_each_image(filled, cut_off):
    filled.until_merge()
    text = r"^5 of 12 images could not be copied .*: copy: no space left on device"
    with pytest.raises(StepError, match=text), cut_off(7, StorageError("no space left on device")):
        filled.publish()
    assert copied(filled.publish()) == (5, 7)


# ---- the journal ----


def test_a_journal_keeps_the_last_word(tmp_path):
    path = tmp_path / "new" / "journal.jsonl"
    journal = Journal(path)
    first, second = Entry(IMAGE, "é\n\u2028.jpg", "s1", 3, "d1"), Entry(IMAGE, "é\n\u2028.jpg", "s2", 4, "d2")
    other = Entry(MANIFEST, "a.csv", "", 5, "m")
    for entry in (first, other, second):
        journal.add(entry)
    assert Journal(path).of_kind(IMAGE) == [second]
    journal.remove(other)
    again = Journal(path)
    assert again.entries == {(IMAGE, second.key): second}
    again.write_receipt(tmp_path / "receipt.parquet")
    assert pq.read_table(tmp_path / "receipt.parquet").to_pylist() == [
        {"kind": "image", "key": second.key, "source_etag": "s2", "size": 4, "etag": "d2"}
    ]


def test_same_entries_same_receipt(tmp_path):
    entries = [Entry(kind, key, "s", 1, "d") for kind in (MANIFEST, IMAGE) for key in ("b", "a", "é")]
    for name, order in (("one", entries), ("two", entries[::-1])):
        journal = Journal(tmp_path / name / "journal.jsonl")
        for entry in order:
            journal.add(entry)
        journal.write_receipt(tmp_path / name / "receipt.parquet")
    assert (tmp_path / "one" / "receipt.parquet").read_bytes() == (tmp_path / "two" / "receipt.parquet").read_bytes()
    assert [row["key"] for row in pq.read_table(tmp_path / "one" / "receipt.parquet").to_pylist()] == ["a", "b", "é"] * 2
