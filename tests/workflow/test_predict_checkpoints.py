"""predict 03: checkpoints of every layout, device and precision give the same layers; other files are refused by what they are."""

import argparse
import hashlib
import io
import json
import os
import pickle
import random
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.predict.checkpoint import first_existing, read_checkpoint
from workflow_scripts.predict.networks import CROP_PROPOSER, RANKER, Network, crop_inputs, embeddings, mlp

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

RANKER_SIZES, CROP_SIZES = [512, 256, 64, 1], [514, 256, 128, 4]
SMALL = [8, 6, 5, 1]  # what is about files needs no large layers
KINDS = {RANKER: RANKER_SIZES, CROP_PROPOSER: CROP_SIZES}


def network(kind: Any = RANKER, sizes: Any = None, seed: int = 1) -> Any:
    torch.manual_seed(seed)
    return mlp(kind, sizes or KINDS[kind])


def small_state() -> dict[str, Any]:
    return network(sizes=SMALL).state_dict()


def saved(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def renamed(state: dict[str, Any], rename: Callable[[str], str]) -> OrderedDict[str, Any]:
    return OrderedDict((rename(key), tensor) for key, tensor in state.items())


def in_words(key: str, words: tuple[str, ...] = ("fc1", "fc2", "fc3")) -> str:
    """`0.weight`, `3.weight` and `5.weight` of a ranker as named layers."""
    number, part = key.split(".")
    return f"{words[('0', '3', '5').index(number)]}.{part}"


def assert_layers(checkpoint: Any, state: dict[str, Any]) -> None:
    """A checkpoint holds a state dict's numbers, in its order."""
    tensors = [np.asarray(tensor.float()) for tensor in state.values()]
    assert len(checkpoint.weights) == len(checkpoint.biases) == len(tensors) / 2
    for found, wanted in zip([*checkpoint.weights, *checkpoint.biases], [*tensors[::2], *tensors[1::2]], strict=True):
        assert found.dtype == np.float32
        assert found.tobytes() == wanted.tobytes()


def refusal(path: Path, kind: Any = RANKER, dimension: int | None = 8) -> str:
    """The message with which a file is refused; it names the file."""
    with pytest.raises(StepError) as caught:
        read_checkpoint(path, kind, dimension)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


# ---- layouts ----

EXTRAS = {"epoch": 12, "best": 0.93, "history": [1.0, 0.5], "args": {"lr": 1e-3, "name": "v4"}}
LAYOUTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "plain": lambda state: state,
    "plain dict": dict,
    "model_state_dict": lambda state: {"model_state_dict": state},
    "state_dict": lambda state: {"state_dict": state, **EXTRAS},
    "extras before": lambda state: {**EXTRAS, "model_state_dict": state},
    "numpy numbers beside": lambda state: {
        "model_state_dict": state,
        "best": np.float64(0.9),
        "epoch": np.int64(3),
        "kept": np.bool_(True),
    },
    "prefix model": lambda state: renamed(state, "model.{}".format),
    "prefix module": lambda state: {"model_state_dict": renamed(state, "module.{}".format)},
    "prefix net": lambda state: renamed(state, "net.{}".format),
    "prefix module.model.net": lambda state: renamed(state, "module.model.net.{}".format),
    "names": lambda state: renamed(state, in_words),
    "names without numbers": lambda state: renamed(state, lambda key: in_words(key, ("to_wide", "body", "head"))),
    "a layer of another prefix": lambda state: renamed(state, lambda key: in_words(key, ("net.0", "net.3", "head"))),
    "biases first": lambda state: dict(sorted(state.items(), key=lambda pair: (pair[0].split(".")[0], pair[0]))),
    "sorted as text": lambda state: dict(sorted(renamed(state, lambda key: in_words(key, ("2", "10", "100"))).items())),
    "parameters": lambda state: {name: torch.nn.Parameter(tensor) for name, tensor in state.items()},
    "transposed in memory": lambda state: {name: tensor.T.contiguous().T if tensor.ndim == 2 else tensor for name, tensor in state.items()},
    "a part of a larger storage": lambda state: {name: torch.cat([tensor, tensor])[: len(tensor)] for name, tensor in state.items()},
}


@pytest.mark.parametrize("zipped", [True, False], ids=["archive", "before torch 1.6"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_layers(tmp_path: Path, layout: str, zipped: bool) -> None:
    state = small_state()
    path = saved(tmp_path / "ranker.pt", LAYOUTS[layout](state), _use_new_zipfile_serialization=zipped)
    checkpoint = read_checkpoint(path, RANKER, 8)
    assert_layers(checkpoint, state)
    assert checkpoint.record() == {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "layers": SMALL}


def test_the_state_of_an_optimizer_beside_the_weights_changes_nothing(tmp_path: Path) -> None:
    state = small_state()
    moments = {number: {"step": torch.tensor(9.0), "exp_avg": tensor * 2} for number, tensor in enumerate(state.values())}
    optimizer = {"state": moments, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "foreach": None, "params": list(moments)}]}
    content = {"optimizer_state_dict": optimizer, "model_state_dict": state, "epoch": 3}
    assert_layers(read_checkpoint(saved(tmp_path / "ranker.pt", content), RANKER, 8), state)


def test_a_number_that_an_older_numpy_saved_beside_the_weights_changes_nothing(tmp_path: Path) -> None:
    state = small_state()
    path = saved(tmp_path / "ranker.pt", {"best": np.float64(0.9), "state_dict": state}, _use_new_zipfile_serialization=False)
    now, before = b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"
    assert path.read_bytes().count(now) == 1
    path.write_bytes(path.read_bytes().replace(now, before))
    assert_layers(read_checkpoint(path, RANKER, 8), state)


@pytest.mark.parametrize("words", [("fc1", "fc2", "fc3"), ("2", "10", "100"), ("input", "hidden", "a_last")], ids=str)
def test_safetensors_are_read_although_they_lose_the_order(tmp_path: Path, words: tuple[str, str, str]) -> None:
    state = small_state()
    path = tmp_path / "ranker.safetensors"
    safetensors_torch.save_file(renamed(state, lambda key: in_words(key, words)), path)
    assert_layers(read_checkpoint(path, RANKER, 8), state)


@pytest.mark.parametrize("length", [0x33C, 0x320, 0x380, 0x350], ids=hex)
def test_safetensors_are_known_by_their_header_whatever_its_length_looks_like(tmp_path: Path, length: int) -> None:
    state = small_state()
    data = safetensors_torch.save(state)
    end = 8 + int.from_bytes(data[:8], "little")
    path = tmp_path / "ranker.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + data[8:end].rstrip().ljust(length) + data[end:])
    assert_layers(read_checkpoint(path, RANKER, 8), state)


def test_sizes_are_those_of_the_tensors(tmp_path: Path) -> None:
    for kind, sizes, dimension in (
        (RANKER, [512, 256, 64, 1], 512),
        (RANKER, [768, 300, 20, 1], 768),
        (RANKER, [512, 512, 512, 1], 512),
        (RANKER, [16, 8, 8, 8, 8, 8, 8, 8, 8, 1], 16),
        (RANKER, [512, 1], 512),
        (CROP_PROPOSER, [514, 256, 128, 4], 512),
        (CROP_PROPOSER, [770, 32, 4], 768),
        (CROP_PROPOSER, [6, 4, 4, 4], 4),
    ):
        state = network(kind, sizes).state_dict()
        path = saved(tmp_path / "model.pt", state)
        for wanted in (dimension, None):
            checkpoint = read_checkpoint(path, kind, wanted)
            assert checkpoint.sizes == sizes
            assert_layers(checkpoint, state)
        assert refusal(path, kind, dimension + 1).startswith(
            f"its layers are {'→'.join(map(str, sizes))}, a {kind.name} of {dimension + 1}-"
        )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_every_precision_comes_as_float32(tmp_path: Path, dtype: Any, suffix: str) -> None:
    state = {name: tensor.to(dtype) for name, tensor in small_state().items()}
    path = tmp_path / f"ranker{suffix}"
    saved(path, state) if suffix == ".pt" else safetensors_torch.save_file(state, path)
    assert_layers(read_checkpoint(path, RANKER, 8), state)


# ---- devices ----


def moved(data: bytes, device: str) -> bytes:
    """A file of torch.save as it is written where the tensors lie on another device.

    All that tells a device in such a file is the location of each storage, a string that the pickle holds once and then refers to.
    """
    old, new = (b"X" + len(name).to_bytes(4, "little") + name.encode() for name in ("cpu", device))
    if not data.startswith(b"PK"):
        assert data.count(old) == 1
        return data.replace(old, new)
    output = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(output, "w") as other:
        for name in archive.namelist():
            member = archive.read(name)
            if name.endswith("/data.pkl"):
                assert member.count(old) == 1
                member = member.replace(old, new)
            other.writestr(name, member)
    return output.getvalue()


@pytest.mark.parametrize("zipped", [True, False], ids=["archive", "before torch 1.6"])
@pytest.mark.parametrize("device", ["cuda:0", "cuda:3", "mps", "mps:0"])
def test_tensors_of_another_device_come_to_the_cpu(tmp_path: Path, device: str, zipped: bool) -> None:
    state = small_state()
    path = saved(tmp_path / "ranker.pt", {"model_state_dict": state}, _use_new_zipfile_serialization=zipped)
    path.write_bytes(moved(path.read_bytes(), device))
    kind = device.partition(":")[0]
    seen = []
    torch.load(path, map_location=lambda storage, location: seen.append(location) or storage)
    assert set(seen) == {device}
    if not (torch.cuda.is_available() if kind == "cuda" else torch.backends.mps.is_available()):
        with pytest.raises(RuntimeError, match=f"(?i){kind}"):
            torch.load(path)
    assert_layers(read_checkpoint(path, RANKER, 8), state)


# ---- what is refused ----


class Runs:
    """An object that makes a folder when a careless reader loads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [True, False], ids=["archive", "before torch 1.6"])
def test_nothing_in_a_file_is_run(tmp_path: Path, zipped: bool) -> None:
    content = {"model_state_dict": small_state(), "best": Runs(tmp_path / "made")}
    path = saved(tmp_path / "ranker.pt", content, _use_new_zipfile_serialization=zipped)
    text = refusal(path)
    assert text.startswith(f"it holds a Python object ({os.mkdir.__module__}.mkdir), and to load one can run any code; ")
    assert text.endswith("save its weights alone, as torch.save(model.state_dict(), path) does")
    plain = tmp_path / "plain.pt"
    plain.write_bytes(pickle.dumps(Runs(tmp_path / "made")))
    refusal(plain)
    assert not (tmp_path / "made").exists()


def test_the_objects_that_are_refused_are_named(tmp_path: Path) -> None:
    objects = {
        "torch.nn.modules.container.Sequential": network(sizes=SMALL),
        "argparse.Namespace": {"model_state_dict": small_state(), "args": argparse.Namespace(lr=1)},
        "numpy._core.multiarray._reconstruct": {"model_state_dict": small_state(), "history": np.zeros(2)},
    }
    for name, content in objects.items():
        assert f"a Python object ({name})" in refusal(saved(tmp_path / "ranker.pt", content))


def script_archive(path: Path) -> None:
    class Scripted(torch.nn.Module):
        def forward(self, given: torch.Tensor) -> torch.Tensor:
            return given

    torch.jit.save(torch.jit.trace(Scripted(), torch.zeros(1)), path)


def safetensors_file(path: Path) -> None:
    safetensors_torch.save_file(small_state(), path)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 605219\n"
FILES: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "TorchScript": ("a.pt", script_archive, "a TorchScript archive, which holds code; load it with torch.jit.load and save its weights"),
    "safetensors as .pt": ("a.pt", safetensors_file, "a safetensors file under another suffix; rename it to .safetensors"),
    "torch as .safetensors": ("a.safetensors", lambda path: saved(path, small_state()), "no safetensors file, whatever its suffix says; "),
    "LFS pointer": ("a.pt", lambda path: path.write_bytes(LFS), "a git-LFS pointer and not the weights; run git lfs pull"),
    "LFS safetensors": ("a.safetensors", lambda path: path.write_bytes(LFS), "a git-LFS pointer and not the weights; "),
    "HTML": ("a.pt", lambda path: path.write_text("\ufeff\n <!DOCTYPE html><html>404"), "a web page or XML and not the weights, "),
    "HTML safetensors": ("a.safetensors", lambda path: path.write_text("<script>{}</script>"), "a web page or XML and not the weights, "),
    "XML": ("a.pt", lambda path: path.write_text('<?xml version="1.0"?><Error><Code>AccessDenied'), "a web page or XML "),
    "empty": ("a.pt", lambda path: path.touch(), "the file is empty; copy or download it again"),
    "empty safetensors": ("a.safetensors", lambda path: path.touch(), "the file is empty; "),
    "text": (
        "a.pt",
        lambda path: path.write_text("see the wiki"),
        "no checkpoint, it begins with b'see the wiki'; copy or download it again",
    ),
    "pickle": (
        "a.pt",
        lambda path: path.write_bytes(pickle.dumps({"a": [1.0]})),
        "a pickle that is damaged, that torch.save did not write, or ",
    ),
    "protocol 4": (
        "a.pt",
        lambda path: saved(path, small_state(), pickle_protocol=4),
        "a pickle that is damaged, that torch.save did not write, or that is of another pickle protocol than 2; ",
    ),
    "pickle protocol 2": (
        "a.pt",
        lambda path: path.write_bytes(pickle.dumps([1], 2)),
        "the file is cut off or damaged, or torch.save did not",
    ),
    "npz": ("a.pt", lambda path: np.savez(path.open("wb"), a=np.zeros(3)), "a zip archive that torch.save did not write; save its weights"),
    "cut archive": (
        "a.pt",
        lambda path: path.write_bytes(saved(path, small_state()).read_bytes()[:900]),
        "the archive is cut off or damaged",
    ),
    "a folder": ("a.pt", lambda path: path.mkdir(), "cannot be read: Is a directory"),
    "no file": ("a.pt", lambda path: None, "cannot be read: No such file or directory"),
    "a tensor": ("a.pt", lambda path: saved(path, torch.zeros(3)), "holds a Tensor and no state dict; save its weights alone, "),
    "nothing": (
        "a.pt",
        lambda path: saved(path, {"model_state_dict": {}}),
        "holds nothing; needed is a state dict, plain or under model_state_dict",
    ),
    "no state": ("a.pt", lambda path: saved(path, {"epoch": 1, "weights": {}}), "holds no tensors: epoch, weights; needed is a state dict"),
    "mixed": ("a.pt", lambda path: saved(path, {**small_state(), "epoch": 1}), "holds no tensors: epoch; needed is a state dict"),
}


@pytest.mark.parametrize("case", FILES)
def test_other_files_are_refused_by_what_they_are(tmp_path: Path, case: str, recwarn: pytest.WarningsRecorder) -> None:
    name, make, wanted = FILES[case]
    make(tmp_path / name)
    recwarn.clear()
    assert refusal(tmp_path / name).startswith(wanted)
    assert not list(recwarn)


@pytest.mark.parametrize("form", ["archive", "before torch 1.6", "safetensors"])
def test_a_cut_or_damaged_file_ends_in_a_message_and_in_nothing_else(tmp_path: Path, form: str) -> None:
    state, chance = small_state(), random.Random(4)
    path = tmp_path / f"ranker.{'safetensors' if form == 'safetensors' else 'pt'}"
    if form == "safetensors":
        safetensors_torch.save_file(state, path)
    else:
        saved(path, state, _use_new_zipfile_serialization=form == "archive")
    whole = path.read_bytes()
    for length in [0, 1, 8, 9, *range(20, len(whole), len(whole) // 60), len(whole) - 1]:
        path.write_bytes(whole[:length])
        refusal(path)
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(chance.choice([1, 1, 4])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data)
        try:
            checkpoint = read_checkpoint(path, RANKER, 8)
        except StepError as error:
            refused += 1
            assert str(error).startswith(f"{path}: ")  # noqa: PT017 - most flips of a weight's bits go unnoticed
        else:
            assert checkpoint.sizes == SMALL
            assert all(np.isfinite(values).all() for values in [*checkpoint.weights, *checkpoint.biases])
    assert refused > 20


def changed(**tensors: Any) -> dict[str, Any]:
    """A small state dict with other tensors by their names, `_` for the dot; None removes one."""
    given = {name.replace("_", ".", 1).lstrip("."): tensor for name, tensor in tensors.items()}
    return {
        name: tensor
        for name, tensor in {**{f"n{key}": value for key, value in small_state().items()}, **given}.items()
        if tensor is not None
    }


STATES: dict[str, tuple[Callable[[], Any], str]] = {
    "no bias": (
        lambda: changed(n3_bias=None),
        "'n3' is no linear layer, it has weight [5, 6]; needed for a ranker are linear layers alone, each",
    ),
    "no weight": (lambda: changed(n3_weight=None), "'n3' is no linear layer, it has bias [5]; "),
    "a norm": (lambda: changed(n1_weight=torch.ones(6), n1_bias=torch.ones(6)), "'n1' is no linear layer, it has weight [6], bias [6]; "),
    "a convolution": (lambda: changed(n3_weight=torch.ones(5, 6, 1, 1)), "'n3' is no linear layer, it has weight [5, 6, 1, 1], bias [5]; "),
    "a number": (lambda: {**small_state(), "scale": torch.ones(())}, "'the state dict' is no linear layer, it has scale []; "),
    "a part more": (lambda: changed(n3_scale=torch.ones(5)), "'n3' is no linear layer, it has weight [5, 6], bias [5], scale [5]; "),
    "a bias too long": (lambda: changed(n3_bias=torch.ones(6)), "'n3' is no linear layer, it has weight [5, 6], bias [6]; "),
    "a layer of nothing": (
        lambda: changed(n0_weight=torch.ones(0, 8), n0_bias=torch.ones(0)),
        "'n0' is no linear layer, it has weight [0, 8], bias [0]; ",
    ),
    "no chain": (
        lambda: changed(n3_weight=torch.ones(5, 7)),
        "its layers do not follow each other: n0 8→6, n3 7→5, n5 5→1; needed is a chain of linear layers, stored in their order",
    ),
    "a gap": (lambda: changed(n3_weight=torch.ones(5, 5)), "its layers do not follow each other: n0 8→6, n3 5→5, n5 5→1; "),
    "two networks": (
        lambda: {**renamed(small_state(), "a.{}".format), **renamed(small_state(), "b.{}".format)},
        "its layers do not follow each other: a.0 8→6, a.3 6→5, a.5 5→1, b.0 8→6, b.3 6→5, b.5 5→1; ",
    ),
    "numbers against order": (
        lambda: renamed(
            network(sizes=[8, 6, 6, 6, 1]).state_dict(), lambda key: {"0": "0", "3": "5", "5": "3", "7": "7"}[key[0]] + key[1:]
        ),
        "its layers fit together in more than one order: 0 8→6, 5 6→6, 3 6→6, 7 6→1; ",
    ),
    "another CLIP": (
        lambda: network(sizes=[12, 6, 5, 1]).state_dict(),
        "its layers are 12→6→5→1, a ranker of 8-dimensional embeddings needs 8→…→1; give the ranker's own checkpoint, and the CLIP model",
    ),
    "the crop proposer": (lambda: network(CROP_PROPOSER, [10, 6, 4]).state_dict(), "its layers are 10→6→4, a ranker of 8-dimensional"),
    "another output": (
        lambda: network(sizes=[8, 6, 2]).state_dict(),
        "its layers are 8→6→2, a ranker of 8-dimensional embeddings needs 8→…→1; ",
    ),
    "NaN": (
        lambda: changed(n3_bias=torch.tensor([0, 0, float("nan"), 0, 0])),
        "n3.bias holds NaN or infinite numbers, the training failed; ",
    ),
    "infinite": (lambda: changed(n5_weight=torch.full((1, 5), float("-inf"))), "n5.weight holds NaN or infinite numbers, "),
    "beyond float32": (
        lambda: changed(n5_weight=torch.full((1, 5), 1e300, dtype=torch.float64)),
        "n5.weight holds NaN or infinite numbers, ",
    ),
    "whole numbers": (
        lambda: changed(n3_bias=torch.zeros(5, dtype=torch.int8)),
        "n3.bias is int8 strided cpu; needed are plain float16, bfloat16, ",
    ),
    "complex": (lambda: changed(n3_bias=torch.zeros(5, dtype=torch.complex64)), "n3.bias is complex64 strided cpu; "),
    "sparse": (lambda: changed(n3_weight=torch.ones(5, 6).to_sparse()), "n3.weight is float32 sparse_coo cpu; "),
    "no numbers": (lambda: changed(n3_weight=torch.ones(5, 6, device="meta")), "n3.weight is float32 strided meta; "),
}


@pytest.mark.parametrize("case", STATES)
def test_other_tensors_are_refused_with_what_is_needed(tmp_path: Path, case: str) -> None:
    make, wanted = STATES[case]
    assert refusal(saved(tmp_path / "ranker.pt", make())).startswith(wanted)


def test_layers_that_fit_in_any_order_need_a_file_that_keeps_it(tmp_path: Path) -> None:
    square = network(sizes=[6, 6, 6, 1]).state_dict()
    state = renamed(square, lambda key: in_words(key, ("to_wide", "body", "z_head")))
    path = tmp_path / "ranker.safetensors"
    safetensors_torch.save_file(state, path)
    wanted = "its layers fit together in more than one order: body 6→6, to_wide 6→6, z_head 6→1; "
    assert refusal(path, dimension=6).startswith(wanted)
    assert_layers(read_checkpoint(saved(tmp_path / "ranker.pt", state), RANKER, 6), state)
    numbered = renamed(square, lambda key: in_words(key, ("net.2", "net.10", "net.100")))
    safetensors_torch.save_file(numbered, path)
    assert_layers(read_checkpoint(path, RANKER, 6), square)
    assert_layers(read_checkpoint(saved(tmp_path / "ranker.pt", dict(sorted(numbered.items()))), RANKER, 6), square)


def test_a_crop_proposer_needs_room_for_width_and_height(tmp_path: Path) -> None:
    path = saved(tmp_path / "crop.pt", network(CROP_PROPOSER, [2, 3, 4]).state_dict())
    assert refusal(path, CROP_PROPOSER, None).startswith("its layers are 2→3→4, a crop proposer of embeddings needs at least 3→…→4; ")
    path = saved(tmp_path / "crop.pt", network(CROP_PROPOSER, [512, 256, 128, 4]).state_dict())
    assert refusal(path, CROP_PROPOSER, 512).startswith(
        "its layers are 512→256→128→4, a crop proposer of 512-dimensional embeddings needs 514→…→4; "
    )
    assert read_checkpoint(path, CROP_PROPOSER, 510).sizes == [512, 256, 128, 4]


# ---- which file ----


def test_the_first_checkpoint_that_exists_is_taken(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("ranker_v4.pt", "ranker_v3_w10.pt", "ranker_v3.pt")]
    with pytest.raises(StepError) as caught:
        first_existing(paths)
    assert str(caught.value).endswith("correct its path:" + "".join(f"\n    {path}" for path in paths))
    Path(paths[0]).mkdir()
    for path in reversed(paths[1:]):
        Path(path).touch()
        assert first_existing(paths) == path
    with pytest.raises(StepError, match="the list is empty"):
        first_existing([])


def test_a_replaced_file_is_recorded_as_what_it_is_now(tmp_path: Path) -> None:
    path = tmp_path / "ranker.pt"
    for seed in (1, 2):
        state = network(sizes=SMALL, seed=seed).state_dict()
        checkpoint = read_checkpoint(saved(path, state), RANKER, 8)
        assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert_layers(checkpoint, state)
        assert json.loads(json.dumps(checkpoint.record())) == checkpoint.record()


# ---- inference ----


def vectors(count: int, length: int = 512, seed: int = 3) -> Any:
    """Rows as an embedding table holds them."""
    drawn = np.random.default_rng(seed).standard_normal((count, length))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16)


def loaded(tmp_path: Path, kind: Any, seed: int = 1, **options: Any) -> tuple[Network, Any]:
    """A network through its checkpoint, and the plain module in evaluation mode."""
    module = network(kind, seed=seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(3)  # so that outputs spread as those of a trained network do
    path = saved(tmp_path / "model.pt", {"model_state_dict": module.state_dict()})
    return Network(read_checkpoint(path, kind, 512), **options), module.eval()


def test_the_modules_are_those_of_the_contract() -> None:
    from torch.nn import Dropout, Linear, ReLU, Sigmoid

    wanted = {RANKER: (Linear, ReLU, Dropout, Linear, ReLU, Linear), CROP_PROPOSER: (Linear, ReLU, Linear, ReLU, Linear, Sigmoid)}
    for kind, modules in wanted.items():
        module = network(kind)
        assert tuple(type(part) for part in module) == modules
        sizes = [(part.in_features, part.out_features) for part in module if isinstance(part, Linear)]
        assert sizes == list(pairwise(KINDS[kind]))
    assert network(RANKER)[2].p == 0.3
    assert list(network(RANKER).state_dict()) == [f"{number}.{part}" for number in (0, 3, 5) for part in ("weight", "bias")]


@pytest.mark.parametrize("count", [0, 1, 5, 1023, 1024, 1025, 2500])
def test_outputs_equal_those_of_plain_torch(tmp_path: Path, count: int) -> None:
    ranker, plain_ranker = loaded(tmp_path, RANKER)
    proposer, plain_proposer = loaded(tmp_path, CROP_PROPOSER)
    table = vectors(count)
    sizes = np.random.default_rng(1).integers(1, 9000, (count, 2))
    with torch.inference_mode():
        given = torch.from_numpy(table).float()
        scores = ranker(embeddings(table, normalise=False))
        assert scores.shape == (count, 1)
        np.testing.assert_allclose(scores, plain_ranker(given).numpy(), rtol=0, atol=1e-6)
        given = torch.nn.functional.normalize(given, dim=1)
        crops = proposer(crop_inputs(embeddings(table, normalise=True), sizes, 10000))
        assert crops.shape == (count, 4)
        wanted = plain_proposer(torch.cat([given, torch.from_numpy(sizes).float() / 10000], dim=1))
        np.testing.assert_allclose(crops, wanted.numpy(), rtol=0, atol=1e-6)
        assert count < 100 or (scores.std() > 0.01 and crops.std() > 0.01)


@pytest.mark.parametrize("kind", [RANKER, CROP_PROPOSER], ids=["ranker", "crop proposer"])
def test_a_row_gives_the_same_bits_in_any_company_and_on_any_number_of_threads(tmp_path: Path, kind: Any) -> None:
    net, _ = loaded(tmp_path, kind, batch=64)
    rows = vectors(200, KINDS[kind][0]).astype(np.float32)
    together = net(rows)
    assert len(np.unique(together, axis=0)) == 200
    alone = np.concatenate([net(rows[number : number + 1]) for number in range(200)])
    assert alone.tobytes() == together.tobytes()
    assert net(rows[::-1])[::-1].tobytes() == together.tobytes()
    before, used = torch.get_num_threads(), []
    watch = torch.nn.modules.module.register_module_forward_hook(
        lambda module, given, output: used.append((torch.get_num_threads(), len(output)))
    )
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            assert net(rows).tobytes() == together.tobytes()
            assert torch.get_num_threads() == threads
    finally:
        watch.remove()
        torch.set_num_threads(before)
    assert set(used) == {(1, 64)}  # threads and rows of every forward pass


def test_a_network_is_in_evaluation_mode_and_leaves_its_inputs_alone(tmp_path: Path) -> None:
    net, _ = loaded(tmp_path, RANKER)
    rows = vectors(300).astype(np.float32)
    given = rows.copy()
    assert net(rows).tobytes() == net(rows).tobytes()
    assert rows.tobytes() == given.tobytes()


def test_inputs_of_another_length_are_refused(tmp_path: Path) -> None:
    net, _ = loaded(tmp_path, RANKER)
    for length in (1, 511, 768):
        with pytest.raises(StepError, match=f"model.pt: takes 512 numbers, and was given {length}: "):
            net(np.zeros((3, length), np.float32))


def test_embeddings_are_brought_to_length_one_or_left_as_they_are() -> None:
    table = vectors(50)
    table[7] = 0
    plain, unit = embeddings(table, normalise=False), embeddings(table, normalise=True)
    assert (plain.dtype, unit.dtype) == (np.float32, np.float32)
    assert np.array_equal(plain.astype(np.float16), table)
    assert np.array_equal(unit[7], np.zeros(512))
    lengths = np.linalg.norm(np.delete(unit, 7, axis=0).astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=0, atol=1e-7)
    assert 1e-6 < np.abs(np.linalg.norm(np.delete(plain, 7, axis=0).astype(np.float64), axis=1) - 1).max() < 5e-4
    np.testing.assert_allclose(unit, torch.nn.functional.normalize(torch.from_numpy(plain), dim=1).numpy(), rtol=0, atol=1e-7)
    np.testing.assert_allclose(embeddings(table * np.float16(8), normalise=True), unit, rtol=0, atol=1e-7)


def test_width_and_height_follow_the_embedding_by_the_scale_of_the_model() -> None:
    found, sizes = embeddings(vectors(3), normalise=False), np.array([[1024, 512], [300, 4096], [7, 7]], np.int32)
    for scale, wanted in (
        (2048, [[0.5, 0.25], [300 / 2048, 2.0], [7 / 2048, 7 / 2048]]),
        (10000, [[0.1024, 0.0512], [0.03, 0.4096], [0.0007, 0.0007]]),
        ("image", [[1.0, 0.5], [300 / 4096, 1.0], [1.0, 1.0]]),
    ):
        inputs = crop_inputs(found, sizes, scale)
        assert (inputs.shape, inputs.dtype) == ((3, 514), np.float32)
        assert np.array_equal(inputs[:, :512], found)
        assert np.array_equal(inputs[:, 512:], np.array(wanted, np.float32))
