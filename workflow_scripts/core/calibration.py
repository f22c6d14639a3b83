"""What labels tell of a score: precision and recall at every threshold, reliability, thresholds for a wished recall.

An item is called positive if and only if its score >= threshold, as in every decision of this workflow. Only numpy is needed;
nothing here knows what the score or the labels mean.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from workflow_scripts.core.rates import Floats, Ints, Rate, Rates, trials_needed

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Point:
    """What a threshold does: items called positive rightly (tp) and wrongly (fp), and negative wrongly (fn) and rightly (tn).

    Attributes:
        threshold: an item with this score is called positive.
        precision: share of the items called positive that are; n = tp + fp.
        recall: share of the positives that are called positive; n = tp + fn.
    """

    threshold: float
    tp: int
    fp: int
    fn: int
    tn: int
    precision: Rate
    recall: Rate


@dataclass(frozen=True, slots=True)
class Curve:
    """What every distinct score does as a threshold; arrays of one length, thresholds ascending."""

    threshold: Floats
    tp: Ints
    fp: Ints
    fn: Ints
    tn: Ints
    precision: Rates
    recall: Rates

    @property
    def positives(self) -> int:
        """Labelled positives."""
        return int(self.tp[0])

    @property
    def negatives(self) -> int:
        """Labelled negatives."""
        return int(self.fp[0])

    def point(self, index: int) -> Point:
        """One row."""
        tp, fp, fn, tn = (int(column[index]) for column in (self.tp, self.fp, self.fn, self.tn))
        return Point(float(self.threshold[index]), tp, fp, fn, tn, self.precision.at(index), self.recall.at(index))

    def at(self, threshold: float) -> Point:
        """What any threshold does, also one that no item has as its score, or that lies above all (nothing is called positive).

        Raises:
            ValueError: it is NaN.
        """
        if math.isnan(threshold):
            raise ValueError("the threshold is not a number")
        index = int(np.searchsorted(self.threshold, threshold, side="left"))
        called = (int(self.tp[index]), int(self.fp[index])) if index < len(self.threshold) else (0, 0)
        tp, fp = (np.array([count], dtype=np.int64) for count in called)
        return _curve(np.array([threshold]), tp, fp, self.positives, self.negatives).point(0)

    def columns(self) -> dict[str, list[Any]]:
        """Plain columns for a table: the counts, and each rate with its interval as `…`, `…_low`, `…_high`; None where n = 0."""
        found: dict[str, list[Any]] = {name: getattr(self, name).tolist() for name in ("threshold", "tp", "fp", "fn", "tn")}
        for name, rates in (("precision", self.precision), ("recall", self.recall)):
            for suffix, values in (("", rates.value), ("_low", rates.low), ("_high", rates.high)):
                found[name + suffix] = [None if math.isnan(value) else value for value in values.tolist()]
        return found


@dataclass(frozen=True, slots=True)
class Reliability:
    """How often items are positive whose score, read as a probability, lies in a bin; arrays of one length.

    Attributes:
        low: lower edges; they belong to their bin.
        high: upper edges; the last alone belongs to its bin.
        n: items in the bin.
        mean_score: of the items in the bin; NaN where there are none.
        share: of them that are positive.
    """

    low: Floats
    high: Floats
    n: Ints
    mean_score: Floats
    share: Rates

    def rows(self) -> list[dict[str, Any]]:
        """A plain row for each bin; None where it is empty."""
        means = [None if math.isnan(mean) else mean for mean in self.mean_score.tolist()]
        edges = zip(self.low.tolist(), self.high.tolist(), strict=True)
        return [
            {"low": low, "high": high, "mean_score": means[index], "share": self.share.at(index)} for index, (low, high) in enumerate(edges)
        ]


@dataclass(frozen=True, slots=True)
class WishedRecall:
    """Thresholds that reach a wished recall.

    Attributes:
        recall: the wish.
        estimate: at the largest threshold whose recall in the sample reaches it; None without positives.
        assured: at the largest threshold where the lower end of the interval reaches it too; None when the positives are too few.
        positives_needed: the fewest positives with which, none missed, the lower end reaches it; None when no number does.
    """

    recall: float
    estimate: Point | None
    assured: Point | None
    positives_needed: int | None


def curve(scores: Floats, labels: Bools) -> Curve:
    """Precision and recall at every distinct score.

    Args:
        scores: [n], finite; equal scores fall on the same side of every threshold.
        labels: [n], true for positives.

    Raises:
        ValueError: the arrays are empty, differ in length, or are not numbers and booleans.
    """
    scores = _check(scores, labels)
    thresholds, where = np.unique(scores, return_inverse=True)
    called_positive = (np.bincount(where[labels == wanted], minlength=len(thresholds))[::-1].cumsum()[::-1] for wanted in (True, False))
    tp, fp = (counts.astype(np.int64) for counts in called_positive)
    return _curve(thresholds, tp, fp, int(tp[0]), int(fp[0]))


def reliability(scores: Floats, labels: Bools, bins: int = 10) -> Reliability:
    """Compare scores, read as probabilities, with the share of positives in equal bins of [0, 1]; empty bins stay, with n = 0.

    Raises:
        ValueError: as for `curve`, or a score is no probability.
    """
    scores = _check(scores, labels)
    if scores.min() < 0 or scores.max() > 1:
        raise ValueError("the scores are no probabilities: some lie outside 0 to 1")
    edges = np.arange(bins + 1) / bins  # the floats that 0.1, 0.2, … are read as; linspace gives others
    where = np.minimum(np.searchsorted(edges, scores, side="right") - 1, bins - 1)
    n = np.bincount(where, minlength=bins).astype(np.int64)
    mean = np.divide(np.bincount(where, weights=scores, minlength=bins), n, out=np.full(bins, np.nan), where=n > 0)
    hits = np.bincount(where[labels], minlength=bins).astype(np.int64)
    return Reliability(edges[:-1], edges[1:], n, mean, Rates.of(hits, n))


def wished_recall(found: Curve, recall: float) -> WishedRecall:
    """The largest thresholds whose recall, and whose recall's lower end, is at least `recall` (0 to 1)."""
    estimate, assured = (_last(found, values >= recall) for values in (found.recall.value, found.recall.low))
    return WishedRecall(recall, estimate, assured, trials_needed(recall))


def _last(found: Curve, reached: Bools) -> Point | None:
    indices = np.flatnonzero(reached)
    return found.point(int(indices[-1])) if len(indices) else None


def _curve(thresholds: Floats, tp: Ints, fp: Ints, positives: int, negatives: int) -> Curve:
    recall = Rates.of(tp, np.full(len(tp), positives, dtype=np.int64))
    return Curve(thresholds, tp, fp, positives - tp, negatives - fp, Rates.of(tp, tp + fp), recall)


def _check(scores: Floats, labels: Bools) -> Floats:
    """Scores without negative zeros, which would be written as another number than zero."""
    if labels.dtype != np.bool_ or scores.dtype != np.float64 or scores.shape != labels.shape or scores.ndim != 1:
        raise ValueError("scores and labels have to be arrays of float64 and bool, of one length")
    if not len(scores):
        raise ValueError("nothing is labelled")
    if not np.isfinite(scores).all():
        raise ValueError("some scores are NaN or infinite")
    return scores + 0.0
