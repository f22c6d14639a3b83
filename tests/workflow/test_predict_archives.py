"""Hostile, damaged and oddly named projects through the whole predict pipeline, all in one run: it ends, and says what became of each."""

import io
import json
import re
import stat
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.unit.core.test_storage_archive import DEFLATE, ENCRYPTED, UTF8, Member, archive, deflated
from tests.workflow.conftest import REPO, digest_tree
from tests.workflow.predict_data import (
    CORES,
    Batch,
    finished_batch,
    fresh,
    in_folder,
    picture,
    select,
)
from workflow_scripts.core.models import slug

pytest.importorskip("torch")

HOSTILE = 'it\'s "quoted" %j {x} {{y}} #1 ü 图 $HOME `id`'
HOPELESS = f"-{'long ' * 39}end"  # 199 bytes
FIRST, SECOND = "20250101_100000_stage1_generated.jpg", "20250101_100000_stage2_upscaled.jpg"


def zip_crypto(data: bytes, password: bytes) -> bytes:
    """The classic encryption of zips (APPNOTE 6.1)."""
    keys = [0x12345678, 0x23456789, 0x34567890]

    def crc(value: int, byte: int) -> int:
        return zlib.crc32(bytes([byte]), value ^ 0xFFFFFFFF) ^ 0xFFFFFFFF

    def update(byte: int) -> None:
        keys[0] = crc(keys[0], byte)
        keys[1] = ((keys[1] + (keys[0] & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        keys[2] = crc(keys[2], keys[1] >> 24)

    for byte in password:
        update(byte)
    found = bytearray()
    for byte in (*bytes(11), zlib.crc32(data) >> 24, *data):
        mixed = keys[2] | 2
        found.append(byte ^ (mixed * (mixed ^ 1) >> 8 & 0xFF))
        update(byte)
    return bytes(found)


def huge_image() -> bytes:
    """25 kilobytes that are 200 million pixels, and some more."""
    buffer = io.BytesIO()
    Image.new("1", (20_001, 10_000)).save(buffer, "PNG")
    return buffer.getvalue()


PICTURE = picture("a picture")
# Members that keep their place in a group, with what differs from a sound one.
HARMED: dict[str, tuple[dict[str, Any], str]] = {
    "encrypted": ({"flags": ENCRYPTED, "packed": zip_crypto(PICTURE, b"secret")}, "list: encrypted"),
    "link": ({"data": b"/etc/passwd", "mode": stat.S_IFLNK | 0o777}, "list: a link"),
    "declared bomb": (
        {"method": DEFLATE, "packed": bytes(9), "size": 300_000_000},
        "list: declares 300000000 bytes, more than 200000000",
    ),
    "dense": ({"data": bytes(1_000_000), "method": DEFLATE}, "list: declares to expand more than 100 times"),
    "bomb that lies": (
        {"method": DEFLATE, "packed": deflated(bytes(50_000_000)), "size": 90_000},
        "download: more than the 90000 bytes that it declares",
    ),
    "cut": ({"method": DEFLATE, "packed": deflated(PICTURE)[:400]}, "download: damaged: the deflate data end too early"),
    "wrong CRC": ({"crc": 1}, "download: damaged: wrong CRC-32"),
    "elsewhere": ({"offset": 10**9}, "list: damaged: its data would lie outside the archive"),
    "nested zip": ({"data": archive(Member(b"a.jpg", PICTURE))}, "decode: not an image"),
    "huge": ({"data": huge_image()}, "decode: too large"),
}
# Members that have no place in a group, by what the tables call them.
NAMES = {
    f"../up/{FIRST}": (Member(b"../up/" + FIRST.encode(), PICTURE), "list: path traversal: .. in the name"),
    f"../up/{SECOND}": (Member(b"../up/" + SECOND.encode(), PICTURE), "list: path traversal: .. in the name"),
    f"names/../../{SECOND}": (Member(b"names/../../" + SECOND.encode(), PICTURE), "list: path traversal: .. in the name"),
    f"/etc/{SECOND}": (Member(b"/etc/" + SECOND.encode(), PICTURE), "list: absolute name"),
    f"C:\\{SECOND}": (Member(b"C:\\" + SECOND.encode(), PICTURE), "list: absolute name"),
    "caf\\xe9.jpg": (Member(b"caf\xe9.jpg", PICTURE, flags=UTF8), "list: the name is no valid text"),
}
OTHERS = (
    Member(f"windows\\{FIRST}".encode(), picture("w1")),
    Member(f"windows\\{SECOND}".encode(), picture("w2")),
    Member(f"twice/{FIRST}".encode(), picture("t1")),
    Member(f"twice/{SECOND}".encode(), picture("t2")),
    Member(f"twice/{SECOND}".encode(), picture("t3")),
    Member(f"again/{FIRST}".encode(), picture("a1")),
    Member(f"again/{SECOND}".encode(), picture("a2")),
    Member(f"again/{SECOND}".encode(), picture("a2")),
    Member(b"__MACOSX/._x.jpg", b"x"),
    Member(b"in/.DS_Store", b"x"),
    Member(b"archive.zip", archive(Member(b"a.jpg", PICTURE))),
    Member(b"../run.sh", b"rm -rf /"),
)


def harmed(directory: str, name: str) -> Member:
    """The member of a directory of `HARMED`."""
    return Member(f"{directory}/{name}".encode(), **{"data": PICTURE} | HARMED[directory][0])


def hostile() -> bytes:
    """Each kind of harm beside a sound picture, and all odd names."""
    sound = [Member(f"{directory}/{FIRST}".encode(), picture(directory)) for directory in HARMED]
    return archive(*sound, *(harmed(name, SECOND) for name in HARMED), *(member for member, _ in NAMES.values()), *OTHERS)


def hopeless() -> bytes:
    """Groups of which no image can be used."""
    return archive(*(harmed(directory, name) for directory in HARMED for name in (FIRST, SECOND)))


SOUND = archive(Member(FIRST.encode(), PICTURE), Member(SECOND.encode(), PICTURE))
LIST = SOUND.index(b"PK\1\2")
# Files that are no archives, with why the project fails.
FAILING = {
    "damaged list": (SOUND[: LIST + 70] + b"\xff" * 60 + SOUND[LIST + 130 :], "its list of members is damaged"),
    "a text": (b"Dear reader", "no zip archive; name a .zip file or a folder of images"),
}
MISSING = "no such file or directory; correct the path, or make the file readable"
EMPTY = {"empty zip": "in/empty zip.zip", "empty folder": "in/empty", "no images": "in/texts"}


def fill(root: Path) -> None:
    root.mkdir()
    (root / "-rf %j {x} #1 'ü'.zip").write_bytes(hostile())
    (root / "hopeless.zip").write_bytes(hopeless())
    for name, (data, _) in FAILING.items():
        (root / f"{name}.zip").write_bytes(data)
    zipfile.ZipFile(root / "empty zip.zip", "w").close()
    (root / "empty").mkdir()
    in_folder(root / "texts", {"a.txt": b"x"})


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """All projects, run once; the sources stay as they were."""
    paths = {HOSTILE: "in/-rf %j {x} #1 'ü'.zip", HOPELESS: "in/hopeless.zip", "missing": "in/none.zip"}
    paths |= {name: f"in/{name}.zip" for name in FAILING} | EMPTY
    finished = finished_batch(tmp_path_factory.getbasetemp())
    batch = fresh(finished, tmp_path_factory.mktemp("archives") / "p", {name: {"path": path} for name, path in paths.items()}, fill)
    before = digest_tree(batch.root / "in")
    batch.run("predict", *CORES)
    assert digest_tree(batch.root / "in") == before, "a source was touched"
    return batch


@pytest.fixture(scope="module")
def images(ran: Batch) -> dict[str, list[dict[str, Any]]]:
    """The images of the hostile archive; a path may stand there twice."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in ran.rows("03_predict/images", HOSTILE):
        found.setdefault(row["path"], []).append(row)
    return found


# ---- archives that mean harm ----


def test_the_encryption_is_the_one_that_other_programs_know() -> None:
    # Python refuses an archive that asks for a program of version 9.9.
    data = archive(harmed("encrypted", SECOND)).replace(b"PK\1\2\x3f\3\x63\0", b"PK\1\2\x3f\3\x14\0")
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        assert source.read(f"encrypted/{SECOND}", pwd=b"secret") == PICTURE


@pytest.mark.parametrize("kind", HARMED)
def test_a_harmful_member_is_an_error_and_the_other_image_of_its_group_is_selected(
    ran: Batch, images: dict[str, list[dict[str, Any]]], kind: str
) -> None:
    (bad,), (good,) = images[f"{kind}/{SECOND}"], images[f"{kind}/{FIRST}"]
    assert (bad["outcome"], bad["reason"], bad["score"]) == ("error", HARMED[kind][1], None)
    assert (good["outcome"], good["reason"], good["group_id"]) == ("selected", "", bad["group_id"])
    (row,) = (row for row in ran.rows("03_predict", HOSTILE) if row["directory"] == kind)
    assert (row["images"], row["selected"], row["confidence"], row["margin"]) == ([FIRST, SECOND], 0, 1.0, None)
    (decided,) = select(ran.database(HOSTILE), "SELECT * FROM ai_decisions WHERE directory = ?", kind)
    assert (decided["ai_selected_index"], decided["ai_confidence"], json.loads(decided["images"])) == (0, 1.0, [FIRST, SECOND])


@pytest.mark.parametrize("name", NAMES)
def test_a_harmful_name_is_an_error_and_takes_part_in_no_group(images: dict[str, list[dict[str, Any]]], name: str) -> None:
    (row,) = images[name]
    assert (row["outcome"], row["reason"], row["group_id"], row["sha256"]) == ("error", NAMES[name][1], None, None)


def test_odd_members_are_what_they_are(ran: Batch, images: dict[str, list[dict[str, Any]]]) -> None:
    directories = [row["directory"] for row in ran.rows("03_predict", HOSTILE)]
    assert directories == sorted([*HARMED, "windows", "again"])
    assert [row["reason"] for row in images[f"twice/{SECOND}"]] == ["list: the name stands there 2 times, with different contents"] * 2
    assert images[f"twice/{FIRST}"][0]["reason"] == "no image of another stage goes with it"
    read, refused = sorted(images[f"again/{SECOND}"], key=lambda row: row["outcome"] == "error")
    assert (refused["reason"], refused["group_id"]) == ("list: the name stands there before, with the same content", None)
    assert read["group_id"] == images[f"again/{FIRST}"][0]["group_id"]
    assert {read["outcome"], images[f"again/{FIRST}"][0]["outcome"]} == {"selected", "passed over"}
    about = ran.about("03_predict", HOSTILE)
    assert about["skipped"] == {".DS_Store": 1, ".zip": 1, "__MACOSX": 1, "refused .sh": 1}
    listed = 2 * len(HARMED) + len(NAMES) + 8
    assert sum(map(len, images.values())) == about["images"] == listed
    assert about["counts"]["error"] == len(HARMED) + len(NAMES) + 3
    assert not list(ran.root.rglob("run.sh"))


def test_groups_without_a_readable_image_are_never_decided(ran: Batch) -> None:
    assert select(ran.database(HOPELESS), "SELECT * FROM ai_decisions") == []
    failed = {row["directory"]: row for row in select(ran.database(HOPELESS), "SELECT * FROM failed_groups")}
    assert failed.keys() == HARMED.keys()
    for kind, (_, reason) in HARMED.items():
        assert json.loads(failed[kind]["images"]) == [FIRST, SECOND]
        assert failed[kind]["error"] == f"read: none of 2 images can be used; {FIRST}: {reason}"
    assert {row["outcome"] for row in ran.rows("03_predict/images", HOPELESS)} == {"error"}
    assert ran.counted("03_predict", HOPELESS)["failed_groups"] == len(HARMED)
    assert ran.json("04_database", HOPELESS)["status"] == "success"


# ---- projects that cannot be processed ----


def test_projects_that_cannot_be_read_are_failed_in_every_place_and_stop_no_other(ran: Batch) -> None:
    wanted = {name: f"in/{name}.zip: {text}" for name, (_, text) in FAILING.items()} | {"missing": f"in/none.zip: {MISSING}"}
    summary = ran.json("batch_predictions_summary.json")
    assert summary["results"] == {"total_projects": 8, "processed": 5, "skipped": 0, "failed": 3}
    assert summary["failed_projects"].keys() == wanted.keys()
    lines = [json.loads(line) for line in (ran.root / "results/predict/batch_predictions_log.jsonl").read_text().splitlines()]
    for line in lines:
        project = line["project_id"]
        error = summary["failed_projects"].get(project)
        assert (line["status"], line["error"]) == ("failed" if error else "success", error)
        assert ran.json("04_database", project)["error"] == (error or "")
        if error:
            assert error.startswith(wanted[project])
            assert line["image_count"] == 0
            for step in ("01_inventory", "02_embed", "03_predict", "03_predict/images"):
                about = ran.about(step, project)
                assert (about["status"], about["error"], ran.rows(step, project)) == ("failed", error, [])
            verdict = ran.json("05_validate", project)
            assert verdict["data_quality"] == "errors"
            assert error in json.dumps(verdict["issues"], ensure_ascii=False)
            assert error in ran.log("01_inventory", project)


def test_projects_without_images_are_warned_of(ran: Batch) -> None:
    for project in EMPTY:
        verdict = ran.json("05_validate", project)
        assert (verdict["data_quality"], verdict["total_records"]) == ("warnings", 0)
        assert [issue["message"] for issue in verdict["issues"]] == ["ai_decisions has no rows"]
        assert ran.rows("03_predict/images", project) == []


def test_the_last_target_ends_badly_and_names_what_is_wrong(ran: Batch) -> None:
    done = ran.run("predict_check", *CORES, check=False)
    assert done.returncode
    said = re.findall(r"^(?:[-0-9:, ]+ )?(good|warnings|errors): .*/04_database/(.*)\.db: ", done.stdout, re.MULTILINE)
    grades = {slug(name): "errors" for name in (*FAILING, "missing")} | {slug(name): "warnings" for name in (HOPELESS, *EMPTY)}
    assert dict(map(reversed, said)) == grades | {slug(HOSTILE): "good"}
    assert f"in/none.zip: {MISSING}" in done.stdout


def test_exit_states_are_those_of_the_worst_database(ran: Batch) -> None:
    def status(place: Path) -> int:
        command = [sys.executable, "-m", "workflow_scripts.predict.validate_all", str(place)]
        return subprocess.run(command, cwd=REPO, text=True, capture_output=True).returncode

    assert status(ran.database(HOSTILE).parent) == 2
    assert status(ran.database(HOPELESS)) == 1
    assert status(ran.database(HOSTILE)) == 0


# ---- odd names ----


@pytest.mark.parametrize("project", [HOSTILE, HOPELESS], ids=["all signs", "long"])
def test_files_have_plain_names_and_the_true_one_stands_in_tables_logs_and_databases(ran: Batch, project: str) -> None:
    name = slug(project)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,80}", name)
    assert {path.name for path in (ran.root / "logs/predict").iterdir()} >= {name}
    for step in ("01_inventory", "02_embed", "03_predict", "03_predict/images"):
        assert (ran.about(step, project)["project_id"], ran.about(step, project)["path"]) == (project, ran.table[project]["path"])
    assert ran.json("04_database", project)["project_id"] == ran.json("05_validate", project)["project_id"] == project
    meta = {row["key"]: row["value"] for row in select(ran.database(project), "SELECT * FROM meta")}
    assert (meta["project_id"], meta["path"]) == (project, ran.table[project]["path"])
    groups = ran.rows("03_predict", project)
    assert all(row["group_id"].startswith(f"{project}_group_20250101_100000_") for row in groups)
    assert {row["project_id"] for row in select(ran.database(project), "SELECT * FROM ai_decisions")} <= {project}
    assert (ran.root / "benchmarks/predict" / name / "02_embed.tsv").is_file()


def test_no_file_has_an_odd_name(ran: Batch) -> None:
    made = [path for folder in ("results", "logs", "benchmarks", "cache") for path in (ran.root / folder).rglob("*")]
    assert len(made) > 100
    assert [path for path in made if not re.fullmatch(r"[A-Za-z0-9._-]+", path.name)] == []
    assert [path.name for path in made if path.name.endswith(".tmp")] == []


def test_nothing_is_left_to_do(ran: Batch) -> None:
    assert ran.jobs() == set()
