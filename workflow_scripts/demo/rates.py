"""How fast the demo's images were embedded, as the steps' logs say it."""

import re
from collections.abc import Iterable
from pathlib import Path


def embedding_rate(logs: Iterable[Path]) -> float | None:
    """Images a second over all jobs, once their models were loaded; None when all came from the cache, or there is no log."""
    text = "".join(path.read_text(encoding="utf-8") for path in logs if path.is_file())
    found = [(int(count), float(rate)) for count, rate in re.findall(r"(\d+) images in [\d.]+ s, ([\d.]+)/s", text)]
    seconds = sum(count / rate for count, rate in found if rate)
    return sum(count for count, _ in found) / seconds if seconds else None
