"""retrieval 04: records, skipped queries, reviews and accounts of a category, from files to files."""

import json
from collections import Counter

import numpy as np
import pytest

from tests.unit.retrieval.retrieve_data import ImageSet, angle, negatives, positive, sha
from workflow_scripts.core.accounting import AccountingError
from workflow_scripts.core.step import StepError
from workflow_scripts.retrieval import neighbours, retrieve, search
from workflow_scripts.retrieval.records import read_records

# Values that chi-square passes once in a thousand times, for K - 1 degrees of freedom (NIST/SEMATECH e-Handbook of Statistical
# Methods, 1.3.6.7.4).
CHI_SQUARE = {2: 10.828, 3: 13.816, 5: 18.467}


@pytest.fixture
def images(tmp_path):
    """Mugs round 0, 40 and 80 degrees; a car of the same name as a mug, and another, between them."""
    found = ImageSet(tmp_path)
    for concept, degrees in {"red": (0, 10, 20), "blue": (40, 50), "green": (80, 85)}.items():
        for number, value in enumerate(degrees):
            found.add(concept, f"{number}.jpg", angle(value))
    for concept, degrees in {"red": (5, 25), "tall": (30, 31)}.items():
        for number, value in enumerate(degrees):
            found.add(concept, f"{number}.jpg", angle(value), category="car")
    return found


def by_query(records):
    return {record["query_path"]: record for record in records}


def shown(records, query):
    """Positive and negatives of a query."""
    record = by_query(records)[query]
    return positive(record), negatives(record)


# ---- records ----


def test_a_record_says_what_it_shows(images):
    records, _ = images.run()
    record = by_query(records)["mug/red/0.jpg"]
    assert set(record["ret_paths"]) == {"mug/red/2.jpg", "mug/blue/0.jpg", "mug/green/0.jpg"}
    assert record["ret_paths"][record["label"]] == "mug/red/2.jpg"
    assert (record["category"], record["concept"]) == ("mug", "red")
    assert record["ret_concepts"] == [path.split("/")[1] for path in record["ret_paths"]]
    vectors = {path: image.vector.astype(float) for path, image in images.images.items()}
    expected = [round(float(vectors["mug/red/0.jpg"] @ vectors[path]), 6) for path in record["ret_paths"]]
    assert record["similarities"] == expected
    assert all(abs(cosine - np.cos(np.radians(degrees))) < 1e-3 for cosine, degrees in zip(sorted(expected), (80, 40, 20), strict=True))


def test_records_come_in_the_order_of_the_catalog(images):
    images.write()
    images.catalog_file.write_text(json.dumps(reversed_lists(images.catalog())))
    records, metadata = images.run_again()
    assert [record["query_path"] for record in records] == [
        *("mug/green/1.jpg", "mug/green/0.jpg", "mug/blue/1.jpg", "mug/blue/0.jpg"),
        *("mug/red/2.jpg", "mug/red/1.jpg", "mug/red/0.jpg"),
    ]
    assert list(metadata["by_concept"]) == ["green", "blue", "red"]
    assert [record.model_dump() for record in read_records(images.outputs[0])] == records


def reversed_lists(catalog):
    turned = {}
    for category, concepts in catalog.items():
        turned[category] = {concept: {name: paths[::-1] for name, paths in lists.items()} for concept, lists in reversed(concepts.items())}
    return turned


@pytest.mark.parametrize(("kind", "expected"), [("hard", "mug/red/2.jpg"), ("easy", "mug/red/1.jpg")])
def test_the_positive_is_the_least_or_the_most_similar_image(images, kind, expected):
    records, _ = images.run(positive=kind)
    assert shown(records, "mug/red/0.jpg")[0] == expected


@pytest.mark.parametrize("kind", ["positive", "negatives"])
def test_random_references_change_with_the_seed_alone(images, kind):
    first, _ = images.run(**{kind: "random"})
    again, _ = images.run()
    assert again == first
    others = [images.run(seed=seed)[0] for seed in range(6)]
    assert len({shown_all(records, kind) for records in others}) > 3
    assert len({shown_all(records, {"positive": "negatives", "negatives": "positive"}[kind]) for records in others}) == 1


def shown_all(records, kind):
    return tuple(positive(record) if kind == "positive" else tuple(negatives(record)) for record in records)


@pytest.mark.parametrize(
    ("pool", "k", "expected"),
    [
        ("category", 3, ["mug/blue/0.jpg", "mug/green/0.jpg"]),
        ("dataset", 3, ["car/red/0.jpg", "car/tall/0.jpg"]),
        ("dataset", 5, ["car/red/0.jpg", "car/tall/0.jpg", "mug/blue/0.jpg", "mug/green/0.jpg"]),
        ("category_then_dataset", 3, ["mug/blue/0.jpg", "mug/green/0.jpg"]),
        ("category_then_dataset", 4, ["car/red/0.jpg", "mug/blue/0.jpg", "mug/green/0.jpg"]),
    ],
)
def test_negatives_come_from_the_pool(images, pool, k, expected):
    records, metadata = images.run(negative_pool=pool, k=k)
    assert shown(records, "mug/red/0.jpg")[1] == expected
    assert metadata["largest_k"] == (3 if pool == "category" else 5)
    assert len(images.tables) == (1 if pool == "category" else 2)
    assert {record["category"] for record in records} == {"mug"}
    assert metadata["images"] == 7


def test_random_negatives_come_from_the_category_first(images):
    for seed in range(5):
        records, _ = images.run(negatives="random", negative_pool="category_then_dataset", k=4, seed=seed)
        for record in records:
            found = Counter(path.split("/")[0] for path in negatives(record))
            assert found == {"mug": 2, "car": 1}


def test_few_candidates_are_those_with_the_nearest_mean(images):
    # blue/2 draws the mean of blue away, so that green is nearer to 60 degrees, though blue/1 is as near as green/0.
    images.add("blue", "2.jpg", angle(-60))
    images.add("red", "3.jpg", angle(60))
    assert shown(images.run(k=2, candidate_concepts=1)[0], "mug/red/3.jpg")[1] == ["mug/green/0.jpg"]
    assert shown(images.run(k=2, candidate_concepts=2)[0], "mug/red/3.jpg")[1] == ["mug/blue/1.jpg"]


@pytest.mark.parametrize("k", [2, 3, 5])
def test_the_place_of_the_answer_is_uniform(tmp_path, k):
    images = ImageSet(tmp_path)
    rng = np.random.default_rng(k)
    for number in range(3000):
        vector = rng.normal(0, 1, 8)
        images.add(f"{number % 7}", f"{number}.jpg", vector / np.linalg.norm(vector))
    records, metadata = images.run(k=k)
    assert metadata["records"] == len(records) == 3000
    for group in (records, records[:1500], [record for record in records if record["concept"] in "135"]):
        counts = Counter(record["label"] for record in group)
        expected = len(group) / k
        assert sum((counts[place] - expected) ** 2 / expected for place in range(k)) < CHI_SQUARE[k]
    # Nor does the order of the negatives tell which is the more similar one.
    if k > 2:
        first = Counter(
            int(np.argsort([-c for c, p in zip(r["similarities"], r["ret_paths"], strict=True) if p != positive(r)])[0]) for r in records
        )
        expected = len(records) / (k - 1)
        assert sum((first[place] - expected) ** 2 / expected for place in range(k - 1)) < CHI_SQUARE[k]


def test_queries_with_the_same_references_have_orders_of_their_own(tmp_path):
    images = ImageSet(tmp_path)
    images.add("red", "far.jpg", angle(60))
    for number in range(40):
        images.add("red", f"{number}.jpg", angle(number / 10))
    for concept in ("blue", "green"):
        images.add(concept, "0.jpg", angle(90))
    records = [record for record in images.run()[0] if record["query_path"] != "mug/red/far.jpg"]
    assert len(records) == 40
    assert len({frozenset(record["ret_paths"]) for record in records}) == 1
    assert len({tuple(record["ret_paths"]) for record in records}) == 6


def test_another_seed_is_another_order_of_the_same_references(images):
    first, second = images.run(seed=1)[0], images.run(seed=2)[0]
    assert [set(record["ret_paths"]) for record in first] == [set(record["ret_paths"]) for record in second]
    assert [record["ret_paths"] for record in first] != [record["ret_paths"] for record in second]


@pytest.mark.parametrize("mode", ["nearest", "random"])
def test_the_same_bytes_whatever_order_threads_and_blocks(images, monkeypatch, mode):
    images.run(negative_pool="dataset", negatives=mode, k=4)
    first = images.content()
    images.reversed_rows, images.threads = True, 1
    images.run()
    assert images.content() == first
    images.tables.reverse()
    monkeypatch.setattr(search, "SIDE", 2)
    monkeypatch.setattr(neighbours, "PAIRS", 3)
    images.threads = 4
    images.run_again()
    assert images.content() == first


def test_paths_are_those_of_the_catalog(images):
    records, _ = images.run(relative=False, data_root="/some/where")
    assert records[0]["query_path"] == "/some/where/mug/red/0.jpg"
    assert all(path.startswith("/some/where/mug/") for record in records for path in record["ret_paths"])
    relative, _ = images.run(relative=True)
    assert negatives(relative[0]) == [path.removeprefix("/some/where/") for path in negatives(records[0])]


def test_only_training_images_are_queries_and_references(images):
    images.lists |= {"mug/red/2.jpg": "test", "mug/blue/0.jpg": "negative"}
    records, metadata = images.run()
    assert shown(records, "mug/red/0.jpg") == ("mug/red/1.jpg", ["mug/blue/1.jpg", "mug/green/0.jpg"])
    assert metadata["queries"] == 5


# ---- what is left out ----


def test_copies_are_no_references(images):
    images.add("red", "copy.jpg", angle(89), sha256=sha("mug/red/0.jpg"))
    images.add("blue", "copy.jpg", angle(1), sha256=sha("mug/red/0.jpg"))
    images.add("red", "near.jpg", angle(88), phash=images.images["mug/red/0.jpg"].phash ^ 0b1111)
    images.add("blue", "near.jpg", angle(2), phash=images.images["mug/red/0.jpg"].phash ^ 0b1111)
    records, metadata = images.run(positive="hard")
    assert shown(records, "mug/red/0.jpg") == ("mug/red/2.jpg", ["mug/blue/0.jpg", "mug/green/0.jpg"])
    assert shown(records, "mug/red/1.jpg") == ("mug/red/copy.jpg", ["mug/blue/near.jpg", "mug/green/0.jpg"])
    # Three images of the same bytes, and three near copies: each with the other two.
    assert metadata["left_out"] == {"same bytes": 6, "near copy": 6, "duplicate_similarity": 0, "review": 0}
    assert metadata["label_conflicts"] == [
        {"sha256": sha("mug/red/0.jpg"), "paths": ["mug/blue/copy.jpg", "mug/red/0.jpg", "mug/red/copy.jpg"]}
    ]


@pytest.mark.parametrize(("limit", "expected"), [(None, "mug/blue/0.jpg"), (0.8, "mug/blue/0.jpg"), (0.7, "mug/blue/1.jpg"), (0.6, None)])
def test_negatives_are_less_similar_than_the_limit(images, limit, expected):
    records, metadata = images.run(duplicate_similarity=limit, k=2, candidate_concepts=1)
    first = shown(records, "mug/red/0.jpg")[1][0]
    assert first == (expected or "mug/green/0.jpg"), "blue is replaced when all of it is too similar"
    assert (metadata["left_out"]["duplicate_similarity"] > 0) == (limit is not None)
    assert shown(records, "mug/red/2.jpg")[0] == "mug/red/0.jpg", "positives may be as similar as they are"


def test_very_similar_negatives_are_counted(images):
    images.add("blue", "close.jpg", angle(16))
    records, metadata = images.run()
    expected = sum(
        cosine >= 0.95
        for record in records
        for cosine, path in zip(record["similarities"], record["ret_paths"], strict=True)
        if path != positive(record)
    )
    assert metadata["near_negatives"] == expected
    assert 0 < expected < len(records)


# ---- reviews ----


def test_a_dropped_pair_is_replaced_and_stays_dropped(images):
    images.review("drop_pair", "mug/red/0.jpg", "mug/blue/0.jpg")
    images.review("drop_pair", "mug/red/0.jpg", "mug/red/2.jpg")
    for _ in range(2):  # the second time the pair stands in no record any more
        records, metadata = images.run()
        assert shown(records, "mug/red/0.jpg") == ("mug/red/1.jpg", ["mug/blue/1.jpg", "mug/green/0.jpg"])
        assert shown(records, "mug/red/1.jpg")[1] == ["mug/blue/0.jpg", "mug/green/0.jpg"]
        assert metadata["left_out"]["review"] == 2


def test_a_dropped_query_gives_no_record_and_is_still_a_reference(images):
    images.review("drop_query", "mug/red/2.jpg", "mug/blue/0.jpg")
    records, metadata = images.run()
    assert "mug/red/2.jpg" not in by_query(records)
    assert positive(by_query(records)["mug/red/0.jpg"]) == "mug/red/2.jpg"
    assert metadata["skipped_queries"] == [{"path": "mug/red/2.jpg", "reason": "review"}]
    assert metadata["skipped"] == {"single image": 0, "too few concepts": 0, "review": 1}


def test_a_dropped_negative_is_no_reference_at_all_and_still_a_query(images):
    images.review("drop_negative", "mug/red/0.jpg", "mug/blue/0.jpg")
    records, _ = images.run(negative_pool="dataset", k=5)
    assert "mug/blue/0.jpg" in by_query(records)
    assert not any("mug/blue/0.jpg" in record["ret_paths"] for record in records)
    assert "mug/blue/1.jpg" not in by_query(records), "its only positive is gone"


def test_a_review_of_another_category_drops_its_reference_here_too(images):
    images.review("drop_negative", "car/red/0.jpg", "mug/blue/0.jpg")
    images.review("drop_pair", "car/red/0.jpg", "mug/blue/1.jpg")
    records, _ = images.run()
    assert not any("mug/blue/0.jpg" in record["ret_paths"] for record in records)
    assert any("mug/blue/1.jpg" in record["ret_paths"] for record in records)


def test_a_review_of_other_content_is_reported(images, log_text):
    images.review("drop_query", "mug/red/0.jpg", "mug/blue/0.jpg", sha256="f" * 64)
    records, _ = images.run()
    assert "mug/red/0.jpg" in by_query(records)
    assert f"review: mug/red/0.jpg → mug/blue/0.jpg ({'f' * 64}) fits no image any more" in log_text()


# ---- accounts ----


def test_the_metadata_account_for_every_image(images):
    images.add("blue", "broken.jpg", angle(0), error="decode: truncated")
    images.add("none", "0.jpg", angle(0), error="decode: truncated")
    images.add("single", "0.jpg", angle(120))
    images.review("drop_query", "mug/green/1.jpg", "mug/blue/0.jpg")
    records, metadata = images.run()
    assert metadata == {
        "category": "mug",
        "seed": 23,
        "k": 3,
        "concepts": 5,
        "images": 8,
        "queries": 10,
        "records": 6,
        "errors": 2,
        "largest_k": 4,
        "skipped": {"single image": 1, "too few concepts": 0, "review": 1},
        "left_out": {"same bytes": 0, "near copy": 0, "duplicate_similarity": 0, "review": 0},
        "replaced_concepts": 0,
        "near_negatives": 0,
        "label_conflicts": [],
        "by_concept": {
            "red": {"images": 3, "records": 3, "skipped": 0},
            "blue": {"images": 2, "records": 2, "skipped": 0},
            "green": {"images": 2, "records": 1, "skipped": 1},
            "none": {"images": 0, "records": 0, "skipped": 0},
            "single": {"images": 1, "records": 0, "skipped": 1},
        },
        "skipped_queries": [{"path": "mug/green/1.jpg", "reason": "review"}, {"path": "mug/single/0.jpg", "reason": "single image"}],
    }
    assert images.counts == {"queries": 10, "records": 6, "errors": 2, "skipped": 2}
    assert len(records) == 6


@pytest.mark.parametrize("mode", ["nearest", "random"])
def test_too_few_concepts_give_no_record_but_a_warning(images, log_text, mode):
    records, metadata = images.run(k=4, negatives=mode)
    assert records == []
    assert images.content()[0] == b"[]\n"
    assert metadata["skipped"] == {"single image": 0, "too few concepts": 7, "review": 0}
    assert metadata["largest_k"] == 3
    assert "mug gives no record: negative_pool category, top_k 4, and the largest K that it allows is 3 (largest_k)" in log_text()
    assert "too few concepts: 7" in log_text()
    records, _ = images.run(k=3)
    assert len(records) == 7
    assert log_text().count("gives no record") == 1


def test_single_images_give_no_record(images):
    for path in ("mug/red/1.jpg", "mug/red/2.jpg", "mug/blue/1.jpg", "mug/green/1.jpg"):
        images.lists[path] = "test"
    _, metadata = images.run()
    assert metadata["skipped"] == {"single image": 3, "too few concepts": 0, "review": 0}
    assert metadata["largest_k"] == 1
    images.add("red", "copy.jpg", angle(5), sha256=sha("mug/red/0.jpg"))
    _, metadata = images.run()
    assert metadata["skipped"]["single image"] == 4, "a copy is no positive"


def test_the_largest_k_counts_concepts_that_have_an_image_to_show(images):
    for number in (0, 1):
        images.review("drop_negative", "mug/red/0.jpg", f"mug/green/{number}.jpg")
    _, metadata = images.run(k=2)
    assert (metadata["records"], metadata["largest_k"]) == (5, 2)


def test_an_empty_category_gives_an_empty_list(images):
    for settings in (
        {},
        {"negatives": "random", "positive": "random"},
        {"negative_pool": "dataset"},
        {"negative_pool": "category_then_dataset"},
    ):
        images.settings |= settings
        images.write()
        images.catalog_file.write_text(json.dumps({"mug": {}, "car": images.catalog()["car"]}))
        records, metadata = images.run_again()
        assert (records, metadata["queries"], metadata["concepts"], metadata["largest_k"], metadata["by_concept"]) == ([], 0, 0, 1, {})


def test_an_unknown_category_is_refused(images):
    images.write()
    images.settings["category"] = "dog"
    with pytest.raises(StepError, match=r"catalog.json: has no category dog; it has mug, car"):
        images.run_again()


def test_a_query_that_is_lost_breaks_the_accounts(images, monkeypatch):
    complete = retrieve.make_records
    monkeypatch.setattr(retrieve, "make_records", lambda *arguments: list(complete(*arguments))[1:])
    with pytest.raises(AccountingError, match=r"1 images listed but without an outcome: mug/red/0.jpg"):
        images.run()
    assert not images.outputs[1].exists()


def test_the_step_reads_its_rule(images, start):
    images.review("drop_query", "mug/green/1.jpg", "mug/blue/0.jpg")
    images.run()
    expected = images.content()
    for path in images.outputs:
        path.unlink()
    given = {"catalog": str(images.catalog_file), "embeddings": [str(path) for path in images.tables], "reviews": [str(images.reviews)]}
    made = dict(zip(("records", "metadata"), map(str, images.outputs), strict=True))
    log = start(retrieve, given, made, retrieval=images.settings, machine={"threads": 2})
    assert images.content() == expected
    assert "done: queries=7 records=6 errors=0 skipped=1" in log
    start(retrieve, given | {"reviews": []}, made, retrieval=images.settings, machine={"threads": 1})
    assert len(json.loads(images.outputs[0].read_text())) == 7
