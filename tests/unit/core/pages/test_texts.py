"""Tables as fold-out parts, and counts as words."""

import csv
import io

import pytest

from workflow_scripts.core.pages.texts import ROWS, counted, named, table_panel, tallied, total


def test_a_table_shows_its_rows_and_offers_them_as_a_file():
    rows = [('a, "b"\n', 12345, ""), ("<b>", 0, "24.4%")]
    panel = table_panel("Things", ("One sentence.",), ("name", "images", "share"), rows, "things.csv")
    assert (panel.title, panel.text, panel.header) == ("Things", ("One sentence.",), ("name", "images", "share"))
    assert panel.rows == (('a, "b"\n', "12,345", ""), ("<b>", "0", "24.4%"))
    text = panel.downloads["things.csv"].decode()
    assert list(csv.reader(io.StringIO(text, newline=""))) == [
        ["name", "images", "share"],
        ['a, "b"\n', "12345", ""],
        ["<b>", "0", "24.4%"],
    ]
    assert "\r" not in text


@pytest.mark.parametrize("more", [0, 1, 5000])
def test_a_long_table_says_that_only_the_file_holds_all(more):
    rows = [(str(number), number) for number in range(ROWS + more)]
    panel = table_panel("Things", ("One.",), ("name", "n"), rows, "things.csv")
    assert panel.rows == tuple((str(number), f"{number:,}") for number in range(ROWS))
    said = (f"The first {ROWS} of {ROWS + more:,} rows; things.csv holds all of them.",) if more else ()
    assert panel.text == ("One.", *said)
    assert panel.downloads["things.csv"].decode().splitlines() == ["name,n", *(f"{number},{number}" for number in range(ROWS + more))]


def test_words():
    assert [counted(count, "image") for count in (0, 1, 1234)] == ["0 images", "1 image", "1,234 images"]
    assert [counted(count, "query", "queries") for count in (1, 2)] == ["1 query", "2 queries"]
    assert named([]) == ""
    assert named("abcde") == "a, b, c, d, e"
    assert named(str(number) for number in range(1006)) == "0, 1, 2, 3, 4 and 1,001 more"
    assert tallied({"a": 0, "b c": 1200, "d": 1}) == "b c 1,200, d 1"
    assert tallied({"a": 0}) == tallied({}) == "none"
    assert list(total([{"b": 1, "a": 2}, {"c": 3, "a": 5}]).items()) == [("b", 1), ("a", 7), ("c", 3)]
    assert total([]) == {}
