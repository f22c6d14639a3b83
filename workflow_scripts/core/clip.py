"""CLIP: images to vectors in batches of one fixed shape, texts to vectors, and the fingerprint of what computed them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from workflow_scripts.core.embeddings import digest
from workflow_scripts.core.images import DECODE_VERSION
from workflow_scripts.core.models import FOLDER, ModelCard
from workflow_scripts.core.preprocess import Pixels
from workflow_scripts.core.step import StepError, log

if TYPE_CHECKING:
    import torch

ALGORITHM = 1  # bumped by hand when vectors change
AUTO_BATCH = {"cpu": 32, "cuda": 256}


def fingerprint(card: ModelCard, *, views: str, decode: str, precision: str, normalise: bool = True) -> str:
    """What a vector depends on, in 16 hex digits: vectors of one fingerprint can be compared and reused.

    Batch size, threads and device stay out: at a fixed precision they move a vector by less than 1e-4 in cosine.
    """
    parts = {
        "algorithm": ALGORITHM,
        "decode": [DECODE_VERSION, decode],
        "model": card.model_cfg,
        "precision": precision,
        "preprocess": card.preprocess_cfg,
        "views": views,
        "weights": card.sha256,
    }
    return digest(parts if normalise else parts | {"normalise": False})


def resolve_device(device: str) -> tuple[str, str]:
    """The device to compute on and its precision: fp16 on a GPU, bf16 on a CPU that has it in hardware, else fp32.

    Args:
        device: `auto`, `cpu` or `cuda`.

    Raises:
        StepError: `cuda` was asked for and there is no GPU.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise StepError("device: cuda was asked for, and torch finds no GPU here; use device: auto or cpu")
    if device != "cpu" and torch.cuda.is_available():
        return "cuda", "fp16"
    fast_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "cpu", "bf16" if fast_bf16 else "fp32"


def load_model(card: ModelCard) -> Any:
    """The open_clip model of a card with its weights, verified, in fp32 on the CPU."""
    import open_clip

    card.verify()
    pretrained = None if card.architecture.startswith(FOLDER) else card.weights
    try:
        model = open_clip.create_model(card.architecture, pretrained=pretrained, require_pretrained=True)
    except RuntimeError as error:
        text = str(error).strip().splitlines()
        raise StepError(f"{card.weights}: these weights do not fit {card.name}: {text[0]} {text[1].strip() if text[1:] else ''}") from error
    return model.eval()


class ImageEncoder:
    """The image tower on a device, at one batch shape from the first image to the last.

    The last batch is padded, so that a vector does not depend on how many images came with it.
    """

    def __init__(self, card: ModelCard, *, device: str, precision: str, batch: int | str, threads: int, normalise: bool = True) -> None:
        """Load the model; `batch` is images a forward pass, or `auto`; without `normalise` vectors keep their own length."""
        import torch

        self._torch = torch
        if device == "cpu":
            torch.set_num_threads(threads)
        self._dtype = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}[precision]
        self._device = torch.device(device)
        model = load_model(card)
        self._model = model.to(device=self._device, dtype=self._dtype)
        mean, std = (torch.tensor(card.preprocess_cfg[name], dtype=torch.float32) for name in ("mean", "std"))
        self._mean, self._std = (value.to(self._device).view(1, 3, 1, 1) for value in (mean, std))
        self._normalise = normalise
        self._size = int(np.ravel(card.preprocess_cfg["size"])[0])
        self.batch = AUTO_BATCH[device] if batch == "auto" else int(batch)
        self.forwards = 0
        self._settle_batch()

    def _settle_batch(self) -> None:
        """Run one full batch of nothing: what fits now fits for the whole job, since every batch has this shape."""
        self.encode(np.zeros((1, self._size, self._size, 3), np.uint8))
        self.forwards = 0
        log.info("encoder: %s, %s, %d images a batch", self._device.type, str(self._dtype).removeprefix("torch."), self.batch)

    def encode(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """Vectors [n, d] of views [n, size, size, 3], L2-normalised unless told otherwise.

        When memory does not suffice, the batch is halved for the rest of the job.
        """
        parts: list[npt.NDArray[np.float32]] = []
        done = 0
        while done < len(pixels):
            part = pixels[done : done + self.batch]
            try:
                parts.append(self._forward(part))
            except RuntimeError as error:
                self._shrink(error)
            else:
                done += len(part)
        return np.concatenate(parts)

    def _forward(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        with self._torch.inference_mode():
            vectors = self._model.encode_image(self._input(pixels)).float()[: len(pixels)]
            if self._normalise:
                vectors = self._torch.nn.functional.normalize(vectors, dim=-1)
            self.forwards += 1
            return vectors.cpu().numpy()

    def _shrink(self, error: RuntimeError) -> None:
        # The GPU has an exception of its own; the CPU allocator tells by its text alone.
        if not isinstance(error, self._torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise error
        if self.batch == 1:
            raise StepError("out of memory with a single image: use a smaller model or another device") from error
        self.batch //= 2
        if self._device.type == "cuda":
            self._torch.cuda.empty_cache()
        log.warning("out of memory: %d images a batch for the rest of this job", self.batch)

    def _input(self, pixels: Pixels) -> "torch.Tensor":
        torch = self._torch
        padded = np.zeros((self.batch, *pixels.shape[1:]), np.uint8)
        padded[: len(pixels)] = pixels
        tensor = torch.from_numpy(padded).to(self._device, non_blocking=True).permute(0, 3, 1, 2).float()
        return ((tensor / 255 - self._mean) / self._std).to(self._dtype)


def encode_texts(card: ModelCard, texts: Sequence[str]) -> tuple[npt.NDArray[np.float64], float]:
    """L2-normalised text vectors [n, d], always in fp32 on the CPU, and the model's own logit scale."""
    import open_clip
    import torch

    model = load_model(card)
    tokens = open_clip.get_tokenizer(card.architecture)(list(texts))
    with torch.inference_mode():
        vectors = torch.nn.functional.normalize(model.encode_text(tokens).double(), dim=-1)
        return vectors.numpy(), float(model.logit_scale.exp())
