"""retrieval 03: embed the images of one category."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts.core.accounting import Ledger
from workflow_scripts.core.embed import Embedder
from workflow_scripts.core.embeddings import embedding_schema, write_table
from workflow_scripts.core.models import ModelCard
from workflow_scripts.core.step import progress, report_counts, step
from workflow_scripts.core.storage import FolderStorage, Item, Storage

EMBED_KEYS = (("path", pa.string()), ("concept", pa.string()), ("part", pa.string()), ("phash", pa.uint64()))


def embed_category(inventory: Path, source: Storage, embedder: Embedder, output: Path) -> dict[str, int]:
    """Write the embedding table of a category: a row a readable image, by path, with a vector or an error.

    Images of other things (`negative`) are neither queries nor references, and are left out. Gives the embedder's counts.
    """
    columns = ["path", "concept", "part", "phash", "size", "etag"]
    wanted = pc.field("readable") & (pc.field("part") != "negative")
    rows = pq.read_table(inventory, columns=columns, filters=wanted).to_pylist()
    items = [Item(row["path"], row["size"], row["etag"], "") for row in rows]
    ledger = Ledger((item.key for item in items), ("embedded", "errors"))

    def found() -> Iterator[dict[str, Any]]:
        for row, one in zip(rows, progress(embedder.embed(items, source), total=len(items)), strict=True):
            ledger.add("errors" if one.error else "embedded", [one.item.key])
            values = {name: getattr(one, name) for name in ("sha256", "width", "height", "error")}
            if one.vectors is not None:
                values |= {"views": len(one.vectors), "embedding": one.vectors.ravel()}
            yield {name: row[name] for name, _ in EMBED_KEYS} | values

    write_table(output, embedding_schema(EMBED_KEYS, embedder.description), found())
    ledger.close()
    return dict(embedder.counts)


if job := globals().get("snakemake"):
    with step(job.log[0]):
        model_embedder = Embedder(ModelCard.read(job.input.model), **job.params.embedding, **job.params.machine)
        report_counts(**embed_category(Path(job.input.inventory), FolderStorage(job.params.data_root), model_embedder, Path(job.output[0])))
