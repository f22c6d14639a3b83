"""Whether the vectors of an older cache are those of the model: some of its images are embedded again."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.core.embed import Embedder
from workflow_scripts.core.embeddings import Vectors
from workflow_scripts.core.models import ModelCard
from workflow_scripts.core.prefetch import ahead
from workflow_scripts.core.seeded import shuffled
from workflow_scripts.core.step import StepError
from workflow_scripts.core.storage import printable_key
from workflow_scripts.predict.import_entries import LISTING, READS_AT_ONCE, Entry, Refused, by_storage
from workflow_scripts.predict.import_vectors import DimensionError, VectorError

CHECKED = 20  # images that are embedded again
LEAST_COSINE = 0.999  # of the two vectors of each
MEND = "set predict.model to the model that made them, or take the folder out of predict.imports"

Reader = Callable[[Entry], Vectors | VectorError]


@dataclass(frozen=True, slots=True)
class Check:
    """What embedding again gave.

    Attributes:
        fingerprint: of the model's vectors.
        cosines: of the two vectors of each image, with its name; fewer than `CHECKED` where fewer images can be used.
    """

    fingerprint: str
    cosines: list[tuple[float, str]]

    @property
    def failed(self) -> int:
        """How many images have another vector."""
        return sum(cosine < LEAST_COSINE for cosine, _ in self.cosines)

    def record(self) -> dict[str, Any]:
        """What a report says."""
        if not self.cosines:
            return {"images": 0}
        least, worst = min(self.cosines)
        return {"images": len(self.cosines), "least_cosine": round(least, 6), "worst_image": worst}


def check_vectors(folder: Path, entries: list[Entry], read: Reader, card: ModelCard, settings: dict[str, Any]) -> Check:
    """Embed some of the images again, from their files and through an empty cache. Which ones depends on their names alone.

    Args:
        folder: of the older cache.
        entries: what it lists.
        read: gives the vector of an entry.
        card: of the model.
        settings: the keyword arguments of `Embedder`.

    Raises:
        StepError: an image has another vector now, or no vector is of the model's dimension; names the worst image and likely causes.
    """

    def embed_again(decode_mode: str) -> Check:
        with tempfile.TemporaryDirectory() as empty:
            # One image a batch, since they may lie in as many archives.
            own = {"cache_root": empty, "batch": 1, "decode_mode": decode_mode}
            embedder = Embedder(card, **settings | own)
            return Check(embedder.fingerprint, list(islice(_compared(entries, read, embedder), CHECKED)))

    check = embed_again(settings["decode_mode"])
    if not check.cosines:
        _check_dimension(folder, map(read, entries))
    if not check.failed:
        return check
    if settings["decode_mode"] == "scaled" and not embed_again("full").failed:
        mend = "with images.decode: full they agree; set that, or take the folder out of predict.imports"
    else:
        causes = "another model or other weights, the other GELU (-quickgelu in the model's name), another preprocessing or decoding"
        mend = f"likely causes: {causes}; {MEND}"
    least, worst = min(check.cosines)
    raise StepError(
        f"{folder}: its vectors are not those of {card.name} {card.pretrained}, and none was imported: of {len(check.cosines)} images "
        f"that were embedded again {check.failed} have a cosine below {LEAST_COSINE}, {worst} the least with {least:.4f}; {mend}"
    )


def _compared(entries: list[Entry], read: Reader, embedder: Embedder) -> Iterator[tuple[float, str]]:
    """How much the two vectors of an entry agree, and its name, in a random order; entries that cannot be used are passed over."""
    by_name = {entry.name: entry for entry in entries}
    order = [by_name[name] for name in shuffled(by_name, LISTING)]
    vectors = ahead(read, order, threads=READS_AT_ONCE, depth=4 * READS_AT_ONCE)
    usable = ((entry, vector) for entry, vector in zip(order, vectors, strict=True) if not isinstance(vector, VectorError))
    while some := dict(islice(usable, CHECKED)):
        for storage, found in by_storage(some, Refused()):
            again = embedder.embed([item for _, item in found], storage)
            for (entry, _), one in zip(found, again, strict=True):
                if one.vectors is not None:
                    yield agreement(some[entry], one.vectors), printable_key(entry.name)


def _check_dimension(folder: Path, vectors: Iterable[Vectors | VectorError]) -> None:
    """Raise when all vectors that could be used otherwise are of another dimension."""
    other = None
    for vector in vectors:
        if isinstance(vector, DimensionError):
            other = vector
        elif not isinstance(vector, VectorError):
            return
    if other:
        raise StepError(f"{folder}: no vector can be used ({other}); {MEND}")


def agreement(left: Vectors, right: Vectors) -> float:
    """The cosine of two vectors, less what their lengths differ: 0.001 for 4.5 %, nothing for those of length 1."""
    first, second = (vector.astype(np.float64).ravel() for vector in (left, right))
    lengths = np.linalg.norm(first) * np.linalg.norm(second)
    return float(1 - np.square(first - second).sum() / (2 * lengths))
