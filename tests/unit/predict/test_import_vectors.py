"""predict 00: which files of an older cache are vectors that can be kept, and what is kept of them."""

import io
import random

import numpy as np
import pytest

from workflow_scripts.predict.import_vectors import DimensionError, VectorError, read_vector

WIDTH = 8
DRAWN = np.random.default_rng(1).standard_normal(WIDTH)


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def written(folder, content):
    path = folder / "vector.npy"
    path.write_bytes(content if isinstance(content, bytes) else npy(content))
    return str(path)


def refusal(folder, content, *, normalise=True):
    with pytest.raises(VectorError) as caught:
        read_vector(written(folder, content), WIDTH, normalise=normalise)
    return str(caught.value)


@pytest.mark.parametrize("length", [1e-5, 1.0, 9.7, 1e30])
@pytest.mark.parametrize("kind", ["<f2", "<f4", ">f4", "<f8"])
@pytest.mark.parametrize("shape", [(WIDTH,), (1, WIDTH)])
def test_vectors_of_every_precision_shape_and_length_become_unit_vectors(tmp_path, shape, kind, length):
    if kind == "<f2" and not 1e-3 < length < 1e4:
        length = 300.0
    stored = (DRAWN * length).astype(kind).reshape(shape)
    found = read_vector(written(tmp_path, stored), WIDTH, normalise=True)
    assert (found.shape, found.dtype) == ((1, WIDTH), np.float16)
    np.testing.assert_allclose(found[0].astype(np.float64), DRAWN / np.linalg.norm(DRAWN), rtol=2e-3)


def test_an_array_stored_by_columns_is_read_as_it_was_meant(tmp_path):
    stored = np.asfortranarray(DRAWN.reshape(1, WIDTH))
    found = read_vector(written(tmp_path, stored), WIDTH, normalise=True)
    np.testing.assert_allclose(found[0].astype(np.float64), DRAWN / np.linalg.norm(DRAWN), rtol=2e-3)


@pytest.mark.parametrize("length", [0.5, 0.98, 1.02, 11.0])
def test_raw_vectors_keep_their_length(tmp_path, length):
    stored = DRAWN / np.linalg.norm(DRAWN) * length
    found = read_vector(written(tmp_path, stored.astype(np.float32)), WIDTH, normalise=False)
    np.testing.assert_array_equal(found[0], stored.astype(np.float32).astype(np.float16))


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_vectors_that_were_normalised_are_no_raw_ones(tmp_path, kind):
    unit = (DRAWN / np.linalg.norm(DRAWN)).astype(kind)
    assert refusal(tmp_path, unit, normalise=False) == "vector: was normalised, and raw ones are needed"
    assert read_vector(written(tmp_path, unit), WIDTH, normalise=True).shape == (1, WIDTH)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (np.zeros(WIDTH, np.float32), "vector: all zeros"),
        (np.append(DRAWN[1:], np.nan), "vector: NaN or infinite numbers"),
        (np.append(DRAWN[1:], np.inf), "vector: NaN or infinite numbers"),
        (np.full(WIDTH, 1e300), "vector: NaN or infinite numbers"),
        (np.arange(WIDTH), "vector: of int64, not of floats"),
        (DRAWN.astype(np.complex128), "vector: of complex128, not of floats"),
        (np.ones((2, WIDTH)), "vector: of shape [2, 8], not a single one"),
        (np.ones((WIDTH, 1)), "vector: of shape [8, 1], not a single one"),
        (np.ones((1, 1, WIDTH)), "vector: of shape [1, 1, 8], not a single one"),
        (np.ones((0, WIDTH)), "vector: of shape [0, 8], not a single one"),
        (np.array(1.0), "vector: of shape [], not a single one"),
        (np.ones(WIDTH + 1), "vector: 9 numbers, the model gives 8"),
        (np.ones((1, 4)), "vector: 4 numbers, the model gives 8"),
        (np.array([{"a": 1}], dtype=object), "vector: broken, or no array of numbers"),
        (np.ones(1 << 18), "vector: the file is too large for a single one"),
        (b"", "vector: broken, or no array of numbers"),
        (b"hello", "vector: broken, or no array of numbers"),
        (npy(DRAWN)[:-1], "vector: broken, or no array of numbers"),
        (npy(DRAWN).replace(b"(8,)", b"(8*9"), "vector: broken, or no array of numbers"),
        (npy(DRAWN).replace(b"(8,), }" + 13 * b" ", b"(99999999999999,), }"), "vector: broken, or no array of numbers"),
        (npy(DRAWN).replace(b"(8,), }" + 8 * b" ", b"(999999999,), }"), "vector: broken, or no array of numbers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_an_embedding_is_refused_with_its_reason(tmp_path, content, told):
    assert refusal(tmp_path, content) == told


def test_raw_numbers_that_half_precision_cannot_hold_are_refused(tmp_path):
    assert refusal(tmp_path, DRAWN * 1e6, normalise=False) == "vector: NaN or infinite numbers"
    assert refusal(tmp_path, DRAWN * 1e-9, normalise=False) == "vector: all zeros"


def test_several_arrays_in_one_file_are_refused(tmp_path):
    buffer = io.BytesIO()
    np.savez(buffer, a=DRAWN)
    assert refusal(tmp_path, buffer.getvalue()) == "vector: several arrays in one file"


def test_another_dimension_is_told_apart_from_other_faults(tmp_path):
    for content, kind in ((np.ones(3), DimensionError), (np.zeros(WIDTH), VectorError), (np.ones((3, 3)), VectorError)):
        with pytest.raises(VectorError) as caught:
            read_vector(written(tmp_path, content), WIDTH, normalise=True)
        assert type(caught.value) is kind


def test_a_file_that_is_gone_by_now_is_refused(tmp_path):
    with pytest.raises(VectorError, match=r"^vector: no such file or directory$"):
        read_vector(str(tmp_path / "gone.npy"), WIDTH, normalise=True)


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_end_in_a_refusal_or_in_a_finite_vector_and_in_nothing_else(tmp_path):
    chance, refused = random.Random(2), 0
    for _ in range(1500):
        data = bytearray(npy(DRAWN.astype(np.float32)))
        for _ in range(chance.choice([1, 1, 2, 6])):
            data[chance.randrange(len(data))] = chance.choice([chance.randrange(256), *b"()[]{}',:09<>fiV \n"])
        path = written(tmp_path, bytes(data[: chance.choice([len(data), chance.randrange(len(data))])]))
        try:
            found = read_vector(path, WIDTH, normalise=True)
        except VectorError as error:
            refused += 1
            assert str(error).startswith("vector: ")  # noqa: PT017 - some flips change numbers alone
        else:
            assert found.shape == (1, WIDTH)
            assert np.linalg.norm(found.astype(np.float64)) == pytest.approx(1, abs=1e-2)
    assert 500 < refused < 1500
