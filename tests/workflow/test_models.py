"""Weights from a hub: the real client against a local server that speaks the hub's protocol."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tests.workflow.conftest import REPO

CONTENT = b"weights " * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """Serves one file of any repository, as the hub does; counts what was asked."""

    stated = SHA256
    requests: list[str]

    def answer(self, *, body: bool) -> None:
        if not self.path.endswith("open_clip_model.safetensors"):
            self.send_error(404)
            return
        self.requests.append(f"{self.command} {self.path}")
        self.send_response(200)
        for name, value in (("ETag", f'"{self.stated}"'), ("X-Repo-Commit", "c" * 40), ("Content-Length", str(len(CONTENT)))):
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(CONTENT)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def log_message(self, *_: object) -> None:
        """Keep the test's output quiet."""


@pytest.fixture
def hub() -> Iterator[SimpleNamespace]:
    """A running hub."""
    handler = type("OneHub", (Hub,), {"requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", handler=handler)
    server.shutdown()


def fetch(folder: Path, endpoint: str, **model: str | None) -> subprocess.CompletedProcess[str]:
    """Ask the workflow for the card of a model, as every run does first."""
    settings = {"name": "ViT-B-32", "pretrained": "laion2b_s34b_b79k", "sha256": None} | model
    (folder / "photos").mkdir(exist_ok=True)
    (folder / "my.yaml").write_text(yaml.safe_dump({"people": {"runs": {"r": {"source": "photos", "model": settings}}}}))
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-m", "snakemake", "-s", str(REPO / "Snakefile"), "--until", "models_01_clip"]
    return subprocess.run(
        [*command, "--configfile", "my.yaml"], cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def the_card(folder: Path) -> dict[str, object]:
    (path,) = (folder / "resources/models/cards").glob("*.json")
    card: dict[str, object] = json.loads(path.read_text())
    return card


def test_a_tag_is_fetched_once_and_described(tmp_path: Path, hub: SimpleNamespace) -> None:
    done = fetch(tmp_path, hub.url)
    assert done.returncode == 0, done.stdout
    card = the_card(tmp_path)
    assert Path(str(tmp_path / str(card["weights"]))).read_bytes() == CONTENT
    assert (card["sha256"], card["size"], card["architecture"]) == (SHA256, len(CONTENT), "ViT-B-32")
    assert card["preprocess_cfg"]["size"] == 224  # type: ignore[index]
    assert f"to pin these weights, set sha256: {SHA256}" in done.stdout
    assert [line.split()[0] for line in hub.handler.requests].count("GET") == 1


def test_weights_that_are_not_the_pinned_ones_are_refused(tmp_path: Path, hub: SimpleNamespace) -> None:
    failed = fetch(tmp_path, hub.url, sha256="0" * 64)
    assert failed.returncode != 0
    assert f"sha256 is {SHA256}, the setting says {'0' * 64}" in failed.stdout
    assert not list(tmp_path.glob("resources/models/cards/*.json"))


def test_a_download_that_is_not_what_the_hub_states_is_refused(tmp_path: Path, hub: SimpleNamespace) -> None:
    hub.handler.stated = "1" * 64
    failed = fetch(tmp_path, hub.url)
    assert failed.returncode != 0
    assert f"the download has sha256 {SHA256}, the hub states {'1' * 64}" in failed.stdout


def test_without_a_network_the_message_says_what_to_do(tmp_path: Path) -> None:
    failed = fetch(tmp_path, "http://127.0.0.1:9")
    assert failed.returncode != 0
    assert "cannot fetch laion/CLIP-ViT-B-32-laion2B-s34B-b79K/" in failed.stdout
    assert "copy the weights file here by hand and set pretrained to its path" in failed.stdout


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ({"pretrained": "openai"}, "set the model's name to ViT-B-32-quickgelu"),
        ({"pretrained": "laion3b"}, "open_clip has no such weights for ViT-B-32; it has: openai, "),
        ({"name": "ViT-B-33"}, "open_clip has no such architecture; it has: "),
        ({"pretrained": "/nowhere/weights.pt"}, "/nowhere/weights.pt: no such weights file or folder"),
    ],
)
def test_a_model_that_cannot_be_is_named_with_what_would_be_right(
    tmp_path: Path, hub: SimpleNamespace, model: dict[str, str], text: str
) -> None:
    failed = fetch(tmp_path, hub.url, **model)
    assert failed.returncode != 0
    assert text in failed.stdout
    assert not hub.handler.requests
