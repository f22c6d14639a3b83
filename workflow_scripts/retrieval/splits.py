"""retrieval 02: which concepts are for training and which for validation."""

import json
import math
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from workflow_scripts.core.seeded import shuffled
from workflow_scripts.core.step import atomic_text, log, report_counts, step
from workflow_scripts.retrieval.catalog_file import Catalog, ConceptImages, read_catalog, write_catalog
from workflow_scripts.retrieval.params import below_root


def training_concepts(concepts: list[str], settings: dict[str, Any], category: str) -> list[str]:
    """The concepts of a category that are for training, in the order given.

    Their number is min(n - 1, max(1, ceil(concept_frac * n))), none where a category has fewer than `min_concepts_threshold`.
    One concept more moves at most one other to the other side: the one at the border, when the number stays.
    """
    if len(concepts) < settings["min_concepts_threshold"]:
        return []
    wanted = math.ceil(Decimal(str(settings["concept_frac"])) * len(concepts))
    chosen = set(shuffled(concepts, settings["seed"], category)[: min(len(concepts) - 1, max(1, wanted))])
    return [concept for concept in concepts if concept in chosen]


def sample_tests(images: ConceptImages, settings: dict[str, Any], category: str, concept: str) -> list[str]:
    """The test images that join a training concept's training images, in a random order."""
    if not images.test:
        return []
    share = math.floor(Decimal(str(settings["test_sample_frac"])) * len(images.test))
    count = min(settings["max_test_images"], max(1, share))
    paths = {below_root(settings["data_root"], settings["relative"], path): path for path in images.test}
    return [paths[name] for name in shuffled(paths, settings["seed"], category, concept)[:count]]


def split_concepts(catalog: Catalog, settings: dict[str, Any]) -> tuple[Catalog, Catalog, dict[str, Any]]:
    """Training and validation catalog, each with every category, and the metadata."""
    train: Catalog = {}
    validation: Catalog = {}
    names = ("seed", "concept_frac", "min_concepts_threshold", "test_sample_frac", "max_test_images")
    metadata: dict[str, Any] = {name: settings[name] for name in names} | {"categories": {}}
    for category, concepts in catalog.items():
        chosen = training_concepts(list(concepts), settings, category)
        sampled = {concept: sample_tests(concepts[concept], settings, category, concept) for concept in chosen}
        train[category] = {
            concept: ConceptImages(train=[*concepts[concept].train, *sampled[concept]], test=[], negative=concepts[concept].negative)
            for concept in chosen
        }
        validation[category] = {concept: images for concept, images in concepts.items() if concept not in sampled}
        metadata["categories"][category] = {
            "n_concepts": len(concepts),
            "selected_count": len(chosen),
            "selected_concepts": chosen,
            "all_for_validation": len(concepts) < settings["min_concepts_threshold"],
            "sampled_test_images_by_concept": {
                concept: {"n_original_test": len(concepts[concept].test), "n_sampled": len(found), "sampled": found}
                for concept, found in sampled.items()
            },
        }
    return train, validation, metadata


def shared_images(train: Catalog, validation: Catalog, contents: dict[str, str]) -> list[dict[str, Any]]:
    """Contents that stand on both sides, with the paths of each: [{"sha256", "train", "validation"}].

    Args:
        train: training side.
        validation: the other.
        contents: sha256 of each path of the catalog.
    """
    sides: list[dict[str, list[str]]] = []
    for side in (train, validation):
        places: dict[str, list[str]] = defaultdict(list)
        for concepts in side.values():
            for images in concepts.values():
                for path in (*images.train, *images.test):
                    if path in contents:
                        places[contents[path]].append(path)
        sides.append(places)
    both = sorted(sides[0].keys() & sides[1].keys())
    return [{"sha256": sha256, "train": sorted(sides[0][sha256]), "validation": sorted(sides[1][sha256])} for sha256 in both]


def write_splits(catalog: Path, images: Path, settings: dict[str, Any], outputs: dict[str, Path]) -> dict[str, int]:
    """Write `train`, `validation` and `metadata`; gives counts of concepts on each side and of shared images.

    Args:
        catalog: catalog.json.
        images: the table of all files, for their contents.
        settings: as `params.splits` gives them.
        outputs: the three files.
    """
    train, validation, metadata = split_concepts(read_catalog(catalog), settings)
    table = pq.read_table(images, columns=["catalog_path", "sha256"]).to_pydict()
    contents = {path: sha256 for path, sha256 in zip(table["catalog_path"], table["sha256"], strict=True) if sha256}
    shared = metadata["shared_images"] = shared_images(train, validation, contents)
    for found in shared:
        log.warning("the same image is on both sides: %s and %s", ", ".join(found["train"]), ", ".join(found["validation"]))
    write_catalog(outputs["train"], train)
    write_catalog(outputs["validation"], validation)
    with atomic_text(outputs["metadata"]) as handle:
        json.dump(metadata, handle, indent=2, ensure_ascii=False)
        handle.write("\n")
    sides = {"train_concepts": train, "validation_concepts": validation}
    return {name: sum(map(len, side.values())) for name, side in sides.items()} | {"shared_images": len(shared)}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        made = {name: Path(job.output[name]) for name in ("train", "validation", "metadata")}
        report_counts(**write_splits(Path(job.input.catalog), Path(job.input.images), job.params.splits, made))
