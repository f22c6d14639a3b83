"""Files that a step makes in a folder where people work too: it touches only what it made itself and nobody changed since.

An index beside them, a line for each thing done, says what was made from what. It is no output of a rule, so it outlives the
rule's next run.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from workflow_scripts.core.models import hash_file
from workflow_scripts.core.step import atomic_output, atomic_text, check_not_orphaned, log, sweep_leftovers


@dataclass(frozen=True, slots=True)
class Made:
    """A file that was made.

    Attributes:
        name: below the folder.
        key: says what it was made from; another key means that it would come out otherwise.
        sha256: its content.
        mtime_ns: when it was written; 0 while it is not certain that it stands there.
    """

    name: str
    key: str
    sha256: str
    mtime_ns: int = 0


class OwnFiles:
    """The files of one step, or of one job of it, in a folder that may hold others. Threads may write different names at once.

    What a person changed, or put there, counts as theirs: it is neither overwritten nor removed.
    """

    def __init__(self, folder: Path, index: str) -> None:
        """Open the index of this name, `{folder}/.made/{index}.jsonl`, and write nothing yet. One process at a time may write."""
        self._folder = folder
        self._index = folder / ".made" / f"{index}.jsonl"
        self._swept: set[Path] = set()
        # What a file may be: what it certainly was, then what it was about to become when a process was killed.
        self._made: dict[str, list[Made]] = {}
        text = self._index.read_text("utf-8", errors="replace") if self._index.is_file() else ""
        self._cut_off = text[-1:] not in ("", "\n")
        for line in text.splitlines():
            try:
                self._take(Made(**json.loads(line)))
            except (ValueError, TypeError):  # cut off by a kill
                continue

    def _take(self, entry: Made) -> None:
        before = [] if entry.mtime_ns else self._made.get(entry.name, [])
        self._made[entry.name] = [*before, entry]

    def _standing(self, name: str) -> Made | None:
        """What was made and stands there unchanged."""
        path, entries = self._folder / name, self._made.get(name)
        if not entries or not path.is_file():
            return None
        mtime_ns = path.stat().st_mtime_ns
        if entries[-1].mtime_ns == mtime_ns:
            return entries[-1]
        sha256 = hash_file(path)
        found = next((entry for entry in reversed(entries) if entry.sha256 == sha256), None)
        if found is None:
            return None
        self._take(replace(found, mtime_ns=mtime_ns))  # not read again
        return found

    def sha256(self, name: str) -> str | None:
        """The content of a file that was made and stands there unchanged, else None."""
        found = self._standing(name)
        return found.sha256 if found else None

    def is_current(self, name: str, key: str) -> bool:
        """Whether a file stands there as it was made from `key`."""
        found = self._standing(name)
        return found is not None and found.key == key

    def is_theirs(self, name: str) -> bool:
        """Whether a file stands there that a person put there or changed."""
        return os.path.lexists(self._folder / name) and self._standing(name) is None

    def changed(self) -> dict[str, str]:
        """Names of the files that were made and that a person changed since, with the sha256 of what they hold now."""
        theirs = [name for name in sorted(self._made) if (self._folder / name).is_file() and self.is_theirs(name)]
        return {name: hash_file(self._folder / name) for name in theirs}

    def missing(self) -> dict[str, str]:
        """Names of the files that were made and that somebody took away, with their keys; none of a folder that is gone altogether."""
        certain = {name: entries[-1].key for name, entries in sorted(self._made.items()) if entries[-1].mtime_ns}
        paths = {name: self._folder / name for name in certain}
        return {name: certain[name] for name, path in paths.items() if path.parent.is_dir() and not os.path.lexists(path)}

    @contextmanager
    def write(self, name: str, key: str) -> Iterator[Path]:
        """Give a path to write to, which becomes the file `name` when the body ends well. Ask `is_theirs` before."""
        with self._placed(name) as partial:
            yield partial
            self._note(Made(name, key, hash_file(partial)))

    def link(self, name: str, key: str, source: Path, sha256: str) -> None:
        """Show another file of this disk under `name` too, without taking room; a copy where the disk cannot.

        Args:
            name: below the folder.
            key: as of `write`.
            source: the file.
            sha256: its content.
        """
        with self._placed(name) as partial:
            try:
                os.link(source, partial)
            except OSError:
                shutil.copyfile(source, partial)
            self._note(Made(name, key, sha256))

    @contextmanager
    def _placed(self, name: str) -> Iterator[Path]:
        """A path to fill and to note, which is then renamed."""
        path = self._folder / name
        if path.parent not in self._swept:
            sweep_leftovers(path.parent)
            self._swept.add(path.parent)
        with atomic_output(path, sweep=False) as partial:
            yield partial
        self._note(replace(self._made[name][-1], mtime_ns=path.stat().st_mtime_ns))

    def _note(self, *entries: Made) -> None:
        """Write it down before anything is done to a file: after a kill it is known whose a file is that stands there."""
        self._index.parent.mkdir(parents=True, exist_ok=True)
        with self._index.open("a", encoding="utf-8") as handle:
            handle.write("\n" * self._cut_off + "".join(map(_line, entries)))
        self._cut_off = False
        for entry in entries:
            self._take(entry)

    def close(self, wanted: Iterable[str]) -> None:
        """Remove what was made, is not wanted any more and was not changed; write the index anew.

        Of a file that a person took away the index knows as long as it is wanted.
        """
        check_not_orphaned()
        unwanted = sorted(self._made.keys() - set(wanted))
        standing = [entry for entry in map(self._standing, unwanted) if entry]
        # No longer certain: after a kill in the middle nobody must seem to have taken them away.
        self._note(*(replace(entry, mtime_ns=0) for entry in standing))
        for entry in standing:
            (self._folder / entry.name).unlink()
        for name in unwanted:
            if os.path.lexists(self._folder / name):
                log.info("%s: not needed any more, but it was changed by hand: left where it is", self._folder / name)
            del self._made[name]
        with atomic_text(self._index) as handle:
            handle.writelines(_line(entry) for name in sorted(self._made) for entry in self._made[name])


def _line(entry: Made) -> str:
    return json.dumps(asdict(entry)) + "\n"
