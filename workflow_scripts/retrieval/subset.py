"""retrieval: choose concepts for small training sets whose images come nearest to a number."""

import json
from pathlib import Path
from typing import Any

from workflow_scripts.core.csv_output import write_rows
from workflow_scripts.core.step import StepError, atomic_text, log, report_counts, step
from workflow_scripts.retrieval.catalog_file import Catalog, read_catalog, write_catalog
from workflow_scripts.retrieval.choose import Concept, choose


def candidates(catalog: Catalog) -> list[Concept]:
    """What can be chosen, in catalog order: the concepts with training images."""
    return [
        Concept(category, concept, len(images.train))
        for category, concepts in catalog.items()
        for concept, images in concepts.items()
        if images.train
    ]


def check_sizes(concepts: list[Concept], settings: dict[str, Any], split: Path) -> None:
    """Check that every k can be chosen.

    Raises:
        StepError: names the k that cannot, how many there are, and which k could.
    """
    most, least = len(concepts), len({concept.category for concept in concepts}) if settings["cover_categories"] else 1
    if not most:
        raise StepError(f"{split}: has no concept with training images; lower min_concepts_threshold, or add concepts")
    for k in settings["k"]:
        if k > most:
            raise StepError(f"subset.k: {k} concepts are wanted, {split} has {most} with training images; use at most {most}")
        if k < least:
            mend = f"use at least {least}, or turn cover_categories off"
            raise StepError(f"subset.k: {k} concepts cannot cover the {least} categories of {split}; {mend}")


def write_subsets(split: Path, settings: dict[str, Any], sets: list[Path], lists: list[Path], metadata: Path) -> dict[str, int]:
    """Write a set and a list for each k, and what is known of all of them.

    Args:
        split: the training side, as a catalog.
        settings: `k` (list), `target`, `seed`, `cover_categories`.
        sets: a catalog for each k, with the chosen concepts as they stand in `split`.
        lists: `category,concept` lines for each k.
        metadata: by k: `target`, `total` (images chosen), `gap` between them, `bound` that no choice's gap can be below,
            `optimal` (whether the gap is at the bound), and the `concepts`.

    Returns:
        How many sets there are, for how many of them no choice is nearer, and the largest gap.
    """
    catalog = read_catalog(split)
    concepts = candidates(catalog)
    check_sizes(concepts, settings, split)
    found: dict[str, dict[str, Any]] = {}
    for k, subset, listed in zip(settings["k"], sets, lists, strict=True):
        choice = choose(concepts, k, settings["target"], settings["seed"], cover=settings["cover_categories"])
        chosen = [concepts[index] for index in choice.indices]
        entries: Catalog = {}
        for category, name, _ in chosen:
            entries.setdefault(category, {})[name] = catalog[category][name]
        write_catalog(subset, entries)
        write_rows(listed, (concept[:2] for concept in chosen))
        proof = "none is nearer" if choice.optimal else f"none is nearer than {choice.bound}"
        log.info("%d concepts: %d images, %d from %d (%s)", k, choice.total, choice.gap, settings["target"], proof)
        numbers = {"total": choice.total, "gap": choice.gap, "optimal": choice.optimal, "bound": choice.bound}
        rows = [{"category": category, "concept": name, "images": images} for category, name, images in chosen]
        found[str(k)] = {"target": settings["target"], **numbers, "concepts": rows}
    with atomic_text(metadata) as handle:
        json.dump(found, handle, indent=2, ensure_ascii=False)
        handle.write("\n")
    optimal = sum(numbers["optimal"] for numbers in found.values())
    return {"sets": len(found), "optimal": optimal, "largest_gap": max(numbers["gap"] for numbers in found.values())}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        set_files, list_files = ([Path(path) for path in files] for files in (job.output.sets, job.output.lists))
        report_counts(**write_subsets(Path(job.input[0]), job.params.subset, set_files, list_files, Path(job.output.metadata)))
