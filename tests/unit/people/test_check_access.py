"""people 01: what a bucket would refuse after the long work is found out before it."""

import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.core.storage import FolderStorage, Item, S3Options, S3Storage, StorageError, StoreError
from workflow_scripts.people import check_access as module
from workflow_scripts.people.check_access import check_access


@pytest.fixture
def reads(monkeypatch):
    """What is read of buckets, each time with an error that can be set."""

    class Reads(list):
        error = None

    found = Reads()

    def read(self, item):
        found.append((self.location, item.key))
        if found.error:
            raise found.error
        return b""

    monkeypatch.setattr(S3Storage, "read", read)
    return found


@pytest.fixture
def listing(in_bucket):
    in_bucket.settings["shard_count"] = 3
    in_bucket.put("a.txt")
    for number in range(6):
        in_bucket.put(f"{number}.jpg")
    in_bucket.list()
    return in_bucket.listing


@pytest.fixture
def source(client):
    return S3Storage("s3://bucket/in/", S3Options(region="eu-west-3"))


def test_one_image_is_read_to_see_whether_that_is_allowed(listing, source, reads):
    check_access(source, [])
    assert reads == [("s3://bucket/in/", "in/0.jpg")]


def test_a_bucket_that_may_be_listed_but_not_read_is_named_with_the_right(listing, source, reads):
    reads.error = StorageError("access denied")
    with pytest.raises(StepError) as caught:
        check_access(source, [])
    (_, key), *_ = reads
    assert str(caught.value) == f"s3://bucket/in/: may be listed but not read ({key}: access denied); allow s3:GetObject"


@pytest.mark.parametrize("text", ["changed since listing", "gone since listing", "archived; restore it from its storage class first"])
def test_what_is_wrong_with_one_image_alone_stops_nothing(listing, source, reads, text):
    reads.error = StorageError(text)
    check_access(source, [])
    assert len(reads) == 1


def test_a_store_that_fails_is_said_as_it_says(listing, source, reads):
    reads.error = StoreError("s3://bucket/in/: there is no such bucket")
    with pytest.raises(StoreError, match="there is no such bucket"):
        check_access(source, [])


def test_a_region_that_is_not_the_buckets_is_named(listing, reads):
    with pytest.raises(StoreError, match="set region: eu-west-3"):
        check_access(S3Storage("s3://bucket/in/", S3Options(region="us-east-1")), [])
    assert reads == []


def test_a_bucket_without_an_image_has_nothing_to_read(in_bucket, source, reads):
    in_bucket.put("a.txt")
    check_access(source, [])
    assert reads == []


def test_only_buckets_are_asked_and_the_targets_among_them_prepared(run, client, monkeypatch):
    run.put("a.jpg")
    run.list()
    prepared = []
    monkeypatch.setattr(S3Storage, "prepare", lambda self: prepared.append(self.location))
    for name in ("read", "prepare", "list"):
        monkeypatch.setattr(FolderStorage, name, lambda *_: pytest.fail("a folder is not asked"))
    targets = [FolderStorage(run.destination), S3Storage("s3://bucket/one"), S3Storage("s3://bucket/two")]
    check_access(FolderStorage(run.source), targets)
    assert prepared == ["s3://bucket/one", "s3://bucket/two"]
    assert not run.destination.exists()


def test_a_target_that_cannot_be_written_is_known_before_the_work(listing, source, client):
    with pytest.raises(StoreError, match=r"^s3://no-such-bucket/clean: there is no such bucket"):
        check_access(source, [S3Storage("s3://bucket/ok"), S3Storage("s3://no-such-bucket/clean")])


@pytest.mark.parametrize(("looked_at", "read"), [(3, []), (4, ["in/3.JPEG"]), (9, ["in/3.JPEG"])])
def test_an_image_is_looked_for_among_the_first_objects(in_bucket, source, reads, monkeypatch, looked_at, read):
    monkeypatch.setattr(module, "LOOKED_AT", looked_at)
    for key in ("0.txt", "1.jpg.part", "2", "3.JPEG", "4.png"):
        in_bucket.put(key)
    check_access(source, [])
    assert [key for _, key in reads] == read


def test_a_long_bucket_is_not_listed_to_its_end(source, reads, monkeypatch):
    def list_(self):
        for number in range(module.LOOKED_AT + 1):
            assert number < module.LOOKED_AT
            yield Item(f"in/{number:04}.txt", 1, "e", "2026-01-01T00:00:00Z")

    monkeypatch.setattr(S3Storage, "list", list_)
    check_access(source, [])
    assert reads == []


def test_a_bucket_that_may_not_be_listed_is_named(source, client, monkeypatch):
    def refuse(self):
        raise StoreError("s3://bucket/in/: access denied to ListObjectsV2; the key in use lacks a right here")

    monkeypatch.setattr(S3Storage, "list", refuse)
    with pytest.raises(StoreError, match="access denied to ListObjectsV2"):
        check_access(source, [])
