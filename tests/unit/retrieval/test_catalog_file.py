"""catalog.json: written as it is read, and what is wrong in one that a person edited is named with its place."""

import json

import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.retrieval.catalog_file import ConceptImages, read_catalog, write_catalog

IMAGES = {"train": ["a.jpg", "b.jpg"], "test": ["c.jpg"], "negative": []}
NAMES = [
    "a, b.jpg",
    "it's.jpg",
    'quo"te.jpg',
    "line\nbreak.jpg",
    "tab\t.jpg",
    "{x}.jpg",
    "%41.jpg",
    "back\\slash",
    "日本.jpg",
    "\u2028.jpg",
    "a → b",
]


@pytest.fixture
def written(tmp_path):
    """Write a file to read; gives its path."""

    def write(content):
        path = tmp_path / "catalog.json"
        data = content if isinstance(content, bytes) else content.encode() if isinstance(content, str) else json.dumps(content).encode()
        path.write_bytes(data)
        return path

    return write


def refused(path):
    with pytest.raises(StepError) as caught:
        read_catalog(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "catalog.json"
    catalog = {
        name: {other: ConceptImages(train=[name, other], test=[], negative=["x"]) for other in NAMES if other != name} for name in NAMES
    } | {"empty": {}}
    write_catalog(path, catalog)
    assert read_catalog(path) == catalog
    assert list(read_catalog(path)) == list(catalog)
    assert [list(concepts) for concepts in read_catalog(path).values()] == [list(concepts) for concepts in catalog.values()]


def test_the_text_is_for_people(tmp_path):
    path = tmp_path / "catalog.json"
    write_catalog(path, {"müg": {"réd": ConceptImages(**IMAGES)}, "a": {}})
    assert path.read_text("utf-8") == (
        '{\n  "müg": {\n    "réd": {\n      "train": [\n        "a.jpg",\n        "b.jpg"\n      ],\n'
        '      "test": [\n        "c.jpg"\n      ],\n      "negative": []\n    }\n  },\n  "a": {}\n}\n'
    )


def test_an_empty_catalog_is_one(written):
    assert read_catalog(written({})) == {}


def test_blanks_and_another_order_of_keys_do_not_matter(written):
    path = written('\n{"mug":{"red":{"negative":[],"test":["c.jpg"],"train":["a.jpg","b.jpg"]}}}')
    assert read_catalog(path) == {"mug": {"red": ConceptImages(**IMAGES)}}


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ([], "(top level)"),
        ("null", "(top level)"),
        ({"mug": []}, "mug"),
        ({"mug": {"red": []}}, "mug.red"),
        ({"mug": {"red": ["a.jpg"]}}, "mug.red"),
        ({"mug": {"red": {"train": [], "test": []}}}, "mug.red.negative"),
        ({"mug": {"red": {"test": [], "negative": []}}}, "mug.red.train"),
        ({"mug": {"red": IMAGES | {"trian": []}}}, "mug.red.trian"),
        ({"mug": {"red": IMAGES | {"train": "a.jpg"}}}, "mug.red.train"),
        ({"mug": {"red": IMAGES | {"test": None}}}, "mug.red.test"),
        ({"mug": {"red": IMAGES | {"train": ["a.jpg", 7]}}}, "mug.red.train.1"),
        ({"mug": {"red": IMAGES | {"train": [["a.jpg"]]}}}, "mug.red.train.0"),
        ({"mug": {"blue": IMAGES, "red": IMAGES | {"train": {"a.jpg": 1}}}}, "mug.red.train"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(written, content, place):
    assert refused(written(content)).startswith(f"{place}: ")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is no JSON"),
        ("{", "line 1 column 2"),
        ('{"mug": {\n  "red": {"train": ["a.jpg",]}}}', "line 2"),
        ("{} {}", "is no JSON"),
        (b"\xef\xbb\xbf{}", "is no JSON"),
        (b'{"caf\xe9": {}}', "is no JSON"),
    ],
)
def test_what_is_no_json_is_named(written, content, words):
    text = refused(written(content))
    assert words in text
    assert "mend it, or delete it" in text


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('{"mug": {}, "dog": {}, "mug": {}}', "mug"),
        ('{"mug": {"red": {"train": [], "test": [], "negative": []}, "red": {"train": [], "test": [], "negative": []}}}', "red"),
        ('{"mug": {"red": {"train": [], "test": [], "negative": [], "train": ["a.jpg"]}}}', "train"),
    ],
)
def test_a_key_that_stands_there_twice_is_named(written, text, name):
    """JSON readers take the last, and what stood in the first would be gone unseen."""
    assert f"'{name}' stands there twice" in refused(written(text))


@pytest.mark.parametrize(("one", "other"), [("train", "train"), ("train", "test"), ("test", "negative"), ("negative", "negative")])
def test_an_image_that_a_concept_names_twice_is_named(written, one, other):
    images = {"train": [], "test": [], "negative": []}
    images[one] = [*images[one], "x, y.jpg"]
    images[other] = [*images[other], "x, y.jpg"]
    assert refused(written({"dog": {"rex": IMAGES}, "mug": {"red": images}})).startswith("mug.red names an image twice: x, y.jpg")


@pytest.mark.parametrize("where", ["path", "concept", "category"])
def test_a_name_that_no_file_can_have_here_is_refused(written, where):
    """Other tools write names that are no UTF-8 so; read, they could not be written again."""
    name = {"path": "a.jpg", "concept": "red", "category": "mug"} | {where: "caf\udce9"}
    path = written({name["category"]: {name["concept"]: {"train": [name["path"]], "test": [], "negative": []}}})
    with pytest.raises(StepError) as caught:
        read_catalog(path)
    assert str(caught.value).startswith(f"{path}: ")
