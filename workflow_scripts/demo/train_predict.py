"""Trains the demo's small ranker and crop proposer on drawn groups, on the embeddings of the demo's CLIP model.

They prove the workflow through the real classes and files; they know drawings and nothing of photographs.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workflow_scripts.core.clip import ImageEncoder
from workflow_scripts.core.json_files import write_json
from workflow_scripts.core.models import ModelCard, file_sha256
from workflow_scripts.core.preprocess import Pixels, Preprocess
from workflow_scripts.core.step import atomic_output, log, step
from workflow_scripts.demo.predict_groups.examples import Floats, draw_examples
from workflow_scripts.demo.predict_groups.metrics import measure
from workflow_scripts.demo.predict_groups.training import fit_proposer, fit_ranker
from workflow_scripts.models.clip_card import make_card
from workflow_scripts.predict.networks import embeddings

if TYPE_CHECKING:
    import torch

VIEWS = "center"  # as the pipeline embeds
TRAINING_DEFECTS, DEMO_DEFECTS = 0.5, 0.2  # share of the groups with a defect; in the demo's projects it is every fifth


def embed(card: ModelCard, pixels: Pixels, threads: int) -> Floats:
    """The embeddings that a network takes [n, d] for images [n, size, size, 3]: rounded as in a table, then of length 1."""
    encoder = ImageEncoder(card, device="cpu", precision="fp32", batch="auto", threads=threads)
    return embeddings(encoder.encode(pixels).astype(np.float16), normalise=True)


def save(state: "dict[str, torch.Tensor]", path: Path) -> None:
    """Write a checkpoint in half precision, as training scripts often do under `model_state_dict`; the same numbers give the same bytes."""
    import torch

    buffer = io.BytesIO()  # to a file torch.save would write that file's name too
    torch.save({"model_state_dict": {name: value.half() for name, value in state.items()}}, buffer)
    with atomic_output(path) as partial:
        partial.write_bytes(buffer.getvalue())


def train(
    clip: Path, ranker: Path, proposer: Path, *, seed: int, groups: int = 1500, held_out: int = 400, steps: int = 4000, threads: int = 2
) -> dict[str, Any]:
    """Draw groups, train, write both checkpoints and measure what was written on groups it has not seen.

    Args:
        clip: folder of the CLIP model.
        ranker: the checkpoint to write.
        proposer: likewise.
        seed: of drawings, weights and batches.
        groups: to train on.
        held_out: groups to measure on.
        steps: batches for the crop proposer; the ranker, whose task is easier, gets a third.
        threads: processes that draw and threads that compute; results agree only for the same number.

    Returns:
        What stands in `metrics.json`.
    """
    card = make_card({"name": "demo", "pretrained": str(clip), "sha256": None}, clip)
    preprocess = Preprocess.for_model(card.preprocess_cfg, VIEWS)
    learnt = draw_examples(seed, "train", groups, preprocess, share=TRAINING_DEFECTS, workers=threads).with_mirrored()
    unseen = draw_examples(seed, "held-out", held_out, preprocess, share=DEMO_DEFECTS, workers=threads)

    import torch

    vectors, unseen_vectors = (embed(card, examples.pixels, threads) for examples in (learnt, unseen))
    torch.set_num_threads(1)  # the networks are too small to be shared out, and sums come out the same
    save(fit_ranker(vectors, learnt.pairs(), steps=steps // 3, seed=seed), ranker)
    save(fit_proposer(vectors, learnt.sizes, learnt.boxes, steps=steps, seed=seed), proposer)
    figures = measure(ranker, proposer, unseen, unseen_vectors)
    log.info("held-out figures: %s", figures)
    return {
        "held_out": figures,
        "held_out_groups": held_out,
        "train_groups": groups,
        "train_images": len(learnt.groups),
        "steps": steps,
        "seed": seed,
        "threads": threads,
        "bytes": {path.name: path.stat().st_size for path in (ranker, proposer)},
        "clip_sha256": card.sha256,
        "torch": torch.__version__,
    }


if job := globals().get("snakemake"):
    with step(job.log[0]):
        places = Path(job.output.ranker), Path(job.output.crop_proposer)
        write_json(Path(job.output.metrics), train(Path(job.input.weights).parent, *places, seed=job.params.seed, threads=job.threads))
        for made in places:
            log.info("to use it: copy %s over resources/demo/predict; sha256 %s", made, file_sha256(made))
