"""predict 06: the rows of the report: a group with its chosen image first; images in no group; images that cannot be used."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.core.embeddings import write_table
from workflow_scripts.core.step import StepError
from workflow_scripts.predict.stages import parse
from workflow_scripts.predict.tables import ERROR, SELECTED, UNGROUPED

FAILED = "failed"  # a group none of whose images can be used
PICTURES = 6  # of a group; more would be too small to judge
NO_STAGE = "no stage"
NO_BREAK = "\N{NO-BREAK SPACE}"
BATCH = 4096  # rows that are Python objects at a time
GROUP_COLUMNS = ("group_id", "directory", "images", "sha256", "scores", "selected", "confidence", "margin", "crop", "repairs", "error")
IMAGE_COLUMNS = ("path", "group_id", "sha256", "outcome", "reason")
BOX = pa.struct([("image", pa.int32()), *((side, pa.float64()) for side in ("x0", "y0", "x1", "y1")), ("label", pa.string())])
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "name", "label", "outcome", "reason", "link")]
    + [(name, pa.list_(pa.string())) for name in ("links", "images", "captions", "tags")]
    + [("members", pa.list_(pa.struct([("name", pa.string()), ("id", pa.string())]))), ("boxes", pa.list_(BOX))]
    + [(name, pa.float64()) for name in ("margin", "confidence", "group_size", "crop_share", "crop_side")]
)

Row = dict[str, Any]


@dataclass
class Found:
    """What the tables hold.

    Attributes:
        margins: of all groups that have one.
        stages: how many groups have a usable image of each stage, by what captions call it.
        chosen: in how many of them it is the chosen one.
        repairs: how many crops have each repair.
        repaired: how many crops have any.
        crops: how many there are.
    """

    margins: list[float] = field(default_factory=list)
    stages: Counter[str] = field(default_factory=Counter)
    chosen: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    repaired: int = 0
    crops: int = 0

    def add(self, group: Row) -> None:
        """Count a group in which an image was chosen."""
        readable = [parse(name).stage for name, score in zip(group["images"], group["scores"], strict=True) if score is not None]
        self.stages.update({_stage(stage) for stage in readable})
        self.chosen[_stage(parse(group["images"][group["selected"]]).stage)] += 1
        self.repairs.update(group["repairs"])
        self.repaired += bool(group["repairs"])
        self.crops += group["crop"] is not None
        if group["margin"] is not None:
            self.margins.append(group["margin"])


def write_items(groups: Path, images: Path, root: str, output: Path) -> Found:
    """Write the table of the page.

    Args:
        groups: the table `GROUPS`.
        images: the table `IMAGES`.
        root: URI of the folder that originals can be opened from; empty for none.
        output: a Parquet file with `SCHEMA`.

    Raises:
        StepError: the tables do not belong together.
    """
    found = Found()
    write_table(output, SCHEMA, _rows(groups, images, root.rstrip("/"), found), BATCH)
    return found


def _rows(groups: Path, images: Path, root: str, found: Found) -> Iterator[Row]:
    """The rows of the page: groups in their order, then the images that have a row of their own."""
    in_groups = 0
    for group in _read(groups, (*GROUP_COLUMNS, "width", "height")):
        in_groups += len(group["images"])
        if group["selected"] is None:
            yield _failed(group, root)
        else:
            found.add(group)
            yield _group(group, root)
    last, times = None, 0
    for image in _read(images, IMAGE_COLUMNS):
        in_groups -= image["group_id"] is not None
        # A refused member of an archive may have the name of another member, which stands beside it.
        last, times = image["path"], times + 1 if image["path"] == last else 1
        if image["outcome"] in (UNGROUPED, ERROR):
            yield _image(image, root) | ({"name": f"{last} ({times})"} if times > 1 else {})
    if in_groups:
        raise StepError(f"{groups} and {images} do not belong together; delete both, and they are made again")


def _read(table: Path, columns: tuple[str, ...]) -> Iterator[Row]:
    for batch in pq.ParquetFile(table).iter_batches(BATCH, columns=columns):
        yield from batch.to_pylist()


def _group(group: Row, root: str) -> Row:
    """The row of a group in which an image was chosen: this one first, the others by their scores, unusable ones last."""
    scores, paths = group["scores"], _paths(group)
    order = sorted(range(len(paths)), key=lambda place: (place != group["selected"], scores[place] is None, -(scores[place] or 0), place))
    shown, chosen = order[:PICTURES], order[0]
    stage = parse(group["images"][chosen]).stage
    # The first image of a group can start no new one: a decision about it is one of an earlier round, to which the group is due.
    ids = [group["sha256"][place] if place or place == chosen else None for place in order]
    row = {
        "id": ids[0],
        "name": paths[chosen],
        "label": group["group_id"],
        "outcome": SELECTED,
        "reason": group["error"] or ("" if stage is None else f"{_stage(stage)} chosen"),
        "images": [None if scores[place] is None else f"{group['sha256'][place]} {paths[place]}" for place in shown],
        "links": [_link(root, paths[place]) for place in shown],
        "captions": [_caption(group, place, rank) for rank, place in enumerate(order, 1)],
        "members": [{"name": paths[place], "id": sha256} for place, sha256 in zip(order, ids, strict=True)],
        "tags": _tags(group),
        "group_size": len(paths),
    }
    return row | {name: group[name] for name in ("margin", "confidence")} | _crop(group)


def _failed(group: Row, root: str) -> Row:
    """The row of a group without a usable image. Each of them has its own row, with its error, so the group's id names this one."""
    paths = _paths(group)
    shown = range(min(len(paths), PICTURES))
    row = {"name": group["group_id"], "label": group["group_id"], "outcome": FAILED, "reason": group["error"], "tags": _tags(group)}
    captions = [_caption(group, place, place + 1) for place in shown]
    return row | {"images": [None] * len(shown), "links": [_link(root, paths[place]) for place in shown], "captions": captions}


def _image(image: Row, root: str) -> Row:
    """The row of an image that is in no group, or cannot be used."""
    row = {name: image[name] for name in ("outcome", "reason")} | {"id": image["sha256"], "name": image["path"]}
    usable = image["outcome"] == UNGROUPED
    directory = image["path"].rpartition("/")[0]
    pictures = [f"{image['sha256']} {image['path']}"] if usable else []
    return row | {"link": _link(root, image["path"]), "images": pictures, "tags": [directory] if directory else []}


def _paths(group: Row) -> list[str]:
    front = f"{group['directory']}/" if group["directory"] else ""
    return [f"{front}{name}" for name in group["images"]]


def _link(root: str, path: str) -> str:
    return f"{root}/{quote(path)}" if root else ""


def _stage(stage: float | None) -> str:
    return NO_STAGE if stage is None else f"stage {stage:g}"


def _caption(group: Row, place: int, rank: int) -> str:
    """What an image of a group is: its rank, and its stage, or its place in the group where the name says no stage."""
    stage = parse(group["images"][place]).stage
    known = f"no. {place + 1}" if stage is None else _stage(stage)
    ranked = "unreadable" if group["scores"][place] is None else "chosen" if rank == 1 else _ordinal(rank)
    return f"{ranked} · {known.replace(' ', NO_BREAK)}" if len(group["images"]) > 1 else ranked


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _tags(group: Row) -> list[str]:
    more = len(group["images"]) - PICTURES
    unusable = sum(score is None for score in group["scores"])
    said = {
        group["directory"]: True,
        f"and {more} more": more > 0,
        "with unreadable images": 0 < unusable < len(group["scores"]),
        "crop repaired": bool(group["repairs"]),
        "no crop": group["selected"] is not None and group["crop"] is None,
    }
    return [tag for tag, holds in said.items() if tag and holds]


def _crop(group: Row) -> Row:
    """The crop as a box on the chosen image, its part of the image's area, and its shorter side in pixels."""
    if group["crop"] is None:
        return {}
    x0, y0, x1, y1 = group["crop"]
    box = {"image": 0, "x0": x0, "y0": y0, "x1": x1, "y1": y1, "label": "crop"}
    side = min((x1 - x0) * group["width"], (y1 - y0) * group["height"])
    return {"boxes": [box], "crop_share": round((x1 - x0) * (y1 - y0), 4), "crop_side": round(side, 1)}
