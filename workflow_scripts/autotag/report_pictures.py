"""autotag 09: the pictures of the report: target images from their folder, source images from their place in a tar."""

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts.autotag.blocks import FILES, IMAGES_TABLE, METADATA
from workflow_scripts.core.cache import ThumbnailCache
from workflow_scripts.core.images import THUMBNAIL_SIDE, DecodeError, content_hash, decode, largest_file, thumbnail
from workflow_scripts.core.prefetch import ahead
from workflow_scripts.core.step import progress
from workflow_scripts.core.storage import FolderStorage
from workflow_scripts.core.thumbnails import Thumbnails

TARGET, SOURCE = "target", "source"
Segment = tuple[str, str]  # `{shard}/{key}` of an image, and the id of a crop of it


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A source image and one of its segments.

    Attributes:
        picture: key of its thumbnail.
        url: where it comes from; empty where that is not known.
        label: of the segment; empty where it has none.
        box: of the segment: x0, y0, x1, y1 as parts of width and height.
    """

    picture: str
    url: str
    label: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Neighbours:
    """Source images by name and segment, and what is gone.

    Attributes:
        known: those that are found.
        tars: the shards whose tar is gone, so that the images have no picture unless the cache holds it.
        tables: the shards whose tables are gone, so that nothing is known of their images.
    """

    known: dict[Segment, Neighbour]
    tars: list[str]
    tables: list[str]


def target_picture(sha256: str, image: str) -> str:
    """The key of a target image's thumbnail."""
    return f"{TARGET} {sha256} {image}"


def find_neighbours(wanted: Iterable[Segment], folder: Path, dataset: Path, threads: int) -> Neighbours:
    """Look up segments of source images; of each shard that one of them is of two tables are read, and of these few columns.

    Args:
        wanted: the segments.
        folder: with the source's results, in `embeddings/`.
        dataset: with the tars.
        threads: how many shards are read at a time.
    """
    by_shard: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for name, segment in wanted:
        shard, _, key = name.partition("/")
        by_shard[shard].add((key, segment))
    known: dict[Segment, Neighbour] = {}
    tars, tables = [], []
    shards = sorted(by_shard)
    found = ahead(lambda shard: _of_shard(shard, by_shard[shard], folder), shards, threads=threads, depth=2 * threads)
    for shard, some in zip(shards, progress(found, total=len(shards), unit="shards"), strict=True):
        if some is None:
            tables.append(shard)
            continue
        known |= some
        if not (dataset / f"{shard}.tar").is_file():
            tars.append(shard)
    return Neighbours(known, tars, tables)


def _of_shard(shard: str, wanted: set[tuple[str, str]], folder: Path) -> dict[Segment, Neighbour] | None:
    """The segments of one shard; None when its tables are gone."""
    paths = [folder / FILES[kind].format(shard) for kind in (IMAGES_TABLE, METADATA)]
    if not all(path.is_file() for path in paths):
        return None
    columns = ["key", "offset", "size", "url", "sha256", "width", "height"]
    images = {row["key"]: row for row in _some(paths[0], "key", {key for key, _ in wanted}, columns) if row["sha256"]}
    segments = _some(paths[1], "crop_id", {segment for _, segment in wanted}, ["key", "crop_id", "bbox", "label"])
    return {
        (f"{shard}/{row['key']}", row["crop_id"]): _neighbour(shard, images[row["key"]], row)
        for row in segments
        if (row["key"], row["crop_id"]) in wanted and row["key"] in images
    }


def _some(path: Path, column: str, values: set[str], columns: list[str]) -> list[dict[str, Any]]:
    table = pq.read_table(path, columns=columns)
    rows: list[dict[str, Any]] = table.filter(pc.is_in(table[column], pa.array(sorted(values), pa.string()))).to_pylist()
    return rows


def _neighbour(shard: str, image: Mapping[str, Any], segment: Mapping[str, Any]) -> Neighbour:
    picture = f"{SOURCE} {image['sha256']} {shard} {image['offset']} {image['size']}"
    return Neighbour(picture, image["url"] or "", segment["label"] or "", box_of(segment["bbox"], image))


def box_of(bbox: Iterable[int], image: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """A box in pixels as parts of the image's width and height."""
    x0, y0, x1, y1 = bbox
    return x0 / image["width"], y0 / image["height"], x1 / image["width"], y1 / image["height"]


class Pictures:
    """The small picture of a key of `target_picture` or of a `Neighbour`; from the cache, else from the image, and then kept."""

    def __init__(self, cache_root: str, target: Path, dataset: Path, max_pixels: int) -> None:
        """Open the caches; `target` is the folder of the target's images, `dataset` that of the source's tars."""
        self._targets = Thumbnails(cache_root, FolderStorage(target), max_pixels)
        self._sources = ThumbnailCache(cache_root)
        self._dataset = dataset
        self._max_pixels = max_pixels
        self._lock = threading.Lock()
        self._made = 0

    @property
    def made(self) -> int:
        """How many were not in the cache."""
        return self._targets.made + self._made

    def __call__(self, key: str) -> bytes | None:
        """A JPEG; None when the image is gone or is another now."""
        kind, _, rest = key.partition(" ")
        return self._targets(rest) if kind == TARGET else self._of_source(*rest.split(" "))

    def _of_source(self, sha256: str, shard: str, offset: str, size: str) -> bytes | None:
        if found := self._sources.get(sha256):
            return found
        if int(size) > largest_file(self._max_pixels):
            return None
        try:
            with open(self._dataset / f"{shard}.tar", "rb") as tar:
                tar.seek(int(offset))
                data = tar.read(int(size))
            if content_hash(data) != sha256:
                return None
            made = thumbnail(decode(data, max_pixels=self._max_pixels, min_side=THUMBNAIL_SIDE).image)
        except (OSError, DecodeError):
            return None
        with self._lock:
            self._sources.add(sha256, made)
            self._made += 1
        return made

    def flush(self) -> None:
        """Write what was made to the cache."""
        self._targets.flush()
        self._sources.flush()
