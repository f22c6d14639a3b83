"""The verdicts on all databases of a folder, and the exit status that says what the worst is."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.predict.database_data import change, decision, make
from workflow_scripts.predict.validate_all import DEFAULT, exit_status, find_databases, main

ROOT = Path(__file__).parents[3]


def run(*arguments, cwd=ROOT, **environment):
    command = [sys.executable, "-m", "workflow_scripts.predict.validate_all", *arguments]
    found = subprocess.run(command, cwd=cwd, text=True, capture_output=True, check=False, env={"PYTHONPATH": str(ROOT)} | environment)
    return found.returncode, found.stdout, found.stderr


def test_good_databases_are_status_0(tmp_path):
    make(tmp_path / "b.db", [decision(0), decision(1)])
    make(tmp_path / "sub" / "a.db")
    status, out, err = run(tmp_path)
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        f"good: {tmp_path}/b.db: 2 records, 0 with user data",
        f"good: {tmp_path}/sub/a.db: 1 records, 0 with user data",
        "2 databases: 2 good, 0 warnings, 0 errors",
    ]


def test_warnings_are_status_1_and_say_what_and_where(tmp_path, capsys):
    make(tmp_path / "a.db")
    path = make(tmp_path / "b.db", [decision(number, ai_crop_coords=None) for number in range(12)])
    assert main([str(tmp_path)]) == 1
    names = ", ".join(f"p_group_{number:04d}" for number in range(10))
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"warnings: {path}: 12 records, 0 with user data",
        f"  warning: ai predictions: an image is selected and has no crop (12: {names}, …)",
        "2 databases: 1 good, 1 warnings, 0 errors",
    ]


def test_errors_are_status_2_wherever_they_stand(tmp_path, capsys):
    make(tmp_path / "c.db", [decision(ai_crop_coords=None)])
    make(tmp_path / "b.db")
    (tmp_path / "a.db").write_text("group_id,images\n")
    assert main([str(tmp_path)]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"errors: {tmp_path}/a.db: 0 records, 0 with user data"
    assert lines[1].startswith(f"  error: open: {tmp_path}/a.db: is no SQLite database")
    assert lines[1].endswith("(1)")
    assert lines[-1] == "3 databases: 1 good, 1 warnings, 1 errors"


@pytest.mark.parametrize("place", ["empty", "none"])
def test_nothing_to_validate_is_status_2(tmp_path, capsys, place):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    assert main([str(tmp_path / place)]) == 2
    assert capsys.readouterr().err == f"{tmp_path / place}: no .db file here; give the folder of the databases\n"


def test_one_database_can_be_given(tmp_path):
    path = make(tmp_path / "a.sqlite")
    assert main([str(path)]) == 0
    change(path, "DROP TABLE ai_decisions")
    assert main([str(path)]) == 2


def test_without_a_folder_it_is_that_of_the_results(tmp_path):
    assert run(cwd=tmp_path)[0] == 2
    make(tmp_path / DEFAULT / "a.db")
    status, out, _ = run(cwd=tmp_path)
    assert (status, out.splitlines()[0]) == (0, f"good: {DEFAULT}/a.db: 1 records, 0 with user data")


def test_a_wrong_argument_is_status_2_and_shows_the_use(tmp_path):
    status, _, err = run(tmp_path, "more")
    assert status == 2
    assert "usage: validate_all [-h] [DIR]" in err


def test_files_that_a_step_is_writing_are_left_out(tmp_path):
    make(tmp_path / "a.db")
    (tmp_path / ".b.db.host.7.tmp").touch()
    (tmp_path / ".c.db").touch()
    assert find_databases(tmp_path) == [tmp_path / "a.db"]


def test_odd_names_are_printed(tmp_path, capsys):
    path = make(tmp_path / "x.db", [decision(group_id="g\u00e9", ai_crop_coords=None)])
    change(path, "UPDATE ai_decisions SET group_id = CAST(x'67ff' AS TEXT)")
    assert main([str(path)]) == 1
    assert r"(1: g\xff)" in capsys.readouterr().out
    odd = path.rename(tmp_path / "x\udcff.db")
    assert main([str(odd)]) == 1
    assert r"x\udcff.db" in capsys.readouterr().out


def test_a_terminal_that_knows_ascii_alone_gets_the_verdict_too(tmp_path):
    path = make(tmp_path / "p.db", [decision(ai_crop_coords=None)])
    change(path, "PRAGMA ignore_check_constraints = ON", "UPDATE ai_decisions SET ai_crop_coords = '[0, 0, 0, 0]'")
    status, out, err = run(path, PYTHONIOENCODING="ascii")
    assert (status, err) == (2, "")
    assert r"0 \u2264 x1 < x2" in out


@pytest.mark.parametrize(("found", "status"), [(["good"], 0), (["warnings", "good"], 1), (["good", "errors", "warnings"], 2), ([], 2)])
def test_the_status_is_that_of_the_worst(found, status):
    assert exit_status({"data_quality": name} for name in found) == status
