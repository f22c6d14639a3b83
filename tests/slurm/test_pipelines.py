"""Every pipeline through the cluster: its GPU rules on nodes with GPUs, the same bytes as a local run, thresholds without a queue."""

import json
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.slurm import SlurmCluster
from tests.slurm.conftest import ON_CLUSTER, about, run_ids, submitted
from tests.workflow.autotag_project import new_autotag as drawn_autotag
from tests.workflow.conftest import REPO, Project, demo_model, new_project
from tests.workflow.predict_data import STAGES, group, in_folder, new_batch, zipped
from workflow_scripts.core.models import hash_file
from workflow_scripts.demo import lora_clips, lora_data, people_data, retrieval_data

pytest.importorskip("torch")

ODD = '100%j %A "quoted" it\'s {x} #1 ü '
LONGEST = ODD + "x" * (255 - len(ODD.encode()))  # bytes, as long as a name can be
# What tells when a run was, in its metadata; and what is named by it, holds the fingerprint of such a file, or says when files were made.
# All else has to be equal.
TIMES = re.compile(rb'"(batch_id|\w+_at|timestamp|timestamp_utc|\w+_seconds|images_per_second)": [^,}\n]*')
DEMO = REPO / "resources/demo/lora"
WEIGHTS = {"pose": ("weights", "pose.pt"), "mask": ("model", "segmenter.onnx")}
DATED = re.compile(r"batch_predictions_summary_\d{8}T\d{6}Z\.json|06_publish/(journal\.jsonl|receipt\.parquet)|/\.made/")


@dataclass(frozen=True)
class Case:
    """A pipeline in these tests.

    Attributes:
        make: draws its data and writes its configuration.
        jobs: its rules that become jobs of the cluster, with the number of their jobs.
        gpu: those of them that ask for a GPU.
        decision: settings of its run or dataset that change what is decided, and no measurement.
    """

    make: Callable[[Path], Project]
    jobs: dict[str, int]
    gpu: set[str]
    decision: dict[str, Any]


def new_people(root: Path) -> Project:
    """Scenes in a folder with an odd name."""
    source = f"photos {ODD}"

    def draw(folder: Path) -> None:
        people_data.draw(folder.with_name(source), root / "truth.csv", 24, seed=11)

    return new_project(root, draw, source=source, shard_count=1)


def new_retrieval(root: Path) -> Project:
    """A category with the longest name that there can be."""
    retrieval_data.draw(root / "photos", root / "truth.csv", 3, seed=7)
    (root / "photos/car").rename(root / "photos" / LONGEST)
    dataset = {"data_root": "photos", "categories": [LONGEST], "train_fraction": 0.6, "model": demo_model(root)}
    project = Project(root, {"retrieval": {"datasets": {"d": dataset}}}, ("retrieval", "datasets", "d"))
    project.write_config()
    return project


def new_predict(root: Path) -> Project:
    """A zip and a folder with odd names."""
    batch = new_batch(root, {ODD.strip(): {"path": f"in/{ODD}.zip"}, LONGEST[:-4]: {"path": f"in/{LONGEST}"}})
    members = {name: data for front in "ab" for name, data in group(f"{ODD}{front}", list(STAGES)).items()}
    zipped(root / f"in/{ODD}.zip", members)
    in_folder(root / "in" / LONGEST, group("c", [1.0, 2.0]))
    return batch


def new_lora(root: Path) -> Project:
    """A video with an odd name, and backgrounds."""
    clip = next(clip for clip in lora_clips.CLIPS if clip.name == "hips")
    lora_data.draw(root / "base/truth.csv", 2, seed=7, clips=[clip])
    (video,) = (root / "base/source_videos").iterdir()
    video.rename(video.with_name(f"{ODD}{video.suffix}"))
    models = {name: {name_of: str(DEMO / file), "sha256": hash_file(DEMO / file)} for name, (name_of, file) in WEIGHTS.items()}
    caption = {"clip_model": demo_model(root), "trigger_words": "ohwx"}
    workspace = {"base_dir": "base", "fps": 2.0, "caption": caption, "export": {"resolution": 384}, **models}
    project = Project(root, {"lora": {"workspaces": {"w": workspace}}}, ("lora", "workspaces", "w"))
    project.write_config()
    return project


def new_autotag(root: Path) -> Project:
    """Two shards, and a folder with an odd name."""
    (root / "data").mkdir(parents=True)
    project = drawn_autotag(root, images=40, shards=2, targets=10)
    (root / "data/targets/evening").rename(root / "data/targets" / ODD)
    project.write_config(folders=[ODD])
    return project


# A later pipeline joins here.
CASES = {
    "people": Case(new_people, {"people_02_embed": 1}, {"people_02_embed"}, {"threshold": 0.97}),
    "retrieval": Case(
        new_retrieval,
        {"retrieval_00_inventory": 1, "retrieval_03_embed": 1, "retrieval_04_retrieve": 1, "retrieval_06_hf_dataset": 1},
        {"retrieval_03_embed"},
        {"concept_frac": 0.5},
    ),
    "predict": Case(new_predict, {"predict_02_embed": 2}, {"predict_02_embed"}, {"crop": {"path": "crop.pt", "min_side": 0.2}}),
    "lora": Case(
        new_lora,
        {"lora_01_frames": 1, "lora_02_pose": 1, "lora_03_mask": 1, "lora_04_measure": 1},
        {"lora_02_pose", "lora_03_mask"},
        {"score": {"min_sharpness": 55.0}},
    ),
    "autotag": Case(
        new_autotag,
        {
            "autotag_01_segment_embed_source": 2,
            "autotag_02_train_index": 1,
            "autotag_03_add_block": 2,
            "autotag_04_merge_index": 1,
            "autotag_05_segment_target": 1,
            "autotag_06_embed_target": 1,
            "autotag_07_search_target": 1,
        },
        {"autotag_01_segment_embed_source", "autotag_05_segment_target", "autotag_06_embed_target", "autotag_07_search_target"},
        {"vote": {"min_votes": 2, "relax_small": False}},
    ),
}


@dataclass(frozen=True)
class Pair:
    """The same project run locally and on the cluster, in folders of the same path one after the other; what Snakemake said."""

    local: Path
    clustered: Project
    output: str
    state: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def pairs(cluster: SlurmCluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    """All pipelines, run locally one after the other, and then on the cluster together."""
    root = tmp_path_factory.mktemp("pipelines")
    projects = {name: case.make(root / name) for name, case in CASES.items()}
    for name, project in projects.items():
        project.config.pop("device", None)  # auto, as on a cluster
        project.write_config()
        shutil.copytree(root / name, root / f"{name}-again", symlinks=True)
        project.run(name)
        (root / name).rename(root / f"{name}-local")
        (root / f"{name}-again").rename(root / name)
    outputs = {name: root / f"{name}.out" for name in projects}
    running = {}
    for name, project in projects.items():
        with outputs[name].open("wb") as handle:
            running[name] = subprocess.Popen(project.command(name, *ON_CLUSTER), cwd=project.root, stdout=handle, stderr=handle)
    found = {}
    for name, process in running.items():
        text = "" if process.wait(timeout=1200) else outputs[name].read_text()
        assert text, outputs[name].read_text()[-6000:]
        state = {job: about(cluster, job) for job in submitted(text)}
        found[name] = Pair(root / f"{name}-local", projects[name], text, state)
    return found


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    """Each pipeline."""
    return CASES[request.param]


@pytest.fixture
def pair(request: pytest.FixtureRequest, pairs: dict[str, Pair]) -> Pair:
    """Its two runs."""
    return pairs[request.node.callspec.params["case"]]


def content(path: Path) -> bytes:
    """What stands in a file, without when it was made: of a database all its tables."""
    if path.suffix == ".db":
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            return "\n".join(line for line in connection.iterdump() if "'created_at'" not in line).encode()
    if path.suffix == ".jsonl":  # by time
        return b"\n".join(sorted(TIMES.sub(b"", path.read_bytes()).splitlines()))
    return TIMES.sub(b"", path.read_bytes()) if path.suffix == ".json" else path.read_bytes()


def files(root: Path) -> dict[str, bytes]:
    """All that a run made, by path: results, the published copy and its manifests."""
    made = [path for name in ("results", "clean", "manifests") for path in (root / name).rglob("*") if path.is_file()]
    kept = [path for path in made if path.name != ".snakemake_timestamp" and not DATED.search(path.as_posix())]
    return {str(path.relative_to(root)): content(path) for path in kept}


def test_the_results_are_those_of_a_local_run_to_the_byte(case: Case, pair: Pair) -> None:
    local, clustered = files(pair.local), files(pair.clustered.root)
    assert len(local) > 8
    assert clustered.keys() == local.keys()
    assert {name for name in local if clustered[name] != local[name]} == set()
    assert pair.clustered.planned() == set()


def test_rules_with_a_model_run_where_gpus_are_with_one_each(case: Case, pair: Pair) -> None:
    jobs = list(pair.state.values())
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    with_gpu = [job for job in jobs if job.get("TresPerJob") == "gres:gpu:1"]
    assert {job["rule"] for job in with_gpu} == case.gpu
    assert {(job["Partition"], job["NumCPUs"]) for job in with_gpu} == {("gpu", "8")}
    assert {job["MinMemoryNode"] for job in with_gpu} <= {"8000M", "16000M"}
    assert {job["Partition"] for job in jobs if job not in with_gpu} <= {"cpu"}
    assert not any("TresPerJob" in job for job in jobs if job not in with_gpu)


def test_light_rules_run_on_the_head_node(case: Case, pair: Pair) -> None:
    rules = [job["rule"] for job in pair.state.values()]
    assert {rule: rules.count(rule) for rule in rules} == case.jobs
    said = set(re.findall(r"^localrule (\w+):$", pair.output, re.MULTILINE))
    assert len(said) > 3
    assert not said & set(rules)


def test_odd_names_reach_no_path_of_slurm(case: Case, pair: Pair) -> None:
    for job in pair.state.values():
        place = Path(job["StdOut"]).relative_to(pair.clustered.root / ".snakemake/slurm_logs")
        assert re.fullmatch(r"rule_\w+/[A-Za-z0-9._-]*/?\d+\.log", str(place)), place
    assert str(pair.clustered.root) in json.dumps(pair.state)


def test_another_threshold_makes_no_job(case: Case, pair: Pair, cluster: SlurmCluster) -> None:
    project = pair.clustered
    before = cluster.jobs("--states=all")
    project.write_config(**case.decision)
    text = project.run(project.place[0], *ON_CLUSTER).stdout
    assert re.search(r"^localrule \w+_\d\d_\w+:$", text, re.MULTILINE), "nothing was decided anew"
    assert not submitted(text)
    assert not cluster.jobs("--states=all", "--name", run_ids(text)[0])
    assert cluster.jobs("--states=all") == before
