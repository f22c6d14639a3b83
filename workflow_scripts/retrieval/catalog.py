"""retrieval 01: which images each concept has for training and for tests, and why the others are left out."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.core.accounting import Ledger
from workflow_scripts.core.decisions import Exclusions, Reviews
from workflow_scripts.core.embeddings import write_table
from workflow_scripts.core.seeded import shuffled
from workflow_scripts.core.step import StepError, log, report_counts, step
from workflow_scripts.retrieval.catalog_file import Catalog, ConceptImages, write_catalog
from workflow_scripts.retrieval.layout import strays
from workflow_scripts.retrieval.params import catalog_path
from workflow_scripts.settings.retrieval import round_half_up

PARTS = ("train", "test", "negative")
OUTCOMES = (*PARTS, "skipped", "excluded", "removed", "error")
SCHEMA = pa.schema([(name, pa.string()) for name in ("category", "concept", "path", "catalog_path", "sha256", "outcome", "reason")])
Row = dict[str, Any]


def divide(paths: Sequence[str], settings: dict[str, Any], category: str, concept: str) -> tuple[list[str], list[str]]:
    """Training and test images of a concept, in a random order that depends on seed, category, concept and path alone.

    At least one image is for training and, where there are two, one for tests.
    """
    order = shuffled(paths, settings["catalog_seed"], category, concept)
    count = min(wanted_for_training(len(order), settings), max(1, len(order) - 1))
    return order[:count], order[count:]


def wanted_for_training(count: int, settings: dict[str, Any]) -> int:
    """How many of a concept's images the settings would have for training."""
    wanted = settings["num_train"] or max(1, round_half_up(Decimal(str(settings["train_fraction"])) * count))
    return min(count, wanted)


class CatalogBuilder:
    """Turns inventories into a catalog, and gives every file an outcome."""

    def __init__(self, settings: dict[str, Any], reviews: Reviews, exclusions: Exclusions) -> None:
        """Build by `settings` (`params.catalog`), without what lists and a person leave out."""
        self._settings = settings
        self._reviews = reviews
        self._exclusions = exclusions
        self.catalog: Catalog = {}
        self.empty: list[str] = []
        self.kept_for_test: list[str] = []

    def add(self, category: str, inventory: Path) -> list[Row]:
        """Add a category from its inventory; gives a row of `SCHEMA` for each of its files."""
        rows = [self._row(category, row) for row in pq.read_table(inventory).to_pylist()]
        concepts: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            if row["concept"]:
                concepts[row["concept"]].append(row)
        self.catalog[category] = {}
        for concept in sorted(concepts):
            usable = [row for row in concepts[concept] if not row["outcome"]]
            images = self._concept(category, concept, usable)
            if images.train or images.test:
                self.catalog[category][concept] = images
                continue
            self.empty.append(f"{category}/{concept}")
            for row in usable:
                row |= {"outcome": "skipped", "reason": "skipped: its concept has no image of its own"}
        return rows

    def _row(self, category: str, file: Row) -> Row:
        """A file's row; `outcome` stays empty for an image that the concept may have."""
        path = catalog_path(self._settings["data_root"], self._settings["relative"], file["path"])
        row = {"category": category, "catalog_path": path, "outcome": "", "reason": file["reason"], "part": file["part"]}
        row |= {name: file[name] for name in ("concept", "path", "sha256")}
        if not file["readable"]:
            row["outcome"] = "skipped" if file["reason"].startswith("skipped") else "error"
        elif listed := self._exclusions.find(file["path"], file["sha256"]):
            row |= {"outcome": "excluded", "reason": listed}
        elif self._reviews.find(file["path"], file["sha256"], path) == "drop":
            row |= {"outcome": "removed", "reason": "human"}
        return row

    def _concept(self, category: str, concept: str, rows: list[Row]) -> ConceptImages:
        """The images of a concept, where folders put them; those of which folders say nothing are divided."""
        paths = {row["path"]: row for row in rows}
        free = [row["path"] for row in rows if not row["part"]]
        train, test = divide(free, self._settings, category, concept) if free else ([], [])
        if len(train) < wanted_for_training(len(free), self._settings):
            self.kept_for_test.append(f"{category}/{concept}")
        found = {"train": train, "test": test} | {part: [] for part in PARTS[2:]}
        for row in rows:
            if row["part"]:
                found[row["part"]].append(row["path"])
        for part, members in found.items():
            for path in members:
                paths[path]["outcome"] = part
        return ConceptImages(**{part: [paths[path]["catalog_path"] for path in found[part]] for part in PARTS})


def build_catalog(
    inventories: dict[str, Path],
    loose: list[str],
    settings: dict[str, Any],
    reviews: Reviews,
    outputs: tuple[Path, Path],
) -> dict[str, int]:
    """Write catalog and table of all files; gives counts by outcome.

    Args:
        inventories: of each category, in the order of the catalog.
        loose: files that belong to no category.
        settings: as `params.catalog` gives them.
        reviews: what a person decided.
        outputs: catalog.json, and the Parquet table.

    Raises:
        StepError: no image is left, or an exclusion list matches none.
    """
    exclusions = Exclusions.read(settings["exclude"])
    builder = CatalogBuilder(settings, reviews, exclusions)
    counts = dict.fromkeys(("listed", *OUTCOMES), 0)
    reasons: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        for path in loose:
            counts["listed"] += 1
            counts["skipped"] += 1
            yield {"category": "", "concept": "", "path": path, "outcome": "skipped", "reason": "skipped: in no category folder"}
        for category, inventory in inventories.items():
            found = builder.add(category, inventory)
            ledger = Ledger((row["path"] for row in found), OUTCOMES)
            for row in found:
                ledger.add(row["outcome"], [row["path"]])
                reasons[row["reason"]] += 1
                yield {name: row[name] for name in SCHEMA.names}
            for name, count in ledger.close().items():
                counts[name] += count

    write_table(outputs[1], SCHEMA, rows())
    exclusions.check_used()
    warn(builder, reviews)
    if not counts["train"] + counts["test"]:
        said = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(10))
        raise StepError(f"{settings['data_root']}: none of its {counts['listed']} files is a usable image of a concept: {said}")
    write_catalog(outputs[0], builder.catalog)
    return counts | {"concepts": sum(map(len, builder.catalog.values())), "kept_for_test": len(builder.kept_for_test)}


def warn(builder: CatalogBuilder, reviews: Reviews) -> None:
    """Say what a person should know about a finished catalog."""
    for review in reviews.unused():
        log.warning("review: %s (%s) fits no image any more", review.path or "(any path)", review.sha256)
    for what, names in (
        ("categories have no usable image", [name for name, concepts in builder.catalog.items() if not concepts]),
        ("concepts have no usable image", builder.empty),
        ("concepts have one training image fewer than set, so that one is left for tests", builder.kept_for_test),
    ):
        if names:
            log.warning("%d %s: %s%s", len(names), what, ", ".join(names[:10]), " …" if len(names) > 10 else "")


if job := globals().get("snakemake"):
    with step(job.log[0]):
        decided = Reviews(Path(job.input.reviews[0]) if job.input.reviews else None, ("keep", "drop"))
        files = dict(zip(job.params.categories, map(Path, job.input.inventories), strict=True))
        root, train, test = (job.params.layout[name] for name in ("data_root", "train_dirname", "test_dirname"))
        made = Path(job.output.catalog), Path(job.output.images)
        report_counts(**build_catalog(files, strays(root, train, test), job.params.catalog, decided, made))
