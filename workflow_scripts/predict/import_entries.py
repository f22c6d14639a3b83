"""What a cache of the older kind lists: images, and for each a vector in a file of its own.

The listing is `processed_images.jsonl`, whose lines are JSON objects with `image_path` and `embedding_file`; the `hash` beside them is
not needed. Nothing in the folder is trusted, and all of it is only read.
"""

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.core.prefetch import ahead
from workflow_scripts.core.step import StepError, log
from workflow_scripts.core.storage import FolderStorage, Item, Storage, StoreError, ZipStorage, printable_key

LISTING = "processed_images.jsonl"
READS_AT_ONCE = FolderStorage.reads_at_once
NAMED = 20  # examples of each reason
SLACK = 2.0  # seconds by which an image may seem newer than its vector: some file systems count by twos
_MEMBER = re.compile(r"(?<=\.zip)(?:!/?|::|/)", re.IGNORECASE)  # what stands between an archive and its member
_Line = tuple[str, str]  # image and vector, as listed


@dataclass(frozen=True, slots=True)
class Entry:
    """A listed image and its vector.

    Attributes:
        name: of the image, as listed.
        archive: path of the zip that holds it; empty for a file.
        key: in its storage, which for a file is the whole file system; empty when there is no such image.
        vector: path of the vector.
        problem: why it cannot be imported, as `stage: text`; empty when nothing is known against it.
    """

    name: str
    archive: str = ""
    key: str = ""
    vector: str = ""
    problem: str = ""


class Refused:
    """What is not imported, by reason: how often, and which first."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._names: dict[str, list[str]] = {}

    def add(self, reason: str, name: str) -> None:
        """Count a line or an image."""
        self.counts[reason] += 1
        names = self._names.setdefault(reason, [])
        if len(names) < NAMED:
            names.append(printable_key(name))

    def log(self) -> None:
        """Say how much is lost and why, the most first."""
        for reason, count in self.counts.most_common():
            log.warning("not imported: %d, %s", count, reason)

    def record(self) -> dict[str, Any]:
        """What a report says."""
        return {reason: {"count": self.counts[reason], "examples": names} for reason, names in sorted(self._names.items())}


def read_listing(folder: Path, refused: Refused) -> tuple[int, list[Entry]]:
    """The number of lines, and the images that nothing is known against; no image and no vector is opened yet.

    Of several lines on an image the last one counts.

    Raises:
        StepError: there is no listing.
    """
    try:
        with open(folder / LISTING, "rb") as handle:
            parsed = [_parse(line) for line in handle]
    except OSError as error:
        raise StepError(f"{folder / LISTING}: {error.strerror}; name the folder of an older cache, which holds this file") from error
    for number, line in enumerate(parsed, 1):
        if isinstance(line, str):
            refused.add(f"line: {line}", f"line {number}")
    lines = (line for line in parsed if not isinstance(line, str))
    found: dict[tuple[str, ...], Entry] = {}
    for entry in ahead(lambda line: _locate(line, folder), lines, threads=READS_AT_ONCE, depth=16 * READS_AT_ONCE):
        place = (entry.archive, os.path.normpath(entry.key)) if entry.key else (entry.name,)
        if older := found.get(place):
            refused.add("line: the image stands there again further down", older.name)
        found[place] = entry
    for entry in found.values():
        if entry.problem:
            refused.add(entry.problem, entry.name)
    return len(parsed), [entry for entry in found.values() if not entry.problem]


def _parse(line: bytes) -> _Line | str:
    """Image and vector, or what the line is instead."""
    if not line.strip():
        return "empty"
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return "no JSON" if line.endswith(b"\n") else "cut off"
    if not isinstance(content, dict):
        return "no JSON object"
    for name in ("image_path", "embedding_file"):
        if not isinstance(content.get(name), str) or not content[name]:
            return f"{name} is no text" if content.get(name) else f"no {name}"
    return content["image_path"], content["embedding_file"]


def _locate(line: _Line, folder: Path) -> Entry:
    """Runs in a reading thread: where image and vector are, and whether they belong together as far as their times tell."""
    name, file = line
    image = _find_image(name, folder)
    if image is None:
        return Entry(name, problem="image: not found")
    archive, key, drawn = image
    if not file.endswith(".npy"):
        return Entry(name, archive, key, problem="vector: the file is no .npy")
    # A cache that was moved, or whose paths begin elsewhere, still has its vectors beside the listing.
    for path in (os.path.join(folder, file), os.path.join(folder, os.path.basename(file))):
        computed = _modified(path)
        if computed is not None:
            problem = "image: newer than its vector, perhaps another" if drawn > computed + SLACK else ""
            return Entry(name, archive, key, path, problem)
    return Entry(name, archive, key, problem="vector: not found")


def _find_image(name: str, folder: Path) -> tuple[str, str, float] | None:
    """Archive, key and time of an image. A path that is not absolute begins here, or else in the cache's folder."""
    for base in (Path.cwd(), Path.cwd() / folder):
        path = os.path.join(base, name)
        if (modified := _modified(path)) is not None:
            return "", path.lstrip("/"), modified
        for match in _MEMBER.finditer(path):
            archive, member = path[: match.start()], path[match.end() :]
            if member and (modified := _modified(archive)) is not None:
                return archive, member, modified
    return None


def _modified(path: str) -> float | None:
    """When a file was written, in seconds; None where there is none within reach."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):  # the latter where a text cannot be a path
        return None
    return status.st_mtime if stat.S_ISREG(status.st_mode) else None


def by_storage(entries: Iterable[Entry], refused: Refused) -> Iterator[tuple[Storage, list[tuple[Entry, Item]]]]:
    """The entries with the items that their images are, storage by storage; one archive is open at a time."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.archive, []).append(entry)
    for archive, group in groups.items():
        try:
            storage: Storage = ZipStorage(archive) if archive else FolderStorage("/")
        except StoreError:
            for entry in group:
                refused.add("image: its archive cannot be read", entry.name)
            continue
        found = []
        for entry in group:
            if item := storage.find(entry.key):
                found.append((entry, item))
            else:
                refused.add("image: not found" if not archive else "image: not in its archive, or refused there", entry.name)
        yield storage, found
