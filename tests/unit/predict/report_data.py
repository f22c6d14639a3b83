"""A project as the steps before the report leave it: drawn images in a zip or a folder, and both tables of step 03."""

import hashlib
import io
import zipfile
from pathlib import Path

from PIL import Image, ImageDraw

from workflow_scripts.core.embeddings import write_table
from workflow_scripts.core.seeded import rank
from workflow_scripts.predict.crops import make_crop
from workflow_scripts.predict.groups import Rule, group_images
from workflow_scripts.predict.selection import select
from workflow_scripts.predict.tables import ERROR, FAILED, GROUPS, IMAGES, PASSED_OVER, SELECTED, SUCCESS, UNGROUPED, schema

STAGES = {1: "stage1_generated", 1.5: "stage1.5_face_swapped", 2: "stage2_upscaled", 3: "stage3_enhanced"}
COLOURS = ["#c0392b", "#2471a3", "#229954", "#d68910", "#7d3c98", "#148f77", "#5d6d7e", "#a04000"]
MODELS = {
    "ranker": {"path": "/models/ranker_v4.pt", "sha256": "ab" * 32},
    "crop_proposer": {"path": "crop_proposer.pt", "sha256": "cd" * 32},
}
CLIP = {"name": "ViT-B-32-quickgelu", "pretrained": "openai", "sha256": "ef" * 32}


def drawn(path, size=(200, 150)):
    """A PNG that no other path has."""
    image = Image.new("RGB", size, ["#f2efe9", "#dfe7ee", "#e9efe2"][rank(path) % 3])
    draw, fill = ImageDraw.Draw(image), COLOURS[rank(path, "colour") % len(COLOURS)]
    side = min(size) // 2
    x, y = rank(path, "x") % (size[0] - side), rank(path, "y") % (size[1] - side)
    (draw.ellipse, draw.rectangle)[rank(path, "shape") % 2]((x, y, x + side, y + side), fill=fill)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue() + path.encode()  # behind the end of a PNG anything may stand


def name(minute, stage, title=""):
    """The name of an image of a stage; those of one minute are a group."""
    return f"20240131_12{minute:02d}00{title}_{STAGES[stage]}.png"


class Project:
    """The images of a project with their scores, and what step 03 makes of them."""

    def __init__(self, root, project_id="p", *, zipped=True, **rule):
        """Begin an empty project below `root`; `rule` as of `groups.Rule`."""
        self.root, self.project_id, self.zipped, self.rule = Path(root), project_id, zipped, Rule(**rule)
        self.path = self.root / (f"{project_id}.zip" if zipped else project_id)
        self.images, self.proposals, self.refused = {}, {}, []
        self.about = {"status": SUCCESS, "error": "", "skipped": {}, "models": MODELS, "model": CLIP}

    def put(self, path, score=None, error=None, size=(200, 150), proposal=(0.1, 0.2, 0.9, 0.8)):
        """An image with its score, or with the error of one that cannot be read."""
        data = drawn(path, size) if error is None else f"no image {path}".encode()
        sha256 = None if (error or "").startswith("list:") else hashlib.sha256(data).hexdigest()
        width, height = (None, None) if error else size
        row = {"data": data, "sha256": sha256, "width": width, "height": height, "error": error, "score": score}
        self.images[path], self.proposals[path] = row, proposal
        return row

    def put_group(self, minute, scores, directory="", **image):
        """A group of the stages of `{stage: score}`; gives its paths."""
        front = f"{directory}/" if directory else ""
        paths = [f"{front}{name(minute, stage)}" for stage in scores]
        for path, score in zip(paths, scores.values(), strict=True):
            self.put(path, score, **image)
        return paths

    def save(self):
        """Write the images where the project's path says."""
        if self.zipped:
            with zipfile.ZipFile(self.path, "w") as archive:
                for path, row in self.images.items():
                    archive.writestr(path, row["data"])
            return
        for path, row in self.images.items():
            file = self.path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(row["data"])

    def predict(self, reviews=None):
        """The rows of both tables."""
        contents = {path: row["sha256"] or "" for path, row in self.images.items()}
        grouping = group_images(self.project_id, self.images, self.rule, reviews, contents)
        groups = [self._group(group) for group in grouping.groups]
        places = {path: (group, place) for group in grouping.groups for place, path in enumerate(group.paths)}
        chosen = {row["group_id"]: row["selected"] for row in groups}
        images = []
        for path, image in sorted(self.images.items()):
            group, place = places.get(path, (None, None))
            outcome, reason = (SELECTED if group and chosen[group.group_id] == place else PASSED_OVER), ""
            if image["error"]:
                outcome, reason = ERROR, image["error"]
            elif group is None:
                outcome, reason = UNGROUPED, dict(grouping.ungrouped)[path]
            known = {column: image[column] for column in ("sha256", "width", "height", "score")} | {"path": path, "place": place}
            images.append(known | {"group_id": group.group_id if group else None, "outcome": outcome, "reason": reason})
        refused = [{"path": path, "outcome": ERROR, "reason": reason} for path, reason in self.refused]
        return groups, sorted(images + refused, key=lambda row: (row["path"], row["reason"] if row["outcome"] == ERROR else ""))

    def _group(self, group):
        images = [self.images[path] for path in group.paths]
        scores = [image["score"] for image in images]
        row = {"group_id": group.group_id, "directory": group.directory, "timestamp": "2024-01-31T12:00:00Z", "scores": scores}
        row |= {"images": [path.rpartition("/")[2] for path in group.paths], "sha256": [image["sha256"] for image in images]}
        found = select(group.group_id, scores)
        if found is None:
            text = f"read: none of {len(images)} images can be used; {row['images'][0]}: {images[0]['error']}"
            return row | {"selected": None, "repairs": [], "error": text}
        proposal, size = self.proposals[group.paths[found.index]], {name: images[found.index][name] for name in ("width", "height")}
        crop = make_crop(proposal, 0.05)
        row |= {"selected": found.index, "confidence": found.confidence, "margin": found.margin} | size
        return row | {"proposal": proposal, "crop": crop.coordinates, "repairs": list(crop.repairs), "error": crop.error or ""}

    def write(self, reviews=None):
        """Write both tables; gives their paths."""
        groups, images = self.predict(reviews)
        metadata = {"project_id": self.project_id, "path": str(self.path)} | self.about
        tables = self.root / "groups.parquet", self.root / "images.parquet"
        write_table(tables[0], schema(GROUPS, metadata), groups)
        write_table(tables[1], schema(IMAGES, metadata), images)
        return tables

    def fail(self, error):
        """The project could not be read."""
        self.images.clear()
        del self.about["model"]
        self.about |= {"status": FAILED, "error": error}

    def settings(self, **changes):
        """What the step gets as parameters."""
        return {
            "project_id": self.project_id,
            "path": str(self.path),
            "reviews": f"reviews/predict/{self.project_id}/groups.csv",
            "max_pixels": 10**7,
            "archives": {"max_member": 10**7, "max_ratio": 100.0},
        } | changes
