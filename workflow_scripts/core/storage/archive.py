"""A zip archive as a store that is only read, in place: nothing is unpacked to disk, and nothing that the archive says is trusted."""

import os
import stat
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from workflow_scripts.core.storage.archive_content import unpack
from workflow_scripts.core.storage.archive_directory import DirectoryError, read_members
from workflow_scripts.core.storage.archive_members import item_of, sort_out, tag_of
from workflow_scripts.core.storage.base import Item, Storage, StorageError, StoreError

_ONLY_READ = "an archive is only read"


class ZipStorage:
    """The members of a zip archive; a member's key is its name, with slashes. The writing methods raise `StorageError`.

    Reads are safe in several threads and do not wait for each other. `close` it, use it as a context manager, or let it go.

    Attributes:
        skipped: how many members were left out unseen, by kind (`__MACOSX`, `.DS_Store`, …).
        refused: (name, reason) of the members that are not read, sorted. With these and `list`, every member but folders is named once.
    """

    reads_at_once = 4  # as a folder: the archive lies on the same disks

    def __init__(self, path: str | os.PathLike[str], *, max_member: int = 200_000_000, max_ratio: float = 100) -> None:
        """Open the archive and read its list of members.

        Args:
            path: of the archive; may begin with something else, as self-extracting ones do.
            max_member: bytes of content above which a member is refused.
            max_ratio: how many times a member may expand.

        Raises:
            StoreError: there is no such archive, or it cannot be read as a whole.
        """
        self.location = str(path)
        self._path = Path(os.path.abspath(path))
        self.identity = str(self._path.resolve())
        self._max_ratio = max_ratio
        try:
            self._descriptor = _opened(self._path)
            self._close = weakref.finalize(self, os.close, self._descriptor)
            try:
                members = read_members(self._read, os.fstat(self._descriptor).st_size)
            except BaseException:
                self.close()  # now: the error's traceback would keep it open
                raise
        except OSError as error:
            raise StoreError(f"{self.location}: {_reason(error)}; correct the path, or make the file readable") from error
        except (DirectoryError, EOFError) as error:
            raise StoreError(f"{self.location}: {error}") from error
        contents = sort_out(members, max_member=max_member, max_ratio=max_ratio)
        self._readable = contents.readable
        self.skipped: Counter[str] = contents.skipped
        self.refused = contents.refused

    def close(self) -> None:
        """Close the file; lists stay, reads no longer work."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def list(self) -> Iterator[Item]:
        """Every member that may be read, in the order of their keys' UTF-8 bytes."""
        return (item_of(key, member) for key, member in self._readable.items())

    def find(self, key: str) -> Item | None:
        """The member at this key, or None; refused ones are not found."""
        member = self._readable.get(key)
        return None if member is None else item_of(key, member)

    def read(self, item: Item) -> bytes:
        """The whole content, if it is what the archive declares: size, CRC-32 and expansion. Stops as soon as it is not."""
        if not self._close.alive:
            raise StoreError(f"{self.location}: was closed")
        member = self._readable.get(item.key)
        if member is None:
            raise StorageError("no such member")
        if tag_of(member) != item.etag or member.size != item.size:
            raise StorageError("changed since listing")
        try:
            return unpack(self._read, member, self._max_ratio)
        except EOFError as error:
            raise StorageError("damaged: the archive ends within it") from error
        except OSError as error:
            raise StorageError(_reason(error)) from error

    def _read(self, count: int, offset: int) -> bytes:
        """So many bytes from an offset on, without a common position that threads would have to share."""
        data = os.pread(self._descriptor, count, offset)
        while len(data) < count:
            more = os.pread(self._descriptor, count - len(data), offset + len(data))
            if not more:
                raise EOFError("it became shorter while it was read; run again")
            data += more
        return data

    def below(self, key: str) -> str:
        """The key itself."""
        return key

    def key_of(self, relative: str) -> str:
        """The path itself."""
        return relative

    def uri(self, key: str) -> str:
        """A `jar:file://…!/…` URI, percent-encoded."""
        return f"jar:{self._path.as_uri()}!/{quote(key)}"

    def https_url(self, key: str) -> str:
        """Empty: members have no such address."""
        del key
        return ""

    def presigned_url(self, key: str, seconds: int) -> str:
        """Empty: members cannot be shared by an address."""
        del key, seconds
        return ""

    def prepare(self) -> None:
        """Refused, as everything that writes."""
        raise StorageError(_ONLY_READ)

    def copy_from(self, source: Storage, item: Item, key: str) -> Item:
        """Refused."""
        del source, item, key
        raise StorageError(_ONLY_READ)

    def write(self, key: str, data: bytes) -> Item:
        """Refused."""
        del key, data
        raise StorageError(_ONLY_READ)

    def put_file(self, key: str, path: Path) -> Item:
        """Refused."""
        del key, path
        raise StorageError(_ONLY_READ)

    def delete(self, key: str) -> None:
        """Refused."""
        del key
        raise StorageError(_ONLY_READ)


def _opened(path: Path) -> int:
    """A descriptor of a regular file; a pipe would wait for ever."""
    if stat.S_ISDIR(path.stat().st_mode):
        raise DirectoryError("a folder, no zip archive; name a .zip file")
    if not stat.S_ISREG(path.stat().st_mode):
        raise DirectoryError("no regular file; name a .zip file")
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _reason(error: OSError) -> str:
    """The error without its path."""
    return error.strerror.lower() if error.strerror else type(error).__name__
