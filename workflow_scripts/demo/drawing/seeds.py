"""Random generators that depend on names alone."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def rng_for(seed: int, *names: str) -> np.random.Generator:
    """Return the generator of one named item, the same whatever was drawn before it.

    Args:
        seed: seed of the whole data set.
        names: what is drawn, from coarse to fine, such as ("people", "shard-003", "img-0017").
    """
    text = "\x1f".join([str(seed), *names])
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))


def split(rng: np.random.Generator, count: int) -> list[np.random.Generator]:
    """Return ``count`` independent generators, so that one part of a scene can change and the others stay."""
    return [np.random.default_rng(int(seed)) for seed in rng.integers(2**63, size=count)]


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """Return one of ``options``, each as likely as the others."""
    return options[int(rng.integers(len(options)))]


def weighted(rng: np.random.Generator, weights: dict[T, float]) -> T:
    """Return one key of ``weights``, drawn in proportion to its value."""
    names = list(weights)
    chances = np.cumsum(list(weights.values()))
    return names[min(int(np.searchsorted(chances, rng.random() * chances[-1], side="right")), len(names) - 1)]
