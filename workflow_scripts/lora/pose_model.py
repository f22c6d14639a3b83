"""People and their keypoints in pictures, by a pose model of Ultralytics YOLO.

prepare (any thread) → find (one thread, batches of one shape)

The parts are Ultralytics', put together here: its predictor pads mixed batches otherwise than single pictures, so that a result depends
on its neighbours, and gives up removing overlaps after some seconds, so that people get lost on a busy machine.
"""

import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workflow_scripts.core.clip import resolve_device
from workflow_scripts.core.embeddings import digest
from workflow_scripts.core.images import DECODE_VERSION
from workflow_scripts.core.step import StepError, log
from workflow_scripts.lora.categories import Person
from workflow_scripts.lora.tables import KEYPOINTS

ALGORITHM = 1  # bumped by hand when what is found changes
CONFIDENCE = 0.05  # of a box, at least
IOU = 0.7  # two boxes that overlap more are one person; Ultralytics' default
MAX_PEOPLE = 300
SIDE = 640  # pixels of the longer side that the model sees, unless its weights say otherwise
AUTO_BATCH = {"cpu": 1, "cuda": 32}  # on a CPU more gain nothing, and the place in a batch moves the last bits
_SHAPE = [KEYPOINTS, 3]
_FOR_EVER = 1e9  # seconds
_ENVIRONMENT = {
    "ULTRALYTICS_SKIP_REQUIREMENTS_CHECKS": "1",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_OFFLINE": "1",
    "YOLO_VERBOSE": "false",
}
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture as the model takes it.

    Attributes:
        pixels: RGB [h, w, 3], shrunk and padded to multiples of the model's stride.
        size: width and height of the picture.
    """

    pixels: Pixels
    size: tuple[int, int]


def precision(device: str) -> str:
    """Half on a GPU, full on a CPU, for a device as `resolve_device` gives it."""
    return "fp16" if device == "cuda" else "fp32"


def fingerprint(sha256: str, precision: str) -> str:
    """What people depend on beside the picture, in 16 hex digits; the size that the model sees stands in its weights."""
    parts = {"algorithm": ALGORITHM, "confidence": CONFIDENCE, "decode": DECODE_VERSION, "iou": IOU, "max_people": MAX_PEOPLE}
    return digest(parts | {"precision": precision, "side": SIDE, "weights": sha256})


class PoseModel:
    """A model on its device. Every forward pass has the same number of pictures, so that a result does not depend on its neighbours.

    Its place among them moves the last bits: only with one picture a forward pass nothing does.

    Attributes:
        batch: pictures a forward pass.
    """

    def __init__(self, weights: Path, *, device: str = "auto", threads: int = 1, batch: int | str = "auto") -> None:
        """Load a model.

        Args:
            weights: an Ultralytics .pt file with the 17 keypoints of COCO.
            device: `auto`, `cpu` or `cuda`.
            threads: of the CPU.
            batch: pictures a forward pass, or `auto`.

        Raises:
            StepError: the file is missing or no such model; or there is no such device.
        """
        if not weights.is_file():
            raise StepError(f"pose.weights: {weights}: no such file")
        found, _ = resolve_device(device)
        yolo = _load(weights)
        import torch
        from ultralytics.data.augment import LetterBox
        from ultralytics.utils.checks import check_imgsz

        if found == "cpu":
            torch.set_num_threads(threads)  # Ultralytics, when imported, leaves one
        self._torch = torch
        self._device = torch.device(found)
        self._dtype = torch.float16 if precision(found) == "fp16" else torch.float32
        self._net = yolo.model.fuse(verbose=False).eval().to(self._device, self._dtype)
        stride = max(int(self._net.stride.max()), 32)
        side = check_imgsz(yolo.overrides.get("imgsz", SIDE), stride=stride, min_dim=2)  # type: ignore[no-untyped-call]
        self._letterbox = LetterBox(side, auto=True, stride=stride)
        self.batch = AUTO_BATCH[found] if batch == "auto" else int(batch)
        log.info("pose: %s, %s, %s pixels, %d a forward pass", weights.name, found, side[0], self.batch)

    def prepare(self, pixels: Pixels) -> Prepared:
        """What the model takes for RGB pixels [h, w, 3]."""
        return Prepared(self._letterbox(image=pixels), (pixels.shape[1], pixels.shape[0]))  # type: ignore[arg-type]

    def find(self, pictures: Sequence[Prepared]) -> list[list[Person]]:
        """The people in pictures whose prepared pixels have one shape, largest box first.

        Of boxes of one size the one nearest to the centre comes first, then the surer one. When memory does not suffice, the batch is
        halved for the rest of the job.
        """
        people: list[list[Person]] = []
        while len(people) < len(pictures):
            part = pictures[len(people) : len(people) + self.batch]
            try:
                people += self._forward(part)
            except RuntimeError as error:
                self._shrink(error)
        return people

    def _forward(self, pictures: Sequence[Prepared]) -> list[list[Person]]:
        import torchvision  # noqa: F401 - Ultralytics takes its routine, on any device, if it is there
        from ultralytics.utils import nms

        padded = np.zeros((self.batch, *pictures[0].pixels.shape), np.uint8)
        for place, picture in enumerate(pictures):
            padded[place] = picture.pixels
        with self._torch.inference_mode():
            inputs = self._torch.from_numpy(padded).to(self._device).permute(0, 3, 1, 2).contiguous().to(self._dtype).div_(255)
            outputs = self._net(inputs)
            values = (outputs[0] if isinstance(outputs, tuple) else outputs)[: len(pictures)].float()
            limits = {"max_det": MAX_PEOPLE, "nc": 1, "end2end": self._net.end2end, "max_time_img": _FOR_EVER}
            found = nms.non_max_suppression(values, CONFIDENCE, IOU, **limits)
            return [
                _people(rows.cpu(), (padded.shape[1], padded.shape[2]), picture.size) for rows, picture in zip(found, pictures, strict=True)
            ]

    def _shrink(self, error: RuntimeError) -> None:
        # The GPU has an exception of its own; the CPU allocator tells by its text alone.
        if not isinstance(error, self._torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise error
        if self.batch == 1:
            raise StepError("out of memory with a single frame: use a smaller pose model or another device") from error
        self.batch //= 2
        if self._device.type == "cuda":
            self._torch.cuda.empty_cache()
        log.warning("out of memory: %d frames a forward pass for the rest of this job", self.batch)


def _load(weights: Path) -> Any:
    """The YOLO of a file, after a check that it finds people with the keypoints of COCO."""
    os.environ.update(_ENVIRONMENT)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["YOLO_CONFIG_DIR"] = folder  # it writes its settings on import
        from ultralytics.models import YOLO
        from ultralytics.nn import tasks

        tasks.SAFE_LOAD = True  # type: ignore[attr-defined]  # weights are data: nothing in them runs
        try:
            if weights.suffix != ".pt":
                raise TypeError("its name does not end in .pt")
            yolo = YOLO(str(weights))
        except (TypeError, RuntimeError, KeyError, AttributeError, ValueError, ImportError, OSError) as error:
            text = str(error).strip().splitlines() or [type(error).__name__]
            raise StepError(f"pose.weights: {weights}: no weights of Ultralytics: {text[0]}") from error
    shape = list(getattr(yolo.model, "kpt_shape", ()))
    if yolo.task != "pose" or shape != _SHAPE or len(yolo.names) != 1:
        found = f"a model of task {yolo.task}, {len(yolo.names)} classes, keypoints {shape or 'none'}"
        wanted = f"a pose model of people with {KEYPOINTS} keypoints of x, y and confidence, such as yolov8l-pose.pt"
        raise StepError(f"pose.weights: {weights}: {found}; what is needed is {wanted}")
    return yolo


def _people(rows: Any, shape: tuple[int, ...], size: tuple[int, int]) -> list[Person]:
    """Rows of box, confidence, class and keypoints in pixels that the model saw, as people in pixels of the picture."""
    from ultralytics.utils import ops

    boxes = ops.scale_boxes((shape[0], shape[1]), rows[:, :4].clone(), size[::-1]).tolist()
    keypoints = ops.scale_coords(shape, rows[:, 6:].reshape(-1, *_SHAPE).clone(), size[::-1]).flatten(1).tolist()
    people = [
        Person(box=box, confidence=confidence, keypoints=points)
        for box, confidence, points in zip(boxes, rows[:, 4].tolist(), keypoints, strict=True)
    ]

    def order(person: Person) -> tuple[float, float, float]:
        x1, y1, x2, y2 = person["box"]
        off_centre = math.hypot((x1 + x2 - size[0]) / 2, (y1 + y2 - size[1]) / 2)
        return -(x2 - x1) * (y2 - y1), off_centre, -person["confidence"]

    return sorted(people, key=order)
