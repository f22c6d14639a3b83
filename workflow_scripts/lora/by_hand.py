"""What people did by hand in the folder of the training data: a picture that they moved out of it is culled, what they edited stays.

Step 05 alone decides which frames were moved out; the steps behind see its table. These functions are quick, for they are asked
whenever a run is planned.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

from workflow_scripts.core.models import hash_file
from workflow_scripts.core.own_files import OwnFiles
from workflow_scripts.core.storage import is_valid_key

FOLDER = "05_training_data"
COMPOSITES, TEXTS = "05_composite", "06_caption"  # the indexes of the folder's own files
DISQUALIFIED = REJECTED_BACKGROUNDS, REJECTED_CAPTIONS = ("05_disqualified_backgrounds", "06_disqualified_captions")
SUFFIXES = (".jpg", ".txt")
MOVED_OUT = "moved out by hand"


def composites(root: Path) -> dict[str, Any]:
    """What people did to the pictures of the training data: step 05 runs again when this changes.

    Args:
        root: the results of the workspace.

    Returns:
        `edited`: the names of files that they changed, with the sha256 of what these hold now; `moved_out`: those that are missing,
        and those in the folders for rejects. The step itself changes nothing of it.
    """
    files = OwnFiles(root / FOLDER, COMPOSITES)
    missing = [f"{FOLDER}/{name}" for name in files.missing()]
    return {"edited": files.changed(), "moved_out": sorted(missing + [f"{folder}/{name}" for folder, name in _disqualified(root)])}


def masks(root: Path, video: str) -> dict[str, str]:
    """The names of masks of a video that people retouched or took away, with the sha256 of what they hold now: for step 03."""
    files = OwnFiles(root / "03_masked_subjects", video)
    return files.changed() | dict.fromkeys(files.missing(), "")


def texts(root: Path) -> dict[str, str]:
    """The names of texts of the training data that people changed or wrote, with the sha256 of what they hold now: for step 06."""
    files = OwnFiles(root / FOLDER, TEXTS)
    written = (path.relative_to(root / FOLDER).as_posix() for path in (root / FOLDER).glob("*/*.txt"))
    return {name: hash_file(root / FOLDER / name) for name in sorted(written) if is_valid_key(name) and files.is_theirs(name)}


def composite_name(category: str, frame_id: str) -> str:
    """The name of a frame's composite below the folder."""
    return f"{category}/{frame_id}.jpg"


def composite_key(sha256: str, made_from: str) -> str:
    """The key of a composite among the own files: the content of its frame, and a digest of all that it is made from."""
    return f"{sha256}/{made_from}"


class MovedOut:
    """Which frames a person moved out of the training data. A frame whose picture is back where it belongs is not."""

    def __init__(self, root: Path, files: OwnFiles) -> None:
        """Look at the folders as they are; `files` are the composites."""
        self._folder = root / FOLDER
        # By content, for the frame may have another name or category by now.
        self._missing = {name: key.partition("/")[0] for name, key in files.missing().items()}
        self._contents = set(self._missing.values())
        self._suffixes = defaultdict(set)
        for _, name in _disqualified(root):
            stem, _, suffix = name.rpartition("/")[2].rpartition(".")
            self._suffixes[stem].add(f".{suffix}")

    def reason(self, sha256: str, category: str, frame_id: str) -> str | None:
        """Why a frame is culled; None when nobody moved its picture or text away.

        Args:
            sha256: content of the frame.
            category: that it has now.
            frame_id: likewise.
        """
        name = composite_name(category, frame_id)
        place = self._folder / name
        if sha256 in self._contents and not place.exists():
            return MOVED_OUT
        # A name says nothing where it was that of another frame, as after a change of `fps`.
        gone = [suffix for suffix in self._suffixes.get(frame_id, ()) if not place.with_name(frame_id + suffix).exists()]
        return MOVED_OUT if gone and self._missing.get(name, sha256) == sha256 else None


def _disqualified(root: Path) -> list[tuple[str, str]]:
    """The pictures and texts in the folders for rejects, as folder and name below it. Frames have no names that are no UTF-8."""
    found = []
    for folder in DISQUALIFIED:
        paths = [path for path in (root / folder).rglob("*") if path.suffix in SUFFIXES and path.is_file()]
        found += [(folder, path.relative_to(root / folder).as_posix()) for path in paths]
    return sorted(pair for pair in found if is_valid_key(pair[1]))
