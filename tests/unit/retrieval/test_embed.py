"""retrieval 03: which images are embedded, what stands in a row, and that every image has one."""

from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflow_scripts.core import clip
from workflow_scripts.core.accounting import AccountingError
from workflow_scripts.core.embed import Embedded
from workflow_scripts.core.embeddings import EMBEDDING_COLUMNS, table_metadata
from workflow_scripts.core.models import ModelCard
from workflow_scripts.core.storage import FolderStorage
from workflow_scripts.retrieval import embed
from workflow_scripts.retrieval.embed import EMBED_KEYS, embed_category

PREPROCESS = {"size": 8, "resize_mode": "shortest", "interpolation": "bicubic", "fill_color": 0, "mean": [0.5] * 3, "std": [0.5] * 3}


class Embedder:
    """Stands in for the model and its flow: a vector from the key's digits, an error for keys with `bad`."""

    description: ClassVar = {"fingerprint": "abc", "model": {"name": "toy"}}

    def __init__(self):
        self.asked, self.counts = [], {"known": 0, "read": 0, "errors": 0}

    def embed(self, items, storage):
        for item in items:
            self.asked.append((item, storage.read(item)))
            if "bad" in item.key:
                yield Embedded(item, sha256="ef" * 32, error="embed: the model gave no finite vector")
            else:
                yield Embedded(item, sha256="ab" * 32, width=9, height=7, vectors=vector(item.key))
            self.counts["read"] += 1


def vector(key):
    found = np.array([[1.0, len(key), key.count("1")]])
    return (found / np.linalg.norm(found)).astype(np.float16)


@pytest.fixture
def embedded(folders):
    """The rows of a category by path, and the stand-in."""

    def run(category="mug"):
        stand_in, output = Embedder(), folders.root / "embedded.parquet"
        counts = embed_category(folders.inventory(category)[0], FolderStorage(folders.data), stand_in, output)
        assert counts == stand_in.counts
        return {row["path"]: row for row in pq.read_table(output).to_pylist()}, stand_in

    return run


def test_a_row_has_what_later_steps_need(folders, embedded):
    folders.put("mug/a, 'b'\n/1.png")
    folders.put("mug/red/bad.png")
    rows, stand_in = embedded()
    looks = folders.listed("mug")
    found = rows["mug/a, 'b'\n/1.png"]
    np.testing.assert_array_equal(np.array(found.pop("embedding"), np.float16), vector("mug/a, 'b'\n/1.png")[0])
    assert found == {
        "path": "mug/a, 'b'\n/1.png",
        "concept": "a, 'b'\n",
        "part": "",
        "phash": looks["mug/a, 'b'\n/1.png"]["phash"],
        "sha256": "ab" * 32,
        "width": 9,
        "height": 7,
        "views": 1,
        "error": None,
    }
    bad = rows["mug/red/bad.png"]
    assert (bad["error"], bad["embedding"], bad["views"]) == ("embed: the model gave no finite vector", None, None)
    assert (bad["concept"], bad["phash"]) == ("red", looks["mug/red/bad.png"]["phash"])
    schema = pq.read_schema(folders.root / "embedded.parquet")
    assert [(field.name, field.type) for field in schema] == [*EMBED_KEYS, *EMBEDDING_COLUMNS]
    assert schema.field("phash").type == pa.uint64()
    assert table_metadata(folders.root / "embedded.parquet") == Embedder.description
    assert [item.key for item, _ in stand_in.asked] == list(rows)


def test_readable_images_that_are_no_negatives_are_embedded(folders, embedded):
    wanted = [folders.put(f"{side}/mug/red/{number}.png") for side in ("test", "train") for number in range(3)]
    for path in ("train/mug/red/laion/1.png", "train/mug/1.png", "train/mug/red/deep/1.png", "test/mug/red/notes.txt"):
        folders.put(path)
    folders.put("train/mug/red/broken.png", b"no image")
    rows, stand_in = embedded()
    assert list(rows) == wanted
    assert {path: row["part"] for path, row in rows.items()} == {path: path.split("/")[0] for path in wanted}
    assert all(data == folders.picture(item.key) for item, data in stand_in.asked)


def test_rows_are_sorted_by_path(folders, embedded):
    wanted = sorted(folders.put(f"mug/{name}/1.png") for name in ("b", "B", "a b", "a", "a-", "é", "z"))
    assert list(embedded()[0]) == wanted


@pytest.mark.parametrize("files", [{}, {"mug/red/1.png": b"no image", "mug/red/1.txt": b""}])
def test_a_category_without_images_has_an_empty_table(folders, embedded, files):
    (folders.data / "mug").mkdir()
    for path, data in files.items():
        folders.put(path, data)
    rows, stand_in = embedded()
    assert (rows, stand_in.asked) == ({}, [])
    assert pq.read_schema(folders.root / "embedded.parquet").names == [name for name, _ in (*EMBED_KEYS, *EMBEDDING_COLUMNS)]


def test_items_are_those_of_the_inventory(folders, embedded):
    folders.put("mug/red/1.png")
    (item,) = [item for item in FolderStorage(folders.data).list() if item.key == "mug/red/1.png"]
    _, stand_in = embedded()
    ((asked, _),) = stand_in.asked
    assert (asked.key, asked.size, asked.etag) == (item.key, item.size, item.etag)


@pytest.mark.parametrize("lost", [slice(0, 2), slice(1, 3), slice(0, 0)])
def test_an_image_without_an_outcome_stops_the_step(folders, monkeypatch, lost):
    folders.fill("mug/red", 3)
    inventory, _ = folders.inventory("mug")
    monkeypatch.setattr(Embedder, "embed", lambda self, items, storage: iter([Embedded(item, error="x") for item in items][lost]))
    output = folders.root / "embedded.parquet"
    with pytest.raises((AccountingError, ValueError)):
        embed_category(inventory, FolderStorage(folders.data), Embedder(), output)
    assert not output.exists()


class Encoder:
    """Stands in for the network alone: a view's vector is its mean colour."""

    def __init__(self, card, *, device, precision, batch, threads, normalise):
        self.forwards = 0

    def encode(self, pixels):
        self.forwards += 1
        means = pixels.mean(axis=(1, 2)) + 1
        return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)


def test_the_step_takes_its_params_and_reads_nothing_twice_when_all_is_known(folders, start, monkeypatch):
    monkeypatch.setattr(clip, "ImageEncoder", Encoder)
    monkeypatch.setattr(clip, "resolve_device", lambda device: (device, "fp32"))
    card = folders.root / "card.json"
    ModelCard("toy", "toy.pt", "toy", "toy.pt", 1, "ab" * 32, {"width": 1}, PREPROCESS).write(card)
    folders.fill("mug/red", 3)
    folders.put("mug/blue/large.png", folders.picture("large", (40, 40)))
    inventory, _ = folders.inventory("mug")
    output = folders.root / "03" / "mug.parquet"
    for known in (0, 4):
        said = start(
            embed,
            {"inventory": str(inventory), "model": str(card)},
            [str(output)],
            embedding={"views": "center", "decode_mode": "scaled", "max_pixels": 1000},
            data_root=str(folders.data),
            machine={"batch": 2, "cache_root": str(folders.root / "cache"), "device": "cpu", "threads": 2},
        )
        assert f"known={known} " in said
        assert "errors=1" in said
    rows = pq.read_table(output).to_pylist()
    assert {row["path"]: row["error"] for row in rows} == {
        "mug/blue/large.png": "decode: too large",
        **{f"mug/red/0{number}.png": None for number in range(3)},
    }
    assert all(abs(np.linalg.norm(np.array(row["embedding"])) - 1) < 0.01 for row in rows if not row["error"])
    assert table_metadata(output)["model"]["name"] == "toy"
