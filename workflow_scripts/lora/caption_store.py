"""Captions that were paid for: kept at once, never removed, asked for once."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from threading import Lock

from workflow_scripts.core.step import StepError
from workflow_scripts.lora.caption_backends import Reply


@dataclass(frozen=True, slots=True)
class Question:
    """What a caption is paid for once by.

    Attributes:
        sha256: of the frame.
        composite: content of the composite where that is shown, else empty.
        model: back end and name.
        prompt: sha256 of its text as it was sent.
        shown: version of how the picture is made.
    """

    sha256: str
    composite: str
    model: str
    prompt: str
    shown: int


class CaptionStore:
    """A file of JSON lines that only grows: a line a question with its reply, captions and blocks alike.

    To have something asked again, such as what was blocked, a person deletes its line. Safe to use from several threads.
    """

    def __init__(self, descriptor: int, replies: dict[Question, Reply], torn: bool) -> None:
        """Take the open file and what stands in it; `open_store` gives both."""
        self._descriptor = descriptor
        self._replies = replies
        self._torn = torn
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._replies)

    def get(self, question: Question) -> Reply | None:
        """What was replied, or None."""
        return self._replies.get(question)

    def add(self, question: Question, reply: Reply) -> None:
        """Keep a reply; it is on the disk when this returns."""
        line = json.dumps(asdict(question) | asdict(reply)) + "\n"
        with self._lock:
            # One write, at the end whatever was written before. What a kill cut off becomes a line of its own.
            _write(self._descriptor, ("\n" * self._torn + line).encode())
            self._torn = False
            self._replies[question] = reply


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
    os.fsync(descriptor)


@contextmanager
def open_store(path: Path) -> Iterator[CaptionStore]:
    """Open a store, for one process at a time, so that none pays for what another is asking.

    Raises:
        StepError: another process has it open.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StepError(f"{path}: another process is asking for captions of this workspace; wait for it, or end it") from error
        data = path.read_bytes()
        yield CaptionStore(descriptor, dict(_parse(data)), torn=bool(data) and not data.endswith(b"\n"))
    finally:
        os.close(descriptor)


def _parse(data: bytes) -> Iterator[tuple[Question, Reply]]:
    """What the lines say, later ones last; those that a kill cut off say nothing."""
    for line in data.split(b"\n"):
        try:
            values = json.loads(line)
            question = Question(**{field.name: values[field.name] for field in fields(Question)})
            reply = Reply(**{field.name: values[field.name] for field in fields(Reply)})
        except (ValueError, TypeError, LookupError):
            continue
        yield question, reply
