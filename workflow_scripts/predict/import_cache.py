"""predict 00: take over the vectors of an older cache, if the model gives the same ones again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workflow_scripts.core.accounting import AccountingError
from workflow_scripts.core.cache import EmbeddingCache, Known
from workflow_scripts.core.embeddings import Vectors
from workflow_scripts.core.inspect import Inspected, Inspector
from workflow_scripts.core.json_files import write_json
from workflow_scripts.core.models import ModelCard
from workflow_scripts.core.prefetch import ahead
from workflow_scripts.core.step import StepError, log, progress, report_counts, step
from workflow_scripts.core.storage import printable_key
from workflow_scripts.predict.import_check import LEAST_COSINE, Reader, agreement, check_vectors
from workflow_scripts.predict.import_entries import READS_AT_ONCE, Entry, Refused, by_storage, read_listing
from workflow_scripts.predict.import_vectors import VectorError, read_vector

IMPORTED, KNOWN = "imported", "already_known"
OTHER_VECTOR = "vector: another than the one that is known of this content"
UNCHECKED = "check: could not be embedded again"


def import_cache(folder: Path, card: ModelCard, settings: dict[str, Any], output: Path) -> dict[str, int]:
    """Put the vectors of an older cache into the shared one, under the contents of their images, and write a report.

    Before anything is kept, the model embeds some of the images again. After a kill, what was imported is already known.

    Args:
        folder: of the older cache.
        card: of the model.
        settings: the keyword arguments of `Embedder`.
        output: JSON: the counts, the check, and what was refused, by reason.

    Returns:
        Counts: `listed` lines, of which each is `imported`, `already_known` or `refused`.

    Raises:
        StepError: there is no such cache, or its vectors are not those of the model.
    """
    if settings["views"] == "tiles":
        raise StepError(f"{folder}: holds one vector an image, and views: tiles asks for several; take the folder out of predict.imports")
    dimension, normalise = int(card.model_cfg["embed_dim"]), bool(settings.get("normalise", True))

    def read(entry: Entry) -> Vectors | VectorError:
        try:
            return read_vector(entry.vector, dimension, normalise=normalise)
        except VectorError as error:
            return error

    refused = Refused()
    lines, entries = read_listing(folder, refused)
    check = check_vectors(folder, entries, read, card, settings)
    log.info("%d lines, %d images with a vector; embedded again: %s", lines, len(entries), check.record())
    cache = EmbeddingCache(settings["cache_root"], check.fingerprint)
    inspector = Inspector(**{name: settings[name] for name in ("cache_root", "max_pixels", "threads")})
    counts = {"listed": lines, IMPORTED: 0, KNOWN: 0}
    try:
        for entry, vector, image in progress(_images(entries, read, inspector, refused), total=len(entries)):
            outcome = _take(vector, image, cache if check.cosines else None)
            if outcome in counts:
                counts[outcome] += 1
            else:
                refused.add(outcome, entry.name)
    finally:
        cache.flush()
    counts["refused"] = refused.counts.total()
    if sum(counts.values()) != 2 * lines:
        raise AccountingError(f"{folder}: {lines} lines are listed, and what became of them is {counts}")
    report = {"check": check.record(), "fingerprint": check.fingerprint, "folder": printable_key(str(folder)), "reasons": refused.record()}
    write_json(output, dict(sorted((counts | report).items())))
    refused.log()
    return counts


def _images(
    entries: list[Entry], read: Reader, inspector: Inspector, refused: Refused
) -> Iterator[tuple[Entry, Vectors | VectorError, Inspected]]:
    """Every entry whose image is there, with its vector, and with what the image is."""
    for storage, found in by_storage(entries, refused):
        group = [entry for entry, _ in found]
        vectors = ahead(read, group, threads=READS_AT_ONCE, depth=16 * READS_AT_ONCE)
        images = inspector.inspect([item for _, item in found], storage)
        yield from zip(group, vectors, images, strict=True)


def _take(vector: Vectors | VectorError, image: Inspected, cache: EmbeddingCache | None) -> str:
    """Keep a vector, if it can be used; gives what became of it: `imported`, `already_known`, or why it is refused."""
    if isinstance(vector, VectorError):
        return str(vector)
    if image.look is None or image.sha256 is None:
        return str(image.error)
    if cache is None:
        return UNCHECKED
    known = cache.get(image.sha256)
    if known is None:
        cache.add(image.sha256, Known(vector, image.look.width, image.look.height))
        return IMPORTED
    return KNOWN if agreement(vector, known.vectors) >= LEAST_COSINE else OTHER_VECTOR


if job := globals().get("snakemake"):
    with step(job.log[0]):
        embedding = {**job.params.embedding, **job.params.machine}
        report_counts(**import_cache(Path(job.params.folder), ModelCard.read(job.input.model), embedding, Path(job.output[0])))
