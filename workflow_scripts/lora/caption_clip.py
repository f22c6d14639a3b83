"""Captions without any service: the phrases that CLIP finds most fitting, off-line and for nothing."""

import os
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workflow_scripts.core import clip
from workflow_scripts.core.embed import Embedder
from workflow_scripts.core.embeddings import digest
from workflow_scripts.core.images import DEFAULT_MAX_PIXELS, DecodeError
from workflow_scripts.core.models import ModelCard
from workflow_scripts.core.step import StepError, atomic_output
from workflow_scripts.core.storage import FolderStorage, Item, StorageError
from workflow_scripts.lora.caption_backends import Reply
from workflow_scripts.lora.caption_service import Described
from workflow_scripts.lora.caption_view import SHOWN_VERSION, Picture

Floats = npt.NDArray[np.float64]


class Phrases(BaseModel):
    """What the file of phrases says.

    Attributes:
        template: the sentence that CLIP compares with a picture; the phrase stands for `{}`.
        times_chance: how much likelier than by chance a phrase has to be within its group.
        groups: at least three phrases each, in the order in which they stand in a caption.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    template: str = Field(pattern=r"\{\}")
    times_chance: float = Field(gt=0)
    groups: dict[str, list[str]] = Field(min_length=1)

    @classmethod
    def read(cls, path: Path) -> "Phrases":
        """Read the file.

        Raises:
            StepError: it is missing or says something else; names the file.
        """
        try:
            found = cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
            raise StepError(f"{path}: {error}") from error
        for name, phrases in found.groups.items():
            if len(set(phrases)) < max(3, len(phrases)):
                raise StepError(f"{path}: the group {name} needs at least three phrases, each once")
        return found

    def texts(self) -> list[str]:
        """All sentences, group by group."""
        return [self.template.replace("{}", phrase) for phrases in self.groups.values() for phrase in phrases]


class ClipAuthor:
    """An `Author` that puts phrases together."""

    def __init__(self, card: ModelCard, phrases: Phrases, machine: dict[str, Any]) -> None:
        """Take the model, the phrases, and `cache_root`, `device`, `batch` and `threads`. Models are loaded when something is unknown."""
        self.name = f"clip {card.name}"
        self.counts: Counter[str] = Counter()
        self._card, self._phrases = card, phrases
        self._cache_root = machine["cache_root"]
        options = {"batch": "auto"} | {name: machine[name] for name in ("batch", "cache_root", "device", "threads") if name in machine}
        self._embedder = Embedder(card, views="pad", decode_mode="full", max_pixels=DEFAULT_MAX_PIXELS, **options)

    def describe(self, pictures: list[Picture]) -> Generator[Described, None, None]:
        """Describe pictures by the best phrase of each group, where it is likely enough."""
        if not pictures:
            return
        vectors, scale = _text_vectors(self._card, self._phrases.texts(), self._cache_root)
        contents = {picture.content: picture for picture in pictures}
        items = [Item(content, 0, content, "") for content in sorted(contents)]
        found = {one.item.key: one for one in self._embedder.embed(items, _Pictures(contents))}
        self.counts.update(self._embedder.counts)
        for picture in pictures:
            one = found[picture.content]
            if one.vectors is None:
                yield Described(picture, None, str(one.error).removeprefix("download: "))
            else:
                image = one.vectors[0].astype(np.float64)
                yield Described(picture, Reply(self._caption(scale * (vectors @ image))))

    def _caption(self, logits: Floats) -> str:
        """The phrases of a picture, by the logits of all [n]; of equal ones the first."""
        chosen, start = [], 0
        for phrases in self._phrases.groups.values():
            part = logits[start : start + len(phrases)]
            start += len(phrases)
            likely = np.exp(part - part.max())
            likely /= likely.sum()
            best = int(likely.argmax())
            # In a small group twice chance may be more than certainty.
            if likely[best] >= min(self._phrases.times_chance / len(phrases), 0.9):
                chosen.append(phrases[best])
        return ", ".join(chosen)

    def about(self) -> dict[str, Any]:
        """Who wrote, and by which vectors."""
        return {"author": self.name, "fingerprint": self._embedder.fingerprint, "shown": SHOWN_VERSION}


class _Pictures(FolderStorage):
    """Pictures as the embedder wants its images, known by the content of the files that they are made of."""

    def __init__(self, pictures: dict[str, Picture]) -> None:
        super().__init__(os.curdir)
        self.identity = f"lora captions, shown {SHOWN_VERSION}, {sorted({picture.composite for picture in pictures.values()})}"
        self._pictures = pictures

    def read(self, item: Item) -> bytes:
        try:
            return self._pictures[item.key].jpeg()
        except DecodeError as error:
            raise StorageError(str(error)) from error
        except OSError as error:
            raise StorageError(f"read: {error.strerror}") from error


def _text_vectors(card: ModelCard, texts: list[str], cache_root: str) -> tuple[Floats, float]:
    """L2-normalised vectors of texts [n, d] and the model's logit scale; computed once, since the model loads longer than it computes."""
    path = Path(cache_root, "texts", f"{digest([clip.ALGORITHM, card.sha256, card.model_cfg, texts])}.npz")
    if not path.is_file():
        vectors, scale = clip.encode_texts(card, texts)
        with atomic_output(path) as partial, partial.open("wb") as handle:
            np.savez(handle, vectors=vectors, scale=scale)
    with np.load(path) as known:
        return known["vectors"], float(known["scale"])
