"""Checkpoints of the ranker and the crop proposer: read without running anything in them, and checked against what is needed.

A checkpoint is a file of torch.save that holds a state dict (tensors by name), plain or under `model_state_dict` or `state_dict`
with anything beside it, or a safetensors file. Prefixes of the names (`model.`, `module.`, `net.`) do not matter.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workflow_scripts.core.step import StepError
from workflow_scripts.predict.checkpoint_file import SAVE, is_safetensors, read_content
from workflow_scripts.predict.networks import Floats, Kind

if TYPE_CHECKING:
    import torch

Tensors = dict[str, "torch.Tensor"]

WRAPPERS = ("model_state_dict", "state_dict")
_MOST_ORDERS = 7  # layers of which every order is tried


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Linear layers, in order.

    Attributes:
        path: as given.
        sha256: of the file that the layers were read from.
        kind: what it is for.
        weights: of each layer [out, in].
        biases: of each layer [out].
    """

    path: str
    sha256: str
    kind: Kind
    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]

    @property
    def sizes(self) -> list[int]:
        """Numbers that go in, and that come out of each layer."""
        return [self.weights[0].shape[1], *(len(weight) for weight in self.weights)]

    def record(self) -> dict[str, Any]:
        """What metadata says of it."""
        return {"path": self.path, "sha256": self.sha256, "layers": self.sizes}


def first_existing(paths: Sequence[str]) -> str:
    """The first of the configured checkpoints that exists.

    Raises:
        StepError: there is none.
    """
    for path in paths:
        if Path(path).is_file():
            return path
    listed = "".join(f"\n    {path}" for path in paths) or " (the list is empty)"
    raise StepError(f"no checkpoint exists of those that are configured; copy one there, or correct its path:{listed}")


def read_checkpoint(path: str | Path, kind: Kind, dimension: int | None = None) -> Checkpoint:
    """Read and check a checkpoint, to float32 on the CPU, from whatever device and precision it was saved.

    Args:
        path: of the file.
        kind: what it has to be.
        dimension: of the embeddings; None when it is not known yet, then any will do.

    Raises:
        StepError: the file is none that is read here, or holds other layers or no finite numbers; the text says what it is.
    """
    try:
        with open(path, "rb") as handle:
            sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
            content = read_content(path, handle)
    except OSError as error:
        raise StepError(f"{path}: cannot be read: {error.strerror or error}") from error
    layers = _layers(path, kind, _state_dict(path, content))
    names = _in_order(path, layers)
    weights, biases = ([_numbers(path, f"{name}.{part}", layers[name][part]) for name in names] for part in ("weight", "bias"))
    checkpoint = Checkpoint(str(path), sha256, kind, tuple(weights), tuple(biases))
    _check_ends(checkpoint, dimension)
    return checkpoint


def _state_dict(path: str | Path, content: Any) -> Tensors:
    import torch

    if isinstance(content, dict):
        content = next((content[name] for name in WRAPPERS if isinstance(content.get(name), dict)), content)
    if not isinstance(content, dict):
        raise StepError(f"{path}: holds a {type(content).__name__} and no state dict; {SAVE}")
    others = [str(name) for name, value in content.items() if not (isinstance(name, str) and isinstance(value, torch.Tensor))]
    if others or not content:
        found = f"no tensors: {', '.join(others[:5])}" if others else "nothing"
        raise StepError(f"{path}: holds {found}; needed is a state dict, plain or under {' or '.join(WRAPPERS)}: {SAVE}")
    return content


def _layers(path: str | Path, kind: Kind, state: Tensors) -> dict[str, Tensors]:
    """Weight and bias of each linear layer by its name; anything else would be left out of the computation, and is refused."""
    layers: dict[str, Tensors] = {}
    for key, tensor in state.items():
        name, _, part = key.rpartition(".")
        layers.setdefault(name, {})[part] = tensor
    for name, parts in layers.items():
        shapes = {part: tuple(tensor.shape) for part, tensor in parts.items()}
        weight = shapes.get("weight", ())
        if len(weight) != 2 or 0 in weight or shapes != {"weight": weight, "bias": weight[:1]}:
            found = ", ".join(f"{part} {list(shape)}" for part, shape in shapes.items())
            raise StepError(
                f"{path}: {name or 'the state dict'!r} is no linear layer, it has {found}; "
                f"needed for a {kind.name} are linear layers alone, each with weight [out, in] and bias [out]"
            )
    return layers


def _in_order(path: str | Path, layers: dict[str, Tensors]) -> list[str]:
    """The layers' names in the order in which they follow each other.

    That is the order in which they are stored, or that of the numbers in their names, if each layer takes what the one before
    gives; else the only order in which they do. A safetensors file does not keep the order of its tensors.
    """

    def fits(names: Sequence[str]) -> bool:
        shapes = [layers[name]["weight"].shape for name in names]
        return all(before[0] == after[1] for before, after in pairwise(shapes))

    stored = list(layers)
    orders = [] if is_safetensors(path) else [stored]
    if len({re.sub(r"\d{1,9}", "#", name) for name in stored}) == 1:
        numbered = sorted(stored, key=lambda name: [int(number) for number in re.findall(r"\d{1,9}", name)])
        orders += [numbered] if numbered not in orders else []
    fitting = [order for order in orders if fits(order)]
    if not fitting and len(stored) <= _MOST_ORDERS:
        fitting = [list(order) for order in permutations(stored) if fits(order)]
    if len(fitting) != 1:
        shapes = {name: layers[name]["weight"].shape for name in stored}
        found = ", ".join(f"{name} {inputs}→{outputs}" for name, (outputs, inputs) in shapes.items())
        why = "fit together in more than one order" if fitting else "do not follow each other"
        raise StepError(f"{path}: its layers {why}: {found}; needed is a chain of linear layers, stored in their order")
    return fitting[0]


def _numbers(path: str | Path, name: str, tensor: "torch.Tensor") -> Floats:
    """A tensor as float32."""
    import torch

    kinds = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    if tensor.dtype not in kinds or tensor.layout != torch.strided or tensor.device.type != "cpu":
        what = " ".join(str(part).removeprefix("torch.") for part in (tensor.dtype, tensor.layout, tensor.device))
        raise StepError(f"{path}: {name} is {what}; needed are plain float16, bfloat16, float32 or float64 numbers")
    values: Floats = tensor.detach().to(torch.float32).contiguous().numpy()
    if not np.isfinite(values).all():
        raise StepError(f"{path}: {name} holds NaN or infinite numbers, the training failed; take an earlier checkpoint")
    return values


def _check_ends(checkpoint: Checkpoint, dimension: int | None) -> None:
    kind, sizes = checkpoint.kind, checkpoint.sizes
    inputs = None if dimension is None else dimension + kind.beside
    if sizes[0] <= kind.beside or sizes[0] != (inputs or sizes[0]) or sizes[-1] != kind.outputs:
        found, needed = "→".join(map(str, sizes)), f"{inputs or f'at least {kind.beside + 1}'}→…→{kind.outputs}"
        embeddings = "embeddings" if dimension is None else f"{dimension}-dimensional embeddings"
        raise StepError(
            f"{checkpoint.path}: its layers are {found}, a {kind.name} of {embeddings} needs {needed}; "
            f"give the {kind.name}'s own checkpoint, and the CLIP model that it was trained with"
        )
