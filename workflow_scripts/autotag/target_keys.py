"""Keys of a target's images: their paths as names of files, one for each image, that any file system and any shell takes."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

from workflow_scripts.core.images import extension

_LONGEST = 71  # characters that are left of a long path


def make_keys(paths: Iterable[str]) -> dict[str, str]:
    """The key of each image, by its path below the target's folder.

    It is the path without its extension, `__` for each `/`. Letters, digits and `._-` stay, nothing begins with `.` or `-`, and 80
    characters are the most; what had to be altered ends in 8 hex digits of the path's sha256. So do images that would share a key, such
    as `a.jpg` and `a.png`, or `a.jpg` and `A.jpg`, which are one file on some disks.
    """
    plain = {path: path[: len(path) - len(extension(path))].replace("/", "__") for path in paths}
    owners = Counter(name.casefold() for name in plain.values())
    marked = {path: _marked(path, name) for path, name in plain.items() if owners[name.casefold()] > 1 or _safe(name) != name}
    # An image may be called what another one came to be called.
    taken = {key.casefold() for key in marked.values()}
    marked |= {path: _marked(path, name) for path, name in plain.items() if path not in marked and name.casefold() in taken}
    return {path: marked.get(path, name) for path, name in plain.items()}


def _safe(name: str) -> str:
    return re.sub(r"^[.-]", "_", re.sub(r"[^A-Za-z0-9._-]+", "_", name))[:_LONGEST]


def _marked(path: str, name: str) -> str:
    return f"{_safe(name)}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"
