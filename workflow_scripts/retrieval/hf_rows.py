"""The rows of a Hugging Face dataset: from records and image files, a row at a time.

A module that can be imported by its name, so that `datasets` knows the generator by it and not by the name of a job's script.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from workflow_scripts.core.prefetch import ahead
from workflow_scripts.core.seeded import pick, rank
from workflow_scripts.core.step import StepError, progress
from workflow_scripts.core.storage import FolderStorage
from workflow_scripts.retrieval.hf_images import Images, content_sha256
from workflow_scripts.retrieval.params import below_root
from workflow_scripts.retrieval.records import Record, read_records

Variant = Literal["speaker", "listener"]
DEPTH = 4 * FolderStorage.reads_at_once  # rows that are read ahead


@dataclass(frozen=True)
class Column:
    """A column of the rows.

    Attributes:
        name: in the dataset.
        kind: of its values.
        meaning: for readers; words that Markdown shows as code stand in backticks.
    """

    name: str
    kind: Literal["image", "text", "texts", "integer"]
    meaning: str


_SHARED = (
    Column("category", "text", "category of the query"),
    Column("example_idx", "integer", "position of the record in the file that the rows come from, from 0"),
)
COLUMNS: dict[Variant, tuple[Column, ...]] = {
    "speaker": (
        Column("image", "image", "the query: the bytes of the image file as they are"),
        Column("ret_paths", "texts", "paths of the K references; their images are not in the dataset"),
        Column("names", "texts", "what the problem calls the references: `A`, `B` and so on, in the same order"),
        Column("speaker_problem", "text", "the question: which reference shows what the query shows"),
        Column("solution", "text", "the answer: the name of that reference"),
        *_SHARED,
    ),
    "listener": (
        Column("query_image", "image", "the query: the bytes of the image file as they are"),
        Column("reference_image", "image", "the image to compare it with, likewise"),
        Column("listener_problem", "text", "the question: whether both show the same"),
        Column("listener_solution", "text", "the answer: `yes` or `no`, each for half of the rows"),
        *_SHARED,
    ),
}


@dataclass(frozen=True)
class Plan:
    """What the records tell before an image is read.

    Attributes:
        k: references of every record.
        categories: how many rows each has, sorted by name.
        images: paths of the images that stand in each row: the query; for a listener its reference, too.
        positive: for a listener, whether each row's reference shows the query's concept.
    """

    k: int
    categories: dict[str, int]
    images: list[tuple[str, ...]]
    positive: list[bool]


@dataclass(frozen=True)
class RowSource:
    """Everything that rows are made of.

    Attributes:
        variant: `speaker` or `listener`.
        records: the file.
        plan: of these records.
        images: the files of all images in the rows.
        problems: the problem text of each category.
    """

    variant: Variant
    records: Path
    plan: Plan
    images: Images
    problems: dict[str, str]


def letters(count: int) -> list[str]:
    """The names of references: A to Z, then AA, AB and so on, as spreadsheets name their columns."""
    names = []
    for number in range(1, count + 1):
        name = ""
        while number:
            number, digit = divmod(number - 1, 26)
            name = chr(ord("A") + digit) + name
        names.append(name)
    return names


def halves(records: Iterable[tuple[str, str, str]], seed: int) -> list[bool]:
    """Which listener rows are positive: half of all, of every category and of every concept, up to one row.

    Rows stand in a random order within concepts, and concepts within categories; from there on every other row is positive.

    Args:
        records: category, concept and query path of each.
        seed: of the dataset.
    """
    keys = [
        (category, rank(seed, category, concept), concept, rank(seed, query), number)
        for number, (category, concept, query) in enumerate(records)
    ]
    positive = [False] * len(keys)
    for place, key in enumerate(sorted(keys), rank(seed) % 2):
        positive[key[-1]] = place % 2 == 0
    return positive


def survey(records: Path, variant: Variant, seed: int, root: tuple[str, bool] = ("", True)) -> Plan:
    """Read the records once, to know what the rows need.

    Args:
        records: the file.
        variant: of the rows.
        seed: of the dataset.
        root: data_root and relative; chance goes by paths below data_root, so that a dataset may move.

    Raises:
        StepError: the records differ in how many references they have.
    """
    k, categories = 0, Counter[str]()
    images: list[tuple[str, ...]] = []
    concepts: list[tuple[str, str, str]] = []
    for number, record in enumerate(read_records(records)):
        k = k or len(record.ret_paths)
        if len(record.ret_paths) != k:
            raise StepError(
                f"{records}: record {number} has {len(record.ret_paths)} references, those before it have {k}, and a dataset has one K; "
                "delete the file, and it is made again"
            )
        categories[record.category] += 1
        concepts.append((record.category, record.concept, below_root(*root, record.query_path)))
        images.append((record.query_path, *(_references(record, seed, root) if variant == "listener" else ())))
    positive: list[bool] = []
    if variant == "listener":
        positive = halves(concepts, seed)
        images = [(query, same if chosen else other) for (query, same, other), chosen in zip(images, positive, strict=True)]
    return Plan(k, dict(sorted(categories.items())), images, positive)


def _references(record: Record, seed: int, root: tuple[str, bool]) -> tuple[str, str]:
    """A record's positive, and the negative that would stand in its place."""
    negatives = {below_root(*root, path): path for place, path in enumerate(record.ret_paths) if place != record.label}
    return record.ret_paths[record.label], negatives[pick(negatives, seed, "reference", below_root(*root, record.query_path))]


def rows(source: RowSource, records_sha256: str) -> Iterator[dict[str, Any]]:
    """Yield the rows in the order of the records, with the bytes of image files as they are.

    Args:
        source: what rows are made of.
        records_sha256: of the records that were planned for.

    Raises:
        StepError: an image is no longer the one of the inventory, or the records are no longer those of the plan.
    """
    names, plan = letters(source.plan.k), source.plan
    pairs = zip(read_records(source.records), plan.images, strict=False)
    loaded = ahead(
        lambda pair: (pair[0], [{"bytes": source.images.read(path), "path": path} for path in pair[1]]),
        pairs,
        threads=FolderStorage.reads_at_once,
        depth=DEPTH,
        weight=lambda pair: sum(source.images.size(path) for path in pair[1]),
    )
    for number, (record, images) in enumerate(progress(loaded, total=len(plan.images), unit="rows")):
        shared = {"category": record.category, "example_idx": number}
        problem = source.problems[record.category]
        if source.variant == "listener":
            answer = "yes" if plan.positive[number] else "no"
            pictures = {"query_image": images[0], "reference_image": images[1]}
            yield pictures | {"listener_problem": problem, "listener_solution": answer} | shared
        else:
            texts = {"ret_paths": record.ret_paths, "names": names, "speaker_problem": problem, "solution": names[record.label]}
            yield {"image": images[0]} | texts | shared
    if content_sha256(source.records) != records_sha256:
        raise StepError(f"{source.records}: changed while it was read; run again")
