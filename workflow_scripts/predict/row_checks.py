"""The rules that each row of a database of decisions has to keep, as data."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from workflow_scripts.predict.contents import JSON_COLUMNS, Row
from workflow_scripts.predict.database import FAILED_COLUMNS, MATCH_COLUMNS, REQUIRED
from workflow_scripts.predict.read_database import as_box

ERROR, WARNING = "error", "warning"
ACTIONS = ("approve", "crop", "reject")


@dataclass(frozen=True, slots=True)
class Check:
    """A rule that each row has to keep.

    Attributes:
        name: of the check.
        message: what is wrong with the rows that break it.
        columns: the table needs all of them for the check to be made.
        breaks: whether a row breaks it.
        predictions: severity while no row has user data.
        user: severity when some have; None for no issue.
    """

    name: str
    message: str
    columns: tuple[str, ...]
    breaks: Callable[[Row], bool]
    predictions: str | None = ERROR
    user: str | None = ERROR

    def severity(self, *, with_user_data: bool) -> str | None:
        """Of a breach, in a database with or without user data."""
        return self.user if with_user_data else self.predictions


def _is_empty(column: str, row: Row) -> bool:
    return row.values[column] in (None, "")


def _is_no_json(column: str, row: Row) -> bool:
    return row.values[column] is not None and column not in row.parsed


def _is_no_box(column: str, row: Row) -> bool:
    return column in row.parsed and as_box(row.parsed[column]) is None


def _has_paths(row: Row) -> bool:
    return any(not isinstance(name, str) or not name or "/" in name for name in row.images or ())


def _is_out_of_range(column: str, row: Row) -> bool:
    index = row.values[column]
    return index is not None and not (isinstance(index, int) and 0 <= index < (len(row.images) if row.images else index + 1))


def _is_no_size(column: str, row: Row) -> bool:
    size = row.values[column]
    return size is not None and not (isinstance(size, int) and size > 0)


def _is_no_confidence(row: Row) -> bool:
    value = row.values["ai_confidence"]
    return value is not None and not (isinstance(value, int | float) and 0 <= value <= 1)


def _is_not_among(column: str, allowed: tuple[Any, ...], row: Row) -> bool:
    return row.values[column] is not None and row.values[column] not in allowed


def _lacks_selection(row: Row) -> bool:
    return row.values["user_action"] in ("approve", "crop") and row.values["user_selected_index"] is None


BOX = "are not 4 numbers with 0 ≤ x1 < x2 ≤ 1 and 0 ≤ y1 < y2 ≤ 1"
INDEXES = ("ai_selected_index", "user_selected_index")
SIZES = ("image_width", "image_height")
AI, ACTION = ("ai_selected_index", "ai_confidence"), ("user_action",)
FAILED_NEEDED = tuple(name for name in FAILED_COLUMNS if name != "directory")

# Of ai_decisions.
CHECKS: tuple[Check, ...] = (
    *(Check("required values", f"{name} is NULL or empty", (name,), partial(_is_empty, name)) for name in REQUIRED),
    *(Check("json", f"{name} is no JSON", (name,), partial(_is_no_json, name)) for name in JSON_COLUMNS),
    Check("images", "images is no list, or an empty one", ("images",), lambda row: "images" in row.parsed and not row.images),
    Check("file names", "images are not told by their file names", ("images",), _has_paths, user=WARNING),
    *(Check("coordinates", f"{name} {BOX}", (name,), partial(_is_no_box, name)) for name in JSON_COLUMNS[1:]),
    *(Check("indexes", f"{name} is no index into images", (name, "images"), partial(_is_out_of_range, name)) for name in INDEXES),
    *(Check("values", f"{name} is no number of pixels", (name,), partial(_is_no_size, name)) for name in SIZES),
    Check("values", "ai_confidence is not between 0 and 1", AI[1:], _is_no_confidence),
    Check("values", f"user_action is none of {', '.join(ACTIONS)}", ACTION, partial(_is_not_among, "user_action", ACTIONS)),
    *(Check("values", f"{name} is neither 0 nor 1", (name,), partial(_is_not_among, name, (0, 1))) for name in MATCH_COLUMNS),
    *(Check("ai predictions", f"{name} is NULL", (name,), partial(_is_empty, name), user=WARNING) for name in AI),
    Check(
        "ai predictions",
        "an image is selected and has no crop",
        ("ai_selected_index", "ai_crop_coords"),
        lambda row: row.values["ai_selected_index"] is not None and row.values["ai_crop_coords"] is None,
        WARNING,
        WARNING,
    ),
    Check(
        "incomplete crops",
        "user_action is crop and final_crop_coords is NULL",
        ("user_action", "final_crop_coords"),
        lambda row: row.values["user_action"] == "crop" and row.values["final_crop_coords"] is None,
        user=WARNING,
    ),
    Check(
        "user data",
        "there is user data and no user_action",
        ACTION,
        lambda row: row.has_user_data and _is_empty("user_action", row),
        user=WARNING,
    ),
    Check("user data", "an image is accepted and none selected", ("user_action", "user_selected_index"), _lacks_selection, user=WARNING),
    Check(
        "user data",
        "there is a match with user data that are not there",
        (),
        lambda row: not row.has_user_data and any(row.values.get(name) is not None for name in MATCH_COLUMNS),
        WARNING,
        WARNING,
    ),
)

FAILED_CHECKS: tuple[Check, ...] = (
    *(Check("required values", f"{name} of failed_groups is NULL or empty", (name,), partial(_is_empty, name)) for name in FAILED_NEEDED),
    Check("images", "images of failed_groups is no list, or an empty one", ("images",), lambda row: not row.images),
    Check("file names", "images of failed_groups are not told by their file names", ("images",), _has_paths),
)
