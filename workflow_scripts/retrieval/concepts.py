"""retrieval: list the concepts that have test images."""

from pathlib import Path

from workflow_scripts.core.csv_output import write_rows
from workflow_scripts.core.step import report_counts, step
from workflow_scripts.retrieval.catalog_file import read_catalog


def list_concepts(catalog: Path, output: Path) -> dict[str, int]:
    """Write `category,concept` of each concept with test images, in catalog order; gives their number, and that of the others."""
    concepts = [(category, concept, images) for category, found in read_catalog(catalog).items() for concept, images in found.items()]
    tested = write_rows(output, ((category, concept) for category, concept, images in concepts if images.test))
    return {"concepts": tested, "without_test_images": len(concepts) - tested}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        report_counts(**list_concepts(Path(job.input[0]), Path(job.output[0])))
