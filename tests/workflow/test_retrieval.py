"""The retrieval pipeline as a user runs it: what it makes of every file, what a change reruns, what is the same to the byte."""

import csv
import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.workflow.conftest import Project, demo_model, digest_tree
from workflow_scripts.demo.retrieval_data import draw
from workflow_scripts.retrieval.records import read_records

SEED = 7
CATEGORIES = ["dog", "mug", "vase"]
FROM_COMBINE = {"retrieval_05_combine", "retrieval_06_hf_dataset"}
FROM_RETRIEVE = FROM_COMBINE | {"retrieval_04_retrieve", "retrieval_07_report"}
FROM_SPLITS = FROM_RETRIEVE | {"retrieval_02_splits"}
FROM_CATALOG = FROM_SPLITS | {"retrieval_01_catalog", "retrieval_07_images"}
RECORDS = "05_combine/all/seed_23/retrieval_top3_combined_all.json"
DATASET = "06_hf_dataset/d_all_test_subset_seed_23_K_3"


def new_retrieval(root: Path, **dataset: Any) -> Project:
    """A project with the drawn concept folders and the demo's model."""
    settings = {"data_root": "photos", "train_fraction": 0.6, "categories": CATEGORIES, "model": demo_model(root), "relative": True}
    draw(root / "photos", root / "truth.csv", 6, SEED)
    project = Project(root, {"device": "cpu", "retrieval": {"datasets": {"d": settings | dataset}}}, ("retrieval", "datasets", "d"))
    project.write_config()
    return project


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project run once."""
    project = new_retrieval(tmp_path_factory.mktemp("retrieval") / "project")
    before = digest_tree(project.root / "photos")
    project.run()
    assert digest_tree(project.root / "photos") == before, "the source was touched"
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project, to change."""
    return finished.copy_to(tmp_path / "copy")


def truth(project: Project) -> dict[str, dict[str, str]]:
    with (project.root / "truth.csv").open(encoding="utf-8", newline="") as handle:
        return {row["path"]: row for row in csv.DictReader(handle) if row["category"] in CATEGORIES}


def images(project: Project) -> dict[str, dict[str, Any]]:
    return {row["path"]: row for row in pq.read_table(project.results / "01_catalog/images.parquet").to_pylist()}


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def trees(project: Project) -> dict[str, str]:
    """The content of all results by name; the inventory is left out, since it holds the times of files."""
    files = [path for path in sorted(project.results.rglob("*")) if path.is_file() and path.name != ".snakemake_timestamp"]
    return {
        str(path.relative_to(project.results)): hashlib.sha256(path.read_bytes().replace(bytes(project.root), b"/project")).hexdigest()
        for path in files
        if "00_inventory" not in path.parts
    }


def test_every_file_has_the_outcome_that_it_was_drawn_for(finished: Project) -> None:
    expected, found = truth(finished), images(finished)
    assert {path for path in found if found[path]["category"]} == set(expected)
    assert [path for path, row in found.items() if not row["category"]] == ["in no category.jpg"]
    for path, row in expected.items():
        outcome, reason = found[path]["outcome"], found[path]["reason"]
        if row["kind"] == "unreadable":
            assert outcome == "error", path
            assert reason in ("decode: truncated", "decode: empty file"), path
        elif row["kind"] == "skipped":
            assert (outcome, reason) in {("skipped", "skipped: .txt"), ("skipped", "skipped: in no concept folder")}, path
        else:
            assert outcome in ("train", "test"), path
    catalog = read(finished.results / "01_catalog/catalog.json")
    assert list(catalog) == CATEGORIES
    listed = [path for concepts in catalog.values() for entry in concepts.values() for path in (*entry["train"], *entry["test"])]
    assert sorted(listed) == sorted(path for path, row in found.items() if row["outcome"] in ("train", "test"))


def test_comparisons_are_right_by_the_truth(finished: Project) -> None:
    expected = truth(finished)
    records = list(read_records(finished.results / RECORDS))
    queries = [path for path, row in images(finished).items() if row["outcome"] == "train"]
    metadata = [read(path) for path in sorted((finished.results / "04_retrieve").rglob("*_metadata.json"))]
    skipped = [entry["path"] for found in metadata for entry in found["skipped_queries"]]
    assert sorted([record.query_path for record in records] + skipped) == sorted(queries)
    assert {path.split("/")[0] for path in skipped} == {"dog", "vase"}, "one concept has one image; one category has two concepts"
    for record in records:
        concepts = [expected[path]["concept"] for path in record.ret_paths]
        assert len(record.ret_paths) == 3
        assert [index for index, concept in enumerate(concepts) if concept == record.concept] == [record.label]
        assert len(set(concepts)) == 3, "one image of each concept"
        assert {expected[path]["category"] for path in record.ret_paths} == {record.category}
        same = {path for path, row in expected.items() if row["group"] == expected[record.query_path]["group"]}
        assert not same & set(record.ret_paths), "a copy of the query"
    conflicts = [paths for found in metadata for entry in found["label_conflicts"] for paths in [entry["paths"]]]
    misplaced = {row["group"] for row in expected.values() if row["kind"] == "conflict"}
    assert all(any(expected[path]["group"] in misplaced for path in paths) for paths in conflicts)
    alike = sum(
        expected[path]["look_alike"] == expected[record.query_path]["look_alike"]
        for record in records
        if expected[record.query_path]["look_alike"]
        for index, path in enumerate(record.ret_paths)
        if index != record.label
    )
    asked = sum(bool(expected[record.query_path]["look_alike"]) for record in records)
    assert alike / asked > 0.5, "the look-alike is among the two hard negatives much more often than 2 of 5 by chance"


def test_the_dataset_holds_the_records(finished: Project) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.load_from_disk(str(finished.results / DATASET))["train"]
    records = list(read_records(finished.results / RECORDS))
    assert rows["ret_paths"][:] == [record.ret_paths for record in records]
    assert rows["solution"][:] == ["ABC"[record.label] for record in records]
    raw = rows.cast_column("image", datasets.Image(decode=False))
    for row, record in zip(raw, records, strict=True):
        assert row["image"]["bytes"] == (finished.root / "photos" / record.query_path).read_bytes()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, set()),
        ({"batch_size": 4}, set()),
        ({"top_k": [4]}, FROM_RETRIEVE),
        ({"positive": "easy"}, FROM_RETRIEVE),
        ({"negatives": "random"}, FROM_RETRIEVE),
        ({"negative_pool": "dataset"}, FROM_RETRIEVE),
        ({"duplicate_similarity": 0.9}, FROM_RETRIEVE),
        ({"seeds": [24]}, FROM_SPLITS),
        ({"retrieval_source": "train"}, FROM_RETRIEVE),
        ({"concept_frac": 0.5}, {"retrieval_02_splits", "retrieval_07_report"}),
        ({"num_samples": 5}, FROM_COMBINE),
        ({"train_fraction": 0.5}, FROM_CATALOG),
        ({"num_train": 2}, FROM_CATALOG),
        ({"catalog_seed": 1}, FROM_CATALOG),
        ({"category_names": {"dog": "hound"}}, {"retrieval_06_hf_dataset"}),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_change_reruns_what_depends_on_it_and_no_model(finished: Project, changed: dict[str, Any], expected: set[str]) -> None:
    before = json.loads(json.dumps(finished.config))
    try:
        finished.write_config(**changed)
        assert finished.planned() == expected
    finally:
        finished.config = before
        finished.write_config()


def test_other_settings_of_the_machine_rerun_nothing(project: Project) -> None:
    project.config |= {"cache_root": "elsewhere"}
    project.write_config()
    (project.root / "model/open_clip_model.safetensors").touch()
    assert project.planned("retrieval", "--cores", "1") == set()


def test_the_same_bytes_in_another_folder_in_another_order_on_one_core(finished: Project, tmp_path: Path) -> None:
    other = Project(tmp_path / "other", json.loads(json.dumps(finished.config)), finished.place)
    shutil.copytree(finished.root / "model", other.root / "model")
    for path in sorted((finished.root / "photos").rglob("*"), reverse=True):
        if path.is_file():
            target = other.root / "photos" / path.relative_to(finished.root / "photos")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    other.write_config()
    other.run("retrieval", "--cores", "1")
    found, expected = trees(other), trees(finished)
    assert len(expected) > 20
    assert {name for name in expected if expected[name] != found.get(name)} == set()
    assert found.keys() == expected.keys()


@pytest.mark.parametrize("lost", ["00_inventory", "03_embed", "04_retrieve"])
def test_what_a_failed_job_left_out_is_made_by_the_next_run(project: Project, lost: str) -> None:
    # Snakemake has removed the outputs of a job that fails, while those of an earlier run stand behind it.
    shutil.rmtree(project.results / lost / "mug" if lost == "04_retrieve" else project.results / lost)
    assert {f"retrieval_{lost}", "retrieval_05_combine", "retrieval_06_hf_dataset", "retrieval_07_report"} <= project.planned()


def test_a_new_concept_embeds_its_own_images_alone_and_moves_no_others(project: Project) -> None:
    before = read(project.results / "01_catalog/catalog.json")
    sides = read(project.results / "02_splits/seed_23/train_val_combined_metadata_seed_23.json")["categories"]["mug"]
    for number, path in enumerate(sorted((project.root / "photos/vase").rglob("*.jpg"))[:4]):
        target = project.root / f"photos/mug/a new one/{number}.jpg"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes() + b"\0")
    assert "retrieval_03_embed" in project.planned()
    text = project.run().stdout
    assert text.count("rule retrieval_03_embed:") == text.count("rule retrieval_00_inventory:") == 1, "one category is touched"
    embedded = project.root / "logs/retrieval/d/03_embed/mug.log"
    assert "encoded=4 " in embedded.read_text()
    after = read(project.results / "01_catalog/catalog.json")
    assert len(after["mug"].pop("a new one")["train"]) == 2
    assert after == before
    now = read(project.results / "02_splits/seed_23/train_val_combined_metadata_seed_23.json")["categories"]["mug"]
    assert len((set(sides["selected_concepts"]) ^ set(now["selected_concepts"])) - {"a new one"}) <= 1


def test_what_a_person_drops_stays_dropped_and_no_model_runs(project: Project) -> None:
    before = list(read_records(project.results / RECORDS))
    record, other = before[0], before[-1]
    negative = next(path for index, path in enumerate(record.ret_paths) if index != record.label)
    contents = {path: row["sha256"] for path, row in images(project).items()}
    folder = project.root / "reviews/retrieval/d"
    folder.mkdir(parents=True)
    with (folder / "retrieve.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["sha256", "path", "decision"])
        writer.writerow([contents[record.query_path], f"{record.query_path} → {negative}", "drop_pair"])
        some = other.ret_paths[(other.label + 1) % 3]
        writer.writerow([contents[other.query_path], f"{other.query_path} → {some}", "drop_query"])
    assert project.planned() == FROM_RETRIEVE
    project.run()
    after = {found.query_path: found for found in read_records(project.results / RECORDS)}
    assert negative not in after[record.query_path].ret_paths
    assert other.query_path not in after
    assert project.planned() == set()
    with (folder / "catalog.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([["sha256", "path", "decision"], [contents[negative], negative, "drop"]])
    assert project.planned() == FROM_CATALOG
    project.run()
    assert images(project)[negative]["outcome"] == "removed"
    assert not any(negative in (found.query_path, *found.ret_paths) for found in read_records(project.results / RECORDS))


def test_an_exclusion_list_of_people_is_honoured(project: Project) -> None:
    contents = {path: row["sha256"] for path, row in images(project).items() if row["outcome"] == "train"}
    chosen = sorted(contents)[0]
    (project.root / "removed_all.csv").write_text(f"image_id,s3_key,sha256\nx,other/place.jpg,{contents[chosen]}\n")
    project.write_config(exclude=[{"csv": "removed_all.csv"}])
    project.run("retrieval")
    excluded = [path for path, row in images(project).items() if row["outcome"] == "excluded"]
    assert chosen in excluded
    assert {contents.get(path, contents[chosen]) for path in excluded} == {contents[chosen]}
    assert not any(set(excluded) & {found.query_path, *found.ret_paths} for found in read_records(project.results / RECORDS))


def test_the_utilities_are_targets_of_their_own(project: Project) -> None:
    project.write_config(subset={"target": 9, "k": [2, 3], "prefix": "best", "cover_categories": False})
    project.run("retrieval_subset", "retrieval_concepts", "retrieval_analysis")
    metadata = read(project.results / "08_subset/seed_23/best_metadata.json")
    chosen = read(project.results / "08_subset/seed_23/train_combined_concepts_best_3_seed_23.json")
    counts = [len(entry["train"]) for concepts in chosen.values() for entry in concepts.values()]
    assert len(counts) == 3
    assert str(sum(counts)) in json.dumps(metadata)
    lines = (project.results / "08_subset/seed_23/best_2_best_list.txt").read_text().splitlines()
    assert len(lines) == 2
    concepts = list(csv.reader((project.results / "08_concepts/concepts.txt").open(newline="")))
    catalog = read(project.results / "01_catalog/catalog.json")
    assert concepts == [[category, name] for category, found in catalog.items() for name, entry in found.items() if entry["test"]]
    table = list(csv.DictReader((project.results / "08_analysis/analysis.csv").open(newline="")))
    assert int(table[-1]["train"]) == sum(len(entry["train"]) for found in catalog.values() for entry in found.values())
    assert (project.results / "08_analysis/analysis.svg").read_text().startswith("<svg")


def test_bad_input_is_named(project: Project, tmp_path: Path) -> None:
    def said(*arguments: str, **changed: Any) -> str:
        before = json.loads(json.dumps(project.config))
        project.write_config(**changed)
        done = project.run(*arguments, check=False)
        project.config = before
        project.write_config()
        assert done.returncode
        assert "Traceback (most recent call last)" not in done.stdout
        return done.stdout

    assert "there is no cat in photos; it has" in said("retrieval", "-n", categories=["mug", "cat"])
    assert "hf.category: there is no car; use all, or one of dog, mug, vase" in said("retrieval", "-n", hf={"category": "car"})
    assert "nowhere: no such file or directory" in said("retrieval", "-n", data_root="nowhere")
    (project.root / "empty").mkdir()
    assert "holds no category folder" in said("retrieval", "-n", data_root="empty", categories=None)
    text = said(top_k=[9])
    assert "negative_pool (category)" in text
    assert "lower top_k" in text
    catalog = project.results / "01_catalog/catalog.json"
    edited = read(catalog)
    edited["mug"]["red dots"]["train"].append("mug/red dots/not there.jpg")
    catalog.write_text(json.dumps(edited))
    text = said()
    assert "mug/red dots/not there.jpg" in text
    edited["mug"]["red dots"] = {"train": []}
    catalog.write_text(json.dumps(edited))
    assert "mug.red dots.test: Field required" in said()


def test_a_million_images_in_thousands_of_concepts_are_planned(tmp_path: Path) -> None:
    project = Project(
        tmp_path, {"retrieval": {"datasets": {"d": {"data_root": "photos", "model": demo_model(tmp_path)}}}}, ("retrieval", "datasets", "d")
    )
    for category in range(50):
        for concept in range(100):
            (tmp_path / f"photos/category {category:02d}/concept {concept:02d}").mkdir(parents=True)
    project.write_config(top_k=[3, 5], seeds=[1, 2])
    text = project.run("retrieval", "-n").stdout
    jobs = dict(line.split() for line in text.splitlines() if line.startswith("retrieval_") and len(line.split()) == 2)
    assert jobs["retrieval_03_embed"] == jobs["retrieval_00_inventory"] == "50"
    assert jobs["retrieval_04_retrieve"] == "200"
    assert jobs["retrieval_06_hf_dataset"] == jobs["retrieval_07_report"] == "4"
    picture = subprocess.run(
        project.command("retrieval", "--rulegraph", "mermaid-js"), cwd=tmp_path, text=True, capture_output=True, check=True
    ).stdout
    assert all(f"retrieval_{step}" in picture for step in ("00_inventory", "03_embed", "04_retrieve", "06_hf_dataset"))
