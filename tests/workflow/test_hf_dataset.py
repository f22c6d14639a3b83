"""retrieval 06 with the real `datasets`: what is written loads, trains, and is the same every time."""

import hashlib
import io
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.unit.retrieval.hf_data import Sample
from workflow_scripts.core.step import StepError
from workflow_scripts.retrieval import hf_dataset
from workflow_scripts.retrieval.hf_images import Images
from workflow_scripts.retrieval.hf_rows import COLUMNS, rows

datasets = pytest.importorskip("datasets")
torch_data = pytest.importorskip("torch.utils.data")

REPO = Path(__file__).parents[2]
COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200))
VARIANTS = ("speaker", "listener")
# Starts the step as Snakemake does, with no way out of the machine; gives its params and files as JSON.
STARTER = """
import json, runpy, socket, sys
from types import SimpleNamespace as Space
def refuse(*_, **__): raise OSError("the network")
socket.socket.connect = socket.getaddrinfo = refuse
sys.path.insert(0, sys.argv[1])
job = json.loads(sys.argv[2])
rule = Space(output=[job["output"]], log=[job["log"]], **{name: Space(**job[name]) for name in ("input", "params")})
runpy.run_path(sys.argv[1] + "/workflow_scripts/retrieval/hf_dataset.py", {"snakemake": rule})
"""


def picture(number: int) -> bytes:
    """A small picture in one of several formats, each with something that decoding and saving again would lose."""
    image, data = Image.new("RGB", (40 + number, 30), COLOURS[number % 3]), io.BytesIO()
    kind = ("JPEG", "PNG", "WEBP", "BMP")[number % 4]
    exif = Image.Exif()
    exif[0x0131] = f"camera {number}"
    image.save(data, kind, **({"exif": exif, "quality": 60} if kind in ("JPEG", "WEBP") else {}))
    return data.getvalue()


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return filled(tmp_path)


def filled(root: Path, count: int = 24, **where: object) -> Sample:
    root.mkdir(exist_ok=True)
    sample = Sample(root, **where)
    paths = [f"{('dog', 'a mug, red')[n % 2]}/c{n % 3}/{n:02d} 100%.jpg" for n in range(count)]
    for number, path in enumerate(paths):
        sample.put(path, picture(number))
    for number, path in enumerate(paths):
        category, concept, _ = path.split("/")
        sample.add(path, [paths[(number + step + 1) % count] for step in range(3)], number % 3, category, concept)
    return sample


def build(sample: Sample, name: str = "out/things_K_3", **changes: object) -> Path:
    output = sample.root / name
    hf_dataset.build(sample.records_file, sample.inventories, None, sample.settings(**changes), output)
    return output


def tree(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def start(
    sample: Sample, output: str, cwd: Path, check: bool = True, template: list[str] | None = None, **changes: object
) -> subprocess.CompletedProcess[str]:
    """Run the step in a process of its own with an empty home."""
    home = cwd / "home"
    home.mkdir(exist_ok=True)
    files = {"records": str(sample.records_file), "inventories": list(map(str, sample.inventories)), "template": template or []}
    settings = sample.settings(**changes)
    params = {"algorithm": settings.pop("algorithm"), "dataset": settings}
    job = {"input": files, "params": params, "output": output, "log": str(cwd / "step.log")}
    hidden = ("HF_", "XDG_", "HUGGINGFACE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)} | {"HOME": str(home)}
    command = [sys.executable, "-c", STARTER, str(REPO), json.dumps(job)]
    done = subprocess.run(command, cwd=cwd, env=environment, text=True, capture_output=True, check=False)
    assert list(home.iterdir()) == [], "nothing is left in the user's home"
    assert (done.returncode == 0) == check, done.stderr
    return done


def raw(folder: Path) -> "datasets.Dataset":
    """The rows with the bytes of their images."""
    loaded = datasets.load_from_disk(folder)["train"]
    for name, feature in loaded.features.items():
        if isinstance(feature, datasets.Image):
            loaded = loaded.cast_column(name, datasets.Image(decode=False))
    return loaded


# ---- what stands in it ----


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_loads_with_every_row_to_the_byte(sample: Sample, variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    original = rows
    monkeypatch.setattr(hf_dataset, "rows", lambda **arguments: (given.append(row) or row for row in original(**arguments)))
    folder = build(sample, variant=variant)
    found = list(raw(folder))
    assert found == given
    assert len(found) == 24
    first = found[5]["image" if variant == "speaker" else "query_image"]
    assert first["bytes"] == (sample.root / "images/a mug, red/c2/05 100%.jpg").read_bytes() == picture(5)
    assert first["path"] == sample.records[5].query_path


@pytest.mark.parametrize("variant", VARIANTS)
def test_its_columns_are_those_of_the_contract(sample: Sample, variant: str) -> None:
    loaded = datasets.load_from_disk(build(sample, variant=variant))
    assert list(loaded) == ["train"]
    text, picture_, texts = datasets.Value("string"), datasets.Image(), datasets.List(datasets.Value("string"))
    speaker = {"image": picture_, "ret_paths": texts, "names": texts, "speaker_problem": text, "solution": text}
    listener = {"query_image": picture_, "reference_image": picture_, "listener_problem": text, "listener_solution": text}
    shared = {"category": text, "example_idx": datasets.Value("int64")}
    expected = {"speaker": speaker, "listener": listener}[variant] | shared
    assert dict(loaded["train"].features) == expected
    assert list(loaded["train"].features) == list(expected) == [column.name for column in COLUMNS[variant]]
    assert type(loaded["train"].features["image" if variant == "speaker" else "query_image"]) is datasets.Image


def test_pictures_decode_as_the_files_do(sample: Sample) -> None:
    for number, row in enumerate(datasets.load_from_disk(build(sample))["train"]):
        original = Image.open(io.BytesIO(picture(number)))
        assert row["image"].size == (40 + number, 30)
        assert row["image"].tobytes() == original.tobytes()


def test_a_file_of_the_same_name_where_the_job_runs_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = filled(tmp_path, relative=True)
    decoy = tmp_path / "elsewhere/dog/c0/00 100%.jpg"
    decoy.parent.mkdir(parents=True)
    decoy.write_bytes(b"another picture")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert raw(build(sample))[0]["image"] == {"bytes": picture(0), "path": "dog/c0/00 100%.jpg"}


def test_rows_keep_their_order_over_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = Sample(tmp_path).fill(700)
    whole = list(raw(build(sample, "whole")))
    monkeypatch.setattr(datasets.config, "MAX_SHARD_SIZE", 20_000)
    monkeypatch.setattr(hf_dataset, "BATCH_SIZES", (7,))
    folder = build(sample, "parts")
    files = [path.name for path in sorted((folder / "train").glob("*.arrow"))]
    assert len(files) > 10
    assert files == [f"data-{number:05d}-of-{len(files):05d}.arrow" for number in range(len(files))]
    assert list(raw(folder)) == whole
    assert [row["example_idx"] for row in whole] == list(range(700))
    listed = json.loads((folder / "croissant.json").read_text())["distribution"]
    assert [entry["contentUrl"] for entry in listed[:-1]] == [f"train/{name}" for name in files]


def test_what_stands_beside_the_rows_is_what_datasets_itself_saves(sample: Sample) -> None:
    folder = build(sample)
    datasets.load_from_disk(folder).save_to_disk(sample.root / "again")
    assert set(tree(sample.root / "again")) == set(tree(folder)) - {"README.md", "croissant.json"}
    for name in ("dataset_dict.json", "train/state.json", "train/dataset_info.json"):
        # A dataset that was loaded has a fingerprint of its own.
        ours, theirs = (re.sub(r'"_fingerprint": "\w+"', "", (place / name).read_text()) for place in (folder, sample.root / "again"))
        assert ours == theirs, name


# ---- the same every time ----


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_runs_give_the_same_bytes(tmp_path: Path, variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trees = []
    for number, (place, seed) in enumerate((("here", "1"), ("a longer/way to ü", "2"))):
        sample = filled(tmp_path / f"project {number}", data_root="images")
        work = sample.root
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        done = start(sample, f"{place}/things_K_3", work, variant=variant)
        assert f"done: rows=24 images={24 if variant == 'speaker' else 48} bytes=" in done.stderr
        assert "split" not in done.stderr, "no progress bar but the step's own"
        trees.append(tree(work / place / "things_K_3"))
        assert [path.name for path in (work / place).iterdir()] == ["things_K_3"]
    assert trees[0] == trees[1]
    names = {"README.md", "croissant.json", "dataset_dict.json"}
    names |= {f"train/{name}" for name in ("data-00000-of-00001.arrow", "dataset_info.json", "state.json")}
    assert set(trees[0]) == names


def test_no_path_of_the_machine_stands_in_it(tmp_path: Path) -> None:
    sample = filled(tmp_path, relative=True)
    for path in build(sample).rglob("*"):
        assert path.is_dir() or str(tmp_path).encode() not in path.read_bytes()


def test_changed_records_at_the_same_path_change_the_rows(sample: Sample) -> None:
    before = build(sample)
    old_rows, old_tree = list(raw(before)), tree(before)
    sample.records.pop(3)
    after = build(sample)
    assert [row["image"]["path"] for row in raw(after)] == [record.query_path for record in sample.records]
    assert len(old_rows) == 24
    assert {name for name, sha256 in tree(after).items() if sha256 != old_tree[name]} == set(old_tree) - {"dataset_dict.json"}


@pytest.mark.parametrize("change", ["records", "image", "problem", "seed", "variant", "algorithm", "nothing"])
def test_the_fingerprint_follows_the_content(sample: Sample, change: str) -> None:
    template, output = sample.root / "mine.jinja", sample.root / "out/things"
    template.write_text("Which {{ category }}?")

    def fingerprint(**changes: object) -> str:
        hf_dataset.build(sample.records_file, sample.inventories, template, sample.settings(**changes), output)
        return json.loads((output / "train/state.json").read_text())["_fingerprint"]

    before = fingerprint()
    assert re.fullmatch(r"[0-9a-f]{16}", before)
    if change == "records":
        sample.records.reverse()
    if change == "image":
        sample.inventory.pop(4)
        sample.put("dog/c1/04 100%.jpg", picture(7))
    settings = {"problem": {"category_names": {"dog": "hound"}}, "seed": {"seed": 5}, "variant": {"variant": "listener"}}
    after = fingerprint(**(settings | {"algorithm": {"algorithm": 2}}).get(change, {}))
    assert (after == before) == (change == "nothing")


def test_the_cache_is_the_jobs_own_and_known_by_content(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, original = [], datasets.Dataset.from_generator
    monkeypatch.setattr(datasets.Dataset, "from_generator", lambda *given, **named: seen.append(named) or original(*given, **named))
    folder = build(sample)
    (named,) = seen
    assert named["fingerprint"] == json.loads((folder / "train/state.json").read_text())["_fingerprint"]
    assert named["gen_kwargs"]["records_sha256"] == hashlib.sha256((sample.root / "records.json").read_bytes()).hexdigest()
    assert Path(named["cache_dir"]).parents[1] == folder.parent
    assert not Path(named["cache_dir"]).parent.exists()


# ---- whole or not at all ----


def test_a_failure_leaves_the_older_dataset_and_nothing_beside(sample: Sample) -> None:
    folder = build(sample)
    before = tree(folder)
    inventories = sample.inventories
    (sample.root / "images/dog/c1/16 100%.jpg").write_bytes(picture(1))
    with pytest.raises(StepError, match=r"no longer what the inventory says: dog/c1/16 100%\.jpg; run again"):
        hf_dataset.build(sample.records_file, inventories, None, sample.settings(), folder)
    assert tree(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_an_error_of_another_kind_is_told_as_it_is(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Images, name: str) -> bytes:
        raise OSError("the disk is on fire")

    monkeypatch.setattr(Images, "read", fail)
    with pytest.raises(OSError, match="the disk is on fire"):
        build(sample)
    assert list((sample.root / "out").iterdir()) == []


def test_what_a_killed_job_left_is_swept(sample: Sample) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    left = sample.root / f"out/.things_K_3.{socket.gethostname()}.{process.pid}.new-page/cache"
    left.mkdir(parents=True)
    (left / "generator-train.arrow").write_bytes(b"half")
    folder = build(sample)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_user_error_ends_the_step_with_its_text_alone(sample: Sample) -> None:
    (sample.root / "mine.jinja").write_text("Which?\n{{ concept }}")
    done = start(sample, "out/things", sample.root, check=False, template=[str(sample.root / "mine.jinja")])
    assert "mine.jinja, line 2: 'concept' is undefined" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (sample.root / "out").exists()


# ---- what the card promises ----


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_code_of_the_card_trains_a_pass(sample: Sample, variant: str) -> None:
    folder = build(sample, variant=variant)
    blocks = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == (2 if variant == "speaker" else 1)
    blocks[0] += "    seen.extend(zip(problems, answers, pictures, strict=True))\n    sizes.append(len(answers))\n"
    check = "assert sorted(sizes) == [8, 8, 8]\nassert len(seen) == 24\nprint(sorted({answer for _, answer, _ in seen}))\n"
    if variant == "speaker":
        check += "assert [image.size for image in references] == [(41, 30), (42, 30), (43, 30)]\n"
    program = "seen, sizes = [], []\n" + "\n".join(blocks) + check
    done = subprocess.run([sys.executable, "-c", program], cwd=folder.parent, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ("['A', 'B', 'C']\n" if variant == "speaker" else "['no', 'yes']\n")


def test_the_card_is_one_for_the_hub(sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    hub = pytest.importorskip("huggingface_hub")
    folder = build(sample)
    card = hub.DatasetCard.load(folder / "README.md")
    assert isinstance(card.data, hub.DatasetCardData)
    assert (card.data.license, card.data.size_categories, card.data.language) == ("unknown", ["n<1K"], ["en"])
    known = json.loads((Path(datasets.__file__).parent / "utils/resources/size_categories.json").read_text())
    assert set(card.data.size_categories) <= set(known)
    # The Hub's viewer goes by `configs`, as `load_dataset` does.
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].features == datasets.load_from_disk(folder)["train"].features
    assert list(loaded["train"].cast_column("image", datasets.Image(decode=False))) == list(raw(folder))
