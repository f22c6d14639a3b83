"""Embedding tables."""

import hashlib
import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflow_scripts.core.cache import Known
from workflow_scripts.core.embeddings import digest, embedding_schema, iter_vectors, table_metadata, write_table

WIDTH = 5  # of a vector
KEYS = [("key", pa.string())]


def sha(name):
    return hashlib.sha256(str(name).encode()).hexdigest()


def known(number, views=1):
    rng = np.random.default_rng(number)
    return Known(rng.standard_normal((views, WIDTH)).astype(np.float16), 100 + number, 200 + number)


def row(key, views=0, error=None, number=1):
    found = {"key": key, "sha256": sha(key), "error": error}
    if views:
        vectors = known(number, views)
        found |= {"width": vectors.width, "height": vectors.height, "views": views, "embedding": vectors.vectors.ravel()}
    return found


def write(path, rows, **options):
    return write_table(path, embedding_schema(KEYS, {"fingerprint": "fp"}), rows, **options)


ROWS = [
    row("a", 1, number=1),
    row("b", error="decode: truncated"),
    row("c", 3, number=2),
    row("d", error="download: gone"),
    row("e", 2, number=3),
]


@pytest.mark.parametrize("chunk", [1, 2, 5, 100])
@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_vectors_come_with_the_row_they_belong_to(tmp_path, chunk, batch):
    assert write(tmp_path / "t.parquet", iter(ROWS), chunk=chunk) == 5
    keys, errors, found = [], [], {}
    for record, vectors, owner in iter_vectors(tmp_path / "t.parquet", ("key", "error"), batch):
        assert record.schema.names == ["key", "error"]
        assert record.num_rows <= batch
        part = record["key"].to_pylist()
        keys += part
        errors += record["error"].to_pylist()
        assert (vectors is None) == (len(owner) == 0)
        for position, at in enumerate(owner):
            found.setdefault(part[at], []).append(vectors[position])
    assert keys == list("abcde")
    assert errors == [None, "decode: truncated", None, "download: gone", None]
    wanted = {"a": known(1, 1), "c": known(2, 3), "e": known(3, 2)}
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        np.testing.assert_array_equal(np.stack(found[key]), value.vectors)


def test_a_table_of_errors_has_no_vectors(tmp_path):
    write(tmp_path / "t.parquet", [ROWS[1], ROWS[3]])
    ((record, vectors, owner),) = iter_vectors(tmp_path / "t.parquet", ("key",))
    assert (record["key"].to_pylist(), vectors, list(owner)) == (["b", "d"], None, [])


def test_an_empty_table_has_its_schema(tmp_path):
    assert write(tmp_path / "t.parquet", []) == 0
    assert list(iter_vectors(tmp_path / "t.parquet", ("key",))) == []
    assert pq.read_schema(tmp_path / "t.parquet").names == ["key", "sha256", "width", "height", "views", "embedding", "error"]


def test_metadata_stands_in_the_file(tmp_path):
    write(tmp_path / "t.parquet", ROWS)
    assert table_metadata(tmp_path / "t.parquet") == {"fingerprint": "fp"}


def test_rows_are_taken_a_chunk_at_a_time(tmp_path):
    taken, written = [], []

    def rows():
        for number in range(10):
            taken.append(number)
            written.append(len(list(tmp_path.glob(".t.parquet.*"))))
            yield row(str(number))

    write(tmp_path / "t.parquet", rows(), chunk=4)
    file = pq.ParquetFile(tmp_path / "t.parquet")
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [4, 4, 2]
    assert set(written) == {1}  # the temporary file is there while rows come


def test_a_failure_among_the_rows_leaves_the_old_table(tmp_path):
    write(tmp_path / "t.parquet", ROWS)
    before = (tmp_path / "t.parquet").read_bytes()

    def rows():
        yield from ROWS * 3
        raise OSError("the source is gone")

    with pytest.raises(OSError, match="the source is gone"):
        write(tmp_path / "t.parquet", rows(), chunk=4)
    assert (tmp_path / "t.parquet").read_bytes() == before
    assert os.listdir(tmp_path) == ["t.parquet"]


def test_same_rows_same_bytes(tmp_path):
    for name in ("one", "two"):
        write(tmp_path / name, ROWS)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


# ---- digests ----


def test_a_digest_does_not_depend_on_the_order_of_keys():
    one = {"a": 1, "b": {"c": [1, 2], "d": None}}
    other = {"b": {"d": None, "c": [1, 2]}, "a": 1}
    assert digest(one) == digest(other)
    assert digest(one) == digest(json.loads(json.dumps(one)))
    assert len(digest(one)) == 16


@pytest.mark.parametrize(
    "other", [{"a": [2, 1]}, {"a": [1, 2, 3]}, {"a": ["1", 2]}, {"b": [1, 2]}, {"a": [1, 2], "b": None}, [1, 2], {"a": [1, 2.5]}]
)
def test_a_digest_depends_on_everything_else(other):
    assert digest(other) != digest({"a": [1, 2]})
