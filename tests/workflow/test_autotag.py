"""The autotag pipeline as a user runs it: plans, accounts, what reruns, reviews, kills."""

import csv
import json
import os
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.workflow.autotag_project import STEPS, AutotagProject, new_autotag
from tests.workflow.conftest import REPO, digest_tree
from tests.workflow.test_faults import jobs_of, started, wait_for
from workflow_scripts.core.tables import about, read

pytest.importorskip("faiss")
pytest.importorskip("ultralytics")

RETRAINED = set(STEPS[1:4]) | set(STEPS[6:])
SEARCHED = set(STEPS[6:])
JUDGED = set(STEPS[7:])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> AutotagProject:
    """Two shards in a block each, and two folders, run once; tests leave it as it was."""
    project = new_autotag(tmp_path_factory.mktemp("autotag") / "p")
    before = digest_tree(project.root / "data")
    project.run()
    assert digest_tree(project.root / "data") == before, "sources are only ever read"
    return project


@pytest.fixture
def work(finished: AutotagProject, tmp_path: Path) -> AutotagProject:
    """A copy of it, to change."""
    return finished.copy_to(tmp_path / "copy")


def planned_jobs(project: AutotagProject, *arguments: str) -> Counter[str]:
    """How many jobs of each rule would run."""
    text = project.run(*(arguments or ("autotag",)), "-n").stdout
    return Counter(re.findall(r"^(?:local)?rule (autotag_\w+):$", text, re.MULTILINE))


# ---- plans ----


def test_ten_thousand_shards_are_planned_as_some_hundred_jobs_without_a_look_at_them(tmp_path: Path) -> None:
    source = {"dataset": "/not/here", "end_shard": 10_000}
    segmenter = {"backend": "fastsam", "weights": "FastSAM-s.pt"}
    project = AutotagProject(tmp_path, {"watch_sources": False, "autotag": {"source": source, "segmenter": segmenter}}, ("autotag", "", ""))
    project.write_config()
    jobs = planned_jobs(project, "build_index")
    assert jobs["autotag_01_segment_embed_source"] == jobs["autotag_03_add_block"] == 157
    assert jobs["autotag_02_train_index"] == jobs["autotag_04_merge_index"] == 1


@pytest.mark.parametrize(
    ("target", "steps"),
    [
        ("segment_source", STEPS[:1]),
        ("embed_source", STEPS[:1]),
        ("build_index", STEPS[:4]),
        ("segment_target", STEPS[4:5]),
        ("embed_target", STEPS[4:6]),
        ("tag_target", STEPS[:8]),
        ("process_target", STEPS),
        ("autotag", STEPS),
    ],
)
def test_targets_under_the_names_of_the_old_plan(finished: AutotagProject, tmp_path: Path, target: str, steps: tuple[str, ...]) -> None:
    fresh = AutotagProject(tmp_path, json.loads(json.dumps(finished.config)), finished.place)
    for name in ("data", "model"):
        (tmp_path / name).symlink_to(finished.root / name)
    fresh.write_config()
    assert set(planned_jobs(fresh, target)) == set(steps)


def test_a_pipeline_without_a_source_says_what_to_name(tmp_path: Path) -> None:
    project = AutotagProject(tmp_path, {"autotag": {}}, ("autotag", "", ""))
    project.write_config()
    done = project.run("autotag", "-n", check=False)
    assert done.returncode
    assert "autotag.source.dataset is empty: name the folder with the shards" in done.stdout


# ---- what a run leaves ----


def test_every_sample_of_the_source_is_accounted_for(finished: AutotagProject) -> None:
    for shard in ("00000", "00001"):
        rows = read(finished.results / f"01_source/embeddings/images_{shard}.parquet")
        assert {row["outcome"] for row in rows} <= {"embedded", "error", "absent"}
        assert all(row["reason"] for row in rows if row["outcome"] != "embedded")
        assert len({row["key"] for row in rows}) == len(rows)
        segments = read(finished.results / f"01_source/embeddings/metadata_{shard}.parquet")
        crops = Counter(row["key"] for row in segments)
        assert crops == {row["key"]: row["crops"] for row in rows if row["outcome"] == "embedded"}
        shown = json.loads((finished.results / f"01_source/embeddings/metadata_{shard}.json").read_text())
        assert [row["crop_id"] for row in shown] == [row["crop_id"] for row in segments]
        assert {tuple(row)[:6] for row in shown} == {("key", "bbox", "area", "label", "vlm_tags", "crop_id")}
    # The last one breaks off, which the standard library's reader passes over in silence.
    assert any("tar" in str(row["reason"]) for row in rows if row["outcome"] == "error")


def test_every_image_of_a_folder_has_tags_or_a_reason(finished: AutotagProject) -> None:
    with (finished.root / "data/truth.csv").open(encoding="utf-8", newline="") as handle:
        truth = [row for row in csv.DictReader(handle) if row["side"] == "target"]
    for folder in ("evening", "market"):
        kinds = {row["image"]: row["kind"] for row in truth if row["folder"] == folder}
        rows = read(finished.results / f"targets/{folder}/segmentation/images.parquet")
        assert {row["image"] for row in rows} == {image for image, kind in kinds.items() if kind != "skipped"}
        assert {row["image"] for row in rows if row["outcome"] == "error"} == {image for image, kind in kinds.items() if kind == "error"}
        tags = finished.tags(folder)
        assert list(tags) == [row["image"] for row in rows if row["outcome"] != "error"]
        assert sum(map(bool, tags.values())) >= 0.9 * len(tags)
        assert (finished.results / f"targets/{folder}/report/index.html").is_file()


def test_an_image_that_the_source_has_too_gets_no_vote_from_itself(finished: AutotagProject) -> None:
    neighbours = read(finished.results / "targets/evening/neighbours.parquet")
    copy = [row for row in neighbours if row["image"] == "from the source.jpg"]
    own = {f"{row['neighbour_shard']}/{row['neighbour_key']}" for row in copy if row["sha256"] == row["neighbour_sha256"]}
    assert len(own) == 1
    assert max(row["similarity"] for row in copy) > 0.99
    candidates = read(finished.results / "targets/evening/candidates.parquet")
    voters = {voter for row in candidates if row["image"] == "from the source.jpg" for voter in row["neighbours"]}
    assert voters
    assert not voters & own


def test_blocks_of_another_size_give_the_same_index_rows_and_tags(finished: AutotagProject, tmp_path: Path) -> None:
    other = AutotagProject(tmp_path, json.loads(json.dumps(finished.config)), finished.place)
    for name in ("data", "model"):
        (tmp_path / name).symlink_to(finished.root / name)
    other.write_config(source={"block_shards": 64}, target_dataset=None, targets={"evening": "data/targets/evening"})
    other.run("tag_target")
    same = ["04_index/id_to_tags.parquet", "04_index/id_to_tags.json", "04_index/index.faiss"]
    same += [f"targets/evening/{name}" for name in ("neighbours.parquet", "candidates.parquet", "tags.parquet", "tags.json")]
    same += [f"01_source/embeddings/{kind}_00000.{end}" for kind, end in (("embeddings", "npy"), ("metadata", "json"))]
    assert [name for name in same if (other.results / name).read_bytes() != (finished.results / name).read_bytes()] == []


# ---- what reruns ----


def test_a_second_run_does_nothing(finished: AutotagProject) -> None:
    assert planned_jobs(finished) == Counter()


@pytest.mark.parametrize(
    ("changed", "rules"),
    [
        ({"vote": {"min_votes": 2}}, JUDGED),
        ({"vote": {"weighting": "idf"}}, JUDGED),
        ({"vote": {"min_similarity": 0.5}}, JUDGED),
        ({"vote": {"aliases": {"man": "person"}}}, JUDGED),
        ({"faiss": {"k": 5}}, JUDGED),
        ({"faiss": {"k_max": 20}}, SEARCHED),
        ({"faiss": {"nprobe": 2}}, SEARCHED | {STEPS[3]}),
        ({"faiss": {"train_label": "2"}}, RETRAINED),
        ({"faiss": {"train_shards": [0]}}, RETRAINED),
        ({"faiss": {"batch": 7}}, set()),
        ({"clip": {"batch_clips": 4}}, set()),
        ({"segmenter": {"batch_images": 2}}, set()),
        ({"segmenter": {"min_area": 99}}, set(STEPS) - {STEPS[1]}),
    ],
    ids=lambda value: ".".join(f"{group}.{name}" for group, names in value.items() for name in names) if isinstance(value, dict) else "",
)
def test_a_changed_setting_reruns_what_depends_on_it_and_nothing_before(
    finished: AutotagProject, changed: dict[str, Any], rules: set[str]
) -> None:
    before = json.loads(json.dumps(finished.config))
    try:
        finished.write_config(**changed)
        assert set(planned_jobs(finished)) == rules
    finally:
        finished.config = before
        finished.write_config()


def test_other_votes_touch_votes_and_pages_alone(work: AutotagProject) -> None:
    before = digest_tree(work.results)
    work.write_config(vote={"min_votes": 2, "relax_small": False})
    work.run()
    after = digest_tree(work.results)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed
    assert all(re.match(r"targets/\w+/(candidates\.parquet|tags\.(parquet|json)|report/)", name) for name in changed)


def test_a_new_shard_embeds_itself_and_adds_its_own_block(work: AutotagProject) -> None:
    for folder, end in (("source", "tar"), ("source", "parquet"), ("tags", "json")):
        shutil.copy(work.root / f"data/{folder}/00000.{end}", work.root / f"data/{folder}/00007.{end}")
    jobs = planned_jobs(work)
    once = {name: jobs[name] for name in STEPS[:4]}
    assert once == {STEPS[0]: 1, STEPS[1]: 0, STEPS[2]: 1, STEPS[3]: 1}
    trained, rows = (work.results / "02_index/trained.faiss").read_bytes(), json_of(work, "04_index/index_metadata.json")["rows"]
    work.run()
    assert (work.results / "02_index/trained.faiss").read_bytes() == trained
    assert planned_jobs(work) == Counter()
    new = json_of(work, "01_source/blocks/block_0007.json")["shards"][0]["rows"]
    assert json_of(work, "04_index/index_metadata.json")["rows"] == rows + new


def test_a_new_shard_in_an_old_block_embeds_itself_alone(work: AutotagProject) -> None:
    work.write_config(source={"block_shards": 64})
    work.run("segment_source")
    assert re.search(r"shards=2 known=2 ", log_of(work, "01_source/block_0000"))
    for folder, end in (("source", "tar"), ("source", "parquet"), ("tags", "json")):
        shutil.copy(work.root / f"data/{folder}/00000.{end}", work.root / f"data/{folder}/00007.{end}")
    work.run("segment_source")
    assert re.search(r"shards=3 known=2 ", log_of(work, "01_source/block_0000"))


def json_of(project: AutotagProject, path: str) -> dict[str, Any]:
    """A JSON file of the results."""
    found: dict[str, Any] = json.loads((project.results / path).read_text())
    return found


def search_logs(project: AutotagProject) -> str:
    """What the searches said: the first that fails keeps others from being tried."""
    return "".join(log_of(project, f"{folder}/07_search_target") for folder in ("evening", "market"))


def log_of(project: AutotagProject, step: str) -> str:
    """The log of a job."""
    return (project.root / f"logs/autotag/{step}.log").read_text()


# ---- people ----


def test_reviews_reject_and_add_tags_and_reach_no_other_folder(work: AutotagProject) -> None:
    image, tags = next((image, tags) for image, tags in work.tags("evening").items() if tags)
    sha256 = next(row["sha256"] for row in read(work.results / "targets/evening/segmentation/images.parquet") if row["image"] == image)
    review = work.root / "reviews/autotag/evening/vote.csv"
    review.parent.mkdir(parents=True)
    lines = [["sha256", "path", "decision", "reason", "tag"]]
    lines += [[sha256, f"{image} → {tags[0]}", "reject", "", ""], [sha256, image, "add", "", "a <new> tag"]]
    with review.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows(lines)
    others = digest_tree(work.results / "targets/market")
    assert planned_jobs(work) == {"autotag_08_vote": 1, "autotag_09_report": 1}
    work.run()
    now = work.tags("evening")[image]
    assert tags[0] not in now
    assert "a <new> tag" in now
    assert digest_tree(work.results / "targets/market") == others


# ---- trouble ----


def test_a_kill_in_the_middle_of_the_source_ends_with_the_same_bytes(finished: AutotagProject, tmp_path: Path) -> None:
    killed = AutotagProject(tmp_path, json.loads(json.dumps(finished.config)), finished.place)
    for name in ("data", "model"):
        (tmp_path / name).symlink_to(finished.root / name)
    killed.write_config(source={"block_shards": 64})
    tables = killed.results / "01_source/embeddings"
    with started(killed, "segment_source") as process:
        wait_for(lambda: (tables / "images_00000.parquet").is_file())
        for job in jobs_of(process, "source.py"):
            job.kill()
        process.kill()
    assert not (killed.results / "01_source/blocks/block_0000.json").exists()
    killed.run("--unlock")
    killed.run("segment_source")
    assert re.search(r"shards=2 known=1 ", log_of(killed, "01_source/block_0000"))
    names = sorted(path.name for path in (finished.results / "01_source/embeddings").iterdir() if path.suffix != ".parquet")
    assert len(names) == 4
    assert [name for name in names if (tables / name).read_bytes() != (finished.results / "01_source/embeddings" / name).read_bytes()] == []
    assert not [path for path in tables.iterdir() if path.name.endswith(".tmp")]


def test_an_index_of_another_model_is_refused(work: AutotagProject) -> None:
    path = work.results / "04_index/index_metadata.json"
    times = path.stat()
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | {"model": said["model"] | {"sha256": "0" * 64}}))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    done = work.run("tag_target", "--forcerun", "autotag_07_search_target", check=False)
    assert done.returncode
    logs = search_logs(work)
    assert re.search(r"embedded by tiny-clip-for-drawings|embedded by demo", logs)
    assert "(00000000, 512)" in logs
    assert "Traceback" not in logs


def test_a_gpu_that_is_asked_for_and_absent_is_an_error(work: AutotagProject) -> None:
    faiss = pytest.importorskip("faiss")
    if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0:
        work.write_config(faiss={"gpu": "replicate"})
        work.run("tag_target", "--forcerun", "autotag_07_search_target")
        return
    work.write_config(faiss={"gpu": "shard"})
    done = work.run("tag_target", "--forcerun", "autotag_07_search_target", check=False)
    assert done.returncode
    assert "gpu: shard was asked for, and this FAISS finds no GPU here" in search_logs(work)


def test_a_segmenter_without_its_sha256_prints_the_line_to_paste(work: AutotagProject) -> None:
    shutil.rmtree(work.root / "resources/models/cards")
    sha256 = work.config["autotag"]["segmenter"].pop("sha256")
    work.write_config()
    done = work.run("autotag", "-n", check=False)
    assert done.returncode
    assert f"    sha256: {sha256}" in done.stdout


def test_another_pipeline_plans_whatever_is_wrong_with_autotag(work: AutotagProject) -> None:
    work.write_config(source={"dataset": "gone"}, target_dataset="gone", segmenter={"weights": "gone.pt"})
    work.config["people"] = {"runs": {"r": {"source": "data/targets/market", "model": work.config["autotag"]["clip"]}}}
    work.write_config()
    assert "people_02_embed" in work.planned("people")


def test_what_stands_beside_a_table_says_what_made_it(finished: AutotagProject) -> None:
    said = about(finished.results / "targets/evening/embeddings/metadata_00000.parquet")["embedding"]
    trained = json_of(finished, "04_index/index_metadata.json")
    assert (
        said["model"]["sha256"]
        == trained["model"]["sha256"]
        == yaml.safe_load((REPO / "config/demo.yaml").read_text())["people"]["runs"]["demo"]["model"]["sha256"]
    )
    assert said["d"] == trained["d"] == 512
