"""Settings of `retrieval`: defaults as specified, what every mistake is told, what datasets inherit, and the generated files."""

import itertools
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from workflow_scripts.settings import Settings, SettingsError, generate, load
from workflow_scripts.settings.base import ClipModel, merge
from workflow_scripts.settings.retrieval import RetrievalDataset, round_half_up

REPO = Path(__file__).parents[3]

HINT = " (values after --config are text: put it into a file and use --configfile)"
SPECIFIED = {
    "relative": False,
    "train_fraction": 0.2,
    "num_train": None,
    "catalog_seed": 42,
    "train_dirname": "train",
    "test_dirname": "test",
    "concept_frac": 0.65,
    "min_concepts_threshold": 3,
    "test_sample_frac": 1.0,
    "max_test_images": 200,
    "seeds": [23],
    "categories": None,
    "retrieval_source": "catalog",
    "top_k": [3],
    "positive": "hard",
    "negatives": "nearest",
    "negative_pool": "category",
    "candidate_concepts": 8,
    "duplicate_similarity": None,
    "num_samples": None,
    "exclude": [],
}


def of(data_root="/data/perva", **values):
    return {"retrieval": {"datasets": {"a": {"data_root": data_root, **values}}}}


def accepted(**values):
    return load(of(**values)).retrieval.datasets["a"]


def errors(config):
    """The lines of the error, without the headline."""
    with pytest.raises(SettingsError) as caught:
        load(config)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


# ---- what is accepted ----


def test_the_defaults_are_those_of_the_specification():
    found = accepted()
    assert {name: getattr(found, name) for name in SPECIFIED} == SPECIFIED
    assert (found.model.name, found.model.pretrained) == ("ViT-L-14-336-quickgelu", "openai")
    assert (found.hf.category, found.stratified, found.concept_categories) == ("all", False, {})
    assert found.category_names == {
        "decoration": "decoration object",
        "retail": "retail object",
        "tro_bag": "trolley bag",
        "veg": "vegetable",
    }
    assert load({}).retrieval.datasets == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train_fraction", 0),
        ("train_fraction", 1),
        ("concept_frac", 0.0),
        ("concept_frac", 1.0),
        ("test_sample_frac", 0),
        ("num_train", 1),
        ("catalog_seed", -5),
        ("max_test_images", 0),
        ("min_concepts_threshold", 2),
        ("seeds", [0, -1, 23]),
        ("top_k", [2, 10]),
        ("retrieval_source", "train"),
        ("retrieval_source", "validation"),
        ("positive", "random"),
        ("negatives", "random"),
        ("negative_pool", "category_then_dataset"),
        ("negative_pool", "dataset"),
        ("candidate_concepts", 1),
        ("duplicate_similarity", 0.95),
        ("duplicate_similarity", 1),
        ("num_samples", 1),
        ("categories", ["mug", "a b, 'c'"]),
        ("batch_size", 1),
        ("concept_categories", {"bo": "animal"}),
    ],
)
def test_values_that_are_right(key, value):
    assert getattr(accepted(**{key: value}), key) == value


# ---- what is wrong ----


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"retrieval": {"dataset": {}}}, "retrieval.dataset: unknown key; did you mean datasets?"),
        ({"retrieval": {"defaults": {"topk": [3]}}}, "retrieval.defaults.topk: unknown key; did you mean top_k?"),
        (of(concept_fraction=0.5), "retrieval.datasets.a.concept_fraction: unknown key; did you mean concept_frac?"),
        (of(hf={"categories": "all"}), "retrieval.datasets.a.hf.categories: unknown key; did you mean category?"),
        (of(subset={"cover_category": True}), "retrieval.datasets.a.subset.cover_category: unknown key; did you mean cover_categories?"),
        (of(model={"weights": "x"}), "retrieval.datasets.a.model.weights: unknown key; known here: name, pretrained, sha256"),
    ],
)
def test_an_unknown_key_is_named(config, line):
    assert errors(config) == [line]


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("train_fraction", 1.5, "input should be less than or equal to 1"),
        ("train_fraction", -0.1, "input should be greater than or equal to 0"),
        ("concept_frac", 65, "input should be less than or equal to 1"),
        ("test_sample_frac", "1.0", "input should be a valid number" + HINT),
        ("num_train", 0, "input should be greater than or equal to 1"),
        ("num_train", 2.0, "input should be a valid integer"),
        ("catalog_seed", "42", "input should be a valid integer" + HINT),
        ("max_test_images", -1, "input should be greater than or equal to 0"),
        ("min_concepts_threshold", 1, "input should be greater than or equal to 2"),
        ("seeds", 23, "input should be a valid list"),
        ("seeds", [], "list should have at least 1 item after validation, not 0"),
        ("top_k", [], "list should have at least 1 item after validation, not 0"),
        ("categories", [], "list should have at least 1 item after validation, not 0"),
        ("retrieval_source", "test", "input should be 'catalog', 'train' or 'validation'" + HINT),
        ("positive", "nearest", "input should be 'hard', 'easy' or 'random'" + HINT),
        ("negatives", "hard", "input should be 'nearest' or 'random'" + HINT),
        ("negative_pool", "all", "input should be 'category', 'category_then_dataset' or 'dataset'" + HINT),
        ("candidate_concepts", 0, "input should be greater than or equal to 1"),
        ("duplicate_similarity", 0, "input should be greater than 0"),
        ("duplicate_similarity", 1.01, "input should be less than or equal to 1"),
        ("num_samples", 0, "input should be greater than or equal to 1"),
        ("relative", "true", "input should be a valid boolean" + HINT),
        ("train_dirname", "", "string should have at least 1 character" + HINT),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(key, value, why):
    assert errors(of(**{key: value})) == [f"retrieval.datasets.a.{key}: {value!r} is wrong: {why}"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"top_k": [3, 1]}, ["top_k", "1 is too small", "2"]),
        ({"top_k": [3, 3]}, ["top_k", "twice"]),
        ({"seeds": [23, 7, 23]}, ["seeds", "twice"]),
        ({"categories": ["mug", "mug"]}, ["categories", "twice"]),
        ({"hf": {"variants": ["speaker", "speaker"]}}, ["hf.variants", "twice"]),
        ({"subset": {"k": [0]}}, ["subset.k", "0 is too small", "1"]),
        ({"subset": {"k": [5, 5]}}, ["subset.k", "twice"]),
        ({"batch_size": 0}, ["batch_size", "at least 1", "auto"]),
        ({"train_dirname": "a/b"}, ["train_dirname", "one folder"]),
        ({"test_dirname": ".."}, ["test_dirname", "one folder"]),
        ({"test_dirname": "."}, ["test_dirname", "one folder"]),
        ({"train_dirname": "x", "test_dirname": "x"}, ["train_dirname", "test_dirname", "differ"]),
        ({"data_root": "s3://bucket/images/"}, ["data_root", "s3://bucket/images/", "folder"]),
        ({"data_root": "gs://bucket/images/"}, ["data_root", "gs://bucket/images/", "folder"]),
    ],
)
def test_what_the_type_alone_does_not_tell(values, words):
    (line,) = errors(of(**{"data_root": "/data"} | values))
    assert line.startswith("retrieval.datasets.a")
    assert all(word in line for word in words)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("key", ["train_fraction", "concept_frac", "test_sample_frac", "duplicate_similarity"])
def test_a_share_is_a_number(key, value):
    (line,) = errors(of(**{key: value}))
    assert line.startswith(f"retrieval.datasets.a.{key}: {value} is wrong")


def test_a_dataset_needs_a_root():
    (line,) = errors({"retrieval": {"datasets": {"a": {}}}})
    assert line.startswith("retrieval.datasets.a.data_root: is missing; Folder with {category}/{concept}/")


@pytest.mark.parametrize("name", ["a b", "a/b", ".hidden", "é", "x" * 81, ""])
def test_a_name_that_cannot_be_a_path_is_named(name):
    assert errors({"retrieval": {"datasets": {name: {"data_root": "/data"}}}}) == [
        f"retrieval.datasets.{name}: {name!r} cannot be a name; use letters, digits and . _ - (80 at most, no dot in front)"
    ]


def test_a_concept_s_category_has_a_name():
    """It names files."""
    (line,) = errors(of(concept_categories={"bo": ""}))
    assert line.startswith("retrieval.datasets.a.concept_categories")


@pytest.mark.parametrize("root", [".", "data", "data/../data"])
def test_results_do_not_become_categories(tmp_path, monkeypatch, root):
    """As with the sources of people: what a run writes would be listed by the next."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    config = of(root)
    config["retrieval"]["results_root"] = "data/results"
    (line,) = errors(config)
    assert "results_root" in line
    assert "data_root" in line


def test_every_mistake_is_named_at_once():
    config = {
        "retrieval": {
            "results_root": 3,
            "defaults": {"positive": "any"},
            "datasets": {"a": {"seeds": []}, "b": {"data_root": "/b", "topk": 3}},
        }
    }
    assert sorted(line.split(":")[0] for line in errors(config)) == [
        "retrieval.datasets.a.data_root",
        "retrieval.datasets.a.seeds",
        "retrieval.datasets.b.topk",
        "retrieval.defaults.positive",
        "retrieval.results_root",
    ]


def test_a_mistake_beside_the_defaults_is_said_too():
    assert sorted(line.split(":")[0] for line in errors({"retrieval": {"defaults": 3, "results_root": 3}})) == [
        "retrieval.defaults",
        "retrieval.results_root",
    ]


@pytest.mark.parametrize("wrong", [{"top_k": "3"}, {"hf": {"category": ""}}, {"topk": [3]}, {"top_k": [1]}])
def test_a_mistake_in_the_defaults_is_said_once(wrong):
    datasets = {name: {"data_root": f"/{name}"} for name in "abc"}
    (line,) = errors({"retrieval": {"defaults": wrong, "datasets": datasets}})
    assert line.startswith("retrieval.defaults")


# ---- what datasets inherit ----


def test_a_dataset_starts_from_the_defaults_and_changes_what_it_names():
    defaults = {"top_k": [5], "hf": {"variants": ["listener"]}, "model": {"name": "A", "pretrained": "x"}, "exclude": [{"csv": "a.csv"}]}
    own = {"data_root": "/b", "top_k": [2], "hf": {"category": "mug"}, "model": {"pretrained": "y"}, "exclude": []}
    config = {"retrieval": {"defaults": defaults, "datasets": {"plain": {"data_root": "/a"}, "own": own}}}
    found = load(config).retrieval.datasets
    plain, changed = found["plain"], found["own"]
    assert (plain.top_k, plain.hf.category, plain.hf.variants, plain.model.name) == ([5], "all", ["listener"], "A")
    assert (changed.top_k, changed.hf.category, changed.hf.variants) == ([2], "mug", ["listener"])
    assert (changed.model.name, changed.model.pretrained) == ("A", "y")
    assert ([entry.csv for entry in plain.exclude], changed.exclude) == (["a.csv"], [])


def test_tables_of_names_are_merged():
    defaults = {"category_names": {"veg": "vegetable", "mug": "cup"}}
    config = {"retrieval": {"defaults": defaults, "datasets": {"a": {"data_root": "/a", "category_names": {"mug": "beaker"}}}}}
    assert load(config).retrieval.datasets["a"].category_names == {"veg": "vegetable", "mug": "beaker"}


def test_over_the_shipped_configuration_a_dataset_changes_what_it_names_alone():
    shipped = yaml.safe_load((generate.ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
    found = load(merge(shipped, of(model={"sha256": "ab" * 32}, category_names={"mug": "cup"}))).retrieval.datasets["a"]
    assert (found.model.name, found.model.pretrained) == ("ViT-L-14-336-quickgelu", "openai")
    assert found.category_names == accepted().category_names | {"mug": "cup"}


def test_a_dataset_survives_its_text():
    found = accepted(train_fraction=0.285, categories=["é"], exclude=[{"csv": "a"}], concept_categories={"b": "c"}, duplicate_similarity=1)
    assert RetrievalDataset.model_validate_json(found.model_dump_json()) == found


# ---- rounding ----


@pytest.mark.parametrize(
    ("value", "wanted"), [("28.5", 29), ("28.4999", 28), ("0.5", 1), ("1.5", 2), ("2.5", 3), ("0.4", 0), ("0", 0), ("7", 7), ("99.5", 100)]
)
def test_halves_go_up(value, wanted):
    assert round_half_up(Decimal(value)) == wanted


# ---- what is made from the models ----


def test_generated_files_have_the_values_of_the_place():
    """Both pipelines have a model, of the same kind and another by default."""
    values = yaml.safe_load(generate.config_yaml())
    assert values["people"]["defaults"]["model"]["name"] == ClipModel().name == "ViT-B-32"
    assert values["retrieval"]["defaults"]["model"] == {"name": "ViT-L-14-336-quickgelu", "pretrained": "openai", "sha256": None}
    table = generate.settings_table()
    assert '| `people.defaults.model.name` | text | `"ViT-B-32"` |' in table
    assert '| `retrieval.defaults.model.name` | text | `"ViT-L-14-336-quickgelu"` |' in table
    assert '| `retrieval.defaults.model.pretrained` | text | `"openai"` |' in table


def test_every_default_of_the_shipped_configuration_is_the_one_in_force():
    assert load(yaml.safe_load(generate.config_yaml())).model_dump() == Settings().model_dump()


def test_the_table_has_lines_for_datasets():
    lines = {line.split("`")[1]: line for line in generate.settings_table().splitlines() if line.startswith("| `")}
    assert "required" in lines["retrieval.datasets.NAME.data_root"]
    assert "retrieval.datasets.NAME.top_k" not in lines
    assert "| name: text |" in lines["retrieval.defaults.concept_categories"]
    assert "`[3]`" in lines["retrieval.defaults.top_k"]
    assert "`null`" in lines["retrieval.defaults.num_train"]
    assert len(lines) == len([line for line in generate.settings_table().splitlines() if line.startswith("| `")])


def test_the_example_of_a_dataset_is_a_configuration():
    lines = generate.config_yaml().splitlines()
    start = next(at for at, line in enumerate(lines) if line == "  # datasets:")
    example = "\n".join(line[4:] for line in itertools.takewhile(lambda line: line.startswith("  #"), lines[start:]))
    assert load({"retrieval": yaml.safe_load(example)}).retrieval.datasets["my-dataset"].data_root == "/data/photos"


@pytest.mark.parametrize(("name", "concepts"), [("perva", 0), ("yollava", 40), ("myvlm", 29)])
def test_the_ready_tables_of_known_sets_are_settings(name, concepts):
    found = load(yaml.safe_load((REPO / f"config/datasets/{name}.yaml").read_text()))
    assert len(found.retrieval.datasets[name].concept_categories) == concepts
