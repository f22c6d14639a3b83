"""What the rules of `autotag` give their steps, from the settings and the folders of source and targets."""

import json
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from workflow_scripts.core.embeddings import digest
from workflow_scripts.core.models import slug
from workflow_scripts.core.seeded import shuffled
from workflow_scripts.core.step import StepError
from workflow_scripts.settings.autotag import Autotag, Source, vote_tags
from workflow_scripts.settings.params import sort_keys, tracked

WEIGHTS = {"sam3": "sam3.pt", "sam2": "sam2.1_l.pt", "sam": "sam_l.pt", "mobile_sam": "mobile_sam.pt", "fastsam": "FastSAM-x.pt"}
SHARD = r"\d{5}"
ENDS = (".tar", ".parquet", ".json")  # of a shard's files; the last stands in the folder of the tags
TRAIN_SHARDS = 256  # that auto draws
RESULTS = ("neighbours.parquet", "candidates.parquet", "tags.parquet", "tags.json", "report")


@cache
def shards(source: Source, watched: bool) -> dict[str, str | None]:
    """The source's shards by their numbers, with what changes when one of their files does.

    Args:
        source: the settings.
        watched: look through the folders. Else the shards are those from start_shard to end_shard, whatever lies there.

    Raises:
        StepError: no shards, or without looking nobody can tell which.
    """
    if source.dataset is None:
        raise StepError("autotag.source.dataset is empty: name the folder with the shards in a file of yours; see config/README.md")
    if not watched:
        if source.end_shard is None:
            raise StepError("autotag.source.end_shard: needed where watch_sources is false, since nobody looks which shards there are")
        return {f"{number:05d}": None for number in range(source.start_shard, source.end_shard)}
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for folder, ends in ((source.dataset, ENDS[:2]), (source.tags or source.dataset, ENDS[2:])):
        if not Path(folder).is_dir():
            raise StepError(f"autotag.source: {folder}: no such folder")
        for entry in os.scandir(folder):
            name, end = Path(entry.name).stem, Path(entry.name).suffix
            if end in ends and re.fullmatch(SHARD, name):
                status = entry.stat()
                found[name][end] = [status.st_size, status.st_mtime_ns]
    last = 100_000 if source.end_shard is None else source.end_shard
    chosen: dict[str, str | None] = {
        name: digest(found[name]) for name in sorted(found) if ".tar" in found[name] and source.start_shard <= int(name) < last
    }
    if not chosen:
        raise StepError(f"autotag.source.dataset: {source.dataset}: no shards (NNNNN.tar) from {source.start_shard} to below {last} in it")
    return chosen


def blocks(source: Source, watched: bool) -> dict[str, dict[str, str | None]]:
    """The shards that each job works on, by the number of the block. By their own numbers: a new shard moves no other."""
    found: dict[str, dict[str, str | None]] = defaultdict(dict)
    for name, state in shards(source, watched).items():
        found[f"{int(name) // source.block_shards:04d}"][name] = state
    return dict(found)


def train_blocks(chosen: Autotag, watched: bool) -> list[str]:
    """The blocks that hold the shards of the training."""
    return sorted({f"{int(name) // chosen.source.block_shards:04d}" for name in train_shards(chosen, watched)})


def train_shards(chosen: Autotag, watched: bool) -> list[str]:
    """The shards that the index is trained on: those named, those recorded when they were drawn, or those that chance draws now.

    Raises:
        StepError: a shard that is named is not there.
    """
    there = shards(chosen.source, watched)
    if chosen.faiss.train_shards != "auto":
        named = [f"{number:05d}" for number in sorted(set(chosen.faiss.train_shards))]
        if gone := [name for name in named if name not in there]:
            raise StepError(f"autotag.faiss.train_shards: no such shards: {', '.join(gone[:10])}")
        return named
    record = Path(chosen.index_dir, "02_index/index_metadata.json")
    if record.is_file():
        trained = json.loads(record.read_text(encoding="utf-8"))["train"]
        if trained["drawn"] and trained["label"] == chosen.faiss.train_label and set(trained["shards"]) <= set(there):
            return list(trained["shards"])
    return sorted(shuffled(there, "autotag", "train", chosen.faiss.train_label)[:TRAIN_SHARDS])


def source_params(chosen: Autotag) -> dict[str, Any]:
    """Where shards and their tags lie."""
    return {"dataset": chosen.source.dataset, "tags": chosen.source.tags or chosen.source.dataset}


def segmenting(chosen: Autotag, side: Literal["source", "target"]) -> dict[str, Any]:
    """What segments depend on, beside weights and words."""
    names = ("backend", "imgsz", "conf", "min_area", "min_crop", "max_segments", "whole_image")
    return tracked(chosen.segmenter, *names, prompts=chosen.segmenter.prompts(side))


def segment_model(chosen: Autotag) -> dict[str, Any]:
    """The segmenter's weights: a path, or a name to fetch."""
    name = chosen.segmenter.weights or WEIGHTS[chosen.segmenter.backend]
    return {"kind": "segment", "name": name, "sha256": chosen.segmenter.sha256}


def batches(chosen: Autotag) -> dict[str, Any]:
    """How much goes through the models at a time."""
    return {"batch_clips": chosen.clip.batch_clips, "batch_images": chosen.segmenter.batch_images}


def training(chosen: Autotag, watched: bool) -> dict[str, Any]:
    """What the trained index depends on, beside the vectors."""
    return tracked(
        chosen.faiss,
        "factory",
        "train_label",
        "train_memory_gb",
        drawn=chosen.faiss.train_shards == "auto",
        shards=train_shards(chosen, watched),
    )


def searching(chosen: Autotag) -> dict[str, Any]:
    """What neighbours depend on, beside index and crops."""
    return tracked(chosen.faiss, "k_max", "nprobe", "rerank")


def measuring(chosen: Autotag) -> dict[str, Any]:
    """What recall depends on, beside the index."""
    return tracked(chosen.faiss, "nprobe", "rerank")


def voting(chosen: Autotag) -> dict[str, Any]:
    """What votes depend on, beside neighbours."""
    return tracked(chosen.vote, *type(chosen.vote).model_fields, exclude=sort_keys(chosen.exclude), k=chosen.faiss.k) | {
        "tags": vote_tags(chosen)
    }


def targets(chosen: Autotag) -> dict[str, str]:
    """The folders to tag, by the names of their results; none where the settings name none.

    Raises:
        StepError: a folder is not there, or two have one name.
    """
    found = {slug(name): path for name, path in sorted(chosen.targets.items())}
    for name in _folders(chosen):
        if slug(name) in found:
            raise StepError(f"autotag.targets: {name} is a folder of target_dataset too; give one of them another name")
        found[slug(name)] = str(Path(str(chosen.target_dataset), name))
    for path in found.values():
        if not Path(path).is_dir():
            raise StepError(f"autotag: {path}: no such folder to tag")
    return found


def _folders(chosen: Autotag) -> Sequence[str]:
    if chosen.target_dataset is None:
        if chosen.folders != "all":
            raise StepError("autotag.folders: names folders of target_dataset, which is empty")
        return ()
    if chosen.folders != "all":
        return chosen.folders
    if not Path(chosen.target_dataset).is_dir():
        raise StepError(f"autotag.target_dataset: {chosen.target_dataset}: no such folder")
    return sorted(entry.name for entry in os.scandir(chosen.target_dataset) if entry.is_dir() and not entry.name.startswith("."))


def target_tags(path: str) -> str:
    """The file with the tags of a target's images.

    Raises:
        StepError: there is none.
    """
    file = Path(path).with_name(f"{Path(path).name}.json")
    if not file.is_file():
        raise StepError(f"autotag.segmenter.target_prompts: tags needs a file {file}; without it use vocabulary")
    return str(file)


def index_files(root: str, names: Sequence[str]) -> list[str]:
    """Everything that is made of the source's segments; `names` of the blocks."""
    trained = ("trained.faiss", "index_metadata.json", "queries.parquet")
    merged = ("index.faiss", "id_to_tags.parquet", "index_metadata.json", "recall.json")
    added = [f"03_blocks/block_{name}{end}" for name in names for end in (".faiss", "_exact.parquet")]
    parts = (*(f"02_index/{file}" for file in trained), *added, *(f"04_index/{file}" for file in merged))
    return [f"{root}/{part}" for part in parts]


def target_files(root: str, name: str) -> list[str]:
    """Everything that is made of a target: of every step, since Snakemake is silent on one that failed before a later one."""
    segmentation = ("images.parquet", "segments.parquet", "metadata.json")
    embeddings = ("embeddings_00000.npy", "metadata_00000.parquet", "metadata_00000.json", "errors.parquet")
    parts = (*(f"segmentation/{file}" for file in segmentation), *(f"embeddings/{file}" for file in embeddings), *RESULTS)
    return [f"{root}/{name}/{part}" for part in parts]


def places(root: str, index: str, names: Sequence[str]) -> dict[str, str]:
    """Where to look at what a run came to: the first target's page and tags, and how good the index is."""
    return {
        "page": f"{root}/{names[0]}/report/index.html",
        "tags": f"{root}/{names[0]}/tags.json",
        "index": f"{index}/04_index/recall.json",
    }
