"""Demo: how well retrieval did against the truth that the drawings came with, as figures and as text."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from workflow_scripts.core.step import StepError, atomic_text, log, step
from workflow_scripts.demo import NOTE
from workflow_scripts.retrieval.records import Record, read_records

# Upper critical values of the chi-square distribution at 0.1 %, by degrees of freedom: NIST/SEMATECH e-Handbook of Statistical
# Methods, 1.3.6.7.4.
CHI_SQUARE = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 5: 20.52, 6: 22.46, 7: 24.32, 8: 26.12, 9: 27.88}
Truth = dict[str, dict[str, str]]


def read_truth(truth: Path) -> Truth:
    """The rows of `retrieval_data.draw`'s table, by path."""
    with truth.open(encoding="utf-8", newline="") as handle:
        return {row["path"]: row for row in csv.DictReader(handle)}


def file_results(images: Path, truth: Truth) -> tuple[dict[str, Any], Truth]:
    """What became of the files, and the truth by the paths that stand in records.

    Args:
        images: `01_catalog/images.parquet`.
        truth: by path below data_root.

    Raises:
        StepError: the table names other files than the truth.
    """
    rows = pq.read_table(images, columns=["path", "catalog_path", "outcome"]).to_pylist()
    different = sorted(truth.keys() ^ {row["path"] for row in rows})
    if different:
        raise StepError(f"{images}: is not of the set as drawn last ({different[0]} is in one of them alone); run the demo again")
    outcomes = Counter(row["outcome"] for row in rows)
    as_expected = {
        f"{outcome}_as_expected": {row["path"] for row in rows if row["outcome"] == outcome}
        == {path for path, row in truth.items() if row["kind"] == kind}
        for outcome, kind in (("error", "unreadable"), ("skipped", "skipped"))
    }
    found = {"files": len(rows), "error": outcomes["error"], "skipped_files": outcomes["skipped"], **as_expected}
    return found, {row["catalog_path"]: truth[row["path"]] for row in rows if row["catalog_path"]}


def record_results(records: Sequence[Record], truth: Truth) -> dict[str, Any]:
    """Whether references show what they should.

    Records that hold a misplaced file, which shows another thing than its folder says, are counted apart: no method could know.
    """
    copies = misplaced = positives = negatives = right_positives = right_negatives = 0
    for record in records:
        query, *references = (truth[path] for path in (record.query_path, *record.ret_paths))
        copies += sum(reference["group"] == query["group"] for reference in references)
        if any(row["kind"] == "conflict" for row in (query, *references)):
            misplaced += 1
            continue
        positive = references.pop(record.label)
        positives += 1
        right_positives += _place(positive) == _place(query)
        negatives += len(references)
        right_negatives += sum(row["category"] == query["category"] and row["concept"] != query["concept"] for row in references)
    return {
        "records": len(records),
        "misplaced": misplaced,
        "copies": copies,
        "positives_right": right_positives / max(1, positives),
        "negatives_right": right_negatives / max(1, negatives),
    }


def _place(row: dict[str, str]) -> tuple[str, str]:
    return row["category"], row["concept"]


def look_alike_results(records: Sequence[Record], truth: Truth, concepts: dict[str, set[str]]) -> dict[str, float]:
    """How many of the negatives that could be a look-alike of the query's concept are one, and how many would be by chance.

    Args:
        records: whose negatives come from the query's category.
        truth: by the paths in records.
        concepts: those of each category that can give references.
    """
    alike = {_place(row): row["look_alike"] for row in truth.values()}
    found, possible, chance = 0, 0, 0.0
    for record in records:
        place, wanted = (record.category, record.concept), len(record.ret_paths) - 1
        others = concepts[record.category] - {record.concept}
        mates = {name for name in others if alike[place] and alike[record.category, name] == alike[place]}
        names = [name for number, name in enumerate(record.ret_concepts) if number != record.label]
        found += sum(name in mates for name in names)
        possible += min(len(mates), wanted)
        chance += wanted * len(mates) / max(1, len(others))
    return {"look_alikes": found, "look_alikes_possible": possible, "look_alikes_by_chance": chance}


def position_results(labels: Iterable[int], k: int) -> dict[str, Any]:
    """How often the answer stands at each of K positions; `uniform` is None where the table of critical values ends."""
    counts = Counter(labels)
    expected = counts.total() / k
    statistic = sum((counts[position] - expected) ** 2 for position in range(k)) / expected if expected else 0.0
    limit = CHI_SQUARE.get(k - 1)
    return {
        "positions": [counts[position] for position in range(k)],
        "chi_square": statistic,
        "chi_square_limit": limit,
        "uniform": None if limit is None else statistic < limit,
    }


def metadata_results(metadata: Iterable[dict[str, Any]], splits: dict[str, Any], truth: Truth) -> dict[str, Any]:
    """Sums over the categories, what was left out, and the label conflicts that were found."""
    parts, sides = list(metadata), splits["categories"].values()
    conflicts = {found["sha256"]: found["paths"] for part in parts for found in part["label_conflicts"]}
    on_purpose = all(
        len({truth[path]["group"] for path in paths}) == 1 and "conflict" in {truth[path]["kind"] for path in paths}
        for paths in conflicts.values()
    )
    concepts, training = (sum(side[name] for side in sides) for name in ("n_concepts", "selected_count"))
    return {
        "queries": sum(part["queries"] for part in parts),
        "without_vector": sum(part["errors"] for part in parts),
        "skipped": dict(sorted(sum((Counter(part["skipped"]) for part in parts), Counter()).items())),
        "left_out": dict(sorted(sum((Counter(part["left_out"]) for part in parts), Counter()).items())),
        "categories": len(sides),
        "concepts": concepts,
        "training_concepts": training,
        "shared": len(splits["shared_images"]),
        "conflicts": len(conflicts),
        "conflicts_as_expected": on_purpose,
    }


def retrieval_results(records: Path, metadata: Iterable[Path], splits: Path, images: Path, truth: Path) -> dict[str, Any]:
    """Counts and shares of one retrieval run with `negative_pool: category`.

    Args:
        records: of all categories.
        metadata: of each category's records.
        splits: `train_val_combined_metadata_seed_{seed}.json`.
        images: `01_catalog/images.parquet`.
        truth: table of `retrieval_data.draw`.

    Raises:
        StepError: the run is not of the set as drawn last.
    """
    listed = list(read_records(records))
    files, known = file_results(images, read_truth(truth))
    parts = [json.loads(path.read_text(encoding="utf-8")) for path in metadata]
    concepts = {part["category"]: {name for name, row in part["by_concept"].items() if row["images"]} for part in parts}
    return {
        **files,
        **metadata_results(parts, json.loads(splits.read_text(encoding="utf-8")), known),
        **record_results(listed, known),
        **look_alike_results(listed, known, concepts),
        **position_results((record.label for record in listed), parts[0]["k"]),
    }


def retrieval_text(found: dict[str, Any], source: str, places: dict[str, str | Path]) -> str:
    """The retrieval part of the summary.

    Args:
        found: as `retrieval_results` gives it.
        source: where the images are.
        places: what to look at, by name, such as `page`, `dataset`, `records` and `catalog`.
    """
    meant = {True: "all as meant", False: "NOT the ones that were meant"}
    verdict = {None: "not judged", True: "uniform", False: "NOT uniform"}[found["uniform"]]
    point = f", the 0.1 % point is {found['chi_square_limit']}" if found["chi_square_limit"] else ""
    look_alikes, chance = (found[name] / max(1, found["look_alikes_possible"]) for name in ("look_alikes", "look_alikes_by_chance"))
    rows = [
        ("files", found["files"], f"in {source}"),
        ("skipped", found["skipped_files"], f"no image of a concept, {meant[found['skipped_as_expected']]}"),
        ("errors", found["error"], f"unreadable, {meant[found['error_as_expected']]}"),
        ("concepts", found["concepts"], f"in {found['categories']} categories; {found['training_concepts']} for training"),
        ("both sides", found["shared"], "images that training and validation share"),
        ("queries", found["queries"], f"images to ask about, {found['without_vector']} of them without a vector"),
        ("no record", sum(found["skipped"].values()), _listed(found["skipped"])),
        ("records", found["records"], ""),
        ("positives", found["positives_right"], "of them show the query's thing"),
        ("negatives", found["negatives_right"], "of them show another thing of the category"),
        ("misplaced", found["misplaced"], "records with a file that lies in a wrong folder, left out of the two lines above"),
        ("look-alikes", look_alikes, f"of the negatives that could be of a look-alike concept are; by chance {chance:.3f}"),
        ("conflicts", found["conflicts"], f"images reported for lying in two concepts, {meant[found['conflicts_as_expected']]}"),
        ("copies", found["copies"], f"references that show their query's picture; pairs left out: {_listed(found['left_out'])}"),
        ("answers", found["chi_square"], f"chi-square of {found['positions']} over the positions{point}: {verdict}"),
    ]
    lines = ["retrieval: hard comparisons made of drawn concept folders"]
    lines += [f"  {name:13s}{value:6{'d' if isinstance(value, int) else '.3f'}}   {text}".rstrip() for name, value, text in rows]
    return "\n".join([*lines, "  look at", *(f"    {name:13s}{path}" for name, path in places.items())]) + "\n"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"


if job := globals().get("snakemake"):
    with step(job.log[0]):
        results = retrieval_results(
            Path(job.input.records), map(Path, job.input.metadata), Path(job.input.splits), Path(job.input.images), Path(job.input.truth)
        )
        text = retrieval_text(results, job.params.source, job.params.places) + NOTE
        log.info("%s", text)
        with atomic_text(job.output[0]) as report:
            report.write(text)
