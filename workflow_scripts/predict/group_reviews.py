"""What a person decided about groups: to divide them, or to leave them out."""

from collections.abc import Iterable, Mapping
from itertools import pairwise

from workflow_scripts.core.decisions import Reviews
from workflow_scripts.core.step import log
from workflow_scripts.predict.stages import Part

DECISIONS = ("keep", "split", "drop")
DROPPED = "dropped by a person"
ALONE_AFTER_SPLIT = "alone after a split by a person"


def apply_reviews(groups: Iterable[Part], reviews: Reviews, contents: Mapping[str, str]) -> list[Part]:
    """Divide and mark groups as a person decided, and log the decisions that fit no image of a group.

    `split` on an image: a new group starts with it; on the first of a group it changes nothing. `drop` on an image: its group is
    left out, as it is after the splits. `keep` changes nothing. Of several rows on an image the last one counts.

    Args:
        groups: as the names give them, groups of one among them where they count as groups.
        reviews: read with `DECISIONS`.
        contents: sha256 of each image by its path; empty, or not there, where it is not known.
    """
    parts = []
    for group in groups:
        decisions = [reviews.find(image.path, contents.get(image.path, "")) for image in group.images]
        starts = [0, *(place for place, decision in enumerate(decisions) if decision == "split" and place), len(decisions)]
        for start, end in pairwise(starts):
            part = Part(group.images[start:end], group.reason)
            if "drop" in decisions[start:end]:
                part = part._replace(reason=DROPPED)
            elif end - start == 1 < len(decisions):
                part = part._replace(reason=ALONE_AFTER_SPLIT)
            parts.append(part)
    for review in reviews.unused():
        log.warning("review: %s of %s (%s) fits no image of a group now", review.decision, review.path or "(any path)", review.sha256)
    return parts
