"""Random draws: fair, without repetition, the same for the same names, and aware of what is left out."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from workflow_scripts.retrieval import draws as module
from workflow_scripts.retrieval.draws import Lottery, permutation
from workflow_scripts.retrieval.gallery import Gallery
from workflow_scripts.retrieval.left_out import LeftOut

# Values that chi-square passes once in a thousand times (NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.4).
CHI_SQUARE = {3: 16.266, 5: 20.515, 8: 26.124, 23: 49.728}


def chi_square(counts, cells):
    expected = sum(counts.values()) / cells
    return sum((counts[cell] - expected) ** 2 / expected for cell in counts) + (cells - len(counts)) * expected


def test_a_permutation_holds_every_number_once():
    for count in (0, 1, 2, 3, 10, 257):
        assert sorted(permutation(count, "seed", count)) == list(range(count))


def test_permutations_are_as_likely_as_each_other():
    counts = Counter(tuple(permutation(4, 23, number)) for number in range(4800))
    assert set(counts) == set(permutations(range(4)))
    assert chi_square(counts, 24) < CHI_SQUARE[23]


def test_a_permutation_follows_from_its_parts():
    assert list(permutation(50, 23, "a")) == list(permutation(50, 23, "a"))
    assert list(permutation(50, 23, "a")) != list(permutation(50, 24, "a"))
    assert list(permutation(50, 23, "a")) != list(permutation(50, 23, "b"))


def test_the_first_of_a_large_permutation_costs_little():
    drawn = permutation(10**12, "seed")
    assert len({next(drawn) for _ in range(5)}) == 5


@pytest.fixture
def gallery():
    """Nine concepts of two categories, of four images each."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(0, 1, (36, 8))
    return Gallery(
        [("mug" if number < 5 else "car", f"{number}") for number in range(9)],
        np.arange(10) * 4,
        [f"/data/{number:02d}" for number in range(36)],
        [f"{number:02d}" for number in range(36)],
        [f"{number}" for number in range(36)],
        rng.integers(0, 1 << 64, 36, dtype=np.uint64),
        (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16),
        {},
    )


def lottery(gallery, seed=23, *, similarity=None, **options):
    return Lottery(gallery, LeftOut(gallery, duplicate_similarity=similarity, **options), seed)


def seeds(gallery, count, **options):
    return (lottery(gallery, seed, **options) for seed in range(count))


def test_positives_are_any_other_image_of_the_concept(gallery):
    counts = Counter(int(one.positives(np.array([5])).images[0, 0]) for one in seeds(gallery, 1200, images=[6]))
    assert set(counts) == {4, 7}
    counts = Counter(int(one.positives(np.array([13])).images[0, 0]) for one in seeds(gallery, 1200))
    assert set(counts) == {12, 14, 15}
    assert chi_square(counts, 4 - 1) < CHI_SQUARE[3]


def test_negatives_are_any_image_of_any_other_concept(gallery):
    pools = [np.arange(9)]
    counts, images = Counter(), Counter()
    for one in seeds(gallery, 1500):
        found = one.negatives(np.array([2]), pools, 2)
        concepts = (found.images[0] // 4).tolist()
        assert len(set(concepts)) == 2
        counts.update(concepts)
        images.update((found.images[0] % 4).tolist())
    assert set(counts) == set(range(1, 9))
    assert chi_square(counts, 8) < CHI_SQUARE[8]
    assert chi_square(images, 4) < CHI_SQUARE[3]


def test_draws_of_one_query_do_not_depend_on_the_others(gallery, monkeypatch):
    queries, pools = np.arange(36), [np.arange(9)]
    whole = lottery(gallery).negatives(queries, pools, 3)
    part = lottery(gallery).negatives(queries[7:9], pools, 3)
    assert part.images.tolist() == whole.images[7:9].tolist()
    monkeypatch.setattr(module, "_TOGETHER", 5)
    blocks = lottery(gallery).negatives(queries, pools, 3)
    assert blocks.images.tolist() == whole.images.tolist()
    assert len({tuple((row // 4).tolist()) for row in whole.images}) > 20
    vectors = gallery.vectors.astype(float)
    assert whole.cosines.tolist() == np.einsum("ij,ikj->ik", vectors, vectors[whole.images]).tolist()


def test_a_second_pool_is_drawn_from_when_the_first_is_exhausted(gallery):
    pools = [np.arange(5), np.arange(5, 9)]
    found = lottery(gallery).negatives(np.array([0]), pools, 6).images[0] // 4
    assert set(found[:4].tolist()) == {1, 2, 3, 4}
    assert set(found[4:].tolist()) < {5, 6, 7, 8}


def test_what_is_left_out_is_drawn_again_and_counted(gallery):
    dropped = [number for number in range(4, 20) if number not in (9, 15)]
    found = lottery(gallery, images=dropped).negatives(np.array([0]), [np.arange(5)], 3)
    assert sorted(found.images[0].tolist()) == [-1, 9, 15]
    assert found.images[0, 2] == -1
    assert found.replaced == 2
    assert 8 <= found.left_out[3] <= len(dropped)
    assert found.left_out[:3].tolist() == [0, 0, 0]


def test_similarity_counts_for_negatives_alone(gallery):
    everything = lottery(gallery, similarity=-1.0)
    assert everything.negatives(np.array([0]), [np.arange(9)], 2).counts().tolist() == [0]
    assert everything.positives(np.array([0])).counts().tolist() == [1]


def test_a_concept_whose_other_images_are_all_left_out_gives_no_positive(gallery):
    found = lottery(gallery, images=[0, 1, 2]).positives(np.array([3, 5]))
    assert found.counts().tolist() == [0, 1]
    assert found.left_out.tolist() == [0, 0, 0, 3]
