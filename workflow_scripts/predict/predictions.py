"""What the networks say of a project: groups, scores, the best image of each group, and its crop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any, Literal

import numpy as np

from workflow_scripts.core.decisions import Reviews
from workflow_scripts.core.embeddings import Vectors, iter_vectors
from workflow_scripts.predict.crops import make_crop
from workflow_scripts.predict.groups import Group, Grouping, Rule, group_images
from workflow_scripts.predict.networks import Floats, Network, crop_inputs, embeddings
from workflow_scripts.predict.selection import select
from workflow_scripts.predict.stages import time_of
from workflow_scripts.predict.tables import ERROR, PASSED_OVER, SELECTED, UNGROUPED

EPOCH = "1970-01-01T00:00:00Z"  # of a group none of whose files has a date
COLUMNS = ("path", "modified", "groupable", "sha256", "width", "height", "error")


@dataclass(frozen=True)
class Networks:
    """What predicts, and how it wants its inputs.

    Attributes:
        ranker: scores embeddings.
        proposer: proposes crops.
        ranker_normalise: whether the ranker takes embeddings of length 1.
        proposer_normalise: likewise.
        scale: `dimension_scale` of the crop proposer.
        min_side: of a crop, as a part of width or height.
    """

    ranker: Network
    proposer: Network
    ranker_normalise: bool
    proposer_normalise: bool
    scale: int | Literal["image"]
    min_side: float


@dataclass
class Embeddings:
    """The embedding table of a project.

    Attributes:
        rows: of all images, without vectors.
        vectors: of those that have one [n, d]; None when none has.
        places: row of `vectors` by path.
    """

    rows: list[dict[str, Any]]
    vectors: Vectors | None
    places: dict[str, int]

    @classmethod
    def read(cls, table: Path) -> "Embeddings":
        """Read the table of step 02."""
        rows: list[dict[str, Any]] = []
        parts: list[Vectors] = []
        places: dict[str, int] = {}
        for batch, vectors, owners in iter_vectors(table, COLUMNS):
            listed = batch.to_pylist()
            for owner in owners:
                places[listed[owner]["path"]] = len(places)
            if vectors is not None:
                parts.append(vectors)
            rows += listed
        return cls(rows, np.concatenate(parts) if parts else None, places)


def predict(
    project: str, table: Embeddings, rule: Rule, networks: Networks | None, reviews: Reviews
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of the tables `GROUPS` and `IMAGES`.

    Args:
        project: its id.
        table: of step 02.
        rule: how images are grouped.
        networks: what predicts; None where no image has an embedding.
        reviews: what a person decided about groups.
    """
    groupable = {row["path"]: row for row in table.rows if row["groupable"]}
    contents = {path: row["sha256"] or "" for path, row in groupable.items()}
    grouping = group_images(project, groupable, rule, reviews, contents)
    scores = _scores(table, networks)
    groups = [_group_row(group, groupable, scores) for group in grouping.groups]
    _add_crops(groups, grouping.groups, table, networks)
    return groups, _image_rows(table.rows, grouping, groups, scores)


def _scores(table: Embeddings, networks: Networks | None) -> dict[str, float]:
    """The ranker's score of every image that has an embedding, by path."""
    if table.vectors is None or networks is None:
        return {}
    found = networks.ranker(embeddings(table.vectors, normalise=networks.ranker_normalise))[:, 0]
    return {path: float(found[place]) for path, place in table.places.items()}


def _group_row(group: Group, known: Mapping[str, dict[str, Any]], scores: Mapping[str, float]) -> dict[str, Any]:
    rows = [known[path] for path in group.paths]
    of_group = [scores.get(path) for path in group.paths]
    selection = select(group.group_id, of_group)
    row: dict[str, Any] = {
        "group_id": group.group_id,
        "directory": group.directory,
        "timestamp": _timestamp(group, rows),
        "images": [path.rpartition("/")[2] for path in group.paths],
        "sha256": [one["sha256"] for one in rows],
        "scores": of_group,
        "repairs": [],
        "error": "",
    }
    if selection is None:
        first = f"{row['images'][0]}: {rows[0]['error']}"
        return row | {"error": f"read: none of {len(rows)} images can be used; {first}"}
    chosen = rows[selection.index]
    chosen_size = {"width": chosen["width"], "height": chosen["height"]}
    return row | {"selected": selection.index, "confidence": selection.confidence, "margin": selection.margin} | chosen_size


def _timestamp(group: Group, rows: Sequence[dict[str, Any]]) -> str:
    """The time in the names, which say no zone and are taken as UTC; else the date of the newest file."""
    own = time_of(group.timestamp)
    if own is not None:
        return own.replace(tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return max((row["modified"] for row in rows if row["modified"]), default=EPOCH)


def _add_crops(rows: list[dict[str, Any]], groups: Sequence[Group], table: Embeddings, networks: Networks | None) -> None:
    """Propose a crop of each selected image, and put it, repaired where that is needed, into the group's row."""
    chosen = [(row, group.paths[row["selected"]]) for row, group in zip(rows, groups, strict=True) if row.get("selected") is not None]
    if not chosen or table.vectors is None or networks is None:
        return
    vectors = table.vectors[[table.places[path] for _, path in chosen]]
    sizes = np.array([[row["width"], row["height"]] for row, _ in chosen])
    inputs: Floats = crop_inputs(embeddings(vectors, normalise=networks.proposer_normalise), sizes, networks.scale)
    for (row, _), proposal in zip(chosen, networks.proposer(inputs), strict=True):
        crop = make_crop(proposal.tolist(), networks.min_side)
        row |= {"proposal": proposal.tolist(), "crop": crop.coordinates, "repairs": list(crop.repairs), "error": crop.error or ""}


def _image_rows(
    rows: Sequence[dict[str, Any]], grouping: Grouping, groups: Sequence[dict[str, Any]], scores: Mapping[str, float]
) -> list[dict[str, Any]]:
    """What became of every image."""
    places = {path: (group, place) for group in grouping.groups for place, path in enumerate(group.paths)}
    selected = {row["group_id"]: row.get("selected") for row in groups}
    reasons = dict(grouping.ungrouped)
    found = []
    for row in rows:
        # A refused member may have the name of another, which is the one that stands in a group.
        group, place = places.get(row["path"], (None, None)) if row["groupable"] else (None, None)
        if row["error"]:
            outcome, reason = ERROR, row["error"]
        elif group is None:
            outcome, reason = UNGROUPED, reasons[row["path"]]
        else:
            outcome, reason = (SELECTED if selected[group.group_id] == place else PASSED_OVER), ""
        measured = {name: row[name] for name in ("path", "sha256", "width", "height")}
        stands = {"group_id": group.group_id if group else None, "place": place}
        found.append(measured | stands | {"score": scores.get(row["path"]), "outcome": outcome, "reason": reason})
    return found
