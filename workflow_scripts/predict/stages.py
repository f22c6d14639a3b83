"""Which images of a project belong together, as far as their names say it."""

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import NamedTuple

from workflow_scripts.core.step import StepError

# The longest first: a name that holds two of them is of the stage with the longer text, then of the lower one.
STAGES = (("stage1.5_face_swapped", 1.5), ("stage1_generated", 1.0), ("stage2_upscaled", 2.0), ("stage3_enhanced", 3.0))
LOOK_AHEAD = 50  # images
MATCHING_SECONDS = 30.0  # of processor time for all names of a project; 200,000 of them take less than one
NO_STAGE = "no stage in the name"
ALONE = "no image of another stage goes with it"
NO_MATCH = "the group pattern finds nothing in the name"
ALONE_IN_PATTERN = "no other image with its part of the group pattern"
_TIMESTAMP = re.compile(r"[0-9]{8}_[0-9]{6}")


class Image(NamedTuple):
    """What the path of an image says.

    Attributes:
        path: relative to the project.
        directory: the part before the last slash; empty for the root.
        name: the part behind it.
        timestamp: the name's first 15 characters, if they are 8 digits, an underscore and 6 digits; a possible date or not.
        stage: of `STAGES`.
    """

    path: str
    directory: str
    name: str
    timestamp: str | None
    stage: float | None


class Part(NamedTuple):
    """Images that stand together, in group order.

    Attributes:
        images: one or more, of one directory.
        reason: why this is no group, or just a group of one; empty for two or more images that belong together.
    """

    images: tuple[Image, ...]
    reason: str


def parse(path: str) -> Image:
    """Read a path. Stages are found anywhere in the file name, in any case."""
    directory, _, name = path.rpartition("/")
    found, lower = _TIMESTAMP.match(name), name.lower()
    stage = next((stage for text, stage in STAGES if text in lower), None)
    return Image(path, directory, name, found[0] if found else None, stage)


def order(image: Image) -> tuple[bool, str, bool, float, str]:
    """The place of an image in its directory: by timestamp (none: last), stage (none: last) and name."""
    return image.timestamp is None, image.timestamp or "", image.stage is None, image.stage or 0.0, image.name


def time_of(timestamp: str | None) -> datetime | None:
    """The date and time, without a zone, that a timestamp means; None for none, and for an impossible one such as 20259999_999999."""
    try:
        return datetime.strptime(timestamp, "%Y%m%d_%H%M%S") if timestamp else None  # noqa: DTZ007 - names give no zone
    except ValueError:
        return None


def by_stage(images: list[Image], max_gap: timedelta | None) -> Iterator[Part]:
    """Divide the images of a directory, which stand in `order`, into runs of rising stages.

    Images without a stage take no part: they are in no run, end none, and do not count for the look-ahead. Of the others every
    image that is in no run yet starts one, in order. The next member is looked for behind the last one, among the next
    `LOOK_AHEAD` images, as far as the first whose stage is no higher than the last member's; of these the lowest stage is taken,
    and of several such images the first. The run goes on from there until nothing is found.

    So 1 3 2 3 is the run 1 2 3 with the last image: the first 3 does not skip the later 2. It was passed over, and starts a run
    of its own (here of one image, since no higher stage follows). 1 2 3 1.5 is two runs: 1 1.5, and 2 3. In 1 3 1 2 the second 1
    ends the search of the first: runs 1 3 and 1 2.

    With max_gap a member is taken only if it was made at most so long after the last one. Where one of the two has no time
    (no timestamp, or an impossible date) that cannot be said, and it is not taken. It ends the search all the same if its stage
    is no higher.
    """
    staged = [(image.stage, image) for image in images if image.stage is not None]
    taken: set[int] = set()
    for start in range(len(staged)):
        if start in taken:
            continue
        run = [start]
        # What the search finds is in no run yet: an image behind one that was passed over, and in the run that did so, has a
        # lower stage than the one passed over, and ends its search.
        while (found := _next(staged, run[-1], max_gap)) is not None:
            run.append(found)
        taken.update(run)
        yield Part(tuple(staged[place][1] for place in run), "" if len(run) > 1 else ALONE)
    yield from (Part((image,), NO_STAGE) for image in images if image.stage is None)


def _next(staged: list[tuple[float, Image]], place: int, max_gap: timedelta | None) -> int | None:
    """The place of the member that follows the one at this place."""
    last_stage, last = staged[place]
    best, best_stage = None, float("inf")
    for other in range(place + 1, min(place + 1 + LOOK_AHEAD, len(staged))):
        stage, image = staged[other]
        if stage <= last_stage:
            break
        if stage < best_stage and (max_gap is None or _within(last, image, max_gap)):
            best, best_stage = other, stage
    return best


def _within(one: Image, other: Image, max_gap: timedelta) -> bool:
    start, end = time_of(one.timestamp), time_of(other.timestamp)
    return start is not None and end is not None and end - start <= max_gap


def compile_pattern(pattern: str, setting: str) -> re.Pattern[str]:
    """Compile a group pattern.

    Raises:
        StepError: it is no regular expression, or has no group named `group`; names the setting.
    """
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise StepError(f"{setting}: {pattern!r} is no regular expression that can be used: {error}") from error
    if "group" not in compiled.groupindex:
        raise StepError(f"{setting}: {pattern!r} needs a group named group, such as (?P<group>[^_]+)_")
    return compiled


def by_pattern(images: list[Image], pattern: re.Pattern[str], setting: str) -> Iterator[Part]:
    """Divide images, which stand in `order`, by directory and the text of `group` where the pattern is first found in the file name.

    An empty text is none. In the main thread matching has a limit of time, since a pattern may take years.

    Args:
        images: of all directories.
        pattern: as `compile_pattern` gives it.
        setting: what errors call it.

    Raises:
        StepError: it takes too long.
    """
    found: dict[tuple[str, str], list[Image]] = {}
    alone, name = [], ""
    try:
        with _limit(MATCHING_SECONDS):
            for image in images:
                name = image.name
                match = pattern.search(name)
                if match and match["group"]:
                    found.setdefault((image.directory, match["group"]), []).append(image)
                else:
                    alone.append(image)
    except TimeoutError as error:
        advice = "write it without repeats inside repeats, such as (a+)+"
        raise StepError(f"{setting}: {pattern.pattern!r} takes too long, last on {name!r}; {advice}") from error
    yield from (Part(tuple(members), "" if len(members) > 1 else ALONE_IN_PATTERN) for members in found.values())
    yield from (Part((image,), NO_MATCH) for image in alone)


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Raise `TimeoutError` when the body takes more processor time than this (a busy machine is no reason); no limit in other threads."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGVTALRM, _end)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _end(*_: object) -> None:
    raise TimeoutError
