"""How frequent tags are in the source, by which the vote knows rare ones."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts.autotag.blocks import IMAGES_TABLE, Shard
from workflow_scripts.autotag.tables import EMBEDDED

MOST = 100_000  # tags that are counted in the end; those beyond are so rare that none tells them apart


def tag_images(shards: Sequence[Shard], folder: Path, most: int = MOST) -> dict[str, int]:
    """How many embedded images carry each tag, as it stands in the source; the most frequent first, equal ones by name.

    Args:
        shards: of the index.
        folder: results of the source.
        most: tags to keep.

    Raises:
        StepError: the table of a shard is gone.
    """
    counts: Counter[str] = Counter()
    for shard in shards:
        table = pq.read_table(shard.path(folder, IMAGES_TABLE), columns=["tags", "outcome"])
        tags = table.filter(pc.equal(table["outcome"], EMBEDDED))["tags"]
        counts.update({pair["values"]: pair["counts"] for pair in pc.list_flatten(tags).value_counts().to_pylist()})
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:most])
