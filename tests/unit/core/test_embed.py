"""The flow from listed objects to vectors, with a stand-in for the model: order, cache, errors, bounds."""

import io
import math
import os
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.core import clip
from workflow_scripts.core import embed as embed_module
from workflow_scripts.core.embed import Embedder
from workflow_scripts.core.images import OUT_OF_MEMORY, DecodeError, content_hash
from workflow_scripts.core.models import ModelCard
from workflow_scripts.core.storage import FolderStorage, StorageError

SIDE = 8
PREPROCESS = {"size": SIDE, "resize_mode": "shortest", "interpolation": "bicubic", "fill_color": 0, "mean": [0.5] * 3, "std": [0.5] * 3}
CARD = ModelCard("toy", "toy.pt", "toy", "toy.pt", 1, "ab" * 32, {"width": 1}, PREPROCESS)
NO_VECTOR = (1, 2, 3)  # the colour for which the stand-in gives no finite vector


class Encoder:
    """Stands in for the model: a view's vector is its mean colour, normalised unless told otherwise."""

    built: ClassVar[list] = []

    def __init__(self, card, *, device, precision, batch, threads, normalise):
        self.batch = clip.AUTO_BATCH[device] if batch == "auto" else batch
        self.forwards, self.calls, self.normalise = 0, [], normalise
        Encoder.built.append(self)

    def encode(self, pixels):
        assert pixels.dtype == np.uint8
        assert pixels.shape[1:] == (SIDE, SIDE, 3)
        self.calls.append(len(pixels))
        self.forwards += math.ceil(len(pixels) / self.batch)
        means = pixels.mean(axis=(1, 2))
        lengths = np.linalg.norm(means, axis=1, keepdims=True) if self.normalise else 1
        vectors = (means / lengths).astype(np.float32)
        vectors[(np.round(means) == NO_VECTOR).all(axis=1)] = np.nan
        return vectors


class Folder(FolderStorage):
    """Counts reads."""

    def __init__(self, root):
        super().__init__(root)
        self.reads = []

    def read(self, item):
        self.reads.append(item.key)
        return super().read(item)


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch):
    monkeypatch.setattr(clip, "ImageEncoder", Encoder)
    monkeypatch.setattr(clip, "resolve_device", lambda device: ("cpu", "fp32"))
    Encoder.built = []


def vector_of(*colours):
    found = np.array(colours, dtype=np.float64)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float16)


def png(colour, size=(12, 12)):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def colour(number):
    return (10 + number * 3 % 240, 10 + number * 7 % 240, 10 + number * 11 % 240)


class Flow:
    """A source folder, a cache, and embedders over them."""

    def __init__(self, root):
        self.source, self.cache = root / "source", root / "cache"
        self.source.mkdir()

    def put(self, key, data):
        path = self.source / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def run(self, *, keys=None, **options):
        """Results by key, the counts, and the keys that were read."""
        defaults = {"views": "center", "decode_mode": "full", "max_pixels": 10_000, "device": "cpu", "batch": 4, "threads": 3}
        embedder = Embedder(CARD, cache_root=str(self.cache), **(defaults | options))
        storage = Folder(self.source)
        items = [item for item in storage.list() if keys is None or item.key in keys]
        results = list(embedder.embed(items, storage))
        assert [result.item for result in results] == items
        assert all((result.vectors is None) == (result.error is not None) for result in results)
        return {result.item.key: result for result in results}, dict(embedder.counts), storage.reads


@pytest.fixture
def flow(tmp_path):
    return Flow(tmp_path)


def assert_vectors(result, *colours):
    assert result.error is None
    assert result.vectors.dtype == np.float16
    np.testing.assert_allclose(result.vectors.astype(np.float64), vector_of(*colours).astype(np.float64), atol=2e-3)


# ---- the flow ----


@pytest.mark.parametrize("batch", [1, 4, 100, "auto"])
@pytest.mark.parametrize("threads", [1, 5])
def test_results_keep_the_order_of_the_items(flow, monkeypatch, batch, threads):
    monkeypatch.setitem(clip.AUTO_BATCH, "cpu", 4)
    for number in range(23):
        data = b"no image" if number % 5 == 0 else png(colour(number), (10 + number, 20))
        flow.put(f"{number:02}.png", data)
    found, counts, reads = flow.run(batch=batch, threads=threads)
    for number, result in enumerate(found.values()):
        if number % 5 == 0:
            assert (result.error, result.width, result.height) == ("decode: not an image", None, None)
            assert result.sha256 == content_hash(b"no image")
        else:
            assert_vectors(result, colour(number))
            assert (result.width, result.height) == (10 + number, 20)
    assert sorted(reads) == list(found)
    assert counts | {"forwards": 0} == {"known": 0, "read": 23, "decoded": 18, "encoded": 18, "forwards": 0, "errors": 5}


def test_batches_are_full_and_only_the_last_is_not(flow):
    for number in range(10):
        flow.put(f"{number}.png", png(colour(number)))
    _, counts, _ = flow.run(batch=4)
    assert [encoder.calls for encoder in Encoder.built] == [[4, 4, 2]]
    assert counts["forwards"] == 3


def test_copies_take_no_room_in_a_batch(flow):
    for number, name in enumerate("aaaabcacde"):
        flow.put(f"{number}.png", png(colour(ord(name) % 32)))
    found, _, _ = flow.run(batch=4, threads=1)
    assert Encoder.built[0].calls == [4, 1]
    for result, name in zip(found.values(), "aaaabcacde", strict=True):
        assert_vectors(result, colour(ord(name) % 32))


def test_a_content_is_encoded_once_however_often_it_comes(flow):
    for number in range(40):  # copies in the same batch, in the next, and much later
        flow.put(f"{number:02}.png", png(colour(number % 3 if number % 2 else 100 + number)))
    found, counts, reads = flow.run(batch=4)
    assert len(reads) == 40
    assert counts["encoded"] == 3 + 20
    assert sum(Encoder.built[0].calls) == 3 + 20
    for number, result in enumerate(found.values()):
        assert_vectors(result, colour(number % 3 if number % 2 else 100 + number))
    flow.put("later/copy.png", png(colour(1)))
    found, counts, reads = flow.run()
    assert_vectors(found["later/copy.png"], colour(1))
    assert (reads, counts["encoded"], len(Encoder.built)) == (["later/copy.png"], 0, 1)


def test_copies_of_one_image_only(flow):
    for number in range(200):  # more than wait for one batch
        flow.put(f"{number:03}.png", png((9, 8, 7)))
    found, counts, _ = flow.run(batch=2)
    assert counts["encoded"] == 1
    assert len(found) == 200
    for result in found.values():
        assert_vectors(result, (9, 8, 7))


def test_a_second_run_reads_nothing_and_loads_no_model(flow):
    for number in range(6):
        flow.put(f"{number}.png", png(colour(number)))
    flow.put("broken.png", png((5, 5, 5))[:40])
    first, *_ = flow.run()
    second, counts, reads = flow.run()
    assert reads == []
    assert len(Encoder.built) == 1
    assert counts == {"known": 7, "read": 0, "decoded": 0, "encoded": 0, "forwards": 0, "errors": 1}
    for key, result in first.items():
        again = second[key]
        assert (again.sha256, again.width, again.height, again.error) == (result.sha256, result.width, result.height, result.error)
        np.testing.assert_array_equal(again.vectors, result.vectors)


def test_a_new_file_is_one_read_and_one_image_encoded(flow):
    for number in range(6):
        flow.put(f"{number}.png", png(colour(number)))
    flow.run()
    flow.put("2b.png", png(colour(77)))
    found, counts, reads = flow.run()
    assert reads == ["2b.png"]
    assert Encoder.built[1].calls == [1]
    assert counts == {"known": 6, "read": 1, "decoded": 1, "encoded": 1, "forwards": 1, "errors": 0}
    assert_vectors(found["2b.png"], colour(77))


def test_a_touched_file_is_read_again_and_a_changed_one_encoded(flow):
    for number in range(3):
        flow.put(f"{number}.png", png(colour(number)))
    flow.run()
    (flow.source / "0.png").touch()
    flow.put("1.png", png(colour(50)))
    found, counts, reads = flow.run()
    assert sorted(reads) == ["0.png", "1.png"]
    assert counts["encoded"] == 1
    assert_vectors(found["0.png"], colour(0))
    assert_vectors(found["1.png"], colour(50))


def test_a_file_of_the_same_time_but_another_size_is_read_again(flow):
    flow.put("0.png", png(colour(0)))
    flow.run()
    status = (flow.source / "0.png").stat()
    flow.put("0.png", png(colour(1), (13, 31)))
    os.utime(flow.source / "0.png", ns=(status.st_mtime_ns, status.st_mtime_ns))
    found, _, reads = flow.run()
    assert reads == ["0.png"]
    assert_vectors(found["0.png"], colour(1))


def test_the_same_files_moved_are_read_and_not_encoded(flow):
    flow.put("0.png", png(colour(0)))
    flow.run()
    flow.source.rename(flow.source.with_name("moved"))
    flow.source = flow.source.with_name("moved")
    found, counts, reads = flow.run()
    assert (reads, counts["encoded"], len(Encoder.built)) == (["0.png"], 0, 1)
    assert_vectors(found["0.png"], colour(0))


@pytest.mark.parametrize("options", [{"views": "pad"}, {"decode_mode": "scaled"}])
def test_another_preprocessing_takes_no_vectors_of_this_one(flow, options):
    flow.put("0.png", png(colour(0)))
    flow.run()
    _, counts, _ = flow.run(**options)
    assert (counts["encoded"], len(Encoder.built)) == (1, 2)


# ---- errors ----


def test_errors_are_results(flow):
    flow.put("a-empty.png", b"")
    flow.put("b-cut.png", png((5, 6, 7), (50, 50))[:60])
    flow.put("c-good.png", png((5, 6, 7)))
    flow.put("d-gone.png", png((7, 7, 7)))
    flow.put("e-text.png", b"hello")
    storage = Folder(flow.source)
    items = list(storage.list())
    (flow.source / "d-gone.png").unlink()
    flow.put("c-good.png", png((5, 6, 8)))
    embedder = Embedder(
        CARD, cache_root=str(flow.cache), views="center", decode_mode="full", max_pixels=10_000, device="cpu", batch=4, threads=2
    )
    results = {result.item.key: result for result in embedder.embed(items, storage)}
    assert {key: result.error for key, result in results.items()} == {
        "a-empty.png": "decode: empty file",
        "b-cut.png": "decode: truncated",
        "c-good.png": "download: changed since listing",
        "d-gone.png": "download: no such file or directory",
        "e-text.png": "decode: not an image",
    }
    assert results["d-gone.png"].sha256 is None
    assert results["a-empty.png"].sha256 == content_hash(b"")
    assert embedder.counts["errors"] == 5
    assert Encoder.built == []


def test_an_unreadable_file_is_tried_again_and_a_broken_one_is_not(flow, monkeypatch):
    flow.put("broken.png", b"hello")
    flow.put("locked.png", png((5, 6, 7)))
    plain = FolderStorage.read

    def locked(self, item):
        if item.key == "locked.png":
            raise StorageError("permission denied")
        return plain(self, item)

    with monkeypatch.context() as patch:
        patch.setattr(FolderStorage, "read", locked)
        found, _, _ = flow.run()
    assert found["locked.png"].error == "download: permission denied"
    found, counts, reads = flow.run()
    assert (reads, counts["known"]) == (["locked.png"], 1)
    assert_vectors(found["locked.png"], (5, 6, 7))
    assert found["broken.png"].error == "decode: not an image"


def test_max_pixels(flow):
    flow.put("big.png", png((5, 6, 7), (30, 30)))
    flow.put("small.png", png((50, 6, 7), (29, 31)))
    found, _, _ = flow.run(max_pixels=899)
    assert found["big.png"].error == "decode: too large"
    assert found["small.png"].error is None
    found, _, reads = flow.run(max_pixels=900)
    assert sorted(reads) == ["big.png", "small.png"]  # the old error belongs to the old limit
    assert_vectors(found["big.png"], (5, 6, 7))
    found, _, _ = flow.run(max_pixels=899)
    assert found["big.png"].error == "decode: too large"  # although its vector is known now
    found, _, _ = flow.run(max_pixels=898)
    assert [result.error for result in found.values()] == ["decode: too large"] * 2


def test_a_vector_that_is_not_finite_is_an_error_and_is_not_kept(flow):
    for key in ("0.png", "1.png", "3.png"):
        flow.put(key, png(NO_VECTOR))
    flow.put("2.png", png((5, 6, 7)))
    found, counts, _ = flow.run(batch=2)
    assert [result.error for result in found.values()] == ["embed: the model gave no finite vector"] * 2 + [None] + [
        "embed: the model gave no finite vector"
    ]
    assert_vectors(found["2.png"], (5, 6, 7))
    assert counts["errors"] == 3
    _, counts, reads = flow.run()
    assert sorted(reads) == ["0.png", "1.png", "3.png"]
    assert counts["encoded"] == 1


def test_a_failing_model_stops_the_step_and_keeps_what_was_done(flow, monkeypatch):
    for number in range(12):
        flow.put(f"{number:02}.png", png(colour(number)))
    plain = Encoder.encode

    def second_batch_fails(self, pixels):
        if self.calls:
            raise RuntimeError("CUDA error")
        return plain(self, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "encode", second_batch_fails)
        with pytest.raises(RuntimeError, match="CUDA error"):
            flow.run(batch=4)
    _, counts, reads = flow.run(batch=4)
    assert sorted(reads) == [f"{number:02}.png" for number in range(4, 12)]
    assert (counts["known"], counts["encoded"]) == (4, 8)


def test_a_consumer_that_stops_early_keeps_what_was_done(flow):
    for number in range(60):
        flow.put(f"{number:02}.png", png(colour(number)))
    embedder = Embedder(
        CARD, cache_root=str(flow.cache), views="center", decode_mode="full", max_pixels=10_000, device="cpu", batch=4, threads=2
    )
    storage = Folder(flow.source)
    results = embedder.embed(list(storage.list()), storage)
    assert [next(results).item.key for _ in range(5)] == ["00.png", "01.png", "02.png", "03.png", "04.png"]
    results.close()
    # Results ahead of the consumer: a batch, 2 batches and threads decoded, 2 reads a thread fetched.
    assert len(storage.reads) <= 5 + 4 + 2 * 4 + 2 + 2 * storage.reads_at_once
    _, counts, _ = flow.run()
    assert counts["known"] >= 5


# ---- views ----


@pytest.mark.parametrize(
    ("size", "views"), [((16, 16), 1), ((17, 16), 2), ((32, 16), 2), ((33, 16), 3), ((160, 16), 3), ((16, 33), 3), ((16, 32), 2)]
)
def test_tiles_give_several_views(flow, size, views):
    image = Image.new("RGB", size, (200, 10, 10))
    second_half = (size[0] // 2, 0, *size) if size[0] > size[1] else (0, size[1] // 2, *size)
    image.paste((10, 10, 200), second_half)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    flow.put("0.png", buffer.getvalue())
    flow.put("1.png", png((5, 6, 7), (16, 16)))
    for _ in range(2):
        found, counts, _ = flow.run(views="tiles")
        assert found["0.png"].vectors.shape == (views, 3)
        assert_vectors(found["1.png"], (5, 6, 7))
        if views > 1:
            first, last = found["0.png"].vectors[[0, -1]].astype(float)
            assert first[0] - first[2] > last[0] - last[2]
    assert counts["known"] == 2


def test_a_view_that_is_not_finite_costs_the_image(flow):
    image = Image.new("RGB", (32, 16), NO_VECTOR)
    image.paste((200, 10, 10), (16, 0, 32, 16))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    flow.put("0.png", buffer.getvalue())
    found, _, _ = flow.run(views="tiles")
    assert found["0.png"].error == "embed: the model gave no finite vector"


def test_the_fingerprint_tells_what_a_vector_depends_on():
    base = {"views": "center", "decode": "full", "precision": "fp32"}
    changed = [base | {"views": "tiles"}, base | {"decode": "scaled"}, base | {"precision": "bf16"}, base | {"normalise": False}]
    cards = [
        ModelCard(**{**{name: getattr(CARD, name) for name in CARD.__dataclass_fields__}, **other})
        for other in ({"sha256": "cd" * 32}, {"model_cfg": {"width": 2}}, {"preprocess_cfg": PREPROCESS | {"mean": [0.4] * 3}})
    ]
    found = [clip.fingerprint(CARD, **options) for options in (base, *changed)] + [clip.fingerprint(card, **base) for card in cards]
    assert len(set(found)) == len(found)
    moved = ModelCard("other name", "/elsewhere/toy.pt", "toy", "/elsewhere/toy.pt", 1, CARD.sha256, CARD.model_cfg, PREPROCESS)
    assert clip.fingerprint(moved, **base) == clip.fingerprint(CARD, **base, normalise=True) == found[0]


def test_vectors_of_their_own_length_have_a_cache_of_their_own(flow):
    flow.put("a.png", png((30, 60, 90)))
    raw, counts, _ = flow.run(normalise=False)
    np.testing.assert_array_equal(raw["a.png"].vectors, np.array([[30, 60, 90]], np.float16))
    assert counts["encoded"] == 1
    unit, counts, _ = flow.run()
    assert_vectors(unit["a.png"], (30, 60, 90))
    assert counts["encoded"] == 1
    again, counts, _ = flow.run(normalise=False)
    np.testing.assert_array_equal(again["a.png"].vectors, raw["a.png"].vectors)
    assert (counts["known"], counts["encoded"]) == (1, 0)


def test_an_image_for_which_memory_did_not_suffice_is_read_again(flow, monkeypatch):
    flow.put("a.png", png(colour(1)))

    def no_memory(data, **options):
        raise DecodeError(OUT_OF_MEMORY)

    with monkeypatch.context() as patch:
        patch.setattr(embed_module, "decode", no_memory)
        assert flow.run()[0]["a.png"].error == "decode: out of memory"
    found, counts, _ = flow.run()
    assert (found["a.png"].error, counts["read"], counts["encoded"]) == (None, 1, 1)
