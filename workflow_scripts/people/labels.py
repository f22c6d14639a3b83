"""Labels that a person gave to images of a run, and the images that they are about."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workflow_scripts.core.csv_input import read_csv_rows
from workflow_scripts.core.step import StepError

KEY_COLUMNS = ("key", "path", "s3_key")
VALUES = {
    True: ("1", "1.0", "person", "true", "yes"),  # pandas writes 1.0 where some rows are empty
    False: ("0", "0.0", "no person", "false", "no"),
    None: ("", "unsure"),
}
_MEANING = {text: value for value, texts in VALUES.items() for text in texts}


@dataclass(frozen=True, slots=True)
class Label:
    """What a person said about one image.

    Attributes:
        line: of the file.
        key: of the image, to the letter; empty = it is known by its content alone.
        sha256: its content; empty = it is known by its key alone.
        person: whether there is a person in it; None = left out, the person was unsure or said nothing.
    """

    line: int
    key: str
    sha256: str
    person: bool | None


@dataclass(frozen=True, slots=True)
class Labels:
    """A file of labels.

    Attributes:
        path: of the file.
        sure: labels that say something, in the order of their lines.
        unsure: how many say nothing.
        repeated: how many rows said once more what stood in a row before.
    """

    path: Path
    sure: list[Label]
    unsure: int
    repeated: int

    def keys(self) -> set[str]:
        """Keys of images that the labels may be about."""
        return {key for label in self.sure for key in (label.key, label.key.strip())} - {""}

    def contents(self) -> set[str]:
        """Contents of images that the labels may be about."""
        return {label.sha256 for label in self.sure} - {""}


@dataclass
class Matched:
    """Labels with the images that they are about.

    Attributes:
        images: by the image's key, in the order of the keys.
        unmatched: labels that fit no image, and why.
        repeated: how many said once more of an image what another had said.
    """

    images: dict[str, Label] = field(default_factory=dict)
    unmatched: list[tuple[Label, str]] = field(default_factory=list)
    repeated: int = 0


def read_labels(path: Path) -> Labels:
    """Read a CSV with `label` (1 or 0, see `VALUES`) and at least one of `sha256`, `key`, `path` and `s3_key`.

    Raises:
        StepError: the file cannot be read, a row is wrong, or two rows contradict each other; names the lines.
    """
    found: dict[tuple[str, str], Label] = {}
    rows = read_csv_rows(path, ("label",), any_of=("sha256", *KEY_COLUMNS))
    for line, row in rows:
        label = _label(path, line, row)
        _check_agrees(path, found.setdefault((label.key, label.sha256), label), label)
    sure = [label for label in found.values() if label.person is not None]
    return Labels(path, sure, len(found) - len(sure), len(rows) - len(found))


def match_labels(labels: Labels, images: Mapping[str, str | None]) -> Matched:
    """Find the image of each label.

    A label with a key is about the image with this key, if its content is still the one that was labelled; where there is no such
    key (any more), and for labels without, it is about an image with this content. A label counts once, however many copies of
    the image there are: copies are no further evidence.

    Args:
        labels: to match.
        images: content sha256 by key, None where nobody could read it; at least those of `labels.keys()` and `labels.contents()`.

    Raises:
        StepError: two labels contradict each other about one content.
    """
    copies = defaultdict(list)
    for key in sorted(images):
        copies[images[key]].append(key)
    found = Matched()
    said: dict[str, Label] = {}
    elsewhere = []
    for label in labels.sure:
        named = next((key for key in (label.key, label.key.strip()) if key in images), None)
        if named is None:
            elsewhere.append(label)
        elif label.sha256 and images[named] not in (label.sha256, None):
            found.unmatched.append((label, "the image with this key has another content now"))
        else:
            _add(labels.path, found, said, (named, images[named]), label)
    for label in elsewhere:
        keys = copies.get(label.sha256)
        if keys:
            _add(labels.path, found, said, (next((key for key in keys if key in found.images), keys[0]), label.sha256), label)
        else:
            found.unmatched.append((label, "no such image"))
    found.images = dict(sorted(found.images.items()))
    found.unmatched.sort(key=lambda pair: pair[0].line)
    return found


def _label(path: Path, line: int, row: dict[str, str]) -> Label:
    text = " ".join(row["label"].lower().split())
    if text not in _MEANING:
        good = " or ".join("/".join(texts) for texts in (("1", "person", "true", "yes"), ("0", "no person", "false", "no")))
        raise StepError(f"{path}, line {line}: label has to be {good}, or unsure or empty to leave the row out; it is {row['label']!r}")
    sha256 = row.get("sha256", "").strip().lower()
    if sha256 and not re.fullmatch("[0-9a-f]{64}", sha256):
        raise StepError(f"{path}, line {line}: sha256 has to be 64 hexadecimal digits, or empty; it is {row['sha256']!r}")
    key = next((row[name] for name in KEY_COLUMNS if row.get(name, "").strip()), "")
    if not key and not sha256:
        raise StepError(f"{path}, line {line}: names no image; give its key or its sha256")
    return Label(line, key, sha256, _MEANING[text])


def _add(path: Path, found: Matched, said: dict[str, Label], image: tuple[str, str | None], label: Label) -> None:
    key, sha256 = image
    _check_agrees(path, said.setdefault(sha256 or key, label), label)
    if key in found.images:
        found.repeated += 1
    found.images.setdefault(key, label)


def _check_agrees(path: Path, earlier: Label, later: Label) -> None:
    if earlier.person is not later.person:
        first, second = sorted((earlier, later), key=lambda label: label.line)
        what = later.key or later.sha256
        raise StepError(f"{path}, lines {first.line} and {second.line} contradict each other about the image {what}; keep the right one")
