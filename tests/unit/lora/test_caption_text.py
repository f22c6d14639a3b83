"""What becomes of a model's words, and what lint says of a text."""

import pytest

from workflow_scripts.lora.caption_text import clean, lint, with_trigger, without_trigger

RULES = {"trigger_words": "sks woman", "banned_words": ["background", "tattoo", "wall paper", "Überwurf", "cafe\u0301"], "max_words": 6}


@pytest.mark.parametrize(
    "raw",
    [
        "a red shirt, standing",
        "  A Red Shirt,\n standing. ",
        "A photo of a red shirt, standing",
        "The image shows a red shirt, standing.",
        "In this picture, we see a red shirt, standing",
        "This is a close-up portrait of a red shirt, standing",
        "It shows a red shirt, standing",
        "an image featuring a red shirt, standing",
        'Sure! Here is the caption: "A red shirt, standing."',
        "Here's a description of the person: a red shirt, standing",
        "**Caption:** a red shirt, standing",
        "“A red shirt, standing.”",
        "- a red shirt, standing",
        "<think>The photo of\nwhat?</think>\nA red shirt, standing",
        "A full-body black and white photograph of a red shirt, standing",
        "The picture of a picture of a red shirt, standing",
    ],
)
def test_lead_ins_quotes_and_markup_are_taken_off(raw):
    assert clean(raw) == "a red shirt, standing"


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("the picture frame in her hands", "the picture frame in her hands"),
        ("surely walking. smiling", "surely walking. smiling"),
        ("holding a photo of a dog", "holding a photo of a dog"),
        ("a woman with a picture of a dog", "a woman with a picture of a dog"),
        ("a certain shirt. the photo: a dog", "a certain shirt. the photo: a dog"),
        ("“Hello” on “that”", '"hello" on "that"'),
        ("an image", "an image"),
        ("  .\n", ""),
        ("", ""),
        ("ÄRMEL IN CAFE\u0301-BRAUN", "ärmel in café-braun"),
        ("a dress. she smiles.", "a dress. she smiles"),
        ("the woman's coat isn’t closed", "the woman's coat isn't closed"),
    ],
)
def test_what_only_looks_like_a_lead_in_stays(raw, wanted):
    assert clean(raw) == wanted


def test_trigger_words_stand_in_front_as_written():
    assert with_trigger("SKS Woman", "a red shirt") == "SKS Woman, a red shirt"
    assert with_trigger("", "a red shirt") == "a red shirt"
    assert with_trigger(" SKS ", "") == "SKS"


@pytest.mark.parametrize(
    ("trigger", "caption"), [("SKS Woman", "a red shirt"), ("", "a red shirt"), ("c++ (x)", "a red shirt"), ("sks", "")]
)
def test_what_was_put_in_front_can_be_taken_off(trigger, caption):
    assert without_trigger(trigger, with_trigger(trigger, caption)) == caption


def test_a_longer_word_is_no_trigger_word():
    assert without_trigger("sks", "sksx, a shirt") is None
    assert without_trigger("sks", "a shirt, sks") is None
    assert without_trigger("sks", "SKS, a shirt") == "a shirt"


def test_a_good_text_has_no_problems():
    assert lint("sks woman, one two three four-five it's six", **RULES) == []


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("sks woman, a Background", ["banned words: background"]),
        ("sks woman, backgrounds and foreground", []),
        ("sks woman, tattoo, wall\n paper", ["banned words: tattoo, wall paper"]),
        ("sks woman, ein u\u0308berwurf", ["banned words: Überwurf"]),
        ("sks woman, in a café", ["banned words: cafe\u0301"]),
        ("sks woman, tattooÄ", []),
        ("sks woman", ["empty"]),
        ("sks woman, .", ["empty"]),
        ("", ["trigger words missing: sks woman", "empty"]),
        ("sks woman, a b c d e f g", ["too long: 7 words, at most 6"]),
        ("a b c d e f g tattoo", ["trigger words missing: sks woman", "banned words: tattoo", "too long: 8 words, at most 6"]),
    ],
)
def test_lint_names_every_problem(text, problems):
    assert lint(text, **RULES) == problems


def test_trigger_words_may_hold_banned_words_and_do_not_count():
    rules = {"trigger_words": "tattoo of sks", "banned_words": ["tattoo"], "max_words": 2}
    assert lint("tattoo of sks, one two", **rules) == []
    assert lint("tattoo of sks, one tattoo", **rules) == ["banned words: tattoo"]


def test_without_trigger_words_none_is_missing():
    assert lint("a shirt", trigger_words=" ", banned_words=["", " "], max_words=9) == []
