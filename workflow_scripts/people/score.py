"""people 03: compare every image with the prompts; gives a raw margin and a probability, decides nothing."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.core.embeddings import Vectors, iter_vectors, table_metadata
from workflow_scripts.core.json_files import read_json
from workflow_scripts.core.step import StepError, atomic_output, progress, report_counts, step

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("etag", pa.string()),
        ("sha256", pa.string()),
        ("people_prob", pa.float64()),
        ("margin", pa.float64()),
        ("error", pa.string()),
    ]
)
DIGITS = 6  # rounded before comparing, writing and sorting, so that all three agree

Floats = npt.NDArray[np.float64]


class Scorer:
    """Turns image vectors into margins and probabilities.

    Per class the L2-normalised prompt vectors are averaged and normalised again (the zero-shot classifier of Radford et al.
    2021, section 3.1); margin = img·person − img·other; people_prob = softmax(scale · [img·person, img·other])[0].
    """

    def __init__(self, positive: Floats, negative: Floats, *, negative_mode: str, scale: float) -> None:
        """Take the L2-normalised text vectors [n, d] of both classes.

        Args:
            positive: prompts for people.
            negative: prompts for the rest.
            negative_mode: `mean` compares with the average of the negatives, `max` with the nearest of them.
            scale: factor on the margin before the softmax.
        """
        self._person = _centre(positive)
        self._others = _centre(negative)[None] if negative_mode == "mean" else negative
        self._scale = scale

    def margins(self, vectors: Vectors) -> Floats:
        """The margin of each vector [n, d]."""
        images: Floats = np.array(vectors, dtype=np.float64)
        images /= np.linalg.norm(images, axis=1, keepdims=True)
        other: Floats = np.stack([_dot(images, text) for text in self._others]).max(axis=0)
        return _dot(images, self._person) - other

    def probabilities(self, margins: Floats) -> Floats:
        """people_prob of each margin, rounded."""
        found: Floats = np.exp(-np.logaddexp(0.0, -self._scale * margins))
        return found.round(DIGITS)


def _centre(vectors: Floats) -> Floats:
    mean = vectors.mean(axis=0)
    return mean / np.linalg.norm(mean)


def _dot(images: Floats, text: Floats) -> Floats:
    """Row by row: a matrix product may sum in another order when the number of rows differs."""
    return (images * text).sum(axis=1)


def score_table(embeddings: Path, scorer: Scorer, output: Path) -> int:
    """Score one shard's embedding table; gives the number of images scored. Of several views the largest margin counts."""
    scored = 0
    with atomic_output(output) as partial, pq.ParquetWriter(partial, SCHEMA, compression="zstd") as writer:
        for batch, vectors, owner in iter_vectors(embeddings, ("key", "etag", "sha256", "error")):
            margin = np.full(batch.num_rows, -np.inf)
            if vectors is not None:
                np.maximum.at(margin, owner, scorer.margins(vectors))
            unscored = np.isinf(margin)
            margin[unscored] = 0
            columns = {name: batch[name] for name in ("key", "etag", "sha256", "error")}
            columns["margin"] = pa.array(np.round(margin, DIGITS), mask=unscored)
            columns["people_prob"] = pa.array(scorer.probabilities(margin), mask=unscored)
            writer.write_batch(pa.record_batch([columns[name] for name in SCHEMA.names], schema=SCHEMA))
            scored += int((~unscored).sum())
    return scored


def build_scorer(prompts: dict[str, Any], settings: dict[str, Any]) -> Scorer:
    """The scorer of embedded prompts (as `embed_prompts` gives them), `negative_mode` and `logit_scale` (a number, or `model`)."""
    positive, negative = (np.array(prompts["vectors"][name]) for name in ("positive", "negative"))
    scale = prompts["logit_scale"] if settings["logit_scale"] == "model" else settings["logit_scale"]
    return Scorer(positive, negative, negative_mode=settings["negative_mode"], scale=scale)


def check_one_model(tables: Iterable[Path]) -> None:
    """Refuse shards whose vectors were computed differently: their scores could not be compared."""
    found: dict[str, list[str]] = {}
    for table in tables:
        found.setdefault(table_metadata(table)["fingerprint"], []).append(str(table))
    if len(found) > 1:
        names = "; ".join(f"{fingerprint}: {', '.join(paths)}" for fingerprint, paths in found.items())
        raise StepError(f"the shards were embedded by different models, precisions or preprocessing ({names}); delete the odd ones")


if job := globals().get("snakemake"):
    with step(job.log[0]):
        sources = [Path(path) for path in job.input.embeddings]
        check_one_model(sources)
        run_scorer = build_scorer(read_json(Path(job.input.prompts)), job.params.scoring)
        pairs = zip(sources, map(Path, job.output), strict=True)
        total = sum(score_table(table, run_scorer, output) for table, output in progress(pairs, total=len(sources), unit="shards"))
        report_counts(scored=total)
