"""Plain sentences on what a labelled sample tells of a score and its threshold, and what it is too small to tell."""

from collections.abc import Iterator
from dataclasses import dataclass

from workflow_scripts.core.calibration import Curve, Point, WishedRecall
from workflow_scripts.core.rates import Rate, missed_bound

FEW = 10  # positives or negatives below which a share is hardly an estimate
MANY = 200  # items from which on a share has a third digit


@dataclass(frozen=True, slots=True)
class Wording:
    """What the items are called, in the plural.

    Attributes:
        positives: such as `images with people`.
        negatives: such as `images without people`.
    """

    positives: str = "positives"
    negatives: str = "negatives"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Labels that could not be used.

    Attributes:
        unsure: the person could not say.
        unmatched: there is no such item, or it is another now.
        unscored: the item has no score.
    """

    unsure: int = 0
    unmatched: int = 0
    unscored: int = 0


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, and whether it warns of a figure that cannot be relied on or of a label that was not used."""

    text: str
    warning: bool = False


def sentences(curve: Curve, threshold: float, wished: WishedRecall, wording: Wording, left_out: LeftOut) -> list[Sentence]:
    """Say what the sample tells: its size, the current threshold, thresholds for the wished recall, and its limits.

    Args:
        curve: over the score that the threshold applies to.
        threshold: the one in use.
        wished: thresholds for a wished recall, from the same curve.
        wording: what the items are called.
        left_out: labels that are not in the curve.
    """
    facts = [*_at_threshold(curve.at(threshold), wording), *_at_wish(curve, wished, wording)]
    size = f"Labelled and scored: {curve.positives} {wording.positives}, {curve.negatives} {wording.negatives}."
    limits = (
        "All this holds for items drawn at random, as the labelled ones should be: labels picked by hand or by score tell less, "
        "and a threshold chosen on the sample does a little worse elsewhere."
    )
    warnings = [*_too_few(curve, wording), *_left_out(left_out)]
    return [Sentence(size), *map(Sentence, facts), Sentence(limits), *(Sentence(text, warning=True) for text in warnings)]


def _at_threshold(point: Point, wording: Wording) -> Iterator[str]:
    where = f"threshold {point.threshold!r}"
    positives = point.recall.n
    if positives:
        missed = f"{point.fn} of {positives} labelled {wording.positives} {_were(point.fn)} missed at {where}"
        if point.fn:
            yield f"{missed}: recall is {_rate(point.recall)}."
        else:
            bound = f"exact one-sided 95 % bound, 1 − 0.05^(1/{positives}); about 3/n, the rule of three"
            yield f"{missed}; up to {_rounded(100 * missed_bound(positives), 1, 100)} % may still be missed ({bound})."
    if point.precision.n:
        wrong = f"{point.fp} of {point.precision.n} called positive {_are(point.fp)} among the {wording.negatives}"
        yield f"At {where} precision is {_rate(point.precision)}: {wrong}."
    else:
        yield f"No labelled item reaches {where}: the sample says nothing about precision there."


def _at_wish(curve: Curve, wished: WishedRecall, wording: Wording) -> Iterator[str]:
    wish = f"{wished.recall:.12g}"
    if wished.estimate is None:
        return
    yield f"The largest threshold with a recall of at least {wish} in the sample is {_what(wished.estimate)}."
    if wished.assured is not None:
        yield f"The largest one where the lower end of the 95 % interval reaches {wish} too is {_what(wished.assured)}."
    elif wished.positives_needed is None:
        yield f"No sample can assure a recall of {wish}: the lower end of the 95 % interval always stays below it."
    else:
        needed = f"at least {wished.positives_needed} {wording.positives}, none of them missed"
        yield (
            f"No threshold assures a recall of {wish}, by the lower end of the 95 % interval: "
            f"that takes {needed}, and {curve.positives} {_are(curve.positives)} labelled."
        )


def _what(point: Point) -> str:
    return f"{point.threshold!r} (recall {_rate(point.recall)}; precision {_rate(point.precision)})"


def _too_few(curve: Curve, wording: Wording) -> Iterator[str]:
    classes = (
        (curve.positives, wording.positives, "recall is unknown, and no threshold for it can be found"),
        (curve.negatives, wording.negatives, "precision is 1 by construction at every threshold and says nothing"),
    )
    for count, name, effect in classes:
        if not count:
            yield f"All labels are equal: no {name} among them, so {effect}; label some."
        elif count < FEW:
            yield f"Too few {name} ({count}): figures that rest on them are rough; label at least {FEW}, better 100."


def _left_out(left_out: LeftOut) -> Iterator[str]:
    reasons = (
        (left_out.unsure, "as unsure"),
        (left_out.unmatched, "for matching no item as it is now"),
        (left_out.unscored, "for an item without a score"),
    )
    for count, why in reasons:
        if count:
            yield f"{count} {'label' if count == 1 else 'labels'} {_were(count)} left out {why}."


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _rate(rate: Rate) -> str:
    if rate.value is None or rate.low is None or rate.high is None:
        return "unknown"
    digits = 2 if rate.n < MANY else 3
    value, low, high = (_rounded(share, digits, 1) for share in (rate.value, rate.low, rate.high))
    return f"{value} ({low}–{high}, n = {rate.n})"


def _rounded(value: float, digits: int, whole: int) -> str:
    """With as many more digits as it takes not to turn a value into a 0 or a whole that it is not."""
    while value not in (0, whole) and round(value, digits) in (0, whole):
        digits += 1
    return f"{value:.{digits}f}"
