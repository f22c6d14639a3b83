"""A source shard to its files: what became of every image, and the rows and vectors of its segments."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workflow_scripts.autotag.blocks import Shard
from workflow_scripts.autotag.flow import Flow
from workflow_scripts.autotag.pictures import Picture, Words
from workflow_scripts.autotag.shard_files import ShardWriter
from workflow_scripts.autotag.shards import Sample, samples
from workflow_scripts.autotag.tables import ABSENT, EMBEDDED, EMPTY, ERROR
from workflow_scripts.autotag.tags import Descriptions
from workflow_scripts.core.accounting import Ledger
from workflow_scripts.core.images import largest_file
from workflow_scripts.core.step import log, progress

Row = dict[str, Any]
OUTCOMES = (EMBEDDED, EMPTY, ERROR, ABSENT)
_OF_A_SEGMENT = ("bbox", "area", "box_area", "class_id", "label", "confidence")
_OF_A_PICTURE = ("sha256", "width", "height")
_OF_A_SAMPLE = ("key", "member", "offset", "size")


class ShardMaker:
    """Makes the files of shards with one flow."""

    def __init__(self, flow: Flow, prompts: str, vocabulary: list[str]) -> None:
        """Look for what `prompts` says: an image's own `tags`, the words of the `vocabulary`, or `everything`."""
        self._flow, self._prompts, self._vocabulary = flow, prompts, vocabulary

    def make(self, shard: str, dataset: Path, tags: Path, folder: Path, digest: str) -> Shard:
        """Make the files of a shard.

        Args:
            shard: its number.
            dataset: the folder of the tar and the table.
            tags: the folder of the tags.
            folder: where the files go.
            digest: what they are made from.

        Raises:
            StepError: a model or a file cannot be used.
        """
        described = Descriptions(dataset, tags, shard)
        listed: list[str] = []
        found: list[tuple[int, Row]] = []
        with ShardWriter(folder, shard, self._flow.width) as writer:
            pictures = self._flow.run(_noted(dataset / f"{shard}.tar", self._flow.max_pixels, listed), self._words(described))
            for picture in progress(pictures, total=len(described)):
                row = {"shard": shard} | _image_row(picture, described)
                found.append((picture.sample.position, row))
                writer.add(_segment_rows(picture, row), picture.vectors)
            # That a sample has no image is known at the end of the tar alone.
            rows = [row for _, row in sorted(found, key=lambda pair: pair[0])]
            for key, reason in described.absent(set(listed)):
                listed.append(key)
                rows.append({"shard": shard, "key": key, **described.row(key), "outcome": ABSENT, "reason": reason})
            outcomes = _account(listed, rows)
            untagged = sum(row["outcome"] == EMBEDDED and not row["tags"] for row in rows)
            made = writer.close(rows, digest, outcomes, untagged)
        rowless = sum(bool(row.get("sha256")) and row["key"] not in described.rows for row in rows) if described.has_table else 0
        log.info("shard %s: %s, %d segments, %d untagged, %d without a row", shard, _text(outcomes), made.rows, untagged, rowless)
        return made

    def _words(self, described: Descriptions) -> Words:
        if self._prompts == "tags":
            return lambda key: described.tags(key) or None
        return lambda _: self._vocabulary


def _noted(path: Path, max_pixels: int, listed: list[str]) -> Iterator[Sample]:
    """The samples of a tar, whose keys are noted as they pass: what is read is what has to come out."""
    for sample in samples(path, largest_file(max_pixels)):
        listed.append(sample.key)
        yield sample


def _image_row(picture: Picture, described: Descriptions) -> Row:
    """A row of IMAGES."""
    row = {name: getattr(picture.sample, name) for name in _OF_A_SAMPLE} | {name: getattr(picture, name) for name in _OF_A_PICTURE}
    row |= described.row(picture.sample.key) | picture.counts
    if picture.error:
        return row | {"outcome": ERROR, "reason": picture.error}
    if picture.segments:
        return row | {"outcome": EMBEDDED, "reason": picture.note}
    if picture.words is None:
        return row | {"outcome": EMPTY, "reason": "untagged: there is nothing to look for"}
    found = picture.counts["found"]
    return row | {"outcome": EMPTY, "reason": f"none of the {found} segments found is large enough" if found else "nothing found"}


def _segment_rows(picture: Picture, row: Row) -> list[Row]:
    """Rows of SEGMENTS."""
    of_image = {name: row[name] for name in ("key", "shard", *_OF_A_PICTURE)} | {"vlm_tags": row["tags"]}
    named = zip(picture.segments, picture.crop_ids, strict=True)
    return [{name: getattr(segment, name) for name in _OF_A_SEGMENT} | of_image | {"crop_id": crop_id} for segment, crop_id in named]


def _account(listed: list[str], rows: list[Row]) -> dict[str, int]:
    """How many samples came to what: every one that was listed to one outcome."""
    ledger = Ledger(listed, OUTCOMES)
    for row in rows:
        ledger.add(row["outcome"], [row["key"]])
    counts = ledger.close()
    return {outcome: counts[outcome] for outcome in OUTCOMES}


def _text(outcomes: dict[str, int]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
