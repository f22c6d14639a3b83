"""autotag 00: the most frequent tags of the source, as words to look for."""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from workflow_scripts.autotag.tag_names import fold
from workflow_scripts.autotag.tags import read_tags
from workflow_scripts.core.step import StepError, atomic_text, log, progress, report_counts, step

WORDS = 200


@lru_cache(1 << 17)
def word(tag: str) -> str:
    """A tag as a line of the vocabulary: folded, on one line."""
    return " ".join(fold(tag).split())


def count_tags(folder: Path, shards: Sequence[str]) -> tuple[Counter[str], int]:
    """How many images of these shards carry each tag, written as `word` does; and how many images have tags."""
    found: Counter[str] = Counter()
    tagged = 0
    for shard in progress(shards, total=len(shards), unit="shards"):
        for described in read_tags(folder / f"{shard}.json").values():
            found.update({word(tag) for tag in described.tags})
            tagged += bool(described.tags)
    return found, tagged


def write_vocabulary(tags: Path, shards: Sequence[str], output: Path, words: int = WORDS) -> dict[str, int]:
    """Write the most frequent tags of the source, one a line, the most frequent first; gives the counts.

    Args:
        tags: the folder with the tags of each shard.
        shards: their numbers.
        output: the vocabulary.
        words: how many tags at most; equally frequent ones by name.

    Raises:
        StepError: no image has a tag, or a file cannot be read.
    """
    found, tagged = count_tags(tags, shards)
    if not found:
        raise StepError(f"autotag.source.tags: no image has a tag in {tags}; name the folder, or set autotag.segmenter.vocabulary")
    most = sorted(found, key=lambda tag: (-found[tag], tag))[:words]
    with atomic_text(output) as handle:
        handle.writelines(f"{tag}\n" for tag in most)
    log.info("the last of them, %s, is a tag of %d images", most[-1], found[most[-1]])
    return {"shards": len(shards), "tagged": tagged, "tags": len(found), "words": len(most)}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        report_counts(**write_vocabulary(Path(job.params.source["tags"]), job.params.shards, Path(job.output[0])))
