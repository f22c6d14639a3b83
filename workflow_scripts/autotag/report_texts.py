"""autotag 09: what the report says beside its rows: warnings, notes, tables and the slider."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from workflow_scripts.autotag.report_pictures import Neighbours
from workflow_scripts.autotag.tables import KEPT
from workflow_scripts.autotag.tag_reviews import ARROW
from workflow_scripts.core.pages import Panel, Threshold
from workflow_scripts.core.pages.texts import counted, named, table_panel

Facts = Mapping[str, Any]
LEAST_SLIDER = 6  # votes that the slider reaches at least
# What became of neighbours, in the order in which they are left out.
FATES = {
    "own": "the image itself, or a copy of it: left out",
    "excluded": "named by a list of autotag.exclude: left out",
    "dissimilar": "below autotag.vote.min_similarity: left out",
    "untagged": "without a tag: left out",
    "same_image": "of a source image that had a nearer one: left out",
    "beyond_k": "beyond the first autotag.faiss.k: left out",
    "counted": "counted",
}


def threshold(vote: Facts, votes: Iterable[int]) -> Threshold:
    """The slider for min_votes; votes are those of all candidates."""
    high = max(LEAST_SLIDER, 2 * vote["min_votes"], max(votes, default=0) + 1)
    return Threshold("votes", "votes", vote["min_votes"], 1, high, 1, "below", ("autotag", "vote", "min_votes"))


def warnings(neighbours: Neighbours, recall: Facts, index: Facts) -> list[str]:
    """What to heed before anything else.

    Args:
        neighbours: what was looked up.
        recall: of `04_index/recall.json`.
        index: of `04_index/index_metadata.json`.
    """
    said = [*index["warnings"], *recall["warnings"]]
    if neighbours.tars:
        tars = named(f"{shard}.tar" for shard in neighbours.tars)
        said.append(f"Pictures of source images may be missing on this page: their shards are gone ({tars}).")
    if neighbours.tables:
        said.append(f"Source images are missing on this page: the tables of their shards are gone ({named(neighbours.tables)}).")
    return list(dict.fromkeys(said))


def notes(run: Facts, about: Facts, recall: Facts) -> list[str]:
    """What to know before judging.

    Args:
        run: `reviews` (where decisions are read).
        about: what stands beside the rows of the candidates.
        recall: of `04_index/recall.json`.
    """
    images = about["images"]
    tagged = f"{images['tagged']:,} with tags, {images['untagged']:,} without, {images['error']:,} that cannot be read"
    add = (
        f"Keep and reject stand above votes. To add a tag that nothing voted for, write a line into {run['reviews']}: the image's sha256, "
        f"image{ARROW}tag as path, and add as decision. Where that file exists already, import it before you export: the new file then "
        "keeps its lines."
    )
    finds = "" if recall["recall"] is None else f" Of the {recall['at']} nearest neighbours the index finds {recall['recall']:.1%}."
    return [f"{counted(images['listed'], 'image')}: {tagged}.{finds}", add]


def panels(vote: Facts, about: Facts, candidates: Iterable[Facts], recall: Facts, index: Facts) -> list[Panel]:
    """The fold-out parts.

    Args:
        vote: the settings.
        about: what stands beside the rows of the candidates.
        candidates: their rows.
        recall: of `04_index/recall.json`.
        index: of `04_index/index_metadata.json`.
    """
    return [tags_panel(candidates), vote_panel(vote, about["neighbours"]), index_panel(recall, index)]


def tags_panel(candidates: Iterable[Facts]) -> Panel:
    """Tags by how many images have them."""
    kept: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    for row in candidates:
        (kept if row["outcome"] == KEPT else rejected)[row["tag"]] += 1
    tags = sorted(kept.keys() | rejected.keys(), key=lambda tag: (-kept[tag], -rejected[tag], tag))
    rows = [(tag, kept[tag], rejected[tag]) for tag in tags]
    text = f"{counted(len(kept), 'tag')} on the images of this folder; rejected ones had too few votes, or a person took them out."
    return table_panel("Tags by frequency", (text,), ("tag", "images that have it", "images it was rejected for"), rows, "tags.csv")


def vote_panel(vote: Facts, neighbours: Mapping[str, int]) -> Panel:
    """How votes come about, and what became of the neighbours."""
    if vote["unit"] == "crop":
        few = ", or those of all its parts where the image has fewer" if vote["relax_small"] else ""
        rule = f"A part votes for each tag that at least {vote['min_share']:.0%} of these neighbours carry"
    else:
        few, rule = "", "Each of these neighbours votes for each of its tags"
    carries = "the name of the part" if vote["tags"] == "label" else "all tags of its image"
    found = "An image is taken apart, and every part (a box) has neighbours: the parts of source images that look most like it."
    text = (
        f"{found} The nearest {vote['k']} of them count.",
        f"{rule}; a neighbour carries {carries}. An image gets a tag that has at least {counted(vote['min_votes'], 'vote')}{few}.",
    )
    rows = [(fate, neighbours[name]) for name, fate in FATES.items()]
    return table_panel("How tags come about", text, ("neighbours that were found", "how many"), rows, "neighbours.csv")


def index_panel(recall: Facts, index: Facts) -> Panel:
    """What is known of the index."""
    text = (
        "Neighbours are found by an index that may miss some. Recall is the part of the nearest that it finds, measured with parts of "
        "source images as queries."
    )
    rows = [
        ("parts in the index", index["rows"]),
        ("source images", index["images"]),
        ("source images without tags", index["untagged"]),
        ("kind of index (faiss.factory)", index["factory"]),
        ("lists that a search looks through (nprobe)", recall["nprobe"] or "all"),
        ("candidates that are compared with the stored vectors (rerank)", recall["rerank"]),
        (f"recall@{recall['at']}", "not measured" if recall["recall"] is None else f"{recall['recall']:.3f}"),
        (f"reaches {recall['goal']}", "yes" if recall["reached"] else "no"),
    ]
    return table_panel("The index", (text,), ("what", "value"), rows, "index.csv")
