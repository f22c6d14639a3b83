"""Web dataset shards: the samples of a tar, by webdataset's rule, each with the bytes of its image or with why there are none."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.autotag.tar_members import Member, TarReader
from workflow_scripts.core.images import IMAGE_EXTENSIONS, DecodeError
from workflow_scripts.core.step import StepError
from workflow_scripts.core.storage import printable_key

_META = re.compile(r"__[^/]*__($|/)")  # what webdataset keeps for itself
_NAMED = 5  # extensions that an error names


@dataclass(frozen=True, slots=True)
class Sample:
    """An image of a shard, or what stands there in its place.

    Attributes:
        key: unique within the shard: the sample's; with a dot in its last part, which no sample's has, for what belongs to none.
        position: byte of the tar that it begins at: samples sort by it.
        member: path of the image in the tar; for a sample without one, its first member; None for damage.
        offset: byte at which the image begins; None for a sample without one.
        size: bytes of it, likewise.
        data: the image; None with an error.
        error: why there is none.
    """

    key: str
    position: int
    member: str | None
    offset: int | None = None
    size: int | None = None
    data: bytes | None = None
    error: str | None = None


def split_name(name: str) -> tuple[str, str] | None:
    """Key and extension of a member: its path up to the first dot of its last part, and what follows, in small letters.

    A path may begin with `./`, which the key does not. None for a name without a dot, or that begins with one.
    """
    name = re.sub(r"^(\./+)+", "", name)
    folder, slash, last = name.rpartition("/")
    stem, dot, extension = last.partition(".")
    return (folder + slash + stem, extension.lower()) if stem and dot else None


def samples(path: Path, largest: int) -> Iterator[Sample]:
    """The samples of a shard in the order of the tar; last, those without an image.

    An image is a member whose whole extension is one of an image: `a.seg.png` belongs to sample `a`, but is not its image. The first image
    of a sample counts, every other one is an error of its own. So is each damage; the rest of the shard is read all the same.

    Args:
        path: the tar.
        largest: bytes above which a member is not read.

    Raises:
        StepError: the file cannot be read at all.
    """
    try:
        with path.open("rb", buffering=1 << 18) as file:
            yield from _Shard(path.name, TarReader(file), largest).samples()
    except OSError as error:
        raise StepError(f"{path}: cannot be read: {error.strerror or type(error).__name__}") from error


class _Shard:
    def __init__(self, name: str, tar: TarReader, largest: int) -> None:
        self._name, self._tar, self._largest = name, tar, largest
        self._images: dict[str, str] = {}  # key → the member that is its image
        self._others: dict[str, tuple[int, str, set[str]]] = {}  # key → position, name and extensions of members that are no images

    def samples(self) -> Iterator[Sample]:
        is_empty = True
        for member in self._tar.members():
            if sample := self._sample(member):
                is_empty = False
                yield sample
        for key, (position, name, extensions) in self._others.items():
            if key not in self._images:
                is_empty = False
                found = ", ".join([*sorted(extensions)[:_NAMED], *["…"] * (len(extensions) > _NAMED)])
                yield Sample(key, position, name, error=f"no image in the sample, only {found}")
        if is_empty:
            yield Sample(f"{self._name}@0", 0, None, error="no sample in the tar")

    def _sample(self, member: Member) -> Sample | None:
        """What a member is to the shard; None where it is no image, or is heard of later."""
        name = None if member.name is None else printable_key(member.name)
        parts = None if name is None else split_name(name)
        if name is None or parts is None or f".{parts[1]}" not in IMAGE_EXTENSIONS:
            if name and parts and not _META.match(name):
                self._others.setdefault(parts[0], (member.start, name, set()))[2].add(printable_key(parts[1]))
            return self._damage(member, name) if member.is_lost else None
        key = parts[0]
        place = (member.start, name, member.offset, member.size)
        if key in self._images:
            other = f"{name}@{member.offset}"
            return Sample(other, *place, error=f"another image of the sample {key}, which has {self._images[key]}")
        self._images[key] = name
        if member.problem:
            return Sample(key, *place, error=f"tar: {member.problem}")
        if member.size > self._largest:
            return Sample(key, *place, error=str(DecodeError("too large")))
        return Sample(key, *place, data=self._tar.read(member))

    def _damage(self, member: Member, name: str | None) -> Sample:
        end = member.offset + member.size
        text = f"tar: damaged at bytes {member.offset} to {end}: {'' if name is None else f'{name}: '}{member.problem}"
        return Sample(f"{self._name}@{member.offset}-{end}", member.start, name, member.offset, member.size, error=text)
