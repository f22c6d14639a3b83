"""Captions by a service that is paid: what is known from the store, the rest by asking."""

import hashlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jinja2

from workflow_scripts.core.step import StepError
from workflow_scripts.lora.caption_backends import Captioner, Reply
from workflow_scripts.lora.caption_requests import Requests
from workflow_scripts.lora.caption_store import CaptionStore, Question
from workflow_scripts.lora.caption_view import SHOWN_VERSION, Picture


@dataclass(frozen=True, slots=True)
class Described:
    """A picture with what was said of it: a reply, or an error as `stage: text`."""

    picture: Picture
    reply: Reply | None
    error: str = ""


class Author(Protocol):
    """Who writes captions.

    Attributes:
        name: for the tables.
        counts: what it did in this run.
    """

    name: str
    counts: Counter[str]

    def describe(self, pictures: list[Picture]) -> Generator[Described, None, None]:
        """Describe pictures; gives each once, in no order. To be closed by who stops before the end."""

    def about(self) -> dict[str, Any]:
        """What its captions came of, for the metadata of the table."""


class Service:
    """An `Author` that asks a service."""

    def __init__(
        self, name: str, connect: Callable[[], Captioner], store: CaptionStore, prompt: jinja2.Template, machine: dict[str, Any]
    ) -> None:
        """Take what is needed to ask.

        Args:
            name: back end and model.
            connect: opens the service, when there is something to ask: known captions need no key.
            store: what was ever answered.
            prompt: as `read_prompt` gives it.
            machine: as of `Requests`; `price_in` and `price_out` of a million tokens.
        """
        self.name = name
        self._connect = connect
        self._store = store
        self._prompt = prompt
        self._machine = machine
        self._tokens = {"in": 0, "out": 0}
        self.counts: Counter[str] = Counter({"known": 0, "requests": 0, "answered": 0, "retries": 0})

    def describe(self, pictures: list[Picture]) -> Generator[Described, None, None]:
        """Describe pictures; those of one question are asked for once."""
        groups: dict[Question, list[Picture]] = {}
        for picture in pictures:
            groups.setdefault(self._question(picture), []).append(picture)
        known = {question: reply for question in groups if (reply := self._store.get(question)) is not None}
        self.counts["known"] += len(known)
        for question, reply in known.items():
            yield from self._all(groups[question], reply)
        unknown = {question: (group[0].jpeg, self._text(group[0])) for question, group in groups.items() if question not in known}
        if not unknown:
            return
        requests = Requests(self._connect(), self._store, self._machine, proven=bool(known))
        with closing(requests.ask(unknown)) as answers:  # whoever stops listening ends the asking
            for asked in answers:
                yield from self._all(groups[asked.question], asked.reply, asked.error)
        self.counts.update(requests.counts)

    def _question(self, picture: Picture) -> Question:
        prompt = hashlib.sha256(self._text(picture).encode()).hexdigest()
        return Question(picture.sha256, picture.content if picture.composite else "", self.name, prompt, SHOWN_VERSION)

    def _text(self, picture: Picture) -> str:
        return self._prompt.render(category=picture.category).strip()

    def _all(self, group: Iterable[Picture], reply: Reply | None, error: str = "") -> Iterator[Described]:
        self._tokens["in"] += reply.tokens_in if reply else 0
        self._tokens["out"] += reply.tokens_out if reply else 0
        for picture in group:
            yield Described(picture, reply, error)

    def about(self) -> dict[str, Any]:
        """Who wrote, with tokens and cost of all captions that were described, whenever they were paid for."""
        cost = (self._tokens["in"] * self._machine["price_in"] + self._tokens["out"] * self._machine["price_out"]) / 1e6
        return {
            "author": self.name,
            "cost": round(cost, 6),
            "shown": SHOWN_VERSION,
            "tokens_in": self._tokens["in"],
            "tokens_out": self._tokens["out"],
        }


def read_prompt(path: Path) -> jinja2.Template:
    """The prompt, a jinja2 template in which `category` is filled in.

    Raises:
        StepError: the file is missing, empty or no template, or asks for something else.
    """
    try:
        template = jinja2.Template(path.read_text(encoding="utf-8"), undefined=jinja2.StrictUndefined)
        text = template.render(category="upper_body")
    except FileNotFoundError as error:
        raise StepError(f"{path}: no such file; caption.prompt names the file with the prompt") from error
    except (OSError, UnicodeDecodeError) as error:
        raise StepError(f"{path}: cannot be read as UTF-8: {error}") from error
    except jinja2.TemplateError as error:
        raise StepError(f"{path}: {error}; the one thing to be filled in is {{{{ category }}}}") from error
    if not text.strip():
        raise StepError(f"{path}: is empty; write down what the model is to say of an image")
    return template
