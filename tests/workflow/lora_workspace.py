"""A drawn workspace for the tests of lora: short videos of figures, backgrounds, the demo's weights, and the project of a user."""

import functools
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.workflow.conftest import REPO, Project, demo_model, digest_tree
from workflow_scripts.core.models import slug
from workflow_scripts.demo.lora_clips import FACE, FULL, NOBODY, UPPER, Clip, Shot
from workflow_scripts.demo.lora_data import draw
from workflow_scripts.lora import tables
from workflow_scripts.lora.params import PAGES

CORES = ("--cores", "2")
SEED = 0
SHARP = 200.0  # less than the sharp frames have, more than some that motion blurs
NEAR, ODD, EMPTY = "near", "-ö\n'b' {x} 100%", "nobody"
CLIPS_HERE = (
    Clip(f"{NEAR}.mp4", (480, 360), "hills", (Shot(2, FULL, away=0.25), Shot(1.6, UPPER), Shot(2, FACE))),
    Clip(f"{ODD}.mkv", (480, 360), "street", (Shot(1.6, FACE), Shot(1, FACE, blur="motion"), Shot(1.6, UPPER))),
    Clip(f"{EMPTY}.webm", (320, 240), "forest", (Shot(1.6, NOBODY),)),
)
VIDEO_STEPS = ("01_frames", "02_pose", "02_sort", "03_mask", "04_measure")
# All rules, each before those that follow from it; a page before the step that goes on from what it shows.
RULES = (
    *("01_frames", "01_validation_page", "02_pose", "02_sort", "02_reject_page", "03_mask", "03_mask_page", "04_measure", "04_select"),
    *("04_filter_page", "04_sharpness_page", "05_composite", "05_background_page", "06_caption", "06_caption_page", "07_export"),
)
TABLES = {  # of a video
    "01_frames": "01_source_frames",
    "02_pose": "02_pose",
    "02_sort": "02_sorted_candidates",
    "03_mask": "03_masked_subjects",
    "04_measure": "04_metrics",
}
MANIFESTS = {
    "04_select": "04_top100_staging",
    "05_composite": "05_training_data",
    "06_caption": "06_caption",
    "07_export": "07_export",
}
Row = dict[str, Any]


def rules_from(rule: str) -> set[str]:
    """A rule and those that follow from it."""
    return set(RULES[RULES.index(rule) :])


@dataclass
class Workspace(Project):
    """A project with a workspace `w`, and what the workflow makes of it."""

    place: tuple[str, str, str] = ("lora", "workspaces", "w")

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the workspace, to change before `write_config`."""
        return self.config["lora"]["workspaces"]["w"]

    def write_config(self, **changed: Any) -> None:
        """Change settings, of a group only those that are given, and write the configuration."""
        groups = {name: self.settings.get(name, {}) | value for name, value in changed.items() if isinstance(value, dict)}
        super().write_config(**changed | groups)

    @contextmanager
    def changed(self, **changed: Any) -> Iterator[None]:
        """Other settings for a while."""
        before = json.dumps(self.config)
        try:
            self.write_config(**changed)
            yield
        finally:
            self.config = json.loads(before)
            self.write_config()

    def copy_to(self, root: Path) -> "Workspace":
        """The same in another folder, times kept."""
        shutil.copytree(self.root, root, symlinks=True)
        return Workspace(root, json.loads(json.dumps(self.config)), self.place)

    def jobs(self, *arguments: str) -> set[tuple[str, str]]:
        """What would run: rule and video, by its name in files; without one for what belongs to all; `part/` before those of another."""
        text = self.run(*(arguments or ("lora",)), "-n", *CORES).stdout
        found = set()
        # A job's paragraph: its rule, and what belongs to it, indented.
        for rule, rest in re.findall(r"^(?:local)?rule lora_(\w+):\n((?: .*\n)*)", text, re.MULTILINE):
            wildcards = re.search(r"^    wildcards: (.*)$", rest, re.MULTILINE)
            values = dict(pair.split("=", 1) for pair in wildcards[1].split(", ")) if wildcards else {}
            other = "" if values["workspace"] == "w" else f"{values['workspace']}/"
            found.add((rule, other + values.get("video", "")))
        return found

    def rules(self, *arguments: str) -> set[str]:
        """The rules that would run."""
        return {rule for rule, _ in self.jobs(*arguments)}

    def file(self, step: str, video: str = "") -> Path:
        """The table of a step."""
        return self.results / (f"{TABLES[step]}/{slug(video)}.parquet" if video else f"{MANIFESTS[step]}/manifest.parquet")

    def target(self, step: str, video: str = "") -> str:
        """The same as one types it."""
        return str(self.file(step, video).relative_to(self.root))

    def rows(self, step: str, video: str = "") -> list[Row]:
        """The rows of a step; of all videos where none is named."""
        if step in TABLES and not video:
            return [row for name in self.videos() for row in self.rows(step, name)]
        return tables.read(self.file(step, video))

    def videos(self) -> list[str]:
        """The names in files of the videos whose frames were taken, in order."""
        return sorted(path.stem for path in (self.results / "01_source_frames").glob("*.parquet"))

    def log(self, step: str, video: str = "", workspace: str = "w") -> str:
        """The log of a step."""
        return (self.root / "logs/lora" / workspace / step / f"{slug(video)}.log" if video else
                self.root / "logs/lora" / workspace / f"{step}.log").read_text()  # fmt: skip

    def counted(self, step: str, video: str = "", workspace: str = "w") -> dict[str, int]:
        """What the log of a step says it did."""
        said = self.log(step, video, workspace).split("done: ")[-1]
        return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", said)}

    def page(self, name: str) -> dict[str, Any]:
        """What a page shows."""
        text = (self.results / name / "data.js").read_text()
        return json.loads(text.partition("=")[2].strip().rstrip(";"))

    def decide(self, step: str, *lines: tuple[str, str]) -> None:
        """Put a CSV of decisions, as (sha256, decision), where the page of a step says."""
        path = self.root / f"reviews/lora/w/{step}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("sha256,path,decision,reason\n" + "".join(f"{sha256},,{decision},\n" for sha256, decision in lines))

    def made(self) -> dict[str, bytes]:
        """All files of the results that people and programs read, pages apart: their bytes."""
        paths = [
            path for path in sorted(self.results.rglob("*")) if path.is_file() and path.relative_to(self.results).parts[0] not in PAGES
        ]
        # The index says when files were written.
        return {str(path.relative_to(self.results)): path.read_bytes() for path in paths if ".made" not in path.parts}


def draw_workspace(root: Path, clips: tuple[Clip, ...] = CLIPS_HERE) -> Workspace:
    """A project with drawn videos and backgrounds, with the demo's models, of which nothing was made yet."""
    clip = demo_model(root)
    (root / "weights").mkdir()
    chosen = {}
    for kind, setting, name in (("pose", "weights", "pose.pt"), ("mask", "model", "segmenter.onnx")):
        path = shutil.copy(REPO / "resources/demo/lora" / name, root / "weights" / name)
        chosen[kind] = {setting: f"weights/{name}", "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()}
    (root / "data").mkdir()
    draw(root / "data/truth.csv", 6, SEED, clips)
    caption = {"clip_model": clip, "trigger_words": "Ohwx Person"}
    settings = chosen | {"base_dir": "data", "fps": 2, "score": {"min_sharpness": SHARP}, "caption": caption, "export": {"resolution": 384}}
    workspace = Workspace(root, {"device": "cpu", "lora": {"workspaces": {"w": settings}}})
    workspace.write_config()
    return workspace


@functools.cache
def finished_workspace(root: Path) -> Workspace:
    """The workspace, run once; for fixtures, once in a session. `root` is the session's folder."""
    workspace = draw_workspace(root / "lora")
    before = digest_tree(workspace.root / "data")
    (workspace.root / "output.txt").write_text(workspace.run("lora", *CORES).stdout)
    assert digest_tree(workspace.root / "data") == before, "a source was touched"
    return workspace
