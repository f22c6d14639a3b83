"""The verdict on a project's database against its tables, and the project's line of the log."""

import re

import pytest

from workflow_scripts.core.embeddings import write_table
from workflow_scripts.core.json_files import write_json
from workflow_scripts.predict.database import Decision, write_database
from workflow_scripts.predict.tables import GROUPS, IMAGES, schema
from workflow_scripts.predict.validate_project import log_line, measured_seconds, validate_project


@pytest.fixture
def project(tmp_path):
    """Receipt, groups and images of a project with one group."""

    def make(groups=("g1",), images=("a/1.png", "a/2.png"), status="success", error=""):
        write_table(tmp_path / "groups.parquet", schema(GROUPS, {}), [{"group_id": name} for name in groups])
        write_table(tmp_path / "images.parquet", schema(IMAGES, {}), [{"path": path} for path in images])
        decision = Decision("g1", "2025-01-01T00:00:00Z", "p", "a", None, ("1.png", "2.png"), 0, (0.1, 0.1, 0.9, 0.9), 0.5, 10, 10)
        decisions = [decision] if status == "success" else []
        write_database(tmp_path / "p.db", decisions, [], {"status": status, "error": error})
        receipt = {"project_id": "p", "path": "p.zip", "status": status, "error": error, "database": str(tmp_path / "p.db")}
        write_json(tmp_path / "p.json", receipt)
        return tmp_path / "p.json", tmp_path / "groups.parquet", tmp_path / "images.parquet"

    return make


def issues(verdict):
    return [(issue["severity"], issue["check"], issue["rows"]) for issue in verdict["issues"]]


def test_a_good_database(project, tmp_path):
    verdict = validate_project(*project())
    assert (verdict["project_id"], verdict["database"], verdict["data_quality"]) == ("p", str(tmp_path / "p.db"), "good")
    assert (verdict["total_records"], verdict["ai_prediction_coverage"]) == (1, 1.0)


@pytest.mark.parametrize(
    ("changed", "check", "rows"),
    [
        ({"groups": ("g1", "g2")}, "inventory", ["g2"]),
        ({"groups": ("g3",)}, "inventory", ["g3"]),
        ({"images": ("a/1.png",)}, "source", ["g1"]),
    ],
)
def test_a_database_that_does_not_agree_with_the_tables(project, changed, check, rows):
    assert ("error", check, rows) in issues(validate_project(*project(**changed)))


def test_a_failed_project_is_an_error_with_its_text(project):
    verdict = validate_project(*project(groups=(), images=(), status="failed", error="bad.zip: cut off"))
    assert verdict["data_quality"] == "errors"
    assert [issue["message"] for issue in verdict["issues"] if issue["check"] == "project"] == ["could not be processed: bad.zip: cut off"]


@pytest.mark.parametrize(("status", "error", "said"), [("success", "", None), ("failed", "bad.zip: cut off", "bad.zip: cut off")])
def test_the_line_of_the_log(project, tmp_path, status, error, said):
    receipt, _, _ = project(status=status, error=error)
    line = log_line(receipt, 2, 12.345)
    assert list(line) == ["project_id", "zip_file", "image_count", "duration_seconds", "status", "error", "timestamp", "database"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    expected = {"project_id": "p", "zip_file": "p.zip", "image_count": 2, "duration_seconds": 12.3, "status": status, "error": said}
    assert line == expected | {"database": str(tmp_path / "p.db")}


def test_seconds_are_those_of_all_steps_that_were_measured(tmp_path):
    (tmp_path / "a.tsv").write_text("s\th:m:s\tmax_rss\n1.5\t0:00:01\t20\n")
    (tmp_path / "b.tsv").write_text("s\th:m:s\tmax_rss\n2.25\t0:00:02\t-\n")
    assert measured_seconds([tmp_path / "a.tsv", tmp_path / "b.tsv", tmp_path / "never run.tsv"]) == 3.75
