"""people 03: margins and probabilities against a few independent lines."""

import functools
import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflow_scripts.core.embeddings import embedding_schema, iter_vectors, write_table
from workflow_scripts.core.models import ModelCard
from workflow_scripts.core.step import StepError
from workflow_scripts.people import embed_prompts as embed_prompts_module
from workflow_scripts.people import score
from workflow_scripts.people.embed import KEYS
from workflow_scripts.people.embed_prompts import embed_prompts
from workflow_scripts.people.score import SCHEMA, Scorer, build_scorer, check_one_model, score_table

WIDTH = 64


def unit(rng, count, width=WIDTH):
    found = rng.standard_normal((count, width))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def by_hand(image, positive, negative, mode, scale):
    """Margin and probability of one image, by the definition and in plain Python."""
    image = image.astype(np.float64)
    image = image / math.sqrt(sum(value * value for value in image))

    def centre(vectors):
        mean = [sum(column) / len(vectors) for column in zip(*vectors, strict=True)]
        length = math.sqrt(sum(value * value for value in mean))
        return [value / length for value in mean]

    def dot(text):
        return math.fsum(a * b for a, b in zip(image, text, strict=True))

    person = dot(centre(positive))
    other = dot(centre(negative)) if mode == "mean" else max(dot(text) for text in negative)
    return person - other, math.exp(scale * person) / (math.exp(scale * person) + math.exp(scale * other))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("mode", ["mean", "max"])
@pytest.mark.parametrize("scale", [100.0, 7.5, 14.2857])
@pytest.mark.parametrize(("positives", "negatives"), [(7, 5), (1, 1), (1, 6)])
def test_margins_and_probabilities(rng, mode, scale, positives, negatives):
    positive, negative = unit(rng, positives), unit(rng, negatives)
    images = unit(rng, 50).astype(np.float16)
    scorer = Scorer(positive, negative, negative_mode=mode, scale=scale)
    margins = scorer.margins(images)
    probabilities = scorer.probabilities(margins)
    wanted = [by_hand(image, positive, negative, mode, scale) for image in images]
    np.testing.assert_allclose(margins, [margin for margin, _ in wanted], atol=1e-12)
    assert probabilities.dtype == np.float64
    np.testing.assert_array_equal(probabilities, [round(probability, 6) for _, probability in wanted])


def test_the_length_of_an_image_vector_does_not_count(rng):
    scorer = Scorer(unit(rng, 3), unit(rng, 3), negative_mode="max", scale=100.0)
    images = unit(rng, 10).astype(np.float16)
    np.testing.assert_allclose(scorer.margins(images * np.float16(2)), scorer.margins(images), atol=1e-12)


def test_extreme_margins_do_not_overflow(rng):
    scorer = Scorer(unit(rng, 1), unit(rng, 1), negative_mode="mean", scale=100.0)
    with np.errstate(all="raise", under="ignore"):
        found = scorer.probabilities(np.array([-2.0, -0.5, 0.0, 0.05, 0.5, 2.0]))
    assert list(found) == [0.0, 0.0, 0.5, 0.993307, 1.0, 1.0]


def test_probabilities_have_six_digits(rng):
    scorer = Scorer(unit(rng, 1), unit(rng, 1), negative_mode="mean", scale=1.0)
    found = scorer.probabilities(np.linspace(-3, 3, 999))
    assert [float(f"{value:.6f}") for value in found] == list(found)


@pytest.mark.parametrize("mode", ["mean", "max"])
@pytest.mark.parametrize("width", [3, 64, 512, 770])
def test_a_row_does_not_depend_on_its_neighbours(rng, mode, width):
    scorer = Scorer(unit(rng, 3, width), unit(rng, 4, width), negative_mode=mode, scale=100.0)
    images = unit(rng, 37, width).astype(np.float16)
    together = scorer.margins(images)
    for size in (1, 2, 5, 36):
        parts = [scorer.margins(images[at : at + size]) for at in range(0, len(images), size)]
        assert np.concatenate(parts).tobytes() == together.tobytes()


# ---- tables ----


def embeddings(path, rng, *, chunk=4096, metadata=None):
    """A table with one to three views an image, and errors; gives the views by key."""
    views, rows = {}, []
    for number in range(40):
        key = f"{number:02}.jpg"
        row = {"key": key, "etag": f"etag-{number}", "sha256": None if number % 10 == 3 else f"{number:064x}"}
        if number % 5 == 3:
            row["error"] = "download: gone" if number % 10 == 3 else "decode: truncated"
        else:
            views[key] = unit(rng, 1 + number % 3).astype(np.float16)
            row |= {"width": 4, "height": 5, "views": len(views[key]), "embedding": views[key].ravel()}
        rows.append(row)
    write_table(path, embedding_schema(KEYS, metadata or {"fingerprint": "fp"}), rows, chunk=chunk)
    return views, rows


@pytest.fixture
def scorer(rng):
    return Scorer(unit(rng, 3), unit(rng, 4), negative_mode="mean", scale=100.0)


def test_of_several_views_the_largest_margin_counts(rng, scorer, tmp_path):
    views, rows = embeddings(tmp_path / "e.parquet", rng)
    assert score_table(tmp_path / "e.parquet", scorer, tmp_path / "s.parquet") == len(views) == 32
    table = pq.read_table(tmp_path / "s.parquet")
    assert table.schema.equals(SCHEMA)
    found = table.to_pylist()
    assert [(row["key"], row["etag"], row["sha256"], row["error"]) for row in found] == [
        (row["key"], row["etag"], row["sha256"], row.get("error")) for row in rows
    ]
    for row in found:
        if row["key"] in views:
            margins = [scorer.margins(view[None])[0] for view in views[row["key"]]]
            assert row["margin"] == round(max(margins), 6)
            assert row["people_prob"] == scorer.probabilities(np.array([max(margins)]))[0]
        else:
            assert (row["margin"], row["people_prob"]) == (None, None)
    assert any(len(view) == 3 for view in views.values())


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 39])
@pytest.mark.parametrize("chunk", [1, 9, 4096])
def test_scores_do_not_depend_on_how_the_rows_are_divided(scorer, tmp_path, monkeypatch, batch, chunk):
    def table_of(path, batch):
        monkeypatch.setattr(score, "iter_vectors", functools.partial(iter_vectors, batch=batch))
        score_table(path, scorer, tmp_path / "s.parquet")
        return pq.read_table(tmp_path / "s.parquet")

    embeddings(tmp_path / "whole.parquet", np.random.default_rng(1))
    embeddings(tmp_path / "parts.parquet", np.random.default_rng(1), chunk=chunk)
    whole, parts = table_of(tmp_path / "whole.parquet", 16_384), table_of(tmp_path / "parts.parquet", batch)
    assert parts.equals(whole)
    for name in ("people_prob", "margin"):
        one, other = (np.asarray(table[name].combine_chunks().fill_null(0)) for table in (whole, parts))
        assert one.tobytes() == other.tobytes()


def test_same_embeddings_same_bytes(rng, scorer, tmp_path):
    embeddings(tmp_path / "e.parquet", rng)
    for name in ("one", "two"):
        score_table(tmp_path / "e.parquet", scorer, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_an_empty_shard_and_one_of_errors(scorer, tmp_path):
    schema = embedding_schema(KEYS, {"fingerprint": "fp"})
    write_table(tmp_path / "e.parquet", schema, [])
    assert score_table(tmp_path / "e.parquet", scorer, tmp_path / "s.parquet") == 0
    assert pq.read_table(tmp_path / "s.parquet").to_pylist() == []
    write_table(tmp_path / "e.parquet", schema, [{"key": "a", "etag": "e", "error": "decode: truncated"}])
    assert score_table(tmp_path / "e.parquet", scorer, tmp_path / "s.parquet") == 0
    (row,) = pq.read_table(tmp_path / "s.parquet").to_pylist()
    assert row == {"key": "a", "etag": "e", "sha256": None, "people_prob": None, "margin": None, "error": "decode: truncated"}


# ---- the scorer of a run ----


@pytest.fixture
def prompts(rng, monkeypatch):
    """The embedded prompts of a run, as they come back from their file, by a stand-in for the model."""
    texts = {name: unit(rng, 1)[0] for name in ("p1", "p2", "n1", "n2", "n3")}
    monkeypatch.setattr(embed_prompts_module, "encode_texts", lambda card, names: (np.stack([texts[name] for name in names]), 33.0))
    card = ModelCard("A", "a", "A", "a", 1, "ab" * 32, {}, {})
    found = embed_prompts(card, {"positive": ["p1", "p2"], "negative": ["n1", "n2", "n3"]})
    return texts, json.loads(json.dumps(found))


def test_prompts_lose_nothing_in_their_file(prompts):
    texts, found = prompts
    assert found["logit_scale"] == 33.0
    for name, wanted in {"positive": ["p1", "p2"], "negative": ["n1", "n2", "n3"]}.items():
        assert np.array(found["vectors"][name]).tobytes() == np.stack([texts[text] for text in wanted]).tobytes()


@pytest.mark.parametrize(("setting", "scale"), [(100.0, 100.0), (12.5, 12.5), ("model", 33.0)])
@pytest.mark.parametrize("mode", ["mean", "max"])
def test_prompts_and_scale_of_a_run(rng, prompts, mode, setting, scale):
    texts, found = prompts
    scorer = build_scorer(found, {"negative_mode": mode, "logit_scale": setting})
    (image,) = unit(rng, 1)
    margin, probability = by_hand(image, [texts["p1"], texts["p2"]], [texts["n1"], texts["n2"], texts["n3"]], mode, scale)
    assert scorer.margins(image[None])[0] == pytest.approx(margin, abs=1e-12)
    assert scorer.probabilities(scorer.margins(image[None]))[0] == round(probability, 6)


def test_shards_of_different_models_are_refused(rng, tmp_path):
    paths = [tmp_path / f"{number}.parquet" for number in range(3)]
    for path, fingerprint in zip(paths, ("one", "two", "one"), strict=True):
        write_table(path, embedding_schema(KEYS, {"fingerprint": fingerprint}), [{"key": "a", "error": "decode: x"}])
    check_one_model([paths[0], paths[2]])
    with pytest.raises(StepError) as caught:
        check_one_model(paths)
    text = str(caught.value)
    assert f"one: {paths[0]}, {paths[2]}; two: {paths[1]}" in text
    assert text.startswith("the shards were embedded by different models")


def test_the_schema_is_the_one_that_later_steps_read():
    assert SCHEMA.names == ["key", "etag", "sha256", "people_prob", "margin", "error"]
    assert SCHEMA.field("people_prob").type == pa.float64()
