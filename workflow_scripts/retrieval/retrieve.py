"""retrieval 04: a positive and hard negatives for every query image of one category."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workflow_scripts.core.accounting import Ledger
from workflow_scripts.core.cosine import written
from workflow_scripts.core.seeded import shuffled
from workflow_scripts.core.step import StepError, atomic_text, log, report_counts, step
from workflow_scripts.retrieval.catalog_file import Catalog, read_catalog
from workflow_scripts.retrieval.gallery import Gallery, load_gallery
from workflow_scripts.retrieval.left_out import REASONS
from workflow_scripts.retrieval.pair_reviews import PairReviews, read_pair_reviews
from workflow_scripts.retrieval.records import NEAR_COPY, Record, write_records
from workflow_scripts.retrieval.references import SKIPPED, Choice, Settings, choose


def make_records(gallery: Gallery, choice: Choice, order: list[str], settings: Settings) -> Iterator[Record]:
    """The records of the queries that were not skipped, in the order of the paths given; references in a random order of their own."""
    owners = gallery.owners()
    rows = {gallery.paths[query]: row for row, query in enumerate(choice.queries.tolist()) if query not in choice.skipped}
    for path in order:
        if path not in rows:
            continue
        row = rows[path]
        images = [int(choice.positives.images[row, 0]), *choice.negatives.images[row].tolist()]
        cosines = [float(choice.positives.cosines[row, 0]), *choice.negatives.cosines[row].tolist()]
        references = {gallery.names[image]: (image, cosine) for image, cosine in zip(images, cosines, strict=True)}
        names = shuffled(references, settings["seed"], gallery.names[choice.queries[row]])
        yield Record(
            query_path=path,
            ret_paths=[gallery.paths[references[name][0]] for name in names],
            label=names.index(gallery.names[images[0]]),
            category=settings["category"],
            concept=gallery.concepts[owners[choice.queries[row]]][1],
            ret_concepts=[gallery.concepts[owners[references[name][0]]][1] for name in names],
            similarities=[written(references[name][1]) for name in names],
        )


class Account:
    """Counts what became of every query of a category, and writes it down."""

    def __init__(self, catalog: Catalog, gallery: Gallery, choice: Choice, settings: Settings) -> None:
        """Take all that was chosen."""
        self._concepts = catalog[settings["category"]]
        self._gallery, self._choice, self._settings = gallery, choice, settings
        self.order = [path for images in self._concepts.values() for path in images.train]
        self._skipped = {gallery.paths[query]: reason for query, reason in choice.skipped.items()}
        self._ledger = Ledger(self.order, ("records", "errors", *SKIPPED))
        self._recorded: set[str] = set()
        self._near = 0

    def count(self, records: Iterator[Record]) -> Iterator[Record]:
        """Pass records on, and count them."""
        for record in records:
            self._ledger.add("records", [record.query_path])
            self._recorded.add(record.query_path)
            self._near += sum(cosine >= NEAR_COPY for place, cosine in enumerate(record.similarities) if place != record.label)
            yield record

    def close(self) -> dict[str, Any]:
        """The metadata.

        Raises:
            AccountingError: an image of the catalog has no outcome, or more than one.
        """
        errors = [path for path in self.order if path in self._gallery.errors]
        self._ledger.add("errors", errors)
        for reason in SKIPPED:
            self._ledger.add(reason, [path for path, found in self._skipped.items() if found == reason])
        counts = self._ledger.close()
        choice = self._choice
        left_out = (choice.positives.left_out + choice.negatives.left_out).tolist()
        return {
            **{name: self._settings[name] for name in ("category", "seed", "k")},
            "concepts": len(self._concepts),
            "images": len(self.order) - len(errors),
            "queries": len(self.order),
            "records": counts["records"],
            "errors": counts["errors"],
            "largest_k": choice.largest_k,
            "skipped": {reason: counts[reason] for reason in SKIPPED},
            "left_out": dict(zip(REASONS, left_out, strict=True)),
            "replaced_concepts": choice.negatives.replaced,
            "near_negatives": self._near,
            "label_conflicts": self._gallery.label_conflicts(),
            "by_concept": {concept: self._by_concept(images.train) for concept, images in self._concepts.items()},
            "skipped_queries": [{"path": path, "reason": self._skipped[path]} for path in self.order if path in self._skipped],
        }

    def _by_concept(self, paths: list[str]) -> dict[str, int]:
        return {
            "images": sum(path not in self._gallery.errors for path in paths),
            "records": sum(path in self._recorded for path in paths),
            "skipped": sum(path in self._skipped for path in paths),
        }


def retrieve(
    name: Path, tables: list[Path], reviews: Path | None, settings: Settings, outputs: tuple[Path, Path], threads: int
) -> dict[str, int]:
    """Write the records of a category and their metadata; gives the counts.

    Args:
        name: the catalog.
        tables: embedding tables with the images of the category, or of all where negatives may come from all.
        reviews: CSV of a person's decisions, if there is one.
        settings: as `params.retrieve` gives them.
        outputs: for the records, and for the metadata.
        threads: how many to use.

    Raises:
        StepError: the catalog does not have the category, or catalog, tables and reviews do not fit each other.
    """
    catalog, category = read_catalog(name), settings["category"]
    if category not in catalog:
        raise StepError(f"{name}: has no category {category}; it has {', '.join(catalog)}")
    categories = [category] if settings["negative_pool"] == "category" else list(catalog)
    gallery = load_gallery(catalog, name, categories, tables, (settings["data_root"], settings["relative"]))
    contents = dict(zip(gallery.paths, gallery.contents, strict=True)) | gallery.errors
    choice = choose(gallery, read_pair_reviews(reviews, catalog, contents) if reviews else PairReviews(), settings, threads)
    account = Account(catalog, gallery, choice, settings)
    write_records(outputs[0], account.count(make_records(gallery, choice, account.order, settings)))
    metadata = account.close()
    with atomic_text(outputs[1]) as handle:
        json.dump(metadata, handle, indent=2, ensure_ascii=False)
        handle.write("\n")
    if not metadata["records"]:
        log.warning(
            "%s gives no record: negative_pool %s, top_k %d, and the largest K that it allows is %d (largest_k); skipped: %s",
            *(category, settings["negative_pool"], settings["k"], metadata["largest_k"]),
            ", ".join(f"{reason}: {count}" for reason, count in metadata["skipped"].items()),
        )
    return {key: metadata[key] for key in ("queries", "records", "errors")} | {"skipped": sum(metadata["skipped"].values())}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        review_file = Path(job.input.reviews[0]) if job.input.reviews else None
        files = [Path(path) for path in job.input.embeddings]
        made = Path(job.output.records), Path(job.output.metadata)
        report_counts(**retrieve(Path(job.input.catalog), files, review_file, job.params.retrieval, made, job.params.machine["threads"]))
