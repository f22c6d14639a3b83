"""What the rules of `retrieval` give their steps, from the settings of a dataset."""

import os
from collections.abc import Iterable
from functools import cache
from typing import Any

from workflow_scripts.core.embeddings import digest
from workflow_scripts.core.models import slug
from workflow_scripts.core.step import StepError
from workflow_scripts.retrieval.layout import Section, sections, strays
from workflow_scripts.settings.params import tracked
from workflow_scripts.settings.retrieval import RetrievalDataset


def catalog_path(data_root: str, relative: bool, path: str) -> str:
    """How catalog.json and records name an image: by its path below data_root, unless `relative` with data_root as configured in front."""
    return path if relative else os.path.join(data_root, path)


def below_root(data_root: str, relative: bool, path: str) -> str:
    """The path below data_root of an image that catalog.json names so: what chance goes by, so that a dataset may move."""
    return path if relative else path.removeprefix(os.path.join(data_root, ""))


def layout(dataset: RetrievalDataset) -> dict[str, Any]:
    """What tells categories and concepts from folders."""
    return tracked(dataset, "data_root", "train_dirname", "test_dirname", "concept_categories")


def catalog(dataset: RetrievalDataset) -> dict[str, Any]:
    """What the catalog depends on, beside the inventory."""
    return tracked(dataset, "data_root", "relative", "train_fraction", "num_train", "catalog_seed", "exclude")


def splits(dataset: RetrievalDataset, seed: int) -> dict[str, Any]:
    """What the splits depend on, beside the catalog."""
    names = ("data_root", "relative", "concept_frac", "min_concepts_threshold", "test_sample_frac", "max_test_images")
    return tracked(dataset, *names, seed=seed)


def retrieve(dataset: RetrievalDataset, category: str, seed: int, k: int) -> dict[str, Any]:
    """What the records of a category depend on, beside catalog and vectors."""
    names = ("data_root", "relative", "positive", "negatives", "negative_pool", "candidate_concepts", "duplicate_similarity")
    return tracked(dataset, *names, category=category, seed=seed, k=k)


def records(dataset: RetrievalDataset, k: int | str) -> str:
    """The name of record files, without `.json`: it says which images they come from."""
    names = {"catalog": "retrieval_top{}", "train": "retrieval_top{}_subset_{}", "validation": "val_retrieval_top{}_subset_{}"}
    return names[dataset.retrieval_source].format(k, dataset.percent)


def source(side: str, subset: str, seed: int | str) -> str:
    """The catalog that records come from, below the dataset's results.

    Args:
        side: what their name begins with: `val_` or nothing.
        subset: what it ends with: `_subset_{percent}` or nothing.
        seed: of the split.
    """
    if not subset:
        return "01_catalog/catalog.json"
    return f"02_splits/seed_{seed}/{'validation' if side else 'train'}_combined_concepts{subset}.json"


def training_split(dataset: RetrievalDataset, seed: int | str) -> str:
    """The training side of the concept split, below the dataset's results."""
    return source("", f"_subset_{dataset.percent}", seed)


def of_categories(dataset: RetrievalDataset, root: str, wildcards: Any, categories: list[str], ending: str) -> list[str]:
    """The files of step 04 of all categories, for one seed and K; `ending` tells records from their metadata."""
    name = records(dataset, wildcards.k) + ending
    return [f"{root}/{wildcards.dataset}/04_retrieve/{category}/seed_{wildcards.seed}/{name}" for category in categories]


def listed(categories: Iterable[str]) -> list[str]:
    """What the catalog is made from, and the catalog, below a dataset's results."""
    return [f"00_inventory/{category}.parquet" for category in categories] + ["01_catalog/catalog.json", "01_catalog/images.parquet"]


def results(name: str, dataset: RetrievalDataset, categories: Iterable[str]) -> list[str]:
    """What a dataset comes to, below its results, for every seed and K: Hugging Face datasets and pages, and what every step before them
    makes, so that the next run makes what a failed job left out: Snakemake removes a job's outputs before it runs, and does not miss
    them while those of the steps behind are there.
    """
    names = list(categories)
    found = [*listed(names), *(f"03_embed/{category}.parquet" for category in names), "07_images"]
    for seed in dataset.seeds:
        found += [training_split(dataset, seed)]
        for k in dataset.top_k:
            found += [f"04_retrieve/{category}/seed_{seed}/{records(dataset, k)}.json" for category in names]
            found += [combined(dataset, seed, k)]
            found += [f"06_hf_dataset/{dataset_folder(name, dataset, variant, seed, k)}" for variant in dataset.hf.variants]
            found += [f"07_report/seed_{seed}_K_{k}"]
    return found


def places(name: str, dataset: RetrievalDataset, root: str) -> dict[str, str]:
    """Where to look at what a dataset came to, for its first seed and K."""
    seed, k = dataset.seeds[0], dataset.top_k[0]
    found = {"page": f"07_report/seed_{seed}_K_{k}/index.html", "images": "07_images/index.html"}
    found |= {variant: f"06_hf_dataset/{dataset_folder(name, dataset, variant, seed, k)}" for variant in dataset.hf.variants}
    found |= {"records": combined(dataset, seed, k), "catalog": "01_catalog/catalog.json"}
    return {what: f"{root}/{name}/{path}" for what, path in found.items()}


def template(dataset: RetrievalDataset, variant: str) -> list[str]:
    """The user's own template of a variant's text, where there is one."""
    chosen = dataset.hf.listener_template if variant else dataset.hf.speaker_template
    return [chosen] if chosen else []


def combined(dataset: RetrievalDataset, seed: int | str, k: int | str) -> str:
    """The file with the records of all categories, below the dataset's results."""
    return f"05_combine/all/seed_{seed}/{records(dataset, k)}_combined_{dataset.num_samples or 'all'}.json"


def hf_source(dataset: RetrievalDataset, subset: str, seed: int | str, k: int | str) -> str:
    """The records of a Hugging Face dataset, below the dataset's results: those of one category, by its slug, or `all`."""
    if subset == "all":
        return combined(dataset, seed, k)
    return f"04_retrieve/{subset}/seed_{seed}/{records(dataset, k)}.json"


def dataset_folder(name: str, dataset: RetrievalDataset, variant: str, seed: int, k: int) -> str:
    """The folder of a Hugging Face dataset."""
    kind = "" if variant == "speaker" else f"_{variant}"
    return f"{name}_{slug(dataset.hf.category)}_test_subset{kind}_seed_{seed}_K_{k}"


@cache
def categories(name: str, settings: str) -> dict[str, list[Section]]:
    """The folders of each category to work on, in order.

    Args:
        name: of the dataset, for messages.
        settings: of the dataset, as JSON.

    Raises:
        StepError: a configured category is not there, or there is none.
    """
    dataset = RetrievalDataset.model_validate_json(settings)
    found = sections(**layout(dataset))
    where, wanted = f"retrieval.datasets.{name}", list(dataset.categories or found)
    if not wanted:
        raise StepError(f"{where}.data_root ({dataset.data_root}) holds no category folder; it needs {{category}}/{{concept}}/ with images")
    known = ", ".join(found)
    unknown = [category for category in wanted if category not in found]
    if unknown:
        raise StepError(f"{where}.categories: there is no {', '.join(unknown)} in {dataset.data_root}; it has {known}")
    if dataset.hf.category not in ("all", *wanted):
        raise StepError(f"{where}.hf.category: there is no {dataset.hf.category}; use all, or one of {', '.join(wanted)}")
    return {category: found[category] for category in wanted}


def stray_fingerprint(dataset: RetrievalDataset) -> str:
    """Changes when a file that belongs to no category comes or goes."""
    return digest(strays(dataset.data_root, dataset.train_dirname, dataset.test_dirname))
