"""people 02: read and embed the images of one shard."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from workflow_scripts.core.accounting import Ledger
from workflow_scripts.core.embed import Embedder
from workflow_scripts.core.embeddings import embedding_schema, write_table
from workflow_scripts.core.models import ModelCard
from workflow_scripts.core.step import progress, report_counts, step
from workflow_scripts.core.storage import Storage, open_storage
from workflow_scripts.people.list_objects import SCAN, items_to_scan, listing_counts, read_shard

THUMBNAILS = 100_000  # of a run at most are kept from the decode that happens anyway; what a page lacks it fetches
KEYS = (("key", pa.string()), ("etag", pa.string()))


def embed_shard(listing: Path, shard: int, source: Storage, embedder: Embedder, output: Path) -> dict[str, int]:
    """Write the embedding table of a shard: one row an image, in the order of keys, with vectors or an error.

    Gives the embedder's counts.
    """
    items = list(items_to_scan(read_shard(listing, shard)))
    ledger = Ledger((item.key for item in items), ("embedded", "errors"))
    schema = embedding_schema(KEYS, embedder.description | {"shard": shard})

    def rows() -> Iterator[dict[str, Any]]:
        for found in progress(embedder.embed(items, source), total=len(items)):
            ledger.add("errors" if found.error else "embedded", [found.item.key])
            row = {name: getattr(found, name) for name in ("sha256", "width", "height", "error")}
            row |= {"key": found.item.key, "etag": found.item.etag}
            if found.vectors is not None:
                row |= {"views": len(found.vectors), "embedding": found.vectors.ravel()}
            yield row

    write_table(output, schema, rows())
    ledger.close()
    return dict(embedder.counts)


if job := globals().get("snakemake"):
    with step(job.log[0]):
        model, listed = ModelCard.read(job.input.model), Path(job.input.listing)
        share = min(1.0, THUMBNAILS / max(1, listing_counts(listed)[SCAN]))
        model_embedder = Embedder(model, **job.params.embedding, **job.params.machine, thumbnail_share=share)
        images = open_storage(job.params.source["source"], job.params.source["store"])
        report_counts(**embed_shard(listed, int(job.wildcards.shard), images, model_embedder, Path(job.output[0])))
