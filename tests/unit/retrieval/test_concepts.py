"""The target retrieval_concepts."""

import csv
import runpy
from types import SimpleNamespace

import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.retrieval import concepts
from workflow_scripts.retrieval.catalog_file import ConceptImages, write_catalog

NAMES = ["zulu", "al,pha", 'the "best"', "line\nfeed", "carriage\rreturn", " blank ", "ünï 犬", "no tests", ""]


@pytest.fixture
def catalog(tmp_path):
    path = tmp_path / "catalog.json"
    mugs = {name: ConceptImages(train=["a.jpg"], test=[] if name == "no tests" else ["b.jpg"], negative=[]) for name in NAMES}
    dogs = {"rex": ConceptImages(train=[], test=["c.jpg"], negative=[])}
    write_catalog(path, {"mug": mugs, "dog, old": dogs, "empty": {}})
    return path


def test_concepts_with_test_images_in_catalog_order(catalog, tmp_path):
    output = tmp_path / "concepts.txt"
    assert concepts.list_concepts(catalog, output) == {"concepts": 9, "without_test_images": 1}
    wanted = [["mug", name] for name in NAMES if name != "no tests"] + [["dog, old", "rex"]]
    assert list(csv.reader(output.open(encoding="utf-8", newline=""))) == wanted
    text = output.read_bytes()
    assert text.startswith(b'mug,zulu\nmug,"al,pha"\nmug,"the ""best"""\nmug,"line\nfeed"\nmug,"carriage\rreturn"\nmug, blank \n')
    assert text.endswith(b'\n"dog, old",rex\n')
    assert b"\r\n" not in text


def test_writing_twice_gives_the_same_file(catalog, tmp_path):
    output = tmp_path / "concepts.txt"
    concepts.list_concepts(catalog, output)
    first = output.read_bytes()
    concepts.list_concepts(catalog, output)
    assert output.read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["catalog.json", "concepts.txt"]


def test_no_test_images_give_an_empty_file(tmp_path):
    write_catalog(tmp_path / "catalog.json", {"mug": {"zulu": ConceptImages(train=["a"], test=[], negative=["b"])}})
    assert concepts.list_concepts(tmp_path / "catalog.json", tmp_path / "out") == {"concepts": 0, "without_test_images": 1}
    assert (tmp_path / "out").read_bytes() == b""


def test_a_broken_catalog_is_named(tmp_path):
    (tmp_path / "catalog.json").write_text('{"mug": ')
    with pytest.raises(StepError, match=r"catalog\.json: is no JSON"):
        concepts.list_concepts(tmp_path / "catalog.json", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("in_a_step")
def test_the_step_takes_its_files_from_the_rule(catalog, tmp_path):
    job = SimpleNamespace(input=[str(catalog)], output=[str(tmp_path / "out.txt")], log=[str(tmp_path / "log.txt")])
    runpy.run_path(concepts.__file__, {"snakemake": job})
    assert (tmp_path / "out.txt").read_bytes().count(b"mug,") == 8
    assert "done: concepts=9 without_test_images=1" in (tmp_path / "log.txt").read_text()
