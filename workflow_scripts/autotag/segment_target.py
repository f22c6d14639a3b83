"""autotag 05: take the images of a folder apart, keep the parts as files, and list them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from workflow_scripts.autotag import segmenters
from workflow_scripts.autotag.tables import ERROR, SEGMENTED, TARGET_IMAGES, TARGET_SEGMENTS
from workflow_scripts.autotag.target_crops import FOLDER, Crops, Result
from workflow_scripts.autotag.target_finder import Finder, Look
from workflow_scripts.autotag.target_keys import make_keys
from workflow_scripts.autotag.target_words import read_tags, read_vocabulary, words_of
from workflow_scripts.core.accounting import Ledger
from workflow_scripts.core.images import IMAGE_EXTENSIONS, extension
from workflow_scripts.core.json_files import write_json
from workflow_scripts.core.models import WeightsCard
from workflow_scripts.core.prefetch import ahead
from workflow_scripts.core.step import log, progress, report_counts, step
from workflow_scripts.core.storage import FolderStorage, Item, is_valid_key, printable_key
from workflow_scripts.core.tables import write

VIEW = ("key", "bbox", "area", "label", "vlm_tags", "crop_id", "image", "sha256", "width", "height")


class Outputs(NamedTuple):
    """The files of the step: TARGET_IMAGES, TARGET_SEGMENTS beside the folder of the crops, and both for other readers."""

    images: Path
    segments: Path
    metadata: Path


class Prompts(NamedTuple):
    """What is looked for: the words of a file, the tags of another for each image, or, without either, everything."""

    vocabulary: Path | None = None
    tags: Path | None = None


def segment_folder(
    folder: Path, finder: Finder, segment: dict[str, Any], prompts: Prompts, output: Outputs, *, threads: int
) -> dict[str, int]:
    """Segment the images of a folder and of those below it, save the crops and write tables of both; gives the counts.

    Args:
        folder: of the target.
        finder: of segments, through the cache.
        segment: the settings that decide which of them count.
        prompts: where the words are.
        output: what to write.
        threads: that save crops.

    Raises:
        StepError: the folder is not there, or a file of words cannot be used.
    """
    storage = FolderStorage(folder)
    items, unreadable, others = _listed(storage)
    names = sorted([*(item.key for item in items), *unreadable], key=str.encode)
    keys = make_keys(names)
    words = read_vocabulary(prompts.vocabulary) if prompts.vocabulary else []
    tags = read_tags(prompts.tags, keys) if prompts.tags else {}
    ledger = Ledger(names, (SEGMENTED, ERROR))
    crops = Crops(output.segments.parent / FOLDER, segment, keys)
    results: dict[str, Result] = {
        name: ({"image": name, "key": keys[name], "outcome": ERROR, "reason": reason}, []) for name, reason in unreadable.items()
    }
    looks = (Look(item, words_of(tags, item.key) if prompts.tags else words) for item in items)
    for image, parts in progress(_saved(finder.find(looks, storage, crops.need_pixels), crops, threads), total=len(items)):
        results[image["image"]] = image, parts
    for name in names:
        ledger.add(results[name][0]["outcome"], [name])
    counts = ledger.close()
    rows = [part for name in names for part in results[name][1]]
    crops.close(row["file"] for row in rows)
    if theirs := sum(row["file_sha256"] is None for row in rows):
        log.warning("%d crops are left out: other files stand in their places in %s", theirs, output.segments.parent / FOLDER)
    model = {"fingerprint": finder.fingerprint, "backend": segment["backend"], "prompts": segment["prompts"]}
    about = {"folder": folder.name, "segmenter": model, "skipped": others}
    view = [{name: (row | {"vlm_tags": tags.get(row["image"], [])})[name] for name in VIEW} for row in rows]
    write(output.images, TARGET_IMAGES, [results[name][0] for name in names], about)
    write_json(output.metadata, {"folder": folder.name, "images": len(names), "crops": len(rows), "segments": view})
    write(output.segments, TARGET_SEGMENTS, rows, about)
    return counts | {"skipped": others, "crops": len(rows), "theirs": theirs} | dict(finder.counts)


def _listed(storage: FolderStorage) -> tuple[list[Item], dict[str, str], int]:
    """The images by their names; those whose name no table can hold, with the reason; and how many files are no images."""
    items, unreadable, others = [], {}, 0
    for item in storage.list():
        if extension(item.key) not in IMAGE_EXTENSIONS:
            others += 1
        elif is_valid_key(item.key):
            items.append(item)
        else:
            unreadable[printable_key(item.key)] = "name: no UTF-8; rename it"
    return items, unreadable, others


def _saved(looks: Iterator[Look], crops: Crops, threads: int) -> Iterator[Result]:
    """Save crops in threads while the next images are segmented."""
    return ahead(crops.save, looks, threads=threads, depth=4 * threads, weight=_bytes)


def _bytes(look: Look) -> int:
    return 3 * look.image.width * look.image.height if look.image else 0


def _only(files: str | Sequence[str]) -> Path | None:
    """The file of an input that may be empty."""
    return Path(files if isinstance(files, str) else files[0]) if files else None


if job := globals().get("snakemake"):
    with step(job.log[0]):
        card, segment, machine = WeightsCard.read(job.input.segmenter), dict(job.params.segment), dict(job.params.machine)
        fingerprint = segmenters.fingerprint(card.sha256, segment, machine["device"])
        how = {"cache_root": machine["cache_root"], "threads": machine["threads"], "max_pixels": job.params.max_pixels}
        finder = Finder(fingerprint, lambda: segmenters.load(card, segment, machine), **how)
        output = Outputs(Path(job.output.images), Path(job.output.segments), Path(job.output.metadata))
        prompts = Prompts(_only(job.input.words), _only(job.input.tags))
        report_counts(**segment_folder(Path(job.params.path), finder, segment, prompts, output, threads=machine["threads"]))
