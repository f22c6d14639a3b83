"""The problem texts of a Hugging Face dataset, from a Jinja template that the user can replace."""

import traceback
from collections.abc import Iterable
from pathlib import Path

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from workflow_scripts.core.step import StepError

TEMPLATES = Path(__file__).parent / "templates"


def problem_texts(template: Path, names: list[str], categories: Iterable[str], category_names: dict[str, str]) -> dict[str, str]:
    """The problem of each category.

    The template sees `names` and their number `k`, and `category`; which reference is right depends on the row, and it does not see rows.

    Args:
        template: Jinja file.
        names: of the references, in their order.
        categories: all that occur.
        category_names: what texts call them, where it is not their own name.

    Raises:
        StepError: the template cannot be used; names the file, and the line where there is one.
    """
    parsed = _parse(template)
    texts = {}
    for category in categories:
        known = {"names": list(names), "k": len(names), "category": category_names.get(category, category)}
        try:
            texts[category] = parsed.render(known).strip()
        except Exception as error:  # a template is a program of the user's, and may fail in any way
            lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(template)]
            raise _refuse(template, lines[-1] if lines else None, error) from error
        if not texts[category]:
            raise StepError(f"{template}: gives no text for category {category}; write a problem into it")
    return texts


def _parse(template: Path) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    # They draw from a generator of Python's own, and the same input has to give the same bytes.
    del environment.filters["random"], environment.globals["lipsum"]
    try:
        code = environment.compile(template.read_text(encoding="utf-8-sig"), str(template), str(template))
    except OSError as error:
        raise StepError(f"{template}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise StepError(f"{template}: is no UTF-8; save it again as UTF-8") from error
    except jinja2.TemplateSyntaxError as error:
        raise _refuse(template, error.lineno, error) from error
    return jinja2.Template.from_code(environment, code, environment.make_globals(None))


def _refuse(template: Path, line: int | None, error: Exception) -> StepError:
    place = f", line {line}" if line else ""
    said = " ".join(str(error).split()) or type(error).__name__
    return StepError(f"{template}{place}: {said}; it can use names (a list of letters), k (how many) and category")
