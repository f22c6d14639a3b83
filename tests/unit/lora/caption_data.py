"""A workspace with subjects to caption, and a service that captions them."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.lab.captions import MODEL, PROJECT, CaptionServer
from workflow_scripts.core.step import StepError
from workflow_scripts.lora import caption, caption_requests
from workflow_scripts.lora.caption_authors import open_author
from workflow_scripts.lora.tables import COMPOSITES, about, read, write

MACHINE = {
    "attempts": 3, "concurrency": 2, "price_in": 2.0, "price_out": 10.0, "requests_per_minute": 60_000.0, "timeout": 30.0,
}  # fmt: skip
SETTINGS = {
    "backend": "openai", "banned_words": ["background"], "caption_on": "subject", "location": "us-central1", "max_words": 20,
    "model": MODEL, "project": PROJECT, "trigger_words": "SKS Woman",
}  # fmt: skip


class Workspace:
    """The results of 05 for a few frames, and what 06 makes of them."""

    def __init__(self, folder: Path, server: CaptionServer, monkeypatch: Any, frames: int = 4) -> None:
        """Draw subjects, and lead the clients to the server."""
        monkeypatch.setattr(caption_requests, "BACKOFF", (0.01, 0.05))
        for name, value in server.environment(folder).items():
            monkeypatch.setenv(name, value)
        self.server = server
        self.root, self.store = folder / "project/results", folder / "project/store/captions.jsonl"
        self.output = self.root / "06_caption/manifest.parquet"
        self.prompt = folder / "prompt.txt"
        self.prompt.write_text("Describe this {{ category }}.")
        self.settings = SETTINGS | {"base_url": f"{server.endpoint}/v1"}
        self.machine = dict(MACHINE)
        self.rows = [self._row(number) for number in range(frames)]
        self.save()

    def _row(self, number: int) -> dict[str, Any]:
        frame, category = f"v {number}'s_frame_000001", ("full_body", "upper_body")[number % 2]
        pixels = np.zeros((40, 30, 4), np.uint8)
        pixels[5:35, 5:25] = (5 * number, 60, 90, 255)
        subject, composite = f"03_masked_subjects/{category}/{frame}.png", f"05_training_data/{category}/{frame}.jpg"
        return {
            "frame_id": frame,
            "video": f"v {number}'s",
            "n": 1,
            "sha256": hashlib.sha256(f"frame {number}".encode()).hexdigest(),
            "category": category,
            "path": composite,
            "file_sha256": self.save_image(composite, pixels[..., :3]),
            "subject_path": subject,
            "subject_sha256": self.save_image(subject, pixels),
            "width": 30,
            "height": 40,
            "outcome": "composited",
        }

    def save_image(self, path: str, pixels: np.ndarray) -> str:
        """Write an image; gives the sha256 of the file."""
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(buffer.getvalue())
        return hashlib.sha256(buffer.getvalue()).hexdigest()

    def save(self) -> None:
        """Write the manifest of 05."""
        write(self.root / "05_training_data/manifest.parquet", COMPOSITES, self.rows)

    def run(self, *, culls: tuple[Path, ...] = (), **changed: Any) -> dict[str, Any]:
        """Caption everything, with other settings; gives the counts."""
        settings = self.settings | changed
        with open_author(settings, self.machine, self.store, self.prompt, None) as author:
            composites = self.root / "05_training_data/manifest.parquet"
            return caption.write_captions(composites, list(culls), self.root, settings, author, self.output)

    def failed(self, **options: Any) -> str:
        """The text of the error that a run ends with."""
        try:
            self.run(**options)
        except StepError as error:
            return str(error)
        raise AssertionError("the run did not fail")

    def table(self) -> list[dict[str, Any]]:
        """The rows of the manifest of 06."""
        return read(self.output)

    def about(self) -> dict[str, Any]:
        """What stands beside them."""
        return about(self.output)

    def outcomes(self) -> list[tuple[str, str | None]]:
        """Outcome and reason of each row."""
        return [(row["outcome"], row["reason"]) for row in self.table()]

    def texts(self) -> dict[str, str]:
        """The text files, by name."""
        folder = self.root / "05_training_data"
        return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.txt"))}

    def kept(self) -> list[dict[str, Any]]:
        """The lines of the store."""
        return [json.loads(line) for line in self.store.read_text().splitlines()]
