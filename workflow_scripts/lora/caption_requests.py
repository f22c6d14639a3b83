"""Many questions to a service: at once, no faster than it allows, again where that helps, and each paid for once."""

from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from threading import Event, Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

from workflow_scripts.core.images import DecodeError
from workflow_scripts.core.step import StepError, log
from workflow_scripts.lora.caption_backends import Captioner, RefusedError, Reply, Retry
from workflow_scripts.lora.caption_store import CaptionStore, Question

if TYPE_CHECKING:
    from tenacity import RetryCallState

BACKOFF = (1.0, 60.0)  # seconds before the second try, at most, and before any; a random part of twice as many from try to try
LONGEST_WAIT = 600.0  # seconds; a service that wants more has its quota used up, and nobody waits for that
GIVE_UP = 10  # failures in a row after which the service is taken to be down


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with what came of it.

    Attributes:
        question: as asked.
        reply: a caption or a block, None with an error.
        error: `stage: text`; empty with a reply.
    """

    question: Question
    reply: Reply | None
    error: str = ""


class RateLimit:
    """Lets requests of all threads begin one after the other, evenly, so that no minute sees more of them than allowed."""

    def __init__(self, per_minute: float, stop: Event) -> None:
        """Take the requests a minute, and what ends all waiting."""
        self._interval = 60 / per_minute
        self._stop = stop
        self._turn = Lock()
        self._next = self._paused = monotonic()

    def wait(self) -> None:
        """Wait for one's turn."""
        with self._turn:  # one waits for the time, the others for that one
            while (left := max(self._next, self._paused) - monotonic()) > 0 and not self._stop.wait(left):
                pass
            self._next = monotonic() + self._interval

    def pause(self, seconds: float) -> None:
        """Let nobody begin for so long: the service said it to one, and means all."""
        self._paused = max(self._paused, monotonic() + seconds)


class Requests:
    """Asks a service and keeps what it says.

    Attributes:
        counts: `requests` begun, tries included; questions `answered`; `retries`.
    """

    def __init__(self, captioner: Captioner, store: CaptionStore, machine: dict[str, Any], *, proven: bool = False) -> None:
        """Take the service, the store, and `concurrency`, `requests_per_minute` and `attempts`.

        `proven`: whether the service has answered such questions before, so that a refusal is about its image alone.
        """
        self._captioner = captioner
        self._store = store
        self._threads = int(machine["concurrency"])
        self._attempts = int(machine["attempts"])
        self._stop = Event()
        self._limit = RateLimit(machine["requests_per_minute"], self._stop)
        self._lock = Lock()
        self._proven = proven
        self._in_a_row = 0
        self.counts: Counter[str] = Counter(dict.fromkeys(("requests", "answered", "retries"), 0))

    def ask(self, questions: dict[Question, tuple[Callable[[], bytes], str]]) -> Generator[Asked, None, None]:
        """Ask; gives every question with what came of it, in no order.

        Args:
            questions: with what makes the picture, run in a thread, and the text of the prompt.

        Raises:
            StepError: there is no use in asking on. What was answered until then is kept, that of requests under way included.
        """
        pool = ThreadPoolExecutor(self._threads)
        try:
            for future in as_completed([pool.submit(self._ask, question, *what) for question, what in questions.items()]):
                yield future.result()
        finally:
            self._stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _ask(self, question: Question, picture: Callable[[], bytes], prompt: str) -> Asked:
        """Runs in a thread: one question to its end."""
        try:
            return self._answer(question, picture, prompt)
        except StepError:
            self._stop.set()  # here, and not where it is noticed: no other thread begins a request in between
            raise

    def _answer(self, question: Question, picture: Callable[[], bytes], prompt: str) -> Asked:
        try:
            image = picture()
        except DecodeError as error:
            return Asked(question, None, str(error))
        except OSError as error:
            return Asked(question, None, f"read: {error.strerror}")
        try:
            reply = self._until_answered(image, prompt)
        except (Retry, RefusedError) as error:
            self._check_up(error)
            return Asked(question, None, f"caption: {error}")
        # At once, and in this thread: whatever happens to the others, this one is paid for.
        self._store.add(question, reply)
        with self._lock:
            self.counts["answered"] += 1
            self._proven, self._in_a_row = True, 0
        return Asked(question, reply)

    def _until_answered(self, image: bytes, prompt: str) -> Reply:
        import tenacity as again

        first, longest = BACKOFF
        tries = again.Retrying(
            stop=again.stop_after_attempt(self._attempts) | again.stop_when_event_set(self._stop),
            wait=again.wait_random_exponential(multiplier=first, max=longest),
            retry=again.retry_if_exception_type(Retry),
            sleep=again.sleep_using_event(self._stop),
            before_sleep=self._before_sleep,
            reraise=True,
        )
        return tries(self._once, image, prompt)

    def _once(self, image: bytes, prompt: str) -> Reply:
        self._limit.wait()
        if self._stop.is_set():
            raise Retry("not asked: the step was ending")
        self._count("requests")
        try:
            return self._captioner.caption(image, prompt)
        except Retry as error:
            after = error.after or 0.0
            if after > LONGEST_WAIT:
                raise StepError(f"the service wants to be left alone for {after:.0f} s: {error}; run again after that") from error
            self._limit.pause(after)
            raise

    def _before_sleep(self, state: "RetryCallState") -> None:
        error = state.outcome.exception() if state.outcome else None
        self._count("retries")
        log.info("asking again, try %d of %d: %s", state.attempt_number + 1, self._attempts, error)

    def _check_up(self, error: Exception) -> None:
        """End the step when the service answers nobody."""
        with self._lock:
            if self._stop.is_set() or (isinstance(error, RefusedError) and self._proven):
                return
            self._in_a_row += 1
            hopeless = self._in_a_row >= GIVE_UP
        if hopeless:
            raise StepError(f"{GIVE_UP} images in a row got no caption: {error}. What was answered is kept: mend this and run again")

    def _count(self, name: str) -> None:
        with self._lock:
            self.counts[name] += 1
