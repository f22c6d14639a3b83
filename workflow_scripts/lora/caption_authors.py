"""Who writes the captions, by the settings."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workflow_scripts.core.models import ModelCard
from workflow_scripts.core.step import StepError
from workflow_scripts.lora.caption_backends import needed, open_captioner
from workflow_scripts.lora.caption_clip import ClipAuthor, Phrases
from workflow_scripts.lora.caption_service import Author, Service, read_prompt
from workflow_scripts.lora.caption_store import open_store


@contextmanager
def open_author(settings: dict[str, Any], machine: dict[str, Any], store: Path, words: Path, model: str | Path | None) -> Iterator[Author]:
    """Who writes by the settings.

    Args:
        settings: `backend`, and for a service `model`, `project`, `location`, `base_url`.
        machine: for a service `timeout` in seconds, `concurrency`, `requests_per_minute`, `attempts`, `price_in` and `price_out`; for
            clip as of `ClipAuthor`.
        store: the file of paid captions.
        words: the file with the prompt of a service, or with the phrases of clip.
        model: the card of the model of clip.

    Raises:
        StepError: something is missing that the user can mend.
    """
    if settings["backend"] == "clip":
        if model is None:
            raise StepError("lora caption.clip_model: needed where caption.backend is clip")
        yield ClipAuthor(ModelCard.read(model), Phrases.read(words), machine)
        return
    name = f"{settings['backend']} {needed(settings, 'model')}"
    with open_store(store) as kept:
        yield Service(name, lambda: open_captioner(settings, machine["timeout"]), kept, read_prompt(words), machine)
