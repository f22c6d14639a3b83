"""A rembg session with any ONNX file, whose forward pass is taken out of its prediction: what comes before and behind stays rembg's."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from workflow_scripts.core.step import StepError

Floats = npt.NDArray[np.float32]
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class Output(NamedTuple):
    """Stands in for a picture when rembg is to finish what the model gave for it: values [1, c, h, w] and the picture's size."""

    values: Floats
    size: tuple[int, int]


class PassOn:
    """Stands in for the ONNX session of a rembg session: passes on an output that is there already."""

    def __init__(self, session: Any) -> None:
        """Wrap the session that has the inputs."""
        self.get_inputs = session.get_inputs

    def run(self, _: None, feed: Output) -> list[Floats]:
        """What `predict` asks for."""
        return [feed.values]


def open_session(weights: Path, kind: str, device: str, threads: int) -> Any:
    """Open a session of a kind with this file, whatever rembg would have fetched.

    Its `normalize` notes in `how` what it is asked for when `predict` gets an `Output`.

    Args:
        weights: the ONNX file.
        kind: rembg's name of the session.
        device: `auto`, `cpu` or `cuda`.
        threads: of the CPU.

    Raises:
        StepError: the file is no such model, or there is no such device.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors
    from rembg.sessions import sessions

    class Session(sessions[kind]):  # type: ignore[misc]
        how: tuple[Any, ...] = ()

        @classmethod
        def download_models(cls, *_: Any, **__: Any) -> str:
            return str(weights)

        def normalize(self, img: Any, *how: Any) -> Any:
            if not isinstance(img, Output):
                return super().normalize(img, *how)
            self.how = how
            return img

        def _warn_on_provider_fallback(self, requested: Any) -> None:
            """Said below, in our words."""

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Threads that spin while they wait starve those that decode.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = Session(kind, options, providers=_providers(device), model_path=str(weights))
    except (errors.InvalidProtobuf, errors.InvalidGraph, errors.Fail, errors.NotImplemented, errors.InvalidArgument) as error:
        raise StepError(f"mask.model: {weights}: onnxruntime cannot load it: {str(error).splitlines()[0]}") from error
    if device == "cuda" and CUDA not in session.inner_session.get_providers():
        raise StepError(
            "device: cuda was asked for, and onnxruntime could not load CUDA; use device: auto or cpu, or mend the installation"
        )
    return session


def _providers(device: str) -> list[Any]:
    """Where onnxruntime is to compute, best first."""
    import onnxruntime

    has_cuda = CUDA in onnxruntime.get_available_providers()
    if device == "cuda" and not has_cuda:
        raise StepError("device: cuda was asked for, and this onnxruntime has no CUDA; install onnxruntime-gpu, or use device: auto or cpu")
    cuda = [(CUDA, {"use_tf32": "0"})] if has_cuda and device != "cpu" else []
    return [*cuda, CPU]
