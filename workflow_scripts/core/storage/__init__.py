"""Where images come from and go to: one interface, one class for each kind of place."""

from typing import Any

from workflow_scripts.core.storage.archive import ZipStorage
from workflow_scripts.core.storage.base import Item, Storage, StorageError, StoreError, is_valid_key, printable_key
from workflow_scripts.core.storage.folder import FolderStorage, tree_fingerprint
from workflow_scripts.core.storage.s3 import S3Storage
from workflow_scripts.core.storage.s3_client import SCHEME, S3Options, is_bucket, parse_location

__all__ = [
    "SCHEME",
    "FolderStorage",
    "Item",
    "S3Options",
    "S3Storage",
    "Storage",
    "StorageError",
    "StoreError",
    "ZipStorage",
    "is_bucket",
    "is_valid_key",
    "open_storage",
    "parse_location",
    "printable_key",
    "tree_fingerprint",
]


def open_storage(location: str, store: dict[str, Any] | None = None) -> Storage:
    """The storage that a setting such as `source` names.

    Args:
        location: `s3://bucket/prefix/`, or a folder.
        store: the fields of `S3Options` for a bucket; folders need none.
    """
    if is_bucket(location):
        return S3Storage(location, S3Options(**(store or {})))
    return FolderStorage(location)
