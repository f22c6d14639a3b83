"""autotag 06: embed the saved crops of a folder's images, as far as the cache does not know them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from workflow_scripts.autotag.tables import CROP_ERRORS, TARGET_CROPS
from workflow_scripts.autotag.target_crops import FOLDER
from workflow_scripts.core.accounting import Ledger
from workflow_scripts.core.clip import resolve_device
from workflow_scripts.core.embed import Embedded, Embedder
from workflow_scripts.core.json_files import read_json, write_json
from workflow_scripts.core.models import ModelCard
from workflow_scripts.core.step import atomic_output, progress, report_counts, step
from workflow_scripts.core.storage import FolderStorage
from workflow_scripts.core.tables import about, read, write
from workflow_scripts.settings.autotag import CLIPS

Row = dict[str, Any]
GONE = "crop: is gone; delete segments.parquet, and it is made again"
CHANGED = "crop: was changed since it was made; delete it and segments.parquet, and it is made again"


class Outputs(NamedTuple):
    """The files of the step: vectors [n, d] float16, TARGET_CROPS in their order, the same for other readers, CROP_ERRORS."""

    vectors: Path
    table: Path
    metadata: Path
    errors: Path


def embed_crops(segments: Path, embedder: Embedder, width: int, output: Outputs) -> dict[str, int]:
    """Embed the crops of a folder and write vectors and tables; gives the counts.

    A crop counts as long as its file is the one that step 05 made; one that was taken away or changed since is an error.

    Args:
        segments: the table of step 05, beside its `metadata.json` and the folder of the crops.
        embedder: with the model.
        width: numbers of a vector.
        output: what to write.
    """
    rows, storage = read(segments), FolderStorage(segments.parent / FOLDER)
    view = read_json(segments.with_name("metadata.json"))["segments"]
    ledger = Ledger((row["file"] for row in rows), ("embedded", "errors"))
    vectors = np.empty((len(rows), width), np.float16)
    kept: list[int] = []
    errors: list[Row] = []
    for place, (row, one) in enumerate(zip(rows, _embedded(rows, storage, embedder), strict=True)):
        error = one if isinstance(one, str) else CHANGED if one.sha256 not in (None, row["file_sha256"]) else one.error
        if error is None and isinstance(one, Embedded) and one.vectors is not None:
            vectors[len(kept)] = one.vectors[0]
            kept.append(place)
        else:
            errors.append(row | {"reason": error})
        ledger.add("errors" if error else "embedded", [row["file"]])
    counts = ledger.close()
    model = {name: embedder.description[name] for name in ("fingerprint", "model", "precision")}
    facts = about(segments) | {"embedding": model | {"d": width}}
    with atomic_output(output.vectors) as partial, partial.open("wb") as file:
        np.save(file, vectors[: len(kept)])
    write_json(output.metadata, [view[place] for place in kept])
    write(output.errors, CROP_ERRORS, errors, facts)
    write(output.table, TARGET_CROPS, [rows[place] for place in kept], facts)
    return counts | {name: count for name, count in embedder.counts.items() if name not in counts}


def _embedded(rows: list[Row], storage: FolderStorage, embedder: Embedder) -> Iterator[Embedded | str]:
    """For each row what became of the file in its crop's place, or why there is none."""
    found = [storage.find(row["file"]) for row in rows]
    items = [item for item in found if item]
    results = progress(embedder.embed(items, storage), total=len(items))
    for item in found:
        yield next(results) if item else GONE
    next(results, None)  # lets the embedder write what it learnt


if job := globals().get("snakemake"):
    with step(job.log[0]):
        card, machine = ModelCard.read(job.input.model), job.params.machine
        batch = CLIPS[resolve_device(machine["device"])[0]] if machine["batch_clips"] == "auto" else machine["batch_clips"]
        how = {name: machine[name] for name in ("cache_root", "device", "threads")} | {"max_pixels": job.params.max_pixels}
        embedder = Embedder(card, views="center", decode_mode="full", batch=batch, **how)
        output = Outputs(*(Path(job.output[name]) for name in ("vectors", "table", "metadata", "errors")))
        report_counts(**embed_crops(Path(job.input.segments), embedder, int(card.model_cfg["embed_dim"]), output))
