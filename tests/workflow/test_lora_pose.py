"""lora 02 through Ultralytics, with a model of random weights that sees people everywhere."""

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.core.models import WeightsCard
from workflow_scripts.core.step import StepError
from workflow_scripts.lora import pose as module
from workflow_scripts.lora import pose_model, poses
from workflow_scripts.lora.pose import detect
from workflow_scripts.lora.pose_model import PoseModel, Prepared
from workflow_scripts.lora.tables import FRAMES, POSES, about, read, write

pytest.importorskip("ultralytics")
cv2 = pytest.importorskip("cv2")
ROOT = Path(__file__).parents[2]
SIZES = [(200, 120), (120, 200), (160, 160), (400, 240)]


def drawing(number, size=(200, 120)):
    """Noise in large squares, the same for the same number."""
    noise = np.random.default_rng(number).integers(0, 255, (size[1] // 8, size[0] // 8, 3), np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.NEAREST)


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def random_model(path, **changes):
    """Weights as Ultralytics saves them, whose boxes are sure about some places."""
    os.environ.update(pose_model._ENVIRONMENT, YOLO_CONFIG_DIR=str(path.parent))
    import torch
    from ultralytics.nn.tasks import PoseModel as PoseNet
    from ultralytics.nn.tasks import yaml_model_load

    torch.manual_seed(0)
    plan = yaml_model_load("yolov8n-pose.yaml") | {"scale": "n", "nc": 1, "names": {0: "person"}} | changes
    plan["scales"] = {"n": [0.33, 0.0625, 256]}
    net = PoseNet(plan, verbose=False)
    # With statistics of pictures in its normalisations, what comes out depends on what goes in.
    for part in net.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None
    with torch.no_grad():
        net.train()(torch.from_numpy(np.stack([pixels(number, (160, 160)) for number in range(8)])).permute(0, 3, 1, 2) / 255)
    net.eval()
    for scores in net.model[-1].cv3:
        scores[-1].weight.data.mul_(3)
        scores[-1].bias.data.fill_(-3.0)
    net.args = {"imgsz": 160, "task": "pose"}
    torch.save({"model": net, "train_args": {"imgsz": 160, "task": "pose"}, "version": "8.4.0", "date": ""}, path)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return random_model(tmp_path_factory.mktemp("weights") / "pose.pt")


@pytest.fixture(scope="module")
def model(weights):
    return PoseModel(weights, device="cpu", threads=1)


def pixels(number, size=(200, 120)):
    return np.asarray(drawing(number, size))


class Workspace:
    """Frames of one video, as step 01 leaves them."""

    def __init__(self, root, weights):
        self.root, self.weights, self.rows = root, weights, []
        self.machine = {"cache_root": str(root / "cache"), "device": "cpu", "threads": 1}
        self.sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
        self.max_pixels = 10**6

    def add(self, data=None, size=(200, 120)):
        n = len(self.rows) + 1
        data = png(drawing(n, size)) if data is None else data
        path = self.root / f"01_source_frames/clip/clip_frame_{n:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        row = {"frame_id": path.stem, "video": "clip", "n": n, "path": str(path.relative_to(self.root)), "outcome": "frame"}
        self.rows.append(row | {"sha256": hashlib.sha256(data).hexdigest(), "width": size[0], "height": size[1]})

    def run(self, **machine):
        frames, self.output = self.root / "01_source_frames/clip.parquet", self.root / "02_pose/clip.parquet"
        write(frames, FRAMES, self.rows, {"video": "clip"})
        card = WeightsCard("pose", "pose.pt", str(self.weights), 1, self.sha256)
        card.write(self.root / "card.json")
        self.counts = detect(frames, self.root, card, self.machine | machine, self.output, max_pixels=self.max_pixels)
        return read(self.output)


@pytest.fixture
def workspace(tmp_path, weights):
    return Workspace(tmp_path, weights)


def flat(people):
    return np.array([[*person["box"], person["confidence"], *person["keypoints"]] for person in people])


# ---- the model ----


def test_it_finds_what_ultralytics_finds_by_itself(weights):
    from ultralytics.models import YOLO

    reference, model = YOLO(str(weights)), PoseModel(weights, device="cpu", threads=1, batch=1)
    for number, size in enumerate(SIZES):
        picture = pixels(number, size)
        (found,) = model.find([model.prepare(picture)])
        how = {"conf": 0.05, "iou": 0.7, "max_det": 300, "verbose": False, "device": "cpu"}
        (result,) = reference.predict(np.ascontiguousarray(picture[..., ::-1]), **how)
        rows = np.concatenate([result.boxes.xyxy, result.boxes.conf[:, None], result.keypoints.data.flatten(1)], axis=1)
        assert len(found) == len(rows) > 1
        mine, theirs = (part[np.argsort(-part[:, 4])] for part in (flat(found), rows))
        assert mine == pytest.approx(theirs, abs=0.02)
        assert mine[:, 4].min() >= 0.05


def test_the_largest_box_comes_first(model):
    (found,) = model.find([model.prepare(pixels(0))])
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in flat(found)[:, :4]]
    assert areas == sorted(areas, reverse=True)
    assert len(set(areas)) > 1


def test_of_equal_boxes_the_one_nearest_to_the_centre_comes_first_then_the_surer_one():
    torch = pytest.importorskip("torch")
    boxes = [(0, 0, 20, 40), (40, 20, 60, 60), (30, 20, 50, 60), (46, 20, 66, 60), (0, 0, 21, 40)]
    rows = torch.tensor([[*box, confidence, 0, *[0.5] * 51] for box, confidence in zip(boxes, (0.9, 0.1, 0.3, 0.4, 0.2), strict=True)])
    people = pose_model._people(rows, (80, 96, 3), (96, 80))
    found = [(tuple(person["box"]), round(person["confidence"], 2)) for person in people]
    assert found == [(boxes[4], 0.2), (boxes[1], 0.1), (boxes[3], 0.4), (boxes[2], 0.3), (boxes[0], 0.9)]
    twice = torch.stack([rows[2], rows[3], rows[1], rows[1]])
    twice[3, 4] = 0.6
    assert [round(person["confidence"], 2) for person in pose_model._people(twice, (80, 96, 3), (96, 80))] == [0.6, 0.1, 0.4, 0.3]


def test_a_result_does_not_depend_on_its_neighbours(weights):
    batched = PoseModel(weights, device="cpu", threads=1, batch=4)
    first, *others = [batched.prepare(pixels(number)) for number in range(6)]
    (alone,) = batched.find([first])
    assert alone
    for neighbours in (others[:1], others[:3], others[:1] * 3, others):
        assert batched.find([first, *neighbours])[0] == alone


def test_by_default_a_result_on_a_cpu_does_not_depend_on_its_place_either(weights):
    model = PoseModel(weights, device="cpu", threads=1)
    prepared = [model.prepare(pixels(number, SIZES[number % 2])) for number in range(4)]
    alone = [model.find([picture])[0] for picture in prepared]
    assert all(alone)
    assert model.find(prepared) == alone
    assert model.find(prepared[::-1]) == alone[::-1]


def test_boxes_and_keypoints_are_in_pixels_of_the_picture_whatever_its_size(model):
    small, large = pixels(0, (200, 120)), np.asarray(drawing(0, (200, 120)).resize((800, 480), Image.Resampling.NEAREST))
    for picture in (small, large):
        height, width, _ = picture.shape
        (found,) = model.find([model.prepare(picture)])
        values = flat(found)
        assert values[:, [0, 2]].max() > width / 2
        assert (values[:, :4] >= 0).all()
        assert (values[:, [0, 2]] <= width).all()
        assert (values[:, [1, 3]] <= height).all()


def test_the_model_sees_the_size_that_it_was_trained_with(model):
    assert [model.prepare(pixels(0, size)).pixels.shape for size in SIZES] == [(96, 160, 3), (160, 96, 3), (160, 160, 3), (96, 160, 3)]


def test_when_memory_does_not_suffice_the_batch_is_halved_for_good(weights, monkeypatch, caplog):
    model = PoseModel(weights, device="cpu", threads=1, batch=4)
    prepared = [model.prepare(pixels(number)) for number in range(5)]
    expected, net = model.find(prepared), model._net
    caplog.set_level("INFO", logger="darkroom")

    class Small:
        end2end = False

        def __call__(self, inputs):
            if len(inputs) > 1:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            return net(inputs)

    monkeypatch.setattr(model, "_net", Small())
    assert [len(people) for people in model.find(prepared)] == [len(people) for people in expected]
    assert model.batch == 1
    assert "2 frames a forward pass" in caplog.text
    assert "1 frames a forward pass" in caplog.text


def test_other_errors_of_the_model_are_not_taken_for_a_lack_of_memory(weights, monkeypatch):
    model = PoseModel(weights, device="cpu", threads=1, batch=4)
    with pytest.raises(RuntimeError, match="channels"):
        model.find([Prepared(np.zeros((96, 160, 4), np.uint8), (160, 96))])


def test_removing_overlaps_takes_the_time_that_it_takes(weights, monkeypatch):
    from ultralytics.utils import nms

    model = PoseModel(weights, device="cpu", batch=4)
    prepared = [model.prepare(pixels(number)) for number in range(4)]
    expected = model.find(prepared)
    clock = iter(range(0, 10**9, 10**4))
    monkeypatch.setattr(nms.time, "time", lambda: next(clock))
    assert model.find(prepared) == expected


# ---- weights ----


def test_weights_of_something_else_are_refused(tmp_path, weights):
    cases = {
        "detect.pt": ({"kpt_shape": None}, "keypoints none"),
        "few.pt": ({"kpt_shape": [5, 3]}, r"keypoints \[5, 3\]"),
        "blind.pt": ({"kpt_shape": [17, 2]}, r"keypoints \[17, 2\]"),
        "two.pt": ({"nc": 2, "names": {0: "person", 1: "dog"}}, "2 classes"),
    }
    for name, (changes, text) in cases.items():
        path = random_model(tmp_path / name, **changes) if changes.get("kpt_shape", 1) else plain_detector(tmp_path / name)
        with pytest.raises(StepError, match=rf"pose.weights: .*{name}: a model of .*{text}"):
            PoseModel(path)


def plain_detector(path):
    from ultralytics import YOLO

    YOLO("yolov8n.yaml").save(str(path))
    return path


def test_what_is_no_weights_file_is_refused_by_name(tmp_path, weights):
    for name, data in {"text.pt": b"no weights", "empty.pt": b"", "cut.pt": weights.read_bytes()[:5000], "a.onnx": b"onnx"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(StepError, match=rf"pose.weights: .*{name}: no weights of Ultralytics: "):
            PoseModel(tmp_path / name)
    with pytest.raises(StepError, match=r"pose.weights: .*gone.pt: no such file"):
        PoseModel(tmp_path / "gone.pt")


def test_weights_that_would_run_something_are_refused_and_do_not(tmp_path):
    torch = pytest.importorskip("torch")

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(StepError, match=r"evil.pt: no weights of Ultralytics: "):
        PoseModel(tmp_path / "evil.pt")
    assert not (tmp_path / "harm").exists()


def test_weights_that_were_replaced_are_refused(workspace):
    workspace.add()
    workspace.sha256 = "0" * 64
    with pytest.raises(StepError, match=r"sha256 is [0-9a-f]{64}, the model card says 0{64}: the file was replaced"):
        workspace.run()


def test_a_gpu_that_is_not_there_is_refused(weights, workspace):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        workspace.add()
        with pytest.raises(StepError, match="device: cuda"):
            workspace.run(device="cuda")


# ---- the step ----


def test_each_frame_has_a_row_with_its_people_and_its_sharpness(workspace, model):
    for number in range(6):
        workspace.add(size=SIZES[number % 2])
    rows = workspace.run()
    assert [list(row) for row in rows] == [[name for name, _ in POSES]] * 6
    assert [row["frame_id"] for row in rows] == [row["frame_id"] for row in workspace.rows]
    assert [(row["outcome"], row["reason"]) for row in rows] == [("pose", None)] * 6
    for number, row in enumerate(rows):
        picture = pixels(number + 1, SIZES[number % 2])
        assert row["people"] == model.find([model.prepare(picture)])[0] != []
        grey = np.asarray(Image.fromarray(picture).convert("L"), np.float64)
        assert row["sharpness"] == pytest.approx(cv2.Laplacian(grey, cv2.CV_64F, ksize=1).var(), rel=0.01)
    assert workspace.counts == {"listed": 6, "pose": 6, "error": 0, "known": 0, "computed": 6}
    assert about(workspace.output)["video"] == "clip"


def test_frames_without_a_picture_are_not_listed_and_bad_ones_are_errors(workspace):
    workspace.add()
    workspace.add(b"broken")
    workspace.add()
    (workspace.root / workspace.rows[2]["path"]).unlink()
    workspace.add()
    (workspace.root / workspace.rows[3]["path"]).write_bytes(png(drawing(99)))
    workspace.rows.append({"frame_id": "clip_frame_000005", "video": "clip", "n": 5, "outcome": "error", "reason": "decode: it broke off"})
    rows = workspace.run()
    assert [(row["n"], row["outcome"], row["reason"]) for row in rows] == [
        (1, "pose", None),
        (2, "error", "decode: not an image"),
        (3, "error", "read: no such file or directory"),
        (4, "error", "read: another content than step 01 listed"),
    ]
    assert [(row["people"], row["sharpness"]) for row in rows[1:]] == [(None, None)] * 3
    assert workspace.counts == {"listed": 4, "pose": 1, "error": 3, "known": 0, "computed": 1}


def test_a_frame_of_too_many_pixels_is_an_error(workspace):
    workspace.add(size=(200, 120))
    workspace.max_pixels = 200 * 120 - 1
    assert [(row["outcome"], row["reason"]) for row in workspace.run()] == [("error", "decode: too large")]
    workspace.max_pixels = 200 * 120
    assert workspace.run()[0]["outcome"] == "pose"


def test_what_is_known_needs_no_model_and_gives_the_same_bytes(workspace, monkeypatch):
    for _ in range(5):
        workspace.add()
    workspace.run()
    before = workspace.output.read_bytes()
    monkeypatch.setattr(poses, "PoseModel", None)
    workspace.run(threads=2, batch=4)
    assert workspace.output.read_bytes() == before
    assert (workspace.counts["known"], workspace.counts["computed"]) == (5, 0)


def test_only_what_is_new_is_computed_and_equal_frames_once(workspace):
    same = png(drawing(7))
    workspace.add()
    workspace.run()
    workspace.add(same)
    workspace.add(same)
    rows = workspace.run()
    assert workspace.counts == {"listed": 3, "pose": 3, "error": 0, "known": 1, "computed": 1}
    assert rows[1]["people"] == rows[2]["people"]


def test_other_weights_have_a_cache_of_their_own(workspace, tmp_path):
    workspace.add()
    workspace.run()
    fingerprint = about(workspace.output)["poses"]
    assert (Path(workspace.machine["cache_root"]) / "poses" / fingerprint).is_dir()
    assert fingerprint == pose_model.fingerprint(workspace.sha256, "fp32")
    assert fingerprint not in (pose_model.fingerprint("0" * 64, "fp32"), pose_model.fingerprint(workspace.sha256, "fp16"))


def test_each_batch_has_one_shape_and_none_waits_for_ever(workspace, monkeypatch):
    batches, find = [], PoseModel.find

    def watched(self, pictures):
        batches.append([picture.pixels.shape for picture in pictures])
        return find(self, pictures)

    monkeypatch.setattr(PoseModel, "find", watched)
    for number in range(9):
        workspace.add(size=SIZES[number % 3])
    rows = workspace.run(batch=2)
    assert sorted(map(len, batches)) == [1, 1, 1, 2, 2, 2]
    assert all(len(set(batch)) == 1 for batch in batches)
    monkeypatch.setattr(poses, "_MOST_WAITING", 2)
    batches.clear()
    again = workspace.run(batch=4, cache_root=str(workspace.root / "another"))
    lengths = list(map(len, batches))
    assert (sum(lengths), max(lengths)) == (9, 2), "without the bound they were three batches of three"
    for row, other in zip(rows, again, strict=True):
        best, same = (sorted((person["confidence"] for person in found["people"]), reverse=True)[:3] for found in (row, other))
        assert best == pytest.approx(same, abs=1e-3)


def test_numbers_that_are_not_finite_are_an_error_and_are_not_kept(workspace, monkeypatch):
    workspace.add()
    find = PoseModel.find

    def broken(self, pictures):
        found = find(self, pictures)
        found[0][0]["keypoints"][4] = float("nan")
        return found

    monkeypatch.setattr(PoseModel, "find", broken)
    assert workspace.run()[0]["reason"] == "pose: the model gave numbers that are not finite"
    monkeypatch.undo()
    assert (workspace.run()[0]["outcome"], workspace.counts["computed"]) == ("pose", 1)


def test_a_video_without_frames_has_an_empty_table(workspace):
    assert workspace.run() == []
    assert workspace.counts["listed"] == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (90, 1)])
def test_tiny_pictures_have_a_sharpness(size):
    assert poses.sharpness(np.full((size[1], size[0], 3), 77, np.uint8)) == 0.0


def test_sharpness_is_the_variance_of_the_laplacian_of_the_grey():
    picture = np.zeros((5, 5, 3), np.uint8)
    picture[2, 2] = 100
    edges = np.zeros((5, 5))
    edges[2, 2], edges[1, 2], edges[3, 2], edges[2, 1], edges[2, 3] = -400, 100, 100, 100, 100
    assert poses.sharpness(picture) == pytest.approx(edges.var())
    green = np.zeros((5, 5, 3), np.uint8)
    green[2, 2] = (0, 100, 0)
    assert poses.sharpness(green) == pytest.approx(edges.var() * 0.59**2)


def test_the_rule_runs_off_line_in_a_process_of_its_own_and_says_nothing_to_a_hub(workspace, tmp_path):
    workspace.add()
    workspace.run()
    (tmp_path / "home").mkdir()
    machine = workspace.machine | {"cache_root": str(tmp_path / "new")}
    program = (
        "import runpy, sys\nfrom types import SimpleNamespace as S\n"
        f"job = S(log=[{str(tmp_path / 'log')!r}], input=S(frames={str(tmp_path / '01_source_frames/clip.parquet')!r}, "
        f"model={str(tmp_path / 'card.json')!r}), output=[{str(tmp_path / '02_pose/clip.parquet')!r}], "
        f"params=S(root={str(tmp_path)!r}, max_pixels=10**6, machine={machine!r}))\n"
        f"runpy.run_path({module.__file__!r}, {{'snakemake': job}})\n"
    )
    before = workspace.output.read_bytes()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("YOLO", "ULTRALYTICS"))}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment | {"HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert workspace.output.read_bytes() == before
    assert "done: listed=1 pose=1 error=0 known=0 computed=1" in (tmp_path / "log").read_text()
    assert "ltralytics" not in done.stderr + done.stdout
    assert [path for path in (tmp_path / "home").rglob("*") if "ltralytics" in path.name] == []
