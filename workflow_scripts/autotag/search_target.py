"""autotag 07: the nearest segments of the source for every crop of a target."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.autotag.exact import nearest_first, place_in_run
from workflow_scripts.autotag.index_rows import look_up
from workflow_scripts.autotag.row_groups import write_groups
from workflow_scripts.autotag.scoring import Pairs, Stored, propose
from workflow_scripts.autotag.tables import NEIGHBOURS
from workflow_scripts.core import index as core
from workflow_scripts.core.cosine import Floats, written
from workflow_scripts.core.embeddings import Vectors
from workflow_scripts.core.index_gpu import open_index
from workflow_scripts.core.json_files import read_json
from workflow_scripts.core.step import StepError, progress, report_counts, step
from workflow_scripts.core.tables import about

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Inputs:
    """The crops of a target, and the index."""

    vectors: Path
    table: Path
    index: Path
    rows: Path
    metadata: Path


@dataclass(frozen=True)
class Depth:
    """How far a search looks.

    Attributes:
        k_max: neighbours of a crop that are kept.
        nprobe: lists that are looked through; None for an index without.
        rerank: candidates that are compared with the stored vectors, if they are more than k_max.
    """

    k_max: int
    nprobe: int | None
    rerank: int

    @classmethod
    def of(cls, search: dict[str, Any], metadata: dict[str, Any]) -> "Depth":
        """As the settings say; auto is what was measured with the index."""
        nprobe, rerank = (metadata[name] if search[name] == "auto" else search[name] for name in ("nprobe", "rerank"))
        return cls(search["k_max"], min(nprobe, metadata["nlist"]) if metadata["nlist"] else None, rerank)


def read_crops(vectors: Path, table: Path, metadata: dict[str, Any]) -> tuple[Vectors, pa.Table]:
    """The crops' vectors [n, d], and image, sha256 and crop_id of each.

    Raises:
        StepError: they are of another model than the index, or vectors and rows do not fit each other.
    """
    made, wanted = about(table)["embedding"], metadata["model"]
    if made["model"]["sha256"] != wanted["sha256"] or made["d"] != metadata["d"]:
        raise StepError(
            f"{table}: these crops were embedded by {made['model']['name']} ({made['model']['sha256'][:8]}, {made['d']} numbers), the "
            f"index was made for {wanted['name']} ({wanted['sha256'][:8]}, {metadata['d']}): neighbours of another model mean nothing; "
            "name the index's model as autotag.clip, or make the source and its index again"
        )
    crops = pq.read_table(table, columns=["image", "sha256", "crop_id"])
    # A file without rows cannot be mapped.
    found: Vectors = np.load(vectors, mmap_mode="r" if len(crops) else None, allow_pickle=False)
    if found.shape != (len(crops), metadata["d"]):
        raise StepError(
            f"{vectors}: holds {found.shape}, for {len(crops)} crops of {metadata['d']} numbers; delete it, and it is made again"
        )
    return found, crops


def find(index: Any, vectors: Vectors, depth: Depth, stored: Stored) -> tuple[Pairs, Floats]:
    """The nearest rows of some crops [n, d]: pairs of crop and id, by crop and nearest first, and their exact cosines."""
    queries, ids = pairs = propose(index, vectors, max(depth.k_max, depth.rerank))
    cosines = stored.cosines(vectors, pairs)
    order = nearest_first(queries, ids, cosines, depth.k_max)
    return (queries[order], ids[order]), cosines[order]


def describe(crops: pa.Table, pairs: Pairs, cosines: Floats, rows: Path) -> pa.Table:
    """Rows of NEIGHBOURS for pairs of crop and id."""
    queries, ids = pairs
    unique, places = np.unique(ids, return_inverse=True)
    found = look_up(rows, unique).take(places)
    own = crops.take(queries)
    columns = {name: own[name] for name in own.schema.names} | {
        "rank": pa.array(place_in_run(queries) + 1),
        "id": pa.array(ids),
        "similarity": pa.array([written(cosine) for cosine in cosines.tolist()], pa.float64()),
        **{f"neighbour_{name}": found[name] for name in ("shard", "key", "crop_id", "sha256")},
        "label": found["label"],
        "tags": found["tags"],
    }
    return pa.table({name: columns[name] for name, _ in NEIGHBOURS})


def search_target(inputs: Inputs, folder: Path, search: dict[str, Any], machine: dict[str, Any], output: Path) -> dict[str, int]:
    """Write the neighbours of all crops; gives the counts. Batches, threads and GPUs leave no trace in them.

    Args:
        inputs: what to search, and for what.
        folder: results of the source, with the vectors of its shards.
        search: `k_max`, `nprobe` and `rerank` of the settings.
        machine: `threads`, `batch` (crops at a time), `device` and `gpu`.
        output: the table.

    Raises:
        StepError: crops and index are of different models, files do not fit each other, or there is no GPU where one was asked for.
    """
    metadata = read_json(inputs.metadata)
    vectors, crops = read_crops(inputs.vectors, inputs.table, metadata)
    depth = Depth.of(search, metadata)
    index = open_index(inputs.index, depth.nprobe, machine["gpu"], machine["device"])
    if index.ntotal != metadata["rows"] or index.d != metadata["d"]:
        raise StepError(f"{inputs.index}: is not the index that {inputs.metadata} describes; make both again: autotag_04_merge_index")
    stored = Stored(folder, metadata["shards"], metadata["d"], machine["threads"])

    def tables() -> Iterator[pa.Table]:
        starts = range(0, len(vectors), machine["batch"])
        for start in progress(starts, total=len(starts), unit="batches"):
            rows = slice(start, start + machine["batch"])
            batch = np.asarray(vectors[rows])
            yield describe(crops.slice(start, len(batch)), *find(index, batch, depth, stored), inputs.rows)

    facts = {"k_max": depth.k_max, "nprobe": depth.nprobe, "rerank": depth.rerank}
    schema = pa.schema(NEIGHBOURS, metadata={"darkroom": json.dumps(facts, sort_keys=True)})
    neighbours = write_groups(output, schema, tables())
    return {"crops": len(crops), "neighbours": neighbours}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        core.set_threads(job.params.machine["threads"])
        given = Inputs(*(Path(getattr(job.input, name)) for name in ("vectors", "table", "index", "rows", "metadata")))
        report_counts(**search_target(given, Path(job.params.folder), job.params.search, job.params.machine, Path(job.output[0])))
