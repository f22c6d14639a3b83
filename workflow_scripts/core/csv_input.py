"""Tables that people write by hand or save from a spreadsheet, as input."""

import csv
import io
from pathlib import Path
from typing import Any

from workflow_scripts.core.step import StepError


def read_csv_rows(
    path: Path, columns: tuple[str, ...] = (), *, any_of: tuple[str, ...] = (), tabs: bool = False
) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV with a header: the rows that are not empty, each with the number of its last line.

    A byte order mark and blanks round column names do not count; values are to the letter. A row that ends early has empty
    values.

    Args:
        path: the file, in UTF-8.
        columns: those that it must have.
        any_of: columns of which it must have at least one.
        tabs: values stand between tabs, and quotes mean nothing (TSV).

    Raises:
        StepError: the file is missing, no UTF-8 or no CSV, or lacks a column; names the file, and the line where there is one.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise StepError(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise StepError(f"{path}: is no UTF-8; save it again as `CSV UTF-8`") from error
    dialect: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {}
    reader = csv.DictReader(io.StringIO(text, newline=""), restval="", strict=True, **dialect)
    try:
        names = [name.strip() for name in reader.fieldnames or []]
        reader.fieldnames = names
        _check_columns(path, names, columns, any_of)
        return [(reader.line_num, row) for row in reader if any(row.values())]
    except csv.Error as error:
        raise StepError(f"{path}, line {reader.reader.line_num}: {error}") from error


def _check_columns(path: Path, names: list[str], columns: tuple[str, ...], any_of: tuple[str, ...]) -> None:
    if all(name in names for name in columns) and (not any_of or any(name in names for name in any_of)):
        return
    choice = " or ".join(any_of)
    wanted = " and ".join((*columns, f"({choice})" if columns else choice) if any_of else columns)
    raise StepError(f"{path}: needs {wanted} among its columns, has {', '.join(names)}")
