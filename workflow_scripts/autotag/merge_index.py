"""autotag 04: the blocks merged to one index, the tags of its rows, and its recall."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.autotag.blocks import Block, Shard, check_one_model
from workflow_scripts.autotag.exact import Queries
from workflow_scripts.autotag.index_rows import write_rows
from workflow_scripts.autotag.recall import GOAL, RERANK, Chosen, Trial, choose, merge_exact
from workflow_scripts.autotag.scoring import Pairs, Stored
from workflow_scripts.autotag.source_tags import tag_images
from workflow_scripts.autotag.tables import EMBEDDED, RECALL_AT, TOP
from workflow_scripts.core import index as core
from workflow_scripts.core.index_factory import Kind, suited
from workflow_scripts.core.index_merge import merge
from workflow_scripts.core.json_files import read_json, write_json
from workflow_scripts.core.step import StepError, log, report_counts, step

GB = 1e9


@dataclass(frozen=True)
class Inputs:
    """What is merged; the lists are of the same blocks in the same order."""

    trained: Path
    queries: Path
    blocks: Sequence[Path]
    indexes: Sequence[Path]
    exact: Sequence[Path]


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    index: Path
    rows: Path
    metadata: Path
    recall: Path


def check_model(blocks: Sequence[Block], trained: dict[str, Any]) -> None:
    """Refuse blocks of another model than the index was trained for, or of several.

    Raises:
        StepError: they are.
    """
    made, wanted = check_one_model(blocks)["model"], trained["model"]
    if made["sha256"] != wanted["sha256"]:
        raise StepError(
            f"the blocks were embedded by {made['name']} ({made['sha256'][:8]}), the index was trained for {wanted['name']} "
            f"({wanted['sha256'][:8]}); set autotag.faiss.train_label to another to train anew"
        )


def merge_blocks(indexes: Sequence[Path], blocks: Sequence[Block], output: Path, on_disk_gb: float) -> None:
    """Write the index of all blocks; its lists stay on disk where they are larger than that.

    Raises:
        StepError: an index does not hold the rows of its block.
    """
    rows = sum(block.rows for block in blocks)
    kind = Kind.of(core.read(indexes[0], mapped=True))
    on_disk = bool(kind.lists) and rows * kind.row_bytes > on_disk_gb * GB
    log.info("%d rows of %d bytes: merged %s", rows, kind.row_bytes, "on disk" if on_disk else "in memory")
    if merge(indexes, output, on_disk=on_disk) != rows:
        output.unlink()
        for path, block in zip(indexes, blocks, strict=True):
            held = core.read(path, mapped=True).ntotal
            if held != block.rows:
                raise StepError(f"{path}: holds {held} rows, its block {block.rows}; delete it, and it is made again")


def placed(shards: Sequence[Shard]) -> list[dict[str, Any]]:
    """Where the rows of each shard begin in the index."""
    offsets = accumulate((shard.rows for shard in shards), initial=0)
    return [{"shard": shard.shard, "offset": offset, "rows": shard.rows} for shard, offset in zip(shards, offsets, strict=False)]


def range_warnings(trained: dict[str, Any], rows: int) -> list[str]:
    """What to say where the index was trained for another number of rows."""
    low, high = trained["range"] or (0, None)
    if low <= rows and (high is None or rows < high):
        return []
    meant = f"{low:,} and more" if high is None else f"{low:,} to {high:,}"
    text = (
        f"The index holds {rows:,} segments, and {trained['factory']}, which it was trained as, suits {meant}; for so many auto chooses "
        f"{suited(rows, trained['d']).factory}. Another autotag.faiss.train_label trains anew; or name one as autotag.faiss.factory."
    )
    return [text]


def recall_warnings(chosen: Chosen) -> list[str]:
    """What to say where the recall is not good enough, or not known."""
    if chosen.recall is None:
        return ["Recall was not measured: no query has a neighbour in another image."]
    if chosen.reached:
        return []
    looked = "" if chosen.nprobe is None else f" with nprobe {chosen.nprobe}"
    text = (
        f"Recall@{RECALL_AT} is {chosen.recall:.3f}{looked}, below {GOAL}. A larger autotag.faiss.nprobe or rerank finds more and takes "
        "longer; so does another autotag.faiss.factory with longer codes."
    )
    return [text]


def recall_facts(chosen: Chosen, exact: Pairs, queries: int) -> dict[str, Any]:
    """What is known of the recall."""
    found = np.bincount(exact[0], minlength=queries)
    return {
        "at": RECALL_AT,
        "goal": GOAL,
        "queries": queries,
        "queries_with_fewer": int(((found > 0) & (found < RECALL_AT)).sum()),
        "queries_without": int((found == 0).sum()),
        **asdict(chosen),
        "reached": chosen.reached,
        "warnings": recall_warnings(chosen),
    }


def merge_index(inputs: Inputs, folder: Path, search: dict[str, Any], machine: dict[str, Any], output: Outputs) -> dict[str, Any]:
    """Write the index, what belongs to its rows, its metadata and its recall; gives the counts.

    Args:
        inputs: the files of the blocks.
        folder: results of the source.
        search: `nprobe` and `rerank` of the settings.
        machine: `threads`, and `on_disk_gb` above which the lists stay on disk.
        output: what to write.

    Raises:
        StepError: blocks are of another model, or their files do not fit each other.
    """
    trained, blocks = read_json(inputs.trained), [Block.read(path) for path in inputs.blocks]
    check_model(blocks, trained)
    shards = [shard for block in blocks for shard in block.shards]
    queries = Queries.read(inputs.queries)
    merge_blocks(inputs.indexes, blocks, output.index, machine["on_disk_gb"])
    own = write_rows(output.rows, shards, folder, queries)
    rerank = search["rerank"] if search["rerank"] != "auto" else RERANK if trained["codes"] else 0
    candidates, places = max(TOP, rerank), placed(shards)
    index = core.read(output.index, mapped=True)
    exact = merge_exact(inputs.exact, list(accumulate((block.rows for block in blocks[:-1]), initial=0)))
    trial = Trial(index, queries, own, Stored(folder, places, trained["d"], machine["threads"]), candidates)
    chosen = choose(index, trained["nlist"], search["nprobe"], trial.find, exact)
    measured = recall_facts(chosen, exact, len(queries)) | {"rerank": rerank, "candidates": candidates}
    facts = {
        "rows": index.ntotal,
        "images": sum(shard.outcomes.get(EMBEDDED, 0) for shard in shards),
        "untagged": sum(shard.untagged for shard in shards),
        "nprobe": chosen.nprobe,
        "rerank": rerank,
        "warnings": range_warnings(trained, index.ntotal),
        "shards": places,
        "tag_images": tag_images(shards, folder),
    }
    for warning in (*facts["warnings"], *measured["warnings"]):
        log.warning("%s", warning)
    write_json(output.recall, measured)
    write_json(output.metadata, trained | facts)
    return {"blocks": len(blocks), "rows": index.ntotal, "queries": len(queries), "nprobe": chosen.nprobe, "recall": chosen.recall}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        core.set_threads(job.params.machine["threads"])
        lists = {name: [Path(path) for path in getattr(job.input, name)] for name in ("blocks", "indexes", "exact")}
        merged = Inputs(Path(job.input.trained), Path(job.input.queries), **lists)
        written = Outputs(*(Path(getattr(job.output, name)) for name in ("index", "rows", "metadata", "recall")))
        report_counts(**merge_index(merged, Path(job.params.folder), job.params.search, job.params.machine, written))
