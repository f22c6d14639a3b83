"""What is known of a shard's images beside the tar: their tags (JSON) and the rows of its table (Parquet), both by key."""

import json
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts.core.step import StepError, log
from workflow_scripts.core.storage import printable_key

KEYS = ("__key__", "key")  # the column with the keys: the first of these that a table has
_NO_KEY, _NO_TEXTS, _AGAIN = "no key in it", "tags that are no list of texts", "a key that stands there before"


class Described(NamedTuple):
    """What the tags' file says of an image: its tags, stripped, without empty ones and repeats, and its address."""

    tags: list[str]
    url: str | None


class Descriptions:
    """What is known of the images of a shard.

    Attributes:
        rows: key → address, of the shard's table, in its order.
        has_table: whether there is a table.
    """

    def __init__(self, dataset: Path, tags: Path, shard: str) -> None:
        """Read what lies in these folders for a shard; either file may be missing, which is logged.

        Raises:
            StepError: a file cannot be read.
        """
        self._tagged = read_tags(tags / f"{shard}.json")
        table = dataset / f"{shard}.parquet"
        self.has_table = table.is_file()
        self.rows = read_rows(table) if self.has_table else {}
        if not self.has_table:
            log.warning("%s: not there: no addresses, and no list of what the shard should hold", table)

    def __len__(self) -> int:
        """Images that anything is known of."""
        return len(self.rows.keys() | self._tagged.keys())

    def tags(self, key: str) -> list[str]:
        """The tags of an image; none of one that is untagged."""
        found = self._tagged.get(key)
        return found.tags if found else []

    def row(self, key: str) -> dict[str, Any]:
        """What stands in a table about an image: its `tags`, and its `url`, that of the table before that of the tags."""
        found = self._tagged.get(key)
        return {"tags": self.tags(key), "url": self.rows.get(key) or (found.url if found else None)}

    def absent(self, there: Collection[str]) -> Iterator[tuple[str, str]]:
        """Keys that are known and are not `there`, in the tar: each with what it stands in."""
        for key in self.rows:
            if key not in there:
                also = " and tags" if key in self._tagged else ""
                yield key, f"not in the tar, though the table has a row{also} for it"
        for key in self._tagged:
            if key not in there and key not in self.rows:
                yield key, "not in the tar, though there are tags for it"


def read_tags(path: Path) -> dict[str, Described]:
    """The entries of a tags' file, `[{key, url, tags: [text, ...], ...}]`, by key; empty, with a warning, where it is missing.

    Of several entries with one key the first counts. What cannot be used is left out, and counted in a warning.

    Raises:
        StepError: it is no such file.
    """
    found: dict[str, Described] = {}
    problems: Counter[str] = Counter()
    for entry in _entries(path):
        key = entry.get("key") if isinstance(entry, dict) else None
        if not isinstance(key, str) or not key:
            problems[_NO_KEY] += 1
        elif (name := printable_key(key)) in found:
            problems[_AGAIN] += 1
        else:
            url = entry.get("url")
            found[name] = Described(_tags(entry.get("tags"), problems), printable_key(url) if isinstance(url, str) else None)
    _warn(path, problems)
    return found


def _entries(path: Path) -> list[Any]:
    mend = "mend it, or take it away: its images then count as untagged"
    try:
        # ijson would need less memory. It is no faster, though, and refuses half an emoji, which models do write.
        entries = json.loads(path.read_bytes())
    except FileNotFoundError:
        log.warning("%s: not there: its images count as untagged", path)
        return []
    except OSError as error:
        raise StepError(f"{path}: cannot be read: {error.strerror or type(error).__name__}") from error
    except (ValueError, RecursionError) as error:
        raise StepError(f"{path}: is no JSON ({error}): {mend}") from error
    if not isinstance(entries, list):
        raise StepError(f"{path}: is no list of entries, [{{key, tags: [text, ...]}}, ...]: {mend}")
    return entries


def _tags(value: Any, problems: Counter[str]) -> list[str]:
    if value is None:
        return []
    texts = [tag for tag in value if isinstance(tag, str)] if isinstance(value, list) else []
    if not isinstance(value, list) or len(texts) < len(value):
        problems[_NO_TEXTS] += 1
    return list(dict.fromkeys(tag if tag.isascii() else printable_key(tag) for text in texts if (tag := text.strip())))


def read_rows(path: Path) -> dict[str, str | None]:
    """The rows of a shard's table: key → address, in their order; of several rows with one key the first counts.

    Raises:
        StepError: it is no Parquet file, or has no column of keys.
    """
    found: dict[str, str | None] = {}
    problems: Counter[str] = Counter()
    try:
        names = pq.read_schema(path).names
        column = next((name for name in KEYS if name in names), None)
        if column is None:
            raise StepError(f"{path}: has no column {' or '.join(KEYS)}; it has {', '.join(names[:20])}")
        table = pq.read_table(path, columns=[column, *(["url"] if "url" in names else [])])
        keys = pc.cast(table[column], pa.string()).to_pylist()
        urls = pc.cast(table["url"], pa.string()).to_pylist() if "url" in names else [None] * len(keys)
    except (pa.ArrowException, OSError) as error:
        raise StepError(f"{path}: cannot be read as a table ({' '.join(str(error).split())[:200]}): mend it, or take it away") from error
    for key, url in zip(keys, urls, strict=True):
        if not key:
            problems[_NO_KEY] += 1
        elif key in found:
            problems[_AGAIN] += 1
        else:
            found[key] = url
    _warn(path, problems)
    return found


def _warn(path: Path, problems: Counter[str]) -> None:
    for problem, count in sorted(problems.items()):
        log.warning("%s: %d x %s", path, count, problem)
