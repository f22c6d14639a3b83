"""Cards of pose and mask weights: local files are checked, names are fetched, and nothing else is taken for a model."""

import hashlib
import json
from pathlib import Path

import pytest

from workflow_scripts.core.models import WeightsCard, require_file
from workflow_scripts.core.step import StepError
from workflow_scripts.models import weights_card
from workflow_scripts.models.weights_card import make_card

DATA = b"weights"
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A local file."""
    path = tmp_path / "model.onnx"
    path.write_bytes(DATA)
    return path


def test_the_card_of_a_local_file_says_what_it_is_and_comes_back_as_written(weights, tmp_path):
    card = make_card("mask", str(weights), SHA, tmp_path / "fetched")
    assert card == WeightsCard("mask", str(weights), str(weights), len(DATA), SHA)
    card.write(tmp_path / "card.json")
    assert json.loads((tmp_path / "card.json").read_text())["sha256"] == SHA
    assert WeightsCard.read(tmp_path / "card.json") == card
    assert not (tmp_path / "fetched").exists(), "nothing is fetched"


def test_a_replaced_file_is_refused_when_the_card_is_made_and_when_it_is_used(weights, tmp_path):
    with pytest.raises(StepError, match=f"sha256 is {SHA}, the setting says {'0' * 64}"):
        make_card("pose", str(weights), "0" * 64, tmp_path)
    card = WeightsCard("pose", str(weights), str(weights), len(DATA), "0" * 64)
    with pytest.raises(StepError, match="the file was replaced"):
        card.verify()
    weights.unlink()
    with pytest.raises(StepError, match="the weights file is gone"):
        card.verify()


def test_what_was_fetched_lies_in_the_folder_and_its_sha256_can_be_pinned(tmp_path, monkeypatch, caplog):
    def fetch(name: str, folder: Path) -> Path:
        (folder / name).write_bytes(DATA)
        return folder / name

    monkeypatch.setitem(weights_card.FETCH, "pose", fetch)
    with caplog.at_level("INFO", logger="darkroom"):
        card = make_card("pose", "yolov8n-pose.pt", None, tmp_path / "new/pose")
    assert card == WeightsCard("pose", "yolov8n-pose.pt", str(tmp_path / "new/pose/yolov8n-pose.pt"), len(DATA), SHA)
    assert f"set sha256: {SHA}" in caplog.text


def test_no_network_is_said_with_what_to_do(tmp_path, monkeypatch):
    def fetch(name: str, folder: Path) -> Path:
        raise ConnectionError("no route to host")

    monkeypatch.setitem(weights_card.FETCH, "mask", fetch)
    with pytest.raises(StepError, match=r"cannot fetch u2net: no route to host\nWithout a network, copy the file here"):
        make_card("mask", "u2net", None, tmp_path)


def test_a_local_file_needs_to_be_there_and_pinned(weights):
    require_file("w.pose", str(weights), SHA)
    with pytest.raises(StepError, match=rf"w\.pose\.sha256: .*paste\n    sha256: {SHA}"):
        require_file("w.pose", str(weights), None)
    with pytest.raises(StepError, match=r"w\.pose: gone\.pt: no such weights file"):
        require_file("w.pose", "gone.pt", SHA)


@pytest.mark.parametrize("name", ["sam3.pt", "sam3.1.pt"])
def test_weights_that_are_handed_out_on_request_have_to_be_asked_for(name, tmp_path):
    wanted = rf"{name}: no such file, and it cannot be fetched: .*Ask for sam3\.pt .*give its path as segmenter\.weights and its sha256"
    with pytest.raises(StepError, match=wanted):
        make_card("segment", name, None, tmp_path)


def test_a_segmenter_that_lies_here_is_taken_whatever_its_name(tmp_path):
    path = tmp_path / "sam3.pt"
    path.write_bytes(DATA)
    assert make_card("segment", str(path), SHA, tmp_path / "fetched") == WeightsCard("segment", str(path), str(path), len(DATA), SHA)
