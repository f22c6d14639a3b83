"""retrieval 07: what the report says beside its rows: warnings, notes, tables and figures."""

import math
from collections.abc import Sequence
from typing import Any

from workflow_scripts.core.pages import Panel
from workflow_scripts.core.pages.texts import counted, named, table_panel, tallied, total
from workflow_scripts.retrieval.records import NEAR_COPY
from workflow_scripts.retrieval.report_figures import ALT, similarity_figure
from workflow_scripts.retrieval.report_items import NEAR_COPY_TAG, Found

Facts = dict[str, Any]
DIGITS = 12  # of a content hash in a table
TWICE = "The same image twice"
CHOICES = (
    "Drop pair: this image is no reference of this query. Drop query: no record asks about this image. Drop negative: this image is a "
    "reference of no query. The next run takes the next nearest image in place of what is left out."
)


def warnings(run: Facts, metadata: Sequence[Facts], splits: Facts) -> list[str]:
    """What to heed before anything else.

    Args:
        run: `dataset`, `k`, `retrieval_source`, `seed`.
        metadata: of the records of each category.
        splits: metadata of the split.
    """
    said, settings = [], f"retrieval.datasets.{run['dataset']}"
    held_back = sum(facts["n_concepts"] - facts["selected_count"] for facts in splits["categories"].values())
    if run["retrieval_source"] == "catalog" and held_back:
        said.append(
            f"retrieval_source is catalog: records come from all concepts, also from the {counted(held_back, 'concept')} that the split of "
            f"seed {run['seed']} keeps for validation, so that these reach the training data. {settings}.retrieval_source: train keeps "
            "them out."
        )
    small = [f"{facts['category']} (largest K {facts['largest_k']})" for facts in metadata if facts["largest_k"] < run["k"]]
    if small:
        said.append(
            f"K = {run['k']} is more than some categories allow, whose other concepts are too few: {named(small)}. A smaller top_k needs "
            f"fewer; {settings}.negative_pool: category_then_dataset takes missing ones from other categories."
        )
    places = {"in two concepts": len(conflicts(metadata)), "on both sides of the split": len(splits["shared_images"])}
    if any(places.values()):
        listed = ", ".join(f"{counted(count, 'image')} {place}" for place, count in places.items() if count)
        said.append(f"{TWICE}: {listed}; the names stand below.")
    return said


def notes(run: Facts, metadata: Sequence[Facts], found: Found) -> list[str]:
    """What to know before judging; arguments as of `warnings`, `duplicate_similarity`, `reviews`, and what the records hold."""
    queries, records = (sum(facts[name] for facts in metadata) for name in ("queries", "records"))
    skipped, left_out = (total(facts[name] for facts in metadata) for name in ("skipped", "left_out"))
    without = tallied(skipped | {"no vector": sum(facts["errors"] for facts in metadata)})
    made = f"{counted(records, 'record')} of {counted(queries, 'query', 'queries')}; queries without a record: {without}."
    near = f"{counted(found.near, 'negative')} with a cosine of {NEAR_COPY} or more (tag: {NEAR_COPY_TAG})."
    off = " duplicate_similarity is off; the slider shows that as 1." if run["duplicate_similarity"] is None else ""
    said = [f"{made} {near}{off}", CHOICES]
    if left_out.get("review") or skipped.get("review"):
        keep = f"Earlier decisions are in force. Import {run['reviews']} before you export, so that the new file keeps them;"
        said.append(f"{keep} to take one back, delete its line there.")
    return said


def conflicts(metadata: Sequence[Facts]) -> list[Facts]:
    """Contents that stand in two concepts, each once: with a pool beyond the category, several categories find them."""
    return list({each["sha256"]: each for facts in metadata for each in facts["label_conflicts"]}.values())


def panels(run: Facts, metadata: Sequence[Facts], splits: Facts, found: Found) -> list[Panel]:
    """The fold-out parts; arguments as of `notes` and `warnings`."""
    made = [category_panel(metadata), concept_panel(metadata)]
    if found.positions:
        made += [similarity_panel(found, run["duplicate_similarity"]), position_panel(found)]
    rows = [(each["sha256"][:DIGITS], "two concepts", path) for each in conflicts(metadata) for path in each["paths"]]
    sides = (("training side", "train"), ("validation side", "validation"))
    rows += [(each["sha256"][:DIGITS], said, path) for each in splits["shared_images"] for said, side in sides for path in each[side]]
    if rows:
        text = (
            "In two concepts: one of the labels is wrong, or the image shows both. Drop it from the wrong one on the page of all images.",
            "On both sides of the split: what is measured on the validation side was seen in training.",
        )
        made.append(table_panel(TWICE, text, ("content", "found in", "image"), rows, "same_image_twice.csv"))
    return made


def category_panel(metadata: Sequence[Facts]) -> Panel:
    """Counts by category, with a row for all."""
    plain = ("concepts", "images", "queries", "records")
    groups = [(kind, list(total(facts[kind] for facts in metadata))) for kind in ("skipped", "left_out")]
    header = ["category", *plain, *(f"{kind.replace('_', ' ')}: {name}" for kind, names in groups for name in names)]

    def row(name: str, group: Sequence[Facts]) -> list[object]:
        sums = [sum(facts[column] for facts in group) for column in plain]
        reasons = [total(facts[kind] for facts in group).get(reason, 0) for kind, names in groups for reason in names]
        return [name, *sums, *reasons, sum(facts["errors"] for facts in group)]

    rows = [[*row(facts["category"], [facts]), facts["largest_k"]] for facts in metadata]
    if len(rows) > 1:
        rows.append([*row("all", metadata), ""])
    replaced = sum(facts["replaced_concepts"] for facts in metadata)
    text = (
        "Skipped: queries without a record. Left out: pairs of a query and an image, as positive or as negative.",
        f"{counted(replaced, 'time')} a concept had no image left for a query, and the next nearest concept took its place.",
    )
    return table_panel("Categories", text, (*header, "no vector", "largest K"), rows, "categories.csv")


def concept_panel(metadata: Sequence[Facts]) -> Panel:
    """Counts by concept."""
    names = ("images", "records", "skipped")
    rows = [
        (facts["category"], concept, *(counts[name] for name in names))
        for facts in metadata
        for concept, counts in facts["by_concept"].items()
    ]
    return table_panel("Concepts", (), ("category", "concept", *names), rows, "concepts.csv")


def similarity_panel(found: Found, threshold: float | None) -> Panel:
    """How similar positives and negatives are to their queries."""
    light, dark = (similarity_figure(found.positives, found.negatives, threshold, theme) for theme in ("light", "dark"))
    pairs = int(found.negatives.sum())
    share = f"{found.closer:,} of {counted(pairs, 'pair')} ({found.closer / pairs:.0%})"
    text = f"In {share} the negative is more similar to the query than the positive."
    return Panel("How similar positives and negatives are", (text,), light_svg=light, dark_svg=dark, alt=ALT)


def position_panel(found: Found) -> Panel:
    """How often the positive stands at each place."""
    rows = []
    for k in sorted({k for k, _ in found.positions}):
        counts = [found.positions[k, label] for label in range(k)]
        mean, spread = sum(counts) / k, math.sqrt(sum(counts) / k * (1 - 1 / k))
        rows += [
            (k, place, count, f"{count / sum(counts):.1%}", f"{mean:,.0f} ± {2 * spread:,.0f}") for place, count in enumerate(counts, 1)
        ]
    text = "Positive and negatives are shuffled for each record. By chance alone 19 of 20 places hold what the last column says."
    return table_panel("Where the answer stands", (text,), ("K", "place", "records", "share", "by chance"), rows, "positions.csv")
