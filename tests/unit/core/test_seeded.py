"""Chance from names alone: what it depends on, what it does not, and that it is even."""

import hashlib
import itertools
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from workflow_scripts.core.seeded import pick, rank, shuffled

REPO = Path(__file__).parents[3]
# The 0.1 % point of the chi-square distribution by degrees of freedom (NIST/SEMATECH e-Handbook, 1.3.6.7.4).
CHI_SQUARE = {5: 20.515, 9: 27.877}


def chi_square(counts, cells):
    expected = counts.total() / cells
    return sum((count - expected) ** 2 / expected for count in counts.values()) + (cells - len(counts)) * expected


def test_a_rank_is_half_a_hash_of_the_parts():
    digest = hashlib.sha256(b"\x0023\x00mug\x00caf\xc3\xa9, 1.jpg").hexdigest()
    assert rank(23, "mug", "café, 1.jpg") == int(digest[:32], 16)


def test_a_rank_never_changes():
    # From `printf '\00042\000mug\000a.jpg' | sha256sum`: what people have published depends on it.
    assert f"{rank(42, 'mug', 'a.jpg'):032x}" == "1b70111f96af095d5b184e1952957df7"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c"), ("a", "bc")),
        (("a",), ("a", "")),
        (("", "a"), ("a", "")),
        (("a", "b"), ("b", "a")),
        ((1, 23), (12, 3)),
        (("é",), ("e\u0301",)),
        (("a",), ("A",)),
    ],
)
def test_other_parts_have_another_rank(one, other):
    assert rank(*one) != rank(*other)


def test_a_number_is_its_text():
    assert rank(7, "a") == rank("7", "a")
    assert rank(-7) == rank("-7") != rank(7)


def test_a_name_that_is_no_utf8_has_a_rank():
    name = os.fsdecode(b"caf\xe9.jpg")
    assert rank(1, name) == int(hashlib.sha256(b"\x001\x00caf\xe9.jpg").hexdigest()[:32], 16)


@pytest.mark.parametrize("items", [list("abcdefgh"), ["a"], [], ["a", "a", "b"]])
def test_every_item_comes_once(items):
    assert sorted(shuffled(items, 1)) == sorted(items)


def test_the_order_that_items_come_in_does_not_matter():
    wanted = shuffled("abcde", 3, "mug")
    for order in itertools.permutations("abcde"):
        assert shuffled(order, 3, "mug") == wanted
        assert pick(iter(order), 3, "mug") == wanted[0]


def test_one_item_more_moves_no_other():
    items = [f"{number}.jpg" for number in range(50)]
    wanted = shuffled(items, 3)
    for more in ("x.jpg", "0", "50.jpg", ""):
        assert [item for item in shuffled([*items, more], 3) if item != more] == wanted


def test_the_parts_decide():
    items = [f"{number}.jpg" for number in range(20)]
    orders = [tuple(shuffled(items, *parts)) for parts in ((1,), (2,), (1, "mug"), (1, "dog"), ("mug", 1))]
    assert len(set(orders)) == len(orders)
    assert tuple(items) not in orders


def test_there_has_to_be_one_to_pick():
    with pytest.raises(ValueError, match="empty"):
        pick([], 1)


def test_every_order_is_as_likely():
    counts = Counter("".join(shuffled("abc", seed)) for seed in range(6000))
    assert chi_square(counts, 6) < CHI_SQUARE[5]


def test_every_item_is_picked_as_often():
    counts = Counter(pick("0123456789", "seed", name) for name in range(6000))
    assert chi_square(counts, 10) < CHI_SQUARE[9]


def test_it_is_the_same_in_every_process():
    text = "from workflow_scripts.core.seeded import pick, shuffled; print(shuffled({*'abcdefghij'}, 5), pick({*'abcdefghij'}, 6))"
    said = {
        subprocess.run(
            [sys.executable, "-c", text],
            cwd=REPO,
            env=os.environ | {"PYTHONHASHSEED": seed},
            text=True,
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert said == {f"{shuffled('abcdefghij', 5)} {pick('abcdefghij', 6)}\n"}
