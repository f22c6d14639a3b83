"""Concept folders of small pictures, and what the first steps make of them."""

import hashlib
import io
import json
import os
import runpy
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from PIL import Image

from workflow_scripts.core.decisions import Reviews
from workflow_scripts.core.inspect import Inspector
from workflow_scripts.retrieval.catalog import build_catalog
from workflow_scripts.retrieval.inventory import take_inventory
from workflow_scripts.retrieval.layout import sections, strays

LAYOUT = {"train_dirname": "train", "test_dirname": "test"}
SCAN = os.scandir
CATALOG = {"relative": True, "train_fraction": 0.5, "num_train": None, "catalog_seed": 42, "exclude": []}


class Backwards(list):
    """The entries of a folder as another file system may give them, in place of `os.scandir`."""

    def __init__(self, folder="."):
        super().__init__(sorted(SCAN(folder), key=lambda entry: entry.name, reverse=True))

    def __enter__(self):
        return iter(self)

    def __exit__(self, *_):
        pass


class ConceptFolders:
    """A data_root, and the inventory and catalog that come of it."""

    def __init__(self, root):
        self.root, self.data, self.reviews = root, root / "data", None
        self.data.mkdir(exist_ok=True)
        self.settings = CATALOG | {"data_root": str(self.data)}
        self.layout = LAYOUT | {"concept_categories": {}}

    @staticmethod
    def picture(name, size=(9, 7), kind="PNG"):
        """An image file whose pixels follow from its name."""
        noise = hashlib.sha256(str(name).encode("utf-8", "surrogateescape")).digest() * (3 * size[0] * size[1] // 32 + 1)
        buffer = io.BytesIO()
        Image.frombytes("RGB", size, noise[: 3 * size[0] * size[1]]).save(buffer, kind)
        return buffer.getvalue()

    def put(self, path, data=None):
        """Write a file below data_root; a picture of its own unless told otherwise."""
        target = self.data / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.picture(path) if data is None else data)
        return path

    def fill(self, concept, count):
        """So many pictures in a folder; gives their paths."""
        return [self.put(f"{concept}/{number:02}.png") for number in range(count)]

    def sha256(self, path):
        return hashlib.sha256((self.data / path).read_bytes()).hexdigest()

    def sections(self):
        return sections(self.settings["data_root"], **self.layout)

    def inventory(self, category, *, threads=2, cache="cache"):
        """The table of a category, and the counts."""
        output = self.root / "inventory" / f"{hashlib.sha256(category.encode()).hexdigest()[:8]}.parquet"
        inspector = Inspector(cache_root=str(self.root / cache), max_pixels=1_000_000, threads=threads)
        return output, take_inventory(self.settings["data_root"], self.sections()[category], inspector, output)

    def listed(self, category):
        """The rows of a category's inventory, by path."""
        return {row["path"]: row for row in pq.read_table(self.inventory(category)[0]).to_pylist()}

    def review(self, *rows):
        """Rows of sha256, path and decision."""
        self.reviews = self.root / "catalog.csv"
        self.reviews.write_text("sha256,path,decision\n" + "".join(f"{','.join(row)}\n" for row in rows))

    def build(self, categories=None, **changes):
        """Catalog as parsed, rows by path, counts."""
        settings = self.settings | changes
        inventories = {category: self.inventory(category)[0] for category in categories or self.sections()}
        outputs = self.root / "catalog.json", self.root / "images.parquet"
        above = strays(self.settings["data_root"], *(self.layout[name] for name in LAYOUT))
        counts = build_catalog(inventories, above, settings, Reviews(self.reviews, ("keep", "drop")), outputs)
        return json.loads(outputs[0].read_text("utf-8")), {row["path"]: row for row in pq.read_table(outputs[1]).to_pylist()}, counts


class Files(list):
    """What Snakemake hands a step: a list, some of it by name."""

    def __init__(self, given):
        named = given if isinstance(given, dict) else {}
        super().__init__(path for one in (named.values() or given) for path in ([one] if isinstance(one, str) else one))
        self.__dict__.update(named)

    def __getitem__(self, key):
        return self.__dict__[key] if isinstance(key, str) else super().__getitem__(key)


@pytest.fixture
def folders(tmp_path):
    return ConceptFolders(tmp_path)


@pytest.fixture
def backwards(monkeypatch):
    """Let folders give their entries in another order."""
    monkeypatch.setattr(os, "scandir", Backwards)


@pytest.fixture
def start(tmp_path, in_a_step):
    """Starts a step as Snakemake does; gives its log. Inputs and outputs come by name, or as a list."""

    def run(module, given, made, **params):
        log = tmp_path / "step.log"
        rule = SimpleNamespace(input=Files(given), output=Files(made), params=SimpleNamespace(**params), log=[str(log)])
        runpy.run_path(module.__file__, {"snakemake": rule})
        return log.read_text()

    return run
