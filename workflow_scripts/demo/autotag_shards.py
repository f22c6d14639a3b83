"""The source of the autotag demo: web dataset shards of drawn images, some of them damaged or odd on purpose."""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.core.images import content_hash
from workflow_scripts.core.json_files import write_json
from workflow_scripts.core.step import atomic_output
from workflow_scripts.demo.autotag_scenes import Picture, listed_tags, picture
from workflow_scripts.demo.drawing import rng_for

IMAGE, UNTAGGED, ERROR, ABSENT = "image", "untagged", "error", "absent"
# What is odd in the first shard, by number. The others are as a crawler writes them.
ODD_KEY, DOTTED, DAMAGED, TWICE, NO_MEMBER, NO_ROW = 5, 6, 9, 13, 16, 22
COPIED = 30  # number of the first shard's image that a target has too
NO_TAGS = 20  # of so many images one is untagged
LOST = 8  # samples of the last shard that its tar breaks off before the end of
TABLE = pa.schema([("key", pa.string()), ("url", pa.string()), ("width", pa.int32()), ("height", pa.int32()), ("sha256", pa.string())])


@dataclass(frozen=True)
class Sample:
    """A sample of a shard.

    Attributes:
        key: of the webdataset.
        picture: what was drawn.
        data: the bytes of its image, None where it has no members.
        kind: what the pipeline should make of it: `image`, `untagged` (an image that cannot vote), `error` or `absent`.
        tags: as the source lists them; None where the list lacks it.
        has_row: whether the table has a row for it.
    """

    key: str
    picture: Picture
    data: bytes | None
    kind: str
    tags: list[str] | None
    has_row: bool = True

    @property
    def fate(self) -> list[tuple[str, str]]:
        """What the pipeline should make of it, by key: a sample's key ends at the first dot, and tables know nothing of that."""
        bare = self.key.rpartition("/")[2].split(".")[0]
        return [(self.key, self.kind)] if self.key.endswith(bare) else [(bare, ERROR), (self.key, ABSENT)]

    @property
    def entry(self) -> dict[str, Any]:
        """What tables, lists and the member `.json` say of it."""
        width, height = self.picture.size
        return {"key": self.key, "url": f"https://example.org/{self.key}.jpg", "width": width, "height": height}


def name_of(shard: int) -> str:
    """How a shard's files are called."""
    return f"{shard:05d}"


def key_of(shard: int, number: int) -> str:
    """Key of a sample."""
    if shard == 0 and number in (ODD_KEY, DOTTED, TWICE):
        return {ODD_KEY: 'album v1.2/100% "odd", it\'s #5 写真', DOTTED: "holiday.v2", TWICE: key_of(0, TWICE - 1)}[number]
    return f"{shard:05d}{number:04d}"


def draw_sample(seed: int, shard: int, number: int, images: int, shards: int) -> Sample:
    """The sample of this number, of `images` in each of `shards`."""
    drawn = picture(seed, "source", name_of(shard), str(number))
    listed: list[str] | None = listed_tags(drawn.tags, rng_for(seed, "autotag", "tags", name_of(shard), str(number)))
    kind = IMAGE
    if number % NO_TAGS == NO_TAGS - 1:
        kind, listed = UNTAGGED, [] if number % (2 * NO_TAGS) < NO_TAGS else None
    data: bytes | None = drawn.data
    has_row = True
    if shard == 0 and number == DAMAGED:
        kind, data = ERROR, drawn.data[: len(drawn.data) // 2]
    elif shard == 0 and number in (DOTTED, TWICE):
        kind = ERROR
    elif shard == 0 and number == NO_MEMBER:
        kind, data = ABSENT, None
    elif shard == 0 and number == NO_ROW:
        kind, listed, has_row = UNTAGGED, None, False
    if shard == shards - 1 and number >= images - LOST:
        kind = ERROR if number == images - LOST else ABSENT
    return Sample(key_of(shard, number), drawn, data, kind, listed, has_row)


def write_shard(folder: Path, tags: Path, shard: int, samples: list[Sample], *, is_last: bool) -> None:
    """Write the tar and the table of a shard, and the list of its tags; the tar of the last one breaks off."""
    from webdataset.writer import TarWriter  # type: ignore[import-untyped]

    path = folder / f"{name_of(shard)}.tar"
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_output(path) as partial, partial.open("wb") as file, TarWriter(file, mtime=0, encoder=False) as tar:
        for sample in samples:
            if sample.data is not None:
                about = json.dumps(sample.entry, ensure_ascii=False).encode()
                tar.write({"__key__": sample.key, "jpg": sample.data, "json": about, "txt": sample.picture.caption.encode()})
    if is_last:
        break_off(path, f"{samples[-LOST].key}.jpg")
    rows = [sample.entry | {"sha256": content_hash(sample.picture.data)} for sample in samples if sample.has_row]
    with atomic_output(folder / f"{name_of(shard)}.parquet") as partial:
        pq.write_table(pa.Table.from_pylist(rows, TABLE), partial, compression="zstd")
    listed = [sample.entry | {"image_path": f"{sample.key}.jpg", "tags": sample.tags} for sample in samples if sample.tags is not None]
    write_json(tags / f"{name_of(shard)}.json", listed)


def break_off(path: Path, member: str) -> None:
    """Cut a tar off in the middle of a member."""
    with tarfile.open(path) as tar:
        found = tar.getmember(member)
    with path.open("r+b") as file:
        file.truncate(found.offset_data + found.size // 2)


def draw_shard(seed: int, shard: int, images: int, shards: int) -> Iterator[Sample]:
    """The samples of a shard, in order."""
    for number in range(images):
        yield draw_sample(seed, shard, number, images, shards)
