"""Drawn projects for the tests of predict: pictures, zips, folders, checkpoints, and the folder in which a user works on them."""

import functools
import io
import json
import os
import random
import re
import shutil
import sqlite3
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml
from PIL import Image

from tests.workflow.conftest import Project, demo_model, digest_tree
from workflow_scripts.core.models import slug

CORES = ("--cores", "2")  # so few that an embedding job takes them all, and one follows the other
STAGES = {1.0: "stage1_generated", 1.5: "stage1.5_face_swapped", 2.0: "stage2_upscaled", 3.0: "stage3_enhanced"}
DATE = (2024, 5, 6, 7, 8, 10)  # of all members of zips
FILE_TIME = 1_700_000_000  # of all files of folders
FILE_DATE = "2023-11-14T22:13:20Z"
ALPHA, BETA, FOLDER = "alpha", "beta ü #1 {x}", "folder"


@dataclass
class Batch(Project):
    """A folder with a table of projects, a configuration and what the workflow makes of them.

    `table`: rows of the table of projects by project_id, without it.
    """

    place: tuple[str, str, str] = ("predict", "", "")
    table: dict[str, dict[str, str]] = field(default_factory=dict)

    def write_config(self, **changed: Any) -> None:
        """Change settings of predict and write the configuration and the table."""
        self.config["predict"] |= changed
        (self.root / "my.yaml").write_text(yaml.safe_dump(self.config))
        columns = ["path", "pattern", "skip", "user_database"]
        lines = [["project_id", *columns], *([name, *(row.get(column, "") for column in columns)] for name, row in self.table.items())]
        (self.root / "projects.tsv").write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")

    @contextmanager
    def changed(self, rows: Mapping[str, dict[str, str]] | None = None, **settings: Any) -> Iterator[None]:
        """Other rows and settings for a while."""
        before = json.dumps([self.config, self.table])
        try:
            self.table |= rows or {}
            self.write_config(**settings)
            yield
        finally:
            self.config, self.table = json.loads(before)
            self.write_config()

    def copy_to(self, root: Path) -> "Batch":
        """The same in another folder, times kept."""
        shutil.copytree(self.root, root, symlinks=True)
        return Batch(root, *json.loads(json.dumps([self.config, self.place, self.table])))

    def jobs(self, *arguments: str) -> set[tuple[str, str]]:
        """What would run: the step and the project's name in files; empty for what belongs to all."""
        text = self.run(*(arguments or ("predict",)), "-n", *CORES).stdout
        found = set()
        # A job's paragraph: its rule, and what belongs to it, indented.
        for rule, rest in re.findall(r"^(?:local)?rule (\w+):\n((?: .*\n)*)", text, re.MULTILINE):
            project = re.search(r"^    wildcards: project=(.*)$", rest, re.MULTILINE)
            found.add((rule.removeprefix("predict_"), project[1] if project else ""))
        return found - {("predict", "")}

    def file(self, step: str, project: str, ending: str = "parquet") -> Path:
        """What a step made of a project."""
        return self.root / "results/predict" / step / f"{slug(project)}.{ending}"

    def rows(self, step: str, project: str) -> list[dict[str, Any]]:
        """The table that a step made of a project."""
        return pq.read_table(self.file(step, project)).to_pylist()

    def about(self, step: str, project: str) -> dict[str, Any]:
        """What a table says of its project."""
        return json.loads(pq.read_schema(self.file(step, project)).metadata[b"darkroom"])

    def json(self, step: str, project: str = "") -> Any:
        """The JSON that a step made of a project, or of all."""
        return json.loads((self.file(step, project, "json") if project else self.root / "results/predict" / step).read_text())

    def log(self, step: str, project: str) -> str:
        """The log of a step of a project."""
        return (self.root / "logs/predict" / slug(project) / f"{step}.log").read_text()

    def counted(self, step: str, project: str) -> dict[str, int]:
        """What the log of a step says it did."""
        return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", self.log(step, project).split("done: ")[-1])}

    def database(self, project: str) -> Path:
        """The database that a project's receipt names."""
        return self.root / self.json("04_database", project)["database"]


def select(database: Path, query: str, *values: object) -> list[dict[str, Any]]:
    """Rows of a database, which is only read."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query, values)]


def dump(database: Path) -> list[str]:
    """All that a database holds, as SQL."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        return list(connection.iterdump())


def execute(database: Path, *statements: str) -> None:
    """Change a database as the program of a person does."""
    with closing(sqlite3.connect(database)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


# ---- pictures ----


def picture(seed: object, size: tuple[int, int] = (320, 240), turned: bool = False) -> bytes:
    """A JPEG of soft patches; `turned`: EXIF says that it lies on its side."""
    colours = np.random.default_rng(random.Random(repr(seed)).randrange(2**32)).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    exif, buffer = Image.Exif(), io.BytesIO()
    if turned:
        exif[0x0112] = 6
    Image.fromarray(colours).resize(size).save(buffer, "JPEG", quality=95, exif=exif)
    return buffer.getvalue()


def group(front: str, stages: list[float], **made: bytes) -> dict[str, bytes]:
    """Members of one group, `made` by stage (`s1_5`) in place of a picture of their own."""
    return {f"{front}_{STAGES[stage]}.jpg": made.get(f"s{stage:g}".replace(".", "_"), picture((front, stage))) for stage in stages}


def zipped(path: Path, members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """A zip that holds these members in this order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", compression) as target:
        for name, data in members.items():
            target.writestr(zipfile.ZipInfo(name, DATE), data, compression)
    return path


def in_folder(root: Path, members: Mapping[str, bytes]) -> Path:
    """A folder that holds these files."""
    root.mkdir(parents=True, exist_ok=True)
    for name, data in members.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
        os.utime(root / name, (FILE_TIME, FILE_TIME))
    return root


# ---- checkpoints ----


def network(sizes: list[int], seed: int) -> Any:
    """An MLP without what follows its last layer, with weights that spread its outputs as training does."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for pair in pairwise(sizes):
        layers += [nn.Linear(*pair), nn.ReLU()]
    module = nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(3)
    return module


def save_ranker(path: Path, seed: int = 1, dimension: int = 512) -> None:
    """Write a ranker as training scripts do."""
    import torch

    torch.save({"model_state_dict": network([dimension, 256, 64, 1], seed).state_dict(), "epoch": 7}, path)


def save_crop_proposer(path: Path) -> None:
    """Write a crop proposer, a plain state dict, whose crops are mostly wide and ordered."""
    import torch

    module = network([514, 256, 128, 4], seed=2)
    with torch.no_grad():
        module[-1].bias.add_(torch.tensor([-2.0, -2.0, 2.0, 2.0]))
    torch.save(module.state_dict(), path)


# ---- finished batches ----

# What the first two projects hold. Groups: whole; with a broken image; with a gap in the stages; without a readable image.
MEMBERS = {
    **group("set 0/20250101_100000", [1.0, 1.5, 2.0]),
    **group("set 0/20250101_100200", [1.0, 1.5, 2.0], s2=b"broken"),
    "set 0/loose.png": picture("loose"),
    **group("set 1/20250101_100100", [1.0, 2.0, 3.0]),
    **group("set 1/20250101_100300", [1.0, 3.0], s1=b"", s3=picture("cut")[:300]),
    **group("set 1/20250101_110000", [3.0]),
    "__MACOSX/set 0/._loose.png": b"x",
    "set 1/.DS_Store": b"x",
    "notes.txt": b"x",
}
FILES = {
    **group("dog/first", [1.0, 2.0], s1=picture("two", turned=True), s2=picture("one", turned=True)),
    **group("dog/20250202_100000", [1.5, 3.0]),
    "readme.md": b"x",
}
READABLE = 10  # of MEMBERS
DISTINCT = READABLE + 4


def new_batch(root: Path, table: dict[str, dict[str, str]], **settings: Any) -> Batch:
    """A folder with the demo's CLIP and both networks; the first ranker of the list is not there."""
    model = demo_model(root)
    save_ranker(root / "ranker_v3_w10.pt")
    save_crop_proposer(root / "crop.pt")
    chosen = {"projects": "projects.tsv", "model": model, "ranker": {"paths": ["ranker_v4.pt", "ranker_v3_w10.pt"]}}
    batch = Batch(root, {"device": "cpu", "predict": chosen | {"crop": {"path": "crop.pt"}} | settings}, table=table)
    batch.write_config()
    return batch


@functools.cache
def finished_batch(root: Path) -> Batch:
    """Two zips with the same images and a folder, run once; the sources stay as they were.

    For fixtures, once in a session; `root` is the session's folder.
    """
    batch = new_batch(root / "finished", {ALPHA: {"path": "in/a.zip"}, BETA: {"path": "in/b c's.zip"}, FOLDER: {"path": "in/photos"}})
    zipped(batch.root / "in/a.zip", MEMBERS)
    zipped(batch.root / "in/b c's.zip", dict(reversed(MEMBERS.items())), zipfile.ZIP_DEFLATED)
    in_folder(batch.root / "in/photos", FILES)
    before = digest_tree(batch.root / "in")
    (batch.root / "output.txt").write_text(batch.run("predict", *CORES).stdout)
    assert digest_tree(batch.root / "in") == before, "a source was touched"
    return batch


def fresh(finished: Batch, root: Path, table: dict[str, dict[str, str]], fill: Callable[[Path], None], **settings: Any) -> Batch:
    """The models of a finished batch, already checked, with other projects of which nothing is known."""
    batch = finished.copy_to(root)
    for folder in ("in", "cache", "logs", "benchmarks"):
        shutil.rmtree(root / folder)
    for path in (root / "results/predict").iterdir():
        if path.name != "00_models":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    fill(root / "in")
    batch.table = table
    batch.write_config(**settings)
    return batch
