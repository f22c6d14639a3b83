"""autotag 03: the segments of a block added to the trained index, and the exact neighbours that recall is measured against."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.autotag.blocks import METADATA, Block
from workflow_scripts.autotag.exact import Nearest, Queries
from workflow_scripts.autotag.sampling import vectors_of
from workflow_scripts.autotag.tables import EXACT, TOP
from workflow_scripts.core import index as core
from workflow_scripts.core.cosine import blas_threads
from workflow_scripts.core.embeddings import Vectors
from workflow_scripts.core.step import StepError, atomic_output, progress, report_counts, step
from workflow_scripts.core.tables import about


def check_model(block: Block, trained: dict[str, Any]) -> None:
    """Refuse segments of another model than the index was trained on.

    Raises:
        StepError: it is another.
    """
    made, wanted = block.embedding["model"], trained["model"]
    if made["sha256"] != wanted["sha256"] or block.embedding["d"] != trained["d"]:
        raise StepError(
            f"block {block.block} was embedded by {made['name']} ({made['sha256'][:8]}), the index was trained for {wanted['name']} "
            f"({wanted['sha256'][:8]}); set autotag.faiss.train_label to another to train anew, or make the block again"
        )


def add_shards(index: Any, block: Block, folder: Path, nearest: Nearest, queries: Queries) -> None:
    """Add the vectors of all shards to an index, numbered from 0, and look through them for the neighbours of the queries."""
    first = 0
    for shard in progress(block.shards, total=len(block.shards), unit="shards"):
        if not shard.rows:
            continue
        vectors: Vectors = vectors_of(shard, folder, block.embedding["d"])
        contents = pq.read_table(shard.path(folder, METADATA), columns=["sha256"])["sha256"]
        if len(contents) != shard.rows:
            raise StepError(
                f"{shard.path(folder, METADATA)}: {len(contents)} rows for {shard.rows} vectors; delete the manifest of its block"
            )
        core.add(index, [vectors])
        nearest.look(vectors, queries.owners(contents), first)
        first += shard.rows


def add_block(trained: Path, queries: Path, block: Path, folder: Path, outputs: tuple[Path, Path]) -> dict[str, int]:
    """Write the index of a block, and its exact neighbours; gives the counts.

    Args:
        trained: the index of step 02, without rows.
        queries: table of step 02.
        block: the manifest.
        folder: results of the source.
        outputs: for the index, and for the table of neighbours.

    Raises:
        StepError: the block is of another model, or one of its files is gone.
    """
    manifest, searched = Block.read(block), Queries.read(queries)
    check_model(manifest, about(queries))
    index, nearest = core.read(trained), Nearest(searched, TOP)
    add_shards(index, manifest, folder, nearest, searched)
    core.write(index, outputs[0])
    write_exact(outputs[1], nearest)
    return {"shards": len(manifest.shards), "segments": int(index.ntotal), "queries": len(searched), "neighbours": len(nearest.ids)}


def write_exact(path: Path, nearest: Nearest) -> None:
    """Write the neighbours by query, nearest first."""
    columns = (nearest.queries, nearest.ids, nearest.cosines)
    table = pa.Table.from_arrays(
        [pa.array(column, kind) for column, (_, kind) in zip(columns, EXACT, strict=True)], schema=pa.schema(EXACT)
    )
    with atomic_output(path) as partial:
        pq.write_table(table, partial, compression="zstd")


if job := globals().get("snakemake"):
    with step(job.log[0]), blas_threads(job.params.machine["threads"]):
        core.set_threads(job.params.machine["threads"])
        inputs = (Path(job.input.index), Path(job.input.queries), Path(job.input.block))
        report_counts(**add_block(*inputs, Path(job.params.folder), (Path(job.output.index), Path(job.output.exact))))
