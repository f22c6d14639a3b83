"""The sentences: their numbers, and that they claim nothing that the sample cannot tell."""

import numpy as np
import pytest

from workflow_scripts.core.calibration import curve, wished_recall
from workflow_scripts.core.calibration_text import LeftOut, Wording, sentences

WORDING = Wording("cats", "dogs")


def said(positives, negatives, *, threshold=0.5, wish=0.9, wording=WORDING, **left_out):
    """What is said of these scores: facts, warnings."""
    scores = np.array([*positives, *negatives], dtype=np.float64)
    labels = np.arange(len(scores)) < len(positives)
    found = curve(scores, labels)
    every = sentences(found, threshold, wished_recall(found, wish), wording, LeftOut(**left_out))
    warnings = [sentence.text for sentence in every if sentence.warning]
    facts = [sentence.text for sentence in every if not sentence.warning]
    assert [sentence.text for sentence in every] == facts + warnings
    return facts, warnings


def test_nothing_missed_of_200_still_allows_one_and_a_half_percent():
    facts, warnings = said([0.9] * 200, [0.8] * 13 + [0.1] * 87)
    assert facts[:3] == [
        "Labelled and scored: 200 cats, 100 dogs.",
        (
            "0 of 200 labelled cats were missed at threshold 0.5; up to 1.5 % may still be missed "
            "(exact one-sided 95 % bound, 1 − 0.05^(1/200); about 3/n, the rule of three)."
        ),
        "At threshold 0.5 precision is 0.939 (0.898–0.964, n = 213): 13 of 213 called positive are among the dogs.",
    ]
    assert facts[-1].startswith("All this holds for items drawn at random")
    assert warnings == []


def test_misses_are_counted_with_their_recall():
    facts, _ = said([0.9] * 97 + [0.4] * 3, [0.8] + [0.1] * 82)
    assert facts[1] == "3 of 100 labelled cats were missed at threshold 0.5: recall is 0.97 (0.92–0.99, n = 100)."
    assert facts[2] == "At threshold 0.5 precision is 0.99 (0.94–0.998, n = 98): 1 of 98 called positive is among the dogs."


def test_one_is_one():
    facts, warnings = said([0.4], [0.9], unsure=1)
    assert facts[1] == "1 of 1 labelled cats was missed at threshold 0.5: recall is 0.00 (0.00–0.79, n = 1)."
    assert warnings[-1] == "1 label was left out as unsure."


@pytest.mark.parametrize(
    ("count", "missed", "text"),
    [
        (199, 2, "recall is 0.99 (0.96–0.997, n = 199)."),
        (200, 2, "recall is 0.990 (0.964–0.997, n = 200)."),
        (5000, 1, "recall is 0.9998 (0.999–0.99996, n = 5000)."),
        (5000, 4999, "recall is 0.0002 (0.00004–0.001, n = 5000)."),
    ],
)
def test_a_share_is_never_rounded_to_all_or_nothing(count, missed, text):
    facts, _ = said([0.9] * (count - missed) + [0.1] * missed, [0.1] * 20)
    assert facts[1].endswith(text)


def test_a_small_risk_is_not_rounded_to_none():
    facts, _ = said([0.9] * 9000, [0.1] * 20)
    assert "up to 0.03 % may still be missed" in facts[1]
    facts, _ = said([0.9], [0.1] * 20)
    assert "up to 95.0 % may still be missed" in facts[1]


def test_when_nothing_reaches_the_threshold_precision_is_unknown():
    facts, _ = said([0.2] * 20, [0.1] * 20, threshold=0.75)
    assert facts[2] == "No labelled item reaches threshold 0.75: the sample says nothing about precision there."


def test_thresholds_for_a_wished_recall():
    facts, _ = said(np.arange(1, 101) / 100, [0.345] * 50, wish=0.9)
    assert facts[3:5] == [
        (
            "The largest threshold with a recall of at least 0.9 in the sample is 0.11 "
            "(recall 0.90 (0.83–0.94, n = 100); precision 0.64 (0.56–0.72, n = 140))."
        ),
        (
            "The largest one where the lower end of the 95 % interval reaches 0.9 too is 0.05 "
            "(recall 0.96 (0.90–0.98, n = 100); precision 0.66 (0.58–0.73, n = 146))."
        ),
    ]


def test_too_few_positives_to_assure_a_recall():
    facts, _ = said([0.9] * 60, [0.1] * 60, wish=0.99)
    assert facts[4] == (
        "No threshold assures a recall of 0.99, by the lower end of the 95 % interval: "
        "that takes at least 381 cats, none of them missed, and 60 are labelled."
    )


def test_certainty_cannot_be_assured():
    facts, _ = said([0.9] * 60, [0.1] * 60, wish=1.0)
    assert facts[3].startswith("The largest threshold with a recall of at least 1 in the sample is 0.9 (recall 1.00 (")
    assert facts[4] == "No sample can assure a recall of 1: the lower end of the 95 % interval always stays below it."


def test_thresholds_are_written_so_that_they_can_be_pasted():
    facts, _ = said([0.1234567890123] * 20, [0.1] * 20, threshold=0.12345678901)
    assert "missed at threshold 0.12345678901;" in facts[1]
    assert "in the sample is 0.1234567890123 (" in facts[3]


def test_without_positives_nothing_is_said_of_recall():
    facts, warnings = said([], [0.9, *[0.1] * 20])
    assert facts[0] == "Labelled and scored: 0 cats, 21 dogs."
    assert facts[1].startswith("At threshold 0.5 precision is 0.00 (0.00–0.79, n = 1)")
    assert len(facts) == 3
    assert warnings == ["All labels are equal: no cats among them, so recall is unknown, and no threshold for it can be found; label some."]


def test_without_negatives_precision_says_nothing():
    _, warnings = said([0.9] * 20, [])
    assert warnings == [
        "All labels are equal: no dogs among them, so precision is 1 by construction at every threshold and says nothing; label some."
    ]


@pytest.mark.parametrize(("positives", "negatives", "few"), [(9, 10, "cats (9)"), (10, 9, "dogs (9)"), (10, 10, None)])
def test_too_few_of_a_kind(positives, negatives, few):
    _, warnings = said([0.9] * positives, [0.1] * negatives)
    assert warnings == ([f"Too few {few}: figures that rest on them are rough; label at least 10, better 100."] if few else [])


def test_labels_that_were_left_out_are_counted():
    _, warnings = said([0.9] * 20, [0.1] * 20, unsure=12, unmatched=3, unscored=2)
    assert warnings == [
        "12 labels were left out as unsure.",
        "3 labels were left out for matching no item as it is now.",
        "2 labels were left out for an item without a score.",
    ]


def test_without_wording_items_are_positives_and_negatives():
    facts, _ = said([0.9] * 20, [0.1] * 20, wording=Wording())
    assert facts[0] == "Labelled and scored: 20 positives, 20 negatives."
