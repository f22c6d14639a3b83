"""Reviews and exclusion lists: what applies, what is reported, what is refused."""

import pytest

from workflow_scripts.core.decisions import Exclusions, Review, Reviews
from workflow_scripts.core.step import StepError

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
DECISIONS = ("keep", "remove")


@pytest.fixture
def table(tmp_path):
    """Write a CSV and give its path."""

    def write(text, name="list.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def reviews(table):
    return lambda text: Reviews(table(text), DECISIONS)


# ---- reviews ----


def test_no_file_means_no_decisions():
    found = Reviews(None, DECISIONS)
    assert found.find("x.jpg", A) is None
    assert found.unused() == []


def test_a_decision_on_the_key_comes_before_one_on_the_content(reviews):
    found = reviews(f"sha256,path,decision\n{A},,remove\n{A},x/1.jpg,keep\n")
    assert found.find("x/1.jpg", A) == "keep"
    assert found.find("x/2.jpg", A) == "remove"
    assert found.find("x/1.jpg", B) is None
    assert found.unused() == []


def test_a_decision_on_a_key_does_not_reach_its_copies(reviews):
    found = reviews(f"sha256,path,decision\n{A},x/1.jpg,keep\n")
    assert found.find("x/2.jpg", A) is None
    assert [review.path for review in found.unused()] == ["x/1.jpg"]


def test_decisions_that_fit_no_image_are_reported(reviews):
    found = reviews(f"sha256,path,decision\n{A},x/1.jpg,keep\n{B},,remove\n{C},,keep\n")
    assert found.find("x/1.jpg", C) == "keep"  # the content changed: only what was said of the new one applies
    assert found.unused() == [Review(A, "x/1.jpg", "keep"), Review(B, "", "remove")]


def test_the_last_word_counts(reviews):
    assert reviews(f"sha256,path,decision\n{A},x,keep\n{A},x,remove\n").find("x", A) == "remove"


def test_columns_in_any_order_capitals_blanks_and_a_byte_order_mark(reviews):
    found = reviews(f"\ufeffdecision,reason,path,sha256\r\n Keep ,why not,x,{A.upper()} \r\n".encode())
    assert found.find("x", A) == "keep"


def test_paths_are_taken_to_the_letter(reviews):
    found = reviews(f'sha256,path,decision\n{A},"two\nlines, ""quoted"".jpg ",keep\n')
    assert found.find('two\nlines, "quoted".jpg ', A) == "keep"
    assert found.find('two\nlines, "quoted".jpg', A) is None


@pytest.mark.parametrize(
    ("rows", "line", "value"),
    [
        (f"{A},x,maybe\n", 2, "maybe"),
        (f"{A},x,\n", 2, ""),
        (f"{A},x,keep\n{B},y,delete\n", 3, "delete"),
        (f"\n\n{B},y,delete\n", 4, "delete"),
        (f'{A},"two\nlines",keep\n{B},y,delete\n', 4, "delete"),
        (",x,keep\n", 2, "keep"),
        (f"{A}\n", 2, ""),
    ],
    ids=["unknown", "empty", "third line", "after blank lines", "after a quoted newline", "no content", "row ends early"],
)
def test_a_bad_decision_is_named_with_its_line(table, rows, line, value):
    path = table("sha256,path,decision\n" + rows)
    with pytest.raises(StepError) as caught:
        Reviews(path, DECISIONS)
    assert str(caught.value) == f"{path}, line {line}: needs a sha256 and a decision (keep or remove), has {value!r}"


def test_a_missing_column_is_named(table):
    path = table("sha256,decision\n")
    with pytest.raises(StepError) as caught:
        Reviews(path, DECISIONS)
    assert str(caught.value) == f"{path}: needs sha256 and path and decision among its columns, has sha256, decision"


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StepError, match=r"gone\.csv: no such file"):
        Reviews(tmp_path / "gone.csv", DECISIONS)


def test_broken_quoting_is_named_with_its_line(table):
    path = table(f'sha256,path,decision\n{A},x,keep\n{B},"y"z,keep\n')
    with pytest.raises(StepError, match=r"list\.csv, line 3: "):
        Reviews(path, DECISIONS)


def test_a_file_that_is_no_utf8_is_named(table):
    path = table(f"sha256,path,decision\n{A},caf\xe9.jpg,keep\n".encode("latin-1"))
    with pytest.raises(StepError, match=r"list\.csv: .*UTF-8"):
        Reviews(path, DECISIONS)


# ---- exclusions ----


def exclude(path, by="sha256", strip_prefix=""):
    return {"csv": str(path), "by": by, "strip_prefix": strip_prefix}


def test_by_content(table):
    path = table(f"s3_key,sha256\nx/1.jpg,{A.upper()}\nx/2.jpg,\n")
    found = Exclusions.read([exclude(path)])
    assert found.find("anything", A) == str(path)
    assert found.find("x/1.jpg", B) is None
    assert found.find("x/2.jpg", None) is None
    assert found.find("x/2.jpg", "") is None
    assert found.counts == {str(path): 1}


@pytest.mark.parametrize("column", ["path", "s3_key"])
def test_by_path(table, column):
    path = table(f'{column},sha256\nold/a.jpg,{A}\n"old/two\nlines.jpg",{B}\nelse/c.jpg,{C}\n')
    found = Exclusions.read([exclude(path, "path", "old/")])
    assert found.find("a.jpg", None) == str(path)
    assert found.find("two\nlines.jpg", C) == str(path)
    assert found.find("old/a.jpg", A) is None
    assert found.find("else/c.jpg", C) == str(path)
    assert found.counts == {str(path): 3}


def test_the_first_list_counts(table):
    one, two = table(f"sha256\n{A}\n", "one.csv"), table(f"sha256\n{A}\n{B}\n", "two.csv")
    found = Exclusions.read([exclude(one), exclude(two)])
    assert [found.find("x", content) for content in (A, B, A, C)] == [str(one), str(two), str(one), None]
    assert found.counts == {str(one): 2, str(two): 1}
    found.check_used()


def test_a_list_that_matches_nothing_is_an_error(table):
    one, two = table(f"sha256\n{A}\n", "one.csv"), table("path\nold/x.jpg\n", "two.csv")
    found = Exclusions.read([exclude(one), exclude(two, "path")])
    assert found.find("x.jpg", A) == str(one)
    with pytest.raises(StepError) as caught:
        found.check_used()
    assert str(caught.value).startswith(f"exclude: {two}: matches no image by path; check `by` and `strip_prefix`")


def test_no_lists_exclude_nothing():
    found = Exclusions.read([])
    assert found.find("x", A) is None
    found.check_used()


def test_a_byte_order_mark_does_not_hide_the_first_column(table):
    path = table(f"\ufeffsha256,x\r\n{A},1\r\n".encode())
    assert Exclusions.read([exclude(path)]).find("k", A) == str(path)


def test_short_rows_exclude_nothing(table):
    path = table(f"x,sha256\n1\n2,{A}\n")
    found = Exclusions.read([exclude(path)])
    assert found.find("k", A) == str(path)
    assert found.find("k", "") is None


@pytest.mark.parametrize(("by", "columns"), [("sha256", "sha256"), ("path", "path or s3_key")])
def test_a_list_without_the_column_is_named(table, by, columns):
    path = table("name,md5\nx,1\n")
    with pytest.raises(StepError) as caught:
        Exclusions.read([exclude(path, by)])
    assert str(caught.value) == f"{path}: needs {columns} among its columns, has name, md5"


def test_one_list_by_content_and_by_path(table):
    path = table(f"s3_key,sha256\nx.jpg,{A}\n")
    found = Exclusions.read([exclude(path), exclude(path, "path")])
    assert found.find("elsewhere.jpg", A) == str(path)
    assert found.find("x.jpg", B) == str(path)
    found.check_used()


def test_a_list_that_another_covers_is_not_idle(table):
    one, two = table(f"sha256\n{A}\n{B}\n", "one.csv"), table(f"sha256\n{B}\n", "two.csv")
    found = Exclusions.read([exclude(one), exclude(two)])
    assert found.find("x", B) == str(one)
    assert found.counts == {str(one): 1, str(two): 0}
    found.check_used()
