"""The ranker and the crop proposer as torch modules, and what goes into them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from workflow_scripts.core.step import StepError

if TYPE_CHECKING:
    import torch

    from workflow_scripts.predict.checkpoint import Checkpoint

Floats = npt.NDArray[np.float32]
BATCH = 1024  # rows a forward pass


@dataclass(frozen=True)
class Kind:
    """What a checkpoint is for. Between linear layers there is a ReLU; activations and dropout do not stand in a checkpoint.

    Attributes:
        name: in words.
        beside: how many numbers follow the embedding in the input.
        outputs: how many numbers come out.
        dropout: after the first layer, in training alone.
        sigmoid: whether one ends the network.
    """

    name: str
    beside: int
    outputs: int
    dropout: float
    sigmoid: bool


RANKER = Kind("ranker", beside=0, outputs=1, dropout=0.3, sigmoid=False)
CROP_PROPOSER = Kind("crop proposer", beside=2, outputs=4, dropout=0.0, sigmoid=True)


def mlp(kind: Kind, sizes: Sequence[int]) -> "torch.nn.Sequential":
    """The module of a kind with random weights; its state dict has the layout of a checkpoint.

    Args:
        kind: which.
        sizes: numbers that go in, and that come out of each linear layer.
    """
    from torch import nn

    modules: list[nn.Module] = []
    for number, (inputs, outputs) in enumerate(pairwise(sizes)):
        modules += [nn.ReLU()] if number else []
        modules += [nn.Dropout(kind.dropout)] if number == 1 and kind.dropout else []
        modules.append(nn.Linear(inputs, outputs))
    return nn.Sequential(*modules, *([nn.Sigmoid()] if kind.sigmoid else []))


class Network:
    """A checkpoint on a device, in evaluation mode and float32.

    Every forward pass has the same number of rows, on one thread where it is the CPU's: a row's numbers then depend neither on the
    rows beside it nor on the machine's number of cores.
    """

    def __init__(self, checkpoint: "Checkpoint", *, device: str = "cpu", batch: int = BATCH) -> None:
        """Put a checkpoint on a device, as torch names it.

        Args:
            checkpoint: as read.
            device: `cpu`, `cuda`, ….
            batch: rows a forward pass.
        """
        import torch

        self._torch = torch
        self._device = torch.device(device)
        self._path, self._sizes = checkpoint.path, checkpoint.sizes
        self._batch = batch
        module = mlp(checkpoint.kind, self._sizes)
        linear = [part for part in module if isinstance(part, torch.nn.Linear)]
        with torch.no_grad():
            for layer, weight, bias in zip(linear, checkpoint.weights, checkpoint.biases, strict=True):
                layer.weight.copy_(torch.from_numpy(weight))
                layer.bias.copy_(torch.from_numpy(bias))
        self._module = module.eval().to(self._device)

    def __call__(self, inputs: Floats) -> Floats:
        """The outputs [n, outputs] for inputs [n, inputs].

        Raises:
            StepError: the inputs have another length than the checkpoint takes.
        """
        if inputs.ndim != 2 or inputs.shape[1] != self._sizes[0]:
            raise StepError(
                f"{self._path}: takes {self._sizes[0]} numbers, and was given {inputs.shape[-1]}: other embeddings than it was made for"
            )
        outputs = np.empty((len(inputs), self._sizes[-1]), np.float32)
        with _one_thread(), self._torch.inference_mode():
            for first in range(0, len(inputs), self._batch):
                part = inputs[first : first + self._batch]
                padded = np.zeros((self._batch, self._sizes[0]), np.float32)
                padded[: len(part)] = part
                found = self._module(self._torch.from_numpy(padded).to(self._device)).cpu().numpy()
                outputs[first : first + len(part)] = found[: len(part)]
        return outputs


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread of the CPU: how many there are moves the last bits, and these networks are small."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def embeddings(vectors: npt.NDArray[np.floating], *, normalise: bool) -> Floats:
    """Vectors of an embedding table [n, d] as a network takes them.

    Args:
        vectors: as the table holds them: of the length that CLIP gave them where a network asks for that, else L2-normalised; rounded to
            float16, which moves their length by up to 0.05 %.
        normalise: bring them to length 1; otherwise they stay as they are.

    A vector of zeros stays one.
    """
    if not normalise:
        return vectors.astype(np.float32)
    exact = vectors.astype(np.float64)
    lengths = np.sqrt(np.einsum("nd,nd->n", exact, exact))
    return (exact / np.where(lengths > 0, lengths, 1)[:, None]).astype(np.float32)


def crop_inputs(found: Floats, dimensions: npt.NDArray[np.integer], scale: int | Literal["image"]) -> Floats:
    """What the crop proposer takes [n, d + 2]: the embedding, then width and height by a scale.

    Args:
        found: embeddings [n, d], as `embeddings` gives them.
        dimensions: width and height of the upright images in pixels [n, 2].
        scale: `dimension_scale`: what both are divided by, or `image` for the longer of the two.
    """
    pixels = dimensions.astype(np.float64)
    divisor = pixels.max(axis=1, keepdims=True) if scale == "image" else float(scale)
    return np.concatenate([found, pixels / divisor], axis=1, dtype=np.float32)
