"""The profile for clusters: every rule that wants a GPU is sent where there are some, and what it asks for is what SLURM grants."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.workflow.conftest import REPO

PROFILE = REPO / "profiles/slurm/profile.yaml"
# As Snakemake reads them: whether a rule runs on the head node, and whether it asks for a GPU.
TELL = """
import json
with open("rules.json", "w") as told:
    local = {rule.name for rule in workflow.rules if rule.norun or rule.name in workflow._localrules}
    json.dump({rule.name: {"local": rule.name in local, "gpu": "gpu" in rule.resources} for rule in workflow.rules}, told)
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bool]]:
    """All rules by name."""
    root = tmp_path_factory.mktemp("rules")
    for name in ("rules", "config", "workflow_scripts"):
        (root / name).symlink_to(REPO / name)
    (root / "Snakefile").write_text((REPO / "Snakefile").read_text() + TELL)
    subprocess.run([sys.executable, "-m", "snakemake", "--list-rules"], cwd=root, check=True, capture_output=True)
    found: dict[str, dict[str, bool]] = json.loads((root / "rules.json").read_text())
    return found


def profile() -> dict[str, Any]:
    """The profile as it stands."""
    read: dict[str, Any] = yaml.safe_load(PROFILE.read_text())
    return read


def dry_run(root: Path, *arguments: str) -> str:
    """What Snakemake says that it would do, with the short name of the profile, at the root of the repository."""
    command = [sys.executable, "-m", "snakemake", *arguments, "-n", "--profile", "slurm", "--directory", str(root)]
    done = subprocess.run(command, cwd=REPO, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert not done.returncode, done.stdout
    return done.stdout


def test_every_rule_that_asks_for_a_gpu_has_a_partition_and_no_other(rules: dict[str, dict[str, bool]]) -> None:
    wanting = {name for name, rule in rules.items() if rule["gpu"]}
    assert len(wanting) >= 4
    assert set(profile()["set-resources"]) == wanting, "set-resources in profiles/slurm/profile.yaml"
    assert {resources["slurm_partition"] for resources in profile()["set-resources"].values()} == {"gpu"}
    assert not [name for name in wanting if rules[name]["local"]], "the head node has no GPU"


def test_rules_that_become_jobs_of_the_cluster_are_few(rules: dict[str, dict[str, bool]]) -> None:
    # Whoever adds a light step says so in `localrules`; whoever adds a heavy one adds it here.
    heavy = {"retrieval_00_inventory", "retrieval_04_retrieve", "retrieval_06_hf_dataset"}
    heavy |= {"lora_01_frames", "lora_04_measure"}
    heavy |= {"autotag_00_vocabulary", "autotag_02_train_index", "autotag_03_add_block", "autotag_04_merge_index"}
    assert {name for name, rule in rules.items() if not rule["local"] and not rule["gpu"]} == heavy


def test_a_job_asks_for_a_gpu_a_partition_memory_and_time(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(b"x")
    config = {"people": {"runs": {"r": {"source": "photos", "model": {"pretrained": str(tmp_path / "none.pt"), "sha256": "0" * 64}}}}}
    (tmp_path / "none.pt").write_bytes(b"x")
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(config))
    text = dry_run(tmp_path, "people", "--configfile", str(tmp_path / "my.yaml"))
    (job,) = re.findall(r"^rule people_02_embed:\n(?:    .*\n)*?    resources: (.*)$", text, re.MULTILINE)
    assert {"gpu=1", "slurm_partition=gpu", "mem_mb=8000", "runtime=240"} <= set(job.split(", "))


def test_a_pipeline_is_planned_where_there_is_no_cluster(tmp_path: Path) -> None:
    assert "demo_01_people_data" in dry_run(tmp_path, "demo_data")
