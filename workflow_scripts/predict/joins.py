"""Which prediction belongs to which row of a user's database, where images may be written in older ways."""

import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass

from workflow_scripts.predict.contents import Row

NAME_KEYS = ("path", "image_path", "file_path", "filename", "file_name", "file", "name", "image")  # of images that are objects
Key = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Match:
    """What was found for a row of the user.

    Attributes:
        prediction: number of the row of predictions; None where there is none, or more than one.
        reason: why there is none.
        ambiguous: whether there are several, or the row contradicts itself.
    """

    prediction: int | None
    reason: str = ""
    ambiguous: bool = False


def join(users: list[Row], predictions: list[Row]) -> list[Match]:
    """Join on (last component of the directory, file names in order); gives a match for each row of the user.

    Where one side does not say its directory, as at the root of a zip, the file names alone decide. A prediction that fits
    several rows belongs to none of them.
    """
    by_key, by_names = defaultdict(list), defaultdict(list)
    for number, row in enumerate(predictions):
        folder, names = _plain_key(row)
        by_key[folder, names].append(number)
        by_names[names].append((folder, number))

    def candidates(row: Row) -> list[int]:
        if _plain_key(row) in by_key:
            return by_key[_plain_key(row)]
        folder, names = key_of(row)
        return by_key.get((folder, names)) or [number for there, number in by_names.get(names, ()) if not (folder and there)]

    found: list[list[int] | str] = []
    for row in users:
        try:
            found.append(candidates(row))
        except ValueError as error:
            found.append(str(error))
    claims = Counter(number for numbers in found if isinstance(numbers, list) for number in numbers)
    return [_match(numbers, claims) for numbers in found]


def _match(numbers: list[int] | str, claims: Counter[int]) -> Match:
    if isinstance(numbers, str):
        return Match(None, numbers, ambiguous=True)
    if not numbers:
        return Match(None, "no group of the predictions has these images in this order")
    if len(numbers) > 1:
        return Match(None, f"{len(numbers)} groups of the predictions have these images", ambiguous=True)
    if claims[numbers[0]] > 1:
        return Match(None, f"{claims[numbers[0]]} rows have the images of one group of the predictions", ambiguous=True)
    return Match(numbers[0])


def _plain_key(row: Row) -> Key:
    """The key of a row as the contract has it; what is no name is written as it stands and equals no name."""
    return _folder(row), tuple(_form(name) if isinstance(name, str) else repr(name) for name in row.images or ())


def key_of(row: Row) -> Key:
    """The key of a row whose images may be whole paths, or objects that hold a name or path.

    Raises:
        ValueError: images is no list of such things, or they name several folders.
    """
    if row.images is None:
        raise ValueError("images is no list, or an empty one")
    paths = [_parts(_name_of(image)) for image in row.images]
    if not all(paths):
        raise ValueError("an image has no name")
    folders = {_form(path[-2]) for path in paths if len(path) > 1} | {_folder(row)} - {""}
    if len(folders) > 1:
        raise ValueError(f"directory and images name several folders: {', '.join(sorted(folders))}")
    return min(folders, default=""), tuple(_form(path[-1]) for path in paths)


def _name_of(image: object) -> str:
    """The name or path that an image of the list is told by; an object may hold both when they agree."""
    if isinstance(image, str):
        return image
    told = [image[key] for key in NAME_KEYS if isinstance(image.get(key), str)] if isinstance(image, dict) else []
    if len({_parts(text)[-1:] == _parts(told[0])[-1:] for text in told}) != 1:
        raise ValueError("an image is told by no name, or by several")
    return max(told, key=len)


def _folder(row: Row) -> str:
    directory = row.values.get("directory")
    return _form("".join(_parts(directory)[-1:])) if isinstance(directory, str) else ""


def _parts(path: str) -> list[str]:
    return [part for part in re.split(r"[/\\]", path) if part not in ("", ".")]


def _form(text: str) -> str:
    """Composed letters: file systems turn the composed form of a letter into the decomposed one, and back."""
    return unicodedata.normalize("NFC", text)
