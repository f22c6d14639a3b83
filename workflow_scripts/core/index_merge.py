"""Parts of an index put together: in memory, or on disk where memory would not hold them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.core.index import lists_on_disk, read, write
from workflow_scripts.core.index_factory import in_words, inverted_part
from workflow_scripts.core.step import StepError, atomic_output

LISTS = ".ivfdata"  # ending of the file with the lists of an index that was merged on disk


def merge(parts: Sequence[Path], output: Path, *, on_disk: bool) -> int:
    """Put parts of one trained index together, in their order; gives the number of rows.

    Rows are numbered on from part to part. Both ways give the same results.

    Args:
        parts: files, one or more.
        output: the index. What lists a search needs stands beside it with the ending `.ivfdata`, if they stay on disk; the
            two files can be moved together.
        on_disk: leave inverted lists on disk. An index without lists is put together in memory all the same.

    Raises:
        StepError: the parts are not of one index.
    """
    lists = output.with_suffix(LISTS)
    # First the old index, then its lists: nobody finds an index with the lists of another.
    output.unlink(missing_ok=True)
    lists.unlink(missing_ok=True)
    index = read(parts[0])
    try:
        if on_disk and inverted_part(index):
            index.reset()
            _merge_on_disk(index, parts, lists)
        else:
            for path in parts[1:]:
                _append(index, read(path))
    except RuntimeError as error:
        raise StepError(
            f"{output}: the blocks do not fit each other, so delete {parts[0].parent}, and they are made again: {in_words(error)}"
        ) from None
    write(index, output)
    return int(index.ntotal)


def _append(index: Any, part: Any) -> None:
    # Lists hold numbers of rows, which have to be shifted; without lists a row's number is its place.
    index.merge_from(part, index.ntotal if inverted_part(index) else 0)


def _merge_on_disk(index: Any, parts: Sequence[Path], path: Path) -> None:
    from faiss.contrib.ondisk import merge_ondisk

    with atomic_output(path) as partial:
        merge_ondisk(index, [str(part) for part in parts], str(partial), shift_ids=True)
        lists_on_disk(index).filename = path.name
