"""The version of the workflow, for what it writes."""

import os
import re
from pathlib import Path


def workflow_version() -> str:
    """The version in pyproject.toml."""
    text = (Path(os.path.abspath(__file__)).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    match = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
    return match[1] if match else "unknown"
