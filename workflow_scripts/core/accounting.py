"""The ledger: every listed image has exactly one outcome, or the step fails and names the images."""

from collections import Counter
from collections.abc import Iterable

from workflow_scripts.core.step import StepError

NAMED = 10  # how many keys an error names


class AccountingError(StepError):
    """Images are missing, counted twice, or were never listed."""


class Ledger:
    """Counts outcomes of listed images and checks that in = out.

    Holds the keys of one shard; a merge checks shard by shard.
    """

    def __init__(self, listed: Iterable[str], outcomes: Iterable[str]) -> None:
        """Open the ledger.

        Args:
            listed: the keys that came in.
            outcomes: the names of what may become of them.

        Raises:
            AccountingError: a key is listed twice.
        """
        self._outcomes = tuple(outcomes)
        self._open: dict[str, str | None] = {}
        twice = []
        for key in listed:
            if key in self._open:
                twice.append(key)
            self._open[key] = None
        _refuse(twice, "listed twice")

    def add(self, outcome: str, keys: Iterable[str]) -> None:
        """Give these keys their outcome.

        Raises:
            AccountingError: a key was not listed or has an outcome already.
        """
        if outcome not in self._outcomes:
            raise ValueError(f"unknown outcome: {outcome}")
        unknown, again = [], []
        for key in keys:
            if key not in self._open:
                unknown.append(key)
            elif self._open[key] is not None:
                again.append(f"{key} ({self._open[key]}, {outcome})")
            else:
                self._open[key] = outcome
        _refuse(unknown, f"{outcome} but never listed")
        _refuse(again, "counted twice")

    def close(self) -> dict[str, int]:
        """Counts by outcome, with `listed`.

        Raises:
            AccountingError: a listed key has no outcome.
        """
        _refuse([key for key, outcome in self._open.items() if outcome is None], "listed but without an outcome")
        counts = Counter(self._open.values())
        return {"listed": len(self._open)} | {name: counts[name] for name in self._outcomes}


def _refuse(keys: list[str], what: str) -> None:
    if keys:
        more = f" … and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
        raise AccountingError(f"{len(keys)} images {what}: {', '.join(keys[:NAMED])}{more}")
