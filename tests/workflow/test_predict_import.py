"""predict 00: an older cache, made by plain open_clip, is taken over when the model is the same, and only then."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.workflow.conftest import REPO, demo_model, digest_tree
from workflow_scripts.core import segments
from workflow_scripts.core.cache import EmbeddingCache, Known
from workflow_scripts.core.embed import Embedder
from workflow_scripts.core.models import ModelCard
from workflow_scripts.core.seeded import shuffled
from workflow_scripts.core.step import StepError
from workflow_scripts.core.storage import FolderStorage, Storage, ZipStorage
from workflow_scripts.models.clip_card import make_card
from workflow_scripts.predict import import_cache as module
from workflow_scripts.predict.import_cache import import_cache
from workflow_scripts.predict.import_entries import LISTING

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")
safetensors_torch = pytest.importorskip("safetensors.torch")

COUNTS = ("listed", "imported", "already_known", "refused")
LATER = 2_000_000_000  # when vectors were made, so that no image is newer


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's CLIP."""
    root = tmp_path_factory.mktemp("clip")
    demo_model(root)
    return root / "model"


@pytest.fixture(scope="module")
def clip(model_folder: Path) -> Any:
    """What the older script did with the demo's model."""
    return older_script(model_folder)


def older_script(model_folder: Path) -> Any:
    """An image file to its raw vector [512], in a few lines of open_clip."""
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{model_folder}")
    model.eval()
    torch.set_num_threads(1)

    def embed(path: Path) -> np.ndarray:
        with torch.inference_mode():
            return model.encode_image(transform(Image.open(path).convert("RGB"))[None])[0].numpy()

    return embed


def card_of(folder: Path) -> ModelCard:
    return make_card({"name": "demo", "pretrained": f"{folder}/", "sha256": None}, folder)


def draw(path: Path, seed: object, size: tuple[int, int] = (90, 70), cells: int = 5) -> Path:
    """Soft patches of colour that differ from picture to picture."""
    colours = np.random.default_rng(random.Random(repr(seed)).randrange(2**32)).integers(0, 255, (cells, cells, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC).save(path, quality=95)
    return path


class OldCache:
    """What the older script left: a listing and a vector an image; and the shared cache that it goes into."""

    def __init__(self, root: Path, clip: Any, card: ModelCard) -> None:
        self.images, self.folder, self.cache, self.report_file = (root / name for name in ("images", "old", "cache", "report.json"))
        self.folder.mkdir()
        self.clip, self.card, self.lines = clip, card, []
        self.settings = {
            "views": "center",
            "decode_mode": "full",
            "max_pixels": 10**7,
            "normalise": True,
            "device": "cpu",
            "batch": 4,
            "threads": 1,  # tests share a few cores with others
            "cache_root": str(self.cache),
        }

    def put(self, image: Path | str, vector: np.ndarray) -> None:
        """List an image with a vector."""
        name = f"{len(self.lines):04}.npy"
        np.save(self.folder / name, vector)
        os.utime(self.folder / name, (LATER, LATER))
        self.lines.append(json.dumps({"image_path": str(image), "embedding_file": name, "hash": name[:4]}))

    def fill(self, count: int, scale: float = 1.0, kind: str = "png") -> list[Path]:
        """Draw images and embed them as the older script did."""
        paths = [draw(self.images / f"{number:03}.{kind}", number) for number in range(count)]
        for path in paths:
            self.put(path, self.clip(path) * np.float32(scale))
        return paths

    def write_listing(self) -> None:
        (self.folder / LISTING).write_text("".join(f"{line}\n" for line in self.lines))

    def run(self, **changed: Any) -> tuple[int, ...]:
        """Import; the counts."""
        self.write_listing()
        card = changed.pop("card", self.card)
        counts = import_cache(self.folder, card, self.settings | changed, self.report_file)
        assert tuple(counts) == COUNTS
        assert {name: self.report[name] for name in COUNTS} == counts
        assert sum(reason["count"] for reason in self.report["reasons"].values()) == counts["refused"]
        return tuple(counts.values())

    def refusal(self, **changed: Any) -> str:
        """The message with which the whole cache is refused; nothing is kept then."""
        with pytest.raises(StepError) as caught:
            self.run(**changed)
        assert not self.report_file.exists()
        text = str(caught.value)
        assert text.startswith(f"{self.folder}: ")
        assert "\n" not in text
        return text.removeprefix(f"{self.folder}: ")

    @property
    def report(self) -> Any:
        return json.loads(self.report_file.read_text())

    @property
    def reasons(self) -> dict[str, list[str]]:
        return {reason: one["examples"] for reason, one in self.report["reasons"].items()}

    def segments(self) -> list[Path]:
        """What the shared cache holds of vectors."""
        return sorted(self.cache.glob("embeddings/*/*.arrow"))

    def embed(self, storage: Storage, **changed: Any) -> tuple[dict[str, Any], dict[str, int]]:
        """What the pipeline makes of a source, by key, and what it had to do for it."""
        embedder = Embedder(self.card, **self.settings | changed)
        found = {one.item.key: one for one in embedder.embed(list(storage.list()), storage)}
        return found, dict(embedder.counts)


@pytest.fixture
def old(tmp_path: Path, clip: Any, model_folder: Path) -> OldCache:
    return OldCache(tmp_path, clip, card_of(model_folder))


def unit(vector: np.ndarray) -> np.ndarray:
    found: np.ndarray = (vector / np.linalg.norm(vector)).astype(np.float16)
    return found


# ---- what is imported ----


def test_the_pipeline_finds_imported_vectors_and_embeds_nothing(old: OldCache) -> None:
    paths = old.fill(25, scale=7.3)
    before = digest_tree(old.folder), digest_tree(old.images)
    assert old.run() == (25, 25, 0, 0)
    report = old.report
    assert report["check"]["images"] == 20
    assert report["check"]["worst_image"] in map(str, paths)
    assert 0.999 <= report["check"]["least_cosine"] <= 1
    found, counts = old.embed(FolderStorage(old.images))
    assert counts == {"known": 0, "read": 25, "decoded": 0, "encoded": 0, "forwards": 0, "errors": 0}
    for path in paths:
        one = found[path.name]
        assert (one.vectors.dtype, one.vectors.shape, one.width, one.height) == (np.float16, (1, 512), 90, 70)
        np.testing.assert_array_equal(one.vectors[0], unit(np.load(old.folder / f"{path.stem:0>4}.npy").astype(np.float64)))
    listing = {str(old.folder / LISTING).removeprefix(f"{old.folder}/")}
    after = digest_tree(old.folder), digest_tree(old.images)
    assert {name: one for name, one in after[0].items() if name not in listing} == before[0]
    assert after[1] == before[1]


def test_width_and_height_are_those_of_the_upright_image(old: OldCache) -> None:
    path = draw(old.images / "turned.jpg", 1, (120, 80))
    old.put(path, old.clip(path))
    image = Image.open(path)
    upright = draw(old.images / "plain.png", 1, (80, 120))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.rotate(90, expand=True).save(path, quality=95, exif=exif)
    upright.unlink()
    assert old.run()[1] == 1
    ((one,), _) = (list(old.embed(FolderStorage(old.images))[0].values()), None)
    assert (one.width, one.height) == image.size


def test_vectors_of_every_form_are_brought_to_one(old: OldCache) -> None:
    forms = [
        lambda vector: vector,
        lambda vector: vector[None],
        lambda vector: vector.astype(np.float16),
        lambda vector: unit(vector)[None],
        lambda vector: (vector / np.linalg.norm(vector)).astype(np.float64),
    ]
    paths = [draw(old.images / f"{number}.png", number) for number in range(len(forms))]
    for path, form in zip(paths, forms, strict=True):
        old.put(path, form(old.clip(path)))
    assert old.run() == (5, 5, 0, 0)
    assert old.report["check"]["images"] == 5
    found, _ = old.embed(FolderStorage(old.images))
    for path in paths:
        np.testing.assert_allclose(found[path.name].vectors[0], unit(old.clip(path)), atol=1e-3)


def test_an_import_run_again_reads_no_image_and_keeps_nothing_twice(old: OldCache, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = old.fill(22)
    assert old.run() == (22, 22, 0, 0)
    first, segments = old.report, digest_tree(old.cache / "embeddings")
    reads = []
    plain = FolderStorage.read
    monkeypatch.setattr(FolderStorage, "read", lambda self, item: reads.append(item.key) or plain(self, item))
    assert old.run() == (22, 0, 22, 0)
    assert {name: one for name, one in old.report.items() if name not in COUNTS} == {
        name: one for name, one in first.items() if name not in COUNTS
    }
    assert digest_tree(old.cache / "embeddings") == segments
    assert len(reads) == 20  # those that are embedded again
    extra = draw(old.images / "new.png", "new")
    old.put(extra, old.clip(extra))
    assert old.run() == (23, 1, 22, 0)
    assert len(paths) == 22


def test_contents_that_the_pipeline_has_embedded_keep_their_vectors(old: OldCache) -> None:
    old.fill(6)
    for path in sorted(old.images.iterdir())[:2]:
        shutil.copy(path, old.images / f"copy of {path.name}")
    kept, counts = old.embed(FolderStorage(old.images))
    assert counts["encoded"] == 6
    segments = digest_tree(old.cache / "embeddings")
    assert old.run() == (6, 0, 6, 0)
    assert digest_tree(old.cache / "embeddings") == segments
    found, _ = old.embed(FolderStorage(old.images))
    assert all(np.array_equal(found[key].vectors, one.vectors) for key, one in kept.items())


def test_copies_are_one_content(old: OldCache) -> None:
    (path,) = old.fill(1)
    old.put(shutil.copy(path, old.images / "copy.png"), old.clip(path))
    assert old.run() == (2, 1, 1, 0)


def test_names_are_data(old: OldCache) -> None:
    names = ["line\nend.png", "quote\"s 'n' more.png", "-rf.png", "日本 é.png", "per%20cent#?{}.png", "raw \udcff.png"]
    for number, name in enumerate(names):
        path = draw(old.images / f"{number}.png", name)
        old.put(path.rename(old.images / name), old.clip(old.images / name))
    old.put("gone \udcff\n.png", np.ones(512, np.float32))
    assert old.run() == (7, 6, 0, 1)
    assert old.reasons == {"image: not found": ["gone \\udcff\n.png"]}
    assert old.embed(FolderStorage(old.images))[1]["encoded"] == 0


@pytest.mark.parametrize("between", ["/", "!", "::"])
def test_the_pipeline_does_not_even_read_what_was_imported_from_its_zips(old: OldCache, between: str) -> None:
    paths = old.fill(6)
    old.lines = []
    archives = [old.images.parent / f"{name}.zip" for name in ("spring", "autumn")]
    for archive, members in zip(archives, (paths[:3], paths[2:]), strict=True):
        with zipfile.ZipFile(archive, "w") as writer:
            for path in members:
                writer.write(path, f"a/{path.name}")
                old.put(f"{archive}{between}a/{path.name}", old.clip(path))
    assert old.run() == (7, 6, 1, 0)
    assert old.report["check"]["images"] == 7
    for archive, members in zip(archives, (3, 4), strict=True):
        _, counts = old.embed(ZipStorage(archive))
        assert counts == {"known": members, "read": 0, "decoded": 0, "encoded": 0, "forwards": 0, "errors": 0}


# ---- single images that are refused ----


def test_every_line_has_an_outcome_and_refused_ones_a_reason(old: OldCache) -> None:
    paths = old.fill(4)
    paths[0].write_bytes(paths[0].read_bytes()[:-60])
    paths[1].write_bytes(b"no image")
    os.utime(paths[2], (LATER + 3, LATER + 3))
    big = draw(old.images / "big.png", "big", (200, 100))
    old.put(big, old.clip(big))
    for number, vector in enumerate((np.zeros(512), np.full(512, np.nan), np.ones(768), np.ones(512, int))):
        old.put(draw(old.images / f"v{number}.png", f"v{number}"), vector)
    old.put(draw(old.images / "pickle.png", "p"), np.array([{}], dtype=object))
    old.put("gone.png", np.ones(512))
    old.lines += ["", "{", "[]", '{"image_path": "a.png"}']
    assert old.run(max_pixels=19_999) == (15, 1, 0, 14)
    assert old.reasons == {
        "decode: truncated": [str(paths[0])],
        "decode: not an image": [str(paths[1])],
        "decode: too large": [str(big)],
        "image: newer than its vector, perhaps another": [str(paths[2])],
        "image: not found": ["gone.png"],
        "line: empty": ["line 12"],
        "line: no JSON": ["line 13"],
        "line: no JSON object": ["line 14"],
        "line: no embedding_file": ["line 15"],
        "vector: 768 numbers, the model gives 512": [str(old.images / "v2.png")],
        "vector: NaN or infinite numbers": [str(old.images / "v1.png")],
        "vector: all zeros": [str(old.images / "v0.png")],
        "vector: broken, or no array of numbers": [str(old.images / "pickle.png")],
        "vector: of int64, not of floats": [str(old.images / "v3.png")],
    }
    assert old.report["check"] == {"images": 1, "least_cosine": old.report["check"]["least_cosine"], "worst_image": str(paths[3])}
    _, counts = old.embed(FolderStorage(old.images))
    assert counts["encoded"] == 7  # all but the imported one and the two that are no images


def test_a_cache_of_which_nothing_is_there_is_a_report_and_no_error(old: OldCache, caplog: pytest.LogCaptureFixture) -> None:
    for path in old.fill(3):
        path.unlink()
    assert old.run() == (3, 0, 0, 3)
    assert old.report["check"] == {"images": 0}
    assert list(old.reasons) == ["image: not found"]
    assert "not imported: 3, image: not found" in caplog.text
    assert old.segments() == []


# ---- caches that are refused ----


def test_vectors_of_other_weights_are_refused_with_the_worst_image_and_the_likely_causes(
    old: OldCache, model_folder: Path, tmp_path: Path
) -> None:
    old.fill(24)
    other = shutil.copytree(model_folder, tmp_path / "other")
    state = safetensors_torch.load_file(other / "open_clip_model.safetensors")
    rng = torch.Generator().manual_seed(1)
    noisy = {name: one + 0.05 * one.std() * torch.randn(one.shape, generator=rng) if one.ndim > 1 else one for name, one in state.items()}
    safetensors_torch.save_file(noisy, other / "open_clip_model.safetensors")
    text = old.refusal(card=card_of(other))
    assert text.startswith(f"its vectors are not those of demo {other}/, and none was imported: of 20 images that were embedded again ")
    worst = text.split("cosine below 0.999, ")[1].split(" the least with ")[0]
    assert Path(worst).parent == old.images
    for cause in ("another model or other weights", "-quickgelu", "another preprocessing"):
        assert cause in text
    assert old.segments() == []
    assert old.run() == (24, 24, 0, 0)


def test_the_other_gelu_is_refused_although_it_loads_the_same_weights(old: OldCache, tmp_path: Path) -> None:
    vision = {"image_size": 64, "layers": 3, "width": 64, "head_width": 32, "patch_size": 16}
    model = {"embed_dim": 512, "vision_cfg": vision, "text_cfg": old.card.model_cfg["text_cfg"]}
    folders = {quick: tmp_path / f"quick {quick}" for quick in (True, False)}
    for quick, folder in folders.items():
        folder.mkdir()
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model | {"quick_gelu": quick}, "preprocess_cfg": {}}))
    torch.manual_seed(2)
    weights = open_clip.create_model(f"local-dir:{folders[True]}", load_weights=False).state_dict()
    for name, values in weights.items():  # into the range where the two differ, and with a say in the result
        if name.endswith("mlp.c_fc.bias"):
            values.copy_(torch.linspace(-3, 0, len(values)))
        elif name.endswith("mlp.c_proj.weight"):
            values.mul_(8)
    for folder in folders.values():
        safetensors_torch.save_file(weights, folder / "open_clip_model.safetensors")
    old.clip = older_script(folders[True])
    old.fill(5)
    assert "-quickgelu in the model's name" in old.refusal(card=card_of(folders[False]))
    assert old.segments() == []
    assert old.run(card=card_of(folders[True])) == (5, 5, 0, 0)


def test_another_preprocessing_is_refused(old: OldCache) -> None:
    old.fill(5)
    changed = replace(old.card, preprocess_cfg=old.card.preprocess_cfg | {"mean": [0.5] * 3, "std": [0.5] * 3})
    assert "another preprocessing" in old.refusal(card=changed)
    assert "another preprocessing" in old.refusal(views="pad")
    assert old.segments() == []


def test_a_single_wrong_vector_among_those_that_are_checked_is_named(old: OldCache) -> None:
    paths = old.fill(7)
    old.lines = []
    for path, other in zip(paths, [paths[0], paths[1], paths[5], *paths[3:]], strict=True):
        old.put(path, old.clip(other))
    text = old.refusal()
    assert f": of 7 images that were embedded again 1 have a cosine below 0.999, {paths[2]} the least with 0." in text
    assert old.segments() == []


def test_the_check_embeds_anew_and_believes_no_vector_of_the_shared_cache(old: OldCache) -> None:
    wrong = old.fill(1)[0]
    old.put(draw(old.images / "other.png", "other"), old.clip(wrong))
    old.lines = old.lines[1:]
    embedder = Embedder(old.card, **old.settings)
    again, _ = old.embed(FolderStorage(old.images), cache_root=str(old.cache.with_name("apart")))
    known = EmbeddingCache(old.cache, embedder.fingerprint)
    value = again[wrong.name]
    known.add(again["other.png"].sha256, Known(value.vectors, value.width, value.height))
    known.flush()
    assert "1 have a cosine below 0.999" in old.refusal()


def test_which_images_are_checked_depends_on_their_names_alone(old: OldCache) -> None:
    paths = old.fill(26)
    checked = {str(path) for path in paths} - set(shuffled(map(str, paths), LISTING)[20:])
    rest = [path for path in paths if str(path) not in checked]
    old.lines = []
    for path in reversed(paths):
        old.put(path, old.clip(rest[0] if path in rest else path))
    known, _ = old.embed(FolderStorage(old.images), cache_root=str(old.cache))
    assert old.run() == (26, 0, 21, 5)  # the first of the rest has its own vector
    assert old.reasons == {"vector: another than the one that is known of this content": [str(path) for path in reversed(rest[1:])]}
    found, _ = old.embed(FolderStorage(old.images))
    assert all(np.array_equal(found[key].vectors, one.vectors) for key, one in known.items())
    old.put(sorted(checked)[7], old.clip(rest[0]))
    old.report_file.unlink()
    assert f"of 20 images that were embedded again 1 have a cosine below 0.999, {sorted(checked)[7]} the least" in old.refusal()


def test_images_that_cannot_be_read_are_replaced_in_the_check(old: OldCache) -> None:
    paths = old.fill(30)
    for path in map(Path, shuffled(map(str, paths), LISTING)[:8]):
        path.write_bytes(b"broken")
    assert old.run() == (30, 22, 0, 8)
    assert old.report["check"]["images"] == 20


def test_a_cache_of_another_dimension_is_refused_with_both_dimensions(old: OldCache) -> None:
    for number in range(3):
        old.put(draw(old.images / f"{number}.png", number), np.ones(768, np.float32))
    old.put(draw(old.images / "zero.png", "zero"), np.zeros(512, np.float32))
    old.put("gone.png", np.ones(512, np.float32))
    assert old.refusal() == (
        "no vector can be used (vector: 768 numbers, the model gives 512); "
        "set predict.model to the model that made them, or take the folder out of predict.imports"
    )


def test_a_vector_of_the_right_dimension_whose_image_is_broken_speaks_for_the_cache(old: OldCache) -> None:
    (path,) = old.fill(1)
    path.write_bytes(b"broken")
    old.put(draw(old.images / "other.png", "other"), np.ones(768, np.float32))
    assert old.run() == (2, 0, 0, 2)
    assert list(old.reasons) == ["decode: not an image", "vector: 768 numbers, the model gives 512"]


def test_where_only_the_decoding_differs_the_message_says_which_to_set(old: OldCache) -> None:
    rng = np.random.default_rng(3)
    for number in range(8):
        path = old.images / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        noise = rng.integers(0, 255, (150, 150, 3), np.uint8)
        noise[:, :, number % 3] //= 2
        Image.fromarray(noise).save(path, quality=95)
        old.put(path, old.clip(path))
    text = old.refusal(decode_mode="scaled")
    assert text.endswith("; with images.decode: full they agree; set that, or take the folder out of predict.imports")
    assert old.segments() == []
    assert old.run(decode_mode="full") == (8, 8, 0, 0)


def test_a_model_that_gives_no_finite_vector_lets_nothing_in(old: OldCache, model_folder: Path, tmp_path: Path) -> None:
    old.fill(3)
    other = shutil.copytree(model_folder, tmp_path / "other")
    state = safetensors_torch.load_file(other / "open_clip_model.safetensors")
    state["visual.attnpool.c_proj.bias"] = torch.full((512,), float("nan"))
    safetensors_torch.save_file(state, other / "open_clip_model.safetensors")
    assert old.run(card=card_of(other)) == (3, 0, 0, 3)
    assert list(old.reasons) == ["check: could not be embedded again"]
    assert old.segments() == []


def test_views_that_one_vector_cannot_stand_for_are_refused(old: OldCache) -> None:
    old.fill(1)
    assert old.refusal(views="tiles").startswith("holds one vector an image, and views: tiles asks for several")


# ---- raw vectors ----


def test_raw_vectors_keep_their_length_and_normalised_ones_are_refused(old: OldCache) -> None:
    paths = old.fill(4)
    old.put(draw(old.images / "unit.png", "unit"), unit(old.clip(paths[0])))
    assert old.run(normalise=False) == (5, 4, 0, 1)
    assert old.reasons == {"vector: was normalised, and raw ones are needed": [str(old.images / "unit.png")]}
    found, counts = old.embed(FolderStorage(old.images), normalise=False)
    assert counts["encoded"] == 1
    for path in paths:
        np.testing.assert_array_equal(found[path.name].vectors[0], old.clip(path).astype(np.float16))
    _, counts = old.embed(FolderStorage(old.images))
    assert counts["encoded"] == 5  # vectors of length 1 are others


def test_raw_vectors_of_another_length_are_refused(old: OldCache) -> None:
    old.fill(4, scale=1.1)
    assert ": of 4 images that were embedded again 4 have a cosine below 0.999" in old.refusal(normalise=False)
    assert old.run() == (4, 4, 0, 0)


# ---- killed imports, several imports ----


def import_and_be_killed(folder: Path, card: ModelCard, settings: dict[str, Any], report: Path) -> None:
    """Import with a segment every third vector, up to the ninth."""
    segments.FLUSH_ROWS = 3
    plain, root = EmbeddingCache.add, Path(settings["cache_root"])

    def add(self: EmbeddingCache, sha256: str, value: Any) -> None:
        if len(list(root.glob("embeddings/*/*.arrow"))) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        plain(self, sha256, value)

    EmbeddingCache.add = add  # type: ignore[method-assign]
    import_cache(folder, card, settings, report)


def test_a_killed_import_leaves_a_valid_cache_and_goes_on(old: OldCache) -> None:
    old.fill(12)
    old.write_listing()
    arguments = (old.folder, old.card, old.settings, old.report_file)
    child = multiprocessing.get_context("spawn").Process(target=import_and_be_killed, args=arguments)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert not old.report_file.exists()
    assert old.run() == (12, 6, 6, 0)
    assert old.embed(FolderStorage(old.images))[1]["encoded"] == 0


def test_an_import_in_the_midst_of_another_does_no_harm(old: OldCache, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = old.fill(12)
    old.write_listing()
    monkeypatch.setattr(segments, "FLUSH_ROWS", 3)
    plain, other, ran = EmbeddingCache.add, old.report_file.with_name("other.json"), []

    def add(self: EmbeddingCache, sha256: str, value: Any) -> None:
        plain(self, sha256, value)
        if len(old.segments()) == 2 and not ran:
            ran.append(self)
            import_cache(old.folder, old.card, old.settings, other)

    monkeypatch.setattr(EmbeddingCache, "add", add)
    assert old.run() == (12, 12, 0, 0)
    found = json.loads(other.read_text())
    assert (found["imported"], found["already_known"]) == (6, 6)
    vectors, counts = old.embed(FolderStorage(old.images))
    assert counts["encoded"] == 0
    for path in paths:
        np.testing.assert_array_equal(vectors[path.name].vectors[0], unit(old.clip(path).astype(np.float64)))


# ---- the rule's script ----

RULE = """
rule predict_00_import:
    input: model="card.json"
    output: "report.json"
    log: "import.log"
    params: **config
    script: "{script}"
"""


def snakemake(old: OldCache, folder: str) -> subprocess.CompletedProcess[str]:
    """Run the script in a rule, with the old cache's folder as the parent of the working one."""
    root = old.folder.parent
    old.card.write(root / "card.json")
    (root / "Snakefile").write_text(RULE.format(script=module.__file__))
    names = {"embedding": ("views", "decode_mode", "max_pixels", "normalise"), "machine": ("device", "batch", "threads", "cache_root")}
    params: dict[str, Any] = {part: {name: old.settings[name] for name in keys} for part, keys in names.items()}
    (root / "config.json").write_text(json.dumps(params | {"folder": folder}))
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", "config.json"]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    return subprocess.run(command, cwd=root, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_the_script_writes_its_report_and_says_what_it_did(old: OldCache) -> None:
    for path in old.fill(3):
        old.lines[-1] = old.lines[-1].replace(str(path), os.path.relpath(path, old.folder.parent))
    old.put("gone.png", np.ones(512))
    old.write_listing()
    done = snakemake(old, "old")
    assert done.returncode == 0, done.stdout
    assert "done: listed=4 imported=3 already_known=0 refused=1\n" in (old.folder.parent / "import.log").read_text()
    assert list(old.report) == sorted(old.report)
    assert {name: old.report[name] for name in ("folder", "imported", "listed")} == {"folder": "old", "imported": 3, "listed": 4}
    assert old.report["fingerprint"] == Embedder(old.card, **old.settings).fingerprint


def test_the_script_ends_with_the_message_alone_when_there_is_no_cache(old: OldCache) -> None:
    done = snakemake(old, "nowhere")
    assert done.returncode != 0
    text = (old.folder.parent / "import.log").read_text()
    assert "nowhere/processed_images.jsonl: No such file or directory; name the folder of an older cache" in text
    assert "Traceback" not in text
    assert not old.report_file.exists()
