"""A small set of images with vectors: its catalog, embedding tables and reviews as files, and step 04 on them."""

import csv
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from workflow_scripts.core.embeddings import embedding_schema, write_table
from workflow_scripts.retrieval.embed import EMBED_KEYS
from workflow_scripts.retrieval.retrieve import retrieve

SETTINGS = {
    "candidate_concepts": 8,
    "category": "mug",
    "data_root": "/data",
    "duplicate_similarity": None,
    "k": 3,
    "negative_pool": "category",
    "negatives": "nearest",
    "positive": "hard",
    "relative": True,
    "seed": 23,
}


def unit(*numbers):
    """A float16 unit vector in the direction of some numbers."""
    vector = np.array(numbers, dtype=np.float64)
    return (vector / np.linalg.norm(vector)).astype(np.float16)


def angle(degrees, dimensions=2):
    """A unit vector in the plane."""
    return unit(np.cos(np.radians(degrees)), np.sin(np.radians(degrees)), *[0] * (dimensions - 2))


def sha(name):
    """64 digits that stand for a content."""
    return str(name).encode().hex().rjust(64, "0")[-64:]


@dataclass
class Image:
    path: str
    category: str
    concept: str
    vector: np.ndarray
    sha256: str
    phash: int
    error: str | None = None


@dataclass
class ImageSet:
    """Images that are in the catalog's training lists unless `lists` says otherwise."""

    root: Path
    settings: dict = field(default_factory=lambda: dict(SETTINGS))
    images: dict = field(default_factory=dict)
    lists: dict = field(default_factory=dict)
    rows: list = field(default_factory=list)
    fingerprints: dict = field(default_factory=dict)
    threads: int = 2
    reversed_rows: bool = False

    def add(self, concept, name, vector, *, category="mug", sha256=None, phash=None, error=None, part="train"):
        """Put an image in; phashes are far apart unless given."""
        path = f"{category}/{concept}/{name}"
        far = int(sha256_number(path), 16)
        found = Image(path, category, concept, np.asarray(vector, np.float16), sha256 or sha(path), far if phash is None else phash, error)
        self.images[path] = found
        self.lists[path] = part
        return path

    def catalog(self):
        found = {}
        for image in self.images.values():
            lists = found.setdefault(image.category, {}).setdefault(image.concept, {"train": [], "test": [], "negative": []})
            lists[self.lists[image.path]].append(self.named(image.path))
        return found

    def named(self, path):
        """A path as the catalog has it."""
        return path if self.settings["relative"] else f"{self.settings['data_root']}/{path}"

    def review(self, decision, query, negative=None, *, sha256=None):
        """Decide about a pair."""
        path = self.named(query) if negative is None else f"{self.named(query)} → {self.named(negative)}"
        self.rows.append((sha256 or self.images[query].sha256, path, decision))

    def table(self, category):
        """Write the embedding table of a category; gives its path."""
        path = self.root / "03_embed" / f"{category}.parquet"
        metadata = {"fingerprint": self.fingerprints.get(category, "one model")}
        rows = sorted((image for image in self.images.values() if image.category == category), key=lambda image: image.path)
        write_table(path, embedding_schema(EMBED_KEYS, metadata), map(as_row, reversed(rows) if self.reversed_rows else rows))
        return path

    def write(self):
        """Write catalog, tables and reviews."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.catalog_file = self.root / "catalog.json"
        catalog = self.catalog()
        self.catalog_file.write_text(json.dumps(catalog), encoding="utf-8")
        used = list(catalog) if self.settings["negative_pool"] != "category" else [self.settings["category"]]
        self.tables = [self.table(category) for category in used]
        self.reviews = None
        if self.rows:
            self.reviews = self.root / "retrieve.csv"
            with self.reviews.open("w", encoding="utf-8", newline="") as handle:
                csv.writer(handle).writerows([("sha256", "path", "decision"), *self.rows])

    def run(self, **settings):
        """Run step 04; gives records and metadata."""
        self.settings |= settings
        self.write()
        return self.run_again()

    def run_again(self):
        """Run step 04 on the files as they are."""
        self.outputs = self.root / "records.json", self.root / "records_metadata.json"
        self.counts = retrieve(self.catalog_file, self.tables, self.reviews, self.settings, self.outputs, self.threads)
        return tuple(json.loads(path.read_text(encoding="utf-8")) for path in self.outputs)

    def content(self):
        """The bytes of what the last run wrote."""
        return tuple(path.read_bytes() for path in self.outputs)


def as_row(image):
    values = {"path": image.path, "concept": image.concept, "part": "", "phash": image.phash, "sha256": image.sha256}
    if image.error:
        return values | {"error": image.error}
    return values | {"width": 4, "height": 3, "views": 1, "embedding": image.vector}


def sha256_number(name):
    """16 hex digits that follow from a name."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def positive(record):
    return record["ret_paths"][record["label"]]


def negatives(record):
    """The negatives, most similar first."""
    pairs = zip(record["similarities"], record["ret_paths"], strict=True)
    return [path for _, path in sorted((-cosine, path) for cosine, path in pairs if path != positive(record))]
