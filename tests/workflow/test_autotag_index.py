"""autotag 02, 03, 04 and 07 with FAISS: what an index finds, that it does not matter how it was made, and what is refused."""

import json
import logging
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

pytest.importorskip("faiss")

import faiss

from tests.bench import autotag_index as bench
from tests.unit.autotag.index_data import MODEL, clustered, content, segment_rows, write_block, write_shard
from workflow_scripts.autotag import add_block, merge_index, search_target, train_index
from workflow_scripts.autotag.exact import Queries
from workflow_scripts.autotag.tables import NEIGHBOURS, QUERIES, TARGET_CROPS, TOP
from workflow_scripts.core import index as core
from workflow_scripts.core import index_gpu, tables
from workflow_scripts.core.cosine import widen, written
from workflow_scripts.core.index_factory import Kind, make
from workflow_scripts.core.json_files import read_json
from workflow_scripts.core.step import StepError

D = 32
BLOCKS = {"0000": {"00000": 700, "00001": 500}, "0001": {"00064": 0}, "0002": {"00128": 900, "00130": 300}}
CODES = "IVF16,PQ8x4np"
FACTORIES = ["Flat", "IVF16,Flat", CODES, "PCA16,IVF4,SQ8", "PQ8x4np"]


class Source:
    """A source of synthetic segments, its index, and a target; each step is started as Snakemake starts it."""

    def __init__(self, root: Path, blocks: dict[str, dict[str, int]] = BLOCKS) -> None:
        self.root, self.folder = root, root / "source"
        self.blocks = {block: self.write(block, shards) for block, shards in blocks.items()}
        self.shards = [shard for shards in blocks.values() for shard in shards]
        self.train_settings = {"factory": "auto", "train_label": "1", "train_memory_gb": 1.0, "drawn": True, "shards": self.shards}
        self.search_settings: dict[str, Any] = {"k_max": 50, "nprobe": "auto", "rerank": "auto"}
        self.machine = {"device": "cpu", "threads": 1, "on_disk_gb": 32.0, "batch": 64, "gpu": "auto"}
        self.model = dict(MODEL)

    def write(self, block: str, shards: dict[str, int], **model: str) -> Path:
        """The files of a block."""
        made = [write_shard(self.folder, name, clustered(rows, D, int(name)), segment_rows(name, rows)) for name, rows in shards.items()]
        return write_block(self.folder, block, made, D, **model)

    def start(self, module: Any, given: dict[str, Any], output: Any, params: dict[str, Any]) -> str:
        """Start a step; gives its log."""
        log = self.root / "step.log"
        outputs = SimpleNamespace(**output) if isinstance(output, dict) else [output]
        params |= {"machine": self.machine, "folder": str(self.folder), "algorithm": 1}
        rule = SimpleNamespace(input=SimpleNamespace(**given), output=outputs, params=SimpleNamespace(**params), log=[str(log)])
        try:
            runpy.run_path(module.__file__, {"snakemake": rule})
        except SystemExit:
            raise StepError(log.read_text()) from None
        return log.read_text()

    def path(self, name: str) -> str:
        return str(self.root / name)

    def train(self, **settings: Any) -> str:
        self.train_settings |= settings
        output = {"index": "02/trained.faiss", "metadata": "02/index_metadata.json", "queries": "02/queries.parquet"}
        params = {"train": self.train_settings, "model": self.model, "shards": len(self.shards)}
        output = {name: self.path(path) for name, path in output.items()}
        return self.start(train_index, {"blocks": [str(path) for path in self.blocks.values()]}, output, params)

    def add(self) -> str:
        text = ""
        for block, path in self.blocks.items():
            given = {"index": self.path("02/trained.faiss"), "queries": self.path("02/queries.parquet"), "block": str(path)}
            output = {"index": self.path(f"03/block_{block}.faiss"), "exact": self.path(f"03/block_{block}_exact.parquet")}
            text += self.start(add_block, given, output, {})
        return text

    def merge(self) -> str:
        given: dict[str, Any] = {"trained": self.path("02/index_metadata.json"), "queries": self.path("02/queries.parquet")}
        given |= {"blocks": [str(path) for path in self.blocks.values()]}
        given |= {"indexes": [self.path(f"03/block_{block}.faiss") for block in self.blocks]}
        given |= {"exact": [self.path(f"03/block_{block}_exact.parquet") for block in self.blocks]}
        output = {"index": "index.faiss", "rows": "id_to_tags.parquet", "metadata": "index_metadata.json", "recall": "recall.json"}
        output = {name: self.path(f"04/{path}") for name, path in output.items()}
        return self.start(merge_index, given, output, {"search": self.search_settings})

    def build(self, factory: str = "auto") -> "Source":
        self.train(factory=factory)
        self.add()
        self.merge()
        return self

    def target(self, vectors: np.ndarray, **model: Any) -> None:
        """Crops to search for."""
        rows = [{"image": f"bild {row // 3} ☂.jpg", "sha256": content(f"t{row // 3}"), "crop_id": f"{row}"} for row in range(len(vectors))]
        np.save(self.root / "target.npy", vectors)
        embedding = {"fingerprint": "another precision", "model": MODEL | model, "precision": "bf16", "d": D}
        tables.write(self.root / "target.parquet", TARGET_CROPS, rows, {"embedding": embedding})

    def search(self, index: str = "04", name: str = "neighbours.parquet") -> list[dict[str, Any]]:
        given = {"vectors": self.path("target.npy"), "table": self.path("target.parquet"), "index": self.path(f"{index}/index.faiss")}
        given |= {"rows": self.path(f"{index}/id_to_tags.parquet"), "metadata": self.path(f"{index}/index_metadata.json")}
        self.start(search_target, given, self.path(name), {"search": self.search_settings})
        return tables.read(self.root / name)

    def json(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = read_json(self.root / path)
        return found

    def vectors(self) -> np.ndarray:
        """Of all rows, in the order of the index."""
        return np.concatenate([np.load(self.folder / f"embeddings/embeddings_{shard}.npy") for shard in self.shards])


@pytest.fixture(autouse=True)
def _step_leaves_the_process_alone(monkeypatch):
    from workflow_scripts.core import step

    for name in step.ENVIRONMENT:
        monkeypatch.setenv(name, "as it was")
    root, ours = logging.getLogger(), logging.getLogger("darkroom")
    before = root.handlers, root.level, ours.level
    yield
    root.handlers = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


@pytest.fixture
def source(tmp_path):
    return Source(tmp_path)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """An index with codes, and neighbours of 100 crops; tests change copies of it."""
    found = Source(tmp_path_factory.mktemp("built")).build(CODES)
    found.target(clustered(100, D, 7))
    found.search()
    return found


@pytest.fixture
def copied(built, tmp_path):
    """A copy to change."""
    shutil.copytree(built.root, tmp_path / "copy")
    found = Source.__new__(Source)
    found.__dict__ |= {name: value.copy() if isinstance(value, dict) else value for name, value in built.__dict__.items()}
    found.root, found.folder = tmp_path / "copy", tmp_path / "copy/source"
    found.blocks = {block: found.folder / path.relative_to(built.folder) for block, path in built.blocks.items()}
    return found


def brute(queries: np.ndarray, vectors: np.ndarray, count: int) -> list[list[tuple[int, float]]]:
    """Ids and exact cosines of the nearest, by comparing all."""
    cosines = widen(queries) @ widen(vectors).T
    orders = [np.lexsort((np.arange(len(vectors)), -row))[:count] for row in cosines]
    return [[(int(row), float(cosines[query, row])) for row in order] for query, order in enumerate(orders)]


def found_of(rows: list[dict[str, Any]], crop: str) -> list[tuple[int, float]]:
    return [(row["id"], row["similarity"]) for row in rows if row["crop_id"] == crop]


# ---- an index, from beginning to end ----


def test_the_neighbours_of_a_flat_index_are_the_exact_ones_with_all_that_belongs_to_them(source):
    source.build()
    source.target(np.concatenate([clustered(20, D, 7), source.vectors()[[1250]]]))
    rows = source.search()
    wanted = brute(np.load(source.root / "target.npy"), source.vectors(), 50)
    for crop, nearest in enumerate(wanted):
        assert found_of(rows, str(crop)) == [(row, written(cosine)) for row, cosine in nearest]
    assert [row["rank"] for row in rows] == list(range(1, 51)) * 21
    assert [row["crop_id"] for row in rows] == [str(crop) for crop in range(21) for _ in range(50)]
    own = rows[20 * 50]
    row = segment_rows("00128", 900)[50]
    crop = {"image": "bild 6 ☂.jpg", "sha256": content("t6"), "crop_id": "20"}
    neighbour = {f"neighbour_{name}": row[name] for name in ("shard", "key", "crop_id", "sha256")}
    found = {"rank": 1, "id": 1250, "similarity": own["similarity"], "label": row["label"], "tags": row["vlm_tags"]}
    assert own == crop | neighbour | found
    assert own["similarity"] == pytest.approx(1, abs=1e-3)
    schema = pq.read_schema(source.root / "neighbours.parquet")
    assert [(field.name, field.type) for field in schema] == [(name, kind) for name, kind in NEIGHBOURS]


def test_metadata_of_an_index(source):
    source.train(factory=CODES)
    model = {name: MODEL[name] for name in ("name", "pretrained", "sha256")}
    trained = source.json("02/index_metadata.json")
    assert trained == {
        "factory": CODES,
        "metric": "inner_product",
        "d": D,
        "normalised": True,
        "model": model,
        "nlist": 16,
        "codes": True,
        "range": None,
        "train": {"label": "1", "drawn": True, "shards": source.shards, "vectors": 2400, "expected": 2400},
    }
    source.add()
    source.merge()
    offsets = [("00000", 0, 700), ("00001", 700, 500), ("00064", 1200, 0), ("00128", 1200, 900), ("00130", 2100, 300)]
    assert source.json("04/index_metadata.json") == trained | {
        "rows": 2400,
        "images": 234 + 167 + 300 + 100,
        "untagged": 0,
        "tag_images": {"straße ☂": 801, "thing 2": 799, "thing 0": 1, "thing 1": 1},
        "nprobe": source.json("04/recall.json")["nprobe"],
        "rerank": 200,
        "warnings": [],
        "shards": [{"shard": shard, "offset": offset, "rows": rows} for shard, offset, rows in offsets],
    }


def test_the_range_of_an_automatic_factory_is_noted_and_leaving_it_is_said(source, monkeypatch):
    source.train()
    assert source.json("02/index_metadata.json")["range"] == [0, 50_000]
    assert source.json("02/index_metadata.json")["factory"] == "Flat"
    path = source.root / "02/index_metadata.json"
    path.write_text(json.dumps(source.json("02/index_metadata.json") | {"range": [0, 2400]}))
    source.add()
    log = source.merge()
    (warning,) = source.json("04/index_metadata.json")["warnings"]
    assert "holds 2,400 segments" in warning
    assert warning in log


def test_what_is_expected_of_all_shards_chooses_the_factory(source):
    source.shards = source.shards[:2]
    source.train_settings["shards"] = source.shards
    params = {"train": source.train_settings, "model": source.model, "shards": 100}
    names = {"index": "02/trained.faiss", "metadata": "02/index_metadata.json", "queries": "02/queries.parquet"}
    output = {name: source.path(path) for name, path in names.items()}
    given = {"blocks": [str(source.blocks["0000"])]}
    with pytest.raises(StepError, match=r"IVF1024,Flat needs 39,936 segments .* the 2 shards to train on hold 1,200; .*: IVF16,Flat"):
        source.start(train_index, given, output, params)
    assert not (source.root / "02/trained.faiss").exists()


# ---- training ----


@pytest.mark.parametrize("factory", ["IVF16,Flat", CODES, "PCA16,IVF4,SQ8"])
def test_training_again_gives_the_same_bytes(source, factory):
    files = [source.root / "02" / name for name in ("trained.faiss", "index_metadata.json", "queries.parquet")]
    source.train(factory=factory)
    first = [path.read_bytes() for path in files]
    source.train()
    assert [path.read_bytes() for path in files] == first


def test_another_label_trains_on_another_sample(source):
    files = [source.root / "02/trained.faiss", source.root / "02/queries.parquet"]
    source.train(factory="IVF16,Flat")
    first = [path.read_bytes() for path in files]
    assert source.json("02/index_metadata.json")["train"]["vectors"] == 64 * 16
    source.train(train_label="2")
    assert all(path.read_bytes() != before for path, before in zip(files, first, strict=True))


def test_queries_bring_vectors_and_model(source):
    source.train()
    path = source.root / "02/queries.parquet"
    assert tables.about(path) == {"d": D, "model": MODEL}
    assert pq.read_schema(path).names == [name for name, _ in QUERIES]
    queries = Queries.read(path)
    rows = tables.read(path)
    assert len(rows) == 1000
    for row, vector in list(zip(rows, queries.vectors, strict=True))[::97]:
        assert (np.load(source.folder / f"embeddings/embeddings_{row['shard']}.npy")[row["row"]] == vector).all()


@pytest.mark.parametrize(
    ("factory", "text"),
    [
        ("nonsense", r"autotag\.faiss\.factory: nonsense: FAISS makes no such index"),
        ("PQ7x8", r"autotag\.faiss\.factory: PQ7x8: FAISS makes no such index of 32 dimensions"),
        ("HNSW32", r"autotag\.faiss\.factory: HNSW32: such an index cannot be put together"),
        ("IVF16,PQ8x4fs", r"cannot be put together from parts"),
        ("IVF64,Flat", r"IVF64,Flat needs 2,496 segments to train on, and the 5 shards to train on hold 2,400; .*: IVF32,Flat"),
        ("IVF16,PQ4x8np", r"needs 9,984 segments"),
    ],
)
def test_factories_that_do_not_work_are_refused_before_training(source, factory, text):
    with pytest.raises(StepError, match=text):
        source.train(factory=factory)
    assert not (source.root / "02/trained.faiss").exists()


def test_a_source_of_another_model_or_without_segments_is_refused(tmp_path):
    source = Source(tmp_path, {"0000": {"00000": 0}})
    with pytest.raises(StepError, match="there is no segment in these shards"):
        source.train()
    source.model["sha256"] = "12" * 32
    with pytest.raises(StepError, match=r"autotag\.clip is tiny"):
        source.train()


def test_blocks_of_two_models_are_refused(source):
    source.blocks["0002"] = source.write("0002", BLOCKS["0002"], sha256="12" * 32)
    with pytest.raises(StepError, match="embedded by 2 models"):
        source.train()


@pytest.mark.parametrize(
    ("factory", "kind"),
    [
        ("Flat", Kind(32, 0, codes=False, row_bytes=128, fewest=0, enough=0)),
        ("IVF64,Flat", Kind(32, 64, codes=False, row_bytes=136, fewest=39 * 64, enough=64 * 64)),
        ("IVF16,SQ8", Kind(32, 16, codes=True, row_bytes=40, fewest=39 * 16, enough=64 * 256)),
        ("PCA16,IVF4,Flat", Kind(32, 4, codes=True, row_bytes=72, fewest=39 * 4, enough=64 * 256)),
        ("OPQ4,IVF16,PQ4x8np", Kind(32, 16, codes=True, row_bytes=12, fewest=39 * 256, enough=64 * 256)),
        ("PQ4x4np", Kind(32, 0, codes=True, row_bytes=2, fewest=39 * 16, enough=64 * 256)),
    ],
)
def test_what_an_index_is_like(factory, kind):
    assert Kind.of(make(factory, D)) == kind


# ---- blocks ----


def test_a_block_holds_its_vectors_numbered_from_0(source):
    source.train()
    source.add()
    index = faiss.read_index(source.path("03/block_0002.faiss"))
    vectors = np.concatenate([np.load(source.folder / f"embeddings/embeddings_{shard}.npy") for shard in ("00128", "00130")])
    assert (index.reconstruct_n(0, 1200) == vectors.astype(np.float32)).all()
    assert faiss.read_index(source.path("03/block_0001.faiss")).ntotal == 0


def test_the_exact_neighbours_of_a_block_leave_out_the_querys_own_image(source):
    source.train()
    source.add()
    rows = tables.read(source.root / "03/block_0000_exact.parquet")
    queries, vectors = tables.read(source.root / "02/queries.parquet"), source.vectors()[:1200]
    contents = [row["sha256"] for shard, count in BLOCKS["0000"].items() for row in segment_rows(shard, count)]
    assert len(rows) == 1000 * TOP
    own = next(number for number, query in enumerate(queries) if query["shard"] == "00000")
    for number in (own, 999):
        wanted = brute(Queries.read(source.root / "02/queries.parquet").vectors[[number]], vectors, 1200)[0]
        wanted = [(row, cosine) for row, cosine in wanted if contents[row] != queries[number]["sha256"]][:TOP]
        assert [(row["id"], row["similarity"]) for row in rows if row["query"] == number] == wanted
    assert tables.read(source.root / "03/block_0001_exact.parquet") == []


def test_a_block_of_another_model_is_refused(source):
    source.train()
    source.blocks = {"0002": source.write("0002", BLOCKS["0002"], sha256="12" * 32, name="other")}
    with pytest.raises(StepError, match=r"block 0002 was embedded by other \(12121212\), the index was trained for tiny \(abababab\)"):
        source.add()


def test_a_block_whose_vectors_are_gone_is_refused(source):
    source.train()
    (source.folder / "embeddings/embeddings_00128.npy").unlink()
    with pytest.raises(StepError, match=r"embeddings_00128\.npy: is gone"):
        source.add()
    assert not (source.root / "03/block_0002.faiss").exists()


# ---- merging ----


@pytest.mark.parametrize("factory", FACTORIES)
def test_merged_blocks_are_what_one_index_of_all_would_be(source, factory):
    source.build(factory)
    whole = faiss.read_index(source.path("02/trained.faiss"))
    for shard in source.shards:  # one by one: a matrix of another size may round otherwise before vectors become codes
        whole.add(np.load(source.folder / f"embeddings/embeddings_{shard}.npy").astype(np.float32))
    merged = core.read(source.root / "04/index.faiss")
    queries = clustered(50, D, 7).astype(np.float32)
    for index in (whole, merged):
        if Kind.of(index).lists:
            core.look_through(index, 3)
    for ours, wanted in zip(merged.search(queries, 20), whole.search(queries, 20), strict=True):
        assert (ours == wanted).all()


@pytest.mark.parametrize("factory", FACTORIES)
def test_lists_on_disk_give_the_same_results_wherever_they_are_moved(source, factory):
    source.build(factory)
    source.target(clustered(100, D, 7))
    source.search()
    kept = ["id_to_tags.parquet", "id_to_tags.json", "index_metadata.json", "recall.json"]
    before = [(source.root / "04" / name).read_bytes() for name in kept]
    source.machine["on_disk_gb"] = 0.0
    source.merge()
    lists = source.root / "04/index.ivfdata"
    assert lists.is_file() == factory.startswith(("IVF", "PCA"))
    assert [(source.root / "04" / name).read_bytes() for name in kept] == before
    (source.root / "04").rename(source.root / "moved")
    source.search("moved", "from_disk.parquet")
    assert (source.root / "from_disk.parquet").read_bytes() == (source.root / "neighbours.parquet").read_bytes()


def test_an_index_in_memory_leaves_no_lists_of_an_older_one(source):
    source.machine["on_disk_gb"] = 0.0
    source.build("IVF16,Flat")
    assert core.lists_on_disk(core.read(source.root / "04/index.faiss")) is not None
    source.machine["on_disk_gb"] = 32.0
    source.merge()
    assert not (source.root / "04/index.ivfdata").exists()
    assert core.lists_on_disk(core.read(source.root / "04/index.faiss")) is None
    assert core.read(source.root / "04/index.faiss").ntotal == 2400


def test_an_index_that_was_moved_without_its_lists_is_refused(source):
    source.machine["on_disk_gb"] = 0.0
    source.build("IVF16,Flat")
    (source.root / "04/index.ivfdata").unlink()
    for mapped in (False, True):
        with pytest.raises(StepError, match=r"index\.faiss: FAISS cannot read it: .*index\.ivfdata.*No such file"):
            core.read(source.root / "04/index.faiss", mapped=mapped)


def test_a_file_that_is_no_index_is_refused(tmp_path):
    (tmp_path / "index.faiss").write_bytes(b"nothing of the kind")
    with pytest.raises(StepError, match=r"index\.faiss: FAISS cannot read it"):
        core.read(tmp_path / "index.faiss")


def test_a_block_index_that_lacks_rows_is_named(copied):
    shutil.copy(copied.root / "03/block_0001.faiss", copied.root / "03/block_0002.faiss")
    with pytest.raises(StepError, match=r"block_0002\.faiss: holds 0 rows, its block 1200; delete it"):
        copied.merge()
    assert not (copied.root / "04/index.faiss").exists()


def test_block_indexes_of_two_trainings_are_refused(copied):
    other = make("IVF8,PQ8x4np", D)
    other.train(clustered(1000, D).astype(np.float32))
    faiss.write_index(other, copied.path("03/block_0002.faiss"))
    with pytest.raises(StepError, match="the blocks do not fit each other"):
        copied.merge()


def test_blocks_of_another_model_than_the_trained_are_refused(copied):
    copied.blocks = {block: copied.write(block, shards, sha256="12" * 32) for block, shards in BLOCKS.items()}
    with pytest.raises(StepError, match=r"the blocks were embedded by tiny \(12121212\), the index was trained for tiny \(abababab\)"):
        copied.merge()


# ---- recall ----


def test_recall_is_that_of_comparing_all(copied):
    copied.search_settings |= {"nprobe": 2, "rerank": 0}
    copied.merge()
    found = copied.json("04/recall.json")
    queries = Queries.read(copied.root / "02/queries.parquet")
    vectors = copied.vectors()
    contents = [row["sha256"] for shards in BLOCKS.values() for shard, count in shards.items() for row in segment_rows(shard, count)]
    own = tables.read(copied.root / "02/queries.parquet", "sha256")
    index = core.read(copied.root / "04/index.faiss")
    core.look_through(index, 2)
    hits, alone = [], []
    for number, proposed in enumerate(core.search(index, queries.vectors, 2400)):
        others = [row for row in proposed.tolist() if row >= 0 and contents[row] != own[number]["sha256"]][:50]
        cosines = dict(brute(queries.vectors[[number]], vectors, 2400)[0])
        exact = [row for row in cosines if contents[row] != own[number]["sha256"]][:10]
        best = sorted(others, key=lambda row: (-cosines[row], row))[:10]
        hits.append(len(set(best) & set(exact)) / 10)
        alone.append(len(set(others[:10]) & set(exact)) / 10)
    assert found["recall"] == round(float(np.mean(hits)), 6)
    assert found["without_rerank"] == round(float(np.mean(alone)), 6)
    assert found["by_nprobe"] == {"2": found["recall"]}
    assert (found["nprobe"], found["rerank"], found["candidates"], found["queries"]) == (2, 0, 50, 1000)
    assert found["without_rerank"] < found["recall"] < 1


def test_nprobe_is_the_smallest_that_reaches_the_goal(copied):
    copied.search_settings["rerank"] = 0
    copied.merge()
    found = copied.json("04/recall.json")
    tried = {int(nprobe): recall for nprobe, recall in found["by_nprobe"].items()}
    if found["reached"]:
        assert max(tried) == found["nprobe"]
        assert all(recall < 0.9 for nprobe, recall in tried.items() if nprobe < found["nprobe"])
    else:
        assert list(tried) == [1, 2, 4, 8, 16]
        assert tried[found["nprobe"]] == max(tried.values())
        (warning,) = found["warnings"]
        assert "below 0.9" in warning


def test_a_source_of_one_image_has_no_recall(tmp_path):
    source = Source(tmp_path, {"0000": {"00000": 0}})
    vectors, rows = clustered(5, D), segment_rows("00000", 5, per_image=5)
    source.blocks["0000"] = write_block(source.folder, "0000", [write_shard(source.folder, "00000", vectors, rows)], D)
    source.build()
    found = source.json("04/recall.json")
    assert (found["recall"], found["reached"], found["queries_without"]) == (None, False, 5)
    assert "not measured" in found["warnings"][0]


# ---- searching ----


def test_candidates_of_codes_get_exact_cosines_in_the_order_of_these(built):
    rows = tables.read(built.root / "neighbours.parquet")
    queries, vectors = np.load(built.root / "target.npy"), built.vectors()
    exact = brute(queries, vectors, 2400)
    same = 0
    for crop in range(100):
        found = found_of(rows, str(crop))
        cosines = dict(exact[crop])
        assert [similarity for _, similarity in found] == [written(cosines[row]) for row, _ in found]
        order = [(-cosines[row], row) for row, _ in found]
        assert order == sorted(order)
        same += len({row for row, _ in found[:10]} & {row for row, _ in exact[crop][:10]})
    assert same / 1000 > 0.9


@pytest.mark.parametrize("machine", [{"batch": 1}, {"batch": 33}, {"batch": 20_000}, {"threads": 2}, {"threads": 5}, {"gpu": "cpu"}])
def test_batches_and_threads_leave_no_trace(built, machine, monkeypatch):
    monkeypatch.setattr(built, "machine", built.machine | machine)
    built.search(name="again.parquet")
    assert (built.root / "again.parquet").read_bytes() == (built.root / "neighbours.parquet").read_bytes()


def test_more_neighbours_may_be_asked_for_than_there_are(tmp_path):
    source = Source(tmp_path, {"0000": {"00000": 20}})
    source.search_settings["k_max"] = 100
    source.build()
    source.target(clustered(3, D, 7))
    assert len(source.search()) == 60


def test_a_target_without_crops_has_no_neighbours(built):
    built.target(np.empty((0, D), np.float16))
    try:
        assert built.search(name="none.parquet") == []
        assert pq.read_schema(built.root / "none.parquet").names == [name for name, _ in NEIGHBOURS]
    finally:
        built.target(clustered(100, D, 7))


def test_settings_of_the_search_count_over_what_was_measured(built, monkeypatch):
    monkeypatch.setattr(built, "search_settings", {"k_max": 5, "nprobe": 16, "rerank": 1000})
    rows = built.search(name="deep.parquet")
    exact = brute(np.load(built.root / "target.npy"), built.vectors(), 5)
    assert [found_of(rows, str(crop)) for crop in range(100)] == [[(row, written(cosine)) for row, cosine in of_one] for of_one in exact]
    assert tables.about(built.root / "deep.parquet") == {"k_max": 5, "nprobe": 16, "rerank": 1000}


def test_crops_of_another_model_are_refused(copied):
    copied.target(clustered(3, D), sha256="12" * 32, name="other")
    with pytest.raises(StepError, match=r"embedded by other \(12121212, 32 numbers\), the index was made for tiny \(abababab, 32\)"):
        copied.search()


def test_crops_of_other_dimensions_are_refused(copied):
    path = copied.root / "target.parquet"
    tables.write(path, TARGET_CROPS, tables.read(path), {"embedding": {"model": MODEL, "d": 48}})
    with pytest.raises(StepError, match="48 numbers"):
        copied.search()
    tables.write(path, TARGET_CROPS, tables.read(path), {"embedding": {"model": MODEL, "d": D}})
    np.save(copied.root / "target.npy", clustered(100, 48))
    with pytest.raises(StepError, match=r"target\.npy: holds \(100, 48\), for 100 crops of 32 numbers"):
        copied.search()


def test_stored_vectors_that_are_gone_are_named(copied):
    (copied.folder / "embeddings/embeddings_00128.npy").unlink()
    with pytest.raises(StepError, match=r"the vectors of shard 00128 are gone"):
        copied.search()


def test_an_index_that_its_metadata_does_not_describe_is_refused(copied):
    shutil.copy(copied.root / "03/block_0002.faiss", copied.root / "04/index.faiss")
    with pytest.raises(StepError, match=r"index\.faiss: is not the index that .*index_metadata\.json describes"):
        copied.search()


# ---- GPUs, of which there may be none here ----

without_gpu = pytest.mark.skipif(index_gpu.has_gpu(), reason="there is a GPU")


@without_gpu
@pytest.mark.parametrize("gpu", ["replicate", "shard"])
@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
def test_asking_for_a_gpu_without_one_is_an_error(copied, gpu, device):
    copied.machine |= {"gpu": gpu, "device": device}
    with pytest.raises(StepError, match=f"gpu: {gpu} was asked for, and this FAISS finds no GPU here"):
        copied.search()


def test_auto_takes_gpus_where_there_are_some_and_they_may_be_used(monkeypatch):
    assert index_gpu.resolve("cpu", "auto") == "cpu"
    assert index_gpu.resolve("auto", "cpu") == "cpu"
    monkeypatch.setattr(index_gpu, "has_gpu", lambda: True)
    assert index_gpu.resolve("auto", "auto") == "replicate"
    assert index_gpu.resolve("auto", "cpu") == "cpu"
    assert index_gpu.resolve("cpu", "cuda") == "cpu"
    assert index_gpu.resolve("shard", "cpu") == "shard"


def test_lists_on_disk_stay_with_the_cpu(source, monkeypatch, caplog):
    source.machine["on_disk_gb"] = 0.0
    source.build("IVF16,Flat")
    monkeypatch.setattr(index_gpu, "has_gpu", lambda: True)
    path = source.root / "04/index.faiss"
    with pytest.raises(StepError, match=r"gpu: shard: the lists of this index stay on disk, and no GPU can read them there"):
        index_gpu.open_index(path, 4, "shard", "auto")
    ours = logging.getLogger("darkroom")
    ours.addHandler(caplog.handler)  # a step takes those of the root away
    index = index_gpu.open_index(path, 4, "auto", "auto")
    ours.removeHandler(caplog.handler)
    assert "searching on the CPU: gpu: replicate: the lists of this index stay on disk" in caplog.text
    assert index.nprobe == 4
    assert core.search(index, source.vectors()[:1], 1).tolist() == [[0]]


@pytest.mark.parametrize("gpu", ["replicate", "shard"] if index_gpu.has_gpu() else ["auto"])
@pytest.mark.parametrize("factory", ["Flat", "IVF16,Flat", "IVF16,SQ8"])
def test_gpus_find_what_the_cpu_finds(source, gpu, factory):
    source.build(factory)
    source.target(clustered(100, D, 7))
    wanted = source.search()
    source.machine |= {"gpu": gpu, "device": "auto"}
    assert source.search(name="gpu.parquet") == wanted


# ---- the bench ----


def test_the_bench_runs(capsys):
    bench.main(["--shards", "3", "--rows", "200", "--dim", "64", "--queries", "50", "--block-shards", "2", "--factory", "IVF4,SQ8"])
    text = capsys.readouterr().out
    assert "600 vectors of 64 in 3 shards, 2 blocks; 50 queries" in text
    figures = json.loads(text.splitlines()[-1])["figures"]
    assert list(figures) == ["train", "add", "merge", "search", "compare"]
    assert figures["search"]["neighbours"] == 2500
    assert all(figure["seconds"] > 0 and figure["memory_gb"] > 0 for figure in figures.values())
