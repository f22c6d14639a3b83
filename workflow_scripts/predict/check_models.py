"""predict 00: whether the ranker and the crop proposer can be used with the CLIP model, before hours go into embeddings."""

from pathlib import Path
from typing import Any

from workflow_scripts.core.json_files import write_json
from workflow_scripts.core.models import ModelCard
from workflow_scripts.core.step import StepError, report_counts, step
from workflow_scripts.predict.checkpoint import Checkpoint, read_checkpoint
from workflow_scripts.predict.networks import CROP_PROPOSER, RANKER

KINDS = {"ranker": RANKER, "crop_proposer": CROP_PROPOSER}


def read_models(models: dict[str, Any], dimension: int | None = None) -> dict[str, Checkpoint]:
    """The checkpoints, by what they are for.

    Args:
        models: `ranker` and `crop_proposer`, each with `path` and `sha256`.
        dimension: of the embeddings.

    Raises:
        StepError: a file is no such checkpoint, does not fit the embeddings, or is another than when the run was planned.
    """
    found = {name: read_checkpoint(models[name]["path"], kind, dimension) for name, kind in KINDS.items()}
    for name, checkpoint in found.items():
        if checkpoint.sha256 != models[name]["sha256"]:
            raise StepError(f"{checkpoint.path}: was replaced while this run was at work; run again")
    return found


def check_models(card: ModelCard, models: dict[str, Any], output: Path) -> dict[str, int]:
    """Write down what predicts: path, sha256 and layers of each network, and the CLIP model they go with.

    Args:
        card: of the CLIP model.
        models: as of `read_models`.
        output: JSON.

    Raises:
        StepError: as of `read_models`.
    """
    found = read_models(models, int(card.model_cfg["embed_dim"]))
    text = {name: checkpoint.record() for name, checkpoint in found.items()}
    clip = {"name": card.name, "pretrained": card.pretrained, "sha256": card.sha256}
    write_json(output, text | {"clip": clip})
    return {"checked": len(found)}


if job := globals().get("snakemake"):
    with step(job.log[0]):
        report_counts(**check_models(ModelCard.read(job.input.model), job.params.models, Path(job.output[0])))
