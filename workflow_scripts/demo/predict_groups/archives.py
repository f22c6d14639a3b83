"""Zip archives of the demo: the same members give the same bytes, also where the archive is damaged on purpose."""

import stat
import zipfile
from collections.abc import Iterable
from pathlib import Path

from workflow_scripts.core.step import atomic_output
from workflow_scripts.demo.predict_groups.members import Member

DATE = (2025, 3, 20, 12, 0, 0)
_ENTRY = b"PK\1\2"  # what each entry of the list of members begins with


def write_zip(path: Path, members: Iterable[Member]) -> None:
    """Write an archive that appears whole, with its members in the order given."""
    with atomic_output(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for member in members:
            info = zipfile.ZipInfo(member.path, DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = ((stat.S_IFLNK | 0o777) if member.is_link else (stat.S_IFREG | 0o644)) << 16
            archive.writestr(info, member.data)


def damage_directory(path: Path) -> None:
    """Spoil the last entry of an archive's list of members, as a bad disk would."""
    data = path.read_bytes()
    place = data.rindex(_ENTRY)
    with atomic_output(path) as partial:
        partial.write_bytes(data[:place] + bytes(len(_ENTRY)) + data[place + len(_ENTRY) :])
