"""people: the script that deletes the removed images deletes these and nothing else."""

import csv
import os
import subprocess

import pytest

from workflow_scripts.people import manifests
from workflow_scripts.people.removal_plan import write_plan

HOSTILE = [
    "plain.jpg",
    "-rf.jpg",
    "-rf/-v.jpg",
    "two\nlines.jpg",
    "space and  tab\t.jpg",
    "'single'.jpg",
    '"double".jpg',
    "$(touch pwned).jpg",
    "`touch pwned`.jpg",
    "; rm -r .jpg",
    "*.jpg",
    "?.jpg",
    "[a-z].jpg",
    "back\\slash.jpg",
    "\\n.jpg",
    "é ü 😀.jpg",
    "deep/er/&& true/x.jpg",
    "#.jpg",
    "%s.jpg",
    "~.jpg",
    "carriage\rreturn.jpg",
    "trailing\n",
]


def plan(root, keys, source, folder="plan"):
    rows = [dict.fromkeys(manifests.COLUMNS, "") | {"s3_key": key, "size": str(len(key))} for key in keys]
    manifests.write_csv(root / "removed_all.csv", manifests.COLUMNS, rows)
    assert write_plan(root / "removed_all.csv", str(source), root / folder) == len(keys)
    return root / folder


def delete(script, **options):
    return subprocess.run(["/bin/sh", str(script)], capture_output=True, text=True, check=False, **options)


@pytest.fixture
def fill(tmp_path):
    """A source in which every name stands twice: to be deleted, and to stay."""

    def make(name="source"):
        for folder in ("", "stay/"):
            for key in HOSTILE:
                path = tmp_path / name / (folder + key)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(key)
        return tmp_path / name

    return make


@pytest.mark.parametrize("name", ["source", "-source", "so'ur\"ce $(touch pwned)\n x"])
def test_the_script_deletes_the_removed_files_and_no_others(tmp_path, fill, tree, name):
    source = fill(name)
    before = tree(source)
    found = plan(tmp_path, HOSTILE, source, folder="my plan's -x")
    done = delete(found / "delete.sh", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert before.keys() - tree(source).keys() == set(HOSTILE)
    assert tree(source) == {key: data for key, data in before.items() if key.startswith("stay/")}
    assert not list(tmp_path.rglob("pwned"))


def test_images_that_were_not_removed_stay(tmp_path, fill, tree):
    source = fill()
    chosen = HOSTILE[::3]
    before = tree(source)
    assert delete(plan(tmp_path, chosen, source) / "delete.sh").returncode == 0
    assert before.keys() - tree(source).keys() == set(chosen)


def test_the_script_works_from_any_folder_and_under_a_relative_path(tmp_path, fill, tree, monkeypatch):
    source = fill()
    monkeypatch.chdir(tmp_path)
    plan(tmp_path, ["plain.jpg"], "source")
    done = subprocess.run(["/bin/sh", "delete.sh"], cwd=tmp_path / "plan", env=os.environ | {"CDPATH": "/"}, check=False)
    assert done.returncode == 0
    assert "plain.jpg" not in tree(source)
    assert len(tree(source)) == 2 * len(HOSTILE) - 1


def test_nothing_to_delete_deletes_nothing(tmp_path, fill, tree):
    source = fill()
    before = tree(source)
    done = delete(plan(tmp_path, [], source) / "delete.sh")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert tree(source) == before


def test_a_source_that_is_gone_costs_nothing_elsewhere(tmp_path, fill, tree):
    source = fill()
    found = plan(tmp_path, ["plain.jpg"], source)
    moved = source.rename(tmp_path / "moved")
    before = tree(moved)
    assert delete(found / "delete.sh", cwd=moved).returncode != 0
    assert tree(moved) == before


def test_the_plan_is_for_a_person_to_read(tmp_path, fill):
    source = fill()
    found = plan(tmp_path, HOSTILE, source)
    with (found / "plan.csv").open(encoding="utf-8", newline="") as handle:
        read = list(csv.reader(handle))
    assert [row[:2] for row in read] == [["s3_key", "size"], *([key, str(len(key))] for key in HOSTILE)]
    assert read[0][2:] == ["etag", "people_prob", "reason"]
    assert (found / "keys.nul").read_bytes() == b"".join(key.encode() + b"\0" for key in HOSTILE)
    script = (found / "delete.sh").read_text()
    assert f"Deletes {len(HOSTILE)} images" in script
    assert not any(key in script for key in HOSTILE)


def test_planning_deletes_nothing(run, tree):
    run.put("a.jpg", 0.9)
    run.put("b.jpg", 0.1)
    run.until_merge()
    before = tree(run.source)
    write_plan(run.aggregate / "removed_all.csv", str(run.source), run.root / "plan")
    assert tree(run.source) == before
    assert delete(run.root / "plan" / "delete.sh").returncode == 0
    assert list(tree(run.source)) == ["b.jpg"]
