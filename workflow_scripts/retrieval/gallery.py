"""The images that retrieval compares: their vectors, in an order that depends on names alone."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from workflow_scripts.core.cosine import first_not_unit
from workflow_scripts.core.embeddings import Vectors, iter_vectors, table_metadata
from workflow_scripts.core.step import StepError
from workflow_scripts.retrieval.catalog_file import Catalog
from workflow_scripts.retrieval.params import below_root, catalog_path

Ints = npt.NDArray[np.int64]
_BATCH = 16_384  # rows of a table that are read at once
_REMADE = "delete it, and it is made again"


@dataclass(frozen=True, slots=True)
class Gallery:
    """The images of some categories that have a vector, sorted by concept, category and path.

    The lowest index wins a tie, so that no result depends on the order of files or rows.

    Attributes:
        concepts: (category, concept) of each concept [c] that has an image here.
        bounds: the images of concept i are bounds[i] to bounds[i + 1] - 1 [c + 1].
        paths: of the images, as in the catalog [n].
        names: their paths below data_root, which chance goes by [n].
        contents: their sha256 [n].
        phashes: their perceptual hashes [n] uint64.
        vectors: [n, d] float16, unit vectors.
        errors: images of the catalog without a vector, with their sha256 or nothing.
    """

    concepts: list[tuple[str, str]]
    bounds: Ints
    paths: list[str]
    names: list[str]
    contents: list[str]
    phashes: npt.NDArray[np.uint64]
    vectors: Vectors
    errors: dict[str, str]

    def owners(self) -> Ints:
        """The concept of each image [n]."""
        return np.repeat(np.arange(len(self.concepts)), np.diff(self.bounds))

    def images_of(self, concept: int) -> range:
        """The images of a concept."""
        return range(int(self.bounds[concept]), int(self.bounds[concept + 1]))

    def concepts_in(self, category: str) -> Ints:
        """The concepts of a category, in order."""
        return np.array([number for number, (name, _) in enumerate(self.concepts) if name == category], dtype=np.int64)

    def label_conflicts(self) -> list[dict[str, Any]]:
        """The same bytes in several concepts: [{"sha256", "paths"}], both sorted."""
        places: dict[str, list[int]] = {}
        for number, sha256 in enumerate(self.contents):
            places.setdefault(sha256, []).append(number)
        owners = self.owners()
        found = {sha256: numbers for sha256, numbers in places.items() if len({int(owners[number]) for number in numbers}) > 1}
        return [{"sha256": sha256, "paths": sorted(self.paths[number] for number in found[sha256])} for sha256 in sorted(found)]


@dataclass(frozen=True, slots=True)
class _Known:
    """What an embedding table says of an image, without the vector."""

    sha256: str
    phash: int
    error: bool


def load_gallery(catalog: Catalog, name: Path, categories: Sequence[str], tables: Sequence[Path], root: tuple[str, bool]) -> Gallery:
    """Load the training images of some categories.

    Args:
        catalog: read from `name`, which stands in messages.
        name: its file.
        categories: which of it to load.
        tables: embedding tables that hold their images.
        root: data_root and relative, which make a row's path that of the catalog.

    Raises:
        StepError: an image is in no table or twice in the catalog, tables are of different models, or a vector is no unit vector.
    """
    check_one_model(tables)
    wanted = sorted(_listed(catalog, name, categories))
    paths = {path for _, _, path in wanted}
    known = {path: found for table in tables for path, found in _read_known(table, root) if path in paths}
    for concept, category, path in wanted:
        if path not in known:
            raise StepError(
                f"{name}: {category}, {concept}: {path} is in no embedding table; take it out, or write it as its folders and "
                "data_root give it (delete the file, and it is made again)"
            )
    usable = [entry for entry in wanted if not known[entry[2]].error]
    rows = {path: number for number, (_, _, path) in enumerate(usable)}
    sizes = [(key, sum(1 for _ in group)) for key, group in groupby(usable, key=lambda entry: (entry[1], entry[0]))]
    return Gallery(
        concepts=[key for key, _ in sizes],
        bounds=np.cumsum([0, *(size for _, size in sizes)]),
        paths=list(rows),
        names=[below_root(*root, path) for path in rows],
        contents=[known[path].sha256 for path in rows],
        phashes=np.array([known[path].phash for path in rows], dtype=np.uint64),
        vectors=_read_vectors(tables, root, rows),
        errors={path: known[path].sha256 for _, _, path in wanted if known[path].error},
    )


def check_one_model(tables: Iterable[Path]) -> None:
    """Refuse tables whose vectors do not compare.

    Raises:
        StepError: naming two of them.
    """
    first: tuple[Path, str] | None = None
    for table in tables:
        fingerprint = table_metadata(table)["fingerprint"]
        if first is None:
            first = table, fingerprint
        elif fingerprint != first[1]:
            raise StepError(
                f"{table} is of another model or precision ({fingerprint}) than {first[0]} ({first[1]}); delete the older one, "
                "and it is made again"
            )


def _listed(catalog: Catalog, name: Path, categories: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Concept, category and path of every training image."""
    places: dict[str, str] = {}
    for category in categories:
        for concept, images in catalog[category].items():
            for path in images.train:
                if path in places:
                    raise StepError(f"{name}: {path} stands in {places[path]} and in {category}, {concept}; take it out of one of them")
                places[path] = f"{category}, {concept}"
                yield concept, category, path


def _read_known(table: Path, root: tuple[str, bool]) -> Iterator[tuple[str, _Known]]:
    for batch in pq.ParquetFile(table).iter_batches(_BATCH, columns=["path", "sha256", "phash", "error"]):
        for path, sha256, phash, error in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if error is None and (sha256 is None or phash is None):
                raise StepError(f"{table}: {path} has a vector, but no sha256 or no perceptual hash; {_REMADE}")
            yield catalog_path(*root, path), _Known(sha256 or "", phash or 0, error is not None)


def _read_vectors(tables: Iterable[Path], root: tuple[str, bool], rows: dict[str, int]) -> Vectors:
    """The vectors of the images in `rows`, each at its index [n, d]."""
    found: Vectors | None = None
    for table in tables:
        for batch, vectors, owners in iter_vectors(table, ["path"], _BATCH):
            if vectors is None:
                continue
            names = batch["path"].to_pylist()
            wrong = first_not_unit(vectors)
            if wrong is not None:
                raise StepError(f"{table}: the vector of {names[owners[wrong]]} is not finite or not of length 1; {_REMADE}")
            places = np.array([rows.get(catalog_path(*root, names[owner]), -1) for owner in owners], dtype=np.int64)
            if found is None:
                found = np.zeros((len(rows), vectors.shape[1]), dtype=np.float16)
            found[places[places >= 0]] = vectors[places >= 0]
    return found if found is not None else np.zeros((0, 1), dtype=np.float16)
