"""The shards and folders of the autotag demo hold what their truth table says."""

import csv
import hashlib
import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

pytest.importorskip("webdataset")

from workflow_scripts.core.images import DecodeError, content_hash, decode
from workflow_scripts.demo.autotag_data import FOLDERS, LONG_NAME, draw
from workflow_scripts.demo.autotag_scenes import BACKGROUNDS, COLOURS, KINDS, listed_tags, picture
from workflow_scripts.demo.drawing import rng_for

SEED = 7
SIZES = {"images": 52, "shards": 2, "targets": 11}
Row = dict[str, Any]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("autotag")
    counts = draw(folder / "truth.csv", **SIZES, seed=SEED)
    assert counts == {"shards": 2, "samples": 104, "targets": 2, "files": 38}
    return folder


@pytest.fixture(scope="module")
def truth(root: Path) -> list[Row]:
    with (root / "truth.csv").open(encoding="utf-8", newline="") as handle:
        return [row | {"tags": json.loads(row["tags"])} for row in csv.DictReader(handle)]


def source(truth: list[Row], shard: str) -> list[Row]:
    return [row for row in truth if (row["side"], row["folder"]) == ("source", shard)]


def members(path: Path) -> dict[str, list[bytes]]:
    """Contents of a whole tar, by name."""
    found: dict[str, list[bytes]] = {}
    with tarfile.open(path) as tar:
        for info in tar:
            assert (info.mtime, info.isfile()) == (0, True)
            handle = tar.extractfile(info)
            assert handle
            found.setdefault(info.name, []).append(handle.read())
    return found


def tags_of(root: Path, shard: str) -> list[Row]:
    entries: list[Row] = json.loads((root / f"tags/{shard}.json").read_text())
    return entries


def test_a_whole_shard_holds_the_images_that_the_truth_promises(root: Path, truth: list[Row]) -> None:
    found = members(root / "source/00000.tar")
    rows = source(truth, "00000")
    assert Counter(row["kind"] for row in rows) == {"image": 45, "untagged": 3, "error": 3, "absent": 2}
    for row in rows:
        content = found.get(f"{row['image']}.jpg", [])
        if row["kind"] in ("image", "untagged"):
            assert decode(content[0]).width in (192, 224, 256)
        elif row["kind"] == "absent" and row["image"] != "holiday.v2":
            assert not content
    names = [name for name in found if name.endswith(".jpg")]
    assert all(f"{name[:-4]}.{end}" in found for name in names for end in ("json", "txt"))
    sample = json.loads(found["000000001.json"][0])
    assert sample.keys() == {"key", "url", "width", "height"}
    assert found["000000001.txt"][0].decode()


def test_the_first_shard_has_one_of_each_odd_thing(root: Path, truth: list[Row]) -> None:
    found, rows = members(root / "source/00000.tar"), source(truth, "00000")
    errors = [row["image"] for row in rows if row["kind"] == "error"]
    assert errors == ["holiday", "000000009", "000000012"]
    assert len(found["000000012.jpg"]) == 2, "the second of one key"
    assert len({content_hash(data) for data in found["000000012.jpg"]}) == 2
    with pytest.raises(DecodeError, match="truncated"):
        decode(found["000000009.jpg"][0])
    assert [row["image"] for row in rows if row["kind"] == "absent"] == ["holiday.v2", "000000016"]
    assert 'album v1.2/100% "odd", it\'s #5 写真' in {row["image"] for row in rows if row["kind"] == "image"}
    table = pq.read_table(root / "source/00000.parquet")
    assert table.column_names == ["key", "url", "width", "height", "sha256"]
    keys = table["key"].to_pylist()
    assert ("000000016" in keys, "000000022" in keys, len(keys)) == (True, False, 51)
    digest = table["sha256"][keys.index("000000001")].as_py()
    assert digest == content_hash(found["000000001.jpg"][0])


def test_the_last_tar_breaks_off_in_the_middle_of_a_member(root: Path, truth: list[Row]) -> None:
    with pytest.raises(tarfile.ReadError, match="unexpected end of data"):
        members(root / "source/00001.tar")
    rows = source(truth, "00001")
    assert [row["kind"] for row in rows][-9:] == ["image", "error"] + ["absent"] * 7
    assert {row["kind"] for row in rows[:-8]} == {"image", "untagged"}
    assert set(pq.read_table(root / "source/00001.parquet")["key"].to_pylist()) == {row["image"] for row in rows}
    assert {row["image"] for row in rows[-7:]} <= {entry["key"] for entry in tags_of(root, "00001")}


def test_lists_of_tags_lack_some_and_are_written_in_several_ways(root: Path, truth: list[Row]) -> None:
    true = {row["image"]: set(row["tags"]) for row in source(truth, "00001")}
    untagged = {row["image"] for row in source(truth, "00001") if row["kind"] == "untagged"}
    entries = tags_of(root, "00001")
    assert all(entry.keys() == {"key", "image_path", "url", "width", "height", "tags"} for entry in entries)
    listed = {entry["key"]: entry["tags"] for entry in entries}
    assert {key for key in true if not listed.get(key)} == untagged == {"000010019", "000010039"}
    assert [key in listed for key in sorted(untagged)] == [True, False], "an empty list, and none"
    folded = {key: {tag.strip().lower() for tag in tags} for key, tags in listed.items()}
    assert all(tags <= true[key] for key, tags in folded.items())
    missed = sum(len(true[key] - folded[key]) for key in folded if key not in untagged)
    assert 0 < missed < 0.1 * sum(map(len, true.values()))
    written = {tag for tags in listed.values() for tag in tags}
    assert any(tag != tag.strip() for tag in written)
    assert any(tag[:1].isupper() for tag in written)


def test_tags_are_listed_in_an_order_of_chance() -> None:
    true = tuple("abcdefgh")
    lists = [listed_tags(true, rng_for(1, str(number))) for number in range(40)]
    assert len({tuple(each) for each in lists}) == 40
    assert all(len(each) == len(set(each)) for each in lists)


def test_scenes_show_what_the_source_has_many_of() -> None:
    found = [picture(SEED, "test", str(number)) for number in range(30)]
    tags = {tag for each in found for tag in each.tags}
    assert {tag.split()[0] for tag in tags if " " in tag and tag.split()[1] in KINDS} <= set(COLOURS)
    assert tags & {"desert", "forest", "snow", "studio", "kitchen", "hills", "snowman"} == set()
    assert tags > set(BACKGROUNDS)
    assert all(each.size == decode(each.data).image.size for each in found)


def test_folders_hold_the_files_that_the_truth_promises(root: Path, truth: list[Row]) -> None:
    for name, places in FOLDERS.items():
        rows = {row["image"]: row for row in truth if (row["side"], row["folder"]) == ("target", name)}
        folder = root / "targets" / name
        assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == set(rows)
        for path, row in rows.items():
            data = (folder / path).read_bytes()
            if row["kind"] == "error":
                with pytest.raises(DecodeError):
                    decode(data)
            elif row["kind"] != "skipped":
                assert decode(data).image.size[0] > 100
                assert set(row["tags"]) & (set(places) if row["kind"] == "image" else set(BACKGROUNDS))


def test_odd_names_and_files_are_in_the_folders(root: Path, truth: list[Row]) -> None:
    kinds = Counter((row["folder"], row["kind"]) for row in truth if row["side"] == "target")
    assert kinds == {
        ("evening", "image"): 11,
        ("evening", "copy from the source"): 1,
        ("evening", "error"): 1,
        ("evening", "skipped"): 1,
        ("market", "image"): 22,
        ("market", "copy"): 1,
        ("market", "error"): 1,
    }
    names = {row["image"].rpartition("/")[2] for row in truth if row["folder"] == "market"}
    assert {"-rf.jpg", "line\nbreak.jpg", LONG_NAME, "IMG_0000.png", "IMG_0000.jpg"} <= names
    assert len(LONG_NAME.encode()) == 255


def test_copies_have_the_bytes_of_what_they_are_copies_of(root: Path, truth: list[Row]) -> None:
    copies = {row["folder"]: row for row in truth if row["copy_of"]}
    assert copies["evening"]["copy_of"] == "00000/000000030"
    data = (root / "targets/evening/from the source.jpg").read_bytes()
    assert data == members(root / "source/00000.tar")["000000030.jpg"][0]
    assert copies["evening"]["tags"] == next(row["tags"] for row in source(truth, "00000") if row["image"] == "000000030")
    market = root / "targets/market"
    assert (market / copies["market"]["image"]).read_bytes() == (market / copies["market"]["copy_of"]).read_bytes()


def test_the_same_seed_gives_the_same_bytes_whatever_was_there(root: Path, tmp_path: Path) -> None:
    def digests(folder: Path) -> dict[str, str]:
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()
        }

    for stale in ("source/00009.tar", "targets/old/a.jpg", "tags/00009.json"):
        (tmp_path / stale).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / stale).write_bytes(b"old")
    draw(tmp_path / "truth.csv", **SIZES, seed=SEED)
    assert digests(tmp_path) == digests(root)
    other = draw(tmp_path / "other/truth.csv", **SIZES | {"targets": 1}, seed=SEED + 1)
    assert other["files"] == 18
    assert (tmp_path / "other/source/00000.tar").read_bytes() != (root / "source/00000.tar").read_bytes()
