"""JSON files that appear whole, for people to read."""

import json
from pathlib import Path
from typing import Any

from workflow_scripts.core.step import atomic_text


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people to read; keys in the order given."""
    with atomic_text(path) as handle:
        json.dump(value, handle, indent=2, ensure_ascii=False)
        handle.write("\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
