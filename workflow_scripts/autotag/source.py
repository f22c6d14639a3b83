"""autotag 01: take the images of a block of source shards apart, embed the parts, and leave a manifest of what came of it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from workflow_scripts.autotag import segmenters
from workflow_scripts.autotag.blocks import Block, Shard
from workflow_scripts.autotag.flow import Flow, Models
from workflow_scripts.autotag.params import ENDS
from workflow_scripts.autotag.shard_files import known_shard
from workflow_scripts.autotag.source_shard import OUTCOMES, ShardMaker
from workflow_scripts.autotag.tables import ABSENT
from workflow_scripts.autotag.target_words import read_vocabulary
from workflow_scripts.core import clip
from workflow_scripts.core.embeddings import digest
from workflow_scripts.core.models import ModelCard, WeightsCard, hash_file
from workflow_scripts.core.preprocess import Preprocess
from workflow_scripts.core.step import log, report_counts, step
from workflow_scripts.settings.autotag import CLIPS

ALGORITHM = 1  # bumped by hand when a shard's files change for the same shard and models


class Places(NamedTuple):
    """Folders: of the shards, of their tags, and of the results."""

    dataset: Path
    tags: Path
    folder: Path

    def tar(self, shard: str) -> Path:
        """Where a shard lies."""
        return self.dataset / f"{shard}.tar"

    def state(self, shard: str) -> str:
        """What changes when a file of a shard does, as `params.shards` tells it."""
        files = [folder / f"{shard}{end}" for folder, end in zip((self.dataset, self.dataset, self.tags), ENDS, strict=True)]
        stats = {path.suffix: path.stat() for path in files if path.is_file()}
        return digest({end: [found.st_size, found.st_mtime_ns] for end, found in stats.items()})


@dataclass(frozen=True)
class Recipe:
    """What the files of shards are made by.

    Attributes:
        segment: the settings of `segments.choose`, with `backend` and `prompts`.
        words: the file with the words to look for, where that is what is looked for.
        max_pixels: above which an image is an error.
        embedding: as of `blocks.Block`.
        segmenter: likewise.
    """

    segment: dict[str, Any]
    words: Path | None
    max_pixels: int
    embedding: dict[str, Any]
    segmenter: dict[str, Any]

    @classmethod
    def of(
        cls, cards: tuple[WeightsCard, ModelCard], segment: Mapping[str, Any], words: list[str], max_pixels: int, machine: Mapping[str, Any]
    ) -> "Recipe":
        """The recipe of these models and settings, on this machine's device."""
        weights, model = cards
        device, precision = clip.resolve_device(machine["device"])
        embedding = {
            "d": int(model.model_cfg["embed_dim"]),
            "fingerprint": clip.fingerprint(model, views="center", decode="full", precision=precision),
            "model": {"name": model.name, "pretrained": model.pretrained, "sha256": model.sha256},
            "precision": precision,
        }
        found = {"fingerprint": segmenters.fingerprint(weights.sha256, segment, device), "sha256": weights.sha256}
        found |= {name: segment[name] for name in ("backend", "prompts")}
        return cls(dict(segment), Path(words[0]) if words else None, max_pixels, embedding, found)

    def digest(self, state: str) -> str:
        """What the files of a shard in this state depend on."""
        parts = [ALGORITHM, state, self.embedding["fingerprint"], self.segmenter["fingerprint"], self.segment, self.max_pixels]
        return digest([*parts, hash_file(self.words) if self.words else None])


def load_models(cards: tuple[WeightsCard, ModelCard], segment: Mapping[str, Any], machine: Mapping[str, Any]) -> Models:
    """The models, which load when an image needs them."""
    weights, model = cards
    device, precision = clip.resolve_device(machine["device"])
    batch = CLIPS[device] if machine["batch_clips"] == "auto" else machine["batch_clips"]
    return Models(
        lambda: segmenters.load(weights, segment, machine),
        lambda: clip.ImageEncoder(model, device=device, precision=precision, batch=batch, threads=machine["threads"]),
        Preprocess.for_model(model.preprocess_cfg, "center"),
        int(model.model_cfg["embed_dim"]),
    )


def embed_source(
    shards: Mapping[str, str | None], places: Places, recipe: Recipe, models: Models, output: Path, *, threads: int
) -> dict[str, int]:
    """Make the files of each shard, as far as they are not there, and write the manifest of the block; gives the counts.

    Args:
        shards: the state of each by its number; None: to be looked up.
        places: the folders.
        recipe: what the files are made by.
        models: of that recipe.
        output: the manifest, `block_{number}.json`.
        threads: that decode.

    Raises:
        StepError: a model, a file of tags or the file of words cannot be used.
    """
    flow = Flow(models, recipe.segment, threads=threads, max_pixels=recipe.max_pixels)
    maker = ShardMaker(flow, recipe.segment["prompts"], read_vocabulary(recipe.words) if recipe.words else [])
    made: list[Shard] = []
    missing: list[str] = []
    known = 0
    for shard, state in sorted(shards.items()):
        if not places.tar(shard).is_file():
            log.warning("%s: not there: left out", places.tar(shard))
            missing.append(shard)
            continue
        name = recipe.digest(state or places.state(shard))
        found = known_shard(places.folder, shard, name)
        known += found is not None
        made.append(found or maker.make(shard, places.dataset, places.tags, places.folder, name))
    block = Block(output.stem.removeprefix("block_"), recipe.embedding, recipe.segmenter, tuple(made), tuple(missing))
    block.write(output)
    outcomes: Counter[str] = Counter()
    for each in made:
        outcomes.update(each.outcomes)
    counts = {"shards": len(made), "known": known, "images": outcomes.total() - outcomes[ABSENT]}
    names = dict(zip(OUTCOMES, ("embedded", "empty", "errors", "absent"), strict=True))
    counts |= {names[outcome]: outcomes[outcome] for outcome in OUTCOMES}
    return counts | {"untagged": sum(each.untagged for each in made), "segments": block.rows, "missing": len(missing)}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        params, machine = job.params, dict(job.params.machine)
        cards = WeightsCard.read(job.input.segmenter), ModelCard.read(job.input.model)
        recipe = Recipe.of(cards, params.segment, list(job.input.words), params.max_pixels, machine)
        places = Places(Path(params.source["dataset"]), Path(params.source["tags"]), Path(params.folder))
        models = load_models(cards, params.segment, machine)
        report_counts(**embed_source(params.shards, places, recipe, models, Path(job.output[0]), threads=machine["threads"]))
