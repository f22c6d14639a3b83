"""What of a zip archive's members may be read, what is left out unseen, and what is refused and why."""

import re
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from workflow_scripts.core.storage.archive_content import METHODS, STORED
from workflow_scripts.core.storage.archive_directory import LOCAL, OUTSIDE, Member
from workflow_scripts.core.storage.base import Item

_ENCRYPTED = 0x2041  # any of the three ways, APPNOTE 4.4.4
_PATCH = 0x20
_UTF8 = 0x800
_ABSOLUTE = re.compile(r"/|[A-Za-z]:")  # `C:` without a slash too: Windows takes it from a current folder of the drive
# What systems put beside images, by file name; names on Windows come in any case.
_LITTER = {"thumbs.db": "Thumbs.db", "desktop.ini": "desktop.ini", ".ds_store": ".DS_Store"}


@dataclass(slots=True)
class Contents:
    """What an archive holds: every member that is no folder, once.

    Attributes:
        readable: by key, in the order of the keys' UTF-8 bytes.
        skipped: how many members were left out unseen, by kind.
        refused: (name, reason) of members that are not read, sorted.
    """

    readable: dict[str, Member] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[str, str]] = field(default_factory=list)


def sort_out(members: Iterable[Member], *, max_member: int, max_ratio: float) -> Contents:
    """Put every member that is no folder where it belongs.

    Args:
        members: in the order of the archive's list.
        max_member: the most bytes of content that one may declare.
        max_ratio: the most that it may declare to expand.
    """
    contents = Contents()
    named: dict[str, list[Member]] = {}
    for member in members:
        name = _decoded(member)
        key = _key(name)
        if _is_folder(member, name):
            continue
        if kind := litter(key):
            contents.skipped[kind] += 1
        elif reason := _bad_name(name, key) or _bad_kind(member) or _bad_data(member, max_member, max_ratio):
            contents.refused.append((_printable(member, name), reason))
        else:
            named.setdefault(key, []).append(member)
    for key in sorted(named):  # by code points, which is the order of UTF-8 too
        first, *others = same = named[key]
        if all((other.crc, other.size) == (first.crc, first.size) for other in others):
            contents.readable[key] = first
            contents.refused += ((_decoded(other), "the name stands there before, with the same content") for other in others)
        else:
            reason = f"the name stands there {len(same)} times, with different contents"
            contents.refused += ((_decoded(other), reason) for other in same)
    contents.refused.sort()
    return contents


def item_of(key: str, member: Member) -> Item:
    """The member as a listed object."""
    return Item(key, member.size, tag_of(member), member.modified)


def tag_of(member: Member) -> str:
    """The content's identity as far as the archive tells it."""
    return f"{member.crc:08x}-{member.size:x}"


def _decoded(member: Member) -> str:
    """The name as text; empty where it is none.

    Without the flag for UTF-8 the format means code page 437, but macOS and others write UTF-8 all the same. A text in the code page
    that is valid UTF-8 by chance would be line-drawing signs.
    """
    try:
        name = member.raw.decode()
    except UnicodeDecodeError:
        name = "" if member.flags & _UTF8 else member.raw.decode("cp437")
    return "" if "\0" in name else name


def _key(name: str) -> str:
    """The name with slashes, those of Windows too, and without the parts that lead nowhere."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def _printable(member: Member, name: str) -> str:
    return name or member.raw.decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def _is_folder(member: Member, name: str) -> bool:
    """A folder without content: one with content is a file in disguise."""
    return member.size == 0 and (name.endswith(("/", "\\")) or stat.S_ISDIR(member.mode))


def litter(key: str) -> str:
    """The kind of what systems leave behind beside the files that people mean, or nothing."""
    *folders, name = key.split("/")
    if "__MACOSX" in folders:
        return "__MACOSX"
    return "._*" if name.startswith("._") else _LITTER.get(name.lower(), "")


def _bad_name(name: str, key: str) -> str:
    slashed = name.replace("\\", "/")
    if not name:
        return "the name is no valid text"
    if _ABSOLUTE.match(slashed):
        return "absolute name"
    if ".." in slashed.split("/"):
        return "path traversal: .. in the name"
    return "" if key and not slashed.endswith("/") else "the name of a folder"


def _bad_kind(member: Member) -> str:
    kind = stat.S_IFMT(member.mode)
    if kind == stat.S_IFLNK:
        return "a link"
    if kind == stat.S_IFDIR:
        return "a folder, yet with content"
    if kind not in (0, stat.S_IFREG):
        return "a device or another special file"
    if member.flags & _ENCRYPTED:
        return "encrypted"
    if member.method not in METHODS or member.flags & _PATCH:
        return f"unknown compression method {member.method}" + " with a patch" * bool(member.flags & _PATCH)
    return ""


def _bad_data(member: Member, max_member: int, max_ratio: float) -> str:
    if member.is_broken:
        return "damaged: its Zip64 numbers are missing"
    if member.size > max_member:
        return f"declares {member.size} bytes, more than {max_member}"
    if member.method == STORED and member.size != member.packed:
        return "damaged: stored, yet with two sizes"
    if member.size > max_ratio * member.packed:
        return f"declares to expand more than {max_ratio:g} times"
    if member.limit == OUTSIDE:
        return "damaged: its data would lie outside the archive"
    if member.offset + LOCAL.size + len(member.raw) + member.packed > member.limit:
        return "overlaps another member"
    return ""
