"""autotag 08: what a person decided about tags: which an image has, and which it has not."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.autotag.tag_names import Spelling
from workflow_scripts.core.csv_input import read_csv_rows
from workflow_scripts.core.step import StepError

KEEP, REJECT, ADD = DECISIONS = ("keep", "reject", "add")
ARROW = " → "  # between image and tag, in the names that the page exports


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the file: its number, its decision, and how it names image and tag."""

    number: int
    decision: str
    told: str


class TagReviews:
    """The decisions of a review file by image and tag, and which lines of it fit nothing."""

    def __init__(self, lines: list[Line], about: Mapping[tuple[str, str], list[Line]]) -> None:
        """Take the file's lines, and those about each image and tag, the one that counts last."""
        self._lines = lines
        self._about = about
        self._used: set[Line] = set()

    def pairs(self) -> list[tuple[str, str]]:
        """Every image and tag that a line is about, sorted."""
        return sorted(self._about)

    def decision(self, image: str, tag: str) -> str:
        """What was decided about a tag of an image, `keep`, `reject` or `add`; empty for nothing."""
        lines = self._about.get((image, tag))
        return lines[-1].decision if lines else ""

    def use(self, image: str, tag: str) -> None:
        """There is something to decide about this image and tag."""
        self._used.update(self._about[image, tag])

    def unused(self) -> list[str]:
        """The lines that fit nothing, as `decision of what (line n)`."""
        return [f"{line.decision} of {line.told} (line {line.number})" for line in self._lines if line not in self._used]


def read_tag_reviews(path: Path | None, images: Mapping[str, str], spelling: Spelling) -> TagReviews:
    """Read a CSV with the columns sha256 (of the image), path, decision and, if need be, tag; others are ignored.

    `path` is `{image} → {tag}` as the page writes it. Where there is a column `tag` with something in it, `path` is the image
    alone, or empty for every image with this content. Of several lines about one tag of one image the one that names the image
    counts, and of those the last.

    Args:
        path: the file; None means no decisions.
        images: sha256 of the images of the folder, by their names.
        spelling: that of tags.

    Raises:
        StepError: a column is missing; a line has no sha256, no tag or something that is no decision; or it can be read as two.
    """
    lines: list[Line] = []
    by_content: dict[tuple[str, str], list[Line]] = defaultdict(list)
    by_name: dict[tuple[str, str], list[Line]] = defaultdict(list)
    same: dict[str, list[str]] = defaultdict(list)
    for image, sha256 in images.items():
        same[sha256].append(image)
    for number, row in read_csv_rows(path, ("sha256", "path", "decision")) if path else ():
        sha256, decision = row["sha256"].strip().lower(), row["decision"].strip().lower()
        where = f"{path}, line {number}"
        if decision not in DECISIONS or not sha256:
            raise StepError(f"{where}: needs a sha256 and a decision ({', '.join(DECISIONS)}), has {row['decision']!r}")
        image, tag = _image_and_tag(row["path"], row.get("tag") or "", same[sha256], where)
        lines.append(Line(number, decision, f"{tag} of {image or 'every image'} with {sha256[:12]}…"))
        names = [name for name in same[sha256] if image in ("", name)]
        for pair in [(name, spelling(tag)) for name in names if spelling(tag)]:
            (by_name if image else by_content)[pair].append(lines[-1])
    return TagReviews(lines, {pair: by_content[pair] + by_name[pair] for pair in [*by_content, *by_name]})


def _image_and_tag(path: str, tag: str, images: list[str], where: str) -> tuple[str, str]:
    """What a line is about; an image that is not there where none fits."""
    if tag.strip():
        return path, tag
    parts = path.split(ARROW)
    if len(parts) == 1:
        raise StepError(f"{where}: names no tag; give it in a column `tag`, or `image{ARROW}tag` as path")
    # Names of images and tags may hold arrows.
    pairs = [(ARROW.join(parts[:place]), ARROW.join(parts[place:])) for place in range(1, len(parts))]
    fitting = [pair for pair in pairs if pair[0] in images]
    if len(fitting) > 1:
        meanings = " or ".join(f"{other!r} of {image!r}" for image, other in fitting)
        raise StepError(f"{where}: {path!r} may be {meanings}; give the tag in a column `tag`, and the image alone as path")
    return fitting[0] if fitting else pairs[-1]
