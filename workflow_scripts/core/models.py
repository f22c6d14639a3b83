"""Models are files: where they lie, what they are, and that they are still what they were.

A model card is a small JSON file made by the `models_…` rules: architecture, preprocessing, path, size and sha256 of the
weights. Steps take the card as input and load from the path in it; no step asks a hub.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from workflow_scripts.core.step import StepError, atomic_text

FOLDER = "local-dir:"  # open_clip's prefix for a folder with its own configuration
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")


class Card:
    """What a step needs to find a weights file and to know that it is the one that was meant."""

    weights: str
    sha256: str

    def write(self, path: str | Path) -> None:
        """Write the card as JSON."""
        with atomic_text(path) as handle:
            json.dump(asdict(self), handle, indent=2, sort_keys=True)  # type: ignore[call-overload]  # its classes are dataclasses
            handle.write("\n")

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a card that `write` made."""
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))

    def verify(self) -> None:
        """Check the weights file against the card.

        Raises:
            StepError: the file is gone or is not the one that the card was made for.
        """
        if not Path(self.weights).is_file():
            raise StepError(f"{self.weights}: the weights file is gone; put it back, or delete the model's card to fetch it again")
        found = file_sha256(self.weights)
        if found != self.sha256:
            raise StepError(f"{self.weights}: sha256 is {found}, the model card says {self.sha256}: the file was replaced")


@dataclass(frozen=True)
class WeightsCard(Card):
    """A model that is one file.

    Attributes:
        kind: what loads it: `pose` and `segment` (Ultralytics) or `mask` (rembg).
        name: as configured: a name, or a path.
        weights: path of the file.
        size: its bytes.
        sha256: its content.
    """

    kind: str
    name: str
    weights: str
    size: int
    sha256: str


@dataclass(frozen=True)
class ModelCard(Card):
    """A CLIP model: what a step needs to load it and to tell its results from those of another.

    Attributes:
        name: as configured.
        pretrained: tag or path as configured.
        architecture: what open_clip builds: a built-in name, or `local-dir:` and a folder that brings its own.
        weights: path of the weights file.
        size: its bytes.
        sha256: its content.
        model_cfg: open_clip's configuration of the architecture.
        preprocess_cfg: open_clip's preprocessing of these weights, `size` included.
    """

    name: str
    pretrained: str
    architecture: str
    weights: str
    size: int
    sha256: str
    model_cfg: dict[str, Any]
    preprocess_cfg: dict[str, Any]


def hash_file(path: str | Path) -> str:
    """sha256 of a file's content, as it is now."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@lru_cache
def file_sha256(path: str | Path) -> str:
    """sha256 of a file that does not change, such as weights: read once a process."""
    return hash_file(path)


def is_local(pretrained: str) -> bool:
    """Whether `pretrained` is a path (weights file or folder) and no open_clip tag."""
    return "/" in pretrained or pretrained.endswith(WEIGHT_SUFFIXES) or Path(pretrained).exists()


def local_weights(pretrained: str) -> Path:
    """The weights file that a local `pretrained` means.

    Raises:
        StepError: there is none, or a folder holds several.
    """
    path = Path(pretrained)
    if path.is_file():
        return path
    if not path.is_dir():
        raise StepError(f"{pretrained}: no such weights file or folder")
    if not (path / "open_clip_config.json").is_file():
        raise StepError(f"{pretrained}: a model folder needs an open_clip_config.json beside its weights")
    found = sorted(file for file in path.iterdir() if file.suffix in WEIGHT_SUFFIXES)
    if len(found) != 1:
        raise StepError(f"{pretrained}: {len(found)} weights files ({', '.join(WEIGHT_SUFFIXES)}), exactly one is needed")
    return found[0]


def slug(name: str) -> str:
    """A file name for a thing of any name: letters, digits and `._-`, with 8 hex digits of sha256 where it was altered."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:71]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def card_name(name: str, pretrained: str, sha256: str | None) -> str:
    """The file name of a model's card, without its suffix: one for each combination that a setting can name."""
    return slug(f"{name}--{pretrained}--{(sha256 or 'unpinned')[:8]}")


def weights_card_name(model: dict[str, Any]) -> str:
    """The file name of the card of a model that is one file (`kind`, `name`, `sha256`), without its suffix."""
    return slug(f"{model['kind']}--{model['name']}--{(model['sha256'] or 'unpinned')[:8]}")


def checked_weights(where: str, model: dict[str, Any]) -> dict[str, Any]:
    """A model that is one file, after the check that a local one is there and pinned.

    Raises:
        StepError: it is not; says what to paste.
    """
    if "/" in model["name"] or Path(model["name"]).exists():
        require_file(where, model["name"], model["sha256"])
    return model


def require_file(where: str, path: str, sha256: str | None) -> None:
    """Refuse a local weights file that is not there or not pinned, and print the line that mends it.

    Args:
        where: the group of settings that names it, for the message.
        path: of the file.
        sha256: as configured.

    Raises:
        StepError: the sha256 is missing, or the file is.
    """
    if not Path(path).is_file():
        raise StepError(f"{where}: {path}: no such weights file")
    if sha256 is None:
        raise StepError(
            f"{where}.sha256: a local model needs it, so that a replaced file is noticed; paste\n    sha256: {file_sha256(path)}"
        )


def require_sha256(where: str, model: dict[str, Any]) -> None:
    """Refuse a local model without its sha256, and print the line that mends it.

    Args:
        where: the setting's path, for the message.
        model: `name`, `pretrained` and `sha256` as configured.

    Raises:
        StepError: the sha256 is missing, or the file is.
    """
    if is_local(model["pretrained"]):
        require_file(where, str(local_weights(model["pretrained"])), model["sha256"])
