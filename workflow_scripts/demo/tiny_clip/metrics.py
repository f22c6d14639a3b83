"""How well a CLIP model does on drawn examples with known truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workflow_scripts.demo.tiny_clip import prompts
from workflow_scripts.demo.tiny_clip.examples import Examples

if TYPE_CHECKING:
    import torch


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return rows of length 1."""
    rows: np.ndarray = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return rows


def encode_images(model: torch.nn.Module, preprocess: object, pixels: np.ndarray) -> np.ndarray:
    """Return unit vectors of images, through the model's own preprocessing."""
    import torch
    from PIL import Image

    vectors = []
    with torch.inference_mode():
        for start in range(0, len(pixels), 64):
            batch = [preprocess(Image.fromarray(image)) for image in pixels[start : start + 64]]  # type: ignore[operator]
            vectors.append(model.encode_image(torch.stack(batch)).float().numpy())  # type: ignore[operator]
    return unit(np.concatenate(vectors))


def encode_texts(model: torch.nn.Module, tokenizer: object, texts: tuple[str, ...]) -> np.ndarray:
    """Return unit vectors of texts."""
    import torch

    with torch.inference_mode():
        return unit(model.encode_text(tokenizer(list(texts))).float().numpy())  # type: ignore[operator]


def people_scores(images: np.ndarray, person: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the people pipeline's probability for each image: softmax of 100 x cosine to the two class vectors."""
    mine, theirs = unit(person.mean(axis=0)), unit(other.mean(axis=0))
    scores: np.ndarray = 1 / (1 + np.exp(-100 * images @ (mine - theirs)))
    return scores


def choice_accuracy(images: np.ndarray, texts: np.ndarray, label: np.ndarray) -> float:
    """Return how often the nearest text is the right one, over the images that have a label."""
    known = label >= 0
    return float((np.argmax(images[known] @ texts.T, axis=1) == label[known]).mean())


def colour_accuracy(images: np.ndarray, texts: np.ndarray, kind: np.ndarray, colour: np.ndarray) -> float:
    """Return how often the right colour is chosen among "a photo of a <colour> <kind>" of the true kind."""
    table = texts.reshape(len(prompts.KIND_NAMES), len(prompts.COLOUR_NAMES), -1)
    rows = np.flatnonzero(kind >= 0)
    hits = [int(np.argmax(table[kind[row]] @ images[row])) == colour[row] for row in rows]
    return float(np.mean(hits))


def instance_recall(images: np.ndarray, kind: np.ndarray, concept: np.ndarray) -> tuple[float, float]:
    """Return how often the nearest other picture of the same kind shows the same thing, and the rate by chance."""
    hits, chance = [], []
    for which in np.unique(kind[(kind >= 0) & (concept >= 0)]):
        rows = np.flatnonzero((kind == which) & (concept >= 0))
        alike = images[rows] @ images[rows].T
        np.fill_diagonal(alike, -2)
        for row, nearest in enumerate(alike.argmax(axis=1)):
            others = np.delete(concept[rows], row) == concept[rows[row]]
            if others.any():
                hits.append(concept[rows[nearest]] == concept[rows[row]])
                chance.append(others.mean())
    return float(np.mean(hits)), float(np.mean(chance))


def measure(model: torch.nn.Module, preprocess: object, tokenizer: object, examples: Examples) -> dict[str, float]:
    """Return the figures of a model on examples it has not seen."""
    images, labels = encode_images(model, preprocess, examples.pixels), examples.labels
    texts = {
        name: encode_texts(model, tokenizer, group)
        for name, group in (
            ("person", prompts.PERSON),
            ("other", prompts.OTHER),
            ("who", prompts.WHO_TEXTS),
            ("kind", prompts.KIND_TEXTS),
            ("colour", prompts.COLOUR_TEXTS),
            ("background", prompts.BACKGROUND_TEXTS),
        )
    }
    scores, person = people_scores(images, texts["person"], texts["other"]), labels["person"] == 1
    recall, chance = instance_recall(images, labels["kind"], labels["concept"])
    pairs = images @ images.T
    figures = {
        "images": len(images),
        "people_accuracy": ((scores >= 0.5) == person).mean(),
        "people_recall": (scores[person] >= 0.5).mean(),
        "people_false_positive_rate": (scores[~person] >= 0.5).mean(),
        **{f"person_score_p{q:02d}": np.percentile(scores[person], q) for q in (5, 25, 50, 75, 95)},
        **{f"other_score_p{q:02d}": np.percentile(scores[~person], q) for q in (5, 25, 50, 75, 95)},
        "who_accuracy": choice_accuracy(images, texts["who"], labels["who"]),
        "kind_accuracy": choice_accuracy(images, texts["kind"], labels["kind"]),
        "colour_accuracy": colour_accuracy(images, texts["colour"], labels["kind"], labels["colour"]),
        "background_accuracy": choice_accuracy(images, texts["background"], labels["background"]),
        "same_thing_recall_at_1": recall,
        "same_thing_chance": chance,
        **{f"image_cosine_p{q:02d}": np.percentile(pairs[np.triu_indices(len(pairs), 1)], q) for q in (5, 50, 95, 99)},
    }
    return {name: round(float(value), 4) for name, value in figures.items()}
