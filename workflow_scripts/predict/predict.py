"""predict 03: group the images of a project, score them, select the best of each group and propose its crop."""

from collections import Counter
from pathlib import Path
from typing import Any

from workflow_scripts.core.accounting import Ledger
from workflow_scripts.core.decisions import Reviews
from workflow_scripts.core.embeddings import write_table
from workflow_scripts.core.step import report_counts, step
from workflow_scripts.predict.check_models import read_models
from workflow_scripts.predict.group_reviews import DECISIONS
from workflow_scripts.predict.groups import Rule
from workflow_scripts.predict.networks import Network
from workflow_scripts.predict.predictions import Embeddings, Networks, predict
from workflow_scripts.predict.tables import GROUPS, IMAGES, OUTCOMES, about, schema


def write_predictions(table: Path, output: Path, images: Path, **how: Any) -> dict[str, int]:
    """Write both tables of a project; gives the counts of groups and of images.

    Args:
        table: of step 02.
        output: the table `GROUPS`.
        images: the table `IMAGES`.
        **how: `rule`, `networks` and `reviews` as of `predict`, the networks as a function that loads them; and `models`: what the
            tables say of them.
    """
    known = about(table)
    found = Embeddings.read(table)
    networks = how["networks"]() if found.vectors is not None else None
    groups, rows = predict(known["project_id"], found, how["rule"], networks, how["reviews"])
    # By number, since a refused member may have the name of another.
    ledger = Ledger(map(str, range(len(found.rows))), OUTCOMES)
    for number, row in enumerate(rows):
        ledger.add(row["outcome"], [str(number)])
    repairs = Counter(repair for row in groups for repair in row["repairs"])
    counts = {"groups": len(groups), "failed_groups": sum(row.get("selected") is None for row in groups)}
    counts |= {"repaired_crops": sum(bool(row["repairs"]) for row in groups)}
    counts |= {name.replace(" ", "_"): count for name, count in ledger.close().items()}
    metadata = known | {"models": how["models"], "counts": counts, "repairs": dict(sorted(repairs.items()))}
    write_table(images, schema(IMAGES, metadata), rows)
    write_table(output, schema(GROUPS, metadata), groups)
    return counts


def load(models: dict[str, Any], preprocessing: dict[str, Any]) -> Networks:
    """The networks of `models`, as of `read_models`, with the rest of `Networks`."""
    loaded = {name: Network(checkpoint) for name, checkpoint in read_models(models).items()}
    return Networks(loaded["ranker"], loaded["crop_proposer"], **preprocessing)


if job := globals().get("snakemake"):
    with step(job.log[0]):
        params = job.params
        decided = Reviews(Path(job.input.reviews[0]) if job.input.reviews else None, DECISIONS)
        how = {"networks": lambda: load(params.models, params.networks), "reviews": decided, "models": params.models}
        places = (Path(job.input.embeddings), Path(job.output.groups), Path(job.output.images))
        report_counts(**write_predictions(*places, rule=Rule(**params.grouping), **how))
