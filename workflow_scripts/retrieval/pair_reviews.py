"""What a person decided about pairs of a query and a negative on the report's page."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workflow_scripts.core.csv_input import read_csv_rows
from workflow_scripts.core.step import StepError, log
from workflow_scripts.retrieval.catalog_file import Catalog

DECISIONS = ("keep", "drop_pair", "drop_query", "drop_negative")
ARROW = " → "  # between the paths of a pair


@dataclass(frozen=True, slots=True)
class PairReviews:
    """Decisions that apply, by catalog paths.

    Attributes:
        queries: images that are no queries.
        references: images that are shown with no query.
        pairs: (query, image) that are not shown together.
        unused: rows that fit no image any more, as (path, sha256).
    """

    queries: set[str] = field(default_factory=set)
    references: set[str] = field(default_factory=set)
    pairs: set[tuple[str, str]] = field(default_factory=set)
    unused: list[tuple[str, str]] = field(default_factory=list)


def read_pair_reviews(path: Path, catalog: Catalog, contents: Mapping[str, str]) -> PairReviews:
    """Read the decisions that apply to a catalog, and log those that fit none of its images any more.

    A decision holds as long as its images do, whether or not the pair would be shown again.

    Args:
        path: CSV with the columns sha256 (of the query), path (`query → negative`) and decision. The path of a query alone will do
            for `drop_query`.
        catalog: all categories.
        contents: sha256 of the images that were loaded, empty where it is not known. What the query of a pair holds now is not
            checked where it was not loaded, for it is then the query of another category.

    Raises:
        StepError: a column is missing, a row says something that is no decision, or its path can be read as two pairs.
    """
    known = {name for concepts in catalog.values() for images in concepts.values() for name in images.train + images.test + images.negative}
    found: dict[tuple[str, str], tuple[str, str, str]] = {}
    reviews = PairReviews()
    for number, row in read_csv_rows(path, ("sha256", "path", "decision")):
        sha256, decision = row["sha256"].strip().lower(), row["decision"].strip().lower()
        if decision not in DECISIONS or not sha256:
            raise StepError(f"{path}, line {number}: needs a sha256 and a decision ({', '.join(DECISIONS)}), has {row['decision']!r}")
        readings = _readings(row["path"], known)
        if len(readings) > 1:
            meanings = " or ".join(f"{query!r} with {negative!r}" if negative else f"{query!r}" for query, negative in readings)
            raise StepError(f"{path}, line {number}: {row['path']!r} may be {meanings}; rename one of the images")
        fits = bool(readings) and (readings[0][1] != "" or decision in ("keep", "drop_query"))
        if not fits or contents.get(readings[0][0], "") not in ("", sha256):
            log.warning("review: %s (%s) fits no image any more", row["path"] or "(no path)", sha256)
            reviews.unused.append((row["path"], sha256))
            continue
        found[sha256, row["path"]] = (decision, *readings[0])  # the last word on a pair counts
    for decision, query, negative in found.values():
        if decision == "drop_query":
            reviews.queries.add(query)
        elif decision == "drop_negative":
            reviews.references.add(negative)
        elif decision == "drop_pair":
            reviews.pairs.add((query, negative))
    return reviews


def _readings(path: str, known: set[str]) -> list[tuple[str, str]]:
    """What a path may mean, of the images that there are: query and negative, or a query with nothing. Names may hold arrows."""
    parts = path.split(ARROW)
    pairs = [(ARROW.join(parts[:place]), ARROW.join(parts[place:])) for place in range(1, len(parts))]
    alone = [(path, "")] if path in known else []
    return alone + [(query, negative) for query, negative in pairs if query in known and negative in known]
