"""The vectors of a cache of the older kind: `.npy` files, of which nothing is taken for granted."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from workflow_scripts.core.embeddings import Vectors

UNIT_SLACK = 0.01  # how far from 1 the length of a vector may be that was normalised, in half precision or by another program
_LARGEST = 1 << 20  # bytes of a file


class VectorError(Exception):
    """A vector cannot be imported; the text is `vector: <reason>`."""


class DimensionError(VectorError):
    """It is of another dimension than the model's."""


def read_vector(path: str, dimension: int, *, normalise: bool) -> Vectors:
    """A vector as the embedding cache holds it, [1, d] float16.

    Args:
        path: of a `.npy` file of floats, with the shape [d] or [1, d].
        dimension: d of the model.
        normalise: bring it to length 1; otherwise it must not have been.

    Raises:
        VectorError: it cannot be read, is of another kind, or is no embedding.
    """
    found = _load(path)
    if found.dtype.kind != "f":
        raise VectorError(f"vector: of {found.dtype}, not of floats")
    if found.ndim not in (1, 2) or found.size != found.shape[-1]:
        raise VectorError(f"vector: of shape {list(found.shape)}, not a single one")
    if found.size != dimension:
        raise DimensionError(f"vector: {found.size} numbers, the model gives {dimension}")
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite then is refused
        exact = found.astype(np.float64).reshape(1, dimension)
        length = np.linalg.norm(exact)
        if not normalise and abs(length - 1) < UNIT_SLACK:
            raise VectorError("vector: was normalised, and raw ones are needed")
        rounded = (exact / length if normalise and length else exact).astype(np.float16)
    if not np.isfinite(rounded).all() or not np.isfinite(length):
        raise VectorError("vector: NaN or infinite numbers")
    if not rounded.any():
        raise VectorError("vector: all zeros")
    return rounded


def _load(path: str) -> npt.NDArray[Any]:
    try:
        with open(path, "rb") as handle:
            data = handle.read(_LARGEST + 1)
    except OSError as error:
        raise VectorError(f"vector: {str(error.strerror).lower()}") from error
    if len(data) > _LARGEST:
        raise VectorError("vector: the file is too large for a single one")
    try:
        found = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # numpy's reader of headers raises nearly any type on bytes that are none
        raise VectorError("vector: broken, or no array of numbers") from error
    if not isinstance(found, np.ndarray):
        raise VectorError("vector: several arrays in one file")
    return found
