"""What rules give their steps: names of files as specified, categories at plan time, params that hold what matters and no more."""

import json
import os
from types import SimpleNamespace

import pytest

from workflow_scripts.core.models import slug
from workflow_scripts.core.step import StepError
from workflow_scripts.retrieval import params
from workflow_scripts.retrieval.layout import Section
from workflow_scripts.settings.params import sort_keys
from workflow_scripts.settings.retrieval import RetrievalDataset


def dataset(data_root="/data/perva", **changes):
    return RetrievalDataset(data_root=str(data_root), **changes)


def categories(found, name="perva"):
    return params.categories(name, found.model_dump_json())


@pytest.fixture
def root(tmp_path):
    """Three categories."""
    for path in ("mug/red", "dog/rex", "a b, 'c'/x"):
        (tmp_path / path).mkdir(parents=True)
    return tmp_path


# ---- paths of images ----


@pytest.mark.parametrize(
    ("data_root", "path"),
    [
        ("/data/x", "/data/x/mug/a, 1.jpg"),
        ("/data/x/", "/data/x/mug/a, 1.jpg"),
        ("data", "data/mug/a, 1.jpg"),
        ("./data/../data", "./data/../data/mug/a, 1.jpg"),
        (".", "./mug/a, 1.jpg"),
        ("/", "/mug/a, 1.jpg"),
        ("~/data", "~/data/mug/a, 1.jpg"),
    ],
)
def test_a_path_begins_with_data_root_as_given(data_root, path):
    assert params.catalog_path(data_root, False, "mug/a, 1.jpg") == path
    assert params.catalog_path(data_root, True, "mug/a, 1.jpg") == "mug/a, 1.jpg"


# ---- names of files ----


@pytest.mark.parametrize(
    ("source", "fraction", "name", "catalog"),
    [
        ("catalog", 0.65, "retrieval_top3", "01_catalog/catalog.json"),
        ("train", 0.65, "retrieval_top3_subset_65", "02_splits/seed_23/train_combined_concepts_subset_65.json"),
        ("validation", 0.65, "val_retrieval_top3_subset_65", "02_splits/seed_23/validation_combined_concepts_subset_65.json"),
        ("train", 0.285, "retrieval_top3_subset_29", "02_splits/seed_23/train_combined_concepts_subset_29.json"),
        ("validation", 1.0, "val_retrieval_top3_subset_100", "02_splits/seed_23/validation_combined_concepts_subset_100.json"),
        ("train", 0.0, "retrieval_top3_subset_0", "02_splits/seed_23/train_combined_concepts_subset_0.json"),
    ],
)
def test_records_are_named_by_what_they_come_from(source, fraction, name, catalog):
    found = dataset(retrieval_source=source, concept_frac=fraction)
    assert params.records(found, 3) == name
    side = "val_" if name.startswith("val_") else ""
    subset = name.removeprefix(side).removeprefix("retrieval_top3")
    assert params.source(side, subset, 23) == catalog


@pytest.mark.parametrize(
    ("fraction", "percent"), [(0.65, 65), (0.285, 29), (0.145, 15), (0.005, 1), (0.004, 0), (0.995, 100), (1, 100), (0.0, 0), (0.57, 57)]
)
def test_the_percent_in_names_is_rounded_half_up(fraction, percent):
    assert dataset(concept_frac=fraction).percent == percent


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "05_combine/all/seed_23/retrieval_top3_combined_all.json"),
        ({"num_samples": 500}, "05_combine/all/seed_23/retrieval_top3_combined_500.json"),
        ({"retrieval_source": "validation"}, "05_combine/all/seed_23/val_retrieval_top3_subset_65_combined_all.json"),
    ],
)
def test_combined_records(changes, name):
    assert params.combined(dataset(**changes), 23, 3) == name
    assert params.hf_source(dataset(**changes), "all", 23, 3) == name


def test_a_hugging_face_dataset_of_one_category_reads_its_records():
    found = dataset(num_samples=500, retrieval_source="train")
    assert params.hf_source(found, "a_b-12345678", 23, 5) == "04_retrieve/a_b-12345678/seed_23/retrieval_top5_subset_65.json"


def test_what_a_dataset_comes_to():
    found = dataset(seeds=[23, 7], top_k=[2, 3], hf={"category": "a b", "variants": ["speaker", "listener"]})
    part = slug("a b")
    wanted = ["00_inventory/dog.parquet", "01_catalog/catalog.json", "01_catalog/images.parquet", "03_embed/dog.parquet", "07_images"]
    for seed in (23, 7):
        wanted += [f"02_splits/seed_{seed}/train_combined_concepts_subset_65.json"]
        for k in (2, 3):
            wanted += [f"04_retrieve/dog/seed_{seed}/retrieval_top{k}.json"]
            wanted += [f"05_combine/all/seed_{seed}/retrieval_top{k}_combined_all.json"]
            wanted += [f"06_hf_dataset/perva_{part}_test_subset_seed_{seed}_K_{k}"]
            wanted += [f"06_hf_dataset/perva_{part}_test_subset_listener_seed_{seed}_K_{k}", f"07_report/seed_{seed}_K_{k}"]
    assert sorted(params.results("perva", found, ["dog"])) == sorted(wanted)
    assert "06_hf_dataset/yollava_all_test_subset_seed_23_K_3" in params.results("yollava", dataset(), [])


def test_the_files_of_all_categories():
    wildcards = SimpleNamespace(dataset="perva", seed="23", k="3")
    found = dataset(retrieval_source="train")
    assert params.of_categories(found, "out", wildcards, ["mug", "dog"], "_metadata.json") == [
        "out/perva/04_retrieve/mug/seed_23/retrieval_top3_subset_65_metadata.json",
        "out/perva/04_retrieve/dog/seed_23/retrieval_top3_subset_65_metadata.json",
    ]


def test_a_template_of_one_s_own():
    found = dataset(hf={"speaker_template": "s.jinja"})
    assert (params.template(found, ""), params.template(found, "_listener")) == (["s.jinja"], [])
    found = dataset(hf={"listener_template": "l.jinja"})
    assert (params.template(found, ""), params.template(found, "_listener")) == ([], ["l.jinja"])


# ---- categories at plan time ----


def test_all_categories_sorted(root):
    assert categories(dataset(root)) == {name: [Section(name, "")] for name in ("a b, 'c'", "dog", "mug")}
    assert list(categories(dataset(root))) == ["a b, 'c'", "dog", "mug"]


def test_configured_categories_in_their_order(root):
    assert list(categories(dataset(root, categories=["mug", "a b, 'c'"]))) == ["mug", "a b, 'c'"]


def test_an_unknown_category_is_named_with_those_that_there_are(root):
    with pytest.raises(StepError) as caught:
        categories(dataset(root, categories=["mug", "mgu", "cat"]))
    text = str(caught.value)
    assert text.startswith("retrieval.datasets.perva.categories: there is no mgu, cat in ")
    assert text.endswith("it has a b, 'c', dog, mug")


@pytest.mark.parametrize("chosen", ["mgu", "dog"])
def test_a_dataset_of_an_unknown_category_is_refused(root, chosen):
    with pytest.raises(StepError, match=rf"retrieval\.datasets\.perva\.hf\.category: there is no {chosen}; use all, or one of mug"):
        categories(dataset(root, categories=["mug"], hf={"category": chosen}))
    assert list(categories(dataset(root, hf={"category": "dog"}))) == ["a b, 'c'", "dog", "mug"]


@pytest.mark.parametrize("folders", [(), ("train", "test")])
def test_a_root_without_a_category_is_refused(tmp_path, folders):
    for name in folders:
        (tmp_path / name).mkdir()
    (tmp_path / "1.jpg").write_bytes(b"")
    with pytest.raises(StepError, match=r"retrieval\.datasets\.perva\.data_root .* holds no category folder"):
        categories(dataset(tmp_path))


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_root_that_is_no_folder_is_refused(tmp_path, name):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StepError, match=name):
        categories(dataset(tmp_path / name))


def test_categories_of_the_table_and_of_both_parts(tmp_path):
    for path in ("fit/bo", "fit/lamp", "held/bo"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "held" / "x.txt").write_bytes(b"")
    (tmp_path / "y.txt").write_bytes(b"")
    found = dataset(tmp_path, train_dirname="fit", test_dirname="held", concept_categories={"bo": "animal", "lamp": "thing"})
    assert categories(found) == {
        "animal": [Section("fit/bo", "train", "bo"), Section("held/bo", "test", "bo")],
        "thing": [Section("fit/lamp", "train", "lamp")],
    }
    before = params.stray_fingerprint(found)
    assert params.stray_fingerprint(found) == before
    (tmp_path / "held" / "z.txt").write_bytes(b"")
    assert params.stray_fingerprint(found) != before


def test_two_categories_have_two_files(tmp_path):
    names = ["a b", "a_b", "a/b".replace("/", ","), "ä b", "A b", "%41", "{x}", "x" * 100, "x" * 101]
    assert len({slug(name).lower() for name in names}) == len(names)


# ---- params ----


ALL = (
    lambda found: params.layout(found),
    lambda found: params.catalog(found),
    lambda found: params.splits(found, 23),
    lambda found: params.retrieve(found, "mug", 23, 3),
)
CHANGES = {
    "data_root": (0, 1, 2, 3),
    "train_dirname": (0,),
    "test_dirname": (0,),
    "concept_categories": (0,),
    "relative": (1, 2, 3),
    "train_fraction": (1,),
    "num_train": (1,),
    "catalog_seed": (1,),
    "exclude": (1,),
    "concept_frac": (2,),
    "min_concepts_threshold": (2,),
    "test_sample_frac": (2,),
    "max_test_images": (2,),
    "positive": (3,),
    "negatives": (3,),
    "negative_pool": (3,),
    "candidate_concepts": (3,),
    "duplicate_similarity": (3,),
}
OTHERS = {
    "data_root": "/elsewhere",
    "train_dirname": "fit",
    "test_dirname": "held",
    "concept_categories": {"bo": "animal"},
    "relative": True,
    "train_fraction": 0.3,
    "num_train": 4,
    "catalog_seed": 1,
    "exclude": [{"csv": "a.csv"}],
    "concept_frac": 0.5,
    "min_concepts_threshold": 2,
    "test_sample_frac": 0.5,
    "max_test_images": 5,
    "positive": "easy",
    "negatives": "random",
    "negative_pool": "dataset",
    "candidate_concepts": 3,
    "duplicate_similarity": 0.9,
    "category_names": {"a": "b"},
    "seeds": [1],
    "categories": ["mug"],
    "retrieval_source": "train",
    "top_k": [5],
    "num_samples": 3,
    "stratified": True,
    "batch_size": 4,
    "hf": {"category": "mug"},
    "subset": {"target": 3},
    "model": {"name": "x"},
}


def test_every_setting_is_tried_here():
    assert set(OTHERS) == set(RetrievalDataset.model_fields)


@pytest.mark.parametrize("name", list(OTHERS))
def test_a_step_s_params_change_with_its_settings_alone(name):
    """So that a change runs again what depends on it, and nothing else."""
    before, after = dataset(), RetrievalDataset(**{"data_root": "/data/perva"} | {name: OTHERS[name]})
    changed = tuple(number for number, of in enumerate(ALL) if of(before) != of(after))
    assert changed == CHANGES.get(name, ())


def test_params_are_plain_and_sorted():
    found = dataset(exclude=[{"csv": "a.csv"}], concept_categories={"z": "b", "a": "c"})
    for of in ALL:
        value = of(found)
        assert json.loads(json.dumps(value)) == value
        assert repr(value) == repr(sort_keys(value))
    assert params.catalog(found)["exclude"] == [{"by": "sha256", "csv": "a.csv", "strip_prefix": ""}]
    assert params.retrieve(found, "mug", 23, 3) | {"category": "mug", "seed": 23, "k": 3} == params.retrieve(found, "mug", 23, 3)
    assert params.splits(found, 7)["seed"] == 7


def test_the_layout_of_the_step_is_that_of_the_plan(root):
    from workflow_scripts.retrieval.layout import sections

    found = dataset(f"{root}{os.sep}")
    assert sections(**params.layout(found)) == categories(found)
