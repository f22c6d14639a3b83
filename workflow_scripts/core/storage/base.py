"""What every place that holds images can do, and the words for it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from workflow_scripts.core.step import StepError


class StorageError(StepError):
    """An object could not be read, written or copied; the text says why, without the stage in front."""


class StoreError(StepError):
    """A place as a whole cannot be used: not there, no access, no answer. No object is at fault, and trying another is no use."""


@dataclass(frozen=True, slots=True)
class Item:
    """One listed object.

    Attributes:
        key: the identity of the object within the store: the path below a folder, the whole key in a bucket.
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

    All of them raise `StorageError` for one object and `StoreError` for the place as a whole.

    Attributes:
        location: as the user wrote it.
        identity: the same for every way to write the same place; what the cache knows objects by.
        reads_at_once: how many reads keep the place busy.
    """

    location: str
    identity: str
    reads_at_once: int

    def prepare(self) -> None:
        """Make sure that objects can be written here, and clear away what a killed copy left."""

    def list(self) -> Iterator[Item]:
        """Every object below the root. `StoreError` at once, not at the first item, when there is no such place."""

    def read(self, item: Item) -> bytes:
        """The whole content. `StorageError` when it is gone, unreadable, or no longer the one that was listed."""

    def find(self, key: str) -> Item | None:
        """The object at this key as it is now, or None."""

    def copy_from(self, source: "Storage", item: Item, key: str) -> Item:
        """Copy an object of `source` to `key` here, whole or not at all; gives what stands here afterwards."""

    def write(self, key: str, data: bytes) -> Item:
        """Write an object, whole or not at all."""

    def put_file(self, key: str, path: Path) -> Item:
        """Write an object from a local file of any size, whole or not at all."""

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""

    def below(self, key: str) -> str:
        """The part of a key behind the root: what a copy elsewhere is named by."""

    def key_of(self, relative: str) -> str:
        """The key of what stands at this path below the root; `below` backwards."""

    def uri(self, key: str) -> str:
        """A URI of the object, as the tools of its kind of place write it."""

    def https_url(self, key: str) -> str:
        """Where a browser that may read it finds the object; empty where there is no such address."""

    def presigned_url(self, key: str, seconds: int) -> str:
        """An address that anybody can read the object by for a time; empty where there is no such thing."""


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
