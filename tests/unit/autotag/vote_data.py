"""A target folder as the steps before the vote leave it: tables alone for votes; drawn images in a folder and in real tars for pages."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import webdataset
from PIL import Image, ImageDraw

from workflow_scripts.autotag import report
from workflow_scripts.autotag.blocks import FILES, IMAGES_TABLE, METADATA
from workflow_scripts.autotag.tables import IMAGES, NEIGHBOURS, SEGMENTS, TARGET_CROPS, TARGET_IMAGES
from workflow_scripts.autotag.vote import Outputs, Sources, vote
from workflow_scripts.core import tables
from workflow_scripts.core.seeded import rank

SETTINGS = {
    "aliases": {},
    "exclude": [],
    "k": 10,
    "min_share": 0.3,
    "min_similarity": 0.0,
    "min_votes": 3,
    "one_vote_per_image": True,
    "relax_small": True,
    "tags": "image",
    "unit": "crop",
    "weighting": "count",
}
RECALL = {"at": 10, "goal": 0.9, "recall": 0.984, "nprobe": 16, "rerank": 200, "reached": True, "warnings": []}
THINGS = {"ball": "#c0392b", "box": "#2471a3", "tent": "#229954", "kite": "#d68910", "ring": "#7d3c98"}
SIZE = (320, 240)


def sha256(data):
    return hashlib.sha256(data if isinstance(data, bytes) else str(data).encode()).hexdigest()


class Votes:
    """Tables of a folder without pictures: a test says which crops an image has, and what their neighbours carry."""

    def __init__(self, root):
        self.root = Path(root)
        self.images, self.crops, self.neighbours = [], [], []
        self.index = {"images": 100, "untagged": 0, "rows": 500, "tag_images": {}, "factory": "IVF64,Flat", "warnings": []}

    def image(self, name, *crops, content=None):
        """An image, and for each of its crops a list of neighbours: tags, or a dict with what differs from `neighbour`."""
        key = name.rpartition(".")[0]
        row = {"image": name, "key": key, "sha256": content or sha256(name), "width": 100, "height": 100, "outcome": "segmented"}
        self.images.append(row)
        for number, neighbours in enumerate(crops):
            crop = {"image": name, "key": key, "crop_id": f"{key}_{number}", "sha256": row["sha256"], "bbox": [0, 0, 50, 50]}
            self.crops.append(crop)
            for place, given in enumerate(neighbours, 1):
                self.neighbours.append(self.neighbour(crop, place, **(given if isinstance(given, dict) else {"tags": given})))
        return row

    def error(self, name, reason="decode: truncated"):
        """An image that nobody can read."""
        self.images.append({"image": name, "key": name, "sha256": sha256(name), "outcome": "error", "reason": reason})

    @staticmethod
    def neighbour(crop, place, tags=None, key=None, **more):
        """A row of NEIGHBOURS; without a key one of a source image of its own."""
        key = key or f"{crop['image']} {crop['crop_id']} {place}"
        row = {"image": crop["image"], "sha256": crop["sha256"], "crop_id": crop["crop_id"], "rank": place, "id": rank(key) % 10**6}
        row |= {"similarity": 1 - place / 100, "neighbour_shard": "00007", "neighbour_key": key, "neighbour_crop_id": f"{key}_0"}
        return row | {"neighbour_sha256": sha256(f"source {key}"), "label": None, "tags": tags} | more

    def write(self, reviews=None):
        """Write the tables; gives them as `vote` takes them. Reviews are lines of a CSV."""
        self.root.mkdir(parents=True, exist_ok=True)
        names = {"images": TARGET_IMAGES, "crops": TARGET_CROPS, "neighbours": NEIGHBOURS}
        for name, columns in names.items():
            tables.write(self.root / f"{name}.parquet", columns, getattr(self, name))
        (self.root / "index.json").write_text(json.dumps(self.index))
        (self.root / "recall.json").write_text(json.dumps(RECALL))
        review = None
        if reviews is not None:
            review = self.root / "vote.csv"
            review.write_text("".join(f"{line}\n" for line in reviews), encoding="utf-8")
        return Sources(*(self.root / f"{name}.parquet" for name in names), self.root / "index.json", review)

    def vote(self, reviews=None, **settings):
        """Vote; gives the counts, and leaves the outputs where `outputs` says."""
        return vote(self.write(reviews), self.outputs, SETTINGS | settings)

    @property
    def outputs(self):
        return Outputs(*(self.root / name for name in ("candidates.parquet", "tags.parquet", "tags.json")))

    def tags(self):
        """What `tags.json` says."""
        return json.loads(self.outputs.tags.read_text(encoding="utf-8"))

    def candidates(self, image=None):
        """Rows of the candidates, of one image or all."""
        return [row for row in tables.read(self.outputs.candidates) if image in (None, row["image"])]

    def found(self, *columns, image=None):
        """Some columns of the candidates as tuples; one alone as values."""
        rows = [tuple(row[name] for name in columns) for row in self.candidates(image)]
        return [row[0] for row in rows] if len(columns) == 1 else rows


def drawn(name, things, size=SIZE, kind="PNG"):
    """A picture with things in it, which no other name has; gives its bytes and the box of each thing."""
    image = Image.new("RGB", size, ["#f2efe9", "#dfe7ee", "#e9efe2"][rank(name) % 3])
    draw, boxes = ImageDraw.Draw(image), []
    for place, thing in enumerate(things):
        side = min(size) // 4 + rank(name, place, "side") % (min(size) // 4)
        x, y = rank(name, place, "x") % (size[0] - side), rank(name, place, "y") % (size[1] - side)
        box, fill = (x, y, x + side, y + side), THINGS[thing]
        if thing == "ball":
            draw.ellipse(box, fill=fill)
        elif thing == "box":
            draw.rectangle(box, fill=fill)
        elif thing == "tent":
            draw.polygon([(x, y + side), (x + side, y + side), (x + side // 2, y)], fill=fill)
        elif thing == "kite":
            draw.polygon([(x, y + side // 2), (x + side // 2, y), (x + side, y + side // 2), (x + side // 2, y + side)], fill=fill)
        else:
            draw.ellipse(box, outline=fill, width=max(2, side // 6))
        boxes.append([*box[:2], box[2] + 1, box[3] + 1])
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue() + name.encode(), boxes  # behind the end of a picture anything may stand


class Drawn(Votes):
    """A folder of drawn images, and a source of drawn images in tars whose segments are the neighbours of their parts."""

    def __init__(self, root, folder="holiday"):
        super().__init__(root)
        self.folder, self.target = folder, self.root / "targets" / folder
        self.dataset, self.results = self.root / "dataset", self.root / "01_source"
        self.samples, self.segments = {}, []
        self.target.mkdir(parents=True)

    def sample(self, shard, key, things, *tags, **more):
        """An image of the source."""
        data, boxes = drawn(f"source {key}", things)
        row = {"shard": shard, "key": key, "member": f"{key}.png", "sha256": sha256(data), "width": SIZE[0], "height": SIZE[1]}
        row |= {"data": data, "tags": [*dict.fromkeys([*things, *tags])], "outcome": "embedded", "url": None}
        self.samples.setdefault(shard, []).append(row | more)
        for number, (thing, box) in enumerate(zip(things, boxes, strict=True)):
            self.segments.append(row | {"label": thing, "bbox": box, "crop_id": f"{key}_{number}", "vlm_tags": row["tags"]})

    def samples_of(self, shards=2, images=12):
        """A source in which all things occur with each other."""
        names = list(THINGS)
        for number in range(shards * images):
            things = [names[(number + step * (1 + number // 5)) % 5] for step in range(1 + number % 3)]
            self.sample(f"{number // images:05d}", f"photo-{number:02d}", things, "outdoors" if number % 2 else "sunny day")

    def draw(self, name, *things, whole=False):
        """An image of the target; the neighbours of each part are first the source's segments of the same thing."""
        data, boxes = drawn(name, things)
        file = self.target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        key = name.rpartition(".")[0]
        row = {"image": name, "key": key, "sha256": sha256(data), "width": SIZE[0], "height": SIZE[1], "outcome": "segmented"}
        self.images.append(row)
        parts = [(f"{key}_{number}", thing, box) for number, (thing, box) in enumerate(zip(things, boxes, strict=True))]
        if whole:
            parts.append((f"{key}_full", things[0] if things else "ball", [0, 0, *SIZE]))
        for crop_id, thing, box in parts:
            self.crops.append(row | {"crop_id": crop_id, "bbox": box, "label": None})
            order = sorted(self.segments, key=lambda segment: (segment["label"] != thing, rank(name, crop_id, segment["crop_id"])))
            for place, segment in enumerate(order[:50], 1):
                likeness = (0.9 if segment["label"] == thing else 0.5) - place / 200
                given = {"tags": segment["tags"], "key": segment["key"], "label": segment["label"], "similarity": round(likeness, 4)}
                given |= {"neighbour_shard": segment["shard"], "neighbour_crop_id": segment["crop_id"]}
                crop = {"image": name, "sha256": row["sha256"], "crop_id": crop_id}
                self.neighbours.append(self.neighbour(crop, place, **given, neighbour_sha256=segment["sha256"]))
        return row

    def break_image(self, name):
        """An image of the target that nobody can read."""
        (self.target / name).write_bytes(b"no image")
        self.error(name, "decode: not an image")

    def save_source(self):
        """Write the shards, and the tables of the source's images and segments."""
        self.dataset.mkdir(exist_ok=True)
        for shard, rows in self.samples.items():
            path = self.dataset / f"{shard}.tar"
            with webdataset.TarWriter(str(path), mtime=0) as writer:
                for row in rows:
                    writer.write({"__key__": row["key"], "png": row["data"], "txt": "no image"})
            with tarfile.open(path) as tar:
                places = {member.name: (member.offset_data, member.size) for member in tar}
            for row in rows:
                row["offset"], row["size"] = places[row["member"]]
            segments = [row for row in self.segments if row["shard"] == shard]
            for kind, columns, found in ((IMAGES_TABLE, IMAGES, rows), (METADATA, SEGMENTS, segments)):
                tables.write(self.results / FILES[kind].format(shard), columns, found)

    def run(self, **vote):
        """What the step of the report gets as parameters."""
        return {
            "folder": self.folder,
            "path": str(self.target),
            "reviews": f"reviews/autotag/{self.folder}/vote.csv",
            "vote": SETTINGS | vote,
            "max_pixels": 10**7,
        }

    def page(self, reviews=None, name="page", threads=2, **settings):
        """Vote and build the page; gives its counts and its folder."""
        self.vote(reviews, **settings)
        given = self.write(reviews)
        places = {"index": given.index, "recall": self.root / "recall.json", "reviews": given.reviews}
        sources = report.Sources(given.images, given.crops, self.outputs.candidates, **places)
        machine = {"cache_root": str(self.root / "cache"), "output": self.root / name, "threads": threads}
        return report.build(self.run(**settings), sources, self.results, self.dataset, **machine), self.root / name
