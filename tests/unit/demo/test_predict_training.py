"""The demo's ranker and crop proposer are what their README says, are read as real checkpoints are, and training them anew works."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workflow_scripts.core.preprocess import Preprocess
from workflow_scripts.demo import train_predict
from workflow_scripts.demo.predict_groups.examples import Examples, draw_examples
from workflow_scripts.demo.predict_groups.metrics import measure, overlap, share_near
from workflow_scripts.demo.predict_groups.training import SCALE, fit_proposer, fit_ranker
from workflow_scripts.models.clip_card import make_card
from workflow_scripts.predict.checkpoint import read_checkpoint
from workflow_scripts.predict.networks import CROP_PROPOSER, RANKER, Network, crop_inputs

torch = pytest.importorskip("torch")

REPO = Path(__file__).parents[3]
CLIP, FOLDER = REPO / "resources/demo/clip", REPO / "resources/demo/predict"
PLAIN = Preprocess(16, "shortest", "bicubic", 0, tiles=False)


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    """As training has it; put back afterwards, since it counts for the whole process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def unit(count: int, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((count, 512))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def made(sizes: list[int]) -> Examples:
    """Groups of so many images, without pictures worth looking at."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    count, rng = len(groups), np.random.default_rng(1)
    qualities = np.concatenate([np.arange(size) for size in sizes]).astype(np.float32)
    boxes = np.tile(np.float32([0.1, 0.2, 0.4, 0.9]), (count, 1))
    return Examples(rng.integers(0, 255, (count, 4, 4, 3), np.uint8), groups, qualities, rng.integers(200, 400, (count, 2)), boxes)


# ---- measures ----


def test_overlap_is_intersection_over_union() -> None:
    box = (0.2, 0.2, 0.6, 0.8)
    assert overlap(box, box) == pytest.approx(1)
    assert overlap(box, (0.6, 0.2, 0.9, 0.8)) == 0
    assert overlap(box, (0.7, 0.9, 0.9, 1.0)) == 0, "apart in both directions"
    assert overlap(box, (0.2, 0.2, 0.4, 0.8)) == pytest.approx(0.5)
    assert overlap(box, (0.4, 0.5, 0.8, 1.1)) == pytest.approx(0.06 / (0.24 + 0.24 - 0.06))


def test_a_coordinate_within_a_twentieth_is_right() -> None:
    assert share_near((0.2, 0.2, 0.6, 0.8), (0.2, 0.249, 0.551, 0.8)) == 1
    assert share_near((0.2, 0.2, 0.6, 0.8), (0.1, 0.26, 0.6, 0.8)) == 0.5


# ---- examples ----


def test_pairs_are_of_one_group_with_the_better_one_first() -> None:
    examples = made([2, 3])
    examples.qualities[:] = (1, 2, 1, 2, 0)
    assert sorted(map(tuple, examples.pairs().tolist())) == [(1, 0), (2, 4), (3, 2), (3, 4)]
    assert examples.members() == [[0, 1], [2, 3, 4]]


def test_mirrored_groups_are_groups_of_their_own() -> None:
    examples = made([2, 3])
    both = examples.with_mirrored()
    assert both.members() == [[0, 1], [2, 3, 4], [5, 6], [7, 8, 9]]
    assert both.groups.tolist() == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
    assert np.array_equal(both.pixels[5:], examples.pixels[:, :, ::-1])
    assert both.boxes[5:] == pytest.approx(np.tile([0.6, 0.2, 0.9, 0.9], (5, 1)))
    for before, after in ((examples.boxes, both.boxes), (examples.qualities, both.qualities), (examples.sizes, both.sizes)):
        assert np.array_equal(before, after[:5])
    assert np.array_equal(both.qualities[5:], examples.qualities)
    assert np.array_equal(both.sizes[5:], examples.sizes)


def test_examples_depend_neither_on_the_number_of_workers_nor_on_that_of_groups() -> None:
    first, other = (draw_examples(5, "some", groups, PLAIN, share=0.5, workers=workers) for groups, workers in ((20, 1), (24, 2)))
    count = len(first.groups)
    assert np.array_equal(first.pixels, other.pixels[:count])
    assert np.array_equal(first.boxes, other.boxes[:count])
    assert np.array_equal(first.groups, other.groups[:count])
    another = draw_examples(5, "another", 20, PLAIN, share=0.5, workers=1)
    assert not {image.tobytes() for image in first.pixels} & {image.tobytes() for image in another.pixels}


def test_the_wanted_share_of_groups_has_a_defect_on_its_last_image() -> None:
    for share, least, most in ((0.0, 0, 0), (0.5, 6, 26), (1.0, 32, 32)):
        examples = draw_examples(5, "share", 32, PLAIN, share=share, workers=2)
        places = [examples.qualities[members].tolist().index(0) for members in examples.members() if 0 in examples.qualities[members]]
        assert least <= len(places) <= most
        lasts = {len(members) - 1 for members in examples.members()}
        assert set(places) <= lasts
        assert examples.sizes.min() >= 240


# ---- training ----


def test_a_ranker_learns_which_of_two_is_better(tmp_path: Path) -> None:
    vectors = unit(600, 1)
    vectors[:, 0] += np.random.default_rng(2).uniform(-2, 2, 600).astype(np.float32)
    pairs = np.arange(600).reshape(-1, 2)
    pairs = np.where((vectors[pairs[:, 0], 0] > vectors[pairs[:, 1], 0])[:, None], pairs, pairs[:, ::-1])
    train_predict.save(fit_ranker(vectors, pairs[:250], steps=60, seed=1), tmp_path / "ranker.pt")
    scores = Network(read_checkpoint(tmp_path / "ranker.pt", RANKER, 512))(vectors)[:, 0]
    assert (scores[pairs[250:, 0]] > scores[pairs[250:, 1]]).mean() > 0.9


def test_a_crop_proposer_learns_boxes_and_takes_sizes_by_the_scale_of_the_settings(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    vectors, sizes = np.tile(unit(1, 1), (600, 1)), rng.integers(200, 400, (600, 2))
    # The boxes follow from the size alone, as those of the middle square do.
    half = 0.4 * sizes.min(axis=1, keepdims=True) / sizes
    boxes = np.concatenate([0.5 - half, 0.5 + half], axis=1).astype(np.float32)
    train_predict.save(fit_proposer(vectors[:500], sizes[:500], boxes[:500], steps=600, seed=1), tmp_path / "crop.pt")
    found = Network(read_checkpoint(tmp_path / "crop.pt", CROP_PROPOSER, 512))(crop_inputs(vectors, sizes, SCALE))
    assert SCALE == 10_000
    away, by_chance = (np.abs(one - boxes)[500:].mean() for one in (found, boxes.mean(axis=0)))
    assert away < 0.02 < by_chance / 2


def test_the_same_seed_learns_the_same_and_another_does_not(tmp_path: Path) -> None:
    vectors, boxes = unit(40, 2), np.tile(np.float32([0.1, 0.2, 0.4, 0.9]), (40, 1))
    sizes, pairs = np.full((40, 2), 300), np.arange(40).reshape(-1, 2)

    def digests(name: str, seed: int) -> list[str]:
        states = (fit_ranker(vectors, pairs, steps=3, seed=seed), fit_proposer(vectors, sizes, boxes, steps=3, seed=seed))
        paths = [tmp_path / f"{name}{number}.pt" for number in range(2)]
        for state, path in zip(states, paths, strict=True):
            train_predict.save(state, path)
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]

    first = digests("a name", 1)
    assert digests("another", 1) == first
    assert not set(digests("third", 2)) & set(first)


def test_figures_are_those_of_the_files_as_the_pipeline_uses_them(tmp_path: Path) -> None:
    """A ranker that reads the score off the first coordinate, and a proposer that always gives one box."""
    examples = made([2, 3, 2, 2])
    examples.qualities[:] = (1, 2, 1, 2, 0, 1, 2, 1, 0)
    vectors = np.zeros((9, 512), np.float32)
    vectors[:, 0] = (0.1, 0.2, 0.5, 0.2, 0.9, 0.3, 0.4, 0.8, 0.1)  # right, wrong, right, right
    first = torch.zeros(1, 512)
    first[0, 0] = 1
    torch.save({"0.weight": first, "0.bias": torch.zeros(1)}, tmp_path / "ranker.pt")
    bias = torch.logit(torch.tensor([0.1, 0.2, 0.4, 0.55]))  # of the box 0.1, 0.2, 0.4, 0.9
    torch.save({"0.weight": torch.zeros(4, 514), "0.bias": bias}, tmp_path / "crop.pt")
    assert measure(tmp_path / "ranker.pt", tmp_path / "crop.pt", examples, vectors) == {
        "selection_accuracy": 0.75,
        "selection_accuracy_with_defect": 0.5,
        "selection_accuracy_without_defect": 1.0,
        "selection_by_chance": pytest.approx((3 / 2 + 1 / 3) / 4, abs=1e-4),
        "crop_mean_iou": 0.5,
        "crop_coordinates_within_0.05": 0.75,
    }


def test_training_writes_what_the_pipeline_reads_and_says_how_well_it_does(tmp_path: Path) -> None:
    places = tmp_path / "ranker.pt", tmp_path / "crop_proposer.pt"
    report = train_predict.train(CLIP, *places, seed=3, groups=12, held_out=30, steps=6)
    sizes = [read_checkpoint(path, kind, 512).sizes for path, kind in zip(places, (RANKER, CROP_PROPOSER), strict=True)]
    assert sizes == [[512, 256, 64, 1], [514, 256, 128, 4]]
    assert (report["train_groups"], report["held_out_groups"], report["seed"], report["steps"]) == (12, 30, 3, 6)
    assert 48 <= report["train_images"] <= 96, "mirrored ones too"
    assert report["bytes"] == {path.name: path.stat().st_size for path in places}
    assert report["held_out"].keys() == json.loads((FOLDER / "metrics.json").read_text())["held_out"].keys()
    assert all(0 <= figure <= 1 for figure in report["held_out"].values())


# ---- the committed files ----


def test_the_committed_checkpoints_are_small_plain_and_of_the_committed_clip() -> None:
    report = json.loads((FOLDER / "metrics.json").read_text())
    assert report["clip_sha256"] == hashlib.sha256((CLIP / "open_clip_model.safetensors").read_bytes()).hexdigest()
    for name, kind, sizes in (("ranker.pt", RANKER, [512, 256, 64, 1]), ("crop_proposer.pt", CROP_PROPOSER, [514, 256, 128, 4])):
        content = torch.load(FOLDER / name, weights_only=True)
        assert list(content) == ["model_state_dict"]
        assert {tensor.dtype for tensor in content["model_state_dict"].values()} == {torch.float16}
        assert read_checkpoint(FOLDER / name, kind, 512).sizes == sizes
        assert report["bytes"][name] == (FOLDER / name).stat().st_size
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_500_000
    figures = report["held_out"]
    assert min(figures["selection_accuracy"], figures["selection_accuracy_with_defect"]) > 0.95
    assert figures["selection_by_chance"] < 0.4
    assert figures["crop_mean_iou"] > 0.65


def test_they_select_and_crop_on_drawings_that_they_have_not_seen() -> None:
    card = make_card({"name": "demo", "pretrained": str(CLIP), "sha256": None}, CLIP)
    unseen = draw_examples(20, "unseen", 80, Preprocess.for_model(card.preprocess_cfg, "center"), share=0.4, workers=2)
    figures = measure(FOLDER / "ranker.pt", FOLDER / "crop_proposer.pt", unseen, train_predict.embed(card, unseen.pixels, 2))
    assert figures["selection_accuracy"] > 0.95
    assert figures["selection_accuracy_with_defect"] > 0.9
    assert figures["crop_mean_iou"] > 0.65
    assert figures["crop_coordinates_within_0.05"] > 0.75
