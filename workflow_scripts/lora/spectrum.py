"""lora 04d: where blurry ends and sharp begins, read off the sharpness of all subjects."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workflow_scripts.core.calibration_figures import WIDTH
from workflow_scripts.core.vega import Spec, Theme, to_svg

SHOWN = 10  # of each end and of the middle of a category
WORST, MIDDLE, BEST = PARTS = ("worst", "middle", "best")
FEWEST = 50  # values of which two groups can be told from chance
SMALLEST = (10, 0.03)  # values that a group holds at least, and part of all: single stragglers are no group
DEPTH = 0.7  # of the lower summit: a valley is no higher
BINS = 40  # of the figure
_GRID = 512
_LEAST = 0.1  # what a sharpness of 0 counts as, on a scale of logarithms
ALT = "How many subjects have which sharpness, on a scale of logarithms"

Floats = npt.NDArray[np.float64]


def ends_and_middle(values: Sequence[float]) -> dict[int, str]:
    """The places of the lowest, middle and highest values, ten of each at most, with the part that they belong to; ascending.

    Each part is taken from its own third, so that none overlap where there are few.
    """
    thirds = np.array_split(np.argsort(np.asarray(values, dtype=np.float64), kind="stable"), len(PARTS))
    low, middle, high = (third.tolist() for third in thirds)
    start = max(0, (len(middle) - SHOWN) // 2)
    chosen = (low[:SHOWN], middle[start : start + SHOWN], high[-SHOWN:])
    return {place: part for part, places in zip(PARTS, chosen, strict=True) for place in places}


@dataclass(frozen=True)
class Valley:
    """The valley between two groups.

    Attributes:
        at: the sharpness.
        below: how many values lie below it.
    """

    at: float
    below: int


def find_valley(values: Sequence[float]) -> Valley | None:
    """The deepest valley between two groups of the logarithms of the values; None where they form one group, or are too few.

    The density is a Gaussian kernel estimate with the bandwidth 0.9 min(s, IQR / 1.34) n^(-1/5) (Silverman, Density Estimation for
    Statistics and Data Analysis, 1986, equation 3.31). A valley counts when it is no higher than `DEPTH` of the lower of the summits
    beside it and each side holds `SMALLEST` of the values.
    """
    logs = np.sort(np.log10(np.maximum(np.asarray(values, dtype=np.float64), _LEAST)))
    if len(logs) < FEWEST or logs[0] == logs[-1]:
        return None
    grid, density = _density(logs)
    # Of every point: the highest summit to its left, and to its right.
    left, right = np.maximum.accumulate(density), np.maximum.accumulate(density[::-1])[::-1]
    below, least = np.searchsorted(logs, grid), max(SMALLEST[0], SMALLEST[1] * len(logs))
    depth = np.where((below >= least) & (below <= len(logs) - least), density / np.minimum(left, right), np.inf)
    place = int(np.argmin(depth))
    if not depth[place] <= DEPTH:
        return None
    # Two digits are all that such a limit is worth.
    at = float(f"{10 ** grid[place]:.2g}")
    return Valley(at, int(sum(value < at for value in values)))


def _density(logs: Floats) -> tuple[Floats, Floats]:
    """Where the density of sorted values was estimated, and what it is there, but for a factor; binned, as that is quick for many."""
    quarter, three = np.quantile(logs, (0.25, 0.75))
    spread = min(float(np.std(logs)), float(three - quarter) / 1.34) or float(np.std(logs))
    bandwidth = 0.9 * spread * len(logs) ** -0.2
    edges = np.linspace(logs[0] - 3 * bandwidth, logs[-1] + 3 * bandwidth, _GRID + 1)
    counts, _ = np.histogram(logs, edges)
    middles = (edges[:-1] + edges[1:]) / 2
    kernel = np.exp(-0.5 * ((middles - middles[_GRID // 2]) / bandwidth) ** 2)
    return middles, np.convolve(counts, kernel)[_GRID // 2 : _GRID // 2 + _GRID]


def figure(values: Sequence[float], current: float, suggested: float | None, theme: Theme) -> str:
    """The histogram as SVG text.

    Args:
        values: the sharpness of every subject that has one; at least one.
        current: min_sharpness, drawn as a rule.
        suggested: drawn likewise; None for none.
        theme: of the page.
    """
    logs = np.log10(np.maximum(np.asarray(values, dtype=np.float64), _LEAST))
    counts, edges = np.histogram(logs, BINS)
    sides = (10**edges).round(4).tolist()
    rows = [{"low": low, "high": high, "n": n} for low, high, n in zip(sides[:-1], sides[1:], counts.tolist(), strict=True) if n]
    x = {"field": "low", "bin": "binned", "type": "quantitative", "title": "sharpness", "scale": {"type": "log", "nice": False}}
    y = {"field": "n", "type": "quantitative", "title": "subjects", "axis": {"tickMinStep": 1, "format": ",d"}}
    bars = {"mark": {"type": "bar", "binSpacing": 1, "style": "count"}, "encoding": {"x": x, "x2": {"field": "high"}, "y": y}}
    marks = [(current, f"min_sharpness {current:g}", -16)] + ([(suggested, f"valley {suggested:g}", -4)] if suggested else [])
    rules = [part for at, label, up in marks if at > 0 for part in _rule(at, label, up)]
    return to_svg({"width": WIDTH, "height": 200, "data": {"values": rows}, "layer": [bars, *rules]}, theme, ALT)


def _rule(at: float, label: str, up: int) -> list[Spec]:
    data = {"values": [{"at": at, "label": label}]}
    x = {"field": "at", "type": "quantitative"}
    text = {"type": "text", "style": "current-label", "y": 0, "baseline": "bottom", "dy": up}
    return [
        {"data": data, "mark": {"type": "rule", "style": "current"}, "encoding": {"x": x}},
        {"data": data, "mark": text, "encoding": {"x": x, "text": {"field": "label"}}},
    ]
