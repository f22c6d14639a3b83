"""Figures: what their data say, that they render in both themes, and to the same text."""

import json
import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

from workflow_scripts.core.calibration import curve, reliability
from workflow_scripts.core.calibration_figures import curve_spec, histogram_edges, histogram_spec, reliability_spec
from workflow_scripts.core.vega import PALETTE, to_svg

SCORES = np.array([0.1, 0.2, 0.2, 0.45, 0.6, 0.7, 0.7, 0.9])
LABELS = np.array([False, False, True, False, True, False, True, True])


def rows_of(spec, rate):
    """The drawn rows of precision or recall."""
    return [row for row in spec["data"]["values"] if row["rate"] == rate]


def value_at(rows, threshold):
    """What the drawn steps show at a threshold: the value of the next row, which holds back to the one before."""
    return next((row["value"] for row in rows if row["threshold"] >= threshold), None)


def drawn(spec, **attributes):
    """The marks of a rendered figure that have these attributes, each as points and translation, in pixels."""
    found = []
    for node in ElementTree.fromstring(to_svg(spec, "light", "x")).iter():
        if all(node.get(name.replace("_", "-")) == value for name, value in attributes.items()):
            points = [tuple(map(float, point.split(","))) for point in re.findall(r"[-\d.]+,[-\d.]+", node.get("d") or "")]
            found.append((points, tuple(map(float, re.findall(r"[-\d.]+", node.get("transform") or ""))), node))
    return found


def height_at(points, x):
    """Where a stepped line passes at x, between two of its points."""
    (height,) = {y0 for (x0, y0), (x1, y1) in pairwise(points) if x0 < x < x1 and y0 == y1}
    return height


def specs():
    rule = {"threshold": 0.5, "label": "threshold 0.5"}
    return {
        "curve": curve_spec(curve(SCORES, LABELS), "threshold", domain=(0, 1), **rule),
        "bare curve": curve_spec(curve(SCORES, LABELS), "threshold", threshold=None),
        "no positives": curve_spec(curve(SCORES, np.zeros(8, dtype=bool)), "threshold", domain=(0, 1), **rule),
        "one item": curve_spec(curve(np.array([0.3]), np.array([True])), "threshold", **rule),
        "reliability": reliability_spec(reliability(SCORES, LABELS), "score", "share of cats"),
        "histogram": histogram_spec(SCORES, LABELS, "score", positives="cats", negatives="dogs", **rule),
        "histogram of one": histogram_spec(np.array([0.02]), np.array([True]), "score", positives="cats", negatives="dogs", **rule),
    }


SPECS = specs()


# ---- rendering ----


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("theme", PALETTE)
def test_a_figure_renders_to_the_same_text_each_time(name, theme):
    svg = to_svg(SPECS[name], theme, 'what it shows: "a" < b')
    assert svg == to_svg(specs()[name], theme, 'what it shows: "a" < b')
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert (root.get("role"), root.get("aria-label")) == ("img", 'what it shows: "a" < b')
    drawn = [node for node in root.iter() if node.tag.endswith(("path", "text"))]
    assert len(drawn) > 10
    assert not [node for node in root.iter() if node.get("id") or node.get("clip-path")]  # several may stand in one page


@pytest.mark.parametrize("name", SPECS)
def test_themes_differ_in_colours_alone_and_leave_the_ground_free(name):
    light, dark = (to_svg(SPECS[name], theme, "x") for theme in ("light", "dark"))
    assert light != dark
    for role, colour in PALETTE["light"].items():
        light = light.replace(colour, PALETTE["dark"][role])
    assert light == dark
    assert "<rect" not in dark
    assert "black" not in dark
    assert "#000" not in dark


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("curve", {"threshold", "share", "precision", "recall", "threshold 0.5"}),
        ("reliability", {"score", "share of cats", "n", "1", "2"}),
        ("histogram", {"score", "labelled items", "cats", "dogs", "threshold 0.5"}),
    ],
)
def test_axes_and_lines_are_named(name, texts):
    root = ElementTree.fromstring(to_svg(SPECS[name], "light", "x"))
    assert texts <= {node.text for node in root.iter() if node.tag.endswith("text")}


def test_without_a_threshold_there_is_no_rule():
    svg = to_svg(SPECS["bare curve"], "light", "x")
    assert "mark-rule role-mark" not in svg.replace("role-axis-grid", "")
    assert "mark-rule role-mark" in to_svg(SPECS["one item"], "light", "x")


def test_specs_are_plain_json():
    for spec in SPECS.values():
        assert json.loads(json.dumps(spec, allow_nan=False)) == json.loads(json.dumps(spec))


# ---- curves ----


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.5, 0.65, 0.7, 0.9])
def test_a_drawn_step_is_what_the_threshold_does(threshold):
    found = curve(SCORES, LABELS)
    for rate in ("precision", "recall"):
        assert value_at(rows_of(SPECS["curve"], rate), threshold) == getattr(found.at(threshold), rate).value


def test_above_all_scores_recall_is_zero_and_precision_ends():
    assert value_at(rows_of(SPECS["curve"], "recall"), 0.95) == 0
    assert value_at(rows_of(SPECS["curve"], "precision"), 0.95) is None
    assert value_at(rows_of(SPECS["bare curve"], "recall"), 0.91) == 0
    assert value_at(rows_of(SPECS["bare curve"], "precision"), 0.91) is None


def test_bands_are_the_intervals():
    found = curve(SCORES, LABELS)
    for row in SPECS["bare curve"]["data"]["values"]:
        rate = getattr(found.at(row["threshold"]), row["rate"])
        assert (row["low"], row["value"], row["high"]) == (rate.low, rate.value, rate.high)


def test_the_axis_reaches_beyond_the_scores_and_the_threshold():
    def domain(threshold, **options):
        spec = curve_spec(curve(SCORES, LABELS), "x", threshold=threshold, **options)
        return spec["layer"][0]["encoding"]["x"]["scale"]["domain"]

    assert domain(None) == pytest.approx([0.084, 0.916])
    assert domain(2.0) == pytest.approx([0.062, 2.038])
    assert domain(2.0, domain=(0, 1)) == [0, 1]


def test_without_positives_no_recall_is_drawn():
    assert {row["value"] for row in rows_of(SPECS["no positives"], "recall")} == {None}
    assert {row["value"] for row in rows_of(SPECS["no positives"], "precision")} == {0.0}


def test_long_curves_are_thinned_to_what_can_be_seen():
    rng = np.random.default_rng(0)
    scores = rng.random(20_000)
    found = curve(scores, rng.random(20_000) < scores)
    rows = rows_of(curve_spec(found, "x", threshold=None), "recall")
    assert len(rows) < 530
    assert [rows[1]["threshold"], rows[-2]["threshold"]] == [scores.min(), scores.max()]
    for row in rows:
        assert row["value"] == found.at(row["threshold"]).recall.value
    for threshold in rng.random(200):
        assert value_at(rows, threshold) == pytest.approx(found.at(threshold).recall.value, abs=0.01)


@pytest.mark.parametrize(("rate", "colour"), [("precision", "first"), ("recall", "second")])
def test_lines_and_bands_stand_where_the_numbers_say(rate, colour):
    found = curve(SCORES, LABELS)
    colour = PALETTE["light"][colour]
    ((line, _, _),) = [mark for mark in drawn(SPECS["curve"], stroke=colour, stroke_width="2") if len(mark[0]) > 2]
    ((band, _, _),) = drawn(SPECS["curve"], fill=colour, opacity="0.2")
    turn = len(band) // 2  # its lower edge runs to the right, its upper one back
    for threshold in (0.05, 0.15, 0.3, 0.5, 0.65, 0.8):
        wanted = getattr(found.at(threshold), rate)
        heights = [height_at(points, threshold * 520) for points in (line, band[:turn], band[turn:][::-1])]
        assert heights == pytest.approx([260 * (1 - share) for share in (wanted.value, wanted.low, wanted.high)], abs=0.01)


# ---- reliability and histogram ----


def test_dots_and_intervals_stand_where_the_numbers_say():
    found = reliability(SCORES, LABELS)
    rows = [row for row in found.rows() if row["share"].n]
    dots = [place for points, place, _ in drawn(SPECS["reliability"], fill=PALETTE["light"]["first"], opacity="1") if points]
    wanted = [(520 * row["mean_score"], 260 * (1 - row["share"].value)) for row in rows]
    assert dots == [pytest.approx(place) for place in wanted]
    intervals = drawn(SPECS["reliability"], stroke=PALETTE["light"]["first"], stroke_width="2", x2="0")
    lengths = [(place[1], place[1] + float(node.get("y2"))) for _, place, node in intervals]
    assert lengths == [pytest.approx((260 * (1 - row["share"].low), 260 * (1 - row["share"].high)), abs=1e-9) for row in rows]


def test_bins_without_items_are_not_drawn():
    rows = SPECS["reliability"]["vconcat"][0]["data"]["values"]
    assert [(row["low"], row["n"], row["share"]) for row in rows] == [
        *((0.1, 1, 0.0), (0.2, 2, 0.5), (0.4, 1, 0.0), (0.6, 1, 1.0), (0.7, 2, 0.5), (0.9, 1, 1.0))
    ]
    assert all(row["low"] <= row["mean"] <= row["high"] and row["from"] <= row["share"] <= row["to"] for row in rows)


def test_bars_count_every_item_on_its_side():
    rng = np.random.default_rng(3)
    scores = rng.normal(size=300).round(2)
    labels = rng.random(300) < 0.3
    rows = histogram_spec(scores, labels, "x", positives="cats", negatives="dogs", threshold=None)["data"]["values"]
    for row in rows:
        inside = (scores >= row["low"]) & (scores < row["high"])
        assert row["n"] == (inside & labels).sum() if row["label"] == "cats" else -(inside & ~labels).sum()
    assert sum(row["n"] for row in rows if row["label"] == "cats") == labels.sum()
    assert sum(row["n"] for row in rows if row["label"] == "dogs") == -(~labels).sum()


@pytest.mark.parametrize(
    ("low", "high", "first", "last", "step"),
    [
        (-0.083, 0.097, -0.085, 0.1, 0.005),
        (0.0, 1.0, 0.0, 1.05, 0.05),
        (0.3, 0.7, 0.3, 0.71, 0.01),
        (0.29, 0.69, 0.29, 0.7, 0.01),
        (-250.0, 250.0, -260.0, 260.0, 20.0),
        (0.02, 0.02, 0.02, 0.0205, 0.0005),
        (0.0, 0.0, 0.0, 0.05, 0.05),
    ],
)
def test_edges_are_round_numbers(low, high, first, last, step):
    edges = histogram_edges(np.array([low, high]))
    assert (edges[0], edges[-1]) == (first, last)
    assert np.diff(edges) == pytest.approx(step)
    assert all(len(f"{edge:.12g}") == len(repr(float(edge)).removesuffix(".0")) for edge in edges)
    assert edges[0] <= low
    assert high < edges[-1]
