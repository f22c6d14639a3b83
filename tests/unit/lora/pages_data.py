"""Results of a workspace as the steps leave them, small, for the tests of its pages."""

import hashlib
import io
import json
import math

from PIL import Image, ImageDraw

from workflow_scripts.core.models import slug
from workflow_scripts.lora import tables
from workflow_scripts.lora.tables import CATEGORIES

SIZE = (64, 48)
BOX = (16.0, 12.0, 48.0, 36.0)  # of the person, in pixels
HOSTILE = ("a <b>bold", 'it\'s "so"', "-rf dash", "two\nlines", "é ü 写真", "{{7*7}} `x`")
SCORE = {"min_sharpness": 50.0, "min_area_fraction": 0.01, "max_contours": 3, "min_solidity": None}


def jpeg(image):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Workspace:
    """Frames of a few videos, and what each step says of them; a test changes rows before it builds a page."""

    def __init__(self, folder, videos=None, *, size=SIZE):
        self.folder, self.root, self.size = folder, folder / "results" / "lora" / "ws", size
        self.machine = {"cache_root": str(folder / "cache"), "threads": 2}
        self.frames, self.abouts = {}, {}
        for video, count in (videos or {"first": 6, "second": 6}).items():
            self.frames[video] = [self.frame(video, n) for n in range(1, count + 1)]
            self.about(video, expected=count)

    def about(self, video, **changes):
        """What stands beside the rows of a video's frames."""
        known = {"video": video, "path": f"{video}.mp4", "kind": "video", "codec": "h264", "damaged": 0, "duration": 5.5, "fps": 1.0}
        extracted = sum(row["outcome"] == "frame" for row in self.frames[video])
        known |= {"rotation": 0, "expected": extracted, "extracted": extracted, "errors": len(self.frames[video]) - extracted}
        self.abouts[video] = known | changes

    def put(self, path, data):
        """A file below the root; gives its content's sha256."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return sha256(data)

    def colour(self, *names):
        return tuple(hashlib.sha256(" ".join(map(str, names)).encode()).digest()[:3])

    def frame(self, video, n):
        frame_id = f"{video}_frame_{n:06d}"
        path = f"01_source_frames/{video}/{frame_id}.jpg"
        row = {"frame_id": frame_id, "video": video, "n": n, "path": path, "time": n - 1.0, "width": self.size[0], "height": self.size[1]}
        image = Image.new("RGB", self.size, self.colour(video, n))
        ImageDraw.Draw(image).rectangle([side * self.size[0] / SIZE[0] for side in BOX], "white")
        return row | {"sha256": self.put(path, jpeg(image)), "outcome": "frame", "reason": None}

    def rows(self):
        """All frames of all videos, in order."""
        return [row for rows in self.frames.values() for row in rows]

    def sorted(self):
        """Every frame a candidate, categories in turn; by video."""
        person = {"box": [side * self.size[0] / SIZE[0] for side in BOX], "confidence": 0.875, "keypoints": [0.0] * 51}
        kind = {"person": person, "person_count": 1, "sharpness": 10.0}
        candidate = {"outcome": "candidate", "reason": None} | kind
        error = {"outcome": "error", "category": None, "person": None}
        return {
            video: [
                row | (candidate | {"category": CATEGORIES[place % 3]} if row["outcome"] == "frame" else error)
                for place, row in enumerate(rows)
            ]
            for video, rows in self.frames.items()
        }

    def masks(self):
        """A subject of every candidate; by video."""
        return {video: [self.mask(row) for row in rows if row["outcome"] == "candidate"] for video, rows in self.sorted().items()}

    def mask(self, row):
        path = f"03_masked_subjects/{row['category']}/{row['frame_id']}.png"
        image = Image.new("RGBA", self.size, (*self.colour(row["frame_id"]), 0))
        ImageDraw.Draw(image).ellipse([side * self.size[0] / SIZE[0] for side in BOX], (255, 255, 255, 255))
        return row | {"path": path, "file_sha256": self.put(path, png(image)), "outcome": "masked", "reason": None}

    def selection(self, sharpness=None):
        """All subjects of the workspace, decided by `SCORE`; the best of each category selected, the others passed over."""
        found = []
        masked = [row for rows in self.masks().values() for row in rows]
        for place, row in enumerate(sorted(masked, key=lambda row: (row["category"], row["frame_id"]))):
            value = (sharpness or (lambda place: 20.0 + 15 * place))(place)
            row |= {"sharpness": value, "area_fraction": 0.3, "contours": 1, "solidity": 0.9, "score": 0.5, "pose": 0.9, "brightness": 0.8}
            blurry = value is not None and value < SCORE["min_sharpness"]
            row |= (
                {"outcome": "failed", "reason": f"too blurry ({value:.1f})"}
                if blurry
                else {"outcome": "passed over", "reason": "beyond top_n"}
            )
            found.append(row)
        for category in CATEGORIES:
            passing = [row for row in found if row["category"] == category and row["outcome"] != "failed"]
            for rank, row in enumerate(passing[:2], 1):
                row |= {"outcome": "selected", "reason": None, "rank": rank}
        return found

    def composites(self, rows=None):
        """A composite of every frame of `rows`, by default of all."""
        found = []
        for place, row in enumerate(rows or [row for rows in self.masks().values() for row in rows]):
            path = f"05_training_data/{row['category']}/{row['frame_id']}.jpg"
            made = {"subject_path": row["path"], "subject_sha256": row["file_sha256"], "path": path}
            content = self.put(path, jpeg(Image.new("RGB", self.size, self.colour("composite", row["frame_id"]))))
            made |= {"file_sha256": content, "background": f"park {place % 2}.jpg", "outcome": "composited", "reason": None}
            found.append(row | made)
        return found

    def captions(self):
        """A text for every composite."""
        found = []
        for place, row in enumerate(self.composites()):
            caption = f"a woman in a red coat, walking, picture {place}"
            text = {"caption": caption, "text": f"ohwx woman, {caption}", "source": "vertex some-model"}
            found.append(row | text | {"text_path": row["path"][:-3] + "txt", "outcome": "captioned"})
        return found

    def write(self, folder, columns, rows, metadata=None):
        """One table, or one a video; gives its path or paths."""
        if isinstance(rows, dict):
            return [self.write(f"{folder}/{slug(video)}", columns, some, (metadata or {}).get(video)) for video, some in rows.items()]
        path = self.root / f"{folder}.parquet"
        tables.write(path, columns, rows, metadata)
        return path


def read_page(folder):
    """The items of a page by name, and everything that its script gets."""
    text = (folder / "data.js").read_text(encoding="utf-8")
    data = json.loads(text[text.index("=") + 1 : text.rindex(";")])
    items = data["items"]
    links = items["links"]

    def texts(column, number):
        found = items[column]
        if found is None:
            return None
        code = found["codes"][number]
        return [found["values"][each] for each in code] if isinstance(code, list) else found["values"][code]

    rows = {}
    for number, name in enumerate(items["name"]):
        first = links["rest"][number]
        more = links["more"][number] if links["more"] else []
        row = {column: texts(column, number) for column in ("label", "reason", "decision", "tags", "captions")}
        row |= {"id": items["id"][number], "outcome": data["outcomes"][items["outcome"][number]][0], "open": items["open"][number]}
        row |= {"links": [first and links["prefix"] + first, *more], "pictures": len(data["pictures"]["items"][number])}
        row |= {"movable": items["movable"][number], "numbers": {key: values[number] for key, values in items["numbers"].items()}}
        rows[name] = row | {"boxes": items["boxes"][number] if items["boxes"] else []}
    return rows, data


def close(one, other):
    return math.isclose(one, other, abs_tol=1e-4)
