"""retrieval 06: the Croissant metadata of a dataset."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from workflow_scripts.retrieval.hf_croissant import croissant
from workflow_scripts.retrieval.hf_rows import COLUMNS

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train").mkdir()
    for number in range(2):
        (tmp_path / f"train/data-0000{number}-of-00002.arrow").write_bytes(b"rows" * (number + 1))
    (tmp_path / "train/state.json").write_text("{}")
    return tmp_path


def described(folder, variant="speaker", name="things_all", description="What it is."):
    text = croissant(folder, name, description, variant, "0123456789abcdef")
    assert text.endswith("}\n")
    return json.loads(text)


def test_every_file_of_rows_is_listed_with_its_checksum(folder):
    files = described(folder)["distribution"][:-1]
    assert [file["contentUrl"] for file in files] == ["train/data-00000-of-00002.arrow", "train/data-00001-of-00002.arrow"]
    assert [file["contentSize"] for file in files] == ["4 B", "8 B"]
    assert [file["sha256"] for file in files] == [hashlib.sha256(b"rows" * n).hexdigest() for n in (1, 2)]


def test_a_file_that_is_written_again_has_its_new_checksum(folder):
    before = described(folder)["distribution"][0]["sha256"]
    (folder / "train/data-00000-of-00002.arrow").write_bytes(b"else")
    assert described(folder)["distribution"][0]["sha256"] != before


@pytest.mark.parametrize("variant", ["speaker", "listener"])
def test_every_column_is_a_field(folder, variant):
    (records,) = described(folder, variant)["recordSet"]
    assert [field["name"] for field in records["field"]] == [column.name for column in COLUMNS[variant]]
    fields = {field["name"]: field for field in records["field"]}
    assert fields["example_idx"]["dataType"] == "cr:Int64"
    assert records["key"] == {"@id": fields["example_idx"]["@id"]}
    lists = [name for name, field in fields.items() if field.get("repeated")]
    assert lists == (["ret_paths", "names"] if variant == "speaker" else [])
    images = [name for name, field in fields.items() if field["dataType"] == "sc:ImageObject"]
    assert images == (["image"] if variant == "speaker" else ["query_image", "reference_image"])
    assert all(fields[name]["source"]["transform"] == {"jsonPath": "bytes"} for name in images)
    assert all("`" not in field["description"] for field in records["field"])


def test_the_version_follows_the_content_and_no_date_is_in_it(folder):
    found = described(folder)
    assert found["version"] == "1.0.0+0123456789abcdef"
    assert not any(name.startswith("date") for name in found)


def test_the_reference_validator_finds_no_error(folder, tmp_path):
    """In a process of its own that cannot reach any other: it has the network's functions taken away."""
    for variant in COLUMNS:
        (folder / f"{variant}.json").write_text(croissant(folder, "things_all", 'What "it" is → ü.', variant, "0123456789abcdef"))
    program = (
        "import json, socket, sys\n"
        "def refuse(*_, **__): raise OSError('the network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "import mlcroissant\n"
        "for name in sys.argv[1:]:\n"
        "    found = mlcroissant.Dataset(name).metadata\n"
        "    fields = [field.name for field in found.record_sets[0].fields]\n"
        "    print(json.dumps([list(found.ctx.issues.errors), list(found.ctx.issues.warnings), found.description, fields]))"
    )
    command = [sys.executable, "-c", program, *(str(folder / f"{variant}.json") for variant in COLUMNS)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "context" not in done.stderr
    for line, columns in zip(done.stdout.splitlines(), COLUMNS.values(), strict=True):
        errors, warnings, description, fields = json.loads(line)
        assert errors == []
        assert len(warnings) == 1
        assert "datePublished" in warnings[0]
        assert description == 'What "it" is → ü.'
        assert fields == [column.name for column in columns]


def test_card_metadata_and_rows_need_no_heavy_library():
    program = (
        "import json, sys\n"
        "from workflow_scripts.retrieval import hf_card, hf_croissant, hf_dataset, hf_images, hf_problems, hf_rows\n"
        "print(json.dumps([name for name in ('torch', 'datasets', 'pandas', 'huggingface_hub', 'scipy') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
