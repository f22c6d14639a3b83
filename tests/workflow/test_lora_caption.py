"""Captions of real processes: killed between two replies, and by CLIP."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.lab.captions import Answer, CaptionServer, say
from tests.unit.lora.caption_data import SETTINGS, Workspace
from workflow_scripts.core import clip
from workflow_scripts.core.images import decode
from workflow_scripts.core.models import ModelCard, file_sha256
from workflow_scripts.core.preprocess import Preprocess
from workflow_scripts.core.step import StepError
from workflow_scripts.lora import caption
from workflow_scripts.lora.caption_authors import open_author
from workflow_scripts.lora.caption_clip import Phrases
from workflow_scripts.lora.caption_view import show_subject

REPO = Path(__file__).parents[2]
DEMO_CLIP = REPO / "resources/demo/clip"
PHRASES = REPO / "resources/lora/phrases.yaml"
STEP = """
import json, sys
from pathlib import Path
from workflow_scripts.core.step import report_counts, step
from workflow_scripts.lora import caption_requests
from workflow_scripts.lora.caption import write_captions
from workflow_scripts.lora.caption_authors import open_author

given = json.loads(sys.argv[1])
caption_requests.BACKOFF = (0.01, 0.05)
root = Path(given["root"])
with step(given["log"]), open_author(given["settings"], given["machine"], Path(given["store"]), Path(given["prompt"]), None) as author:
    composites = root / "05_training_data/manifest.parquet"
    report_counts(**write_captions(composites, [], root, given["settings"], author, Path(given["output"])))
"""


@pytest.fixture
def server():
    with CaptionServer() as running:
        yield running


def start(work, folder):
    given = {"settings": work.settings, "machine": work.machine, "log": str(folder / "project/06.log")}
    given |= {name: str(getattr(work, name)) for name in ("root", "store", "prompt", "output")}
    return subprocess.Popen([sys.executable, "-c", STEP, json.dumps(given)], cwd=REPO, stderr=subprocess.DEVNULL)


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(("concurrency", "backend"), [(1, "openai"), (3, "vertex")])
def test_a_killed_step_pays_again_for_nothing_that_was_answered(tmp_path, server, monkeypatch, concurrency, backend):
    pytest.importorskip("google.genai")
    work = Workspace(tmp_path, server, monkeypatch, frames=9)
    work.machine["concurrency"] = concurrency
    work.settings["backend"] = backend
    killed = threading.Event()
    server.answers += [say(f"caption {number}") for number in range(4)]
    server.always = Answer(wait=lambda: killed.wait(60))
    process = start(work, tmp_path)
    # Four are answered, and as many as may be asked at once wait for their answer when the kill comes.
    until(lambda: len(server.asked) == 4 + concurrency and len(work.kept()) == 4)
    process.kill()
    assert process.wait() < 0
    killed.set()
    assert not work.output.exists()
    answered = {question.image for question in server.asked[:4]}
    server.reset()
    with start(work, tmp_path) as again:
        assert again.wait() == 0
    assert len(server.asked) == 5
    assert not answered & {question.image for question in server.asked}
    assert work.outcomes() == [("captioned", None)] * 9
    assert len(work.kept()) == 9
    assert {f"caption {number}" for number in range(4)} < {row["caption"] for row in work.table()}
    log = (tmp_path / "project/06.log").read_text()
    assert "known=4 requests=5 answered=5" in log
    assert not [secret for secret in server.secrets() if secret.decode() in log]


def test_a_line_that_the_kill_cut_off_is_asked_again_and_nothing_else(tmp_path, server, monkeypatch):
    work = Workspace(tmp_path, server, monkeypatch)
    work.run()
    work.store.write_bytes(work.store.read_bytes()[:-40])
    assert work.run()["requests"] == 1
    assert work.run()["requests"] == 0


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    """The card of the demo's model."""
    pytest.importorskip("open_clip")
    path, weights = tmp_path_factory.mktemp("card") / "card.json", DEMO_CLIP / "open_clip_model.safetensors"
    config = json.loads((DEMO_CLIP / "open_clip_config.json").read_text())
    preprocess = {"size": config["model_cfg"]["vision_cfg"]["image_size"], "interpolation": "bicubic", "resize_mode": "shortest"}
    preprocess |= {"fill_color": 0} | config["preprocess_cfg"]
    sha256 = file_sha256(weights)
    folder = str(DEMO_CLIP)
    ModelCard("demo", folder, f"local-dir:{folder}", str(weights), weights.stat().st_size, sha256, config["model_cfg"], preprocess).write(
        path
    )
    return path


class ClipWork(Workspace):
    """A workspace that CLIP captions."""

    def __init__(self, folder, monkeypatch, card, phrases=PHRASES, frames=4):
        with CaptionServer() as server:
            super().__init__(folder, server, monkeypatch, frames)
        self.card, self.phrases = card, phrases
        self.settings = SETTINGS | {"backend": "clip"}
        self.machine = {"batch": 2, "cache_root": str(folder / "cache"), "device": "cpu", "threads": 2}

    def run(self, **changed):
        settings = self.settings | changed
        composites = self.root / "05_training_data/manifest.parquet"
        with open_author(settings, self.machine, self.store, self.phrases, self.card) as author:
            return caption.write_captions(composites, [], self.root, settings, author, self.output)


def test_clip_says_the_best_phrase_of_each_group(tmp_path, monkeypatch, card):
    phrases = tmp_path / "phrases.yaml"
    phrases.write_text(
        "template: a photo of a {}\ntimes_chance: 0.1\ngroups: {what: [dog, Woman, tree], how: [red one, green one, blue one]}"
    )
    work = ClipWork(tmp_path, monkeypatch, card, phrases)
    counts = work.run()
    assert work.outcomes() == [("captioned", None)] * 4
    for row in work.table():
        what, how = row["caption"].split(", ")
        assert (what in ("dog", "woman", "tree"), how in ("red one", "green one", "blue one")) == (True, True)
        assert row["text"] == f"SKS Woman, {row['caption']}"
        assert row["source"] == "clip demo"
    assert (counts["encoded"], counts["forwards"]) == (4, 2), "images do not go through in batches"
    assert not work.store.exists()
    assert work.texts().keys() == {f"{row['category']}/{row['frame_id']}.txt" for row in work.rows}


def test_clip_chooses_by_the_vectors_of_the_shown_pictures(tmp_path, monkeypatch, card):
    phrases = tmp_path / "phrases.yaml"
    names = ["red", "green", "blue", "yellow", "black", "white"]
    phrases.write_text(f"template: a photo of a {{}} dress\ntimes_chance: 0.1\ngroups: {{colour: {names}}}")
    work = ClipWork(tmp_path, monkeypatch, card, phrases, frames=6)
    work.run()
    encoder = clip.ImageEncoder(ModelCard.read(card), device="cpu", precision=clip.resolve_device("cpu")[1], batch=6, threads=2)
    texts, _ = clip.encode_texts(ModelCard.read(card), [f"a photo of a {name} dress" for name in names])
    fit = Preprocess.for_model(ModelCard.read(card).preprocess_cfg, "pad")
    pixels = [fit(decode(show_subject((work.root / row["subject_path"]).read_bytes())).image) for row in work.rows]
    best = (encoder.encode(np.concatenate(pixels)).astype(np.float16) @ texts.T).argmax(axis=1)
    assert [row["caption"] for row in work.table()] == [names[number] for number in best]


def test_clip_loads_no_model_for_what_is_known_and_gives_the_same_bytes(tmp_path, monkeypatch, card):
    work = ClipWork(tmp_path, monkeypatch, card)
    work.run()
    before = work.output.read_bytes(), work.texts()

    def refuse(card):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(clip, "load_model", refuse)
    work.output.unlink()
    counts = work.run()
    assert (work.output.read_bytes(), work.texts()) == before
    assert counts["encoded"] == 0
    work.run(trigger_words="other")
    assert {text.split(",")[0].strip() for text in work.texts().values()} == {"other"}


def test_clip_shows_broken_subjects_as_rows(tmp_path, monkeypatch, card):
    work = ClipWork(tmp_path, monkeypatch, card)
    (work.root / work.rows[0]["subject_path"]).write_bytes(b"no image")
    (work.root / work.rows[1]["subject_path"]).unlink()
    work.run(max_words=99)
    found = work.outcomes()
    assert found[0][1].startswith("decode: broken subject")
    assert found[1] == ("error", "read: No such file or directory")
    assert [outcome for outcome, _ in found[:2]] == ["error", "error"]
    assert "error" not in [outcome for outcome, _ in found[2:]]


def test_clip_keeps_to_itself_what_is_not_likelier_than_chance(tmp_path, monkeypatch, card):
    phrases = tmp_path / "phrases.yaml"
    same = "template: a photo of a {}\ntimes_chance: 1.5\ngroups: {what: [dog, 'dog ', ' dog']}"
    phrases.write_text(same)
    work = ClipWork(tmp_path, monkeypatch, card, phrases)
    work.run()
    assert work.outcomes() == [("lint", "empty")] * 4
    phrases.write_text(same.replace("1.5", "0.5"))
    work.run()
    assert [row["caption"] for row in work.table()] == ["dog"] * 4


def test_the_phrases_that_come_along_are_good(tmp_path):
    phrases = Phrases.read(PHRASES)
    texts = phrases.texts()
    assert len(texts) == len(set(texts)) > 40
    assert all(text.startswith("a photo of a person ") for text in texts)
    banned = ["background", "tattoo", "watermark", "text", "logo", "photo", "image", "picture"]
    words = {word for group in phrases.groups.values() for phrase in group for word in phrase.split()}
    assert not words & set(banned)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "No such file"),
        ("template: x\ntimes_chance: 1\ngroups: {a: [b, c, d]}", "template"),
        ("template: '{}'\ntimes_chance: 0\ngroups: {a: [b, c, d]}", "times_chance"),
        ("template: '{}'\ntimes_chance: 1\ngroups: {a: [b, c]}", "the group a needs at least three"),
        ("template: '{}'\ntimes_chance: 1\ngroups: {a: [b, c, d, b]}", "the group a needs at least three"),
        ("template: '{}'\ntimes_chance: 1\ngroups: {a: [b, c, d]}\nother: 1", "other"),
        ("template: [", "phrases.yaml"),
        ("5", "phrases.yaml"),
    ],
)
def test_a_file_of_phrases_that_says_something_else_is_named(tmp_path, text, problem):
    path = tmp_path / "phrases.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(StepError, match=r"phrases\.yaml") as caught:
        Phrases.read(path)
    assert problem in str(caught.value)


def test_clip_without_a_model_says_so(tmp_path):
    with pytest.raises(StepError, match="clip_model"), open_author({"backend": "clip"}, {}, tmp_path / "s", PHRASES, None):
        pass
