"""Which FAISS index suits how many vectors, how one is made, and what it is like."""

from dataclasses import dataclass
from typing import Any

from workflow_scripts.core.step import StepError

EXACT_BELOW, WHOLE_BELOW = 50_000, 1_000_000  # rows up to which all are compared, and up to which lists hold whole vectors
LISTS = ((10_000_000, 16_384), (300_000_000, 65_536), (None, 131_072))  # below so many rows: so many lists
PARTS = 64  # bytes of a row's code
FEWEST, ENOUGH = 39, 64  # training points a list: FAISS's own minimum, and what more of improves little
CENTROIDS = 256  # of each part of a code


@dataclass(frozen=True)
class Suited:
    """The index that suits a number of rows.

    Attributes:
        factory: FAISS's text for it.
        low: the fewest rows that it suits.
        high: the first number of rows that another suits; None for no end.
    """

    factory: str
    low: int
    high: int | None


def suited(rows: int, d: int) -> Suited:
    """Which index suits so many rows of `d` dimensions."""
    if rows < EXACT_BELOW:
        return Suited("Flat", 0, EXACT_BELOW)
    low = WHOLE_BELOW
    if rows < low:
        # The power of two nearest to 4·√rows: 4·√rows lies between 3/4 and 3/2 of it.
        lists = next(power for power in (1 << bit for bit in range(32)) if rows < (3 * power / 8) ** 2)
        return Suited(_whole(lists), max(EXACT_BELOW, (3 * lists // 16) ** 2), min(low, (3 * lists // 8) ** 2))
    for high, lists in LISTS:
        if high is None or rows < high:
            return Suited(_coded(lists, d), low, high)
        low = high
    raise AssertionError("the last has no end")


def largest(points: int, d: int) -> str:
    """The largest index that so many training points are enough for."""
    for _, lists in reversed(LISTS):
        if points >= FEWEST * lists:
            return _coded(lists, d)
    lists = 1 << max(0, (points // FEWEST).bit_length() - 1)
    return _whole(lists) if lists > 1 else "Flat"


def _whole(lists: int) -> str:
    return f"IVF{lists},Flat"


def _coded(lists: int, d: int) -> str:
    # Parts have one width. `np`: polysemous training takes 20 times as long and is of no use here.
    parts = next(parts for parts in range(PARTS, 0, -1) if d % parts == 0)
    return f"OPQ{parts},IVF{lists},PQ{parts}x8np"


@dataclass(frozen=True)
class Kind:
    """What an index is like.

    Attributes:
        d: dimensions.
        lists: that rows are sorted into; 0 where each search looks at all rows.
        codes: whether it holds codes, from which a vector comes back only roughly.
        row_bytes: that a row takes.
        fewest: training points it needs; 0 where there is nothing to train.
        enough: training points that are enough.
    """

    d: int
    lists: int
    codes: bool
    row_bytes: int
    fewest: int
    enough: int

    @classmethod
    def of(cls, index: Any) -> "Kind":
        """Look at an index."""
        inverted, stored = inverted_part(index), storage(index)
        lists = inverted.nlist if inverted else 0
        codes = stored.code_size < 4 * index.d
        codebook = stored.pq.ksub if hasattr(stored, "pq") else 0
        return cls(
            d=index.d,
            lists=lists,
            codes=codes,
            row_bytes=stored.code_size + (8 if lists else 0),
            fewest=0 if index.is_trained else FEWEST * max(lists, codebook),
            enough=0 if index.is_trained else ENOUGH * max(lists, CENTROIDS if codes else 0),
        )


def make(factory: str, d: int) -> Any:
    """An index without rows, not trained.

    Raises:
        StepError: FAISS makes no such index, or none that can be filled in parts and merged.
    """
    import faiss

    try:
        index = faiss.index_factory(d, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise StepError(f"{factory}: FAISS makes no such index of {d} dimensions: {in_words(error)}") from None
    stored = storage(index)
    if not isinstance(stored, (faiss.IndexIVF, faiss.IndexFlatCodes)) or isinstance(stored, faiss.IndexIVFFastScan):
        raise StepError(f"{factory}: such an index cannot be put together from parts; use Flat, PQ or SQ, with or without IVF before it")
    return index


def storage(index: Any) -> Any:
    """The part of an index that holds the rows, behind whatever turns vectors before."""
    import faiss

    index = faiss.downcast_index(index)
    while isinstance(index, faiss.IndexPreTransform):
        index = faiss.downcast_index(index.index)
    return index


def inverted_part(index: Any) -> Any:
    """The part of an index that sorts rows into lists, or None."""
    import faiss

    return faiss.try_extract_index_ivf(index)


def in_words(error: RuntimeError) -> str:
    """What FAISS says, without the place in its source."""
    return str(error).split(": ", 1)[-1]
