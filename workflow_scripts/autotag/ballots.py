"""autotag 08: which neighbours count in a vote, and the tags that they carry."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.autotag.tag_names import Spelling
from workflow_scripts.core.decisions import Exclusions
from workflow_scripts.core.step import StepError

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rules:
    """How neighbours vote: the settings of `autotag.vote`, where they are described, and `k`."""

    unit: str
    tags: str
    weighting: str
    k: int
    min_votes: int
    min_share: float
    min_similarity: float
    one_vote_per_image: bool
    relax_small: bool
    spelling: Spelling

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """Take what the rules of `autotag` give their steps.

        Raises:
            StepError: the aliases contradict each other.
        """
        names = [name for name in cls.__dataclass_fields__ if name != "spelling"]
        return cls(**{name: settings[name] for name in names}, spelling=Spelling(settings["aliases"]))


@dataclass(frozen=True)
class Ballots:
    """The n neighbours that count, by crop and then nearest first, and the p pairs of one of them and a tag that it carries.

    Attributes:
        crop: the row of each one's crop in the table of crops [n].
        source: which source image it is of, as a place in `sources` [n].
        similarity: cosine to the crop [n].
        segments: the ids of the neighbours' own crops [n].
        row: the neighbour of each pair, as a place in these arrays [p].
        tag: its tag, as a place in `tags` [p].
        tags: the tags as they are written, sorted.
        sources: `{shard}/{key}` of the source images.
        counts: what became of the neighbours that were found; the parts add up to all of them.
    """

    crop: Ints
    source: Ints
    similarity: Floats
    segments: pa.Array
    row: Ints
    tag: Ints
    tags: list[str]
    sources: pa.Array
    counts: dict[str, int]


def choose(crops: pa.Table, neighbours: pa.Table, rules: Rules, exclusions: Exclusions) -> Ballots:
    """Find the neighbours that count; the order of the table's rows does not matter.

    Of all that were found these are left out: those of the target's own image, those of lists to leave out, those that are not
    similar enough, and those without a tag, which can say nothing and so take nobody's place. Of several from one source image
    (known by its content) the nearest is left, then the first k of each crop count.

    Args:
        crops: columns `image`, `crop_id`.
        neighbours: the table NEIGHBOURS.
        rules: of the vote.
        exclusions: source images that may not vote.

    Raises:
        StepError: a neighbour is one of a crop that is not there.
    """
    crop = _crops_of(neighbours, crops)
    order = np.lexsort((_numbers(neighbours["rank"]), crop))
    found, crop = neighbours.take(pa.array(order)).combine_chunks(), crop[order]
    names = _whole(pc.binary_join_element_wise(found["neighbour_shard"], found["neighbour_key"], "/")).dictionary_encode()
    content = _codes(found["neighbour_sha256"].combine_chunks().dictionary_encode())
    similarity = _numbers(found["similarity"])
    row, tag, tags = _tags_of(found, rules)
    flags = {
        "own": np.asarray(pc.equal(found["sha256"], found["neighbour_sha256"]), dtype=bool),
        "excluded": _excluded(names, found["neighbour_sha256"], exclusions),
        "dissimilar": similarity < rules.min_similarity,
        "untagged": np.bincount(row, minlength=len(crop)) == 0,
    }
    counts, left_out = {}, np.zeros(len(crop), dtype=bool)
    for name, which in flags.items():
        counts[name] = int((which & ~left_out).sum())
        left_out |= which
    rows = np.flatnonzero(~left_out)
    nearest = rows[first_of(crop[rows], content[rows])] if rules.one_vote_per_image else rows
    counted = nearest[place_in_group(crop[nearest]) < rules.k]
    counts |= {"same_image": len(rows) - len(nearest), "beyond_k": len(nearest) - len(counted), "counted": len(counted)}
    new = np.full(len(crop), -1)
    new[counted] = np.arange(len(counted))
    row, tag = _once(new[row], tag, len(tags))
    segments = found["neighbour_crop_id"].combine_chunks().take(pa.array(counted))
    voters = crop[counted], _codes(names)[counted], similarity[counted], segments
    return Ballots(*voters, row, tag, tags, names.dictionary, counts)


def first_of(group: Ints, member: Ints) -> Ints:
    """The places where a member of a group stands for the first time, ascending; numbers from 0 on [n]."""
    width = int(member.max(initial=0)) + 1
    _, places = np.unique(group * width + member, return_index=True)
    return np.sort(places)


def place_in_group(group: Ints) -> Ints:
    """The place of each within its group, from 0 on, where those of a group stand together, groups ascending [n]."""
    return np.arange(len(group)) - np.searchsorted(group, group)


def _crops_of(neighbours: pa.Table, crops: pa.Table) -> Ints:
    """The row of each neighbour's crop."""
    # A crop's id alone will not do: a.jpg and a.png have the same.
    joined = [pc.binary_join_element_wise(table["image"], table["crop_id"], "\0") for table in (neighbours, crops)]
    places = pc.index_in(joined[0], _whole(joined[1]))
    if places.null_count:
        strange = joined[0].filter(pc.is_null(places))[0].as_py().partition("\0")
        raise StepError(
            f"neighbours.parquet: names the crop {strange[2]} of {strange[0]}, which the embeddings do not; delete it, and it is made again"
        )
    return _numbers(places)


def _tags_of(found: pa.Table, rules: Rules) -> tuple[Ints, Ints, list[str]]:
    """The pairs of a row and a tag that it carries, some perhaps twice, by row; and the tags, sorted."""
    column = found["label" if rules.tags == "label" else "tags"].combine_chunks()
    if rules.tags == "label":
        row, values = np.arange(len(column)), column
    else:
        row, values = _numbers(pc.list_parent_indices(column)), pc.list_flatten(column)
    encoded = values.dictionary_encode()
    written = rules.spelling.all(encoded.dictionary.to_pylist())
    tags = sorted(set(written) - {""})
    place = {tag: number for number, tag in enumerate(tags)}
    places = np.array([place.get(tag, -1) for tag in written] + [-1], dtype=np.int64)  # the last is that of null
    tag = places[_codes(encoded)]
    return row[tag >= 0], tag[tag >= 0], tags


def _once(row: Ints, tag: Ints, tags: int) -> tuple[Ints, Ints]:
    """The pairs of a row and a tag, each once, by row and then by tag; those of a row below 0 are left out."""
    width = max(1, tags)
    keys = np.sort((row * width + tag)[row >= 0], kind="stable")  # nearly sorted as they are: much faster than np.unique
    return np.divmod(keys[np.diff(keys, prepend=-1) > 0], width)


def _excluded(names: pa.DictionaryArray, contents: pa.ChunkedArray, exclusions: Exclusions) -> Flags:
    """Whether the lists name each row's source image [n]; each image is looked up once."""
    codes = _codes(names)
    if not exclusions.counts:
        return np.zeros(len(codes), dtype=bool)
    _, first = np.unique(codes, return_index=True)
    pairs = zip(names.dictionary.to_pylist(), contents.take(pa.array(first)).to_pylist(), strict=True)
    return np.array([exclusions.find(name, sha256) is not None for name, sha256 in pairs], dtype=bool)[codes]


def _codes(encoded: pa.DictionaryArray) -> Ints:
    """The codes of a dictionary array; -1 for null."""
    return np.asarray(pc.fill_null(encoded.indices, -1), dtype=np.int64)


def _numbers(column: pa.ChunkedArray | pa.Array) -> npt.NDArray[Any]:
    """A column of numbers as an array: floats as they are, whole ones as int64."""
    values = column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
    return values if values.dtype.kind == "f" else values.astype(np.int64)


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
