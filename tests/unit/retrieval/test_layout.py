"""Categories and concepts by folders: both layouts, flat ones, and that no file is overlooked."""

import os
from pathlib import Path

import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.core.storage import FolderStorage
from workflow_scripts.retrieval.layout import Section, sections, strays

TABLE = {"bo": "animal", "mam": "animal", "lamp": "thing"}


def put(root, *paths):
    for path in paths:
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"x")


def found(root, table=None, train="train", test="test"):
    return sections(str(root), train, test, table or {})


def above(root, train="train", test="test"):
    return strays(str(root), train, test)


# ---- the folders of categories ----


def test_without_train_and_test_folders_categories_lie_in_the_root(tmp_path):
    put(tmp_path, "mug/red/1.jpg", "dog/rex/1.jpg", "Zebra/z/1.jpg", "a b, 'c'/x/1.jpg")
    places = found(tmp_path)
    assert list(places) == ["Zebra", "a b, 'c'", "dog", "mug"]
    assert places["mug"] == [Section("mug", "")]


def test_with_both_folders_a_category_has_a_part_in_each(tmp_path):
    put(tmp_path, "train/mug/red/1.jpg", "test/mug/red/2.jpg", "train/dog/rex/1.jpg", "test/cat/tom/1.jpg")
    assert found(tmp_path) == {
        "cat": [Section("test/cat", "test")],
        "dog": [Section("train/dog", "train")],
        "mug": [Section("train/mug", "train"), Section("test/mug", "test")],
    }
    assert list(found(tmp_path)) == ["cat", "dog", "mug"]


def test_a_training_folder_alone_says_it_too(tmp_path):
    put(tmp_path, "train/mug/red/1.jpg", "notes.txt", ".cache/x")
    assert found(tmp_path) == {"mug": [Section("train/mug", "train")]}


@pytest.mark.parametrize(
    ("paths", "categories"),
    [
        (("train/steam/1.jpg", "mug/red/1.jpg"), ["mug", "train"]),  # toy trains
        (("test/a/1.jpg", "mug/red/1.jpg"), ["mug", "test"]),
        (("test/a/1.jpg",), ["test"]),
        (("train", "test", "mug/red/1.jpg"), ["mug"]),  # files
        (("Train/a/1.jpg", "Test/a/1.jpg"), ["Test", "Train"]),
    ],
)
def test_a_category_may_be_called_train(tmp_path, paths, categories):
    put(tmp_path, *paths)
    places = found(tmp_path)
    assert list(places) == categories
    assert all(section == Section(category, "") for category, (section,) in places.items())


def test_the_folders_can_have_other_names(tmp_path):
    put(tmp_path, "fit/train/red/1.jpg", "held out/train/red/2.jpg")
    assert found(tmp_path, train="fit", test="held out") == {"train": [Section("fit/train", "train"), Section("held out/train", "test")]}
    assert list(found(tmp_path)) == ["fit", "held out"]


def test_concept_folders_without_categories_find_theirs_in_the_table(tmp_path):
    put(tmp_path, "lamp/1.jpg", "mam/1.jpg", "bo/1.jpg")
    assert found(tmp_path, TABLE) == {
        "animal": [Section("bo", "", "bo"), Section("mam", "", "mam")],
        "thing": [Section("lamp", "", "lamp")],
    }


def test_concept_folders_without_categories_in_train_and_test(tmp_path):
    put(tmp_path, "train/bo/1.png", "train/mam/1.png", "test/mam/0.png")
    assert found(tmp_path, TABLE) == {
        "animal": [Section("train/bo", "train", "bo"), Section("train/mam", "train", "mam"), Section("test/mam", "test", "mam")]
    }


def test_a_concept_that_the_table_lacks_is_named(tmp_path):
    put(tmp_path, "train/bo/1.png", "train/un known/1.png", "test/bo/1.png")
    with pytest.raises(StepError, match=r"train/un known: concept_categories names no category for un known; add `un known: …`"):
        found(tmp_path, TABLE)


def test_an_empty_root_has_no_category(tmp_path):
    assert found(tmp_path) == {}
    (tmp_path / "mug").mkdir()
    assert found(tmp_path) == {"mug": [Section("mug", "")]}
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    assert found(tmp_path / "train") == {}


def test_the_order_on_disk_does_not_matter(tmp_path, request):
    put(tmp_path, *(f"{side}/{name}/1.png" for side in ("train", "test") for name in TABLE), *"zxya")
    wanted, files = found(tmp_path, TABLE), above(tmp_path)
    request.getfixturevalue("backwards")
    assert (found(tmp_path, TABLE), above(tmp_path)) == (wanted, files)
    assert list(found(tmp_path, TABLE)) == ["animal", "thing"]


def test_hidden_folders_are_no_categories(tmp_path):
    put(tmp_path, "train/.cache/a/1.jpg", "train/mug/red/1.jpg", ".git/a/1.jpg", ".train/x/y/1.jpg")
    assert found(tmp_path) == {"mug": [Section("train/mug", "train")]}


def test_linked_folders_are_categories(tmp_path):
    put(tmp_path / "elsewhere", "red/1.jpg")
    put(tmp_path / "root", "dog/rex/1.jpg")
    (tmp_path / "root" / "mug").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "gone").symlink_to(tmp_path / "nowhere")
    assert list(found(tmp_path / "root")) == ["dog", "mug"]
    assert above(tmp_path / "root") == ["gone"]


# ---- a root that cannot be used ----


@pytest.mark.parametrize(("name", "why"), [("missing", "no such file or directory"), ("file", "not a directory")])
@pytest.mark.parametrize("function", [found, above])
def test_a_root_that_is_no_folder_is_named(tmp_path, name, why, function):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StepError) as caught:
        function(tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name}: {why}; data_root must be a folder that can be read"


def test_a_folder_that_may_not_be_read_is_named(open_folder, without_privileges):
    put(open_folder, "train/mug/red/1.jpg", "test/mug/red/1.jpg")
    (open_folder / "test").chmod(0)
    with without_privileges(), pytest.raises(StepError, match=r"/test: permission denied"):
        found(open_folder)


@pytest.mark.parametrize("where", ["", "train"])
def test_a_folder_whose_name_is_no_utf8_is_named(tmp_path, where):
    put(tmp_path, "train/mug/red/1.jpg", "test/mug/red/1.jpg")
    (tmp_path / where / os.fsdecode(b"caf\xe9")).mkdir()
    with pytest.raises(StepError, match=r"the name of caf\\udce9 is no UTF-8; rename the folder"):
        found(tmp_path)


# ---- the place of a file ----


@pytest.mark.parametrize("part", ["", "train", "test"])
@pytest.mark.parametrize(
    ("key", "concept", "reason"),
    [
        ("red/1.jpg", "red", ""),
        ("a, 'b' \"c\"\nd/1.jpg", "a, 'b' \"c\"\nd", ""),
        ("1.jpg", "", "skipped: in no concept folder"),
        ("laion", "", "skipped: in no concept folder"),
        ("red/deep/1.jpg", "red", "skipped: in a subfolder of the concept"),
        ("red/laion/deep/1.jpg", "red", "skipped: in a subfolder of the concept"),
        ("red/Laion/1.jpg", "red", "skipped: in a subfolder of the concept"),
        ("red/deep/laion/1.jpg", "red", "skipped: in a subfolder of the concept"),
        ("laion/1.jpg", "laion", ""),  # a concept of that name
    ],
)
def test_the_first_folder_of_a_category_is_the_concept(part, key, concept, reason):
    assert Section("mug", part).place(key) == (concept, part, reason)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("1.jpg", ""),
        ("deep/1.jpg", "skipped: in a subfolder of the concept"),
        ("deep/laion/1.jpg", "skipped: in a subfolder of the concept"),
    ],
)
def test_a_concept_s_own_folder_holds_its_images(key, reason):
    for part in ("", "train", "test"):
        assert Section("bo", part, "bo").place(key) == ("bo", part, reason)


def test_laion_is_for_negatives_in_training_concepts_alone():
    assert Section("train/mug", "train").place("red/laion/1.jpg") == ("red", "negative", "")
    assert Section("train/bo", "train", "bo").place("laion/1.jpg") == ("bo", "negative", "")
    for part in ("", "test"):
        assert Section("mug", part).place("red/laion/1.jpg") == ("red", part, "skipped: in a subfolder of the concept")
        assert Section("bo", part, "bo").place("laion/1.jpg") == ("bo", part, "skipped: in a subfolder of the concept")


# ---- files in no category folder ----


def test_files_above_the_categories_are_strays(tmp_path):
    put(tmp_path, "b.txt", "a\nb.jpg", "train/list.csv", "train/mug/1.jpg", "test/mug/red/1.jpg", "test/x.jpg")
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"")
    assert above(tmp_path) == ["a\nb.jpg", "b.txt", "caf\\udce9.jpg", "test/x.jpg", "train/list.csv"]


def test_files_of_the_root_are_strays(tmp_path):
    put(tmp_path, "b.txt", "mug/1.jpg", "mug/red/1.jpg", ".DS_Store")
    assert above(tmp_path) == ["b.txt"]


@pytest.mark.parametrize(
    "paths",
    [
        ("mug/red/1.jpg", "mug/1.jpg", "1.jpg", "mug/red/deep/1.jpg", "train/a/1.jpg"),
        ("train/mug/red/1.jpg", "train/1.jpg", "1.jpg"),
        ("train/mug/red/1.jpg", "test/mug/red/2.jpg", "test/1.jpg", "1.jpg"),
        ("train/mug/red/1.jpg", "test/mug/red/2.jpg", "validation/mug/red/3.jpg"),
        ("train/mug/red/1.jpg", "test/mug/red/2.jpg", "mug/blue/3.jpg", "other/1.jpg"),
    ],
    ids=["automatic", "training alone", "explicit", "a third folder", "categories beside"],
)
def test_every_file_is_a_category_s_or_a_stray_or_the_root_is_refused(tmp_path, paths):
    put(tmp_path, *paths)
    try:
        places = [section.path for its in found(tmp_path).values() for section in its]
    except StepError:
        return
    listed = [f"{place}/{item.key}" for place in places for item in FolderStorage(Path(tmp_path, place)).list()]
    assert sorted(listed + above(tmp_path)) == sorted(paths)
