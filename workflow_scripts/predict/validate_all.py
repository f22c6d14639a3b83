"""Validate every database below a folder: `python -m workflow_scripts.predict.validate_all [DIR]`.

The exit status says what the worst of them is: 0 good, 1 warnings, 2 errors, or nothing to validate.
"""

import argparse
import io
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from workflow_scripts.predict.validate import ERRORS, GOOD, WARNINGS, validate

EXIT_STATUS = {GOOD: 0, WARNINGS: 1, ERRORS: 2}
DEFAULT = Path("results/predict/04_database")


def exit_status(verdicts: Iterable[dict[str, Any]]) -> int:
    """That of the worst verdict; no verdict at all is as bad as an error."""
    return max((EXIT_STATUS[verdict["data_quality"]] for verdict in verdicts), default=EXIT_STATUS[ERRORS])


def find_databases(place: Path) -> list[Path]:
    """The `.db` files below a folder, by path, or the file itself; none that a running or killed step is writing."""
    if place.is_file():
        return [place]
    return sorted(path for path in place.rglob("*.db") if not path.name.startswith("."))


def describe(name: str, verdict: dict[str, Any]) -> str:
    """A line for the database, and one for each issue."""
    counts = f"{verdict['total_records']} records, {verdict['records_with_user_data']} with user data"
    lines = [f"{verdict['data_quality']}: {name}: {counts}"]
    for issue in verdict["issues"]:
        rows = f": {', '.join(issue['rows'])}{', …' if issue['count'] > len(issue['rows']) else ''}" if issue["rows"] else ""
        lines.append(f"  {issue['severity']}: {issue['check']}: {issue['message']} ({issue['count']}{rows})")
    return "".join(f"{line}\n" for line in lines)


def main(arguments: list[str] | None = None) -> int:
    """Write the verdicts to stdout; gives the exit status."""
    parser = argparse.ArgumentParser(prog="validate_all", description="Validate every database below a folder.")
    parser.add_argument("dir", nargs="?", type=Path, default=DEFAULT, metavar="DIR", help=f"a folder, or one database (default: {DEFAULT})")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be no UTF-8, and a terminal may know less than that
    place = parser.parse_args(arguments).dir
    verdicts = []
    for path in find_databases(place):
        verdicts.append(validate(path))
        sys.stdout.write(describe(str(path), verdicts[-1]))
    if not verdicts:
        sys.stderr.write(f"{place}: no .db file here; give the folder of the databases\n")
    found = Counter(verdict["data_quality"] for verdict in verdicts)
    sys.stdout.write(f"{len(verdicts)} databases: {', '.join(f'{found[name]} {name}' for name in EXIT_STATUS)}\n")
    return exit_status(verdicts)


if __name__ == "__main__":
    sys.exit(main())
