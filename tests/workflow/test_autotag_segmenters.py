"""The segmenters of autotag through Ultralytics' classes, with models of random weights that find something everywhere."""

import math
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.workflow import segmenter_weights as weights_of
from tests.workflow.segmenter_weights import NAMES, card, drawing, load_it
from workflow_scripts.autotag import segmenters
from workflow_scripts.autotag.segmenters import fastsam, library
from workflow_scripts.core.step import StepError
from workflow_scripts.demo.autotag_examples import draw_example
from workflow_scripts.models.weights_card import fetch_segment, make_card

pytest.importorskip("ultralytics")
torch = pytest.importorskip("torch")
DEMO = Path(__file__).parents[2] / "resources/demo/autotag/segmenter.pt"
SIZES = [(200, 120), (120, 200), (160, 160), (400, 240)]
SHA = "0" * 64
SEGMENT = {"backend": "fastsam", "conf": 0.25, "imgsz": 1024, "max_segments": 64, "min_area": 150, "prompts": "everything"}


@pytest.fixture(scope="module")
def yolo(tmp_path_factory):
    return weights_of.yolo(tmp_path_factory.mktemp("weights") / "it's  a #segmenter.pt")


@pytest.fixture(scope="module")
def model(yolo):
    return load_it(yolo, "fastsam", imgsz=160)


def pictures(*numbers):
    return [drawing(number, SIZES[number % 4]) for number in numbers]


def segment(model, *images):
    return model.segment(images, [()] * len(images))


def bgr(image):
    return np.ascontiguousarray(np.asarray(image)[..., ::-1])


def flat(found):
    return np.array([[*each.box, each.confidence, each.class_id] for each in found])


# ---- FastSAM ----


@pytest.mark.parametrize(("family", "one_head"), [("yolov8n-seg.yaml", False), ("yolo26n-seg.yaml", False), ("yolo26n-seg.yaml", True)])
def test_fastsam_finds_what_ultralytics_finds_by_itself(family, one_head, tmp_path):
    from ultralytics.models import FastSAM

    path = weights_of.yolo(tmp_path / "FastSAM-t.pt", family=family, one_head=one_head)
    reference, model = FastSAM(str(path)), load_it(path, "fastsam", imgsz=160)
    for number in range(4):
        (image,) = pictures(number)
        (found,) = segment(model, image)
        how = {"conf": 0.25, "iou": 0.7, "imgsz": 160, "rect": False, "retina_masks": True, "verbose": False, "device": "cpu"}
        (result,) = reference.predict(bgr(image), **how)
        theirs = np.concatenate([result.boxes.xyxy, result.boxes.conf[:, None], result.boxes.cls[:, None]], axis=1)
        mine, areas = flat(found), np.array([each.mask_area for each in found])
        distances = np.abs(mine[:, None] - theirs[None]).max(2)
        # Of masks of a few pixels one of the two may see nothing.
        assert distances.min(1)[areas > 100].max() < 0.02
        assert distances.min(0)[result.masks.data.sum((1, 2)).numpy() > 100].max() < 0.02
        assert len(theirs) > 20
        assert len(mine) == pytest.approx(len(theirs), abs=2)


def test_areas_of_a_trained_model_are_those_of_the_librarys_full_masks(tmp_path):
    from ultralytics.models import FastSAM

    (tmp_path / "FastSAM-t.pt").symlink_to(DEMO)
    reference, model = FastSAM(str(tmp_path / "FastSAM-t.pt")), load_it(DEMO, "fastsam", imgsz=160)
    ratios = []
    for number in range(8):
        image = draw_example(3, "areas", number).image.convert("RGB")
        how = {"conf": 0.25, "iou": 0.7, "imgsz": 160, "rect": False, "retina_masks": True, "verbose": False, "device": "cpu"}
        (found,), (result,) = segment(model, image), reference.predict(bgr(image), **how)
        assert flat(found)[:, :4] == pytest.approx(result.boxes.xyxy.numpy(), abs=1e-3)
        ratios += [each.mask_area / int(mask.sum()) for each, mask in zip(found, result.masks.data, strict=True)]
    assert len(ratios) > 10
    assert np.mean(ratios) == pytest.approx(1, abs=0.01)
    assert 0.94 < min(ratios) < max(ratios) < 1.06


def test_a_result_does_not_depend_on_its_neighbours(yolo):
    batched = load_it(yolo, "fastsam", imgsz=160, batch=4)
    assert batched.batch == 4
    first, *others = pictures(*range(6))
    (alone,) = segment(batched, first)
    assert alone
    for neighbours in (others[:1], others[:3], others[:1] * 3, others):
        assert segment(batched, first, *neighbours)[0] == alone
    # Its place moves the last bits alone, and every image has its own masks.
    mixed = segment(batched, *others[:3], first)
    for image, found in zip([*others[:3], first], mixed, strict=True):
        (expected,) = segment(batched, image)
        assert flat(found) == pytest.approx(flat(expected), abs=0.01)
        assert [each.mask_area for each in found] == pytest.approx([each.mask_area for each in expected], abs=10)


def test_by_default_a_result_on_a_cpu_does_not_depend_on_its_place_either(model):
    assert model.batch == 1
    images = pictures(*range(4))
    alone = [segment(model, image)[0] for image in images]
    assert all(alone)
    assert segment(model, *images) == alone
    assert segment(model, *images[::-1]) == alone[::-1]
    assert segment(model) == []


def test_every_forward_pass_has_one_square_shape(yolo, monkeypatch):
    model, shapes = load_it(yolo, "fastsam", imgsz=150, batch=2), []
    net = model._net

    class Watched:
        end2end = False

        def __call__(self, inputs):
            shapes.append(tuple(inputs.shape))
            return net(inputs)

    monkeypatch.setattr(model, "_net", Watched())
    segment(model, *pictures(*range(5)), drawing(0, (1, 300)), drawing(0, (900, 1)))
    assert set(shapes) == {(2, 3, 160, 160)}, "150 is rounded up to the stride"
    assert len(shapes) == 4


def test_a_label_is_the_name_of_the_class_where_there_are_several(model, tmp_path):
    found = [each for images in segment(model, *pictures(*range(4))) for each in images]
    assert {each.class_id for each in found} == {0, 1, 2}
    assert all(each.label == NAMES[each.class_id] for each in found)
    alone = load_it(weights_of.yolo(tmp_path / "one.pt", names=("object",)), "fastsam", imgsz=160)
    (found,) = segment(alone, drawing(1))
    assert found
    assert {(each.class_id, each.label) for each in found} == {(0, None)}
    assert not alone.takes_words


def test_only_what_is_surer_than_conf_counts(yolo, model):
    (everything,), (sure,) = segment(model, drawing(0)), segment(load_it(yolo, "fastsam", imgsz=160, conf=0.6), drawing(0))
    assert 0.25 < min(each.confidence for each in everything) < 0.6
    assert min(each.confidence for each in sure) > 0.6
    assert 0 < len(sure) < len(everything)
    assert segment(load_it(yolo, "fastsam", imgsz=160, conf=0.99999), drawing(0), drawing(1)) == [[], []]


def disc_found(model, size, centre, radius, cut=None):
    """What comes of a disc in an image of this size that the model sees perfectly, its box cut at x = `cut` of the image."""
    left, top, width, height = fastsam.frame(size, 160)
    gain = np.array([width / size[0], height / size[1]])
    middle, reach = np.array(centre) * gain + (left, top), radius * gain
    low, high = middle - reach, middle + reach
    if cut is not None:
        high[0] = cut * gain[0] + left
    across, down = (np.arange(40) + 0.5) * 4 - middle[0], (np.arange(40) + 0.5) * 4 - middle[1]
    parts = 1 - np.hypot(across[None] / reach[0], down[:, None] / reach[1])
    rows = torch.tensor([[*low, *high, 0.9, 2, 1.0, 0.0]])
    protos = torch.tensor(np.stack([parts, np.ones_like(parts)]))
    return model._found(rows.double(), protos, size)[0]


@pytest.mark.parametrize("size", [(160, 160), (200, 120), (120, 200), (1000, 300), (80, 60), (3000, 4000)])
def test_areas_are_pixels_of_the_image(model, size):
    centre, radius = (size[0] / 2, size[1] * 0.48), 0.3 * min(size)
    found = disc_found(model, size, centre, radius)
    assert found.mask_area == pytest.approx(math.pi * radius**2, rel=0.03)
    box = torch.tensor([[centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius]])
    assert found.box == pytest.approx(fastsam.snapped(box, size)[0].tolist(), rel=1e-5)
    assert (found.class_id, found.label, found.confidence) == (2, "dog", pytest.approx(0.9))
    half = disc_found(model, size, centre, radius, cut=centre[0] + radius / 3)
    part = math.pi - math.acos(1 / 3) + math.sqrt(8) / 9
    assert half.mask_area == pytest.approx(part * radius**2, rel=0.03), "what lies outside the box does not count"


def test_areas_of_small_things_are_right_on_the_whole(model):
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(200):
        radius = rng.uniform(8, 12)  # 2 to 3 pixels of the masks
        found = disc_found(model, (160, 160), rng.uniform(40, 120, 2), radius)
        ratios.append(found.mask_area / (math.pi * radius**2))
    assert np.mean(ratios) == pytest.approx(1, abs=0.03)
    assert 0.93 < min(ratios) < max(ratios) < 1.07


def test_what_lies_in_the_padding_does_not_count(model):
    found = disc_found(model, (160, 80), (80, 80), 40)  # the image ends in the middle of the disc
    assert found.mask_area == pytest.approx(math.pi * 40**2 / 2, rel=0.03)
    assert found.box == pytest.approx((40, 40, 120, 80))


def test_a_thing_without_a_mask_is_left_out(model):
    nothing, turned = [40.0, 40, 90, 90, 0.9, 0, -1], [90.0, 90, 40, 40, 0.9, 0, 1]
    rows = torch.tensor([nothing, turned, [40, 40, 90, 90, 0.8, 1, 1]])
    (found,) = model._found(rows, torch.ones(1, 40, 40), (160, 160))
    assert (found.class_id, found.mask_area) == (1, 2500)


def test_boxes_near_the_border_begin_there_and_those_of_nearly_everything_are_the_image():
    boxes = torch.tensor([[19.0, 21, 179, 181], [21, 19, 181, 179], [22, 22, 178, 178], [3, 3, 198, 190]])
    assert fastsam.snapped(boxes, (200, 200)).tolist() == [[0, 21, 179, 200], [21, 0, 200, 179], [22, 22, 178, 178], [0, 0, 200, 200]]
    assert fastsam.snapped(torch.tensor([[0.0, 25, 1000, 1000]]), (1000, 1000)).tolist() == [[0, 0, 1000, 1000]]


def test_when_memory_does_not_suffice_the_batch_is_halved_for_good(yolo, monkeypatch, caplog):
    model = load_it(yolo, "fastsam", imgsz=160, batch=4)
    images = pictures(*range(5))
    expected, net = segment(model, *images), model._net
    caplog.set_level("INFO", logger="darkroom")
    limit = 1

    class Small:
        end2end = False

        def __call__(self, inputs):
            if len(inputs) > limit:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            return net(inputs)

    monkeypatch.setattr(model, "_net", Small())
    assert [len(each) for each in segment(model, *images)] == [len(each) for each in expected]
    assert model.batch == 1
    assert "2 images at a time" in caplog.text
    assert "1 images at a time" in caplog.text
    limit = 0
    with pytest.raises(StepError, match="out of memory with a single image"):
        segment(model, *images)


def test_other_errors_of_the_model_are_not_taken_for_a_lack_of_memory(yolo):
    model = load_it(yolo, "fastsam", imgsz=160, batch=4)
    model._net = torch.nn.Conv2d(4, 1, 1)
    with pytest.raises(RuntimeError, match="channels"):
        segment(model, drawing(0))


def test_removing_overlaps_takes_the_time_that_it_takes(yolo, monkeypatch):
    from ultralytics.utils import nms

    model = load_it(yolo, "fastsam", imgsz=160, batch=4)
    expected = segment(model, *pictures(*range(4)))
    clock = iter(range(0, 10**9, 10**4))
    monkeypatch.setattr(nms.time, "time", lambda: next(clock))
    assert segment(model, *pictures(*range(4))) == expected


# ---- SAM, MobileSAM, SAM 2 ----

FAMILIES = {"mobile_sam.pt": "mobile_sam", "sam_b.pt": "sam", "sam2_t.pt": "sam2", "sam2.1_t.pt": "sam2"}


@pytest.fixture(scope="module")
def sam_weights(tmp_path_factory):
    """Files of all families, in a folder that the library would take for a name, or for two."""
    folder = tmp_path_factory.mktemp("weights") / "it's sam2.1_l.pt"
    folder.mkdir()
    return {ending: weights_of.sam(folder / f"my {ending}", ending) for ending in FAMILIES}


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """A grid of 4 x 4 points, which takes no time."""
    from workflow_scripts.autotag.segmenters import sam

    monkeypatch.setattr(sam, "GRID", 4)


@pytest.mark.parametrize("ending", FAMILIES)
def test_sam_finds_what_ultralytics_finds_by_itself(ending, sam_weights, tmp_path):
    from ultralytics.models.sam.predict import Predictor, SAM2Predictor

    path = sam_weights[ending]
    model, plain = load_it(path, FAMILIES[ending], imgsz=128), tmp_path / ending
    plain.symlink_to(path)
    kind = SAM2Predictor if FAMILIES[ending] == "sam2" else Predictor
    # Masks of random weights overlap nearly wholly; all of them are wanted here.
    reference = kind(
        overrides={"model": str(plain), "imgsz": 128, "conf": 0.25, "device": "cpu", "verbose": False, "save": False, "iou": 1}
    )
    model._predictor.args.iou = 1
    seen = 0
    for image in (drawing(0, (128, 96)), drawing(1, (88, 128))):
        (found,) = segment(model, image)
        (result,) = reference(bgr(image), points_stride=4)
        boxes = result.boxes.xyxy.numpy()
        assert len(found) == len(boxes) > 0
        assert flat(found)[:, :2] == pytest.approx(boxes[:, :2], abs=1e-3)
        assert flat(found)[:, 2:4] == pytest.approx(np.minimum(boxes[:, 2:] + 1, image.size), abs=1e-3), "theirs name the last pixel"
        assert flat(found)[:, 4] == pytest.approx(result.boxes.conf.numpy(), abs=1e-5)
        assert [each.mask_area for each in found] == result.masks.data.sum((1, 2)).tolist()
        assert {(each.class_id, each.label) for each in found} == {(0, None)}
        seen += len(found)
    assert seen > 2
    assert (model.batch, model.takes_words) == (1, False)


def sees(monkeypatch, model, masks, scores):
    """Let a model see the same masks, of 32 x 32 pixels, at whatever point it is asked about."""
    answer = torch.tensor(np.stack(masks), dtype=torch.float32)[None], torch.tensor([scores])

    class Decoder(torch.nn.Module):
        def forward(self, **_):
            return answer

    monkeypatch.setattr(model._predictor.model, "mask_decoder", Decoder())


def disc_mask(centre, radius):
    across, down = np.arange(32) + 0.5 - centre[0], np.arange(32) + 0.5 - centre[1]
    return 100 * (radius**2 - across[None] ** 2 - down[:, None] ** 2)


def test_sam_gives_boxes_and_areas_in_pixels_of_the_image(sam_weights, monkeypatch):
    model = load_it(sam_weights["mobile_sam.pt"], "mobile_sam", imgsz=128)
    sees(monkeypatch, model, [disc_mask((12, 9), 6), disc_mask((20, 14), 4), np.full((32, 32), -9.0)], [0.95, 0.9, 0.99])
    (large, small), (upright, _) = segment(model, drawing(0, (400, 300)), drawing(0, (60, 80)))
    scale = 400 / 32
    assert large.box == pytest.approx((6 * scale, 3 * scale, 18 * scale, 15 * scale), abs=4)
    assert large.mask_area == pytest.approx(math.pi * (6 * scale) ** 2, rel=0.02)
    assert small.mask_area == pytest.approx(math.pi * (4 * scale) ** 2, rel=0.03)
    assert (large.confidence, small.confidence) == (pytest.approx(0.95), pytest.approx(0.9))
    assert upright.mask_area == pytest.approx(math.pi * (6 * 80 / 32) ** 2, rel=0.02)


def test_sam_masks_end_where_the_image_ends(sam_weights, monkeypatch):
    model = load_it(sam_weights["mobile_sam.pt"], "mobile_sam", imgsz=128)
    sees(monkeypatch, model, [disc_mask((16, 16), 8), disc_mask((16, 26), 4)], [0.95, 0.9])
    (found,) = segment(model, drawing(0, (320, 160)))
    (half,) = found  # the other one lies below the image
    assert half.box == pytest.approx((80, 80, 240, 160), abs=3)
    assert half.mask_area == pytest.approx(math.pi * 80**2 / 2, rel=0.02)


def test_sam_counts_masks_from_conf_and_from_the_librarys_own_limit(sam_weights, monkeypatch):
    masks = [disc_mask((8, 8), 5), disc_mask((24, 8), 5), disc_mask((8, 24), 5)]
    for conf, expected in ((0.0, [0.95, 0.89]), (0.5, [0.95, 0.89]), (0.9, [0.95]), (0.96, [])):
        model = load_it(sam_weights["mobile_sam.pt"], "mobile_sam", imgsz=128, conf=conf)
        sees(monkeypatch, model, masks, [0.87, 0.95, 0.89])
        (found,) = segment(model, drawing(0, (160, 160)))
        assert [each.confidence for each in found] == pytest.approx(expected)


def test_when_memory_does_not_suffice_sam_asks_about_fewer_points(sam_weights, monkeypatch, caplog):
    model = load_it(sam_weights["mobile_sam.pt"], "mobile_sam", imgsz=128)
    expected = segment(model, *pictures(0, 1))
    encoder, limit = model._predictor._inference_features, 4

    def small(features, *prompts, **options):
        if len(prompts[1]) > limit:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return encoder(features, *prompts, **options)

    monkeypatch.setattr(model._predictor, "_inference_features", small)
    found = segment(model, *pictures(0, 1))
    assert [flat(each) for each in found] == [pytest.approx(flat(each), abs=1e-2) for each in expected]
    assert "4 points at a time" in caplog.text
    limit = 0
    with pytest.raises(StepError, match="out of memory with a single image"):
        segment(model, drawing(0))


@pytest.mark.parametrize("ending", ["mobile_sam.pt", "sam2.1_t.pt"])
def test_sam_computes_in_half_precision_too(ending, sam_weights):
    """As on a GPU, where the library's own predictor fails: scores in half and boxes in full precision."""
    model = load_it(sam_weights[ending], FAMILIES[ending], imgsz=64)
    (expected,) = segment(model, drawing(0))
    network = model._predictor.model.half()
    network.fp16, model._predictor.torch_dtype = True, torch.float16
    network.train().eval()  # as a load does, some keep sums for later
    (found,) = segment(model, drawing(0))
    assert found
    assert flat(found)[0] == pytest.approx(flat(expected)[0], abs=4)


@pytest.mark.parametrize(("backend", "listed"), [("sam", r"sam_h\.pt, sam_l\.pt, sam_b\.pt$"), ("sam2", r"sam2_t\.pt, .*sam2\.1_l\.pt$")])
def test_the_ending_of_the_name_has_to_say_which_sam_it_is(backend, listed, sam_weights, tmp_path):
    for name in ("weights.pt", "mobile_sam.pt", "sam_b.pth"):
        path = tmp_path / name
        path.write_bytes(sam_weights["mobile_sam.pt"].read_bytes())
        with pytest.raises(StepError, match=rf"{name}: the end of a file's name says which {backend} it is; .*ends in one of {listed}"):
            load_it(path, backend, imgsz=128)


def test_files_of_older_torch_are_read_too(sam_weights, tmp_path):
    path = tmp_path / "mobile_sam.pt"
    state = torch.load(sam_weights["mobile_sam.pt"])
    torch.save(state, path, _use_new_zipfile_serialization=False)
    new, old = (load_it(each, "mobile_sam", imgsz=64) for each in (sam_weights["mobile_sam.pt"], path))
    assert segment(old, drawing(0)) == segment(new, drawing(0)) != [[]]


def test_weights_of_another_sam_are_refused(sam_weights, tmp_path):
    path = tmp_path / "sam2_t.pt"
    path.write_bytes(sam_weights["sam2.1_t.pt"].read_bytes())
    with pytest.raises(StepError, match=r"sam2_t\.pt: not weights of sam2_t\.pt: .*Unexpected key.*no_obj_embed_spatial"):
        load_it(path, "sam2", imgsz=128)


# ---- files, cards, fingerprints ----


class Trap:
    """Something that runs when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("backend", "name"), [("fastsam", "a.pt"), ("mobile_sam", "mobile_sam.pt"), ("sam2", "sam2_t.pt"), ("sam3", "sam3.pt")]
)
def test_nothing_in_a_weights_file_runs(backend, name, tmp_path):
    trap = tmp_path / "sprung"
    for kind, save in (("zip", torch.save), ("pickle", lambda value, file: file.write_bytes(pickle.dumps(value, protocol=2)))):
        path = tmp_path / kind / name
        path.parent.mkdir()
        save({"model": Trap(trap)}, path)
        with pytest.raises(StepError, match=rf"segmenter\.weights: .*{name}: not weights of"):
            load_it(path, backend, imgsz=160)
        assert not trap.exists()


@pytest.mark.parametrize(("backend", "name"), [("fastsam", "a.pt"), ("sam", "sam_b.pt"), ("sam3", "sam3.pt")])
def test_what_is_no_weights_file_is_refused_by_name(backend, name, tmp_path, yolo):
    for number, data in enumerate((b"", b"no weights", yolo.read_bytes()[:5000])):
        path = tmp_path / str(number) / name
        path.parent.mkdir()
        path.write_bytes(data)
        with pytest.raises(StepError, match=rf"segmenter\.weights: .*{name}: not weights of"):
            load_it(path, backend, imgsz=160)


def test_fastsam_refuses_models_that_do_not_segment(tmp_path):
    from ultralytics import YOLO

    path = tmp_path / "detect.pt"
    YOLO("yolov8n.yaml").save(str(path))
    with pytest.raises(StepError, match=r"detect\.pt: a model of task detect; fastsam needs one that segments, such as FastSAM-x\.pt"):
        load_it(path, "fastsam", imgsz=160)


def test_a_file_that_was_replaced_or_a_missing_gpu_is_refused(yolo, tmp_path):
    machine = {"device": "cpu", "threads": 1}
    with pytest.raises(StepError, match="the file was replaced"):
        segmenters.load(card(yolo, sha256=SHA), SEGMENT, machine)
    if not torch.cuda.is_available():
        with pytest.raises(StepError, match="device: cuda was asked for"):
            segmenters.load(card(yolo), SEGMENT, machine | {"device": "cuda"})


def test_a_fingerprint_is_of_all_that_findings_depend_on_and_nothing_else(yolo, monkeypatch):
    model = load_it(yolo, "fastsam", imgsz=160, batch=2)
    same = {"backend": "fastsam", "conf": 0.25, "imgsz": 160, "max_segments": 1, "min_area": 9, "min_crop": 9, "whole_image": False}
    sha256 = card(yolo).sha256
    assert model.fingerprint == segmenters.fingerprint(sha256, same, "cpu") == load_it(yolo, "fastsam", imgsz=160).fingerprint
    others = [segmenters.fingerprint(sha256, same | change, "cpu") for change in ({"backend": "sam"}, {"conf": 0.3}, {"imgsz": 192})]
    others += [segmenters.fingerprint(SHA, same, "cpu"), model.fingerprint]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    others.append(segmenters.fingerprint(sha256, same, "auto"))
    assert segmenters.fingerprint(sha256, same, "cuda") == others[-1], "half precision"
    assert len(set(others)) == 6
    assert all(len(each) == 16 for each in others)


def test_threads_are_those_of_the_settings(yolo, sam_weights):
    for path, backend in ((yolo, "fastsam"), (sam_weights["mobile_sam.pt"], "mobile_sam")):
        for threads in (2, 1):
            segmenters.load(card(path), SEGMENT | {"backend": backend, "imgsz": 128}, {"device": "cpu", "threads": threads})
            assert torch.get_num_threads() == threads


def test_segmenters_that_ultralytics_publishes_are_known_by_name(tmp_path, monkeypatch):
    for name in ("YOLO_CONFIG_DIR", "YOLO_OFFLINE"):
        monkeypatch.setenv(name, "1")
    folder = tmp_path / "segment"
    folder.mkdir()
    for name in ("FastSAM-s.pt", "FastSAM-x.pt", "mobile_sam.pt", "sam_b.pt", "sam_l.pt", "sam2_t.pt", "sam2.1_l.pt", "yolo11n-seg.pt"):
        (folder / name).write_bytes(b"fetched before")
        assert fetch_segment(name, folder) == folder / name
    wanted = r"sam_z\.pt: no such file, and Ultralytics publishes .*segmenters are FastSAM-s\.pt, FastSAM-x\.pt, mobile_sam\.pt, sam2\.1_b"
    with pytest.raises(StepError, match=wanted) as error:
        make_card("segment", "sam_z.pt", None, tmp_path)
    assert "pose" not in str(error.value)
    assert "yolov8n.pt" not in str(error.value)


def test_replaced_things_come_back(tmp_path, monkeypatch):
    with library.replaced(sys, "byteorder", "middle"):
        assert sys.byteorder == "middle"
    assert sys.byteorder in ("little", "big")
    file = tmp_path / "a'b.pt"
    file.write_bytes(b"1")
    monkeypatch.chdir(tmp_path)
    with library.named(Path("a'b.pt"), "sam_b.pt") as path:
        assert Path(path).name == "sam_b.pt"
        assert Path(path).read_bytes() == b"1"
    assert not Path(path).exists()
