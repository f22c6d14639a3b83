"""Demo: how well autotag did, as text."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.core.step import atomic_text, log, step
from workflow_scripts.demo import NOTE
from workflow_scripts.demo.autotag_results import autotag_results
from workflow_scripts.demo.rates import embedding_rate


def autotag_text(found: dict[str, Any], rate: float | None, source: str | Path, places: Mapping[str, str | Path]) -> str:
    """The autotag part of the summary.

    Args:
        found: as `autotag_results` gives it.
        rate: images a second of segmentation and embedding together; None where there is no log.
        source: where the shards are.
        places: what to look at, by name.
    """

    def meant(name: str) -> str:
        return "as meant" if found[f"{name}_as_expected"] else "NOT as meant"

    by_frequency = f"the {found['frequent']} most frequent tags for every image:"
    rows: list[tuple[str, int | float, str]] = [
        ("shards", found["shards"], f"in {source}"),
        ("images", found["embedded"], f"of them taken apart and embedded, {meant('embedded')}"),
        ("untagged", found["untagged"], f"of them, which cannot vote, {meant('untagged')}"),
        ("errors", found["error"], f"damaged or doubled samples, {meant('error')}"),
        ("absent", found["absent"], f"samples that tables or tags name and the tars lack, {meant('absent')}"),
        ("segments", found["segments"], f"in the index ({found['index']})"),
        ("recall@10", found["recall_at_10"], "of the true nearest neighbours are found"),
        ("targets", found["targets"], f"images in {found['folders']} folders, {found['crops']} crops"),
        ("unreadable", found["target_errors"], f"of them, {meant('target_errors')}"),
        ("tags", found["tags"], "given to them"),
        ("  precision", found["precision"], f"of these are true; {by_frequency} {found['frequent_precision']:.3f}"),
        ("  recall", found["recall"], f"of the true ones are given; {by_frequency} {found['frequent_recall']:.3f}"),
        ("copies", found["copies"], f"of a source image, tagged by others and not by itself, {meant('copies')}"),
    ]
    lines = ["autotag: folders of drawn images, tagged from a tagged collection"]
    lines += [f"  {name:13s}{value:6{'d' if isinstance(value, int) else '.3f'}}   {text}" for name, value, text in rows]
    if rate:
        lines.append(f"  {'speed':13s}{rate:6.1f}   images/s of the source, segmented and embedded")
    return "\n".join([*lines, "  look at", *(f"    {name:18s}{path}" for name, path in places.items())]) + "\n"


if job := globals().get("snakemake"):
    with step(job.log[0]):
        paths = [map(Path, files) for files in (job.input.images, job.input.candidates, job.input.tags)]
        targets = dict(zip(job.params.targets, zip(*paths, strict=True), strict=True))
        results = autotag_results(
            map(Path, job.input.blocks), (Path(job.input.recall), Path(job.input.index)), targets, Path(job.input.truth)
        )
        text = autotag_text(results, embedding_rate(map(Path, job.params.logs)), job.params.source, job.params.places) + NOTE
        log.info("%s", text)
        with atomic_text(job.output[0]) as report:
            report.write(text)
