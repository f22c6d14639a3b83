"""autotag 05 and 06 with the real models: a folder of images to crops, and crops to vectors."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("ultralytics")

from workflow_scripts.autotag import embed_target, segment_target
from workflow_scripts.autotag.embed_target import CHANGED, GONE, embed_crops
from workflow_scripts.autotag.segment_target import Outputs, Prompts, segment_folder
from workflow_scripts.autotag.segmenters.base import Found, Segmenter
from workflow_scripts.autotag.tables import TARGET_SEGMENTS
from workflow_scripts.autotag.target_finder import Finder
from workflow_scripts.core.embed import Embedder
from workflow_scripts.core.json_files import read_json
from workflow_scripts.core.models import WeightsCard, hash_file
from workflow_scripts.core.storage import FolderStorage
from workflow_scripts.core.tables import about, read, write
from workflow_scripts.demo.autotag_examples import draw_example
from workflow_scripts.models.clip_card import make_card

ROOT = Path(__file__).parents[2]
SEGMENTER = ROOT / "resources/demo/autotag/segmenter.pt"
CLIP = ROOT / "resources/demo/clip"
SEGMENT = {"backend": "fastsam", "prompts": "everything", "imgsz": 160, "conf": 0.25}
SEGMENT |= {"min_area": 100, "min_crop": 1, "max_segments": 64, "whole_image": True}
CARD = make_card({"name": "demo", "pretrained": f"{CLIP}/", "sha256": None}, CLIP)
WIDTH = CARD.model_cfg["embed_dim"]


class Halves(Segmenter):
    """Finds the left and the right half of every image."""

    batch, takes_words, fingerprint = 4, False, "halves"

    def segment(self, images: Sequence[Image.Image], words: Sequence[Sequence[str]]) -> list[list[Found]]:
        del words
        return [
            [Found((x, 0.0, x + image.width // 2, float(image.height)), 0.9 - x / 10_000, 0, None, None) for x in (0.0, image.width / 2)]
            for image in images
        ]


class Target:
    """A folder with drawings and what is made of it."""

    def __init__(self, root: Path, images: int = 3) -> None:
        self.root, self.folder = root, root / "photos"
        self.folder.mkdir()
        for number in range(images):
            draw_example(5, "test", number).image.save(self.folder / f"photo {number}.jpg")
        place = root / "out/segmentation"
        self.files = Outputs(place / "images.parquet", place / "segments.parquet", place / "metadata.json")
        place = root / "out/embeddings"
        names = ("embeddings_00000.npy", "metadata_00000.parquet", "metadata_00000.json", "errors.parquet")
        self.results = embed_target.Outputs(*(place / name for name in names))

    def cut(self) -> None:
        finder = Finder("halves", Halves, cache_root=str(self.root / "cache"), threads=1, max_pixels=10**6)
        segment_folder(self.folder, finder, SEGMENT, Prompts(), self.files, threads=1)

    def embed(self, **how: Any) -> dict[str, int]:
        chosen = {"device": "cpu", "batch": 4, "threads": 1, "max_pixels": 10**6, "cache_root": str(self.root / "cache")} | how
        embedder = Embedder(CARD, views="center", decode_mode="full", **chosen)
        return embed_crops(self.files.segments, embedder, WIDTH, self.results)

    @property
    def crops(self) -> Path:
        return self.files.segments.parent / "crops"

    @property
    def vectors(self) -> Any:
        return np.load(self.results.vectors)


@pytest.fixture
def target(tmp_path: Path) -> Target:
    found = Target(tmp_path)
    found.cut()
    return found


def test_every_crop_has_a_vector_in_the_order_of_the_table(target: Target) -> None:
    counts = target.embed()
    assert (counts["listed"], counts["embedded"], counts["errors"]) == (9, 9, 0)
    rows = read(target.results.table)
    assert rows == read(target.files.segments)
    assert (target.vectors.shape, target.vectors.dtype) == ((9, WIDTH), np.float16)
    assert np.abs(np.linalg.norm(target.vectors.astype(np.float64), axis=1) - 1).max() < 2e-3
    single = Embedder(
        CARD, cache_root=str(target.root / "other"), views="center", decode_mode="full", max_pixels=10**6, device="cpu", batch=4, threads=1
    )
    storage = FolderStorage(target.crops)
    for row, vector in zip(rows, target.vectors, strict=True):
        item = storage.find(row["file"])
        assert item
        alone = next(iter(single.embed([item], storage))).vectors
        assert alone is not None
        assert alone[0].astype(float) @ vector.astype(float) > 0.999


def test_the_tables_say_what_computed_the_vectors(target: Target) -> None:
    target.embed()
    facts = about(target.results.table)
    embedding = facts.pop("embedding")
    assert facts == about(target.files.segments)
    assert embedding["d"] == WIDTH
    assert embedding["model"] == {"name": "demo", "pretrained": f"{CLIP}/", "sha256": CARD.sha256}
    assert embedding["precision"] in ("bf16", "fp32")
    assert (target.root / "cache/embeddings" / embedding["fingerprint"]).is_dir()
    assert about(target.results.errors) == facts | {"embedding": embedding}


def test_the_json_is_the_view_of_the_segments_in_the_order_of_vectors(target: Target) -> None:
    (target.crops / "photo_1-gone.jpg").touch()
    gone = read(target.files.segments, "file")[4]["file"]
    (target.crops / gone).unlink()
    target.embed()
    view = read_json(target.files.metadata)["segments"]
    assert read_json(target.results.metadata) == view[:4] + view[5:]
    assert [row["crop_id"] for row in read(target.results.table)] == [row["crop_id"] for row in view[:4] + view[5:]]
    assert len(target.vectors) == 8


def test_crops_that_are_not_the_ones_that_were_made_are_errors(target: Target) -> None:
    rows = read(target.files.segments)
    changed, gone, theirs = rows[0]["file"], rows[3]["file"], rows[7]["file"]
    Image.new("RGB", (30, 30)).save(target.crops / changed)
    (target.crops / gone).unlink()
    rows[7]["file_sha256"] = None  # step 05 found a file of somebody else
    write(target.files.segments, TARGET_SEGMENTS, rows, about(target.files.segments))
    (target.crops / rows[8]["file"]).write_bytes(b"no image")
    counts = target.embed()
    assert (counts["listed"], counts["embedded"], counts["errors"]) == (9, 5, 4)
    assert [(row["file"], row["reason"]) for row in read(target.results.errors)] == [
        (changed, CHANGED),
        (gone, GONE),
        (theirs, CHANGED),
        (rows[8]["file"], CHANGED),
    ]
    assert read(target.results.errors)[0].keys() == {"image", "crop_id", "file", "reason"}
    kept = [row["file"] for row in read(target.results.table)]
    assert kept == [row["file"] for row in rows if row["file"] not in (changed, gone, theirs, rows[8]["file"])]
    assert len(target.vectors) == 5


def test_a_second_time_nothing_is_embedded_and_the_bytes_are_the_same(target: Target) -> None:
    assert target.embed()["encoded"] == 9
    before = [path.read_bytes() for path in target.results]
    again = target.embed()
    assert (again["encoded"], again["known"], again["read"]) == (0, 9, 0)
    assert [path.read_bytes() for path in target.results] == before


def test_no_crops_give_no_vectors_and_load_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(tmp_path, images=0)
    target.cut()
    monkeypatch.setattr(Embedder, "load", None)
    assert target.embed()["listed"] == 0
    assert (target.vectors.shape, target.vectors.dtype) == ((0, WIDTH), np.float16)
    assert read(target.results.table) == read(target.results.errors) == read_json(target.results.metadata) == []
    assert about(target.results.table)["embedding"]["d"] == WIDTH


PROGRAM = """
import json, runpy, sys

class Values(dict):
    __getattr__ = dict.__getitem__

script, job = sys.argv[1:]
runpy.run_path(script, {"snakemake": json.loads(job, object_hook=Values)})
"""


def run(script: str, job: dict[str, Any]) -> None:
    """Run a step's script as Snakemake does, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, script, json.dumps(job)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def machine(root: Path) -> dict[str, Any]:
    return {"device": "cpu", "threads": 1, "batch_clips": "auto", "batch_images": "auto", "cache_root": str(root / "cache")}


def segment(root: Path, words: Sequence[str] = (), tags: str | Sequence[str] = (), **settings: Any) -> str:
    """Run step 05, with files of words as Snakemake gives them: a list, and a path or an empty list; gives its log."""
    names = {"images": "images.parquet", "segments": "segments.parquet", "metadata": "metadata.json"}
    params = {"path": str(root / "photos"), "segment": SEGMENT | settings, "max_pixels": 10**6, "machine": machine(root)}
    job = {
        "input": {"segmenter": str(root / "segmenter.json"), "words": words, "tags": tags},
        "output": {name: f"{root}/results/segmentation/{file}" for name, file in names.items()},
        "params": params,
        "log": [str(root / "05.log")],
    }
    run(segment_target.__file__, job)
    return (root / "05.log").read_text()


def test_the_rules_take_a_folder_apart_and_embed_the_parts(tmp_path: Path) -> None:
    Target(tmp_path, images=6)
    card = WeightsCard("segment", str(SEGMENTER), str(SEGMENTER), SEGMENTER.stat().st_size, hash_file(SEGMENTER))
    card.write(tmp_path / "segmenter.json")
    log = segment(tmp_path)
    assert "listed=6 segmented=6 error=0" in log
    assert "computed=6" in log
    rows = read(tmp_path / "results/segmentation/segments.parquet")
    scenes = [draw_example(5, "test", number) for number in range(6)]
    assert len(rows) >= 6 + 0.6 * sum(len(scene.objects) for scene in scenes)

    CARD.write(tmp_path / "clip.json")
    names = {
        "vectors": "embeddings_00000.npy",
        "table": "metadata_00000.parquet",
        "metadata": "metadata_00000.json",
        "errors": "errors.parquet",
    }
    job = {
        "input": {"segments": str(tmp_path / "results/segmentation/segments.parquet"), "model": str(tmp_path / "clip.json")},
        "output": {name: f"{tmp_path}/results/embeddings/{file}" for name, file in names.items()},
        "params": {"max_pixels": 10**6, "machine": machine(tmp_path)},
        "log": [str(tmp_path / "06.log")],
    }
    run(embed_target.__file__, job)
    assert f"listed={len(rows)} embedded={len(rows)} errors=0" in (tmp_path / "06.log").read_text()
    assert len(np.load(tmp_path / "results/embeddings/embeddings_00000.npy")) == len(rows)

    # Other thresholds need no model: its file may be gone.
    replace(card, weights=str(tmp_path / "gone.pt")).write(tmp_path / "segmenter.json")
    assert "computed=0" in segment(tmp_path, min_area=5000)
    fewer = read(tmp_path / "results/segmentation/segments.parquet")
    assert 6 <= len(fewer) < len(rows)
    assert min(row["area"] for row in fewer) >= 5000
    assert read_json(tmp_path / "results/segmentation/metadata.json")["folder"] == "photos"


def test_the_rule_takes_the_files_with_words(tmp_path: Path) -> None:
    Target(tmp_path, images=2)
    card = WeightsCard("segment", str(SEGMENTER), str(SEGMENTER), SEGMENTER.stat().st_size, hash_file(SEGMENTER))
    card.write(tmp_path / "segmenter.json")
    (tmp_path / "words.txt").write_text("cat\ndog\n")
    assert "computed=2" in segment(tmp_path, words=[str(tmp_path / "words.txt")])
    (tmp_path / "photos.json").write_text(json.dumps([{"image_path": "photo 1.jpg", "tags": ["cat"]}]))
    assert "tags of 1 images" in segment(tmp_path, tags=str(tmp_path / "photos.json"))
    view = read_json(tmp_path / "results/segmentation/metadata.json")["segments"]
    assert {row["image"]: row["vlm_tags"] for row in view} == {"photo 0.jpg": [], "photo 1.jpg": ["cat"]}
