"""people 07: labels against score tables; counts, metrics, files."""

import csv
import json
import math
import runpy
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.people import calibrate as calibrate_module
from workflow_scripts.people import calibration_figures, score
from workflow_scripts.people.calibrate import NAMED, calibrate
from workflow_scripts.people.calibration_figures import TITLES, figures


def content(key):
    return f"{sum(key.encode()):04x}{key.encode().hex():0>60}"[-64:]


def scored(key, margin, **changes):
    """A row of a score table."""
    prob = round(1 / (1 + math.exp(-100 * margin)), 6)
    row = {"key": key, "etag": "e", "sha256": content(key), "people_prob": prob, "margin": round(margin, 6), "error": None}
    return row | changes


def broken(key, **changes):
    return scored(key, 0) | {"people_prob": None, "margin": None, "error": "decode: truncated"} | changes


class Case:
    """Score tables, a file of labels, and what comes of them."""

    def __init__(self, root):
        self.root = root
        self.shards = [[]]
        self.text = "key,label\n"
        self.threshold, self.wish = 0.5, 0.9
        self.json, self.csv, self.labels = (root / name for name in ("calibration.json", "curve.csv", "labels.csv"))

    def put(self, *rows, shard=0):
        while len(self.shards) <= shard:
            self.shards.append([])
        self.shards[shard] += rows

    def sample(self, n, seed=0, shards=1):
        """Images with keys 000.jpg, …, some with people; the labels are right."""
        rng = np.random.default_rng(seed)
        for number in range(n):
            person = rng.random() < 0.5
            self.put(scored(f"{number:03}.jpg", rng.normal(0.03 if person else -0.03, 0.02)), shard=number % shards)
            self.text += f"{number:03}.jpg,{int(person)}\n"

    def run(self):
        tables = [self.root / f"score-{number}.parquet" for number in range(len(self.shards))]
        for path, rows in zip(tables, self.shards, strict=True):
            pq.write_table(pa.Table.from_pylist(rows, schema=score.SCHEMA), path)
        self.labels.write_text(self.text)
        return calibrate(tables, self.labels, self.threshold, self.wish, self.json, self.csv)

    def refused(self):
        with pytest.raises(StepError) as caught:
            self.run()
        assert not self.json.exists()
        assert not self.csv.exists()
        return str(caught.value).replace(str(self.root), "…")

    def found(self):
        return json.loads(self.json.read_text())

    def table(self):
        with self.csv.open(newline="") as handle:
            return list(csv.DictReader(handle))


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


# ---- metrics ----


def test_what_the_threshold_catches_and_misses(case):
    case.put(scored("a", 0.05), scored("b", 0.0), scored("c", -0.01), scored("d", 0.02), scored("e", -0.05), scored("not labelled", 0.9))
    case.text += "a,1\nb,1\nc,1\nd,0\ne,0\n"
    case.wish = 0.6
    counts = case.run()
    found = case.found()
    assert counts == {"labelled": 5, "positives": 3, "negatives": 2, "repeated": 0, "unsure": 0, "unmatched": 0, "unscored": 0}
    assert found["counts"] == counts
    current = found["current"]
    assert [current[name] for name in ("threshold", "tp", "fp", "fn", "tn")] == [0.5, 2, 1, 1, 1]
    assert (current["precision"]["value"], current["precision"]["n"]) == (round(2 / 3, 9), 3)
    assert (current["recall"]["value"], current["recall"]["n"]) == (round(2 / 3, 9), 3)
    assert (found["threshold"], found["wished_recall"]) == (0.5, 0.6)
    assert found["wished"]["people_prob"]["estimate"]["threshold"] == 0.5
    assert found["wished"]["margin"]["estimate"]["threshold"] == 0.0
    assert found["wished"]["people_prob"]["assured"] is None
    assert found["wished"]["people_prob"]["positives_needed"] == 6
    assert [(row["low"], row["share"]["n"]) for row in found["reliability"] if row["share"]["n"]] == [
        (0.0, 1),
        (0.2, 1),
        (0.5, 1),
        (0.8, 1),
        (0.9, 1),
    ]
    assert len(found["reliability"]) == 10
    texts = [sentence["text"] for sentence in found["sentences"]]
    assert texts[0] == "Labelled and scored: 3 images with people, 2 images without people."
    assert texts[1].startswith("1 of 3 labelled images with people was missed at threshold 0.5: recall is 0.67 (")
    assert [sentence["text"][:28] for sentence in found["sentences"] if sentence["warning"]] == [
        *("Too few images with people (", "Too few images without peopl")
    ]


def test_the_table_has_a_row_for_each_people_prob_with_its_smallest_margin(case):
    case.put(scored("a", 0.3), scored("b", 0.2), scored("c", 0.25), scored("d", 0.01), scored("e", -0.01), shard=1)
    case.text += "a,1\nb,0\nc,1\nd,1\ne,0\n"
    case.run()
    rows = case.table()
    assert [(row["people_prob"], row["margin"], row["tp"], row["fp"], row["fn"], row["tn"]) for row in rows] == [
        ("0.268941", "-0.010000", "3", "2", "0", "0"),
        ("0.731059", "0.010000", "3", "1", "0", "1"),
        ("1.000000", "0.200000", "2", "1", "1", "1"),
    ]
    assert [rows[2][name] for name in ("precision", "recall", "recall_high")] == ["0.666667", "0.666667", "0.938508"]
    header = "people_prob,margin,tp,fp,fn,tn,precision,precision_low,precision_high,recall,recall_low,recall_high\n"
    assert case.csv.read_text().startswith(header)


def test_the_margin_tells_apart_what_saturates(case):
    for number in range(20):
        case.put(scored(f"p{number}", 0.2 + number / 100), scored(f"n{number}", 0.19 - number / 1000))
        case.text += f"p{number},1\nn{number},0\n"
    case.wish = 1.0
    case.run()
    wished = case.found()["wished"]
    assert wished["people_prob"]["estimate"]["threshold"] == 1.0
    assert wished["people_prob"]["estimate"]["fp"] == 20
    assert (wished["margin"]["estimate"]["threshold"], wished["margin"]["estimate"]["fp"]) == (0.2, 0)


def test_the_margin_at_the_threshold_is_that_of_all_images_that_reach_it(case):
    case.put(scored("a", 0.05), scored("b", -0.05))
    case.put(scored("not labelled", 0.001), scored("nor this", -0.001), broken("c"), shard=1)
    case.threshold = scored("not labelled", 0.001)["people_prob"]  # which reaches it
    case.put(shard=2)
    case.text += "a,1\nb,0\n"
    case.run()
    assert case.found()["margin_at_threshold"] == 0.001
    case.threshold = 0.999
    case.run()
    assert case.found()["margin_at_threshold"] is None


def test_without_positives_recall_is_null_and_its_cells_are_empty(case):
    case.put(scored("a", 0.05), scored("b", -0.05))
    case.text += "a,0\nb,no person\n"
    case.run()
    assert case.found()["current"]["recall"] == {"value": None, "low": None, "high": None, "n": 0}
    assert case.found()["wished"]["people_prob"]["estimate"] is None
    assert {(row["recall"], row["recall_low"], row["recall_high"]) for row in case.table()} == {("", "", "")}


def test_no_zero_is_negative(case):
    case.put(scored("a", -0.0), scored("b", 0.1))
    case.text += "a,1\nb,1\n"
    case.run()
    assert "-0" not in case.csv.read_text()
    assert "-0.0" not in case.json.read_text()


# ---- the accounts ----


def test_every_row_of_the_labels_is_accounted_for(case, log_text):
    case.put(scored("a", 0.05), scored("b", -0.05), broken("c"), shard=0)
    case.put(scored("d", 0.04), scored("copy of d", 0.04, sha256=content("d")), broken("e", sha256=None), shard=2)
    case.text = "key,sha256,label\n" + "".join(
        f"{row}\n"
        for row in (
            *("a,,1", "a,,1", "b,,0", "c,,1", f"e,{content('x')},0", f",{content('d')},1", f"d,{content('d')},yes"),
            *(f"b,{content('old b')},1", "gone,,0", "a,,1", "z,,unsure", "y,,"),
        )
    )
    counts = case.run()
    assert counts == {"labelled": 3, "positives": 2, "negatives": 1, "repeated": 3, "unsure": 2, "unmatched": 2, "unscored": 2}
    assert sum(counts[name] for name in ("labelled", "repeated", "unsure", "unmatched", "unscored")) == 12
    found = case.found()
    assert [(entry["line"], entry["key"], entry["why"]) for entry in found["unmatched"]] == [
        (9, "b", "the image with this key has another content now"),
        (10, "gone", "no such image"),
    ]
    assert [(entry["line"], entry["key"], entry["person"], entry["why"]) for entry in found["unscored"]] == [
        (5, "c", True, "decode: truncated"),
        (6, "e", False, "decode: truncated"),
    ]
    assert found["sample"] == {
        "people_prob": [0.006693, 0.982014, 0.993307],
        "margin": [-0.05, 0.04, 0.05],
        "person": [False, True, True],
    }
    warnings = [sentence["text"] for sentence in found["sentences"] if sentence["warning"]]
    assert warnings[-3:] == [
        "2 labels were left out as unsure.",
        "2 labels were left out for matching no item as it is now.",
        "2 labels were left out for an item without a score.",
    ]
    lines = [line for line in log_text().splitlines() if "left out" in line]
    assert lines[0] == f"{case.labels}, line 9: left out: b (the image with this key has another content now)"
    assert lines[-1] == f"{case.labels}, line 6: left out: e (decode: truncated)"
    assert len(lines) == 4


def test_the_log_names_ten_and_counts_the_rest(case, log_text):
    case.put(scored("a", 0.05))
    case.text += "a,1\n" + "".join(f"gone {number},1\n" for number in range(NAMED + 3))
    assert case.run()["unmatched"] == NAMED + 3
    assert log_text().count("left out") == NAMED == 10
    assert f"{case.labels}: … and 3 more" in log_text()
    assert len(case.found()["unmatched"]) == NAMED + 3


# ---- what is refused ----


def test_labels_that_match_nothing_are_an_error_that_says_how_keys_look(case):
    case.put(scored("train/a.jpg", 0.05), shard=1)
    case.text += "a.jpg,1\nb.jpg,0\n"
    assert case.refused() == (
        "…/labels.csv: none of 2 labels matches an image of the run: 'a.jpg'; a key of the run is 'train/a.jpg'; "
        "write keys as in the column s3_key of kept_all.csv, or give the sha256"
    )


def test_a_run_without_images_is_said_to_be_one(case):
    case.text += "a.jpg,1\n"
    assert "the run has no images" in case.refused()


@pytest.mark.parametrize("rows", ["", "a.jpg,unsure\nb.jpg,\n"])
def test_labels_that_say_nothing_are_an_error(case, rows):
    case.put(scored("a.jpg", 0.05))
    case.text += rows
    assert case.refused() == "…/labels.csv: has no label 1 or 0; fill in the column `label`"


def test_labels_of_unreadable_images_alone_are_an_error(case):
    case.put(broken("a"), broken("b"), scored("c", 0.1))
    case.text += "a,1\nb,0\n"
    assert case.refused() == "…/labels.csv: none of the 2 labelled images could be read or scored; label others"


def test_a_key_in_two_shards_is_refused(case):
    case.put(scored("a", 0.05))
    case.put(scored("a", 0.05), shard=1)
    case.text += "a,1\n"
    assert case.refused() == "a: scored twice; delete 03_score and run again"


# ---- as a step ----


def test_as_a_step_it_takes_its_paths_and_settings_from_the_rule(case, in_a_step):
    case.sample(30, shards=2)
    counts = case.run()
    wanted = case.json.read_bytes(), case.csv.read_bytes()
    case.json.unlink()
    case.csv.unlink()
    rule = SimpleNamespace(
        input=SimpleNamespace(scores=[str(case.root / f"score-{number}.parquet") for number in (0, 1)], labels=[str(case.labels)]),
        output=SimpleNamespace(json=str(case.json), table=str(case.csv)),
        params=SimpleNamespace(calibration={"threshold": case.threshold, "wished_recall": case.wish}),
        log=[str(case.root / "log.txt")],
    )
    runpy.run_path(calibrate_module.__file__, {"snakemake": rule})
    assert (case.json.read_bytes(), case.csv.read_bytes()) == wanted
    done = " ".join(f"{name}={value}" for name, value in counts.items())
    assert f"done: {done}\n" in (case.root / "log.txt").read_text()


# ---- bytes ----


def test_same_input_same_bytes_however_shards_and_labels_are_ordered(case, tmp_path):
    case.sample(60)
    case.run()
    before = case.json.read_bytes(), case.csv.read_bytes()
    case.run()
    assert (case.json.read_bytes(), case.csv.read_bytes()) == before
    rows, labels = case.shards[0], case.text.splitlines()[1:]
    case.shards = [rows[40:][::-1], rows[:40]]
    case.text = "\n".join(["key,label", *labels[::-1]])
    case.run()
    assert (case.json.read_bytes(), case.csv.read_bytes()) == before


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_figures_are_drawn_from_the_json(case, theme):
    case.sample(80)
    case.run()
    drawn = figures(case.found(), theme)
    assert list(drawn) == list(TITLES) == ["margin", "people_prob", "histogram", "reliability"]
    assert drawn == figures(case.found(), theme)
    for name, svg in drawn.items():
        root = ElementTree.fromstring(svg)
        assert root.get("aria-label") == TITLES[name]
        texts = {node.text for node in root.iter() if node.tag.endswith("text")}
        axis = {
            "margin": "threshold on margin",
            "people_prob": "threshold on people_prob",
            "histogram": "margin",
            "reliability": "people_prob",
        }
        assert axis[name] in texts
        assert ("people_prob 0.5" in texts) == (name != "reliability")


def test_each_figure_shows_its_own_numbers(case, monkeypatch):
    case.put(scored("a", 0.02), scored("b", 0.015), scored("c", -0.01))
    case.text += "a,1\nb,0\nc,1\n"
    case.run()
    monkeypatch.setattr(calibration_figures, "to_svg", lambda spec, theme, title: spec)
    drawn = figures(case.found(), "light")

    def recalls(name):
        rows = [row for row in drawn[name]["data"]["values"] if row["rate"] == "recall"]
        return [(row["threshold"], row["value"]) for row in rows][1:-1]  # without what lies beyond the scores

    assert recalls("margin") == [(-0.01, 1.0), (0.015, 0.5), (0.02, 0.5)]
    assert recalls("people_prob") == [(0.268941, 1.0), (0.817574, 0.5), (0.880797, 0.5)]
    rows = drawn["reliability"]["vconcat"][0]["data"]["values"]
    assert [(row["low"], row["n"], row["share"]) for row in rows] == [(0.2, 1, 1.0), (0.8, 2, 0.5)]
    assert [(row["low"], row["label"], row["n"]) for row in drawn["histogram"]["data"]["values"]] == [
        (-0.01, "images with people", 1),
        (0.02, "images with people", 1),
        (0.015, "images without people", -1),
    ]


def test_figures_of_an_extreme_sample(case):
    case.put(scored("a", 0.05))
    case.text += "a,1\n"
    case.threshold = 1.0
    case.run()
    assert case.found()["margin_at_threshold"] is None
    drawn = figures(case.found(), "light")
    assert "people_prob 1.0" not in drawn["margin"]
    assert "people_prob 1.0" in drawn["people_prob"]
