"""A subset sum: which k of some numbers add up nearest to a target, exactly, in little memory.

A number v weighs W + v, so that one sum tells how many there are and what they add up to; the bits of an integer are the sums that can
be reached. With W above the distance from the sums that are looked for to the least and to the greatest sum of k, no other count
comes there: j fewer would have to make up for j·W, and so would j more.
"""

import operator
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from workflow_scripts.core.seeded import rank

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Shift = Callable[[int, int], int]


class Part(NamedTuple):
    """Places of one weight."""

    weight: int
    places: list[int]

    def times(self, top: int) -> int:
        """How many of them a sum up to `top` can hold."""
        return min(len(self.places), top // self.weight)


class Block(NamedTuple):
    """Places of which at least one is taken where it is `needed`; otherwise it has one part."""

    needed: bool
    parts: list[Part]


class NearestSum:
    """The search of a core for sums that are no farther from the target than the present one.

    Attributes:
        top: the largest sum of weights that it looks at, which is also the bits of its integers.
        work: how many bits it shifts, about.
    """

    def __init__(self, counts: Ints, groups: Ints, chosen: Flags, core: Flags, target: int) -> None:
        """Set up the weights; nothing is searched yet.

        Args:
            counts: what is added up [n].
            groups: of which each has to have a chosen one [n], numbered from 0.
            chosen: the present choice [n], which does.
            core: what the search may change [n].
            target: of the sum of the chosen.
        """
        self._fixed = chosen & ~core
        k, goal = int((chosen & core).sum()), target - int(counts[self._fixed].sum())
        within = abs(target - int(counts[chosen].sum()))
        places = np.flatnonzero(core)
        # What is too large beside the k - 1 smallest, or too small beside the k - 1 largest, is in no such sum.
        smallest, largest = _ends(counts[places], k - 1)
        places = places[(counts[places] <= goal + within - smallest) & (counts[places] >= goal - within - largest)]
        least = int(counts[places].min())
        step = int(np.gcd.reduce(counts[places] - least)) or 1
        values = (counts[places] - least) // step
        smallest, largest = _ends(values, k)
        low = max(smallest, -((within - goal + k * least) // step))
        high = min(largest, (goal + within - k * least) // step)
        above = max(largest - low, high - smallest) + 1
        self.top = k * above + high
        self._gaps = [abs(k * least + step * total - goal) for total in range(high, low - 1, -1)]
        # One group is covered by any choice.
        needed = set(groups[core].tolist()) - set(groups[self._fixed].tolist()) if groups.any() else set()
        self._blocks = _blocks((above + values).tolist(), groups[places].tolist(), places.tolist(), needed)
        self.work = self.top * sum((1 + block.needed) * part.times(self.top).bit_length() for block in self._blocks for part in block.parts)

    def solve(self, seed: int) -> Flags:
        """A best choice: the fixed ones and, of the core, what comes nearest to the target. Several are told apart by the seed."""
        ends = _reach(1 << self.top, self._blocks, operator.rshift, self.top)
        below = min(
            (below for below in range(len(self._gaps)) if ends >> below & 1), key=lambda below: (self._gaps[below], rank(seed, below))
        )
        chosen = self._fixed.copy()
        chosen[_split(self._blocks, self.top - below, seed)] = True
        return chosen


def _ends(values: Ints, k: int) -> tuple[int, int]:
    """The sum of the k smallest, and of the k largest."""
    ascending = np.sort(values)
    return int(ascending[:k].sum()), int(ascending[len(values) - k :].sum())


def _blocks(weights: list[int], groups: list[int], places: list[int], needed: set[int]) -> list[Block]:
    """The places by weight, those of each needed group apart."""
    found: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for weight, group, place in zip(weights, groups, places, strict=True):
        found[group if group in needed else -1][weight].append(place)
    free = found.pop(-1, {})
    blocks = [Block(needed=False, parts=[Part(weight, free[weight])]) for weight in sorted(free)]
    return blocks + [
        Block(needed=True, parts=[Part(weight, found[group][weight]) for weight in sorted(found[group])]) for group in sorted(found)
    ]


def _reach(bits: int, blocks: list[Block], shift: Shift, top: int) -> int:
    """Where the bits get to by some of the blocks' weights; `top` is the largest sum that matters."""
    for block in blocks:
        taken = 0
        for part in block.parts:
            if block.needed:
                first = spread(shift(bits, part.weight), part.weight, part.times(top) - 1, shift)
                taken = spread(taken, part.weight, part.times(top), shift) | first
            else:
                taken = spread(bits, part.weight, part.times(top), shift)
        bits = taken
    return bits


def spread(bits: int, weight: int, times: int, shift: Shift) -> int:
    """The bits, shifted by 0 to `times` weights."""
    done = 0
    while done < times:
        more = min(done + 1, times - done)
        bits |= shift(bits, more * weight)
        done += more
    return bits


def _split(blocks: list[Block], total: int, seed: int) -> list[int]:
    """Places whose weights add up to a total that the blocks reach: two halves meet, again and again, so that no table is kept."""
    if not total:
        return []
    if len(blocks) == 1:
        parts = blocks[0].parts
        if len(parts) == 1:
            return parts[0].places[: total // parts[0].weight]
        blocks = [Block(needed=False, parts=[part]) for part in parts]  # a total above 0 takes at least one of them
    half = len(blocks) // 2
    lower = _meet(blocks[:half], blocks[half:], total, rank(seed, len(blocks), total))
    return _split(blocks[:half], lower, seed) + _split(blocks[half:], total - lower, seed)


def _meet(lower: list[Block], upper: list[Block], total: int, chance: int) -> int:
    """A sum of the lower blocks that one of the upper blocks brings to the total."""
    within = (1 << total + 1) - 1
    sums = _reach(1, lower, lambda bits, by: bits << by & within, total) & _reach(1 << total, upper, operator.rshift, total)
    at = chance % sums.bit_length()
    return at + _lowest(sums >> at)


def _lowest(bits: int) -> int:
    return (bits & -bits).bit_length() - 1
