"""autotag 09: pictures of source images, from their place in a tar."""

import io
import shutil

import pytest
from PIL import Image

from tests.unit.autotag.vote_data import SIZE, Drawn
from tests.unit.autotag.vote_data import drawn as picture_of
from workflow_scripts.autotag import report_pictures
from workflow_scripts.autotag.report_pictures import Pictures, find_neighbours, target_picture
from workflow_scripts.core import tables
from workflow_scripts.core.cache import ThumbnailCache


@pytest.fixture
def drawn(tmp_path):
    found = Drawn(tmp_path)
    found.samples_of(3, 4)
    found.sample("00007", "odd name", ["ring"], url="https://example.org/x?a=1&b=2")
    found.draw("d/ü 1.png", "ball")
    found.save_source()
    return found


def find(drawn, *wanted):
    return find_neighbours(wanted, drawn.results, drawn.dataset, 2)


def pictures(drawn, max_pixels=10**7):
    return Pictures(str(drawn.root / "cache"), drawn.target, drawn.dataset, max_pixels)


def test_a_segment_is_found_with_its_box_label_and_address(drawn):
    found = find(drawn, ("00007/odd name", "odd name_0"), ("00000/photo-00", "photo-00_0"))
    odd = found.known["00007/odd name", "odd name_0"]
    segment = next(row for row in drawn.segments if row["key"] == "odd name")
    assert odd.box == tuple(side / size for side, size in zip(segment["bbox"], (*SIZE, *SIZE), strict=True))
    assert (odd.url, odd.label) == ("https://example.org/x?a=1&b=2", "ring")
    assert found.known["00000/photo-00", "photo-00_0"].url == ""
    assert (len(found.known), found.tars, found.tables) == (2, [], [])


def test_every_picture_is_the_image_that_stands_in_the_tar(drawn):
    wanted = [(f"{row['shard']}/{row['key']}", row["crop_id"]) for row in drawn.segments]
    found, show = find(drawn, *wanted), pictures(drawn)
    for row in drawn.segments:
        picture = show(found.known[f"{row['shard']}/{row['key']}", row["crop_id"]].picture)
        with Image.open(io.BytesIO(picture)) as thumbnail, Image.open(io.BytesIO(row["data"])) as original:
            assert thumbnail.size == (160, 120)
            expected = original.resize(thumbnail.size)
            middle = (row["bbox"][0] + row["bbox"][2]) // 4, (row["bbox"][1] + row["bbox"][3]) // 4
            for place in ((3, 3), middle):
                assert max(abs(a - b) for a, b in zip(thumbnail.getpixel(place), expected.getpixel(place), strict=True)) < 40
    assert show.made == len({row["sha256"] for row in drawn.segments})


def test_pictures_are_kept_and_shared_by_content(drawn):
    found, show = find(drawn, ("00000/photo-00", "photo-00_0")), pictures(drawn)
    (neighbour,) = found.known.values()
    first = show(neighbour.picture)
    assert show(target_picture(drawn.images[0]["sha256"], "d/ü 1.png"))
    show.flush()
    shutil.rmtree(drawn.dataset)
    shutil.rmtree(drawn.target)
    again = pictures(drawn)
    assert again(neighbour.picture) == first
    assert again(target_picture(drawn.images[0]["sha256"], "d/ü 1.png"))
    assert again.made == 0
    sample = drawn.samples["00000"][0]
    assert ThumbnailCache(drawn.root / "cache").get(sample["sha256"]) == first


def test_what_is_gone_or_another_now_has_no_picture(drawn):
    found = find(drawn, ("00000/photo-00", "photo-00_0"), ("00001/photo-04", "photo-04_0"), ("00002/photo-08", "photo-08_0"))
    first, second, third = (neighbour.picture for neighbour in found.known.values())
    sample, (other, _) = drawn.samples["00001"][0], picture_of("another", ())
    assert len(other) < sample["size"]
    with (drawn.dataset / "00001.tar").open("r+b") as tar:
        tar.seek(sample["offset"])
        tar.write(other)
    (drawn.dataset / "00002.tar").unlink()
    show = pictures(drawn)
    assert show(first)
    assert (show(second), show(third)) == (None, None)
    assert pictures(drawn, 100)(first) is None, "too large"
    assert show(target_picture(drawn.images[0]["sha256"], "gone.png")) is None


def test_a_file_that_can_hold_no_such_image_is_not_read(drawn, monkeypatch):
    found = find(drawn, ("00000/photo-00", "photo-00_0"))
    monkeypatch.setattr(report_pictures, "largest_file", lambda pixels: 10)
    assert pictures(drawn)(next(iter(found.known.values())).picture) is None


def test_shards_that_are_gone_are_told(drawn):
    (drawn.dataset / "00001.tar").unlink()
    for path in drawn.results.rglob("images_00002.parquet"):
        path.unlink()
    wanted = [("00000/photo-00", "photo-00_0"), ("00001/photo-04", "photo-04_0"), ("00002/photo-08", "photo-08_0"), ("00009/x", "x_0")]
    found = find(drawn, *wanted)
    assert list(found.known) == wanted[:2]
    assert (found.tars, found.tables) == (["00001"], ["00002", "00009"])


def test_only_the_tables_of_the_shards_that_are_wanted_are_read(drawn, monkeypatch):
    asked, read = [], report_pictures.pq.read_table
    monkeypatch.setattr(
        report_pictures.pq, "read_table", lambda path, columns: asked.append((path.name, len(columns))) or read(path, columns=columns)
    )
    find(drawn, ("00001/photo-04", "photo-04_0"))
    assert asked == [("images_00001.parquet", 7), ("metadata_00001.parquet", 4)]


def test_a_source_that_was_made_again_without_an_image_is_no_error(drawn):
    found = find(drawn, ("00000/photo-99", "photo-99_0"), ("00000/photo-00", "photo-00_9"), ("00000/photo-01", "photo-00_0"))
    assert found.known == {}
    path = drawn.results / "embeddings/images_00000.parquet"
    schema = report_pictures.pq.read_schema(path)
    rows = [row | ({"sha256": None} if row["key"] == "photo-00" else {}) for row in tables.read(path)]
    tables.write(path, tuple((field.name, field.type) for field in schema), rows)
    assert find(drawn, ("00000/photo-00", "photo-00_0")).known == {}


def test_a_key_may_hold_slashes(tmp_path):
    drawn = Drawn(tmp_path)
    drawn.sample("00000", "a/b/c", ["ball"])
    drawn.save_source()
    assert list(find(drawn, ("00000/a/b/c", "a/b/c_0")).known) == [("00000/a/b/c", "a/b/c_0")]
