"""SAM 3 in its full size, with random weights in the form of its makers' file."""

import builtins
import importlib
import math
import sys
from types import ModuleType

import numpy as np
import pytest

from tests.workflow import segmenter_weights as weights_of
from tests.workflow.segmenter_weights import drawing, load_it
from workflow_scripts.autotag.segmenters import library, sam3
from workflow_scripts.core.step import StepError

pytest.importorskip("ultralytics")
pytest.importorskip("open_clip")
torch = pytest.importorskip("torch")
UNUSED = (
    "detector.backbone.language_backbone.encoder.text_projection",
    "detector.backbone.vision_backbone.convs.3.",
    "detector.backbone.vision_backbone.sam2_convs.",
    "detector.geometry_encoder.",
)
SIDE = 84  # pixels; what it costs then is the full number of weights all the same


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return weights_of.sam3(tmp_path_factory.mktemp("weights") / "it's sam3.pt")


@pytest.fixture(scope="module")
def loaded(weights):
    before = sys.modules.get("clip")
    model = load_it(weights, "sam3", imgsz=SIDE, conf=0.3)
    assert sys.modules.get("clip") is before
    return model


@pytest.fixture
def model(loaded, monkeypatch):
    """The model as it was loaded: it remembers no words, and what a test changes is undone."""
    monkeypatch.setattr(loaded, "_embeddings", type(loaded._embeddings)())
    monkeypatch.setattr(loaded, "_portion", library.Portion(1, "words"))
    return loaded


def flat(found):
    return np.array([[*each.box, each.confidence, each.class_id, each.mask_area] for each in found])


def test_it_finds_what_ultralytics_finds_by_itself(model, monkeypatch):
    image, words, seen = drawing(0), ["dog", "red car"], []
    features = model._predictor.get_im_features
    monkeypatch.setattr(model._predictor, "get_im_features", lambda inputs: seen.append(features(inputs)) or seen[0])
    (found,) = model.segment([image], [words])
    assert {(each.class_id, each.label) for each in found} == {(0, "dog"), (1, "red car")}
    with torch.inference_mode():
        masks, boxes = model._predictor.inference_features(seen[0], (image.height, image.width), text=words)
    mine, theirs = flat(found), torch.cat([boxes, masks.sum((1, 2))[:, None]], dim=1).numpy()
    distances = (np.abs(mine[:, None] - theirs[None]) / ([0.02] * 6 + [20])).max(2)
    first = mine[:, 5] == 0, theirs[:, 5] == 0
    assert max(distances.min(1)[first[0]].max(), distances.min(0)[first[1]].max()) < 1
    # The second word's boxes have lost digits to the library's offset when it removes overlaps.
    assert np.mean(distances.min(1) < 1) > 0.97
    assert np.mean(distances.min(0) < 1) > 0.97
    assert len(set(mine[:, 6])) > 3, "masks differ"
    assert seen[0]["sam2_backbone_out"] is None, "nobody clicks"
    assert mine[:, 4].min() > 0.3


def seeing(monkeypatch, model, answer):
    """Let a model see what `answer` says for so many words: boxes (middle and size, as parts of the image), logits and masks."""
    monkeypatch.setattr(model._predictor, "get_im_features", lambda inputs: {"inputs": inputs})
    monkeypatch.setattr(model, "_embed", lambda text: (torch.full((32, 1, 4), float(len(text))), torch.zeros(1, 32, dtype=torch.bool)))

    def grounding(features, numbers):
        assert model._net.text_embeddings["language_features"].shape == (32, len(numbers), 4)
        assert model._net.text_embeddings["language_mask"].shape == (len(numbers), 32)
        boxes, logits, masks = answer(len(numbers))
        return {
            "pred_boxes": boxes,
            "pred_logits": logits[..., None],
            "presence_logit_dec": torch.full((len(numbers), 1), 9.0),
            "pred_masks": masks,
        }

    monkeypatch.setattr(model._net, "forward_grounding", grounding)


BOXES = ((0.3, 0.5, 0.2, 0.4), (0.302, 0.5, 0.2, 0.4), (0.81, 0.5, 0.1, 0.3), (0.85, 0.5, 0.1, 0.3))


def four(count):
    """Two boxes that overlap nearly wholly and two that do not quite, with discs in them, for every word."""
    at = (np.arange(72) + 0.5) / 72
    discs = [1 - np.hypot((at[None] - x) / (w / 2), (at[:, None] - y) / (h / 2)) for x, y, w, h in BOXES]
    masks = torch.tensor(np.stack(discs)).float()
    return torch.tensor(BOXES).expand(count, 4, 4), torch.tensor([[2.0, 1.0, 3.0, 2.5]]).repeat(count, 1), masks.expand(count, -1, -1, -1)


def test_features_are_computed_once_an_image_and_words_once_a_job(model, monkeypatch):
    calls, embed = [], model._embed
    seeing(monkeypatch, model, four)
    made = {"language_features": torch.zeros(32, 1, 4), "language_mask": torch.zeros(1, 32)}
    monkeypatch.setattr(model, "_embed", embed)
    monkeypatch.setattr(model._predictor, "get_im_features", lambda inputs: calls.append(tuple(inputs.shape)) or {})
    monkeypatch.setattr(model._net.backbone, "forward_text", lambda words: calls.append(words) or made)
    first, second = model.segment([drawing(0), drawing(1, (90, 120))], [["dog", "red car"], ["red car", "Dog "]])
    shape = (1, 3, SIDE, SIDE)
    assert calls == [shape, ["dog"], ["red car"], shape]
    assert {(each.class_id, each.label) for each in first} == {(0, "dog"), (1, "red car")}
    assert {(each.class_id, each.label) for each in second} == {(0, "red car"), (1, "Dog ")}, "a word as it was given"


@pytest.mark.parametrize("portion", [1, 16, 200])
def test_of_boxes_that_overlap_the_surer_one_stays_for_each_of_many_words(model, monkeypatch, portion):
    words = [f"word {number}" for number in range(200)]
    monkeypatch.setattr(model, "_portion", library.Portion(portion, "words"))
    seeing(monkeypatch, model, four)
    (found,) = model.segment([drawing(0, (400, 240))], [words])
    assert [each.class_id for each in found] == sorted(each.class_id for each in found) or portion > 1
    seen = {(each.class_id, each.label, round(each.confidence, 3)) for each in found}
    sure = [round(1 / (1 + math.exp(-logit)) / (1 + math.exp(-9)), 3) for logit in (2, 3, 2.5)]
    assert seen == {(number, word, score) for number, word in enumerate(words) for score in sure}
    assert len(found) == 600
    boxes = {tuple(round(value, 2) for value in each.box) for each in found}
    assert boxes == {(80, 72, 160, 168), (304, 84, 344, 156), (320, 84, 360, 156)}


def test_a_class_is_the_place_among_the_words_as_they_were_given(model, monkeypatch):
    seeing(monkeypatch, model, four)
    for portion in (1, 2):
        monkeypatch.setattr(model, "_portion", library.Portion(portion, "words"))
        (found,) = model.segment([drawing(0)], [["", "Dog", "dog ", "red  car", " ", "cat"]])
        assert {(each.class_id, each.label) for each in found} == {(1, "Dog"), (3, "red  car"), (5, "cat")}


@pytest.mark.parametrize("size", [(400, 240), (240, 400), (4000, 2000), (1153, 100)])
def test_areas_are_pixels_of_the_image(model, monkeypatch, size):
    seeing(monkeypatch, model, four)
    (found,) = model.segment([drawing(0, size)], [["disc"]])
    areas = sorted(each.mask_area / (size[0] * size[1]) for each in found)
    assert areas == pytest.approx([math.pi * 0.05 * 0.15, math.pi * 0.05 * 0.15, math.pi * 0.1 * 0.2], rel=0.02)


def test_an_image_without_words_is_not_looked_at(model, monkeypatch):
    monkeypatch.setattr(model._predictor, "get_im_features", lambda _: pytest.fail("looked at"))
    assert model.segment([drawing(0), drawing(1)], [[], ["", " ", "\t\n"]]) == [[], []]
    assert model.segment([], []) == []
    with pytest.raises(ValueError, match="argument"):
        model.segment([drawing(0)], [])


def test_nothing_found_is_no_error(model, monkeypatch):
    seeing(monkeypatch, model, lambda count: (torch.rand(count, 5, 4), torch.full((count, 5), -9.0), torch.ones(count, 5, 8, 8)))
    assert model.segment([drawing(0)], [["dog", "cat"]]) == [[]]


def test_words_are_told_apart_as_the_tokenizer_does():
    words = ["Dog", "dog", "", "  ", "red  Car", "RED CAR ", "überraschung", "犬", "dog"]
    assert sam3.distinct(words) == {"dog": 0, "red car": 4, "überraschung": 6, "犬": 7}


def test_the_tokenizer_is_that_of_clip(loaded):
    tokens = loaded._net.backbone.language_backbone.tokenizer(["a red car"], context_length=32)
    assert tokens.shape == (1, 32)
    assert tokens[0, :6].tolist() == [49406, 320, 736, 1615, 49407, 0]
    long = loaded._net.backbone.language_backbone.tokenizer(["dog " * 50], context_length=32)
    assert long[0, -1] == 49407


def test_few_words_are_remembered_and_those_asked_last_stay(model, monkeypatch):
    monkeypatch.setattr(sam3, "REMEMBERED", 2)
    asked = []

    def text(words):
        asked.extend(words)
        return {"language_features": torch.zeros(32, 1, 4), "language_mask": torch.zeros(1, 32)}

    monkeypatch.setattr(model._net.backbone, "forward_text", text)
    for word in ("a", "b", "a", "c", "a", "b"):
        model._embed(word)
    assert asked == ["a", "b", "c", "b"]


def test_when_memory_does_not_suffice_fewer_words_are_asked_at_a_time(model, monkeypatch, caplog):
    monkeypatch.setattr(model, "_portion", library.Portion(16, "words"))
    sizes, limit = [], 4

    def answer(count):
        sizes.append(count)
        if count > limit:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return four(count)

    seeing(monkeypatch, model, answer)
    words = [f"word {number}" for number in range(6)]
    (found,) = model.segment([drawing(0)], [words])
    assert sizes == [6, 6, 4, 2]
    assert {each.label for each in found} == set(words)
    assert "4 words at a time" in caplog.text
    limit = 0
    with pytest.raises(StepError, match="out of memory with a single image"):
        model.segment([drawing(0)], [words])


# ---- its file ----


def test_weights_that_words_ask_have_to_be_there_and_others_need_not(weights, tmp_path, model):
    whole = torch.load(weights, mmap=True)["model"]
    kept = {name: value for name, value in whole.items() if not name.startswith(UNUSED)}
    assert len(whole) - len(kept) > 50
    gone = sorted(kept)[3:500:71]
    path = tmp_path / "part.pt"
    torch.save({"model": {name: value for name, value in kept.items() if name not in gone}}, path)
    first = [name.removeprefix("detector.") for name in kept if name in gone][:3]
    with pytest.raises(StepError) as error:
        load_it(path, "sam3", imgsz=SIDE)
    text = str(error.value)
    assert f"segmenter.weights: {path}: {len(gone)} weights of SAM 3 are not in it ({', '.join(first)}, ...)" in text
    assert "what is needed is sam3.pt as its makers hand it out, with names that begin with detector." in text

    # What no word asks may be anything, or not there; names may be those of SAM 3.1.
    spoilt = {name: value if name in kept else torch.full_like(value, float("nan")) for name, value in whole.items()}
    spoilt = {name.replace("sam2_convs", "interactive_convs"): value for name, value in spoilt.items()}
    expected = model.segment([drawing(0)], [["dog"]])
    for name, state in (("kept.pt", kept), ("spoilt.pt", spoilt)):
        torch.save({"model": state}, tmp_path / name)
        other = load_it(tmp_path / name, "sam3", imgsz=SIDE, conf=0.3)
    assert other.segment([drawing(0)], [["dog"]]) == expected


def test_a_file_without_its_makers_names_is_refused(tmp_path):
    for number, state in enumerate(({}, {"backbone.weight": torch.zeros(1)}, {"model": {"vision_encoder.x": torch.zeros(1)}})):
        path = tmp_path / f"{number}.pt"
        torch.save(state, path)
        with pytest.raises(StepError, match=r"\d{4} weights|9\d\d weights of SAM 3 are not in it \(backbone\."):
            load_it(path, "sam3", imgsz=SIDE)


def test_weights_of_another_shape_are_refused(tmp_path):
    path = tmp_path / "sam3.pt"
    torch.save({"model": {"detector.transformer.decoder.reference_points.weight": torch.zeros(7, 4)}}, path)
    with pytest.raises(StepError, match=r"sam3\.pt: not weights of SAM 3: .*size mismatch for transformer\.decoder\.reference_points"):
        load_it(path, "sam3", imgsz=SIDE)


def test_no_module_is_left_behind_and_one_that_was_there_comes_back(monkeypatch):
    tokenizer = ModuleType("tokenizer")
    monkeypatch.delitem(sys.modules, "clip", raising=False)
    with sam3._clip(tokenizer):
        assert importlib.import_module("clip").simple_tokenizer is tokenizer
        assert builtins.__import__("clip").simple_tokenizer is tokenizer
    assert "clip" not in sys.modules
    with pytest.raises(KeyError), sam3._clip(tokenizer):
        raise KeyError
    assert "clip" not in sys.modules
    other = ModuleType("clip")
    monkeypatch.setitem(sys.modules, "clip", other)
    with sam3._clip(tokenizer):
        assert sys.modules["clip"] is not other
    assert sys.modules["clip"] is other
