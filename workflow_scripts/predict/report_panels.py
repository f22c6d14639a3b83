"""predict 06: what the report says beside its rows: warnings, notes and tables."""

from typing import Any

import numpy as np

from workflow_scripts.core.pages import Panel
from workflow_scripts.predict.report_items import Found
from workflow_scripts.predict.tables import FAILED

Facts = dict[str, Any]
DIGITS = 12  # of a content hash in a sentence
SHARES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75)  # of the groups, for which the margin is named
CHOICES = (
    "Keep: the group is right. Drop: it is left out. Split: a new group starts with the outlined picture, and goes on with those behind it "
    "in the order of time, stage and name. The chosen picture is outlined first; click another one, or press its number, to split there. "
    "The first image of a group already starts it."
)


def warnings(about: Facts, gone: str) -> list[str]:
    """What to heed before anything else.

    Args:
        about: the metadata of the project's tables.
        gone: why the originals cannot be reached; empty when they can.
    """
    if about["status"] == FAILED:
        return [f"This project could not be processed: {about['error']}. The page is empty until a later run can read it."]
    if gone:
        return [f"The originals cannot be reached: {gone}. Pictures come from the cache alone, and some may be missing."]
    return []


def notes(run: Facts, about: Facts) -> list[str]:
    """What to know before judging; arguments as of `warnings`, and `reviews`, where decisions are read."""
    if about["status"] == FAILED:
        return []
    said = [CHOICES, f"Where {run['reviews']} exists already, import it before you export: the new file then keeps its decisions."]
    if about["skipped"]:
        said.append("Files that are no images: " + ", ".join(f"{kind} {count:,}" for kind, count in about["skipped"].items()) + ".")
    ranker, proposer = (about["models"][name] for name in ("ranker", "crop_proposer"))
    said.append(f"Chosen by {_named(ranker)}, cropped by {_named(proposer)}, from embeddings of {about['model']['name']}.")
    return said


def _named(model: Facts) -> str:
    return f"{model['path'].rpartition('/')[2]} ({model['sha256'][:DIGITS]})"


def panels(found: Found) -> list[Panel]:
    """The fold-out parts; none without a group in which an image was chosen."""
    if not found.chosen:
        return []
    return [stage_panel(found), *([margin_panel(found)] if found.margins else []), crop_panel(found)]


def stage_panel(found: Found) -> Panel:
    """Which stage is chosen how often."""
    rows = [
        (stage, f"{groups:,}", f"{found.chosen[stage]:,}", f"{found.chosen[stage] / groups:.1%}")
        for stage, groups in sorted(found.stages.items())
    ]
    text = "In how many of the groups that have a usable image of a stage it is the chosen one. The ranker sees the image, not its stage."
    return Panel("Which stage is chosen", (text,), header=("stage", "groups that have it", "chosen", "share"), rows=tuple(rows))


def margin_panel(found: Found) -> Panel:
    """How far the chosen images lie above the second."""
    values = np.quantile(np.array(found.margins), SHARES, method="inverted_cdf").tolist()
    rows = [(f"{share:.0%}", f"{value:.3f}") for share, value in zip(SHARES, values, strict=True)]
    text = (
        "The margin is how far the chosen image's score lies above the second. Where it is small, the ranker could as well have chosen the "
        "other one."
    )
    return Panel("How clear the choices are", (text,), header=("part of the groups", "margin up to"), rows=tuple(rows))


def crop_panel(found: Found) -> Panel:
    """What had to be done to make the proposed crops valid."""
    missing = sum(found.chosen.values()) - found.crops
    text = [f"Crops: {found.crops:,}; of these repaired: {found.repaired:,}."]
    if missing:
        text.append(f"Chosen images without a crop: {missing:,}; their reason says why (tag: no crop).")
    rows = [(repair, f"{count:,}") for repair, count in sorted(found.repairs.items())]
    header = ("repair", "crops") if rows else ()
    return Panel("Crops and their repairs", tuple(text), header=header, rows=tuple(rows))
