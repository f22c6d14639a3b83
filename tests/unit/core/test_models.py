"""Model cards and local weights: found, pinned, verified, or refused with the line that mends it."""

import hashlib
import json
from dataclasses import replace

import pytest

from workflow_scripts.core.models import (
    ModelCard,
    card_name,
    checked_weights,
    file_sha256,
    is_local,
    local_weights,
    require_sha256,
    slug,
    weights_card_name,
)
from workflow_scripts.core.step import StepError

DATA = b"weights"
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def card(tmp_path):
    (tmp_path / "w.pt").write_bytes(DATA)
    return ModelCard("ViT-Ü", "w.pt", "ViT", str(tmp_path / "w.pt"), len(DATA), SHA, {"embed_dim": 4}, {"size": [8, 8], "mean": [0.5]})


def folder(path, *names):
    path.mkdir()
    for name in names:
        (path / name).write_bytes(DATA)
    return str(path)


def test_a_card_comes_back_as_it_was_written(card, tmp_path):
    card.write(tmp_path / "cards" / "a.json")
    assert ModelCard.read(tmp_path / "cards" / "a.json") == card
    text = (tmp_path / "cards" / "a.json").read_text()
    assert text.endswith("}\n")
    assert list(json.loads(text)) == sorted(json.loads(text))


def test_weights_are_verified_against_the_card(card, tmp_path):
    card.verify()
    (tmp_path / "other.pt").write_bytes(b"replaced")
    replaced = replace(card, weights=str(tmp_path / "other.pt"))
    with pytest.raises(StepError, match=rf"other\.pt: sha256 is {hashlib.sha256(b'replaced').hexdigest()}, the model card says {SHA}"):
        replaced.verify()
    with pytest.raises(StepError, match=r"gone\.pt: the weights file is gone; put it back, or delete the model's card"):
        replace(card, weights=str(tmp_path / "gone.pt")).verify()


def test_the_hash_of_a_large_file(tmp_path):
    (tmp_path / "large").write_bytes(DATA * 500_000)
    assert file_sha256(tmp_path / "large") == hashlib.sha256(DATA * 500_000).hexdigest()


@pytest.mark.parametrize(
    ("pretrained", "local"),
    [
        ("laion2b_s34b_b79k", False),
        ("openai", False),
        ("weights.pt", True),
        ("weights.safetensors", True),
        ("models/clip", True),
        ("./openai", True),
        ("/data/openai", True),
        ("here", True),
    ],
)
def test_what_is_a_path_and_what_a_tag(tmp_path, monkeypatch, pretrained, local):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert is_local(pretrained) is local


@pytest.mark.parametrize("suffix", [".safetensors", ".bin", ".pt", ".pth"])
def test_local_weights_are_a_file_or_the_one_in_a_folder(tmp_path, suffix):
    path = folder(tmp_path / "model", f"w{suffix}", "open_clip_config.json", "README.md")
    assert local_weights(path) == tmp_path / "model" / f"w{suffix}"
    assert local_weights(f"{path}/w{suffix}") == tmp_path / "model" / f"w{suffix}"


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (None, r"model: no such weights file or folder"),
        (["w.pt"], r"model: a model folder needs an open_clip_config\.json beside its weights"),
        (["open_clip_config.json"], r"model: 0 weights files \(.*\), exactly one is needed"),
        (["open_clip_config.json", "a.pt", "b.bin"], r"model: 2 weights files \(.*\), exactly one is needed"),
    ],
)
def test_local_weights_that_cannot_be_told(tmp_path, names, text):
    if names is not None:
        folder(tmp_path / "model", *names)
    with pytest.raises(StepError, match=text):
        local_weights(str(tmp_path / "model"))


@pytest.mark.parametrize("name", ["ViT-B-32", "a.b_c-1", "x" * 71])
def test_a_plain_name_is_its_own_slug(name):
    assert slug(name) == name


@pytest.mark.parametrize("name", ["a b", "a/b", "../up", "é", "x" * 72, "x" * 300, 'q"{}#%', "line\nbreak"])
def test_another_name_is_altered_and_marked(name):
    found = slug(name)
    assert found.endswith("-" + hashlib.sha256(name.encode()).hexdigest()[:8])
    assert len(found) <= 80
    assert set(found) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def test_names_that_look_alike_get_slugs_of_their_own():
    names = ["a b", "a/b", "a_b", "a  b", "x" * 71, "x" * 72, "x" * 73]
    assert len({slug(name) for name in names}) == len(names)


def test_a_card_has_a_name_for_each_combination():
    found = {card_name(*parts) for parts in [("A", "t", None), ("A", "t", SHA), ("A", "u", None), ("B", "t", None), ("A", "t", "0" * 64)]}
    assert len(found) == 5
    assert card_name("ViT-B-32", "laion2b_s34b_b79k", None) == "ViT-B-32--laion2b_s34b_b79k--unpinned"


def test_a_local_model_without_sha256_gets_the_line_to_paste(tmp_path):
    path = folder(tmp_path / "model", "w.pt", "open_clip_config.json")
    with pytest.raises(StepError) as caught:
        require_sha256("people.runs.a.model", {"name": "A", "pretrained": path, "sha256": None})
    first, second = str(caught.value).splitlines()
    assert first.startswith("people.runs.a.model.sha256: a local model needs it")
    assert second.strip() == f"sha256: {SHA}"
    require_sha256("people.runs.a.model", {"name": "A", "pretrained": path, "sha256": SHA})
    require_sha256("people.runs.a.model", {"name": "A", "pretrained": "laion2b_s34b_b79k", "sha256": None})
    with pytest.raises(StepError, match="no such weights file or folder"):
        require_sha256("people.runs.a.model", {"name": "A", "pretrained": "gone/w.pt", "sha256": SHA})


def test_local_weights_are_checked_and_names_are_not(tmp_path):
    name = {"kind": "mask", "name": "u2net", "sha256": None}
    assert checked_weights("w.mask", name) == name
    with pytest.raises(StepError, match=r"w\.mask: .*gone\.onnx: no such weights file"):
        checked_weights("w.mask", name | {"name": str(tmp_path / "gone.onnx")})
    (tmp_path / "here.onnx").touch()
    with pytest.raises(StepError, match=r"w\.mask\.sha256: a local model needs it"):
        checked_weights("w.mask", name | {"name": str(tmp_path / "here.onnx")})


def test_models_that_differ_in_kind_name_or_content_have_cards_of_their_own():
    model = {"kind": "pose", "name": "a/b.pt", "sha256": "1" * 64}
    others = [model | {"kind": "mask"}, model | {"name": "a_b.pt"}, model | {"sha256": "2" * 64}, model | {"sha256": None}]
    assert len({weights_card_name(each) for each in [model, *others]}) == 5
