"""retrieval 06: the problem texts, and templates that cannot be used."""

import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.retrieval.hf_problems import TEMPLATES, problem_texts
from workflow_scripts.retrieval.hf_rows import letters


@pytest.fixture
def text_of(tmp_path):
    """The problem that a template gives for three references and a category."""

    def render(template, category="veg", names=None):
        path = tmp_path / "mine.jinja"
        path.write_bytes(template if isinstance(template, bytes) else template.encode())
        return problem_texts(path, letters(3), [category], names or {})[category]

    return render


def test_the_built_in_speaker_asks_for_a_letter():
    texts = problem_texts(TEMPLATES / "speaker.jinja", letters(4), ["dog", "veg"], {"veg": "vegetable", "car": "motor car"})
    assert list(texts) == ["dog", "veg"]
    assert "4 reference pictures follow it, called A, B, C, D in their order" in texts["dog"]
    assert "the very same dog as" in texts["dog"]
    assert "the very same vegetable as" in texts["veg"]
    assert texts["dog"].endswith("Answer with its letter alone: A, B, C or D.")
    assert problem_texts(TEMPLATES / "speaker.jinja", letters(2), ["x"], {})["x"].endswith("alone: A or B.")


def test_the_built_in_listener_asks_yes_or_no():
    text = problem_texts(TEMPLATES / "listener.jinja", letters(3), ["tro_bag"], {"tro_bag": "trolley bag"})["tro_bag"]
    assert "the very same trolley bag:" in text
    assert text.endswith("yes or no.")


def test_a_template_of_the_users_own_sees_names_their_number_and_the_category(text_of):
    assert text_of("{{ names }} {{ k }} {{ category }}", names={"veg": "vegetable"}) == "['A', 'B', 'C'] 3 vegetable"


def test_text_is_given_to_the_letter_without_blanks_round_it(text_of):
    assert text_of('\n  <b> & "ü" → {{ category }}\n second line\n\n', 'a "b" & <c>') == '<b> & "ü" → a "b" & <c>\n second line'


def test_a_byte_order_mark_does_not_count(text_of):
    assert text_of(b"\xef\xbb\xbfWhich?") == "Which?"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("one\ntwo {{ names", ", line 2: unexpected end of template"),
        ("{% for name in names %}\n{{ name }}", ", line 2: Unexpected end of template"),
        ("one\n\nthree {{ concept }}", ", line 3: 'concept' is undefined"),
        ("one\n{{ label }}", ", line 2: 'label' is undefined"),
        ("{{ names[7] }}", ", line 1: list object has no element 7"),
        ("one\n{{ k / 0 }}", ", line 2: division by zero"),
        ("one\n{{ names.append('D') }}", ", line 2: "),
        ("one\n{{ names.__class__.__mro__ }}", ", line 2: access to attribute '__class__'"),
        ("one\n{{ names | random }}", ", line 2: No filter named 'random'"),
        ("one\n{{ lipsum() }}", ", line 2: 'lipsum' is undefined"),
        ("{% for n in range(10 ** 9) %}x{% endfor %}", ", line 1: Range too big"),
        ("one\n{% include 'other' %}", ", line 2: no loader"),
        ("{{ undefined_function(1) }}", ", line 1: 'undefined_function' is undefined"),
    ],
)
def test_a_broken_template_is_named_with_its_line(text_of, tmp_path, template, said):
    with pytest.raises(StepError) as error:
        text_of(template)
    assert str(error.value).startswith(f"{tmp_path}/mine.jinja{said}")
    assert str(error.value).endswith("it can use names (a list of letters), k (how many) and category")


def test_a_template_without_text_is_refused(text_of):
    with pytest.raises(StepError, match=r"mine\.jinja: gives no text for category veg"):
        text_of("{# nothing yet #}\n")


def test_a_template_that_is_no_utf8_is_refused(text_of):
    with pytest.raises(StepError, match=r"mine\.jinja: is no UTF-8"):
        text_of("Füße".encode("latin-1"))


def test_a_template_that_is_gone_is_refused(tmp_path):
    with pytest.raises(StepError, match=r"gone\.jinja: cannot be read \(No such file"):
        problem_texts(tmp_path / "gone.jinja", ["A", "B"], ["x"], {})


def test_one_category_cannot_change_what_the_next_one_sees(text_of, tmp_path):
    path = tmp_path / "set.jinja"
    path.write_text("{% set names = names + [category] %}{{ names | length }}")
    assert problem_texts(path, ["A", "B"], ["x", "y"], {}) == {"x": "3", "y": "3"}
