"""What a person decided on the pages: which frames go no further. A decision is about a frame's content, whatever it is called now."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from workflow_scripts.core.csv_input import read_csv_rows
from workflow_scripts.core.step import StepError

KEEP, REJECT = DECISIONS = ("keep", "reject")
CULLED = "culled by a person"


@dataclass(frozen=True, slots=True)
class Culls:
    """Decisions about frames, and which of them nobody asked for."""

    _reasons: dict[str, str | None] = field(default_factory=dict)
    _paths: dict[str, str] = field(default_factory=dict)
    _asked: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Self:
        """Read CSVs with the columns sha256 (of the frame), path, decision and reason; path and reason may be missing.

        Of several lines of one file on a frame the last one counts. A frame that one file rejects stays rejected, whatever another
        says: each is about another step.

        Raises:
            StepError: a column is missing, or a line says something that is no decision; names the file and the line.
        """
        found = cls()
        for path in paths:
            here: dict[str, str | None] = {}
            for number, row in read_csv_rows(path, ("sha256", "decision")):
                sha256, decision = row["sha256"].strip().lower(), row["decision"].strip().lower()
                if decision not in DECISIONS or not sha256:
                    wanted = " or ".join(DECISIONS)
                    raise StepError(f"{path}, line {number}: needs a sha256 and a decision ({wanted}), has {row['decision']!r}")
                said = " ".join(row.get("reason", "").split())
                here[sha256] = None if decision == KEEP else f"{CULLED}: {said}" if said else CULLED
                found._paths[sha256] = row.get("path", "")
            for sha256, reason in here.items():
                found._reasons[sha256] = found._reasons.get(sha256) or reason
        return found

    def decision(self, sha256: str | None) -> str:
        """What was decided about the frame with this content, `keep` or `reject`; empty for nothing."""
        if sha256 not in self._reasons:
            return ""
        return KEEP if self._reasons[sha256] is None else REJECT

    def reason(self, sha256: str) -> str | None:
        """Why the frame with this content goes no further; None when it does."""
        self._asked.add(sha256)
        return self._reasons.get(sha256)

    def unused(self) -> list[str]:
        """Decisions about frames that were not asked for so far, as `path (sha256)`, sorted: they are gone, or hold something else now."""
        left = self._reasons.keys() - self._asked
        return sorted(f"{self._paths[sha256] or '(no path)'} ({sha256})" for sha256 in left)
