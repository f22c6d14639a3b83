"""SAM, MobileSAM and SAM 2: everything in an image, by a grid of points. They have no words and no batches: one image at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from workflow_scripts.autotag.segmenters.base import Found, Segmenter
from workflow_scripts.autotag.segmenters.library import Portion, Setup, named, predictor, readable, replaced, set_up, show, tensors, undrawn
from workflow_scripts.core.step import StepError

QUALITY = 0.88  # masks that the model itself expects to be worse do not count, whatever the setting; Ultralytics' default
GRID = 32  # points along each side that are asked about; Ultralytics' default
POINTS = 64  # of them at a time; likewise


class Sam(Segmenter):
    """A model on its device that is asked about a grid of points.

    The confidence is the quality that the model expects of a mask, in some models a little over 1. Masks count above `conf`, and in any
    case above the library's own limits alone: `QUALITY`, and 0.95 for stability.
    """

    batch = 1
    takes_words = False

    def __init__(self, setup: Setup) -> None:
        """Load a model; its architecture follows from the ending of the file's name.

        Raises:
            StepError: no such ending, or the file holds no such model.
        """
        set_up()
        import torch
        from ultralytics.models.sam.predict import Predictor, SAM2Predictor

        base: Any = SAM2Predictor if setup.backend == "sam2" else Predictor

        class Everything(base):  # type: ignore[misc]
            def _inference_features(self, *args: Any, **options: Any) -> tuple[Any, Any]:
                masks, scores = super()._inference_features(*args, **options)
                return masks, scores.float()  # in half precision they don't fit the boxes, which are not

        self._torch, self.fingerprint = torch, setup.fingerprint
        self._predictor = predictor(Everything, _network(setup.weights, setup.backend), setup)
        self._points = Portion(POINTS, "points")

    def segment(self, images: Sequence[Image.Image], words: Sequence[Sequence[str]]) -> list[list[Found]]:  # noqa: ARG002
        """What is found in each image; see `Segmenter`. When memory does not suffice, fewer points are asked about at a time."""
        found: list[list[Found]] = []
        while len(found) < len(images):
            try:
                found.append(self._one(images[len(found)]))
            except RuntimeError as error:
                self._points.shrink(error)
        return found

    def _one(self, image: Image.Image) -> list[Found]:
        with self._torch.inference_mode():
            inputs = show(self._predictor, image)
            how = {"conf_thres": QUALITY, "points_batch_size": self._points.size, "points_stride": GRID}
            masks, scores, boxes = self._predictor.generate(inputs, **how)
            # The image lies in the left upper corner of the square. The library's boxes name the last pixel, ours end after it.
            gain = min(inputs.shape[2] / image.height, inputs.shape[3] / image.width)
            width, height = (max(round(length * gain), 1) for length in image.size)
            scale = boxes.new_tensor([image.width / width, image.height / height])
            boxes = (boxes + boxes.new_tensor([0, 0, 1, 1])).clamp(max=boxes.new_tensor([width, height] * 2)) * scale.repeat(2)
            areas = (masks[:, :height, :width].sum((1, 2)) * scale.prod()).round().int()
        return [
            Found(tuple(box), score, 0, None, area)
            for box, score, area in zip(boxes.tolist(), scores.tolist(), areas.tolist(), strict=True)
            if area
        ]


def _network(weights: Path, backend: str) -> Any:
    """The network of a file with all of its weights."""
    from ultralytics.models.sam import build

    endings = [ending for ending in build.sam_model_map if _backend(ending) == backend]
    ending = next((each for each in endings if weights.name.endswith(each)), None)
    if ending is None:
        raise StepError(
            f"segmenter.weights: {weights}: the end of a file's name says which {backend} it is; rename it so that it ends in one of "
            f"{', '.join(endings)}"
        )
    with readable(weights, f"weights of {ending}"), named(weights, ending) as path:
        state = tensors(weights)
        # The library reads with `torch_load`, which would run what stands in the file.
        with replaced(build, "torch_load", lambda _: state), undrawn():
            return build.build_sam(path)  # type: ignore[no-untyped-call]


def _backend(ending: str) -> str:
    return "mobile_sam" if ending.startswith("mobile_sam") else "sam2" if ending.startswith("sam2") else "sam"
