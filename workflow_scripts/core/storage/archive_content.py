"""The content of one member of a zip archive: unpacked piece by piece, never further than it declares."""

import bz2
import io
import lzma
import struct
import zlib
from collections.abc import Iterator
from typing import Protocol

from workflow_scripts.core.storage.archive_directory import LOCAL, Member, Reader
from workflow_scripts.core.storage.base import StorageError

STORED, DEFLATE, BZIP2, LZMA = 0, 8, 12, 14
METHODS = {STORED: "stored", DEFLATE: "deflate", BZIP2: "bzip2", LZMA: "LZMA"}  # numbers of APPNOTE 6.3, [4.4.5]
_CHUNK = 1 << 18  # bytes that are read or unpacked at once
_LZMA_HEAD = struct.Struct("<2xHBL")  # version, length of what follows: properties, size of the dictionary [5.8.8]
_LZMA_PROPERTIES = 5
_LZMA_LEAST = 1 << 12  # bytes of a dictionary
_LZMA_END_MARK = 2  # flag: the stream ends with a mark


class _Decoder(Protocol):
    """What `bz2` and `lzma` give."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Inflater:
    """Deflate in the manner of `bz2` and `lzma`."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(-zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def unpack(read: Reader, member: Member, max_ratio: float) -> bytes:
    """The content, if it is what the archive declares.

    Args:
        read: gives so many bytes from an offset on, or raises EOFError.
        member: with a size within the limits.
        max_ratio: how many times what is really used of the packed data may expand.

    Raises:
        StorageError: it is damaged, or more than it declares.
    """
    start = _data_start(read, member)
    pieces = _stored(read, member, start) if member.method == STORED else _unpacked(read, member, start, max_ratio)
    content = io.BytesIO()
    crc = 0
    for piece in pieces:
        if content.tell() + len(piece) > member.size:
            raise StorageError(f"more than the {member.size} bytes that it declares")
        content.write(piece)
        crc = zlib.crc32(piece, crc)
    if content.tell() < member.size:
        raise StorageError(f"damaged: {content.tell()} of {member.size} bytes")
    if crc != member.crc:
        raise StorageError("damaged: wrong CRC-32")
    return content.getvalue()  # the buffer itself, no copy


def _data_start(read: Reader, member: Member) -> int:
    """Where the data begin, behind the member's own header, which must name the same member."""
    parts = LOCAL.unpack(read(LOCAL.size, member.offset))
    name, extra = parts[-2:]
    if parts[0] != b"PK\3\4":
        raise StorageError("damaged: no header where its own should be")
    if read(name, member.offset + LOCAL.size) != member.raw:
        raise StorageError("damaged: its own header has another name")
    start: int = member.offset + LOCAL.size + name + extra
    if start + member.packed > member.limit:
        raise StorageError("overlaps another member")
    return start


def _stored(read: Reader, member: Member, start: int) -> Iterator[bytes]:
    for offset in range(0, member.packed, _CHUNK):
        yield read(min(_CHUNK, member.packed - offset), start + offset)


def _unpacked(read: Reader, member: Member, start: int, max_ratio: float) -> Iterator[bytes]:
    name, position, end, total = METHODS[member.method], start, start + member.packed, 0
    decoder: _Decoder
    if member.method == LZMA:
        position += _LZMA_HEAD.size
        if position > end:
            raise StorageError("damaged: the LZMA data end too early")
        decoder = _lzma_decoder(member, read(_LZMA_HEAD.size, start))
    else:
        decoder = _Inflater() if member.method == DEFLATE else bz2.BZ2Decompressor()
    while not decoder.eof:
        packed = read(min(_CHUNK, end - position), position) if decoder.needs_input else b""
        position += len(packed)
        try:
            piece = decoder.decompress(packed, _CHUNK)
        except (zlib.error, lzma.LZMAError, OSError) as error:  # the last from bz2, with a text of its own
            raise StorageError(f"damaged: bad {name} data") from error
        if not packed and not piece and decoder.needs_input:
            raise StorageError(f"damaged: the {name} data end too early")
        total += len(piece)
        yield piece
    # A bomb may be padded so that it declares less than it does.
    if total > max_ratio * (position - start - len(decoder.unused_data)):
        raise StorageError(f"expands more than {max_ratio:g} times")


def _lzma_decoder(member: Member, head: bytes) -> _Decoder:
    """A decoder that was given the header of the older `.lzma` format, the one way to tell it where a stream without a mark ends."""
    length, properties, dictionary = _LZMA_HEAD.unpack(head)
    # No stream needs a larger dictionary than its content, and a header can ask for 4 GB.
    dictionary = min(dictionary, max(member.size, _LZMA_LEAST))
    size = -1 if member.flags & _LZMA_END_MARK else member.size
    decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE)
    try:
        decoder.decompress(struct.pack("<BLq", properties, dictionary, size), _CHUNK)
    except lzma.LZMAError as error:
        raise StorageError("damaged: bad LZMA header") from error
    if length != _LZMA_PROPERTIES:
        raise StorageError("damaged: bad LZMA header")
    return decoder
