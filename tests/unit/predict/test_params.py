"""What the rules give the steps: what a result depends on, and what it must not."""

import hashlib
import shutil
import zipfile

import pytest

from workflow_scripts.core.embeddings import write_table
from workflow_scripts.core.step import StepError
from workflow_scripts.predict import params
from workflow_scripts.predict.projects import Project
from workflow_scripts.predict.sources import GONE
from workflow_scripts.predict.tables import INVENTORY, schema
from workflow_scripts.settings.base import Images
from workflow_scripts.settings.predict import Predict


@pytest.fixture
def chosen(tmp_path):
    """Settings whose checkpoints stand in a folder."""

    def make(ranker=("new.pt", "old.pt"), crop="crop.pt", **settings):
        paths = {"ranker": {"paths": [str(tmp_path / name) for name in ranker]}, "crop": {"path": str(tmp_path / crop)}}
        merged = {name: settings.pop(name, {}) | group for name, group in paths.items()}
        return Predict(**merged, **settings)

    for name in ("old.pt", "crop.pt"):
        (tmp_path / name).write_bytes(name.encode())
    return make


def sha256(text):
    return hashlib.sha256(text).hexdigest()


def test_the_first_checkpoint_that_exists_is_used_with_its_content(chosen, tmp_path):
    assert params.models(chosen()) == {
        "ranker": {"path": str(tmp_path / "old.pt"), "sha256": sha256(b"old.pt")},
        "crop_proposer": {"path": str(tmp_path / "crop.pt"), "sha256": sha256(b"crop.pt")},
    }
    (tmp_path / "new.pt").write_bytes(b"better")
    assert params.models(chosen())["ranker"] == {"path": str(tmp_path / "new.pt"), "sha256": sha256(b"better")}


@pytest.mark.parametrize(
    ("changes", "setting", "named"),
    [({"ranker": ("a.pt", "b.pt")}, "predict.ranker.paths", "b.pt"), ({"crop": "x.pt"}, "predict.crop.path", "x.pt")],
)
def test_a_missing_model_is_told_by_its_setting(chosen, changes, setting, named):
    with pytest.raises(StepError, match=rf"(?s)^{setting}: .*{named}"):
        params.models(chosen(**changes))


@pytest.fixture
def project(tmp_path):
    """A zip, and the inventory that was made of it."""
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr("a.png", b"1")
    found = Project("p", str(tmp_path / "p.zip"), "", skip=False)

    def listed(status="success", path=found.path):
        known = params.inventory(found, True, tmp_path / "none.parquet") | {"path": path}
        write_table(tmp_path / "01.parquet", schema(INVENTORY, known | {"status": status}), [])
        return tmp_path / "01.parquet"

    return found, listed


def test_a_source_that_changed_is_listed_anew_unless_nobody_watches(project, tmp_path):
    found, listed = project
    table = listed()
    before = params.inventory(found, True, table)
    assert before == params.inventory(found, True, table)
    with zipfile.ZipFile(found.path, "a") as archive:
        archive.writestr("b.png", b"1")
    assert params.inventory(found, True, table) != before
    assert params.inventory(found, False, table)["fingerprint"] is None


def test_a_source_that_is_gone_undoes_nothing(project, tmp_path):
    found, listed = project
    table = listed()
    before = params.inventory(found, True, table)
    shutil.move(found.path, tmp_path / "elsewhere.zip")
    assert params.inventory(found, True, table) == before


def test_a_source_that_never_was_there_or_that_failed_is_gone(project, tmp_path):
    found, listed = project
    failed = listed(status="failed")
    shutil.move(found.path, tmp_path / "elsewhere.zip")
    assert params.inventory(found, True, tmp_path / "none.parquet")["fingerprint"] == GONE
    assert params.inventory(found, True, failed)["fingerprint"] == GONE
    shutil.move(tmp_path / "elsewhere.zip", found.path)
    other = listed(path="/other/disk.zip")
    shutil.move(found.path, tmp_path / "elsewhere.zip")
    assert params.inventory(found, True, other)["fingerprint"] == GONE


@pytest.mark.parametrize(("ranker", "crop", "unit"), [(True, True, True), (False, True, False), (True, False, False)])
def test_vectors_have_length_one_unless_a_network_wants_them_raw(chosen, ranker, crop, unit):
    found = params.embedding(chosen(ranker=("old.pt",), crop="crop.pt"), Images())
    assert found == {"decode_mode": "scaled", "max_pixels": 200_000_000, "normalise": True, "views": "center"}
    settings = Predict(ranker={"normalise": ranker}, crop={"normalise": crop})
    assert params.embedding(settings, Images(decode="full")) == found | {"decode_mode": "full", "normalise": unit}


def test_a_project_may_have_a_pattern_of_its_own():
    general = Predict(grouping={"pattern": r"(?P<group>\d+)", "max_gap_minutes": 5.0, "ungrouped": "singletons"})
    plain = Project("p", "p.zip", "", skip=False)
    assert params.grouping(general, plain) == {
        "pattern": r"(?P<group>\d+)",
        "max_gap_minutes": 5.0,
        "ungrouped": "singletons",
        "pattern_setting": "predict.grouping.pattern",
    }
    own = params.grouping(general, Project("p", "p.zip", r"(?P<group>[a-z]+)", skip=False))
    assert (own["pattern"], own["pattern_setting"]) == (r"(?P<group>[a-z]+)", "the table of projects, pattern")


def test_a_pattern_that_is_none_is_told_by_its_setting():
    with pytest.raises(StepError, match=r"predict\.grouping\.pattern"):
        params.grouping(Predict(grouping={"pattern": "("}), Project("p", "p.zip", "", skip=False))


def test_a_batch_is_the_projects_that_are_worked_on():
    projects = {"a": Project("a ü", "a.zip", "", skip=False), "b": Project("b", "b.zip", "", skip=True)}
    assert params.batch(projects, "out", {"ranker": {}}) == {
        "models": {"ranker": {}},
        "projects": [{"line": "out/05_validate/log/a.json", "name": "a", "path": "a.zip", "project_id": "a ü"}],
        "skipped": 1,
    }


def test_a_whole_run_asks_for_the_files_of_every_step():
    steps = [
        "01_inventory/a.parquet",
        "02_embed/a.parquet",
        "03_predict/a.parquet",
        "04_database/a.json",
        "05_validate/a.json",
        "06_report/a",
    ]
    assert params.results("out", ["a"]) == [*(f"out/{step}" for step in steps), "out/batch_predictions_summary.json"]
