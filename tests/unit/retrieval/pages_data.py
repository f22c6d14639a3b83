"""Results of retrieval on a few drawn images, as the steps before the pages write them."""

import hashlib
import io
import json
from collections import Counter
from pathlib import Path

from PIL import Image, ImageDraw

from workflow_scripts.core.embeddings import write_table
from workflow_scripts.core.seeded import rank
from workflow_scripts.retrieval.catalog import SCHEMA
from workflow_scripts.retrieval.params import catalog_path
from workflow_scripts.retrieval.records import Record, write_records

SKIPPED = ("single image", "too few concepts", "review")
LEFT_OUT = ("same bytes", "near copy", "duplicate_similarity", "review")
HOSTILE = (
    "<script>window.hacked=1<script>.jpg",
    "a → b.jpg",
    'it\'s "quoted", twice.jpg',
    "line\nbreak\r\n.jpg",
    " #1 100% {x} \u2028 é 🙂.JPG",
    "=1+2.jpg",
)
COLOURS = ["#c0392b", "#2471a3", "#229954", "#d68910", "#7d3c98", "#148f77", "#5d6d7e", "#a04000"]


def drawn(category, concept, number):
    """A JPEG of the concept's own shape and colour, each at another place."""
    size = [(200, 150), (150, 200), (180, 180)][number % 3]
    image = Image.new("RGB", size, ["#f2efe9", "#dfe7ee", "#e9efe2"][number % 3])
    side, x, y = 60 + number % 4 * 12, 15 + number * 7 % 60, 20 + number * 11 % 50
    place = (x, y, x + side, y + side)
    draw, fill = ImageDraw.Draw(image), COLOURS[rank(category, concept) % len(COLOURS)]
    shape = rank(concept) % 3
    (draw.ellipse, draw.rectangle, lambda box, fill: draw.regular_polygon((x + side / 2, y + side / 2, side / 2), 3, fill=fill))[shape](
        place, fill=fill
    )
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90, comment=f"{category}/{concept}/{number}".encode())
    return buffer.getvalue()


class Results:
    """A dataset and what was made of it.

    Attributes:
        records: of each category, as lists.
        rows: of images.parquet.
    """

    def __init__(self, root, concepts, *, images=4, k=3, relative=False, seed=23):
        """Draw `images` training images and a test image for each concept of `{category: [concept]}`, and compare them."""
        self.root, self.data, self.k, self.relative, self.seed = Path(root), Path(root) / "data", k, relative, seed
        self.rows, self.records, self.metadata = [], {}, {}
        self.splits = {"seed": seed, "categories": {}, "shared_images": []}
        for category, names in concepts.items():
            for concept in names:
                for number in range(images + 1):
                    self.put(category, concept, f"{number}.jpg", drawn(category, concept, number), "train" if number < images else "test")
            half = (len(names) + 1) // 2
            self.splits["categories"][category] = {
                "n_concepts": len(names),
                "selected_count": half,
                "selected_concepts": list(names[:half]),
            }
        for category, names in concepts.items():
            self.compare(category, names)

    def put(self, category, concept, name, data, outcome="train", reason=""):
        """A file, and its row; `data` is None for one that nobody could read."""
        path = "/".join(part for part in (category, concept, name) if part)
        file = self.data / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data or b"")
        row = {"category": category, "concept": concept, "path": path, "outcome": outcome, "reason": reason}
        row |= {"sha256": hashlib.sha256(data).hexdigest() if data else None, "catalog_path": self.name(path) if category else None}
        self.rows.append(row)
        return row

    def name(self, path):
        """How records name an image."""
        return catalog_path(str(self.data), self.relative, path)

    def of(self, category, concept):
        """The names of a concept's training images."""
        found = [row for row in self.rows if (row["category"], row["concept"], row["outcome"]) == (category, concept, "train")]
        return [row["catalog_path"] for row in found]

    def compare(self, category, names):
        """Records of a category; where there are too few concepts its queries are skipped."""
        made, skipped = [], []
        for place, concept in enumerate(names):
            images = self.of(category, concept)
            others = [names[(place + step) % len(names)] for step in range(1, min(self.k, len(names)))]
            for number, query in enumerate(images):
                if len(images) < 2 or len(others) < self.k - 1:
                    skipped.append({"path": query, "reason": SKIPPED[0] if len(images) < 2 else SKIPPED[1]})
                    continue
                paths = [self.of(category, other)[number % len(self.of(category, other))] for other in others]
                made.append(self.record(query, images[(number + 1) % len(images)], paths, category, concept, others))
        self.records[category] = made
        self.metadata[category] = self.describe(category, names, made, skipped)

    def record(self, query, positive, negatives, category, concept, others):
        """One comparison with cosines that follow from its names."""
        label = rank(query) % self.k
        cosine = [round(0.5 + rank(query, path) % 450_000 / 1e6, 6) for path in negatives]
        paths, concepts = [list(negatives), list(others)]
        paths.insert(label, positive)
        concepts.insert(label, concept)
        cosine.insert(label, round(0.6 + rank(query, positive) % 400_000 / 1e6, 6))
        return Record(
            query_path=query, ret_paths=paths, label=label, category=category, concept=concept, ret_concepts=concepts, similarities=cosine
        )

    def describe(self, category, names, made, skipped):
        """The metadata of a category's records."""
        reasons = Counter(query["reason"] for query in skipped)
        lost = Counter(query["path"] for query in skipped)
        images = {name: self.of(category, name) for name in names}
        records = Counter(record.concept for record in made)
        return {
            "category": category,
            "seed": self.seed,
            "k": self.k,
            "concepts": len(names),
            "images": sum(map(len, images.values())),
            "queries": len(made) + len(skipped),
            "records": len(made),
            "errors": 0,
            "largest_k": len(names),
            "skipped": {name: reasons[name] for name in SKIPPED},
            "left_out": dict.fromkeys(LEFT_OUT, 0),
            "replaced_concepts": 0,
            "near_negatives": 0,
            "label_conflicts": [],
            "by_concept": {
                name: {"images": len(paths), "records": records[name], "skipped": sum(lost[path] for path in paths)}
                for name, paths in images.items()
            },
            "skipped_queries": skipped,
        }

    def write(self):
        """Write everything; gives what the steps get as inputs."""
        folder = self.root / "results"
        records = [folder / f"{number}/retrieval_top{self.k}.json" for number in range(len(self.records))]
        for path, found in zip(records, self.records.values(), strict=True):
            write_records(path, found)
        metadata = [path.with_name(f"{path.stem}_metadata.json") for path in records]
        for path, facts in zip([*metadata, folder / "splits.json"], [*self.metadata.values(), self.splits], strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")
        write_table(folder / "images.parquet", SCHEMA, ({name: row[name] for name in SCHEMA.names} for row in self.rows))
        return {"records": records, "metadata": metadata, "images": folder / "images.parquet", "splits": folder / "splits.json"}

    def settings(self, **changes):
        """What the steps get as parameters."""
        return {
            "data_root": str(self.data),
            "dataset": "things",
            "duplicate_similarity": None,
            "k": self.k,
            "max_pixels": 10**7,
            "relative": self.relative,
            "retrieval_source": "train",
            "reviews": "reviews/retrieval/things/retrieve.csv",
            "seed": self.seed,
        } | changes
