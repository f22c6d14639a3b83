"""A video read from front to end: which decoded frame stands for which moment."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_THREADS = 4  # of the decoder, whatever the machine has: where a broken video ends, and what is said of it, depends on their number
_SHORTFALL = 1  # seconds that may lack at the end: sound may last longer, and durations are rounded
_LONGEST_GAP = 3600  # seconds without a frame, above which times are not believed: one frame would stand for thousands of moments


class VideoError(Exception):
    """A video cannot be read, or no further; the text is `decode: <reason>`, without its path."""

    def __str__(self) -> str:
        """Put the stage first."""
        return f"decode: {self.args[0]}"


@dataclass(frozen=True, slots=True)
class Moment:
    """A decoded frame, and the moments that it stands for.

    Attributes:
        numbers: n of these moments, from 1; more than one where no other frame was shown in between.
        time: in seconds from the first frame.
        pts: as the file has it; it tells the frame from all others of the video.
        frame: as decoded.
    """

    numbers: range
    time: float
    pts: int
    frame: "VideoFrame"


class VideoReader:
    """A video's first picture stream. FFmpeg decodes it in threads of its own.

    Attributes:
        duration: in seconds, as the file says; None where it does not.
        codec: its name.
        rotation: degrees counterclockwise by which decoded frames are turned; known once one was read.
        damaged: frames so far that were decoded with errors, and do not count: what they show is partly made up.
        error: `decode: <reason>` where the video breaks off; known after the last of `moments`.
    """

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            VideoError: it cannot be opened, or has no pictures that move.
        """
        import av

        self._av = av
        try:
            # The content decides the format: with a prefix no name is taken for an address, nor may a playlist lead to one.
            self._container: InputContainer = av.open(f"file:{path}", container_options={"protocol_whitelist": "file"})
        except av.error.FFmpegError as error:
            raise VideoError(_text(error)) from error
        found: Any = self._container.streams.best("video")
        if found is None or found.disposition & av.stream.Disposition.attached_pic:
            self.close()
            raise VideoError("no video stream")
        self._stream: VideoStream = found
        self._stream.codec_context.thread_type = "AUTO"
        self._stream.codec_context.thread_count = _THREADS
        self.codec = self._stream.codec_context.name
        self.duration = self._duration()
        self.rotation = 0
        self.damaged = 0
        self.error: str | None = None

    def _duration(self) -> Fraction | None:
        stream = self._stream
        if stream.duration is not None and stream.time_base is not None:
            return stream.duration * stream.time_base
        # Matroska counts from 0, not from the first frame, and says it of a stream in words; of the whole file it includes the sound.
        start = (stream.start_time or 0) * (stream.time_base or 0)
        if said := re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", "")):
            return (int(said[1]) * 60 + int(said[2])) * 60 + Fraction(said[3]) - start
        return None if self._container.duration is None else Fraction(self._container.duration, self._av.time_base) - start

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def moments(self, fps: float, limit: int | None = None) -> Iterator[Moment]:
        """The frames for the moments (n - 1) / fps, n = 1, 2, …: for each the first decoded frame that is not before it.

        Args:
            fps: moments a second.
            limit: the last n; None for all.

        Where the video breaks off they end, and `error` says why.
        """
        try:
            yield from self._moments(fps, limit)
        except VideoError as error:
            self.error = str(error)

    def _moments(self, fps: float, limit: int | None) -> Iterator[Moment]:
        interval, n = 1 / Fraction(str(fps)), 1
        start: Fraction | None = None
        end = Fraction(0)
        for pts, frame in self._decoded():
            if frame.is_corrupt:
                self.damaged += 1
                continue
            base = frame.time_base or self._stream.time_base or Fraction(1)
            start = pts * base if start is None else start
            time = pts * base - start
            if time - end > _LONGEST_GAP:
                raise VideoError(f"the times jump from {float(end):.1f} to {float(time):.1f} seconds")
            end = time + (frame.duration or 0) * base
            self.rotation = self.rotation or frame.rotation
            due = int(time / interval) + 1 if time >= (n - 1) * interval else n - 1
            last = due if limit is None else min(due, limit)
            if last >= n:
                yield Moment(range(n, last + 1), float(time), pts, frame)
                n = last + 1
            if n - 1 == limit:
                return
        if start is None:
            raise VideoError("no frame")
        if self.duration is not None and self.duration - end > max(Fraction(_SHORTFALL), 2 * interval):
            raise VideoError(f"the video ends after {float(end):.1f} of {float(self.duration):.1f} seconds")

    def _decoded(self) -> Iterator[tuple[int, "VideoFrame"]]:
        """All frames in the order of presentation, with their times; where the file has none, one after the other."""
        pts = -1
        for frame in self._until_break():
            found = frame.pts if frame.pts is not None else frame.dts
            pts = found if found is not None else pts + self._usual_duration(frame)
            yield pts, frame

    def _usual_duration(self, frame: "VideoFrame") -> int:
        base, rate = frame.time_base or self._stream.time_base, self._stream.average_rate
        return max(1, round(1 / (rate * base))) if base and rate else 1

    def _until_break(self) -> Iterator["VideoFrame"]:
        for packet in self._packets():
            try:
                frames = self._stream.decode(packet)
            except self._av.error.FFmpegError as error:
                raise VideoError(_text(error)) from error
            yield from frames

    def _packets(self) -> Iterator["Packet[VideoStream] | None"]:
        try:
            yield from self._container.demux(self._stream)
        except self._av.error.FFmpegError as error:
            yield None  # what the decoder still holds was shown before the break
            raise VideoError(_text(error)) from error


def _text(error: Exception) -> str:
    """What FFmpeg says, without the path."""
    text = getattr(error, "strerror", None) or type(error).__name__
    return text[0].lower() + text[1:]
