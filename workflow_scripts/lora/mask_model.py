"""Segmentation models as rembg knows them, its preparation and finish kept and its forward pass batched.

prepare (any thread) → infer (one thread, batches of one shape) → alpha (any thread)
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from workflow_scripts.core.embeddings import digest
from workflow_scripts.core.images import DECODE_VERSION
from workflow_scripts.core.models import WeightsCard
from workflow_scripts.core.step import StepError, log
from workflow_scripts.lora.mask_session import CUDA, Floats, Output, PassOn, open_session

ALGORITHM = 1  # bumped by hand when alphas change
AUTO_BATCH = {"cpu": 1, "cuda": 8}  # on a CPU a batch gains nothing, and padding it costs
# What runs here and gives one mask. Left out: what sends pictures away (atlascloud, withoutbg), asks for points (sam) or gives
# three masks (u2net_cloth_seg).
NAMES = (
    "birefnet-cod",
    "birefnet-dis",
    "birefnet-general",
    "birefnet-general-lite",
    "birefnet-hrsod",
    "birefnet-massive",
    "birefnet-portrait",
    "bria-rmbg",
    "isnet-anime",
    "isnet-general-use",
    "silueta",
    "u2net",
    "u2net_human_seg",
    "u2netp",
)
CUSTOM = "u2net_custom"
CERTAIN = (10, 240)  # alpha below which a pixel is background, and above which it is the subject's; rembg's thresholds for matting
CERTAIN_MARGIN = 10  # pixels across the square by which both are eroded; rembg's too


def kind(model: str) -> str:
    """The rembg session that runs a model: its name, or for the path of an ONNX file that file's name.

    A file of a name that rembg does not know is run as a U2-Net of 320 x 320 pixels.

    Raises:
        StepError: neither a path nor a model that can be used here.
    """
    if "/" in model or model.endswith(".onnx"):
        name = Path(model).stem
        return name if name in NAMES else CUSTOM
    if model not in NAMES:
        raise StepError(f"mask.model: {model!r} cannot be used here; take the path of an ONNX file or one of {', '.join(NAMES)}")
    return model


def fingerprint(card: WeightsCard, *, alpha_matting: bool) -> str:
    """What an alpha depends on beside the frame, in 16 hex digits.

    The device stays out: without TF32 a GPU's alphas differ from a CPU's by rounding alone.
    """
    parts = {"algorithm": ALGORITHM, "alpha_matting": alpha_matting, "decode": DECODE_VERSION}
    return digest(parts | {"kind": kind(card.name), "weights": card.sha256})


class Masker:
    """A model on its device. Every forward pass has the same shape, so that an alpha does not depend on its neighbours.

    Attributes:
        batch: pictures a forward pass.
    """

    def __init__(self, card: WeightsCard, *, device: str, threads: int, batch: int | str = "auto") -> None:
        """Load a model.

        Args:
            card: of the model.
            device: `auto`, `cpu` or `cuda`.
            threads: of the CPU.
            batch: pictures a forward pass, or `auto`; a model with a fixed batch has its own.

        Raises:
            StepError: the file is missing, another one or not such a model; or there is no such device.
        """
        card.verify()
        name = kind(card.name)
        self._session = open_session(Path(card.weights), name, device, threads)
        self._onnx, self._session.inner_session = self._session.inner_session, PassOn(self._session.inner_session)
        self.alpha(np.zeros((1, 1, 2, 2), np.float32), (1, 1))  # notes how this kind normalises
        self._input, self._first_output = self._onnx.get_inputs()[0], self._onnx.get_outputs()[0].name
        used = "cuda" if CUDA in self._onnx.get_providers() else "cpu"
        fixed, *sides = self._input.shape[:1] + self._input.shape[2:]
        self.batch = fixed if isinstance(fixed, int) else AUTO_BATCH[used] if batch == "auto" else int(batch)
        width, height = self._session.how[-1]
        if any(isinstance(side, int) and side != wanted for side, wanted in zip(sides, (height, width), strict=True)):
            raise StepError(
                f"mask.model: {card.weights}: takes {sides[0]} x {sides[1]} pixels, {name} gives it {height} x {width}; "
                f"call the file by the rembg model that it is, such as isnet-general-use.onnx"
            )
        log.info("masks: %s, %s, %d a forward pass", name, used, self.batch)

    def prepare(self, image: Image.Image) -> Floats:
        """What the model takes for an RGB picture: [3, h, w]."""
        feed = self._session.normalize(image, *self._session.how)
        prepared: Floats = feed[self._input.name][0]
        return prepared

    def infer(self, prepared: Sequence[Floats]) -> list[Floats]:
        """What the model gives for at most `batch` pictures, [1, c, h, w] each."""
        padded = np.zeros((self.batch, *prepared[0].shape), np.float32)
        padded[: len(prepared)] = prepared
        (values,) = self._onnx.run([self._first_output], {self._input.name: padded})
        return [values[number : number + 1] for number in range(len(prepared))]

    def alpha(self, values: Floats, size: tuple[int, int]) -> Image.Image:
        """The mask of a picture of this size, 8 bit: the output between its least and its greatest value, as rembg has it."""
        if values.min() == values.max():  # nothing to divide by: the model sees no subject
            values = np.zeros_like(values)
        with np.errstate(invalid="ignore"):
            mask: Image.Image = self._session.predict(Output(values, size))[0]
        return mask


def matted(image: Image.Image, mask: Image.Image) -> Image.Image:
    """A mask with its edge refined by closed-form matting (Levin et al. 2008), between what rembg takes for certain.

    rembg's own function estimates the subject's colours too, which a later step does, and in threads of numba's that bear no others
    beside them. Where nothing is certain, or the solver finds no end, the mask is given as it was.
    """
    import cv2
    from pymatting import estimate_alpha_cf

    given = np.asarray(mask)
    square = np.ones((CERTAIN_MARGIN, CERTAIN_MARGIN), np.uint8)
    # The outside of the frame counts as unknown for the subject and as background for the background.
    subject, background = (
        cv2.erode(certain.astype(np.uint8), square, borderType=cv2.BORDER_CONSTANT, borderValue=outside) > 0
        for certain, outside in ((given > CERTAIN[1], 0), (given < CERTAIN[0], 1))
    )
    trimap = np.where(subject, 1.0, np.where(background, 0.0, 0.5))
    try:
        alpha = estimate_alpha_cf(np.asarray(image) / 255.0, trimap)
    except ValueError:
        return mask
    return Image.fromarray(np.clip(alpha * 255, 0, 255).astype(np.uint8))
