"""Precision, recall and reliability against labels: compared with counting by hand, and at the edges."""

import json
import math

import numpy as np
import pytest

from workflow_scripts.core.calibration import curve, reliability, wished_recall
from workflow_scripts.core.rates import Rate, wilson


def rate(hits, n):
    low, high = wilson(np.array([hits]), np.array([n]))
    return Rate(hits / n, float(low[0]), float(high[0]), n) if n else Rate(None, None, None, 0)


def by_hand(scores, labels, threshold):
    """(tp, fp, fn, tn), one item at a time."""
    counts = {(called, label): 0 for called in (True, False) for label in (True, False)}
    for score, label in zip(scores.tolist(), labels.tolist(), strict=True):
        counts[score >= threshold, label] += 1
    return counts[True, True], counts[True, False], counts[False, True], counts[False, False]


def check(point, scores, labels):
    tp, fp, fn, tn = by_hand(scores, labels, point.threshold)
    assert (point.tp, point.fp, point.fn, point.tn) == (tp, fp, fn, tn)
    assert point.precision == rate(tp, tp + fp)
    assert point.recall == rate(tp, tp + fn)


def samples():
    """Random scores with many ties, and some without."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 60))
        yield rng.integers(0, rng.integers(1, 30), n) / 29 - (seed % 3 == 0), rng.random(n) < rng.choice([0.05, 0.5, 0.95])
    rng = np.random.default_rng(99)
    yield rng.normal(size=500), rng.random(500) < 0.3


SAMPLES = list(samples())


# ---- the curve ----


@pytest.mark.parametrize("sample", SAMPLES, ids=range(len(SAMPLES)))
def test_every_threshold_counts_as_by_hand(sample):
    scores, labels = sample
    found = curve(scores, labels)
    assert found.threshold.tolist() == sorted(set(scores.tolist()))
    assert (found.positives, found.negatives) == (int(labels.sum()), int((~labels).sum()))
    for index in range(len(found.threshold)):
        check(found.point(index), scores, labels)
    between = (found.threshold[1:] + found.threshold[:-1]) / 2
    ends = [-np.inf, found.threshold[0] - 1, found.threshold[-1] + 1, np.inf]
    for threshold in [*found.threshold.tolist(), *between.tolist(), *np.nextafter(found.threshold, np.inf).tolist(), *ends]:
        point = found.at(threshold)
        assert point.threshold == threshold
        check(point, scores, labels)


def test_equal_scores_fall_together():
    found = curve(np.array([0.5, 0.2, 0.5, 0.5]), np.array([True, False, False, True]))
    assert found.threshold.tolist() == [0.2, 0.5]
    assert (found.tp.tolist(), found.fp.tolist(), found.fn.tolist(), found.tn.tolist()) == ([2, 2], [2, 1], [0, 0], [0, 1])


def test_the_order_of_the_items_does_not_count():
    scores, labels = SAMPLES[-1]
    order = np.random.default_rng(0).permutation(len(scores))
    assert curve(scores, labels).columns() == curve(scores[order], labels[order]).columns()


def test_a_threshold_above_all_scores_calls_nothing_and_has_no_precision():
    point = curve(np.array([0.1, 0.9]), np.array([False, True])).at(0.91)
    assert (point.tp, point.fp, point.fn, point.tn) == (0, 0, 1, 1)
    assert point.precision == Rate(None, None, None, 0)
    assert point.recall == rate(0, 1)


def test_without_positives_there_is_no_recall():
    found = curve(np.array([0.1, 0.9]), np.array([False, False]))
    assert found.at(0.5).recall == Rate(None, None, None, 0)
    assert found.at(0.5).precision == rate(0, 1)
    assert found.columns()["recall"] == found.columns()["recall_low"] == found.columns()["recall_high"] == [None, None]


@pytest.mark.parametrize("label", [True, False])
def test_a_single_item(label):
    found = curve(np.array([0.4]), np.array([label]))
    assert (found.tp.tolist(), found.fp.tolist(), found.fn.tolist(), found.tn.tolist()) == ([label], [not label], [0], [0])


def test_all_scores_equal():
    found = curve(np.full(5, 0.3), np.array([True, True, False, True, False]))
    assert found.threshold.tolist() == [0.3]
    assert found.point(0).precision == rate(3, 5)
    assert found.point(0).recall == rate(3, 3)


def test_columns_are_plain_and_say_the_same():
    scores, labels = SAMPLES[-1]
    found = curve(scores, labels)
    columns = json.loads(json.dumps(found.columns(), allow_nan=False))
    assert list(columns) == [
        *("threshold", "tp", "fp", "fn", "tn", "precision", "precision_low", "precision_high", "recall", "recall_low", "recall_high")
    ]
    for index in (0, 7, len(scores) - 1):
        point = found.point(index)
        row = {name: values[index] for name, values in columns.items()}
        assert [row[name] for name in ("threshold", "tp", "fp", "fn", "tn")] == [point.threshold, point.tp, point.fp, point.fn, point.tn]
        for name, value in (("precision", point.precision), ("recall", point.recall)):
            assert (row[name], row[f"{name}_low"], row[f"{name}_high"]) == (value.value, value.low, value.high)


def test_a_negative_zero_is_zero():
    found = curve(np.array([-0.0, 0.0]), np.array([True, False]))
    assert [math.copysign(1, value) for value in found.threshold.tolist()] == [1.0]


@pytest.mark.parametrize("function", [curve, reliability])
@pytest.mark.parametrize(
    ("scores", "labels", "text"),
    [
        (np.array([0.1, np.nan]), np.array([True, False]), "NaN or infinite"),
        (np.array([0.1, np.inf]), np.array([True, False]), "NaN or infinite"),
        (np.array([0.1, -np.inf]), np.array([True, False]), "NaN or infinite"),
        (np.array([]), np.array([], dtype=bool), "nothing is labelled"),
        (np.array([0.1, 0.2]), np.array([True]), "of one length"),
        (np.array([0.1, 0.2]), np.array([1, 0]), "float64 and bool"),
        (np.array([0.1, 0.2], dtype=np.float32), np.array([True, False]), "float64 and bool"),
        (np.array([[0.1, 0.2]]), np.array([[True, False]]), "float64 and bool"),
    ],
)
def test_what_is_no_sample_is_refused(function, scores, labels, text):
    with pytest.raises(ValueError, match=text):
        function(scores, labels)


def test_a_threshold_has_to_be_a_number():
    with pytest.raises(ValueError, match="not a number"):
        curve(np.array([0.1]), np.array([True])).at(math.nan)


# ---- a wished recall ----


@pytest.mark.parametrize("sample", SAMPLES, ids=range(len(SAMPLES)))
@pytest.mark.parametrize("wish", [0.0, 0.3, 0.5, 0.9, 0.99, 1.0])
def test_the_largest_thresholds_for_a_recall_as_by_hand(sample, wish):
    scores, labels = sample
    found = wished_recall(curve(scores, labels), wish)
    reached, assured = [], []
    for threshold in sorted(set(scores.tolist())):
        tp, _, fn, _ = by_hand(scores, labels, threshold)
        recall = rate(tp, tp + fn)
        if recall.n and recall.value >= wish:
            reached.append(threshold)
        if recall.n and recall.low >= wish:
            assured.append(threshold)
    for point, thresholds in ((found.estimate, reached), (found.assured, assured)):
        assert (point and point.threshold) == (max(thresholds) if thresholds else None)
        if point:
            check(point, scores, labels)
    assert found.recall == wish
    positives = int(labels.sum())
    assert (found.assured is not None) == (found.positives_needed is not None and positives >= found.positives_needed)


def test_a_wish_that_is_met_exactly_is_met():
    scores = np.arange(100) / 100
    found = wished_recall(curve(scores, np.ones(100, dtype=bool)), 0.93)
    assert found.estimate.threshold == 0.07
    assert found.estimate.recall.value == 0.93
    assert found.assured.threshold < 0.07
    assert found.assured.recall.low >= 0.93


@pytest.mark.parametrize(("positives", "assured"), [(380, False), (381, True)])
def test_how_many_positives_a_wish_needs(positives, assured):
    scores = np.append(np.linspace(0.5, 1, positives), 0.1)
    found = wished_recall(curve(scores, np.append(np.ones(positives, dtype=bool), False)), 0.99)
    assert found.positives_needed == 381
    assert (found.assured is not None) == assured
    if assured:
        assert found.assured.threshold == 0.5


# ---- reliability ----


@pytest.mark.parametrize("seed", range(10))
def test_bins_as_by_hand(seed):
    rng = np.random.default_rng(seed)
    scores = np.round(rng.random(int(rng.integers(1, 300))) ** 4, int(rng.integers(1, 7)))
    labels = rng.random(len(scores)) < scores
    rows = reliability(scores, labels).rows()
    assert [(row["low"], row["high"]) for row in rows] == [(number / 10, (number + 1) / 10) for number in range(10)]
    for row in rows:
        inside = [(score, label) for score, label in zip(scores, labels, strict=True) if row["low"] <= score < row["high"]]
        inside += [(1.0, label) for score, label in zip(scores, labels, strict=True) if score == row["high"] == 1]
        assert row["share"] == rate(sum(bool(label) for _, label in inside), len(inside))
        mean = sum(score for score, _ in inside) / len(inside) if inside else None
        assert row["mean_score"] == (None if mean is None else pytest.approx(mean))
    assert sum(row["share"].n for row in rows) == len(scores)


@pytest.mark.parametrize("tenths", range(11))
def test_an_edge_belongs_to_the_bin_above_and_1_to_the_last(tenths):
    found = reliability(np.array([float(f"0.{tenths}") if tenths < 10 else 1.0]), np.array([True]))
    assert found.n.tolist() == [int(number == min(tenths, 9)) for number in range(10)]


def test_another_number_of_bins():
    found = reliability(np.array([0.0, 0.24, 0.25, 1.0]), np.array([True, False, True, True]), bins=4)
    assert found.n.tolist() == [2, 1, 0, 1]
    assert [row["share"].value for row in found.rows()] == [0.5, 1.0, None, 1.0]


@pytest.mark.parametrize("score", [-0.001, 1.001])
def test_what_is_no_probability_is_refused(score):
    with pytest.raises(ValueError, match="no probabilities"):
        reliability(np.array([0.5, score]), np.array([True, False]))
