"""Frames to alphas, through the cache: decode ahead in threads, compute what is unknown in batches, finish in threads."""

import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from workflow_scripts.core.images import DecodeError, content_hash, decode
from workflow_scripts.core.models import WeightsCard
from workflow_scripts.core.prefetch import ahead
from workflow_scripts.core.segments import ContentStore
from workflow_scripts.core.step import progress
from workflow_scripts.lora import mask_model
from workflow_scripts.lora.cutout import Bytes, png
from workflow_scripts.lora.mask_session import Floats

Row = dict[str, Any]
Use = Callable[[list[Row], Image.Image, Bytes], None]
_SCHEMA = pa.schema([("sha256", pa.binary(32)), ("alpha", pa.binary())])


class AlphaCache(ContentStore[bytes]):
    """Content sha256 of a frame → its alpha before a person is chosen, a grey PNG; for one fingerprint."""

    def __init__(self, root: str, fingerprint: str) -> None:
        """Open the cache below `root`."""
        super().__init__(Path(root) / "masks" / fingerprint, _SCHEMA)

    def _to_row(self, value: bytes) -> tuple[Any, ...]:
        return (value,)

    def _from_row(self, table: pa.Table, row: int) -> bytes:
        found: bytes = table["alpha"][row].as_py()
        return found


@dataclass(slots=True)
class Frame:
    """One content and the rows that have it.

    Attributes:
        rows: of SORTED.
        error: `stage: text`, or None.
        image: on its way: the frame.
        prepared: what waits for the model.
        output: what waits for rembg's finish.
        alpha: the known or finished one.
        fresh: what the cache is to keep.
    """

    rows: list[Row]
    error: str | None = None
    image: Image.Image | None = None
    prepared: Floats | None = None
    output: Floats | None = None
    alpha: Image.Image | None = None
    fresh: bytes | None = None


class Alphas:
    """Alphas of frames by one model.

    Attributes:
        fingerprint: of the alphas.
        counts: contents whose alpha was `known` and those `computed`.
    """

    def __init__(self, root: Path, card: WeightsCard, machine: dict[str, Any], *, alpha_matting: bool, max_pixels: int) -> None:
        """Open the cache; the model is loaded when an alpha is unknown. Arguments as of `mask.cut_out`."""
        self._root, self._card, self._machine = root, card, machine
        self._alpha_matting, self._max_pixels = alpha_matting, max_pixels
        self.fingerprint = mask_model.fingerprint(card, alpha_matting=alpha_matting)
        self._cache = AlphaCache(machine["cache_root"], self.fingerprint)
        self._model: mask_model.Masker | None = None
        self.counts = Counter(dict.fromkeys(("known", "computed"), 0))

    def find(self, contents: list[list[Row]], use: Use) -> Iterator[Frame]:
        """Find the alphas of frames, and use them.

        Args:
            contents: rows of SORTED, those of one content together.
            use: what to do with the rows, the frame and its alpha [h, w]; called in a thread.

        Yields:
            a frame for each content, when it has been used or has an error.
        """
        if any(self._cache.get(rows[0]["sha256"]) is None for rows in contents):
            how = {"batch": self._machine.get("batch", "auto"), "device": self._machine["device"], "threads": self._machine["threads"]}
            self._model = mask_model.Masker(self._card, **how)
        threads = self._machine["threads"]
        depth = threads + 2 * (self._model.batch if self._model else 1)
        decoded = ahead(self._decode, contents, threads=threads, depth=depth, weight=lambda rows: 4 * rows[0]["width"] * rows[0]["height"])
        finished = ahead(lambda frame: self._finish(frame, use), self._inferred(decoded), threads=threads, depth=depth)
        try:
            for frame in progress(finished, total=len(contents), unit="frames"):
                if frame.fresh is not None:
                    self._cache.add(frame.rows[0]["sha256"], frame.fresh)
                if frame.error is None:
                    self.counts["known" if frame.fresh is None else "computed"] += 1
                yield frame
        finally:
            self._cache.flush()

    def _decode(self, rows: list[Row]) -> Frame:
        """Runs in a decoding thread: a frame with its known alpha, or as the model takes it."""
        frame, sha256 = Frame(rows), rows[0]["sha256"]
        try:
            data = (self._root / rows[0]["path"]).read_bytes()
            if content_hash(data) != sha256:
                frame.error = "read: another content than step 01 listed"
                return frame
            frame.image = decode(data, max_pixels=self._max_pixels).image
        except OSError as error:
            frame.error = f"read: {error.strerror}"
        except DecodeError as error:
            frame.error = str(error)
        else:
            if known := self._cache.get(sha256):
                frame.alpha = Image.open(io.BytesIO(known))
            elif self._model:
                frame.prepared = self._model.prepare(frame.image)
        return frame

    def _inferred(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Frames with the model's output where they need one; those that do not may pass them."""
        waiting: list[Frame] = []
        for frame in frames:
            if frame.prepared is None:
                yield frame
                continue
            waiting.append(frame)
            if self._model and len(waiting) == self._model.batch:
                yield from self._infer(waiting)
                waiting = []
        yield from self._infer(waiting)

    def _infer(self, frames: list[Frame]) -> list[Frame]:
        prepared = [frame.prepared for frame in frames if frame.prepared is not None]
        outputs = self._model.infer(prepared) if self._model and prepared else []
        for frame, output in zip(frames, outputs, strict=True):
            frame.prepared, frame.output = None, output
        return frames

    def _finish(self, frame: Frame, use: Use) -> Frame:
        """Runs in a finishing thread: what is made of the alpha."""
        if frame.image is not None and frame.output is not None and self._model:
            if not np.isfinite(frame.output).all():
                frame.error = "mask: the model gave numbers that are not finite"
            else:
                frame.alpha = self._model.alpha(frame.output, frame.image.size)
                if self._alpha_matting:
                    frame.alpha = mask_model.matted(frame.image, frame.alpha)
                frame.fresh = png(frame.alpha)
        if frame.image is not None and frame.alpha is not None:
            use(frame.rows, frame.image, np.asarray(frame.alpha))
        frame.image = frame.alpha = frame.output = None  # results wait in a queue
        return frame
