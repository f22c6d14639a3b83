"""The records of retrieval: a query, its references, and which of them shows the query's concept; as a JSON list."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import ijson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from workflow_scripts.core.step import StepError, atomic_text

NEAR_COPY = 0.95  # a negative this similar to its query is one that a person should look at


class Record(BaseModel):
    """One comparison.

    Attributes:
        query_path: the image that is asked about.
        ret_paths: the references [K], one of them of the query's concept.
        label: index of that one.
        category: of the query.
        concept: of the query.
        ret_concepts: of the references [K].
        similarities: cosine of each reference to the query [K].
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    query_path: str
    ret_paths: list[str] = Field(min_length=2)
    label: int = Field(ge=0)
    category: str
    concept: str
    ret_concepts: list[str]
    similarities: list[float]

    @model_validator(mode="after")
    def _fits(self) -> "Record":
        if not self.label < len(self.ret_paths) == len(self.ret_concepts) == len(self.similarities):
            raise ValueError("ret_paths, ret_concepts and similarities need one length, and label must be one of their indices")
        if self.ret_concepts[self.label] != self.concept:
            raise ValueError(f"label {self.label} points at {self.ret_concepts[self.label]}, and the query shows {self.concept}")
        if self.query_path in self.ret_paths:
            raise ValueError("the query is among its references")
        return self


def write_records(path: Path, records: Iterable[Record]) -> int:
    """Write records as `json.dump(…, indent=2, ensure_ascii=False)` would, one at a time; gives their number."""
    count = 0
    with atomic_text(path) as handle:
        for record in records:
            text = json.dumps(record.model_dump(), indent=2, ensure_ascii=False).replace("\n", "\n  ")
            handle.write(("," if count else "[") + "\n  " + text)
            count += 1
        handle.write("\n]\n" if count else "[]\n")
    return count


def read_records(path: Path) -> Iterator[Record]:
    """Read records one at a time.

    Raises:
        StepError: the file is no JSON list, or a record is not as it should be; names the record.
    """
    number = 0
    try:
        with path.open("rb") as handle:
            if not handle.read(80).lstrip().startswith(b"["):
                raise StepError(f"{path}: is no JSON list of records; mend it, or delete it, and it is made again")
            handle.seek(0)
            for value in ijson.items(handle, "item", use_float=True):
                yield Record.model_validate(value)
                number += 1
    except ijson.JSONError as error:
        raise StepError(f"{path}: record {number} cannot be read ({_line(error)}); delete the file, and it is made again") from error
    except ValidationError as error:
        first: Any = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise StepError(
            f"{path}: record {number}{', ' if place else ''}{place}: {_line(first['msg'])}; mend it, or delete the file"
        ) from error


def _line(error: object) -> str:
    return " ".join(str(error).split())
