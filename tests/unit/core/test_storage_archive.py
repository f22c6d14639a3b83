"""Zip archives as stores: keys, order, dates, odd names, what is left out, what is refused and why, damage, bombs, threads, handles."""

import bz2
import gc
import io
import lzma
import os
import random
import stat
import struct
import sys
import tracemalloc
import warnings
import zipfile
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Barrier

import psutil
import pytest
from PIL import Image

from workflow_scripts.core.inspect import Inspector
from workflow_scripts.core.storage import FolderStorage, Item, StorageError, StoreError, ZipStorage
from workflow_scripts.core.storage import archive_directory as directory_module

STORED, DEFLATE, BZIP2, LZMA = 0, 8, 12, 14
ENCRYPTED, END_MARK, PATCH, STRONG, UTF8, MASKED = 1, 2, 0x20, 0x40, 0x800, 0x2000
IN_EXTRA = 0xFFFFFFFF
LIMITS = {"max_member": 100_000, "max_ratio": 50}
JOIN = "one part of a split archive; join the parts first, with zip -s 0 --out"
COPY_AGAIN = "copy or download it again"


def deflated(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


@dataclass
class Member:
    """What a hand-made archive says of a member; what is None follows from the data."""

    name: bytes
    data: bytes = b"content"
    method: int = STORED
    flags: int = 0
    mode: int = stat.S_IFREG | 0o644
    packed: bytes | None = None
    crc: int | None = None
    size: int | None = None
    packed_size: int | None = None
    offset: int | None = None
    date: tuple = (2024, 5, 6, 7, 8, 10)
    extra: bytes = b""
    own_name: bytes | None = None
    own_extra: bytes = b""

    def body(self):
        return {DEFLATE: deflated, BZIP2: bz2.compress}.get(self.method, bytes)(self.data) if self.packed is None else self.packed

    def facts(self):
        """What both headers have: version, flags, method, time, date, CRC, sizes."""
        year, month, day, hour, minute, second = self.date
        size = len(self.data) if self.size is None else self.size
        packed = len(self.body()) if self.packed_size is None else self.packed_size
        crc = zlib.crc32(self.data) if self.crc is None else self.crc
        time, date = hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day
        return struct.pack("<5H3L", 99, self.flags, self.method, time, date, crc, packed, size)

    def header(self):
        name = self.name if self.own_name is None else self.own_name
        return b"PK\3\4" + self.facts() + struct.pack("<2H", len(name), len(self.own_extra)) + name + self.own_extra

    def entry(self, offset):
        numbers = struct.pack("<5H2L", len(self.name), len(self.extra), 0, 0, 0, self.mode << 16, offset)
        return b"PK\1\2" + b"\x3f\3" + self.facts() + numbers + self.name + self.extra


def ending(count, length, offset, *, comment=b"", disk=0):
    return struct.pack("<4s4H2LH", b"PK\5\6", disk, disk, count & 0xFFFF, count & 0xFFFF, length, offset, len(comment)) + comment


def ending64(count, length, offset, *, disk=0):
    """Records with all numbers in 64 bits, in front of an end that has none."""
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, disk, disk, count, count, length, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", disk, offset + length, 1)
    return record + locator + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, IN_EXTRA, IN_EXTRA, 0)


def parts(*members):
    """Headers and data, then the list."""
    body, entries = bytearray(), bytearray()
    for member in members:
        entries += member.entry(len(body) if member.offset is None else member.offset)
        body += member.header() + member.body()
    return bytes(body), bytes(entries)


def archive(*members, end=ending, **options):
    """The bytes of an archive of these members, however wrong they are."""
    body, entries = parts(*members)
    return body + entries + end(len(members), len(entries), len(body), **options)


@pytest.fixture
def opened(tmp_path):
    """Make an archive of members, or of bytes, and open it."""

    def open_it(*members, **limits):
        data = members[0] if isinstance(members[0], bytes) else archive(*members)
        (tmp_path / "made.zip").write_bytes(data)
        return ZipStorage(tmp_path / "made.zip", **(limits or LIMITS))

    return open_it


def listed(store):
    return [item.key for item in store.list()]


def contents(store):
    """By key, the bytes, or why there are none."""
    found = {}
    for item in store.list():
        try:
            found[item.key] = store.read(item)
        except StorageError as error:
            found[item.key] = str(error)
    return found


def neighbours(*members):
    """The members between two sound ones."""
    return Member(b"a.png", b"first"), *members, Member(b"z.png", b"last" * 9, DEFLATE)


SOUND = {"a.png": b"first", "z.png": b"last" * 9}


def zipped(path, files, **options):
    """An archive as Python writes it."""
    with zipfile.ZipFile(path, "w", **options) as target:
        for name, data in files.items():
            target.writestr(name, data)
    return path


# ---- listing ----


def test_an_item_says_name_size_tag_and_date(tmp_path):
    info = zipfile.ZipInfo("in/b c.jpg", date_time=(2023, 11, 14, 22, 13, 20))
    store = ZipStorage(zipped(tmp_path / "p.zip", {info: b"12345"}))
    assert list(store.list()) == [Item("in/b c.jpg", 5, "cbf53a1c-5", "2023-11-14T22:13:20Z")]
    assert store.find("in/b c.jpg") == next(store.list())
    assert store.find("in/b") is None
    assert (store.skipped, store.refused) == (Counter(), [])


@pytest.mark.parametrize("names", [["b/x", "b-", "b", "B", "a0", "a/b"], ["\uff61.jpg", "\U0001f600.jpg", "é", "z", "e\u0301"]])
def test_the_order_is_that_of_the_keys_utf8_bytes(tmp_path, names):
    assert listed(ZipStorage(zipped(tmp_path / "p.zip", dict.fromkeys(names, "x")))) == sorted(names, key=str.encode)


def test_the_tag_follows_the_content_and_nothing_else(opened):
    (one,) = opened(Member(b"a", b"12")).list()
    assert [item.etag for item in opened(Member(b"b", b"12", DEFLATE, date=(1999, 1, 1, 0, 0, 0))).list()] == [one.etag]
    assert [item.etag for item in opened(Member(b"a", b"13")).list()] != [one.etag]
    assert [item.etag for item in opened(Member(b"a", b"12", size=3, packed_size=3)).list()] != [one.etag]


@pytest.mark.parametrize(
    ("date", "extra", "wanted"),
    [
        ((2024, 2, 29, 23, 59, 58), b"", "2024-02-29T23:59:58Z"),
        ((1980, 0, 0, 0, 0, 0), b"", "1980-01-01T00:00:00Z"),  # what writers without a clock put
        ((2023, 2, 29, 0, 0, 0), b"", "1980-01-01T00:00:00Z"),
        ((2107, 12, 31, 23, 59, 58), b"", "2107-12-31T23:59:58Z"),
        ((2024, 5, 6, 31, 63, 62), b"", "1980-01-01T00:00:00Z"),
        ((2024, 5, 6, 7, 8, 10), struct.pack("<HHBl", 0x5455, 5, 3, 1_700_000_000), "2023-11-14T22:13:20Z"),
        ((2024, 5, 6, 7, 8, 10), struct.pack("<HHBl", 0x5455, 5, 1, -1), "1969-12-31T23:59:59Z"),
        ((2024, 5, 6, 7, 8, 10), struct.pack("<HHBl", 0x5455, 5, 2, 1_700_000_000), "2024-05-06T07:08:10Z"),  # not the time of change
        ((2024, 5, 6, 7, 8, 10), struct.pack("<HHBH", 0x5455, 3, 1, 1), "2024-05-06T07:08:10Z"),  # too short
        ((2024, 5, 6, 7, 8, 10), b"\xff\xff\xff", "2024-05-06T07:08:10Z"),
        ((2024, 5, 6, 7, 8, 10), b"XX\4\0abcd" + struct.pack("<HHBl", 0x5455, 5, 1, 0), "1970-01-01T00:00:00Z"),
    ],
)
def test_the_date_is_utc_where_the_archive_knows_it_else_its_own_date_taken_as_utc(opened, date, extra, wanted):
    assert [item.last_modified for item in opened(Member(b"a.png", date=date, extra=extra)).list()] == [wanted]


def test_folders_are_no_items(opened):
    store = opened(
        *neighbours(
            Member(b"sub/", b""),
            Member(b"win\\", b""),
            Member(b"bare", b"", mode=stat.S_IFDIR | 0o755),
            Member(b"java/", b"", DEFLATE),  # two bytes of data that hold nothing
        )
    )
    assert (contents(store), store.skipped, store.refused) == (SOUND, Counter(), [])


ODD_NAMES = [
    "naïve é.jpg", "e\u0301.jpg", "日本語/写真.png", "😀.webp", " leading and trailing .png ", "it's \"quoted\".png", "#%{}[]&;$`~!.png",
    "%41.png", "-rf.png", ".hidden.png", "two\nlines.png", "tab\there.png", "n" * 251 + ".png", "a..b/...png", "..c/d..", "no_extension",
    "C/D.png", "CC:x.png", "con.png", "😀" * 3000,
]  # fmt: skip


def test_odd_names_are_keys_as_they_are(tmp_path):
    store = ZipStorage(zipped(tmp_path / "p.zip", {name: name.encode() for name in ODD_NAMES}))
    assert contents(store) == {name: name.encode() for name in sorted(ODD_NAMES)}
    assert (store.skipped, store.refused) == (Counter(), [])


@pytest.mark.parametrize(
    ("raw", "flags", "key"),
    [
        (b"caf\x82.png", 0, "café.png"),  # code page 437
        (b"\x80\x81\xe1.png", 0, "Çüß.png"),
        ("café.png".encode(), 0, "café.png"),  # UTF-8 without its flag, as macOS writes
        ("café.png".encode(), UTF8, "café.png"),
        (b"a\\b\\c.png", 0, "a/b/c.png"),
        (b"./a.png.x", 0, "a.png.x"),
        (b"a//b/./c.png", 0, "a/b/c.png"),
    ],
)
def test_names_become_keys(opened, raw, flags, key):
    store = opened(*neighbours(Member(raw, flags=flags)))
    assert contents(store) == SOUND | {key: b"content"}
    assert store.refused == []


def test_what_systems_leave_behind_is_counted_unseen(opened):
    left = [b"__MACOSX/._a.png", b"__MACOSX/x/y.png", b"in/__MACOSX/b.png", b".DS_Store", b"in/.DS_Store", b"._a.png", b"in/._b.png"]
    left += [b"Thumbs.db", b"in/THUMBS.DB", b"desktop.ini", b"in\\Desktop.ini"]
    kept = {"Thumbs.db/x.png", "my__MACOSX/x.png", "__MACOSX", "a._x.png", ".DS_Store.png"}
    store = opened(*(Member(name, flags=ENCRYPTED) for name in left), *(Member(name.encode()) for name in sorted(kept)))
    assert store.skipped == {"__MACOSX": 3, ".DS_Store": 2, "._*": 2, "Thumbs.db": 2, "desktop.ini": 2}
    assert (set(listed(store)), store.refused) == (kept, [])


# ---- refused ----

FOLDER = "the name of a folder"
TRAVERSAL = "path traversal: .. in the name"
NO_TEXT = "the name is no valid text"
REFUSED = {
    "up": (Member(b"../up.png"), "../up.png", TRAVERSAL),
    "up within": (Member(b"in/../../up.png"), "in/../../up.png", TRAVERSAL),
    "up on Windows": (Member(b"in\\..\\up.png"), "in\\..\\up.png", TRAVERSAL),
    "up at the end": (Member(b"in/.."), "in/..", TRAVERSAL),
    "absolute": (Member(b"/etc/passwd"), "/etc/passwd", "absolute name"),
    "drive": (Member(b"C:\\x.png"), "C:\\x.png", "absolute name"),
    "drive with a slash": (Member(b"c:/x.png"), "c:/x.png", "absolute name"),
    "drive alone": (Member(b"C:x.png"), "C:x.png", "absolute name"),
    "share": (Member(b"\\\\host\\x.png"), "\\\\host\\x.png", "absolute name"),
    "no name": (Member(b""), "", NO_TEXT),
    "dot": (Member(b"."), ".", FOLDER),
    "file named as a folder": (Member(b"in/"), "in/", FOLDER),
    "no UTF-8": (Member(b"caf\xe9.png", flags=UTF8), "caf\\xe9.png", NO_TEXT),
    "surrogate": (Member(b"\xed\xa0\x80.png", flags=UTF8), "\\xed\\xa0\\x80.png", NO_TEXT),
    "NUL": (Member(b"m.png\0.exe"), "m.png\\x00.exe", NO_TEXT),
    "link": (Member(b"l.png", b"/etc/passwd", mode=stat.S_IFLNK | 0o777), "l.png", "a link"),
    "character device": (Member(b"d.png", b"", mode=stat.S_IFCHR), "d.png", "a device or another special file"),
    "block device": (Member(b"d.png", mode=stat.S_IFBLK), "d.png", "a device or another special file"),
    "pipe": (Member(b"d.png", mode=stat.S_IFIFO), "d.png", "a device or another special file"),
    "socket": (Member(b"d.png", mode=stat.S_IFSOCK), "d.png", "a device or another special file"),
    "folder with content": (Member(b"d.png", mode=stat.S_IFDIR), "d.png", "a folder, yet with content"),
    "encrypted": (Member(b"e.png", flags=ENCRYPTED), "e.png", "encrypted"),
    "AES": (Member(b"e.png", flags=ENCRYPTED, method=99), "e.png", "encrypted"),
    "strong encryption": (Member(b"e.png", flags=STRONG), "e.png", "encrypted"),
    "masked header": (Member(b"e.png", flags=MASKED), "e.png", "encrypted"),
    "method": (Member(b"m.png", method=9), "m.png", "unknown compression method 9"),
    "patch": (Member(b"m.png", method=DEFLATE, flags=PATCH), "m.png", "unknown compression method 8 with a patch"),
    "too large": (Member(b"m.png", b"x" * 100_001), "m.png", "declares 100001 bytes, more than 100000"),
    "too dense": (Member(b"m.png", b"\0" * 99_000, DEFLATE), "m.png", "declares to expand more than 50 times"),
    "from nothing": (Member(b"m.png", b"x", DEFLATE, packed=b""), "m.png", "declares to expand more than 50 times"),
    "two sizes": (Member(b"m.png", size=8), "m.png", "damaged: stored, yet with two sizes"),
    "outside": (Member(b"m.png", offset=5000), "m.png", "damaged: its data would lie outside the archive"),
    "no Zip64 size": (Member(b"m.png", size=IN_EXTRA), "m.png", "damaged: its Zip64 numbers are missing"),
    "half a Zip64 size": (Member(b"m.png", size=IN_EXTRA, extra=b"\1\0\4\0abcd"), "m.png", "damaged: its Zip64 numbers are missing"),
    "huge Zip64 size": (
        Member(b"m.png", size=IN_EXTRA, extra=struct.pack("<HHQ", 1, 8, 1 << 60)), "m.png", f"declares {1 << 60} bytes, more than 100000",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_member_is_refused_with_its_reason_and_the_others_are_read(opened, case):
    member, name, reason = REFUSED[case]
    store = opened(*neighbours(member))
    assert store.refused == [(name, reason)]
    assert (contents(store), store.skipped) == (SOUND, Counter())


def test_limits_are_the_last_that_is_allowed(opened):
    data = os.urandom(500) + b"\0" * 1500
    ratio = len(data) / len(deflated(data))
    assert contents(opened(Member(b"m", data, DEFLATE), max_member=2000, max_ratio=ratio)) == {"m": data}
    assert opened(Member(b"m", data, DEFLATE), max_member=1999, max_ratio=ratio).refused == [("m", "declares 2000 bytes, more than 1999")]
    assert opened(Member(b"m", data, DEFLATE), max_member=2000, max_ratio=3).refused == [("m", "declares to expand more than 3 times")]


def test_by_default_200_megabytes_and_100_times(opened, tmp_path):
    huge = [Member(b"%d" % size, b"", DEFLATE, size=size, packed_size=2_000_000) for size in (200_000_000, 200_000_001)]
    (tmp_path / "huge.zip").write_bytes(archive(replace(huge[0], packed=bytes(2_000_000)), replace(huge[1], packed=bytes(2_000_001))))
    store = ZipStorage(tmp_path / "huge.zip")
    assert [item.size for item in store.list()] == [200_000_000]
    assert store.refused == [("200000001", "declares 200000001 bytes, more than 200000000")]
    dense = [Member(b"%d" % size, b"", DEFLATE, size=size, packed=b"0123456789") for size in (1000, 1001)]
    (tmp_path / "dense.zip").write_bytes(archive(*dense))
    assert ZipStorage(tmp_path / "dense.zip").refused == [("1001", "declares to expand more than 100 times")]


def test_of_a_name_twice_with_one_content_the_first_is_read(opened):
    later = Member(b"in\\m.png", b"same", DEFLATE, date=(2001, 1, 1, 0, 0, 0))
    store = opened(*neighbours(Member(b"in/m.png", b"same"), later, later))
    assert store.refused == [("in\\m.png", "the name stands there before, with the same content")] * 2
    assert contents(store) == SOUND | {"in/m.png": b"same"}
    assert store.find("in/m.png").last_modified == "2024-05-06T07:08:10Z"


def test_of_a_name_twice_with_two_contents_none_is_read(opened):
    store = opened(*neighbours(Member(b"m.png", b"same"), Member(b"./m.png", b"same"), Member(b"m.png", b"emas")))
    reason = "the name stands there 3 times, with different contents"
    assert store.refused == [("./m.png", reason), ("m.png", reason), ("m.png", reason)]
    assert contents(store) == SOUND


def test_names_that_differ_in_case_or_in_kind_are_two(opened):
    store = opened(Member(b"m.png", b"1"), Member(b"M.png", b"2"), Member(b"m.png/x", b"3"))
    assert contents(store) == {"m.png": b"1", "M.png": b"2", "m.png/x": b"3"}


def test_what_is_refused_is_sorted_and_every_member_is_named_once(opened):
    store = opened(*(member for member, _, _ in REFUSED.values()), *neighbours(), Member(b".DS_Store"), Member(b"sub/", b""))
    assert store.refused == sorted(store.refused)
    assert len(store.refused) + len(listed(store)) + store.skipped.total() == len(REFUSED) + 3


# ---- overlaps ----


def quoted_bomb(kernel_size, count):
    """Members of which each quotes the next one's header in a deflate block of its own and goes on into the next one's data."""
    content = b"\0" * kernel_size
    members = [Member(b"%03d" % count, content, DEFLATE)]
    stream = members[0].body()
    for number in reversed(range(count)):
        quoted = members[0].header()
        stream = struct.pack("<BHH", 0, len(quoted), len(quoted) ^ 0xFFFF) + quoted + stream
        content = quoted + content
        members.insert(0, Member(b"%03d" % number, content, DEFLATE, packed=stream))
    body, entries, offset = members[0].header() + members[0].body(), b"", 0
    for member in members:
        entries += member.entry(offset)
        offset += len(member.header()) + 5
    return body + entries + ending(len(members), len(entries), len(body))


def test_a_bomb_that_quotes_itself_gives_no_more_than_its_kernel(opened):
    store = opened(quoted_bomb(50_000, 20), max_member=1_000_000, max_ratio=2000)
    assert store.refused == [(f"{number:03d}", "overlaps another member") for number in range(20)]
    assert contents(store) == {"020": b"\0" * 50_000}


def test_two_names_for_the_same_bytes_are_both_refused(opened):
    store = opened(*neighbours(Member(b"m.png"), Member(b"n.png", offset=len(Member(b"a.png", b"first").header()) + 5)))
    assert store.refused == [("m.png", "overlaps another member"), ("n.png", "overlaps another member")]
    assert contents(store) == SOUND
    both = opened(Member(b"m.png"), Member(b"n.png", offset=0), Member(b"z", b"z"))
    assert both.refused == [("m.png", "overlaps another member"), ("n.png", "overlaps another member")]
    assert contents(both) == {"z": b"z"}


def test_a_member_may_end_where_the_list_begins_and_no_later(opened):
    body, entries = parts(Member(b"m.png", b"12345678"))
    end = ending(1, len(entries), len(body))
    assert contents(opened(body + entries + end)) == {"m.png": b"12345678"}
    body, entries = parts(Member(b"m.png", b"12345678", size=9, packed_size=9))
    assert opened(body + entries + end).refused == [("m.png", "overlaps another member")]


def test_an_overlap_that_only_a_members_own_header_shows_is_found_when_it_is_read(opened):
    shown = Member(b"m.png", b"12345678", own_extra=b"XX\4\0abcd")
    body, entries = parts(shown, Member(b"z.png", b"z"))
    grown = body.replace(b"\x08\0m.png", b"\x09\0m.png")  # one byte longer than it is
    assert grown != body
    store = opened(grown + entries + ending(2, len(entries), len(body)))
    assert contents(store) == {"m.png": "overlaps another member", "z.png": b"z"}
    assert contents(opened(body + entries + ending(2, len(entries), len(body)))) == {"m.png": b"12345678", "z.png": b"z"}


# ---- reading ----


@pytest.mark.parametrize("method", [STORED, DEFLATE, BZIP2, LZMA])
@pytest.mark.parametrize("size", [0, 1, 1000, 1 << 18, (1 << 18) + 1, 3_000_001])
def test_contents_of_every_method_and_size_are_what_was_written(tmp_path, method, size):
    noise = random.Random(size).randbytes(size)
    data = noise[: size // 2] + noise[: size // 4] + b"\0" * (size - size // 2 - size // 4)
    store = ZipStorage(zipped(tmp_path / "p.zip", {"m": data}, compression=method))
    assert contents(store) == {"m": data}


def test_lzma_without_an_end_mark_ends_by_its_size(opened):
    # Literals alone, from an encoder that writes no mark; 7-Zip does the same.
    stream = bytes.fromhex("0024194986e7d5460cb3ee6e8df5480887f42f32f1c1ebb6fb656a958999f0c59fe8fb1807d1bd7aad45c400")
    head = b"\x10\x02\x05\x00" + bytes.fromhex("5d00000100")
    member = Member(b"m", b"Hello\nWorld!\n" * 3, LZMA, packed=head + stream)
    assert contents(opened(member)) == {"m": b"Hello\nWorld!\n" * 3}


@pytest.mark.parametrize("seed", range(5))
def test_pythons_own_reader_agrees_on_sound_archives(tmp_path, seed):
    chance = random.Random(seed)
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w") as target:
        for number in range(40):
            name = "/".join(chance.choices(["a", "B b", "é", "日本"], k=chance.randint(1, 3))) + f"/{number}.png"
            info = zipfile.ZipInfo(name, (chance.randint(1980, 2107), chance.randint(1, 12), chance.randint(1, 28), 1, 2, 4))
            info.compress_type = chance.choice([STORED, DEFLATE, BZIP2, LZMA])
            with target.open(info, "w", force_zip64=chance.random() < 0.3) as member:
                member.write(chance.randbytes(chance.randint(0, 3000)) * chance.randint(1, 3))
    store = ZipStorage(path)
    with zipfile.ZipFile(path) as other:
        assert contents(store) == {name: other.read(name) for name in sorted(other.namelist())}
        for item in store.list():
            info = other.getinfo(item.key)
            date = "{:04d}-{:02d}-{:02d}T{:02d}:{:02d}:{:02d}Z".format(*info.date_time)
            assert (item.size, item.etag, item.last_modified) == (info.file_size, f"{info.CRC:08x}-{info.file_size:x}", date)


def test_a_member_with_sizes_behind_its_data_is_read(tmp_path):
    class Pipe(io.FileIO):
        def seekable(self):
            return False

        def tell(self):
            raise io.UnsupportedOperation

    with Pipe(tmp_path / "p.zip", "w") as pipe, zipfile.ZipFile(pipe, "w") as target:  # no seeking back to the header
        target.writestr("a", b"one" * 100, DEFLATE)
        target.writestr("b", b"two")
    assert contents(ZipStorage(tmp_path / "p.zip")) == {"a": b"one" * 100, "b": b"two"}


GOOD = random.Random(0).randbytes(8000) + bytes(2240)
ALONE = lzma.compress(GOOD, lzma.FORMAT_ALONE)
HALF = deflated(GOOD)[: len(deflated(GOOD)) // 2]
LZMA_HEAD = b"\x10\x02\x05\x00"
DICTIONARY_OF_4_GB = b"\x5d\xff\xff\xff\xff"
DAMAGED = {
    "wrong CRC, stored": (Member(b"m", GOOD, crc=1), "damaged: wrong CRC-32"),
    "wrong CRC, deflate": (Member(b"m", GOOD, DEFLATE, crc=1), "damaged: wrong CRC-32"),
    "wrong CRC, empty": (Member(b"m", b"", crc=1), "damaged: wrong CRC-32"),
    "wrong CRC, bzip2": (Member(b"m", GOOD, BZIP2, crc=1), "damaged: wrong CRC-32"),
    "cut deflate": (Member(b"m", GOOD, DEFLATE, packed=HALF), "damaged: the deflate data end too early"),
    "cut bzip2": (Member(b"m", GOOD, BZIP2, packed=bz2.compress(GOOD)[:-5]), "damaged: the bzip2 data end too early"),
    "cut LZMA": (
Member(b"m", GOOD, LZMA, END_MARK, packed=LZMA_HEAD + ALONE[:5] + ALONE[13:-500]),
        "damaged: the LZMA data end too early",
    ),
    "LZMA without a header": (Member(b"m", GOOD, LZMA, packed=b"\x10\x02" * 4, size=99), "damaged: the LZMA data end too early"),
    "LZMA with another header": (
        Member(b"m", GOOD, LZMA, packed=b"\x10\x02\x06\x00\x5d\0\0\1\0" + b"\0" * 1000), "damaged: bad LZMA header",
    ),
    "LZMA with bad properties": (
        Member(b"m", GOOD, LZMA, packed=LZMA_HEAD + b"\xff" * 5 + b"\0" * 1000),
        "damaged: bad LZMA header",
    ),
    "LZMA that asks for 4 GB": (
        Member(b"m", GOOD, LZMA, packed=LZMA_HEAD + DICTIONARY_OF_4_GB + b"\xff" * 1000),
        "damaged: bad LZMA data",
    ),
    "bad deflate": (Member(b"m", GOOD, DEFLATE, packed=b"\xff" * 400), "damaged: bad deflate data"),
    "bad bzip2": (Member(b"m", GOOD, BZIP2, packed=b"BZh9" + b"\xff" * 400), "damaged: bad bzip2 data"),
    "bad LZMA": (Member(b"m", GOOD, LZMA, packed=LZMA_HEAD + b"\x5d\0\0\1\0" + b"\xff" * 400), "damaged: bad LZMA data"),
    "too few": (Member(b"m", GOOD, DEFLATE, packed=deflated(GOOD[:-1])), "damaged: 10239 of 10240 bytes"),
    "one more": (Member(b"m", GOOD, DEFLATE, packed=deflated(GOOD + b"x")), "more than the 10240 bytes that it declares"),
    "one more, bzip2": (Member(b"m", GOOD, BZIP2, packed=bz2.compress(GOOD + b"x")), "more than the 10240 bytes that it declares"),
    "expands more": (
        Member(b"m", bytes(10_000), DEFLATE, packed=deflated(bytes(10_000)) + b"\xff" * 400), "expands more than 50 times",
    ),
    "another name": (Member(b"m", GOOD, own_name=b"n"), "damaged: its own header has another name"),
    "a longer name": (Member(b"m", GOOD, own_name=b"mm"), "damaged: its own header has another name"),
    "no header": (Member(b"m", b"12345678", own_extra=b"extra678", offset=44), "damaged: no header where its own should be"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_member_is_an_error_with_its_reason_and_the_others_are_read(opened, case):
    member, reason = DAMAGED[case]
    found = contents(opened(*neighbours(member)))
    assert found.pop("m") == reason
    assert found == SOUND


def test_what_is_behind_the_packed_data_does_no_harm(opened):
    member = Member(b"m", GOOD, DEFLATE, packed=deflated(GOOD) + b"padding")
    assert contents(opened(*neighbours(member))) == SOUND | {"m": GOOD}


@pytest.mark.parametrize("method", [DEFLATE, BZIP2, LZMA])
def test_a_real_bomb_is_stopped_where_its_declared_size_ends(tmp_path, opened, method):
    size = 20_000_000
    with zipfile.ZipFile(zipped(tmp_path / "bomb.zip", {"m": bytes(size)}, compression=method)) as source:
        info = source.getinfo("m")
        source.fp.seek(info.header_offset + 30 + 1)
        packed = source.fp.read(info.compress_size)
    store = opened(*neighbours(Member(b"m", b"", method, END_MARK, packed=packed, size=9000)), max_member=10_000, max_ratio=1e6)
    tracemalloc.start()
    found = contents(store)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == SOUND | {"m": "more than the 9000 bytes that it declares"}
    assert peak < 2_000_000


@pytest.mark.parametrize(("method", "times"), [(STORED, 1.25), (DEFLATE, 1.25), (LZMA, 2.25)])  # LZMA has a dictionary of that size
def test_a_content_is_held_once(tmp_path, method, times):
    size = 10_000_000
    # What unpacks to much comes first: nothing that follows may be read ahead of it.
    files = {"m": bytes(size // 2) + random.Random(0).randbytes(size // 2)}
    store = ZipStorage(zipped(tmp_path / "p.zip", files, compression=method))
    (item,) = store.list()
    tracemalloc.start()
    data = store.read(item)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(data) == size
    assert size <= peak < times * size


def test_an_item_of_another_time_is_not_read(opened):
    old = opened(Member(b"m", b"before"))
    (item,) = old.list()
    assert old.read(item) == b"before"
    with pytest.raises(StorageError, match=r"^changed since listing$"):
        opened(Member(b"m", b"behind")).read(item)
    with pytest.raises(StorageError, match=r"^changed since listing$"):
        old.read(replace(item, size=7))
    with pytest.raises(StorageError, match=r"^no such member$"):
        opened(Member(b"n", b"before")).read(item)
    with pytest.raises(StorageError, match=r"^no such member$"):
        opened(Member(b"m", b"before", flags=ENCRYPTED)).read(item)


def test_an_archive_that_becomes_shorter_is_an_error_of_the_members_behind(tmp_path, opened):
    store = opened(Member(b"a", b"1" * 50), Member(b"b", b"2" * 50))
    os.truncate(tmp_path / "made.zip", 120)
    assert contents(store) == {"a": b"1" * 50, "b": "damaged: the archive ends within it"}


def test_an_archive_that_is_replaced_stays_the_one_that_was_opened(tmp_path):
    store = ZipStorage(zipped(tmp_path / "p.zip", {"m": b"before"}))
    zipped(tmp_path / "new.zip", {"m": b"behind"}).replace(tmp_path / "p.zip")
    assert contents(store) == {"m": b"before"}


def test_threads_read_at_once_and_get_their_own_bytes(tmp_path):
    chance = random.Random(7)
    files = {f"{number:02d}.png": chance.randbytes(chance.randint(1, 300_000)) * 2 for number in range(60)}
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as target:
        for number, (name, data) in enumerate(files.items()):
            target.writestr(name, data, [STORED, DEFLATE][number % 2])
    store = ZipStorage(tmp_path / "p.zip")
    barrier = Barrier(store.reads_at_once)

    def read_all(seed):
        items = list(store.list())
        random.Random(seed).shuffle(items)
        barrier.wait()
        return {item.key: store.read(item) for item in items}

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that threads take turns between any two calls
    try:
        with ThreadPoolExecutor(store.reads_at_once) as pool:
            found = list(pool.map(read_all, range(store.reads_at_once)))
    finally:
        sys.setswitchinterval(interval)
    assert found == [files] * store.reads_at_once


# ---- archives as a whole ----


def test_what_stands_before_the_archive_does_no_harm(tmp_path, opened):
    plain = archive(*neighbours())
    assert contents(opened(b"#!/bin/sh\nexit 0\n" + plain)) == SOUND
    assert contents(opened(plain + plain)) == SOUND
    zipped(tmp_path / "p.zip", {"m": b"1"})
    with open(tmp_path / "sfx.exe", "wb") as program:
        program.write(b"MZ" + bytes(500))
    with zipfile.ZipFile(tmp_path / "sfx.exe", "a") as target:  # with offsets from the start of the file
        target.writestr("m", b"1")
    assert contents(ZipStorage(tmp_path / "sfx.exe")) == {"m": b"1"}


@pytest.mark.parametrize("comment", [b"a comment", b"PK\5\6" + b"\0" * 18 + b"!", b"\0" * 0xFFFF, b"PK\5\6"])
def test_a_comment_does_no_harm(opened, comment):
    assert contents(opened(archive(*neighbours(), comment=comment))) == SOUND


def test_what_was_added_behind_the_archive_does_no_harm(opened):
    assert contents(opened(archive(*neighbours()) + b"\r\n")) == SOUND


def test_an_archive_may_be_empty(tmp_path):
    store = ZipStorage(zipped(tmp_path / "p.zip", {}))
    assert (listed(store), store.skipped, store.refused) == ([], Counter(), [])


def test_zip64_numbers_are_read(opened):
    def large(member, offset):
        numbers = struct.pack("<HH3Q", 1, 24, len(member.data), len(member.body()), offset)
        return replace(member, size=IN_EXTRA, packed_size=IN_EXTRA, offset=IN_EXTRA, extra=b"XX\1\0!" + numbers)

    first, last = neighbours()
    store = opened(archive(large(first, 0), large(last, len(large(first, 0).header()) + 5), end=ending64))
    assert contents(store) == SOUND
    assert [item.size for item in store.list()] == [5, 36]
    assert contents(opened(b"before it" + archive(*neighbours(), end=ending64))) == SOUND


@pytest.mark.parametrize("end", [ending, ending64])
def test_more_members_than_16_bits_count(opened, end):
    store = opened(archive(*(Member(b"%05d.png" % number, b"%d" % number) for number in range(66_000)), end=end))
    items = list(store.list())
    assert [item.key for item in items] == [f"{number:05d}.png" for number in range(66_000)]
    assert [store.read(items[number]) for number in (0, 65_535, 65_536, 65_999)] == [b"0", b"65535", b"65536", b"65999"]


BODY, ENTRIES = parts(*neighbours(Member(b"m.png")))
END = ending(3, len(ENTRIES), len(BODY))
FIRST = len(neighbours()[0].entry(0))
WHOLE = {
    "empty file": (b"", f"an empty file; {COPY_AGAIN}"),
    "text": (b"no archive", "no zip archive; name a .zip file or a folder of images"),
    "one byte": (b"P", "no zip archive; name a .zip file or a folder of images"),
    "no list": (BODY, f"cut off: its list of members, which stands at the end, is missing; {COPY_AGAIN}"),
    "half a list": (BODY + ENTRIES[:50], f"cut off: its list of members, which stands at the end, is missing; {COPY_AGAIN}"),
    "beginning lost": ((BODY + ENTRIES + END)[10:], f"bytes are missing before its list of members; {COPY_AGAIN}"),
    "nearly all lost": ((ENTRIES + END)[10:], f"bytes are missing before the end of its list of members; {COPY_AGAIN}"),
    "split": (BODY + ENTRIES + ending(3, len(ENTRIES), len(BODY), disk=1), JOIN),
    "split Zip64": (
        BODY + ENTRIES + ending64(3, len(ENTRIES), len(BODY), disk=1), JOIN,
    ),
    "one more counted": (BODY + ENTRIES + ending(4, len(ENTRIES), len(BODY)), "3 members where it says 4"),
    "one less counted": (BODY + ENTRIES + ending(2, len(ENTRIES), len(BODY)), "3 members where it says 2"),
    "broken signature": (BODY + ENTRIES[:FIRST] + b"XX" + ENTRIES[FIRST + 2 :] + END, "member 2"),
    "broken length": (BODY + ENTRIES[: FIRST + 28] + b"\xff\xff" + ENTRIES[FIRST + 30 :] + END, "member 2"),
    "broken first": (BODY + b"XX" + ENTRIES[2:] + END, "member 1"),
    "part of an entry": (BODY + ENTRIES + b"PK\1\2" + ending(3, len(ENTRIES) + 4, len(BODY)), "member 4"),
    "no Zip64 record": (
        BODY + ENTRIES + ending64(3, len(ENTRIES), len(BODY)).replace(b"PK\6\6", b"PK\0\0"), "its Zip64 record is missing",
    ),
    "Zip64 lengths out of this world": (
        BODY + ENTRIES + ending64(3, 1 << 63, len(BODY)), f"bytes are missing before the end of its list of members; {COPY_AGAIN}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WHOLE)
def test_an_archive_that_cannot_be_read_as_a_whole_is_named_with_the_mend(tmp_path, opened, case):
    data, text = WHOLE[case]
    if not text.startswith(("an ", "no ", "one ", "cut ", "bytes ")):
        text = f"its list of members is damaged ({text}); {COPY_AGAIN}, or save what is left with zip -FF"
    with pytest.raises(StoreError) as caught:
        opened(data)
    assert str(caught.value) == f"{tmp_path}/made.zip: {text}"
    assert str(tmp_path / "made.zip") not in open_files()


def test_a_list_beyond_all_reason_is_not_taken_into_memory(monkeypatch, opened):
    monkeypatch.setattr(directory_module, "_LARGEST_DIRECTORY", len(ENTRIES))
    assert listed(opened(BODY + ENTRIES + END)) == ["a.png", "m.png", "z.png"]
    monkeypatch.setattr(directory_module, "_LARGEST_DIRECTORY", len(ENTRIES) - 1)
    with pytest.raises(StoreError, match=rf"takes up {len(ENTRIES)} bytes, more than {len(ENTRIES) - 1}; split it into several archives"):
        opened(BODY + ENTRIES + END)


def test_a_place_that_is_no_file_is_named(tmp_path, without_privileges, open_folder):
    with pytest.raises(StoreError, match=r"none\.zip: no such file or directory; correct the path, or make the file readable$"):
        ZipStorage(tmp_path / "none.zip")
    with pytest.raises(StoreError, match=r": a folder, no zip archive; name a \.zip file$"):
        ZipStorage(tmp_path)
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(StoreError, match=r"pipe\.zip: no regular file; name a \.zip file$"):
        ZipStorage(tmp_path / "pipe.zip")
    secret = zipped(open_folder / "secret.zip", {"m": b"1"})
    secret.chmod(0)
    with without_privileges(), pytest.raises(StoreError, match=r"secret\.zip: permission denied; correct the path, or make"):
        ZipStorage(secret)


def test_an_archive_that_was_cut_anywhere_is_refused_as_a_whole(opened):
    plain = BODY + ENTRIES + END
    for length in range(len(plain)):
        with pytest.raises(StoreError):
            opened(plain[:length])


@pytest.mark.parametrize("seed", range(4))
def test_no_damage_gives_wrong_bytes_or_another_kind_of_error(opened, seed):
    chance = random.Random(seed)
    noise = chance.randbytes(200)
    members = neighbours(
        Member(b"sub/", b""), Member("é\\1.png".encode(), noise * 2, DEFLATE, UTF8), Member(b"2.png", noise, BZIP2),
        Member(b"3.png", noise, extra=struct.pack("<HHBl", 0x5455, 5, 1, 0)), Member(b".DS_Store"), Member(b"4.png", b"", flags=ENCRYPTED),
    )  # fmt: skip
    plain = archive(*members, end=ending if seed % 2 else ending64)
    seen = Counter()
    for _ in range(300):
        data = bytearray(plain)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.choice([0, 1, 0xFF, chance.randrange(256)])
        try:
            store = opened(bytes(data))
        except StoreError:
            seen["store"] += 1
            continue
        found = {item.etag: content for item, content in zip(store.list(), contents(store).values(), strict=True)}
        assert len(store.refused) + len(listed(store)) + store.skipped.total() >= len(members) - 2
        for tag, content in found.items():
            seen[type(content)] += 1
            assert isinstance(content, str) or tag == f"{zlib.crc32(content):08x}-{len(content):x}"
        seen["refused"] += len(store.refused) - 1
    assert min(seen[kind] for kind in ("store", bytes, str, "refused")) > 10


# ---- as a storage ----


def png(shade):
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10), (shade, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def test_an_inspector_looks_at_an_archive_and_reads_nothing_twice(tmp_path):
    files = {"a.png": png(1), "in/é.png": png(2), "no.png": b"no image"}
    path = zipped(tmp_path / "p.zip", files, compression=DEFLATE)

    def run():
        with ZipStorage(path) as store:
            inspector = Inspector(cache_root=str(tmp_path / "cache"), max_pixels=1000, threads=2)
            results = {result.item.key: result for result in inspector.inspect(list(store.list()), store)}
        return {key: (one.sha256, one.look, one.error) for key, one in results.items()}, dict(inspector.counts)

    facts, counts = run()
    assert list(facts) == sorted(files)
    assert counts == {"known": 0, "read": 3, "decoded": 2, "errors": 1}
    assert [(look.width, look.height) for _, look, _ in facts.values() if look] == [(20, 10)] * 2
    assert facts["no.png"][2].startswith("decode: ")
    assert run() == (facts, {"known": 3, "read": 0, "decoded": 0, "errors": 1})
    files["a.png"] = png(3)
    zipped(path, files)  # otherwise packed, and one content is new
    changed, counts = run()
    assert counts == {"known": 2, "read": 1, "decoded": 1, "errors": 1}
    assert {key for key in facts if facts[key] != changed[key]} == {"a.png"}


def test_a_damaged_member_is_an_inspectors_error_row(opened, tmp_path):
    store = opened(Member(b"a.png", png(1)), Member(b"b.png", png(2), crc=1))
    inspector = Inspector(cache_root=str(tmp_path / "cache"), max_pixels=1000, threads=2)
    results = list(inspector.inspect(list(store.list()), store))
    assert [result.error for result in results] == [None, "download: damaged: wrong CRC-32"]


def test_identity_is_the_same_for_every_way_to_write_the_path(tmp_path, monkeypatch):
    path = zipped(tmp_path / "p.zip", {"m": b"1"})
    (tmp_path / "link.zip").symlink_to(path)
    monkeypatch.chdir(tmp_path)
    stores = [ZipStorage(way) for way in (path, str(path), "p.zip", "./p.zip", tmp_path / "link.zip", tmp_path / "x" / ".." / "p.zip")]
    assert {store.identity for store in stores} == {str(path.resolve())}
    assert [store.location for store in stores[1:4]] == [str(path), "p.zip", "./p.zip"]
    zipped(tmp_path / "q.zip", {"m": b"1"})
    assert ZipStorage("q.zip").identity != stores[0].identity


def test_an_archive_is_only_read(tmp_path):
    store = ZipStorage(zipped(tmp_path / "p.zip", {"m": b"1"}))
    before = (tmp_path / "p.zip").read_bytes()
    (item,) = store.list()
    folder = FolderStorage(tmp_path / "out")
    attempts = (
        lambda: store.prepare(),
        lambda: store.write("n", b"2"),
        lambda: store.put_file("n", tmp_path / "p.zip"),
        lambda: store.copy_from(folder, item, "n"),
        lambda: store.delete("m"),
    )
    for attempt in attempts:
        with pytest.raises(StorageError, match=r"^an archive is only read$"):
            attempt()
    assert (tmp_path / "p.zip").read_bytes() == before
    folder.copy_from(store, item, "in/n")
    assert (tmp_path / "out" / "in" / "n").read_bytes() == b"1"


def test_keys_paths_and_addresses(tmp_path):
    store = ZipStorage(zipped(tmp_path / "p!#.zip", {"in/é #%!.png": b"1"}))
    (item,) = store.list()
    assert (store.below(item.key), store.key_of(item.key)) == (item.key, item.key)
    assert store.uri(item.key) == f"jar:file://{tmp_path}/p%21%23.zip!/in/%C3%A9%20%23%25%21.png"
    assert (store.https_url(item.key), store.presigned_url(item.key, 60)) == ("", "")


# ---- handles ----


def open_files():
    return [file.path for file in psutil.Process().open_files()]


def test_the_file_is_open_until_close_the_contexts_end_or_the_last_reference(tmp_path):
    path = zipped(tmp_path / "p.zip", {"m": b"1"})
    store = ZipStorage(path)
    (item,) = store.list()
    assert open_files().count(str(path)) == 1
    store.close()
    store.close()
    assert str(path) not in open_files()
    assert (list(store.list()), store.find("m")) == ([item], item)
    with pytest.raises(StoreError, match=r"p\.zip: was closed$"):
        store.read(item)
    with ZipStorage(path) as store:
        assert store.read(item) == b"1"
    assert str(path) not in open_files()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = ZipStorage(path)
        assert open_files().count(str(path)) == 1
        del store
        gc.collect()
    assert str(path) not in open_files()
