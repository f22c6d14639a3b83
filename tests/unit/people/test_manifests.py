"""The bytes of the manifest files, which existing readers depend on."""

import csv
import io

import pytest

from workflow_scripts.people import manifests

HEADER = "image_id,s3_key,s3_uri,https_url,presigned_url,people_prob,size,etag,last_modified,margin,sha256,reason"
HOSTILE = [
    "plain.jpg",
    "a, b.jpg",
    'quo"te.jpg',
    '"',
    "two\nlines.jpg",
    "carriage\rreturn.jpg",
    "both\r\n.jpg",
    "é ü 😀.jpg",
    " leading and trailing ",
    "'single'",
    "=1+1.jpg",
    "-dash.jpg",
    "tab\t.jpg",
    "line\u2028separator\x85.jpg",
    "\ufeffmark.jpg",
    "#%?{}.jpg",
    "back\\slash.jpg",
]


def row(key, prob="0.500000", **values):
    return dict.fromkeys(manifests.COLUMNS, "") | {"image_id": manifests.image_id(key), "s3_key": key, "people_prob": prob} | values


def test_columns_stand_in_the_order_that_readers_know():
    assert ",".join(manifests.COLUMNS) == HEADER
    assert ",".join(manifests.ERROR_COLUMNS) == "s3_key,error"


def test_file_names_are_those_that_readers_know():
    assert set(manifests.SHARD_FILES) == {
        "removed.csv",
        "kept.csv",
        "removed_image_ids.txt",
        "removed_s3_urls.txt",
        "errors.csv",
        "run_metadata.json",
    }
    assert set(manifests.AGGREGATE_FILES) == {
        "removed_all.csv",
        "removed_all_image_ids.txt",
        "removed_all_s3_urls.txt",
        "kept_all.csv",
        "errors_all.csv",
        "merge_metadata.json",
    }
    assert manifests.shard_name(3, 12) == "shard-0003-of-0012"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ("a b;c'd", "a b;c'd"),
        ("a,b", '"a,b"'),
        ('a"b', '"a""b"'),
        ("a\nb", '"a\nb"'),
        ("a\rb", '"a\rb"'),
        ("a\r\n", '"a\r\n"'),
        ("é😀", "é😀"),
        ("", ""),
    ],
)
def test_bytes_are_utf8_with_unix_ends_and_few_quotes(tmp_path, value, written):
    count = manifests.write_csv(tmp_path / "a.csv", ("x", "y"), [{"x": value, "y": "1"}, {"x": "2", "y": value}])
    assert count == 2
    assert (tmp_path / "a.csv").read_bytes() == f"x,y\n{written},1\n2,{written}\n".encode()


def test_the_header_stands_in_an_empty_file_too(tmp_path):
    assert manifests.write_csv(tmp_path / "a.csv", manifests.COLUMNS, []) == 0
    assert (tmp_path / "a.csv").read_bytes() == f"{HEADER}\n".encode()
    assert list(manifests.read_csv(tmp_path / "a.csv")) == []


def test_any_key_comes_back_as_it_was(tmp_path):
    rows = [row(key, etag=key, reason=key[::-1]) for key in HOSTILE]
    manifests.write_csv(tmp_path / "a.csv", manifests.COLUMNS, rows)
    assert list(manifests.read_csv(tmp_path / "a.csv")) == rows
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as handle:
        assert [found[1] for found in csv.reader(handle)][1:] == HOSTILE


def test_dump_writes_what_write_does(tmp_path):
    rows = [row(key) for key in HOSTILE]
    manifests.write_csv(tmp_path / "a.csv", manifests.COLUMNS, rows)
    text = io.StringIO(newline="")
    assert manifests.dump_csv(text, manifests.COLUMNS, rows) == len(HOSTILE)
    assert text.getvalue().encode() == (tmp_path / "a.csv").read_bytes()


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("a/b/photo.jpg", "photo"),
        ("photo.tar.gz.jpg", "photo"),
        ("photo", "photo"),
        ("v1.2/photo.jpg", "photo"),
        ("a/.hidden.jpg", ""),
        ("é ü.jpg", "é ü"),
        ("two\nlines.jpg", "two\nlines"),
    ],
)
def test_an_image_id_is_the_name_up_to_its_first_dot(key, wanted):
    assert manifests.image_id(key) == wanted


def test_rows_stand_by_probability_then_key(tmp_path):
    keys = [
        ("b", "0.500000"),
        ("a", "0.500000"),
        ("Z", "0.500000"),
        ("é", "0.500000"),
        ("c", "1.000000"),
        ("d", "0.000001"),
        ("e", "0.100000"),
    ]
    keys += [("\uff61", "0.500000"), ("\U0001f600", "0.500000")]
    removed, kept = [row(key, prob, s3_uri=f"file:///{key}") for key, prob in keys], [row("k2", "0.2"), row("k1", "0.3")]
    manifests.write_removed_and_kept(tmp_path, removed, kept)
    wanted = ["c", "Z", "a", "b", "é", "\uff61", "\U0001f600", "e", "d"]
    assert [found["s3_key"] for found in manifests.read_csv(tmp_path / "removed.csv")] == wanted
    assert [found["s3_key"] for found in manifests.read_csv(tmp_path / "kept.csv")] == ["k1", "k2"]
    assert (tmp_path / "removed_image_ids.txt").read_text(encoding="utf-8") == "".join(f"{key}\n" for key in wanted)
    assert (tmp_path / "removed_s3_urls.txt").read_text(encoding="utf-8") == "".join(f"file:///{key}\n" for key in wanted)


def test_lists_have_one_value_a_line_whatever_the_value(tmp_path):
    assert manifests.write_lines(tmp_path / "a.txt", ["a", "two\nlines", "cr\r", "sep\u2028x", "\x00", "é 😀", ""]) == 7
    assert (tmp_path / "a.txt").read_bytes() == "a\ntwo%0Alines\ncr%0D\nsep%E2%80%A8x\n%00\né 😀\n\n".encode()
    assert manifests.write_lines(tmp_path / "a.txt", []) == 0
    assert (tmp_path / "a.txt").read_bytes() == b""
