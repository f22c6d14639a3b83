"""autotag 01 as a whole, with simple models: rows and files, accounting, what is done again and what is not."""

import io
import json
import os

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.unit.autotag.shard_data import BLACK, CURSED, SEGMENT, WIDTH, Collection, Means, Words, picture, sha256
from workflow_scripts.autotag import source_shard
from workflow_scripts.autotag.blocks import EMBEDDINGS, FILES, IMAGES_TABLE, METADATA, METADATA_JSON, Block
from workflow_scripts.autotag.flow import Models
from workflow_scripts.autotag.params import shards as planned_shards
from workflow_scripts.autotag.shard_files import ShardWriter, known_shard
from workflow_scripts.autotag.source import Recipe
from workflow_scripts.autotag.tables import IMAGES, SEGMENTS
from workflow_scripts.core import tables
from workflow_scripts.core.accounting import AccountingError
from workflow_scripts.core.preprocess import Preprocess
from workflow_scripts.core.step import StepError
from workflow_scripts.settings.autotag import Source

COLOURS = {key: (40 + 9 * number, 80, 200 - 9 * number) for number, key in enumerate("abcdefghij")}
PICTURES = {key: picture(colour) for key, colour in COLOURS.items()}


@pytest.fixture
def collection(tmp_path):
    """Three shards of small pictures: a to d, e to g, h to j; some with tags."""
    made = Collection(tmp_path)
    made.write("00000", {key: PICTURES[key] for key in "abcd"}, tags={"a": ["cat", "dog"], "b": ["cat"], "c": []})
    made.write("00001", {key: PICTURES[key] for key in "efg"}, tags={"e": ["dog"], "f": ["ant"], "g": ["cat"]})
    made.write("00002", {key: PICTURES[key] for key in "hij"})
    return made


def table(collection, kind, shard="00000"):
    return tables.read(collection.places.folder / FILES[kind].format(shard))


def vectors(collection, shard="00000"):
    return np.load(collection.places.folder / FILES[EMBEDDINGS].format(shard), allow_pickle=False)


# ---- rows and files ----


def test_images_segments_and_vectors_of_a_shard(collection):
    counts = collection.run("00000")
    assert counts == {
        "shards": 1,
        "known": 0,
        "images": 4,
        "embedded": 4,
        "empty": 0,
        "errors": 0,
        "absent": 0,
        "untagged": 2,
        "segments": 7,
        "missing": 0,
    }
    images, segments = table(collection, IMAGES_TABLE), table(collection, METADATA)
    tar = collection.places.tar("00000").read_bytes()
    for row in images:
        key = row["key"]
        assert tar[row["offset"] : row["offset"] + row["size"]] == PICTURES[key]
        assert row["member"] == f"{key}.png"
        assert row["url"] == f"https://example.org/{key}"
        assert (row["shard"], row["sha256"], row["width"], row["height"]) == ("00000", sha256(PICTURES[key]), 64, 48)
        assert (row["outcome"], row["reason"]) == ("embedded", None)
    assert [(row["key"], row["tags"], row["found"], row["crops"]) for row in images] == [
        ("a", ["cat", "dog"], 2, 3),
        ("b", ["cat"], 1, 2),
        ("c", [], 0, 1),
        ("d", [], 0, 1),
    ]
    assert [(row["crop_id"], row["label"], row["class_id"]) for row in segments] == [
        ("a_0", "cat", 0),
        ("a_1", "dog", 1),
        ("a_full", None, None),
        ("b_0", "cat", 0),
        ("b_full", None, None),
        ("c_full", None, None),
        ("d_full", None, None),
    ]
    assert segments[1] == {
        "key": "a",
        "bbox": [1, 1, 60, 48],
        "area": 59 * 47,
        "box_area": 59 * 47,
        "class_id": 1,
        "label": "dog",
        "confidence": pytest.approx(0.89),
        "vlm_tags": ["cat", "dog"],
        "crop_id": "a_1",
        "shard": "00000",
        "sha256": sha256(PICTURES["a"]),
        "width": 64,
        "height": 48,
    }
    found = vectors(collection)
    assert found.shape == (7, WIDTH)
    assert found.dtype == np.float16
    assert np.allclose(np.linalg.norm(found.astype(np.float32), axis=1), 1, atol=1e-3)
    assert len({row.tobytes() for row in found}) > 4


def test_tables_have_the_columns_of_the_contract_and_the_view_the_same_rows(collection):
    collection.run("00000")
    for kind, columns in ((IMAGES_TABLE, IMAGES), (METADATA, SEGMENTS)):
        schema = pq.read_schema(collection.places.folder / FILES[kind].format("00000"))
        assert [(field.name, field.type) for field in schema] == list(columns)
    text = (collection.places.folder / FILES[METADATA_JSON].format("00000")).read_text(encoding="utf-8")
    view = json.loads(text)
    first = [
        "key",
        "bbox",
        "area",
        "label",
        "vlm_tags",
        "crop_id",
        "shard",
        "sha256",
        "width",
        "height",
        "class_id",
        "confidence",
        "box_area",
    ]
    assert {tuple(row) for row in view} == {tuple(first)}
    for row, other in zip(view, table(collection, METADATA), strict=True):
        assert row | {"confidence": None} == other | {"confidence": None}
        assert row["confidence"] == (None if other["confidence"] is None else pytest.approx(other["confidence"]))
    assert len(text.splitlines()) == 9, "a line a row"


def test_every_sample_has_one_outcome_with_its_reason_in_the_order_of_the_tar(tmp_path, log_text):
    made = Collection(tmp_path)
    members = {"b": PICTURES["b"], "none": {"json": b"{}"}, "black": picture(BLACK), "two": {"jpg": PICTURES["c"], "png": PICTURES["d"]}}
    members |= {"cursed": picture(CURSED), "text": b"no image", "large": picture((9, 9, 9), size=(200, 100)), "a": PICTURES["a"]}
    tags = {key: ["cat"] for key in (*members, "tagged only", "both")} | {"a": []}
    made.write("00000", members, rows=["a", "both", "row only", *members], tags=tags)
    counts = made.run("00000", whole_image=False)
    rows = table(made, IMAGES_TABLE)
    other = next(row["key"] for row in rows if row["key"].startswith("two.png@"))
    assert [(row["key"], row["outcome"], row["reason"]) for row in rows] == [
        ("b", "embedded", None),
        ("none", "error", "no image in the sample, only json"),
        ("black", "error", "embed: the model gave no finite vector for 1 of 1 crops"),
        ("two", "embedded", None),
        (other, "error", "another image of the sample two, which has two.jpg"),
        ("cursed", "error", "segment: cannot reshape array of size 0"),
        ("text", "error", "decode: not an image"),
        ("large", "error", "decode: too large"),
        ("a", "empty", "untagged: there is nothing to look for"),
        ("both", "absent", "not in the tar, though the table has a row and tags for it"),
        ("row only", "absent", "not in the tar, though the table has a row for it"),
        ("tagged only", "absent", "not in the tar, though there are tags for it"),
    ]
    assert counts | {"known": 0} == {
        "shards": 1,
        "known": 0,
        "images": 9,
        "embedded": 2,
        "empty": 1,
        "errors": 6,
        "absent": 3,
        "untagged": 0,
        "segments": 2,
        "missing": 0,
    }
    absent = {row["key"]: row for row in rows if row["outcome"] == "absent"}
    assert absent["both"]["tags"] == ["cat"]
    assert absent["row only"]["url"] == "https://example.org/row only"
    assert absent["row only"]["sha256"] is absent["row only"]["offset"] is None
    assert len({row["key"] for row in rows}) == len(rows)
    assert "0 without a row" in log_text(), "a second image is none without a row"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"min_area": 10**6}, "none of the 1 segments found is large enough"), ({"max_segments": 0}, "none of the 1 segments")],
)
def test_an_image_whose_segments_do_not_count_is_empty_with_the_reason(collection, settings, reason):
    assert collection.run("00001", whole_image=False, **settings)["empty"] == 3
    assert {row["reason"][: len(reason)] for row in table(collection, IMAGES_TABLE, "00001")} == {reason}
    assert {row["found"] for row in table(collection, IMAGES_TABLE, "00001")} == {1}


def test_an_image_in_which_nothing_is_found_is_empty(collection, monkeypatch):
    monkeypatch.setattr(Words, "_found", lambda *_: [])
    assert collection.run("00001", whole_image=False)["empty"] == 3
    assert {row["reason"] for row in table(collection, IMAGES_TABLE, "00001")} == {"nothing found"}


def test_a_crop_that_has_no_vector_is_a_note_of_its_image(collection, monkeypatch):
    encode = Means.encode

    def without_the_first(self, pixels):
        found = encode(self, pixels)
        found[0] = np.inf
        return found

    monkeypatch.setattr(Means, "encode", without_the_first)
    collection.run("00000", encoder=Means(100))
    first = table(collection, IMAGES_TABLE)[0]
    assert (first["outcome"], first["reason"], first["crops"]) == (
        "embedded",
        "embed: the model gave no finite vector for 1 of 3 crops",
        2,
    )
    assert [row["crop_id"] for row in table(collection, METADATA)][:2] == ["a_1", "a_full"]
    assert len(vectors(collection)) == 6


def test_a_shard_of_nothing_has_empty_files(tmp_path):
    made = Collection(tmp_path)
    made.write("00000", {})
    counts = made.run("00000")
    assert (counts["segments"], counts["errors"], counts["images"]) == (0, 1, 1)
    assert vectors(made).shape == (0, WIDTH)
    assert table(made, METADATA) == []
    assert (made.places.folder / FILES[METADATA_JSON].format("00000")).read_text() == "[]\n"
    assert [(row["key"], row["reason"]) for row in table(made, IMAGES_TABLE)] == [("00000.tar@0", "no sample in the tar")]
    assert Block.read(made.manifest).shards[0].vectors(made.places.folder).shape == (0, WIDTH)


def test_a_damaged_shard_gives_what_is_left_and_names_what_is_not(collection):
    tar = collection.places.tar("00000")
    data = bytearray(tar.read_bytes())
    data[data.index(b"b.png") + 1] ^= 1
    tar.write_bytes(data[:-100])
    counts = collection.run("00000")
    assert (counts["embedded"], counts["errors"], counts["absent"]) == (3, 1, 1)
    rows = {row["key"]: row for row in table(collection, IMAGES_TABLE)}
    assert rows["b"]["outcome"] == "absent"
    damage = next(row for row in rows.values() if row["outcome"] == "error")
    assert (
        damage["reason"]
        == f"tar: damaged at bytes {damage['offset']} to {damage['offset'] + damage['size']}: no header where one should be (bad checksum)"
    )


def test_the_words_are_those_of_the_vocabulary_or_none_for_everything(collection, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("kite\n\n ant hill \nkite\n", encoding="utf-8")
    segmenter = Words()
    collection.run("00000", segmenter=segmenter, prompts="vocabulary", words=words)
    assert segmenter.asked == [["kite", "ant hill"]] * 4
    assert {row["label"] for row in table(collection, METADATA)} == {"kite", "ant hill", None}
    segmenter = Words()
    collection.run("00000", segmenter=segmenter, prompts="everything")
    assert segmenter.asked == [[]] * 4
    words.write_text("\n")
    with pytest.raises(StepError, match="holds no words"):
        collection.run("00001", prompts="vocabulary", words=words)


def test_numpy_reads_and_writes_the_same_bytes(tmp_path):
    for count in (0, 1, 9, 10, 12_345):
        rows = np.random.default_rng(1).normal(size=(count, 3)).astype(np.float16)
        with ShardWriter(tmp_path, "00000", 3) as writer:
            row = {name: None for name, _ in SEGMENTS} | {"vlm_tags": []}
            for vector in rows:
                writer.add([row], [vector])
            writer.close([], "d", {}, 0)
        buffer = io.BytesIO()
        np.save(buffer, rows)
        assert (tmp_path / FILES[EMBEDDINGS].format("00000")).read_bytes() == buffer.getvalue()
        assert pq.read_metadata(tmp_path / FILES[METADATA].format("00000")).num_rows == count
        assert len(json.loads((tmp_path / FILES[METADATA_JSON].format("00000")).read_text())) == count


def test_names_and_tags_of_any_kind_come_through(tmp_path):
    made = Collection(tmp_path)
    key, tag = 'dir v1.2/100% "it\'s" #5 {x} 写真', 'a "quoted",\n写真 😀 {tag}'
    made.write("00000", {key: PICTURES["a"]}, tags={key: [tag]})
    made.run("00000")
    row = table(made, IMAGES_TABLE)[0]
    assert (row["key"], row["tags"], row["url"]) == (key, [tag], f"https://example.org/{key}")
    text = (made.places.folder / FILES[METADATA_JSON].format("00000")).read_text(encoding="utf-8")
    assert [(each["key"], each["vlm_tags"]) for each in json.loads(text)] == [(key, [tag])] * 2
    assert [each["crop_id"] for each in json.loads(text)] == [f"{key}_0", f"{key}_full"]
    assert "写真 😀" in text, "for people to read"


# ---- the manifest ----


def test_the_manifest_says_what_there_is(collection, log_text):
    counts = collection.run("00001", "00000", "00007")
    assert (counts["shards"], counts["missing"]) == (2, 1)
    block = Block.read(collection.manifest)
    assert (block.block, block.missing) == ("0000", ("00007",))
    assert [shard.shard for shard in block.shards] == ["00000", "00001"]
    assert block.embedding["d"] == WIDTH
    assert block.segmenter["prompts"] == "tags"
    first = block.shards[0]
    assert (first.rows, first.untagged) == (7, 2)
    assert first.outcomes == {"embedded": 4, "empty": 0, "error": 0, "absent": 0}
    assert set(first.files) == set(FILES)
    for kind, entry in first.files.items():
        data = first.path(collection.places.folder, kind).read_bytes()
        assert entry == {"path": FILES[kind].format("00000"), "size": len(data), "sha256": sha256(data)}
    assert np.array_equal(first.vectors(collection.places.folder), vectors(collection))
    assert f"{collection.places.tar('00007')}: not there: left out" in log_text()


def test_a_block_without_any_shard_is_a_manifest_all_the_same(collection):
    counts = collection.run("00008", "00009")
    assert (counts["shards"], counts["missing"], counts["images"]) == (0, 2, 0)
    assert Block.read(collection.manifest).missing == ("00008", "00009")


def test_the_log_tells_of_each_shard(collection, log_text):
    collection.write("00000", {key: PICTURES[key] for key in "abcd"}, rows=["a", "b"], tags={"a": ["x"]})
    collection.run("00000")
    assert "shard 00000: 4 embedded, 0 empty, 0 error, 0 absent, 5 segments, 3 untagged, 2 without a row" in log_text()
    assert "4 images in" in log_text()


def test_an_image_that_gets_lost_on_the_way_stops_the_step(collection, monkeypatch):
    run = source_shard.Flow.run
    monkeypatch.setattr(source_shard.Flow, "run", lambda *args: (each for each in run(*args) if each.sample.key != "c"))
    with pytest.raises(AccountingError, match="1 images listed but without an outcome: c"):
        collection.run("00000")
    assert not collection.manifest.exists()
    assert collection.files() == {}, "nothing of a shard that does not add up"


# ---- again ----


def refuse():
    raise AssertionError("loaded")


def test_the_same_input_gives_the_same_bytes(collection, tmp_path):
    collection.run("00000", "00001", "00002")
    first = collection.files()
    other = Collection(tmp_path / "other")
    for place, there in zip(collection.places[:2], other.places[:2], strict=True):
        for path in place.iterdir():
            (there / path.name).write_bytes(path.read_bytes())
            os.utime(there / path.name, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.run("00002", "00000", "00001")
    assert other.files() == first


def test_the_files_of_a_shard_do_not_depend_on_the_others_or_on_the_batches(collection, tmp_path):
    collection.run("00000", "00001", encoder=Means(4), segmenter=Words(3))
    first = {name: data for name, data in collection.files().items() if "00001" in name}
    for path in collection.places.folder.rglob("*_00001*"):
        path.unlink()
    collection.run("00001", encoder=Means(5), segmenter=Words(2))
    assert {name: data for name, data in collection.files().items() if "00001" in name} == first


def test_what_is_there_is_known_and_loads_no_model(collection, monkeypatch):
    first = collection.run("00000", "00001")
    before = collection.files()
    times = {path: path.stat().st_mtime_ns for path in (collection.places.folder / "embeddings").iterdir()}
    monkeypatch.setattr("tests.unit.autotag.shard_data.models", lambda *_: models_that_refuse())
    assert collection.run("00000", "00001") == first | {"known": 2}
    assert collection.files() == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


def models_that_refuse():
    return Models(refuse, refuse, Preprocess(8, "shortest", "bicubic", 0, False), WIDTH)


def test_a_new_or_changed_shard_is_made_and_the_others_are_known(collection):
    collection.run("00000")
    assert collection.run("00000", "00001")["known"] == 1
    collection.write("00001", {"e": PICTURES["a"]}, tags={"e": ["new"]})
    assert collection.run("00000", "00001")["known"] == 1
    assert [row["tags"] for row in table(collection, IMAGES_TABLE, "00001")] == [["new"]]


@pytest.mark.parametrize("end", [".tar", ".parquet", ".json"])
def test_each_file_of_a_shard_counts(collection, end):
    collection.run("00000", "00001")
    path = next(place / f"00000{end}" for place in collection.places[:2] if (place / f"00000{end}").exists())
    os.utime(path, ns=(1, 1))
    assert collection.run("00000", "00001")["known"] == 1
    assert collection.run("00000", "00001")["known"] == 2
    if end != ".tar":
        path.unlink()
        assert collection.run("00000", "00001")["known"] == 1


def test_a_state_that_nobody_watched_is_the_one_that_the_rules_would_give(collection):
    source = Source(dataset=str(collection.places.dataset), tags=str(collection.places.tags))
    watched = planned_shards(source, True)
    assert {shard: collection.places.state(shard) for shard in watched} == watched
    collection.run("00000", "00001", "00002")
    assert collection.run("00000", "00001", "00002", states=watched)["known"] == 3
    assert collection.run("00000", "00001", "00002", states=watched | {"00001": "changed"})["known"] == 2


@pytest.mark.parametrize(
    "changed", [{"min_area": 51}, {"whole_image": False}, {"prompts": "everything"}, {"max_pixels": 9999}, {"conf": 0.3}]
)
def test_other_settings_make_a_shard_again(collection, changed):
    collection.run("00000")
    assert collection.run("00000", **changed)["known"] == 0
    assert collection.run("00000", **changed)["known"] == 1


def test_the_digest_depends_on_models_words_and_state(tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("cat\n")
    recipe = {"segment": SEGMENT, "words": words, "max_pixels": 100, "embedding": {"fingerprint": "a"}, "segmenter": {"fingerprint": "b"}}
    first = Recipe(**recipe).digest("state")
    assert Recipe(**recipe).digest("state") == first
    assert Recipe(**recipe).digest("other") != first
    for other in ({"embedding": {"fingerprint": "c"}}, {"segmenter": {"fingerprint": "c"}}, {"words": None}):
        assert Recipe(**recipe | other).digest("state") != first
    words.write_text("dog\n")
    assert Recipe(**recipe).digest("state") != first, "the words, not the name of their file"


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("how", ["gone", "cut"])
def test_a_file_that_is_gone_or_cut_is_made_again(collection, kind, how):
    collection.run("00000", "00001")
    before = collection.files()
    path = collection.places.folder / FILES[kind].format("00000")
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-10])
    assert collection.run("00000", "00001")["known"] == 1
    assert collection.files() == before


@pytest.mark.parametrize("metadata", [{}, {"digest": "d"}, {"digest": "d", "files": []}, {"digest": "d", "files": {"a": {}}}])
def test_a_table_of_another_making_is_not_known(tmp_path, metadata):
    tables.write(tmp_path / FILES[IMAGES_TABLE].format("00000"), IMAGES, [], metadata)
    assert known_shard(tmp_path, "00000", "d") is None


def test_files_that_are_being_replaced_are_not_known_by_the_old_table(collection, monkeypatch):
    """Killed between the new vectors and the new table, and then set back to the settings of the old one."""
    collection.run("00000")
    monkeypatch.setattr(tables, "write", refuse_to_write)
    with pytest.raises(KeyboardInterrupt):
        collection.run("00000", min_area=60)
    monkeypatch.undo()
    assert collection.run("00000")["known"] == 0


def refuse_to_write(*_, **__):
    raise KeyboardInterrupt


def test_a_step_that_fails_leaves_no_half_files_and_goes_on_with_the_next_shard(collection):
    with pytest.raises(ValueError, match="cannot reshape"):
        collection.run("00000", "00001", segmenter=Words(broken=True))
    assert collection.files() == {}
    collection.run("00000")
    with pytest.raises(ValueError, match="cannot reshape"):
        collection.run("00000", "00001", segmenter=Words(broken=True))
    assert collection.run("00000", "00001")["known"] == 1
