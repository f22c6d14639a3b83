"""lora 04: choose the best subjects of each category, by measures that were taken before."""

import os
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from workflow_scripts.core.accounting import Ledger
from workflow_scripts.core.json_files import write_json
from workflow_scripts.core.models import hash_file
from workflow_scripts.core.own_files import OwnFiles
from workflow_scripts.core.step import log, report_counts, step
from workflow_scripts.lora.culls import Culls
from workflow_scripts.lora.ranking import choose, counted_contours, failure, video_limit
from workflow_scripts.lora.tables import CATEGORIES, SELECTION, read, write

FOLDER = "04_top100_staging"
OUTCOMES = ("selected", "passed over", "failed", "culled", "error")
PARTS = ("rank", "frame_id", "video", "n", "sha256", "path", "score", "pose", "sharpness", "sharpness_percentile", "brightness")
Row = dict[str, Any]


def decide(rows: list[Row], culls: Culls, root: Path, score: dict[str, Any]) -> list[Row]:
    """The rows of SELECTION for all rows of METRICS, in its order.

    A person's decision goes before every other; an error stays one.
    """
    passing: dict[str, list[Row]] = defaultdict(list)
    found = []
    for row in rows:
        why = culls.reason(row["sha256"])
        if row["outcome"] == "error":
            found.append(row)
            continue
        row = row | {"contours": counted_contours(row, score), "solidity": row["solidities"][0] if row["solidities"] else None}
        if why:
            found.append(row | {"outcome": "culled", "reason": why})
        elif why := failure(row, score):
            found.append(row | {"outcome": "failed", "reason": why})
        elif not (root / row["path"]).is_file():
            found.append(row | {"outcome": "error", "reason": "read: the picture is gone; run step 03 again"})
        else:
            passing[row["category"]].append(row)
    for category, members in passing.items():
        ranked, passed_over = choose(category, members, score)
        selected = [row for row in ranked if row["frame_id"] not in passed_over]
        found += [row | {"outcome": "selected", "reason": None, "rank": rank} for rank, row in enumerate(selected, 1)]
        rest = (row for row in ranked if row["frame_id"] in passed_over)
        found += [row | {"outcome": "passed over", "reason": passed_over[row["frame_id"]]} for row in rest]
    return sorted(found, key=lambda row: (CATEGORIES.index(row["category"]), row.get("rank") or len(rows) + 1, row["frame_id"]))


def stage(rows: list[Row], root: Path) -> list[Row]:
    """Link the selected pictures into the staging folder, by rank; gives the rows with their places there."""
    own = OwnFiles(root / FOLDER, "select")
    staged, wanted = [], []
    for row in rows:
        if row["outcome"] == "selected":
            name = f"{row['category']}/{row['rank']:03d}_{row['frame_id']}.png"
            wanted.append(name)
            if own.is_theirs(name):
                row = row | {"file_sha256": hash_file(root / FOLDER / name)}
            elif not own.is_current(name, row["file_sha256"]):
                own.link(name, row["file_sha256"], root / row["path"], row["file_sha256"])
            row = row | {"path": os.path.join(FOLDER, name)}
        staged.append(row)
    own.close(wanted)
    return staged


def summary(rows: list[Row], score: dict[str, Any]) -> dict[str, Any]:
    """What stands in `scoring_results.json`: for each category counts by outcome and reason, and the selected with their scores."""
    categories = {}
    for category in CATEGORIES:
        members = [row for row in rows if row["category"] == category]
        passing = [row for row in members if row["outcome"] in ("selected", "passed over")]
        reasons: dict[str, Counter[str]] = defaultdict(Counter)
        for row in members:
            if row["reason"]:
                reasons[row["outcome"]][kind(row["reason"])] += 1
        categories[category] = {
            "listed": len(members),
            "outcomes": {name: sum(row["outcome"] == name for row in members) for name in OUTCOMES},
            "reasons": {name: dict(sorted(reasons[name].items())) for name in OUTCOMES if name in reasons},
            "per_video": video_limit(category, passing, score),
            "selected": [{name: row[name] for name in PARTS} for row in members if row["outcome"] == "selected"],
        }
    return {"settings": score, "categories": categories}


def kind(reason: str) -> str:
    """A reason without what differs from row to row."""
    return "near copy" if reason.startswith("near copy of ") else reason.partition(" (")[0]


def select(metrics: list[Path], culls: list[Path], root: Path, score: dict[str, Any], output: Path, results: Path) -> dict[str, int]:
    """Select the best subjects of a workspace; gives the counts.

    Args:
        metrics: the tables of step 04 of all videos.
        culls: the decisions of page 03b, where there are any.
        root: the results of the workspace.
        score: the setting of that name.
        output: the table `SELECTION`.
        results: `scoring_results.json`.
    """
    rows = [row for path in metrics for row in read(path)]
    ledger = Ledger((row["frame_id"] for row in rows), OUTCOMES)
    decisions = Culls.read(culls)
    found = stage(decide(rows, decisions, root, score), root)
    for row in found:
        ledger.add(row["outcome"], [row["frame_id"]])
    counts = {name.replace(" ", "_"): count for name, count in ledger.close().items()}
    unused = decisions.unused()
    for decision in unused:
        log.warning("a decision fits no frame: %s", decision)
    told = summary(found, score)
    outcomes = {category: told["categories"][category]["outcomes"] for category in CATEGORIES}
    write(output, SELECTION, found, {"counts": outcomes, "score": score})
    write_json(results, told)
    return counts | {"unused_decisions": len(unused)}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        tables, decided = map(Path, job.input.metrics), map(Path, job.input.reviews)
        outputs = Path(job.output.manifest), Path(job.output.scores)
        report_counts(**select(list(tables), list(decided), Path(job.params.root), job.params.score, *outputs))
