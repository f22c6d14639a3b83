"""What a tiny CLIP learns: captions, prompts, people scores and looks, all at the scale real CLIP ends with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflow_scripts.demo.tiny_clip import prompts

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Real CLIP models end with a logit scale of 100; trained at it, scores are as sharp as users know them.
SCALE = 100.0
LOOKS_SCALE = 20.0
SMOOTHING = 0.06


class Objective:
    """Loss of one batch: the sum of what captions, fixed prompts, people scores and shared looks ask for.

    Args:
        tokenizer: turns texts into token rows.
    """

    def __init__(self, tokenizer: object) -> None:
        self.groups = {
            "person": prompts.PERSON,
            "other": prompts.OTHER,
            "who": prompts.WHO_TEXTS,
            "kind": prompts.KIND_TEXTS,
            "colour": prompts.COLOUR_TEXTS,
            "background": prompts.BACKGROUND_TEXTS,
        }
        texts = [text for group in self.groups.values() for text in group]
        self.tokens: Tensor = tokenizer(texts)  # type: ignore[operator]
        self.sizes = [len(group) for group in self.groups.values()]

    def __call__(
        self, model: torch.nn.Module, images: Tensor, captions: Tensor, same: Tensor, labels: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the losses by name.

        Args:
            model: an open_clip model.
            images: batch of b images, shape (b, 3, side, side).
            captions: token rows of one caption each, shape (b, context).
            same: whether two captions of the batch are the same text, bool (b, b).
            labels: tensors of length b by name, see ``Examples``.
        """
        import torch

        image = model.encode_image(images, normalize=True)  # type: ignore[operator]
        text = model.encode_text(torch.cat([captions, self.tokens]), normalize=True)  # type: ignore[operator]
        words, fixed = text[: len(captions)], text[len(captions) :]
        by_name = dict(zip(self.groups, fixed.split(self.sizes), strict=True))
        losses = {
            "captions": caption_loss(image, words, same),
            "people": people_loss(image, by_name["person"], by_name["other"], labels["goal"]),
            "looks": looks_loss(image, labels["concept"]),
        }
        for name in ("who", "other", "kind", "background"):
            losses[name] = prompt_loss(image, by_name[name], labels[name])
        both = torch.where(labels["kind"] < 0, -1, labels["kind"] * len(prompts.COLOUR_NAMES) + labels["colour"])
        losses["colour"] = prompt_loss(image, by_name["colour"], both)
        return losses


def caption_loss(image: Tensor, words: Tensor, same: Tensor) -> Tensor:
    """Return CLIP's two-way loss in which all images with the same caption are right answers."""
    from torch.nn import functional

    wanted = same.float() / same.sum(dim=1, keepdim=True)
    logits = SCALE * image @ words.T
    smooth = SMOOTHING * 2
    both = [functional.cross_entropy(rows, wanted, label_smoothing=smooth) for rows in (logits, logits.T)]
    return (both[0] + both[1]) / 2


def people_loss(image: Tensor, person: Tensor, other: Tensor, goal: Tensor) -> Tensor:
    """Return how far the people pipeline's score is from the wanted probability."""
    from torch.nn import functional

    mine, theirs = (functional.normalize(texts.mean(dim=0), dim=0) for texts in (person, other))
    return functional.binary_cross_entropy_with_logits(SCALE * image @ (mine - theirs), goal)


def prompt_loss(image: Tensor, texts: Tensor, label: Tensor) -> Tensor:
    """Return the loss of choosing the right prompt, over the images that have this label."""
    from torch.nn import functional

    known = label >= 0
    if not bool(known.any()):
        return image.sum() * 0
    return functional.cross_entropy(SCALE * image[known] @ texts.T, label[known], label_smoothing=SMOOTHING)


def looks_loss(image: Tensor, concept: Tensor) -> Tensor:
    """Return the loss of finding the other picture of the same person or thing among all of the batch."""
    import torch
    from torch.nn import functional

    known = concept >= 0
    rows, number = image[known], concept[known]
    logits = LOOKS_SCALE * rows @ rows.T
    logits = logits.masked_fill(torch.eye(len(rows), dtype=torch.bool), -1e4)
    wanted = (number[:, None] == number[None, :]).float().fill_diagonal_(0)
    return functional.cross_entropy(logits, wanted / wanted.sum(dim=1, keepdim=True).clamp(min=1))
