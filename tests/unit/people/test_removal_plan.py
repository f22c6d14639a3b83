"""people: the script that deletes the removed images deletes these and nothing else."""

import csv
import json
import os
import subprocess
import sys

import pytest

from workflow_scripts.people import manifests
from workflow_scripts.people.removal_plan import BATCH, write_plan

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


def plan(root, keys, source, folder="plan", store=None):
    rows = [dict.fromkeys(manifests.COLUMNS, "") | {"s3_key": key, "size": str(len(key))} for key in keys]
    manifests.write_csv(root / "removed_all.csv", manifests.COLUMNS, rows)
    assert write_plan(root / "removed_all.csv", str(source), root / folder, store) == len(keys)
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


# ---- buckets ----

ODD = [*HOSTILE, "/lead.jpg", "../up.jpg", "a//b.jpg", "\u2028.jpg", "\ue000 😀.jpg", "k" * 1024]
AWS = f"""#!{sys.executable}
import json, os, pathlib, sys
place = sys.argv[sys.argv.index("--delete") + 1]
assert place.startswith("file://")
asked = json.loads(pathlib.Path(place.removeprefix("file://")).read_text(encoding="ascii"))
with open(os.environ["ASKED"], "a", encoding="utf-8") as handle:
    number = handle.tell() and len(open(os.environ["ASKED"], encoding="utf-8").readlines())
    handle.write(json.dumps([sys.argv[1:], asked]) + "\\n")
if str(number + 1) == os.environ["FAILS"] and os.environ["HOW"] == "a key":
    print("AccessDenied\\t" + asked["Objects"][0]["Key"])
    sys.exit(0)
print("None")
sys.exit(3 if str(number + 1) == os.environ["FAILS"] else 0)
"""


@pytest.fixture
def aws(tmp_path):
    """Runs a script with a program `aws` that writes down what it was asked; gives the outcome and every command with its JSON."""
    program = tmp_path / "bin" / "aws"
    program.parent.mkdir()
    program.write_text(AWS)
    program.chmod(0o755)

    def run(script, fails=0, how="all", **options):
        asked = tmp_path / "asked.jsonl"
        asked.unlink(missing_ok=True)
        found = {"PATH": f"{program.parent}:{os.environ['PATH']}", "ASKED": str(asked), "FAILS": str(fails), "HOW": how}
        done = delete(script, env=os.environ | found, **options)
        return done, [json.loads(line) for line in asked.read_text().splitlines()] if asked.exists() else []

    return run


ERRORS = ["--query", "Errors[].[Code,Key]", "--output", "text"]  # what was not deleted: the request succeeds all the same


def deleted(asked):
    return [found["Key"] for _, value in asked for found in value["Objects"]]


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1]), (BATCH - 1, [999]), (BATCH, [1000]), (BATCH + 1, [1000, 1]), (3 * BATCH, [1000] * 3)]
)
def test_keys_go_in_requests_of_a_thousand_at_most(tmp_path, aws, count, sizes):
    keys = [f"in/{number:05}.jpg" for number in range(count)]
    found = plan(tmp_path, keys, "s3://bucket/in/")
    done, asked = aws(found / "delete.sh")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [len(value["Objects"]) for _, value in asked] == sizes
    assert deleted(asked) == keys
    assert all(value.keys() == {"Quiet", "Objects"} and value["Quiet"] is True for _, value in asked)
    assert BATCH == 1000


def test_names_arrive_as_they_are_and_stand_in_no_shell_text(tmp_path, aws):
    found = plan(tmp_path, ODD, "s3://bucket/", folder="my plan's $HOME -x")
    done, asked = aws(found / "delete.sh", cwd="/")
    assert (done.returncode, done.stderr) == (0, "")
    assert deleted(asked) == ODD
    assert [argv[argv.index("--delete") + 1] for argv, _ in asked] == ["file://000000.json"]
    assert not any(key in (found / "delete.sh").read_text() for key in ODD)
    assert (found / "keys.nul").read_bytes() == b"".join(key.encode() + b"\0" for key in ODD)
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize(
    ("store", "flags"),
    [
        (None, []),
        ({"region": None, "endpoint_url": None, "addressing": "auto"}, []),
        ({"region": "eu-west-3"}, ["--region", "eu-west-3"]),
        ({"endpoint_url": "http://127.0.0.1:9000"}, ["--endpoint-url", "http://127.0.0.1:9000"]),
        (
            {"region": "r'$(touch pwned)", "endpoint_url": "https://host/a b'\"`touch pwned`;"},
            ["--endpoint-url", "https://host/a b'\"`touch pwned`;", "--region", "r'$(touch pwned)"],
        ),
    ],
)
def test_the_command_names_the_bucket_and_how_it_is_reached(tmp_path, aws, store, flags):
    found = plan(tmp_path, ["in/a.jpg"], "s3://my.bucket-1/in", store=store)
    done, [(argv, value)] = aws(found / "delete.sh", cwd=tmp_path)
    assert done.returncode == 0
    assert argv == ["s3api", "delete-objects", "--bucket", "my.bucket-1", *flags, "--delete", "file://000000.json", *ERRORS]
    assert value == {"Quiet": True, "Objects": [{"Key": "in/a.jpg"}]}
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize(("how", "said"), [("all", ""), ("a key", "not deleted: AccessDenied\t1000.jpg\n")])
def test_the_script_stops_at_the_first_request_that_fails(tmp_path, aws, how, said):
    found = plan(tmp_path, [f"{number}.jpg" for number in range(4 * BATCH)], "s3://bucket/")
    done, asked = aws(found / "delete.sh", fails=2, how=how)
    assert (done.returncode, done.stderr) == (1, said)
    assert len(asked) == 2


def test_a_bucket_with_nothing_to_delete_is_asked_nothing(tmp_path, aws):
    found = plan(tmp_path, [], "s3://bucket/in/")
    done, asked = aws(found / "delete.sh")
    assert (done.returncode, done.stdout, done.stderr, asked) == (0, "", "", [])


def test_batches_of_an_earlier_plan_are_gone(tmp_path, aws):
    plan(tmp_path, [f"{number}.jpg" for number in range(2 * BATCH + 1)], "s3://bucket/")
    found = plan(tmp_path, ["only.jpg"], "s3://bucket/")
    _, asked = aws(found / "delete.sh")
    assert deleted(asked) == ["only.jpg"]
    plan(tmp_path, ["only.jpg"], tmp_path)
    assert not (found / "batches").exists()
    assert "aws" not in (found / "delete.sh").read_text().splitlines()[-1]


def test_the_script_for_a_bucket_works_in_a_folder_that_was_moved(tmp_path, aws):
    plan(tmp_path, ["a.jpg"], "s3://bucket/").rename(tmp_path / "moved")
    done, asked = aws("delete.sh", cwd=tmp_path / "moved")
    assert done.returncode == 0
    assert deleted(asked) == ["a.jpg"]


def test_the_script_says_how_many_it_deletes_and_what_versions_keep(tmp_path):
    script = (plan(tmp_path, ["a.jpg", "b.jpg"], "s3://bucket/") / "delete.sh").read_text()
    assert script.startswith("#!/bin/sh\n# Deletes 2 images with people from their source, for good. Read plan.csv first.\n")
    assert "In a bucket with versions the old versions stay" in script


def test_the_plan_deletes_from_the_bucket_what_was_removed_there(in_bucket, aws):
    for key, prob in (("a b.jpg", 0.9), ("c.jpg", 0.1), ("d/é.jpg", 0.8)):
        in_bucket.put(key, prob)
    in_bucket.until_merge()
    output = in_bucket.root / "plan"
    assert write_plan(in_bucket.aggregate / "removed_all.csv", in_bucket.settings["source"], output, in_bucket.settings["store"]) == 2
    _, [(argv, asked)] = aws(output / "delete.sh")
    assert argv[2:6] == ["--bucket", "bucket", "--region", "eu-west-3"]
    in_bucket.client.delete_objects(Bucket="bucket", Delete=asked)
    assert in_bucket.objects() == {"in/c.jpg": b"c.jpg"}
    rows = list(manifests.read_csv(output / "plan.csv"))
    assert [(row["s3_key"], row["size"], row["people_prob"]) for row in rows] == [
        ("in/a b.jpg", "7", "0.900000"),
        ("in/d/é.jpg", "8", "0.800000"),
    ]
