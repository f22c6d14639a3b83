"""The library of backgrounds: which one a frame gets, and what of it is seen."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageFilter

from workflow_scripts.core.images import IMAGE_EXTENSIONS, DecodeError, content_hash, decode, extension
from workflow_scripts.core.inspect import Inspector, Look
from workflow_scripts.core.seeded import pick, rank
from workflow_scripts.core.step import StepError, log, progress
from workflow_scripts.core.storage import FolderStorage, Item, StorageError, StoreError, is_valid_key, printable_key

LONGER_SIDE = 1024  # pixels at which blur_radius holds
Size = tuple[int, int]  # width, height


class BackgroundError(Exception):
    """A background cannot be read any more; the text is `background: <reason>`."""


@dataclass(frozen=True, slots=True)
class Background:
    """An image of the library: the first by name of those with its content."""

    path: str
    sha256: str
    item: Item
    look: Look


class Library:
    """The readable images of a folder, by content.

    Attributes:
        unreadable: why images cannot be used, by path.
    """

    def __init__(self, folder: Path, *, cache_root: str, max_pixels: int, threads: int) -> None:
        """Look at the folder; what was looked at before is not read again.

        Raises:
            StepError: there is no readable image in it.
        """
        mend = "put images there that shall stand behind the subjects, or name their folder in the workspace's `backgrounds`"
        self._storage, self._max_pixels = FolderStorage(folder), max_pixels
        try:
            items = [item for item in self._storage.list() if extension(item.key) in IMAGE_EXTENSIONS and is_valid_key(item.key)]
        except StoreError as error:
            raise StepError(f"{error}; {mend}") from error
        self._by_content: dict[str, Background] = {}
        self.unreadable: dict[str, str] = {}
        inspector = Inspector(cache_root=cache_root, max_pixels=max_pixels, threads=threads)
        for found in progress(inspector.inspect(items, self._storage), total=len(items), unit="backgrounds"):
            path = printable_key(found.item.key)
            if found.look is None or found.sha256 is None:
                self.unreadable[path] = found.error or ""
                log.warning("%s: not used as a background: %s", folder / path, found.error)
            else:
                self._by_content.setdefault(found.sha256, Background(path, found.sha256, found.item, found.look))
        if not self._by_content:
            unreadable = f" ({len(items)} that cannot be read)" if items else ""
            raise StepError(f"{folder}: no readable image{unreadable}; {mend}")

    def __len__(self) -> int:
        """How many different backgrounds there are."""
        return len(self._by_content)

    def choose(self, seed: int, sha256: str) -> Background:
        """The background of the frame with this content. One more or fewer in the library changes that of few other frames."""
        return self._by_content[pick(self._by_content, "background", seed, sha256)]

    def load(self, background: Background, size: Size, blur_radius: float) -> Image.Image:
        """A background, as small as covers a size, blurred.

        Args:
            background: of this library.
            size: of the frame.
            blur_radius: standard deviation of the Gaussian, which Pillow approximates by repeated box blurs, in pixels at a frame of
                `LONGER_SIDE`; it grows with the frame.

        Raises:
            BackgroundError: the file is gone, was replaced or cannot be read.
        """
        scale = max(size[0] / background.look.width, size[1] / background.look.height)
        covering = (
            max(size[0], round(background.look.width * scale)),
            max(size[1], round(background.look.height * scale)),
        )
        try:
            data = self._storage.read(background.item)
            if content_hash(data) != background.sha256:
                raise BackgroundError("background: changed since listing")
            image = decode(data, max_pixels=self._max_pixels, min_side=min(covering)).image
        except StorageError as error:
            raise BackgroundError(f"background: {error}") from error
        except DecodeError as error:
            raise BackgroundError(f"background: {error}") from error
        fitted = image.resize(covering, Image.Resampling.LANCZOS)
        radius = blur_radius * max(size) / LONGER_SIDE
        return fitted.filter(ImageFilter.GaussianBlur(radius)) if radius else fitted


def crop(covering: Image.Image, size: Size, seed: int, sha256: str) -> Image.Image:
    """The part of a covering background that the frame with this content gets: any is as likely."""
    left = rank("left", seed, sha256) % (covering.width - size[0] + 1)
    top = rank("top", seed, sha256) % (covering.height - size[1] + 1)
    return covering.crop((left, top, left + size[0], top + size[1]))
