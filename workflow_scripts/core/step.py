"""What every step has: a log, progress, outputs that appear whole, and an end when its Snakemake is gone."""

import hashlib
import logging
import os
import re
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import psutil
from tqdm import tqdm

T = TypeVar("T")
log = logging.getLogger("darkroom")

OFFLINE_SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")  # the hub's client obeys either
# No hub, no telemetry: what a job needs was fetched and verified before it started.
ENVIRONMENT = {
    # A model's threads that spin while they wait for each other starve the threads that decode.
    "OMP_WAIT_POLICY": "PASSIVE",
    **dict.fromkeys(OFFLINE_SWITCHES, "1"),
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "YOLO_OFFLINE": "1",
    "YOLO_AUTOINSTALL": "false",
}
_LONGEST_NAME = 130  # bytes of an output's name that its temporary name keeps


class StepError(Exception):
    """A failure that the user can mend; its text names the file or setting and the mend."""


class OrphanedError(StepError):
    """The Snakemake that started this step is gone, and another may be at work on the same output."""


_supervisor: psutil.Process | None = None


@contextmanager
def step(log_file: str | os.PathLike[str] | None, *, online: bool = False) -> Iterator[None]:
    """Run a step's body with its log, off-line, and tied to the life of the Snakemake that started it.

    A `StepError` ends the process with its text alone; any other exception goes on with its traceback. Both stand in the log.

    Args:
        log_file: the rule's log; messages go there and to stderr.
        online: let hub clients use the network; only the steps that fetch do.
    """
    global _supervisor
    os.environ.update(ENVIRONMENT)
    for name in OFFLINE_SWITCHES if online else ():
        del os.environ[name]
    _supervisor = _find_supervisor()
    _start_log(log_file)
    try:
        yield
    except StepError as error:
        log.error("%s", error)  # noqa: TRY400 - the text says it all
        sys.exit(1)
    except Exception:
        log.exception("the step failed")
        raise


def _start_log(log_file: str | os.PathLike[str] | None) -> None:
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if log_file:
        Path(log_file).parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(log_file, mode="w", encoding="utf-8"))
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", handlers=handlers, force=True)
    log.setLevel(logging.INFO)


def _find_supervisor() -> psutil.Process | None:
    """The nearest Snakemake above this process; there is none in a notebook or a test."""
    for parent in psutil.Process().parents():
        try:
            command = parent.cmdline()
        except psutil.Error:
            continue
        if any("snakemake" in os.path.basename(word) for word in command[:3]):
            return parent
    return None


def check_not_orphaned() -> None:
    """Raise `OrphanedError` when the Snakemake that started this step has ended.

    A killed Snakemake leaves its jobs running. A later Snakemake makes the same outputs anew, and an orphan that finished
    after it would overwrite the newer result.
    """
    if _supervisor is not None and _has_ended(_supervisor):
        raise OrphanedError("the Snakemake that started this step has ended: stopping without touching the output")


def _has_ended(process: psutil.Process) -> bool:
    try:
        # is_running() compares the start time too, so a reused process id is not taken for the old one. It counts a process
        # that was killed and not yet waited for as running.
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextmanager
def atomic_output(path: str | os.PathLike[str], *, sweep: bool = True) -> Iterator[Path]:
    """Give a path beside `path` to write to; rename it to `path` when the body ends well, remove it otherwise.

    The temporary name holds host and process id, so that two jobs on a shared disk never write one file.

    Args:
        path: the output.
        sweep: look for what a killed process left of this output. Who writes many files into one folder sweeps it once
            instead.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if sweep:
        sweep_leftovers(target.parent, target.name)
    partial = target.with_name(f".{_short(target.name)}.{socket.gethostname()}.{os.getpid()}.tmp")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        check_not_orphaned()
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _short(name: str) -> str:
    """A name that leaves room for host and process id within the 255 bytes of a file name, and stays another for another name."""
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    return f"{name.encode()[:_LONGEST_NAME].decode(errors='ignore')}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def is_leftover(name: str) -> bool:
    """Whether a file name is that of an output which a process of this host was writing when it died."""
    match = re.fullmatch(rf"\..+\.{re.escape(socket.gethostname())}\.(\d+)\.tmp", name, re.DOTALL)
    return match is not None and not psutil.pid_exists(int(match[1]))


def sweep_leftovers(folder: Path, name: str = "") -> None:
    """Remove what dead processes of this host left in a folder, of one output or of all."""
    prefix = f".{_short(name)}." if name else "."
    for entry in os.scandir(folder) if folder.is_dir() else ():
        if entry.name.startswith(prefix) and is_leftover(entry.name):
            Path(entry.path).unlink(missing_ok=True)


@contextmanager
def atomic_text(path: str | os.PathLike[str], newline: str = "\n") -> Iterator[IO[str]]:
    """Open a UTF-8 text file that appears whole, as `atomic_output` does."""
    with atomic_output(path) as partial, partial.open("w", encoding="utf-8", newline=newline) as handle:
        yield handle


def progress(items: Iterable[T], *, total: int, unit: str = "images", every: float = 5.0) -> Iterator[T]:
    """Pass items on; show a bar on a terminal, else a log line every few seconds. Stops an orphaned step.

    Args:
        items: what to iterate over.
        total: how many are expected.
        unit: what they are called.
        every: seconds between two lines of the log.

    The rate counts from the first item, before which a model may have been loaded.
    """
    start = first = last = time.monotonic()
    done = 0
    with tqdm(total=total, unit=f" {unit}", disable=not sys.stderr.isatty(), leave=False) as bar:
        for done, item in enumerate(items, 1):
            first = time.monotonic() if done == 1 else first
            yield item
            bar.update()
            now = time.monotonic()
            if now - last >= every:
                last = now
                check_not_orphaned()
                if bar.disable and done > 1:  # one alone has no rate
                    log.info("%d of %d %s, %.1f/s", done, total, unit, done / (now - first))
    end = time.monotonic()
    log.info("%d %s in %.1f s, %.1f/s", done, unit, end - start, done / max(end - first, 1e-9))


def report_counts(**counts: Any) -> None:
    """Log a line of `name=value` pairs: what the step did, for people and for tests to read."""
    log.info("done: %s", " ".join(f"{name}={value}" for name, value in counts.items()))
