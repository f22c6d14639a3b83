"""What the rules of autotag give their steps: shards and blocks by number, training that is drawn once, targets by their folders."""

import json
import os

import pytest

from workflow_scripts.autotag import params
from workflow_scripts.core.step import StepError
from workflow_scripts.settings.autotag import Autotag


@pytest.fixture(autouse=True)
def _folders_are_looked_at_anew():
    params.shards.cache_clear()


def chosen(**settings) -> Autotag:
    return Autotag.model_validate(settings)


def source(folder, **more):
    return chosen(source={"dataset": str(folder / "shards"), "tags": str(folder / "tags"), **more}, index_dir=str(folder / "index"))


@pytest.fixture
def collection(tmp_path):
    """Shards 0, 1, 5 and 130, with tables and tags; and files that are none."""
    for name in ("shards", "tags"):
        (tmp_path / name).mkdir()
    for number in (0, 1, 5, 130):
        (tmp_path / f"shards/{number:05d}.tar").write_bytes(b"tar")
        (tmp_path / f"shards/{number:05d}.parquet").write_bytes(b"table")
        (tmp_path / f"tags/{number:05d}.json").write_text("[]")
    for name in ("1.tar", "000001.tar", "00002.parquet", "00003.tar.tmp", "notes.txt"):
        (tmp_path / "shards" / name).touch()
    return tmp_path


def test_shards_are_the_tars_of_five_digits(collection):
    assert list(params.shards(source(collection).source, True)) == ["00000", "00001", "00005", "00130"]


def test_the_range_is_exclusive_at_its_end(collection):
    assert list(params.shards(source(collection, start_shard=1, end_shard=130).source, True)) == ["00001", "00005"]


@pytest.mark.parametrize("file", ["shards/00005.tar", "shards/00005.parquet", "tags/00005.json"])
def test_a_shard_is_another_one_when_any_of_its_files_is(collection, file):
    before = params.shards(source(collection).source, True)
    os.utime(collection / file, (1, 1))
    params.shards.cache_clear()
    after = params.shards(source(collection).source, True)
    assert {name for name in after if after[name] != before[name]} == {"00005"}


def test_blocks_are_cut_by_the_shards_own_numbers_so_that_a_new_one_moves_no_other(collection):
    settings = source(collection, block_shards=4)
    before = params.blocks(settings.source, True)
    assert {block: list(found) for block, found in before.items()} == {
        "0000": ["00000", "00001"],
        "0001": ["00005"],
        "0032": ["00130"],
    }
    (collection / "shards/00004.tar").touch()
    params.shards.cache_clear()
    after = params.blocks(settings.source, True)
    assert {block for block in after if after[block] != before.get(block)} == {"0001"}
    started_later = params.blocks(source(collection, block_shards=4, start_shard=1).source, True)
    assert started_later["0001"] == after["0001"]


def test_ten_thousand_shards_are_planned_without_a_look_at_them():
    settings = chosen(source={"dataset": "/not/there", "end_shard": 10_000})
    found = params.blocks(settings.source, False)
    assert len(found) == 157
    assert [name for block in found.values() for name in block] == [f"{number:05d}" for number in range(10_000)]
    assert {state for block in found.values() for state in block.values()} == {None}


@pytest.mark.parametrize(
    ("settings", "watched", "said"),
    [
        ({}, True, r"^autotag\.source\.dataset is empty"),
        ({"dataset": "/not/there"}, True, r"^autotag\.source: /not/there: no such folder$"),
        ({"dataset": "/not/there"}, False, r"^autotag\.source\.end_shard: needed where watch_sources is false"),
    ],
)
def test_a_source_that_cannot_be_used_is_said(settings, watched, said):
    with pytest.raises(StepError, match=said):
        params.shards(chosen(source=settings).source, watched)


def test_a_folder_without_shards_is_said(collection):
    with pytest.raises(StepError, match=r"shards: no shards \(NNNNN\.tar\) from 6 to below 130 in it$"):
        params.shards(source(collection, start_shard=6, end_shard=130).source, True)


def record(folder, shards, label="1", drawn=True):
    (folder / "index/02_index").mkdir(parents=True, exist_ok=True)
    train = {"drawn": drawn, "label": label, "shards": shards}
    (folder / "index/02_index/index_metadata.json").write_text(json.dumps({"train": train}))


def test_training_shards_are_drawn_once_and_then_remembered(collection):
    settings = source(collection)
    assert params.train_shards(settings, True) == ["00000", "00001", "00005", "00130"]
    record(collection, ["00001"])
    (collection / "shards/00007.tar").touch()
    params.shards.cache_clear()
    assert params.train_shards(settings, True) == ["00001"]
    assert params.train_blocks(settings, True) == ["0000"]


def test_another_label_draws_anew_and_so_does_a_shard_that_is_gone(collection):
    settings = source(collection)
    record(collection, ["00001"], label="before")
    assert len(params.train_shards(settings, True)) == 4
    record(collection, ["00001", "00999"])
    assert len(params.train_shards(settings, True)) == 4


def test_shards_that_are_named_are_taken_whatever_was_drawn_before(collection):
    settings = source(collection)
    named = settings.model_copy(update={"faiss": settings.faiss.model_copy(update={"train_shards": [130, 5, 5]})})
    record(collection, ["00001"])
    assert params.train_shards(named, True) == ["00005", "00130"]
    assert params.training(named, True)["drawn"] is False
    gone = settings.model_copy(update={"faiss": settings.faiss.model_copy(update={"train_shards": [6]})})
    with pytest.raises(StepError, match=r"^autotag\.faiss\.train_shards: no such shards: 00006$"):
        params.train_shards(gone, True)


def test_many_shards_are_a_sample_that_another_label_changes():
    settings = chosen(source={"dataset": "/not/there", "end_shard": 3000})
    first = params.train_shards(settings, False)
    other = settings.model_copy(update={"faiss": settings.faiss.model_copy(update={"train_label": "2"})})
    assert len(first) == len(set(first)) == 256
    assert first == sorted(first)
    assert first != params.train_shards(other, False)


def test_votes_depend_on_no_setting_of_the_search_and_the_other_way_round():
    settings = chosen()
    assert "k" in params.voting(settings)
    assert not params.voting(settings).keys() & {"k_max", "nprobe", "rerank"}
    assert params.searching(settings).keys() == {"k_max", "nprobe", "rerank"}
    assert list(params.voting(settings)) == sorted(params.voting(settings))
    assert not params.training(chosen(source={"dataset": "d", "end_shard": 2}), False).keys() & {"k", "k_max", "nprobe", "rerank", "batch"}


@pytest.mark.parametrize(("backend", "weights"), [("sam3", "sam3.pt"), ("sam", "sam_l.pt"), ("fastsam", "FastSAM-x.pt")])
def test_each_segmenter_has_weights_of_its_own_by_default(backend, weights):
    assert params.segment_model(chosen(segmenter={"backend": backend}))["name"] == weights
    own = params.segment_model(chosen(segmenter={"backend": backend, "weights": "mine.pt"}))
    assert own == {"kind": "segment", "name": "mine.pt", "sha256": None}


@pytest.fixture
def folders(tmp_path):
    for name in ("00290", "b c", ".hidden"):
        (tmp_path / "in" / name).mkdir(parents=True)
    (tmp_path / "in/file.json").touch()
    return tmp_path / "in"


def test_targets_are_the_folders_of_a_dataset_and_those_named_beside(folders):
    settings = chosen(target_dataset=str(folders), targets={"more": str(folders)})
    found = params.targets(settings)
    assert list(found.values()) == [str(folders), str(folders / "00290"), str(folders / "b c")]
    assert list(found)[:2] == ["more", "00290"]
    assert params.targets(chosen(target_dataset=str(folders), folders=["00290"])) == {"00290": str(folders / "00290")}
    assert params.targets(chosen()) == {}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"folders": ["00291"]}, r"00291: no such folder to tag$"),
        ({"targets": {"00290": "IN"}}, r"^autotag\.targets: 00290 is a folder of target_dataset too"),
        ({"targets": {"a": "/not/there"}}, r"^autotag: /not/there: no such folder to tag$"),
    ],
)
def test_targets_that_cannot_be_are_said(folders, settings, said):
    if "targets" in settings:
        settings = {"targets": {name: path.replace("IN", str(folders)) for name, path in settings["targets"].items()}}
    with pytest.raises(StepError, match=said):
        params.targets(chosen(target_dataset=str(folders), **settings))


def test_folders_without_a_dataset_are_said():
    with pytest.raises(StepError, match=r"^autotag\.folders: names folders of target_dataset, which is empty$"):
        params.targets(chosen(folders=["a"]))


def test_tags_of_a_target_stand_beside_its_folder(folders):
    with pytest.raises(StepError, match=r"target_prompts: tags needs a file .*b c\.json; without it use vocabulary$"):
        params.target_tags(str(folders / "b c"))
    (folders / "b c.json").touch()
    assert params.target_tags(str(folders / "b c")) == str(folders / "b c.json")
