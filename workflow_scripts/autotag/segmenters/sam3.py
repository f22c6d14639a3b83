"""SAM 3: what words name. One image at a time; its features are computed once, and each word asks them.

The predictor's own way from words to boxes is not taken: it encodes the words anew when they change, holds the masks of all of them at
once, and keeps words apart, when it removes overlaps, by an offset in which boxes of many words lose their digits.
"""

import sys
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image

from workflow_scripts.autotag.segmenters.base import Found, Segmenter
from workflow_scripts.autotag.segmenters.library import IOU, Portion, Setup, predictor, readable, replaced, set_up, show, tensors, undrawn
from workflow_scripts.core.step import StepError

WORDS = {"cpu": 1, "cuda": 16}  # asked at a time: each takes the memory of 200 masks
REMEMBERED = 4096  # words whose embeddings are kept, 32 kB each
MASK_SIDE = 1152  # pixels; masks of larger images are measured at this size and scaled
# Weights that no word ever asks; files of SAM 3.1 and fine-tuned ones leave some of them out.
UNUSED = (
    "backbone.language_backbone.encoder.text_projection",
    "backbone.vision_backbone.convs.3.",
    "backbone.vision_backbone.sam2_convs.",
    "geometry_encoder.",
)


class Sam3(Segmenter):
    """A model on its device that is asked in words. A word's class is its place among the words of the image.

    Words that are empty, or the same as an earlier one but for case and spaces, are not asked.
    """

    batch = 1
    takes_words = True

    def __init__(self, setup: Setup) -> None:
        """Load a model.

        Raises:
            StepError: the file does not hold all weights of SAM 3.
        """
        set_up()
        import torch
        from ultralytics.models.sam.predict import SAM3SemanticPredictor

        network = _network(setup.weights)
        network.backbone.vision_backbone.sam2_convs = None  # features for clicks, computed for every image otherwise
        self._torch, self._conf, self.fingerprint = torch, setup.conf, setup.fingerprint
        self._predictor = predictor(SAM3SemanticPredictor, network, setup)
        self._net = self._predictor.model
        self._portion = Portion(WORDS[setup.device], "words")
        self._embeddings: OrderedDict[str, tuple[Any, Any]] = OrderedDict()

    def segment(self, images: Sequence[Image.Image], words: Sequence[Sequence[str]]) -> list[list[Found]]:
        """What is found in each image; see `Segmenter`. When memory does not suffice, fewer words are asked at a time."""
        with self._torch.inference_mode():
            return [self._one(image, asked) for image, asked in zip(images, words, strict=True)]

    def _one(self, image: Image.Image, words: Sequence[str]) -> list[Found]:
        asked = list(distinct(words).items())
        if not asked:
            return []
        features = self._predictor.get_im_features(show(self._predictor, image))
        found: list[Found] = []
        done = 0
        while done < len(asked):
            part = asked[done : done + self._portion.size]
            try:
                rows = self._ask(features, [text for text, _ in part], image.size)
            except RuntimeError as error:
                self._portion.shrink(error)
                continue
            for box, score, which, area in rows:
                number = part[which][1]
                found.append(Found(box, score, number, words[number], area))
            done += len(part)
        return found

    def _ask(self, features: Any, texts: Sequence[str], size: tuple[int, int]) -> list[tuple[Any, float, int, int]]:
        """Boxes, scores, places in `texts` and mask areas of what they name."""
        import torchvision

        embeddings = [self._embed(text) for text in texts]
        self._net.text_embeddings = {
            "language_features": self._torch.cat([each for each, _ in embeddings], dim=1),
            "language_mask": self._torch.cat([each for _, each in embeddings]),
        }
        numbers = self._torch.arange(len(texts), device=self._predictor.device)
        out = self._net.forward_grounding(features, numbers)
        scores = (out["pred_logits"].float().sigmoid() * out["presence_logit_dec"].float().sigmoid()[:, None])[..., 0]
        sure = scores > self._conf
        which = numbers[:, None].expand_as(scores)[sure]
        middles, halves = out["pred_boxes"][sure].float().split(2, dim=1)
        boxes, scores = self._torch.cat([middles - halves / 2, middles + halves / 2], dim=1), scores[sure]
        kept = torchvision.ops.batched_nms(boxes, scores, which, IOU)
        boxes = boxes[kept] * boxes.new_tensor([*size, *size])
        areas = self._areas(out["pred_masks"][sure][kept], size)
        return list(zip(map(tuple, boxes.tolist()), scores[kept].tolist(), which[kept].tolist(), areas, strict=True))

    def _areas(self, masks: Any, size: tuple[int, int]) -> list[int]:
        """Pixels of the image that each of the masks [n, h, w] covers; these are of the whole image, whatever its shape."""
        width, height = (min(length, MASK_SIDE) for length in size)
        scale = size[0] * size[1] / (width * height)
        areas = []
        for mask in masks:
            large = self._torch.nn.functional.interpolate(mask.float()[None, None], (height, width), mode="bilinear")
            areas.append(round(int((large > 0).sum()) * scale))
        return areas

    def _embed(self, text: str) -> tuple[Any, Any]:
        """A word's embedding [tokens, 1, d] and its mask [1, tokens]; each is computed alone: others would move its last bits."""
        if text in self._embeddings:
            self._embeddings.move_to_end(text)
        else:
            made = self._net.backbone.forward_text([text])
            self._embeddings[text] = made["language_features"], made["language_mask"]
            if len(self._embeddings) > REMEMBERED:
                self._embeddings.popitem(last=False)
        return self._embeddings[text]


def distinct(words: Sequence[str]) -> dict[str, int]:
    """The words as the tokenizer sees them, each with its first place."""
    found: dict[str, int] = {}
    for number, word in enumerate(words):
        text = " ".join(word.split()).lower()
        if text:
            found.setdefault(text, number)
    return found


def _network(weights: Path) -> Any:
    """The network of a file, after a check that every weight which words ask is in it: the library takes any file for a model."""
    import open_clip.tokenizer
    from ultralytics.models.sam import build_sam3

    library_load = build_sam3._load_checkpoint

    class Taken:
        def load_state_dict(self, state: dict[str, Any], strict: bool) -> None:  # noqa: ARG002
            self.state = state

    def load(network: Any, path: str) -> Any:
        taken = library_load(Taken(), path)  # type: ignore[no-untyped-call]  # gives the file's names as the network has them
        missing, _ = network.load_state_dict(taken.state, strict=False, assign=True)
        if needed := [name for name in missing if not name.startswith(UNUSED)]:
            raise StepError(
                f"segmenter.weights: {weights}: {len(needed)} weights of SAM 3 are not in it ({', '.join(needed[:3])}, ...); what is "
                "needed is sam3.pt as its makers hand it out, with names that begin with detector."
            )
        return network

    with readable(weights, "weights of SAM 3"):
        state = tensors(weights)
        reads = replaced(build_sam3, "torch_load", lambda _: state), replaced(build_sam3, "_load_checkpoint", load)
        with reads[0], reads[1], _clip(open_clip.tokenizer), undrawn():
            return build_sam3.build_sam3_image_model(str(weights))


@contextmanager
def _clip(tokenizer: ModuleType) -> Iterator[None]:
    """Let `import clip` give a module with this tokenizer, and afterwards what it gave before."""
    module = ModuleType("clip")
    module.simple_tokenizer = tokenizer  # type: ignore[attr-defined]
    before = sys.modules.get("clip")
    sys.modules["clip"] = module
    try:
        yield
    finally:
        if before is None:
            del sys.modules["clip"]
        else:
            sys.modules["clip"] = before
