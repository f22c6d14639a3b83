"""How well autotag did against the truth that the drawn shards and folders came with."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.autotag.blocks import IMAGES_TABLE, Block
from workflow_scripts.autotag.tables import ABSENT, EMBEDDED, ERROR, SEGMENTED
from workflow_scripts.core.json_files import read_json
from workflow_scripts.core.step import StepError
from workflow_scripts.core.tables import read
from workflow_scripts.demo import autotag_shards
from workflow_scripts.demo.autotag_data import FROM_SOURCE, SKIPPED

Row = dict[str, Any]
Pairs = set[tuple[str, str, str]]  # folder, image, tag


def read_truth(truth: Path) -> list[Row]:
    """The rows of `autotag_data.draw`'s table."""
    with truth.open(encoding="utf-8", newline="") as handle:
        return [row | {"tags": json.loads(row["tags"])} for row in csv.DictReader(handle)]


def source_results(blocks: Iterable[Path], truth: list[Row]) -> dict[str, Any]:
    """What became of the source's samples, and whether it is what should."""
    made = [(path.parents[1], Block.read(path)) for path in blocks]
    rows = [row for folder, block in made for shard in block.shards for row in read(shard.path(folder, IMAGES_TABLE))]
    fates = {name: Counter(_sample(row) for row in rows if row["outcome"] == name) for name in (EMBEDDED, ERROR, ABSENT)}
    kinds = {EMBEDDED: (autotag_shards.IMAGE, autotag_shards.UNTAGGED), ERROR: (autotag_shards.ERROR,), ABSENT: (autotag_shards.ABSENT,)}
    meant = {name: Counter(_place(row) for row in truth if row["kind"] in kinds[name]) for name in fates}
    if fates[EMBEDDED].keys() - meant[EMBEDDED].keys() - meant[ERROR].keys() - meant[ABSENT].keys():
        raise StepError("the results are not of the shards as drawn last; run the demo again")
    untagged = Counter(_sample(row) for row in rows if row["outcome"] == EMBEDDED and not row["tags"])
    found: dict[str, Any] = {"shards": sum(len(block.shards) for _, block in made)}
    for name in fates:
        found |= {name: fates[name].total(), f"{name}_as_expected": fates[name] == meant[name]}
    expected = Counter(_place(row) for row in truth if row["kind"] == autotag_shards.UNTAGGED)
    return found | {
        "untagged": untagged.total(),
        "untagged_as_expected": untagged == expected,
        "segments": sum(block.rows for _, block in made),
    }


def _sample(row: Row) -> tuple[str, str]:
    """Shard and key; what belongs to no sample is called after its file, with its place in the tar behind an @."""
    key, _, place = row["key"].partition("@")
    return row["shard"], key.rpartition(".")[0] if place and not key.endswith(".tar") else key


def _place(row: Row) -> tuple[str, str]:
    return row["folder"], row["image"]


def target_results(images: Mapping[str, Path], truth: list[Row]) -> dict[str, Any]:
    """What became of the files of the targets, by the tables of each folder."""
    rows = [row | {"folder": folder} for folder, table in images.items() for row in read(table)]
    drawn = {_place(row): row for row in truth if row["kind"] != SKIPPED}
    if {_place(row) for row in rows} != drawn.keys():
        raise StepError("the results are not of the folders as drawn last; run the demo again")
    errors = {_place(row) for row in rows if row["outcome"] == ERROR}
    return {
        "folders": len(images),
        "targets": len(rows),
        "target_errors": len(errors),
        "target_errors_as_expected": errors == {place for place, row in drawn.items() if row["kind"] == autotag_shards.ERROR},
        "crops": sum(row["crops"] or 0 for row in rows),
        "tagged": {_place(row) for row in rows if row["outcome"] == SEGMENTED},
    }


def tag_results(tables: Mapping[str, Path], tagged: set[tuple[str, str]], source: list[Row], targets: list[Row]) -> dict[str, Any]:
    """Precision and recall of the tags, all images together; and those of giving every image the most frequent tags of the source.

    What counts are the tags that occur in the source: no other can be voted for.

    Args:
        tables: `tags.parquet` of each folder.
        tagged: folder and name of the images that could be read.
        source: rows of the truth.
        targets: likewise.
    """
    frequent = Counter(tag for row in source if row["kind"] == autotag_shards.IMAGE for tag in row["tags"])
    true = {(*_place(row), tag) for row in targets if _place(row) in tagged for tag in row["tags"] if tag in frequent}
    given = {(folder, row["image"], row["tag"]) for folder, table in tables.items() for row in read(table, "image", "tag")}
    each = round(len(given) / max(1, len(tagged)))
    most = sorted(frequent, key=lambda tag: (-frequent[tag], tag))[:each]
    blind = {(*place, tag) for place in tagged for tag in most}
    precision, recall = _scores(given, true)
    blind_precision, blind_recall = _scores(blind, true)
    return {
        "tags": len(given),
        "precision": precision,
        "recall": recall,
        "frequent": each,
        "frequent_precision": blind_precision,
        "frequent_recall": blind_recall,
    }


def _scores(given: Pairs, true: Pairs) -> tuple[float, float]:
    right = len(given & true)
    return right / max(1, len(given)), right / max(1, len(true))


def copy_results(tables: Mapping[str, Path], targets: list[Row]) -> dict[str, Any]:
    """Whether an image that stands in the source too is tagged by others and not by itself.

    Args:
        tables: `candidates.parquet` of each folder.
        targets: rows of the truth.
    """
    copies = {_place(row): row["copy_of"] for row in targets if row["kind"] == FROM_SOURCE}
    rows = [row | {"folder": folder} for folder, table in tables.items() for row in read(table, "image", "neighbours")]
    own = [row for row in rows if _place(row) in copies and copies[_place(row)] in row["neighbours"]]
    return {"copies": len(copies), "copies_as_expected": not own and copies.keys() <= set(map(_place, rows))}


def autotag_results(
    blocks: Iterable[Path], index: tuple[Path, Path], targets: Mapping[str, tuple[Path, Path, Path]], truth: Path
) -> dict[str, Any]:
    """Counts and shares of a run of autotag on the drawn data.

    Args:
        blocks: the manifests of all blocks.
        index: `recall.json` and `index_metadata.json`.
        targets: `images.parquet`, `candidates.parquet` and `tags.parquet` of each folder.
        truth: table of `autotag_data.draw`.

    Raises:
        StepError: the run is not of the data as drawn last.
    """
    drawn = read_truth(truth)
    source, files = ([row for row in drawn if row["side"] == side] for side in ("source", "target"))
    images, candidates, tags = ({name: paths[number] for name, paths in targets.items()} for number in range(3))
    found = source_results(blocks, source) | target_results(images, files)
    found |= tag_results(tags, found.pop("tagged"), source, files) | copy_results(candidates, files)
    recall, about = (read_json(path) for path in index)
    return found | {"index": about["factory"], "recall_at_10": recall["recall"]}
