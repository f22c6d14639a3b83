"""What every service that writes captions looks like from here, and how its refusals are told apart."""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Protocol

from workflow_scripts.core.step import StepError

TEXT_LIMIT = 300  # characters of a service's message that an error keeps
TOKEN = re.compile(r"\beyJ[\w-]+(?:\.[\w-]+)+|(?<=Bearer )\S+")  # a signed one (RFC 7519), and whatever authorizes
AGAIN = frozenset((408, 409, 425, 429, 500, 502, 503, 504, 529))  # another try may well be answered
MENDABLE = {
    401: "the key is refused",
    402: "the account cannot pay",
    403: "the key has no access",
    404: "there is no such model or address",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What a service said about an image.

    Attributes:
        text: as it came; empty where it was blocked.
        tokens_in: sent, as the service counts them; 0 where it does not say.
        tokens_out: received, thoughts included.
        blocked: why there is no caption and will be none for the same question; empty for a caption.
    """

    text: str
    tokens_in: int = 0
    tokens_out: int = 0
    blocked: str = ""


class Retry(Exception):  # noqa: N818 - says what to do, not what went wrong
    """No answer this time: too many requests, a fault of the service, a cut connection, nonsense. Another try may succeed.

    Attributes:
        after: seconds that the service wants to be left alone, where it says so.
    """

    def __init__(self, text: str, after: float | None = None) -> None:
        super().__init__(text)
        self.after = after


class RefusedError(Exception):
    """The service does not take this request, and would not take it again."""


class Captioner(Protocol):
    """A model that describes an image, somewhere else. Safe to call from several threads; makes one request a call."""

    def caption(self, image: bytes, prompt: str) -> Reply:
        """Ask once.

        Args:
            image: a JPEG file.
            prompt: what is asked about it.

        Raises:
            Retry: another try may succeed.
            RefusedError: not for this image.
            StepError: not for any image, until the user mends something.
        """


def open_captioner(settings: dict[str, Any], timeout: float) -> Captioner:
    """The service that the settings name.

    Args:
        settings: `backend` (vertex or openai), `model`, `project`, `location`, `base_url`.
        timeout: seconds to wait for an answer.

    Raises:
        StepError: a setting or a key is missing.
    """
    if settings["backend"] == "vertex":
        from workflow_scripts.lora.caption_vertex import Vertex

        path = _needed_variable("GOOGLE_APPLICATION_CREDENTIALS", "the JSON file with the key of a service account")
        return Vertex(needed(settings, "model"), needed(settings, "project"), settings["location"], path, timeout)
    from workflow_scripts.lora.caption_openai import OpenAi

    base_url = settings["base_url"]
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key and not base_url:
        key = _needed_variable("OPENAI_API_KEY", "the key of the account that pays")
    return OpenAi(needed(settings, "model"), base_url, key, timeout)


def needed(settings: dict[str, Any], name: str) -> str:
    """A setting that the chosen back end cannot do without.

    Raises:
        StepError: it is not set.
    """
    if not settings[name]:
        raise StepError(f"lora caption.{name}: needed where caption.backend is {settings['backend']}")
    return str(settings[name])


def _needed_variable(name: str, what: str) -> str:
    if not os.environ.get(name, "").strip():
        raise StepError(f"set the environment variable {name} to {what}, or choose another caption.backend")
    return os.environ[name].strip()


def hide(text: str, secret: str | None) -> str:
    """A service's words without the secret or what looks like a token, which some services repeat, and without halves of characters."""
    whole = text.encode("utf-8", "replace").decode()
    return TOKEN.sub("***", whole.replace(secret, "***") if secret else whole)


def plain(text: object, secret: str | None) -> str:
    """A service's message as one line of bounded length, without secrets."""
    return " ".join(hide(str(text), secret).split())[:TEXT_LIMIT]


def of_status(status: int, text: str, whom: str, after: float | None = None) -> Exception:
    """What a status of HTTP means for the requests to come.

    Args:
        status: other than 200.
        text: what the service said, plain.
        whom: who was asked with which key, for a user who has to mend it.
        after: seconds to wait, where it said so.
    """
    if status in MENDABLE:
        return StepError(f"{whom}: {MENDABLE[status]} ({status}): {text}")
    said = f"{status} {text}".strip()
    return Retry(said, after) if status in AGAIN else RefusedError(said)


def retry_after(header: str | None) -> float | None:
    """Seconds of a `Retry-After` (RFC 9110, section 10.2.3): a number of seconds or a date; None where there is no sense in it."""
    if header is None:
        return None
    with suppress(ValueError):
        return max(0.0, float(header))
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time())
    except ValueError:
        return None
