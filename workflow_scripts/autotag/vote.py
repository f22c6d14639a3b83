"""autotag 08: tag the images of a folder by what their neighbours vote for, and by what people decided."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts.autotag.ballots import Floats, Ints, Rules, choose
from workflow_scripts.autotag.tables import CANDIDATES, ERROR, KEPT, REJECTED, SEGMENTED
from workflow_scripts.autotag.tag_names import rarity
from workflow_scripts.autotag.tag_reviews import REJECT, TagReviews, read_tag_reviews
from workflow_scripts.autotag.votes import needed, silent, tally
from workflow_scripts.core import tables
from workflow_scripts.core.accounting import Ledger
from workflow_scripts.core.decisions import Exclusions
from workflow_scripts.core.json_files import read_json, write_json
from workflow_scripts.core.step import StepError, atomic_output, log, report_counts, step

TAGGED, UNTAGGED = "tagged", "untagged"
LEFT_IN, TAKEN_OUT, ADDED = (f"{verb} by a person" for verb in ("kept", "rejected", "added"))
ORDER = [("image", "ascending"), ("votes", "descending"), ("weight", "descending"), ("tag", "ascending")]


@dataclass(frozen=True)
class Sources:
    """What a folder's tags come from.

    Attributes:
        images: the table TARGET_IMAGES.
        crops: the table TARGET_CROPS.
        neighbours: the table NEIGHBOURS.
        index: the index's metadata.
        reviews: what a person decided; None for nothing.
    """

    images: Path
    crops: Path
    neighbours: Path
    index: Path
    reviews: Path | None


@dataclass(frozen=True)
class Outputs:
    """Where they go: CANDIDATES, those of them that are kept, and `{image: [tag, …]}` of every image that can be read."""

    candidates: Path
    table: Path
    tags: Path


def decide(votes: pa.Table, images: Mapping[str, str], need: Mapping[str, int], reviews: TagReviews) -> pa.Table:
    """Give each tag with votes its outcome and reason, and add those that a person added; gives CANDIDATES in their order.

    Args:
        votes: of `tally`.
        images: sha256 of the images that can be read, by their names.
        need: how many votes the tags of each image need.
        reviews: what a person decided, which stands above votes.
    """
    enough = pc.greater_equal(votes["votes"], votes["needed"])
    told = pc.binary_join_element_wise("votes", votes["votes"].cast(pa.string()), "of", votes["needed"].cast(pa.string()), " ")
    outcomes, reasons = pc.if_else(enough, KEPT, REJECTED).to_pylist(), pc.if_else(enough, None, told).to_pylist()
    rows, added = _rows_of(votes, reviews), []
    for image, tag in reviews.pairs():
        decision, row = reviews.decision(image, tag), rows.get((image, tag))
        if row is None and decision == REJECT:
            continue
        reviews.use(image, tag)
        if row is None:
            added.append({"image": image, "tag": tag, "votes": 0, "needed": need[image], "weight": 0.0, "outcome": KEPT, "reason": ADDED})
        elif decision == REJECT:
            outcomes[row], reasons[row] = REJECTED, TAKEN_OUT
        else:
            outcomes[row], reasons[row] = KEPT, f"{LEFT_IN}: {reasons[row]}" if reasons[row] else LEFT_IN
    schema = pa.schema(CANDIDATES)
    known = {name: votes[name] for name in votes.column_names} | {"outcome": outcomes, "reason": reasons}
    counted = pa.table({name: known.get(name, pa.nulls(len(votes), schema.field(name).type)) for name in schema.names}, schema)
    lists = dict.fromkeys(("crops", "neighbours", "examples"), ())
    found = pa.concat_tables([counted, pa.Table.from_pylist([row | lists for row in added], schema)])
    found = found.take(pc.sort_indices(found.select([name for name, _ in ORDER]), ORDER))
    sha256 = pa.array(list(images.values()), pa.string()).take(pc.index_in(found["image"], pa.array(list(images), pa.string())))
    return found.set_column(found.column_names.index("sha256"), "sha256", sha256).combine_chunks()


def _rows_of(votes: pa.Table, reviews: TagReviews) -> dict[tuple[str, str], int]:
    """The rows of the images that a person decided about, by image and tag."""
    chosen = pa.array(sorted({image for image, _ in reviews.pairs()}), pa.string())
    rows = np.flatnonzero(np.asarray(pc.is_in(votes["image"], chosen)))
    some = votes.select(["image", "tag"]).take(pa.array(rows)).to_pylist()
    return {(pair["image"], pair["tag"]): row for pair, row in zip(some, rows.tolist(), strict=True)}


def vote(sources: Sources, outputs: Outputs, settings: Mapping[str, Any]) -> dict[str, int]:
    """Tag a folder; gives counts of images, tags, neighbours and lines of the reviews that fit nothing.

    Args:
        sources: what tags come from.
        outputs: where they go.
        settings: those of `autotag.vote`, with `k` and `exclude`.

    Raises:
        StepError: the sources do not belong together, or a setting or a review cannot be followed.
    """
    rules, exclusions, index = Rules.of(settings), Exclusions.read(settings["exclude"]), read_json(sources.index)
    listed = tables.read(sources.images, "image", "sha256", "outcome")
    images = {row["image"]: row["sha256"] for row in sorted(listed, key=lambda row: row["image"]) if row["outcome"] == SEGMENTED}
    names, crops = list(images), pq.read_table(sources.crops, columns=["image", "crop_id"])
    image = _images_of(crops, images, sources)
    ballots = choose(crops, pq.read_table(sources.neighbours), rules, exclusions)
    votes = tally(names, image, crops["crop_id"].combine_chunks(), ballots, rules, partial(_rarity, index=index, rules=rules))
    reviews = read_tag_reviews(sources.reviews, images, rules.spelling)
    need = needed(np.bincount(image, minlength=len(names)), rules).tolist()
    found = decide(votes, images, dict(zip(names, need, strict=True)), reviews)
    kept = found.filter(pc.equal(found["outcome"], KEPT))
    tags: dict[str, list[str]] = {name: [] for name in names}
    for name, tag in zip(kept["image"].to_pylist(), kept["tag"].to_pylist(), strict=True):
        tags[name].append(tag)
    counts = account(listed, tags)
    why = silent(names, image, ballots, set(found["image"].unique().to_pylist()))
    about = {"images": counts, "neighbours": ballots.counts, "silent": why}
    _write(outputs.candidates, found, about)
    _write(outputs.table, kept, about)
    write_json(outputs.tags, tags)
    _tell(exclusions, reviews)
    given = {"tags": len(kept), "rejected": len(found) - len(kept), "unused": len(reviews.unused())}
    return counts | given | {f"neighbours_{name}": count for name, count in ballots.counts.items()}


def account(listed: list[dict[str, Any]], tags: Mapping[str, list[str]]) -> dict[str, int]:
    """Count what became of each image of the folder.

    Args:
        listed: rows of TARGET_IMAGES.
        tags: those of the images that can be read.

    Raises:
        AccountingError: an image is missing, or there twice.
    """
    ledger = Ledger((row["image"] for row in listed), (TAGGED, UNTAGGED, ERROR))
    ledger.add(TAGGED, [name for name, found in tags.items() if found])
    ledger.add(UNTAGGED, [name for name, found in tags.items() if not found])
    ledger.add(ERROR, [row["image"] for row in listed if row["outcome"] == ERROR])
    return ledger.close()


def _rarity(tags: Sequence[str], index: Mapping[str, Any], rules: Rules) -> Floats:
    """Asked for by one weighting alone, so that the others need no counts of the source's tags."""
    return rarity(tags, index["tag_images"], index["images"], rules.spelling)


def _images_of(crops: pa.Table, images: Mapping[str, str], sources: Sources) -> Ints:
    """The place of each crop's image."""
    places = pc.index_in(crops["image"], pa.array(list(images), pa.string()))
    if places.null_count:
        strange = crops["image"].filter(pc.is_null(places))[0].as_py()
        raise StepError(
            f"{sources.crops}: has crops of {strange}, which {sources.images} does not list; delete both, and they are made again"
        )
    found: Ints = places.to_numpy().astype(np.int64)
    return found


def _write(path: Path, found: pa.Table, about: Mapping[str, Any]) -> None:
    with atomic_output(path) as unfinished:
        pq.write_table(found.replace_schema_metadata({"darkroom": json.dumps(about, sort_keys=True)}), unfinished, compression="zstd")


def _tell(exclusions: Exclusions, reviews: TagReviews) -> None:
    for name, count in exclusions.counts.items():
        log.info("exclude: %s: %d source images near to this folder's may not vote", name, count)
    for line in reviews.unused():
        log.warning("review: %s fits nothing now", line)


if job := globals().get("snakemake"):
    with step(job.log[0]):
        files = {name: Path(getattr(job.input, name)) for name in ("images", "crops", "neighbours", "index")}
        sources = Sources(**files, reviews=Path(job.input.reviews[0]) if job.input.reviews else None)
        outputs = Outputs(Path(job.output.candidates), Path(job.output.table), Path(job.output.tags))
        report_counts(**vote(sources, outputs, job.params.vote))
