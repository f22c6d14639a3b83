"""predict 02: read each image of a project once, and embed what the cache does not know."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from workflow_scripts.core.accounting import Ledger
from workflow_scripts.core.embed import Embedded, Embedder
from workflow_scripts.core.embeddings import embedding_schema, write_table
from workflow_scripts.core.models import ModelCard
from workflow_scripts.core.step import progress, report_counts, step
from workflow_scripts.core.storage import Item, Storage
from workflow_scripts.predict.remaining import Remaining, estimated
from workflow_scripts.predict.sources import open_source
from workflow_scripts.predict.tables import EMBEDDED, FAILED, about

THUMBNAILS = 100_000  # of a project at most are kept from the decode that happens anyway; what a page lacks it makes


def embed_project(inventory: Path, source: Storage, embedder: Embedder, output: Path, others: Remaining | None = None) -> dict[str, int]:
    """Write the embedding table of a project: a row of the inventory each, with a vector or an error. Gives the embedder's counts.

    Args:
        inventory: of the project.
        source: where its images are.
        embedder: with the model.
        output: the table.
        others: what is to be done beside this project, for the estimate of the remaining time.
    """
    rows = pq.read_table(inventory).to_pylist()
    items = [Item(row["path"], row["size"], row["etag"], row["modified"]) for row in rows if not row["error"]]
    ledger = Ledger((item.key for item in items), ("embedded", "errors"))
    results = progress(estimated(embedder.embed(items, source), embedder.counts, len(items), others), total=len(items))

    def found() -> Iterator[dict[str, Any]]:
        for row in rows:
            known = {name: row[name] for name, _ in EMBEDDED}
            if row["error"]:
                yield known | {"error": row["error"]}
                continue
            one = next(results)
            ledger.add("errors" if one.error else "embedded", [one.item.key])
            yield known | _values(one)
        next(results, None)  # lets the embedder write what it learnt

    write_table(output, embedding_schema(EMBEDDED, about(inventory) | embedder.description), found())
    ledger.close()
    return dict(embedder.counts)


def _values(one: Embedded) -> dict[str, Any]:
    values = {name: getattr(one, name) for name in ("sha256", "width", "height", "error")}
    if one.vectors is not None:
        values |= {"views": len(one.vectors), "embedding": one.vectors.ravel()}
    return values


def pass_on(inventory: Path, output: Path) -> dict[str, int]:
    """Write the empty table of a project that could not be listed."""
    write_table(output, embedding_schema(EMBEDDED, about(inventory)), [])
    return {"embedded": 0}


def cache_place(machine: dict[str, Any], stack: ExitStack) -> dict[str, Any]:
    """The machine with a cache: the shared one, or one that goes with the job."""
    machine = dict(machine)
    if not machine.pop("cache"):
        machine["cache_root"] = stack.enter_context(tempfile.TemporaryDirectory())
    return machine


if job := globals().get("snakemake"):
    with step(job.log[0]), ExitStack() as places:
        listed, target = Path(job.input.inventory), Path(job.output[0])
        if about(listed)["status"] == FAILED:
            report_counts(**pass_on(listed, target))
        else:
            share = min(1.0, THUMBNAILS / max(1, about(listed)["images"]))
            machine = cache_place(job.params.machine, places)
            model = Embedder(ModelCard.read(job.input.model), **job.params.embedding, **machine, thumbnail_share=share)
            rest = Remaining.of(target, listed, [Path(path) for path in job.params.inventories])
            report_counts(**embed_project(listed, open_source(job.params.path, **job.params.archives), model, target, rest))
