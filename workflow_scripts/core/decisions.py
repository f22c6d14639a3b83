"""What people decided, as input: reviews made on a page, and lists of images to leave out."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workflow_scripts.core.csv_input import read_csv_rows
from workflow_scripts.core.step import StepError


@dataclass(frozen=True, slots=True)
class Review:
    """One decision of a person about one image.

    Attributes:
        sha256: content that the person looked at.
        path: its key; empty = every image with this content.
        decision: such as `keep` or `remove`.
    """

    sha256: str
    path: str
    decision: str


class Reviews:
    """The decisions of a review file, found by content and key, and which of them fit no image."""

    def __init__(self, path: Path | None, decisions: tuple[str, ...]) -> None:
        """Read a CSV with the columns sha256, path and decision; others are ignored. No file means no decisions.

        Raises:
            StepError: a column is missing, or a row says something that is no decision here.
        """
        self._by_content: dict[tuple[str, str], Review] = {}
        self._used: set[Review] = set()
        for number, row in read_csv_rows(path, ("sha256", "path", "decision")) if path else ():
            review = Review(row["sha256"].strip().lower(), row["path"], row["decision"].strip().lower())
            if review.decision not in decisions or not review.sha256:
                raise StepError(f"{path}, line {number}: needs a sha256 and a decision ({' or '.join(decisions)}), has {row['decision']!r}")
            self._by_content[review.sha256, review.path] = review

    def find(self, key: str, sha256: str, *other_keys: str) -> str | None:
        """The decision about this image: the one on its own key, or another way to write it, before one on its content."""
        own = (self._by_content.get((sha256, name)) for name in (key, *other_keys, ""))
        review = next((found for found in own if found), None)
        if review:
            self._used.add(review)
        return review.decision if review else None

    def unused(self) -> list[Review]:
        """Decisions that fitted no image asked for so far: it is gone, or its content is another now."""
        return [review for review in self._by_content.values() if review not in self._used]


@dataclass
class Exclusions:
    """Lists of images to leave out.

    Attributes:
        counts: how many images each list left out.
    """

    counts: dict[str, int] = field(default_factory=dict)
    _lists: list[tuple[str, str, frozenset[str]]] = field(default_factory=list)
    _used: set[int] = field(default_factory=set)

    @classmethod
    def read(cls, settings: list[dict[str, Any]]) -> "Exclusions":
        """Read the CSVs of an `exclude` setting (`csv`, `by`, `strip_prefix`).

        Raises:
            StepError: a file is missing or lacks the column to match by.
        """
        found = cls()
        for entry in settings:
            columns = ("sha256",) if entry["by"] == "sha256" else ("path", "s3_key")
            values = set()
            for _, row in read_csv_rows(Path(entry["csv"]), any_of=columns):
                value = next(row[name] for name in columns if name in row)
                values.add(value.removeprefix(entry["strip_prefix"]) if entry["by"] == "path" else value.lower())
            found._lists.append((entry["csv"], entry["by"], frozenset(values - {""})))
            found.counts[entry["csv"]] = 0
        return found

    def find(self, key: str, sha256: str | None) -> str | None:
        """The first list that names this image, by its key or its content; None when none does."""
        matching = [number for number, (_, by, values) in enumerate(self._lists) if (sha256 if by == "sha256" else key) in values]
        self._used.update(matching)
        if not matching:
            return None
        name = self._lists[matching[0]][0]
        self.counts[name] += 1
        return name

    def check_used(self) -> None:
        """Refuse a list that left nothing out: a wrong column, prefix or file is more likely than a needless list.

        Raises:
            StepError: naming the list.
        """
        idle = defaultdict(list)
        for number, (name, by, _) in enumerate(self._lists):
            if number not in self._used:
                idle[by].append(name)
        for by, names in idle.items():
            raise StepError(f"exclude: {', '.join(names)}: matches no image by {by}; check `by` and `strip_prefix`, or take the list out")
