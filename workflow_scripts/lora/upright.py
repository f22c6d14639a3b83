"""A decoded frame of a video as players show it."""

import struct
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_UNTAGGED, _BT709 = 2, 1  # AVCOL_SPC_UNSPECIFIED, SWS_CS_ITU709
_SD_LINES = 576  # up to here a video that says nothing of its colours is taken for BT.601, above for BT.709, as players do


def upright(frame: "VideoFrame") -> Image.Image:
    """A frame as it is shown: RGB, 8 bit, by the matrix and range that it is tagged with, turned and mirrored. Safe in many threads.

    swscale converts, with chroma interpolated and rounded exactly; its fast path is neither.
    """
    from av.video.reformatter import Interpolation

    guess = _BT709 if frame.colorspace == _UNTAGGED and frame.height > _SD_LINES else None
    exact = Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND
    pixels = frame.reformat(format="rgb24", src_colorspace=guess, interpolation=exact, threads=1).to_ndarray()
    a, b, c, d = _turn(frame)
    if abs(b) > abs(a):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return Image.fromarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def upright_size(frame: "VideoFrame") -> tuple[int, int]:
    """Width and height of `upright`."""
    a, b, *_ = _turn(frame)
    return (frame.height, frame.width) if abs(b) > abs(a) else (frame.width, frame.height)


def _turn(frame: "VideoFrame") -> tuple[int, int, int, int]:
    """a, b, c, d of the display matrix: x' = a x + c y, y' = b x + d y."""
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return 1, 0, 0, 1
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    return a, b, c, d
