"""The pictures of the training data: cut-out subjects over backgrounds, each made once."""

import io
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from workflow_scripts.core.embeddings import digest
from workflow_scripts.core.images import DecodeError, content_hash, decode
from workflow_scripts.core.own_files import OwnFiles
from workflow_scripts.core.prefetch import ahead
from workflow_scripts.core.step import progress
from workflow_scripts.lora import by_hand
from workflow_scripts.lora.backgrounds import Background, BackgroundError, Library, Size, crop
from workflow_scripts.lora.matting import lay_over

ALGORITHM = 1  # bumped by hand when pictures change for the same settings
EDITED = "edited by a person"
QUALITY = 95  # of JPEG
PIXEL_BYTES = 32  # that a picture takes while it is worked on
Row = dict[str, Any]


class SubjectError(Exception):
    """A cut-out subject cannot be used; the text is `subject: <reason>`."""


@dataclass(slots=True)
class _Work:
    """A picture to make: the size of its frame, once it is known, and what is behind the subject, or why there is nothing."""

    row: Row
    background: Background
    size: Size = (0, 0)
    behind: Image.Image | str = ""

    @property
    def name(self) -> str:
        return by_hand.composite_name(self.row["category"], self.row["frame_id"])


class Compositor:
    """Makes the pictures of a workspace.

    Attributes:
        own: the files that it made.
        counts: `current` pictures that stood there, `edited` ones, and those `made`.
    """

    def __init__(self, root: Path, library: Library, settings: dict[str, Any], threads: int) -> None:
        """Open the folder; arguments as of `composite`."""
        self._root, self._library, self._settings, self._threads = root, library, settings, threads
        self._folder = root / by_hand.FOLDER
        self.own = OwnFiles(self._folder, by_hand.COMPOSITES)
        self.counts = Counter(dict.fromkeys(("current", "edited", "made"), 0))

    def compose(self, rows: list[Row]) -> list[Row]:
        """Bring the pictures to what these rows of SELECTION ask for; gives what COMPOSITES says of each beside its frame and subject."""
        works = [_Work(row, self._library.choose(self._settings["seed"], row["sha256"])) for row in rows]
        edited = {work.name for work in works if self.own.is_theirs(work.name)}
        todo = [work for work in works if work.name not in edited and not self.own.is_current(work.name, self._key(work))]
        made = ahead(self._make, self._with_backgrounds(todo), threads=self._threads, depth=2 * self._threads, weight=_weight)
        errors = {work.name: error for work, error in progress(made, total=len(todo)) if error}
        self.counts.update(edited=len(edited), current=len(works) - len(todo) - len(edited), made=len(todo) - len(errors))
        return [self._edited(work) if work.name in edited else self._made(work, errors.get(work.name)) for work in works]

    def _key(self, work: _Work) -> str:
        """The background's blur and crop follow from what stands here."""
        parts = [ALGORITHM, work.row["sha256"], work.row["file_sha256"], work.background.sha256, self._settings]
        return by_hand.composite_key(work.row["sha256"], digest(parts))

    def _with_backgrounds(self, works: list[_Work]) -> Iterator[_Work]:
        """Each background is read once for all frames of a size that it stands behind."""
        groups: dict[tuple[str, Size], list[_Work]] = defaultdict(list)
        for work in works:
            try:
                with PngImageFile(self._root / work.row["path"]) as image:
                    work.size = image.size
            except (OSError, SyntaxError, ValueError) as error:
                work.behind = f"subject: {_reason(error)}"
                yield work
                continue
            groups[work.background.sha256, work.size].append(work)
        loaded = ahead(self._load, groups.values(), threads=self._threads, depth=self._threads, weight=lambda group: _weight(group[0]))
        for group, behind in zip(groups.values(), loaded, strict=True):
            for work in group:
                work.behind = behind
                yield work

    def _load(self, group: list[_Work]) -> Image.Image | str:
        """Runs in a thread: the background of a group, or why there is none."""
        try:
            return self._library.load(group[0].background, group[0].size, self._settings["blur_radius"])
        except BackgroundError as error:
            return str(error)

    def _make(self, work: _Work) -> tuple[_Work, str | None]:
        """Runs in a thread: write a picture; gives why it could not be made, if it could not."""
        behind, work.behind = work.behind, ""
        if isinstance(behind, str):
            return work, behind
        try:
            subject = self._subject(work.row)
        except SubjectError as error:
            return work, str(error)
        part = crop(behind, work.size, self._settings["seed"], work.row["sha256"])
        picture = lay_over(subject, part, decontaminate=self._settings["decontaminate"])
        with self.own.write(work.name, self._key(work)) as partial:
            picture.save(partial, "JPEG", quality=QUALITY, subsampling=0)
        return work, None

    def _subject(self, row: Row) -> Image.Image:
        try:
            data = (self._root / row["path"]).read_bytes()
            if content_hash(data) != row["file_sha256"]:
                raise SubjectError("subject: another content than step 04 selected")
            with PngImageFile(io.BytesIO(data)) as image:
                image.load()
                if image.mode != "RGBA":
                    raise SubjectError(f"subject: {image.mode}, not RGBA")
                return image
        except (OSError, SyntaxError, ValueError) as error:
            raise SubjectError(f"subject: {_reason(error)}") from error

    def _made(self, work: _Work, error: str | None) -> Row:
        if error:
            return {"outcome": "error", "reason": error}
        with Image.open(self._folder / work.name) as image:
            width, height = image.size
        background = {"background": work.background.path, "background_sha256": work.background.sha256}
        return self._place(work, self.own.sha256(work.name), width, height) | background

    def _edited(self, work: _Work) -> Row:
        """Of a picture that a person changed, or put there; what is behind the subject is theirs to know."""
        try:
            data = (self._folder / work.name).read_bytes()
            look = decode(data)
        except OSError as error:
            return {"outcome": "error", "reason": f"{EDITED}: {_reason(error)}"}
        except DecodeError as error:
            return {"outcome": "error", "reason": f"{EDITED}: {error}"}
        return self._place(work, content_hash(data), look.width, look.height) | {"reason": EDITED}

    def _place(self, work: _Work, sha256: str | None, width: int, height: int) -> Row:
        path = f"{by_hand.FOLDER}/{work.name}"
        return {"path": path, "file_sha256": sha256, "width": width, "height": height, "outcome": "composited"}


def _weight(work: _Work) -> int:
    return PIXEL_BYTES * work.size[0] * work.size[1]


def _reason(error: Exception) -> str:
    """An error without the path, which stands in the row."""
    return (error.strerror or "").lower() if isinstance(error, OSError) and error.strerror else "no PNG that can be read"
