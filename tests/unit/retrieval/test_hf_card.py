"""retrieval 06: the card of a dataset."""

import re

import pytest
import yaml

from workflow_scripts.retrieval.hf_card import card, markdown, size_category
from workflow_scripts.retrieval.hf_rows import Plan

SETTINGS = {"category": "all", "dataset": "things", "relative": True, "seed": 23, "variant": "speaker"}


def plan_of(**categories):
    return Plan(3, categories, [("a.jpg",)] * sum(categories.values()), [])


def card_of(plan=None, problems=None, *, folder="things_all", own=False, **changes):
    plan = plan or plan_of(dog=40, mug=1200)
    problems = problems or {category: f"Which {category}?" for category in plan.categories}
    return card(SETTINGS | changes, plan, problems, folder, own_template=own)


def header_of(text):
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n\n# ", text, re.DOTALL)[1])


def code_of(text):
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


# ---- what the Hub reads ----


def test_the_header_says_what_the_hub_asks_for():
    assert header_of(card_of()) == {
        "license": "unknown",
        "pretty_name": "things (all, speaker)",
        "size_categories": ["1K<n<10K"],
        "task_categories": ["visual-question-answering"],
        "tags": ["image", "personalization", "retrieval", "speaker"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "train/*.arrow"}]}],
        "language": ["en"],
    }


def test_of_a_template_of_the_users_own_no_language_is_known():
    text = card_of(own=True)
    assert "language" not in header_of(text)
    assert "| problem | a template of the user's own |" in text
    assert "| problem | the built-in template |" in card_of()


@pytest.mark.parametrize("category", ["a: b", "- x", "'quoted\"", "#no comment", "ü → ö", "yes", "{x}", "line\nbreak"])
def test_any_category_stands_in_the_header_to_the_letter(category):
    text = card_of(plan_of(**{category: 5}), category=category)
    assert header_of(text)["pretty_name"] == f"things ({category}, speaker)"


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        (1, "n<1K"),
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (9_999, "1K<n<10K"),
        (10_000, "10K<n<100K"),
        (100_000, "100K<n<1M"),
        (999_999, "100K<n<1M"),
        (1_000_000, "1M<n<10M"),
        (10_000_000, "10M<n<100M"),
    ],
)
def test_the_size_is_a_class_of_the_hub(rows, name):
    assert size_category(rows) == name


# ---- what people read ----


def test_it_counts_the_rows_of_every_category():
    text = card_of()
    assert "| dog | 40 |\n| mug | 1,200 |\n| all | 1,240 |" in text
    assert "Each of 1,240 rows shows a query picture and asks which of 3 reference pictures" in text


def test_it_says_how_it_was_made():
    text = card_of(plan_of(dog=40), category="dog", seed=5)
    for row in ("| dataset | things |", "| category | dog |", "| variant | speaker |", "| seed | 5 |", "| K | 3 |"):
        assert f"\n{row}\n" in text


def test_it_shows_the_problem():
    assert "The problem of a row names its category; for dog it is:\n\n```text\nWhich dog?\n```\n" in card_of()
    assert "The problem of every row:\n\n```text\nWhich mug?\n```\n" in card_of(plan_of(mug=3))


def test_a_problem_with_fences_of_its_own_stays_inside():
    text = card_of(plan_of(mug=3), {"mug": "Say\n````\nA\n````"})
    assert "\n`````text\nSay\n````\nA\n````\n`````\n" in text


def test_each_variant_has_its_columns_and_its_code():
    speaker, listener = card_of(), card_of(variant="listener")
    assert "| `ret_paths` | texts |" in speaker
    assert "| `reference_image` | image |" in listener
    assert "ret_paths" not in listener
    assert len(code_of(speaker)) == 2
    assert len(code_of(listener)) == 1
    for block in code_of(speaker) + code_of(listener):
        compile(block, "card", "exec")


def test_the_code_opens_references_where_they_are():
    assert "Image.open(path) for path in" in code_of(card_of(relative=False))[1]
    assert 'Image.open(Path("folder/of/images", path)) for path in' in code_of(card_of(relative=True))[1]


def test_the_code_loads_this_folder_whatever_its_name():
    assert 'load_from_disk("things_all")["train"]' in code_of(card_of())[0]
    assert r'load_from_disk("a \"b\" \\ \u00fc")["train"]' in code_of(card_of(folder='a "b" \\ ü'))[0]


def test_no_line_of_the_template_leaves_a_gap():
    for text in (card_of(), card_of(plan_of(mug=3), relative=False), card_of(variant="listener")):
        assert "\n\n\n" not in re.sub(r"```python.*?```", "code", text, flags=re.DOTALL)
        assert text.endswith(".\n")
        assert "{{" not in text.replace("{name:", "")


def test_names_of_folders_are_no_markdown():
    hostile = {
        "a|b": 1,
        "<script>x</script>": 2,
        "*star* _under_ `code`": 3,
        "[link](http://x) ![i](y)": 4,
        "two\nlines": 5,
        "&amp; $x$ ~~s~~": 6,
    }
    text = card_of(plan_of(**hostile), folder="# <b> *x*")
    assert "\n# \\# &lt;b&gt; \\*x\\*\n" in text
    assert "| a\\|b | 1 |\n" in text
    assert "| &lt;script&gt;x&lt;/script&gt; | 2 |\n" in text
    assert "| \\*star\\* \\_under\\_ \\`code\\` | 3 |\n" in text
    assert "| \\[link\\](http\\://x) !\\[i\\](y) | 4 |\n" in text
    assert "| two lines | 5 |\n" in text
    assert "| &amp;amp; \\$x\\$ \\~\\~s\\~\\~ | 6 |\n" in text


def test_plain_names_stay_plain():
    assert markdown("red mug-2 (old), 100% ü.jpg") == "red mug-2 (old), 100% ü.jpg"
