"""The demo's model is what the README says, loaded as real weights are; training it anew works."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.workflow.conftest import REPO
from workflow_scripts.core.models import ModelCard
from workflow_scripts.demo.drawing import draw_scene, rng_for
from workflow_scripts.models.clip_card import make_card
from workflow_scripts.people.embed_prompts import embed_prompts
from workflow_scripts.people.score import build_scorer
from workflow_scripts.settings.people import NEGATIVE, POSITIVE

pytest.importorskip("torch")

FOLDER = REPO / "resources/demo/clip"


@pytest.fixture(scope="module")
def card() -> ModelCard:
    model = yaml.safe_load((REPO / "config/demo.yaml").read_text())["people"]["runs"]["demo"]["model"]
    return make_card(model | {"pretrained": str(FOLDER)}, FOLDER)


def test_the_demo_is_pinned_to_the_committed_weights_and_they_are_small(card: ModelCard) -> None:
    assert card.sha256 == hashlib.sha256((FOLDER / "open_clip_model.safetensors").read_bytes()).hexdigest()
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 8_000_000
    assert card.model_cfg["embed_dim"] == 512
    figures = json.loads((FOLDER / "metrics.json").read_text())["held_out"]
    assert figures["people_accuracy"] >= 0.97
    assert min(figures[name] for name in ("kind_accuracy", "colour_accuracy", "background_accuracy")) >= 0.8


def test_it_tells_people_from_things_on_drawings_that_it_has_not_seen(card: ModelCard) -> None:
    from workflow_scripts.core.clip import ImageEncoder
    from workflow_scripts.core.preprocess import Preprocess

    drawings = [draw_scene(rng_for(20, "unseen", str(number)), (320, 256), people=number % 2) for number in range(200)]
    encoder = ImageEncoder(card, device="cpu", precision="fp32", batch=50, threads=2)
    fit = Preprocess.for_model(card.preprocess_cfg, "center")
    vectors = encoder.encode(np.concatenate([fit(drawing.image) for drawing in drawings])).astype(np.float16)
    prompts = embed_prompts(card, {"positive": list(POSITIVE), "negative": list(NEGATIVE)})
    scorer = build_scorer(prompts, {"negative_mode": "mean", "logit_scale": 100.0})
    scores = scorer.probabilities(scorer.margins(vectors))
    truth = np.array([bool(drawing.people) for drawing in drawings])
    assert ((scores >= 0.5) == truth).mean() >= 0.95
    assert len(np.unique(scores.round(2))) > 20, "scores are spread, so that a threshold means something"


def test_training_writes_a_model_that_loads_as_real_weights_do(tmp_path: Path) -> None:
    from workflow_scripts.demo.train_clip import train

    report = train(tmp_path / "clip", seed=3, steps=3, blocks=8, threads=2)
    made = make_card({"name": "new", "pretrained": str(tmp_path / "clip"), "sha256": None}, tmp_path)
    assert made.architecture == f"local-dir:{tmp_path / 'clip'}"
    assert embed_prompts(made, {"positive": ["a person"], "negative": ["a tree"]})["logit_scale"] == pytest.approx(100, rel=1e-2)
    assert json.loads((tmp_path / "clip/metrics.json").read_text()) == report
    assert report["train_images"] == 160
