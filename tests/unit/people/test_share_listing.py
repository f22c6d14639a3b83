"""people: a listing that is published by one machine and read by others is the same listing, or refused."""

import json

import pyarrow.parquet as pq
import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.core.storage import FolderStorage, S3Options, S3Storage, StorageError
from workflow_scripts.people import manifests
from workflow_scripts.people.list_objects import SCHEMA, listing_counts, read_shard
from workflow_scripts.people.share_listing import fetch_listing, publish_listing

KEYS = [f"album {number % 4}/{number:02}.jpg" for number in range(40)] + ["notes.txt", "é, 'ü' #%.png", "two\nlines.jpg"]
SETTINGS = {"source": "/photos", "shard_count": 5, "max_images": 20, "sample_seed": 3, "snapshot": "", "store": {}}


@pytest.fixture
def listed(run):
    """A listing in five shards, and how it is to be published."""
    for key in KEYS:
        run.put(key)
    run.settings |= {"shard_count": 5, "max_images": 20}
    run.list(seed=3)
    return run


@pytest.fixture
def place(tmp_path):
    return FolderStorage(tmp_path / "published")


def shared(**changes):
    return {"run_id": "test", "shard_count": 5, "manifests": "…", "listing": SETTINGS | changes}


def rows(path):
    table = pq.read_table(path)
    assert table.schema.equals(SCHEMA)
    return table.to_pylist()


@pytest.mark.parametrize("shards", [[0, 1, 2, 3, 4], [2], [1, 4]])
def test_some_shards_of_a_published_listing_are_their_rows_of_it(listed, place, tmp_path, shards):
    assert publish_listing(listed.listing, shared(), place) == len(KEYS)
    output = tmp_path / "machine" / "objects.parquet"
    count = fetch_listing(shared(), place, shards, output)
    wanted = [row for row in rows(listed.listing) if row["shard"] in shards]
    assert rows(output) == wanted
    assert count == len(wanted)
    for shard in range(5):
        assert list(read_shard(output, shard)) == (list(read_shard(listed.listing, shard)) if shard in shards else [])
    assert listing_counts(output) == listing_counts(listed.listing) == {"scan": 20, "not_sampled": 22, "skipped": 1}


def test_every_shard_has_a_file_beside_the_manifests(listed, place, tree):
    publish_listing(listed.listing, shared(), place)
    names = [f"test/listing/{manifests.shard_name(shard, 5)}.parquet" for shard in range(5)]
    assert list(tree(place.root)) == names
    assert [len(pq.read_table(place.root / name)) for name in names] == [len(list(read_shard(listed.listing, shard))) for shard in range(5)]


def test_the_same_listing_is_published_as_the_same_bytes(listed, place, tree):
    publish_listing(listed.listing, shared(), place)
    before = tree(place.root)
    publish_listing(listed.listing, shared(), place)
    assert tree(place.root) == before


def test_a_shard_without_objects_is_published_too(run, place, tmp_path):
    run.put("a.jpg")
    run.settings["shard_count"] = 9
    run.list()
    full = rows(run.listing)[0]["shard"]
    settings = shared() | {"shard_count": 9}
    assert publish_listing(run.listing, settings, place) == 1
    assert fetch_listing(settings, place, [shard for shard in range(9) if shard != full], tmp_path / "rest.parquet") == 0
    assert rows(tmp_path / "rest.parquet") == []
    assert fetch_listing(settings, place, [full], tmp_path / "one.parquet") == 1


def test_a_bucket_serves_as_well(listed, client, tmp_path):
    place = S3Storage("s3://bucket/manifests", S3Options(region="eu-west-3"))
    publish_listing(listed.listing, shared(), place)
    fetch_listing(shared(), place, [3, 0], tmp_path / "objects.parquet")
    assert rows(tmp_path / "objects.parquet") == [*read_shard(listed.listing, 3), *read_shard(listed.listing, 0)]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"source": "/others"}, "source"),
        ({"snapshot": "second look"}, "snapshot"),
        ({"sample_seed": 4, "max_images": 21}, "max_images, sample_seed"),
        ({"source": "/others", "snapshot": "x", "max_images": 0}, "max_images, snapshot, source"),
        ({"store": {"region": "eu-west-3"}}, "store"),
        ({"what it did not have": 1}, "what it did not have"),
    ],
)
def test_a_listing_made_with_other_settings_is_refused(listed, place, tmp_path, changes, named):
    publish_listing(listed.listing, shared(), place)
    output = tmp_path / "objects.parquet"
    with pytest.raises(StepError) as caught:
        fetch_listing(shared(**changes), place, [1, 2], output)
    where = (place.root / "test/listing/shard-0001-of-0005.parquet").as_uri()
    assert str(caught.value) == f"{where}: was made with another {named}; give all machines the same settings"
    assert not output.exists()


def test_another_division_into_shards_is_not_found(listed, place, tmp_path):
    publish_listing(listed.listing, shared(), place)
    with pytest.raises(StepError, match="shard-0001-of-0004"):
        fetch_listing(shared() | {"shard_count": 4}, place, [1], tmp_path / "objects.parquet")


def test_a_listing_that_is_not_there_is_named_with_the_mend(listed, place, tmp_path):
    publish_listing(listed.listing, shared(), place)
    missing = place.root / "test" / "listing" / "shard-0003-of-0005.parquet"
    missing.unlink()
    with pytest.raises(StepError) as caught:
        fetch_listing(shared(), place, [2, 3], tmp_path / "objects.parquet")
    assert str(caught.value) == f"{missing.as_uri()}: no such listing; run the target people_listing on one machine first"
    assert not (tmp_path / "objects.parquet").exists()


HARMS = {
    "empty": lambda data: b"",
    "cut in the first bytes": lambda data: data[:3],
    "cut in the middle": lambda data: data[: len(data) // 2],
    "without its last byte": lambda data: data[:-1],
    "with another footer": lambda data: data[:-40] + b"\xff" * 32 + data[-8:],
    "something else": lambda data: b"<html>sign in</html>",
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_listing_that_is_damaged_is_named(listed, place, tmp_path, harm):
    publish_listing(listed.listing, shared(), place)
    path = place.root / "test" / "listing" / "shard-0002-of-0005.parquet"
    path.write_bytes(HARMS[harm](path.read_bytes()))
    with pytest.raises(StepError) as caught:
        fetch_listing(shared(), place, [2], tmp_path / "objects.parquet")
    assert str(caught.value).startswith(f"{path.as_uri()}: cannot be read (")
    assert str(caught.value).endswith("); publish it again with people_listing")
    assert not (tmp_path / "objects.parquet").exists()


def test_a_listing_that_changes_while_it_is_read_is_named(listed, place, tmp_path, monkeypatch):
    publish_listing(listed.listing, shared(), place)

    def read(self, item):
        raise StorageError("changed since listing")

    monkeypatch.setattr(FolderStorage, "read", read)
    with pytest.raises(StepError, match=r"shard-0002-of-0005\.parquet: cannot be read \(changed since listing\)"):
        fetch_listing(shared(), place, [2], tmp_path / "objects.parquet")


def test_the_settings_stand_in_every_part(listed, place):
    publish_listing(listed.listing, shared(), place)
    for path in place.root.rglob("*.parquet"):
        assert json.loads(pq.read_schema(path).metadata[b"listing"]) == SETTINGS


def test_parts_of_two_listings_are_never_mixed(listed, place, tmp_path):
    publish_listing(listed.listing, shared(), place)
    older = (tmp_path / "published/test/listing/shard-0002-of-0005.parquet").read_bytes()
    listed.put("came later.jpg")
    listed.list(seed=3)
    publish_listing(listed.listing, shared(), place)
    (tmp_path / "published/test/listing/shard-0002-of-0005.parquet").write_bytes(older)
    with pytest.raises(StepError, match="test/listing: holds parts of two listings; publish it again with people_listing"):
        fetch_listing(shared(), place, [1, 2], tmp_path / "fetched.parquet")
    assert fetch_listing(shared(), place, [2], tmp_path / "fetched.parquet") > 0


def test_a_table_that_is_no_published_listing_is_refused(listed, place, tmp_path):
    path = tmp_path / "published/test/listing/shard-0000-of-0005.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pq.read_table(listed.listing).replace_schema_metadata(None), path)
    with pytest.raises(StepError, match="was made with another max_images, sample_seed, shard_count, snapshot, source, store"):
        fetch_listing(shared(), place, [0], tmp_path / "fetched.parquet")
