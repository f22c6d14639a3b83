"""The predict pipeline as a user runs it: what it decides, what stands in tables and databases, what a change reruns, what people keep."""

import csv
import hashlib
import json
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.workflow.conftest import REPO, digest_tree
from tests.workflow.predict_data import (
    ALPHA,
    BETA,
    CORES,
    DISTINCT,
    FILE_DATE,
    FILES,
    FOLDER,
    MEMBERS,
    READABLE,
    Batch,
    dump,
    execute,
    finished_batch,
    in_folder,
    picture,
    save_ranker,
    select,
)
from workflow_scripts.core.models import slug

torch = pytest.importorskip("torch")

PROJECTS = (ALPHA, BETA, FOLDER)
FROM_PREDICT = ("03_predict", "04_database", "05_validate", "06_report")
FROM_EMBED = ("02_embed", *FROM_PREDICT)
FROM_INVENTORY = ("01_inventory", *FROM_EMBED)
SUMMARY = ("06_summary", "")
USER = ("user_selected_index", "user_action", "final_crop_coords", "crop_timestamp", "selection_match", "crop_match", "ai_crop_accepted")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """Two zips with the same images and a folder, run once."""
    return finished_batch(tmp_path_factory.getbasetemp())


@pytest.fixture
def batch(finished: Batch, tmp_path: Path) -> Batch:
    """A copy of the finished batch, to change."""
    return finished.copy_to(tmp_path / "copy")


def of(steps: tuple[str, ...], *projects: str) -> set[tuple[str, str]]:
    """These steps of these projects, and the summary of all."""
    return {(step, slug(project)) for step in steps for project in projects} | {SUMMARY}


def plain(checkpoint: Path) -> Any:
    """What a checkpoint computes, layer by layer."""
    state = torch.load(checkpoint, weights_only=True)
    tensors = [tensor.double() for tensor in state.get("model_state_dict", state).values()]
    layers = list(zip(tensors[::2], tensors[1::2], strict=True))

    def forward(rows: Any) -> Any:
        for number, (weight, bias) in enumerate(layers):
            rows = rows @ weight.T + bias
            rows = torch.relu(rows) if number < len(layers) - 1 else rows
        return rows

    return forward


# ---- what a run gives ----


@pytest.mark.parametrize("project", PROJECTS)
def test_selections_and_crops_are_those_of_plain_torch(finished: Batch, project: str) -> None:
    embedded = {row["path"]: row for row in finished.rows("02_embed", project)}
    score, propose = plain(finished.root / "ranker_v3_w10.pt"), plain(finished.root / "crop.pt")
    groups = finished.rows("03_predict", project)
    assert len(groups) == {ALPHA: 4, BETA: 4, FOLDER: 2}[project]
    for row in groups:
        members = [embedded[f"{row['directory']}/{name}"] for name in row["images"]]
        assert row["sha256"] == [member["sha256"] for member in members]
        readable = [place for place, member in enumerate(members) if not member["error"]]
        assert [place for place, one in enumerate(row["scores"]) if one is not None] == readable
        if not readable:
            assert row["error"].startswith(f"read: none of 2 images can be used; {row['images'][0]}: decode: ")
            assert {row[name] for name in ("selected", "confidence", "margin", "crop", "width")} == {None}
            continue
        vectors = torch.nn.functional.normalize(torch.tensor(np.array([members[place]["embedding"] for place in readable])).double())
        scores = score(vectors)[:, 0]
        assert [row["scores"][place] for place in readable] == pytest.approx(scores.tolist(), abs=1e-5)
        best = int(scores.argmax())
        assert row["selected"] == readable[best]
        assert row["confidence"] == pytest.approx(float(scores.softmax(0)[best]), abs=1e-5)
        others = [value for place, value in enumerate(scores.tolist()) if place != best]
        assert row["margin"] == pytest.approx(float(scores[best]) - max(others), abs=1e-5)
        size = [members[row["selected"]]["width"], members[row["selected"]]["height"]]
        assert [row["width"], row["height"]] == size
        proposal = torch.sigmoid(propose(torch.cat([vectors[best], torch.tensor(size).double() / 10_000])))
        assert row["proposal"] == pytest.approx(proposal.tolist(), abs=1e-5)
        x1, y1, x2, y2 = row["crop"]
        assert 0 <= x1 < x2 <= 1
        assert 0 <= y1 < y2 <= 1
        assert row["repairs"] or row["crop"] == row["proposal"]
    selected = {row["selected"] for row in groups} - {None}
    assert len(selected) > 1 or project == FOLDER, "selections that differ, else any rule would do"


@pytest.mark.parametrize("project", PROJECTS)
def test_the_database_says_what_the_tables_say(finished: Batch, project: str) -> None:
    groups = finished.rows("03_predict", project)
    decided = [row for row in groups if row["selected"] is not None]
    assert finished.database(project) == finished.file("04_database", project, "db")
    rows = select(finished.database(project), "SELECT * FROM ai_decisions ORDER BY group_id")
    for row, known in zip(rows, sorted(decided, key=lambda row: row["group_id"]), strict=True):
        assert {name: row[name] for name in USER} == dict.fromkeys(USER)
        assert json.loads(row["images"]) == known["images"]
        assert json.loads(row["ai_crop_coords"]) == known["crop"]
        assert (row["project_id"], row["batch_number"]) == (project, None)
        same = {"group_id": "group_id", "timestamp": "timestamp", "directory": "directory", "ai_selected_index": "selected"}
        same |= {"ai_confidence": "confidence", "image_width": "width", "image_height": "height"}
        assert {name: row[name] for name in same} == {name: known[other] for name, other in same.items()}
        first = Path(known["images"][0]).stem
        front = re.match(r"\d{8}_\d{6}", first) or [first]
        joined = "\0".join(sorted(f"{known['directory']}/{name}" for name in known["images"]))
        assert row["group_id"] == f"{project}_group_{front[0]}_{hashlib.sha256(joined.encode()).hexdigest()[:8]}"
    failed = select(finished.database(project), "SELECT * FROM failed_groups")
    without = [row for row in groups if row["selected"] is None]
    assert [(row["group_id"], row["directory"], json.loads(row["images"]), row["error"]) for row in failed] == [
        (row["group_id"], row["directory"], row["images"], row["error"]) for row in without
    ]
    assert len(failed) == (project != FOLDER)
    assert {row["integrity_check"] for row in select(finished.database(project), "PRAGMA integrity_check")} == {"ok"}
    assert not list(finished.database(project).parent.glob("*-wal")) + list(finished.database(project).parent.glob("*-journal"))


def test_times_are_those_of_names_else_of_files_and_sizes_are_upright(finished: Batch) -> None:
    assert [row["timestamp"] for row in finished.rows("03_predict", ALPHA)] == [f"2025-01-01T10:0{minute}:00Z" for minute in (0, 2, 1, 3)]
    by_name, by_file = finished.rows("03_predict", FOLDER)
    assert (by_name["timestamp"], by_name["width"], by_name["height"]) == ("2025-02-02T10:00:00Z", 320, 240)
    assert (by_file["timestamp"], by_file["width"], by_file["height"]) == (FILE_DATE, 240, 320)


def test_every_image_is_accounted_for(finished: Batch) -> None:
    found = {row["path"]: row for row in finished.rows("03_predict/images", ALPHA)}
    assert list(found) == sorted(name for name in MEMBERS if name.endswith((".jpg", ".png")) and "__MACOSX" not in name)
    assert finished.about("01_inventory", ALPHA)["skipped"] == {".DS_Store": 1, ".txt": 1, "__MACOSX": 1}
    assert {path: row["reason"] for path, row in found.items() if row["outcome"] == "error"} == {
        "set 0/20250101_100200_stage2_upscaled.jpg": "decode: not an image",
        "set 1/20250101_100300_stage1_generated.jpg": "decode: empty file",
        "set 1/20250101_100300_stage3_enhanced.jpg": "decode: truncated",
    }
    assert {path: row["reason"] for path, row in found.items() if row["outcome"] == "ungrouped"} == {
        "set 0/loose.png": "no stage in the name",
        "set 1/20250101_110000_stage3_enhanced.jpg": "no image of another stage goes with it",
    }
    groups = finished.rows("03_predict", ALPHA)
    for row in groups:
        for place, name in enumerate(row["images"]):
            image = found.pop(f"{row['directory']}/{name}")
            assert (image["group_id"], image["place"], image["score"]) == (row["group_id"], place, row["scores"][place])
            wanted = "error" if row["scores"][place] is None else "selected" if place == row["selected"] else "passed over"
            assert image["outcome"] == wanted
    assert {row["group_id"] for row in found.values()} == {None}
    assert finished.counted("03_predict", ALPHA) == {
        "groups": 4,
        "failed_groups": 1,
        "repaired_crops": sum(bool(row["repairs"]) for row in groups),
        "listed": 13,
        "selected": 3,
        "passed_over": 5,
        "ungrouped": 2,
        "error": 3,
    }
    assert [row["outcome"] for row in finished.rows("03_predict/images", FOLDER)].count("selected") == 2
    assert finished.about("01_inventory", FOLDER)["skipped"] == {".md": 1}
    assert {row["path"] for row in finished.rows("03_predict/images", FOLDER)} == set(FILES) - {"readme.md"}


def test_the_first_checkpoint_that_is_there_is_recorded_everywhere(finished: Batch) -> None:
    sha256 = {name: hashlib.sha256((finished.root / name).read_bytes()).hexdigest() for name in ("ranker_v3_w10.pt", "crop.pt")}
    checked = finished.json("00_models/models.json")
    assert (checked["ranker"]["path"], checked["ranker"]["sha256"]) == ("ranker_v3_w10.pt", sha256["ranker_v3_w10.pt"])
    assert (checked["crop_proposer"]["path"], checked["crop_proposer"]["sha256"]) == ("crop.pt", sha256["crop.pt"])
    models = {
        "ranker": {"path": "ranker_v3_w10.pt", "sha256": sha256["ranker_v3_w10.pt"]},
        "crop_proposer": {"path": "crop.pt", "sha256": sha256["crop.pt"]},
    }
    assert finished.about("03_predict", ALPHA)["models"] == models
    assert finished.json("batch_predictions_summary.json")["models"] == models
    meta = {row["key"]: row["value"] for row in select(finished.database(ALPHA), "SELECT * FROM meta")}
    assert (meta["ranker"], meta["ranker_sha256"]) == ("ranker_v3_w10.pt", sha256["ranker_v3_w10.pt"])
    assert meta["crop_proposer_sha256"] == sha256["crop.pt"]
    assert meta["clip_sha256"] == finished.config["predict"]["model"]["sha256"]
    preprocessing = json.loads(meta["preprocessing"])
    assert {name: preprocessing[name] for name in ("ranker_normalise", "proposer_normalise", "scale", "min_side")} == {
        "ranker_normalise": True,
        "proposer_normalise": True,
        "scale": 10_000,
        "min_side": 0.05,
    }
    assert {"schema_version", "workflow_version", "created_at"} <= meta.keys()


def test_verdicts_are_good(finished: Batch) -> None:
    for project, records in {ALPHA: 3, BETA: 3, FOLDER: 2}.items():
        verdict = finished.json("05_validate", project)
        assert (verdict["data_quality"], verdict["issues"], verdict["total_records"]) == ("good", [], records)
        assert (verdict["project_id"], verdict["records_with_ai_predictions"]) == (project, records)
        assert (verdict["ai_prediction_coverage"], verdict["user_data_coverage"], verdict["records_with_user_data"]) == (1.0, 0.0, 0)
    done = subprocess.run(
        [sys.executable, "-m", "workflow_scripts.predict.validate_all", str(finished.root / "results/predict/04_database")],
        cwd=REPO, text=True, capture_output=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "3 databases: 3 good, 0 warnings, 0 errors")


def test_views_answer(finished: Batch, tmp_path: Path) -> None:
    predicted = finished.database(ALPHA)
    (performance,) = select(predicted, "SELECT * FROM ai_performance")
    assert performance == {
        "project_id": ALPHA,
        "total_decisions": 3,
        "correct_selections": 0,
        "correct_crops": 0,
        "selection_accuracy": None,
        "crop_accuracy": None,
    }
    assert select(predicted, "SELECT * FROM incomplete_crops") == select(predicted, "SELECT * FROM ai_mistakes") == []
    database = tmp_path / "a.db"
    database.write_bytes(predicted.read_bytes())
    first, second, _ = (row["group_id"] for row in select(database, "SELECT group_id FROM ai_decisions ORDER BY group_id"))
    execute(database, f"UPDATE ai_decisions SET user_action = 'crop', selection_match = 1 WHERE group_id = '{first}'")
    execute(database, f"UPDATE ai_decisions SET user_action = 'approve', selection_match = 0 WHERE group_id = '{second}'")
    assert [row["group_id"] for row in select(database, "SELECT * FROM incomplete_crops")] == [first]
    assert [row["group_id"] for row in select(database, "SELECT * FROM ai_mistakes")] == [second]
    assert select(database, "SELECT * FROM ai_performance")[0]["selection_accuracy"] == 50.0


def test_summary_and_log_say_what_was_done(finished: Batch) -> None:
    root = finished.root / "results/predict"
    lines = [json.loads(line) for line in (root / "batch_predictions_log.jsonl").read_text().splitlines()]
    assert {line["project_id"]: line["zip_file"] for line in lines} == {name: row["path"] for name, row in finished.table.items()}
    assert [line["timestamp"] for line in lines] == sorted(line["timestamp"] for line in lines)
    for line in lines:
        assert list(line) == ["project_id", "zip_file", "image_count", "duration_seconds", "status", "error", "timestamp", "database"]
        assert (line["status"], line["error"]) == ("success", None)
        assert line["image_count"] == len(finished.rows("01_inventory", line["project_id"]))
        assert line["duration_seconds"] > 0
        assert finished.root / line["database"] == finished.database(line["project_id"])
    summary = finished.json("batch_predictions_summary.json")
    assert summary["results"] == {"total_projects": 3, "processed": 3, "skipped": 0, "failed": 0}
    assert summary["images"] == 13 + 13 + 4
    assert summary["images_per_second"] > 0
    assert (summary["output_directory"], summary["log_file"]) == ("results/predict", "results/predict/batch_predictions_log.jsonl")
    started, completed = (datetime.fromisoformat(summary[name]) for name in ("started_at", "completed_at"))
    assert summary["total_duration_seconds"] == pytest.approx((completed - started).total_seconds(), abs=2)
    (kept,) = root.glob("batch_predictions_summary_*.json")
    assert json.loads(kept.read_text()) == summary
    assert re.fullmatch(r"batch_predictions_summary_\d{8}T\d{6}Z\.json", kept.name)


def test_small_projects_come_first_and_a_page_shows_each(finished: Batch) -> None:
    output = (finished.root / "output.txt").read_text()
    embedded = re.findall(r"^(?:local)?rule predict_02_embed:\n(?: .*\n)*    wildcards: project=(.*)$", output, re.MULTILINE)
    sizes = {slug(BETA): "in/b c's.zip", slug(ALPHA): "in/a.zip"}
    assert (finished.root / "in/b c's.zip").stat().st_size < (finished.root / "in/a.zip").stat().st_size
    assert embedded == [slug(FOLDER), *sizes]
    for project in PROJECTS:
        page = (finished.root / "results/predict/06_report" / slug(project) / "index.html").read_text()
        assert f"<title>Selections of {project}" in page


# ---- the same images ----


def test_two_projects_with_the_same_images_embed_them_once(finished: Batch) -> None:
    encoded = {project: finished.counted("02_embed", project)["encoded"] for project in PROJECTS}
    assert sum(encoded.values()) == DISTINCT
    assert sorted([encoded[ALPHA], encoded[BETA]]) == [0, READABLE]

    def decisions(project: str) -> str:
        rows = [finished.rows("03_predict", project), finished.rows("03_predict/images", project)]
        return json.dumps(rows, ensure_ascii=False).replace(f"{project}_group_", "")

    assert decisions(ALPHA) == decisions(BETA)


def test_without_a_cache_each_project_embeds_its_own_and_nothing_stays(finished: Batch, batch: Batch) -> None:
    tables = [batch.file("02_embed", project) for project in (ALPHA, BETA)]
    for table in tables:
        table.unlink()
    batch.write_config(cache=False, ranker={"paths": ["ranker_v3_w10.pt"]})
    before = digest_tree(batch.root / "cache")
    batch.run(*(str(table.relative_to(batch.root)) for table in tables), *CORES)
    assert [batch.counted("02_embed", project)["encoded"] for project in (ALPHA, BETA)] == [READABLE, READABLE]
    assert digest_tree(batch.root / "cache") == before
    assert [table.read_bytes() for table in tables] == [finished.file("02_embed", project).read_bytes() for project in (ALPHA, BETA)]


# ---- what a change reruns ----


def test_after_a_run_there_is_nothing_to_do_and_settings_of_the_machine_change_nothing(batch: Batch) -> None:
    batch.config |= {"cache_root": "elsewhere"}
    batch.write_config(batch_size=4, cache=False)
    for weights in ("model/open_clip_model.safetensors", "ranker_v3_w10.pt", "crop.pt"):
        (batch.root / weights).touch()
    assert batch.jobs("predict", "--set-threads", "predict_02_embed=1") == set()


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"crop": {"path": "crop.pt", "min_side": 0.2}}, FROM_PREDICT),
        ({"grouping": {"max_gap_minutes": 5}}, FROM_PREDICT),
        ({"grouping": {"ungrouped": "singletons"}}, FROM_PREDICT),
        ({"ranker": {"paths": ["ranker_v3_w10.pt"], "normalise": False}}, FROM_EMBED),
        ({"archives": {"max_ratio": 7}}, FROM_INVENTORY),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_a_setting_reruns_what_depends_on_it(finished: Batch, settings: dict[str, Any], steps: tuple[str, ...]) -> None:
    with finished.changed(**settings):
        assert finished.jobs() == of(steps, *PROJECTS)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ({ALPHA: {"path": "in/a.zip", "pattern": "(?P<group>[0-9_]+)_stage"}}, of(FROM_PREDICT, ALPHA)),
        ({ALPHA: {"path": "in/b c's.zip"}}, of(FROM_INVENTORY, ALPHA)),
        ({"new": {"path": "in/a.zip"}}, of(FROM_INVENTORY, "new")),
        ({ALPHA: {"path": "in/a.zip", "skip": "yes"}}, {SUMMARY}),
    ],
    ids=["pattern", "another path", "a new one", "skipped"],
)
def test_a_row_of_the_table_touches_its_own_project(finished: Batch, rows: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    with finished.changed(rows):
        assert finished.jobs() == expected


def test_another_ranker_predicts_anew_and_embeds_nothing(batch: Batch) -> None:
    save_ranker(batch.root / "ranker_v3_w10.pt")
    assert batch.jobs() == set(), "the same content at another time"
    save_ranker(batch.root / "ranker_v4.pt", seed=9)
    assert batch.jobs() == of(FROM_PREDICT, *PROJECTS) | {("00_models", "")}, "the first of the list has come"


def test_new_files_touch_their_own_project(batch: Batch) -> None:
    in_folder(batch.root / "in/photos", {"dog/20250202_110000_stage1_generated.jpg": picture("new")})
    (batch.root / "in/a.zip").write_bytes((batch.root / "in/b c's.zip").read_bytes())
    assert batch.jobs() == of(FROM_INVENTORY, FOLDER, ALPHA)


def test_what_a_failed_job_left_out_is_made_by_the_next_run(batch: Batch) -> None:
    # Snakemake has removed the outputs of a job that fails, while those of an earlier run stand behind it.
    batch.file("02_embed", ALPHA).unlink()
    batch.file("04_database", BETA, "json").unlink()
    assert batch.jobs() == of(FROM_EMBED, ALPHA) | of(("04_database", "05_validate"), BETA)


def test_what_a_person_drops_and_splits_is_gone_and_divided(batch: Batch) -> None:
    groups = {row["group_id"]: row for row in batch.rows("03_predict", ALPHA)}
    dropped, split = (next(row for row in groups.values() if minute in row["group_id"]) for minute in ("_100200_", "_100000_"))
    folder = batch.root / "reviews/predict" / slug(ALPHA)
    folder.mkdir(parents=True)
    with (folder / "groups.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["sha256", "path", "decision", "reason"])
        for row, place, decision in ((dropped, 0, "drop"), (split, 1, "split")):
            writer.writerow([row["sha256"][place], f"{row['directory']}/{row['images'][place]}", decision, "as I see it"])
    assert batch.jobs() == of(FROM_PREDICT, ALPHA)
    batch.run("predict", *CORES)
    assert batch.jobs() == set()
    images = {row["path"]: row for row in batch.rows("03_predict/images", ALPHA)}
    reasons = [images[f"{dropped['directory']}/{name}"]["reason"] for name in dropped["images"]]
    assert reasons == ["dropped by a person", "dropped by a person", "decode: not an image"]
    assert images[f"{split['directory']}/{split['images'][0]}"]["reason"] == "alone after a split by a person"
    now = {row["group_id"]: row for row in batch.rows("03_predict", ALPHA)}
    (part,) = (row for row in now.values() if row["images"] == split["images"][1:])
    assert part["selected"] == split["selected"] - 1
    assert {dropped["group_id"], split["group_id"]} & now.keys() == set()
    decided = {row["group_id"] for row in select(batch.database(ALPHA), "SELECT group_id FROM ai_decisions")}
    assert decided == {row["group_id"] for row in now.values() if row["selected"] is not None}
    assert len(decided) == 2
    assert batch.json("05_validate", ALPHA)["data_quality"] == "good"


def test_a_folder_of_zips_is_a_table_too(finished: Batch) -> None:
    with finished.changed(projects="in"):
        assert {project for step, project in finished.jobs() if step == "01_inventory"} == {"a", slug("b c's")}


# ---- what people keep ----


def test_a_database_with_the_work_of_a_person_stays_and_takes_in_new_predictions_by_a_merge(batch: Batch) -> None:
    for other in (BETA, FOLDER):
        batch.table[other]["skip"] = "yes"
    batch.write_config()
    database = batch.database(ALPHA)
    first, second, third = select(database, "SELECT * FROM ai_decisions ORDER BY group_id")
    execute(
        database,
        f"UPDATE ai_decisions SET user_selected_index = {second['ai_selected_index']}, user_action = 'approve' "
        f"WHERE group_id = '{second['group_id']}'",
    )
    worked_on = database.read_bytes()
    save_ranker(batch.root / "ranker_v3_w10.pt", seed=9)
    batch.run("predict", *CORES)
    assert database.read_bytes() == worked_on
    assert batch.database(ALPHA) != database
    assert batch.database(ALPHA).parent == database.parent
    anew = {row["group_id"]: row for row in batch.rows("03_predict", ALPHA)}
    predicted = {row["group_id"]: row for row in select(batch.database(ALPHA), "SELECT * FROM ai_decisions")}
    assert {name: row["ai_confidence"] for name, row in predicted.items()} == {name: anew[name]["confidence"] for name in predicted}
    assert [name for name in predicted if predicted[name]["ai_confidence"] == first["ai_confidence"]] == [], "another ranker"
    assert batch.json("batch_predictions_summary.json")["results"] == {"total_projects": 3, "processed": 1, "skipped": 2, "failed": 0}
    assert batch.jobs() == set()

    users = batch.root / "mine.db"
    users.write_bytes(worked_on)
    execute(users, f"UPDATE ai_decisions SET group_id = 'old name', ai_crop_coords = NULL WHERE group_id = '{first['group_id']}'")
    execute(users, f"UPDATE ai_decisions SET ai_selected_index = NULL, ai_confidence = NULL WHERE group_id = '{third['group_id']}'")
    before, state = select(users, "SELECT rowid, * FROM ai_decisions ORDER BY rowid"), dump(users)
    batch.table[ALPHA]["user_database"] = "mine.db"
    batch.write_config()
    batch.run("predict_merge", *CORES)
    after = select(users, "SELECT rowid, * FROM ai_decisions ORDER BY rowid")
    filled = {}
    for old, new in zip(before, after, strict=True):
        assert {name: value for name, value in old.items() if value is not None}.items() <= new.items()
        filled[new["group_id"]] = {name for name in old if old[name] != new[name]}
    same = {row["group_id"]: anew[row["group_id"]]["selected"] == row["ai_selected_index"] for row in (first, second, third)}
    assert filled["old name"] == ({"ai_crop_coords"} if same[first["group_id"]] else set())
    assert filled[second["group_id"]] == {"selection_match"}
    assert filled[third["group_id"]] == {"ai_selected_index", "ai_confidence"}
    report = batch.json("07_merge", ALPHA)
    assert (report["merged"] + report["unchanged"], report["ambiguous"], report["unmatched"]) == (3, 0, 0)
    assert dump(batch.root / report["backup"]) == state
    merged = digest_tree(batch.root / "results/predict/07_merge/backups"), users.read_bytes()
    batch.run("predict_merge", *CORES)
    assert (digest_tree(batch.root / "results/predict/07_merge/backups"), users.read_bytes()) == merged
    assert (batch.json("07_merge", ALPHA)["merged"], batch.json("07_merge", ALPHA)["backup"]) == (0, None)
