"""A small tagged collection in real web dataset shards, and models that are simple enough to foretell."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import webdataset
from PIL import Image

from workflow_scripts.autotag.flow import Flow, Models
from workflow_scripts.autotag.segmenters.base import Found, Segmenter
from workflow_scripts.autotag.source import Places, Recipe, embed_source
from workflow_scripts.core.preprocess import Preprocess

SEGMENT = {"backend": "sam3", "conf": 0.25, "imgsz": 64, "max_segments": 8, "min_area": 50, "min_crop": 1}
SEGMENT |= {"prompts": "tags", "whole_image": True}
WIDTH = 12
BLACK, CURSED, GREEDY = (0, 0, 0), (250, 0, 250), (0, 250, 250)  # no vector; the segmenter fails; it runs out of memory


def picture(colour, size=(64, 48), kind="PNG"):
    """An image file of one colour, with a frame in half of it so that not every crop is alike."""
    image = Image.new("RGB", size, tuple(value // 2 for value in colour))
    image.paste(colour, (0, 0, size[0] - 8, size[1] - 8))
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


class Words(Segmenter):
    """Finds a box for each word, the first surest, in the order of the words' lengths; without words the upper left quarter.

    `calls`: how many images it was given each time. `broken`: it fails at whatever it is given.
    """

    takes_words = True
    fingerprint = "words"

    def __init__(self, batch=3, broken=False, alone=False):
        self.batch, self.broken, self.alone = batch, broken, alone
        self.calls, self.asked = [], []

    def segment(self, images, words):
        self.calls.append(len(images))
        self.asked += [list(each) for each in words]
        corners = {image.getpixel((0, 0)) for image in images}
        if self.broken or CURSED in corners or (self.alone and len(images) > 1):
            raise ValueError("cannot reshape\n array of size 0")
        if GREEDY in corners:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return [self._found(image, each) for image, each in zip(images, words, strict=True)]

    @staticmethod
    def _found(image, words):
        width, height = image.size
        if not words:
            return [Found((0, 0, width / 2, height / 2), 0.5, 0, None, None)]
        return [Found((i, i, width - 4 * i, height), 0.9 - i / 100, i, word, None) for i, word in enumerate(words)]


class Means:
    """Vectors of mean colours of the parts of a crop, L2-normalised: a black one has none. `batches`: how many rows came each time."""

    def __init__(self, batch=4):
        self.batch, self.batches = batch, []

    def encode(self, pixels):
        assert pixels.dtype == np.uint8
        self.batches.append(len(pixels))
        parts = [half.mean(axis=(1, 2)) for rows in np.split(pixels, 2, axis=1) for half in np.split(rows, 2, axis=2)]
        vectors = np.concatenate(parts, axis=1).astype(np.float32)
        with np.errstate(invalid="ignore"):
            return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def models(segmenter=None, encoder=None):
    """Models that are there already."""
    segmenter, encoder = segmenter or Words(), encoder or Means()
    return Models(lambda: segmenter, lambda: encoder, Preprocess(8, "shortest", "bicubic", 0, False), WIDTH)


def flow(segmenter=None, encoder=None, max_pixels=10_000, **segment):
    """A flow of such models."""
    return Flow(models(segmenter, encoder), SEGMENT | segment, threads=2, max_pixels=max_pixels)


class Collection:
    """Folders with shards, their tags and the results."""

    def __init__(self, root):
        self.root = Path(root)
        self.places = Places(self.root / "shards", self.root / "tags", self.root / "results")
        for folder in self.places[:2]:
            folder.mkdir(parents=True, exist_ok=True)

    def write(self, shard, samples, *, rows=None, tags=None):
        """Write a shard.

        Args:
            shard: its number.
            samples: key → members by extension, or the bytes of a png.
            rows: keys of its table, or key → url; None: those of the samples.
            tags: key → tags, or a list of entries; None: no file.
        """
        with webdataset.TarWriter(str(self.places.tar(shard)), mtime=0, encoder=False) as writer:
            for key, members in samples.items():
                members = {"png": members} if isinstance(members, bytes) else members
                writer.write({"__key__": key} | members)
        rows = {key: f"https://example.org/{key}" for key in (samples if rows is None else rows)} if not isinstance(rows, dict) else rows
        pq.write_table(pa.table({"__key__": list(rows), "url": list(rows.values())}), self.places.dataset / f"{shard}.parquet")
        if tags is not None:
            entries = [{"key": key, "tags": each} for key, each in tags.items()] if isinstance(tags, dict) else tags
            (self.places.tags / f"{shard}.json").write_text(json.dumps(entries))

    def run(self, *shards, segmenter=None, encoder=None, words=None, max_pixels=10_000, states=None, **segment):
        """Make the files of shards; gives the counts."""
        settings = SEGMENT | segment
        embedding = {"d": WIDTH, "fingerprint": "means", "model": {"name": "m", "pretrained": "p", "sha256": "0"}, "precision": "fp32"}
        found = {"fingerprint": "words", "sha256": "1", "backend": settings["backend"], "prompts": settings["prompts"]}
        recipe = Recipe(settings, words, max_pixels, embedding, found)
        chosen = {shard: (states or {}).get(shard) for shard in shards}
        return embed_source(chosen, self.places, recipe, models(segmenter, encoder), self.manifest, threads=2)

    @property
    def manifest(self):
        return self.places.folder / "blocks/block_0000.json"

    def files(self):
        """All results by name with their content."""
        return {
            str(path.relative_to(self.places.folder)): path.read_bytes() for path in sorted(self.places.folder.rglob("*")) if path.is_file()
        }


def sha256(data):
    return hashlib.sha256(data).hexdigest()
