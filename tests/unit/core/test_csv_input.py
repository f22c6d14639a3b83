"""CSVs from people: what is read, and which line or column an error names."""

import pytest

from workflow_scripts.core.csv_input import read_csv_rows
from workflow_scripts.core.step import StepError


@pytest.fixture
def table(tmp_path):
    def write(text):
        path = tmp_path / "list.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def refused(path, *arguments, **options):
    with pytest.raises(StepError) as caught:
        read_csv_rows(path, *arguments, **options)
    return str(caught.value)


def test_rows_come_with_the_number_of_their_last_line(table):
    path = table('a,b\n1,2\n\n"two\nlines",3\n,\n4,5\n')
    assert read_csv_rows(path, ("a", "b")) == [
        (2, {"a": "1", "b": "2"}),
        (5, {"a": "two\nlines", "b": "3"}),
        (7, {"a": "4", "b": "5"}),
    ]


def test_a_byte_order_mark_and_blanks_round_names_do_not_count_but_values_are_to_the_letter(table):
    path = table("\ufeff a ,b\r\n x ,y \r\n".encode())
    assert read_csv_rows(path, ("a",), any_of=("b", "c")) == [(2, {"a": " x ", "b": "y "})]


def test_a_row_that_ends_early_has_empty_values(table):
    assert read_csv_rows(table("a,b,c\n1\n"), ("a",)) == [(2, {"a": "1", "b": "", "c": ""})]


@pytest.mark.parametrize(
    ("columns", "any_of", "wanted"),
    [
        (("a", "x"), (), "a and x"),
        ((), ("x", "y"), "x or y"),
        (("a",), ("x", "y"), "a and (x or y)"),
        (("x",), ("a", "y"), "x and (a or y)"),
    ],
)
def test_missing_columns_are_named(table, columns, any_of, wanted):
    path = table("a,b\n1,2\n")
    assert refused(path, columns, any_of=any_of) == f"{path}: needs {wanted} among its columns, has a, b"


def test_an_empty_file_has_no_columns(table):
    path = table("")
    assert refused(path, ("a",)) == f"{path}: needs a among its columns, has "


def test_a_header_alone_has_no_rows(table):
    assert read_csv_rows(table("a,b\n"), ("a",)) == []


def test_broken_quoting_is_named_with_its_line_also_in_the_header(table):
    assert "list.csv, line 3: " in refused(table('a,b\n1,2\n"x"y,3\n'), ("a",))
    assert "list.csv, line 1: " in refused(table('"a"b,c\n1,2\n'), ("a",))


def test_a_file_that_is_missing_or_no_utf8_is_named(table, tmp_path):
    assert refused(tmp_path / "gone.csv", ("a",)) == f"{tmp_path / 'gone.csv'}: no such file"
    assert "list.csv: is no UTF-8" in refused(table(b"a\n\xe9\n"), ("a",))
