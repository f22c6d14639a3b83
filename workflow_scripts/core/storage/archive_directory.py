"""The list of members at the end of a zip archive, read without trust in it.

Not by `zipfile`: one name that is no text, one unknown version or one broken field makes it give up the whole archive, and what
it lets pass changes with Python. The format is that of PKWARE's APPNOTE 6.3; numbers in brackets are its sections.
"""

import re
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

LOCAL = struct.Struct("<4s5H3L2H")  # the header in front of a member's data [4.3.7]
_END = struct.Struct("<4s4H2LH")  # end of central directory [4.3.16]
_LOCATOR64 = struct.Struct("<4sLQL")  # [4.3.15]
_END64 = struct.Struct("<4sQ2H2L4Q")  # [4.3.14]
_ENTRY = struct.Struct("<4s4B4H3L5H2L")  # one member in the central directory [4.3.12]
_LARGEST_DIRECTORY = 1 << 28  # bytes that are taken into memory: two million members
_IN_EXTRA = 0xFFFFFFFF  # the number itself stands in the Zip64 extra field [4.5.3]
_ZIP64, _UNIX_TIME = 0x0001, 0x5455
OUTSIDE = -1
_EARLIEST = "1980-01-01T00:00:00Z"

Reader = Callable[[int, int], bytes]


class DirectoryError(Exception):
    """The list of members cannot be read; the text says why and what to do."""


@dataclass(slots=True)
class Member:
    """One entry of the list, as it stands there.

    Attributes:
        raw: its name, in bytes.
        flags: [4.4.4].
        method: of compression [4.4.5].
        crc: CRC-32 of the content.
        packed: bytes that it takes up in the archive.
        size: bytes of the content.
        offset: where its own header begins in the file.
        limit: where what follows it begins; OUTSIDE where its own header would lie behind all members.
        mode: Unix file type and permissions; 0 where the archive has none.
        modified: ISO 8601, see `_modified`.
        is_broken: whether a number is missing.
    """

    raw: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    mode: int
    modified: str
    is_broken: bool
    limit: int = OUTSIDE


def read_members(read: Reader, size: int) -> list[Member]:
    """Every entry of the list, in its order.

    Args:
        read: gives so many bytes from an offset on, or raises EOFError.
        size: of the file.

    Raises:
        DirectoryError: no archive, or not one as a whole.
    """
    place, count, length, offset = _find_end(read, size)
    start = place - length
    before = start - offset  # what was put in front of the archive: the program of a self-extracting one
    if before < 0:
        raise DirectoryError("bytes are missing before its list of members; copy or download it again")
    if length > _LARGEST_DIRECTORY:
        raise DirectoryError(f"its list of members takes up {length} bytes, more than {_LARGEST_DIRECTORY}; split it into several archives")
    members = list(_entries(read(length, start), before))
    # Without Zip64 the count has 16 bits, and writers that know no Zip64 let it overflow.
    if len(members) & 0xFFFF != count & 0xFFFF:
        raise _damaged(f"{len(members)} members where it says {count}")
    _set_limits(members, start)
    return members


def _damaged(what: str) -> DirectoryError:
    return DirectoryError(f"its list of members is damaged ({what}); copy or download it again, or save what is left with zip -FF")


def _find_end(read: Reader, size: int) -> tuple[int, int, int, int]:
    """Where the list of members ends, how many it has, its length and its offset as it stands there."""
    if size == 0:
        raise DirectoryError("an empty file; copy or download it again")
    tail_start = max(0, size - _END.size - 0xFFFF)  # the longest comment
    tail = read(size - tail_start, tail_start)
    places = [found.start() for found in re.finditer(b"PK\5\6", tail) if found.start() + _END.size <= len(tail)]
    if not places:
        if read(min(size, 4), 0) == b"PK\3\4":
            raise DirectoryError("cut off: its list of members, which stands at the end, is missing; copy or download it again")
        raise DirectoryError("no zip archive; name a .zip file or a folder of images")
    # A comment may hold the signature too; the true record is the one whose comment ends with the file, else the last.
    whole = [place for place in places if place + _END.size + _END.unpack_from(tail, place)[7] == len(tail)]
    place = (whole or places)[-1]
    _, disk, first_disk, _, count, length, offset, _ = _END.unpack_from(tail, place)
    place += tail_start
    if place >= _LOCATOR64.size + _END64.size:
        both = read(_END64.size + _LOCATOR64.size, place - _END64.size - _LOCATOR64.size)
        if both[_END64.size :].startswith(b"PK\6\7"):
            if not both.startswith(b"PK\6\6"):
                raise _damaged("its Zip64 record is missing")
            place -= len(both)
            disk, first_disk, _, count, length, offset = _END64.unpack_from(both)[4:]
    if disk or first_disk:
        raise DirectoryError("one part of a split archive; join the parts first, with zip -s 0 --out")
    if length > place:
        raise DirectoryError("bytes are missing before the end of its list of members; copy or download it again")
    return place, count, length, offset


def _entries(directory: bytes, before: int) -> Iterator[Member]:
    position = 0
    number = 1
    while position < len(directory):
        if len(directory) - position < _ENTRY.size or not directory.startswith(b"PK\1\2", position):
            raise _damaged(f"member {number}")
        parts = _ENTRY.unpack_from(directory, position)
        flags, method, time, date, crc, packed, size, name, extra, comment = parts[5:15]
        attributes, offset = parts[17:]
        names_end = position + _ENTRY.size + name
        position = names_end + extra + comment
        if position > len(directory):
            raise _damaged(f"member {number}")
        fields = _extra_fields(directory[names_end : names_end + extra]) if extra else {}
        numbers, is_broken = _large_numbers([size, packed, offset], fields.get(_ZIP64, b""))
        yield Member(
            directory[names_end - name : names_end],
            flags,
            method,
            crc,
            numbers[1],
            numbers[0],
            numbers[2] + before,
            attributes >> 16,
            _modified(date, time, fields.get(_UNIX_TIME, b"")),
            is_broken,
        )
        number += 1


def _extra_fields(extra: bytes) -> dict[int, bytes]:
    """By their ids, the first of each; what does not fit is left out."""
    fields: dict[int, bytes] = {}
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, position)
        fields.setdefault(kind, extra[position + 4 : position + 4 + length])
        position += 4 + length
    return fields


def _large_numbers(numbers: list[int], zip64: bytes) -> tuple[list[int], bool]:
    """The numbers with those that need 64 bits put in, and whether one is missing."""
    if _IN_EXTRA not in numbers:
        return numbers, False
    wanted = [place for place, number in enumerate(numbers) if number == _IN_EXTRA]
    if len(zip64) < 8 * len(wanted):
        return numbers, True
    for place, (number,) in zip(wanted, struct.iter_unpack("<Q", zip64[: 8 * len(wanted)]), strict=True):
        numbers[place] = number
    return numbers, False


@lru_cache(maxsize=4096)  # members come in bursts
def _modified(date: int, time: int, unix: bytes) -> str:
    """UTC where the archive gives it (Info-ZIP's extra field); else its date, which has no zone, as if it were UTC; else the earliest."""
    if len(unix) >= 5 and unix[0] & 1:
        moment = datetime.fromtimestamp(struct.unpack_from("<l", unix, 1)[0], UTC)
    else:
        try:
            moment = datetime((date >> 9) + 1980, date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, 2 * (time & 31), tzinfo=UTC)
        except ValueError:
            return _EARLIEST
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _set_limits(members: Iterable[Member], start: int) -> None:
    """Say of each member where the next begins: one that reaches beyond it shares its bytes, as in a bomb that quotes itself."""
    inside = sorted((member for member in members if member.offset + LOCAL.size <= start), key=lambda member: member.offset)
    shared = Counter(member.offset for member in inside)
    following = start
    for member in reversed(inside):
        member.limit = following if shared[member.offset] == 1 else member.offset
        following = member.offset
