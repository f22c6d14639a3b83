"""Which index suits, how much it is trained on, and which rows are drawn for that and for the queries."""

import numpy as np
import pytest

from tests.unit.autotag.index_data import MODEL, clustered, content, segment_rows, write_block, write_shard
from workflow_scripts.autotag import sampling
from workflow_scripts.autotag.blocks import Block
from workflow_scripts.autotag.train_index import check_model, sample_size
from workflow_scripts.core.index_factory import Kind, Suited, largest, suited
from workflow_scripts.core.step import StepError

D = 16


@pytest.fixture
def shards(tmp_path):
    """Three shards of 60, 0 and 120 crops, three an image."""
    sizes = {"00003": 60, "00004": 0, "00011": 120}
    return [
        write_shard(tmp_path, name, clustered(rows, D, seed), segment_rows(name, rows)) for seed, (name, rows) in enumerate(sizes.items())
    ]


def kind(**changes):
    return Kind(**({"d": 512, "lists": 1024, "codes": False, "row_bytes": 2056, "fewest": 39 * 1024, "enough": 64 * 1024} | changes))


def train(**changes):
    return {"factory": "auto", "train_label": "1", "train_memory_gb": 16.0, "drawn": True, "shards": ["00003", "00011"]} | changes


# ---- the index that suits ----


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (0, Suited("Flat", 0, 50_000)),
        (49_999, Suited("Flat", 0, 50_000)),
        (50_000, Suited("IVF1024,Flat", 50_000, 147_456)),
        (147_455, Suited("IVF1024,Flat", 50_000, 147_456)),
        (147_456, Suited("IVF2048,Flat", 147_456, 589_824)),
        (589_824, Suited("IVF4096,Flat", 589_824, 1_000_000)),
        (999_999, Suited("IVF4096,Flat", 589_824, 1_000_000)),
        (1_000_000, Suited("OPQ64,IVF16384,PQ64x8np", 1_000_000, 10_000_000)),
        (9_999_999, Suited("OPQ64,IVF16384,PQ64x8np", 1_000_000, 10_000_000)),
        (10_000_000, Suited("OPQ64,IVF65536,PQ64x8np", 10_000_000, 300_000_000)),
        (300_000_000, Suited("OPQ64,IVF131072,PQ64x8np", 300_000_000, None)),
        (1_000_000_000, Suited("OPQ64,IVF131072,PQ64x8np", 300_000_000, None)),
    ],
)
def test_the_factory_follows_the_number_of_segments(rows, expected):
    assert suited(rows, 512) == expected


@pytest.mark.parametrize("rows", [50_000, 99_999, 147_455, 147_457, 400_000, 589_823, 589_825, 999_999])
def test_the_lists_are_the_power_of_two_nearest_to_four_roots(rows):
    nearest = min((1 << bit for bit in range(20)), key=lambda power: abs(power - 4 * rows**0.5))
    assert suited(rows, 512).factory == f"IVF{nearest},Flat"


def test_the_range_is_where_the_factory_stays_the_same():
    for rows in (0, 60_000, 200_000, 700_000, 2_000_000, 20_000_000):
        found = suited(rows, 768)
        assert suited(found.low, 768) == suited(found.high - 1, 768) == found
        assert suited(found.high, 768).factory != found.factory
        assert not found.low or suited(found.low - 1, 768).factory != found.factory


@pytest.mark.parametrize(("d", "parts"), [(512, 64), (640, 64), (768, 64), (96, 48), (100, 50), (32, 32), (97, 1)])
def test_parts_of_a_code_divide_the_dimensions(d, parts):
    assert suited(2_000_000, d).factory == f"OPQ{parts},IVF16384,PQ{parts}x8np"


@pytest.mark.parametrize(
    ("points", "factory"),
    [
        (0, "Flat"),
        (77, "Flat"),
        (78, "IVF2,Flat"),
        (39 * 1024 - 1, "IVF512,Flat"),
        (39 * 1024, "IVF1024,Flat"),
        (39 * 16_384 - 1, "IVF8192,Flat"),
        (39 * 16_384, "OPQ64,IVF16384,PQ64x8np"),
        (39 * 65_536, "OPQ64,IVF65536,PQ64x8np"),
        (10**9, "OPQ64,IVF131072,PQ64x8np"),
    ],
)
def test_the_largest_factory_that_points_are_enough_for(points, factory):
    assert largest(points, 512) == factory


# ---- how many points ----


@pytest.mark.parametrize(
    ("rows", "gb", "size"),
    [
        (10**6, 16.0, 64 * 1024),
        (50_000, 16.0, 50_000),
        (39 * 1024, 16.0, 39 * 1024),
        (10**6, 50_000 * 2048 / 1e9, 50_000),
    ],
)
def test_the_sample_is_what_is_enough_as_far_as_rows_and_memory_go(rows, gb, size):
    assert sample_size(rows, "IVF1024,Flat", kind(), train(train_memory_gb=gb)) == size


def test_an_index_without_training_takes_no_sample():
    assert sample_size(10, "Flat", kind(lists=0, fewest=0, enough=0), train()) == 0


def test_too_few_rows_name_the_largest_factory_that_fits():
    with pytest.raises(
        StepError, match=r"IVF1024,Flat needs 39,936 segments to train on, and the 2 shards to train on hold 39,935"
    ) as error:
        sample_size(39_935, "IVF1024,Flat", kind(), train())
    assert "autotag.faiss.train_shards" in str(error.value)
    assert str(error.value).endswith("for: IVF512,Flat")


def test_too_little_memory_names_its_setting():
    with pytest.raises(StepError, match=r"train_memory_gb allows 5,000; raise autotag\.faiss\.train_memory_gb.*for: IVF128,Flat"):
        sample_size(10**6, "IVF1024,Flat", kind(), train(train_memory_gb=5000 * 2048 / 1e9))


# ---- drawing ----


def test_shares_are_in_proportion_and_add_up():
    assert sampling.shares([100, 0, 300], 40) == [10, 0, 30]
    for rows in ([1, 1, 1], [7, 2, 900, 0, 13], [5]):
        for total in range(sum(rows) + 1):
            found = sampling.shares(rows, total)
            assert sum(found) == total
            assert all(share <= count and abs(share - count * total / sum(rows)) < 1 for share, count in zip(found, rows, strict=True))
    assert sampling.shares([0, 0], 0) == [0, 0]


def test_draws_depend_on_names_alone():
    first = sampling.draw(1000, 100, "autotag", "train", "1", "00003")
    assert first.tolist() == sampling.draw(1000, 100, "autotag", "train", "1", "00003").tolist()
    assert len(set(first.tolist())) == 100
    assert (np.diff(first) > 0).all()
    assert first.min() >= 0
    assert first.max() < 1000
    assert first.tolist() != sampling.draw(1000, 100, "autotag", "train", "2", "00003").tolist()
    assert first.tolist() != sampling.draw(1000, 100, "autotag", "train", "1", "00004").tolist()
    # A larger sample holds the smaller one.
    assert set(first.tolist()) < set(sampling.draw(1000, 200, "autotag", "train", "1", "00003").tolist())
    assert sampling.draw(5, 5, "x").tolist() == [0, 1, 2, 3, 4]


def test_the_numbers_drawn_are_the_same_on_every_machine():
    assert sampling.chances(3, "autotag", "train", "1", "00003").tolist() == [
        3321176959395342091,
        14728524305754762744,
        18250399416275960416,
    ]


def test_points_come_from_all_shards(tmp_path, shards):
    points = sampling.training_points(shards, tmp_path, 90, D, "1")
    assert points.shape == (90, D)
    assert points.dtype == np.float32
    stored = [shards[0].vectors(tmp_path).astype(np.float32), shards[2].vectors(tmp_path).astype(np.float32)]
    rows = [sampling.draw(60, 30, "autotag", "train", "1", "00003"), sampling.draw(120, 60, "autotag", "train", "1", "00011")]
    assert (points == np.concatenate([vectors[row] for vectors, row in zip(stored, rows, strict=True)])).all()


def test_vectors_of_another_length_are_refused(tmp_path, shards):
    with pytest.raises(StepError, match=r"embeddings_00003.npy: vectors of \(16,\) numbers, not 32"):
        sampling.training_points(shards, tmp_path, 90, 32, "1")


def test_vectors_that_are_gone_are_named(tmp_path, shards):
    (tmp_path / "embeddings/embeddings_00011.npy").unlink()
    with pytest.raises(StepError, match=r"embeddings_00011.npy: is gone"):
        sampling.training_points(shards, tmp_path, 90, D, "1")


# ---- queries ----


def test_queries_are_one_an_image_as_long_as_there_are_images(tmp_path, shards, monkeypatch):
    monkeypatch.setattr(sampling, "QUERIES", 40)
    queries = sampling.query_rows(shards, tmp_path, D, "1")
    assert len(queries) == 40
    assert len({query["sha256"] for query in queries}) == 40
    assert {query["shard"] for query in queries} == {"00003", "00011"}
    places = [(query["shard"], query["row"]) for query in queries]
    assert places == sorted(places)


def test_queries_say_where_they_come_from_and_bring_their_vector(tmp_path, shards):
    for query in sampling.query_rows(shards, tmp_path, D, "1"):
        shard = next(shard for shard in shards if shard.shard == query["shard"])
        row = segment_rows(query["shard"], shard.rows)[query["row"]]
        assert (query["crop_id"], query["sha256"]) == (row["crop_id"], row["sha256"])
        assert (query["embedding"] == shard.vectors(tmp_path)[query["row"]]).all()


def test_with_fewer_images_queries_share_them(tmp_path, shards, monkeypatch):
    monkeypatch.setattr(sampling, "QUERIES", 100)
    queries = sampling.query_rows(shards, tmp_path, D, "1")
    assert len(queries) == len({(query["shard"], query["row"]) for query in queries}) == 100
    assert len({query["sha256"] for query in queries}) == 60
    monkeypatch.setattr(sampling, "QUERIES", 1000)
    assert len(sampling.query_rows(shards, tmp_path, D, "1")) == 180


def test_an_image_of_two_shards_counts_once(tmp_path, monkeypatch):
    shards = []
    for name in ("00000", "00001"):
        rows = [row | {"sha256": content(f"{number}")} for number, row in enumerate(segment_rows(name, 50))]
        shards.append(write_shard(tmp_path, name, clustered(50, D), rows))
    monkeypatch.setattr(sampling, "QUERIES", 50)
    assert len({query["sha256"] for query in sampling.query_rows(shards, tmp_path, D, "1")}) == 50


def test_queries_come_from_all_shards_alike(tmp_path, shards, monkeypatch):
    monkeypatch.setattr(sampling, "QUERIES", 30)
    drawn = [query["shard"] for query in sampling.query_rows(shards, tmp_path, D, "1")]
    assert 4 <= drawn.count("00003") <= 16


def test_another_label_draws_other_queries(tmp_path, shards, monkeypatch):
    monkeypatch.setattr(sampling, "QUERIES", 20)
    drawn = [[(query["shard"], query["row"]) for query in sampling.query_rows(shards, tmp_path, D, label)] for label in ("1", "1", "2")]
    assert drawn[0] == drawn[1] != drawn[2]


# ---- what is refused ----


def test_the_shards_to_train_on_have_to_be_in_the_blocks(tmp_path, shards):
    block = Block.read(write_block(tmp_path, "0000", shards, D))
    assert [shard.shard for shard in sampling.chosen_shards([block], ["00011", "00003"])] == ["00003", "00011"]
    with pytest.raises(StepError, match=r"autotag.faiss.train_shards: nothing was made of these shards: 00005"):
        sampling.chosen_shards([block], ["00003", "00005"])


@pytest.mark.parametrize("changed", [{"name": "other"}, {"pretrained": "other.pt"}, {"sha256": "12" * 32}])
def test_segments_of_another_model_are_refused(changed):
    with pytest.raises(StepError, match=r"autotag\.clip is .*the segments were embedded by tiny weights\.pt \(abababab\)"):
        check_model({"model": MODEL}, MODEL | changed)


def test_a_model_without_a_pin_is_known_by_its_name():
    check_model({"model": MODEL}, MODEL)
    check_model({"model": MODEL}, MODEL | {"sha256": None})
