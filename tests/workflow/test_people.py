"""The people pipeline as a user runs it: what it decides, what it publishes, what a change reruns, what new images cost."""

import csv
import io
import json
import os
import shutil
import zlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.workflow.conftest import REPO, Project, digest_tree, new_project
from workflow_scripts.demo.drawing import draw_scene, rng_for
from workflow_scripts.demo.people_data import draw

SCENES = 60
FROM_DECIDE = {"people_04_decide", "people_05_merge", "people_06_publish", "people_07_report"}
FROM_SCORE = FROM_DECIDE | {"people_03_score"}
FROM_EMBED = FROM_SCORE | {"people_02_embed"}
ALL = FROM_EMBED | {"people_01_list"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with the drawn set, run once in two shards."""
    root = tmp_path_factory.mktemp("people") / "project"
    project = new_project(root, lambda folder: draw(folder, folder.parent / "truth.csv", SCENES, seed=11) and None)
    before = digest_tree(root / "photos")
    project.run()
    assert digest_tree(root / "photos") == before, "the source was touched"
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project, to change."""
    return finished.copy_to(tmp_path / "copy")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def truth(project: Project) -> dict[str, dict[str, str]]:
    return {row["key"]: row for row in rows(project.root / "truth.csv")}


def test_every_file_has_the_outcome_that_it_was_drawn_for(finished: Project) -> None:
    expected = truth(finished)
    aggregate = finished.results / "05_merge/aggregate"
    removed, kept, errors = (rows(aggregate / f"{name}_all.csv") for name in ("removed", "kept", "errors"))
    keys = [row["s3_key"] for table in (removed, kept, errors) for row in table]
    assert sorted(keys) == sorted(key for key, row in expected.items() if row["expected"] != "skipped")
    texts = {row["s3_key"]: row["error"] for row in errors}
    assert texts == {
        "damaged/bomb.png": "decode: too large",
        "damaged/empty.jpg": "decode: empty file",
        "damaged/text.jpg": "decode: not an image",
        "damaged/truncated.jpg": "decode: truncated",
        "damaged/truncated.png": "decode: truncated",
    }
    # The drawings and the weights are toys: what this holds is that scores mean something, from the file to the table.
    with_people = {key for key, row in expected.items() if int(row["people"]) > 0}
    right = sum((row["s3_key"] in with_people) for row in removed) + sum((row["s3_key"] not in with_people) for row in kept)
    assert right / (len(removed) + len(kept)) >= 0.9


def test_tables_are_sorted_and_follow_the_threshold(finished: Project) -> None:
    aggregate = finished.results / "05_merge/aggregate"
    for name, holds in (("removed", lambda p: p >= 0.5), ("kept", lambda p: p < 0.5)):
        table = rows(aggregate / f"{name}_all.csv")
        order = [(-float(row["people_prob"]), row["s3_key"]) for row in table]
        assert table
        assert order == sorted(order)
        assert all(holds(float(row["people_prob"])) for row in table)
    removed = rows(aggregate / "removed_all.csv")
    lines = (aggregate / "removed_all_image_ids.txt").read_text().split("\n")
    assert lines[-1] == ""
    assert len(lines) - 1 == len(removed)
    assert b"\r" not in (aggregate / "kept_all.csv").read_bytes()


def test_shards_hold_their_own_keys_and_sum_up(finished: Project) -> None:
    for shard in range(2):
        folder = finished.results / f"04_decide/shard-{shard:04d}-of-0002"
        for name in ("removed.csv", "kept.csv", "errors.csv"):
            assert all(zlib.crc32(row["s3_key"].encode()) % 2 == shard for row in rows(folder / name))
    table = pq.read_table(finished.results / "02_embed/shard-0000-of-0002.parquet").to_pylist()
    assert all((row["embedding"] is None) != (row["error"] is None) for row in table)
    assert {len(row["embedding"]) for row in table if row["embedding"]} == {512}


def test_the_published_copy_is_the_kept_images_byte_for_byte(finished: Project) -> None:
    kept = {row["s3_key"] for row in rows(finished.results / "05_merge/aggregate/kept_all.csv")}
    published = digest_tree(finished.root / "clean")
    source = digest_tree(finished.root / "photos")
    assert published == {key: source[key] for key in kept}
    receipt = pq.read_table(finished.results / "06_publish/receipt.parquet").to_pylist()
    assert {row["key"] for row in receipt if row["kind"] == "image"} == kept
    manifests = {str(path.relative_to(finished.root / "manifests")) for path in (finished.root / "manifests").rglob("*") if path.is_file()}
    assert manifests == {row["key"] for row in receipt if row["kind"] == "manifest"}
    assert {"r/aggregate/removed_all.csv", "r/shard-0001-of-0002/run_metadata.json"} <= manifests


def test_one_and_four_shards_give_the_same_bytes_and_read_nothing_again(finished: Project) -> None:
    # In the finished project itself and in no copy, since the cache knows files by where they lie.
    expected = finished.aggregate()
    try:
        for count in (1, 4):
            finished.write_config(shard_count=count)
            finished.run()
            assert finished.aggregate() == expected
            logs = [path.read_text() for path in (finished.root / "logs/people/r/02_embed").glob(f"*-of-{count:04d}.log")]
            assert len(logs) == count
            assert all("read=0 decoded=0 encoded=0 forwards=0" in text for text in logs)
        assert {path.name for path in (finished.root / "manifests/r").iterdir()} == {"aggregate"} | {
            f"shard-{n:04d}-of-0004" for n in range(4)
        }
        finished.write_config(shard_count=1)
        finished.run()
        published = {path.name for path in (finished.root / "manifests/r").iterdir()}
        assert {"removed.csv", "run_metadata.json", "shard-0000-of-0001", "aggregate"} <= published
        assert not any("of-0004" in name for name in published)
    finally:
        finished.write_config(shard_count=2)
        finished.run()


def test_new_images_are_the_only_ones_read(finished: Project) -> None:
    added = [finished.root / f"photos/new/{number}.jpg" for number in range(10)]
    try:
        for number, path in enumerate(added):
            path.parent.mkdir(exist_ok=True)
            draw_scene(rng_for(3, "new", str(number)), (200, 150)).image.save(path)
        assert finished.planned() == ALL
        finished.run()
        done = finished.counts("02_embed")
        assert (done["read"], done["decoded"], done["encoded"]) == (10, 10, 10)
        assert finished.counts("06_publish")["copied"] <= 10
        kept_or_removed = {
            row["s3_key"] for name in ("kept", "removed") for row in rows(finished.results / f"05_merge/aggregate/{name}_all.csv")
        }
        assert {f"new/{number}.jpg" for number in range(10)} <= kept_or_removed
    finally:
        shutil.rmtree(finished.root / "photos/new", ignore_errors=True)
        finished.run()
        assert finished.counts("02_embed")["read"] == 0


def test_nothing_to_do_after_a_run(project: Project) -> None:
    assert project.planned() == set()
    assert "Nothing to be done" in project.run().stdout


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"threshold": 0.7}, FROM_DECIDE),
        ({"prompts": {"positive": ["a person"]}}, FROM_SCORE | {"people_03_prompts"}),
        ({"negative_mode": "max"}, FROM_SCORE),
        ({"logit_scale": 50.0}, FROM_SCORE),
        ({"views": "pad"}, FROM_EMBED),
        ({"shard_count": 3}, ALL),
        ({"max_images": 20}, ALL),
        ({"dry_run": True}, {"people_06_publish"}),
        ({"destination": "elsewhere"}, {"people_06_publish"}),
        ({"batch_size": 4}, set()),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_a_changed_setting_reruns_what_depends_on_it(project: Project, change: dict[str, object], expected: set[str]) -> None:
    project.write_config(**change)
    assert project.planned() == expected


def test_other_weights_rerun_from_the_embedding(project: Project) -> None:
    weights = project.root / "model/open_clip_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    import hashlib

    model = project.config["people"]["runs"]["r"]["model"] | {"sha256": hashlib.sha256(data).hexdigest()}
    project.write_config(model=model)
    assert project.planned() == FROM_EMBED | {"models_01_clip", "people_03_prompts"}


def test_touched_weights_and_machine_settings_rerun_nothing(project: Project) -> None:
    os.utime(project.root / "model/open_clip_model.safetensors")
    for card in (project.root / "resources/models/cards").iterdir():
        os.utime(card)
    project.config |= {"device": "auto", "cache_root": "another-cache"}
    project.write_config()
    assert project.planned() == set()


def test_decode_mode_reruns_the_embedding(project: Project) -> None:
    project.config["images"] = {"decode": "full"}
    project.write_config()
    assert project.planned() == FROM_EMBED


def test_checked_out_or_edited_scripts_rerun_nothing(project: Project, tmp_path: Path) -> None:
    clone = tmp_path / "repo"
    names = ("Snakefile", "rules", "config", "profiles", "workflow_scripts", "pyproject.toml")
    for name in names:
        copy = shutil.copytree if (REPO / name).is_dir() else shutil.copy
        copy(REPO / name, clone.mkdir(exist_ok=True) or clone / name)  # type: ignore[operator]
    for script in (clone / "workflow_scripts").rglob("*.py"):
        script.write_text(script.read_text() + "\n# An edit that changes no result.\n")
    assert project.planned(snakefile=clone / "Snakefile") == set()


def test_a_review_overrides_the_model_and_reruns_the_decision(project: Project) -> None:
    kept = rows(project.results / "05_merge/aggregate/kept_all.csv")[0]
    review = project.root / "reviews/people/r/decide.csv"
    review.parent.mkdir(parents=True)
    with review.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["sha256", "path", "decision", "reason"])
        writer.writerow([kept["sha256"], kept["s3_key"], "remove", "a hand in the corner"])
        writer.writerow(["0" * 64, "gone.jpg", "keep", ""])
    assert project.planned() == FROM_DECIDE
    project.run()
    removed = {row["s3_key"]: row["reason"] for row in rows(project.results / "05_merge/aggregate/removed_all.csv")}
    assert removed[kept["s3_key"]] == "human"
    assert "not applied, no such image now: " + "0" * 64 in (project.root / "logs/people/r/04_decide.log").read_text()


def test_an_exclusion_list_made_by_another_run_is_honoured(project: Project) -> None:
    removed = (project.results / "05_merge/aggregate/removed_all.csv").read_bytes()
    count = len(list(csv.DictReader(io.StringIO(removed.decode()))))
    (project.root / "leave-out.csv").write_bytes(removed)
    project.write_config(exclude=[{"csv": "leave-out.csv", "by": "sha256"}])
    assert project.planned() == FROM_DECIDE
    project.run()
    counts = project.counts("04_decide")
    assert (counts["removed"], counts["excluded"]) == (0, count)


def test_changed_threshold_moves_exactly_the_images_between(project: Project) -> None:
    before = {
        row["s3_key"]: float(row["people_prob"])
        for name in ("kept", "removed")
        for row in rows(project.results / f"05_merge/aggregate/{name}_all.csv")
    }
    threshold = sorted(before.values())[len(before) // 3]
    project.write_config(threshold=threshold, prune=True, prune_max_fraction=1.0)
    project.run()
    removed = {row["s3_key"] for row in rows(project.results / "05_merge/aggregate/removed_all.csv")}
    assert removed == {key for key, prob in before.items() if prob >= threshold}
    assert set(digest_tree(project.root / "clean")) == set(before) - removed
    assert "people_02_embed" not in project.planned("people", "people_verify")


def test_verification_and_removal_plan(project: Project) -> None:
    project.run("people_verify", "people_removal_plan")
    assert (project.results / "06_publish/verification.json").is_file()
    victim = next(path for path in (project.root / "clean").rglob("*") if path.is_file())
    victim.write_bytes(b"altered")
    failed = project.run("people_verify", check=False)
    assert failed.returncode != 0
    assert f"{victim.relative_to(project.root / 'clean')}: changed" in failed.stdout
    planned = {row["s3_key"] for row in rows(project.results / "06_removal_plan/plan.csv")}
    assert planned == {row["s3_key"] for row in rows(project.results / "05_merge/aggregate/removed_all.csv")}


def test_a_missing_shard_table_is_made_again_not_skipped(finished: Project, project: Project) -> None:
    table = "results/people/r/04_decide/shard-0001-of-0002/kept.csv"
    before = (project.root / table).read_bytes().replace(finished.root.as_uri().encode(), project.root.as_uri().encode())
    (project.root / table).unlink()
    project.run(table)
    assert (project.root / table).read_bytes() == before


@pytest.mark.parametrize("target", ["people", "people_removal_plan", "people_labelling"])
@pytest.mark.parametrize("lost", ["01_list", "02_embed", "03_score", "04_decide"])
def test_what_a_failed_job_left_out_is_made_by_the_next_run(project: Project, lost: str, target: str) -> None:
    # Snakemake has removed the outputs of a job that fails, while those of an earlier run stand behind it.
    shutil.rmtree(project.results / lost)
    assert {f"people_{lost}", "people_04_decide", "people_05_merge"} <= project.planned(target)


def test_a_replaced_weights_file_is_noticed(project: Project) -> None:
    weights = project.root / "model/open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    project.write_config(prompts={"positive": ["a person"]})
    failed = project.run(check=False)
    assert failed.returncode != 0
    assert "the file was replaced" in failed.stdout


def test_all_views_embed_and_score(project: Project) -> None:
    wide = draw_scene(rng_for(5, "wide"), (600, 200), people=0).image
    wide.save(project.root / "photos/wide.png")
    Image.new("RGB", (1, 300), "white").save(project.root / "photos/line.png")
    project.write_config(views="tiles")
    project.run()
    table = {
        row["key"]: row
        for shard in range(2)
        for row in pq.read_table(project.results / f"02_embed/shard-{shard:04d}-of-0002.parquet").to_pylist()
    }
    assert table["wide.png"]["views"] == 3
    assert len(table["wide.png"]["embedding"]) == 3 * 512
    assert table["line.png"]["views"] == 3


# ---- pages ----


def test_the_page_shows_every_image_once_from_the_decode_that_its_embedding_took(finished: Project) -> None:
    page = (finished.results / "07_report/data.js").read_text()
    for row in rows(finished.results / "05_merge/aggregate/errors_all.csv"):
        assert row["error"] in page
    counts = finished.counts("07_report")
    scanned = len(truth(finished)) - 2
    assert (counts["rows"], counts["shown"], counts["fetched"], counts["missing"]) == (scanned, scanned, 0, 0)
    assert counts["thumbnails"] == scanned - 5


def test_the_page_is_the_same_to_the_byte_when_its_thumbnails_have_to_be_fetched(project: Project, finished: Project) -> None:
    shutil.rmtree(project.root / "cache/thumbnails")
    shutil.rmtree(project.results / "07_report")
    assert project.planned() == {"people_07_report"}
    project.run()
    assert project.counts("07_report")["fetched"] > SCENES
    before, after = digest_tree(finished.results / "07_report"), digest_tree(project.results / "07_report")
    same = {name for name in before if name.endswith((".html", ".js", ".css")) and before[name].split()[0] == after[name].split()[0]}
    assert before.keys() == after.keys()
    assert {"index.html", "page.js", "page.css"} <= same


def test_labels_are_an_input_and_the_report_says_what_they_tell(project: Project) -> None:
    project.run("people_labelling")
    assert project.counts("07_labelling")["rows"] == min(400, project.counts("07_report")["shown"] - 5)
    known = {row["key"]: int(int(row["people"]) > 0) for row in truth(project).values() if row["expected"] == "scanned"}
    place = project.root / "reviews/people/r/labels.csv"
    place.parent.mkdir(parents=True)
    place.write_text("key,label\n" + "".join(f'"{key}",{label}\n' for key, label in known.items() if '"' not in key))
    assert project.planned() == {"people_07_calibrate", "people_07_report"}
    project.run()
    found = json.loads((project.results / "07_calibration/calibration.json").read_text())
    removed = {row["s3_key"] for row in rows(project.results / "05_merge/aggregate/removed_all.csv")}
    labelled = {key: label for key, label in known.items() if '"' not in key}
    assert found["current"]["tp"] == sum(labelled[key] for key in removed & labelled.keys())
    assert found["current"]["fn"] == sum(label for key, label in labelled.items() if key not in removed)
    assert "What the labels tell" in (project.results / "07_report/index.html").read_text()
    project.write_config(threshold=0.6)
    assert project.planned() == FROM_DECIDE | {"people_07_calibrate"}
