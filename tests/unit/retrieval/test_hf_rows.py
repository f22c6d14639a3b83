"""retrieval 06: what stands in the rows, and which images it takes."""

import pytest

from tests.unit.retrieval.hf_data import Sample
from workflow_scripts.core.step import StepError
from workflow_scripts.retrieval import hf_rows
from workflow_scripts.retrieval.hf_images import Images, content_sha256
from workflow_scripts.retrieval.hf_rows import COLUMNS, RowSource, halves, letters, rows, survey


@pytest.fixture
def sample(tmp_path):
    return Sample(tmp_path)


def source_of(sample, variant="speaker", seed=23):
    records = sample.records_file
    plan = survey(records, variant, seed)
    needed = {path for row in plan.images for path in row}
    images = Images.find(needed, sample.inventories, sample.data_root, sample.relative)
    return RowSource(variant, records, plan, images, {category: f"a problem of {category}" for category in plan.categories})


def rows_of(sample, variant="speaker", seed=23):
    source = source_of(sample, variant, seed)
    return list(rows(source, content_sha256(source.records)))


# ---- names ----


def test_references_are_named_as_columns_of_a_spreadsheet():
    assert letters(3) == ["A", "B", "C"]
    names = letters(1000)
    assert (names[25], names[26], names[27], names[51], names[52]) == ("Z", "AA", "AB", "AZ", "BA")
    assert (names[701], names[702], names[703]) == ("ZZ", "AAA", "AAB")
    assert len(set(names)) == 1000


# ---- the plan ----


def test_a_speaker_needs_the_queries_alone(sample):
    sample.fill(4)
    plan = survey(sample.records_file, "speaker", 23)
    assert plan.k == 3
    assert plan.categories == {"dog": 2, "mug": 2}
    assert list(plan.categories) == ["dog", "mug"]
    assert plan.images == [(record.query_path,) for record in sample.records]
    assert plan.positive == []


def test_records_of_different_k_are_refused(sample):
    sample.fill(4)
    sample.add("mug/c0/000.jpg", ["dog/c1/001.jpg", "mug/c2/002.jpg"])
    with pytest.raises(StepError, match=r"records\.json: record 4 has 2 references, those before it have 3"):
        survey(sample.records_file, "speaker", 23)


def test_without_records_there_is_nothing_to_plan(sample):
    plan = survey(sample.records_file, "listener", 23)
    assert (plan.k, plan.categories, plan.images, plan.positive) == (0, {}, [], [])


# ---- half and half ----


def some_records(count, categories=3, concepts=4):
    return [(f"category {n % categories}", f"concept {n // 2 % concepts}", f"{n}.jpg") for n in range(count)]


@pytest.mark.parametrize("count", [0, 1, 2, 7, 100, 101])
@pytest.mark.parametrize("seed", range(4))
def test_half_of_all_of_each_category_and_of_each_concept_is_positive(count, seed):
    records = some_records(count)
    positive = halves(records, seed)
    assert len(positive) == count
    groups = [records, *([r for r in records if r[:length] == key] for length in (1, 2) for key in {r[:length] for r in records})]
    for group in groups:
        chosen = sum(positive[records.index(record)] for record in group)
        assert chosen in (len(group) // 2, (len(group) + 1) // 2)


def test_which_half_depends_on_the_seed_and_on_names_but_not_on_the_order():
    records = some_records(60)
    before = dict(zip(records, halves(records, 1), strict=True))
    assert dict(zip(records[::-1], halves(records[::-1], 1), strict=True)) == before
    others = [sum(before[record] == chosen for record, chosen in zip(records, halves(records, seed), strict=True)) for seed in range(2, 12)]
    assert all(10 < same < 50 for same in others)
    assert {halves([("a", "b", "only.jpg")], seed)[0] for seed in range(12)} == {True, False}


def test_concepts_of_a_single_row_do_not_take_turns_by_name():
    taken = halves([("a", f"{n:02d}", f"{n}.jpg") for n in range(60)], 1)
    assert 10 < sum(chosen == (place % 2 == 0) for place, chosen in enumerate(taken)) < 50


def test_rows_that_share_a_query_each_have_their_place():
    assert sorted(halves([("a", "b", "same.jpg")] * 4, 5)) == [False, False, True, True]


# ---- speaker ----


def test_a_speaker_row_says_everything_of_its_record(sample):
    query = sample.put('mug/red one/a, "b" 100% {x} → ü.jpg', b"\xff\xd8 query")
    right, wrong = sample.put("mug/red one/b.jpg"), sample.put("mug/blue one/c.jpg")
    sample.add('mug/red one/a, "b" 100% {x} → ü.jpg', ["mug/blue one/c.jpg", "mug/red one/b.jpg"], 1, "mug", "red one")
    assert rows_of(sample) == [
        {
            "image": {"bytes": b"\xff\xd8 query", "path": query},
            "ret_paths": [wrong, right],
            "names": ["A", "B"],
            "speaker_problem": "a problem of mug",
            "solution": "B",
            "category": "mug",
            "example_idx": 0,
        }
    ]


@pytest.mark.parametrize("variant", ["speaker", "listener"])
def test_rows_have_the_columns_that_are_described_in_the_order_of_the_records(sample, variant):
    sample.fill(50)
    found = rows_of(sample, variant)
    assert [list(row) for row in found] == [[column.name for column in COLUMNS[variant]]] * 50
    assert [row["example_idx"] for row in found] == list(range(50))
    assert [row["category"] for row in found] == [record.category for record in sample.records]
    queries = [row["image" if variant == "speaker" else "query_image"] for row in found]
    assert [query["path"] for query in queries] == [record.query_path for record in sample.records]
    assert [query["bytes"] for query in queries] == [f"image {path.split('images/')[1]}".encode() for path in (q["path"] for q in queries)]


def test_the_solution_is_the_name_of_the_positive(sample):
    sample.fill(30, k=28)
    found = rows_of(sample)
    assert [row["names"].index(row["solution"]) for row in found] == [record.label for record in sample.records]
    assert found[27]["solution"] == "AB"


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("slash", ["", "/"])
def test_images_are_found_by_the_names_of_the_records(tmp_path, relative, slash):
    sample = Sample(tmp_path, f"{tmp_path}/images{slash}", relative=relative).fill(4)
    found = rows_of(sample)
    assert found[0]["image"] == {
        "bytes": b"image mug/c0/000.jpg",
        "path": "mug/c0/000.jpg" if relative else f"{tmp_path}/images/mug/c0/000.jpg",
    }


# ---- listener ----


def test_a_listener_row_shows_the_positive_or_a_negative_of_its_record(sample):
    sample.fill(60, k=4)
    found = rows_of(sample, "listener")
    answers = [row["listener_solution"] for row in found]
    assert (answers.count("yes"), answers.count("no")) == (30, 30)
    negatives = []
    for row, record in zip(found, sample.records, strict=True):
        assert row["listener_problem"] == f"a problem of {record.category}"
        place = record.ret_paths.index(row["reference_image"]["path"])
        assert (place == record.label) == (row["listener_solution"] == "yes")
        assert row["reference_image"]["bytes"] == f"image {record.ret_paths[place].split('images/')[1]}".encode()
        if place != record.label:
            negatives.append(place - (place > record.label))
    assert {negatives.count(place) for place in range(3)} <= set(range(4, 17)), "any of the negatives may be the one"


def test_a_listener_takes_other_references_with_another_seed(sample):
    sample.fill(40, k=5)
    first, again, other = ([row["reference_image"]["path"] for row in rows_of(sample, "listener", seed)] for seed in (1, 1, 2))
    assert first == again
    assert sum(a == b for a, b in zip(first, other, strict=True)) < 25


def test_which_negative_a_listener_shows_depends_on_the_query(sample):
    negatives = [f"dog/c/{number}.jpg" for number in range(4)]
    for path in ["mug/c/right.jpg", *negatives]:
        sample.put(path)
    for number in range(60):
        sample.put(f"mug/c/{number}.jpg")
        sample.add(f"mug/c/{number}.jpg", ["mug/c/right.jpg", *negatives])
    one, two = (rows_of(sample, "listener", seed) for seed in (1, 2))
    shown = [row["reference_image"]["path"] for row in one if row["listener_solution"] == "no"]
    assert len(shown) == 30
    assert {sample.name(path) for path in negatives} == set(shown)
    both = [
        (a["reference_image"], b["reference_image"])
        for a, b in zip(one, two, strict=True)
        if a["listener_solution"] == b["listener_solution"] == "no"
    ]
    assert both
    assert any(a != b for a, b in both), "and on the seed"


# ---- images that are not what the inventory says ----


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.unlink(),
        lambda file: file.write_bytes(b"longer than it was before"),
        lambda file: file.write_bytes(file.read_bytes().swapcase()),
        lambda file: (file.unlink(), file.mkdir()),
    ],
    ids=["gone", "other size", "same size", "a folder"],
)
@pytest.mark.parametrize("variant", ["speaker", "listener"])
def test_a_file_that_changed_is_named_with_the_mend(sample, variant, spoil):
    sample.fill(12)
    spoil(sample.root / "images/dog/c2/005.jpg")
    with pytest.raises(StepError) as error:
        rows_of(sample, variant)
    assert "no longer what the inventory says: dog/c2/005.jpg; run again" in str(error.value)
    assert str(sample.root / "images") in str(error.value)


def test_of_many_files_that_are_gone_some_are_named(sample):
    sample.fill(20)
    for row in sample.inventory[3:18]:
        (sample.root / "images" / row["path"]).unlink()
    with pytest.raises(StepError) as error:
        rows_of(sample)
    named = sorted(row["path"] for row in sample.inventory[3:18])[:10]
    assert f"says: {', '.join(named)} and 5 more; run again" in str(error.value)


def test_an_image_that_is_in_no_inventory_is_named(sample):
    sample.fill(4)
    sample.add("mug/c9/by hand.jpg", ["mug/c0/000.jpg", "dog/c1/001.jpg", "mug/c2/002.jpg"])
    with pytest.raises(StepError, match=r"no readable image of the inventory: .*/mug/c9/by hand\.jpg; delete them"):
        source_of(sample)


def test_an_unreadable_image_is_none(sample):
    sample.fill(4)
    sample.put("mug/c0/broken.jpg", readable=False)
    sample.add("mug/c0/broken.jpg", ["mug/c0/000.jpg", "dog/c1/001.jpg", "mug/c2/002.jpg"])
    with pytest.raises(StepError, match=r"no readable image of the inventory: .*/mug/c0/broken\.jpg"):
        source_of(sample)


def test_an_image_that_no_row_shows_may_be_gone(sample):
    sample.fill(4)
    sample.put("mug/c0/unused.jpg")
    (sample.root / "images/mug/c0/unused.jpg").unlink()
    assert len(rows_of(sample)) == 4


def test_records_that_change_under_way_are_refused(sample):
    source = source_of(sample.fill(4))
    sha256 = content_sha256(source.records)
    source.records.write_text(source.records.read_text().replace('"similarities": [\n      0', '"similarities": [\n      1'))
    with pytest.raises(StepError, match="changed while it was read"):
        list(rows(source, sha256))


def test_rows_are_read_ahead_but_not_all(sample, monkeypatch):
    source, taken = source_of(sample.fill(200)), []
    original = hf_rows.read_records
    monkeypatch.setattr(hf_rows, "read_records", lambda path: (taken.append(record) or record for record in original(path)))
    flow = rows(source, content_sha256(source.records))
    next(flow)
    assert 1 < len(taken) <= hf_rows.DEPTH + 1
    flow.close()


# ---- what the content is known by ----


def test_the_digest_of_images_follows_names_and_contents(tmp_path):
    digests = set()
    for number, (name, data) in enumerate([("a.jpg", b"1"), ("a.jpg", b"2"), ("b.jpg", b"1")]):
        sample = Sample(tmp_path / str(number), "", relative=True)
        sample.put(name, data)
        sample.put("z.jpg", b"z")
        digests.add(Images.find({name, "z.jpg"}, sample.inventories, sample.data_root, relative=True).digest())
        sample.inventory.reverse()
        digests.add(Images.find({name, "z.jpg"}, sample.inventories, sample.data_root, relative=True).digest())
    assert len(digests) == 3


def test_the_listener_s_choice_survives_a_move_of_the_dataset(tmp_path):
    plans = []
    for place in ("here", "there/deeper"):
        moved = Sample(tmp_path / place, relative=False).fill(40)
        plan = survey(moved.records_file, "listener", 3, (moved.data_root, moved.relative))
        names = [tuple(path.removeprefix(moved.data_root) for path in row) for row in plan.images]
        plans.append((plan.positive, names))
    assert plans[0] == plans[1]
