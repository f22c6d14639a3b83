"""The groups of a project: which images compete, and what their group is called."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from operator import attrgetter
from pathlib import PurePosixPath
from typing import Literal

from workflow_scripts.core.accounting import Ledger
from workflow_scripts.core.decisions import Reviews
from workflow_scripts.predict.group_reviews import DROPPED, apply_reviews
from workflow_scripts.predict.stages import Part, by_pattern, by_stage, compile_pattern, order, parse

_MORE_DIGITS = (16, 64)  # of the hash in a group id, in place of 8, where two groups would have one id


@dataclass(frozen=True, slots=True)
class Rule:
    """How the images of a directory are grouped.

    Attributes:
        max_gap_minutes: a member follows the one before it within so many minutes; None for no limit. Without effect on a pattern.
        ungrouped: whether images that are in no group are listed, or are groups of one.
        pattern: regular expression with a group named `group`, in place of stages; empty for stages.
        pattern_setting: what errors call the pattern: the setting or the line that it comes from.
    """

    max_gap_minutes: float | None = None
    ungrouped: Literal["list", "singletons"] = "list"
    pattern: str = ""
    pattern_setting: str = "pattern"


@dataclass(frozen=True, slots=True)
class Group:
    """Images of one directory of which one is to be selected.

    Attributes:
        group_id: unique in the project.
        directory: below the project; empty for its root.
        paths: below the project, in group order; a selection is an index into them.
        timestamp: of the first image, as its name says it; `stages.time_of` gives the time, if it is one.
        stages: of the images; None where the name says none.
    """

    group_id: str
    directory: str
    paths: tuple[str, ...]
    timestamp: str | None
    stages: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Grouping:
    """What became of the images of a project: each is in one group or in `ungrouped`.

    Attributes:
        groups: by directory, then by the place of their first image in it.
        ungrouped: path and reason, by path.
        counts: of images: `listed`, `grouped`, `ungrouped`.
    """

    groups: list[Group]
    ungrouped: list[tuple[str, str]]
    counts: dict[str, int]


def group_images(
    project_id: str,
    paths: Iterable[str],
    rule: Rule,
    reviews: Reviews | None = None,
    contents: Mapping[str, str] | None = None,
) -> Grouping:
    """Group the images of a project by their names, and as a person decided.

    The result depends on the set of paths alone, not on their order; what stands in one directory does not touch the groups
    of another.

    Args:
        project_id: stands in front of every group id.
        paths: below the project, with `/`.
        rule: how.
        reviews: what a person decided, read with `group_reviews.DECISIONS`.
        contents: sha256 by path, for the reviews.

    Raises:
        StepError: the pattern cannot be used.
        AccountingError: a path is listed twice.
    """
    listed = list(paths)
    ledger = Ledger(listed, ("grouped", "ungrouped"))
    parts = _find_parts(listed, rule)
    if reviews is not None:
        alone = [part for part in parts if not _is_group(part, rule)]
        parts = alone + apply_reviews((part for part in parts if _is_group(part, rule)), reviews, contents or {})
    found = sorted((part for part in parts if _is_group(part, rule)), key=lambda part: (part.images[0].directory, order(part.images[0])))
    ungrouped = sorted((image.path, part.reason) for part in parts if not _is_group(part, rule) for image in part.images)
    groups = [_group(part, name) for part, name in zip(found, _ids(project_id, found), strict=True)]
    ledger.add("grouped", (path for group in groups for path in group.paths))
    ledger.add("ungrouped", (path for path, _ in ungrouped))
    return Grouping(groups, ungrouped, ledger.close())


def _find_parts(paths: Iterable[str], rule: Rule) -> list[Part]:
    images = sorted((parse(path) for path in paths), key=lambda image: (image.directory, order(image)))
    if rule.pattern:
        return list(by_pattern(images, compile_pattern(rule.pattern, rule.pattern_setting), rule.pattern_setting))
    max_gap = None if rule.max_gap_minutes is None else timedelta(minutes=rule.max_gap_minutes)
    return [part for _, found in groupby(images, attrgetter("directory")) for part in by_stage(list(found), max_gap)]


def _is_group(part: Part, rule: Rule) -> bool:
    return part.reason != DROPPED and (len(part.images) > 1 or rule.ungrouped == "singletons")


def _group(part: Part, group_id: str) -> Group:
    first = part.images[0]
    stages = tuple(image.stage for image in part.images)
    return Group(group_id, first.directory, tuple(image.path for image in part.images), first.timestamp, stages)


def _ids(project_id: str, parts: list[Part]) -> list[str]:
    """`{project_id}_group_{timestamp or stem of the first image}_{hash}` of each group.

    The hash is the SHA-256 of the sorted paths with a zero byte between them, 8 hex digits of it. In a project of 100,000 groups
    whose first images are called alike, two of them have the same 8 digits as likely as not; those alone get more digits.
    """
    firsts = [part.images[0] for part in parts]
    fronts = [f"{project_id}_group_{first.timestamp or PurePosixPath(first.name).stem}" for first in firsts]
    joined = ("\0".join(sorted(image.path for image in part.images)) for part in parts)
    hashes = [hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest() for text in joined]
    ids = [f"{front}_{digest[:8]}" for front, digest in zip(fronts, hashes, strict=True)]
    for digits in _MORE_DIGITS:
        seen = Counter(ids)
        ids = [f"{front}_{digest[:digits]}" if seen[name] > 1 else name for name, front, digest in zip(ids, fronts, hashes, strict=True)]
    return ids
