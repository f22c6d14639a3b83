"""retrieval 06: records and their images as a Hugging Face dataset, with its card and its Croissant metadata."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.core.embeddings import digest
from workflow_scripts.core.pages.folder import TIMESTAMP, new_folder
from workflow_scripts.core.step import StepError, report_counts, step
from workflow_scripts.retrieval.hf_card import card, describe
from workflow_scripts.retrieval.hf_croissant import croissant
from workflow_scripts.retrieval.hf_images import Images, content_sha256
from workflow_scripts.retrieval.hf_problems import TEMPLATES, problem_texts
from workflow_scripts.retrieval.hf_rows import COLUMNS, RowSource, Variant, letters, rows, survey

PARTS = frozenset({"README.md", "croissant.json", "dataset_dict.json", "train", TIMESTAMP})
BATCH_BYTES = 1 << 27  # of images that are in memory as rows; the writer holds them a few times over
BATCH_SIZES = (100, 50, 20, 10, 5, 2, 1)  # 100 is what `datasets` takes for images


def build(records: Path, inventories: list[Path], template: Path | None, settings: dict[str, Any], output: Path) -> dict[str, int]:
    """Write the folder of a dataset, whole or not at all; gives its counts.

    Args:
        records: of one category, or combined.
        inventories: tables of the categories that they name images of.
        template: the user's own for the problem, if there is one.
        settings: `algorithm`, `category`, `category_names`, `data_root`, `dataset`, `k`, `relative`, `seed`, `variant`.
        output: the folder.

    Raises:
        StepError: there is no record, the template cannot be used, or an image is not what the inventory says.
    """
    variant: Variant = settings["variant"]
    sha256, plan = content_sha256(records), survey(records, variant, settings["seed"], (settings["data_root"], settings["relative"]))
    if not plan.images:
        raise StepError(f"{records}: no record at all, so there is no dataset; set a wider negative_pool or a smaller top_k")
    if plan.k != settings["k"]:
        raise StepError(f"{records}: has {plan.k} references a record, and top_k says {settings['k']}; delete it, and it is made again")
    problems = problem_texts(template or TEMPLATES / f"{variant}.jinja", letters(plan.k), plan.categories, settings["category_names"])
    needed = {path for row in plan.images for path in row}
    images = Images.find(needed, inventories, settings["data_root"], settings["relative"])
    told = {name: settings[name] for name in ("algorithm", "category", "dataset", "k", "relative", "seed", "variant")}
    fingerprint = digest({"records": sha256, "images": images.digest(), "problems": problems, "settings": told})
    with new_folder(output, PARTS, "dataset") as folder:
        write_rows(RowSource(variant, records, plan, images, problems), sha256, fingerprint, folder)
        texts = {
            "README.md": card(settings, plan, problems, output.name, own_template=template is not None),
            "croissant.json": croissant(folder, output.name, describe(settings, plan), variant, fingerprint),
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
    sizes = [images.size(path) for row in plan.images for path in row]
    return {"rows": len(plan.images), "images": len(sizes), "bytes": sum(sizes)}


def write_rows(source: RowSource, records_sha256: str, fingerprint: str, folder: Path) -> None:
    """Write the rows as `DatasetDict.save_to_disk` would, with no more than a batch of them in memory.

    `from_generator` writes the Arrow files; they are moved and not saved again, which would map all of them into memory at
    once. What stands beside them is saved from the same dataset without its rows.
    """
    import datasets

    datasets.disable_progress_bars()
    cache, train = folder / "cache", folder / "train"
    try:
        written = datasets.Dataset.from_generator(
            rows,
            features=features(source.variant),
            cache_dir=str(cache),
            gen_kwargs={"source": source, "records_sha256": records_sha256},
            fingerprint=fingerprint,
            writer_batch_size=batch_size(source),
        )
    except datasets.exceptions.DatasetGenerationError as error:
        raise error.__cause__ or error from None
    datasets.DatasetDict({"train": written.select(range(0))}).save_to_disk(folder, num_shards={"train": 1})
    (train / "data-00000-of-00001.arrow").unlink()
    files = sorted(cache.rglob("*.arrow"))
    names = [f"data-{number:05d}-of-{len(files):05d}.arrow" for number in range(len(files))]
    for file, name in zip(files, names, strict=True):
        file.rename(train / name)
    state = json.loads((train / "state.json").read_text(encoding="utf-8"))
    state |= {"_data_files": [{"filename": name} for name in names], "_fingerprint": fingerprint}
    (train / "state.json").write_text(json.dumps(state, indent=2, sort_keys=True), encoding="utf-8")
    shutil.rmtree(cache)


def features(variant: Variant) -> Any:
    """The columns of a variant as `datasets.Features`."""
    import datasets

    class Given(datasets.Image):  # type: ignore[misc]
        """An image whose bytes are given: `Image` drops them when a file happens to be at the path beside them."""

        def encode_example(self, value: dict[str, Any]) -> dict[str, Any]:
            return value

    kinds = {"image": Given(), "text": datasets.Value("string"), "integer": datasets.Value("int64")}
    kinds["texts"] = datasets.List(kinds["text"])
    return datasets.Features({column.name: kinds[column.kind] for column in COLUMNS[variant]})


def batch_size(source: RowSource) -> int:
    """How many rows the writer may hold: as many as `datasets` does, or fewer where images are large."""
    sizes = np.array([sum(source.images.size(path) for path in row) for row in source.plan.images])
    fits = (rows for rows in BATCH_SIZES if np.add.reduceat(sizes, np.arange(0, len(sizes), rows)).max() <= BATCH_BYTES)
    return next(fits, 1)


if job := globals().get("snakemake"):
    with step(job.log[0]):
        tables, own = [Path(path) for path in job.input.inventories], [Path(path) for path in job.input.template]
        settings = job.params.dataset | {"algorithm": job.params.algorithm}
        counts = build(Path(job.input.records), tables, next(iter(own), None), settings, Path(job.output[0]))
        report_counts(**counts)
