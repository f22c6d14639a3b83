"""Step 04 agrees with a plain reading of the specification, in all modes, on many small sets full of copies and ties."""

from itertools import product

import numpy as np
import pytest

from tests.unit.retrieval.retrieve_data import ImageSet, sha, unit
from tests.unit.retrieval.retrieve_reference import Reference
from workflow_scripts.retrieval import draws, neighbours, search

MODES = list(product(("hard", "easy", "random"), ("nearest", "random"), ("category", "category_then_dataset", "dataset")))
SETS = 8  # for each mode


def draw(root, rng, settings):
    """Few directions, few contents, few pictures: ties, copies and conflicts everywhere."""
    images = ImageSet(root, relative_settings(rng, settings))
    directions = [unit(*numbers) for numbers in rng.integers(-3, 4, (12, 4)) if any(numbers)]
    pictures = rng.integers(0, 1 << 64, 30, dtype=np.uint64).tolist()
    for category in ["mug", "car", "Über→dog"][: rng.integers(1, 4)]:
        for concept in rng.permutation(list("abcdefg"))[: rng.integers(1, 8)].tolist():
            for number in range(rng.integers(1, 5)):
                picture = pictures[rng.integers(len(pictures))] ^ sum(
                    1 << int(bit) for bit in set(rng.integers(0, 64, rng.integers(0, 6)).tolist())
                )
                images.add(
                    concept,
                    f"{number}.jpg",
                    directions[rng.integers(len(directions))],
                    category=category,
                    sha256=sha(rng.integers(40)),
                    phash=picture,
                    error="decode: truncated" if rng.random() < 0.05 else None,
                    part="test" if rng.random() < 0.05 else "train",
                )
    review(images, rng)
    return images


def relative_settings(rng, settings):
    return settings | {
        "category": "mug",
        "data_root": "/data",
        "relative": bool(rng.integers(2)),
        "candidate_concepts": int(rng.integers(1, 5)),
        "k": int(rng.integers(2, 5)),
        "duplicate_similarity": [None, 1.0, 0.9, 0.5][rng.integers(4)],
        "seed": int(rng.integers(5)),
    }


def review(images, rng):
    """Decisions on any pairs of a query in the category, each pair once; some of them about what the query once was."""
    everything = list(images.images)
    queries = [path for path in everything if path.startswith("mug/")]
    pairs = {(queries[rng.integers(len(queries))], everything[rng.integers(len(everything))]) for _ in range(rng.integers(0, 12))}
    for query, negative in sorted(pairs):
        decision = ["keep", "drop_pair", "drop_pair", "drop_query", "drop_negative"][rng.integers(5)]
        if decision != "drop_query" or rng.random() < 0.3:
            images.review(decision, query, negative, sha256="f" * 64 if rng.random() < 0.2 else None)


@pytest.mark.parametrize(("positive", "negatives", "pool"), MODES)
def test_records_are_what_the_specification_says(positive, negatives, pool, tmp_path, monkeypatch):
    outcomes = set()
    for number in range(SETS):
        rng = np.random.default_rng([number, MODES.index((positive, negatives, pool))])
        if number % 2:  # blocks of a few, so that sets as small as these have many
            monkeypatch.setattr(search, "SIDE", int(rng.integers(1, 4)))
            monkeypatch.setattr(neighbours, "PAIRS", int(rng.integers(1, 20)))
            monkeypatch.setattr(draws, "_TOGETHER", 3)
        images = draw(tmp_path / str(number), rng, {"positive": positive, "negatives": negatives, "negative_pool": pool})
        records, metadata = images.run()
        reference = Reference(images)
        expected = reference.results()
        for record in records:
            name, shown = expected[record["query_path"]]
            assert record["ret_paths"][record["label"]] == name
            found = zip(record["ret_paths"], zip(record["ret_concepts"], record["similarities"], strict=True), strict=True)
            assert dict(found) == shown
        reasons = {path: found for path, found in expected.items() if isinstance(found, str)}
        assert [record["query_path"] for record in records] == [path for path in expected if path not in reasons]
        skipped = [{"path": path, "reason": reason} for path, reason in reasons.items() if reason != "error"]
        assert metadata["skipped_queries"] == skipped
        assert metadata["errors"] == sum(reason == "error" for reason in reasons.values())
        assert metadata["left_out"] == dict(reference.left_out)
        assert metadata["replaced_concepts"] == reference.replaced
        outcomes |= set(reasons.values()) | ({"record"} if records else set())
    assert outcomes >= {"record", "single image"}
