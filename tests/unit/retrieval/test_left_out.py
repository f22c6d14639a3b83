"""Which pairs of a query and an image are left out, and under which reason they count."""

import numpy as np
import pytest

from workflow_scripts.retrieval.gallery import Gallery
from workflow_scripts.retrieval.left_out import REASONS, LeftOut

SAME, NEAR, SIMILAR, REVIEW = 1, 2, 4, 8


def gallery(contents, phashes):
    """Images of one concept, of which only hashes matter."""
    count = len(contents)
    vectors = np.ones((count, 1), dtype=np.float16)
    names = [str(number) for number in range(count)]
    return Gallery([("c", "x")], np.array([0, count]), names, names, contents, np.array(phashes, np.uint64), vectors, {})


def everything(left_out, count, cosines=None):
    rows = np.arange(count)
    return left_out.flags(rows[:, None], rows[None], cosines)


def test_copies_and_near_copies_are_left_out():
    pictures = [0, 0, 0b1111, 0b11111, (1 << 64) - 1]
    left_out = LeftOut(gallery(["a", "a", "b", "c", "d"], pictures), duplicate_similarity=None)
    assert everything(left_out, 5).tolist() == [
        [SAME | NEAR, SAME | NEAR, NEAR, 0, 0],
        [SAME | NEAR, SAME | NEAR, NEAR, 0, 0],
        [NEAR, NEAR, SAME | NEAR, NEAR, 0],
        [0, 0, NEAR, SAME | NEAR, 0],
        [0, 0, 0, 0, SAME | NEAR],
    ]


def test_the_same_bytes_are_left_out_whatever_their_pictures_look_like():
    left_out = LeftOut(gallery(["a", "a"], [0, 255]), duplicate_similarity=None)
    assert everything(left_out, 2).tolist() == [[SAME | NEAR, SAME], [SAME, SAME | NEAR]]


def test_similar_images_are_left_out_where_cosines_count():
    left_out = LeftOut(gallery(["a", "b", "c"], [0, 1 << 20 | 0xFF, 0xFFFF0000]), duplicate_similarity=0.75)
    cosines = np.array([[0.5, 0.75, 0.7499999], [1.0, 0.5, -1.0], [0.5, 0.5, 0.5]])
    assert (everything(left_out, 3, cosines) & SIMILAR).tolist() == [[0, SIMILAR, 0], [SIMILAR, 0, 0], [0, 0, 0]]
    assert not (everything(left_out, 3) & SIMILAR).any()
    without = LeftOut(gallery(["a", "b", "c"], [0, 255, 255 << 8]), duplicate_similarity=None)
    assert not (everything(without, 3, cosines) & SIMILAR).any()


def test_reviews_leave_out_images_and_pairs():
    left_out = LeftOut(
        gallery(list("abcd"), [0, 255, 255 << 8, 255 << 16]), duplicate_similarity=None, images=[2], pairs=[(0, 3), (3, 1), (0, 2)]
    )
    reviewed = everything(left_out, 4) & REVIEW
    assert np.argwhere(reviewed).tolist() == [[0, 2], [0, 3], [1, 2], [2, 2], [3, 1], [3, 2]]
    assert left_out.dropped.tolist() == [False, False, True, False]
    queries, images = np.array([0, 3, 1, 0]), np.array([3, 0, 2, 1])
    assert left_out.flags(queries, images).tolist() == [REVIEW, 0, REVIEW, 0]


def test_a_pair_counts_under_its_first_reason_and_a_query_not_at_all():
    left_out = LeftOut(gallery(list("aabcd"), [0, 0, 1, 255, 255 << 8]), duplicate_similarity=0.9, images=[3, 4], pairs=[(0, 2)])
    queries, images = np.array([0, 3]), np.arange(5)
    cosines = np.array([[1.0, 1.0, 1.0, 0.95, 0.1], [0.0, 0.0, 0.95, 1.0, 0.0]])
    flags = left_out.flags(queries[:, None], images[None], cosines)
    assert REASONS == ("same bytes", "near copy", "duplicate_similarity", "review")
    assert left_out.tally(flags, queries, images).tolist() == [[1, 1, 1, 1], [0, 0, 1, 1]]
    assert left_out.count(flags[0, 1:]).tolist() == [1, 1, 1, 1]
    assert left_out.count(flags[:, :0].ravel()).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("images", [[], [0]])
def test_no_images_is_no_matter(images):
    left_out = LeftOut(gallery([], []), duplicate_similarity=None)
    assert everything(left_out, 0).shape == (0, 0)
