"""The videos of a workspace: what there is, and under which name each goes through the pipeline."""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from workflow_scripts.core.images import extension
from workflow_scripts.core.models import slug
from workflow_scripts.core.step import StepError
from workflow_scripts.core.storage import FolderStorage, Item, StoreError, is_valid_key, printable_key

VIDEO_EXTENSIONS = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm")
FRAME_EXTENSIONS = (".jpg", ".jpeg", ".png")
Kind = Literal["video", "frames"]
_MEND = "put some there, or set source_videos of the workspace"
_LONGEST_ID = 150  # bytes; names of files that are made for a frame are longer, and 255 is all there is


@dataclass(frozen=True)
class Video:
    """One source of frames.

    Attributes:
        video_id: its name in tables and in names of frames.
        source: the folder of the workspace's videos.
        path: of the file, or of the folder of frames, below `source`.
        kind: a video file, or frames that were extracted elsewhere.
    """

    video_id: str
    source: str
    path: str
    kind: Kind

    @property
    def file(self) -> Path:
        """Where it lies."""
        return Path(self.source, self.path)


def find(source: str, *, videos: int | None = None) -> dict[str, Video]:
    """The videos below a folder by the slug of their `video_id`, in the order of the latter.

    Files with an extension of a video, and folders that hold `frame_*.jpg`, .jpeg or .png, at any depth; nothing hidden. The id is the
    path without extension, with `__` for `/`. Where two would share one, the first by path has it, and each other gets 6 hex digits of
    the SHA-256 of its path behind it: a file that comes later in that order renames none. Long ids are cut, and get the digits too.

    Args:
        source: the folder.
        videos: the first so many by id; None for all.

    Raises:
        StepError: there is no such folder, nothing in it, a name that is no UTF-8, or two that cannot be told apart.
    """
    kinds: dict[str, Kind] = {}
    for item in _list(source):
        folder, _, name = item.key.rpartition("/")
        if any(part.startswith(".") for part in item.key.split("/")):
            continue
        if extension(name) in VIDEO_EXTENSIONS:
            kinds[item.key] = "video"
        elif _is_frame(name):
            kinds[folder] = "frames"
    if not kinds:
        raise StepError(f"{source}: no videos ({', '.join(VIDEO_EXTENSIONS)}) and no folders of frames (frame_*.jpg) in it; {_MEND}")
    for path in filter(lambda path: not is_valid_key(path), kinds):
        raise StepError(f"{source}/{printable_key(path)}: the name is no UTF-8; rename it")
    found: dict[str, Video] = {}
    for name, path in sorted(_ids(kinds).items())[:videos]:
        video = Video(name, source, path, kinds[path])
        twin = found.setdefault(slug(name), video)
        if twin is not video:
            raise StepError(f"{video.file}: its results would have the name of those of {twin.file}; rename one of them")
    return found


def _list(source: str) -> Iterator[Item]:
    try:
        return FolderStorage(source).list()
    except StoreError as error:
        raise StepError(f"{error}; {_MEND}") from error


def _is_frame(name: str) -> bool:
    return name.startswith("frame_") and extension(name) in FRAME_EXTENSIONS


def _ids(kinds: dict[str, Kind]) -> dict[str, str]:
    """Path by id."""
    taken: dict[str, str] = {}
    for path, kind in sorted(kinds.items()):
        digest = hashlib.sha256(path.encode()).hexdigest()
        bare = path.removesuffix(PurePosixPath(path).suffix) if kind == "video" else path
        plain = "frames" if not path else bare.replace("/", "__")
        # The digits of one may be in the plain name of another: then it takes more of them.
        names = [plain, *(_with_digits(plain, digest[:length]) for length in (6, 16, 64))]
        taken[next(name for name in names if name not in taken and len(name.encode()) <= _LONGEST_ID)] = path
    return taken


def _with_digits(plain: str, digits: str) -> str:
    return f"{plain.encode()[: _LONGEST_ID - len(digits) - 1].decode(errors='ignore')}-{digits}"


def frame_files(folder: Path) -> list[Path]:
    """The frames in a folder, by name; numbers in names by their value, so that 10 follows 9."""
    with os.scandir(folder) as entries:
        return sorted((Path(entry.path) for entry in entries if _is_frame(entry.name) and not entry.is_dir()), key=_by_number)


def _by_number(path: Path) -> tuple[list[tuple[int, str]], str]:
    parts = re.split(r"([0-9]+)", path.name)
    return [(int(part), "") if place % 2 else (0, part) for place, part in enumerate(parts)], path.name


def fingerprint(video: Video) -> str:
    """16 hex digits that change when a video changes, or one of its frames: by name, size and time of modification."""
    digest = hashlib.sha256()
    for path in [video.file] if video.kind == "video" else frame_files(video.file):
        # A link that leads nowhere is an error row of the step, not the end of every plan.
        found = path.stat() if path.exists() else None
        digest.update(f"{path.name}\0{found and (found.st_size, found.st_mtime_ns)}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]
