"""Where the images of a project come from: a zip archive or a folder, both only read."""

from pathlib import Path

from workflow_scripts.core.step import StepError
from workflow_scripts.core.storage import FolderStorage, StoreError, ZipStorage, tree_fingerprint

GONE = "gone"


def open_source(path: str, *, max_member: int, max_ratio: float) -> FolderStorage | ZipStorage:
    """The storage of a project.

    Args:
        path: of a zip or a folder.
        max_member: bytes of content above which a member of a zip is refused.
        max_ratio: how many times a member may expand.

    Raises:
        StoreError: there is neither, or it cannot be read as a whole.
    """
    return FolderStorage(path) if Path(path).is_dir() else ZipStorage(path, max_member=max_member, max_ratio=max_ratio)


def fingerprint(path: str) -> str:
    """Changes when the archive, or a file of the folder, comes, goes or changes; `GONE` where there is nothing to read."""
    try:
        if Path(path).is_dir():
            return tree_fingerprint(path)
        status = Path(path).stat()
    except (OSError, StoreError):
        return GONE
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


def size(path: str) -> int:
    """Bytes of the archive, or about as much for a folder: what small projects are told from large ones by before they are read."""
    try:
        if Path(path).is_dir():
            return sum(item.size for item in FolderStorage(path).list())
        return Path(path).stat().st_size
    except (OSError, StepError):
        return 0
