"""people: shards published by many machines merge to what a merge on one disk gives, or what is missing is named."""

import shutil

import pytest

from workflow_scripts.core.json_files import read_json, write_json
from workflow_scripts.core.step import StepError
from workflow_scripts.core.storage import FolderStorage, open_storage
from workflow_scripts.people import manifests
from workflow_scripts.people.merge_remote import fetch_shards, merge_remote
from workflow_scripts.people.publish import publish

SHARDS = 4


def fill(run):
    for number in range(14):
        run.put(f"album {number % 3}/{number:02}.jpg", 0.05 * number)
    for number in range(4):
        run.put(f"people/{number}.jpg", 0.9 + number / 100)
    run.put("notes.txt")
    run.put("é,\n'ü'.jpg", 0.7)
    run.put("broken.jpg", error="decode: truncated")
    run.settings["shard_count"] = SHARDS
    run.until_merge()
    return run


def settings(run, **changes):
    found = {"destination": str(run.destination), "manifests": str(run.published), "dry_run": False, "prune": False, "batch_size": 16}
    found |= {"prune_max_fraction": 0.2, "allow_copy_errors": False, "presigned": {"enabled": False, "expires_seconds": 3600}}
    return run.settings | found | changes


def by_machines(run, **changes):
    """Each machine publishes its own shards; none has the aggregate."""
    for shards in ([0, 3], [1], [2]):
        machine = run.root / f"machine-{shards[0]}"
        for shard in shards:
            shutil.copytree(run.shard(shard), machine / run.shard(shard).name)
            publish(settings(run, shards=[shard], **changes), machine, None, machine / run.shard(shard).name / "receipt.parquet")


@pytest.fixture
def published(run):
    fill(run)
    by_machines(run)
    return run


def merged(run, **changes):
    output = run.root / "remote" / "aggregate"
    return merge_remote(settings(run, shards=list(range(SHARDS)), **changes), output), output


def test_the_aggregate_is_that_of_a_merge_on_one_disk(published, tree):
    totals, output = merged(published)
    assert tree(output) == tree(published.aggregate)
    assert (totals["listed"], totals["kept"], totals["removed"], totals["errors"], totals["skipped"]) == (21, 10, 9, 1, 1)


def test_the_aggregate_is_published_beside_the_shards(published, tree):
    before = tree(published.published)
    assert {key.split("/")[1] for key in before} == {manifests.shard_name(shard, SHARDS) for shard in range(SHARDS)}
    _, output = merged(published)
    after = tree(published.published)
    assert {key: data for key, data in after.items() if "/aggregate/" not in key} == before
    assert after.keys() - before.keys() == {f"test/aggregate/{name}" for name in manifests.AGGREGATE_FILES}
    for name in manifests.AGGREGATE_FILES[:-1]:
        assert after[f"test/aggregate/{name}"] == (output / name).read_bytes()
    found = read_json(published.published / "test/aggregate/merge_metadata.json")
    assert found["publish"] == {"machines": "each shard was published by the machine that made it"}
    assert found["manifest_root"] == f"{published.published}/test"
    assert found["timestamp_utc"]
    assert read_json(output / "merge_metadata.json")["timestamp_utc"] is None


def test_merging_again_replaces_the_aggregate(published, tree):
    _, output = merged(published)
    first = tree(output)
    (published.published / "test/aggregate/kept_all.csv").write_text("older")
    _, output = merged(published)
    assert tree(output) == first
    assert (published.published / "test/aggregate/kept_all.csv").read_bytes() == first["kept_all.csv"]


def test_fetched_shards_are_as_they_were_decided(published, tmp_path, tree):
    fetch_shards(settings(published), open_storage(str(published.published)), tmp_path / "fetched")
    fetched, decided = tree(tmp_path / "fetched"), tree(published.decided)
    assert fetched.keys() == decided.keys()
    assert {key: data for key, data in fetched.items() if not key.endswith(".json")} == {
        key: data for key, data in decided.items() if not key.endswith(".json")
    }


def test_links_belong_to_the_published_copies_alone(in_bucket, tree):
    run = fill(in_bucket)
    by_machines(run, presigned={"enabled": True, "expires_seconds": 3600})
    _, output = merged(run, presigned={"enabled": True, "expires_seconds": 3600})
    assert tree(output) == tree(run.aggregate)
    there = run.objects("clean/manifests/test/")
    of_shards = [data.count(b"X-Amz-Signature") for key, data in there.items() if not key.startswith("aggregate/")]
    assert sum(of_shards) == 10 + 9, "the machines gave every image its link"
    for name in ("kept_all.csv", "removed_all.csv"):
        (output / f"remote-{name}").write_bytes(there[f"aggregate/{name}"])
        rows = list(manifests.read_csv(output / f"remote-{name}"))
        assert [row | {"presigned_url": ""} for row in rows] == list(manifests.read_csv(run.aggregate / name))
        for row in rows:
            assert row["presigned_url"].startswith(f"{row['https_url']}?")
            assert "X-Amz-Expires=3600" in row["presigned_url"]


def refused(run):
    with pytest.raises(StepError) as caught:
        merged(run)
    assert not (run.root / "remote" / "aggregate").exists()
    assert not (run.published / "test" / "aggregate").exists()
    return str(caught.value)


@pytest.mark.parametrize("name", ["errors.csv", "run_metadata.json"])
def test_a_missing_file_of_a_shard_is_named(published, name):
    path = published.published / "test" / "shard-0002-of-0004" / name
    path.unlink()
    assert refused(published) == f"the merge needs every shard; missing: {path.as_uri()}; run people_shard for them first"


@pytest.mark.parametrize(("left", "more"), [(2, ""), (1, " … and 1 more"), (0, " … and 2 more")])
def test_ten_missing_files_are_named_and_the_rest_counted(published, left, more):
    folders = [published.published / "test" / f"shard-000{shard}-of-0004" for shard in (1, 3)]
    missing = [folder / name for folder in folders for name in manifests.SHARD_FILES][: 12 - left]
    for path in missing:
        path.unlink()
    named = ", ".join(path.as_uri() for path in missing[:10])
    assert refused(published) == f"the merge needs every shard; missing: {named}{more}; run people_shard for them first"


def test_a_file_that_changes_while_it_is_read_is_named(published, monkeypatch):
    plain = FolderStorage.read
    path = published.published / "test" / "shard-0001-of-0004" / "kept.csv"

    def read(self, item):
        if item.key.endswith("shard-0001-of-0004/kept.csv"):
            path.write_text("published anew")
        return plain(self, item)

    monkeypatch.setattr(FolderStorage, "read", read)
    assert refused(published) == f"{path.as_uri()}: changed since listing; a machine is publishing it now, merge again when it is done"


def test_a_shard_of_other_settings_is_refused(published):
    path = published.published / "test" / "shard-0001-of-0004" / "run_metadata.json"
    write_json(path, read_json(path) | {"threshold": 0.6})
    assert "shard-0001-of-0004 differs from" in refused(published)


def test_another_shard_count_is_missing_shards(published):
    published.settings["shard_count"] = 5
    assert "missing: " in refused(published)


def test_copies_that_failed_at_a_machine_are_errors_of_the_published_aggregate(run):
    fill(run)
    kept = run.rows("kept", 0)[0]["s3_key"]
    (run.source / kept).unlink()
    by_machines(run, allow_copy_errors=True)
    totals, output = merged(run, allow_copy_errors=True)
    assert totals["errors"] == 1
    assert [row["s3_key"] for row in manifests.read_csv(output / "errors_all.csv")] == ["broken.jpg"]
    published = {row["s3_key"]: row["error"] for row in manifests.read_csv(run.published / "test/aggregate/errors_all.csv")}
    assert published == {"broken.jpg": "decode: truncated", kept: "copy: no such file or directory"}
