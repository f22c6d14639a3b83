"""Figures of a people calibration, drawn from the JSON that `calibrate` wrote."""

from typing import Any

import numpy as np

from workflow_scripts.core.calibration import curve, reliability
from workflow_scripts.core.calibration_figures import curve_spec, histogram_spec, reliability_spec
from workflow_scripts.core.vega import Theme, to_svg
from workflow_scripts.people.calibrate import WORDING

TITLES = {
    "margin": "Precision and recall against a threshold on the margin",
    "people_prob": "Precision and recall against a threshold on people_prob",
    "histogram": f"Margins of {WORDING.positives} and of {WORDING.negatives}",
    "reliability": f"Share of {WORDING.positives} against people_prob, in ten bins, with the number of labels in each",
}


def figures(found: dict[str, Any], theme: Theme) -> dict[str, str]:
    """The figures as SVG text, by the names in `TITLES` and in their order; the same JSON gives the same text.

    Args:
        found: the JSON.
        theme: of the page.
    """
    prob, margin = (np.array(found["sample"][name], dtype=np.float64) for name in ("people_prob", "margin"))
    person = np.array(found["sample"]["person"], dtype=bool)
    threshold, at_threshold = found["threshold"], found["margin_at_threshold"]
    label = f"people_prob {threshold}"
    names = {"positives": WORDING.positives, "negatives": WORDING.negatives}
    specs = {
        "margin": curve_spec(curve(margin, person), "threshold on margin", threshold=at_threshold, label=label),
        "people_prob": curve_spec(curve(prob, person), "threshold on people_prob", threshold=threshold, label=label, domain=(0.0, 1.0)),
        "histogram": histogram_spec(margin, person, "margin", **names, threshold=at_threshold, label=label),
        "reliability": reliability_spec(reliability(prob, person), "people_prob", f"share of {WORDING.positives}"),
    }
    return {name: to_svg(specs[name], theme, title) for name, title in TITLES.items()}
