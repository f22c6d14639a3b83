"""retrieval 07: how similar positives and negatives are to their queries, as a figure."""

import numpy as np

from workflow_scripts.core.calibration_figures import WIDTH
from workflow_scripts.core.vega import Spec, Theme, to_svg
from workflow_scripts.retrieval.report_items import BINS, Counts

ALT = "How many positives (upwards) and negatives (downwards) have which cosine to their query"


def similarity_figure(positives: Counts, negatives: Counts, threshold: float | None, theme: Theme) -> str:
    """The figure as SVG text; the same counts give the same text.

    Args:
        positives: how many have a cosine in each bin [BINS].
        negatives: likewise.
        threshold: duplicate_similarity, drawn as a rule; None for no rule.
        theme: of the page.
    """
    return to_svg(similarity_spec(positives, negatives, threshold), theme, ALT)


def similarity_spec(positives: Counts, negatives: Counts, threshold: float | None) -> Spec:
    """Positives upwards, negatives downwards, over the cosines that occur."""
    edges = np.linspace(-1, 1, BINS + 1).round(2).tolist()
    rows = [
        {"low": low, "high": high, "n": sign * count, "label": name}
        for name, counts, sign in (("positives", positives, 1), ("negatives", negatives, -1))
        for low, high, count in zip(edges[:-1], edges[1:], counts.tolist(), strict=True)
        if count
    ]
    x = {"field": "low", "bin": "binned", "type": "quantitative", "title": "cosine to the query", "scale": {"zero": False, "nice": False}}
    # Whole numbers alone, downwards as upwards.
    whole = {"labelExpr": "datum.value % 1 ? '' : format(abs(datum.value), ',d')", "tickMinStep": 1, "tickCount": 6}
    bars = {
        "mark": {"type": "bar", "binSpacing": 1},
        "encoding": {
            "x": x,
            "x2": {"field": "high"},
            "y": {"field": "n", "type": "quantitative", "title": "references", "axis": whole},
            "color": {"field": "label", "type": "nominal", "title": None, "scale": {"domain": ["positives", "negatives"]}},
        },
    }
    return {"width": WIDTH, "height": 220, "data": {"values": rows}, "layer": [bars, *_rule(threshold)]}


def _rule(threshold: float | None) -> list[Spec]:
    if threshold is None:
        return []
    data = {"values": [{"at": threshold, "label": f"duplicate_similarity {threshold}"}]}
    x = {"field": "at", "type": "quantitative"}
    text = {"type": "text", "style": "current-label", "y": 0, "baseline": "bottom", "dy": -4}
    return [
        {"data": data, "mark": {"type": "rule", "style": "current"}, "encoding": {"x": x}},
        {"data": data, "mark": text, "encoding": {"x": x, "text": {"field": "label"}}},
    ]
