"""autotag 08: the counting: from the neighbours that count to each image's tags with their votes."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from workflow_scripts.autotag.ballots import Ballots, Floats, Ints, Rules, first_of, place_in_group
from workflow_scripts.autotag.tables import CANDIDATES, EXAMPLES

DIGITS = 6  # of weights and similarities: sums of floats are the same to here
NO_CROPS = "no part of it could be embedded"
NO_NEIGHBOURS = "no neighbour of its parts counts"
NO_AGREEMENT = "its neighbours agree on no tag"
COLUMNS = tuple(name for name, _ in CANDIDATES if name not in ("sha256", "outcome", "reason"))

Rarity = Callable[[Sequence[str]], Floats]


def least_carriers(share: float, neighbours: int) -> Ints:
    """How many of 0, 1, … neighbours are at least this share of them [neighbours + 1].

    The share is the decimal number that stands in the settings: 0.3 of 10 is 3, whatever the nearest float makes of it.
    """
    exact = Fraction(str(share))
    return np.array([-(-exact * count // 1) for count in range(neighbours + 1)], dtype=np.int64)


def needed(crops: Ints, rules: Rules) -> Ints:
    """How many votes the tags of images with so many crops need [n]."""
    if rules.unit == "neighbour" or not rules.relax_small:
        return np.full(len(crops), rules.min_votes)
    return np.clip(crops, 1, rules.min_votes)


def tally(images: Sequence[str], image: Ints, crop_ids: pa.Array, ballots: Ballots, rules: Rules, rarity: Rarity) -> pa.Table:
    """Count the votes: a row for each image and tag that has any, with `COLUMNS`, in no order.

    With the unit `crop`, a crop votes once for each tag that at least `min_share` of its neighbours carry, of those that count and
    however few they are; with `neighbour` each neighbour of each crop votes for each of its tags. The weight orders tags of equal
    votes: by `count` it is how many neighbours carried them, by `similarity` the sum of their cosines, by `idf` the votes times the
    tag's rarity.

    Args:
        images: names of the n images.
        image: which of them each crop is of, as a place [c].
        crop_ids: of the crops [c].
        ballots: neighbours that count.
        rules: of the vote.
        rarity: gives that of tags.
    """
    width = max(1, len(ballots.tags))
    crop = ballots.crop[ballots.row]
    cells, cell, carriers = np.unique(crop * width + ballots.tag, return_inverse=True, return_counts=True)  # of a crop and a tag
    votes = _votes(cells // width, carriers, np.bincount(ballots.crop, minlength=len(image)), rules)
    passed = votes > 0
    heard = passed[cell]
    names, of_cell = np.unique(image[cells[passed] // width] * width + cells[passed] % width, return_inverse=True)
    of_pair = of_cell[(np.cumsum(passed) - 1)[cell[heard]]]
    row, size = ballots.row[heard], len(names)
    total = np.bincount(of_cell, weights=votes[passed], minlength=size).astype(np.int64)
    number = np.bincount(of_pair, minlength=size)
    cosines = np.bincount(of_pair, weights=ballots.similarity[row], minlength=size)
    tags = pa.array(ballots.tags, pa.string())
    weight = {"count": number, "similarity": cosines}.get(rules.weighting)
    columns: dict[str, Any] = {
        "image": pa.array(images, pa.string()).take(pa.array(names // width)),
        "tag": tags.take(pa.array(names % width)),
        "votes": total,
        "needed": needed(np.bincount(image, minlength=len(images)), rules)[names // width],
        "weight": _rounded(total * rarity(ballots.tags)[names % width] if weight is None else weight),
        "crops": _crops(of_cell, cells[passed] // width, crop_ids, size),
        "similarity": _rounded(cosines / np.maximum(number, 1)),
    }
    columns |= _neighbours(of_pair, row, crop_ids, ballots, size)
    schema = pa.schema([field for field in CANDIDATES if field[0] in COLUMNS])
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _votes(crop: Ints, carriers: Ints, neighbours: Ints, rules: Rules) -> Ints:
    """The votes of each pair of a crop and a tag, 0 for none [n]."""
    if rules.unit == "neighbour":
        return carriers
    least = least_carriers(rules.min_share, int(neighbours.max(initial=0)))
    return (carriers >= least[neighbours[crop]]).astype(np.int64)


def _crops(candidate: Ints, crop: Ints, crop_ids: pa.Array, size: int) -> pa.ListArray:
    """The ids of the crops that voted for each candidate, in the order of the crops."""
    order = np.lexsort((crop, candidate))
    return _lists(candidate[order], crop_ids.take(pa.array(crop[order])), size)


def _neighbours(candidate: Ints, row: Ints, crop_ids: pa.Array, ballots: Ballots, size: int) -> dict[str, pa.ListArray]:
    """The source images of the neighbours that voted for each candidate, nearest first, and what the first of them look like."""
    order = np.lexsort((row, -ballots.similarity[row], candidate))
    order = order[first_of(candidate[order], ballots.source[row[order]])]
    candidate, row = candidate[order], row[order]
    shown = place_in_group(candidate) < EXAMPLES
    crops = crop_ids.take(pa.array(ballots.crop[row[shown]]))
    similarity = pa.array(_rounded(ballots.similarity[row[shown]]))
    segments = ballots.segments.take(pa.array(row[shown]))
    examples = pa.StructArray.from_arrays([crops, segments, similarity], names=["crop", "segment", "similarity"])
    return {
        "neighbours": _lists(candidate, ballots.sources.take(pa.array(ballots.source[row])), size),
        "examples": _lists(candidate[shown], examples, size),
    }


def _lists(group: Ints, values: pa.Array, size: int) -> pa.ListArray:
    """Values as a list for each group; those of a group stand together, groups ascending."""
    ends = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=size))])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values)


def _rounded(values: npt.NDArray[Any]) -> Floats:
    rounded: Floats = np.round(values.astype(np.float64), DIGITS) + np.float64(0)  # no minus zero
    return rounded


def silent(images: Sequence[str], image: Ints, ballots: Ballots, voted: set[str]) -> dict[str, str]:
    """Why nothing voted for an image's tags, for those where nothing did."""
    crops = np.bincount(image, minlength=len(images))
    neighbours = np.bincount(image[ballots.crop], minlength=len(images))
    reasons = (NO_CROPS, NO_NEIGHBOURS, NO_AGREEMENT)
    told = zip(images, ((crops > 0).astype(int) + (neighbours > 0)).tolist(), strict=True)
    return {name: reasons[place] for name, place in told if name not in voted}
