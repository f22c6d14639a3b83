"""The table of projects: what to work on, and where it lies."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.core.models import slug
from workflow_scripts.core.step import StepError
from workflow_scripts.predict.stages import compile_pattern

COLUMNS = ("project_id", "path")
OPTIONAL = ("pattern", "skip")
SKIP = {"": False, "0": False, "no": False, "false": False, "1": True, "yes": True, "true": True}


@dataclass(frozen=True, slots=True)
class Project:
    """One row of the table.

    Attributes:
        project_id: as it stands in databases.
        path: of a zip or a folder.
        pattern: of its groups, in place of the one in the settings; empty for none.
        skip: whether it is left out this time, and counted as skipped.
    """

    project_id: str
    path: str
    pattern: str
    skip: bool

    @property
    def name(self) -> str:
        """What its files are called."""
        return slug(self.project_id)


def read_projects(table: Path) -> list[Project]:
    """The projects of a TSV with a header, in its order; lines that are empty or begin with # do not count.

    Raises:
        StepError: the table is missing or lacks a column, or a row cannot be used; names the line.
    """
    try:
        text = table.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise StepError(f"{table}: no such file; predict.projects names a TSV with the columns {', '.join(COLUMNS)}") from error
    except UnicodeDecodeError as error:
        raise StepError(f"{table}: is no UTF-8; save it again as UTF-8") from error
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")]
    # Quotes mean nothing in a TSV: names may hold them.
    reader = csv.reader(io.StringIO("\n".join(line for _, line in lines)), delimiter="\t", quoting=csv.QUOTE_NONE)
    header, *rows = [[value.strip() for value in row] for row in reader] or [[]]
    unknown = [name for name in header if name not in (*COLUMNS, *OPTIONAL)]
    if unknown or any(name not in header for name in COLUMNS):
        known = f"{' and '.join(COLUMNS)}, and may have {' and '.join(OPTIONAL)}"
        raise StepError(f"{table}: its columns are {', '.join(header) or '(none)'}; it needs {known}, with tabs between them")
    found: dict[str, Project] = {}
    for (number, _), row in zip(lines[1:], rows, strict=True):
        where = f"{table}, line {number}"
        if len(row) > len(header):
            raise StepError(f"{where}: has {len(row)} values, the header {len(header)}")
        project = _project(dict(zip(header, row + [""] * (len(header) - len(row)), strict=True)), where)
        if project.name in found:
            raise StepError(f"{where}: project_id {project.project_id} stands there twice")
        found[project.name] = project
    return list(found.values())


def _project(row: dict[str, str], where: str) -> Project:
    if not row["project_id"] or not row["path"]:
        raise StepError(f"{where}: needs a project_id and a path")
    pattern, skip = row.get("pattern", ""), row.get("skip", "").lower()
    if skip not in SKIP:
        raise StepError(f"{where}: skip is {row['skip']!r}; write yes, or leave it empty")
    if pattern:
        compile_pattern(pattern, f"{where}: pattern")
    return Project(row["project_id"], row["path"], pattern, SKIP[skip])
