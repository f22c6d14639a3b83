"""predict 05: whether a database is as the contract says, in numbers and a list of issues."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.predict.contents import Contents, read_contents
from workflow_scripts.predict.database import COLUMNS, REQUIRED, SCHEMA_VERSION, TABLES, VIEWS
from workflow_scripts.predict.read_database import UnreadableDatabaseError
from workflow_scripts.predict.row_checks import CHECKS, ERROR, FAILED_CHECKS, WARNING
from workflow_scripts.predict.tables import FAILED

Issue = dict[str, Any]
NAMED = 10  # how many groups an issue names
GOOD, WARNINGS, ERRORS = "good", "warnings", "errors"


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a database is compared with; None is not compared.

    Attributes:
        groups: ids of all groups of the project.
        members: paths of all files of the source, below it.
    """

    groups: Collection[str] | None = None
    members: Collection[str] | None = None


def validate(database: Path, *, inventory: Inventory | None = None) -> dict[str, Any]:
    """Look at a database of any origin, without changing it; gives a verdict whatever the file is.

    Once a row has user data, the rules for the phase of work with them hold: columns and predictions that an older database lacks
    are warnings then.

    Args:
        database: the file.
        inventory: what it has to agree with.

    Returns:
        `columns_found` of ai_decisions; `total_records`, `records_with_ai_predictions` (an image is selected),
        `records_with_user_data`; their shares of the total `ai_prediction_coverage` and `user_data_coverage`, 0 to 1;
        `issues`, each with `severity` (`error` or `warning`), `check`, `message`, `rows` (up to 10 group ids) and `count`;
        `data_quality`: `good`, `warnings` or `errors`, as the gravest issue.
    """
    try:
        found = read_contents(database)
    except UnreadableDatabaseError as error:
        return _verdict(Contents(), [_issue(ERROR, "open", str(error), count=1)])
    with_user_data = any(row.has_user_data for row in found.rows)
    issues = [*_table_issues(found, with_user_data=with_user_data), *_row_issues(found, with_user_data=with_user_data)]
    issues += [*_duplicates(found), *_compare(found, inventory or Inventory())]
    return _verdict(found, issues)


def _verdict(found: Contents, issues: list[Issue]) -> dict[str, Any]:
    total = len(found.rows)
    predicted = sum(row.values.get("ai_selected_index") is not None for row in found.rows)
    users = sum(row.has_user_data for row in found.rows)
    severities = {issue["severity"] for issue in issues}
    return {
        "columns_found": found.columns,
        "total_records": total,
        "records_with_ai_predictions": predicted,
        "records_with_user_data": users,
        "ai_prediction_coverage": predicted / total if total else 0.0,
        "user_data_coverage": users / total if total else 0.0,
        "issues": issues,
        "data_quality": ERRORS if ERROR in severities else WARNINGS if severities else GOOD,
    }


def _issue(severity: str, check: str, message: str, groups: Iterable[str] = (), *, count: int | None = None) -> Issue:
    rows = sorted(groups)
    return {"severity": severity, "check": check, "message": message, "rows": rows[:NAMED], "count": len(rows) if count is None else count}


def _table_issues(found: Contents, *, with_user_data: bool) -> Iterator[Issue]:
    """Damages, tables, columns and versions."""
    for part, text in found.damages:
        yield _issue(ERROR, part, text, count=1)
    if found.meta.get("status") == FAILED:
        yield _issue(ERROR, "project", f"could not be processed: {found.meta.get('error')}", count=1)
    if "ai_decisions" not in found.objects:
        yield _issue(ERROR, "columns", "there is no table ai_decisions", count=1)
        return
    others = set(COLUMNS) - set(REQUIRED)
    for needed, severity in ((set(REQUIRED), ERROR), (others, WARNING if with_user_data else ERROR)):
        missing = [name for name in COLUMNS if name in needed and name not in found.columns]
        if missing:
            yield _issue(severity, "columns", f"ai_decisions lacks {', '.join(missing)}", count=len(missing))
    if not found.rows:
        yield _issue(WARNING, "records", "ai_decisions has no rows", count=1)
    missing = [name for name in (*TABLES, *VIEWS) if name not in found.objects]
    if missing and not with_user_data:
        yield _issue(WARNING, "schema", f"there is no {', '.join(missing)}", count=len(missing))
    version = found.meta.get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        yield _issue(WARNING, "schema", f"the schema is of version {version}, not {SCHEMA_VERSION}", count=1)


def _row_issues(found: Contents, *, with_user_data: bool) -> Iterator[Issue]:
    for checks, rows in ((CHECKS, found.rows), (FAILED_CHECKS, found.failed)):
        there = rows[0].values.keys() if rows else set()
        for check in checks:
            severity = check.severity(with_user_data=with_user_data)
            if severity and there >= set(check.columns):
                broken = [row.group_id for row in rows if check.breaks(row)]
                if broken:
                    yield _issue(severity, check.name, check.message, broken)


def _duplicates(found: Contents) -> Iterator[Issue]:
    """An image that stands in two groups, or twice in one. Where a directory is not known, it may be another image."""
    projects = {row.values.get("project_id") for row in found.rows}
    only = projects.pop() if len(projects) == 1 else None
    groups: defaultdict[tuple[Any, ...], list[str]] = defaultdict(list)
    for row in (*found.rows, *found.failed):
        for path in row.paths:
            groups[row.values.get("directory") is None, row.values.get("project_id", only), path].append(row.group_id)
    for unknown, severity in ((False, ERROR), (True, WARNING)):
        shared = {group for key, names in groups.items() if key[0] == unknown and len(names) > 1 for group in names}
        if shared:
            yield _issue(severity, "duplicate images", "an image stands in two groups, or twice in one", shared)


def _compare(found: Contents, inventory: Inventory) -> Iterator[Issue]:
    """Inventory = decided + failed, each group once, and every image is in the source."""
    counts = Counter(row.group_id for row in (*found.rows, *found.failed))
    breaches = {"a group stands in ai_decisions or failed_groups more than once": [name for name, count in counts.items() if count > 1]}
    if inventory.groups is not None:
        listed = set(inventory.groups)
        breaches["a group of the inventory is neither in ai_decisions nor in failed_groups"] = [*(listed - counts.keys())]
        breaches["a group is not in the inventory"] = [*(counts.keys() - listed)]
    for message, names in breaches.items():
        if names:
            yield _issue(ERROR, "inventory", message, names)
    if inventory.members is not None:
        members = set(inventory.members)
        gone = [row.group_id for row in (*found.rows, *found.failed) if not members.issuperset(row.paths)]
        if gone:
            yield _issue(ERROR, "source", "an image is not in the source", gone)
