"""people: the destination is what the receipt says, or it is named what is not."""

import os

import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.core.storage import FolderStorage, StoreError, open_storage
from workflow_scripts.people.journal import IMAGE, MANIFEST
from workflow_scripts.people.verify import as_report, verify


@pytest.fixture
def published(run):
    for number in range(15):
        run.put(f"a/{number:02}.jpg")
    run.put("b.jpg", 0.9)
    run.all()
    return run


def check(run):
    return verify([run.receipt], {IMAGE: open_storage(str(run.destination)), MANIFEST: open_storage(str(run.published))})


def refused(run):
    with pytest.raises(StepError) as caught:
        check(run)
    return str(caught.value)


def test_what_is_as_published_is_counted(published):
    assert check(published) == {IMAGE: {"published": 15, "foreign": 0}, MANIFEST: {"published": 18, "foreign": 0}}


def test_foreign_objects_are_counted_and_no_error(published):
    (published.destination / "mine.jpg").write_text("x")
    (published.published / "other").mkdir()
    (published.published / "other" / "kept.csv").write_text("x")
    assert {kind: found["foreign"] for kind, found in check(published).items()} == {IMAGE: 1, MANIFEST: 1}


def test_a_missing_object_is_named(published):
    (published.destination / "a" / "03.jpg").unlink()
    assert refused(published) == (
        f"1 published objects are not as the receipt says: {published.destination}: a/03.jpg: missing; delete the receipt and publish again"
    )


@pytest.mark.parametrize("harm", [lambda path: path.write_text("other content"), os.utime])
def test_a_changed_object_is_named(published, harm):
    harm(published.published / "test" / "kept.csv")
    assert f"1 published objects are not as the receipt says: {published.published}: test/kept.csv: changed;" in refused(published)


def test_ten_are_named_and_the_rest_counted(published):
    for number in range(13):
        (published.destination / "a" / f"{number:02}.jpg").unlink()
    text = refused(published)
    assert text.startswith("13 published objects are not as the receipt says: ")
    assert text.count(": missing") == 10
    assert "a/09.jpg: missing … and 3 more; delete the receipt" in text


def test_a_destination_that_is_gone_is_named(published):
    published.destination.rename(published.root / "moved")
    assert refused(published) == f"{published.destination}: no such folder"


def test_a_receipt_of_a_dry_run_has_manifests_only(run):
    run.put("a.jpg")
    run.all(dry_run=True)
    assert check(run) == {IMAGE: {"published": 0, "foreign": 0}, MANIFEST: {"published": 18, "foreign": 0}}


def test_publishing_again_mends_what_was_named(published):
    (published.destination / "a" / "03.jpg").write_text("other content")
    (published.destination / "a" / "04.jpg").unlink()
    assert "2 published objects" in refused(published)
    published.publish()
    assert check(published)[IMAGE] == {"published": 15, "foreign": 0}


def test_the_report_names_its_receipt(published):
    found = check(published)
    assert as_report(found, [published.receipt]) == {"receipts": [str(published.receipt)], **found}


def test_several_receipts_are_one_account(run):
    run.settings["shard_count"] = 3
    for number in range(9):
        run.put(f"{number}.jpg")
    run.until_merge()
    run.aggregate = None
    receipts = []
    for shard in range(3):
        run.receipt = run.root / "published" / f"shard-{shard}" / "receipt.parquet"
        receipts.append(run.receipt)
        run.publish(shards=[shard])
    places = {IMAGE: open_storage(str(run.destination)), MANIFEST: open_storage(str(run.published))}
    assert verify(receipts, places) == {IMAGE: {"published": 9, "foreign": 0}, MANIFEST: {"published": 18, "foreign": 0}}
    first = verify(receipts[:1], places)
    assert first[MANIFEST] == {"published": 6, "foreign": 12}
    assert first[IMAGE]["published"] + first[IMAGE]["foreign"] == 9


# ---- buckets ----


@pytest.fixture
def there(in_bucket):
    """A run whose copy and manifests are in a bucket."""
    for number in range(4):
        in_bucket.put(f"a {number}/é.jpg")
    in_bucket.put("b.jpg", 0.9)
    in_bucket.all()
    return in_bucket


def check_bucket(run):
    store = run.settings["store"]
    return verify([run.receipt], {IMAGE: open_storage(run.destination, store), MANIFEST: open_storage(run.published, store)})


def test_a_bucket_that_is_as_published_is_counted(there):
    assert check_bucket(there) == {IMAGE: {"published": 4, "foreign": 0}, MANIFEST: {"published": 18, "foreign": 0}}


def test_what_somebody_else_put_into_a_bucket_is_counted(there):
    for key in ("clean/train/mine.jpg", "clean/manifests/test/notes.txt", "clean/manifests/other/kept.csv"):
        there.client.put_object(Bucket="bucket", Key=key, Body=b"mine")
    assert {kind: found["foreign"] for kind, found in check_bucket(there).items()} == {IMAGE: 1, MANIFEST: 2}


def test_missing_and_changed_objects_of_a_bucket_are_named(there):
    there.client.delete_object(Bucket="bucket", Key="clean/train/a 1/é.jpg")
    there.client.put_object(Bucket="bucket", Key="clean/train/a 2/é.jpg", Body=b"other")
    there.client.put_object(Bucket="bucket", Key="clean/manifests/test/kept.csv", Body=b"other")
    with pytest.raises(StepError) as caught:
        check_bucket(there)
    assert str(caught.value) == (
        "3 published objects are not as the receipt says: s3://bucket/clean/manifests/: test/kept.csv: changed; "
        "s3://bucket/clean/train/: a 1/é.jpg: missing; s3://bucket/clean/train/: a 2/é.jpg: changed; delete the receipt and publish again"
    )


def test_a_bucket_that_is_gone_is_named(there):
    there.destination = "s3://no-such-bucket/clean"
    with pytest.raises(StoreError, match=r"^s3://no-such-bucket/clean: there is no such bucket"):
        check_bucket(there)


def test_a_dry_run_asks_nothing_of_the_destination(run, monkeypatch):
    run.put("a.jpg")
    run.all(dry_run=True)
    plain = FolderStorage.list
    monkeypatch.setattr(FolderStorage, "list", lambda self: pytest.fail("asked") if self.root == run.destination else plain(self))
    assert check(run)[IMAGE] == {"published": 0, "foreign": 0}
