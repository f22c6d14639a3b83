"""lora: the small pictures of its pages: frames and composites as they are, cut-out subjects on a chequered ground."""

import io
import threading
from pathlib import Path

from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngImageFile

from workflow_scripts.core.cache import ThumbnailCache
from workflow_scripts.core.images import DEFAULT_MAX_PIXELS, content_hash, thumbnail
from workflow_scripts.core.images import THUMBNAIL_SIDE as SIDE
from workflow_scripts.core.storage import FolderStorage, StorageError
from workflow_scripts.core.thumbnails import Thumbnails

LOOK = "subjects-1-"  # the number is bumped by hand when subjects look otherwise
SQUARE = 8  # pixels
GREYS = (102, 153)  # of the ground: black hair, white cloth and what is left of either stand out against them
_SUBJECT = "subject"


def plain(sha256: str | None, path: str | None) -> str | None:
    """The key of a file of the workspace that is shown as it is; None where there is none."""
    return f"{sha256} {path}" if sha256 and path else None


def subject(sha256: str | None, path: str | None) -> str | None:
    """The key of an RGBA file whose transparency is to be seen; None where there is none."""
    return f"{_SUBJECT} {sha256} {path}" if sha256 and path else None


class Pictures:
    """The small picture of a key of `plain` or `subject`; from the cache, else from the file, and then kept."""

    def __init__(self, root: Path, cache_root: str) -> None:
        """Open the caches; `root` is what the keys' paths are below."""
        self._source = FolderStorage(root)
        self._plain = Thumbnails(cache_root, self._source, DEFAULT_MAX_PIXELS)
        self._subjects = ThumbnailCache(cache_root, LOOK)
        self._lock = threading.Lock()
        self._made = 0

    @property
    def made(self) -> int:
        """How many were not in the cache."""
        return self._plain.made + self._made

    def __call__(self, key: str) -> bytes | None:
        """A JPEG; None when the file is gone, was changed since, or cannot be read."""
        kind, _, rest = key.partition(" ")
        return self._of_subject(rest) if kind == _SUBJECT else self._plain(key)

    def _of_subject(self, image: str) -> bytes | None:
        sha256, _, path = image.partition(" ")
        if found := self._subjects.get(sha256):
            return found
        try:
            item = self._source.find(path)
            data = self._source.read(item) if item else b""
            if content_hash(data) != sha256:
                return None
            made = thumbnail(on_ground(PngImageFile(io.BytesIO(data))))
        except (StorageError, OSError, SyntaxError, ValueError):  # the last three are Pillow's
            return None
        with self._lock:
            self._subjects.add(sha256, made)
            self._made += 1
        return made

    def flush(self) -> None:
        """Write what was made to the caches."""
        self._plain.flush()
        self._subjects.flush()


def on_ground(image: Image.Image) -> Image.Image:
    """A small picture of an image with transparency, over grey squares; RGB, its longer side at most that of a thumbnail."""
    scale = min(1.0, SIDE / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    # Pillow weighs colours by alpha when it shrinks, so that none of what was cut away comes back at the edge.
    small = image.convert("RGBA").resize(size, Image.Resampling.BOX, reducing_gap=1.0)
    ground = _ground(size)
    ground.paste(small, mask=small)
    return ground


def _ground(size: tuple[int, int]) -> Image.Image:
    ground = Image.new("RGB", size, (GREYS[0],) * 3)
    draw = ImageDraw.Draw(ground)
    for y in range(0, size[1], SQUARE):
        for x in range(y // SQUARE % 2 * SQUARE, size[0], 2 * SQUARE):
            draw.rectangle((x, y, x + SQUARE - 1, y + SQUARE - 1), (GREYS[1],) * 3)
    return ground
