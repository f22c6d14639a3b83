r"""CSV as every reader takes it: UTF-8, lines that end with `\n`, values quoted where needed, a bare `\r` among them."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from workflow_scripts.core.step import atomic_text


class UnixEnds:
    r"""Takes what a csv writer with the line end `\r\n` writes, and ends the lines with `\n`.

    csv quotes what its line end contains, and every reader takes a bare `\r` for one too.
    """

    def __init__(self, handle: IO[str]) -> None:
        """Write to an open file."""
        self._handle = handle

    def write(self, line: str) -> int:
        """Write one line."""
        return self._handle.write(line.removesuffix("\r\n") + "\n")


def write_rows(path: Path, rows: Iterable[Iterable[object]]) -> int:
    """Write rows, the first of which may be a header; gives their number."""
    count = 0
    with atomic_text(path, newline="") as handle:
        writer = csv.writer(UnixEnds(handle), lineterminator="\r\n")
        for row in rows:
            writer.writerow(row)
            count += 1
    return count
