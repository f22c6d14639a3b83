"""Drawn shards and folders to tag, and a configuration for them with the demo's models."""

import json
from pathlib import Path
from typing import Any

import yaml

from tests.workflow.conftest import REPO, Project, demo_model
from workflow_scripts.core.models import hash_file
from workflow_scripts.demo import autotag_data
from workflow_scripts.settings.base import merge

SEGMENTER = REPO / "resources/demo/autotag/segmenter.pt"
STEPS = (
    "autotag_01_segment_embed_source",
    "autotag_02_train_index",
    "autotag_03_add_block",
    "autotag_04_merge_index",
    "autotag_05_segment_target",
    "autotag_06_embed_target",
    "autotag_07_search_target",
    "autotag_08_vote",
    "autotag_09_report",
)


class AutotagProject(Project):
    """A folder with a tagged source and targets. There is one run, so changes are of the whole pipeline's settings."""

    def write_config(self, **changed: Any) -> None:
        """Change settings of autotag, group by group, and write the configuration."""
        self.config["autotag"] = merge(self.config["autotag"], changed)
        (self.root / "my.yaml").write_text(yaml.safe_dump(self.config))

    @property
    def results(self) -> Path:
        """Results of the pipeline."""
        return self.root / "results/autotag"

    def tags(self, target: str) -> dict[str, list[str]]:
        """What a target's images were tagged with."""
        found: dict[str, list[str]] = json.loads((self.results / f"targets/{target}/tags.json").read_text())
        return found

    def copy_to(self, root: Path) -> "AutotagProject":
        """The same project in another folder, times kept."""
        copied = super().copy_to(root)
        return AutotagProject(copied.root, copied.config, copied.place)


def new_autotag(root: Path, *, images: int = 40, shards: int = 2, targets: int = 10, **settings: Any) -> AutotagProject:
    """A project on drawn data (see `demo.autotag_data`), a shard a block."""
    autotag_data.draw(root / "data/truth.csv", images=images, shards=shards, targets=targets, seed=7)
    chosen = {
        "source": {"dataset": "data/source", "tags": "data/tags", "block_shards": 1},
        "target_dataset": "data/targets",
        "segmenter": {"backend": "fastsam", "weights": str(SEGMENTER), "sha256": hash_file(SEGMENTER), "imgsz": 160},
        "clip": demo_model(root),
        "vote": {"min_votes": 1},
    }
    project = AutotagProject(root, {"device": "cpu", "autotag": merge(chosen, settings)}, ("autotag", "", ""))
    project.write_config()
    return project
