"""The ledger: in = out, or an error that names the images."""

import pytest

from workflow_scripts.core.accounting import AccountingError, Ledger
from workflow_scripts.core.step import StepError

OUTCOMES = ("kept", "removed", "errors")


def test_counts_stand_in_the_order_of_the_outcomes():
    ledger = Ledger("abcdef", OUTCOMES)
    ledger.add("removed", ["b"])
    ledger.add("kept", iter("acd"))
    ledger.add("kept", [])
    ledger.add("removed", "ef")
    assert list(ledger.close().items()) == [("listed", 6), ("kept", 3), ("removed", 3), ("errors", 0)]


def test_nothing_listed_is_nothing_counted():
    assert Ledger([], OUTCOMES).close() == {"listed": 0, "kept": 0, "removed": 0, "errors": 0}


def test_a_missing_image_is_named():
    ledger = Ledger(["a/1.jpg", "a/2.jpg", "a/3.jpg"], OUTCOMES)
    ledger.add("kept", ["a/2.jpg"])
    with pytest.raises(AccountingError, match=r"^2 images listed but without an outcome: a/1.jpg, a/3.jpg$"):
        ledger.close()


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [("kept", "removed", "b (kept, removed)"), ("errors", "errors", "b (errors, errors)"), ("removed", "kept", "b (removed, kept)")],
)
def test_an_image_with_two_outcomes_is_named_with_both(first, second, named):
    ledger = Ledger("abc", OUTCOMES)
    ledger.add(first, "ab")
    with pytest.raises(AccountingError) as caught:
        ledger.add(second, "bc")
    assert str(caught.value) == f"1 images counted twice: {named}"


def test_a_key_twice_in_one_call_is_named():
    with pytest.raises(AccountingError, match=r"^1 images counted twice: b \(kept, kept\)$"):
        Ledger("abc", OUTCOMES).add("kept", "bb")


def test_an_image_that_was_never_listed_is_named():
    with pytest.raises(AccountingError, match=r"^1 images removed but never listed: x\.jpg$"):
        Ledger(["a.jpg"], OUTCOMES).add("removed", ["a.jpg", "x.jpg"])


def test_an_image_listed_twice_is_named():
    with pytest.raises(AccountingError, match=r"^2 images listed twice: b, a$"):
        Ledger("abcba", OUTCOMES)


def test_an_unknown_outcome_is_a_mistake_of_the_programmer():
    with pytest.raises(ValueError, match=r"^unknown outcome: lost$"):
        Ledger("a", OUTCOMES).add("lost", "a")


@pytest.mark.parametrize(("count", "more"), [(10, None), (11, " … and 1 more"), (500, " … and 490 more")])
def test_ten_are_named_and_the_rest_counted(count, more):
    keys = [f"{number:03}" for number in range(count)]
    with pytest.raises(AccountingError) as caught:
        Ledger(keys, OUTCOMES).close()
    text = str(caught.value)
    assert text.startswith(f"{count} images listed but without an outcome: 000, 001, ")
    assert text.endswith(more or "009")
    assert "010" not in text


def test_a_breach_stops_the_step_with_its_text_alone():
    assert issubclass(AccountingError, StepError)
