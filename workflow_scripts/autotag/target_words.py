"""What a target's images are searched for: the tags that a file has for each, the words of a vocabulary, or everything."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.core.images import extension
from workflow_scripts.core.json_files import read_json
from workflow_scripts.core.step import StepError, log


def read_vocabulary(path: Path) -> list[str]:
    """The words or phrases of a file, one a line, each once, in its order.

    Raises:
        StepError: there is none in it, or it is no UTF-8.
    """
    try:
        words = _each_once(path.read_text(encoding="utf-8-sig").splitlines())
    except UnicodeDecodeError as error:
        raise StepError(f"autotag.segmenter.vocabulary: {path} is no UTF-8 text: save it as such") from error
    if not words:
        raise StepError(f"autotag.segmenter.vocabulary: {path} holds no words; write a word or phrase a line")
    return words


def read_tags(path: Path, images: Iterable[str]) -> dict[str, list[str]]:
    """The tags that a file has for images, as they stand in it; an image that it does not name is left out.

    An entry names an image by `image_path`, else by `key`. It is that of the image whose path below the folder it is, with or without
    the extension; or else of all images whose file is called like the last part of it, unless several entries are called so.

    Args:
        path: JSON, [{key or image_path, tags: [...]}].
        images: paths below the folder.

    Raises:
        StepError: the file is something else.
    """
    entries = _entries(path)
    last = Counter(_last(name) for name in entries)
    by_file = {_last(name): tags for name, tags in entries.items() if last[_last(name)] == 1}
    found: dict[str, list[str]] = {}
    for image in images:
        for names, name in ((entries, image), (entries, _bare(image)), (by_file, _last(image)), (by_file, _bare(_last(image)))):
            if name in names:
                found[image] = names[name]
                break
    log.info("%s: %d entries, tags of %d images", path.name, len(entries), len(found))
    return found


def words_of(tags: Mapping[str, list[str]], image: str) -> list[str]:
    """An image's tags as words to look for: without spaces round them, each once."""
    return _each_once(tags.get(image, []))


def _entries(path: Path) -> dict[str, list[str]]:
    """The tags of the file by the name that each entry gives; of entries of one name the last counts."""
    wanted = 'a list like [{"image_path": "a.jpg", "tags": ["cat", "tree"]}]'
    try:
        content = read_json(path)
    except ValueError as error:
        raise StepError(f"{path}: no JSON ({error}); wanted is {wanted}") from error
    if not isinstance(content, list):
        raise StepError(f"{path}: wanted is {wanted}")
    found: dict[str, list[str]] = {}
    for number, entry in enumerate(content, 1):
        name, tags = _named(entry)
        if not name or not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise StepError(f"{path}: entry {number} has no image_path or key, or its tags are no list of texts; wanted is {wanted}")
        found[name.removeprefix("./")] = tags
    return found


def _named(entry: Any) -> tuple[str | None, Any]:
    if not isinstance(entry, dict):
        return None, None
    name = entry.get("image_path") or entry.get("key")
    return name if isinstance(name, str) else None, entry.get("tags") or []


def _last(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _bare(path: str) -> str:
    return path[: len(path) - len(extension(path))]


def _each_once(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(word.strip() for word in words if word.strip()))
