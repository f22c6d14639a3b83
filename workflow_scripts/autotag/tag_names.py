"""autotag 08: tags in one spelling, and how rare they are in the source."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from workflow_scripts.core.step import StepError


def fold(tag: str) -> str:
    """A tag without blanks round it, in one case and one way to write accents; folding twice changes nothing more.

    Unicode's canonical caseless matching (The Unicode Standard, section 3.13, D145), composed again for people to read.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", tag).casefold()).strip()


class Spelling:
    """One spelling for each tag: folded, then as the aliases say; an empty one means that the tag is dropped."""

    def __init__(self, aliases: Mapping[str, str]) -> None:
        """Follow aliases of aliases to their end, so that writing a tag twice changes nothing more.

        Raises:
            StepError: two aliases of one tag differ, or they lead round in a circle.
        """
        steps: dict[str, str] = {}
        for tag, other in aliases.items():
            if steps.setdefault(fold(tag), fold(other)) != fold(other):
                raise StepError(f"autotag.vote.aliases: {tag!r} stands there twice, for {steps[fold(tag)]!r} and {other!r}; keep one")
        self._ends = {tag: self._end(tag, steps) for tag in steps}

    @staticmethod
    def _end(tag: str, steps: Mapping[str, str]) -> str:
        passed = [tag]
        while (following := steps.get(passed[-1], passed[-1])) != passed[-1]:
            if following in passed:
                raise StepError(f"autotag.vote.aliases: lead round in a circle: {' → '.join([*passed, following])}; take one of them out")
            passed.append(following)
        return passed[-1]

    def __call__(self, tag: str) -> str:
        """How a tag is written; empty when it is dropped."""
        folded = fold(tag)
        return self._ends.get(folded, folded)

    def all(self, tags: Iterable[str | None]) -> list[str]:
        """Many tags at once; null is empty."""
        return [self(tag or "") for tag in tags]


def rarity(tags: Sequence[str], tag_images: Mapping[str, int], images: int, spelling: Spelling) -> npt.NDArray[np.float64]:
    """How rare tags are in the source: log((1 + images) / (1 + images with the tag)), 0 for one that every image has [n].

    The inverse document frequency of K. Spärck Jones (1972), smoothed as in scikit-learn's `TfidfTransformer(smooth_idf=True)`
    and without the 1 that is added there. A tag that is not among the counted ones is rarer than they are: it counts as on no image.

    Args:
        tags: as `spelling` writes them.
        tag_images: how many images of the source carry each tag, as it stands there.
        images: how many images of the source have tags, or at least as many.
        spelling: brings both together; where several tags become one, it is on as many images as they are in sum, at most on all.
    """
    counts: Counter[str] = Counter()
    for tag, count in tag_images.items():
        counts[spelling(tag)] += count
    known = np.array([min(counts[tag], images) for tag in tags], dtype=np.float64)
    found: npt.NDArray[np.float64] = np.log((1 + images) / (1 + known))
    return found
