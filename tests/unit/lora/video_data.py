"""Small videos whose frames tell their number, for tests."""

from fractions import Fraction

import numpy as np

BITS = 6  # of a frame's number


def picture(number, size=(48, 32)):
    """A grey picture with its number as a row of black and white squares; a white corner at the top left, a black one at the top right."""
    pixels = np.full((size[1], size[0], 3), 128, np.uint8)
    pixels[:8, :8] = 255
    pixels[:8, -8:] = 0
    for bit in range(BITS):
        pixels[16:24, 8 * bit : 8 * bit + 8] = 255 * (number >> bit & 1)
    return pixels


def write_video(
    path, times, *, base=Fraction(1, 1000), size=(48, 32), codec="mpeg4", rotation=None, hflip=False, rate=10, options=None, index=False
):
    """Write a video with a frame for each time, in units of `base`. With `index` at its start it can be read when its end is lost."""
    import av

    with av.open(str(path), "w", options={"movflags": "+faststart"} if index else {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {"qscale": "2", "g": "1"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = base
        if rotation is not None:
            stream.set_display_rotation(rotation, hflip=hflip)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            frame.pts, frame.time_base = time, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def number_of(image):
    """The number of the frame that an upright picture shows."""
    pixels = np.asarray(image.convert("L"))
    return sum(int(pixels[20, 8 * bit + 4] > 128) << bit for bit in range(BITS))
