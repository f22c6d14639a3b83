"""people 07: a page to label a sample of the images on, without seeing what the model thinks of them."""

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts.core.pages import Choice, Export, Page, build_page
from workflow_scripts.core.step import StepError, report_counts, step
from workflow_scripts.core.storage import open_storage
from workflow_scripts.core.thumbnails import Thumbnails
from workflow_scripts.people.list_objects import Sample
from workflow_scripts.people.page_items import write_items

# Side by side on most keyboards.
CHOICES = (Choice("1", "Person", "p", "rejected"), Choice("0", "No person", "o", "kept"), Choice("unsure", "Unsure", "i"))


def describe(run: dict[str, Any], images: int) -> Page:
    """The labelling page of a run: `run_id`, `source`, and `labels`, the path where the labels are read."""
    return Page(
        page_id=f"people/{run['run_id']}/labels",
        title=f"Is there a person in it? {images} images of {run['source']}",
        look_for=(
            "Say for every image whether a person is in it, as the training set you clean would count it: decide first about drawings, "
            "statues, hands, crowds far away, and stay with it. Unsure images are left out of precision and recall, and counted."
        ),
        choices=CHOICES,
        export=Export(destination=run["labels"], file=Path(run["labels"]).name, column="label"),
        blind=True,
        notes=("A sample in random order, the same for everybody. What the model thinks is not in this page.",),
    )


def sample_items(items: Path, size: int, seed: int) -> pa.Table:
    """The rows of a page's table that come first in the order of the run's sample; of unreadable images none."""
    # Tags name what lies near the threshold, decisions what somebody else saw: who labels is to see neither.
    table = pq.read_table(items).drop_columns(["tags", "decision"])
    table = table.filter(pc.not_equal(table["outcome"], "error"))
    ranks = Sample(size, seed).rank
    names = table["name"].to_pylist()
    first = sorted(range(len(names)), key=lambda row: ranks(names[row]))[:size]
    return table.take(pa.array(first, pa.int64()))


def build(run: dict[str, Any], aggregate: Path, thumbnails: Thumbnails, output: Path, threads: int) -> dict[str, int]:
    """Build the page from the merged manifests; gives the counts of `build_page`.

    Raises:
        StepError: there is no image to label.
    """
    with tempfile.TemporaryDirectory() as folder:
        items = Path(folder) / "items.parquet"
        write_items(aggregate, run["threshold"], items)
        chosen = sample_items(items, run["label_images"], run["sample_seed"])
    if not len(chosen):
        raise StepError(f"{aggregate}: no image could be read, so that there is none to label")
    counts = build_page(describe(run, len(chosen)), chosen, output, thumbnails, threads=threads)
    thumbnails.flush()
    return counts


if job := globals().get("snakemake"):
    with step(job.log[0]):
        params, machine = job.params.run, job.params.machine
        source = open_storage(params["source"], params["store"])
        pictures = Thumbnails(machine["cache_root"], source, params["max_pixels"])
        threads = max(machine["threads"], source.reads_at_once)
        report_counts(**build(params, Path(job.input.merged[0]).parent, pictures, Path(job.output[0]), threads))
