"""Chance that depends on names alone: the same on every machine, in every run, whatever else there is.

Things are ordered by hashes, so that one more of them moves no other, and no library's generator has a say.
"""

import hashlib
from collections.abc import Iterable


def rank(*parts: object) -> int:
    """A number of 128 bits that looks random: the first half of the SHA-256 of the parts' texts, each behind a zero byte."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"\0" + str(part).encode("utf-8", "surrogateescape"))
    return int.from_bytes(digest.digest()[:16], "big")


def shuffled(items: Iterable[str], *parts: object) -> list[str]:
    """The items in the random order that the parts (a seed, names) stand for; the order that they come in does not matter."""
    return sorted(items, key=lambda item: (rank(*parts, item), item))


def pick(items: Iterable[str], *parts: object) -> str:
    """The first of `shuffled`, without sorting. There has to be one."""
    return min(items, key=lambda item: (rank(*parts, item), item))
