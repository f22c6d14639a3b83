"""Demo: how well lora did, as text."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.core.step import atomic_text, log, step
from workflow_scripts.demo import NOTE
from workflow_scripts.demo.lora_data import VIDEOS
from workflow_scripts.demo.lora_results import lora_results


def step_seconds(logs: Iterable[Path]) -> float:
    """How long the jobs of a step were at work, all together, as their logs say it."""
    text = "".join(path.read_text(encoding="utf-8") for path in logs if path.is_file())
    return sum(float(seconds) for seconds in re.findall(r"\d+ \w+ in ([\d.]+) s, ", text))


def lora_text(found: dict[str, Any], seconds: Mapping[str, float], source: str | Path, places: Mapping[str, str | Path]) -> str:
    """The lora part of the summary.

    Args:
        found: as `lora_results` gives it.
        seconds: of the steps that take long, by name.
        source: where the videos are.
        places: what to look at, by name.
    """

    def meant(name: str) -> str:
        return "as meant" if found[f"{name}_as_expected"] else "NOT as meant"

    rows: list[tuple[str, int | float, str]] = [
        ("videos", found["videos"], f"in {source}"),
        ("frames", found["extracted"], f"of {found['expected']} expected ones"),
        ("errors", found["errors"], f"where a file breaks off, {meant('errors')}"),
        ("sideways", found["sideways"], f"frames of a phone, turned upright, {meant('sideways')}"),
        ("sorted right", found["sorted_right"], "of the frames, by what can be seen of a person"),
        *((f"  {name}", right / number, f"{right} of {number}") for name, (right, number) in found["by_category"].items()),
        ("people", found["people_right"], "of the frames have as many people counted as can be seen"),
        (
            "masks",
            found["masks"],
            f"intersection over union with the figure {found['iou']:.3f} on average, {found['worst_iou']:.3f} at worst",
        ),
        ("caught", found["caught"], f"of {found['blurred']} blurred frames failed as too blurry"),
        ("wrongly", found["wrongly"], f"of {found['sharp']} sharp frames failed so too"),
        ("selected", found["selected"], "the best of each category"),
        ("composites", found["composited"], f"before other backgrounds, the unreadable one not among them, {meant('composited')}"),
        ("captions", found["captioned"], f"and {found['lint']} kept out: empty, too long or with banned words"),
        ("exported", found["exported"], f"images; {found['pairs']} pairs of image and text in kohya's folders, {meant('pairs')}"),
    ]
    lines = ["lora: a training set from drawn videos"]
    lines += [f"  {name:20s}{value:6{'d' if isinstance(value, int) else '.3f'}}   {text}" for name, value, text in rows]
    lines += [f"  {f'{name}, s':20s}{value:6.1f}" for name, value in seconds.items() if value]
    return "\n".join([*lines, "  look at", *(f"    {name:18s}{path}" for name, path in places.items())]) + "\n"


if job := globals().get("snakemake"):
    with step(job.log[0]):
        results = lora_results(dict(job.input.items()), Path(job.input.truth), job.params.seed)
        seconds = {name: step_seconds(map(Path, logs)) for name, logs in job.params.logs.items()}
        text = lora_text(results, seconds, Path(job.input.truth).parent / VIDEOS, job.params.places) + NOTE
        log.info("%s", text)
        with atomic_text(job.output[0]) as report:
            report.write(text)
