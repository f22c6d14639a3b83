"""Records: the JSON list of comparisons, written and read one at a time, and what is wrong in an edited one."""

import json

import pytest
from pydantic import ValidationError

from workflow_scripts.core.step import StepError
from workflow_scripts.retrieval.records import Record, read_records, write_records

FIELDS = {
    "query_path": "mug/red/1.jpg",
    "ret_paths": ["mug/blue/1.jpg", "mug/red/2.jpg", "mug/green/1.jpg"],
    "label": 1,
    "category": "mug",
    "concept": "red",
    "ret_concepts": ["blue", "red", "green"],
    "similarities": [0.812345, 0.5, -0.25],
}
NAMES = [
    "a, b.jpg",
    "it's.jpg",
    'quo"te.jpg',
    "line\nbreak.jpg",
    "tab\t.jpg",
    "{x}.jpg",
    "back\\slash",
    "日本.jpg",
    "\u2028.jpg",
    "a → b",
    "",
]


def record(**changes):
    return Record(**FIELDS | changes)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "records.json"


def refused(path):
    """The text without the file, and what was read before."""
    found = []
    with pytest.raises(StepError) as caught:
        found.extend(read_records(path))
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: "), found


@pytest.mark.parametrize("count", [0, 1, 2, 40])
def test_the_text_is_that_of_json(path, count):
    records = [record(query_path=f"{number} {name}", concept="red") for number, name in enumerate(NAMES * 4)][:count]
    assert write_records(path, iter(records)) == count
    plain = [FIELDS | {"query_path": one.query_path} for one in records]
    assert path.read_bytes() == (json.dumps(plain, indent=2, ensure_ascii=False) + "\n").encode()
    assert list(read_records(path)) == records


def test_fields_stand_in_the_order_that_readers_know(path):
    write_records(path, [record()])
    assert list(json.loads(path.read_text("utf-8"))[0]) == [
        *("query_path", "ret_paths", "label", "category", "concept", "ret_concepts", "similarities")
    ]


def test_records_are_read_one_at_a_time(path):
    write_records(path, (record(query_path=f"{number}.jpg") for number in range(3)))
    path.write_bytes(path.read_bytes()[:-20])  # the end is missing
    found = read_records(path)
    assert [next(found).query_path, next(found).query_path] == ["0.jpg", "1.jpg"]
    with pytest.raises(StepError, match="record 2"):
        next(found)


def test_nothing_appears_when_writing_fails(path):
    def broken():
        yield record()
        raise StepError("no more")

    with pytest.raises(StepError, match="no more"):
        write_records(path, broken())
    assert list(path.parent.iterdir()) == []


def test_whole_numbers_are_similarities_too(path):
    path.write_text(json.dumps([FIELDS | {"similarities": [1, 0, -1]}]))
    (found,) = read_records(path)
    assert found.similarities == [1.0, 0.0, -1.0]


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"label": 3}, "record 1: "),
        ({"label": -1}, "record 1, label: "),
        ({"label": "1"}, "record 1, label: "),
        ({"label": True}, "record 1, label: "),
        ({"label": 1.0}, "record 1, label: "),
        ({"label": None}, "record 1, label: "),
        ({"ret_paths": ["a", "b"]}, "record 1: "),
        ({"ret_concepts": ["blue", "red"]}, "record 1: "),
        ({"similarities": [0.1, 0.2, 0.3, 0.4]}, "record 1: "),
        ({"ret_paths": ["a"], "ret_concepts": ["red"], "similarities": [0.1], "label": 0}, "record 1, ret_paths: "),
        ({"ret_paths": ["a", 2, "c"]}, "record 1, ret_paths.1: "),
        ({"ret_paths": "abc"}, "record 1, ret_paths: "),
        ({"similarities": [0.1, "0.2", 0.3]}, "record 1, similarities.1: "),
        ({"query_path": 7}, "record 1, query_path: "),
        ({"category": None}, "record 1, category: "),
        ({"labels": 1}, "record 1, labels: "),
    ],
)
def test_a_wrong_record_is_named_with_its_place(path, changes, place):
    path.write_text(json.dumps([FIELDS, FIELDS | changes, FIELDS]))
    text, before = refused(path)
    assert text.startswith(place)
    assert before == [record()]


@pytest.mark.parametrize("name", list(FIELDS))
def test_a_missing_field_is_named(path, name):
    path.write_text(json.dumps([FIELDS, {key: value for key, value in FIELDS.items() if key != name}]))
    assert refused(path)[0].startswith(f"record 1, {name}: ")


def test_a_label_that_points_at_another_concept_is_refused(path):
    """The answer would be wrong, and nothing after would notice."""
    path.write_text(json.dumps([FIELDS, FIELDS | {"label": 2}]))
    assert refused(path)[0].startswith("record 1")


def test_a_query_among_its_own_references_is_refused(path):
    path.write_text(json.dumps([FIELDS, FIELDS | {"ret_paths": ["mug/blue/1.jpg", FIELDS["query_path"], "mug/green/1.jpg"]}]))
    assert refused(path)[0].startswith("record 1")


@pytest.mark.parametrize("content", [[1], [[]], [None], ["a"], [[FIELDS]]])
def test_what_is_no_record_is_named(path, content):
    path.write_text(json.dumps(content))
    assert refused(path)[0].startswith("record 0: ")


@pytest.mark.parametrize(
    "content",
    ["", "{}", "null", '"[]"', "\ufeff[]", "\n\n", json.dumps(FIELDS)],
    ids=["nothing", "dict", "null", "text", "mark", "blank", "record"],
)
def test_what_is_no_list_is_named(path, content):
    path.write_text(content, "utf-8")
    assert refused(path)[0].startswith("is no JSON list of records")


@pytest.mark.parametrize(
    ("change", "number"),
    [
        (lambda text: text[:-3], 2),
        (lambda text: text[:-40], 1),
        (lambda text: text.replace("}\n]", "},\n]"), 2),
        (lambda text: text + "[]", 2),
        (lambda text: text.replace("0.812345", "NaN", 1), 0),
        (lambda text: text.replace('"label": 1,', '"label": 1', 1), 0),
        (lambda text: text.replace("red/1", "r\udce9d/1", 1), 0),
    ],
    ids=["no end", "cut off", "a comma more", "something behind", "no number", "a comma less", "no UTF-8"],
)
def test_broken_json_is_named_with_the_record(path, change, number):
    write_records(path, [record(), record()])
    path.write_bytes(change(path.read_text("utf-8")).encode("utf-8", "surrogateescape"))
    text, before = refused(path)
    assert text.startswith(f"record {number} cannot be read (")
    assert before == [record()] * number


def test_records_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        record().label = 0
