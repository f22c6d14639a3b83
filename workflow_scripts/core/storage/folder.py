"""A folder of a file system as a store."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from workflow_scripts.core.step import atomic_output, is_leftover
from workflow_scripts.core.storage.base import Item, Storage, StorageError, StoreError

LAST_SECOND = 253_402_300_799  # 9999-12-31T23:59:59Z, the last that a date can hold; file systems allow more


class FolderStorage:
    """A folder of a file system, local or mounted. Follows links; walks every folder once."""

    reads_at_once = 4  # a disk, or a network disk, is fast enough for what follows

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Take a folder, which need not exist before something is written."""
        self.root = Path(os.path.abspath(root))
        self.location = str(root)
        self.identity = str(self.root.resolve())

    def prepare(self) -> None:
        """Make the folder, if it is not there; remove the halves of files that a killed copy left."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            for folder, _, names in os.walk(self.root):
                for name in filter(is_leftover, names):
                    self.delete(str(Path(folder, name).relative_to(self.root)))
        except OSError as error:
            raise StoreError(f"{self.location}: {_reason(error)}") from error

    def list(self) -> Iterator[Item]:
        """Every file below the root, in the order of their keys' UTF-8 bytes.

        A name that is not UTF-8 keeps its surrogate escapes; see `is_valid_key`.
        """
        if not self.root.is_dir():
            raise StoreError(f"{self.location}: no such folder")
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
            raise StoreError(f"{error.filename}: {_reason(error)}; nothing below a source may be left out unseen") from error
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
            return self.write(key, source.read(item))
        target = self._target(key)
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
        return self._put(key, lambda partial: partial.write_bytes(data))

    def put_file(self, key: str, path: Path) -> Item:
        """Write a file from another, whole or not at all."""
        return self._put(key, lambda partial: shutil.copyfile(path, partial))

    def _put(self, key: str, fill: Callable[[Path], object]) -> Item:
        target = self._target(key)
        try:
            with atomic_output(target, sweep=False) as partial:
                fill(partial)
            return _item(key, target.stat())
        except OSError as error:
            raise StorageError(_reason(error)) from error

    def delete(self, key: str) -> None:
        """Remove a file, and the folders that this leaves empty, up to the root."""
        target = self._target(key)
        target.unlink(missing_ok=True)
        for folder in target.parents:
            if folder == self.root:
                break
            try:
                folder.rmdir()
            except FileNotFoundError:
                continue  # another thread was faster
            except OSError:
                break  # something is in it

    def below(self, key: str) -> str:
        """The key itself: keys of a folder are paths below it."""
        return key

    def key_of(self, relative: str) -> str:
        """The path itself."""
        return relative

    def uri(self, key: str) -> str:
        """A `file://` URI, percent-encoded."""
        return self._path(key).as_uri()

    def https_url(self, key: str) -> str:
        """Empty: files have no such address."""
        del key
        return ""

    def presigned_url(self, key: str, seconds: int) -> str:
        """Empty: files cannot be shared by an address."""
        del key, seconds
        return ""

    def _path(self, key: str) -> Path:
        return self.root / key

    def _target(self, key: str) -> Path:
        """Where to write a key, which may come from a bucket, where any text can be one."""
        if any(part in ("", ".", "..") for part in key.split("/")) or "\0" in key:
            raise StorageError("this key cannot be the path of a file below a folder")
        return self._path(key)

    @staticmethod
    def _check_unchanged(item: Item, status: os.stat_result, size: int) -> None:
        if _etag(status) != item.etag or size != item.size:
            raise StorageError("changed since listing")


def tree_fingerprint(location: str) -> str:
    """A digest over the sorted (relative path, size, mtime) of a folder: changes when a file comes, goes or changes."""
    digest = hashlib.sha256()
    for item in FolderStorage(location).list():
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
