"""Thumbnails for pages: from the cache or the source, made once, and none of what is gone or changed."""

import hashlib
import io
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.core.cache import ThumbnailCache
from workflow_scripts.core.images import content_hash, largest_file
from workflow_scripts.core.storage import FolderStorage, Item, StoreError
from workflow_scripts.core.thumbnails import Thumbnails


class Folder:
    """A source with a place beside it for the cache."""

    def __init__(self, root):
        self.root, self.source = root, root / "source"
        self.source.mkdir()

    def put(self, key, *, data):
        (self.source / key).write_bytes(data)

    def sha256(self, key):
        return hashlib.sha256((self.source / key).read_bytes()).hexdigest()


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def picture(colour=(200, 30, 30), size=(400, 300), kind="JPEG"):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def thumbnails(folder):
    return Thumbnails(folder.root / "cache", FolderStorage(folder.source), 10_000_000)


def asked(folder, key):
    return f"{folder.sha256(key)} {key}"


def size_of(data):
    image = Image.open(io.BytesIO(data))
    return image.format, image.size


def test_a_thumbnail_is_made_from_the_source_and_kept(folder, thumbnails, monkeypatch):
    folder.put("a b.jpg", data=picture())
    made = thumbnails(asked(folder, "a b.jpg"))
    assert size_of(made) == ("JPEG", (160, 120))
    assert np.abs(np.array(Image.open(io.BytesIO(made)).convert("RGB")).astype(int) - (200, 30, 30)).max() < 6
    assert thumbnails.made == 1
    thumbnails.flush()
    monkeypatch.setattr(FolderStorage, "find", lambda *_: pytest.fail("asked for again"))
    again = Thumbnails(folder.root / "cache", FolderStorage(folder.source), 10_000_000)
    assert again(asked(folder, "a b.jpg")) == made
    assert again.made == 0


def test_a_thumbnail_is_made_once_for_all_copies_of_an_image(folder, thumbnails):
    for key in ("a.jpg", "b.jpg"):
        folder.put(key, data=picture())
    assert thumbnails(asked(folder, "a.jpg")) == thumbnails(asked(folder, "b.jpg"))
    assert thumbnails.made == 1


def test_a_thumbnail_in_the_cache_needs_no_source(folder):
    cache = ThumbnailCache(folder.root / "cache")
    cache.add("ab" * 32, b"a small picture")
    cache.flush()
    found = Thumbnails(folder.root / "cache", FolderStorage(folder.source / "gone"), 1)
    assert found("ab" * 32 + " any name.jpg") == b"a small picture"


def test_without_a_flush_nothing_is_kept(folder, thumbnails):
    folder.put("a.jpg", data=picture())
    thumbnails(asked(folder, "a.jpg"))
    assert not (folder.root / "cache").exists()
    thumbnails.flush()
    assert ThumbnailCache(folder.root / "cache").get(folder.sha256("a.jpg"))


def none(thumbnails, image):
    assert thumbnails(image) is None
    assert thumbnails.made == 0
    thumbnails.flush()
    return True


def test_an_image_that_was_replaced_has_no_thumbnail(folder, thumbnails):
    folder.put("a.jpg", data=picture())
    before = asked(folder, "a.jpg")
    folder.put("a.jpg", data=picture((0, 0, 255)))
    assert none(thumbnails, before)


def test_an_image_that_is_gone_has_no_thumbnail(folder, thumbnails):
    assert none(thumbnails, "ab" * 32 + " gone.jpg")


@pytest.mark.parametrize("data", [b"no picture", picture()[:300], b""])
def test_what_cannot_be_decoded_has_no_thumbnail(folder, thumbnails, data):
    folder.put("a.jpg", data=data)
    assert none(thumbnails, asked(folder, "a.jpg"))


def test_an_image_of_too_many_pixels_has_no_thumbnail(folder):
    folder.put("a.jpg", data=picture(size=(400, 300)))
    folder.put("b.jpg", data=picture(size=(400, 299)))
    few = Thumbnails(folder.root / "cache", FolderStorage(folder.source), 400 * 299)
    assert none(few, asked(folder, "a.jpg"))
    assert few(asked(folder, "b.jpg"))


@pytest.mark.parametrize(("more", "reads"), [(0, 1), (1, 0)])
def test_a_file_too_large_to_be_such_an_image_is_not_read(folder, monkeypatch, more, reads):
    folder.put("a.jpg", data=picture())
    tried = []
    monkeypatch.setattr(FolderStorage, "find", lambda self, key: Item(key, largest_file(1000) + more, "e", "t"))
    monkeypatch.setattr(FolderStorage, "read", lambda self, item: tried.append(item.key) or b"")
    assert none(Thumbnails(folder.root / "cache", FolderStorage(folder.source), 1000), asked(folder, "a.jpg"))
    assert len(tried) == reads


def test_an_image_that_cannot_be_read_has_no_thumbnail(folder, thumbnails, open_folder, without_privileges):
    path = open_folder / "a.jpg"
    path.write_bytes(picture())
    path.chmod(0)
    found = Thumbnails(folder.root / "cache", FolderStorage(open_folder), 10_000_000)
    with without_privileges():
        assert found(f"{content_hash(picture())} a.jpg") is None


def test_a_store_that_fails_ends_the_page(folder, thumbnails, monkeypatch):
    def find(self, key):
        raise StoreError("the store does not answer")

    monkeypatch.setattr(FolderStorage, "find", find)
    with pytest.raises(StoreError):
        thumbnails("ab" * 32 + " a.jpg")


def test_many_threads_make_every_thumbnail_and_lose_none(folder, thumbnails, monkeypatch):
    keys = [f"{number:02}.jpg" for number in range(24)]
    for number, key in enumerate(keys):
        folder.put(key, data=picture((10 * number, 255 - 10 * number, 0), (80, 60)))
    inside, most = 0, 0
    plain, guard = ThumbnailCache.add, threading.Lock()

    def add(self, sha256, value):
        nonlocal inside, most
        with guard:
            inside += 1
            most = max(most, inside)
        threading.Event().wait(0.001)
        plain(self, sha256, value)
        with guard:
            inside -= 1

    monkeypatch.setattr(ThumbnailCache, "add", add)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(thumbnails, [asked(folder, key) for key in keys]))
    assert most == 1, "one thread adds at a time"
    assert thumbnails.made == 24
    assert len(set(made)) == 24
    thumbnails.flush()
    cache = ThumbnailCache(folder.root / "cache")
    assert [cache.get(folder.sha256(key)) for key in keys] == made
