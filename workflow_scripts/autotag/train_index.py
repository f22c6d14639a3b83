"""autotag 02: the index trained on a sample of the segments, and the segments that recall is measured with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.autotag import sampling
from workflow_scripts.autotag.blocks import Block, check_one_model
from workflow_scripts.autotag.tables import QUERIES
from workflow_scripts.core import index as core
from workflow_scripts.core.index_factory import Kind, Suited, largest, make, suited
from workflow_scripts.core.json_files import write_json
from workflow_scripts.core.step import StepError, log, report_counts, step
from workflow_scripts.core.tables import write

GB = 1e9
FLOAT32 = 4  # bytes


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    index: Path
    metadata: Path
    queries: Path


def check_model(embedding: dict[str, Any], model: dict[str, Any]) -> None:
    """Refuse segments that another model embedded than the settings name.

    Raises:
        StepError: it is another.
    """
    made = embedding["model"]
    names = ["name", "pretrained", *(["sha256"] if model["sha256"] else [])]
    if any(made[name] != model[name] for name in names):
        raise StepError(
            f"autotag.clip is {model['name']} {model['pretrained']}, and the segments were embedded by {made['name']} {made['pretrained']} "
            f"({made['sha256'][:8]}): make them again, with another source_output or without the blocks in this one"
        )


def choose(train: dict[str, Any], expected: int, d: int) -> tuple[Suited, Any]:
    """The index that suits, or the one that the settings ask for; and it, made.

    Raises:
        StepError: FAISS cannot make it.
    """
    if train["factory"] == "auto":
        found = suited(expected, d)
        return found, make(found.factory, d)
    try:
        return Suited(train["factory"], 0, None), make(train["factory"], d)
    except StepError as error:
        raise StepError(f"autotag.faiss.factory: {error}") from None


def sample_size(rows: int, factory: str, kind: Kind, train: dict[str, Any]) -> int:
    """How many segments to train on: as many as are enough, as far as there are so many and memory allows.

    Raises:
        StepError: they are too few for this index; the text names the largest that they are enough for.
    """
    most = int(train["train_memory_gb"] * GB) // (FLOAT32 * kind.d)
    size = min(rows, kind.enough, most)
    if size >= kind.fewest:
        return size
    why, mend = f"the {len(train['shards'])} shards to train on hold {rows:,}", "name more of autotag.faiss.train_shards"
    if most < rows:
        why, mend = f"train_memory_gb allows {most:,}", "raise autotag.faiss.train_memory_gb"
    raise StepError(
        f"{factory} needs {kind.fewest:,} segments to train on, and {why}; {mend}, or set autotag.faiss.factory to what they are enough "
        f"for: {largest(size, kind.d)}"
    )


def train_index(
    blocks: Sequence[Block], folder: Path, train: dict[str, Any], model: dict[str, Any], shards: int, output: Outputs
) -> dict[str, int]:
    """Draw a sample, train an index on it, and draw the queries; gives the counts.

    Args:
        blocks: manifests that hold the shards to train on.
        folder: results of the source.
        train: as `params.training` gives it.
        model: as configured.
        shards: how many shards the source has in all, by which the size of the index is judged.
        output: what to write.

    Raises:
        StepError: the shards are not there, or of another model; or the index cannot be made or trained.
    """
    embedding = check_one_model(blocks)
    check_model(embedding, model)
    drawn = sampling.chosen_shards(blocks, train["shards"])
    rows, d = sum(shard.rows for shard in drawn), embedding["d"]
    if not rows:
        raise StepError("autotag.faiss.train_shards: there is no segment in these shards; look at the logs of step 01, or name others")
    expected = round(rows * shards / len(drawn))
    chosen, index = choose(train, expected, d)
    kind = Kind.of(index)
    size = sample_size(rows, chosen.factory, kind, train)
    log.info("%s for some %d segments, trained on %d of the %d in %d shards", chosen.factory, expected, size, rows, len(drawn))
    if size:
        core.train(index, sampling.training_points(drawn, folder, size, d, train["train_label"]))
    facts = describe(chosen, kind, embedding, train)
    queries = sampling.query_rows(drawn, folder, d, train["train_label"])
    core.write(index, output.index)
    write(output.queries, QUERIES, queries, {"d": d, "model": embedding["model"]})
    counts = {"vectors": size, "expected": expected}
    write_json(output.metadata, facts | {"train": facts["train"] | counts})
    return {"shards": len(drawn), "segments": rows, "trained_on": size, "queries": len(queries)}


def describe(chosen: Suited, kind: Kind, embedding: dict[str, Any], train: dict[str, Any]) -> dict[str, Any]:
    """What stands in the metadata of an index."""
    return {
        "factory": chosen.factory,
        "metric": "inner_product",
        "d": kind.d,
        "normalised": True,
        "model": embedding["model"],
        "nlist": kind.lists,
        "codes": kind.codes,
        "range": [chosen.low, chosen.high] if train["factory"] == "auto" else None,
        "train": {"label": train["train_label"], "drawn": train["drawn"], "shards": train["shards"]},
    }


if job := globals().get("snakemake"):
    with step(job.log[0]):
        core.set_threads(job.params.machine["threads"])
        manifests = [Block.read(Path(path)) for path in job.input.blocks]
        written = Outputs(Path(job.output.index), Path(job.output.metadata), Path(job.output.queries))
        source = Path(job.params.folder)
        report_counts(**train_index(manifests, source, job.params.train, job.params.model, job.params.shards, written))
