"""people: each step as Snakemake starts it does with its params what its functions do."""

import io
import json
import runpy
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from PIL import Image

from workflow_scripts.core.json_files import read_json
from workflow_scripts.core.storage import FolderStorage, S3Storage
from workflow_scripts.people import (
    labelling,
    list_objects,
    manifests,
    merge_remote,
    publish,
    removal_plan,
    report,
    share_listing,
    verify,
)

SHARDS = 3


class Files(list):
    """What Snakemake hands a step: a list, some of it by name."""

    def __init__(self, *files, **named):
        super().__init__([*files, *(file for value in named.values() for file in ([value] if isinstance(value, str) else value))])
        self.__dict__.update(named)
        self.get = named.get


@pytest.fixture
def start(tmp_path, in_a_step):
    """Starts a step; gives its log."""

    def run(module, output, *, given=None, **params):
        log = tmp_path / "step.log"
        outputs = output if isinstance(output, Files) else Files(str(output))
        rule = SimpleNamespace(input=given or Files(), output=outputs, params=SimpleNamespace(**params), log=[str(log)])
        runpy.run_path(module.__file__, {"snakemake": rule})
        return log.read_text()

    return run


@pytest.fixture
def filled(run):
    for number in range(8):
        data = io.BytesIO()
        Image.new("RGB", (30, 20), (30 * number, 0, 0)).save(data, "PNG")
        run.put(f"{number}.png", 0.1 + number / 10, data=data.getvalue())
    run.settings |= {"shard_count": SHARDS, "max_images": 6}
    return run


def settings(run, **more):
    places = {"destination": str(run.destination), "manifests": str(run.published), "shards": list(range(SHARDS))}
    behaviour = {"dry_run": False, "prune": False, "prune_max_fraction": 0.2, "allow_copy_errors": False}
    return run.settings | places | behaviour | {"presigned": {"enabled": False, "expires_seconds": 60}} | more


def listing_of(run):
    return {"source": str(run.source), "shard_count": SHARDS, "max_images": 6, "sample_seed": 4, "snapshot": "", "store": {}}


def list_it(start, run, output, **changes):
    return start(
        list_objects,
        output,
        **{"listing": listing_of(run), "published": None, "shards": [0], "machine": {"written": [str(run.destination)]}} | changes,
    )


def test_listing_takes_its_settings(filled, start, tmp_path):
    said = list_it(start, filled, tmp_path / "objects.parquet")
    assert "done: scan=6 not_sampled=2" in said
    filled.list(seed=4)
    assert pq.read_table(tmp_path / "objects.parquet").equals(pq.read_table(filled.listing))


def test_a_published_listing_is_taken_in_place_of_the_source(filled, start, tmp_path, monkeypatch):
    filled.list(seed=4)
    shared = {"run_id": "test", "shard_count": SHARDS, "manifests": str(filled.published), "listing": listing_of(filled), "store": {}}
    prepared = []
    with monkeypatch.context() as patch:
        patch.setattr(FolderStorage, "prepare", lambda self: prepared.append(self.location))
        said = start(share_listing, tmp_path / "listing.json", given=Files(str(filled.listing)), run=shared)
    assert prepared == [str(filled.published)]
    assert "done: rows=8" in said
    place = (filled.published / "test" / "listing").as_uri()
    assert json.loads((tmp_path / "listing.json").read_text()) == {"rows": 8, "place": place}
    filled.put("came after.png")
    list_it(start, filled, tmp_path / "objects.parquet", published=shared, shards=[0, 2])
    wanted = [row for row in pq.read_table(filled.listing).to_pylist() if row["shard"] in (0, 2)]
    assert pq.read_table(tmp_path / "objects.parquet").to_pylist() == wanted


def test_listing_a_bucket_looks_whether_it_may_be_read_and_written(in_bucket, start, tmp_path, monkeypatch, log_text):
    in_bucket.put("a.png")
    asked = []
    monkeypatch.setattr(S3Storage, "read", lambda self, item: asked.append(item.key) or b"")
    monkeypatch.setattr(S3Storage, "prepare", lambda self: asked.append(self.location))
    params = listing_of(in_bucket) | {"source": "s3://bucket/in/", "store": in_bucket.settings["store"]}
    written = {"written": ["s3://bucket/manifests", "s3://bucket/clean"]}
    list_it(start, in_bucket, tmp_path / "objects.parquet", listing=params, machine=written)
    assert asked == ["s3://bucket/manifests", "s3://bucket/clean", "in/a.png"]


def test_what_a_bucket_refuses_is_known_before_it_is_listed(in_bucket, start, tmp_path):
    in_bucket.put("a.png")
    params = listing_of(in_bucket) | {"source": "s3://bucket/in/", "store": in_bucket.settings["store"]}
    with pytest.raises(SystemExit):
        list_it(start, in_bucket, tmp_path / "objects.parquet", listing=params, machine={"written": ["s3://no-such-bucket/clean"]})
    assert "s3://no-such-bucket/clean: there is no such bucket" in (tmp_path / "step.log").read_text()
    assert "listed" not in (tmp_path / "step.log").read_text()
    assert not (tmp_path / "objects.parquet").exists()


@pytest.mark.parametrize("whole", [True, False])
def test_publishing_takes_the_aggregate_where_there_is_one(filled, start, whole):
    filled.until_merge()
    shards = [0, 1, 2] if whole else [1]
    tables = [str(filled.shard(shard) / name) for shard in shards for name in manifests.SHARD_FILES]
    merged = {"merged": [str(filled.aggregate / name) for name in manifests.AGGREGATE_FILES]} if whole else {}
    start(
        publish, filled.receipt, given=Files(shards=tables, **merged), run=settings(filled, shards=shards), machine={"batch_size": "auto"}
    )
    kinds = {row["key"].split("/")[1] for row in pq.read_table(filled.receipt).to_pylist() if row["kind"] == "manifest"}
    assert kinds == {*(manifests.shard_name(shard, SHARDS) for shard in shards), *(["aggregate"] if whole else [])}
    metadata = filled.published / "test" / manifests.shard_name(1, SHARDS) / "run_metadata.json"
    assert read_json(metadata)["batch_size"] == "auto"


def test_verifying_writes_what_it_found(filled, start, tmp_path):
    filled.all()
    given = Files(receipts=[str(filled.receipt)])
    said = start(verify, tmp_path / "verification.json", given=given, run=settings(filled))
    published = len(list(filled.destination.rglob("*.png")))
    assert f"done: published={published} foreign=0" in said
    assert json.loads((tmp_path / "verification.json").read_text()) == {
        "receipts": [str(filled.receipt)],
        "image": {"published": published, "foreign": 0},
        "manifest": {"published": 24, "foreign": 0},
    }


def test_merging_remotely_publishes_the_aggregate(filled, start, tree):
    filled.until_merge()
    aggregate = filled.aggregate
    filled.aggregate = None
    filled.publish()
    output = filled.root / "remote" / "aggregate"
    outputs = Files(*(str(output / name) for name in manifests.AGGREGATE_FILES))
    said = start(merge_remote, outputs, run=settings(filled), machine={"batch_size": 16})
    assert "kept=" in said
    assert tree(output) == tree(aggregate)
    assert (filled.published / "test" / "aggregate" / "merge_metadata.json").is_file()


@pytest.mark.parametrize("source", ["a folder", "s3://bucket/in/"])
def test_a_removal_plan_lies_where_the_rule_says(filled, start, tmp_path, source):
    filled.until_merge()
    removed = filled.aggregate / "removed_all.csv"
    given, output = Files(removed=str(removed)), Files(plan=str(tmp_path / "plan" / "plan.csv"))
    said = start(removal_plan, output, given=given, run={"source": source, "store": {"region": "eu-west-3"}})
    count = len(list(manifests.read_csv(removed)))
    assert f"done: planned={count}" in said
    names = {path.name for path in (tmp_path / "plan").iterdir()}
    assert names - {"batches"} == {"delete.sh", "keys.nul", "plan.csv"}
    script = (tmp_path / "plan" / "delete.sh").read_text()
    assert ("--bucket bucket --region eu-west-3 " in script) == ("batches" in names) == source.startswith("s3://")


@pytest.mark.parametrize("module", [report, labelling])
def test_pages_are_built_from_their_params(filled, start, tmp_path, module):
    filled.until_merge()
    given = Files(merged=[str(filled.aggregate / name) for name in manifests.AGGREGATE_FILES], calibration=[])
    run = {"run_id": "test", "source": str(filled.source), "store": {}, "threshold": 0.5, "max_pixels": 10_000, "reviews": "decide.csv"}
    run |= {"labels": "labels.csv", "label_images": 4, "sample_seed": 0}
    machine = {"cache_root": str(tmp_path / "cache"), "threads": 1}
    said = start(module, tmp_path / "page", given=given, run=run, machine=machine)
    assert f"done: rows={6 if module is report else 4}" in said
    assert (tmp_path / "page" / "index.html").is_file()
    assert list((tmp_path / "cache").rglob("*.arrow")), "thumbnails are kept"
