"""retrieval 07: the figure of similarities shows every count where it belongs."""

from xml.etree import ElementTree

import pytest

from workflow_scripts.core.vega import PALETTE
from workflow_scripts.retrieval.report_figures import ALT, similarity_figure, similarity_spec
from workflow_scripts.retrieval.report_items import binned

POSITIVES, NEGATIVES = binned([0.5, 0.509999, 1.0]), binned([-0.005, 0.5])


def test_positives_go_up_and_negatives_down_from_edge_to_edge():
    spec = similarity_spec(POSITIVES, NEGATIVES, None)
    assert spec["data"]["values"] == [
        {"low": 0.5, "high": 0.51, "n": 2, "label": "positives"},
        {"low": 0.99, "high": 1.0, "n": 1, "label": "positives"},
        {"low": -0.01, "high": 0.0, "n": -1, "label": "negatives"},
        {"low": 0.5, "high": 0.51, "n": -1, "label": "negatives"},
    ]
    assert len(spec["layer"]) == 1


def test_the_limit_in_force_is_a_rule_with_its_name():
    _, rule, label = similarity_spec(POSITIVES, NEGATIVES, 0.98)["layer"]
    assert rule["mark"]["type"] == "rule"
    for layer in (rule, label):
        assert layer["data"]["values"] == [{"at": 0.98, "label": "duplicate_similarity 0.98"}]
        assert layer["encoding"]["x"]["field"] == "at"
    assert label["encoding"]["text"]["field"] == "label"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_figure_is_drawn_in_the_colours_of_the_theme(theme):
    text = similarity_figure(POSITIVES, NEGATIVES, 0.98, theme)
    assert text == similarity_figure(POSITIVES.copy(), NEGATIVES.copy(), 0.98, theme)
    root = ElementTree.fromstring(text)
    assert root.attrib["aria-label"] == ALT
    words = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert {"cosine to the query", "references", "positives", "negatives", "duplicate_similarity 0.98"} <= set(words)
    assert "-1" not in words, "counts downwards are counts"
    assert all(PALETTE[theme][name] in text for name in ("first", "second"))
