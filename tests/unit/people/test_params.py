"""people: what the rules give their steps: plain values with sorted keys, and nothing that a result does not depend on."""

import json

import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.people import params
from workflow_scripts.settings.people import People


def make(**settings):
    return People.model_validate({"runs": {"r": settings}}).runs["r"]


@pytest.fixture
def folder():
    return make(source="/photos", destination="/clean", manifests="/manifests", region="eu-west-3", endpoint_url="https://host:9000")


@pytest.fixture
def bucket(monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    return make(source="s3://bucket/in/", shard_count=4, shards=[2, 0], snapshot="second look", max_images=200, sample_seed=7)


def assert_plain(value):
    """Numbers, texts, lists and dicts with sorted keys, as Snakemake compares them."""
    if isinstance(value, dict):
        assert list(value) == sorted(value)
        assert all(type(key) is str for key in value)
        for inner in value.values():
            assert_plain(inner)
    elif isinstance(value, list):
        for inner in value:
            assert_plain(inner)
    else:
        assert value is None or type(value) in (str, int, float, bool)


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_params_are_plain_and_sorted_and_the_same_each_time(request, kind):
    run = request.getfixturevalue(kind)
    for make_params in (
        lambda: params.store(run),
        lambda: params.listing(run),
        lambda: params.shared_listing("r", run),
        lambda: params.publish("r", run, (0, 2)),
    ):
        found = make_params()
        assert_plain(found)
        assert json.dumps(found) == json.dumps(make_params())


def test_a_folder_depends_on_no_store(folder):
    assert params.store(folder) == {}
    for found in (params.listing(folder), params.shared_listing("r", folder), params.publish("r", folder, [0])):
        assert found["store"] == {}
        assert "host:9000" not in json.dumps(found)
        assert "eu-west-3" not in json.dumps(found)


def test_a_listing_depends_on_the_place_the_division_and_the_sample(folder, bucket):
    assert params.listing(folder) == {
        "max_images": 0,
        "sample_seed": 0,
        "shard_count": 1,
        "snapshot": "",
        "source": "/photos",
        "store": {},
    }
    assert params.listing(bucket) == {
        "max_images": 200,
        "sample_seed": 7,
        "shard_count": 4,
        "snapshot": "second look",
        "source": "s3://bucket/in/",
        "store": {"addressing": "auto", "endpoint_url": None, "region": "us-east-1"},
    }


@pytest.mark.parametrize("place", ["destination", "manifests"])
def test_one_place_in_a_bucket_is_enough_to_depend_on_the_store(place):
    places = {"source": "/photos", "destination": "/clean", "manifests": "/manifests", place: "s3://bucket/there/"}
    run = make(**places, region="eu-west-3")
    assert params.store(run) == {"addressing": "auto", "endpoint_url": None, "region": "eu-west-3"}


def test_a_shared_listing_names_its_place_and_how_it_was_made(bucket):
    assert params.shared_listing("r", bucket) == {
        "listing": params.listing(bucket),
        "manifests": "s3://bucket/cleaned/manifests",
        "run_id": "r",
        "shard_count": 4,
        "store": params.store(bucket),
    }


def test_publishing_depends_on_places_behaviour_and_shards(bucket):
    assert params.publish("r", bucket, (3, 1)) == {
        "allow_copy_errors": False,
        "destination": "s3://bucket/cleaned/train",
        "dry_run": False,
        "manifests": "s3://bucket/cleaned/manifests",
        "presigned": {"enabled": False, "expires_seconds": 604_800},
        "prune": False,
        "prune_max_fraction": 0.2,
        "run_id": "r",
        "shard_count": 4,
        "shards": [3, 1],
        "source": "s3://bucket/in/",
        "store": params.store(bucket),
    }


@pytest.mark.parametrize("setting", ["batch_size", "threshold", "views", "labels", "label_images", "wished_recall"])
def test_what_decides_nothing_about_listing_or_publishing_stays_out(bucket, setting):
    for found in (params.listing(bucket), params.shared_listing("r", bucket), params.publish("r", bucket, [0])):
        assert setting not in json.dumps(found)


def test_places_that_are_written(folder):
    assert params.written(folder) == ["/manifests", "/clean"]
    assert params.written(folder.model_copy(update={"dry_run": True})) == ["/manifests"]


def test_a_whole_run_has_one_receipt_and_a_part_one_for_each_shard(folder, bucket):
    names = ["shard-0000-of-0004", "shard-0002-of-0004"]
    assert params.receipts("results/r", folder, names) == ["results/r/06_publish/receipt.parquet"]
    assert params.receipts("results/r", bucket, names) == [f"results/r/06_publish/{name}/receipt.parquet" for name in names]


def test_a_machine_with_a_part_of_a_run_merges_nothing(folder, bucket):
    params.check_whole("r", folder)
    with pytest.raises(StepError) as caught:
        params.check_whole("r", bucket)
    assert str(caught.value) == (
        "people.runs.r.shards gives this machine a part of the run: use the target people_shard here, "
        "and people_merge_remote when all machines are done"
    )


@pytest.mark.parametrize("source", ["/photos", "s3://bucket/in/"])
def test_without_a_shared_disk_manifests_are_in_a_bucket(source, bucket):
    params.check_in_bucket("r", bucket)
    params.check_in_bucket("r", make(source="/photos", manifests="s3://bucket/manifests/"))
    run = make(source=source, destination="s3://bucket/clean", manifests="/disk/manifests")
    with pytest.raises(StepError) as caught:
        params.check_in_bucket("r", run)
    assert str(caught.value) == (
        "people.runs.r.manifests (/disk/manifests) is a folder: without a shared disk it must be s3://bucket/prefix/"
    )
    with pytest.raises(StepError, match=r"people\.runs\.q\.manifests \(results/people/r/cleaned/manifests\) is a folder"):
        params.check_in_bucket("q", make(source="/photos"))
