"""A page that makes no sense is refused when it is written, not when it is opened."""

import pytest

from workflow_scripts.core.pages import Choice, Number, Page, Threshold


@pytest.mark.parametrize("keys", [("u", "x"), ("k", "k"), ("kk", "x"), ("K", "x"), ("/", "x"), (" ", "x"), ("", "x")])
def test_keys_that_the_page_needs_itself_or_that_stand_there_twice_are_refused(keys):
    choices = tuple(Choice(str(number), "label", key) for number, key in enumerate(keys))
    with pytest.raises(ValueError, match="choices need a key each"):
        Page("p", "title", choices=choices)


@pytest.mark.parametrize("values", [("a", "a"), ("", "b")])
def test_values_of_choices_differ_and_are_not_empty(values):
    with pytest.raises(ValueError, match="choices need values"):
        Page("p", "title", choices=tuple(Choice(value, "label", key) for value, key in zip(values, "kx", strict=True)))


def test_a_page_needs_an_id_and_known_roles():
    with pytest.raises(ValueError, match="page_id"):
        Page("", "title")
    with pytest.raises(ValueError, match="role"):
        Page("p", "title", outcomes={"kept": "good"})


def test_what_is_looked_at_first_is_one_of_the_numbers():
    threshold, numbers = Threshold("prob", "probability", 0.5, 0, 1, 0.005), (Number("margin", "margin"),)
    assert Page("p", "title", numbers=numbers).looked_at_by() == ""
    assert Page("p", "title", thresholds=(threshold,), numbers=numbers).looked_at_by() == "prob"
    assert Page("p", "title", thresholds=(threshold,), numbers=numbers, lowest_first="margin").looked_at_by() == "margin"
    assert Page("p", "title", numbers=numbers, lowest_first="margin", blind=True).looked_at_by() == ""
    with pytest.raises(ValueError, match="lowest_first: 'size' is none"):
        Page("p", "title", numbers=numbers, lowest_first="size")


def test_numbers_of_thresholds_come_first_and_each_column_once():
    threshold = Threshold("prob", "probability", 0.5, 0, 1, 0.005)
    page = Page("p", "title", thresholds=(threshold,), numbers=(Number("size", "size", 0), Number("margin", "margin")))
    assert page.shown_numbers() == (Number("prob", "probability", 4), Number("size", "size", 0), Number("margin", "margin"))
    named = Page("p", "title", thresholds=(threshold,), numbers=(Number("size", "size", 0), Number("prob", "p", 6)))
    assert named.shown_numbers() == (Number("prob", "p", 6), Number("size", "size", 0))
