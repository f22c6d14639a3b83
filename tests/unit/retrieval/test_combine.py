"""retrieval 05: the records of all categories in order, samples of them, and what is refused."""

import itertools
import json
import re
from pathlib import Path

import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.retrieval import combine as combine_module
from workflow_scripts.retrieval.combine import combine, quotas
from workflow_scripts.retrieval.records import Record, read_records, write_records

CHOICE = {"k": 2, "negative_pool": "category", "num_samples": None, "seed": 23, "stratified": False}
SETTINGS = CHOICE | {"data_root": "/data", "relative": False}


def record(category, number, k=2):
    return Record(
        query_path=f"{category}/c/{number}.jpg",
        ret_paths=[f"{category}/c/x.jpg", *(f"{category}/d{other}/y.jpg" for other in range(k - 1))],
        label=0,
        category=category,
        concept="c",
        ret_concepts=["c", *(f"d{other}" for other in range(k - 1))],
        similarities=[0.5] * k,
    )


class Files:
    """Record files of categories, and what becomes of them."""

    def __init__(self, root):
        self.root, self.paths = root, {}
        self.output, self.metadata = root / "combined.json", root / "combined_metadata.json"

    def put(self, category, records):
        self.paths[category] = self.root / f"{category}.json"
        write_records(self.paths[category], [record(category, one) if isinstance(one, int) else one for one in records])

    def fill(self, **counts):
        for category, count in counts.items():
            self.put(category, range(count))
        return self

    def combine(self, order=None, **changes):
        """Queries in order, and the metadata."""
        files = {category: self.paths[category] for category in order or self.paths}
        counts = combine(files, SETTINGS | changes, self.output, self.metadata)
        found, metadata = list(read_records(self.output)), json.loads(self.metadata.read_text("utf-8"))
        assert counts == {"records": len(found), "available": sum(metadata["available"].values())}
        assert metadata["records"] == len(found)
        return [one.query_path for one in found], metadata


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def by_category(queries):
    return {name: len(list(group)) for name, group in itertools.groupby(queries, lambda query: query.split("/")[0])}


# ---- all of them ----


def test_all_records_in_the_order_of_categories_and_files(files):
    files.fill(dog=2, Cat=1, mug=3)
    found, metadata = files.combine()
    assert found == ["dog/c/0.jpg", "dog/c/1.jpg", "Cat/c/0.jpg", "mug/c/0.jpg", "mug/c/1.jpg", "mug/c/2.jpg"]
    assert (metadata["by_category"], metadata["available"]) == ({"dog": 2, "Cat": 1, "mug": 3}, {"dog": 2, "Cat": 1, "mug": 3})
    assert metadata | SETTINGS == metadata
    configured, _ = files.combine(["mug", "dog"])
    assert configured == ["mug/c/0.jpg", "mug/c/1.jpg", "mug/c/2.jpg", "dog/c/0.jpg", "dog/c/1.jpg"]


def test_records_are_passed_on_unchanged(files):
    odd = record("mug", 1).model_copy(update={"query_path": "a, 'b' \"c\"\nd → é.jpg", "similarities": [0.123456, -1.0]})
    files.put("mug", [odd, 2])
    files.combine()
    assert list(read_records(files.output)) == [odd, record("mug", 2)]
    assert files.output.read_bytes() == files.paths["mug"].read_bytes()


def test_a_category_without_records_is_named(files, log_text):
    files.fill(mug=2, dog=0)
    found, metadata = files.combine()
    assert len(found) == 2
    assert metadata["by_category"] == {"mug": 2, "dog": 0}
    assert f"dog gives no record; its metadata beside {files.paths['dog']} says why" in log_text()
    assert "mug gives" not in log_text()


@pytest.mark.parametrize("num_samples", [None, 5])
@pytest.mark.parametrize("stratified", [True, False])
def test_no_record_at_all_is_an_error_that_names_the_settings(files, num_samples, stratified):
    files.fill(mug=0, dog=0)
    with pytest.raises(StepError) as caught:
        files.combine(k=4, negative_pool="category_then_dataset", num_samples=num_samples, stratified=stratified)
    text = str(caught.value)
    assert "top_k 4" in text
    assert "3 other concepts" in text
    assert "negative_pool (category_then_dataset)" in text
    assert not files.output.exists()
    assert not files.metadata.exists()


# ---- samples ----


def test_a_sample_keeps_the_order_of_the_files(files):
    files.fill(mug=30, dog=30)
    found, metadata = files.combine(num_samples=20)
    everything, _ = files.combine()
    assert len(found) == 20
    assert found == [query for query in everything if query in found]
    assert metadata["by_category"] == by_category(found)
    assert metadata["available"] == {"mug": 30, "dog": 30}


@pytest.mark.parametrize("stratified", [True, False])
@pytest.mark.parametrize("wanted", [7, 20, 24])
def test_a_sample_does_not_depend_on_the_order_of_categories(files, stratified, wanted):
    files.fill(mug=12, dog=3, cat=9, vase=0)
    samples = {
        frozenset(files.combine(order, num_samples=wanted, stratified=stratified)[0]) for order in itertools.permutations(files.paths)
    }
    assert len(samples) == 1
    assert len(samples.pop()) == wanted


@pytest.mark.parametrize("stratified", [True, False])
def test_a_sample_does_not_depend_on_the_order_of_records(files, stratified):
    files.fill(mug=12, dog=12)
    before, _ = files.combine(num_samples=9, stratified=stratified)
    files.put("mug", reversed(range(12)))
    after, _ = files.combine(num_samples=9, stratified=stratified)
    assert sorted(after) == sorted(before)


@pytest.mark.parametrize("stratified", [True, False])
def test_a_larger_sample_holds_a_smaller(files, stratified):
    files.fill(mug=12, dog=3, cat=9)
    samples = [set(files.combine(num_samples=wanted, stratified=stratified)[0]) for wanted in range(1, 27)]
    assert [len(sample) for sample in samples] == [*range(1, 25), 24, 24]
    assert all(small <= large for small, large in itertools.pairwise(samples))


def test_the_seed_decides(files):
    files.fill(mug=40)
    samples = {tuple(files.combine(num_samples=10, seed=seed)[0]) for seed in range(5)}
    assert len(samples) == 5


def test_a_record_more_moves_at_most_one(files):
    files.fill(mug=30, dog=30)
    before = set(files.combine(num_samples=20)[0])
    for number in range(30, 40):
        files.put("mug", [*range(30), number])
        after = set(files.combine(num_samples=20)[0])
        assert len(before - after) <= 1


def test_every_record_is_as_likely(files):
    files.fill(mug=30, dog=10)
    counts = dict.fromkeys(files.combine()[0], 0)
    for seed in range(100):
        for query in files.combine(num_samples=20, seed=seed)[0]:
            counts[query] += 1
    assert all(25 < count < 75 for count in counts.values())


def test_more_than_there_are(files, log_text):
    files.fill(mug=3, dog=1)
    found, _ = files.combine(num_samples=5)
    assert found == files.combine()[0]
    assert "num_samples 5: there are only 4 records" in log_text()


def test_just_as_many_as_there_are_needs_no_word(files, log_text):
    files.fill(mug=3, dog=1)
    files.combine(num_samples=4)
    assert "num_samples" not in log_text()


# ---- every category alike ----


@pytest.mark.parametrize(
    ("available", "wanted", "given"),
    [
        ({"a": 10, "b": 10}, 6, {"a": 3, "b": 3}),
        ({"a": 10, "b": 2}, 6, {"a": 4, "b": 2}),
        ({"a": 100, "b": 3, "c": 10}, 30, {"a": 17, "b": 3, "c": 10}),
        ({"a": 1, "b": 2, "c": 30}, 12, {"a": 1, "b": 2, "c": 9}),
        ({"a": 5, "b": 0}, 3, {"a": 3, "b": 0}),
        ({"a": 2, "b": 2}, 9, {"a": 2, "b": 2}),
        ({"a": 2, "b": 2}, 0, {"a": 0, "b": 0}),
        ({}, 3, {}),
    ],
)
def test_quotas(available, wanted, given):
    assert quotas(available, wanted) == given


def test_quotas_differ_by_one_at_most_unless_a_category_is_used_up():
    for counts in itertools.product(range(7), repeat=3):
        available = dict(zip("abc", counts, strict=True))
        for wanted in range(22):
            given = quotas(available, wanted)
            assert sum(given.values()) == min(wanted, sum(counts))
            assert all(0 <= given[name] <= available[name] for name in "abc")
            most = max(given.values())
            assert all(given[name] in (most, most - 1) for name in "abc" if given[name] < available[name]), (available, wanted, given)


def test_a_stratified_sample_takes_its_quotas(files):
    files.fill(mug=40, dog=3, cat=10)
    found, metadata = files.combine(num_samples=33, stratified=True)
    assert by_category(found) == metadata["by_category"] == {"mug": 20, "dog": 3, "cat": 10}
    plain, _ = files.combine(num_samples=33)
    assert by_category(plain) != by_category(found)


# ---- what is refused ----


@pytest.mark.parametrize("changes", [{}, {"num_samples": 1}, {"num_samples": 3, "stratified": True}])
@pytest.mark.parametrize("wrong", [record("dog", 9), record("mug", 9, k=3)], ids=["category", "K"])
def test_a_record_of_something_else_is_named(files, changes, wrong):
    files.fill(cat=3)
    files.put("mug", [0, 1, wrong])
    with pytest.raises(StepError, match=rf"{re.escape(str(files.paths['mug']))}: record 2 is not of mug with K = 2"):
        files.combine(**changes)
    assert not files.output.exists()
    assert not files.metadata.exists()


@pytest.mark.parametrize("num_samples", [None, 1])
def test_a_broken_file_is_named(files, num_samples):
    files.fill(mug=3, dog=3)
    files.paths["dog"].write_text(files.paths["dog"].read_text().replace('"label": 0', '"label": 7', 1))
    with pytest.raises(StepError, match=rf"{re.escape(str(files.paths['dog']))}: record 0"):
        files.combine(num_samples=num_samples)
    assert not files.output.exists()


def test_the_step_takes_its_params(files, start):
    files.fill(mug=5, dog=5)
    settings = SETTINGS | {"num_samples": 4, "stratified": True}
    files.combine(["mug", "dog"], **settings)
    wanted = files.output.read_bytes(), files.metadata.read_bytes()
    made = {name: str(files.root / "05" / f"{name}.json") for name in ("records", "metadata")}
    given = [str(files.paths[name]) for name in ("mug", "dog")]
    said = start(combine_module, given, made, categories=["mug", "dog"], combine=settings)
    assert "done: records=4 available=10" in said
    assert tuple(Path(path).read_bytes() for path in made.values()) == wanted


def test_the_sample_survives_a_move_of_the_dataset(files):
    files.fill(mug=30, dog=10)
    wanted, _ = files.combine(num_samples=12, data_root="", relative=True)
    for category in ("mug", "dog"):
        moved = [one.model_copy(update={"query_path": f"/mnt/disk/{one.query_path}"}) for one in read_records(files.paths[category])]
        files.put(category, moved)
    assert files.combine(num_samples=12, data_root="/mnt/disk", relative=False)[0] == [f"/mnt/disk/{path}" for path in wanted]
