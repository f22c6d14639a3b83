"""autotag 01 with real models: the demo's CLIP, a FastSAM of random weights; the step as its rule calls it; and a kill in the middle."""

import hashlib
import io
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.unit.autotag.shard_data import SEGMENT, Collection, Words, picture
from workflow_scripts.autotag import source
from workflow_scripts.autotag.blocks import EMBEDDINGS, FILES, IMAGES_TABLE, METADATA, Block
from workflow_scripts.autotag.flow import Flow, Models
from workflow_scripts.autotag.shards import Sample
from workflow_scripts.autotag.source import Recipe, embed_source, load_models
from workflow_scripts.core import clip, tables
from workflow_scripts.core.embeddings import digest
from workflow_scripts.core.images import decode
from workflow_scripts.core.models import ModelCard, WeightsCard, file_sha256
from workflow_scripts.demo.drawing import draw_scene, rng_for

torch = pytest.importorskip("torch")
pytest.importorskip("open_clip")

REPO = Path(__file__).parents[2]
DEMO_CLIP = REPO / "resources/demo/clip"
MACHINE = {"device": "cpu", "threads": 1, "batch_clips": 5, "batch_images": 2}
EVERYTHING = SEGMENT | {"backend": "fastsam", "prompts": "everything", "conf": 1e-7, "min_area": 0}


@pytest.fixture(scope="module")
def card():
    """The card of the demo's CLIP."""
    weights = DEMO_CLIP / "open_clip_model.safetensors"
    config = json.loads((DEMO_CLIP / "open_clip_config.json").read_text())
    preprocess = {"size": config["model_cfg"]["vision_cfg"]["image_size"], "interpolation": "bicubic", "resize_mode": "shortest"}
    preprocess |= {"fill_color": 0} | config["preprocess_cfg"]
    folder, size = str(DEMO_CLIP), weights.stat().st_size
    return ModelCard("demo", folder, f"local-dir:{folder}", str(weights), size, file_sha256(weights), config["model_cfg"], preprocess)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The card of a YOLO that segments, of random weights."""
    ultralytics = pytest.importorskip("ultralytics")
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("segmenter") / "FastSAM-x.pt"
    ultralytics.YOLO("yolov8n-seg.yaml").save(path)
    return WeightsCard("segment", "FastSAM-x.pt", str(path), path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture(scope="module")
def scenes():
    """Drawn scenes by key."""
    return {f"{number:03d}": picture_of(number) for number in range(7)}


def picture_of(number):
    buffer = io.BytesIO()
    draw_scene(rng_for(3, "autotag source", str(number)), (160 + 20 * number, 120)).image.save(buffer, "JPEG", quality=90)
    return {"jpg": buffer.getvalue(), "json": b"{}"}


@pytest.fixture
def collection(tmp_path, scenes):
    """Two shards of scenes, the first with tags."""
    made = Collection(tmp_path)
    keys = list(scenes)
    made.write("00000", {key: scenes[key] for key in keys[:4]}, tags={key: ["cat", "dog"] for key in keys[:3]})
    made.write("00001", {key: scenes[key] for key in keys[4:]})
    return made


def cosine(one, other):
    one, other = (np.asarray(each, np.float64) for each in (one, other))
    return (one * other).sum(-1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(other, axis=-1)


def test_vectors_are_those_of_the_model_for_the_crops(collection, card, scenes):
    def encoder(batch):
        return clip.ImageEncoder(card, device="cpu", precision="fp32", batch=batch, threads=1)

    loaded = load_models((None, card), SEGMENT, MACHINE)
    models = Models(Words, lambda: encoder(5), loaded.preprocess, loaded.width)
    recipe = Recipe(SEGMENT, None, 10**6, {"d": loaded.width, "fingerprint": "c", "model": {}, "precision": "fp32"}, {"fingerprint": "s"})
    embed_source({"00000": None}, collection.places, recipe, models, collection.manifest, threads=2)
    rows = tables.read(collection.places.folder / FILES[METADATA].format("00000"))
    vectors = np.load(collection.places.folder / FILES[EMBEDDINGS].format("00000"))
    assert vectors.shape == (len(rows), card.model_cfg["embed_dim"]) == (10, card.model_cfg["embed_dim"])
    alone = encoder(1)
    for row, vector in zip(rows, vectors, strict=True):
        crop = decode(scenes[row["key"]]["jpg"]).image.crop(row["bbox"])
        assert cosine(vector, alone.encode(loaded.preprocess(crop))[0]) > 0.9999, row["crop_id"]
    others = cosine(vectors[:-1], vectors[1:])
    assert (others < 0.9999).any(), "crops that differ have vectors that do"


def job_of(collection, card, weights, root, **changed):
    """What the rule hands to the step."""
    card.write(root / "clip.json")
    weights.write(root / "segmenter.json")
    params = {
        "shards": {"00000": "state 0", "00001": None, "00005": "gone"},
        "source": {"dataset": str(collection.places.dataset), "tags": str(collection.places.tags)},
        "segment": EVERYTHING,
        "segmenter": {},
        "model": {},
        "folder": str(collection.places.folder),
        "max_pixels": 10**6,
        "machine": MACHINE,
    }
    return SimpleNamespace(
        input=SimpleNamespace(segmenter=str(root / "segmenter.json"), model=str(root / "clip.json"), words=[]),
        params=SimpleNamespace(**params | changed),
        output=[str(collection.manifest)],
        log=[str(root / "log.txt")],
    )


PROGRAM = """
import json, runpy, sys
from types import SimpleNamespace
def plain(value): return SimpleNamespace(**value)
job = json.loads(sys.argv[1])
job = SimpleNamespace(input=plain(job["input"]), params=plain(job["params"]), output=job["output"], log=job["log"])
runpy.run_path(sys.argv[2], {"snakemake": job})
print(json.dumps([name for name in ("torch", "open_clip", "ultralytics") if name in sys.modules]))
"""


def run(job):
    """Run the step as Snakemake does, in a process of its own; gives the counts of its log and the libraries that it loaded."""
    text = json.dumps({"input": vars(job.input), "params": vars(job.params), "output": job.output, "log": job.log})
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, text, source.__file__],
        cwd=REPO,
        env=os.environ | {"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    log = Path(job.log[0]).read_text()
    return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", log.split("done: ")[1])}, json.loads(done.stdout), log


def test_the_step_as_its_rule_calls_it_with_a_real_segmenter(collection, card, weights, tmp_path):
    job = job_of(collection, card, weights, tmp_path)
    counts, loaded, log = run(job)
    assert counts | {"segments": 0} == {
        "shards": 2,
        "known": 0,
        "images": 7,
        "embedded": 7,
        "empty": 0,
        "errors": 0,
        "absent": 0,
        "untagged": 4,
        "segments": 0,
        "missing": 1,
    }
    assert set(loaded) == {"torch", "open_clip", "ultralytics"}
    block = Block.read(collection.manifest)
    assert block.missing == ("00005",)
    assert block.rows == counts["segments"] > 7, "segments beside the whole images"
    assert block.embedding["model"] == {"name": "demo", "pretrained": card.pretrained, "sha256": card.sha256}
    precision = block.embedding["precision"]
    assert block.embedding["fingerprint"] == clip.fingerprint(card, views="center", decode="full", precision=precision)
    assert block.segmenter == {
        "fingerprint": source.segmenters.fingerprint(weights.sha256, EVERYTHING, "cpu"),
        "sha256": weights.sha256,
        "backend": "fastsam",
        "prompts": "everything",
    }
    vectors = np.concatenate([shard.vectors(collection.places.folder) for shard in block.shards])
    assert np.allclose(np.linalg.norm(vectors.astype(np.float32), axis=1), 1, atol=2e-3)
    labels = {row["label"] for row in tables.read(collection.places.folder / FILES[METADATA].format("00000")) if row["confidence"]}
    assert None not in labels, "of the class that the detection gives"
    assert "7 images" not in log
    assert "5 images a batch" in log
    before = collection.files()
    again, loaded, log = run(job)
    assert again == counts | {"known": 2}
    assert loaded == ["torch"], "for the precision alone"
    assert "a batch" not in log
    assert collection.files() == before
    assert run(job_of(collection, card, weights, tmp_path, segment=EVERYTHING | {"conf": 1e-6}))[0]["known"] == 0


def test_the_recipe_names_models_and_what_else_a_shard_depends_on(card, weights):
    recipe = Recipe.of((weights, card), EVERYTHING, ["words.txt"], 100, MACHINE)
    assert recipe.words == Path("words.txt")
    assert recipe.embedding["d"] == card.model_cfg["embed_dim"]
    without = Recipe.of((weights, card), EVERYTHING, [], 100, MACHINE)
    fingerprints = without.embedding["fingerprint"], without.segmenter["fingerprint"]
    assert without.digest("state") == digest([source.ALGORITHM, "state", *fingerprints, EVERYTHING, 100, None])
    other = Recipe.of((weights, card), EVERYTHING, [], 100, MACHINE | {"threads": 7, "batch_clips": "auto", "batch_images": 9})
    assert other == without, "how it is computed is no part of it"


@pytest.mark.parametrize(("batch", "expected"), [("auto", 32), (7, 7)])
def test_crops_a_forward_pass_are_the_settings_or_the_devices(card, batch, expected):
    models = load_models((None, card), EVERYTHING, MACHINE | {"batch_clips": batch})
    assert models.encoder.batch == expected


def test_the_guard_runs_in_this_process_too(collection, card, weights, tmp_path, monkeypatch):
    monkeypatch.setattr("workflow_scripts.autotag.segmenters.load", lambda *_: Words())
    monkeypatch.setattr("workflow_scripts.core.step._start_log", lambda _: None)
    job = job_of(collection, card, weights, tmp_path, shards={"00000": None})
    runpy.run_path(source.__file__, {"snakemake": job})
    assert Block.read(collection.manifest).shards[0].outcomes["embedded"] == 4


SLOW = """
import sys, time
from tests.unit.autotag.shard_data import Collection, Words

class Slow(Words):
    def segment(self, images, words):
        time.sleep(0.2)
        return super().segment(images, words)

Collection(sys.argv[1]).run("00000", "00001", "00002", segmenter=Slow(1))
"""


def test_a_killed_job_goes_on_with_the_shard_that_is_not_finished(tmp_path):
    collection = Collection(tmp_path)
    for shard in ("00000", "00001", "00002"):
        keys = [f"{shard}{number}" for number in range(6)]
        collection.write(shard, {key: picture((9 * int(key[-1]), 80, 30)) for key in keys}, tags={key: ["cat"] for key in keys})
    done = collection.places.folder / FILES[IMAGES_TABLE].format("00000")
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path)], cwd=REPO)
    try:
        deadline = time.monotonic() + 120
        while not done.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.4)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    there = collection.files()
    assert not collection.manifest.exists()
    assert any(name.endswith(".tmp") for name in there), "in the middle of a shard"
    finished = {name: data for name, data in there.items() if "_00000." in name and not name.endswith(".tmp")}
    assert len(finished) == 4
    segmenter = Words()
    assert collection.run("00000", "00001", "00002", segmenter=segmenter)["known"] == 1
    assert sum(segmenter.calls) == 12, "the other two shards"
    after = collection.files()
    assert finished.items() <= after.items()
    assert not [name for name in after if name.endswith(".tmp")], "what the dead process was writing is swept away"
    for path in [path for path in collection.places.folder.rglob("*") if path.is_file()]:
        path.unlink()
    assert collection.run("00000", "00001", "00002")["known"] == 0
    assert collection.files() == after, "as if it had never been killed"


def test_a_flow_of_real_models_gives_the_same_bytes_each_time(card, weights, scenes):
    models = load_models((weights, card), EVERYTHING, MACHINE)
    flow = Flow(models, EVERYTHING, threads=2, max_pixels=10**6)

    def vectors():
        samples = (Sample(key, 0, key, 0, 1, members["jpg"]) for key, members in scenes.items())
        return [np.stack(each.vectors).tobytes() for each in flow.run(samples, lambda _: [])]

    assert vectors() == vectors()
