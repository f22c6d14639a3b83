"""A project folder of its own for each test, in which the real workflow runs as a user runs it."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

REPO = Path(__file__).parents[2]
DEMO_CLIP = REPO / "resources/demo/clip"


@dataclass
class Project:
    """A folder with a source, a configuration and what the workflow makes of them.

    `place`: pipeline, collection and name of the run or dataset that the tests change.
    """

    root: Path
    config: dict[str, Any]
    place: tuple[str, str, str] = ("people", "runs", "r")

    def write_config(self, **changed: Any) -> None:
        """Change settings of the run or dataset and write the configuration."""
        pipeline, collection, name = self.place
        self.config[pipeline][collection][name] |= changed
        (self.root / "my.yaml").write_text(yaml.safe_dump(self.config))

    def command(self, *arguments: str, snakefile: Path = REPO / "Snakefile") -> list[str]:
        """The command line that a user types in this folder."""
        # Targets first: --configfile takes every word that follows it.
        return [sys.executable, "-m", "snakemake", *(arguments or self.place[:1]), "-s", str(snakefile), "--configfile", "my.yaml"]

    def run(self, *arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the workflow to its end."""
        done = subprocess.run(
            self.command(*arguments, **options), cwd=self.root, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if check and done.returncode:
            raise AssertionError(done.stdout[-6000:])
        return done

    def planned(self, *arguments: str, **options: Any) -> set[str]:
        """The rules that would run, without targets and the number of the set of shards in their names."""
        text = self.run("-n", *(arguments or self.place[:1]), **options).stdout
        rules = set(re.findall(r"^(?:local)?rule (\w+):$", text, re.MULTILINE))
        numbered = {rule for rule in rules if re.match(r"[a-z]+_\d\d_", rule)}
        return {re.sub(r"_\d+$", "", rule) for rule in numbered}

    def counts(self, step: str) -> dict[str, int]:
        """What the logs of a step say it did, added up."""
        totals: dict[str, int] = {}
        place = self.root / "logs" / self.place[0] / self.place[2] / step
        for log in place.rglob("*.log") if place.is_dir() else [place.with_suffix(".log")]:
            for name, value in re.findall(r"(\w+)=(\d+)", log.read_text().split("done: ")[-1]):
                totals[name] = totals.get(name, 0) + int(value)
        return totals

    @property
    def results(self) -> Path:
        """Results of the run or dataset."""
        return self.root / "results" / self.place[0] / self.place[2]

    def aggregate(self) -> dict[str, bytes]:
        """The merged tables without the project's own place; the metadata differs by the number of shards and stands apart."""
        tables = [path for path in sorted((self.results / "05_merge/aggregate").iterdir()) if path.suffix != ".json"]
        return {path.name: path.read_bytes().replace(self.root.as_uri().encode(), b"file:///project") for path in tables}

    def copy_to(self, root: Path) -> "Project":
        """The same project in another folder, times kept."""
        shutil.copytree(self.root, root, symlinks=True)
        return Project(root, json.loads(json.dumps(self.config)), self.place)


def digest_tree(folder: Path) -> dict[str, str]:
    """Every file below a folder with the sha256 of its content and its modification time."""
    return {
        str(path.relative_to(folder)): f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_mtime_ns}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def demo_model(root: Path) -> dict[str, str]:
    """The demo's CLIP, copied into a project, as a setting."""
    (root / "model").mkdir(parents=True)
    for name in ("open_clip_config.json", "open_clip_model.safetensors"):
        shutil.copy(DEMO_CLIP / name, root / "model" / name)
    sha256 = hashlib.sha256((root / "model/open_clip_model.safetensors").read_bytes()).hexdigest()
    return {"name": "demo", "pretrained": "model/", "sha256": sha256}


def new_project(root: Path, fill: Callable[[Path], None], **run: Any) -> Project:
    """A people project with the demo model and a source made by `fill`."""
    model = demo_model(root)
    fill(root / "photos")
    settings = {"source": "photos", "destination": "clean", "manifests": "manifests", "shard_count": 2, "model": model}
    project = Project(root, {"device": "cpu", "people": {"runs": {"r": settings | run}}})
    project.write_config()
    return project


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the developer's own Snakemake settings reaches the tests."""
    for name in [name for name in os.environ if name.startswith("SNAKEMAKE_")]:
        monkeypatch.delenv(name)
