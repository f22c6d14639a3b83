"""The manifest of a block of source shards: which files the job left beside it, and what computed them."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from workflow_scripts.core.embeddings import Vectors
from workflow_scripts.core.json_files import read_json, write_json
from workflow_scripts.core.models import hash_file
from workflow_scripts.core.step import StepError

EMBEDDINGS, METADATA, METADATA_JSON, IMAGES_TABLE = "embeddings", "metadata", "metadata_json", "images"
FILES = {
    EMBEDDINGS: "embeddings/embeddings_{}.npy",
    METADATA: "embeddings/metadata_{}.parquet",
    METADATA_JSON: "embeddings/metadata_{}.json",
    IMAGES_TABLE: "embeddings/images_{}.parquet",
}


@dataclass(frozen=True)
class Shard:
    """What was made of one shard.

    Attributes:
        shard: its number, of five digits.
        rows: crops, and vectors.
        outcomes: how many samples came to what.
        untagged: how many of the embedded images have no tags.
        files: by kind: path below the folder of the source's results, size, sha256.
    """

    shard: str
    rows: int
    outcomes: dict[str, int]
    untagged: int
    files: dict[str, dict[str, Any]]

    def path(self, folder: Path, kind: str) -> Path:
        """Where a file of the shard lies.

        Raises:
            StepError: it is gone or has another size than the manifest says.
        """
        path = folder / self.files[kind]["path"]
        if not path.is_file() or path.stat().st_size != self.files[kind]["size"]:
            mend = f"delete the manifest of its block in {folder / 'blocks'}, and it is made again"
            raise StepError(f"{path}: is gone or was changed since it was made; {mend}")
        return path

    def vectors(self, folder: Path) -> Vectors:
        """The vectors [rows, d] float16, memory-mapped.

        Raises:
            StepError: the file is not what the manifest says.
        """
        path = self.path(folder, EMBEDDINGS)
        found: Vectors = np.load(path, mmap_mode="r", allow_pickle=False) if self.rows else np.load(path, allow_pickle=False)
        if len(found) != self.rows:
            raise StepError(f"{path}: holds {len(found)} vectors, the manifest says {self.rows}")
        return found


@dataclass(frozen=True)
class Block:
    """What a job made.

    Attributes:
        block: its number, of four digits.
        embedding: what computed the vectors: `fingerprint`, `model` (name, pretrained, sha256), `precision`, `d`.
        segmenter: what took the images apart: `fingerprint`, `backend`, `sha256`, `prompts`.
        shards: in the order of their numbers.
        missing: shards that were asked for and are not there.
    """

    block: str
    embedding: dict[str, Any]
    segmenter: dict[str, Any]
    shards: tuple[Shard, ...]
    missing: tuple[str, ...] = field(default=())

    @property
    def rows(self) -> int:
        """Crops of all shards."""
        return sum(shard.rows for shard in self.shards)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a manifest that `write` made."""
        found = read_json(path)
        shards = tuple(Shard(**shard) for shard in found.pop("shards"))
        return cls(**found | {"shards": shards, "missing": tuple(found["missing"])})

    def write(self, path: Path) -> None:
        """Write the manifest as JSON."""
        write_json(path, asdict(self))


def file_entry(folder: Path, kind: str, shard: str) -> dict[str, Any]:
    """What a manifest says of a file that lies there."""
    relative = FILES[kind].format(shard)
    path = folder / relative
    return {"path": relative, "size": path.stat().st_size, "sha256": hash_file(path)}


def check_one_model(blocks: Iterable[Block]) -> dict[str, Any]:
    """What computed the vectors of all blocks, `Block.embedding`; precisions may differ.

    Raises:
        StepError: several models did, or vectors have several lengths; or there is no block.
    """
    found: dict[tuple[str, int], tuple[str, dict[str, Any]]] = {}
    for block in blocks:
        found.setdefault((block.embedding["model"]["sha256"], block.embedding["d"]), (block.block, block.embedding))
    if len(found) != 1:
        names = "; ".join(
            f"block {block}: {embedding['model']['name']} {embedding['model']['sha256'][:8]}" for block, embedding in found.values()
        )
        raise StepError(f"the blocks were embedded by {len(found)} models ({names}); delete the odd ones, and they are made again")
    return next(iter(found.values()))[1]
