"""Source shards made of given vectors and rows, as step 01 leaves them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.autotag.blocks import EMBEDDINGS, FILES, IMAGES_TABLE, METADATA, Block, Shard, file_entry
from workflow_scripts.autotag.tables import EMBEDDED, IMAGES, SEGMENTS
from workflow_scripts.core import tables

Row = dict[str, Any]
MODEL = {"name": "tiny", "pretrained": "weights.pt", "sha256": "ab" * 32}


def content(name: str) -> str:
    """The sha256 of an image of this name."""
    return hashlib.sha256(name.encode()).hexdigest()


def clustered(count: int, d: int, seed: int = 0, clusters: int = 20, spread: float = 0.6) -> np.ndarray:
    """Unit vectors [count, d] float16 round some centres, which are the same for every seed."""
    centres = np.random.default_rng(99).normal(size=(clusters, d))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    rng = np.random.default_rng(seed)
    vectors = centres[rng.integers(0, clusters, count)] + rng.normal(size=(count, d)) * spread / np.sqrt(d)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def segment_rows(shard: str, count: int, per_image: int = 3, **more: Any) -> list[Row]:
    """Rows of SEGMENTS: some crops an image, each with a tag of its own and one of its image."""
    rows = []
    for number in range(count):
        key, i = f"{shard}{number // per_image:04d}", number % per_image
        rows.append(
            {"key": key, "crop_id": f"{key}_{i}", "shard": shard, "sha256": content(key), "width": 64, "height": 48}
            | {"bbox": [0, 0, 9, 9], "area": 81, "box_area": 81, "label": f"thing {i}", "vlm_tags": [f"thing {i}", "straße ☂"]}
            | more
        )
    return rows


def write_shard(folder: Path, shard: str, vectors: np.ndarray, rows: Sequence[Row]) -> Shard:
    """The files of a shard; gives its entry in the manifest."""
    path = folder / FILES[EMBEDDINGS].format(shard)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.asarray(vectors, np.float16))
    tables.write(folder / FILES[METADATA].format(shard), SEGMENTS, list(rows))
    images = {row["sha256"]: row | {"tags": row["vlm_tags"], "outcome": EMBEDDED} for row in rows}
    tables.write(folder / FILES[IMAGES_TABLE].format(shard), IMAGES, list(images.values()))
    files = {kind: file_entry(folder, kind, shard) for kind in (EMBEDDINGS, METADATA, IMAGES_TABLE)}
    return Shard(shard, len(rows), {EMBEDDED: len(images)}, sum(not image["tags"] for image in images.values()), files)


def write_block(folder: Path, block: str, shards: Sequence[Shard], d: int, **model: str) -> Path:
    """The manifest of a block; gives its path."""
    embedding = {"fingerprint": "f" * 16, "model": MODEL | model, "precision": "fp32", "d": d}
    segmenter = {"fingerprint": "e" * 16, "backend": "fastsam", "sha256": "cd" * 32, "prompts": "everything"}
    path = folder / f"blocks/block_{block}.json"
    Block(block, embedding, segmenter, tuple(shards)).write(path)
    return path
