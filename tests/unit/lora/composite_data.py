"""A workspace with selected subjects and a library of backgrounds, for tests of the steps behind the selection."""

import hashlib
import io
import json
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw

from workflow_scripts.lora.composite import composite
from workflow_scripts.lora.tables import SELECTION, read, write

SIZE = (96, 64)
COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (30, 200, 200))
SETTINGS = {"blur_radius": 3.0, "decontaminate": False, "seed": 0}


def sha(data):
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def background(number, size=(120, 90)):
    """A picture that is unlike every other: its colour from left to right, and dots."""
    image = Image.linear_gradient("L").transpose(Image.Transpose.ROTATE_90).resize(size)
    draw = ImageDraw.Draw(image)
    draw.ellipse((number * 7 % 60, 10, number * 7 % 60 + 30, 40), fill=20 * number % 255)
    return Image.merge("RGB", (image, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), Image.new("L", size, 40 * number % 256)))


def subject(number=0, size=SIZE):
    """A white figure with a hard edge, before a grey wall that the mask hides."""
    image = Image.new("RGBA", size, (90, 90, 90, 0))
    ImageDraw.Draw(image).rectangle((20, 10, 50 + number % 7, 60), fill=(255, 255, 255, 255))
    return image


def png(image):
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


@dataclass
class Workspace:
    """A base folder with results and a library."""

    base: Path
    rows: list = field(default_factory=list)
    settings: dict = field(default_factory=SETTINGS.copy)
    threads: int = 2

    @property
    def root(self):
        return self.base / "results"

    @property
    def library(self):
        return self.base / "00_background_library"

    @property
    def manifest(self):
        return self.root / "05_training_data/manifest.parquet"

    def fill_library(self, count=4, **how):
        self.library.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            background(number, **how).save(self.library / f"{number}.png")
        return self

    def select(self, *frame_ids, category="upper_body", **columns):
        """Frames with their cut-out subjects, as step 04 hands them on."""
        for frame_id in frame_ids or [f"v_frame_{number:06d}" for number in range(1, 7)]:
            rank = len(self.rows) + 1
            data = png(columns.pop("picture", None) or subject(rank))
            path = self.root / "04_top100_staging" / category / f"{rank:03d}_{frame_id}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            known = {"frame_id": frame_id, "video": "v", "n": rank, "sha256": sha(frame_id), "rank": rank}
            place = {"path": str(path.relative_to(self.root)), "file_sha256": sha(data), "category": category, "outcome": "selected"}
            self.rows.append(known | place | columns)
        return self

    def run(self, *lines, **settings):
        """Step 05, with the lines of a review file; gives the rows by frame."""
        table, reviews = self.root / "04_top100_staging/manifest.parquet", []
        if lines:
            reviews = [self.base / "04_select.csv"]
            reviews[0].write_text("\n".join(["sha256,path,decision,reason", *lines, ""]))
        write(table, SELECTION, self.rows)
        self.manifest.unlink(missing_ok=True)  # as Snakemake does
        machine = {"cache_root": str(self.base / "cache"), "threads": self.threads, "device": "cpu"}
        where = table, reviews, self.root, self.library
        self.counts = composite(*where, self.settings | settings, 10**8, machine, self.manifest)
        rows = read(self.manifest)
        assert [row["frame_id"] for row in rows] == [row["frame_id"] for row in self.rows if row["outcome"] == "selected"]
        assert self.counts["listed"] == len(rows) == sum(self.counts[name] for name in ("composited", "culled", "error"))
        return {row["frame_id"]: row for row in rows}

    def pictures(self):
        """The bytes of all composites by name."""
        folder = self.root / "05_training_data"
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.jpg"))}

    def index(self):
        """What the index of composites holds, without times."""
        lines = (self.root / "05_training_data/.made/05_composite.jsonl").read_text().splitlines()
        return [json.loads(line) | {"mtime_ns": 0} for line in lines]
