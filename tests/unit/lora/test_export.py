"""lora 07: whole pairs under names that trainers find, what was kept out and why, nothing of an earlier export."""

import csv
import json
import os
import runpy
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from tests.unit.lora.composite_data import background, sha
from workflow_scripts.core.step import StepError
from workflow_scripts.lora import export as module
from workflow_scripts.lora.culls import CULLED
from workflow_scripts.lora.export import export
from workflow_scripts.lora.export_folder import safe_name
from workflow_scripts.lora.tables import CAPTIONS, about, read, write

SETTINGS = {"concept": "ohwx woman", "formats": ["kohya", "imagefolder"], "repeats": 10, "resolution": 512}
KOHYA = "kohya/10_ohwx woman"


@dataclass
class Captioned:
    """A workspace whose pictures have captions."""

    base: Path
    rows: list = field(default_factory=list)
    settings: dict = field(default_factory=SETTINGS.copy)

    @property
    def folder(self):
        return self.base / "07_export"

    @property
    def manifest(self):
        return self.folder / "manifest.parquet"

    def add(self, *frame_ids, size=(64, 48), **columns):
        for frame_id in frame_ids:
            number = len(self.rows)
            path = self.base / f"05_training_data/upper_body/{frame_id}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            background(number, size).save(path)
            text = f"ohwx woman, caption {number}"
            known = {"frame_id": frame_id, "video": "v", "n": number, "sha256": sha(frame_id), "category": "upper_body"}
            known |= {"path": str(path.relative_to(self.base)), "file_sha256": sha(path.read_bytes()), "text": text}
            self.rows.append(known | {"width": size[0], "height": size[1], "outcome": "captioned"} | columns)
        return self

    def run(self, *lines, **settings):
        table, reviews = self.base / "06_caption/manifest.parquet", []
        if lines:
            reviews = [self.base / "06_caption.csv"]
            reviews[0].write_text("\n".join(["sha256,path,decision,reason", *lines, ""]))
        write(table, CAPTIONS, self.rows)
        for path in (self.manifest, self.folder / "buckets.csv"):
            path.unlink(missing_ok=True)  # as Snakemake does
        self.counts = export(table, reviews, self.base, self.settings | settings, self.manifest, self.folder / "buckets.csv")
        rows = {row["frame_id"]: row for row in read(self.manifest)}
        assert list(rows) == [row["frame_id"] for row in self.rows]
        return rows

    def files(self):
        hidden = {".made", "manifest.parquet", "buckets.csv"}
        paths = (path for path in self.folder.rglob("*") if not hidden & set(path.relative_to(self.folder).parts))
        return sorted(path.relative_to(self.folder).as_posix() + "/" * path.is_dir() for path in paths)

    def metadata(self):
        lines = (self.folder / "imagefolder/train/metadata.jsonl").read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture
def captioned(tmp_path):
    return Captioned(tmp_path).add("v_frame_000001", "v_frame_000002", "v_frame_000003")


def names(*stems, kohya=KOHYA):
    pairs = [f"{kohya}/{stem}{suffix}" for stem in stems for suffix in (".jpg", ".txt")]
    return sorted(
        ["kohya/", f"{kohya}/", "imagefolder/", "imagefolder/train/", "imagefolder/train/metadata.jsonl"]
        + pairs
        + [f"imagefolder/train/{stem}.jpg" for stem in stems]
    )


# ---- the forms ----


def test_every_picture_stands_beside_its_text(captioned):
    captioned.run()
    assert captioned.files() == names("v_frame_000001", "v_frame_000002", "v_frame_000003")
    for row in captioned.rows:
        source, pair = captioned.base / row["path"], captioned.folder / KOHYA / row["frame_id"]
        assert pair.with_suffix(".txt").read_text("utf-8") == row["text"]
        assert pair.with_suffix(".jpg").samefile(source)
        assert (captioned.folder / "imagefolder/train" / f"{row['frame_id']}.jpg").samefile(source)
    assert captioned.metadata() == [{"file_name": f"{row['frame_id']}.jpg", "text": row["text"]} for row in captioned.rows]
    assert captioned.counts == {"listed": 3, "exported": 3, "culled": 0, "lint": 0, "blocked": 0, "error": 0} | {
        "buckets": 1,
        "edited": 0,
        "foreign": 0,
    }


@pytest.mark.parametrize("form", ["kohya", "imagefolder"])
def test_only_the_forms_that_are_wanted_are_there(captioned, form):
    captioned.run()
    captioned.run(formats=[form])
    assert {name.partition("/")[0] for name in captioned.files()} == {form}


def test_texts_are_one_line_of_utf8(captioned):
    captioned.rows[0]["text"] = 'ohwx woman,  "é"\n\n中 \u2028 \\ smiling\r\n'
    captioned.run()
    assert (captioned.folder / KOHYA / "v_frame_000001.txt").read_bytes() == 'ohwx woman, "é" 中 \\ smiling'.encode()
    assert captioned.metadata()[0]["text"] == 'ohwx woman, "é" 中 \\ smiling'
    assert "中 " in (captioned.folder / "imagefolder/train/metadata.jsonl").read_text("utf-8")  # for people to read


def test_odd_names_get_files_that_trainers_find(tmp_path):
    odd = ["two\nlines", "a?b*[c]", "-rf", " x ", ".hidden", "é 中 'q' \"d\"", "x" * 200]
    captioned = Captioned(tmp_path).add(*(f"{name}_frame_000001" for name in odd))
    rows = captioned.run(concept="../ a:b ")
    assert len({row["name"] for row in rows.values()}) == len(odd)
    assert rows["-rf_frame_000001"]["name"] == "-rf_frame_000001"
    folder = captioned.folder / f"kohya/10_{safe_name('../ a:b ')}"
    assert folder.parent == captioned.folder / "kohya"
    # What the trainer does: glob for pictures, then look for a text of the same stem.
    found = [path for path in folder.glob("*") if path.suffix == ".jpg" and not path.name.startswith(".")]
    assert len(found) == len(odd)
    assert all(path.with_suffix(".txt").is_file() for path in found)
    assert all("\n" not in path.name for path in found)
    texts = {row["name"]: row["text"] for row in rows.values()}
    assert {path.stem: path.with_suffix(".txt").read_text() for path in found} == texts
    assert {line["file_name"][:-4]: line["text"] for line in captioned.metadata()} == texts


@pytest.mark.parametrize("name", ["plain", "ohwx woman", "é 中", "-a", "a.b", "100%", "it's {x}"])
def test_harmless_names_stay(name):
    assert safe_name(name) == name


def test_altered_names_differ_as_the_names_do():
    altered = [safe_name(name) for name in ("a/b", "a\\b", "a:b", "a_b", " a_b", ".a_b", "", ".", "y" * 300, "y" * 301)]
    assert len(set(altered)) == len(altered)
    assert all(len(name.encode()) <= 160 and name.strip(" .") == name for name in altered)
    assert altered[0] == f"a_b-{sha('a/b')[:8]}"


# ---- what is kept out ----


def test_what_has_no_good_caption_is_kept_out_with_its_reason(captioned):
    for number, outcome in enumerate(("lint", "blocked", "culled", "error")):
        captioned.add(f"{outcome}_frame_000001", outcome=outcome, reason=f"reason {number}", text=None, path=None, width=None)
    rows = captioned.run()
    assert [(row["outcome"], row["reason"], row["name"], row["bucket"]) for row in list(rows.values())[3:]] == [
        (outcome, f"reason {number}", None, None) for number, outcome in enumerate(("lint", "blocked", "culled", "error"))
    ]
    assert captioned.files() == names("v_frame_000001", "v_frame_000002", "v_frame_000003")
    assert {name: captioned.counts[name] for name in ("listed", "exported", "lint", "blocked", "culled", "error")} == {
        "listed": 7,
        "exported": 3,
        "lint": 1,
        "blocked": 1,
        "culled": 1,
        "error": 1,
    }


def test_a_frame_that_was_culled_on_a_page_leaves_the_export(captioned, log_text):
    captioned.run()
    row = captioned.run(f"{sha('v_frame_000002')},x,reject,eyes shut", f"{sha('?')},gone.jpg,reject,")["v_frame_000002"]
    assert (row["outcome"], row["reason"], row["bucket"]) == ("culled", f"{CULLED}: eyes shut", None)
    assert captioned.files() == names("v_frame_000001", "v_frame_000003")
    assert len(captioned.metadata()) == 2
    assert f"review: gone.jpg ({sha('?')}) fits no frame" in log_text()


def test_the_reason_of_an_earlier_step_stays(captioned):
    captioned.rows[1] |= {"outcome": "lint", "reason": "empty"}
    row = captioned.run(f"{sha('v_frame_000002')},x,reject,")["v_frame_000002"]
    assert (row["outcome"], row["reason"]) == ("lint", "empty")


def test_an_empty_set_is_an_error_that_says_why_and_touches_nothing(captioned):
    captioned.run()
    before = captioned.files()
    for row, outcome in zip(captioned.rows, ("lint", "lint", "blocked"), strict=True):
        row |= {"outcome": outcome, "reason": f"{outcome} it is"}
    with pytest.raises(StepError, match=r"nothing to export of 3 pictures: 2 lint \(lint it is\); 1 blocked \(blocked it is\)"):
        captioned.run()
    captioned.rows.clear()
    with pytest.raises(StepError, match="nothing was selected"):
        captioned.run()
    assert captioned.files() == before


# ---- again and again ----


def test_the_same_input_gives_the_same_bytes_and_writes_nothing_again(captioned, tmp_path):
    captioned.run()
    first = {name: (captioned.folder / name).read_bytes() for name in ("manifest.parquet", "buckets.csv")}
    stamps = [(captioned.folder / name).stat().st_ino for name in captioned.files()]
    captioned.rows.reverse()
    captioned.run()
    captioned.rows.reverse()
    captioned.run()
    assert stamps == [(captioned.folder / name).stat().st_ino for name in captioned.files()]
    assert first == {name: (captioned.folder / name).read_bytes() for name in first}


def test_nothing_of_an_earlier_export_stays(captioned):
    captioned.run()
    captioned.rows.pop(0)
    captioned.run(repeats=3, concept="zwx")
    assert captioned.files() == names("v_frame_000002", "v_frame_000003", kohya="kohya/3_zwx")


def test_a_new_caption_is_in_the_export(captioned):
    captioned.run()
    captioned.rows[0]["text"] = "ohwx woman, laughing"
    captioned.run()
    assert (captioned.folder / KOHYA / "v_frame_000001.txt").read_text() == "ohwx woman, laughing"
    assert captioned.metadata()[0]["text"] == "ohwx woman, laughing"


def test_a_new_picture_is_in_the_export(captioned):
    captioned.run()
    path = captioned.base / captioned.rows[0]["path"]
    path.unlink()
    Image.new("RGB", (64, 48), "red").save(path)
    captioned.rows[0]["file_sha256"] = sha(path.read_bytes())
    captioned.run()
    assert (captioned.folder / KOHYA / "v_frame_000001.jpg").read_bytes() == path.read_bytes()


def test_files_of_others_stay_and_are_named(captioned, log_text):
    captioned.run()
    (captioned.folder / KOHYA / "mine.jpg").touch()
    (captioned.folder / "kohya/5_style").mkdir()
    (captioned.folder / "kohya/5_style/other.txt").touch()
    (captioned.folder / "notes.md").touch()
    captioned.run()
    foreign = [f"{KOHYA}/mine.jpg", "kohya/5_style/other.txt"]
    assert about(captioned.manifest) == {"edited": [], "foreign": foreign}
    assert captioned.counts["foreign"] == 2
    assert f"2 files are foreign and stay as they are: {', '.join(foreign)}" in log_text()
    assert {*foreign, "notes.md"} < set(captioned.files())


def test_a_text_that_was_edited_in_the_export_stays_and_is_named(captioned):
    captioned.run()
    path = captioned.folder / KOHYA / "v_frame_000001.txt"
    path.write_text("mine")
    os.utime(path, ns=(1, 1))
    for _ in range(2):
        captioned.run()
        assert (path.read_text(), about(captioned.manifest)["edited"]) == ("mine", [f"{KOHYA}/v_frame_000001.txt"])


def test_what_went_away_from_the_export_is_there_again(captioned):
    captioned.run()
    before = captioned.files()
    (captioned.folder / KOHYA / "v_frame_000001.txt").unlink()
    shutil.rmtree(captioned.folder / "imagefolder")
    captioned.run()
    assert captioned.files() == before


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"another")], ids=["gone", "changed"])
def test_a_picture_that_is_no_longer_the_captioned_one_stops_the_export(captioned, spoil):
    spoil(captioned.base / captioned.rows[1]["path"])
    with pytest.raises(StepError, match=r"v_frame_000002\.jpg: gone, or changed since it was captioned; run again"):
        captioned.run()
    assert not captioned.manifest.exists()


# ---- buckets ----


def test_the_preview_counts_every_exported_picture(tmp_path):
    captioned = (
        Captioned(tmp_path).add("a", "b", size=(512, 512)).add("c", size=(1024, 1000)).add("d", size=(256, 1024)).add("e", size=(300, 200))
    )
    captioned.add("out", outcome="lint", size=(512, 512))
    rows = captioned.run()
    assert [row["bucket"] for row in rows.values()] == ["512x512", "512x512", "512x512", "256x1024", "640x384", None]
    with (captioned.folder / "buckets.csv").open(encoding="utf-8", newline="") as handle:
        lines = list(csv.DictReader(handle))
    # c becomes 524 x 512; e becomes 640 x 427.
    assert lines == [
        {"width": "256", "height": "1024", "images": "1", "cropped": "0.0000", "enlarged": "0"},
        {"width": "512", "height": "512", "images": "3", "cropped": f"{(1 - 512 / 524) / 3:.4f}", "enlarged": "0"},
        {"width": "640", "height": "384", "images": "1", "cropped": f"{1 - 384 / 427:.4f}", "enlarged": "1"},
    ]
    assert captioned.counts["buckets"] == 3


def test_the_step_as_snakemake_starts_it(captioned, in_a_step):
    captioned.run()
    log, preview = captioned.base / "step.log", captioned.folder / "buckets.csv"
    params = SimpleNamespace(export=SETTINGS, root=str(captioned.base))
    files = SimpleNamespace(captions=str(captioned.base / "06_caption/manifest.parquet"), reviews=[])
    output = SimpleNamespace(manifest=str(captioned.manifest), buckets=str(preview))
    runpy.run_path(module.__file__, {"snakemake": SimpleNamespace(input=files, output=output, params=params, log=[str(log)])})
    assert log.read_text().endswith("exported=3 culled=0 lint=0 blocked=0 error=0 buckets=1 edited=0 foreign=0\n")
