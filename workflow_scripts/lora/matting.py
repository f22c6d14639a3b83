"""A cut-out subject over another background.

Colours are mixed as they are encoded (sRGB), not as light: matting models and the estimate of the subject's own colours take pictures
for such mixtures, and so did the training of the networks that gave the mask.
"""

import threading
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import numpy.typing as npt
from PIL import Image

from workflow_scripts.lora.cutout import MARGIN

Floats = npt.NDArray[np.float32]
_one_at_a_time = threading.Lock()


def lay_over(subject: Image.Image, background: Image.Image, *, decontaminate: bool) -> Image.Image:
    """Lay a subject over a background of its size.

    Args:
        subject: RGBA, colours not multiplied with alpha, those of the frame at least `MARGIN` pixels round the subject.
        background: RGB.
        decontaminate: where the mask is soft, estimate the subject's own colours (pymatting's multi-level method, Germer et al. 2020),
            since the frame's are mixed with its old background.

    Returns:
        RGB: the subject's own pixels where the mask is solid, the background's where it is empty.
    """
    alpha = subject.getchannel("A")
    box = alpha.getbbox()
    if box is None:
        return background.copy()
    # What is estimated farther off would not be used.
    left, top, right, bottom = box
    box = max(0, left - MARGIN), max(0, top - MARGIN), min(subject.width, right + MARGIN), min(subject.height, bottom + MARGIN)
    part = subject.crop(box)
    opacity, colours = _unit(part.getchannel("A")), _unit(part.convert("RGB"))
    soft = (opacity > 0) & (opacity < 1)
    if decontaminate and soft.any():
        colours = np.where(soft[..., None], _foreground(colours, opacity), colours)
    behind = _unit(background.crop(box))
    mixed = behind + (colours - behind) * opacity[..., None]
    result = background.copy()
    result.paste(Image.fromarray(np.rint(mixed * 255).clip(0, 255).astype(np.uint8)), box)
    return result


def _unit(image: Image.Image) -> Floats:
    return np.asarray(image, np.float32) / np.float32(255)


def _foreground(colours: Floats, opacity: Floats) -> Floats:
    """The subject's own colours [h, w, 3], 0 to 1."""
    import numba
    from pymatting import estimate_foreground_ml

    numba.set_num_threads(1)  # images run in parallel, not their rows
    with _guard():
        found: Floats = estimate_foreground_ml(colours, opacity)
    return found


def _guard() -> AbstractContextManager[object]:
    """Keeps threads apart where numba found nothing better than its own scheduler, which ends the process when two enter it at once."""
    import numba

    try:
        return _one_at_a_time if numba.threading_layer() == "workqueue" else nullcontext()
    except ValueError:  # nothing ran yet, and what it will find is not known
        return _one_at_a_time
