"""The gallery: which images it holds, in which order, and what it refuses."""

import numpy as np
import pytest

from tests.unit.retrieval.retrieve_data import ImageSet, angle, sha
from workflow_scripts.core.step import StepError
from workflow_scripts.retrieval import gallery as module
from workflow_scripts.retrieval.catalog_file import read_catalog
from workflow_scripts.retrieval.gallery import load_gallery


@pytest.fixture
def images(tmp_path):
    found = ImageSet(tmp_path)
    for concept, names in {"b": "21", "a": "1", "B": "1"}.items():
        for name in names:
            found.add(concept, f"{name}.jpg", angle(len(found.images) * 20))
    for concept in "ca":
        found.add(concept, "1.jpg", angle(len(found.images) * 20), category="car")
    return found


def load(images, categories=("mug", "car")):
    images.settings["negative_pool"] = "dataset"
    images.write()
    root = images.settings["data_root"], images.settings["relative"]
    return load_gallery(read_catalog(images.catalog_file), images.catalog_file, categories, images.tables, root)


def test_images_stand_in_the_order_of_their_names(images):
    found = load(images)
    assert found.concepts == [("mug", "B"), ("car", "a"), ("mug", "a"), ("mug", "b"), ("car", "c")]
    assert found.paths == ["mug/B/1.jpg", "car/a/1.jpg", "mug/a/1.jpg", "mug/b/1.jpg", "mug/b/2.jpg", "car/c/1.jpg"]
    assert found.bounds.tolist() == [0, 1, 2, 3, 5, 6]
    assert found.owners().tolist() == [0, 1, 2, 3, 3, 4]
    assert found.images_of(3) == range(3, 5)
    assert found.concepts_in("mug").tolist() == [0, 2, 3]
    assert found.concepts_in("dog").tolist() == []


def test_every_image_has_its_own_content_hash_and_vector(images):
    found = load(images)
    for row, path in enumerate(found.paths):
        image = images.images[path]
        assert (found.contents[row], int(found.phashes[row])) == (image.sha256, image.phash)
        assert found.vectors[row].tolist() == image.vector.tolist()
    assert found.errors == {}


def test_the_order_of_rows_does_not_matter(images):
    first = load(images)
    images.reversed_rows = True
    second = load(images, ("car", "mug"))
    assert (first.paths, first.concepts, first.contents) == (second.paths, second.concepts, second.contents)
    assert first.vectors.tobytes() == second.vectors.tobytes()
    assert first.phashes.tobytes() == second.phashes.tobytes()


def test_only_training_images_of_the_categories_are_loaded(images):
    images.lists |= {"mug/b/1.jpg": "test", "mug/a/1.jpg": "negative"}
    assert load(images, ("mug",)).paths == ["mug/B/1.jpg", "mug/b/2.jpg"]


def test_images_without_a_vector_are_errors(images):
    images.images["mug/b/1.jpg"].error = "decode: truncated"
    images.images["mug/a/1.jpg"].error = "decode: truncated"
    found = load(images)
    assert found.errors == {"mug/a/1.jpg": sha("mug/a/1.jpg"), "mug/b/1.jpg": sha("mug/b/1.jpg")}
    assert found.concepts == [("mug", "B"), ("car", "a"), ("mug", "b"), ("car", "c")]
    assert found.vectors[2].tolist() == images.images["mug/b/2.jpg"].vector.tolist()


def test_a_gallery_may_be_empty(images):
    for path in images.lists:
        images.lists[path] = "test"
    found = load(images)
    assert (found.paths, found.concepts, found.bounds.tolist(), found.owners().tolist()) == ([], [], [0], [])
    assert len(found.vectors) == 0


@pytest.mark.parametrize("relative", [True, False])
def test_paths_are_those_of_the_catalog(images, relative):
    images.settings |= {"relative": relative, "data_root": "/some/where"}
    assert load(images).paths[0] == ("mug/B/1.jpg" if relative else "/some/where/mug/B/1.jpg")


def test_batches_of_a_table_do_not_matter(images, monkeypatch):
    whole = load(images)
    monkeypatch.setattr(module, "_BATCH", 2)
    parts = load(images)
    assert (parts.paths, parts.contents) == (whole.paths, whole.contents)
    assert parts.vectors.tobytes() == whole.vectors.tobytes()


def test_an_image_that_is_in_no_table_is_refused_by_name(images):
    images.add("b", "9.jpg", angle(0))
    images.write()
    images.images.pop("mug/b/9.jpg")
    tables = [images.table("mug"), images.table("car")]
    with pytest.raises(StepError, match=r"catalog.json: mug, b: mug/b/9.jpg is in no embedding table"):
        load_gallery(read_catalog(images.catalog_file), images.catalog_file, ["mug"], tables, ("/data", True))


def test_an_image_in_two_concepts_is_refused(images):
    images.write()
    images.catalog_file.write_text(images.catalog_file.read_text().replace("mug/a/1.jpg", "car/a/1.jpg"))
    with pytest.raises(StepError, match=r"catalog.json: car/a/1.jpg stands in mug, a and in car, a; take it out of one"):
        load_gallery(read_catalog(images.catalog_file), images.catalog_file, ["mug", "car"], images.tables, ("/data", True))


def test_tables_of_two_models_are_refused(images):
    images.fingerprints["car"] = "another"
    with pytest.raises(StepError, match=r"car.parquet is of another model or precision \(another\) than .*mug.parquet \(one model\)"):
        load(images)


@pytest.mark.parametrize("vector", [(0.9, 0.0), (np.nan, 1.0), (np.inf, 0.0), (0.0, 0.0)])
def test_a_vector_that_is_not_normalised_is_refused_by_name(images, vector):
    images.images["mug/b/2.jpg"].vector = np.array(vector, dtype=np.float16)
    with pytest.raises(StepError, match=r"mug.parquet: the vector of mug/b/2.jpg is not finite or not of length 1; delete it"):
        load(images)


@pytest.mark.parametrize("missing", ["sha256", "phash"])
def test_a_vector_without_hashes_is_refused(images, missing):
    setattr(images.images["mug/b/2.jpg"], missing, None)
    with pytest.raises(StepError, match=r"mug.parquet: mug/b/2.jpg has a vector, but no sha256 or no perceptual hash"):
        load(images)


def test_the_same_bytes_in_two_concepts_are_a_label_conflict(images):
    images.images["mug/a/1.jpg"].sha256 = images.images["car/a/1.jpg"].sha256 = "b" * 64
    images.images["mug/b/1.jpg"].sha256 = images.images["mug/b/2.jpg"].sha256 = "c" * 64
    images.add("z", "1.jpg", angle(3), sha256="a" * 64)
    images.add("y", "1.jpg", angle(4), sha256="a" * 64)
    images.add("y", "2.jpg", angle(5), sha256="a" * 64)
    assert load(images).label_conflicts() == [
        {"sha256": "a" * 64, "paths": ["mug/y/1.jpg", "mug/y/2.jpg", "mug/z/1.jpg"]},
        {"sha256": "b" * 64, "paths": ["car/a/1.jpg", "mug/a/1.jpg"]},
    ]
