"""Labels: what a file may say, which lines an error names, and which image a label is about."""

import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.people.labels import Label, match_labels, read_labels

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


@pytest.fixture
def labels(tmp_path):
    """Read a file with this text."""

    def read(text):
        path = tmp_path / "labels.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_labels(path)

    return read


@pytest.fixture
def refused(labels, tmp_path):
    def read(text, images=None):
        with pytest.raises(StepError) as caught:
            match_labels(labels(text), images or {})
        return str(caught.value).replace(str(tmp_path), "…")

    return read


def said(found):
    return [(label.line, label.key, label.sha256, label.person) for label in found.sure]


def about(found):
    return {key: (label.line, label.person) for key, label in found.images.items()}


def unmatched(found):
    return [(label.line, why) for label, why in found.unmatched]


# ---- the file ----


@pytest.mark.parametrize("text", ["1", "1.0", "person", "PERSON", " Person ", "true", "True", "yes", "YES"])
def test_words_for_a_person(labels, text):
    assert said(labels(f"key,label\nx.jpg,{text}\n")) == [(2, "x.jpg", "", True)]


@pytest.mark.parametrize("text", ["0", "0.0", "no person", "No  Person", "false", "FALSE", "no", " no "])
def test_words_for_no_person(labels, text):
    assert said(labels(f"key,label\nx.jpg,{text}\n")) == [(2, "x.jpg", "", False)]


@pytest.mark.parametrize("text", ["", " ", "unsure", "Unsure"])
def test_words_for_saying_nothing(labels, text):
    found = labels(f"key,label\nx.jpg,{text}\ny.jpg,1\n")
    assert (said(found), found.unsure, found.repeated) == ([(3, "y.jpg", "", True)], 1, 0)


@pytest.mark.parametrize("column", ["key", "path", "s3_key"])
def test_keys_by_any_of_their_names_to_the_letter(labels, column):
    assert said(labels(f'{column},label\n"a, b/ c.jpg ",1\n')) == [(2, "a, b/ c.jpg ", "", True)]


def test_the_first_key_column_that_is_filled_counts(labels):
    found = labels("s3_key,path,key,label\nx,y,z,1\nx,y,,1\nx,,,1\n")
    assert [label.key for label in found.sure] == ["z", "y", "x"]


def test_a_byte_order_mark_blanks_and_capitals(labels):
    found = labels(f"\ufeff sha256 , label ,note\r\n {A.upper()} , 1 ,x\r\n\r\n{B},0,\r\n".encode())
    assert said(found) == [(2, "", A, True), (4, "", B, False)]


def test_rows_that_repeat_others_count_once(labels):
    found = labels(f"key,sha256,label\nx,,1\nx,,yes\nx,{A},1\nx,{A},1\ny,,unsure\ny,,\n")
    assert said(found) == [(2, "x", "", True), (4, "x", A, True)]
    assert (found.repeated, found.unsure) == (3, 1)


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ("x,,1\ny,,0\nx,,0\n", "…/labels.csv, lines 2 and 4 contradict each other about the image x; keep the right one"),
        (f",{A},1\n,{A},0\n", f"…/labels.csv, lines 2 and 3 contradict each other about the image {A}; keep the right one"),
        ("x,,1\nx,,unsure\n", "…/labels.csv, lines 2 and 3 contradict each other about the image x; keep the right one"),
    ],
)
def test_rows_that_contradict_each_other_are_named(refused, rows, text):
    assert refused(f"key,sha256,label\n{rows}") == text


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ("x,,maybe\n", "line 2: label has to be 1/person/true/yes or 0/no person/false/no, or unsure or empty to leave the row out; "),
        ("x,,1\n\ny,,2\n", "line 4: label has to be "),
        ("x,,-1\n", "it is '-1'"),
        ("x,abc,1\n", "line 2: sha256 has to be 64 hexadecimal digits, or empty; it is 'abc'"),
        (f"x,{A}0,1\n", "line 2: sha256 has to be 64 hexadecimal digits"),
        (",,1\n", "line 2: names no image; give its key or its sha256"),
        (" ,,0\n", "line 2: names no image"),
    ],
)
def test_a_bad_row_is_named_with_what_is_right(refused, rows, text):
    found = refused(f"key,sha256,label\n{rows}")
    assert found.startswith("…/labels.csv, line ")
    assert text in found


@pytest.mark.parametrize("header", ["key,lable", "name,label", "sha256"])
def test_missing_columns_are_named(refused, header):
    wanted = "label and (sha256 or key or path or s3_key)"
    assert refused(header + "\n") == f"…/labels.csv: needs {wanted} among its columns, has {', '.join(header.split(','))}"


# ---- the images ----


def test_by_key_or_by_content(labels):
    found = match_labels(labels(f"key,sha256,label\ny,,0\n,{A},1\n,{C},1\nz,,1\n"), {"x": A, "y": B})
    assert about(found) == {"x": (3, True), "y": (2, False)}
    assert list(found.images) == ["x", "y"]
    assert unmatched(found) == [(4, "no such image"), (5, "no such image")]


def test_with_both_the_content_decides(labels):
    text = f"key,sha256,label\nx,{A},1\ny,{C},1\ngone,{C},0\n"
    found = match_labels(labels(text), {"x": A, "y": B, "z": C})
    assert about(found) == {"x": (2, True), "z": (4, False)}
    assert unmatched(found) == [(3, "the image with this key has another content now")]


def test_an_image_that_nobody_could_read_is_still_the_one_with_this_key(labels):
    found = match_labels(labels(f"key,sha256,label\nx,{A},1\ny,,0\n"), {"x": None, "y": None})
    assert about(found) == {"x": (2, True), "y": (3, False)}


def test_unreadable_images_have_no_content_in_common(labels):
    found = match_labels(labels("key,label\nx,1\ny,0\n"), {"x": None, "y": None})
    assert found.repeated == 0
    assert about(found) == {"x": (2, True), "y": (3, False)}


def test_a_label_of_a_content_counts_once_whatever_the_copies(labels):
    found = match_labels(labels(f"sha256,label\n{A},1\n"), {"z": A, "y": A, "x": B})
    assert about(found) == {"y": (2, True)}


def test_copies_that_were_labelled_one_by_one_count_each(labels):
    found = match_labels(labels("key,label\ny,1\nz,1\n"), {"x": A, "y": A, "z": A})
    assert about(found) == {"y": (2, True), "z": (3, True)}


def test_a_label_of_a_content_adds_nothing_to_one_on_a_key(labels):
    found = match_labels(labels(f"key,sha256,label\n,{A},1\nz,,1\nz,{A},1\n"), {"y": A, "z": A})
    assert (about(found), found.repeated) == ({"z": (3, True)}, 2)


def test_a_key_with_blanks_is_itself_first_and_then_without_them(labels):
    text = "key,label\n x ,1\n y,0\n"
    assert about(match_labels(labels(text), {" x ": A, "x": B, "y": C})) == {" x ": (2, True), "y": (3, False)}
    assert labels(text).keys() == {" x ", "x", " y", "y"}


def test_what_labels_may_be_about(labels):
    found = labels(f"key,sha256,label\nx,,1\n,{A},0\ny,{B},1\nz,{C},unsure\n")
    assert (found.keys(), found.contents()) == ({"x", "y"}, {A, B})


@pytest.mark.parametrize(
    "rows",
    [f"x,,1\n,{A},0\n", f",{A},0\nx,,1\n", "x,,1\ny,,0\n", f"x,,1\ngone,{A},0\n", f"x,{A},1\nx,,0\n"],
    ids=["key, content", "content, key", "two copies", "a copy that is gone", "key and content, key"],
)
def test_labels_that_contradict_each_other_about_one_content_are_named(refused, rows):
    found = refused(f"key,sha256,label\n{rows}", {"x": A, "y": A})
    assert found.startswith("…/labels.csv, lines 2 and 3 contradict each other about the image ")


def test_unmatched_labels_come_in_the_order_of_their_lines(labels):
    found = match_labels(labels(f"key,sha256,label\ngone,,1\nx,{B},1\ngone too,,1\n"), {"x": A})
    assert [line for line, _ in unmatched(found)] == [2, 3, 4]


def test_a_label_holds_what_its_row_says(labels):
    (label,) = labels(f"path,sha256,label\nx,{A},no\n").sure
    assert label == Label(2, "x", A, False)
