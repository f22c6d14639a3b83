"""Hard negatives: candidates, what replaces them, pools, and how the best are kept."""

import numpy as np
import pytest

from workflow_scripts.retrieval import neighbours as module
from workflow_scripts.retrieval.gallery import Gallery
from workflow_scripts.retrieval.left_out import LeftOut
from workflow_scripts.retrieval.neighbours import Chosen, negatives, positives
from workflow_scripts.retrieval.search import Search


def plane(*concepts):
    """Concepts of images in the plane, given by their degrees."""
    degrees = np.radians(np.concatenate([np.array(concept, float) for concept in concepts]))
    count = len(degrees)
    return Gallery(
        [("c", f"{number:02d}") for number in range(len(concepts))],
        np.cumsum([0, *map(len, concepts)]),
        [f"{number:03d}" for number in range(count)],
        [f"{number:03d}" for number in range(count)],
        [f"{number}" for number in range(count)],
        np.array([int(f"{number + 1:04x}" * 4, 16) * 0x1F351F35 % (1 << 64) for number in range(count)], dtype=np.uint64),
        np.stack([np.cos(degrees), np.sin(degrees)], axis=1).astype(np.float16),
        {},
    )


def make(gallery, *, similarity=None, **options):
    return Search(gallery, LeftOut(gallery, duplicate_similarity=similarity, **options), 2)


def find(gallery, query, wanted, *, pools=None, candidates=8, **options):
    pools = [np.arange(len(gallery.concepts))] if pools is None else pools
    return negatives(make(gallery, **options), np.array([query]), pools, candidates, wanted)


RING = plane([0, 60], [10, 100], [20, 30], [45, 200], [90, 95])  # means at 30, 55, 25, 122.5 and 92.5 degrees


def test_candidates_are_the_concepts_whose_mean_is_nearest():
    # Concept 1 has the image that is nearest to the query, but concept 2 the nearest mean.
    assert find(RING, 0, 1, candidates=1).images.tolist() == [[4]]
    assert find(RING, 0, 1, candidates=2).images.tolist() == [[2]]


def test_the_best_images_of_the_candidates_stay_the_most_similar_first():
    found = find(RING, 0, 3)
    assert found.images.tolist() == [[2, 4, 6]]
    assert found.cosines.tolist() == [[float(RING.vectors[0].astype(float) @ RING.vectors[image].astype(float)) for image in (2, 4, 6)]]
    assert found.replaced == 0
    assert found.left_out.tolist() == [0, 0, 0, 0]


def test_there_are_as_many_candidates_as_negatives_at_least():
    assert find(RING, 0, 4, candidates=1).images.tolist() == [[2, 4, 6, 8]]
    assert find(RING, 0, 5, candidates=1).images.tolist() == [[2, 4, 6, 8, -1]]


def test_a_concept_without_a_usable_image_is_replaced_by_the_next_nearest():
    found = find(RING, 0, 1, candidates=1, images=[4, 5])
    assert found.images.tolist() == [[2]]
    assert (found.replaced, found.left_out.tolist()) == (1, [0, 0, 0, 2])
    found = find(RING, 0, 2, candidates=1, images=[2], pairs=[(0, 4), (0, 5), (0, 3)])
    assert found.images.tolist() == [[6, 8]]
    assert (found.replaced, found.left_out.tolist()) == (2, [0, 0, 0, 4])


def test_only_concepts_up_to_the_last_candidate_count():
    # After concept 2 the search looks at two more, of which it needs one: what is left out in the other does not count.
    found = find(RING, 0, 1, candidates=1, images=[4, 5, 2, 3], pairs=[(0, 7), (0, 6), (0, 9)])
    assert found.images.tolist() == [[8]]
    # Means by distance from 0: concept 2 (25), 1 (55), 4 (92.5), 3 (122.5); 3 is never needed.
    assert (found.replaced, found.left_out.tolist()) == (2, [0, 0, 0, 5])


def test_a_set_full_of_copies_takes_few_rounds(monkeypatch):
    gallery = plane(*([number] for number in range(64)))
    rounds = []
    searcher = make(gallery, images=range(1, 60))
    nearest = searcher.nearest
    searcher.nearest = lambda *arguments: rounds.append(1) or nearest(*arguments)
    found = negatives(searcher, np.array([0]), [np.arange(64)], 2, 2)
    assert found.images.tolist() == [[60, 61]]
    assert found.replaced == 59
    assert len(rounds) <= 6


def test_an_exhausted_pool_is_left_short():
    found = find(RING, 0, 2, images=[2, 3, 4, 5, 8, 9])
    assert found.images.tolist() == [[6, -1]]
    assert found.counts().tolist() == [1]
    assert find(RING, 0, 2, pools=[np.array([0])]).counts().tolist() == [0]
    assert find(RING, 0, 2, pools=[np.zeros(0, np.int64)]).counts().tolist() == [0]


def test_a_second_pool_fills_what_the_first_leaves_free():
    pools = [np.array([0, 3]), np.array([1, 2, 4])]
    found = find(RING, 0, 3, pools=pools)
    assert found.images.tolist() == [[6, 2, 4]], "first the first pool's, though others are nearer"
    assert find(RING, 0, 1, pools=pools).images.tolist() == [[6]]


def test_equal_cosines_go_to_the_lower_index(monkeypatch):
    gallery = plane([0], [40, -40], [-40, 40], [40], [90])
    for pairs in (1, 2, 100):
        monkeypatch.setattr(module, "PAIRS", pairs)
        assert find(gallery, 0, 2).images.tolist() == [[1, 3]]
        assert find(gallery, 0, 2, images=[1]).images.tolist() == [[2, 3]]
        assert find(gallery, 0, 1, candidates=1).images.tolist() == [[1]]


@pytest.mark.parametrize(("farthest", "expected"), [(True, [2, 2, 0, -1]), (False, [1, 0, 1, -1])])
def test_positives_are_the_least_or_most_similar_of_the_concept(farthest, expected):
    gallery = plane([0, 20, 50], [21])
    found = positives(make(gallery), np.array([0, 1, 2, 3]), farthest=farthest)
    assert found.images.ravel().tolist() == expected
    assert found.left_out.tolist() == [0, 0, 0, 0]
    assert positives(make(gallery, similarity=0.0), np.array([0]), farthest=False).counts().tolist() == [1], "counts for negatives alone"


def test_offers_keep_the_best_of_old_and_new():
    chosen = Chosen.none(3, 2)
    chosen.offer(np.array([2, 0, 2, 2]), np.array([5, 1, 3, 4]), np.array([0.5, 0.1, 0.7, 0.5]))
    assert chosen.images.tolist() == [[1, -1], [-1, -1], [3, 4]]
    chosen.offer(np.array([2, 0]), np.array([9, 2]), np.array([0.6, 0.1]))
    assert chosen.images.tolist() == [[1, 2], [-1, -1], [3, 9]]
    assert chosen.cosines.tolist() == [[0.1, 0.1], [0.0, 0.0], [0.7, 0.6]]
    assert chosen.counts().tolist() == [2, 0, 2]


def test_filling_appends_and_adds_the_counts():
    chosen, other = Chosen.none(3, 2), Chosen.none(2, 2)
    chosen.offer(np.array([0, 1, 1]), np.array([1, 2, 3]), np.array([0.1, 0.3, 0.2]))
    other.offer(np.array([0, 0, 1]), np.array([7, 8, 9]), np.array([0.9, 0.8, 0.7]))
    other.left_out[1], other.replaced = 4, 2
    chosen.fill(np.array([0, 2]), other)
    assert chosen.images.tolist() == [[1, 7], [2, 3], [9, -1]]
    assert chosen.cosines.tolist() == [[0.1, 0.9], [0.3, 0.2], [0.7, 0.0]]
    assert (chosen.left_out.tolist(), chosen.replaced) == ([0, 4, 0, 0], 2)
