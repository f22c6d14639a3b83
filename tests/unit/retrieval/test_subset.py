"""The target retrieval_subset: its files, and what it refuses."""

import csv
import json
import runpy
from types import SimpleNamespace

import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.retrieval import subset
from workflow_scripts.retrieval.catalog_file import ConceptImages, read_catalog, write_catalog

SETTINGS = {"cover_categories": False, "k": [2, 3], "prefix": "best", "seed": 23, "target": 10}


def images(category, concept, count):
    train = [f"{category}/{concept}/{number}.jpg" for number in range(count)]
    return ConceptImages(train=train, test=[], negative=[f"{category}/{concept}/other.jpg"])


@pytest.fixture
def split(tmp_path):
    """A training side out of alphabetical order, with a concept without images and a category without concepts."""
    counts = {"mug": {"zulu": 1, "al,pha": 9, "empty": 0}, "dog": {'rex "2"': 4, "line\rend": 6}, "car": {}}
    catalog = {category: {name: images(category, name, count) for name, count in found.items()} for category, found in counts.items()}
    path = tmp_path / "train_combined_concepts_subset_65.json"
    write_catalog(path, catalog)
    return path


def write(split, **changes):
    """Run the step; gives its counts and, for each k, catalog, lines of the list, and numbers."""
    settings = SETTINGS | changes
    folder = split.parent / "out"
    sets = [folder / f"train_combined_concepts_best_{k}_seed_23.json" for k in settings["k"]]
    lists = [folder / f"best_{k}_best_list.txt" for k in settings["k"]]
    counts = subset.write_subsets(split, settings, sets, lists, folder / "best_metadata.json")
    numbers = json.loads((folder / "best_metadata.json").read_text())
    assert list(numbers) == [str(k) for k in settings["k"]]
    lines = [list(csv.reader(path.open(encoding="utf-8", newline=""))) for path in lists]
    return counts, {k: (read_catalog(path), rows, numbers[str(k)]) for k, path, rows in zip(settings["k"], sets, lines, strict=True)}


def test_each_k_gets_the_entries_as_they_were_in_catalog_order(split):
    counts, found = write(split)
    assert counts == {"sets": 2, "optimal": 2, "largest_gap": 1}
    before = read_catalog(split)
    for k, names in ((2, None), (3, [("mug", "zulu"), ("dog", 'rex "2"'), ("dog", "line\rend")])):
        catalog, rows, numbers = found[k]
        listed = [(category, concept) for category, concepts in catalog.items() for concept in concepts]
        assert listed == [tuple(row) for row in rows]
        assert listed == [(row["category"], row["concept"]) for row in numbers["concepts"]]
        assert [name for category in before for name in ((category, concept) for concept in before[category]) if name in listed] == listed
        assert all(catalog[category][concept] == before[category][concept] for category, concept in listed)
        assert len(listed) == k
        assert names in (None, listed)
        assert numbers["total"] == sum(row["images"] for row in numbers["concepts"])
        assert [row["images"] for row in numbers["concepts"]] == [len(before[category][concept].train) for category, concept in listed]
    assert found[2][2] | {"concepts": None} == {"target": 10, "total": 10, "gap": 0, "optimal": True, "bound": 0, "concepts": None}
    assert found[3][2] | {"concepts": None} == {"target": 10, "total": 11, "gap": 1, "optimal": True, "bound": 1, "concepts": None}


def test_the_list_is_quoted_where_needed_and_ends_lines_alike(split):
    write(split, k=[4])
    text = (split.parent / "out" / "best_4_best_list.txt").read_bytes()
    assert text == b'mug,zulu\nmug,"al,pha"\ndog,"rex ""2"""\ndog,"line\rend"\n'


def test_concepts_without_training_images_are_never_chosen(split):
    assert [concept.name for concept in subset.candidates(read_catalog(split))] == ["zulu", "al,pha", 'rex "2"', "line\rend"]
    assert write(split, k=[1], target=1)[1][1][2]["total"] == 1


def test_a_cover_takes_a_concept_of_every_category_that_has_one(split):
    # 1 + 9 are both mugs.
    found = write(split, cover_categories=True)[1]
    assert {name for name, _ in found[2][1]} == {name for name, _ in found[3][1]} == {"mug", "dog"}
    assert found[2][2]["total"] in (7, 13)
    assert found[2][2]["gap"] == found[2][2]["bound"] == 3
    assert found[3][2]["total"] == 11


def test_the_same_again_gives_the_same_bytes_and_another_seed_other_concepts(tmp_path):
    catalog = {"mug": {f"mug {number}": images("mug", f"mug {number}", 5) for number in range(40)}}
    split = tmp_path / "train.json"
    write_catalog(split, catalog)

    def files(seed):
        write(split, k=[5, 20], target=60, seed=seed)
        return {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    first = files(23)
    assert len(first) == 5
    assert files(23) == first
    assert files(24) != first


@pytest.mark.parametrize("k", [[5], [2, 5]])
def test_more_than_there_are_is_refused_before_anything_is_written(split, k):
    with pytest.raises(StepError, match=r"^subset\.k: 5 concepts are wanted, .*_65\.json has 4 with training images; use at most 4$"):
        write(split, k=k)
    assert not (split.parent / "out").exists()


def test_too_few_for_the_categories_are_refused(split):
    with pytest.raises(StepError, match=r"^subset\.k: 1 concepts cannot cover the 2 categories of .*; use at least 2, or turn cover_cat"):
        write(split, k=[1], cover_categories=True)
    assert write(split, k=[1])[0]["sets"] == 1


def test_a_split_without_training_images_is_refused(tmp_path):
    split = tmp_path / "train.json"
    write_catalog(split, {"mug": {"zulu": images("mug", "zulu", 0)}, "dog": {}})
    with pytest.raises(StepError, match=r"train\.json: has no concept with training images; lower min_concepts_threshold"):
        write(split)


def test_what_is_not_proven_is_said(split, monkeypatch, log_text):
    choice = subset.choose(subset.candidates(read_catalog(split)), 2, 10, 23)
    monkeypatch.setattr(subset, "choose", lambda *args, **named: type(choice)(choice.indices, 13, 3, 1))
    counts, found = write(split, k=[2])
    assert counts == {"sets": 1, "optimal": 0, "largest_gap": 3}
    assert found[2][2]["optimal"] is False
    assert found[2][2]["bound"] == 1
    assert "2 concepts: 13 images, 3 from 10 (none is nearer than 1)" in log_text()


@pytest.mark.usefixtures("in_a_step")
def test_the_step_takes_its_files_from_the_rule(split, tmp_path):
    sets, lists = ([str(tmp_path / f"{kind}_{k}") for k in (2, 3)] for kind in ("set", "list"))
    job = SimpleNamespace(
        input=[str(split)],
        output=SimpleNamespace(metadata=str(tmp_path / "metadata.json"), sets=sets, lists=lists),
        params=SimpleNamespace(subset=SETTINGS),
        log=[str(tmp_path / "log.txt")],
    )
    runpy.run_path(subset.__file__, {"snakemake": job})
    assert [sum(map(len, read_catalog(split.parent / f"set_{k}").values())) for k in (2, 3)] == [2, 3]
    assert [(tmp_path / f"list_{k}").read_bytes().count(b"\n") for k in (2, 3)] == [2, 3]
    log = (tmp_path / "log.txt").read_text()
    assert "2 concepts: 10 images, 0 from 10 (none is nearer)" in log
    assert "done: sets=2 optimal=2 largest_gap=1" in log
