"""The numbers are those of plain open_clip: a full-size ViT-B-32 from a file, images of the usual shapes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.core import clip
from workflow_scripts.core.embed import Embedder
from workflow_scripts.core.models import ModelCard
from workflow_scripts.core.preprocess import Preprocess
from workflow_scripts.core.storage import FolderStorage
from workflow_scripts.demo.drawing import draw_scene, rng_for
from workflow_scripts.models.clip_card import make_card
from workflow_scripts.people.embed_prompts import embed_prompts
from workflow_scripts.people.score import build_scorer
from workflow_scripts.settings.people import NEGATIVE, POSITIVE

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")

SIZES = ((640, 480), (480, 640), (300, 300), (1024, 768), (225, 900), (40, 30))
PROMPTS = {"positive": list(POSITIVE), "negative": list(NEGATIVE)}
SETTINGS = {"negative_mode": "mean", "logit_scale": 100.0}


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    """A full-size ViT-B-32 checkpoint of random weights, written to disk and described as a user's file would be."""
    path = tmp_path_factory.mktemp("weights") / "vit-b-32.pt"
    torch.manual_seed(1)
    torch.save(open_clip.create_model("ViT-B-32").state_dict(), path)
    return make_card({"name": "ViT-B-32", "pretrained": str(path), "sha256": None}, path.parent)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn scenes of several sizes."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(24):
        size = SIZES[number % len(SIZES)]
        draw_scene(rng_for(2, "numbers", str(number)), size).image.save(folder / f"{number:02d}.jpg", quality=92)
    return folder


def plain_open_clip(card: ModelCard, photos: Path) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """people_prob, vectors and inputs in a few lines of open_clip, fp32, one image at a time."""
    model, _, transform = open_clip.create_model_and_transforms("ViT-B-32", pretrained=card.weights)
    model.eval()
    tokenize = open_clip.get_tokenizer("ViT-B-32")
    with torch.inference_mode():
        classes = []
        for prompts in (POSITIVE, NEGATIVE):
            texts = torch.nn.functional.normalize(model.encode_text(tokenize(list(prompts))), dim=-1)
            classes.append(torch.nn.functional.normalize(texts.mean(dim=0), dim=-1))
        inputs = [transform(Image.open(path).convert("RGB")) for path in sorted(photos.iterdir())]
        vectors = torch.cat([torch.nn.functional.normalize(model.encode_image(image[None]), dim=-1) for image in inputs])
        probabilities = (100 * vectors @ torch.stack(classes).T).softmax(dim=-1)[:, 0]
    return probabilities.numpy(), vectors.numpy(), [image.numpy() for image in inputs]


def embedded(card: ModelCard, photos: Path, cache: Path, *, batch: int = 16, decode_mode: str = "full") -> np.ndarray:
    options = {"views": "center", "decode_mode": decode_mode, "max_pixels": 10**8, "device": "cpu", "batch": batch, "threads": 2}
    subject = Embedder(card, cache_root=str(cache), **options)
    storage = FolderStorage(photos)
    return np.concatenate([found.vectors for found in subject.embed(list(storage.list()), storage)])


def test_scores_equal_plain_open_clip(card: ModelCard, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, reference, inputs = plain_open_clip(card, photos)
    fit = Preprocess.for_model(card.preprocess_cfg, "center")
    mean, std = (np.array(card.preprocess_cfg[name], np.float32).reshape(3, 1, 1) for name in ("mean", "std"))
    for path, tensor in zip(sorted(photos.iterdir()), inputs, strict=True):
        pixels = fit(Image.open(path).convert("RGB"))[0].transpose(2, 0, 1).astype(np.float32) / 255
        assert np.array_equal((pixels - mean) / std, tensor), f"{path.name}: not the pixels of open_clip's own transform"
    scorer = build_scorer(embed_prompts(card, PROMPTS), SETTINGS)
    monkeypatch.setattr(clip, "resolve_device", lambda _: ("cpu", "fp32"))
    exact = embedded(card, photos, tmp_path / "fp32")
    assert np.abs(scorer.probabilities(scorer.margins(exact)) - expected).max() < 1e-3  # vectors are stored in fp16
    monkeypatch.undo()
    fast = embedded(card, photos, tmp_path / "fast")
    assert (fast.astype(np.float32) * reference).sum(axis=1).min() > 0.9995
    scaled = embedded(card, photos, tmp_path / "scaled", decode_mode="scaled")
    assert (scaled.astype(np.float32) * reference).sum(axis=1).min() > 0.995


def test_a_vector_does_not_depend_on_its_neighbours(card: ModelCard, photos: Path, tmp_path: Path) -> None:
    together = embedded(card, photos, tmp_path / "together")
    alone = tmp_path / "alone"
    alone.mkdir()
    for number, path in enumerate(sorted(photos.iterdir())[:3]):
        (alone / path.name).write_bytes(path.read_bytes())
        assert np.array_equal(embedded(card, alone, tmp_path / f"cache-{number}")[number], together[number])


def test_out_of_memory_halves_the_batch_for_the_rest_of_the_job(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    real = clip.ImageEncoder._forward

    def small_memory(self: clip.ImageEncoder, pixels: np.ndarray) -> np.ndarray:
        if self.batch > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, pixels)

    monkeypatch.setattr(clip.ImageEncoder, "_forward", small_memory)
    encoder = clip.ImageEncoder(card, device="cpu", precision="fp32", batch=16, threads=2)
    assert encoder.batch == 4
    images = np.random.default_rng(0).integers(0, 255, (6, 224, 224, 3), dtype=np.uint8)
    vectors = encoder.encode(images)
    assert vectors.shape == (6, 512)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert encoder.forwards == 2


def test_raw_vectors_are_those_of_the_model_and_normalised_ones_their_directions(card: ModelCard) -> None:
    images = np.random.default_rng(0).integers(0, 255, (3, 224, 224, 3), dtype=np.uint8)
    raw, unit = (
        clip.ImageEncoder(card, device="cpu", precision="fp32", batch=4, threads=2, normalise=normalise).encode(images)
        for normalise in (False, True)
    )
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    assert (np.abs(lengths - 1) > 0.1).all()
    np.testing.assert_allclose(raw / lengths, unit, atol=1e-6)


def test_other_errors_of_the_model_are_not_taken_for_memory(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: clip.ImageEncoder, pixels: np.ndarray) -> np.ndarray:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(clip.ImageEncoder, "_forward", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        clip.ImageEncoder(card, device="cpu", precision="fp32", batch=16, threads=2)
