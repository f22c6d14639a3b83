"""autotag 09: the rows of the report: an image and a tag with the neighbours that voted; images without a tag; unreadable ones."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from workflow_scripts.autotag.report_pictures import Neighbour, Segment, box_of, target_picture
from workflow_scripts.autotag.tables import ERROR, KEPT
from workflow_scripts.autotag.tag_reviews import ARROW, KEEP, REJECT, TagReviews

NO_TAGS = "no tags"  # nothing voted for any
ADDED_TAG, FEW_PARTS, WITHOUT = "added by a person", "few parts: fewer votes needed", "image without tags"
NO_BREAK = "\N{NO-BREAK SPACE}"
WHOLE = "whole"  # what the box round all of an image is called
_BOX = pa.struct([("image", pa.int32()), *((side, pa.float64()) for side in ("x0", "y0", "x1", "y1")), ("label", pa.string())])
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "name", "label", "outcome", "reason", "decision", "link")]
    + [(name, pa.list_(pa.string())) for name in ("links", "images", "captions", "tags")]
    + [("boxes", pa.list_(_BOX)), ("fixed", pa.bool_())]
    + [(name, pa.float64()) for name in ("votes", "needed", "parts", "similarity", "weight")]
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Folder:
    """What is known of the folder.

    Attributes:
        images: rows of TARGET_IMAGES.
        crops: rows of TARGET_CROPS, by image.
        root: URI of the folder.
        vote: the settings of the vote.
        neighbours: source images that voted, as far as they are found.
        reviews: what a person decided so far.
        silent: why nothing voted for an image's tags, where nothing did.
    """

    images: list[Row]
    crops: Mapping[str, list[Row]]
    root: str
    vote: Mapping[str, Any]
    neighbours: Mapping[Segment, Neighbour]
    reviews: TagReviews
    silent: Mapping[str, str]

    def link(self, image: str) -> str:
        """The URI of an image."""
        return f"{self.root.rstrip('/')}/{quote(image)}"

    def boxes(self, image: Row, crops: Iterable[str] | None = None) -> list[Row]:
        """Some parts of an image, or all, as boxes with their numbers."""
        chosen = None if crops is None else set(crops)
        found = [crop for crop in self.crops.get(image["image"], ()) if chosen is None or crop["crop_id"] in chosen]
        return [_box(0, box_of(crop["bbox"], image), part(crop["crop_id"])) for crop in found]


def part(crop_id: str) -> str:
    """What a crop is called on the page: by its number within the image, or `whole`."""
    number = crop_id.rpartition("_")[2]
    return WHOLE if number == "full" else number


def _box(image: int, sides: Iterable[float], label: str) -> Row:
    return dict(zip(("x0", "y0", "x1", "y1"), sides, strict=True)) | {"image": image, "label": label}


def write_items(candidates: Iterable[Row], folder: Folder) -> pa.Table:
    """The table of the page: the candidates in their order, then the images that have a row of their own.

    Args:
        candidates: rows of CANDIDATES.
        folder: what else is known.
    """
    return pa.Table.from_pylist(list(_once(_rows(list(candidates), folder))), SCHEMA)


def _rows(candidates: list[Row], folder: Folder) -> Iterator[Row]:
    images = {row["image"]: row for row in folder.images}
    tagged = {row["image"] for row in candidates if row["outcome"] == KEPT}
    for candidate in candidates:
        yield _candidate(candidate, images[candidate["image"]], folder, tagged)
    named = {row["image"] for row in candidates}
    for image in sorted(folder.images, key=lambda row: row["image"]):
        shown = {"id": image["sha256"], "name": image["image"], "link": folder.link(image["image"])}
        if image["outcome"] == ERROR:
            yield shown | {"outcome": ERROR, "reason": image["reason"]}
        elif image["image"] not in named:
            pictures = {"images": [target_picture(image["sha256"], image["image"])], "boxes": folder.boxes(image)}
            yield shown | pictures | {"outcome": NO_TAGS, "reason": folder.silent.get(image["image"], ""), "tags": [WITHOUT]}


def _once(rows: Iterable[Row]) -> Iterator[Row]:
    """Rows with a name each of its own.

    Two images and tags with arrows in them can look like the same pair; a decision about the second would be one about the first.
    """
    times: dict[str, int] = {}
    for row in rows:
        times[row["name"]] = times.get(row["name"], 0) + 1
        yield row if times[row["name"]] == 1 else row | {"name": f"{row['name']} ({times[row['name']]})", "id": None, "decision": ""}


def _candidate(row: Row, image: Row, folder: Folder, tagged: set[str]) -> Row:
    """The row of an image and a tag: the image with the parts that voted, then source images that made them do so."""
    decision = folder.reviews.decision(row["image"], row["tag"])
    parts = len(folder.crops.get(row["image"], ()))
    shown = {name: row[name] for name in ("outcome", "votes", "needed", "weight", "similarity")} | {"id": row["sha256"], "parts": parts}
    shown |= {"name": f"{row['image']}{ARROW}{row['tag']}", "label": row["tag"], "reason": row["reason"] or ""}
    shown |= {"decision": REJECT if decision == REJECT else KEEP if decision else "", "link": folder.link(row["image"])}
    if not row["votes"]:
        shown["votes"] = shown["weight"] = None  # added by a person: no votes to compare with others
    # What all parts voted for stays whatever the threshold, where small images need the votes of all of theirs.
    shown["fixed"] = folder.vote["relax_small"] and folder.vote["unit"] == "crop" and row["votes"] >= parts
    said = {
        row["image"]: True,
        ADDED_TAG: not row["votes"],
        FEW_PARTS: row["needed"] < folder.vote["min_votes"],
        WITHOUT: row["image"] not in tagged,
    }
    return shown | {"tags": [tag for tag, holds in said.items() if holds]} | _pictures(row, image, folder)


def _pictures(row: Row, image: Row, folder: Folder) -> Row:
    """The image and its neighbours, with boxes and captions."""
    pictures: list[str | None] = [target_picture(row["sha256"], row["image"])]
    links, boxes = [folder.link(row["image"])], folder.boxes(image, row["crops"])
    captions = [row["image"].rpartition("/")[2]]
    for place, (name, example) in enumerate(zip(row["neighbours"], row["examples"], strict=False), 1):
        found = folder.neighbours.get((name, example["segment"]))
        pictures.append(found.picture if found else None)
        links.append(found.url if found else "")
        captions.append(_likeness(example["crop"], example["similarity"]) + name)
        if found:
            boxes.append(_box(place, found.box, found.label))
    return {"images": pictures, "links": links, "captions": captions, "boxes": boxes}


def _likeness(crop_id: str, similarity: float) -> str:
    """Which part of the target a neighbour is like; it has to be read also where there is no room for its name behind it."""
    called = part(crop_id)
    words = ("like", "the" if called == WHOLE else "part", called, f"({similarity:.2f}):")
    return f"{NO_BREAK.join(words)} "
