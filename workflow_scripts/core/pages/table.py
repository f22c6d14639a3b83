"""A page's table: checked, and read column by column, so that a million rows never become Python objects."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts.core.pages.model import ROLES, Page
from workflow_scripts.core.step import StepError

REQUIRED = ("id", "name", "outcome", "reason", "link", "images")
OPTIONAL = ("label", "links", "tags", "boxes", "captions", "members", "decision", "fixed")
HUMAN = "human"  # the reason of what a person decided in an earlier round
NAMED = 10
_BATCH = 65_536

Codes = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]


class Table:
    """A Parquet file or an Arrow table with the columns of a page."""

    def __init__(self, source: Path | pa.Table, page: Page) -> None:
        """Check that the columns are there.

        Raises:
            StepError: naming a column that is missing.
        """
        self._source = source
        schema = source.schema if isinstance(source, pa.Table) else pq.read_schema(source)
        self.where = "the page's table" if isinstance(source, pa.Table) else str(source)
        needed = (*REQUIRED, *(number.column for number in page.shown_numbers()))
        missing = [name for name in needed if name not in schema.names]
        if missing:
            raise StepError(f"{self.where}: has no column {', '.join(missing)}; its columns are {', '.join(schema.names)}")
        self.columns = [*dict.fromkeys(needed), *(name for name in OPTIONAL if name in schema.names)]

    def __contains__(self, column: str) -> bool:
        return column in self.columns

    def column(self, name: str) -> pa.ChunkedArray:
        """One column of all rows."""
        table = self._source if isinstance(self._source, pa.Table) else pq.read_table(self._source, columns=[name])
        return table[name]

    def texts(self, name: str) -> pa.ChunkedArray:
        """A column of texts, null as empty."""
        return pc.fill_null(self.column(name).cast(pa.string()), "")

    def numbers(self, name: str) -> Floats:
        """A column of numbers; NaN where there is none or it is not finite."""
        values = np.asarray(self.column(name).cast(pa.float64()).to_numpy(), dtype=np.float64).copy()
        values[~np.isfinite(values)] = np.nan
        return values

    def take(self, rows: Indices) -> pa.Table:
        """Some rows with all columns of a page, in the order of the table."""
        taken, start = [], 0
        for batch in self._batches():
            inside = rows[(rows >= start) & (rows < start + len(batch))]
            taken.append(batch.take(pa.array(inside - start)))
            start += len(batch)
        return pa.Table.from_batches(taken) if taken else self._empty()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        if isinstance(self._source, pa.Table):
            return iter(self._source.select(self.columns).to_batches(_BATCH))
        return pq.ParquetFile(self._source).iter_batches(_BATCH, columns=self.columns)

    def _empty(self) -> pa.Table:
        schema = self._source.schema if isinstance(self._source, pa.Table) else pq.read_schema(self._source)
        return pa.schema([schema.field(name) for name in self.columns]).empty_table()


@dataclass(frozen=True)
class Scan:
    """What counting and sampling need of every row, as arrays.

    Attributes:
        outcome: code of the row's outcome [n].
        outcomes: the outcomes' names, those of the page first.
        role: index into `ROLES` [n].
        person: a person decided about it [n].
        fixed: the table says that thresholds do not decide about it [n].
        numbers: by column [n].
        order: hash of the name [n]; ascending it is a random order, the same on every machine.
    """

    outcome: Codes
    outcomes: list[str]
    role: npt.NDArray[np.int8]
    person: Flags
    fixed: Flags
    numbers: dict[str, Floats]
    order: Hashes

    def __len__(self) -> int:
        return len(self.order)


def scan(table: Table, page: Page) -> Scan:
    """Read what counting and sampling need.

    Raises:
        StepError: two rows have one name.
    """
    outcomes = list(page.outcomes)
    encoded = table.texts("outcome").combine_chunks().dictionary_encode()
    found = encoded.dictionary.to_pylist()
    outcomes += sorted(set(found) - set(outcomes))
    places = np.array([outcomes.index(name) for name in found], dtype=np.int32)
    codes = places[np.asarray(encoded.indices)] if found else np.zeros(0, np.int32)
    roles = np.array([ROLES.index(page.outcomes.get(name, "other")) for name in outcomes], dtype=np.int8)
    person = np.asarray(pc.equal(table.texts("reason"), HUMAN), dtype=bool)
    if "decision" in table:
        person |= np.asarray(pc.not_equal(table.texts("decision"), ""), dtype=bool)
    fixed = np.asarray(pc.fill_null(table.column("fixed"), False), dtype=bool) if "fixed" in table else np.zeros(len(person), bool)
    numbers = {number.column: table.numbers(number.column) for number in page.shown_numbers()}
    return Scan(codes, outcomes, roles[codes], person, fixed, numbers, _name_hashes(table))


def _name_hashes(table: Table) -> Hashes:
    names = table.texts("name")
    parts = [
        b"".join(hashlib.blake2b(name.encode(), digest_size=8).digest() for name in chunk.slice(start, _BATCH).to_pylist())
        for chunk in names.chunks
        for start in range(0, len(chunk), _BATCH)
    ]
    hashes = np.frombuffer(b"".join(parts), dtype="<u8").astype(np.uint64)
    values, counts = np.unique(hashes, return_counts=True)
    if len(values) < len(hashes):
        twice = np.flatnonzero(np.isin(hashes, values[counts > 1]))[:NAMED]
        listed = sorted({names[int(row)].as_py() for row in twice})
        raise StepError(f"{table.where}: names stand there twice: {', '.join(listed)}")
    return hashes
