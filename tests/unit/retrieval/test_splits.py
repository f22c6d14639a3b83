"""retrieval 02: how many and which concepts are for training, the test images that join them, and what both sides share."""

import hashlib
import itertools
import json
import math
import os
from fractions import Fraction
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.retrieval import catalog as catalog_module
from workflow_scripts.retrieval import splits
from workflow_scripts.retrieval.catalog_file import ConceptImages, read_catalog, write_catalog
from workflow_scripts.retrieval.splits import sample_tests, shared_images, split_concepts, training_concepts, write_splits

CHOICE = {"seed": 23, "concept_frac": 0.65, "min_concepts_threshold": 3, "test_sample_frac": 1.0, "max_test_images": 200}
SETTINGS = CHOICE | {"data_root": "/data", "relative": True}
CONCEPTS = [f"c{number:02}" for number in range(30)]


def chosen(concepts, category="mug", **changes):
    return training_concepts(list(concepts), SETTINGS | changes, category)


def images(concept, train=2, test=2, negative=0):
    """A concept's lists."""
    counts = {"train": train, "test": test, "negative": negative}
    return ConceptImages(**{part: [f"{concept}/{part} {number}.jpg" for number in range(count)] for part, count in counts.items()})


def catalog_of(**categories):
    """So many concepts in each category."""
    return {name: {f"c{number}": images(f"{name}/c{number}", negative=1) for number in range(count)} for name, count in categories.items()}


def sampled(count, **changes):
    return sample_tests(images("c", test=count), SETTINGS | changes, "mug", "c")


# ---- how many concepts are for training ----


@pytest.mark.parametrize("text", ["0", "0.07", "0.1", "0.29", "0.333", "0.35", "0.5", "0.65", "0.9", "0.999", "1"])
@pytest.mark.parametrize("least", [2, 3, 5])
def test_the_number_of_training_concepts(text, least):
    for count in range(31):
        found = chosen(CONCEPTS[:count], concept_frac=float(text), min_concepts_threshold=least)
        wanted = min(count - 1, max(1, math.ceil(Fraction(text) * count))) if count >= least else 0
        assert len(found) == wanted, count
        assert len(set(found)) == wanted


@pytest.mark.parametrize(
    ("fraction", "count", "wanted"),
    [
        (0.07, 100, 7),  # as binary floats it is 7.000000000000001, and the ceiling 8
        (0.29, 100, 29),
        (0.55, 20, 11),
        (0.0, 3, 1),
        (1.0, 3, 2),
        (1.0, 30, 29),
        (0.65, 3, 2),
        (0.65, 2, 0),
        (0.65, 0, 0),
        (1e-9, 30, 1),
    ],
)
def test_shares_that_are_easily_got_wrong(fraction, count, wanted):
    assert len(chosen([f"{number}" for number in range(count)], concept_frac=fraction)) == wanted


# ---- which concepts are for training ----


def test_they_stand_in_the_order_of_the_catalog():
    found = chosen(CONCEPTS)
    assert found == [concept for concept in CONCEPTS if concept in found]
    assert set(chosen(CONCEPTS[::-1])) == set(found)
    assert chosen(CONCEPTS[::-1]) == found[::-1]


def test_seed_and_category_decide():
    found = {tuple(chosen(CONCEPTS)), tuple(chosen(CONCEPTS, seed=24)), tuple(chosen(CONCEPTS, category="dog"))}
    assert len(found) == 3


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.5, 0.65, 1.0])
def test_a_concept_more_moves_at_most_one_other(fraction):
    for count in range(3, 30):
        before = set(chosen(CONCEPTS[:count], concept_frac=fraction))
        for more in ("x", "a", "c", "zz"):
            after = set(chosen([*CONCEPTS[:count], more], concept_frac=fraction))
            assert len((before ^ after) - {more}) <= 1


def test_a_larger_share_holds_a_smaller():
    sides = [set(chosen(CONCEPTS, concept_frac=number / 30)) for number in range(31)]
    assert all(small <= large for small, large in itertools.pairwise(sides))


def test_every_concept_is_as_likely():
    counts = dict.fromkeys(CONCEPTS[:10], 0)
    for seed in range(1000):
        for concept in chosen(CONCEPTS[:10], seed=seed, concept_frac=0.5):
            counts[concept] += 1
    assert all(430 < count < 570 for count in counts.values())


# ---- test images that join ----


@pytest.mark.parametrize("text", ["0", "0.07", "0.1", "0.29", "0.5", "0.57", "0.58", "1"])
@pytest.mark.parametrize("most", [0, 1, 5, 200])
def test_the_number_of_sampled_test_images(text, most):
    for count in range(101):
        wanted = 0 if not count else min(most, max(1, math.floor(Fraction(text) * count)))
        found = sampled(count, test_sample_frac=float(text), max_test_images=most)
        assert len(found) == len(set(found)) == wanted, count
        assert set(found) <= set(images("c", test=count).test)


@pytest.mark.parametrize(
    ("fraction", "most", "count", "wanted"),
    [
        (0.29, 200, 100, 29),  # as binary floats it is 28.999999999999996
        (0.57, 200, 100, 57),
        (0.5, 200, 3, 1),
        (0.0, 200, 5, 1),
        (1.0, 200, 201, 200),
        (1.0, 0, 5, 0),
        (1.0, 200, 0, 0),
        (0.0, 0, 0, 0),
    ],
)
def test_samples_that_are_easily_got_wrong(fraction, most, count, wanted):
    assert len(sampled(count, test_sample_frac=fraction, max_test_images=most)) == wanted


def test_a_sample_depends_on_names_alone():
    def of(category="mug", concept="c", seed=23, turned=False):
        found = images("c", test=50)
        listed = found.test[::-1] if turned else found.test
        given = ConceptImages(train=[], test=listed, negative=[])
        return sample_tests(given, SETTINGS | {"seed": seed, "test_sample_frac": 0.5}, category, concept)

    assert of() == of(turned=True)
    assert len({tuple(sorted(found)) for found in (of(), of("dog"), of(concept="d"), of(seed=24))}) == 4
    assert of() != sorted(of())


def test_a_larger_sample_holds_a_smaller():
    samples = [sampled(40, max_test_images=most) for most in range(41)]
    assert all(large[: len(small)] == small for small, large in itertools.pairwise(samples))


# ---- both sides ----


def test_every_concept_is_on_one_side():
    catalog = catalog_of(mug=7, dog=2, cat=1, vase=3) | {"empty": {}}
    train, validation, metadata = split_concepts(catalog, SETTINGS)
    assert {name: len(concepts) for name, concepts in train.items()} == {"mug": 5, "dog": 0, "cat": 0, "vase": 2, "empty": 0}
    for name, concepts in catalog.items():
        assert not set(train[name]) & set(validation[name])
        assert [concept for concept in concepts if concept in train[name] or concept in validation[name]] == list(concepts)
        assert list(train[name]) == metadata["categories"][name]["selected_concepts"]
        for side in (train, validation):
            assert list(side[name]) == [concept for concept in concepts if concept in side[name]]
    assert list(train) == list(validation) == list(catalog)


def test_training_concepts_take_test_images_in_and_others_stay_as_they_are():
    catalog = {"mug": {f"c{number}": images(f"c{number}", train=3, test=number, negative=2) for number in range(10)}}
    train, validation, metadata = split_concepts(catalog, SETTINGS | {"test_sample_frac": 0.5, "max_test_images": 3})
    samples = metadata["categories"]["mug"]["sampled_test_images_by_concept"]
    assert list(samples) == list(train["mug"])
    for concept, found in train["mug"].items():
        whole, taken = catalog["mug"][concept], samples[concept]["sampled"]
        assert (found.train, found.test, found.negative) == ([*whole.train, *taken], [], whole.negative)
        assert set(taken) <= set(whole.test)
        assert samples[concept] == {"n_original_test": len(whole.test), "n_sampled": len(taken), "sampled": taken}
        assert len(taken) == (min(3, max(1, len(whole.test) // 2)) if whole.test else 0)
    assert validation["mug"] == {concept: whole for concept, whole in catalog["mug"].items() if concept not in train["mug"]}


def test_the_metadata_say_what_was_done():
    catalog = catalog_of(mug=4, dog=2) | {"empty": {}}
    _, _, metadata = split_concepts(catalog, SETTINGS | {"max_test_images": 0})
    selected = chosen(["c0", "c1", "c2", "c3"])
    assert {name: metadata[name] for name in CHOICE} == CHOICE | {"max_test_images": 0}
    mug, dog, empty = (metadata["categories"][name] for name in ("mug", "dog", "empty"))
    assert {name: mug[name] for name in ("n_concepts", "selected_count", "selected_concepts")} == {
        "n_concepts": 4,
        "selected_count": 3,
        "selected_concepts": selected,
    }
    assert mug["sampled_test_images_by_concept"] == {concept: {"n_original_test": 2, "n_sampled": 0, "sampled": []} for concept in selected}
    for small, count in ((dog, 2), (empty, 0)):
        assert (small["n_concepts"], small["selected_count"], small["selected_concepts"]) == (count, 0, [])
        assert small["sampled_test_images_by_concept"] == {}
        assert small["all_for_validation"] is True
    assert mug["all_for_validation"] is False


def test_only_the_seed_of_the_split_moves_concepts():
    catalog = catalog_of(mug=12)
    train, *_ = split_concepts(catalog, SETTINGS)
    assert list(split_concepts(catalog, SETTINGS | {"test_sample_frac": 0.1, "max_test_images": 1})[0]["mug"]) == list(train["mug"])
    assert list(split_concepts(catalog, SETTINGS | {"seed": 24})[0]["mug"]) != list(train["mug"])


# ---- what both sides share ----


def test_contents_on_both_sides_are_named():
    train = {"mug": {"red": ConceptImages(train=["b", "a", "gone"], test=["t"], negative=["n"])}}
    validation = {"dog": {"rex": ConceptImages(train=["c", "d"], test=["e"], negative=["m"])}, "mug": {}}
    contents = {"a": "1", "b": "2", "c": "2", "d": "3", "e": "2", "t": "3", "n": "5", "m": "5"}
    assert shared_images(train, validation, contents) == [
        {"sha256": "2", "train": ["b"], "validation": ["c", "e"]},
        {"sha256": "3", "train": ["t"], "validation": ["d"]},
    ]
    assert shared_images(train, {"dog": {}}, contents) == []


@pytest.fixture
def files(tmp_path):
    """Write catalog and table of all files; gives their paths, and those of the outputs."""

    def write(catalog, contents):
        paths = {name: tmp_path / f"{name}.json" for name in ("catalog", "train", "validation", "metadata")}
        write_catalog(paths["catalog"], catalog)
        rows = [{"catalog_path": path, "sha256": sha256} for path, sha256 in contents.items()]
        rows += [{"category": "", "path": "stray.txt", "outcome": "skipped"}]
        pq.write_table(pa.Table.from_pylist(rows, schema=catalog_module.SCHEMA), tmp_path / "images.parquet")
        return tmp_path / "images.parquet", paths

    return write


def contents_of(catalog):
    names = [path for its in catalog.values() for found in its.values() for path in (*found.train, *found.test, *found.negative)]
    return {name: hashlib.sha256(name.encode()).hexdigest() for name in names}


def outputs_of(paths):
    return {name: paths[name] for name in ("train", "validation", "metadata")}


def test_the_files_are_catalogs_and_metadata(files, log_text):
    catalog = catalog_of(mug=5, dog=2)
    contents = contents_of(catalog)
    train, validation, metadata = split_concepts(catalog, SETTINGS)
    mine, theirs = next(iter(train["mug"])), next(iter(validation["mug"]))
    copied = f"mug/{mine}/test 1.jpg", f"mug/{theirs}/train 0.jpg"
    contents[copied[1]] = contents[copied[0]]
    table, paths = files(catalog, contents)
    counts = write_splits(paths["catalog"], table, SETTINGS, outputs_of(paths))
    assert counts == {"train_concepts": 4, "validation_concepts": 3, "shared_images": 1}
    assert read_catalog(paths["train"]) == train
    assert read_catalog(paths["validation"]) == validation
    shared = [{"sha256": contents[copied[0]], "train": [copied[0]], "validation": [copied[1]]}]
    assert json.loads(paths["metadata"].read_text("utf-8")) == metadata | {"shared_images": shared}
    assert f"the same image is on both sides: {copied[0]} and {copied[1]}" in log_text()
    before = {path: path.read_bytes() for path in paths.values()}
    write_splits(paths["catalog"], table, SETTINGS, outputs_of(paths))
    assert {path: path.read_bytes() for path in paths.values()} == before


def test_a_test_image_that_was_not_sampled_is_on_no_side(files):
    catalog = catalog_of(mug=3)
    contents = contents_of(catalog)
    train, validation, _ = split_concepts(catalog, SETTINGS)
    mine, theirs = next(iter(train["mug"])), next(iter(validation["mug"]))
    contents[f"mug/{mine}/test 1.jpg"] = contents[f"mug/{theirs}/train 0.jpg"]
    table, paths = files(catalog, contents)
    assert write_splits(paths["catalog"], table, SETTINGS, outputs_of(paths))["shared_images"] == 1
    assert write_splits(paths["catalog"], table, SETTINGS | {"max_test_images": 0}, outputs_of(paths))["shared_images"] == 0


def test_one_concept_only_is_for_validation(files):
    catalog = catalog_of(mug=1)
    table, paths = files(catalog, contents_of(catalog))
    counts = write_splits(paths["catalog"], table, SETTINGS, outputs_of(paths))
    assert counts == {"train_concepts": 0, "validation_concepts": 1, "shared_images": 0}
    assert read_catalog(paths["train"]) == {"mug": {}}
    assert read_catalog(paths["validation"]) == catalog


def test_a_catalog_that_was_edited_to_something_wrong_is_named(files):
    catalog = catalog_of(mug=3)
    table, paths = files(catalog, contents_of(catalog))
    paths["catalog"].write_text(paths["catalog"].read_text().replace('"test"', '"tset"', 1))
    with pytest.raises(StepError, match=r"catalog\.json: mug\.c0\."):
        write_splits(paths["catalog"], table, SETTINGS, outputs_of(paths))
    assert not paths["train"].exists()


def test_names_of_every_kind(files):
    name = "a, 'b' \"c\"\nd → é\\"
    catalog = {name: {f"{name}{number}": images(f"{name}{number}") for number in range(4)}}
    table, paths = files(catalog, contents_of(catalog))
    write_splits(paths["catalog"], table, SETTINGS, outputs_of(paths))
    metadata = json.loads(paths["metadata"].read_text("utf-8"))
    assert list(read_catalog(paths["train"])[name]) == metadata["categories"][name]["selected_concepts"]
    assert "é" in paths["metadata"].read_text("utf-8")


def test_the_step_takes_its_params(files, start):
    catalog = catalog_of(mug=5, dog=2)
    table, paths = files(catalog, contents_of(catalog))
    write_splits(paths["catalog"], table, SETTINGS, outputs_of(paths))
    before = {name: path.read_bytes() for name, path in outputs_of(paths).items()}
    made = {name: str(paths["catalog"].parent / "02" / name) for name in before}
    said = start(splits, {"catalog": str(paths["catalog"]), "images": str(table)}, made, splits=SETTINGS)
    assert "done: train_concepts=4 validation_concepts=3 shared_images=0" in said
    assert {name: Path(path).read_bytes() for name, path in made.items()} == before


@pytest.mark.parametrize("data_root", ["/mnt/disk", "photos/", "."])
def test_the_sample_survives_a_move_of_the_dataset(data_root):
    below = images("c", test=30).test
    wanted = sample_tests(images("c", test=30), SETTINGS | {"test_sample_frac": 0.5}, "mug", "c")
    placed = ConceptImages(train=[], test=[os.path.join(data_root, path) for path in below], negative=[])
    elsewhere = SETTINGS | {"test_sample_frac": 0.5, "data_root": data_root, "relative": False}
    assert sample_tests(placed, elsewhere, "mug", "c") == [os.path.join(data_root, path) for path in wanted]
