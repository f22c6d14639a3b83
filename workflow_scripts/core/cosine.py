"""Cosines of float16 vectors, exact: the same to the last bit on every machine, with every BLAS and every number of threads.

A float16 is a multiple of 2^-24, so a product of two is a multiple of 2^-48, and so is every sum of such products. The sum over
any of the dimensions is at most |a|·|b| (Cauchy-Schwarz), which for L2-normalised vectors is about 1 and far below 2^5. All
multiples of 2^-48 below 2^5 are float64 numbers, which have 53 bits. So a float64 matmul of float16 vectors never rounds, in
whatever order it adds, in blocks or in threads, with or without fused multiply-add: there is one result, the exact one.

Norms are near 1, not 1: a vector was normalised before it was rounded to float16. The product is the cosine within about 1e-4.
"""

import math
from contextlib import AbstractContextManager

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from workflow_scripts.core.embeddings import Vectors

Floats = npt.NDArray[np.float64]
NORM_TOLERANCE = 0.01  # how far from 1 a norm may be; rounding a unit vector to float16 moves it by less than 0.001
DECIMALS = 6  # of a cosine in files that people read
_ROWS = 4096  # that are in float64 at once


def widen(vectors: Vectors) -> Floats:
    """The same numbers in float64, whose products and sums are exact as the module says."""
    return vectors.astype(np.float64)


def first_not_unit(vectors: Vectors) -> int | None:
    """The first row [n, d] that is no unit vector (not finite, or with a norm off 1 by more than the tolerance); None when all are."""
    for start in range(0, len(vectors), _ROWS):
        block = widen(vectors[start : start + _ROWS])
        norms = np.sqrt(np.einsum("ij,ij->i", block, block))
        # A comparison with NaN is false, so that it counts as wrong.
        wrong = np.flatnonzero(~(np.abs(norms - 1) <= NORM_TOLERANCE))
        if wrong.size:
            return start + int(wrong[0])
    return None


def paired(left: Vectors, right: Vectors) -> Floats:
    """The cosine of each row of one [n, d] to the same row of the other [n, d]."""
    found = np.empty(len(left))
    for start in range(0, len(left), _ROWS):
        rows = slice(start, start + _ROWS)
        found[rows] = np.einsum("ij,ij->i", widen(left[rows]), widen(right[rows]))
    return found


def mean_direction(vectors: Vectors) -> Vectors:
    """The mean of unit vectors [n, d], normalised, in float16 again [d]; zero where they cancel out.

    The order of the vectors does not matter. Their sum is exact for up to 2^29 of them: multiples of 2^-24 below 2^29. The sum of
    squares is rounded once (`fsum`), root and quotients are, and so is the step to float16.
    """
    total = vectors.sum(axis=0, dtype=np.float64)
    norm = math.sqrt(math.fsum((total * total).tolist()))
    return (total / norm if norm else total).astype(np.float16)


def written(cosine: float) -> float:
    """A cosine as it stands in files: between -1 and 1, with six decimals, never -0."""
    return round(min(max(cosine, -1.0), 1.0), DECIMALS) + 0.0


def blas_threads(threads: int) -> AbstractContextManager[object]:
    """A context in which BLAS uses so many threads.

    Who works in threads of their own on small blocks wants 1: BLAS threads that wait for each other cost more than they give.
    """
    return threadpool_limits(threads, user_api="blas")
