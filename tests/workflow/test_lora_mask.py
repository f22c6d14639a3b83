"""lora 03 through rembg and onnxruntime, with a model written by hand: its alpha is how red a pixel is."""

import hashlib
import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageDraw

from workflow_scripts.core.models import WeightsCard, hash_file
from workflow_scripts.core.step import StepError
from workflow_scripts.lora import alphas as alphas_module
from workflow_scripts.lora import mask_model
from workflow_scripts.lora.cutout import png
from workflow_scripts.lora.mask import cut_out
from workflow_scripts.lora.mask_model import Masker
from workflow_scripts.lora.tables import SORTED, read, write

pytest.importorskip("rembg")
pytest.importorskip("cv2")

SIZE = (160, 120)
PERSON = (30.0, 20.0, 70.0, 100.0)
FOLDER = "03_masked_subjects"


# ---- an ONNX file without the onnx package: protobuf is tag, length, bytes ----


def varint(value):
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number, value):
    """A field of a message: a number, or something with a length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor_info(name, sides):
    dims = b"".join(field(1, field(2, side) if isinstance(side, str) else field(1, side)) for side in sides)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))


def red_model(path, *, batch="n", side=320, scale=1.0, bias=0.0):
    """A 1 x 1 convolution of the red channel and a ReLU: alpha grows with a pixel's red from about half on."""
    weights = struct.pack("<3f", scale, 0, 0)
    kernel = b"".join(field(1, side) for side in (1, 3, 1, 1)) + field(2, 1) + field(8, "w") + field(9, weights)
    offset = field(1, 1) + field(2, 1) + field(8, "b") + field(9, struct.pack("<f", bias))
    node = b"".join(field(1, name) for name in ("x", "w", "b")) + field(2, "c") + field(4, "Conv")
    graph = (
        field(1, node) + field(1, field(1, "c") + field(2, "y") + field(4, "Relu")) + field(2, "g") + field(5, kernel) + field(5, offset)
    )
    graph += field(11, tensor_info("x", (batch, 3, side, side))) + field(12, tensor_info("y", (batch, 1, side, side)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(2, 13)))
    return path


def card(weights, sha256=None):
    return WeightsCard("mask", str(weights), str(weights), weights.stat().st_size, sha256 or hash_file(weights))


def masker(weights, **machine):
    return Masker(card(weights), **({"device": "cpu", "threads": 2} | machine))


# ---- a workspace ----


def scene(*ellipses, seed=0):
    """Red ellipses, given by their boxes, on noise without red."""
    noise = np.random.Generator(np.random.PCG64(seed)).integers(40, 200, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    noise[..., 0] = 0
    image = Image.fromarray(noise)
    for box in ellipses:
        ImageDraw.Draw(image).ellipse(box, fill=(255, 60, 60))
    return image


def jpeg(image):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


class Workspace:
    """Frames of one video, their table of step 02, and step 03 over them."""

    def __init__(self, root):
        self.root, self.cache = root / "ws", root / "cache"
        self.weights = red_model(root / "models" / "red.onnx")
        self.rows, self.alpha_matting, self.max_pixels = [], False, 1_000_000

    def add(self, image, *, box=PERSON, category="upper_body", outcome="candidate", data=None):
        n = len(self.rows) + 1
        frame_id = f"a 'clip'_frame_{n:06d}"
        data = data or jpeg(image)
        path = self.root / "01_source_frames" / "a 'clip'" / f"{frame_id}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        row = {"frame_id": frame_id, "video": "a 'clip'", "n": n, "sha256": hashlib.sha256(data).hexdigest()}
        row |= {"path": str(path.relative_to(self.root)), "width": SIZE[0], "height": SIZE[1], "category": category, "outcome": outcome}
        row |= {"person_count": 1, "person": {"box": list(box), "confidence": 0.9, "keypoints": [0.0] * 51}}
        self.rows.append(row)
        return row

    def run(self, **machine):
        table, self.output = self.root / "02.parquet", self.root / FOLDER / "clip.parquet"
        write(table, SORTED, self.rows, {"video": "a 'clip'"})
        machine = {"cache_root": str(self.cache), "device": "cpu", "threads": 2} | machine
        how = {"alpha_matting": self.alpha_matting, "max_pixels": self.max_pixels}
        counts = cut_out(table, self.root, card(self.weights), machine, self.output, **how)
        return counts, read(self.output)

    def picture(self, row):
        return self.root / FOLDER / row["category"] / f"{row['frame_id']}.png"

    def alpha(self, row):
        with Image.open(self.picture(row)) as image:
            assert image.mode == "RGBA"
            assert image.size == SIZE
            return np.asarray(image)[..., 3]


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)


@pytest.fixture
def loads(monkeypatch):
    """How often a model was loaded."""
    made = []

    class Counted(Masker):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            made.append(self)

    monkeypatch.setattr(alphas_module.mask_model, "Masker", Counted)
    return made


def rembg_alpha(monkeypatch, weights, image):
    """What rembg itself gives, from a folder where it lets a model lie."""
    import rembg

    monkeypatch.setenv("U2NET_HOME", str(weights.parent))
    session = rembg.new_session("u2net_custom", model_path=str(weights), providers=["CPUExecutionProvider"])
    return np.asarray(rembg.remove(image, session=session, only_mask=True))


# ---- the model ----


@pytest.mark.parametrize("batch", [1, 3])
def test_an_alpha_is_that_of_rembg_at_any_batch_size_and_depends_on_no_neighbour(tmp_path, monkeypatch, batch):
    weights = red_model(tmp_path / "red.onnx")
    images = [scene((30 + 10 * n, 20, 70, 100), seed=n) for n in range(4)]
    wanted = [rembg_alpha(monkeypatch, weights, image) for image in images]
    model = masker(weights, batch=batch)
    assert model.batch == batch
    prepared = [model.prepare(image) for image in images]
    alone = [model.alpha(model.infer([one])[0], SIZE) for one in prepared]
    for found, other in zip(alone, wanted, strict=True):
        assert np.abs(np.asarray(found).astype(int) - other).max() <= 1
    together = [values for first in range(0, 4, batch) for values in model.infer(prepared[first : first + batch])]
    assert [np.asarray(model.alpha(values, SIZE)).tobytes() for values in together] == [np.asarray(one).tobytes() for one in alone]


def test_a_model_with_a_fixed_batch_keeps_it(tmp_path):
    assert masker(red_model(tmp_path / "red.onnx", batch=1), batch=4).batch == 1


def test_every_named_model_is_one_that_rembg_runs_on_this_machine_with_one_mask():
    from rembg.sessions import sessions

    local = {name for name, session in sessions.items() if session.is_local()}
    assert set(mask_model.NAMES) | {mask_model.CUSTOM} <= local
    assert not set(mask_model.NAMES) & {"sam", "u2net_cloth_seg"}


@pytest.mark.parametrize(("name", "side"), [("isnet-general-use", 1024), ("birefnet-portrait", 1024), ("silueta", 320)])
def test_a_file_called_by_a_model_of_rembg_is_run_as_that_model(tmp_path, monkeypatch, name, side):
    import rembg

    weights = red_model(tmp_path / f"{name}.onnx", side=side)
    image = scene((30, 20, 70, 100))
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    wanted = np.asarray(rembg.remove(image, session=rembg.new_session(name), only_mask=True)).astype(int)
    model = masker(weights)
    found = np.asarray(model.alpha(model.infer([model.prepare(image)])[0], SIZE))
    assert np.abs(found - wanted).max() <= 1
    assert 0 < (wanted > 127).mean() < 0.5


def test_a_picture_in_which_the_model_sees_nothing_has_an_empty_alpha(tmp_path):
    model = masker(red_model(tmp_path / "red.onnx", scale=0.0, bias=5.0))
    assert not np.asarray(model.alpha(model.infer([model.prepare(scene())])[0], SIZE)).any()


def test_what_is_no_usable_model_is_refused_by_what_it_is(tmp_path):
    good, broken = red_model(tmp_path / "red.onnx"), tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(StepError, match=r"broken\.onnx: onnxruntime cannot load it"):
        masker(broken)
    with pytest.raises(StepError, match=r"wide\.onnx: takes 512 x 512 pixels, u2net_custom gives it 320 x 320"):
        masker(red_model(tmp_path / "wide.onnx", side=512))
    with pytest.raises(StepError, match=r"red\.onnx: sha256 is"):
        Masker(card(good, sha256="0" * 64), device="cpu", threads=1)


@pytest.mark.parametrize("name", ["withoutbg", "atlascloud", "sam", "u2net_cloth_seg", "u2net_custom", "nonsense"])
def test_models_that_send_pictures_away_or_give_no_one_mask_are_refused_by_name(name):
    with pytest.raises(StepError, match=rf"mask\.model: '{name}' cannot be used here; take .* isnet-general-use"):
        mask_model.kind(name)


def test_cuda_without_a_gpu_is_an_error(tmp_path, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(StepError, match="device: cuda"):
        masker(red_model(tmp_path / "red.onnx"), device="cuda")


# ---- the step ----


def test_the_chosen_person_is_cut_out_and_nobody_else(workspace):
    row = workspace.add(scene((30, 20, 70, 100), (100, 20, 140, 100)))
    counts, rows = workspace.run()
    alpha = workspace.alpha(row)
    assert alpha[60, 50] > 250
    assert not alpha[:, 85:].any()
    assert counts == {"listed": 1, "masked": 1, "error": 0, "current": 0, "retouched": 0, "known": 0, "computed": 1}
    assert rows[0]["path"] == f"{FOLDER}/upper_body/{row['frame_id']}.png"
    assert rows[0]["file_sha256"] == hashlib.sha256(workspace.picture(row).read_bytes()).hexdigest()
    assert (rows[0]["outcome"], rows[0]["sha256"], rows[0]["category"]) == ("masked", row["sha256"], "upper_body")
    with Image.open(workspace.root / row["path"]) as frame, Image.open(workspace.picture(row)) as picture:
        subject = alpha > 0
        assert (np.asarray(picture)[subject][:, :3] == np.asarray(frame)[subject]).all()


def test_only_candidates_are_cut_out_and_each_has_a_row(workspace):
    rows = [workspace.add(scene((30, 20, 70, 100), seed=n), outcome=("rejected", "candidate")[n % 2]) for n in range(5)]
    counts, found = workspace.run()
    assert [row["frame_id"] for row in found] == [rows[1]["frame_id"], rows[3]["frame_id"]]
    assert counts["listed"] == counts["masked"] == 2
    assert [workspace.picture(row).exists() for row in rows] == [False, True, False, True, False]


def test_a_broken_frame_a_missing_one_and_a_replaced_one_are_rows_with_their_reasons(workspace):
    good = workspace.add(scene((30, 20, 70, 100)))
    workspace.add(None, data=jpeg(scene(seed=5))[:500])
    gone, other = workspace.add(scene(seed=6)), workspace.add(scene(seed=7))
    (workspace.root / gone["path"]).unlink()
    (workspace.root / other["path"]).write_bytes(jpeg(scene(seed=8)))
    counts, rows = workspace.run(batch=3)
    assert [row["outcome"] for row in rows] == ["masked", "error", "error", "error"]
    reasons = ["decode: truncated", "read: No such file or directory", "read: another content than step 01 listed"]
    assert [row["reason"] for row in rows[1:]] == reasons
    assert [row["path"] for row in rows[1:]] == [None] * 3
    assert (counts["masked"], counts["error"], counts["computed"]) == (1, 3, 1)
    assert workspace.alpha(good).any()


def test_a_second_run_neither_loads_the_model_nor_writes_a_picture(workspace, loads):
    rows = [workspace.add(scene((30, 20, 70, 100), seed=n)) for n in range(3)]
    _, first = workspace.run()
    before = [workspace.picture(row).stat().st_mtime_ns for row in rows]
    table = workspace.output.read_bytes()
    counts, second = workspace.run()
    assert len(loads) == 1
    assert (counts["current"], counts["computed"]) == (3, 0)
    assert [workspace.picture(row).stat().st_mtime_ns for row in rows] == before
    assert first == second
    assert workspace.output.read_bytes() == table


def test_another_person_chosen_makes_another_picture_without_the_model(workspace, loads):
    row = workspace.add(scene((30, 20, 70, 100), (100, 20, 140, 100)))
    workspace.run()
    row["person"]["box"] = [100.0, 20.0, 140.0, 100.0]
    counts, _ = workspace.run()
    assert (len(loads), counts["known"], counts["computed"]) == (1, 1, 0)
    assert not workspace.alpha(row)[:, :85].any()
    assert workspace.alpha(row)[60, 120] > 250


def test_another_model_makes_the_pictures_anew(workspace, loads):
    row = workspace.add(scene((30, 20, 70, 100)))
    workspace.run()
    before = workspace.alpha(row)
    workspace.weights = red_model(workspace.root.parent / "models" / "inverse.onnx", scale=-1.0)
    counts, _ = workspace.run()
    assert (len(loads), counts["computed"]) == (2, 1)
    assert (workspace.alpha(row) != before).any()


def test_frames_with_one_content_are_computed_once_and_each_has_its_picture(workspace):
    image = scene((30, 20, 70, 100), (100, 20, 140, 100))
    left, right = workspace.add(image), workspace.add(image, box=(100, 20, 140, 100))
    counts, rows = workspace.run()
    assert (counts["masked"], counts["computed"]) == (2, 1)
    assert min(workspace.alpha(left)[60, 50], workspace.alpha(right)[60, 120]) > 250
    assert not workspace.alpha(right)[:, :85].any()
    assert rows[0]["file_sha256"] != rows[1]["file_sha256"]


def test_a_picture_moves_with_its_category_and_goes_when_it_is_no_candidate_any_more(workspace, loads):
    moves, goes = workspace.add(scene((30, 20, 70, 100))), workspace.add(scene((30, 20, 70, 100), seed=1))
    workspace.run()
    old, content = workspace.picture(moves), workspace.picture(moves).read_bytes()
    gone = workspace.picture(goes)
    moves["category"], goes["outcome"] = "full_body", "rejected"
    counts, rows = workspace.run()
    assert not old.exists()
    assert not gone.exists()
    assert workspace.picture(moves).read_bytes() == content
    assert rows[0]["path"] == f"{FOLDER}/full_body/{moves['frame_id']}.png"
    assert (len(loads), counts["known"], counts["listed"]) == (1, 1, 1)


def retouch(path):
    image = Image.new("RGBA", SIZE, (9, 9, 9, 255))
    image.save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_retouched_picture_is_kept_counts_from_then_on_and_follows_its_frame(workspace, loads):
    row = workspace.add(scene((30, 20, 70, 100)))
    workspace.run()
    content = retouch(workspace.picture(row))
    row["person"]["box"] = [0.0, 0.0, 160.0, 120.0]
    counts, rows = workspace.run()
    assert (counts["retouched"], counts["masked"], len(loads)) == (1, 1, 1)
    assert rows[0]["file_sha256"] == content == hashlib.sha256(workspace.picture(row).read_bytes()).hexdigest()
    old = workspace.picture(row)
    row["category"] = "face_and_hair"
    counts, rows = workspace.run()
    assert not old.exists()
    assert (counts["retouched"], rows[0]["file_sha256"]) == (1, content)
    assert rows[0]["path"].startswith(f"{FOLDER}/face_and_hair/")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (jpeg(Image.new("RGB", SIZE)), "mask: the retouched picture cannot be read as PNG"),
        (png(scene().convert("RGBA"))[:-2000], "mask: the retouched picture cannot be read as PNG"),
        (png(Image.new("RGB", SIZE)), "mask: the retouched picture is RGB, not RGBA: save it with its transparency"),
        (png(Image.new("RGBA", (80, 60))), "mask: the retouched picture has 80 x 60 pixels, the frame 160 x 120"),
    ],
    ids=["another format", "cut off", "no alpha", "other size"],
)
def test_a_retouched_picture_that_cannot_be_used_is_an_error_and_stays(workspace, data, reason, caplog):
    row = workspace.add(scene((30, 20, 70, 100)))
    workspace.run()
    workspace.picture(row).write_bytes(data)
    caplog.set_level("INFO", logger="darkroom")
    for _ in range(2):
        counts, rows = workspace.run()
        assert (counts["error"], rows[0]["outcome"], rows[0]["reason"], rows[0]["path"]) == (1, "error", reason, None)
    assert workspace.picture(row).read_bytes() == data
    assert "not needed any more" not in caplog.text


def test_an_old_picture_goes_when_its_frame_fails(workspace):
    row = workspace.add(scene((30, 20, 70, 100)))
    workspace.run()
    (workspace.root / row["path"]).unlink()
    row["person"]["box"] = [0.0, 0.0, 160.0, 120.0]
    _, rows = workspace.run()
    assert rows[0]["reason"] == "read: No such file or directory"
    assert not workspace.picture(row).exists()


def test_a_frame_that_comes_later_is_computed_beside_those_that_are_known(workspace, loads):
    first = workspace.add(scene((30, 20, 70, 100)))
    workspace.run()
    first["person"]["box"] = [0.0, 0.0, 160.0, 120.0]
    workspace.add(scene((30, 20, 70, 100), seed=1))
    counts, rows = workspace.run(batch=3)
    assert (counts["known"], counts["computed"], len(loads)) == (1, 1, 2)
    assert [row["outcome"] for row in rows] == ["masked", "masked"]


def test_a_frame_above_the_limit_is_an_error(workspace):
    workspace.add(scene())
    workspace.max_pixels = 1000
    _, rows = workspace.run()
    assert (rows[0]["outcome"], rows[0]["reason"]) == ("error", "decode: too large")


def test_a_model_without_finite_numbers_makes_error_rows(workspace):
    workspace.weights = red_model(workspace.root.parent / "models" / "nan.onnx", bias=float("inf"))
    workspace.add(scene((30, 20, 70, 100)))
    _, rows = workspace.run()
    assert (rows[0]["outcome"], rows[0]["reason"]) == ("error", "mask: the model gave numbers that are not finite")


def test_matting_gives_the_alpha_of_rembg_and_has_a_cache_of_its_own(workspace, monkeypatch):
    people = [(30, 20, 90, 100), (-30, 20, 60, 140), (-40, -40, 130, 200)]  # within the frame, and cut off by its edges
    rows = [workspace.add(scene(person, seed=seed), box=(0, 0, *SIZE)) for seed, person in enumerate(people)]
    workspace.run()
    plain = [workspace.alpha(row) for row in rows]
    workspace.alpha_matting = True
    counts, _ = workspace.run()
    assert counts["computed"] == 3
    import rembg

    monkeypatch.setenv("U2NET_HOME", str(workspace.weights.parent))
    session = rembg.new_session("u2net_custom", model_path=str(workspace.weights))
    for row, before in zip(rows, plain, strict=True):
        with Image.open(workspace.root / row["path"]) as frame:
            wanted = np.asarray(rembg.remove(frame, session=session, alpha_matting=True))[..., 3].astype(int)
        assert np.abs(workspace.alpha(row) - wanted).max() <= 1
        assert (workspace.alpha(row) != before).any()


def test_matting_leaves_a_mask_in_which_nothing_is_certain(workspace):
    mask = Image.new("L", SIZE, 128)
    assert mask_model.matted(scene(), mask) is mask


def test_a_video_without_candidates_has_an_empty_table(workspace, loads):
    workspace.add(scene(), outcome="rejected")
    counts, rows = workspace.run()
    assert (rows, counts["listed"], loads) == ([], 0, [])


def test_tables_and_pictures_are_the_same_bytes_in_another_workspace_with_other_threads(tmp_path):
    found = []
    for number, threads in enumerate((1, 3)):
        workspace = Workspace(tmp_path / str(number))
        for n in range(4):
            workspace.add(scene((30, 20, 70, 100), seed=n))
        workspace.run(threads=threads, batch=1 + number)
        pictures = sorted((workspace.root / FOLDER).rglob("*.png"))
        found.append([workspace.output.read_bytes(), *(path.read_bytes() for path in pictures)])
    assert len(found[0]) == 5
    assert found[0] == found[1]


def test_the_path_of_the_weights_decides_nothing_but_what_it_says_of_the_model(tmp_path):
    one = red_model(tmp_path / "one.onnx")
    paths = [(one, False), (red_model(tmp_path / "two.onnx"), False), (red_model(tmp_path / "silueta.onnx"), False), (one, True)]
    found = [mask_model.fingerprint(card(path), alpha_matting=matting) for path, matting in paths]
    assert found[0] == found[1]
    assert len(set(found)) == 3
