"""Shares of small samples, and what such a sample can tell: 95 % intervals and bounds."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

Z = 1.959963984540054  # the normal quantile of a two-sided 95 % interval
MISS_RISK = 0.05  # that a bound on what is missed is too low


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of n items with its 95 % interval; value, low and high are None where n = 0."""

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Rates:
    """Many shares, as arrays of one length; value, low and high are NaN where n = 0."""

    value: Floats
    low: Floats
    high: Floats
    n: Ints

    @classmethod
    def of(cls, hits: Ints, n: Ints) -> "Rates":
        """The shares hits / n with their Wilson intervals."""
        low, high = wilson(hits, n)
        return cls(np.divide(hits, n, out=np.full(len(n), np.nan), where=n > 0), low, high, n)

    def at(self, index: int) -> Rate:
        """One of them."""
        n = int(self.n[index])
        return Rate(float(self.value[index]), float(self.low[index]), float(self.high[index]), n) if n else Rate(None, None, None, 0)


def wilson(hits: Ints, n: Ints) -> tuple[Floats, Floats]:
    """The 95 % score interval of a share (Wilson 1927, JASA 22:209-212), NaN where n = 0.

    Unlike value ± z·σ it never leaves [0, 1] and says something also when all or none hit.
    """
    total = np.where(n > 0, n, np.nan)
    share = hits / total
    centre = share + Z**2 / (2 * total)
    spread = Z * np.sqrt(share * (1 - share) / total + Z**2 / (4 * total**2))
    scale = 1 + Z**2 / total
    # Exactly 0 and 1 at the ends, where rounding would leave a trace on either side.
    low = np.where(hits == 0, 0.0 * total, (centre - spread) / scale)
    high = np.where(hits == n, 1.0 + 0.0 * total, (centre + spread) / scale)
    return low, high


def missed_bound(n: int) -> float:
    """What share may be missed all the same when none of n was, at 95 % confidence.

    The one-sided bound of Clopper and Pearson (1934): the share p at which (1 - p)**n = 0.05. About 3 / n, the rule of three.
    """
    return -math.expm1(math.log(MISS_RISK) / n)


def trials_needed(share: float) -> int | None:
    """The fewest trials with which, if all hit, the interval's lower end n / (n + z²) reaches `share`; None when it never does."""
    if share >= 1:
        return None
    return max(1, math.ceil(share * Z**2 / (1 - share)))
