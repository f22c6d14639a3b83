"""people 06 with buckets: copies within a store and between kinds of places, manifests that say what they are, links that expire."""

import datetime as dt
import re

import pyarrow.parquet as pq
import pytest

from workflow_scripts.core.json_files import read_json
from workflow_scripts.core.step import StepError
from workflow_scripts.core.storage import FolderStorage, S3Options, S3Storage, StoreError
from workflow_scripts.people import manifests
from workflow_scripts.people.journal import IMAGE
from workflow_scripts.people.publish_manifests import link_facts, manifest_sets

KEPT = ["a/1.jpg", "a/2 é #%+.png", "b.webp"]
LINKS = {"enabled": True, "expires_seconds": 3600}
NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def fill(run):
    for key in KEPT:
        run.put(key, 0.1)
    run.put("people.jpg", 0.9)
    run.put("broken.jpg", error="decode: truncated")
    return run


@pytest.fixture
def filled(in_bucket):
    return fill(in_bucket)


def images(run):
    return {row["key"]: row for row in pq.read_table(run.receipt).to_pylist() if row["kind"] == IMAGE}


# ---- copies ----


def test_copies_within_a_store_keep_bytes_and_fields_and_fetch_nothing(in_bucket, monkeypatch):
    for key in KEPT:
        in_bucket.put(key, ContentType="image/x-own", Metadata={"shot": "1"}, data=f"bytes of {key}")
    in_bucket.until_merge()
    monkeypatch.setattr(S3Storage, "read", lambda *_: pytest.fail("fetched"))
    counts = in_bucket.publish()
    assert (counts["copied"], counts["manifests"]) == (3, 18)
    assert in_bucket.objects("clean/train/") == {key: f"bytes of {key}".encode() for key in KEPT}
    for key in KEPT:
        head = in_bucket.client.head_object(Bucket="bucket", Key=f"clean/train/{key}")
        assert (head["ContentType"], head["Metadata"]) == ("image/x-own", {"shot": "1"})


def test_a_bucket_is_cleaned_into_a_folder(filled, tree):
    filled.destination, filled.published = filled.root / "cleaned", filled.root / "manifests"
    assert filled.all()["copied"] == 3
    assert tree(filled.destination) == {key: key.encode() for key in KEPT}
    assert (filled.published / "test" / "kept.csv").read_bytes() == (filled.shard() / "kept.csv").read_bytes()
    assert images(filled).keys() == set(KEPT)
    assert filled.publish()["already_there"] == 3


def test_a_folder_is_cleaned_into_a_bucket(run, client, tree):
    fill(run)
    run.put("a/1.jpg", data=b"\x00\xff bytes")
    run.settings["store"] = {"region": "eu-west-3"}
    run.destination, run.published = "s3://bucket/clean/train", "s3://bucket/clean/manifests"
    assert run.all()["copied"] == 3
    found = {key: client.get_object(Bucket="bucket", Key=f"clean/train/{key}") for key in KEPT}
    assert {key: there["Body"].read() for key, there in found.items()} == {
        key: data for key, data in tree(run.source).items() if key in KEPT
    }
    assert [found[key]["ContentType"] for key in KEPT] == ["image/jpeg", "image/png", "image/webp"]
    assert run.publish()["already_there"] == 3


def test_only_what_changed_or_went_is_copied_again(filled):
    filled.all()
    filled.put("b.webp", data="another content")
    filled.client.delete_object(Bucket="bucket", Key="clean/train/a/1.jpg")
    counts = filled.all()
    assert (counts["copied"], counts["already_there"]) == (2, 1)
    assert filled.objects("clean/train/")["b.webp"] == b"another content"
    assert images(filled)["b.webp"]["source_etag"] == filled.client.head_object(Bucket="bucket", Key="in/b.webp")["ETag"].strip('"')


def test_keys_that_can_be_no_files_are_copy_errors(filled, tree):
    odd = ["a//double.jpg", "../above.jpg", "a/./dot.jpg", "/lead.jpg"]
    for key in odd:
        filled.put(key)
    filled.destination = filled.root / "cleaned"
    filled.until_merge()
    text = "copy: this key cannot be the path of a file below a folder"
    with pytest.raises(StepError, match=rf"^4 of 7 images could not be copied \(.*{text}"):
        filled.publish()
    assert tree(filled.destination).keys() == set(KEPT)
    assert not (filled.root / "above.jpg").exists()
    assert not filled.receipt.exists()
    counts = filled.publish(allow_copy_errors=True)
    assert (counts["failed"], counts["already_there"]) == (4, 3)
    errors = filled.objects("clean/manifests/test/")["errors.csv"].decode().splitlines()[1:]
    assert errors == sorted([f"in/{key},{text}" for key in odd] + ["in/broken.jpg,decode: truncated"])


def test_a_store_that_fails_is_no_error_of_its_images(filled, monkeypatch):
    filled.until_merge()
    tried = []

    def copy_from(self, source, item, key):
        tried.append(key)
        raise StoreError("s3://bucket/clean/train/: the store does not answer")

    monkeypatch.setattr(S3Storage, "copy_from", copy_from)
    with pytest.raises(StoreError, match=r"^s3://bucket/clean/train/: the store does not answer$"):
        filled.publish(allow_copy_errors=True)
    assert not filled.receipt.exists()
    assert filled.objects("clean/manifests/") == {}


def test_a_place_that_cannot_be_written_is_known_before_an_image_is_copied(filled):
    filled.until_merge()
    filled.published = "s3://no-such-bucket/manifests"
    with pytest.raises(StoreError, match="there is no such bucket"):
        filled.publish()
    assert filled.objects("clean/") == {}


def test_prune_removes_what_was_published_and_leaves_what_somebody_changed(filled, log_text):
    filled.all()
    for key in KEPT[:2]:
        filled.scores[f"in/{key}"] = (0.9, None)
    filled.client.put_object(Bucket="bucket", Key=f"clean/train/{KEPT[1]}", Body=b"edited by hand")
    filled.client.put_object(Bucket="bucket", Key="clean/train/mine.jpg", Body=b"mine")
    assert filled.all(prune=True, prune_max_fraction=0.7)["pruned"] == 1
    assert f"{KEPT[1]} was changed since it was published and stays" in log_text()
    assert filled.objects("clean/train/") == {KEPT[1]: b"edited by hand", KEPT[2]: KEPT[2].encode(), "mine.jpg": b"mine"}
    assert images(filled).keys() == {KEPT[2]}


# ---- some shards of a run ----


@pytest.mark.parametrize("kind", ["run", "in_bucket"])
def test_a_machine_publishes_its_shards_alone(request, kind, tree):
    run = fill(request.getfixturevalue(kind))
    run.settings["shard_count"] = 3
    run.until_merge()
    prefix = "in/" if kind == "in_bucket" else ""
    run.aggregate = None
    seen = {}
    for shards in ([2], [0, 1]):
        counts = run.publish(shards=shards)
        kept = [row["s3_key"].removeprefix(prefix) for shard in shards for row in run.rows("kept", shard)]
        assert (counts["kept"], counts["manifests"]) == (len(kept), 6 * len(shards))
        names = {f"test/{manifests.shard_name(shard, 3)}/{name}" for shard in shards for name in manifests.SHARD_FILES}
        published = run.objects("clean/manifests/") if prefix else tree(run.published)
        copies = run.objects("clean/train/") if prefix else tree(run.destination)
        seen |= dict.fromkeys([*names, *kept])
        assert published.keys() | copies.keys() == seen.keys()
        assert {row["key"] for row in pq.read_table(run.receipt).to_pylist()} == {*names, *kept}
        run.receipt = run.root / "another machine" / "receipt.parquet"
    assert set(seen) >= set(KEPT)


def test_sets_of_a_run():
    run = {"run_id": "r", "shard_count": 12, "shards": [3, 11]}
    one = {"run_id": "r", "shard_count": 1, "shards": [0]}
    folder = FolderStorage("/d").root
    assert [(found.prefix, found.folder) for found in manifest_sets(run, folder, None)] == [
        ("r/shard-0003-of-0012", folder / "shard-0003-of-0012"),
        ("r/shard-0011-of-0012", folder / "shard-0011-of-0012"),
    ]
    assert [found.prefix for found in manifest_sets(one, folder, folder)] == ["r/shard-0000-of-0001", "r", "r/aggregate"]
    assert [found.prefix for found in manifest_sets(one, None, folder)] == ["r/aggregate"]
    assert all(found.files[-1].endswith("_metadata.json") for found in manifest_sets(one, folder, folder))


# ---- manifests in a bucket ----


def test_manifests_say_what_they_are(filled):
    filled.all()
    kinds = {".csv": "text/csv; charset=utf-8", ".txt": "text/plain; charset=utf-8", ".json": "application/json"}
    keys = filled.objects("clean/manifests/")
    assert len(keys) == 18
    for key in keys:
        head = filled.client.head_object(Bucket="bucket", Key=f"clean/manifests/{key}")
        assert head["ContentType"] == kinds[key[key.rindex(".") :]]


def test_tables_are_published_as_they_were_decided(filled):
    filled.all()
    there = filled.objects("clean/manifests/test/")
    for key, data in there.items():
        if not key.endswith(".json"):
            folder = filled.aggregate if key.startswith("aggregate/") else filled.shard()
            assert data == (folder / key.rsplit("/", 1)[-1]).read_bytes()


def test_metadata_goes_first_and_comes_last(filled, monkeypatch):
    filled.settings["shard_count"] = 2
    filled.all()
    order = []
    plain_delete, plain_put = S3Storage.delete, S3Storage.put_file
    monkeypatch.setattr(S3Storage, "delete", lambda self, key: order.append(("delete", key)) or plain_delete(self, key))
    monkeypatch.setattr(S3Storage, "put_file", lambda self, key, path: order.append(("put", key)) or plain_put(self, key, path))
    filled.publish()
    folders = ["shard-0000-of-0002", "shard-0001-of-0002", "aggregate"]
    metadata = ["run_metadata.json", "run_metadata.json", "merge_metadata.json"]
    assert order[:3] == [("delete", f"clean/manifests/test/{folder}/{name}") for folder, name in zip(folders, metadata, strict=True)]
    puts = [key.removeprefix("clean/manifests/test/") for what, key in order[3:] if what == "put"]
    assert len(puts) == len(order) - 3 == 18
    for folder, name in zip(folders, metadata, strict=True):
        names = [key.split("/")[1] for key in puts if key.startswith(folder)]
        assert names[-1] == name
        assert len(names) == 6
    assert all(key.startswith("aggregate/") for key in puts[12:])


# ---- links ----


@pytest.fixture
def credentials(monkeypatch):
    """Say what is known of the credentials in use."""

    def are(*, temporary, end=None):
        monkeypatch.setattr(S3Storage, "credentials_end", lambda self: (temporary, end))

    return are


BUCKET = S3Storage("s3://bucket/in/", S3Options(region="eu-west-3"))


def test_without_links_there_is_nothing_to_say(monkeypatch):
    monkeypatch.setattr(S3Storage, "credentials_end", lambda self: pytest.fail("asked"))
    assert link_facts(LINKS | {"enabled": False}, BUCKET, NOW) == {}


def test_a_folder_has_no_links_and_that_is_said(run, log_text):
    fill(run)
    run.all(presigned=LINKS)
    assert f"presigned links are for images in a bucket; {run.source} is none, the column stays empty" in log_text()
    there = list(manifests.read_csv(run.published / "test" / "aggregate" / "kept_all.csv"))
    assert [row["presigned_url"] for row in there] == ["", "", ""]
    assert (run.published / "test" / "kept.csv").read_bytes() == (run.shard() / "kept.csv").read_bytes()
    assert "presigned" not in read_json(run.published / "test" / "run_metadata.json")


EXPIRES = {"expires_seconds": 3600, "expires_at_utc": "2026-03-01T13:00:00Z"}


@pytest.mark.parametrize(
    ("known", "note"),
    [
        ({"temporary": False}, None),
        ({"temporary": True, "end": NOW + dt.timedelta(seconds=3600)}, None),
        ({"temporary": True, "end": NOW + dt.timedelta(days=3)}, None),
        ({"temporary": True, "end": NOW + dt.timedelta(seconds=3599)}, "at 2026-03-01T12:59:59Z"),
        ({"temporary": True, "end": dt.datetime(2026, 3, 1, 14, 30, tzinfo=dt.timezone(dt.timedelta(hours=2)))}, "at 2026-03-01T12:30:00Z"),
        ({"temporary": True}, "before that, at a time that cannot be known here"),
    ],
)
def test_links_tell_when_they_end_and_whether_credentials_end_before(credentials, log_text, known, note):
    credentials(**known)
    said = f"signed with temporary credentials: the links die with them, {note}"
    assert link_facts(LINKS, BUCKET, NOW) == EXPIRES | ({"note": said} if note else {})
    assert log_text() == (f"presigned links: {said}" if note else "")


def test_the_credentials_in_use_are_looked_at(client, monkeypatch):
    assert link_facts(LINKS, BUCKET, NOW) == EXPIRES
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    assert link_facts(LINKS, BUCKET, NOW)["note"].endswith("at a time that cannot be known here")


@pytest.mark.parametrize("shard_count", [1, 2])
def test_links_stand_in_the_published_copy_alone(filled, tree, shard_count):
    filled.settings["shard_count"] = shard_count
    filled.until_merge()
    tracked = tree(filled.decided), tree(filled.aggregate)
    before = dt.datetime.now(dt.UTC).replace(microsecond=0)
    filled.publish(presigned=LINKS)
    assert (tree(filled.decided), tree(filled.aggregate)) == tracked
    there = filled.objects("clean/manifests/test/")
    checked = 0
    for key, data in there.items():
        folder = filled.aggregate if key.startswith("aggregate/") else filled.shard(int(key[6:10]) if key.startswith("shard-") else 0)
        name = key.rsplit("/", 1)[-1]
        (filled.root / "there").write_bytes(data)
        if name.endswith(".json"):
            found = read_json(filled.root / "there")
            ends = dt.datetime.fromisoformat(found["presigned"]["expires_at_utc"]) - dt.timedelta(hours=1)
            assert before <= ends <= dt.datetime.now(dt.UTC)
            assert (found["presigned"]["expires_seconds"], "note" in found["presigned"]) == (3600, False)
        elif name.startswith(("kept", "removed")) and name.endswith(".csv"):
            rows = list(manifests.read_csv(filled.root / "there"))
            assert [row | {"presigned_url": ""} for row in rows] == list(manifests.read_csv(folder / name))
            for row in rows:
                checked += 1
                assert re.match(re.escape(row["https_url"]) + r"\?.*X-Amz-Expires=3600&.*X-Amz-Signature=", row["presigned_url"])
        else:
            assert data == (folder / name).read_bytes()
    assert checked == (12 if shard_count == 1 else 8)
