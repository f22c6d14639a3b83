"""What the segmenters share of Ultralytics: off-line and quiet, files as data, a model on its device, and memory that does not suffice."""

import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from workflow_scripts.core.step import StepError, log

IOU = 0.7  # of two boxes of a class that overlap more, the surer one stays; Ultralytics' default
_ENVIRONMENT = {
    "ULTRALYTICS_SKIP_REQUIREMENTS_CHECKS": "1",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_OFFLINE": "1",
    "YOLO_VERBOSE": "false",
}
_UNREADABLE = (TypeError, RuntimeError, KeyError, AttributeError, ValueError, ImportError, OSError, EOFError)


@dataclass(frozen=True, slots=True)
class Setup:
    """What every segmenter is made from.

    Attributes:
        backend: its name in the settings.
        weights: the file.
        device: `cpu` or `cuda`.
        threads: of the CPU.
        imgsz: pixels of the square that the model sees, before rounding up to its stride.
        conf: segments below it do not count.
        batch: images a forward pass, or `auto`.
        fingerprint: see `Segmenter`.
    """

    backend: str
    weights: Path
    device: str
    threads: int
    imgsz: int
    conf: float
    batch: int | str
    fingerprint: str

    @property
    def half(self) -> bool:
        """Whether it computes in half precision."""
        return precision(self.device) == "fp16"

    def side(self, stride: int) -> int:
        """`imgsz`, rounded up to a stride."""
        return -(-self.imgsz // stride) * stride


class Portion:
    """How much goes through a model at a time: half of it for the rest of the job when memory does not suffice.

    Attributes:
        size: how many at a time.
    """

    def __init__(self, size: int, unit: str) -> None:
        """Begin with `size` things that are called `unit`."""
        self.size, self._unit = size, unit

    def shrink(self, error: RuntimeError) -> None:
        """Halve it after an error.

        Raises:
            RuntimeError: the error has another cause.
            StepError: there is only one left.
        """
        import torch

        # The GPU has an exception of its own; the CPU allocator tells by its text alone.
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise error
        if self.size == 1:
            raise StepError("out of memory with a single image: use a smaller segmenter, a smaller imgsz or another device") from error
        self.size //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        log.warning("out of memory: %d %s at a time for the rest of this job", self.size, self._unit)


def precision(device: str) -> str:
    """Half on a GPU, full on a CPU, for a device as `resolve_device` gives it."""
    return "fp16" if device == "cuda" else "fp32"


def set_up() -> None:
    """Import Ultralytics so that it asks for nothing, writes nothing and runs nothing that stands in a file."""
    os.environ.update(_ENVIRONMENT)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["YOLO_CONFIG_DIR"] = folder  # it writes its settings on import
        from ultralytics.nn import tasks

    tasks.SAFE_LOAD = True  # type: ignore[attr-defined]


def tensors(weights: Path) -> Any:
    """What `torch.save` wrote, mapped into memory rather than read; nothing in it runs."""
    import torch

    return torch.load(weights, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(weights))


@contextmanager
def named(weights: Path, name: str) -> Iterator[str]:
    """A path to the file whose name tells Ultralytics what it is, and holds nothing that it would take for something else."""
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, name)
        link.symlink_to(weights.resolve())
        yield str(link)


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Another value for an attribute, as long as it lasts."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def readable(weights: Path, wanted: str) -> Iterator[None]:
    """Say of every error on loading which file it is about and what is wanted."""
    import pickle

    try:
        yield
    except pickle.UnpicklingError as error:
        raise StepError(f"segmenter.weights: {weights}: not {wanted}: not written by torch.save, or holds more than tensors") from error
    except _UNREADABLE as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise StepError(f"segmenter.weights: {weights}: not {wanted}: {' '.join(lines[:2])[:500]}") from error


@contextmanager
def undrawn() -> Iterator[None]:
    """Build networks without drawing their first weights, for those that get all of them from a file."""
    import torch
    from torch.overrides import TorchFunctionMode

    class Undrawn(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(function, "__module__", "") == "torch.nn.init":
                return args[0] if args else kwargs["tensor"]
            if function in (torch.Tensor.normal_, torch.Tensor.uniform_):
                return args[0].zero_()  # some draw until all values lie within bounds
            return function(*args, **kwargs or {})

    with replaced(torch.nn.init, "trunc_normal_", lambda tensor, *_, **__: tensor), Undrawn():
        yield


def predictor(kind: type[Any], network: Any, setup: Setup) -> Any:
    """One of Ultralytics' predictors of the SAM family with a network, on its device and ready for images."""
    import torch

    overrides = {"conf": setup.conf, "device": setup.device, "imgsz": setup.side(kind.stride), "iou": IOU, "save": False, "verbose": False}
    made = kind(overrides=overrides | ({"quantize": 16} if setup.half else {}))
    made.setup_model(network, verbose=False)
    made.setup_source(np.zeros((8, 8, 3), np.uint8))  # sets the size of its image
    if setup.device == "cpu":
        torch.set_num_threads(setup.threads)  # Ultralytics leaves another number
    log.info("segmenter: %s, %s, %s, %d pixels", setup.backend, setup.weights.name, setup.device, made.imgsz[0])
    return made


def show(made: Any, image: Image.Image) -> Any:
    """Give a predictor an image; what its model takes, a tensor [1, 3, side, side]."""
    pixels: npt.NDArray[np.uint8] = np.ascontiguousarray(np.asarray(image)[..., ::-1])  # it expects BGR
    made.batch = ([""], [pixels], [""])
    return made.preprocess([pixels])
