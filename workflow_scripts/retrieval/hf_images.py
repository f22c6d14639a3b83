"""Image files of a dataset as its inventory knows them: by the paths of catalog and records, checked when they are read."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pyarrow.parquet as pq

from workflow_scripts.core.step import StepError
from workflow_scripts.retrieval.params import catalog_path

NAMED = 10  # how many files an error names


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A readable image of the inventory: its path below data_root, its bytes, and their sha256."""

    path: str
    size: int
    sha256: str


class Images:
    """The images that a dataset needs. Safe to read from several threads."""

    def __init__(self, data_root: str, files: dict[str, ImageFile]) -> None:
        """Take the folder of all images, and the files by the paths that records name them by."""
        self._root = Path(data_root)
        self._files = files

    @classmethod
    def find(cls, needed: set[str], inventories: Iterable[Path], data_root: str, relative: bool) -> Self:
        """Look images up in the inventories.

        Args:
            needed: their paths in the records.
            inventories: tables of all categories that they may be in.
            data_root: as configured.
            relative: whether records name images without it.

        Raises:
            StepError: an image is in no inventory, or not readable there; names some.
        """
        files = {}
        for table in inventories:
            for batch in pq.ParquetFile(table).iter_batches(columns=["path", "size", "sha256", "readable"]):
                for row in batch.filter(batch["readable"]).to_pylist():
                    name = catalog_path(data_root, relative, row["path"])
                    if name in needed:
                        files[name] = ImageFile(row["path"], row["size"], row["sha256"])
        if missing := sorted(needed - files.keys()):
            raise StepError(
                f"the records name what is no readable image of the inventory: {_some(missing)}; delete them, and they are made again"
            )
        return cls(data_root, files)

    def size(self, name: str) -> int:
        """Bytes of an image."""
        return self._files[name].size

    def digest(self) -> str:
        """A sha256 over the names and contents of all images."""
        found = hashlib.sha256()
        for name, file in sorted(self._files.items()):
            found.update(f"{name}\0{file.sha256}\0".encode())
        return found.hexdigest()

    def read(self, name: str) -> bytes:
        """The content of an image's file.

        Raises:
            StepError: it is gone, or no longer what the inventory says; names it, and others of which this can be seen.
        """
        file = self._files[name]
        try:
            data = (self._root / file.path).read_bytes()
        except OSError:
            data = b""  # no image has this content
        if hashlib.sha256(data).hexdigest() == file.sha256:
            return data
        changed = {file.path, *(other.path for other in self._files.values() if not self._has_its_size(other))}
        raise StepError(
            f"{self._root}: gone, or no longer what the inventory says: {_some(sorted(changed))}; "
            "run again, and the inventory is made anew (with watch_sources off, delete it first)"
        )

    def _has_its_size(self, file: ImageFile) -> bool:
        try:
            return (self._root / file.path).stat().st_size == file.size
        except OSError:
            return False


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def content_sha256(path: Path) -> str:
    """The sha256 of what a file holds now."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
