"""people 03: the vectors of the prompts, as a file, so that scoring needs no model."""

from pathlib import Path
from typing import Any

from workflow_scripts.core.clip import encode_texts
from workflow_scripts.core.json_files import write_json
from workflow_scripts.core.models import ModelCard
from workflow_scripts.core.step import report_counts, step


def embed_prompts(card: ModelCard, prompts: dict[str, list[str]]) -> dict[str, Any]:
    """The prompts with their L2-normalised vectors by class, and the model's own logit scale."""
    vectors, scale = encode_texts(card, [*prompts["positive"], *prompts["negative"]])
    count = len(prompts["positive"])
    parts = {"positive": vectors[:count].tolist(), "negative": vectors[count:].tolist()}
    return {"prompts": prompts, "logit_scale": scale, "vectors": parts}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        found = embed_prompts(ModelCard.read(job.input.model), job.params.prompts)
        write_json(Path(job.output[0]), found)
        report_counts(**{name: len(texts) for name, texts in job.params.prompts.items()})
