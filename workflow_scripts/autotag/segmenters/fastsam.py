"""FastSAM: a YOLO that finds everything, many images a forward pass.

prepare (threads) → forward (one thread, batches of one square shape) → boxes and areas

The parts are Ultralytics', put together here: its predictor pads mixed batches otherwise than single images, so that a result depends on
its neighbours, gives up removing overlaps after some seconds, and makes masks of the image's full size, of which only the area is wanted.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from workflow_scripts.autotag.segmenters.base import Found, Segmenter
from workflow_scripts.autotag.segmenters.library import IOU, Portion, Setup, named, readable, set_up
from workflow_scripts.core.step import StepError, log

AUTO_BATCH = {"cpu": 1, "cuda": 24}  # with one, not even the place in a batch moves the last bits; on a CPU more gain little
MAX_FOUND = 300  # of an image; Ultralytics' default
POINTS = 64  # along each side of a box, at which its mask is looked at
WHOLE = 0.9  # a box that overlaps the image more is one of the image; FastSAM's own
_FOR_EVER = 1e9  # seconds


class FastSam(Segmenter):
    """A YOLO segmentation model on its device. Every forward pass has the same number of images, so that a result does not depend on them.

    Boxes within 20 pixels of the image's border begin there, as FastSAM has it. Areas are of the mask within the box as the model gave it,
    measured at 64 x 64 points of the box; things whose mask is at none of them are left out.
    """

    takes_words = False

    def __init__(self, setup: Setup) -> None:
        """Load a model.

        Raises:
            StepError: the file holds no segmentation model of Ultralytics.
        """
        yolo = _load(setup.weights)
        import torch
        from ultralytics.data.augment import LetterBox

        if setup.device == "cpu":
            torch.set_num_threads(setup.threads)  # Ultralytics, when imported, leaves one
        self._torch, self._device, self._conf = torch, torch.device(setup.device), setup.conf
        self._dtype = torch.float16 if setup.half else torch.float32
        yolo.model.end2end = False  # by default Ultralytics removes overlaps itself, where a model leaves it to it
        self._net = yolo.model.fuse(verbose=False).eval().to(self._device, self._dtype)
        self._names: dict[int, str] = yolo.names
        self._side = setup.side(max(int(self._net.stride.max()), 32))
        self._letterbox = LetterBox((self._side, self._side))
        self._pool = ThreadPoolExecutor(setup.threads)
        self._portion = Portion(AUTO_BATCH[setup.device] if setup.batch == "auto" else int(setup.batch), "images")
        self.batch, self.fingerprint = self._portion.size, setup.fingerprint
        log.info("segmenter: fastsam, %s, %s, %d pixels, %d a forward pass", setup.weights.name, setup.device, self._side, self.batch)

    def segment(self, images: Sequence[Image.Image], words: Sequence[Sequence[str]]) -> list[list[Found]]:  # noqa: ARG002
        """What is found in each image; see `Segmenter`. When memory does not suffice, the batch is halved for the rest of the job."""
        squares = list(self._pool.map(self._square, images))
        found: list[list[Found]] = []
        while len(found) < len(images):
            part = slice(len(found), len(found) + self._portion.size)
            try:
                found += self._forward(squares[part], [image.size for image in images[part]])
            except RuntimeError as error:
                self._portion.shrink(error)
                self.batch = self._portion.size
        return found

    def _square(self, image: Image.Image) -> Any:
        return self._letterbox(image=np.asarray(image))

    def _forward(self, squares: Sequence[npt.NDArray[np.uint8]], sizes: Sequence[tuple[int, int]]) -> list[list[Found]]:
        import torchvision  # noqa: F401 - Ultralytics takes its routine, on any device, if it is there
        from ultralytics.utils import nms

        padded = np.zeros((self._portion.size, self._side, self._side, 3), np.uint8)
        padded[: len(squares)] = squares
        with self._torch.inference_mode():
            inputs = self._torch.from_numpy(padded).to(self._device).permute(0, 3, 1, 2).contiguous().to(self._dtype).div_(255)
            values, protos = self._net(inputs)[0]
            limits = {"max_det": MAX_FOUND, "nc": len(self._names), "end2end": self._net.end2end, "max_time_img": _FOR_EVER}
            rows = nms.non_max_suppression(values[: len(sizes)].float(), self._conf, IOU, **limits)
            return [self._found(*each) for each in zip(rows, protos.float(), sizes, strict=False)]

    def _found(self, rows: Any, protos: Any, size: tuple[int, int]) -> list[Found]:
        """Rows [n, 6 + c] of box, confidence, class and mask coefficients, and the masks' parts [c, h, w], as what was found."""
        left, top, width, height = frame(size, self._side)
        low = rows.new_tensor([left, top] * 2)
        boxes = rows[:, :4].clamp(low, low + rows.new_tensor([width, height] * 2))
        shares = mask_shares(rows[:, 6:], protos, boxes / self._side)
        boxes = (boxes - low) * rows.new_tensor([size[0] / width, size[1] / height] * 2)
        areas = (shares * (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)).round().int().tolist()
        boxes = snapped(boxes, size).tolist()
        return [
            Found(tuple(box), confidence, int(number), self._names[int(number)] if len(self._names) > 1 else None, area)
            for box, (confidence, number), area in zip(boxes, rows[:, 4:6].tolist(), areas, strict=True)
            if area
        ]


def frame(size: tuple[int, int], side: int) -> tuple[int, int, int, int]:
    """Where an image lies in the square that the model sees: left, top, width and height in pixels, as Ultralytics' LetterBox has it."""
    gain = min(side / size[0], side / size[1])
    width, height = (max(round(length * gain), 1) for length in size)
    return round((side - width) / 2 - 0.1), round((side - height) / 2 - 0.1), width, height


def mask_shares(coefficients: Any, protos: Any, boxes: Any) -> Any:
    """Which part of its box each mask covers, by a grid of points in the box: [n].

    Args:
        coefficients: [n, c], of the masks' parts.
        protos: [c, h, w], those parts; a mask is where their sum is above 0.
        boxes: [n, 4], as parts of the square that the model sees.
    """
    import torch

    masks = (coefficients @ protos.flatten(1)).unflatten(1, protos.shape[1:])
    at = (torch.arange(POINTS, device=boxes.device, dtype=boxes.dtype) + 0.5) / POINTS
    across, down = (boxes[:, axis, None] + at * (boxes[:, axis + 2] - boxes[:, axis])[:, None] for axis in (0, 1))
    grid = torch.stack([across[:, None].expand(-1, POINTS, -1), down[:, :, None].expand(-1, -1, POINTS)], dim=-1)
    values = torch.nn.functional.grid_sample(masks[:, None], grid * 2 - 1, padding_mode="border", align_corners=False)
    return (values > 0).to(boxes.dtype).mean((1, 2, 3))


def snapped(boxes: Any, size: tuple[int, int]) -> Any:
    """Boxes as FastSAM's predictor gives them: those near a border begin there, and those of nearly all of the image are the image."""
    from ultralytics.models.fastsam.utils import adjust_bboxes_to_image_border
    from ultralytics.utils.metrics import box_iou

    whole = boxes.new_tensor([0, 0, *size])
    boxes = adjust_bboxes_to_image_border(boxes, size[::-1])  # type: ignore[no-untyped-call]
    boxes[box_iou(whole[None], boxes)[0] > WHOLE] = whole
    return boxes


def _load(weights: Path) -> Any:
    """The YOLO of a file, after a check that it segments."""
    set_up()
    from ultralytics.models import YOLO

    with named(weights, "weights.pt") as path, readable(weights, "weights of a YOLO of Ultralytics, such as FastSAM-x.pt"):
        yolo = YOLO(path)
    if yolo.task != "segment":
        raise StepError(f"segmenter.weights: {weights}: a model of task {yolo.task}; fastsam needs one that segments, such as FastSAM-x.pt")
    return yolo
