"""retrieval 07: what the report says beside its rows, from the metadata of records and split."""

from collections import Counter

import numpy as np
import pytest

from workflow_scripts.retrieval.report_items import Found, binned
from workflow_scripts.retrieval.report_panels import CHOICES, TWICE, category_panel, concept_panel, notes, panels, position_panel, warnings

RUN = {
    "dataset": "things",
    "duplicate_similarity": 0.98,
    "k": 3,
    "retrieval_source": "train",
    "reviews": "reviews/retrieval/things/retrieve.csv",
    "seed": 23,
}
SIDES = (("training side", "a.jpg"), ("validation side", "b.jpg"), ("validation side", "c.jpg"))
SPLITS = {"categories": {}, "shared_images": []}


def facts(category="mug", **changes):
    """The metadata of a category."""
    return {
        "category": category,
        "concepts": 4,
        "images": 40,
        "queries": 40,
        "records": 30,
        "errors": 1,
        "largest_k": 4,
        "skipped": {"single image": 2, "too few concepts": 7, "review": 0},
        "left_out": {"same bytes": 3, "near copy": 0, "duplicate_similarity": 5, "review": 0},
        "replaced_concepts": 6,
        "label_conflicts": [],
        "by_concept": {"red": {"images": 30, "records": 25, "skipped": 5}, "blue": {"images": 10, "records": 5, "skipped": 5}},
    } | changes


def found(**changes):
    base = {"positives": binned([0.5, 0.6]), "negatives": binned([0.4, 0.7, 0.96]), "near": 1, "closer": 2}
    return Found(**(base | {"positions": Counter({(3, 0): 1, (3, 2): 1})} | changes))


def two_sided(**counts):
    return SPLITS | {"categories": {name: {"n_concepts": many, "selected_count": chosen} for name, (many, chosen) in counts.items()}}


# ---- warnings ----


def test_nothing_to_heed_gives_no_warning():
    assert warnings(RUN, [facts()], two_sided(mug=(4, 3))) == []
    assert warnings(RUN | {"retrieval_source": "validation"}, [facts()], two_sided(mug=(4, 3))) == []
    assert warnings(RUN | {"retrieval_source": "catalog"}, [facts()], two_sided(mug=(4, 4))) == []


@pytest.mark.parametrize(("counts", "many"), [({"mug": (4, 3)}, "1 concept"), ({"mug": (4, 3), "oil": (1200, 0)}, "1,201 concepts")])
def test_records_of_the_whole_catalog_bring_validation_concepts_into_the_training_data(counts, many):
    (said,) = warnings(RUN | {"retrieval_source": "catalog"}, [facts()], two_sided(**counts))
    assert said == (
        f"retrieval_source is catalog: records come from all concepts, also from the {many} that the split of seed 23 keeps for "
        "validation, so that these reach the training data. retrieval.datasets.things.retrieval_source: train keeps them out."
    )


def test_categories_with_too_few_concepts_are_named_with_their_largest_k_and_the_mend():
    metadata = [facts("mug"), facts("oil", largest_k=2), facts("a <b>", largest_k=1)]
    (said,) = warnings(RUN, metadata, SPLITS)
    assert said == (
        "K = 3 is more than some categories allow, whose other concepts are too few: oil (largest K 2), a <b> (largest K 1). A smaller "
        "top_k needs fewer; retrieval.datasets.things.negative_pool: category_then_dataset takes missing ones from other categories."
    )
    assert warnings(RUN | {"k": 2}, metadata[:2], SPLITS) == []


def test_images_that_stand_there_twice_are_counted_once_each():
    conflict = {"sha256": "ab" * 32, "paths": ["mug/red/1.jpg", "mug/blue/2.jpg"]}
    metadata = [facts(label_conflicts=[conflict]), facts("dog", label_conflicts=[conflict])]
    shared = [{"sha256": digit * 64, "train": ["a.jpg"], "validation": ["b.jpg", "c.jpg"]} for digit in "cd"]
    assert warnings(RUN, metadata, SPLITS) == [f"{TWICE}: 1 image in two concepts; the names stand below."]
    both = SPLITS | {"shared_images": shared}
    assert warnings(RUN, metadata, both) == [
        f"{TWICE}: 1 image in two concepts, 2 images on both sides of the split; the names stand below."
    ]
    panel = panels(RUN, metadata, both, found())[-1]
    assert panel.title == TWICE
    assert panel.header == ("content", "found in", "image")
    assert panel.rows == (
        ("abababababab", "two concepts", "mug/red/1.jpg"),
        ("abababababab", "two concepts", "mug/blue/2.jpg"),
        *((digit * 12, side, path) for digit in "cd" for side, path in SIDES),
    )


# ---- notes ----


def test_notes_count_what_became_of_the_queries():
    none = dict.fromkeys(facts()["skipped"], 0)
    first, second = notes(RUN, [facts(), facts("dog", skipped=none, errors=0)], found(near=1))
    assert first == (
        "60 records of 80 queries; queries without a record: single image 2, too few concepts 7, no vector 1. "
        "1 negative with a cosine of 0.95 or more (tag: near copy?)."
    )
    assert second == CHOICES


def test_notes_say_that_duplicate_similarity_is_off():
    first, _ = notes(RUN | {"duplicate_similarity": None}, [facts(records=1, queries=1, skipped={}, errors=0)], found(near=0))
    assert first == (
        "1 record of 1 query; queries without a record: none. 0 negatives with a cosine of 0.95 or more (tag: near copy?). "
        "duplicate_similarity is off; the slider shows that as 1."
    )


@pytest.mark.parametrize("changes", [{"skipped": {"review": 1}}, {"left_out": {"review": 1}}])
def test_notes_say_how_earlier_decisions_stay_in_force(changes):
    *_, said = notes(RUN, [facts(), facts(**changes)], found())
    assert said == (
        "Earlier decisions are in force. Import reviews/retrieval/things/retrieve.csv before you export, so that the new file keeps them; "
        "to take one back, delete its line there."
    )


# ---- panels ----


def test_panels_in_order_and_none_without_content():
    titles = ["Categories", "Concepts", "How similar positives and negatives are", "Where the answer stands"]
    assert [panel.title for panel in panels(RUN, [facts()], SPLITS, found())] == titles
    assert [panel.title for panel in panels(RUN, [facts()], SPLITS, Found())] == titles[:2]


def test_categories_are_counted_by_reason_with_a_row_for_all():
    other = facts("dog", concepts=1000, largest_k=1000, errors=0, skipped={"review": 2, "new reason": 1}, left_out={"same bytes": 1})
    panel = category_panel([facts(), other])
    rows = [dict(zip(panel.header, row, strict=True)) for row in panel.rows]
    assert rows[0] == {
        "category": "mug",
        "concepts": "4",
        "images": "40",
        "queries": "40",
        "records": "30",
        "skipped: single image": "2",
        "skipped: too few concepts": "7",
        "skipped: review": "0",
        "skipped: new reason": "0",
        "left out: same bytes": "3",
        "left out: near copy": "0",
        "left out: duplicate_similarity": "5",
        "left out: review": "0",
        "no vector": "1",
        "largest K": "4",
    }
    assert rows[1]["skipped: review"] == "2"
    assert rows[1]["largest K"] == "1,000"
    assert rows[2] == {
        "category": "all",
        "concepts": "1,004",
        "images": "80",
        "queries": "80",
        "records": "60",
        "skipped: single image": "2",
        "skipped: too few concepts": "7",
        "skipped: review": "2",
        "skipped: new reason": "1",
        "left out: same bytes": "4",
        "left out: near copy": "0",
        "left out: duplicate_similarity": "5",
        "left out: review": "0",
        "no vector": "1",
        "largest K": "",
    }
    assert len(rows) == 3
    assert panel.text[1] == "12 times a concept had no image left for a query, and the next nearest concept took its place."
    assert [row[0] for row in category_panel([facts()]).rows] == ["mug"]


def test_concepts_are_counted_and_the_first_hundreds_are_shown():
    many = {f"c{number}": {"images": number, "records": 1, "skipped": 0} for number in range(1000)}
    panel = concept_panel([facts(), facts("dog", by_concept=many)])
    assert panel.header == ("category", "concept", "images", "records", "skipped")
    assert panel.rows[:3] == (("mug", "red", "30", "25", "5"), ("mug", "blue", "10", "5", "5"), ("dog", "c0", "0", "1", "0"))
    assert len(panel.rows) == 300
    assert panel.text == ("The first 300 of 1,002 rows; concepts.csv holds all of them.",)


def test_the_share_of_negatives_that_are_nearer_than_the_positive():
    panel = panels(RUN, [facts()], SPLITS, found())[2]
    assert panel.text == ("In 2 of 3 pairs (67%) the negative is more similar to the query than the positive.",)
    assert panel.light_svg != panel.dark_svg
    assert "duplicate_similarity 0.98" in panel.light_svg
    assert "duplicate_similarity" not in panels(RUN | {"duplicate_similarity": None}, [facts()], SPLITS, found())[2].light_svg


def test_places_of_the_answer_stand_beside_what_chance_gives():
    positions = Counter({(2, 0): 40, (2, 1): 60, (3, 0): 3000, (3, 2): 6000})
    panel = position_panel(Found(positions=positions, negatives=np.ones(200, np.int64)))
    assert panel.rows == (
        ("2", "1", "40", "40.0%", "50 ± 10"),
        ("2", "2", "60", "60.0%", "50 ± 10"),
        ("3", "1", "3,000", "33.3%", "3,000 ± 89"),
        ("3", "2", "0", "0.0%", "3,000 ± 89"),
        ("3", "3", "6,000", "66.7%", "3,000 ± 89"),
    )
