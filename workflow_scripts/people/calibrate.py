"""people 07: compare scores with labels; says what the threshold catches and misses, decides nothing."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts.core.calibration import Bools, curve, reliability, wished_recall
from workflow_scripts.core.calibration_text import LeftOut, Wording, sentences
from workflow_scripts.core.json_files import write_json
from workflow_scripts.core.rates import Floats
from workflow_scripts.core.step import StepError, log, progress, report_counts, step
from workflow_scripts.people.labels import Label, Labels, Matched, match_labels, read_labels
from workflow_scripts.people.manifests import write_csv

COLUMNS = ("key", "sha256", "people_prob", "margin", "error")
RATES = ("precision", "precision_low", "precision_high", "recall", "recall_low", "recall_high")
TABLE_COLUMNS = ("people_prob", "margin", "tp", "fp", "fn", "tn", *RATES)
WORDING = Wording(positives="images with people", negatives="images without people")
NAMED = 10  # labels that a log names
DIGITS = 9  # of numbers in the JSON: more than scores have, fewer than rounding spoils

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """Labelled images with a score, ascending by it; arrays of one length."""

    people_prob: Floats
    margin: Floats
    person: Bools

    @classmethod
    def of(cls, rows: list[tuple[Row, Label]]) -> "Sample":
        """Take rows of the score tables with their labels, in any order."""
        found = sorted((row["people_prob"], row["margin"], label.person) for row, label in rows)
        prob, margin = (np.array([row[at] for row in found], dtype=np.float64) + 0.0 for at in (0, 1))  # no negative zeros
        return cls(prob, margin, np.array([row[2] for row in found], dtype=bool))


def calibrate(
    scores: list[Path], labels: Path, threshold: float, wished_recall: float, output_json: Path, output_csv: Path
) -> dict[str, int]:
    """Write what the labels tell of the scores.

    Args:
        scores: a table for each shard, as `score.py` writes them.
        labels: CSV, see `read_labels`.
        threshold: the current one, on people_prob.
        wished_recall: share of the images with people that a threshold should find, 0 to 1.
        output_json: everything: `counts`, what `summary` gives, `margin_at_threshold` (the smallest margin of all scored images
            that reach the threshold, null when none does), and the labels that are `unmatched` or `unscored`, each with the reason.
        output_csv: a row for each distinct people_prob in the sample, ascending; `margin` is the smallest one at it.

    Returns:
        Rows of the file as labelled (= positives + negatives), repeated, unsure, unmatched and unscored.

    Raises:
        StepError: the labels cannot be read, contradict each other, or none of them is about an image with a score.
    """
    read = read_labels(labels)
    rows, margin_at_threshold = _read_labelled(scores, read, threshold)
    matched = match_labels(read, {key: row["sha256"] for key, row in rows.items()})
    scored, left_out = [], {"unmatched": matched.unmatched, "unscored": []}
    for key, label in matched.images.items():
        row = rows[key]
        if row["people_prob"] is None:
            left_out["unscored"].append((label, row["error"]))
        else:
            scored.append((row, label))
    if not scored:
        raise StepError(_no_sample(read, matched, scores))
    for found in left_out.values():
        _warn(labels, found)
    sample = Sample.of(scored)
    counts = {"labelled": len(scored), "positives": int(sample.person.sum()), "negatives": int((~sample.person).sum())}
    counts |= {"repeated": read.repeated + matched.repeated, "unsure": read.unsure}
    counts |= {name: len(found) for name, found in left_out.items()}
    told = summary(sample, threshold, wished_recall, LeftOut(**{name: counts[name] for name in ("unsure", "unmatched", "unscored")}))
    named = {name: [{**asdict(label), "why": why} for label, why in found] for name, found in left_out.items()}
    write_csv(output_csv, TABLE_COLUMNS, _table(sample))
    write_json(output_json, _rounded({"counts": counts, "margin_at_threshold": margin_at_threshold, **told, **named}))
    return counts


def summary(sample: Sample, threshold: float, wish: float, left_out: LeftOut) -> dict[str, Any]:
    """What the sample tells.

    Returns:
        `threshold` and `wished_recall` as given; `current`: a `Point` at the threshold; `wished`: a `WishedRecall` over `people_prob`
        and one over `margin`, which doesn't saturate; `reliability`: a row a bin; `sentences`: `text` and whether it is a `warning`;
        `sample`: the scores and labels themselves.
    """
    by_prob, by_margin = (curve(numbers, sample.person) for numbers in (sample.people_prob, sample.margin))
    wished = wished_recall(by_prob, wish)
    return {
        "threshold": threshold,
        "wished_recall": wish,
        "current": asdict(by_prob.at(threshold)),
        "wished": {"people_prob": asdict(wished), "margin": asdict(wished_recall(by_margin, wish))},
        "reliability": [{**row, "share": asdict(row["share"])} for row in reliability(sample.people_prob, sample.person).rows()],
        "sentences": [asdict(sentence) for sentence in sentences(by_prob, threshold, wished, WORDING, left_out)],
        "sample": {name: getattr(sample, name).tolist() for name in ("people_prob", "margin", "person")},
    }


def _read_labelled(tables: list[Path], labels: Labels, threshold: float) -> tuple[dict[str, Row], float | None]:
    """The score rows that labels may be about, by key, and the smallest margin of all rows that reach the threshold."""
    keys, contents = (pa.array(sorted(values), pa.string()) for values in (labels.keys(), labels.contents()))
    rows: dict[str, Row] = {}
    margins = []
    for table in progress(tables, total=len(tables), unit="shards"):
        for batch in pq.ParquetFile(table).iter_batches(columns=list(COLUMNS)):
            wanted = pc.or_(pc.is_in(batch["key"], keys), pc.is_in(batch["sha256"], contents))
            for row in batch.filter(wanted).to_pylist():
                if row["key"] in rows:
                    raise StepError(f"{row['key']}: scored twice; delete 03_score and run again")
                rows[row["key"]] = row
            margins.append(pc.min(batch["margin"].filter(pc.greater_equal(batch["people_prob"], threshold))).as_py())
    found = min((margin for margin in margins if margin is not None), default=None)
    return rows, None if found is None else found + 0.0


def _no_sample(labels: Labels, matched: Matched, tables: list[Path]) -> str:
    """Why there is nothing to compare, and what to do."""
    if not labels.sure:
        return f"{labels.path}: has no label 1 or 0; fill in the column `label`"
    if matched.images:
        return f"{labels.path}: none of the {len(matched.images)} labelled images could be read or scored; label others"
    label = labels.sure[0]
    example = next((batch["key"][0].as_py() for table in tables for batch in pq.ParquetFile(table).iter_batches(1, columns=["key"])), None)
    of_run = "the run has no images" if example is None else f"a key of the run is {example!r}"
    mend = "write keys as in the column s3_key of kept_all.csv, or give the sha256"
    return f"{labels.path}: none of {len(labels.sure)} labels matches an image of the run: {label.key or label.sha256!r}; {of_run}; {mend}"


def _warn(path: Path, left_out: list[tuple[Label, str]]) -> None:
    for label, why in left_out[:NAMED]:
        log.warning("%s, line %d: left out: %s (%s)", path, label.line, label.key or label.sha256, why)
    if len(left_out) > NAMED:
        log.warning("%s: … and %d more", path, len(left_out) - NAMED)


def _table(sample: Sample) -> Iterator[Row]:
    columns = curve(sample.people_prob, sample.person).columns()
    columns["people_prob"] = columns.pop("threshold")
    # The sample ascends by people_prob, then by margin.
    columns["margin"] = sample.margin[np.unique(sample.people_prob, return_index=True)[1]].tolist()
    for values in zip(*(columns[name] for name in TABLE_COLUMNS), strict=True):
        texts = ("" if value is None else f"{value:.6f}" if isinstance(value, float) else str(value) for value in values)
        yield dict(zip(TABLE_COLUMNS, texts, strict=True))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return round(value, DIGITS) if isinstance(value, float) else value


if job := globals().get("snakemake"):
    with step(job.log[0]):
        tables, settings = [Path(path) for path in job.input.scores], job.params.calibration
        outputs = Path(job.output.json), Path(job.output.table)
        counts = calibrate(tables, Path(job.input.labels[0]), settings["threshold"], settings["wished_recall"], *outputs)
        report_counts(**counts)
