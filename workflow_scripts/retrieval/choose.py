"""Choosing k of n concepts whose images come as near to a number as can be.

A random choice is steered to the number by swaps. Where that leaves a gap, a core is searched exactly: some of the chosen concepts
and as many of the others. The core doubles until the gap is as small as any choice's can be, or until the core is everything.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from workflow_scripts.core.seeded import rank
from workflow_scripts.retrieval.nearest_sum import Flags, Ints, NearestSum, Shift, spread

WORK = 1 << 34  # bits that one search may shift: some five seconds
STATE = 1 << 28  # bits of one of its integers: 32 MiB, of which a few live at a time
CHEAP = 1 << 30  # everything is the first core where it takes no more than this
CORE = 32  # concepts in the first core otherwise
MODULI = 1000  # up to which residues are looked at


class Concept(NamedTuple):
    """What can be chosen, and how many images it has."""

    category: str
    name: str
    images: int


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen.

    Attributes:
        indices: of the chosen concepts, ascending.
        total: their images.
        gap: how far the total is from the number that was wanted.
        bound: no choice has a smaller gap than this.
    """

    indices: tuple[int, ...]
    total: int
    gap: int
    bound: int

    @property
    def optimal(self) -> bool:
        """Whether it is proven that no choice is nearer."""
        return self.gap == self.bound


def choose(concepts: Sequence[Concept], k: int, target: int, seed: int, *, cover: bool = False) -> Choice:
    """Choose k concepts whose images come nearest to a number; of several such choices the seed takes one.

    Args:
        concepts: to choose from, no two alike in category and name.
        k: how many, from 1 to all.
        target: how many images are wanted.
        seed: of what is random.
        cover: take at least one concept of every category; there are at most k of them.
    """
    order = sorted(range(len(concepts)), key=lambda index: rank(seed, concepts[index].category, concepts[index].name))
    counts = np.array([concepts[index].images for index in order], dtype=np.int64)
    # Without a cover all are of one group, which any choice covers.
    groups = np.unique([concepts[index].category if cover else "" for index in order], return_inverse=True)[1]
    chosen = _start(groups, k)
    _steer(counts, groups, chosen, target)
    bound = _bound(counts, groups, k, target)
    if _gap(counts, chosen, target) > bound:
        # An order of its own: the first in the other one are those that the steering swapped out.
        mixed = sorted(range(len(order)), key=lambda place: rank(seed, "core", *concepts[order[place]][:2]))
        chosen, bound = _search(counts, groups, chosen, target, bound, np.array(mixed), seed)
    indices = tuple(sorted(order[place] for place in np.flatnonzero(chosen)))
    return Choice(indices, int(counts[chosen].sum()), _gap(counts, chosen, target), bound)


def _search(counts: Ints, groups: Ints, chosen: Flags, target: int, bound: int, mixed: Ints, seed: int) -> tuple[Flags, int]:
    """The best choice of the cores that can be afforded, and a better bound."""
    everything = np.ones_like(chosen)
    sizes = []
    if NearestSum(counts, groups, chosen, everything, target).work > CHEAP:
        bound = max(bound, _bound_by_residues(counts, int(chosen.sum()), target))
        sizes = [CORE << double for double in range(len(chosen).bit_length()) if CORE << double < len(chosen)]
    for core in (*(_core(counts, chosen, mixed, size) for size in sizes), everything):
        search = NearestSum(counts, groups, chosen, core, target)
        if _gap(counts, chosen, target) == bound or search.work > WORK or search.top > STATE:
            return chosen, bound
        chosen = search.solve(seed)
    return chosen, _gap(counts, chosen, target)


def _gap(counts: Ints, chosen: Flags, target: int) -> int:
    return abs(int(counts[chosen].sum()) - target)


def _start(groups: Ints, k: int) -> Flags:
    """The first of each group, and of the others the first."""
    chosen = np.zeros(len(groups), dtype=bool)
    chosen[np.unique(groups, return_index=True)[1]] = True
    chosen[np.flatnonzero(~chosen)[: k - int(chosen.sum())]] = True
    return chosen


def _steer(counts: Ints, groups: Ints, chosen: Flags, target: int) -> None:
    """Swap a chosen one for another, the pair that differs most, while that brings the sum nearer to the target.

    Sets of k that cover the groups are the bases of a matroid: where no single swap leads on, the sum is the least or the
    greatest of all such sets.
    """
    least = np.int64(-(1 << 60))
    while missing := target - int(counts[chosen].sum()):
        values = counts if missing > 0 else -counts
        others = np.where(chosen, least, values)
        best = np.full(int(groups.max()) + 1, least)
        np.maximum.at(best, groups, others)
        # The only one of its group goes for another of the group alone.
        only = np.bincount(groups[chosen], minlength=len(best))[groups] == 1
        gain = np.where(chosen, np.where(only, best[groups], others.max()) - values, least)
        out = int(gain.argmax())
        if not 0 < int(gain[out]) < 2 * abs(missing):
            return
        new = int(np.where(only[out] & (groups != groups[out]), least, others).argmax())
        chosen[out], chosen[new] = False, True


def _bound(counts: Ints, groups: Ints, k: int, target: int) -> int:
    """A gap that none can be below: sums lie between the least and the greatest, in steps of what all differences share."""
    least, greatest = -_greatest(-counts, groups, k), _greatest(counts, groups, k)
    step = int(np.gcd.reduce(counts - counts.min())) or 1
    within = min(max(target, least), greatest)
    below = within - (within - least) % step
    return min(abs(total - target) for total in (below, min(below + step, greatest)))


def _bound_by_residues(counts: Ints, k: int, target: int) -> int:
    """Another such gap: where most counts are alike modulo some number, the others may leave residues that no sum has."""
    bound = 0
    for modulus in range(2, min(int(np.ptp(counts)), MODULI) + 1):
        held = np.bincount(counts % modulus, minlength=modulus)
        usual = int(held.argmax())
        whole = (1 << modulus) - 1
        bits = 1
        for residue in np.flatnonzero(held).tolist():
            if residue != usual:
                bits = spread(bits, (residue - usual) % modulus, min(int(held[residue]), k, modulus - 1), _turning(modulus))
            if bits == whole:
                break
        else:
            away = (target - k * usual) % modulus
            ways = (at - away for at in range(modulus) if bits >> at & 1)
            bound = max(bound, min(min(way % modulus, -way % modulus) for way in ways))
    return bound


def _turning(size: int) -> Shift:
    """A shift of residues: what goes out at the top comes in at the bottom."""
    return lambda bits, by: (bits << by % size | bits >> size - by % size) & (1 << size) - 1


def _greatest(values: Ints, groups: Ints, k: int) -> int:
    """The greatest sum of k that cover the groups."""
    down = np.argsort(-values, kind="stable")
    firsts = np.unique(groups[down], return_index=True)[1]
    others = np.delete(values[down], firsts)[: k - len(firsts)]
    return int(values[down][firsts].sum() + others.sum())


def _core(counts: Ints, chosen: Flags, mixed: Ints, size: int) -> Flags:
    """Some of the chosen and some of the others, half and half as far as they reach, with as many different counts as there are."""
    inside, outside = (_varied(mixed[side[mixed]], counts) for side in (chosen, ~chosen))
    half = min(size // 2, len(inside))
    core = np.zeros(len(chosen), dtype=bool)
    core[inside[:half]] = True
    core[outside[: size - half]] = True
    return core


def _varied(places: Ints, counts: Ints) -> Ints:
    """The places with the first of each count in front, then the second of each, and so on."""
    seen: Counter[int] = Counter()
    turns = []
    for count in counts[places].tolist():
        turns.append(seen[count])
        seen[count] += 1
    return places[np.argsort(np.array(turns), kind="stable")]
