"""lora 01: the frames of one video, as JPEG files, or those that were extracted elsewhere."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

from workflow_scripts.core.accounting import Ledger
from workflow_scripts.core.images import DEFAULT_MAX_PIXELS, DecodeError, content_hash, decode, extension
from workflow_scripts.core.models import slug
from workflow_scripts.core.own_files import OwnFiles
from workflow_scripts.core.prefetch import ahead
from workflow_scripts.core.step import log, progress, report_counts, step
from workflow_scripts.lora import tables
from workflow_scripts.lora.frame_source import Moment, VideoError, VideoReader
from workflow_scripts.lora.upright import upright, upright_size
from workflow_scripts.lora.videos import Video, fingerprint, frame_files

FOLDER = "01_source_frames"
ALGORITHM = 1  # bumped by hand when a video's frames come out otherwise
QUALITY = 95  # of JPEG
Row = dict[str, Any]


@dataclass(slots=True)
class _Still:
    """A frame on its way to its file: `data` unless the file stands there already, or why there is none."""

    numbers: range
    key: str = ""
    suffix: str = ".jpg"
    size: tuple[int, int] = (0, 0)
    time: float | None = None
    data: bytes | None = None
    error: str | None = None


class Extraction:
    """The frames of one video on their way to `{root}/01_source_frames/{video_id}/`; what a person changed there stays as it is.

    Attributes:
        about: of the video, complete after the last row.
    """

    def __init__(self, video: Video, root: Path, *, fps: float, limit: int | None, threads: int, max_pixels: int) -> None:
        """Open a video; the rest as of `extract`."""
        self._video = video
        self._root = root
        self._fps = fps
        self._limit = limit
        self._threads = threads
        self._max_pixels = max_pixels
        self._own = OwnFiles(root / FOLDER, slug(video.video_id))
        self._files: list[Path] = []
        self._reader: VideoReader | None = None
        self._failure = ""
        self.about: dict[str, Any] = {"video": video.video_id, "path": video.path, "kind": video.kind}
        self.about |= dict.fromkeys(("codec", "damaged", "duration", "expected", "fps", "rotation"))
        self._open()

    def _open(self) -> None:
        if self._video.kind == "frames":
            self._files = frame_files(self._video.file)[: self._limit]
            self.about["expected"] = len(self._files)
            return
        self.about["fps"] = self._fps
        try:
            self._reader = VideoReader(self._video.file)
        except VideoError as error:
            self._failure = str(error)
            return
        self.about["codec"] = self._reader.codec
        if self._reader.duration is not None:
            expected = floor(self._reader.duration * Fraction(str(self._fps))) + 1
            self.about |= {"duration": float(self._reader.duration), "expected": min(expected, self._limit or expected)}

    def rows(self) -> Iterator[Row]:
        """A row a frame, in order, when its file is there. What earlier runs left in the folder and nobody wants goes at the end."""
        wanted = []
        for still in self._of_video() if self._video.kind == "video" else self._of_folder():
            for n in still.numbers:
                frame_id = f"{self._video.video_id}_frame_{n:06d}"
                name = f"{self._video.video_id}/{frame_id}{still.suffix}"
                row = {"frame_id": frame_id, "video": self._video.video_id, "n": n} | self._placed(name, still)
                wanted += [name] if row["outcome"] == "frame" else []
                yield row
        self._own.close(wanted)

    def _placed(self, name: str, still: _Still) -> Row:
        """See to a frame's file; what its row says of it."""
        if still.error is not None:
            return _failed(still.error)
        path = self._root / FOLDER / name
        sha256, (width, height) = None, still.size
        if self._own.is_theirs(name):
            log.info("%s: was changed by hand, and is taken as it is", path)
            data = path.read_bytes()
            try:
                found = decode(data, max_pixels=self._max_pixels)
            except DecodeError as error:
                return _failed(str(error))
            sha256, width, height = content_hash(data), found.width, found.height
        elif still.data is not None and not self._own.is_current(name, still.key):
            with self._own.write(name, still.key) as partial:
                partial.write_bytes(still.data)
        where = {"path": f"{FOLDER}/{name}", "sha256": sha256 or self._own.sha256(name)}
        return where | {"time": still.time, "width": width, "height": height, "outcome": "frame"}

    def _of_video(self) -> Iterator[_Still]:
        if self._reader is None:
            yield _Still(range(1, 2), error=self._failure)
            return
        identity, n = fingerprint(self._video), 1

        def encoded(moment: Moment) -> _Still:
            return self._encoded(moment, f"v{ALGORITHM} {identity} {moment.pts}")

        for still in ahead(encoded, self._reader.moments(self._fps, self._limit), threads=self._threads, depth=2 * self._threads):
            yield still
            n = still.numbers.stop
        if self._reader.error is not None:
            yield _Still(range(n, n + 1), error=self._reader.error)
        self.about |= {"rotation": self._reader.rotation, "damaged": self._reader.damaged}
        self._reader.close()

    def _encoded(self, moment: Moment, key: str) -> _Still:
        """Runs in a thread: the frame as JPEG, unless its file is there."""
        still = _Still(moment.numbers, key, size=upright_size(moment.frame), time=moment.time)
        video_id = self._video.video_id
        if all(self._own.is_current(f"{video_id}/{video_id}_frame_{n:06d}{still.suffix}", key) for n in moment.numbers):
            return still
        buffer = io.BytesIO()
        # Without subsampling: hair and skin against a background are where it shows.
        upright(moment.frame).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
        still.data = buffer.getvalue()
        return still

    def _of_folder(self) -> Iterator[_Still]:
        return ahead(self._read, enumerate(self._files, 1), threads=self._threads, depth=2 * self._threads)

    def _read(self, numbered: tuple[int, Path]) -> _Still:
        """Runs in a thread: a frame's file as it is, if it can be decoded."""
        n, path = numbered
        numbers = range(n, n + 1)
        try:
            data = path.read_bytes()
            found = decode(data, max_pixels=self._max_pixels)
        except OSError as error:
            return _Still(numbers, error=f"read: {(error.strerror or type(error).__name__).lower()}")
        except DecodeError as error:
            return _Still(numbers, error=str(error))
        return _Still(numbers, content_hash(data), extension(path.name), (found.width, found.height), data=data)


def _failed(reason: str) -> Row:
    return {"outcome": "error", "reason": reason}


def extract(
    video: Video, root: Path, output: Path, *, fps: float, limit: int | None, threads: int, max_pixels: int = DEFAULT_MAX_PIXELS
) -> dict[str, int]:
    """Extract the frames of a video, or copy those that are there, and write the table of them. Gives the counts.

    Args:
        video: one of `videos.find`.
        root: the workspace's results.
        output: the table, of `tables.FRAMES`.
        fps: frames a second of video; of no matter for frames that were extracted elsewhere.
        limit: the first so many frames; None for all.
        threads: for encoding; decoding has its own.
        max_pixels: of frames that were extracted elsewhere.
    """
    work = Extraction(video, root, fps=fps, limit=limit, threads=threads, max_pixels=max_pixels)
    rows = list(progress(work.rows(), total=work.about["expected"] or 0, unit="frames"))
    ledger = Ledger((row["frame_id"] for row in rows), ("frame", "error"))
    for row in rows:
        ledger.add(row["outcome"], [row["frame_id"]])
    counts = ledger.close()
    tables.write(output, tables.FRAMES, rows, work.about | {"extracted": counts["frame"], "errors": counts["error"]})
    return counts


if job := globals().get("snakemake"):
    with step(job.log[0]):
        params = job.params
        video = Video(**{name: params.video[name] for name in ("video_id", "source", "path", "kind")})
        how = {"fps": params.fps, "limit": params.limit, "threads": params.machine["threads"], "max_pixels": params.max_pixels}
        report_counts(**extract(video, Path(params.root), Path(job.output[0]), **how))
