"""lora 03: cut the chosen person out of each candidate frame of a video."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from workflow_scripts.core.accounting import Ledger
from workflow_scripts.core.embeddings import digest
from workflow_scripts.core.models import WeightsCard, hash_file
from workflow_scripts.core.own_files import OwnFiles
from workflow_scripts.core.step import log, report_counts, step
from workflow_scripts.lora.alphas import Alphas, Row
from workflow_scripts.lora.cutout import Bytes, keep_person, png, transparent
from workflow_scripts.lora.tables import CATEGORIES, MASKS, about, read, write

FOLDER = "03_masked_subjects"
ALGORITHM = 1  # bumped by hand when pictures change for the same alphas


class Pictures:
    """The pictures of one video in a folder where people work too.

    Attributes:
        counts: `current` pictures that stood there, and `retouched` ones that a person changed.
    """

    def __init__(self, root: Path, index: str, alphas: Alphas) -> None:
        """Open the folder below `root`."""
        self._folder = root / FOLDER
        self._own = OwnFiles(self._folder, index)
        self._alphas = alphas
        self.counts = Counter(dict.fromkeys(("current", "retouched"), 0))

    def make(self, rows: list[Row]) -> list[Row]:
        """Bring the folder to what these candidates ask for; gives their rows of MASKS."""
        errors: dict[str, str] = {}
        todo: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            self._follow(row)
            if self._own.is_theirs(_name(row)):
                self.counts["retouched"] += 1
                if problem := _problem(self._folder / _name(row), row):
                    errors[row["frame_id"]] = f"mask: the retouched picture {problem}"
            elif self._own.is_current(_name(row), self._key(row)):
                self.counts["current"] += 1
            else:
                todo[row["sha256"]].append(row)
        for frame in self._alphas.find(list(todo.values()), self._write):
            if frame.error:
                errors |= {row["frame_id"]: frame.error for row in frame.rows}
        self._own.close(_name(row) for row in rows if row["frame_id"] not in errors or self._own.is_theirs(_name(row)))
        return [self._result(row, errors.get(row["frame_id"])) for row in rows]

    def _key(self, row: Row) -> str:
        return digest([ALGORITHM, row["sha256"], self._alphas.fingerprint, row["person"]["box"]])

    def _follow(self, row: Row) -> None:
        """Let a picture that a person retouched follow its frame into another category."""
        for other in (_name(row | {"category": category}) for category in CATEGORIES if category != row["category"]):
            if self._own.is_theirs(other) and not self._own.is_theirs(_name(row)):
                log.info("%s: retouched; goes to %s with its frame", self._folder / other, row["category"])
                target = self._folder / _name(row)
                target.parent.mkdir(parents=True, exist_ok=True)
                (self._folder / other).replace(target)

    def _write(self, rows: list[Row], image: Image.Image, alpha: Bytes) -> None:
        for row in rows:
            picture = png(transparent(image, keep_person(alpha, row["person"]["box"])))
            with self._own.write(_name(row), self._key(row)) as partial:
                partial.write_bytes(picture)

    def _result(self, row: Row, error: str | None) -> Row:
        if error:
            return row | {"path": None, "outcome": "error", "reason": error}
        content = self._own.sha256(_name(row)) or hash_file(self._folder / _name(row))
        return row | {"path": f"{FOLDER}/{_name(row)}", "file_sha256": content, "outcome": "masked", "reason": None}


def _name(row: Row) -> str:
    return f"{row['category']}/{row['frame_id']}.png"


def _problem(path: Path, row: Row) -> str | None:
    """Why a picture that a person retouched cannot be used, if it cannot."""
    try:
        with PngImageFile(path) as image:
            image.load()
            mode, size = image.mode, image.size
    except (OSError, SyntaxError, ValueError):
        return "cannot be read as PNG"
    if mode != "RGBA":
        return f"is {mode}, not RGBA: save it with its transparency"
    if size != (row["width"], row["height"]):
        return f"has {size[0]} x {size[1]} pixels, the frame {row['width']} x {row['height']}"
    return None


def cut_out(sorted_table: Path, root: Path, card: WeightsCard, machine: dict[str, Any], output: Path, **how: Any) -> dict[str, int]:
    """Write the pictures of a video's candidates and their table; gives the counts.

    Args:
        sorted_table: of step 02.
        root: the results of the workspace.
        card: of the model, which is loaded when an alpha is unknown.
        machine: `cache_root`, `device`, `threads` and, if wanted, `batch`.
        output: the table `MASKS`, its stem the slug of the video.
        **how: `alpha_matting`, the setting, and `max_pixels` of an image.

    Raises:
        StepError: the model cannot be used.
    """
    rows = [row for row in read(sorted_table) if row["outcome"] == "candidate"]
    ledger = Ledger((row["frame_id"] for row in rows), ("masked", "error"))
    alphas = Alphas(root, card, machine, **how)
    pictures = Pictures(root, output.stem, alphas)
    found = pictures.make(rows)
    for row in found:
        ledger.add(row["outcome"], [row["frame_id"]])
    counts = ledger.close()
    write(output, MASKS, found, about(sorted_table) | {"masks": alphas.fingerprint})
    return counts | dict(pictures.counts) | dict(alphas.counts)


if job := globals().get("snakemake"):
    with step(job.log[0]):
        params = job.params
        places = Path(job.input.sorted), Path(params.root), WeightsCard.read(job.input.model), params.machine, Path(job.output[0])
        report_counts(**cut_out(*places, alpha_matting=params.alpha_matting, max_pixels=params.max_pixels))
