"""lora 05 and 07 with the real libraries: no fringe of the old background stays, and what is exported loads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from tests.unit.lora.composite_data import Workspace
from tests.unit.lora.test_export import Captioned
from workflow_scripts.lora import matting
from workflow_scripts.lora.matting import lay_over

SIZE = (240, 200)
SUBJECT, OLD, NEW = (40, 60, 200), (30, 220, 40), (230, 230, 230)


def cut_out(blur=5, old=OLD):
    """A blue figure as a camera saw it before a green wall, with its true mask."""
    mask = Image.new("L", SIZE)
    ImageDraw.Draw(mask).ellipse((60, 40, 180, 170), fill=255)
    mask = mask.filter(ImageFilter.GaussianBlur(blur))
    frame = Image.composite(Image.new("RGB", SIZE, SUBJECT), Image.new("RGB", SIZE, old), mask)
    frame.putalpha(mask)
    return frame


def truth(mask):
    return np.asarray(Image.composite(Image.new("RGB", SIZE, SUBJECT), Image.new("RGB", SIZE, NEW), mask), float)


def test_no_fringe_of_the_old_background_stays():
    pytest.importorskip("pymatting")
    cut = cut_out()
    wanted = truth(cut.getchannel("A"))
    errors = {
        clean: np.abs(np.asarray(lay_over(cut, Image.new("RGB", SIZE, NEW), decontaminate=clean), float) - wanted)
        for clean in (True, False)
    }
    assert errors[False].max() > 30
    assert errors[True].max() < 8
    assert errors[True].mean() < errors[False].mean() / 10


def test_solid_and_empty_pixels_are_exactly_those_of_the_subject_and_the_background():
    pytest.importorskip("pymatting")
    noise = Image.frombytes("RGB", SIZE, np.random.default_rng(0).integers(0, 256, (200, 240, 3), np.uint8).tobytes())
    cut = noise.copy()
    cut.putalpha(cut_out().getchannel("A"))
    behind = noise.transpose(Image.Transpose.ROTATE_180)
    found, alpha = np.asarray(lay_over(cut, behind, decontaminate=True)), np.asarray(cut.getchannel("A"))
    assert (found[alpha == 255] == np.asarray(noise)[alpha == 255]).all()
    assert (found[alpha == 0] == np.asarray(behind)[alpha == 0]).all()
    assert (alpha == 255).sum() > 5000


def test_a_subject_at_the_frames_edge_and_an_empty_mask(monkeypatch):
    whole = Image.new("RGBA", SIZE, (*SUBJECT, 255))
    behind = Image.new("RGB", SIZE, NEW)
    assert lay_over(whole, behind, decontaminate=True).getcolors() == [(SIZE[0] * SIZE[1], SUBJECT)]
    whole.putalpha(0)
    assert lay_over(whole, behind, decontaminate=True).getcolors() == [(SIZE[0] * SIZE[1], NEW)]


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_threads_estimate_at_once_or_in_turn_as_numba_can(layer, monkeypatch):
    """numba's own scheduler ends the process when two threads enter it."""
    pytest.importorskip("pymatting")
    numba = pytest.importorskip("numba")
    monkeypatch.setattr(numba, "threading_layer", lambda: layer)
    assert (matting._guard() is matting._one_at_a_time) == (layer == "workqueue")
    behind = Image.new("RGB", SIZE, NEW)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda blur: lay_over(cut_out(blur), behind, decontaminate=True).tobytes(), [3, 5, 3, 5, 3, 5]))
    assert made == [lay_over(cut_out(blur), behind, decontaminate=True).tobytes() for blur in (3, 5)] * 3


def test_the_step_cleans_edges_and_knows_it_from_one_that_did_not(tmp_path):
    pytest.importorskip("pymatting")
    workspace = Workspace(tmp_path).fill_library(2).select("v", picture=cut_out())
    workspace.run(decontaminate=True)
    clean = workspace.pictures()
    workspace.run(decontaminate=True)
    assert (workspace.counts["current"], workspace.pictures()) == (1, clean)
    workspace.run(decontaminate=False)
    assert workspace.pictures() != clean


def test_the_image_folder_loads_with_its_captions(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    captioned = Captioned(tmp_path / "set").add("-a 'b\" \n_frame_000001", "é 中_frame_000001", "plain_frame_000002", "x#y%20_frame_000001")
    captioned.run()
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(captioned.folder / "imagefolder"), cache_dir=str(tmp_path / "cache"), split="train"
    )
    assert loaded.column_names == ["image", "text"]
    pictures = {Image.open(captioned.base / row["path"]).tobytes(): row["text"] for row in captioned.rows}
    assert {row["image"].convert("RGB").tobytes(): row["text"] for row in loaded} == pictures
