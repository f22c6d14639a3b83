"""README.md of a Hugging Face dataset: its card."""

import json
import re
from typing import Any

import jinja2
import yaml

from workflow_scripts.retrieval.hf_problems import TEMPLATES
from workflow_scripts.retrieval.hf_rows import COLUMNS, Plan, Variant

# The Hub's size classes: from so many rows on.
SIZES = ((0, "n<1K"), (10**3, "1K<n<10K"), (10**4, "10K<n<100K"), (10**5, "100K<n<1M"), (10**6, "1M<n<10M"), (10**7, "10M<n<100M"))


def size_category(rows: int) -> str:
    """The Hub's word for a number of rows."""
    return next(name for least, name in reversed(SIZES) if rows >= least)


def markdown(text: str) -> str:
    """Any text, such as the name of a folder, as Markdown that shows it on one line and to the letter."""
    entities = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
    line = "".join(entities.get(letter, letter) for letter in " ".join(text.split()))
    return re.sub(r"([\\`*_\[\]#|~$:@])", r"\\\1", line)


def describe(settings: dict[str, Any], plan: Plan) -> str:
    """What the dataset is, in a paragraph."""
    rows = sum(plan.categories.values())
    if settings["variant"] == "listener":
        asks = "asks whether two pictures show the same concept, one and the same thing and not only one of its kind"
    else:
        asks = f"shows a query picture and asks which of {plan.k} reference pictures shows the same concept; the others show other concepts"
    return f"Each of {rows:,} rows {asks}."


def card(settings: dict[str, Any], plan: Plan, problems: dict[str, str], folder: str, own_template: bool) -> str:
    """The card, in Markdown behind a YAML header.

    Args:
        settings: `category`, `dataset`, `relative`, `seed`, `variant`.
        plan: of the rows.
        problems: the problem of each category.
        folder: name of the dataset's folder.
        own_template: whether the problems come from the user's own template, of which nothing is known.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - this is no HTML; what is data goes through `markdown`
    )
    environment.filters["markdown"] = markdown
    variant: Variant = settings["variant"]
    first, rows = next(iter(problems)), sum(plan.categories.values())
    longest = max(map(len, re.findall(r"`+", problems[first])), default=0)
    made_of = {name: settings[name] for name in ("dataset", "category", "variant", "seed")} | {"K": plan.k}
    return environment.get_template("card.md.jinja").render(
        categories=plan.categories,
        columns=COLUMNS[variant],
        description=describe(settings, plan),
        fence="`" * max(3, longest + 1),
        first=first,
        folder=json.dumps(folder),
        header=header(settings, rows, own_template),
        relative=settings["relative"],
        settings=made_of | {"problem": "a template of the user's own" if own_template else "the built-in template"},
        texts=problems,
        title=folder,
        total=rows,
        variant=variant,
    )


def header(settings: dict[str, Any], rows: int, own_template: bool) -> str:
    """The YAML that the Hub reads."""
    found: dict[str, Any] = {
        "license": "unknown",
        "pretty_name": f"{settings['dataset']} ({settings['category']}, {settings['variant']})",
        "size_categories": [size_category(rows)],
        "task_categories": ["visual-question-answering"],
        "tags": ["image", "personalization", "retrieval", settings["variant"]],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "train/*.arrow"}]}],
    }
    if not own_template:
        found["language"] = ["en"]
    return yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=1000).strip()
