"""The folders that trainers read: pairs of pictures and texts, and nothing that is left of an earlier export."""

import hashlib
import re
from pathlib import Path
from typing import Any

from workflow_scripts.core.embeddings import digest
from workflow_scripts.core.models import hash_file
from workflow_scripts.core.own_files import OwnFiles
from workflow_scripts.core.step import StepError

FOLDER = INDEX = "07_export"
KOHYA, IMAGEFOLDER = "kohya", "imagefolder/train"
_LONGEST = 150  # bytes of a name: a suffix has to fit behind


def safe_name(name: str) -> str:
    """A name that files may have on every system and that trainers find, whose patterns pass over a dot in front.

    Control characters and those that Windows refuses are replaced, blanks and dots at both ends left out. Such a name, or one that is
    too long, ends in 8 hex digits of its sha256, so that two names stay two.
    """
    plain = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*]', "_", name).strip(" .")
    short = plain.encode()[:_LONGEST].decode(errors="ignore")
    return name if short == name and name else f"{short}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


class ExportFolder:
    """The folder of an export, `07_export`.

    Attributes:
        path: of the folder.
        edited: files that a person changed there, which stay as they are.
    """

    def __init__(self, root: Path) -> None:
        """Open the folder below the results of a workspace."""
        self.path = root / FOLDER
        self.edited: list[str] = []
        self._root = root
        self._own = OwnFiles(self.path, INDEX)
        self._wanted: set[str] = set()

    def add_image(self, name: str, row: dict[str, Any]) -> None:
        """Show a picture of the training data, `path` and `file_sha256` of a row, under a name below the folder.

        Raises:
            StepError: it is gone, or another by now.
        """
        source, sha256 = self._root / row["path"], row["file_sha256"]
        if not self._is_due(name, sha256):
            return
        if not source.is_file() or hash_file(source) != sha256:
            raise StepError(f"{source}: gone, or changed since it was captioned; run again, and the steps before take notice of it")
        self._own.link(name, sha256, source, sha256)

    def add_text(self, name: str, text: str) -> None:
        """Write a text file."""
        key = digest(text)
        if self._is_due(name, key):
            with self._own.write(name, key) as partial:
                partial.write_text(text, encoding="utf-8", newline="\n")

    def _is_due(self, name: str, key: str) -> bool:
        self._wanted.add(name)
        if self._own.is_theirs(name):
            self.edited.append(name)
            return False
        return not self._own.is_current(name, key)

    def close(self) -> list[str]:
        """Remove what earlier exports left; gives the other files in the folders that trainers read, by name.

        Raises:
            StepError: not all that was added is there.
        """
        self._own.close(self._wanted)
        places = [self.path / KOHYA, self.path / IMAGEFOLDER]
        below = [path for place in places for path in place.rglob("*")]
        files = {path.relative_to(self.path).as_posix() for path in below if not path.is_dir()}
        # A trainer would take an empty folder for a concept. Deepest first.
        for folder in sorted([*filter(Path.is_dir, [*below, *places]), *(place.parent for place in places[1:])], reverse=True):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        if missing := sorted(self._wanted - files):
            raise StepError(f"{self.path}: {len(missing)} files went away meanwhile, such as {missing[0]}; run again")
        return sorted(files - self._wanted)
