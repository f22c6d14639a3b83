"""What files are: sizes, hashes, errors, and that nothing that is known is read or decoded again."""

import hashlib
import io
import os

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.core import inspect as inspect_module
from workflow_scripts.core.cache import LocatorCache, ThumbnailCache, locator
from workflow_scripts.core.embeddings import digest
from workflow_scripts.core.images import DECODE_VERSION, DecodeError, content_hash, largest_file
from workflow_scripts.core.inspect import Inspector, LookCache, perceptual_hash
from workflow_scripts.core.storage import FolderStorage, Item

SMOOTH = 12  # patches across a drawn picture


class Folder(FolderStorage):
    """Counts reads."""

    def __init__(self, root):
        super().__init__(root)
        self.reads = []

    def read(self, item):
        self.reads.append(item.key)
        return super().read(item)


def drawn(name, size=(320, 240)):
    """A picture with large features, which follow from its name."""
    noise = hashlib.shake_256(str(name).encode()).digest(3 * SMOOTH * SMOOTH)
    return Image.frombytes("RGB", (SMOOTH, SMOOTH), noise).resize(size, Image.Resampling.BICUBIC)


def saved(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def distance(one, other):
    return (one ^ other).bit_count()


class Flow:
    """A source folder, a cache, and inspectors over them."""

    def __init__(self, root):
        self.source, self.cache = root / "source", root / "cache"
        self.source.mkdir()
        self.decoded = []

    def put(self, key, data):
        path = self.source / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def run(self, *, items=None, thumbnails=0, max_pixels=1_000_000, threads=3):
        """Results by key, the counts, the keys that were read, and the contents that were decoded."""
        storage = Folder(self.source)
        items = list(storage.list()) if items is None else items
        inspector = Inspector(cache_root=str(self.cache), max_pixels=max_pixels, threads=threads)
        self.decoded = []
        results = list(inspector.inspect(items, storage, thumbnails=thumbnails))
        assert [result.item for result in results] == items
        assert all((result.look is None) == (result.error is not None) for result in results)
        assert all(result.data is None and result.thumbnail is None for result in results)
        return {result.item.key: result for result in results}, dict(inspector.counts), sorted(storage.reads), list(self.decoded)


@pytest.fixture
def flow(tmp_path, monkeypatch):
    flow, plain = Flow(tmp_path), inspect_module.decode

    def counted(data, **options):
        flow.decoded.append(content_hash(data))
        return plain(data, **options)

    monkeypatch.setattr(inspect_module, "decode", counted)
    return flow


def facts(found):
    return {key: (result.sha256, result.look, result.error) for key, result in found.items()}


# ---- what is found ----


def test_an_image_has_a_content_hash_and_its_upright_size(flow):
    plain, sideways = drawn(1, (40, 30)), Image.Exif()
    sideways[0x0112] = 6
    flow.put("a.png", saved(plain))
    flow.put("b c/d.jpg", saved(plain, "JPEG", exif=sideways))
    flow.put("misnamed.txt", saved(plain, "GIF"))
    found, counts, reads, _ = flow.run()
    assert {key: (result.look.width, result.look.height) for key, result in found.items()} == {
        "a.png": (40, 30),
        "b c/d.jpg": (30, 40),
        "misnamed.txt": (40, 30),
    }
    assert all(result.sha256 == content_hash((flow.source / key).read_bytes()) for key, result in found.items())
    assert all(result.was_read for result in found.values())
    assert reads == ["a.png", "b c/d.jpg", "misnamed.txt"]
    assert counts == {"known": 0, "read": 3, "decoded": 3, "errors": 0}


def test_a_large_jpeg_has_its_full_size(flow):
    flow.put("a.jpg", saved(drawn(1, (2000, 1400)), "JPEG"))
    found, *_ = flow.run(max_pixels=3_000_000)
    assert (found["a.jpg"].look.width, found["a.jpg"].look.height) == (2000, 1400)


def test_what_cannot_be_decoded_says_why(flow):
    whole = saved(drawn(1), "JPEG")
    flow.put("cut.jpg", whole[: len(whole) // 2])
    flow.put("empty.png", b"")
    flow.put("text.jpg", b"no image")
    flow.put("large.png", saved(drawn(1, (1001, 1000))))
    flow.put("limit.png", saved(drawn(1, (1000, 1000))))
    found, counts, _, _ = flow.run()
    assert {key: result.error for key, result in found.items()} == {
        "cut.jpg": "decode: truncated",
        "empty.png": "decode: empty file",
        "large.png": "decode: too large",
        "limit.png": None,
        "text.jpg": "decode: not an image",
    }
    assert all(result.sha256 == content_hash((flow.source / key).read_bytes()) for key, result in found.items())
    assert counts == {"known": 0, "read": 5, "decoded": 1, "errors": 4}


def test_what_cannot_be_read_says_why_and_is_tried_again(flow):
    flow.put("a.png", saved(drawn(1)))
    flow.put("b.png", saved(drawn(2)))
    items = [*FolderStorage(flow.source).list(), Item("c.png", 5, "5-5", "")]
    flow.put("b.png", saved(drawn(3)))
    for _ in range(2):
        found, counts, reads, _ = flow.run(items=items)
        assert found["a.png"].error is None
        assert (found["b.png"].error, found["b.png"].sha256) == ("download: changed since listing", None)
        assert (found["c.png"].error, found["c.png"].sha256) == ("download: no such file or directory", None)
        assert counts["errors"] == 2
    assert reads == ["b.png", "c.png"]


def test_a_file_too_large_for_any_image_is_not_read(flow):
    flow.put("a.png", b"")
    os.truncate(flow.source / "a.png", largest_file(1) + 1)
    found, _, reads, _ = flow.run(max_pixels=1)
    assert (found["a.png"].error, found["a.png"].sha256, reads) == ("decode: too large", None, [])


def test_nothing_to_look_at(flow):
    assert flow.run() == ({}, {"known": 0, "read": 0, "decoded": 0, "errors": 0}, [], [])


# ---- order, threads, cache ----


@pytest.fixture
def mixed(flow):
    """Images, copies and errors; gives the flow."""
    for number in range(23):
        data = b"no image" if number % 7 == 3 else saved(drawn(number // 2, (20 + number // 2, 30)))
        flow.put(f"{'b/' if number % 3 else ''}{number:02}.png", data)
    return flow


@pytest.mark.parametrize("threads", [1, 4])
def test_results_depend_on_no_thread_and_no_cache(mixed, threads, tmp_path):
    wanted, *_ = mixed.run(threads=2)
    mixed.cache = tmp_path / "another"
    cold, counts, reads, _ = mixed.run(threads=threads)
    warm, counts_warm, reads_warm, decoded_warm = mixed.run(threads=threads)
    assert facts(cold) == facts(wanted)
    assert facts(warm) == facts(wanted)
    assert list(cold) == list(warm) == list(wanted)
    assert (counts["known"], counts["read"], counts["errors"], reads) == (0, 23, 3, sorted(wanted))
    assert counts_warm == {"known": 23, "read": 0, "decoded": 0, "errors": 3}
    assert (reads_warm, decoded_warm) == ([], [])
    assert not any(result.was_read for result in warm.values())


def test_a_content_that_is_known_under_another_name_is_not_decoded_again(flow):
    flow.put("a.png", saved(drawn(1)))
    first, *_ = flow.run()
    flow.put("b/copy.png", saved(drawn(1)))
    found, counts, reads, decoded = flow.run()
    assert (reads, decoded) == (["b/copy.png"], [])
    assert (found["b/copy.png"].look, found["b/copy.png"].sha256) == (first["a.png"].look, first["a.png"].sha256)
    # `decoded` counts images that were decoded.
    assert counts == {"known": 1, "read": 1, "decoded": 0, "errors": 0}
    _, counts, reads, _ = flow.run()
    assert (counts["known"], reads) == (2, [])


def test_decoded_counts_what_was_decoded(mixed):
    _, counts, _, decoded = mixed.run(threads=1)
    assert counts["decoded"] == len(decoded) - counts["errors"]


def test_a_known_error_is_not_read_again(flow):
    flow.put("a.png", b"no image")
    flow.run()
    found, counts, reads, decoded = flow.run()
    assert (found["a.png"].error, found["a.png"].sha256) == ("decode: not an image", content_hash(b"no image"))
    assert (counts["errors"], reads, decoded) == (1, [], [])


def test_a_changed_file_is_read_again(flow):
    flow.put("a.png", saved(drawn(1, (20, 30))))
    flow.put("b.png", b"no image")
    flow.run()
    flow.put("a.png", saved(drawn(2, (30, 20))))
    flow.put("b.png", saved(drawn(1, (20, 30))))
    found, _, reads, _ = flow.run()
    assert reads == ["a.png", "b.png"]
    assert (found["a.png"].look.width, found["b.png"].look.width) == (30, 20)


def test_a_file_that_was_only_touched_is_not_decoded_again(flow):
    flow.put("a.png", saved(drawn(1)))
    flow.run()
    os.utime(flow.source / "a.png", ns=(5, 5))
    found, _, reads, decoded = flow.run()
    assert (found["a.png"].error, reads, decoded) == (None, ["a.png"], [])


def test_another_folder_with_the_same_names_is_another_source(flow, tmp_path):
    flow.put("a.png", saved(drawn(1, (20, 30))))
    os.utime(flow.source / "a.png", ns=(5, 5))
    flow.run()
    flow.source = tmp_path / "other"
    flow.put("a.png", saved(drawn(1, (20, 30))).replace(b"IEND", b"iend"))
    os.utime(flow.source / "a.png", ns=(5, 5))
    found, _, reads, _ = flow.run()
    assert reads == ["a.png"]
    assert found["a.png"].sha256 == content_hash((flow.source / "a.png").read_bytes())


def test_what_another_step_read_is_read_once_for_its_look(flow):
    """The embedder knows an image's content and size by its place, and no hash of it."""
    flow.put("a.png", saved(drawn(1)))
    (item,) = FolderStorage(flow.source).list()
    name = locator(FolderStorage(flow.source).identity, item.key, item.etag, item.size)
    known = LocatorCache(flow.cache, digest([DECODE_VERSION, 1_000_000]), [name])
    known.add(name, sha256=content_hash(saved(drawn(1))), width=320, height=240)
    known.flush()
    found, _, reads, _ = flow.run()
    assert (found["a.png"].error, reads) == (None, ["a.png"])
    _, _, reads, _ = flow.run()
    assert reads == []


@pytest.mark.parametrize("limits", [(599, 600), (600, 599)])
def test_the_limit_on_pixels_counts_whatever_is_known(flow, limits):
    flow.put("a.png", saved(drawn(1, (20, 30))))
    for limit in (*limits, *limits):
        found, *_ = flow.run(max_pixels=limit)
        assert found["a.png"].error == ("decode: too large" if limit < 600 else None)


def test_an_error_that_is_not_the_file_s_fault_is_not_kept(flow, monkeypatch):
    flow.put("a.png", saved(drawn(1)))

    def no_memory(data, **options):
        raise DecodeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(inspect_module, "decode", no_memory)
        found, *_ = flow.run()
    assert found["a.png"].error == "decode: out of memory"
    flow.put("copy.png", saved(drawn(1)))
    found, *_ = flow.run()
    assert {key: result.error for key, result in found.items()} == {"a.png": None, "copy.png": None}
    flow.run()  # which checks that no result has a look and an error


def test_a_consumer_that_stops_early_keeps_what_was_done(flow):
    for number in range(60):
        flow.put(f"{number:02}.png", saved(drawn(number, (20, 20))))
    storage = Folder(flow.source)
    results = Inspector(cache_root=str(flow.cache), max_pixels=1_000_000, threads=2).inspect(list(storage.list()), storage)
    assert [next(results).item.key for _ in range(5)] == ["00.png", "01.png", "02.png", "03.png", "04.png"]
    results.close()
    assert len(storage.reads) < 40
    _, counts, _, _ = flow.run()
    assert counts["known"] >= 4


def test_inspectors_side_by_side_see_the_same(mixed):
    storage = Folder(mixed.source)
    items = list(storage.list())
    both = [Inspector(cache_root=str(mixed.cache), max_pixels=1_000_000, threads=2).inspect(items, storage) for _ in range(2)]
    for one, other in zip(*both, strict=True):
        assert (one.sha256, one.look, one.error) == (other.sha256, other.look, other.error)


# ---- thumbnails ----


def kept_thumbnails(flow):
    cache = ThumbnailCache(flow.cache)
    contents = {path.name: content_hash(path.read_bytes()) for path in flow.source.iterdir()}
    return {name: cache.get(sha256) for name, sha256 in contents.items() if cache.get(sha256)}


def test_thumbnails_come_from_the_same_decode(flow):
    for number in range(6):
        flow.put(f"{number}.png", saved(drawn(number, (320, 240))))
    flow.put("broken.png", b"no image")
    *_, decoded = flow.run(thumbnails=100)
    assert len(decoded) == 7
    found = kept_thumbnails(flow)
    assert sorted(found) == [f"{number}.png" for number in range(6)]
    for name, data in found.items():
        small = Image.open(io.BytesIO(data))
        assert (small.format, small.size) == ("JPEG", (160, 120))
        wanted = np.asarray(Image.open(flow.source / name).resize((160, 120), Image.Resampling.BOX), dtype=float)
        assert np.abs(np.asarray(small.convert("RGB"), dtype=float) - wanted).mean() < 6


def test_no_thumbnails_unless_asked_for(flow):
    flow.put("a.png", saved(drawn(1)))
    flow.run()
    assert kept_thumbnails(flow) == {}


def test_about_as_many_thumbnails_as_wanted_chosen_by_content(flow):
    for number in range(80):
        flow.put(f"{number}.png", saved(drawn(number, (12, 12))))
    flow.run(thumbnails=20)
    found = set(kept_thumbnails(flow))
    assert found == {path.name for path in flow.source.iterdir() if int(content_hash(path.read_bytes())[:8], 16) < 2**30}
    assert 8 <= len(found) <= 35


# ---- the perceptual hash ----


def phash_of(image):
    """The hash by its definition, apart from any library: signs of the 8x8 lowest frequencies of 32x32 grey pixels about their median."""
    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS), dtype=np.float64)
    at = np.arange(32)
    cosines = np.cos(np.pi * np.outer(at, 2 * at + 1) / 64)
    low = (cosines @ grey @ cosines.T)[:8, :8]
    bits = (low > np.median(low)).ravel()
    return sum(1 << (63 - place) for place, bit in enumerate(bits) if bit)


@pytest.mark.parametrize("name", range(6))
def test_the_perceptual_hash_is_that_of_the_definition(name):
    assert perceptual_hash(drawn(name)) == phash_of(drawn(name))


def test_the_hash_of_a_file_is_that_of_its_pixels(flow):
    flow.put("a.png", saved(drawn(1)))
    found, *_ = flow.run()
    assert found["a.png"].look.phash == phash_of(drawn(1))


def test_a_near_copy_has_a_near_hash_and_another_picture_has_not(flow):
    for name in range(8):
        picture, turned = drawn(name), Image.Exif()
        turned[0x0112] = 6
        flow.put(f"{name}/original.png", saved(picture))
        flow.put(f"{name}/jpeg 90.jpg", saved(picture, "JPEG", quality=90))
        flow.put(f"{name}/jpeg 50.jpg", saved(picture, "JPEG", quality=50))
        flow.put(f"{name}/half.png", saved(picture.resize((160, 120), Image.Resampling.LANCZOS)))
        flow.put(f"{name}/large.jpg", saved(picture.resize((1280, 960), Image.Resampling.BICUBIC), "JPEG"))
        flow.put(f"{name}/turned.jpg", saved(picture.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=turned))
    found, *_ = flow.run(max_pixels=2_000_000)
    hashes = {key: result.look.phash for key, result in found.items()}
    for one, its in hashes.items():
        for other, theirs in hashes.items():
            same = one.split("/")[0] == other.split("/")[0]
            assert distance(its, theirs) <= 4 if same else distance(its, theirs) > 12, (one, other)


def test_a_look_survives_the_cache(tmp_path):
    cache = LookCache(str(tmp_path))
    looks = {content_hash(bytes([number])): inspect_module.Look(number, 2**31 - 1, 2**64 - 1 - number) for number in range(5)}
    for sha256, look in looks.items():
        cache.add(sha256, look)
    cache.flush()
    assert {sha256: LookCache(str(tmp_path)).get(sha256) for sha256 in looks} == looks
