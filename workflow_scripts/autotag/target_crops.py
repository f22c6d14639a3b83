"""The saved crops of a target's images, in a folder where people may look."""

import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from workflow_scripts.autotag.segments import Segment, choose, crop, crop_ids
from workflow_scripts.autotag.tables import COUNTED, ERROR, SEGMENTED
from workflow_scripts.autotag.target_finder import Look, Seen
from workflow_scripts.core.embeddings import digest
from workflow_scripts.core.images import DECODE_VERSION
from workflow_scripts.core.own_files import OwnFiles

FOLDER = "crops"
QUALITY = 95
ALGORITHM = 1  # bumped by hand when a crop's bytes change for the same box of the same image
LONGEST = 65_500  # pixels of a JPEG's side
Row = dict[str, Any]
Result = tuple[Row, list[Row]]


class Crops:
    """The crops of one target. A crop that somebody took away is made again; one that somebody changed stays, and is no crop any more."""

    def __init__(self, folder: Path, segment: Mapping[str, Any], keys: Mapping[str, str]) -> None:
        """Open the folder.

        Args:
            folder: with the crops; need not exist.
            segment: the settings that `segments.choose` takes.
            keys: of the images, by their paths.
        """
        self._own = OwnFiles(folder, "crops")
        self._segment, self._keys = segment, keys
        self.made = 0

    def need_pixels(self, look: Look) -> bool:
        """Whether a crop of an image has to be made, whose segments are known."""
        return any(not self._stands(name, key) for name, key, _ in self._chosen(look)[0])

    def save(self, look: Look) -> Result:
        """Make those crops of an image that do not stand there; gives its row of TARGET_IMAGES and its rows of TARGET_SEGMENTS.

        Safe in threads, for different images.
        """
        row: Row = {"image": look.item.key, "key": self._keys[look.item.key], "sha256": look.sha256}
        if look.seen is None or look.error:
            return row | {"outcome": ERROR, "reason": look.error}, []
        row |= {"width": look.seen.width, "height": look.seen.height}
        chosen, counts = self._chosen(look)
        if any(_side(segment) > LONGEST for _, _, segment in chosen):
            return row | {"outcome": ERROR, "reason": f"crop: longer than {LONGEST} pixels, the most of a JPEG"}, []
        for name, key, segment in chosen:
            if not self._stands(name, key):
                assert look.image is not None
                self._write(name, key, crop(look.image, segment))
        crops = [row | asdict(segment) | self._file(name) for name, _, segment in chosen]
        return row | {name: counts[name] for name in COUNTED} | {"outcome": SEGMENTED, "reason": None}, crops

    def close(self, wanted: Iterable[str]) -> None:
        """Remove the crops that are not wanted any more, as far as nobody changed them."""
        self._own.close(wanted)

    def _chosen(self, look: Look) -> tuple[list[tuple[str, str, Segment]], dict[str, int]]:
        """File, key of the file and segment of each crop; and the counts."""
        seen: Seen | None = look.seen
        assert seen is not None
        segments, counts = choose(seen.found, (seen.width, seen.height), self._segment, always=True)
        ids = crop_ids(self._keys[look.item.key], segments)
        keys = [digest([ALGORITHM, DECODE_VERSION, look.sha256, segment.bbox]) for segment in segments]
        return [(f"{name}.jpg", key, segment) for name, key, segment in zip(ids, keys, segments, strict=True)], counts

    def _stands(self, name: str, key: str) -> bool:
        """Whether nothing is to be written: the crop is there, or something else that is not ours."""
        return self._own.is_current(name, key) or self._own.is_theirs(name)

    def _write(self, name: str, key: str, image: Image.Image) -> None:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=QUALITY, icc_profile=b"", exif=b"")
        with self._own.write(name, key) as partial:
            partial.write_bytes(buffer.getvalue())

    def _file(self, name: str) -> Row:
        """Name and content; no content where a file of somebody else stands."""
        return {"crop_id": name.removesuffix(".jpg"), "file": name, "file_sha256": self._own.sha256(name)}


def _side(segment: Segment) -> int:
    x1, y1, x2, y2 = segment.bbox
    return max(x2 - x1, y2 - y1)
