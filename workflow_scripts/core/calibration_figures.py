"""Figures of a calibration as Vega-Lite specs; `vega.to_svg` renders them."""

import math
from typing import Any

import numpy as np

from workflow_scripts.core.calibration import Bools, Curve, Reliability
from workflow_scripts.core.rates import Floats
from workflow_scripts.core.vega import Spec

WIDTH = 520  # pixels of a plot
STEPS = 520  # that a curve is thinned to: one a pixel
BARS = 40  # of a histogram, about
_SHARE = {"type": "quantitative", "scale": {"domain": [0, 1]}, "axis": {"values": [0, 0.2, 0.4, 0.6, 0.8, 1], "format": ".1f"}}
# Whole numbers alone, upwards and downwards.
_COUNTS = {"labelExpr": "datum.value % 1 ? '' : format(abs(datum.value), 'd')", "tickMinStep": 1}


def curve_spec(curve: Curve, axis: str, *, threshold: float | None, label: str = "", domain: tuple[float, float] | None = None) -> Spec:
    """Precision and recall against the threshold, with bands for their intervals.

    Args:
        curve: to draw.
        axis: title of the threshold's axis.
        threshold: the current one, drawn as a rule; None for no rule.
        label: of that rule.
        domain: of the thresholds; without it, a little more than the scores and the current threshold take up.
    """
    domain = domain or _around([curve.threshold[0], curve.threshold[-1], *([] if threshold is None else [threshold])])
    x = {"field": "threshold", "type": "quantitative", "title": axis, "scale": {"domain": list(domain), "nice": False}}
    names = ["precision", "recall"]
    rows = [row for name in names for row in _steps(curve, name, domain)]
    rate = {"field": "rate", "type": "nominal", "title": None, "legend": {"symbolType": "stroke"}, "scale": {"domain": names}}
    # A threshold between two scores does what the higher one does: the value holds back to the score before.
    shape = {"interpolate": "step-before"}
    edge = {"strokeWidth": 1, "opacity": 0.45, **shape}
    band = {
        "mark": {"type": "area", "opacity": 0.2, "line": edge, **shape},
        "encoding": {"y": {"field": "low", **_SHARE, "title": "share"}, "y2": {"field": "high"}, "color": rate},
    }
    # Where both lines run together, the first shows through the gaps of the second.
    dash = {**rate, "scale": {"domain": names, "range": [[1, 0], [6, 4]]}}
    line = {"mark": {"type": "line", **shape}, "encoding": {"y": {"field": "value", **_SHARE}, "color": rate, "strokeDash": dash}}
    return _figure([{"encoding": {"x": x}, "layer": [band, line]}, *_rule(threshold, label)], rows, height=260)


def reliability_spec(found: Reliability, axis: str, share: str) -> Spec:
    """The share of positives in each bin of probability, with its interval, above how many items the bin holds.

    Args:
        found: to draw; bins without items have no mark.
        axis: title of the probability's axis.
        share: title of the share's axis.
    """
    rows = [
        {
            "low": row["low"],
            "high": row["high"],
            "mean": row["mean_score"],
            "share": rate.value,
            "from": rate.low,
            "to": rate.high,
            "n": rate.n,
        }
        for row in found.rows()
        if (rate := row["share"]).n
    ]
    mean = {"field": "mean", **_SHARE, "title": None}
    height = {"field": "share", **_SHARE, "title": share}
    ideal = {
        "data": {"values": [{"mean": 0, "share": 0}, {"mean": 1, "share": 1}]},
        "mark": {"type": "line", "style": "ideal"},
        "encoding": {"x": mean, "y": height},
    }
    interval = {
        "mark": {"type": "rule", "style": "interval"},
        "encoding": {"x": mean, "y": {**height, "field": "from"}, "y2": {"field": "to"}},
    }
    dot = {"mark": {"type": "circle", "style": "dot"}, "encoding": {"x": mean, "y": height}}
    count = {"field": "n", "type": "quantitative", "title": "n", "axis": {**_COUNTS, "tickCount": 2}}
    edges = {"x": {"field": "low", "bin": "binned", **_SHARE, "title": axis}, "x2": {"field": "high"}}
    bar = {"mark": {"type": "bar", "style": "count", "binSpacing": 2}, "encoding": {**edges, "y": count}}
    number = {
        "transform": [{"calculate": "(datum.low + datum.high) / 2", "as": "middle"}],
        "mark": {"type": "text", "dy": -7},
        "encoding": {"x": {"field": "middle", **_SHARE}, "y": count, "text": {"field": "n"}},
    }
    upper, lower = _figure([ideal, interval, dot], rows, height=260), _figure([bar, number], rows, height=60)
    return {"vconcat": [upper, lower], "spacing": 18}


def histogram_spec(
    scores: Floats, labels: Bools, axis: str, *, positives: str, negatives: str, threshold: float | None, label: str = ""
) -> Spec:
    """Scores by label: positives upwards, negatives downwards, each to its own label at the left.

    Args:
        scores: [n], in a unit that doesn't saturate.
        labels: [n].
        axis: title of the score's axis.
        positives: what the positives are called.
        negatives: what the negatives are called.
        threshold: the current one, drawn as a rule; None for no rule.
        label: of that rule.
    """
    edges = histogram_edges(scores)
    up, down = (np.histogram(scores[labels == wanted], edges)[0] for wanted in (True, False))
    rows = [
        {"low": low, "high": high, "n": count, "label": name}
        for name, counts in ((positives, up), (negatives, -down))
        for low, high, count in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
        if count
    ]
    x = {"field": "low", "bin": "binned", "type": "quantitative", "title": axis, "scale": {"zero": False, "nice": False}}
    bars = {
        "mark": {"type": "bar", "binSpacing": 1},
        "encoding": {
            "x": x,
            "x2": {"field": "high"},
            "y": {"field": "n", "type": "quantitative", "title": "labelled items", "axis": {**_COUNTS, "tickCount": 6}},
            "color": {"field": "label", "type": "nominal", "title": None, "scale": {"domain": [positives, negatives]}},
        },
    }
    return _figure([bars, *_rule(threshold, label)], rows, height=220)


def histogram_edges(scores: Floats) -> Floats:
    """Edges of about `BARS` bars whose width is 1, 2 or 5 times a power of ten; scores that lie on an edge belong above it."""
    low, high = float(scores.min()), float(scores.max())
    raw = (high - low or abs(high) or 1.0) / BARS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    first, last = (math.floor(round(end / step, 6)) for end in (low, high))
    numbers = np.arange(first, last + 2, dtype=np.float64)
    # A division gives the floats that decimals are read as; a product gives others.
    return numbers / round(1 / step) if step < 1 else numbers * float(step)


def _around(values: list[float]) -> tuple[float, float]:
    low, high = float(min(values)), float(max(values))
    margin = (high - low or abs(high) or 1.0) * 0.02
    return low - margin, high + margin


def _steps(curve: Curve, name: str, domain: tuple[float, float]) -> list[dict[str, Any]]:
    columns = curve.columns()
    x = curve.threshold
    # Of the scores within a pixel the last one is drawn.
    pixel = np.floor((x - x[0]) / ((x[-1] - x[0]) or 1.0) * STEPS)
    kept = np.flatnonzero(np.append(pixel[1:] != pixel[:-1], True))
    rows = [
        {"threshold": columns["threshold"][index], "rate": name}
        | {field: columns[name + suffix][index] for field, suffix in (("value", ""), ("low", "_low"), ("high", "_high"))}
        for index in sorted({0, *kept.tolist()})
    ]
    if domain[0] < x[0]:
        rows.insert(0, rows[0] | {"threshold": domain[0]})
    if domain[1] > x[-1] and name == "recall" and curve.positives:
        rate = curve.at(domain[1]).recall
        rows.append({"threshold": domain[1], "rate": name, "value": rate.value, "low": rate.low, "high": rate.high})
    return rows


def _rule(threshold: float | None, label: str) -> list[Spec]:
    if threshold is None:
        return []
    x = {"field": "current", "type": "quantitative"}
    data = {"values": [{"current": threshold, "label": label}]}
    text = {"type": "text", "style": "current-label", "y": 0, "baseline": "bottom", "dy": -4}
    return [
        {"data": data, "mark": {"type": "rule", "style": "current"}, "encoding": {"x": x}},
        {"data": data, "mark": text, "encoding": {"x": x, "text": {"field": "label"}}},
    ]


def _figure(layer: list[Spec], data: list[dict[str, Any]], *, height: int) -> Spec:
    return {"width": WIDTH, "height": height, "data": {"values": data}, "layer": layer}
