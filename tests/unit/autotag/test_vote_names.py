"""Tags in one spelling: folding, aliases, and how rare a tag is."""

import math
import sys
import unicodedata

import pytest

from workflow_scripts.autotag.tag_names import Spelling, fold, rarity
from workflow_scripts.core.step import StepError


def test_case_accents_and_blanks_make_no_difference():
    assert fold("  Red CAR\n") == "red car"
    assert fold("STRASSE") == fold("Straße") == "strasse"
    assert fold("Cafe\u0301") == fold("CAFÉ") == "café"
    assert unicodedata.is_normalized("NFC", fold("A\u030angstro\u0308m"))
    assert fold("two  words") == "two  words"
    assert fold(" \t\u3000") == ""


def test_folding_twice_changes_nothing_whatever_the_letter():
    letters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    once = [fold(letter) for letter in letters]
    assert [letter for letter, folded in zip(letters, once, strict=True) if fold(folded) != folded] == []


def test_marks_in_another_order_are_the_same_letter():
    assert unicodedata.normalize("NFD", "α\u0345\u0301") == "α\u0301\u0345"
    assert fold("α\u0345\u0301") == fold("α\u0301\u0345") == "άι"


def test_aliases_hold_whatever_the_spelling_and_to_their_end():
    spelling = Spelling({"Automobile ": "CAR", "car": "vehicle", "Noise": " ", "ÄRGER": "trouble"})
    assert spelling.all(["automobile", "Car", "VEHICLE", "noise", "a\u0308rger", "dog", None]) == [
        "vehicle",
        "vehicle",
        "vehicle",
        "",
        "trouble",
        "dog",
        "",
    ]
    assert spelling.all(spelling.all(["automobile", "dog"])) == ["vehicle", "dog"]


def test_an_alias_of_itself_or_said_twice_is_fine():
    assert Spelling({"Car": "car", "dog": "hound", "DOG ": "Hound"}).all(["CAR", "dog"]) == ["car", "hound"]


@pytest.mark.parametrize(
    ("aliases", "said"),
    [
        ({"a": "b", "B": "c", "c": "A"}, "autotag.vote.aliases: lead round in a circle: a → b → c → a; take one of them out"),
        ({"a": "b", "A": "c"}, "autotag.vote.aliases: 'A' stands there twice, for 'b' and 'c'; keep one"),
    ],
)
def test_aliases_that_contradict_each_other_are_refused(aliases, said):
    with pytest.raises(StepError) as error:
        Spelling(aliases)
    assert str(error.value) == said


def test_rare_tags_weigh_more_and_tags_of_one_spelling_count_together():
    found = rarity(["car", "dog", "unknown", "all"], {"Car": 6, "auto": 3, "dog": 1, "all": 99, "ALL": 99}, 99, Spelling({"auto": "car"}))
    assert found.tolist() == pytest.approx([math.log(100 / 10), math.log(100 / 2), math.log(100), 0.0])
