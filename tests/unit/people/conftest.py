"""A people run on a small folder, from the listing to the published copy; scores are given instead of computed."""

import hashlib
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflow_scripts.core.models import ModelCard
from workflow_scripts.core.storage import open_storage
from workflow_scripts.people import manifests, score
from workflow_scripts.people.decide import decide
from workflow_scripts.people.list_objects import list_objects, read_shard
from workflow_scripts.people.merge import merge
from workflow_scripts.people.publish import publish

CARD = ModelCard("ViT", "toy.pt", "ViT", "/models/toy.pt", 7, "ab" * 32, {}, {})


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
        path.write_bytes((key if data is None else data).encode())
        self.scores[key] = (prob, error)
        return path

    def sha256(self, key):
        return hashlib.sha256((self.source / key).read_bytes()).hexdigest()

    def list(self, seed=0):
        options = {"shard_count": self.shard_count, "max_images": self.settings["max_images"], "sample_seed": seed}
        self.listing.parent.mkdir(parents=True, exist_ok=True)
        return list_objects(open_storage(str(self.source)), self.listing, **options)

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


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


@pytest.fixture
def tree():
    """Every file below a folder with its bytes."""
    return lambda root: {str(path.relative_to(root)): path.read_bytes() for path in sorted(Path(root).rglob("*")) if path.is_file()}
