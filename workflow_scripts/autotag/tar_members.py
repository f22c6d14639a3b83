"""The members of a tar, in order and in constant memory; of a damaged one everything that can still be told apart.

The standard library's reader keeps every member, ends without a word at the first damage behind the first member, and takes memory for
sizes that a header announces. Here damage is a member too: one without a name, that says which bytes are lost.
"""

import io
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

BLOCK = tarfile.BLOCKSIZE
_MAGIC, _MAGIC_AT = b"ustar", 257  # stands in the headers of every tar since 1988, though none is needed to read them
_LONGEST_EXTENSION = 1 << 20  # bytes of a long name or of PAX records
_CHUNK = 1 << 20  # bytes that are searched for a header at a time
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_EXTENSIONS = (*_PAX, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_WITHOUT_DATA = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE)
_RECORD = re.compile(rb"(\d{1,20}) ([^=\n]+)=")


@dataclass(frozen=True, slots=True)
class Member:
    """A member that is no folder, or damage.

    Attributes:
        name: its path in the tar; bytes that are no UTF-8 are lone surrogates. None for damage that belongs to no member.
        start: the byte at which its first header stands, or the damage begins.
        offset: the byte at which its content begins, or the damage too.
        size: bytes of the content, or of the damage.
        problem: why the content cannot be had, None where it can.
        is_lost: there was content, and it is damaged.
    """

    name: str | None
    start: int
    offset: int
    size: int
    problem: str | None = None
    is_lost: bool = False


class _NoHeaderError(Exception):
    """No header stands where one should; `is_hole`: zeros do."""

    def __init__(self, reason: str, *, is_hole: bool = False) -> None:
        super().__init__(reason)
        self.is_hole = is_hole


class TarReader:
    """Walks through the headers of a tar; contents are passed over, and read by who wants them."""

    def __init__(self, file: BinaryIO) -> None:
        """Take an open file."""
        self._file = file
        self._length = file.seek(0, io.SEEK_END)

    def members(self) -> Iterator[Member]:
        """Every member that is no folder, and every damage, in the order of the file."""
        position = behind = 0  # from `behind` on a header may stand that was missed
        while position < self._length:
            try:
                member, following = self._member(position)
            except _NoHeaderError as error:
                if self._is_zero(position):
                    return
                damage, found = self._damage(position, behind, error)
                yield damage
                if found == self._length:
                    return
                position = behind = found
                continue
            behind, left = member.offset, self._length - member.offset
            if member.size > left:
                problem = f"its header announces {member.size} bytes, {max(0, left)} are left in the tar"
                yield replace(member, size=max(0, left), problem=problem, is_lost=True)
                following = self._next_header(behind)
                if following == self._length:
                    return
            elif member.name is not None:
                yield member
            position = following
        text = "the mark at the end is missing: the tar may have been cut short" if self._length else "an empty file"
        yield Member(None, self._length, self._length, 0, text, is_lost=True)

    def read(self, member: Member) -> bytes:
        """The content of a member that has no problem."""
        self._file.seek(member.offset)
        return self._file.read(member.size)

    def _damage(self, position: int, behind: int, error: _NoHeaderError) -> tuple[Member, int]:
        """What is lost where no header stands, and where to go on."""
        found = self._next_header(position if error.is_hole else behind)
        if found == position:  # a header, but what has to follow it does not
            found = self._next_header(position + 1)
        if found < position:
            return Member(None, behind, behind, found - behind, "bytes are missing before the next header", is_lost=True), found
        text = "zeros where a header should be: a hole, or an end with more behind it"
        text = text if error.is_hole else f"no header where one should be ({error})"
        return Member(None, position, position, found - position, text, is_lost=True), found

    def _member(self, start: int) -> tuple[Member, int]:
        """What the header at `start` describes, a folder without its name; and where the next one should be."""
        name: str | None = None
        records: dict[str, str] = {}
        position, (info, block) = start, self._block(start)
        while info.type in _EXTENSIONS:
            content = self._extension(position + BLOCK, info.size)
            if info.type == tarfile.GNUTYPE_LONGNAME:
                name = _text(content.split(b"\0", 1)[0])
            elif info.type in _PAX:
                records |= _records(content)
            position += BLOCK + _padded(info.size)
            try:
                info, block = self._block(position)
            except _NoHeaderError as error:
                raise _NoHeaderError(f"a name or record, then {error}") from error
        offset, is_sparse = position + BLOCK, info.type == tarfile.GNUTYPE_SPARSE
        goes_on = is_sparse and block[482]
        while goes_on:
            self._file.seek(offset)
            goes_on = self._file.read(BLOCK).ljust(BLOCK, b"\0")[504]
            offset += BLOCK
        size = 0 if info.type in _WITHOUT_DATA else _number(records["size"]) if "size" in records else info.size
        name = records.get("GNU.sparse.name", records.get("path", info.name if name is None else name))
        problem = None
        if is_sparse or any(key.startswith("GNU.sparse.") for key in records):
            problem = "a sparse file, which is not read"
        elif info.type not in tarfile.REGULAR_TYPES:
            problem = "a link, which is not followed" if info.type in (tarfile.LNKTYPE, tarfile.SYMTYPE) else "no plain file"
        return Member(None if info.isdir() else name, start, offset, size, problem), offset + _padded(size)

    def _block(self, position: int) -> tuple[tarfile.TarInfo, bytes]:
        """A header of its own.

        Raises:
            _NoHeaderError: there is none.
        """
        self._file.seek(position)
        block = self._file.read(BLOCK)
        if len(block) < BLOCK:
            raise _NoHeaderError("the tar is cut off")
        if block.count(0) == BLOCK:
            raise _NoHeaderError("zeros", is_hole=True)
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise _NoHeaderError(str(error)) from error
        if info.size < 0:
            raise _NoHeaderError("negative size")
        return info, block

    def _extension(self, position: int, size: int) -> bytes:
        if size > min(_LONGEST_EXTENSION, self._length - position):
            raise _NoHeaderError("a name or record longer than can be")
        self._file.seek(position)
        return self._file.read(size)

    def _next_header(self, start: int) -> int:
        """Where the first header from `start` on begins, at any byte, since damage can be a gap of any length; else the end."""
        while start < self._length:
            self._file.seek(start)
            chunk = self._file.read(_CHUNK + BLOCK)
            at = chunk.find(_MAGIC, _MAGIC_AT)
            while 0 <= at < _CHUNK + _MAGIC_AT:
                try:
                    self._block(start + at - _MAGIC_AT)
                except _NoHeaderError:
                    at = chunk.find(_MAGIC, at + 1)
                else:
                    return start + at - _MAGIC_AT
            start += _CHUNK
        return self._length

    def _is_zero(self, position: int) -> bool:
        self._file.seek(position)
        while chunk := self._file.read(_CHUNK):
            if chunk.count(0) < len(chunk):
                return False
        return True


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _number(text: str) -> int:
    if not re.fullmatch(r"\d{1,19}", text, re.ASCII):
        raise _NoHeaderError("bad size in a PAX record")
    return int(text)


def _records(content: bytes) -> dict[str, str]:
    """PAX records: `length key=value` and a line's end each."""
    found, position = {}, 0
    while match := _RECORD.match(content, position):
        end = position + int(match[1])
        if end <= match.end():
            raise _NoHeaderError("bad PAX record")
        found[_text(match[2])] = _text(content[match.end() : end - 1])
        position = end
    return found
