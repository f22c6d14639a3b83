"""people 07: the rows of a page, from manifests as the steps before write them; thumbnails from the cache or the source."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from workflow_scripts.core.cache import ThumbnailCache
from workflow_scripts.core.images import content_hash, largest_file
from workflow_scripts.core.storage import FolderStorage, Item, StoreError, open_storage
from workflow_scripts.people import manifests
from workflow_scripts.people.page_items import BAND, SCHEMA, TOO_CLOSE, Thumbnails, write_items

ODD = [
    "a, b.jpg",
    'a "quoted".jpg',
    "two\nlines.jpg",
    "carriage\rreturn.jpg",
    "'single' #%.jpg",
    "NA.jpg",
    "é 😀\u2028.jpg",
    " lead.jpg",
    "1.5.jpg",
]


def picture(colour=(200, 30, 30), size=(400, 300), kind="JPEG"):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


def rows_of(run, threshold=None):
    """The rows of the page by name, and how many are too close to call."""
    output = run.root / "items.parquet"
    close = write_items(run.aggregate, run.settings["threshold"] if threshold is None else threshold, output)
    table = pq.read_table(output)
    assert table.schema.equals(SCHEMA)
    rows = table.to_pylist()
    assert len({row["name"] for row in rows}) == len(rows)
    return {row["name"]: row for row in rows}, close


# ---- rows ----


def test_a_row_says_what_was_decided_and_why(run):
    run.put("a/1.jpg", 0.1)
    run.put("a/2.jpg", 0.9)
    run.put("b.jpg", error="decode: truncated")
    run.until_merge()
    rows, close = rows_of(run)
    assert list(rows) == ["a/1.jpg", "a/2.jpg", "b.jpg"]
    assert rows["a/1.jpg"] == {
        "id": run.sha256("a/1.jpg"),
        "name": "a/1.jpg",
        "outcome": "kept",
        "reason": "people_prob < 0.5",
        "decision": "",
        "link": (run.source / "a/1.jpg").as_uri(),
        "images": [f"{run.sha256('a/1.jpg')} a/1.jpg"],
        "tags": [],
        "people_prob": 0.1,
        "margin": -0.021972,
    }
    assert (rows["a/2.jpg"]["outcome"], rows["a/2.jpg"]["reason"]) == ("removed", "people_prob >= 0.5")
    assert (rows["a/2.jpg"]["people_prob"], rows["a/2.jpg"]["margin"]) == (0.9, 0.021972)
    assert rows["b.jpg"] == {
        "id": None,
        "name": "b.jpg",
        "outcome": "error",
        "reason": "decode: truncated",
        "decision": "",
        "link": "",
        "images": [],
        "tags": [],
        "people_prob": None,
        "margin": None,
    }
    assert close == 0


def test_what_a_person_decided_stands_as_a_decision(run):
    for key, prob in (("kept.jpg", 0.9), ("removed.jpg", 0.1), ("model.jpg", 0.9)):
        run.put(key, prob)
    run.reviews = run.root / "reviews.csv"
    rows = [f"{run.sha256(key)},{key},{decision}" for key, decision in (("kept.jpg", "keep"), ("removed.jpg", "remove"))]
    run.reviews.write_text("\n".join(["sha256,path,decision", *rows, ""]))
    run.until_merge()
    found, _ = rows_of(run)
    assert {name: (row["outcome"], row["reason"], row["decision"]) for name, row in found.items()} == {
        "kept.jpg": ("kept", "human", "keep"),
        "removed.jpg": ("removed", "human", "remove"),
        "model.jpg": ("removed", "people_prob >= 0.5", ""),
    }


def test_links_lead_to_a_bucket_by_https(in_bucket):
    in_bucket.put("a b/é#.jpg", 0.9)
    in_bucket.put("c.jpg", 0.1)
    in_bucket.until_merge()
    rows, _ = rows_of(in_bucket)
    assert {name: row["link"] for name, row in rows.items()} == {
        "in/a b/é#.jpg": "https://bucket.s3.eu-west-3.amazonaws.com/in/a%20b/%C3%A9%23.jpg",
        "in/c.jpg": "https://bucket.s3.eu-west-3.amazonaws.com/in/c.jpg",
    }
    assert rows["in/c.jpg"]["images"] == [f"{in_bucket.sha256('in/c.jpg')} in/c.jpg"]


@pytest.mark.parametrize("threshold", [0.5, 0.3, 0.995])
def test_what_lies_near_the_threshold_is_tagged(run, threshold):
    probs = {"below": threshold - 0.9 * BAND, "above": threshold + 0.4 * BAND, "at": threshold, "low": threshold - 1.1 * BAND, "far": 0.01}
    probs["high"] = min(1.0, threshold + 1.1 * BAND)
    for key, prob in probs.items():
        run.put(f"{key}.jpg", round(prob, 6))
    run.settings["threshold"] = threshold
    run.until_merge()
    rows, close = rows_of(run)
    tagged = {name for name, row in rows.items() if row["tags"]}
    near = {"below.jpg", "above.jpg", "at.jpg"} | ({"high.jpg"} if threshold > 0.99 else set())
    assert tagged == near
    assert {tag for row in rows.values() for tag in row["tags"]} == {TOO_CLOSE}
    assert close == len(near)


def test_what_a_person_decided_is_never_too_close_to_call(run):
    run.put("person.jpg", 0.5)
    run.put("model.jpg", 0.5)
    run.reviews = run.root / "reviews.csv"
    run.reviews.write_text(f"sha256,path,decision\n{run.sha256('person.jpg')},person.jpg,keep\n")
    run.until_merge()
    rows, close = rows_of(run)
    assert {name: row["tags"] for name, row in rows.items()} == {"person.jpg": [], "model.jpg": [TOO_CLOSE]}
    assert close == 1


@pytest.mark.parametrize("prob", [0.1, 0.9])
def test_names_arrive_as_they_are(run, prob):
    for key in ODD:
        run.put(key, prob)
        run.put(f"broken/{key}", error='decode: broken JPEG: "a, b"')
    run.until_merge()
    rows, _ = rows_of(run)
    assert rows.keys() == {*ODD, *(f"broken/{key}" for key in ODD)}
    for key in ODD:
        assert rows[key]["images"] == [f"{run.sha256(key)} {key}"]
        assert rows[key]["link"] == (run.source / key).as_uri()
        assert rows[f"broken/{key}"]["reason"] == 'decode: broken JPEG: "a, b"'


@pytest.mark.parametrize("only", ["kept", "removed", "errors"])
def test_tables_may_be_empty(run, only):
    run.put("a.jpg", 0.9 if only == "removed" else 0.1, error="decode: truncated" if only == "errors" else None)
    run.until_merge()
    rows, _ = rows_of(run)
    assert [row["outcome"] for row in rows.values()] == ["error" if only == "errors" else only]


def test_all_tables_may_be_empty(run):
    run.put("a.jpg")
    run.settings["exclude"] = [{"csv": str(run.root / "list.csv"), "by": "path", "strip_prefix": ""}]
    (run.root / "list.csv").write_text("path\na.jpg\n")
    run.until_merge()
    assert rows_of(run) == ({}, 0)


def test_a_table_of_many_blocks_is_read_whole(run):
    """Arrow reads CSV in blocks of a mebibyte: names with line ends must not be cut at their borders."""
    keys = [f"{number % 3}/" + "x\ny," * 300 + f"{number:05}.jpg" for number in range(2500)]
    rows = [(key, (0.2, 0.3, 0.5, 0.7)[number % 4]) for number, key in enumerate(keys)]
    fill(run, rows)
    found, close = rows_of(run)
    assert {name: row["people_prob"] for name, row in found.items()} == dict(rows)
    assert close == 625
    assert (run.aggregate / "kept_all.csv").stat().st_size > 1 << 20


def fill(run, rows):
    """Merged manifests of rows that were never files."""
    tables = {"kept": [], "removed": []}
    for key, prob in rows:
        row = dict.fromkeys(manifests.COLUMNS, "") | {
            "s3_key": key,
            "people_prob": f"{prob:.6f}",
            "margin": "0.0",
            "sha256": content_hash(key.encode()),
        }
        tables["removed" if prob >= 0.5 else "kept"].append(row | {"s3_uri": "file:///x", "reason": "people_prob"})
    for name, found in tables.items():
        manifests.write_csv(run.aggregate / f"{name}_all.csv", manifests.COLUMNS, found)
    manifests.write_csv(run.aggregate / "errors_all.csv", manifests.ERROR_COLUMNS, [])


# ---- thumbnails ----


@pytest.fixture
def thumbnails(run):
    return Thumbnails(run.root / "cache", FolderStorage(run.source), 10_000_000)


def asked(run, key):
    return f"{run.sha256(key)} {key}"


def size_of(data):
    image = Image.open(io.BytesIO(data))
    return image.format, image.size


def test_a_thumbnail_is_made_from_the_source_and_kept(run, thumbnails, monkeypatch):
    run.put("a b.jpg", data=picture())
    made = thumbnails(asked(run, "a b.jpg"))
    assert size_of(made) == ("JPEG", (160, 120))
    assert np.abs(np.array(Image.open(io.BytesIO(made)).convert("RGB")).astype(int) - (200, 30, 30)).max() < 6
    assert thumbnails.made == 1
    thumbnails.flush()
    monkeypatch.setattr(FolderStorage, "find", lambda *_: pytest.fail("asked for again"))
    again = Thumbnails(run.root / "cache", FolderStorage(run.source), 10_000_000)
    assert again(asked(run, "a b.jpg")) == made
    assert again.made == 0


def test_a_thumbnail_is_made_once_for_all_copies_of_an_image(run, thumbnails):
    for key in ("a.jpg", "b.jpg"):
        run.put(key, data=picture())
    assert thumbnails(asked(run, "a.jpg")) == thumbnails(asked(run, "b.jpg"))
    assert thumbnails.made == 1


def test_a_thumbnail_in_the_cache_needs_no_source(run):
    cache = ThumbnailCache(run.root / "cache")
    cache.add("ab" * 32, b"a small picture")
    cache.flush()
    found = Thumbnails(run.root / "cache", FolderStorage(run.source / "gone"), 1)
    assert found("ab" * 32 + " any name.jpg") == b"a small picture"


def test_without_a_flush_nothing_is_kept(run, thumbnails):
    run.put("a.jpg", data=picture())
    thumbnails(asked(run, "a.jpg"))
    assert not (run.root / "cache").exists()
    thumbnails.flush()
    assert ThumbnailCache(run.root / "cache").get(run.sha256("a.jpg"))


def none(thumbnails, image):
    assert thumbnails(image) is None
    assert thumbnails.made == 0
    thumbnails.flush()
    return True


def test_an_image_that_was_replaced_has_no_thumbnail(run, thumbnails):
    run.put("a.jpg", data=picture())
    before = asked(run, "a.jpg")
    run.put("a.jpg", data=picture((0, 0, 255)))
    assert none(thumbnails, before)


def test_an_image_that_is_gone_has_no_thumbnail(run, thumbnails):
    assert none(thumbnails, "ab" * 32 + " gone.jpg")


@pytest.mark.parametrize("data", [b"no picture", picture()[:300], b""])
def test_what_cannot_be_decoded_has_no_thumbnail(run, thumbnails, data):
    run.put("a.jpg", data=data)
    assert none(thumbnails, asked(run, "a.jpg"))


def test_an_image_of_too_many_pixels_has_no_thumbnail(run):
    run.put("a.jpg", data=picture(size=(400, 300)))
    run.put("b.jpg", data=picture(size=(400, 299)))
    few = Thumbnails(run.root / "cache", FolderStorage(run.source), 400 * 299)
    assert none(few, asked(run, "a.jpg"))
    assert few(asked(run, "b.jpg"))


@pytest.mark.parametrize(("more", "reads"), [(0, 1), (1, 0)])
def test_a_file_too_large_to_be_such_an_image_is_not_read(run, monkeypatch, more, reads):
    run.put("a.jpg", data=picture())
    tried = []
    monkeypatch.setattr(FolderStorage, "find", lambda self, key: Item(key, largest_file(1000) + more, "e", "t"))
    monkeypatch.setattr(FolderStorage, "read", lambda self, item: tried.append(item.key) or b"")
    assert none(Thumbnails(run.root / "cache", FolderStorage(run.source), 1000), asked(run, "a.jpg"))
    assert len(tried) == reads


def test_an_image_that_cannot_be_read_has_no_thumbnail(run, thumbnails, open_folder, without_privileges):
    path = open_folder / "a.jpg"
    path.write_bytes(picture())
    path.chmod(0)
    found = Thumbnails(run.root / "cache", FolderStorage(open_folder), 10_000_000)
    with without_privileges():
        assert found(f"{content_hash(picture())} a.jpg") is None


def test_a_store_that_fails_ends_the_page(run, thumbnails, monkeypatch):
    def find(self, key):
        raise StoreError("the store does not answer")

    monkeypatch.setattr(FolderStorage, "find", find)
    with pytest.raises(StoreError):
        thumbnails("ab" * 32 + " a.jpg")


def test_images_of_a_bucket_have_thumbnails(in_bucket):
    in_bucket.put("a b/é.png", data=picture(kind="PNG"))
    found = Thumbnails(in_bucket.root / "cache", open_storage("s3://bucket/in/", in_bucket.settings["store"]), 10_000_000)
    assert size_of(found(asked(in_bucket, "in/a b/é.png"))) == ("JPEG", (160, 120))
    assert found("ab" * 32 + " in/gone.jpg") is None


def test_many_threads_make_every_thumbnail_and_lose_none(run, thumbnails, monkeypatch):
    keys = [f"{number:02}.jpg" for number in range(24)]
    for number, key in enumerate(keys):
        run.put(key, data=picture((10 * number, 255 - 10 * number, 0), (80, 60)))
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
        made = list(pool.map(thumbnails, [asked(run, key) for key in keys]))
    assert most == 1, "one thread adds at a time"
    assert thumbnails.made == 24
    assert len(set(made)) == 24
    thumbnails.flush()
    cache = ThumbnailCache(run.root / "cache")
    assert [cache.get(run.sha256(key)) for key in keys] == made
