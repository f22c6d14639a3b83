"""A people run on a small folder, from the listing to the published copy; scores are given instead of computed."""

import hashlib
import math
import os
from pathlib import Path

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto import mock_aws

from tests.lab.server import ISOLATED
from workflow_scripts.core.models import ModelCard
from workflow_scripts.core.storage import open_storage, s3
from workflow_scripts.people import manifests, score
from workflow_scripts.people.decide import decide
from workflow_scripts.people.list_objects import list_objects, read_shard
from workflow_scripts.people.merge import merge
from workflow_scripts.people.publish import publish

CARD = ModelCard("ViT", "toy.pt", "ViT", "/models/toy.pt", 7, "ab" * 32, {}, {})
REGION = "eu-west-3"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": REGION}


class Run:
    """Files with the scores that a model would give them, and every step after the model."""

    def __init__(self, root):
        self.root, self.card = root, CARD
        self.source, self.destination, self.published = root / "source", root / "cleaned", root / "manifests"
        self.source.mkdir()
        self.receipt = root / "published" / "receipt.parquet"
        self.reviews = None
        self.scores = {}
        self.settings = {
            "run_id": "test",
            "source": str(self.source),
            "store": {},
            "shard_count": 1,
            "threshold": 0.5,
            "max_images": 0,
            "prompts": {"positive": ["a person"], "negative": ["a thing"]},
            "exclude": [],
        }

    @property
    def shard_count(self):
        return self.settings["shard_count"]

    def __getattr__(self, name):
        places = {"listing": "objects.parquet", "decided": "decided", "aggregate": "merged/aggregate"}
        if name not in places:
            raise AttributeError(name)
        return self.root / "results" / f"{self.shard_count}" / places[name]

    def put(self, key, prob=0.1, *, data=None, error=None):
        """Put a file into the source, and say what its score or its error will be."""
        path = self.source / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(as_bytes(key if data is None else data))
        self.scores[key] = (prob, error)
        return path

    def sha256(self, key):
        return hashlib.sha256((self.source / key).read_bytes()).hexdigest()

    def list(self, seed=0):
        options = {"shard_count": self.shard_count, "max_images": self.settings["max_images"], "sample_seed": seed}
        self.listing.parent.mkdir(parents=True, exist_ok=True)
        return list_objects(open_storage(self.settings["source"], self.settings["store"]), self.listing, **options)

    def score(self):
        """A score table for each shard; gives their paths by number."""
        paths = [self.listing.with_name(f"score-{shard}.parquet") for shard in range(self.shard_count)]
        for shard, path in enumerate(paths):
            rows = []
            for row in read_shard(self.listing, shard):
                if row["outcome"] == "scan":
                    prob, error = self.scores[row["key"]]
                    margin = None if error else round(math.log(prob / (1 - prob)) / 100, 6) if 0 < prob < 1 else 0.25
                    found = {"key": row["key"], "etag": row["etag"], "sha256": self.sha256(row["key"]), "error": error}
                    rows.append(found | {"people_prob": None if error else prob, "margin": margin})
            pq.write_table(pa.Table.from_pylist(rows, schema=score.SCHEMA), path)
        return dict(enumerate(paths))

    def decide(self):
        return decide(self.settings, self.listing, self.score(), self.card, self.reviews, self.decided)

    def merge(self):
        return merge(self.decided, self.listing, self.shard_count, self.aggregate)

    def publish(self, **changes):
        run = {"destination": str(self.destination), "manifests": str(self.published), "dry_run": False, "prune": False}
        run |= {"prune_max_fraction": 0.2, "allow_copy_errors": False, "batch_size": 16, "threads": 2}
        run |= {"shards": range(self.shard_count), "presigned": {"enabled": False, "expires_seconds": 604_800}}
        self.receipt.unlink(missing_ok=True)  # as Snakemake does before it runs a step again
        return publish(self.settings | run | changes, self.decided, self.aggregate, self.receipt)

    def until_merge(self):
        self.list()
        self.decide()
        return self.merge()

    def all(self, **changes):
        self.until_merge()
        return self.publish(**changes)

    def shard(self, number=0):
        return self.decided / manifests.shard_name(number, self.shard_count)

    def rows(self, name, shard=0):
        return list(manifests.read_csv(self.shard(shard) / f"{name}.csv"))

    def outcomes(self, shard=0):
        """Keys by table, in the order of the tables."""
        return {name: [row["s3_key"] for row in self.rows(name, shard)] for name in ("removed", "kept", "errors")}


def as_bytes(data):
    return data if isinstance(data, bytes) else data.encode()


class InBucket(Run):
    """The same with its images, their copy and the published manifests in a bucket; scores go by whole keys."""

    def __init__(self, root, client):
        super().__init__(root)
        self.client, self.data = client, {}
        self.settings |= {"source": "s3://bucket/in/", "store": {"region": REGION}}
        self.destination, self.published = "s3://bucket/clean/train/", "s3://bucket/clean/manifests/"

    def put(self, key, prob=0.1, *, data=None, error=None, **fields):
        """Put an object below `in/`."""
        self.data[f"in/{key}"] = as_bytes(key if data is None else data)
        self.client.put_object(Bucket="bucket", Key=f"in/{key}", Body=self.data[f"in/{key}"], **fields)
        self.scores[f"in/{key}"] = (prob, error)

    def sha256(self, key):
        return hashlib.sha256(self.data[key]).hexdigest()

    def objects(self, prefix=""):
        """The bytes of every object below a prefix, by key without it."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=prefix)
        keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
        return {key.removeprefix(prefix): self.client.get_object(Bucket="bucket", Key=key)["Body"].read() for key in keys}


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


@pytest.fixture(scope="session")
def own_client():
    """A client for all tests: making one takes longer than a test."""
    s3.client_of.cache_clear()
    return boto3.client("s3", region_name=REGION, aws_access_key_id="AKIATEST", aws_secret_access_key="secret")


@pytest.fixture
def client(own_client, monkeypatch):
    """A store within this process, with the empty bucket `bucket`, and credentials for it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in (ISOLATED | CREDENTIALS).items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        own_client.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
        yield own_client


@pytest.fixture
def in_bucket(tmp_path, client):
    return InBucket(tmp_path, client)


@pytest.fixture
def tree():
    """Every file below a folder with its bytes."""
    return lambda root: {str(path.relative_to(root)): path.read_bytes() for path in sorted(Path(root).rglob("*")) if path.is_file()}
