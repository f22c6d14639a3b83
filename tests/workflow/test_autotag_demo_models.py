"""The small segmenter of the autotag demo: the committed one is good enough for the demo, and can be made again."""

import json
from pathlib import Path

import pytest

pytest.importorskip("ultralytics")

from workflow_scripts.autotag import segmenters
from workflow_scripts.core.json_files import read_json
from workflow_scripts.core.models import WeightsCard, hash_file
from workflow_scripts.demo import train_autotag
from workflow_scripts.demo.autotag_examples import draw_example
from workflow_scripts.demo.autotag_measures import fastsam, measure

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "resources/demo/autotag"
SEGMENTER = COMMITTED / "segmenter.pt"


def test_the_committed_model_is_small_and_names_no_place() -> None:
    assert SEGMENTER.stat().st_size < 3_000_000
    content = SEGMENTER.read_bytes()
    assert not [word for word in (b"/tmp", b"/home", b"/root", b"/work", b"site-packages") if word in content]


def test_all_demo_weights_together_are_small() -> None:
    assert sum(path.stat().st_size for path in COMMITTED.parent.rglob("*") if path.is_file()) < 20_000_000


def test_the_metrics_are_of_the_committed_model_and_good_enough() -> None:
    metrics = read_json(COMMITTED / "metrics.json")
    assert metrics["bytes"] == SEGMENTER.stat().st_size
    held_out = metrics["held_out"]
    assert held_out["people_found"] >= 0.8
    assert held_out["things_found"] >= 0.7  # what is small or half hidden is the weak point of this toy
    assert held_out["mask_iou_of_those_found"] >= 0.75
    assert held_out["segments_that_are_no_object"] <= 0.25


def test_the_committed_model_finds_unseen_people_and_things() -> None:
    found = measure(fastsam(SEGMENTER, train_autotag.SIDE), [draw_example(1234, "test", number) for number in range(60)])
    assert found["people_found"] > 0.75
    assert found["things_found"] > 0.7
    assert found["objects"]["people"] > 20


def test_the_pipeline_finds_them_too() -> None:
    card = WeightsCard("segment", str(SEGMENTER), str(SEGMENTER), SEGMENTER.stat().st_size, hash_file(SEGMENTER))
    settings = {"backend": "fastsam", "imgsz": train_autotag.SIDE, "conf": 0.25}
    segmenter = segmenters.load(card, settings, {"device": "cpu", "threads": 1})
    scenes = [draw_example(1234, "test", number) for number in range(40)]
    found = segmenter.segment([scene.image for scene in scenes], [[]] * len(scenes))
    wanted = sum(len(scene.objects) for scene in scenes)
    assert 0.7 * wanted < sum(map(len, found)) < 1.4 * wanted
    for scene, segments in zip(scenes, found, strict=True):
        assert all(each.label is None and each.mask_area for each in segments)
        assert all(each.mask_area <= scene.image.width * scene.image.height for each in segments if each.mask_area)


def test_the_model_can_be_trained_again(tmp_path: Path) -> None:
    made = [tmp_path / "one/segmenter.pt", tmp_path / "two/segmenter.pt"]
    for path in made:
        facts = train_autotag.train(path, seed=3, examples=24, held_out=4, epochs=1, threads=1)
    assert made[0].read_bytes() == made[1].read_bytes()
    assert (facts["train_drawings"], facts["seed"], facts["bytes"]) == (24, 3, made[1].stat().st_size)
    assert facts["held_out"].keys() >= {"things_found", "mask_iou_of_those_found", "segments_that_are_no_object"}
    assert json.dumps(facts)
    from ultralytics.models import YOLO

    model = YOLO(str(made[0]))
    assert (model.task, model.names, model.overrides["imgsz"]) == ("segment", {0: "object"}, train_autotag.SIDE)
