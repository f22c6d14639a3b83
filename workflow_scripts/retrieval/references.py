"""Which references every query image of a category gets, or why it gets none."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from workflow_scripts.core.cosine import blas_threads
from workflow_scripts.retrieval import neighbours
from workflow_scripts.retrieval.draws import Lottery
from workflow_scripts.retrieval.gallery import Gallery, Ints
from workflow_scripts.retrieval.left_out import LeftOut
from workflow_scripts.retrieval.neighbours import Chosen
from workflow_scripts.retrieval.pair_reviews import PairReviews
from workflow_scripts.retrieval.search import Search

SINGLE, TOO_FEW, REVIEW = SKIPPED = ("single image", "too few concepts", "review")
Settings = dict[str, Any]


@dataclass(slots=True)
class Choice:
    """The references of the queries of a category.

    Attributes:
        queries: images, in order of the gallery [q].
        positives: of each [q, 1].
        negatives: of each [q, k - 1].
        skipped: reason for each query that gives no record.
        largest_k: the largest K that gives a record.
    """

    queries: Ints
    positives: Chosen
    negatives: Chosen
    skipped: dict[int, str]
    largest_k: int


def choose(gallery: Gallery, reviews: PairReviews, settings: Settings, threads: int) -> Choice:
    """Choose the references of every image of the category.

    Args:
        gallery: the images of the category, and of the others where its negatives come from them too.
        reviews: what a person dropped.
        settings: as `params.retrieve` gives them.
        threads: how many to use; no result depends on it.
    """
    rows = {path: number for number, path in enumerate(gallery.paths)}
    left_out = LeftOut(
        gallery,
        duplicate_similarity=settings["duplicate_similarity"],
        images=[rows[path] for path in reviews.references if path in rows],
        pairs=[(rows[query], rows[image]) for query, image in reviews.pairs if query in rows and image in rows],
    )
    pools = concept_pools(gallery, settings)
    of_category = np.isin(gallery.owners(), gallery.concepts_in(settings["category"]))
    skipped = {number: REVIEW for number in np.flatnonzero(of_category).tolist() if gallery.paths[number] in reviews.queries}
    queries = np.array([number for number in np.flatnonzero(of_category).tolist() if number not in skipped], dtype=np.int64)
    with blas_threads(1):
        search, lottery = Search(gallery, left_out, threads), Lottery(gallery, left_out, settings["seed"])
        if settings["positive"] == "random":
            positives = lottery.positives(queries)
        else:
            positives = neighbours.positives(search, queries, farthest=settings["positive"] == "hard")
        paired, wanted = np.flatnonzero(positives.counts()), settings["k"] - 1
        if settings["negatives"] == "random":
            found = lottery.negatives(queries[paired], pools, wanted)
        else:
            found = neighbours.negatives(search, queries[paired], pools, settings["candidate_concepts"], wanted)
    negatives = Chosen.none(len(queries), wanted)
    negatives.fill(paired, found)
    skipped |= dict.fromkeys(queries[positives.counts() == 0].tolist(), SINGLE)
    skipped |= dict.fromkeys(queries[paired[found.counts() < wanted]].tolist(), TOO_FEW)
    largest_k = 1 + int(found.counts().max(initial=0))
    if largest_k == settings["k"]:  # there are records, so that as many concepts as there are may give some
        usable = np.unique(gallery.owners()[~left_out.dropped])
        largest_k = int(np.isin(usable, np.concatenate(pools)).sum())
    return Choice(queries, positives, negatives, skipped, largest_k)


def concept_pools(gallery: Gallery, settings: Settings) -> list[Ints]:
    """The concepts that negatives come from, in the order in which pools are used."""
    own = gallery.concepts_in(settings["category"])
    everything = np.arange(len(gallery.concepts))
    pools = {"category": [own], "dataset": [everything], "category_then_dataset": [own, np.setdiff1d(everything, own)]}
    return pools[settings["negative_pool"]]
