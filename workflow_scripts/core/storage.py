"""Where images come from and go to: one interface, one class for each kind of place."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from workflow_scripts.core.step import StepError, atomic_output

LAST_SECOND = 253_402_300_799  # 9999-12-31T23:59:59Z, the last that a date can hold; file systems allow more


class StorageError(StepError):
    """An object could not be read, written or copied; the text says why, without the stage in front."""


@dataclass(frozen=True, slots=True)
class Item:
    """One listed object.

    Attributes:
        key: path below the store's root, `/` between parts. The identity of the object within the store.
        size: bytes.
        etag: changes when the content changes; opaque, compared for equality alone.
        last_modified: ISO 8601 in UTC, to the second.
    """

    key: str
    size: int
    etag: str
    last_modified: str


class Storage(Protocol):
    """What every step may ask of a place that holds images. Methods are safe to call from several threads.

    Attributes:
        location: as the user wrote it.
        identity: the same for every way to write the same place; what the cache knows objects by.
    """

    location: str
    identity: str

    def prepare(self) -> None:
        """Make sure that objects can be written here. `StorageError` when they cannot."""

    def list(self) -> Iterator[Item]:
        """Every object below the root, in the order of their keys' UTF-8 bytes."""

    def read(self, item: Item) -> bytes:
        """The whole content. `StorageError` when it is gone, unreadable, or no longer the one that was listed."""

    def find(self, key: str) -> Item | None:
        """The object at this key as it is now, or None."""

    def copy_from(self, source: "Storage", item: Item, key: str) -> Item:
        """Copy an object of `source` to `key` here, whole or not at all; gives what stands here afterwards."""

    def write(self, key: str, data: bytes) -> Item:
        """Write an object, whole or not at all."""

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""

    def uri(self, key: str) -> str:
        """A URI of the object, percent-encoded."""


class FolderStorage:
    """A folder of a file system, local or mounted. Follows links; walks every folder once."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Take a folder, which need not exist before something is written."""
        self.root = Path(os.path.abspath(root))
        self.location = str(root)
        self.identity = str(self.root.resolve())

    def prepare(self) -> None:
        """Make the folder, if it is not there."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.location}: {_reason(error)}") from error

    def list(self) -> Iterator[Item]:
        """Every file below the root. A name that is not UTF-8 keeps its surrogate escapes; see `is_valid_key`."""
        if not self.root.is_dir():
            raise StorageError(f"{self.location}: no such folder")
        return self._walk(self.root, "", ())

    def _walk(self, folder: Path, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[Item]:
        # Links to folders are followed, a common way to collect sources; a link to a folder above would never end.
        status = folder.stat()
        here = (status.st_dev, status.st_ino)
        if here in above:
            return
        try:
            entries = [(entry, entry.is_dir()) for entry in os.scandir(folder)]
        except OSError as error:
            raise StorageError(f"{error.filename}: {_reason(error)}; nothing below a source may be left out unseen") from error
        # With the slash that follows it in the keys, a folder sorts among files as its keys do.
        for entry, is_dir in sorted(entries, key=lambda pair: os.fsencode(pair[0].name) + b"/" * pair[1]):
            if is_dir:
                yield from self._walk(Path(entry.path), f"{prefix}{entry.name}/", (*above, here))
            elif entry.is_file():
                yield _item(f"{prefix}{entry.name}", entry.stat())
            elif entry.is_symlink():
                # It leads nowhere: listed all the same, so that it becomes an error row and not a gap.
                yield _item(f"{prefix}{entry.name}", entry.stat(follow_symlinks=False))

    def read(self, item: Item) -> bytes:
        """Read a file and check that it is the one that was listed (size and modification time)."""
        try:
            with open(self._path(item.key), "rb") as handle:
                data = handle.read()
                self._check_unchanged(item, os.fstat(handle.fileno()), len(data))
        except OSError as error:
            raise StorageError(_reason(error)) from error
        return data

    def find(self, key: str) -> Item | None:
        """The file at this key as it is now, or None."""
        try:
            return _item(key, self._path(key).stat())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def copy_from(self, source: Storage, item: Item, key: str) -> Item:
        """Copy a file with its modification time; a source that changed since it was listed is refused."""
        if not isinstance(source, FolderStorage):
            raise StorageError(f"cannot copy from {source.location} into a folder")
        target = self._path(key)
        try:
            with atomic_output(target, sweep=False) as partial:
                with open(source._path(item.key), "rb") as reader, open(partial, "wb") as writer:
                    shutil.copyfileobj(reader, writer, 1 << 20)
                    status = os.fstat(reader.fileno())
                    source._check_unchanged(item, status, writer.tell())
                os.utime(partial, ns=(status.st_mtime_ns, status.st_mtime_ns))
            return _item(key, target.stat())
        except OSError as error:
            raise StorageError(_reason(error)) from error

    def write(self, key: str, data: bytes) -> Item:
        """Write a file, whole or not at all."""
        target = self._path(key)
        with atomic_output(target) as partial:
            partial.write_bytes(data)
        return _item(key, target.stat())

    def delete(self, key: str) -> None:
        """Remove a file, and the folders that this leaves empty, up to the root."""
        target = self._path(key)
        target.unlink(missing_ok=True)
        for folder in target.parents:
            if folder == self.root or (folder.is_dir() and any(folder.iterdir())):
                break
            if folder.is_dir():
                folder.rmdir()

    def uri(self, key: str) -> str:
        """A `file://` URI."""
        return self._path(key).as_uri()

    def _path(self, key: str) -> Path:
        return self.root / key

    @staticmethod
    def _check_unchanged(item: Item, status: os.stat_result, size: int) -> None:
        if _etag(status) != item.etag or size != item.size:
            raise StorageError("changed since listing")


def open_storage(location: str) -> Storage:
    """The storage that a setting such as `source` names."""
    return FolderStorage(location)


def is_valid_key(key: str) -> bool:
    """Whether a key can stand in tables and manifests: file systems also allow names that are no UTF-8."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable_key(key: str) -> str:
    """The key with bytes that are no UTF-8 written as `\\udcXX`."""
    return key.encode("utf-8", "backslashreplace").decode()


def tree_fingerprint(location: str) -> str:
    """A digest over the sorted (relative path, size, mtime) of a folder: changes when a file comes, goes or changes."""
    digest = hashlib.sha256()
    for item in open_storage(location).list():
        digest.update(f"{item.key}\0{item.etag}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _etag(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


def _item(key: str, status: os.stat_result) -> Item:
    modified = datetime.fromtimestamp(min(status.st_mtime_ns // 1_000_000_000, LAST_SECOND), UTC)
    return Item(key, status.st_size, _etag(status), modified.strftime("%Y-%m-%dT%H:%M:%SZ"))


def _reason(error: OSError) -> str:
    """The error without its path: paths differ between machines, and the key stands beside the text."""
    return error.strerror.lower() if error.strerror else type(error).__name__
