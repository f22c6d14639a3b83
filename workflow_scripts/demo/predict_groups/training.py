"""What the small ranker and crop proposer learn, from embeddings."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from workflow_scripts.core.step import log
from workflow_scripts.demo.predict_groups.examples import Floats, Integers
from workflow_scripts.predict.networks import CROP_PROPOSER, RANKER, crop_inputs, mlp

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

RANKER_SIZES, PROPOSER_SIZES = [512, 256, 64, 1], [514, 256, 128, 4]
BATCH = 128
SCALE = 10_000  # `dimension_scale` of the crop proposer
UNIT = 300  # pixels: what widths and heights are divided by while it learns, so that they weigh as much as the rest
BEND = 0.02  # error of a coordinate from which on its loss grows in proportion


def fit_ranker(vectors: Floats, pairs: Integers, *, steps: int, seed: int) -> "Tensors":
    """State dict of a ranker that scores the first of each pair higher.

    Args:
        vectors: embeddings of length 1 [n, 512].
        pairs: rows of them, the better one first [p, 2].
        steps: batches.
        seed: of weights and batches.
    """
    import torch

    torch.manual_seed(seed)
    module, given = mlp(RANKER, RANKER_SIZES), torch.from_numpy(vectors)

    def loss(rows: Integers) -> "torch.Tensor":
        scores = module(given[torch.from_numpy(pairs[rows])])[..., 0]
        return torch.nn.functional.softplus(scores[:, 1] - scores[:, 0]).mean()

    fit(module, loss, _batches(len(pairs), steps, seed), rate=2e-3)
    return module.state_dict()


def fit_proposer(vectors: Floats, sizes: Integers, boxes: Floats, *, steps: int, seed: int) -> "Tensors":
    """State dict of a crop proposer that gives the figure's box, for `dimension_scale` 10000.

    Args:
        vectors: embeddings of length 1 [n, 512].
        sizes: width and height in pixels [n, 2].
        boxes: x1, y1, x2, y2 as parts of them [n, 4].
        steps: batches.
        seed: of weights and batches.
    """
    import torch

    torch.manual_seed(seed)
    module, wanted = mlp(CROP_PROPOSER, PROPOSER_SIZES), torch.from_numpy(boxes)
    given = torch.from_numpy(crop_inputs(vectors, sizes, UNIT))

    def loss(rows: Integers) -> "torch.Tensor":
        chosen = torch.from_numpy(rows)
        found = module(given[chosen])
        distance = torch.nn.functional.smooth_l1_loss(found, wanted[chosen], beta=BEND)
        return distance + 0.5 * (1 - _overlaps(found, wanted[chosen]).mean())

    fit(module, loss, _batches(len(vectors), steps, seed), rate=5e-3)
    state: Tensors = module.state_dict()
    state["0.weight"][:, -CROP_PROPOSER.beside :] *= SCALE / UNIT  # the same function of the pixels in the other unit
    return state


def fit(module: "torch.nn.Module", loss: Callable[[Integers], "torch.Tensor"], batches: list[Integers], rate: float) -> None:
    """Train a module in place; `loss` is of the rows of a batch, `rate` the highest learning rate."""
    import torch

    optimizer = torch.optim.AdamW(module.parameters(), rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, len(batches), cycle_momentum=False)
    module.train()
    for number, rows in enumerate(batches, start=1):
        found = loss(rows)
        optimizer.zero_grad()
        found.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if number % 1000 == 0 or number == len(batches):
            log.info("step %d of %d: loss %.4f", number, len(batches), float(found.detach()))
    module.eval()


def _batches(count: int, steps: int, seed: int) -> list[Integers]:
    return list(np.random.default_rng(seed).integers(count, size=(steps, BATCH)))


def _overlaps(found: "torch.Tensor", wanted: "torch.Tensor") -> "torch.Tensor":
    """Intersection over union of each two boxes [n]; a box whose ends are in the wrong order has no area."""
    import torch

    inner = (torch.minimum(found[:, 2:], wanted[:, 2:]) - torch.maximum(found[:, :2], wanted[:, :2])).clamp(min=0).prod(dim=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1) for boxes in (found, wanted)]
    return inner / (areas[0] + areas[1] - inner)
