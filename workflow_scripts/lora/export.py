"""lora 07: hand the captioned pictures over in the forms that trainers read."""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from workflow_scripts.core.accounting import Ledger
from workflow_scripts.core.csv_output import write_rows
from workflow_scripts.core.step import StepError, log, report_counts, step
from workflow_scripts.lora.buckets import Fit, buckets, fit
from workflow_scripts.lora.culls import Culls
from workflow_scripts.lora.export_folder import IMAGEFOLDER, KOHYA, ExportFolder, safe_name
from workflow_scripts.lora.tables import EXPORTED, read, write

OUTCOMES = ("exported", "culled", "lint", "blocked", "error")
NAMED = 10  # files that a message names
Row = dict[str, Any]


def export(captions: Path, reviews: list[Path], root: Path, settings: dict[str, Any], manifest: Path, preview: Path) -> dict[str, int]:
    """Write the folders of the export, their table and a preview of the trainer's buckets; gives the counts.

    Files in these folders that are not of the export are left there and named, in the log and beside the table's rows: `foreign` ones,
    and `edited` ones that a person changed.

    Args:
        captions: of step 06.
        reviews: decisions of the pages behind steps 05 and 06.
        root: the results of the workspace.
        settings: `concept`, `formats`, `repeats` and `resolution`.
        manifest: the table `EXPORTED`.
        preview: CSV, a line a bucket: its size, images, the mean part of them that is cut off, and how many the trainer enlarges.

    Raises:
        StepError: there is nothing to export, or a picture is no longer the one that was captioned.
    """
    culls, rows = Culls.read(reviews), read(captions)
    ledger = Ledger((row["frame_id"] for row in rows), OUTCOMES)
    choices = buckets(settings["resolution"])
    fits = []
    for row in rows:
        reason = culls.reason(row["sha256"])
        if row["outcome"] == "captioned":
            row |= {"outcome": "culled" if reason else "exported", "reason": reason}
        ledger.add(row["outcome"], [row["frame_id"]])
        if row["outcome"] == "exported":
            fits.append(fit(row["width"], row["height"], choices))
            row |= {"bucket": "{}x{}".format(*fits[-1].bucket), "name": safe_name(row["frame_id"])}
    counts = ledger.close()
    exported = [row for row in rows if row["outcome"] == "exported"]
    if not exported:
        raise StepError(_why_empty(captions, rows))
    folder = ExportFolder(root)
    _fill(folder, exported, settings)
    odd = {"edited": sorted(folder.edited), "foreign": folder.close()}
    for what, names in odd.items():
        if names:
            log.warning("%s: %d files are %s and stay as they are: %s", folder.path, len(names), what, ", ".join(names[:NAMED]))
    for decision in culls.unused():
        log.warning("review: %s fits no frame", decision)
    write_rows(preview, _preview(fits))
    write(manifest, EXPORTED, rows, odd)
    return counts | {"buckets": len({one.bucket for one in fits}), **{what: len(names) for what, names in odd.items()}}


def _fill(folder: ExportFolder, rows: list[Row], settings: dict[str, Any]) -> None:
    lines = []
    for row in sorted(rows, key=lambda row: row["name"]):
        text = " ".join(row["text"].split())  # of several lines trainers read the first
        if "kohya" in settings["formats"]:
            pair = f"{KOHYA}/{settings['repeats']}_{safe_name(settings['concept'])}/{row['name']}"
            folder.add_image(f"{pair}.jpg", row)
            folder.add_text(f"{pair}.txt", text)
        if "imagefolder" in settings["formats"]:
            folder.add_image(f"{IMAGEFOLDER}/{row['name']}.jpg", row)
            lines.append(json.dumps({"file_name": f"{row['name']}.jpg", "text": text}, ensure_ascii=False) + "\n")
    if lines:
        folder.add_text(f"{IMAGEFOLDER}/metadata.jsonl", "".join(lines))


def _why_empty(captions: Path, rows: list[Row]) -> str:
    """What became of all rows, most of them first."""
    if not rows:
        return f"{captions}: nothing to export, for nothing was selected; see the pages of step 04"
    reasons = Counter(f"{row['outcome']} ({row['reason']})" for row in rows).most_common(NAMED)
    return f"{captions}: nothing to export of {len(rows)} pictures: " + "; ".join(f"{number} {reason}" for reason, number in reasons)


def _preview(fits: list[Fit]) -> list[list[object]]:
    by_bucket = defaultdict(list)
    for one in fits:
        by_bucket[one.bucket].append(one)
    lines: list[list[object]] = [["width", "height", "images", "cropped", "enlarged"]]
    for bucket, members in sorted(by_bucket.items()):
        cropped = sum(one.cropped for one in members) / len(members)
        lines.append([*bucket, len(members), f"{cropped:.4f}", sum(one.enlarged for one in members)])
    return lines


if job := globals().get("snakemake"):
    with step(job.log[0]):
        reviews = [Path(path) for path in job.input.reviews]
        places = Path(job.output.manifest), Path(job.output.buckets)
        report_counts(**export(Path(job.input.captions), reviews, Path(job.params.root), job.params.export, *places))
