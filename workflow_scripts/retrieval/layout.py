"""Where the categories and concepts of a dataset lie: by folders, or by a table of concepts."""

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.core.step import StepError
from workflow_scripts.core.storage import FolderStorage, is_valid_key, printable_key

NEGATIVES = "laion"  # folder in a training concept with images of other things


@dataclass(frozen=True, slots=True)
class Section:
    """A folder whose files belong to one category.

    Attributes:
        path: below data_root.
        part: `train` or `test` where folders say it, else empty.
        concept: when the folder is that of a concept; None when its folders are the concepts.
    """

    path: str
    part: str
    concept: str | None = None

    def place(self, key: str) -> tuple[str, str, str]:
        """Concept, part and, where it is not one of the concept's images, the reason of a file at `key` below this folder."""
        inner = key.split("/")
        if any(name.startswith(".") for name in inner):
            return "", self.part, "skipped: hidden"
        concept = self.concept or (inner.pop(0) if len(inner) > 1 else "")
        if not concept:
            return "", self.part, "skipped: in no concept folder"
        if len(inner) == 2 and inner[0] == NEGATIVES and self.part == "train":
            return concept, "negative", ""
        return concept, self.part, "skipped: in a subfolder of the concept" if len(inner) > 1 else ""


def sections(data_root: str, train_dirname: str, test_dirname: str, concept_categories: dict[str, str]) -> dict[str, list[Section]]:
    """The folders of each category, sorted.

    Folders say what is for training when data_root has both a training and a test folder, or nothing but a training folder.

    Args:
        data_root: folder of the dataset.
        train_dirname: name of the training folder.
        test_dirname: name of the test folder.
        concept_categories: category of each concept, where concept folders lie in no category folder.

    Raises:
        StepError: there is no such folder, a concept has no category, or a name cannot be used.
    """
    root = Path(data_root)
    parts = split_folders(data_root, train_dirname, test_dirname)
    found: dict[str, list[Section]] = defaultdict(list)
    for part, above in parts.items():
        for name in _folders(root / above):
            path = f"{above}/{name}" if above else name
            if not concept_categories:
                found[name].append(Section(path, part))
            elif name in concept_categories:
                found[concept_categories[name]].append(Section(path, part, name))
            else:
                raise StepError(f"{root / path}: concept_categories names no category for {name}; add `{name}: …` or move the folder away")
    return {category: found[category] for category in sorted(found)}


def split_folders(data_root: str, train_dirname: str, test_dirname: str) -> dict[str, str]:
    """The folders above the categories by the part that they stand for; data_root itself, as "", where images are to be divided."""
    names = _folders(Path(data_root))
    if train_dirname in names and (test_dirname in names or names == [train_dirname]):
        return {"train": train_dirname} | ({"test": test_dirname} if test_dirname in names else {})
    return {"": ""}


def strays(data_root: str, train_dirname: str, test_dirname: str) -> list[str]:
    """Files that belong to no category, as paths below data_root: above the category folders, or in folders beside train and test."""
    above = {"", *split_folders(data_root, train_dirname, test_dirname).values()}
    found = [f"{folder}/{entry.name}".lstrip("/") for folder in above for entry in _entries(Path(data_root, folder)) if not entry.is_dir()]
    if "" not in split_folders(data_root, train_dirname, test_dirname):
        beside = set(_folders(Path(data_root))) - above
        found += [f"{folder}/{item.key}" for folder in beside for item in FolderStorage(Path(data_root, folder)).list()]
    return sorted(map(printable_key, found))


def _folders(folder: Path) -> list[str]:
    names = sorted(entry.name for entry in _entries(folder) if entry.is_dir())
    wrong = [printable_key(name) for name in names if not is_valid_key(name)]
    if wrong:
        raise StepError(f"{folder}: the name of {wrong[0]} is no UTF-8; rename the folder")
    return names


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """What is in a folder, hidden things left out."""
    try:
        return iter([entry for entry in os.scandir(folder) if not entry.name.startswith(".")])
    except OSError as error:
        raise StepError(f"{folder}: {(error.strerror or 'cannot be read').lower()}; data_root must be a folder that can be read") from error
