"""The projects: what to work on, and where it lies; from a table, or from a folder of zips."""

from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.core.csv_input import read_csv_rows
from workflow_scripts.core.models import slug
from workflow_scripts.core.step import StepError
from workflow_scripts.core.storage import is_valid_key, printable_key
from workflow_scripts.predict.stages import compile_pattern

COLUMNS = ("project_id", "path")
OPTIONAL = ("pattern", "skip", "user_database")
SKIP = {"": False, "0": False, "no": False, "false": False, "1": True, "yes": True, "true": True}


@dataclass(frozen=True, slots=True)
class Project:
    """One row of the table.

    Attributes:
        project_id: as it stands in databases.
        path: of a zip or a folder.
        pattern: of its groups, in place of the one in the settings; empty for none.
        skip: whether it is left out this time, and counted as skipped.
        user_database: that predictions are merged into when asked for; empty for none.
    """

    project_id: str
    path: str
    pattern: str
    skip: bool
    user_database: str = ""

    @property
    def name(self) -> str:
        """What its files are called."""
        return slug(self.project_id)


def read_projects(table: Path) -> list[Project]:
    """The projects of a TSV with a header, in its order; rows that begin with # do not count. Of a folder: its zips, by name.

    Raises:
        StepError: the table is missing or lacks a column, or a row cannot be used; names the line.
    """
    return _in_folder(table) if table.is_dir() else _in_table(table)


def _in_folder(folder: Path) -> list[Project]:
    # Files that macOS puts beside others on foreign disks begin with a dot.
    zips = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".zip" and not path.name.startswith("."))
    if odd := [printable_key(path.name) for path in zips if not is_valid_key(path.name)]:
        raise StepError(f"{folder}: the name {odd[0]} is no UTF-8; rename the file")
    if not zips:
        raise StepError(f"{folder}: holds no .zip file; name the folder of the zips, or a table of projects")
    found: dict[str, Path] = {}
    for path in zips:
        if other := found.get(path.stem):
            raise StepError(f"{folder}: {other.name} and {path.name} would be one project; name them in a table of projects")
        found[path.stem] = path
    return [Project(name, str(path), "", skip=False) for name, path in found.items()]


def _in_table(table: Path) -> list[Project]:
    found: dict[str, Project] = {}
    for number, row in read_csv_rows(table, COLUMNS, tabs=True):
        where = f"{table}, line {number}"
        if next(iter(row.values())).startswith("#"):
            continue
        if unknown := [name or "one without a name" for name in row if name not in (*COLUMNS, *OPTIONAL)]:
            raise StepError(f"{where}: has a value in the column {unknown[0]}; the columns are {', '.join((*COLUMNS, *OPTIONAL))}")
        project = _project({name: value.strip() for name, value in row.items()}, where)
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
    return Project(row["project_id"], row["path"], pattern, SKIP[skip], row.get("user_database", ""))
