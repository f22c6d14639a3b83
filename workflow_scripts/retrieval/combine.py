"""retrieval 05: the records of all categories in one file, or a sample of them."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workflow_scripts.core.seeded import rank
from workflow_scripts.core.step import StepError, atomic_text, log, report_counts, step
from workflow_scripts.retrieval.params import below_root
from workflow_scripts.retrieval.records import Record, read_records, write_records


def quotas(available: dict[str, int], wanted: int) -> dict[str, int]:
    """How many records each category gives when all give alike, and those that have fewer give what they have.

    What is left over by rounding comes from the first categories, by name, that have more.
    """
    given = dict.fromkeys(available, 0)
    left = min(wanted, sum(available.values()))
    while left:
        able = [name for name in sorted(available) if given[name] < available[name]]
        share = max(1, left // len(able))
        for name in able:
            more = min(share, available[name] - given[name], left)
            given[name] += more
            left -= more
    return given


def choose(files: dict[str, Path], settings: dict[str, Any]) -> dict[str, set[int]] | None:
    """The numbers of the records to take from each category's file; None for all.

    The sample is that of the lowest hashes of seed, category and query: it depends on no order, and a larger one holds a smaller.
    """
    if settings["num_samples"] is None:
        return None
    seed, root = settings["seed"], (settings["data_root"], settings["relative"])
    ranks = {
        category: [(rank(seed, category, below_root(*root, record.query_path)), number) for number, record in enumerate(read_records(path))]
        for category, path in files.items()
    }
    if settings["stratified"]:
        counts = quotas({category: len(found) for category, found in ranks.items()}, settings["num_samples"])
        return {category: {number for _, number in sorted(found)[: counts[category]]} for category, found in ranks.items()}
    together = sorted((*key, category) for category, found in ranks.items() for key in found)[: settings["num_samples"]]
    chosen: dict[str, set[int]] = {category: set() for category in files}
    for _, number, category in together:
        chosen[category].add(number)
    return chosen


def combine(files: dict[str, Path], settings: dict[str, Any], output: Path, metadata: Path) -> dict[str, int]:
    """Write the records of all categories in the order given, and how many came from each.

    Args:
        files: records of each category.
        settings: `data_root`, `k`, `negative_pool`, `num_samples`, `relative`, `seed`, `stratified`.
        output: the combined records.
        metadata: JSON.

    Raises:
        StepError: there is no record at all, or a file holds those of another category or another K.
    """
    chosen = choose(files, settings)
    counts: Counter[str] = Counter(dict.fromkeys(files, 0))
    available: Counter[str] = Counter(dict.fromkeys(files, 0))

    def records() -> Iterator[Record]:
        for category, path in files.items():
            for number, record in enumerate(read_records(path)):
                if record.category != category or len(record.ret_paths) != settings["k"]:
                    raise StepError(
                        f"{path}: record {number} is not of {category} with K = {settings['k']}; delete the file, and it is made again"
                    )
                available[category] += 1
                if chosen is None or number in chosen[category]:
                    counts[category] += 1
                    yield record

    if not any(True for path in files.values() for _ in read_records(path)):
        raise StepError(
            f"no category gives a record: with top_k {settings['k']} a query needs another image of its concept, and "
            f"{settings['k'] - 1} other concepts in its negative_pool ({settings['negative_pool']}); lower top_k, widen negative_pool "
            "to dataset, or raise train_fraction. The metadata beside each category's records names the largest K that it allows"
        )
    total = write_records(output, records())
    for category in files:
        if not available[category]:
            log.warning("%s gives no record; its metadata beside %s says why", category, files[category])
    if settings["num_samples"] and total < settings["num_samples"]:
        log.warning("num_samples %d: there are only %d records", settings["num_samples"], total)
    with atomic_text(metadata) as handle:
        found = {"records": total, "by_category": dict(counts), "available": dict(available)}
        json.dump(settings | found, handle, indent=2, ensure_ascii=False)
        handle.write("\n")
    return {"records": total, "available": available.total()}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        inputs = dict(zip(job.params.categories, map(Path, job.input), strict=True))
        report_counts(**combine(inputs, job.params.combine, Path(job.output.records), Path(job.output.metadata)))
