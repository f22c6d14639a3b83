"""Writes pictures as a video file: the same pictures give the same bytes, with the same build of FFmpeg."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from workflow_scripts.core.step import atomic_output

CODECS = {".mp4": ("libx264", "mpeg4"), ".mov": ("mpeg4",), ".mkv": ("libx264", "mpeg4"), ".webm": ("libvpx", "libvpx-vp9")}
FORMATS = {".mkv": "matroska"}  # where it has another name than the file
# A constant quantiser: what x264 would choose by itself depends on the processor.
OPTIONS = {"libx264": {"preset": "veryfast", "qp": "20"}, "mpeg4": {"qscale": "3"}, "libvpx": {"crf": "8", "b": "2M"}}
# Without marks of the time and the machine; with the index at the start, so that a file which breaks off can be read up to there.
CONTAINER = {"fflags": "+bitexact"}
INDEX_FIRST = {".mp4": {"movflags": "+faststart"}, ".mov": {"movflags": "+faststart"}}
QUARTER = 90  # degrees, anticlockwise, that a phone held upright turns its pictures by


def encoder(suffix: str) -> str:
    """The first of a format's codecs that this build of FFmpeg can write."""
    import av

    return next(name for name in CODECS[suffix] if name in av.codecs_available)


def write_video(path: Path, pictures: Iterable[Image.Image], fps: int, *, sideways: bool = False) -> None:
    """Write a video of pictures of one size.

    Args:
        path: its extension says the format, see `CODECS`.
        pictures: RGB, sides even.
        fps: pictures a second.
        sideways: store them turned by a quarter, with the note that players turn them back.
    """
    import av

    codec, form = encoder(path.suffix), FORMATS.get(path.suffix, path.suffix[1:])
    options = CONTAINER | INDEX_FIRST.get(path.suffix, {})
    with atomic_output(path) as partial, av.open(str(partial), "w", format=form, options=options) as file:
        stream = file.add_stream(codec, rate=fps, options=OPTIONS.get(codec, {}))
        assert isinstance(stream, av.VideoStream)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        if sideways:
            stream.set_display_rotation(-QUARTER)
        for number, picture in enumerate(pictures):
            upright = picture.transpose(Image.Transpose.ROTATE_90) if sideways else picture
            if number == 0:
                stream.width, stream.height = upright.size
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(upright), format="rgb24")
            frame.pts = number
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def break_off(path: Path, share: float) -> None:
    """Leave a part of a file, as when a card was full or a copy was interrupted."""
    data = path.read_bytes()
    path.write_bytes(data[: round(len(data) * share)])
