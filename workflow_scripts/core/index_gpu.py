"""Searching an index on GPUs."""

from pathlib import Path
from typing import Any, Literal

from workflow_scripts.core.index import lists_on_disk, look_through, read
from workflow_scripts.core.index_factory import in_words
from workflow_scripts.core.step import StepError, log

Place = Literal["cpu", "replicate", "shard"]


def has_gpu() -> bool:
    """Whether this FAISS can use GPUs and sees one. Copying an index to all of no GPUs does nothing, without an error."""
    import faiss

    return hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0


def resolve(asked: str, device: str) -> Place:
    """Where to search.

    Args:
        asked: `auto`, `cpu`, `replicate` (the whole index on each GPU) or `shard` (a part of it on each).
        device: with `cpu`, auto uses no GPU.

    Raises:
        StepError: GPUs were asked for, and there is none.
    """
    if asked == "auto":
        return "replicate" if device != "cpu" and has_gpu() else "cpu"
    if asked != "cpu" and not has_gpu():
        raise StepError(f"gpu: {asked} was asked for, and this FAISS finds no GPU here; install faiss-gpu, or use gpu: auto or cpu")
    return asked  # type: ignore[return-value]


def to_gpus(index: Any, place: Place) -> Any:
    """An index in the memory of all GPUs; it was read whole, not mapped.

    Raises:
        StepError: it does not fit, there is no such index for GPUs, or its lists stay on disk.
    """
    import faiss

    if lists_on_disk(index) is not None:
        raise StepError(f"gpu: {place}: the lists of this index stay on disk, and no GPU can read them there; use gpu: cpu or auto")
    options = faiss.GpuMultipleClonerOptions()
    options.shard = place == "shard"
    # Tables of 64 parts in float32 are more than the fast memory of a GPU holds.
    options.useFloat16 = True
    try:
        moved = faiss.index_cpu_to_all_gpus(index, co=options)
    except RuntimeError as error:
        raise StepError(
            f"gpu: {place}: FAISS cannot move this index to the GPUs; use gpu: cpu, or shard if it is too large: {in_words(error)}"
        ) from None
    log.info("index on %d GPUs: %s", faiss.get_num_gpus(), place)
    return moved


def open_index(path: Path, nprobe: int | None, asked: str, device: str) -> Any:
    """Read an index to search it where `resolve` says.

    Args:
        path: the file.
        nprobe: how many lists a search looks through; None for an index without lists.
        asked: as in `resolve`. With auto, an index that no GPU can take is searched on the CPU, with a warning.
        device: as in `resolve`.

    Raises:
        StepError: the file cannot be read, or a GPU was asked for that cannot be used.
    """
    place = resolve(asked, device)
    if place == "cpu":
        return _on_cpu(read(path, mapped=True), nprobe)
    index = read(path)
    try:
        return _on_gpus(to_gpus(index, place), nprobe)
    except StepError as error:
        if asked != "auto":
            raise
        log.warning("searching on the CPU: %s", error)
        return _on_cpu(index, nprobe)


def _on_cpu(index: Any, nprobe: int | None) -> Any:
    if nprobe is not None:
        look_through(index, nprobe)
    return index


def _on_gpus(index: Any, nprobe: int | None) -> Any:
    import faiss

    if nprobe is not None:
        faiss.GpuParameterSpace().set_index_parameter(index, "nprobe", nprobe)
    return index
