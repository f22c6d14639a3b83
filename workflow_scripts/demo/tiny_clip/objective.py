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
            "background": prompts.BACKGROUND_TEXTS,
        }
        texts = [text for group in self.groups.values() for text in group]
        self.tokens: Tensor = tokenizer(texts)  # type: ignore[operator]
        self.sizes = [len(group) for group in self.groups.values()]
        self.colours: Tensor = tokenizer(list(prompts.COLOUR_TEXTS))  # type: ignore[operator]

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
        from torch.nn import functional

        both = torch.where(labels["kind"] < 0, -1, labels["kind"] * len(prompts.COLOUR_NAMES) + labels["colour"])
        rows, both = near_prompts(both, len(prompts.COLOUR_NAMES))
        # Half precision where the work is; what follows is too fine for it at a scale of 100.
        with torch.autocast("cpu", torch.bfloat16):
            features = model.encode_image(images)  # type: ignore[operator]
        image = functional.normalize(features.float(), dim=-1)
        tokens = torch.cat([captions, self.colours[rows], self.tokens])
        text = model.encode_text(tokens, normalize=True)  # type: ignore[operator]
        words, colours, *fixed = text.split([len(captions), len(rows), *self.sizes])
        by_name = dict(zip(self.groups, fixed, strict=True))
        losses = {
            "captions": caption_loss(image, words, same),
            "people": people_loss(image, by_name["person"], by_name["other"], labels["goal"]),
            "looks": looks_loss(image, labels["concept"]),
            "colour": prompt_loss(image, colours, both),
        }
        for name in ("who", "other", "kind", "background"):
            losses[name] = prompt_loss(image, by_name[name], labels[name])
        return losses


def near_prompts(label: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Return the prompts that a batch needs, and its labels counted among them.

    Prompts come in groups of ``width``; only the groups with a right answer are encoded, which halves the text work.
    """
    import torch

    groups = torch.unique(label[label >= 0] // width)
    rows = (groups[:, None] * width + torch.arange(width)).flatten()
    return rows, torch.where(label < 0, -1, torch.searchsorted(rows, label))


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
    import torch
    from torch.nn import functional

    mine, theirs = (functional.normalize(texts.mean(dim=0), dim=0) for texts in (person, other))
    # A small figure is easily missed, so people weigh more.
    more = torch.tensor(1.5)
    return functional.binary_cross_entropy_with_logits(SCALE * image @ (mine - theirs), goal, pos_weight=more)


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
