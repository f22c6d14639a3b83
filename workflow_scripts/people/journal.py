"""What a run has published: a journal that survives kills, and the receipt made from it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.core.step import atomic_output

IMAGE, MANIFEST = "image", "manifest"


@dataclass(frozen=True, slots=True)
class Entry:
    """One published object.

    Attributes:
        kind: `image` or `manifest`.
        key: below the destination, or below the manifests' destination.
        source_etag: of the image it was copied from; empty for a manifest.
        size: bytes.
        etag: at the destination.
    """

    kind: str
    key: str
    source_etag: str
    size: int
    etag: str


RECEIPT_SCHEMA = pa.schema(
    [("kind", pa.string()), ("key", pa.string()), ("source_etag", pa.string()), ("size", pa.int64()), ("etag", pa.string())]
)


class Journal:
    """What this run has published so far, one JSON line an object; a line cut off by a kill is ignored."""

    def __init__(self, path: Path) -> None:
        """Read a journal, or start one."""
        self._path = path
        self.entries: dict[tuple[str, str], Entry] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                except json.JSONDecodeError:
                    continue
                if "removed" in entry:
                    self.entries.pop((entry["kind"], entry["key"]), None)
                else:
                    self.entries[entry["kind"], entry["key"]] = Entry(**entry)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = path.open("a", encoding="utf-8")
        self._handle.write("\n")  # ends a line that a kill cut off

    def add(self, entry: Entry) -> None:
        """Note a published object, at once."""
        self.entries[entry.kind, entry.key] = entry
        self._write(asdict(entry))

    def remove(self, entry: Entry) -> None:
        """Note that an object was taken away again."""
        self.entries.pop((entry.kind, entry.key))
        self._write({"kind": entry.kind, "key": entry.key, "removed": True})

    def of_kind(self, kind: str) -> list[Entry]:
        """What of this kind is published, by key."""
        return sorted((entry for entry in self.entries.values() if entry.kind == kind), key=lambda entry: entry.key)

    def write_receipt(self, output: Path) -> None:
        """Write what is published now as a table, sorted by kind and key."""
        entries = [asdict(entry) for kind in (IMAGE, MANIFEST) for entry in self.of_kind(kind)]
        with atomic_output(output) as partial:
            pq.write_table(pa.Table.from_pylist(entries, schema=RECEIPT_SCHEMA), partial, compression="zstd")

    def _write(self, value: dict[str, Any]) -> None:
        self._handle.write(json.dumps(value) + "\n")
        self._handle.flush()
