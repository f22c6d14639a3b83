"""catalog.json and its like: which images a concept has for training and for tests."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from workflow_scripts.core.step import StepError, atomic_text
from workflow_scripts.core.storage import is_valid_key, printable_key


class ConceptImages(BaseModel):
    """The paths of a concept's images.

    Attributes:
        train: for training, in their seeded order.
        test: for tests, likewise.
        negative: of other things, that came with the concept.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    train: list[str]
    test: list[str]
    negative: list[str]


Catalog = dict[str, dict[str, ConceptImages]]
_ADAPTER: TypeAdapter[Catalog] = TypeAdapter(Catalog)


def write_catalog(path: Path, catalog: Catalog) -> None:
    """Write `{category: {concept: {train, test, negative}}}` in the order given."""
    with atomic_text(path) as handle:
        json.dump(_ADAPTER.dump_python(catalog), handle, indent=2, ensure_ascii=False)
        handle.write("\n")


def read_catalog(path: Path) -> Catalog:
    """Read a catalog, which a person may have edited.

    Raises:
        StepError: it is no catalog; names the place, and what is wrong there.
    """
    try:
        catalog = _ADAPTER.validate_python(json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_refuse_twice))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise StepError(f"{path}: is no JSON ({error}); mend it, or delete it, and it is made again") from error
    except ValidationError as error:
        first: Any = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "(top level)"
        raise StepError(f"{path}: {place}: {first['msg']}; mend it, or delete it, and it is made again") from error
    except ValueError as error:
        raise StepError(f"{path}: {error}; mend it, or delete it, and it is made again") from error
    _check_names(path, catalog)
    return catalog


def _check_names(path: Path, catalog: Catalog) -> None:
    """A concept names an image once, and by a name that a file can have."""
    for category, concepts in catalog.items():
        for concept, images in concepts.items():
            where, listed = printable_key(f"{category}.{concept}"), [*images.train, *images.test, *images.negative]
            if wrong := [name for name in (category, concept, *listed) if not is_valid_key(name)]:
                raise StepError(f"{path}: {where}: {printable_key(wrong[0])} is no UTF-8; rename the file")
            if twice := [name for name, count in Counter(listed).items() if count > 1]:
                raise StepError(f"{path}: {where} names an image twice: {twice[0]}")


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands there twice")
    return found
