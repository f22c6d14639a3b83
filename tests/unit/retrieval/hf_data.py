"""A small dataset for the tests of step 06: image files, their inventory, and records."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.retrieval.inventory import SCHEMA
from workflow_scripts.retrieval.params import catalog_path
from workflow_scripts.retrieval.records import Record, write_records

Row = dict[str, Any]


@dataclass
class Sample:
    """Images below `root/images`, with records of them.

    Attributes:
        root: folder of everything.
        data_root: as configured.
        relative: whether records name images without it.
        inventory: rows of the inventory.
        records: in the order of the file.
    """

    root: Path
    data_root: str = ""
    relative: bool = False
    inventory: list[Row] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.data_root = self.data_root or str(self.root / "images")

    def name(self, path: str) -> str:
        """How records name an image."""
        return catalog_path(self.data_root, self.relative, path)

    def put(self, path: str, data: bytes = b"", *, readable: bool = True) -> str:
        """Write an image and its row of the inventory; gives its name in records."""
        file = self.root / "images" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        data = data or f"image {path}".encode()
        file.write_bytes(data)
        reason = "" if readable else "decode: truncated"
        row = {"path": path, "concept": Path(path).parent.name, "part": "", "size": len(data), "etag": "e", "reason": reason}
        self.inventory.append(row | {"sha256": hashlib.sha256(data).hexdigest(), "readable": readable})
        return self.name(path)

    def add(self, query: str, references: list[str], label: int = 0, category: str = "mug", concept: str = "c") -> None:
        """Add a record, of paths below data_root."""
        paths, k = [self.name(path) for path in references], len(references)
        concepts = [concept if place == label else f"other {place}" for place in range(k)]
        numbers = [0.5] * k
        self.records.append(
            Record(
                query_path=self.name(query),
                ret_paths=paths,
                label=label,
                category=category,
                concept=concept,
                ret_concepts=concepts,
                similarities=numbers,
            )
        )

    def fill(self, count: int, k: int = 3, categories: tuple[str, ...] = ("mug", "dog"), concepts: int = 3) -> "Sample":
        """Write `count` images, and a record of each with others as references."""
        paths = [f"{categories[n % len(categories)]}/c{n % concepts}/{n:03d}.jpg" for n in range(count)]
        for path in paths:
            self.put(path)
        for n, path in enumerate(paths):
            category, concept, _ = path.split("/")
            self.add(path, [paths[(n + step + 1) % count] for step in range(k)], n % k, category, concept)
        return self

    @property
    def records_file(self) -> Path:
        """The records as a file."""
        path = self.root / "records.json"
        write_records(path, self.records)
        return path

    @property
    def inventories(self) -> list[Path]:
        """The inventory as two files."""
        half, tables = len(self.inventory) // 2, []
        for number, part in enumerate((self.inventory[:half], self.inventory[half:])):
            tables.append(self.root / f"inventory-{number}.parquet")
            full = [{name: row.get(name) for name in SCHEMA.names} for row in part]
            pq.write_table(pa.Table.from_pylist(full, schema=SCHEMA), tables[-1])
        return tables

    def settings(self, **changes: Any) -> Row:
        """What the rule gives the step."""
        k = len(self.records[0].ret_paths) if self.records else 3
        found = {"algorithm": 1, "category": "all", "category_names": {}, "data_root": self.data_root, "dataset": "things", "k": k}
        return found | {"relative": self.relative, "seed": 23, "variant": "speaker"} | changes
