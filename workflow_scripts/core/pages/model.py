"""What a pipeline says about its page: thresholds, numbers, choices, texts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

Role = Literal["kept", "rejected", "error", "other"]
ROLES: tuple[Role, ...] = ("kept", "rejected", "error", "other")
RESERVED_KEYS = "un/? "  # undo, next, search, help, toggle
MAX_STEPS = 10_000


@dataclass(frozen=True)
class Threshold:
    """A setting that a person can try out on the page.

    Attributes:
        column: number column of the table that it acts on.
        label: what a person calls that number.
        value: the setting in force when the table was made.
        low: left end of the slider.
        high: right end of the slider.
        step: the slider moves on low, low + step, ...; the value in force is always among them.
        rejects: an item is rejected when its number is `at_least` the threshold, or when it is `below` it.
        config_path: keys down to the setting in the configuration; without any, the page shows no lines to paste.
    """

    column: str
    label: str
    value: float
    low: float
    high: float
    step: float
    rejects: Literal["at_least", "below"] = "at_least"
    config_path: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rejects not in {"at_least", "below"}:
            raise ValueError(f"{self.column}: rejects must be at_least or below, not {self.rejects!r}")
        if not self.low < self.high or not self.step > 0 or (self.high - self.low) / self.step > MAX_STEPS:
            raise ValueError(f"{self.column}: needs low < high and a step above 0, {MAX_STEPS} steps at most")

    def digits(self) -> int:
        """Decimals that tell numbers near the threshold apart: one more than the step has."""
        return max(0, -int(Decimal(str(float(self.step))).normalize().as_tuple().exponent)) + 1

    def grid(self) -> list[float]:
        """The values that the slider can take, ascending; decimal steps, so that 0.1 + 0.2 is 0.3 as in the configuration."""
        low, high, step = (Decimal(str(float(number))) for number in (self.low, self.high, self.step))
        steps = {float(low + step * count) for count in range(int((high - low) / step) + 1)}
        return sorted(steps | {float(self.low), float(self.high), float(self.value)})


@dataclass(frozen=True)
class Choice:
    """What a person can decide about an item.

    Attributes:
        value: what stands in the exported file.
        label: what the button says.
        key: one character on the keyboard.
        outcome: the role that it stands for, which also gives it its colour; empty when it is neither.
    """

    value: str
    label: str
    key: str
    outcome: Literal["kept", "rejected", ""] = ""


@dataclass(frozen=True)
class Number:
    """A number column to show, to sort and to filter by."""

    column: str
    label: str
    digits: int = 3


@dataclass(frozen=True)
class Panel:
    """A fold-out part under the top of the page, for a curve or a table.

    Attributes:
        title: its line when folded.
        text: plain sentences.
        light_svg: a figure for the light theme.
        dark_svg: the same for the dark one; without it the light one serves both, on white.
        alt: what the figure shows, for who cannot see it.
        header: of the table.
        rows: of the table.
        downloads: files to offer, by name.
    """

    title: str
    text: tuple[str, ...] = ()
    light_svg: str = ""
    dark_svg: str = ""
    alt: str = ""
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    downloads: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Export:
    """The file that carries a person's decisions back.

    Attributes:
        destination: the path where the workflow reads it.
        file: the name under which the browser saves it.
        column: what the column of the choice is called.
    """

    destination: str = ""
    file: str = "decisions.csv"
    column: str = "decision"


KEEP_OR_REJECT = (Choice("keep", "Keep", "k", "kept"), Choice("reject", "Reject", "x", "rejected"))


@dataclass(frozen=True)
class Page:
    """A page to look and to judge with.

    Attributes:
        page_id: names the page for good: the browser keeps decisions under it.
        title: heading.
        look_for: two sentences on what to look for.
        thresholds: settings to try out. Several act together: an item is rejected when any of them rejects it.
        numbers: further numbers to show; those of thresholds are shown anyway.
        choices: what a person can decide; none for a page that is only looked at.
        outcomes: the role of each outcome of the table, in the order to show them. Outcomes that are not named are `other`.
        export: the file with the decisions.
        blind: hide outcome, reason and numbers (they are not even in the page's files) and keep the table's order, so that
            labels are not biased.
        captions: what the first, second, ... image of a row are; the table may say it for each row.
        lowest_first: number column whose lowest values a person looks at first: the page opens in this order, and where rows or
            thumbnails are left out it keeps these. Without it the first threshold takes this place.
        move: folder that names are relative to, and folder to move rejected files to: the page then offers `mv` lines.
        warnings: plain sentences for the top, to be heeded before anything else.
        notes: further ones.
        panels: fold-out parts.
    """

    page_id: str
    title: str
    look_for: str = ""
    thresholds: tuple[Threshold, ...] = ()
    numbers: tuple[Number, ...] = ()
    choices: tuple[Choice, ...] = KEEP_OR_REJECT
    outcomes: Mapping[str, Role] = field(default_factory=lambda: {"kept": "kept", "rejected": "rejected", "error": "error"})
    export: Export = Export()
    blind: bool = False
    captions: tuple[str, ...] = ()
    lowest_first: str = ""
    move: tuple[str, str] | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    panels: tuple[Panel, ...] = ()

    def __post_init__(self) -> None:
        keys = [choice.key for choice in self.choices]
        if any(len(key) != 1 or key != key.lower() or key in RESERVED_KEYS for key in keys) or len(set(keys)) < len(keys):
            raise ValueError(f"choices need a key each, one lower-case character other than {' '.join(RESERVED_KEYS)}and space: {keys}")
        if len({choice.value for choice in self.choices} | {""}) <= len(self.choices):
            raise ValueError("choices need values that differ and are not empty")
        if not self.page_id or set(self.outcomes.values()) - set(ROLES):
            raise ValueError(f"a page needs a page_id, and outcomes with a role among {', '.join(ROLES)}")
        if self.lowest_first and self.lowest_first not in {number.column for number in self.numbers}:
            raise ValueError(f"lowest_first: {self.lowest_first!r} is none of the page's numbers")

    def looked_at_by(self) -> str:
        """The number column along which a person goes through the page; empty for none."""
        return "" if self.blind else self.lowest_first or next((threshold.column for threshold in self.thresholds), "")

    def shown_numbers(self) -> tuple[Number, ...]:
        """The numbers to show: those of the thresholds first, each column once."""
        given = {number.column: number for number in self.numbers}
        first = {each.column: given.get(each.column, Number(each.column, each.label, each.digits())) for each in self.thresholds}
        return () if self.blind else tuple((first | given).values())
