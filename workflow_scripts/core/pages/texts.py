"""Tables and counts as the fold-out parts and sentences of a page."""

import csv
import io
from collections.abc import Iterable, Sequence

from workflow_scripts.core.pages.model import Panel

ROWS = 300  # of a table that a page shows; a file beside it holds all
NAMED = 5  # how many names a sentence holds


def table_panel(title: str, text: Sequence[str], header: Sequence[str], rows: Sequence[Sequence[object]], file: str) -> Panel:
    """A table as a fold-out part: its first `ROWS` rows, and all of them as a CSV to save.

    Args:
        title: its line when folded.
        text: sentences above it.
        header: of its columns.
        rows: texts, and numbers, which get thousands separators on the page alone.
        file: the name of the CSV.
    """
    said = [*text, f"The first {ROWS:,} of {len(rows):,} rows; {file} holds all of them."] if len(rows) > ROWS else list(text)
    shown = tuple(tuple(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row) for row in rows[:ROWS])
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([header, *rows])
    return Panel(title, tuple(said), header=tuple(header), rows=shown, downloads={file: buffer.getvalue().encode()})


def counted(count: int, one: str, many: str = "") -> str:
    """A number with its noun: 1 image, 2 images."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def named(names: Iterable[str]) -> str:
    """Names for a sentence: the first few, and how many there are beyond."""
    every = list(names)
    more = f" and {len(every) - NAMED:,} more" if len(every) > NAMED else ""
    return ", ".join(every[:NAMED]) + more


def tallied(counts: dict[str, int]) -> str:
    """Counts by name for a sentence; those of 0 are left out."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items() if count) or "none"


def total(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """The sums of counts by name, names in the order in which they first occur."""
    found: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            found[name] = found.get(name, 0) + count
    return found
